//! How a VE ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};

use crate::error::{Result, Step};
use crate::spec::Init;
use crate::{identity, sys};

/// How long a dead process may be on its way from the process table to the memory of its descriptor.
const REAPED: Duration = Duration::from_millis(500);

/// Why a VE's init is gone. reboot(2) inside a pid namespace kills its init by SIGHUP for a restart and by SIGINT for
/// halt and power off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The guest asked to be started again.
    Reboot,
    /// The guest shut down.
    Halt,
    /// Init ended by itself with this code.
    Exit(i32),
    /// Init was killed by this signal.
    Signal(i32),
    /// Nobody was there to see it.
    Unknown,
}

impl Ended {
    /// From a wait status (wait(2)).
    pub fn from_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Exit(status >> 8 & 0xff),
            libc::SIGHUP => Self::Reboot,
            libc::SIGINT => Self::Halt,
            signal => Self::Signal(signal),
        }
    }

    /// The same end where no restart is to follow, whatever the guest asked for.
    pub fn for_good(self) -> Self {
        match self {
            Self::Reboot => Self::Halt,
            other => other,
        }
    }

    /// One word for a command line: `reboot`, `halt`, `exit-1`, `signal-9`, `unknown`.
    pub fn word(self) -> String {
        match self {
            Self::Reboot => "reboot".into(),
            Self::Halt => "halt".into(),
            Self::Exit(code) => format!("exit-{code}"),
            Self::Signal(signal) => format!("signal-{signal}"),
            Self::Unknown => "unknown".into(),
        }
    }
}

/// Takes note of a child that is to end now, if it does within that time: the kernel may not let it.
pub fn reap(child: BorrowedFd<'_>, patience: Duration) {
    let patience = Timespec::try_from(patience).ok();
    let _ = poll(&mut [PollFd::new(&child, PollFlags::IN)], patience.as_ref());
    let _ = waitid(WaitId::PidFd(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

/// How this init has ended, of which that is the descriptor.
pub fn of(init: Init, pidfd: &OwnedFd) -> Ended {
    // Our child gives its status to wait; of an adopted VE's init the kernel may tell by its descriptor.
    match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ended::from_wait_status(code << 8),
            (_, Some(signal)) => Ended::from_wait_status(signal),
            _ => Ended::Unknown,
        },
        _ => end_of_another(init, pidfd.as_fd()).map_or(Ended::Unknown, Ended::from_wait_status),
    }
}

/// The wait status of an init whose parent isn't us. Until its parent has taken note of its end, its entry in the
/// process table says it; from then on its descriptor does (Linux 6.15).
fn end_of_another(init: Init, pidfd: BorrowedFd<'_>) -> Option<i32> {
    let end = Instant::now() + REAPED;
    loop {
        if let Some(status) = identity::status_of_dead(init).or_else(|| sys::exit_status_of(pidfd).ok()) {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The file in the VE's run directory that says how it ended last.
pub const RECORD: &str = "exit.json";

/// Writes the record. It lies on a tmpfs: nothing to sync.
pub fn record(run_dir: &Path, ended: Ended) -> Result<()> {
    let path = run_dir.join(RECORD);
    let text = serde_json::to_string(&ended).step("write", path.display())?;
    std::fs::write(&path, text).step("write", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_tell_reboot_from_halt() {
        assert_eq!(Ended::from_wait_status(1), Ended::Reboot);
        assert_eq!(Ended::from_wait_status(2), Ended::Halt);
        assert_eq!(Ended::from_wait_status(9), Ended::Signal(9));
        assert_eq!(Ended::from_wait_status(3 << 8), Ended::Exit(3));
        assert_eq!(Ended::from_wait_status(0x80 | 6), Ended::Signal(6), "with a core dump");
    }
}
