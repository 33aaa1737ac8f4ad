//! SIGINT and SIGTERM as a flag.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::{Error, Kind, Result};

/// The flag that the handler raises.
static FLAG: AtomicPtr<AtomicBool> = AtomicPtr::new(std::ptr::null_mut());

/// When the first signal came, in milliseconds of the monotonic clock; 0: none has come.
static FIRST: AtomicU64 = AtomicU64::new(0);

/// What comes within this many milliseconds is the same wish: timeout(1) and sudo(8) pass on to a command what its
/// whole process group gets anyway.
const SAME: u64 = 1000;

/// Is this another wish than the one that was heard first?
fn is_another(first: u64, now: u64) -> bool {
    first != 0 && now.saturating_sub(first) > SAME
}

fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // From 1 on; the clock doesn't go below zero.
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000 + 1
}

extern "C" fn raise(signal: libc::c_int) {
    let (first, now) = (FIRST.load(Ordering::Relaxed), now());
    if is_another(first, now) {
        // SAFETY: both calls are async-signal-safe (signal-safety(7)) and take no memory.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal); // comes when this handler returns
        }
        return;
    }
    if first == 0 {
        FIRST.store(now, Ordering::Relaxed);
    }
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

/// The first SIGINT or SIGTERM raises `flag`; system calls that wait are interrupted. One that comes more than a second
/// later has its default action, for whoever can't wait for the undo.
pub fn on_interrupt(flag: &'static AtomicBool) -> Result<()> {
    FLAG.store(std::ptr::from_ref(flag).cast_mut(), Ordering::Relaxed);
    let action = SigAction::new(SigHandler::Handler(raise), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler touches atomics, reads a clock and calls what is async-signal-safe (signal-safety(7)).
        unsafe { sigaction(signal, &action) }.map_err(|e| Error::os("watch for", signal, e))?;
    }
    Ok(())
}

/// SIGINT and SIGTERM have their default action again, as if none had come.
pub fn off_interrupt() -> Result<()> {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: no handler is installed.
        unsafe { sigaction(signal, &action) }.map_err(|e| Error::os("watch no more for", signal, e))?;
    }
    FIRST.store(0, Ordering::Relaxed);
    Ok(())
}

/// As [`on_interrupt`], of what ends a program together with its terminal, or is sent by whoever wants it gone: for a program that
/// has to leave the terminal as it was.
pub fn on_end_of_terminal(flag: &'static AtomicBool) -> Result<()> {
    on_interrupt(flag)?;
    let action = SigAction::new(SigHandler::Handler(raise), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: as above.
        unsafe { sigaction(signal, &action) }.map_err(|e| Error::os("watch for", signal, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_no_second_wish() {
        assert!(!is_another(0, 5));
        assert!(!is_another(5, 5) && !is_another(5, 5 + SAME));
        assert!(is_another(5, 6 + SAME));
        assert!(now() > 0);
    }
}
