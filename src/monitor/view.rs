//! What a VE finds in its /proc instead of the whole host's figures: files of lxcfs, a FUSE file system of the host,
//! each mounted over the kernel's own.
//!
//! Whoever touches a FUSE file system whose program hangs may hang with it, and when the program ends, all its files
//! fail (ENOTCONN). So the monitor itself never touches one: children do, for a second at most. It holds lxcfs as a
//! process instead, and when that ends has a child take the mounts away, so that the VE has the kernel's own files
//! again.

pub(crate) mod child;
mod mounts;

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use self::mounts::{put_on, take_off};
use crate::error::{Failure, Result, Step};
use crate::identity;
use crate::spec::Init;

/// What lxcfs is called in mount tables, and as a process.
const FILE_SYSTEM: &str = "fuse.lxcfs";
const PROGRAM: &str = "lxcfs";

/// How long a view that couldn't be put on is left alone at first, while lxcfs runs.
const AGAIN: Duration = Duration::from_secs(2);

/// A VE's view, as its monitor looks after it.
#[derive(Debug)]
pub struct View {
    /// Where lxcfs is mounted on the host.
    mount: PathBuf,
    state: State,
    /// How long to wait when lxcfs doesn't answer the next time. Twice as long each time: a child that has asked an
    /// lxcfs that hangs may stay for as long as that does, and they must not pile up.
    again: Duration,
}

#[derive(Debug)]
enum State {
    /// The files are in the VE. This process serves them.
    On(OwnedFd),
    /// lxcfs isn't there. The host's mount table tells when it comes back.
    Away(File),
    /// It is there but doesn't answer, as when it has just come back to a host full of VEs. A timer tells when to look
    /// again.
    Slow(OwnedFd),
    /// Nobody wants it, or nothing can be waited for.
    Off,
}

impl View {
    /// For a VE that starts. If it can't be put on, why not is told beside it, and it is when lxcfs comes back.
    pub fn new(mount: &Path, init: BorrowedFd<'_>) -> (Self, Result<()>) {
        let mut view = Self {
            mount: mount.to_owned(),
            state: State::Off,
            again: AGAIN,
        };
        let done = view.show(init);
        (view, done)
    }

    /// For a VE that runs, whose former monitor may have put one on: it goes if none is wanted by now.
    pub fn adopted(mount: Option<&Path>, init: BorrowedFd<'_>) -> Option<Self> {
        let made = mount.map(|mount| Self::new(mount, init));
        if !matches!(made, Some((_, Ok(())))) {
            // There is nobody to be told.
            let _ = take_off(init);
        }
        made.map(|(view, _)| view)
    }

    /// Takes the view away, until [`View::show`].
    pub fn hide(&mut self, init: BorrowedFd<'_>) -> Result<()> {
        (self.state, self.again) = (State::Off, AGAIN);
        take_off(init)
    }

    /// Puts it on. If lxcfs isn't there, that is done when it comes back, and if it doesn't answer, later.
    pub fn show(&mut self, init: BorrowedFd<'_>) -> Result<()> {
        // Opened before we look, so that lxcfs can't come back unnoticed.
        let opened = File::open("/proc/self/mountinfo");
        // Held before its files are, so that its end can't go unnoticed.
        let server = match find_server(&self.mount).and_then(identity::open) {
            Ok(server) => server,
            Err(failure) => {
                self.state = opened.map_or(State::Off, State::Away);
                return Err(failure);
            }
        };
        match put_on(init, &self.mount) {
            Ok(()) => {
                (self.state, self.again) = (State::On(server), AGAIN);
                Ok(())
            }
            Err(failure) => {
                let _ = take_off(init);
                self.state = timer(self.again).map_or(State::Off, State::Slow);
                self.again = self.again.saturating_mul(2);
                Err(failure)
            }
        }
    }

    /// Is it on, as far as we have to do with it?
    pub fn is_on(&self) -> bool {
        matches!(self.state, State::On(_))
    }

    /// What to wait for.
    pub fn wait_for(&self) -> Option<PollFd<'_>> {
        match &self.state {
            State::On(server) => Some(PollFd::new(server, PollFlags::IN)),
            State::Away(table) => Some(PollFd::new(table, PollFlags::PRI)),
            State::Slow(timer) => Some(PollFd::new(timer, PollFlags::IN)),
            State::Off => None,
        }
    }

    /// What was waited for has come. A failure leaves the VE with the kernel's files, or, if even that can't be had,
    /// with files that answer nothing; there is nobody to be told.
    pub fn react(&mut self, init: BorrowedFd<'_>) {
        if self.is_on() {
            let _ = take_off(init);
        }
        let _ = self.show(init);
    }
}

/// Readable when this time has passed.
fn timer(after: Duration) -> Result<OwnedFd> {
    let fd = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC).step("make", "a timer")?;
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    let once = Itimerspec {
        it_interval: never,
        it_value: Timespec::try_from(after).unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        }),
    };
    timerfd_settime(&fd, TimerfdTimerFlags::empty(), &once).step("set", "a timer")?;
    Ok(fd)
}

/// The process that serves the lxcfs mounted here. Nothing of the mount itself is touched.
pub fn find_server(mount: &Path) -> Result<Init> {
    let act = "show a VE its own /proc by";
    let absent = |why: &str| Failure::new(act, format!("lxcfs at {}", mount.display()), why);
    let table = std::fs::read_to_string("/proc/self/mountinfo").step("read", "/proc/self/mountinfo")?;
    let place = mount.to_string_lossy();
    if !mounts_in(&table).any(|mounted| mounted == (&*place, FILE_SYSTEM)) {
        return Err(absent("it is not mounted there"));
    }
    let processes = std::fs::read_dir("/proc").step("read", "/proc")?;
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find_map(|pid: u32| serves(pid, &place).then(|| identity::identify(pid).ok()).flatten())
        .ok_or_else(|| absent("its process does not run"))
}

/// Is this process an lxcfs that was told to mount itself here?
fn serves(pid: u32, mount: &str) -> bool {
    // A VE's root can call his processes as he likes.
    let of_host = |kind: &str| {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
        let its = namespace(&pid.to_string());
        its.is_some() && its == namespace("self")
    };
    if !(of_host("user") && of_host("pid")) {
        return false;
    }
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    if read("comm").trim_ascii_end() != PROGRAM.as_bytes() {
        return false;
    }
    let arguments = read("cmdline");
    let mut arguments = arguments.split(|b| *b == 0).skip(1).map(String::from_utf8_lossy);
    arguments.any(|argument| argument == mount || argument.strip_suffix('/') == Some(mount))
}

/// Is what is mounted in a VE here, of this kind, a file of its view?
pub fn is_of_view(point: &str, kind: &str) -> bool {
    kind == FILE_SYSTEM
        && point
            .strip_prefix('/')
            .is_some_and(|path| mounts::FILES.contains(&path))
}

/// What is mounted, by place and kind, in a table like /proc/PID/mountinfo (proc_pid_mountinfo(5)). Places of odd names
/// stay as the kernel writes them.
fn mounts_in(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table.lines().filter_map(mount_in)
}

/// The same of a line of it.
fn mount_in(line: &str) -> Option<(&str, &str)> {
    let (mount, kind) = line.split_once(" - ")?;
    Some((mount.split(' ').nth(4)?, kind.split(' ').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=/run/l
40 22 0:5 / /proc rw,nosuid - proc proc rw
43 40 0:41 /proc/meminfo /proc/meminfo ro,nosuid shared:7 - fuse.lxcfs lxcfs rw,user_id=0
44 40 0:41 /proc/stat /srv/fuse.lxcfs ro - fuse.lxcfs lxcfs rw
45 22 0:42 / /x rw - tmpfs fuse.lxcfs rw
46 22 0:43 / /y rw - fuse.other lxcfs rw
nonsense
";

    #[test]
    fn lxcfs_is_found_by_its_kind() {
        let lxcfs = mounts_in(TABLE).filter(|(_, kind)| *kind == FILE_SYSTEM);
        assert_eq!(
            lxcfs.map(|(place, _)| place).collect::<Vec<_>>(),
            ["/proc/meminfo", "/srv/fuse.lxcfs"]
        );
    }

    #[test]
    fn where_nothing_is_mounted_is_no_lxcfs() {
        let failure = find_server(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "cannot show a VE its own /proc by lxcfs at /nowhere/at/all: it is not mounted there"
        );
        assert!(!serves(std::process::id(), "/nowhere"));
    }

    /// A VE's root can call a process as he likes; that it is in namespaces of its own he can't hide.
    #[test]
    fn a_process_of_a_ve_is_no_server() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(PROGRAM);
        let script = "#!/bin/sh\nread line\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        for (wrapper, is_one) in [(&["env"][..], true), (&["unshare", "--user"], false)] {
            let mut child = std::process::Command::new(wrapper[0])
                .args(&wrapper[1..])
                .arg(&program)
                .arg("/somewhere/")
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let comm = format!("/proc/{}/comm", child.id());
            while std::fs::read_to_string(&comm).unwrap().trim_end() != PROGRAM {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            assert_eq!(serves(child.id(), "/somewhere"), is_one, "{wrapper:?}");
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }
}
