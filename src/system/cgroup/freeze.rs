//! Stopping all processes of a VE in their tracks, and ending them.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{files, read, tree};
use crate::{Error, Kind, Result};

/// How often it is looked whether the wait was interrupted.
const GLANCE: Duration = Duration::from_millis(100);

/// The freezer of one VE: the v2 tree's where there is one, for it freezes without side effects on signals and
/// ptrace; else that of v1.
#[derive(Debug, Clone, Copy)]
pub enum Freezer<'a> {
    /// The VE's group in the v2 tree.
    V2(&'a Path),
    /// The VE's group in the v1 hierarchy `freezer`.
    V1(&'a Path),
}

impl Freezer<'_> {
    /// Freezes and waits; thaws again if that takes too long, or if `interrupted` is raised meanwhile.
    pub fn freeze(self, timeout: Duration, interrupted: &AtomicBool) -> Result<()> {
        let patience = Patience {
            deadline: Instant::now() + timeout,
            interrupted,
        };
        let done = match self {
            Self::V2(dir) => files::write(dir, "cgroup.freeze", "1").and_then(|()| wait_v2(dir, &patience)),
            Self::V1(dir) => files::write(dir, "freezer.state", "FROZEN").and_then(|()| wait_v1(dir, &patience)),
        };
        done.inspect_err(|_| drop(self.thaw()))
    }

    /// Lets the processes run again.
    pub fn thaw(self) -> Result<()> {
        match self {
            Self::V2(dir) => files::write(dir, "cgroup.freeze", "0"),
            Self::V1(dir) => files::write(dir, "freezer.state", "THAWED"),
        }
    }

    /// Whether all are frozen.
    pub fn is_frozen(self) -> Result<bool> {
        match self {
            Self::V2(dir) => Ok(says_frozen(files::read(dir, "cgroup.events")?.as_bytes())),
            Self::V1(dir) => Ok(files::read(dir, "freezer.state")?.trim_end() == "FROZEN"),
        }
    }
}

/// Does `cgroup.events` say so?
pub fn says_frozen(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| read::value(text, "frozen") == Some(1))
}

/// How long it is waited.
struct Patience<'a> {
    deadline: Instant,
    interrupted: &'a AtomicBool,
}

impl Patience<'_> {
    /// What is left of it, above nothing.
    fn left(&self, dir: &Path) -> Result<Duration> {
        if self.interrupted.load(Ordering::Relaxed) {
            let error = Error::new("freeze", dir.display(), "interrupted; all run on");
            return Err(error.kind(Kind::Interrupted));
        }
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(timed_out(dir)),
            left => Ok(left),
        }
    }
}

fn timed_out(dir: &Path) -> Error {
    Error::new(
        "freeze",
        dir.display(),
        "some processes did not stop in time; all run on",
    )
    .kind(Kind::TimedOut)
    .hint("a process that waits for a disk or a network file system can't be frozen; try again later")
}

/// `cgroup.events` raises POLLPRI whenever a value in it changes.
fn wait_v2(dir: &Path, patience: &Patience<'_>) -> Result<()> {
    let path = dir.join("cgroup.events");
    let fail = |e: io::Error| Error::os("read", path.display(), e);
    let mut file = File::open(&path).map_err(fail)?;
    let mut text = String::new();
    loop {
        text.clear();
        file.rewind().map_err(fail)?;
        file.read_to_string(&mut text).map_err(fail)?;
        if read::value(&text, "frozen") == Some(1) {
            return Ok(());
        }
        // Another thread may be the one that a signal interrupts.
        let left = patience.left(dir)?.min(GLANCE);
        let left = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(fail(e.into())),
        }
    }
}

/// `freezer.state` brings itself up to date when read, and tells nobody.
fn wait_v1(dir: &Path, patience: &Patience<'_>) -> Result<()> {
    let mut pause = Duration::from_micros(100);
    while files::read(dir, "freezer.state")?.trim_end() != "FROZEN" {
        std::thread::sleep(pause.min(patience.left(dir)?));
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(())
}

/// Sends SIGKILL to all that is in the groups, again and again until no process is found that hasn't been sent one:
/// a process may have forked in between.
pub fn kill_each(groups: &[&Path]) -> Result<()> {
    let mut sent: Vec<u32> = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let pids = all(groups)?;
        let fresh: Vec<u32> = pids.into_iter().filter(|p| sent.binary_search(p).is_err()).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let what = groups.first().map(|g| g.display().to_string()).unwrap_or_default();
            return Err(Error::new("kill the processes of", what, "new ones keep coming").kind(Kind::TimedOut));
        }
        signal(groups, &fresh)?;
        sent.extend(fresh);
        sent.sort_unstable();
    }
}

/// A number may belong to another process by the time it is used; so take a handle, look whether the number is
/// still in the group, and only then use the handle.
fn signal(groups: &[&Path], pids: &[u32]) -> Result<()> {
    let handles: Vec<(u32, OwnedFd)> = pids
        .iter()
        .filter_map(|p| {
            Some((
                *p,
                pidfd_open(Pid::from_raw(p.cast_signed())?, PidfdFlags::empty()).ok()?,
            ))
        })
        .collect();
    let still = all(groups)?;
    for (pid, handle) in handles.iter().filter(|(p, _)| still.binary_search(p).is_ok()) {
        match pidfd_send_signal(handle, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(e) => return Err(Error::os("kill process", pid, e)),
        }
    }
    Ok(())
}

/// The process ids in all groups and below, rising, each once.
pub fn all(groups: &[&Path]) -> Result<Vec<u32>> {
    let mut pids = Vec::new();
    for group in groups {
        tree::processes(group, &mut pids)?;
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}
