//! Places in every operation where a test can make it fail or die.

use std::fmt;

use crate::error::Result;

/// Which side of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The act was announced in the journal and has not run.
    Before,
    /// It has run, and the journal doesn't know yet.
    After,
    /// The undo was announced and has not run.
    UndoBefore,
    /// It has run, and the journal doesn't know yet.
    UndoAfter,
}

impl Side {
    /// On the way back?
    #[cfg(test)]
    pub(crate) fn is_undo(self) -> bool {
        matches!(self, Self::UndoBefore | Self::UndoAfter)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
            Self::UndoBefore => "undo-before",
            Self::UndoAfter => "undo-after",
        })
    }
}

/// Told of each place that an operation comes by; may fail, or end the process.
pub trait Points: Sync {
    /// `verb` has come to this side of `step`.
    fn reach(&self, verb: &str, step: &str, side: Side) -> Result<()>;
}

/// Nothing happens at any place.
#[cfg(any(test, not(feature = "crash-points")))]
#[derive(Debug)]
pub(crate) struct Quiet;

#[cfg(any(test, not(feature = "crash-points")))]
impl Points for Quiet {
    fn reach(&self, _: &str, _: &str, _: Side) -> Result<()> {
        Ok(())
    }
}

/// What the environment asks for: `HOSTEL_CRASH_AT=create.disk:after` ends this process there by SIGKILL,
/// `HOSTEL_FAIL_AT=…` makes that place fail, at `HOSTEL_INTERRUPT_AT=…` somebody types Ctrl-C. Sides: before, after, undo-before, undo-after. With
/// `HOSTEL_POINTS_LOG=FILE` each place is written to a file, so that a sweep knows them all.
#[cfg(feature = "crash-points")]
#[derive(Debug)]
struct FromEnvironment;

#[cfg(feature = "crash-points")]
impl Points for FromEnvironment {
    fn reach(&self, verb: &str, step: &str, side: Side) -> Result<()> {
        use crate::error::{Class, Error};
        let place = format!("{verb}.{step}:{side}");
        if let Some(log) = std::env::var_os("HOSTEL_POINTS_LOG") {
            use std::io::Write;
            let file = std::fs::File::options().append(true).create(true).open(&log);
            let fail = |e| Error::new(Class::Failed, format!("cannot write {}", log.display())).because(e);
            file.and_then(|mut f| writeln!(f, "{place}")).map_err(fail)?;
        }
        let asked = |name| std::env::var(name).is_ok_and(|at| at == place);
        if asked("HOSTEL_CRASH_AT") {
            hostel_system::crash::kill_self();
        }
        // Once: a second Ctrl-C ends the process.
        if asked("HOSTEL_INTERRUPT_AT") && !crate::interrupt::raised() {
            hostel_system::crash::interrupt_group();
            while !crate::interrupt::raised() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        if asked("HOSTEL_FAIL_AT") {
            return Err(Error::new(Class::Failed, format!("told to fail at {place}")));
        }
        Ok(())
    }
}

/// The places of this build.
pub fn points() -> &'static dyn Points {
    #[cfg(feature = "crash-points")]
    return &FromEnvironment;
    #[cfg(not(feature = "crash-points"))]
    return &Quiet;
}
