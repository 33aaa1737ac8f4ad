//! The monitor's side of a start: from the birth of the VE's first process until init runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};

use crate::dev::Device;
use crate::error::{Failure, Result, Step};
use crate::guest::{self, Left};
use crate::message::{Channel, FromChild, FromMonitor, ToChild, ToMonitor};
use crate::sheet::Sheet;
use crate::spec::{ID_RANGE, Init, Start};
use crate::sys::{self, Cloned};
use crate::view::View;
use crate::{bind, child, identity, place, root};

/// A VE whose init runs, as its monitor holds it.
#[derive(Debug)]
pub struct Running {
    /// Its init.
    pub init: Init,
    /// The same as a descriptor.
    pub pidfd: OwnedFd,
    /// The console's master.
    pub console: Option<OwnedFd>,
    /// Where init tells that it has booted.
    pub notify: Option<OwnedFd>,
    /// Its view of /proc, if it is to have one.
    pub view: Option<View>,
    /// Its sheet, if it is to have one.
    pub sheet: Option<Sheet>,
}

/// All namespaces but the cgroup one, which the child makes when it stands in its group.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC;

/// SECBIT_NO_SETUID_FIXUP of capabilities(7): changing the user id leaves the capabilities alone.
const NO_SETUID_FIXUP: u64 = 4;

/// Starts the VE. On failure whatever was begun has ended: the child dies with its channel at the latest.
pub fn start(start: &Start, engine: &Channel) -> Result<Running> {
    let (pidfd, init, child) = give_birth(start)?;
    let begun = bring_up(start, engine, &child, init, pidfd.as_fd());
    match begun {
        Ok((console, notify, view, sheet)) => Ok(Running {
            init,
            pidfd,
            console,
            notify,
            view,
            sheet,
        }),
        Err(failure) => {
            end(pidfd.as_fd());
            Err(failure)
        }
    }
}

fn end(pidfd: BorrowedFd<'_>) {
    // It may have ended by itself; either way it is waited for, so that its group is empty when we report.
    let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
    let _ = rustix::process::waitid(
        rustix::process::WaitId::PidFd(pidfd),
        rustix::process::WaitIdOptions::EXITED,
    );
}

/// One clone3 with all namespaces, by a process whose effective user is the VE's own: inotify and namespace counters
/// are charged to the creator of a user namespace, so with root as creator one VE could starve the next.
fn give_birth(start: &Start) -> Result<(OwnedFd, Init, Channel)> {
    let (ours, theirs) = Channel::pair().step("make", "a channel to the child")?;
    place::join_v1(&start.payload)?;
    let group = place::open_v2(&start.payload)?;
    sys::prctl(libc::PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0).step("keep capabilities over", "a change of user")?;
    sys::set_effective(start.owner).step("become user", start.owner)?;
    let born = sys::clone3(NAMESPACES as u64, group.as_ref().map(AsFd::as_fd));
    if let Ok(Cloned::Child) = born {
        child::run(start, &theirs);
    }
    sys::set_effective(0).step("become user", 0)?;
    sys::prctl(libc::PR_SET_SECUREBITS, 0, 0).step("reset", "the secure bits")?;
    // Out of the VE's limits again, now that its first process was born inside them: neither may they hold up the
    // monitor, nor may the monitor's work (mounting a disk, for one) be something that the guest's group allows.
    place::join_v1(&start.watch.place)?;
    match born.step("make", "the VE's namespaces")? {
        Cloned::Parent(pid, pidfd) => Ok((pidfd, identity::identify(pid as u32)?, ours)),
        Cloned::Child => unreachable!("the child never gets here"),
    }
}

type Held = (Option<OwnedFd>, Option<OwnedFd>, Vec<Left>);
type Brought = (Option<OwnedFd>, Option<OwnedFd>, Option<View>, Option<Sheet>);

fn bring_up(start: &Start, engine: &Channel, child: &Channel, init: Init, pidfd: BorrowedFd<'_>) -> Result<Brought> {
    map_ids(init.pid, start.id_base)?;
    let path = format!("/proc/{}/ns/user", init.pid);
    let user_namespace = std::fs::File::open(&path).step("open", path)?;
    let path = format!("/proc/{}/ns/net", init.pid);
    let network = std::fs::File::open(&path).step("open", path)?;
    // The engine makes the network while the root is put together here. It isn't left to open it: if the root can't
    // be put together, the process may be gone by then, and that would hide why.
    engine
        .send(&FromMonitor::Born(init), &[network.as_fd()])
        .step("report to", "the engine")?;
    drop(network);
    let (binds, disk) = bind::receive(engine)?;
    let (tree, devices) = root::assemble(start, disk.as_fd(), user_namespace.as_fd())?;
    drop(disk);
    for Device {
        name,
        numbers: (major, minor),
        mount,
    } in devices
    {
        child
            .send(&ToChild::Device(name, major, minor), &[mount.as_fd()])
            .step("hand over", "a device")?;
    }
    bind::hand_over(binds, user_namespace.as_fd(), child, engine)?;
    child
        .send(&ToChild::Root, &[tree.as_fd()])
        .step("hand over", "the VE's root")?;
    root::note_device(tree.as_fd(), &start.watch.run_dir)?;
    drop(tree);
    let (console, notify, left) = await_ready(child)?;
    note_left(&start.watch.run_dir, &left)?;
    let view = start.watch.view.as_deref().map(|mount| View::new(mount, pidfd));
    let sheet = start.watch.sheet.as_ref();
    let sheet = sheet.map(|spec| Sheet::new(spec, &start.watch.run_dir, pidfd));
    let failures = [
        view.as_ref().and_then(|(_, done)| done.as_ref().err()),
        sheet.as_ref().and_then(|s| s.as_ref().err()),
    ];
    for failure in failures.into_iter().flatten() {
        // The VE is well without.
        engine
            .send(&FromMonitor::Without(failure.clone()), &[])
            .step("report to", "the engine")?;
    }
    engine
        .send(&FromMonitor::Furnished, &[])
        .step("report to", "the engine")?;
    match engine.receive::<ToMonitor>().step("hear from", "the engine")? {
        Some((ToMonitor::Go, _)) => {}
        Some(_) => return Err(Failure::new("start", "init", "the engine spoke out of turn")),
        None => return Err(Failure::new("start", "init", "the engine gave the start up")),
    }
    child.send(&ToChild::Go, &[]).step("release", "the child")?;
    await_exec(child, engine)?;
    Ok((console, notify, view.map(|(view, _)| view), sheet.and_then(Result::ok)))
}

/// Waits until init runs: the child's end of the channel closes at exec, and before that only a failure can come. What a
/// script has run inside may keep the child from that for ever, so the engine may give up.
fn await_exec(child: &Channel, engine: &Channel) -> Result<()> {
    loop {
        let mut fds = [PollFd::new(child, PollFlags::IN), PollFd::new(engine, PollFlags::RDHUP)];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.step("hear from", "the child")?,
        };
        if fds[0].revents().is_empty() {
            return Err(Failure::new("run", "init", "the engine gave the start up"));
        }
        return match child.receive::<FromChild>().step("hear from", "the child")? {
            None => Ok(()),
            Some((FromChild::Failed(failure), _)) => Err(failure),
            Some(_) => Err(Failure::new("run", "init", "the child spoke out of turn")),
        };
    }
}

fn map_ids(pid: u32, base: u32) -> Result<()> {
    for map in ["uid_map", "gid_map"] {
        let path = format!("/proc/{pid}/{map}");
        std::fs::write(&path, format!("0 {base} {ID_RANGE}\n")).step("write", path)?;
    }
    Ok(())
}

/// For the engine, whichever process of it finishes the start: there before init runs, or there is no start.
fn note_left(run_dir: &Path, left: &[Left]) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let path = run_dir.join(guest::LEFT);
    let text = serde_json::to_vec(left).step("write", path.display())?;
    std::fs::write(&path, text).step("write", path.display())
}

fn await_ready(child: &Channel) -> Result<Held> {
    let (mut console, mut notify, mut all_left) = (None, None, Vec::new());
    loop {
        match child.receive::<FromChild>().step("hear from", "the child")? {
            Some((FromChild::Console, fd)) => console = fd,
            Some((FromChild::Notify, fd)) => notify = fd,
            Some((FromChild::Left(left), _)) => all_left.push(left),
            Some((FromChild::Ready, _)) => return Ok((console, notify, all_left)),
            Some((FromChild::Failed(failure), _)) => return Err(failure),
            None => return Err(Failure::new("start", "init", "its process ended without a word")),
        }
    }
}
