//! The real thing.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::session::{Event, Session};
use super::version::least;
use super::{Criu, DUMP_LOG, Dump, Dumped, LOCK, Version, options, passes, reason};
use crate::process::interrupt;
use crate::{Error, Kind, Result};

/// Where a program that is given by its name may be; the caller's PATH isn't trusted.
const DIRECTORIES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// How long a dump that nobody waits for may go on.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a dump is tried again that has failed by what is over in a moment, and the time between two attempts, in
/// which the VE goes on.
const PERSISTENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

/// How long CRIU may take to come to where it lets the VE go in order, when a person wants no dump any more.
const HEEDING: Duration = Duration::from_secs(10);
/// How long it may take to let the VE go when it was told to, and to end when it was killed.
const LETTING_GO: Duration = Duration::from_secs(20);

const ACT: &str = "save the processes of init";
const OVER: &str = "its time is over";
const KILLED: &str = "the process that it was just steering may have ended with it";

/// CRIU as a program of this host.
#[derive(Debug)]
pub struct Swrk {
    program: PathBuf,
}

impl Swrk {
    /// `program`: its path, or its name in the usual directories.
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    fn find(&self) -> Result<PathBuf> {
        let found = if self.program.is_absolute() {
            Some(self.program.clone()).filter(|p| p.is_file())
        } else {
            let beside = |dir: &&str| Path::new(dir).join(&self.program);
            DIRECTORIES.iter().map(beside).find(|p| p.is_file())
        };
        found.ok_or_else(|| {
            Error::new("find", self.program.display(), "there is no such program on this host")
                .kind(Kind::NotFound)
                .hint(
                    "install the package criu, or name the program in hostel.toml: [criu] program = \"/path/to/criu\"",
                )
        })
    }
}

impl Criu for Swrk {
    fn usable(&self) -> Result<(PathBuf, Version)> {
        let program = self.find()?;
        let fail = |e: std::io::Error| Error::os("run", program.display(), e);
        let output = Command::new(&program).arg("--version").output().map_err(fail)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = said.lines().find_map(|l| l.strip_prefix("Version:"));
        let strange = || Error::new("ask for the version of", program.display(), said.trim().to_owned());
        let version: Version = told.and_then(|v| v.parse().ok()).ok_or_else(strange)?;
        let kernel = crate::file::read(Path::new("/proc/sys/kernel/osrelease"))?;
        let needed = kernel.parse().map_or(Version(3, 14), least);
        if version < needed {
            let why = format!(
                "it is CRIU {version}, and Linux {} needs {needed} or later",
                kernel.trim()
            );
            return Err(Error::new("use", program.display(), why)
                .kind(Kind::Unsupported)
                .hint("name a later one in hostel.toml: [criu] program = \"/path/to/criu\""));
        }
        Ok((program, version))
    }

    fn await_end(&self, images: &Path) -> Result<()> {
        let path = images.join(LOCK);
        let Ok(lock) = File::options().read(true).write(true).open(&path) else {
            return Ok(()); // none was begun
        };
        let end = Instant::now() + PATIENCE;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(e) => return Err(Error::os("wait for CRIU, which holds", path.display(), e)),
            }
        }
    }

    fn mend(&self, init: u32, processes: &[u32]) -> Result<()> {
        if self.usable()?.1 < options::KNOWS_SKIP {
            super::mend::unlock(init)?;
        }
        super::mend::mend(processes)
    }

    fn wind_up(&self, processes: &[u32]) -> Result<()> {
        super::timers::wind_up(processes)
    }

    fn dump(&self, dump: &Dump, gone: &dyn Fn()) -> Result<Box<dyn Dumped>> {
        let end = Instant::now() + PERSISTENCE;
        let died = Cell::new(false);
        let gone = || {
            died.set(true);
            gone();
        };
        let given_up = |e: &Error| matches!(e.kind, Kind::TimedOut | Kind::Interrupted);
        loop {
            match self.attempt(dump, &gone) {
                Err(e) if !died.get() && !given_up(&e) && passes(&log_of(&dump.images)) && Instant::now() < end => {
                    std::thread::sleep(PAUSE);
                    remove_images(&dump.images)?;
                }
                done => return done,
            }
        }
    }
}

impl Swrk {
    /// One dump.
    fn attempt(&self, dump: &Dump, gone: &dyn Fn()) -> Result<Box<dyn Dumped>> {
        let (program, version) = self.usable()?;
        let fail = |e: std::io::Error| Error::os("run", program.display(), e);
        let (session, theirs) = Session::pair().map_err(fail)?;
        let images = File::open(&dump.images).map_err(|e| Error::os("open", dump.images.display(), e))?;
        let number = theirs.as_raw_fd();
        let path = dump.images.join(LOCK);
        let lock = crate::file::open_own(&path)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| Error::os("lock", path.display(), e))?;
        // CRIU inherits it, so it is held until that ends, whatever becomes of us.
        let held = lock.as_raw_fd();
        let mut command = Command::new(&program);
        command.arg("swrk").arg(number.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let pass = move || {
            // The images are read as a user of the VE's later.
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
            spare();
            // SAFETY: no memory arguments; the descriptors are this process's copies of `theirs` and `lock`.
            match unsafe { libc::fcntl(number, libc::F_SETFD, 0) | libc::fcntl(held, libc::F_SETFD, 0) } {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            }
        };
        // SAFETY: between fork and exec only umask, open, write, close and fcntl are called, which allocate nothing and take no lock. A group of its
        // own: Ctrl-C is for us, who then let the VE run on.
        let child = unsafe { command.process_group(0).pre_exec(pass) }
            .spawn()
            .map_err(fail)?;
        drop((theirs, lock));
        let mut standing = Standing {
            session,
            child,
            images: dump.images.clone(),
            over: false,
        };
        let options = options::dump(version, dump.init.pid, images.as_fd(), dump.freezer.as_deref());
        standing.session.dump(&options).map_err(fail)?;
        standing.until_saved(dump, gone)?;
        Ok(Box::new(standing))
    }
}

/// What CRIU has said of a dump; nothing if it hasn't begun.
fn log_of(images: &Path) -> String {
    std::fs::read_to_string(images.join(DUMP_LOG)).unwrap_or_default()
}

/// Removes what an attempt has left; the lock stays the one that others wait for.
fn remove_images(dir: &Path) -> Result<()> {
    let fail = |e: std::io::Error| Error::os("empty", dir.display(), e);
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.file_name() != LOCK {
            std::fs::remove_file(entry.path()).map_err(fail)?;
        }
    }
    Ok(())
}

/// Has the kernel end something else when memory runs out: a CRIU that dies leaves processes half saved. Needs
/// CAP_SYS_RESOURCE, which some hosts withhold. Allocates nothing.
fn spare() {
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(c"/proc/self/oom_score_adj", flags, rustix::fs::Mode::empty()) {
        let _ = rustix::io::write(file, b"-1000"); // without it all is as it would be
    }
}

/// A dump, with CRIU waiting for our word.
#[derive(Debug)]
struct Standing {
    session: Session,
    child: Child,
    images: PathBuf,
    over: bool,
}

impl Standing {
    fn until_saved(&mut self, dump: &Dump, gone: &dyn Fn()) -> Result<()> {
        let patience = Patience::until(dump.until);
        let failed = |why: &str| Error::new(ACT, dump.init.pid, why.to_owned());
        loop {
            let heard = match self.session.hear_while(|| patience.may_go_on()) {
                Ok(Some(heard)) => heard,
                Ok(None) => {
                    self.end_all()?;
                    gone();
                    let (kind, why) = patience.is_over().unwrap_or((Kind::TimedOut, OVER));
                    return Err(failed(&format!(
                        "{why}, and CRIU did not come to where it can be stopped; {KILLED}"
                    ))
                    .kind(kind));
                }
                Err(_) => Event::Gone,
            };
            match (heard, patience.is_over()) {
                // Dropping this has CRIU let all go.
                (Event::Stage { .. }, Some((kind, why))) => return Err(failed(why).kind(kind)),
                (Event::Stage { name, .. }, None) if name == "post-dump" => return Ok(()),
                (Event::Stage { .. }, None) if self.session.reply(true).is_ok() => {}
                (Event::Answer(_), _) => break,
                (Event::Stage { .. } | Event::Gone, _) => {
                    gone();
                    break;
                }
            }
        }
        self.over = true;
        let unsaid = || format!("CRIU ended without a word; if it was killed, {KILLED}");
        Err(failed(&reason(&log_of(&self.images)).unwrap_or_else(unsaid)))
    }

    /// Kills it with all that works for it.
    fn end_all(&mut self) -> Result<()> {
        // As long as it hasn't been waited for, nobody else can have its number.
        if matches!(self.child.try_wait(), Ok(None)) {
            let group = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
                .map_err(|e| Error::os("end", "CRIU", e))?;
        }
        self.end()
    }

    /// Kills it. One that hangs in the kernel may take its time, and isn't waited for without end: whoever needs its end
    /// waits for its lock.
    fn end(&mut self) -> Result<()> {
        self.over = true;
        let fail = |e: std::io::Error| Error::os("end", "CRIU", e);
        // Of one that has ended already this is no error.
        self.child.kill().map_err(fail)?;
        let end = Instant::now() + LETTING_GO;
        while self.child.try_wait().map_err(fail)?.is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Dumped for Standing {
    fn leave(mut self: Box<Self>) -> Result<()> {
        self.end()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let end = Instant::now() + LETTING_GO;
        if !self.over && self.session.reply(false).is_ok() {
            while let Ok(Some(Event::Stage { .. })) = self.session.hear_while(|| Instant::now() < end) {
                if self.session.reply(true).is_err() {
                    break;
                }
            }
        }
        // It ends by itself now; if it doesn't, it is ended.
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.end_all();
    }
}

/// For how long a dump is wanted.
struct Patience {
    until: Option<Instant>,
    /// When it was first seen that a person wants it no more.
    interrupted: Cell<Option<Instant>>,
}

impl Patience {
    fn until(until: Option<Instant>) -> Self {
        Self {
            until,
            interrupted: Cell::new(None),
        }
    }

    /// What it is given up for, as soon as CRIU can let all go in order.
    fn is_over(&self) -> Option<(Kind, &'static str)> {
        match self.until {
            _ if interrupt::raised() => Some((Kind::Interrupted, "it was interrupted")),
            Some(until) if Instant::now() >= until => Some((Kind::TimedOut, OVER)),
            _ => None,
        }
    }

    /// May CRIU still take its time? When a limit is over nobody has any: what runs is about to be ended with its host.
    fn may_go_on(&self) -> bool {
        match self.is_over() {
            None => true,
            Some((Kind::Interrupted, _)) => {
                let since = self.interrupted.get().unwrap_or_else(Instant::now);
                self.interrupted.set(Some(since));
                since.elapsed() < HEEDING && self.until.is_none_or(|until| Instant::now() < until)
            }
            Some(_) => false,
        }
    }
}
