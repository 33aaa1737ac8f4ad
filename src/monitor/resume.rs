//! The monitor's side of a resume: it mounts the root, runs CRIU, whose restored init becomes its child, and stays.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, pidfd_send_signal, wait, waitid};

use crate::error::{Failure, Result, Step};
use crate::message::{Channel, FromMonitor, ToMonitor};
use crate::sheet::Sheet;
use crate::spec::{ID_RANGE, Init, Resume};
use crate::start::Running;
use crate::sys::{self, Cloned};
use crate::view::View;
use crate::{identity, privilege, root};

/// How long CRIU may take to end when it has been left or has nothing more to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Resumes the VE. On failure whatever was begun has ended. CRIU comes back too: it ends soon.
pub fn resume(spec: &Resume, engine: &Channel) -> Result<(Running, OwnedFd)> {
    let disk = receive(engine, |m| *m == ToMonitor::Disk)?;
    let namespace = user_namespace(spec.id_base)?;
    let home = root::lay_out(spec, disk.as_fd(), namespace.as_fd())?;
    drop(disk);
    // In this mount namespace, and for CRIU to open through this process: it mounts below its working directory.
    let images = std::fs::File::open(&spec.images).step("open", spec.images.display());
    // Should CRIU be killed, its helpers become ours, and can be ended.
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).step("become", "the parent of orphans")?;
    let criu = run_criu(spec);
    sys::setns(home.as_fd(), libc::CLONE_NEWNS).step("return to", "the host's mount namespace")?;
    let (images, (criu, socket)) = (images?, criu?);
    engine
        .send(&FromMonitor::Criu(images.as_raw_fd()), &[socket.as_fd()])
        .step("report to", "the engine")?;
    let mut tree = None;
    // As long as we hold its socket, CRIU doesn't hear of the engine's end: at its last stages it would let go what it
    // has restored, and nothing must run that nobody has decided on.
    let attended = attend(spec, engine, criu.as_fd(), &mut tree);
    match attended {
        Ok(console) => match tree {
            Some((init, pidfd)) => {
                // What the guest leaves without a parent is its init's, and the host's orphans are the host's.
                let _ = sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 0, 0);
                let view = View::adopted(spec.watch.view.as_deref(), pidfd.as_fd());
                let sheet = Sheet::adopted(&spec.watch, pidfd.as_fd());
                let running = Running {
                    init,
                    pidfd,
                    console,
                    notify: None,
                    view,
                    sheet,
                };
                Ok((running, criu))
            }
            None => Err(Failure::new("resume", "init", "the engine spoke out of turn")),
        },
        Err(failure) => {
            if let Some((_, pidfd)) = &tree {
                let _ = pidfd_send_signal(pidfd, Signal::KILL); // CRIU may have done so
            }
            drop(socket);
            await_end(criu);
            end_children();
            Err(failure)
        }
    }
}

/// Ends all children of this process, which are what CRIU has restored, or was about to, and its helpers.
fn end_children() {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    loop {
        let children = std::fs::read_to_string(&path).unwrap_or_default();
        let mut pids = children
            .split_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
            .peekable();
        if pids.peek().is_none() {
            break;
        }
        for pid in pids {
            let _ = kill_process(pid, Signal::KILL); // its number is its own until we have waited for it
        }
        let _ = wait(WaitOptions::empty()); // whichever it is, the next look tells
    }
}

/// Waits for CRIU's end, and makes an end of it in the end.
pub fn await_end(criu: OwnedFd) {
    let patience = Timespec::try_from(PATIENCE).ok();
    if !matches!(
        poll(&mut [PollFd::new(&criu, PollFlags::IN)], patience.as_ref()),
        Ok(1..)
    ) {
        let _ = pidfd_send_signal(&criu, Signal::KILL); // it may have ended in this moment
    }
    let _ = waitid(WaitId::PidFd(criu.as_fd()), WaitIdOptions::EXITED);
}

fn end(pidfd: BorrowedFd<'_>) {
    let _ = pidfd_send_signal(pidfd, Signal::KILL); // CRIU may have done so
    let _ = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
}

fn receive(engine: &Channel, expected: impl Fn(&ToMonitor) -> bool) -> Result<OwnedFd> {
    match engine.receive::<ToMonitor>().step("hear from", "the engine")? {
        Some((message, Some(fd))) if expected(&message) => Ok(fd),
        Some(_) => Err(Failure::new("resume", "init", "the engine spoke out of turn")),
        None => Err(Failure::new("resume", "init", "the engine gave the resume up")),
    }
}

/// A user namespace with the VE's map, to mount its root by. CRIU makes the VE's own later.
fn user_namespace(base: u32) -> Result<std::fs::File> {
    match sys::clone3(libc::CLONE_NEWUSER as u64, None).step("make", "a user namespace")? {
        Cloned::Child => loop {
            std::thread::park();
        },
        Cloned::Parent(pid, pidfd) => {
            let opened = map_and_open(pid as u32, base);
            end(pidfd.as_fd());
            opened
        }
    }
}

fn map_and_open(pid: u32, base: u32) -> Result<std::fs::File> {
    for map in ["uid_map", "gid_map"] {
        let path = format!("/proc/{pid}/{map}");
        std::fs::write(&path, format!("0 {base} {ID_RANGE}\n")).step("write", path)?;
    }
    let path = format!("/proc/{pid}/ns/user");
    std::fs::File::open(&path).step("open", path)
}

/// Runs CRIU; its process, and the way to it.
fn run_criu(spec: &Resume) -> Result<(OwnedFd, OwnedFd)> {
    let program = spec.criu.display().to_string();
    let (ours, socket) = Channel::pair().step("make", "a channel to CRIU")?;
    let socket = socket.as_fd();
    match sys::clone3(0, None).step("run", &program)? {
        Cloned::Parent(_, pidfd) => Ok((pidfd, ours.into())),
        Cloned::Child => {
            let number = socket.as_raw_fd();
            let ready = sys::close_all_but(&[number])
                .and_then(|()| Ok(rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty())?));
            if ready.is_ok() {
                let argv = [program.clone(), "swrk".into(), number.to_string()];
                let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
                // The groups that it makes are the guest's too.
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
                let _ = sys::restore_signals();
                // Before 3.18 it takes the VE's kernel.shmmax and the like for the host's on Linux 5.19 and later, and
                // sets them where it runs itself.
                if sys::unshare(libc::CLONE_NEWIPC).is_ok() {
                    let _ = sys::exec(&program, &argv, &[path]);
                }
            }
            sys::exit_at_once() // the engine hears that its socket is closed
        }
    }
}

/// Waits for the engine to say something. It in turn waits for CRIU, and wouldn't hear of its end: helpers of CRIU's
/// keep the socket open and wait for the processes that are half restored, and these for CRIU.
fn await_word(engine: &Channel, criu: BorrowedFd<'_>) -> Result<()> {
    loop {
        let mut fds = [PollFd::new(engine, PollFlags::IN), PollFd::new(&criu, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e).step("wait for", "the engine"),
            Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
            Ok(_) => return Err(Failure::new("resume", "init", "CRIU has ended before its time")),
        }
    }
}

/// Follows the engine through the restore, until it says that the VE goes on. The console's master.
fn attend(
    spec: &Resume,
    engine: &Channel,
    criu: BorrowedFd<'_>,
    tree: &mut Option<(Init, OwnedFd)>,
) -> Result<Option<OwnedFd>> {
    let mut console = None;
    loop {
        await_word(engine, criu)?;
        match engine.receive::<ToMonitor>().step("hear from", "the engine")? {
            Some((ToMonitor::Tree(pid), _)) => {
                let init = identity::identify(pid)?;
                *tree = Some((init, identity::open(init)?));
                engine
                    .send(&FromMonitor::Born(init), &[])
                    .step("report to", "the engine")?;
            }
            Some((ToMonitor::Console, fd)) => console = fd,
            Some((ToMonitor::Go, _)) => {
                let Some((init, _)) = tree else {
                    return Err(Failure::new("resume", "init", "the engine spoke out of turn"));
                };
                limit(spec, *init)?;
                return Ok(console);
            }
            Some(_) => return Err(Failure::new("resume", "init", "the engine spoke out of turn")),
            None => return Err(Failure::new("resume", "init", "the engine gave the resume up")),
        }
    }
}

/// The limits of the VE's user namespace, which CRIU doesn't keep, written by a child that joins it.
fn limit(spec: &Resume, init: Init) -> Result<()> {
    let path = format!("/proc/{}/ns/user", init.pid);
    let namespace = std::fs::File::open(&path).step("open", path)?;
    let (ours, theirs) = Channel::pair().step("make", "a channel to the child")?;
    match sys::clone3(0, None).step("start", "a process for the VE's limits")? {
        Cloned::Child => {
            let done = sys::setns(namespace.as_fd(), libc::CLONE_NEWUSER)
                .step("join", "the VE's user namespace")
                .and_then(|()| privilege::limit_namespace(spec.switches));
            if let Err(failure) = done {
                let _ = theirs.send(&FromMonitor::Failed(failure), &[]); // without it the parent waits for nothing
            }
            sys::exit_at_once()
        }
        Cloned::Parent(_, child) => {
            drop(theirs);
            let said = ours
                .receive::<FromMonitor>()
                .step("hear from", "the process for the VE's limits");
            let _ = waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED);
            match said? {
                Some((FromMonitor::Failed(failure), _)) => Err(failure),
                _ => Ok(()),
            }
        }
    }
}
