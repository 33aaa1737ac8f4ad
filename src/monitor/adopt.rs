//! A console for a VE whose monitor was killed. The old terminal died with the monitor that held its master; a new
//! one takes its place at the VE's /dev/console, where the guest's getty finds it when it opens that again.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::UnmountFlags;
use rustix::process::{Signal, pidfd_send_signal};

use crate::error::{Failure, Result, Step};
use crate::message::{Channel, FromChild};
use crate::sys::{self, Cloned};
use crate::{dev, exit, root};

/// The guest may have put anything in our way, a file system that never answers too.
const PATIENCE: Duration = Duration::from_secs(2);

const CONSOLE: &str = "/dev/console";

/// Gives the VE a new console; its master.
///
/// A child does it, inside the VE and with nothing but the rights of its root. It stays in the host's pid namespace,
/// so nobody inside can see it.
pub fn console(init: BorrowedFd<'_>) -> Result<OwnedFd> {
    sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).step("shield", "this process")?;
    let (ours, theirs) = Channel::pair().step("make", "a channel to the child")?;
    match sys::clone3(0, None).step("start", "a process for the VE's console")? {
        Cloned::Child => {
            let message = match replace(init, &theirs) {
                Ok(()) => None,
                Err(failure) => Some(FromChild::Failed(failure)),
            };
            if let Some(message) = message {
                let _ = theirs.send(&message, &[]);
            }
            sys::exit_at_once()
        }
        Cloned::Parent(_, child) => {
            drop(theirs);
            let master = await_master(&ours);
            let _ = pidfd_send_signal(&child, Signal::KILL); // it has done its work, or never will
            exit::reap(child.as_fd(), PATIENCE);
            master
        }
    }
}

fn await_master(child: &Channel) -> Result<OwnedFd> {
    let patience = Timespec::try_from(PATIENCE).ok();
    poll(&mut [PollFd::new(child, PollFlags::IN)], patience.as_ref())
        .step("hear from", "the process for the VE's console")
        .and_then(|ready| match ready {
            0 => Err(Failure::new("open", "a terminal in the VE", "its /dev doesn't answer")),
            _ => Ok(()),
        })?;
    match child
        .receive::<FromChild>()
        .step("hear from", "the process for the VE's console")?
    {
        Some((FromChild::Console, Some(master))) => Ok(master),
        Some((FromChild::Failed(failure), _)) => Err(failure),
        _ => Err(Failure::new(
            "open",
            "a terminal in the VE",
            "the process for it ended without a word",
        )),
    }
}

fn replace(init: BorrowedFd<'_>, monitor: &Channel) -> Result<()> {
    sys::close_all_but(&[init.as_raw_fd(), monitor.as_fd().as_raw_fd()]).step("close", "the monitor's descriptors")?;
    let inside = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
    sys::setns(init, inside).step("join", "the VE's namespaces")?;
    sys::become_user(0, 0, &[]).step("become", "the VE's root")?;
    let (master, slave) = dev::open_terminal()?;
    dev::give_mode(slave.as_fd())?;
    let mount = root::clone_mount(slave.as_fd(), "the console's terminal")?;
    // The dead one; if the guest has taken it away itself, so be it.
    let _ = rustix::mount::unmount(CONSOLE, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let point = rustix::fs::openat(CWD, CONSOLE, flags, Mode::empty()).step("open", CONSOLE)?;
    let stat = rustix::fs::fstat(&point).step("look at", CONSOLE)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::CharacterDevice => {}
        _ => {
            return Err(Failure::new(
                "attach the console at",
                CONSOLE,
                "the guest has put something else there",
            ));
        }
    }
    root::place(mount.as_fd(), point.as_fd())?;
    monitor
        .send(&FromChild::Console, &[master.as_fd()])
        .step("hand over", "the console")
}
