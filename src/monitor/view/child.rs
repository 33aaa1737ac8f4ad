//! What is done inside a VE from outside: by children that join it, so that nothing that hangs there has the monitor hang.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::error::{Failure, Result, Step};
use crate::message::{Channel, FromChild};
use crate::sys::{self, Cloned};

/// How long a child may take. One that does its work needs a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one that was killed may take to end: if it hangs in the kernel, it is left to that.
const DYING: Duration = Duration::from_millis(200);

/// Has a child do this, in the host's pid namespace, where nobody inside can see it.
pub fn by_child(init: BorrowedFd<'_>, what: &str, work: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> Result<()> {
    let (ours, theirs) = Channel::pair().step("make", "a channel to the child")?;
    match sys::clone3(0, None).step("start a process to", what)? {
        Cloned::Child => {
            // Nothing of the monitor's must stay open, should it never end. Nor may anybody inside look into it.
            let done = sys::prctl(libc::PR_SET_DUMPABLE, 0, 0)
                .and_then(|_| sys::close_all_but(&[init.as_raw_fd(), theirs.as_fd().as_raw_fd()]))
                .step("shield the process to", what)
                .and_then(|()| work(init));
            let message = match done {
                Ok(()) => FromChild::Ready,
                Err(failure) => FromChild::Failed(failure),
            };
            let _ = theirs.send(&message, &[]);
            sys::exit_at_once()
        }
        Cloned::Parent(_, child) => {
            drop(theirs);
            let heard = hear(&ours, what);
            // It has done its work, or never will.
            let _ = pidfd_send_signal(&child, Signal::KILL);
            if readable(&child, DYING) {
                let _ = waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED);
            }
            heard
        }
    }
}

fn hear(child: &Channel, what: &str) -> Result<()> {
    if !readable(child, PATIENCE) {
        return Err(Failure::new(
            what,
            "",
            "what it is to come from, or the VE, doesn't answer",
        ));
    }
    match child.receive::<FromChild>().step("hear from the process to", what)? {
        Some((FromChild::Ready, _)) => Ok(()),
        Some((FromChild::Failed(failure), _)) => Err(failure),
        _ => Err(Failure::new(what, "", "the process for it ended without a word")),
    }
}

fn readable(fd: &impl AsFd, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).ok();
    poll(&mut [PollFd::new(fd, PollFlags::IN)], patience.as_ref()).is_ok_and(|ready| ready > 0)
}

/// Joins the VE. Returns this process's own directory of the host's /proc: the VE's may be anything.
pub fn enter(init: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/self", flags, Mode::empty()).step("open", "/proc/self")?;
    sys::setns(init, libc::CLONE_NEWUSER | libc::CLONE_NEWNS).step("join", "the VE's namespaces")?;
    sys::become_user(0, 0, &[]).step("become", "the VE's root")?;
    Ok(own)
}
