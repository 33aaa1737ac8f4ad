//! Which process is which, for certain.

use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Failure, Result, Step};
use crate::spec::Init;

/// The start time of a process in clock ticks since boot: field 22 of /proc/PID/stat (proc_pid_stat(5)). The second
/// field is the command in parentheses, which may hold anything, so counting begins behind the last parenthesis.
pub fn start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The wait status of a process that has ended and is still in the process table: field 52 of its stat, which root
/// may read.
pub fn status_of_dead(init: Init) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", init.pid)).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let dead = start_time(&stat) == Some(init.start_time) && fields.first() == Some(&"Z");
    fields.get(49).filter(|_| dead)?.parse().ok()
}

/// Is it seen to live, by one look that takes no descriptor? False says nothing: of a process whose first thread has ended,
/// all other threads may go on.
pub fn is_seen(init: Init) -> bool {
    let lives = |stat: &str| {
        let state = stat.rsplit_once(')')?.1.trim_start().bytes().next()?;
        Some(start_time(stat)? == init.start_time && !b"ZXx".contains(&state))
    };
    read(init.pid).is_ok_and(|stat| lives(&stat) == Some(true))
}

/// Names a process that is known to exist (our own child, or one held by a descriptor).
pub fn identify(pid: u32) -> Result<Init> {
    let start_time = start_time(&read(pid)?);
    let start_time = start_time.ok_or_else(|| Failure::new("read", path(pid), "it has no start time"))?;
    Ok(Init { pid, start_time })
}

fn path(pid: u32) -> String {
    format!("/proc/{pid}/stat")
}

fn read(pid: u32) -> Result<String> {
    // The kernel gives all of it at once: fifty numbers, and a command that has no more than 64 bytes.
    let mut stat = [0; 2048];
    let length = std::fs::File::open(path(pid))
        .and_then(|mut file| file.read(&mut stat))
        .step("read", path(pid))?;
    Ok(String::from_utf8_lossy(stat.get(..length).unwrap_or_default()).into_owned())
}

/// A descriptor of exactly that process; refused if the number has gone to another since.
pub fn open(init: Init) -> Result<OwnedFd> {
    let gone = || Failure {
        errno: Some(libc::ESRCH),
        ..Failure::new("find", format!("process {}", init.pid), "it has ended")
    };
    let pid = i32::try_from(init.pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Err(gone()),
        other => other.step("open process", init.pid)?,
    };
    // The descriptor is fixed to one process now; is it the one we mean?
    match identify(init.pid) {
        Ok(now) if now == init => Ok(pidfd),
        _ => Err(gone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_may_hold_anything() {
        let stat = "7 (a) b (c) 1 2) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        assert_eq!(start_time(stat), Some(4242));
        assert_eq!(start_time("nonsense"), None);
    }

    #[test]
    fn the_dead_tell_how_they_ended_until_they_are_taken_note_of() {
        let mut child = std::process::Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let init = identify(child.id()).unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while status_of_dead(init).is_none() {
            assert!(std::time::Instant::now() < end);
            std::thread::yield_now();
        }
        assert_eq!(status_of_dead(init), Some(3 << 8));
        assert!(!is_seen(init));
        let other = Init {
            start_time: init.start_time + 1,
            ..init
        };
        assert_eq!(status_of_dead(other), None);
        child.wait().unwrap();
        assert_eq!(status_of_dead(init), None);
        assert_eq!(status_of_dead(identify(std::process::id()).unwrap()), None, "it lives");
    }

    #[test]
    fn a_reused_number_is_refused() {
        let me = identify(std::process::id()).unwrap();
        assert!(open(me).is_ok() && is_seen(me));
        let other = Init {
            start_time: me.start_time + 1,
            ..me
        };
        assert!(!is_seen(other));
        let other = open(other).unwrap_err();
        assert_eq!(other.errno, Some(libc::ESRCH));
    }
}
