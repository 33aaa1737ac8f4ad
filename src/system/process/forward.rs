//! Signals to the command at the host, for what it runs inside a VE.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::pidfd_send_signal;

use super::Entered;
use crate::{Error, Result};

/// The signals that are meant for the command inside.
const FORWARDED: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// While this lives, those signals don't end this thread's process, nor threads that it makes: they wait to be
/// passed on.
#[derive(Debug)]
pub struct Held {
    before: SigSet,
    came: Cell<bool>,
    waiting: SignalFd,
}

impl Held {
    /// Holds them from now on.
    pub fn take() -> Result<Self> {
        let fail = |e: nix::Error| Error::os("watch for", "signals", e);
        let set: SigSet = FORWARDED.into_iter().collect();
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(fail)?;
        let waiting = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(fail)?;
        let came = Cell::new(false);
        Ok(Self { before, came, waiting })
    }

    /// Passes on what has come. What a terminal sends, it sends to all of its foreground: the process has it already.
    pub(super) fn pass_to(&self, process: BorrowedFd<'_>) {
        while let Ok(Some(info)) = self.waiting.read_signal() {
            self.came.set(true);
            let from_a_person = info.ssi_code <= 0;
            let signal = i32::try_from(info.ssi_signo)
                .ok()
                .and_then(rustix::process::Signal::from_named_raw);
            if let (true, Some(signal)) = (from_a_person, signal) {
                let _ = pidfd_send_signal(process, signal); // it may just have ended; then there is nobody to tell
            }
        }
    }

    /// Has any come so far?
    pub(super) fn any_came(&self) -> bool {
        self.came.get()
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiting.as_fd()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // What has come and was not passed on is ours again.
        let _ = self.before.thread_set_mask();
    }
}

impl Entered {
    /// Did a signal that was passed on end the command, or our waiting for it?
    pub fn interrupted(&self) -> bool {
        match self {
            Self::Code(code) => FORWARDED.iter().any(|s| i32::from(*code) == 128 + *s as i32),
            Self::Paused => true,
            Self::NotRun { .. } => false,
        }
    }
}
