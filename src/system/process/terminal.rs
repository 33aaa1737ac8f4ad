//! The terminal of the person at the host.

use std::io::IsTerminal;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::{Error, Result};

/// Standard input without line editing or echo, until this is dropped.
#[derive(Debug)]
pub struct Raw(Termios);

impl Raw {
    /// Takes the terminal.
    pub fn take() -> Result<Self> {
        let fail = |e| Error::os("take over", "the terminal", e);
        let before = tcgetattr(rustix::stdio::stdin()).map_err(fail)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).map_err(fail)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // If the terminal is gone, there is nobody left to see it.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Rows, columns and kind (`TERM`) of the terminal; what is usual where there is none.
pub fn size_and_kind() -> (u16, u16, String) {
    let (rows, columns) = size().unwrap_or((24, 80));
    (rows, columns, std::env::var("TERM").unwrap_or_else(|_| "vt220".into()))
}

/// Rows and columns of standard input's terminal.
pub fn size() -> Option<(u16, u16)> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let size = tcgetwinsize(rustix::stdio::stdin()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
