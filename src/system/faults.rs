//! Files that fail when a test wants them to: a disk that is full, a medium with errors. Counted for each thread, so
//! that tests run side by side.

use std::cell::Cell;
use std::path::Path;

use crate::{Error, Result};

thread_local! {
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

/// The `n`th act on a file from now on (from 1) fails in this thread, once; 0: none does. True if the failure that
/// was asked for before has not come up.
pub fn fail_call(n: usize) -> bool {
    LEFT.replace(n) > 0
}

/// An act on a file begins here.
pub(crate) fn reach(act: &'static str, path: &Path) -> Result<()> {
    match LEFT.get() {
        0 => Ok(()),
        1 => {
            LEFT.set(0);
            let errno = if act == "read" { libc::EIO } else { libc::ENOSPC };
            Err(Error::os(act, path.display(), std::io::Error::from_raw_os_error(errno)))
        }
        n => {
            LEFT.set(n - 1);
            Ok(())
        }
    }
}
