//! SIGINT and SIGTERM as a flag.

use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::{Error, Kind, Result};

/// The flag that the handler raises.
static FLAG: AtomicPtr<AtomicBool> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn raise(_: libc::c_int) {
    let flag = FLAG.load(Ordering::Relaxed);
    // SAFETY: the pointer is null or comes from a &'static AtomicBool, on which only atomic operations are done.
    if let Some(flag) = unsafe { flag.as_ref() } {
        flag.store(true, Ordering::Relaxed);
    }
}

/// Is it up?
pub(crate) fn raised() -> bool {
    let flag = FLAG.load(Ordering::Relaxed);
    // SAFETY: as in the handler.
    unsafe { flag.as_ref() }.is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Fails if it is up: long work asks now and then, and what it has made is undone by whoever asked for it.
pub(crate) fn check(act: &'static str, object: impl std::fmt::Display) -> Result<()> {
    if raised() { Err(given_up(act, object)) } else { Ok(()) }
}

/// The error of work that was given up.
pub(crate) fn given_up(act: &'static str, object: impl std::fmt::Display) -> Error {
    Error::new(act, object, "interrupted").kind(Kind::Interrupted)
}

/// The first SIGINT or SIGTERM raises `flag`; system calls that wait are interrupted. The second has its default
/// action, for whoever can't wait for the undo.
pub fn on_interrupt(flag: &'static AtomicBool) -> Result<()> {
    FLAG.store(std::ptr::from_ref(flag).cast_mut(), Ordering::Relaxed);
    let action = SigAction::new(SigHandler::Handler(raise), SaFlags::SA_RESETHAND, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only touches atomics, which is async-signal-safe (signal-safety(7)).
        unsafe { sigaction(signal, &action) }.map_err(|e| Error::os("watch for", signal, e))?;
    }
    Ok(())
}
