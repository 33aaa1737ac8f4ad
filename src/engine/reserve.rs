//! Space put by on the disk of /var/lib/hostel, so that a full disk doesn't keep anybody from removing a VE: the
//! journal of that needs some blocks too.

use std::path::PathBuf;

use hostel_system::file;

use crate::error::Result;

/// Plenty for the journals and records of many operations.
const SIZE: u64 = 1 << 20;

/// A file that is there to be removed.
#[derive(Debug, Clone)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The one at this path.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Puts space by if there is none and the disk has some to spare. If it hasn't, there is nothing to be done.
    pub fn refill(&self) {
        let there = std::fs::metadata(&self.path).is_ok_and(|m| m.len() == SIZE);
        if !there && file::allocate(&self.path, SIZE).is_err() {
            let _ = file::remove_file(&self.path);
        }
    }

    /// Gives the space back. False if none was put by.
    pub fn release(&self) -> Result<bool> {
        let there = self.path.exists();
        file::remove_file(&self.path)?;
        Ok(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_takes_real_space_and_gives_it_back_once() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::at(dir.path().join("reserve"));
        assert!(!reserve.release().unwrap());
        reserve.refill();
        assert!(std::fs::metadata(dir.path().join("reserve")).unwrap().blocks() * 512 >= SIZE);
        reserve.refill();
        assert!(reserve.release().unwrap());
        assert!(!reserve.release().unwrap());
    }
}
