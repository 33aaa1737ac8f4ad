//! How a VE ended.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Result, Step};

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
