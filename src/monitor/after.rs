//! The command that puts in order what has become of a VE (`hostel settle`), told in one word.

use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::os::fd::AsFd;

use crate::error::Failure;
use crate::sys::{self, Cloned};

/// A command that was at work on the VE, which goes on living, has been killed.
pub const LEFT: &str = "left";

/// This process becomes the command: `after` with the word as its last argument. Returns only why it can't.
pub fn become_it(after: &[String], word: &str) -> Failure {
    let mut argv = after.to_vec();
    argv.push(word.to_owned());
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    // The command is to end when it is told to.
    let _ = sys::restore_signals();
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let failed = sys::exec(&argv[0], &argv, &[format!("PATH={path}")]);
    Failure::new("run", &argv[0], failed)
}

/// Runs the command in a process of its own that nobody waits for. Where none can be made, the next command on the VE
/// does its work.
pub fn run_beside(after: &[String], word: &str) {
    if after.is_empty() {
        return;
    }
    match sys::clone3(0, None) {
        // The parent of the one that becomes the command ends at once, so that it isn't ours to take note of.
        Ok(Cloned::Child) => {
            if let Ok(Cloned::Child) = sys::clone3(0, None) {
                become_it(after, word);
            }
            sys::exit_at_once()
        }
        Ok(Cloned::Parent(_, child)) => {
            let _ = waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED);
        }
        Err(_) => {}
    }
}
