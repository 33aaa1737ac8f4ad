//! A VE's init as the host sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use hostel_monitor::identity;
use hostel_monitor::spec::Init;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use super::fuse;
use crate::{Error, Kind, Result};

/// How long killed processes have before it is looked into what they may wait for.
const BY_ITSELF: Duration = Duration::from_millis(500);

/// How long ago it began, whether it still lives or not: its start time is counted in clock ticks since boot, by a clock
/// that nobody can set.
pub fn age(init: Init) -> Option<Duration> {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    let began = Duration::from_millis(init.start_time.checked_mul(1000)? / u64::try_from(ticks).ok()?);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
    Some(now.saturating_sub(began))
}

/// Exactly one process, held by descriptor: it can't turn into another one.
#[derive(Debug)]
pub struct Process {
    init: Init,
    pidfd: OwnedFd,
}

impl Process {
    /// `None` if it has ended (or the number belongs to another process by now).
    pub fn open(init: Init) -> Result<Option<Self>> {
        match identity::open(init) {
            Ok(pidfd) => {
                let process = Self { init, pidfd };
                // One that has ended stays in the process table until its monitor, which may be busy, takes note.
                let ended = process.wait(Duration::ZERO)?;
                Ok((!ended).then_some(process))
            }
            Err(failure) if failure.errno == Some(libc::ESRCH) => Ok(None),
            Err(failure) => Err(Error::new("open process", init.pid, failure)),
        }
    }

    /// Sends a signal; content if it has ended meanwhile.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(Error::os("signal process", self.init.pid, e)),
        }
    }

    /// Waits until it has ended and, being a pid namespace's init, everything inside with it.
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(e) => return Err(Error::os("wait for process", self.init.pid, e)),
            }
        }
    }

    /// Kills it, and so everything inside, and waits until all has ended; false when the time is over.
    pub fn end(&self, patience: Duration) -> Result<bool> {
        self.signal(Signal::KILL)?;
        let deadline = Instant::now() + patience;
        let mut trouble = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.wait(left.min(BY_ITSELF))? {
                return Ok(true);
            }
            match trouble {
                _ if !left.is_zero() => trouble = fuse::abort_connections(self.init).err(),
                Some(e) => return Err(e),
                None => return Ok(false),
            }
        }
    }

    /// Asks it to shut down in the way it understands: systemd blocks SIGRTMIN+3 (and reads it from a descriptor),
    /// busybox's init powers off on SIGUSR2, sysvinit and OpenRC act on SIGPWR. False if it may not have heard: the
    /// kernel drops what the first process of a namespace has no handler for, and one that waits for signals
    /// (sigwaitinfo(2)) doesn't show which.
    pub fn shut_down(&self) -> Result<bool> {
        const SIGRTMIN_3: i32 = 37;
        let blocked = self.signals("SigBlk:")?;
        if has(blocked, SIGRTMIN_3) {
            // SAFETY: 37 is a realtime signal that no C library on Linux keeps for itself (glibc takes 32 and 33,
            // musl 32 to 34).
            self.signal(unsafe { Signal::from_raw_unchecked(SIGRTMIN_3) })?;
            return Ok(true);
        }
        let exe = std::fs::read_link(format!("/proc/{}/exe", self.init.pid)).unwrap_or_default();
        let busybox = exe
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"busybox"));
        let signal = if busybox { Signal::USR2 } else { Signal::POWER };
        let hears = has(blocked | self.signals("SigCgt:")?, signal.as_raw());
        self.signal(signal)?;
        Ok(hears)
    }

    /// A set of signals in its status (proc_pid_status(5)).
    fn signals(&self, set: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.init.pid);
        let status = crate::file::read(Path::new(&path))?;
        let mask = status.lines().find_map(|line| line.strip_prefix(set));
        mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok())
            .ok_or_else(|| Error::new("read the signals of process", self.init.pid, format!("no line {set}")))
    }
}

fn has(set: u64, signal: i32) -> bool {
    set & (1 << (signal - 1)) != 0
}

impl std::os::fd::AsRawFd for Lifeline {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.0.pidfd)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// A process that is asked again and again whether it lives.
#[derive(Debug)]
pub struct Lifeline(Process);

impl Lifeline {
    pub(super) fn new(process: Process) -> Self {
        Self(process)
    }

    /// Which it is.
    pub fn init(&self) -> Init {
        self.0.init
    }

    /// Does it live?
    pub fn lives(&self) -> bool {
        self.0.wait(Duration::ZERO).is_ok_and(|ended| !ended)
    }
}

/// Lets this process have this many files open, or as many as it may, and says how many that are now.
pub fn raise_open_files(wanted: u64) -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 0;
    };
    let most = wanted.min(hard).max(soft);
    match setrlimit(Resource::RLIMIT_NOFILE, most, hard) {
        Ok(()) => most,
        Err(_) => soft,
    }
}

/// Finds a VE's init among the processes of its cgroup: the one that is number 1 in its own pid namespace (and whose
/// parent isn't in there).
pub(super) fn find_init(processes: &[u32]) -> Option<Init> {
    let depth_one = |pid: &&u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ids = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .unwrap_or_default();
        let ids: Vec<&str> = ids.split_ascii_whitespace().collect();
        // The host's own number and 1: deeper ones are containers inside the VE.
        ids.len() == own_depth() + 1 && ids.last() == Some(&"1")
    };
    processes
        .iter()
        .find(depth_one)
        .and_then(|pid| identity::identify(*pid).ok())
}

/// In how many pid namespaces we are ourselves.
fn own_depth() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .map(|ids| ids.split_ascii_whitespace().count());
    ids.unwrap_or(1)
}

/// Has this process root's rights on this host?
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Has root CAP_SYS_RESOURCE here? Some containers and sandboxes withhold it.
pub fn has_sys_resource() -> bool {
    const SYS_RESOURCE: u64 = 1 << 24;
    hostel_monitor::sys::capget().is_ok_and(|held| held.effective & SYS_RESOURCE != 0)
}

/// The identity of this boot of the host.
pub fn boot_id(proc_root: &Path) -> Result<String> {
    Ok(crate::file::read(&proc_root.join("sys/kernel/random/boot_id"))?
        .trim()
        .to_owned())
}

/// The error for a VE whose init is gone.
pub(super) fn gone(init: Init) -> Error {
    Error::new("find process", init.pid, "it has ended").kind(Kind::NotFound)
}
