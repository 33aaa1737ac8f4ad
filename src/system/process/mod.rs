//! VEs as processes: starting them through their monitors, telling whether they live, ending them, entering them.

mod client;
pub mod console;
mod edit;
mod fake;
mod forward;
mod fuse;
mod init;
pub(crate) mod interrupt;
mod launch;
mod list;
mod monitor;
mod mounting;
mod ps;
mod relaunch;
mod script;
mod spawn;
pub mod terminal;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use client::{Connection, ask};
pub use fake::FakeGuests;
pub use forward::Held;
pub use hostel_monitor::after::LEFT;
pub use hostel_monitor::bind::Bind;
pub use hostel_monitor::console::LOG as CONSOLE_LOG;
pub use hostel_monitor::exit::Ended;
pub use hostel_monitor::guest::{LEFT as LEFT_INSIDE, Left, Op, SHADOW};
pub use hostel_monitor::request::{Answer, Request, SOCKET};
pub use hostel_monitor::root::DEVICE as ROOT_DEVICE;
pub use hostel_monitor::spec::{Adopt, Disk, Enter, Init, Place, Resume, Start, Switches, Task, Watch};
pub use hostel_monitor::view::find_server as find_lxcfs;
pub use init::{Lifeline, Process, boot_id, has_sys_resource, is_root, raise_open_files};
pub use interrupt::{off_interrupt, on_end_of_terminal, on_interrupt};
pub use list::{Listed, list};
pub use monitor::Monitors;
pub use mounting::Mounting;
pub use ps::ps;

use crate::Result;
use crate::scripts::{Bounds, Ran};

/// What a VE that is brought back finds around it.
pub struct Around<'a> {
    /// Its interfaces, and the ends of pairs on this host that are to become them.
    pub links: &'a [(String, String)],
    /// Sets its control groups to what they were. It is called when init is in its place and no other process is there:
    /// earlier, CRIU couldn't begin in the topmost group, which takes no process once controllers are turned on for
    /// those below; later, files that only those controllers bring would be missing to whoever watches them.
    pub set_groups: &'a dyn Fn() -> Result<()>,
}

impl Debug for Around<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around")
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

/// Starts VEs and looks after their processes.
pub trait Guests: Send + Sync + Debug {
    /// Begins to mount a disk for [`Guests::launch`]. Why it can't be mounted tells who waits for it.
    fn mount(&self, disk: Disk) -> Mounting;
    /// Makes the VE's first process and its namespaces, with these mounts in its root; init does not run yet, and the disk
    /// may still be on its way. Dropping the answer ends it.
    fn launch(&self, start: Start, disk: Mounting, binds: Vec<Bind>) -> Result<Box<dyn Launching>>;
    /// Brings a VE back from a dump of CRIU's; its processes don't run yet. Dropping the answer ends the VE.
    fn relaunch(&self, resume: Resume, disk: Disk, around: &Around<'_>) -> Result<Box<dyn Relaunching>>;
    /// Gives a running VE that lost its monitor a new one.
    fn adopt(&self, adopt: Adopt) -> Result<()>;
    /// Finds a VE's init among the processes of its cgroup: for a VE whose record was lost.
    fn find(&self, processes: &[u32]) -> Option<Init>;
    /// Is exactly this process alive?
    fn alive(&self, init: Init) -> bool;
    /// Holds it by descriptor, to ask again and again whether it lives at little cost; `None` if it doesn't live, or
    /// can't be held.
    fn hold(&self, init: Init) -> Option<Lifeline>;
    /// How long ago this process began, be it alive or not, whatever was done to the clock meanwhile; `None` if that
    /// can't be told.
    fn age(&self, init: Init) -> Option<Duration>;
    /// Asks the guest to shut down in its own way. False if its init, just started, may not
    /// have heard: ask again, which does no harm.
    fn shut_down(&self, init: Init) -> Result<bool>;
    /// Kills init, and so everything inside, and waits until all has ended. False when the time is over.
    fn end(&self, init: Init, patience: Duration) -> Result<bool>;
    /// Writes out what a VE has written to its disk and is in memory only.
    fn write_out(&self, init: Init) -> Result<()>;
    /// Waits until init has ended. False when the time is over.
    fn wait(&self, init: Init, timeout: Duration) -> Result<bool>;
    /// Asks the VE's monitor; `None` if it has none.
    fn ask(&self, run_dir: &Path, request: &Request) -> Result<Option<Answer>>;
    /// Takes it upon us to clear up after the VE has ended: its monitor leaves that to us for as long as we hold the
    /// answer. `None` if it has no monitor.
    fn take_over_clearing(&self, run_dir: &Path) -> Result<Option<OwnedFd>>;
    /// Has the VE's monitor put in order what we leave undone if we are killed before the answer is dropped. `None` if it
    /// has no monitor.
    fn have_mended(&self, run_dir: &Path) -> Result<Option<Mending>>;
    /// Tells the monitor that we are about to end the VE for good: if `init` ends while we hold the answer, the monitor
    /// clears up, the disk included, and doesn't start it again, whatever the guest wanted. `None` if it has no monitor
    /// that answers.
    fn announce_end(&self, run_dir: &Path, init: Init) -> Result<Option<OwnedFd>>;
    /// Waits until the guest says that it has booted. `Ok(None)` when the time is over; an error if it ended, or if
    /// `interrupted` is raised.
    fn await_boot(&self, run_dir: &Path, timeout: Duration, interrupted: &AtomicBool) -> Result<Option<Answer>>;
    /// Does something inside, with these streams.
    fn enter(&self, enter: Enter, streams: Streams) -> Result<Entered>;
    /// Has an entry of [`Task::Edit`] change files of a VE. False if what the VE holds was in the way. A guest can make
    /// that last for ever; when the time is over it is given up, with an error of kind [`crate::Kind::TimedOut`].
    fn edit(&self, enter: Enter, patience: Duration) -> Result<bool>;
    /// Has an entry of [`Task::Script`] run a script inside, and listens to what it says. Whoever runs at the end of the
    /// patience in the script's process group is killed.
    fn script(&self, enter: Enter, bounds: Bounds<'_>) -> Result<Ran>;
}

/// The monitor looks after what we do; dropped, it needn't any more. A process that is killed drops nothing.
#[derive(Debug)]
pub struct Mending(pub(crate) UnixStream);

impl Drop for Mending {
    fn drop(&mut self) {
        let _ = self.0.write_all(b"."); // the monitor may be gone, with its VE
    }
}

/// The standard streams of an entry; `None`: this process's own.
#[derive(Debug, Default)]
pub struct Streams {
    /// Standard input.
    pub input: Option<OwnedFd>,
    /// Standard output.
    pub output: Option<OwnedFd>,
    /// Standard error.
    pub error: Option<OwnedFd>,
}

/// What came of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entered {
    /// The program ended with this code (128 + n: by signal n).
    Code(u8),
    /// The program could not be run.
    NotRun {
        /// Why.
        reason: String,
        /// There is no such program.
        missing: bool,
    },
    /// It was told to end, but the VE is paused: it does when that goes on, and wasn't waited for.
    Paused,
}

/// A VE whose processes have been restored and stand still.
pub trait Relaunching: Debug {
    /// Its init.
    fn init(&self) -> Init;
    /// Brings it to where each process is about to go on. If this fails, end the VE; nothing of it has run, but if the
    /// error is [`crate::Kind::Interrupted`], its processes may have been let go.
    fn ready(&mut self) -> Result<()>;
    /// Has its monitor stay with it, whatever becomes of us: without us all ends, and nothing has run.
    fn stay(&mut self) -> Result<()>;
    /// Lets it go. Until here it must have been frozen: then it goes on when it is thawed, whatever becomes of CRIU. If
    /// this fails, its processes have ended without having run.
    fn go(self: Box<Self>) -> Result<()>;
}

/// A VE between its birth and its init.
pub trait Launching: Debug {
    /// Its first process.
    fn init(&self) -> Init;
    /// Its network namespace.
    fn network_namespace(&self) -> BorrowedFd<'_>;
    /// Waits until the VE's disk is mounted; an error if it can't be.
    fn mounted(&mut self) -> Result<()>;
    /// Waits until all is in place but init. Before that nothing may be run inside: its root is the host's still.
    fn furnished(&mut self) -> Result<()>;
    /// Runs init, or gives up when that takes too long ([`crate::Kind::TimedOut`]) or nobody wants it any more
    /// ([`crate::Kind::Interrupted`]); then its processes may be left for whoever asked to end. Answers what the VE has to do without, a line each. On any other
    /// failure nothing is left of the VE's processes.
    fn go(self: Box<Self>) -> Result<Vec<String>>;
}
