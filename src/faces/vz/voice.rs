//! Where a tool says what: results and what was done on standard output, what is wrong on standard error.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use hostel_engine::Error;
use hostel_engine::facade::Progress;

use crate::cli::failure;
use crate::cli::paint::Paint;

/// What a tool says.
#[derive(Debug, Default)]
pub struct Voice {
    /// Results and errors only.
    pub quiet: bool,
    /// Each step too.
    pub verbose: bool,
    /// What was asked for could not be told.
    pub untold: AtomicBool,
    /// Kept, and not printed.
    #[cfg(test)]
    pub kept: Option<std::sync::Arc<std::sync::Mutex<String>>>,
}

impl Voice {
    /// What was done. Nobody's missing it undoes it.
    pub fn line(&self, text: &str) {
        if !self.quiet {
            let _ = self.write(&format!("{text}\n"));
        }
    }

    /// What was asked for. That nobody reads on is no failure; that it can't be written is one.
    pub fn result(&self, text: &str) {
        match self.write(text) {
            Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                self.untold.store(true, Ordering::Relaxed);
                self.wrong(&format!("cannot write to standard output: {e}"));
            }
            _ => {}
        }
    }

    /// Has everything been told that was asked for?
    pub fn all_told(&self) -> bool {
        !self.untold.load(Ordering::Relaxed)
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        #[cfg(test)]
        if let Some(kept) = &self.kept {
            kept.lock().unwrap().push_str(text);
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// What is wrong.
    pub fn wrong(&self, text: &str) {
        #[cfg(test)]
        if let Some(kept) = &self.kept {
            for line in text.trim_end().lines() {
                kept.lock().unwrap().push_str(&format!("2> {line}\n"));
            }
            return;
        }
        let _ = std::io::stderr().write_all(format!("{}\n", text.trim_end()).as_bytes());
    }

    /// An error of the engine's, with its reasons and hints.
    pub fn error(&self, error: &Error) {
        self.wrong(&failure::text(error, None, Paint::OFF));
    }
}

impl Progress for Voice {
    fn step(&self, what: &str) {
        if self.verbose {
            self.line(&format!("\t{what} ..."));
        }
    }
    fn note(&self, what: &str) {
        self.wrong(&format!("Warning: {}", failure::visible(what)));
    }
}
