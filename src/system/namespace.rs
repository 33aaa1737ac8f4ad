//! Work in another namespace.

use std::os::fd::BorrowedFd;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::{Error, Result};

/// As [`within`], in a network namespace.
pub fn within_network<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    within(namespace, CloneFlags::CLONE_NEWNET, work)
}

/// Runs `work` in a thread that has entered the VE's namespace, of this kind, and ends with it, so that no thread of
/// ours is ever left in the wrong namespace.
pub fn within<T: Send>(
    namespace: BorrowedFd<'_>,
    kind: CloneFlags,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let act = "enter a namespace of";
    let enter = || {
        setns(namespace, kind).map_err(|e| Error::os(act, "the VE", e))?;
        work()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("namespace".into())
            .spawn_scoped(scope, enter);
        let thread = thread.map_err(|e| Error::os("start a thread in", "a namespace of the VE", e))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::new(act, "the VE", "the thread panicked")))
    })
}
