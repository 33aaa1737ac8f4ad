//! Programs of the host that we run: tools for disks and packet rules.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the program run in a process group of its own, where Ctrl-C for us isn't for it, and without the means to get
/// more privileges than it starts with (PR_SET_NO_NEW_PRIVS, prctl(2)).
pub(crate) fn confined(command: &mut Command) -> &mut Command {
    let shut = || match nix::sys::prctl::set_no_new_privs() {
        Ok(()) => Ok(()),
        Err(e) => Err(io::Error::from(e)),
    };
    // SAFETY: between fork and exec only prctl is called, which allocates nothing and takes no lock.
    unsafe { command.process_group(0).pre_exec(shut) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_gets_no_new_privileges() {
        let mut command = Command::new("grep");
        let output = confined(command.args(["NoNewPrivs", "/proc/self/status"]))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "NoNewPrivs:\t1");
    }
}
