//! Ctrl-C: one flag for the whole process, looked at between steps and while waiting.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The flag.
pub fn flag() -> &'static AtomicBool {
    &INTERRUPTED
}

/// From now on SIGINT and SIGTERM raise the flag instead of ending the process. One that comes
/// more than a second later ends it.
pub fn watch() -> crate::Result<()> {
    Ok(hostel_system::process::on_interrupt(&INTERRUPTED)?)
}

/// They end the process again, and what came before is forgotten. True if one came.
pub fn unwatch() -> crate::Result<bool> {
    hostel_system::process::off_interrupt()?;
    Ok(INTERRUPTED.swap(false, Ordering::Relaxed))
}

/// As [`watch`], and so do SIGHUP and SIGQUIT: for a program that has to leave its terminal as it was.
pub fn watch_terminal() -> crate::Result<()> {
    Ok(hostel_system::process::on_end_of_terminal(&INTERRUPTED)?)
}

/// Raises it: whoever looks at it ends.
pub fn raise() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Was it raised?
pub fn raised() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
