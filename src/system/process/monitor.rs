//! Running hostel-monitor: from a file that can't be written, with a channel and its orders.

use std::ffi::CString;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hostel_monitor::Failure;
use hostel_monitor::identity::is_seen;
use hostel_monitor::message::{Channel, FromMonitor, ToMonitor};
use hostel_monitor::place::is_frozen;
use hostel_monitor::spec::{Adopt, Disk, Enter, Init, Resume, Role, Start};
use hostel_monitor::sys::mount_setattr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, MemfdFlags};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use super::forward::Held;
use super::init::{Lifeline, Process, age, find_init, gone};
use super::launch::Launched;
use super::relaunch::relaunch;
use super::spawn::{Program, Spawned};
use super::{
    Answer, Around, Bind, Entered, Guests, Launching, Mending, Mounting, Relaunching, Request, Streams, client,
};
use crate::scripts::{Bounds, Ran};
use crate::{Error, Kind, Result};

/// The real thing: monitors as processes of this host.
#[derive(Debug)]
pub struct Monitors {
    program: PathBuf,
}

impl Monitors {
    /// `program`: the hostel-monitor binary.
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// The monitor's program on a read-only mount of its own that nobody can reach: a guest that gets hold of the
    /// running file (CVE-2019-5736) finds it can't be written, and all monitors share its memory.
    fn shielded(&self) -> Result<OwnedFd> {
        let fail = |e: std::io::Error| Error::os("load", self.program.display(), e);
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let program = open_tree(CWD, &self.program, flags).map_err(|e| {
            fail(e.into()).hint("hostel-monitor lies beside the hostel command; was the installation moved in part?")
        })?;
        let inert = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID;
        mount_setattr(program.as_fd(), inert.bits().into(), None).map_err(fail)?;
        Ok(program)
    }

    /// Runs a monitor in this role, with these standard streams; `None`: none at all.
    pub(super) fn spawn(&self, role: &Role, streams: Option<Streams>) -> Result<(Spawned, Channel)> {
        let program = self.shielded()?;
        let orders = orders(role)?;
        let fail = |e: std::io::Error| Error::os("run", self.program.display(), e);
        let (ours, theirs) = Channel::pair().map_err(fail)?;
        // One that stays is not for the terminal's Ctrl-C, not even at its very beginning: a session of its own.
        let stays = streams.is_none();
        let nothing = File::options().read(true).write(true).open("/dev/null").map_err(fail)?;
        let nothing = Some(nothing.as_fd());
        let streams = match &streams {
            None => [nothing; 3],
            Some(Streams { input, output, error }) => [input, output, error].map(|fd| fd.as_ref().map(AsFd::as_fd)),
        };
        let passed = [theirs.as_fd().as_raw_fd(), orders.as_raw_fd()];
        let [channel, orders_number] = passed.map(|fd| CString::new(fd.to_string()).unwrap_or_default());
        let path = std::env::var_os("PATH").map(|path| [b"PATH=", path.as_encoded_bytes()].concat());
        let path = path.and_then(|path| CString::new(path).ok());
        let child = Program {
            file: program.as_fd(),
            argv: &[c"hostel-monitor", &channel, &orders_number],
            env: path.as_deref().as_slice(),
            streams,
            own_session: stays,
            passed: &passed,
            group: home(role)?.as_ref().map(AsFd::as_fd),
        }
        .spawn()
        .map_err(fail)?;
        Ok((child, ours))
    }

    /// Why a monitor has ended without a word.
    pub(super) fn silence(&self, act: &'static str, id: u32, monitor: &mut Spawned) -> Error {
        match monitor.failure() {
            Some(e) => Error::os("run", self.program.display(), e),
            None => Error::new(act, id, "its monitor ended without a word"),
        }
    }
}

/// The group that a monitor stays in while its VE runs.
fn home(role: &Role) -> Result<Option<OwnedFd>> {
    let watch = match role {
        Role::Start(start) => &start.watch,
        Role::Resume(resume) => &resume.watch,
        Role::Adopt(adopt) => &adopt.watch,
        Role::Enter(_) => return Ok(None),
    };
    let open = |group: &PathBuf| File::open(group).map_err(|e| Error::os("open cgroup", group.display(), e));
    let group = watch.place.unified.as_ref().map(open).transpose()?;
    Ok(group.map(OwnedFd::from))
}

fn orders(role: &Role) -> Result<File> {
    let fail = |e: std::io::Error| Error::os("write", "the monitor's orders", e);
    let memory = rustix::fs::memfd_create("orders", MemfdFlags::CLOEXEC).map_err(|e| fail(e.into()))?;
    let mut memory = File::from(memory);
    let text = serde_json::to_vec(role).map_err(|e| fail(e.into()))?;
    memory.write_all(&text).and_then(|()| memory.rewind()).map_err(fail)?;
    Ok(memory)
}

/// Makes a monitor's failure ours, with what it means to a person.
pub(super) fn from_failure(act: &'static str, object: impl std::fmt::Display, failure: Failure) -> Error {
    let kind = match failure.errno {
        Some(libc::ENOENT | libc::ESRCH) => Kind::NotFound,
        Some(libc::ENOSPC | libc::EDQUOT) => Kind::NoSpace,
        _ => Kind::Failed,
    };
    Error::new(act, object, failure).kind(kind)
}

impl Guests for Monitors {
    fn mount(&self, disk: Disk) -> Mounting {
        Mounting::begin(disk)
    }

    fn launch(&self, start: Start, disk: Mounting, binds: Vec<Bind>) -> Result<Box<dyn Launching>> {
        let launched = self.give_birth(start)?;
        for bind in binds {
            let message = ToMonitor::Bind(bind.path, bind.directory, bind.mapped);
            launched.hand_over(&message, bind.mount.as_fd())?;
        }
        Ok(Box::new(launched.with_disk(disk)?))
    }

    fn relaunch(&self, resume: Resume, disk: Disk, around: &Around<'_>) -> Result<Box<dyn Relaunching>> {
        relaunch(self, resume, &disk, around)
    }

    fn adopt(&self, adopt: Adopt) -> Result<()> {
        let (act, id) = ("watch over VE", adopt.watch.id);
        let (mut monitor, channel) = self.spawn(&Role::Adopt(adopt), None)?;
        match channel.receive::<FromMonitor>().map_err(|e| Error::os(act, id, e))? {
            Some((FromMonitor::Started, _)) => Ok(()),
            Some((FromMonitor::Failed(failure), _)) => Err(from_failure(act, id, failure)),
            _ => Err(self.silence(act, id, &mut monitor)),
        }
    }

    fn find(&self, processes: &[u32]) -> Option<Init> {
        find_init(processes)
    }

    fn alive(&self, init: Init) -> bool {
        is_seen(init) || matches!(Process::open(init), Ok(Some(_)))
    }

    fn hold(&self, init: Init) -> Option<Lifeline> {
        Process::open(init).ok()?.map(Lifeline::new)
    }

    fn age(&self, init: Init) -> Option<Duration> {
        age(init)
    }

    fn shut_down(&self, init: Init) -> Result<bool> {
        Process::open(init)?.map_or(Ok(true), |p| match p.shut_down() {
            // It ended while we looked.
            Err(_) if !self.alive(init) => Ok(true),
            asked => asked,
        })
    }

    fn end(&self, init: Init, patience: Duration) -> Result<bool> {
        Process::open(init)?.map_or(Ok(true), |p| p.end(patience))
    }

    fn write_out(&self, init: Init) -> Result<()> {
        let path = format!("/proc/{}/root", init.pid);
        let fail = |e: std::io::Error| Error::os("write out the disk below", &path, e);
        let root = File::open(&path).map_err(fail)?;
        rustix::fs::syncfs(root).map_err(|e| fail(e.into()))
    }

    fn wait(&self, init: Init, timeout: Duration) -> Result<bool> {
        Process::open(init)?.map_or(Ok(true), |p| p.wait(timeout))
    }

    fn ask(&self, run_dir: &Path, request: &Request) -> Result<Option<Answer>> {
        Ok(client::ask(run_dir, request, None)?.map(|connection| connection.answer))
    }

    fn take_over_clearing(&self, run_dir: &Path) -> Result<Option<OwnedFd>> {
        Ok(client::tell(run_dir, &Request::LeaveClearing)?.map(OwnedFd::from))
    }

    fn have_mended(&self, run_dir: &Path) -> Result<Option<Mending>> {
        Ok(client::tell(run_dir, &Request::Mend)?.map(Mending))
    }

    fn announce_end(&self, run_dir: &Path, init: Init) -> Result<Option<OwnedFd>> {
        let stream = match client::ask(run_dir, &Request::Finish, Some(HEARING)) {
            Ok(Some(connection)) => connection.stream,
            Ok(None) => return Ok(None),
            Err(e) if e.kind == Kind::TimedOut => return Ok(None),
            Err(e) => return Err(e),
        };
        // Only after the answer: in the queue of a monitor that hangs it would keep the disk in use. It has no use
        // other than speed, so if it can't be had or sent, the end takes longer.
        let mut path = File::options();
        let path = path.read(true).custom_flags(libc::O_PATH);
        if let Ok(root) = path.open(format!("/proc/{}/root", init.pid)) {
            let _ = client::send_with(&stream, root.as_fd());
        }
        Ok(Some(stream.into()))
    }

    fn await_boot(&self, run_dir: &Path, timeout: Duration, interrupted: &AtomicBool) -> Result<Option<Answer>> {
        match client::ask_until(run_dir, &Request::AwaitBoot, timeout, interrupted) {
            Ok(Some(connection)) => Ok(Some(connection.answer)),
            Ok(None) => Err(Error::new("wait for", "the guest", "it ended while it booted").kind(Kind::NotFound)),
            Err(e) if e.kind == Kind::TimedOut => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn enter(&self, enter: Enter, streams: Streams) -> Result<Entered> {
        if Process::open(enter.init)?.is_none() {
            return Err(gone(enter.init));
        }
        let held = Held::take()?;
        let payload = enter.payload.clone();
        let (mut entry, channel) = self.spawn(&Role::Enter(Box::new(enter)), Some(streams))?;
        let fail = |e: std::io::Error| Error::os("enter", "the VE", e);
        let mut told = None;
        if !forward(&held, entry.as_fd(), || is_frozen(&payload)).map_err(fail)? {
            return Ok(Entered::Paused);
        }
        while let Some((message, _)) = channel.receive::<FromMonitor>().map_err(fail)? {
            if matches!(
                message,
                FromMonitor::Failed(_) | FromMonitor::NotRun(_) | FromMonitor::Paused
            ) {
                told = Some(message);
            }
        }
        let code = entry.wait().map_err(fail)?;
        match told {
            Some(FromMonitor::Failed(failure)) => {
                let error = from_failure("run a command in", "the VE", failure);
                Err(if held.any_came() {
                    error.kind(Kind::Interrupted)
                } else {
                    error
                })
            }
            Some(FromMonitor::NotRun(failure)) => Ok(Entered::NotRun {
                missing: failure.errno == Some(libc::ENOENT),
                reason: failure.reason,
            }),
            Some(FromMonitor::Paused) => Ok(Entered::Paused),
            _ => match entry.failure() {
                Some(e) => Err(Error::os("run", self.program.display(), e)),
                None => Ok(Entered::Code(code)),
            },
        }
    }

    fn edit(&self, enter: Enter, patience: Duration) -> Result<bool> {
        super::edit::edit(self, enter, patience)
    }

    fn script(&self, enter: Enter, bounds: Bounds<'_>) -> Result<Ran> {
        super::script::script(self, enter, bounds)
    }
}

/// How long a monitor may take to hear that its VE is about to end.
const HEARING: Duration = Duration::from_secs(1);

impl Monitors {
    /// A monitor, and the VE's first process with its namespaces.
    fn give_birth(&self, start: Start) -> Result<Launched> {
        let (act, id) = ("start VE", start.watch.id);
        let (mut monitor, channel) = self.spawn(&Role::Start(Box::new(start)), None)?;
        match channel.receive().map_err(|e| Error::os(act, id, e))? {
            Some((FromMonitor::Born(init), Some(network))) => Ok(Launched::new(id, monitor, channel, init, network)),
            Some((FromMonitor::Failed(failure), _)) => Err(from_failure(act, id, failure)),
            _ => Err(self.silence(act, id, &mut monitor)),
        }
    }
}

/// How long an entry's process may take to react to a signal before it is looked whether it can.
const REACTS_WITHIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000_000,
};

/// Passes signals on to an entry's process until that has ended. False if it was told to end and is frozen itself, as it
/// is with the VE on a host that has the v1 freezer only.
fn forward(held: &Held, entry: BorrowedFd<'_>, is_frozen: impl Fn() -> bool) -> std::io::Result<bool> {
    let mut patience = None;
    loop {
        let mut fds = [PollFd::new(&entry, PollFlags::IN), PollFd::new(held, PollFlags::IN)];
        let ready = match poll(&mut fds, patience.as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        if !fds[0].revents().is_empty() {
            return Ok(true);
        }
        if ready == 0 && is_frozen() {
            return Ok(false);
        }
        patience = (ready > 0).then_some(REACTS_WITHIN);
        held.pass_to(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn watched(child: &Child) -> OwnedFd {
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
    }

    /// An entry's process that doesn't care for the signal.
    #[test]
    fn who_is_told_to_end_and_frozen_is_not_waited_for() {
        let held = Held::take().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; exec sleep 30"])
            .spawn()
            .unwrap();
        // SAFETY: no memory arguments, and a thread that surely lives.
        assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGTERM) }, 0);
        let ended = forward(&held, watched(&child).as_fd(), || true);
        let _ = child.kill();
        child.wait().unwrap();
        assert!(!ended.unwrap() && held.any_came());
        // One that isn't frozen is.
        let mut child = Command::new("sleep").arg("1").spawn().unwrap();
        let ended = forward(&held, watched(&child).as_fd(), || {
            panic!("nobody was told to end since")
        });
        child.wait().unwrap();
        assert!(ended.unwrap());
    }
}
