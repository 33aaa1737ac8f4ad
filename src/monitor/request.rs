//! What can be asked of a running monitor on its socket: one JSON line, one JSON line back.

use serde::{Deserialize, Serialize};

use crate::spec::Init;

/// The socket's name in the VE's run directory.
pub const SOCKET: &str = "monitor.sock";

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// How is it?
    Status,
    /// Answer when the guest has booted, or has ended.
    AwaitBoot,
    /// From the answer on, this connection is the console: raw bytes both ways. Whoever was not there when this init
    /// started gets what it has said so far, unless `seen` is this init.
    Console {
        /// The init whose console the asker has been at, or joins as it is.
        seen: Option<Init>,
    },
    /// The console has this many rows and columns.
    Resize(u16, u16),
    /// Take lxcfs's files out of the VE's /proc, until they are wanted again.
    HideView,
    /// Put them there again, if the VE is to have them.
    ShowView,
    /// The asker clears up after the VE has ended, if it is still there then: for as long as this connection is open.
    /// Not answered; heard even if init ends right after it was said.
    LeaveClearing,
    /// The asker is at work on the VE, which is cut off or stands still meanwhile: if this connection closes without a
    /// word while the VE lives, what the asker has left undone is put in order. Not answered.
    Mend,
    /// The asker is about to end the VE: if init ends while this connection is open, clear up and leave it ended, even
    /// if the guest asked for a reboot in that moment. After the answer a byte may follow with a descriptor of the
    /// VE's root (SCM_RIGHTS): held until the monitor ends, it keeps init's end from waiting for the file system to be
    /// written and unmounted.
    Finish,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whose init this monitor watches.
    pub init: Init,
    /// The monitor's own process id.
    pub monitor: u32,
    /// Has init said that it has booted? `None`: it is not one that says so.
    pub booted: Option<bool>,
    /// Is there a console to attach to?
    pub console: bool,
    /// Are lxcfs's files in the VE's /proc?
    #[serde(default)]
    pub view: bool,
}
