//! Work in another network namespace.

use std::os::fd::BorrowedFd;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::{Error, Result};

/// Runs `work` in a thread that has entered the network namespace and ends with it, so that no thread of ours is
/// ever left in the wrong namespace.
pub(super) fn within<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let act = "enter the network namespace of";
    let enter = || {
        setns(netns, CloneFlags::CLONE_NEWNET).map_err(|e| Error::os(act, "the VE", e))?;
        work()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, enter);
        let thread = thread.map_err(|e| Error::os("start a thread for", "the VE's network", e))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::new(act, "the VE", "the thread panicked")))
    })
}
