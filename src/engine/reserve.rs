//! Space put by on the disk of /var/lib/hostel and in /run, so that neither being full keeps anybody from stopping or
//! removing a VE: the journal of that needs some blocks too.

use std::path::PathBuf;

use hostel_system::file;

use crate::error::Result;

/// Plenty for the journals and records of many operations.
const ON_DISK: u64 = 1 << 20;
/// Enough for the journals of some; what lies in /run is memory.
const IN_RUN: u64 = 64 << 10;

/// Files that are there to be removed.
#[derive(Debug, Clone)]
pub struct Reserve {
    files: [(PathBuf, u64); 2],
}

impl Reserve {
    /// The ones at these paths.
    pub fn at(disk: PathBuf, run: PathBuf) -> Self {
        Self {
            files: [(disk, ON_DISK), (run, IN_RUN)],
        }
    }

    /// Puts space by where there is none and some to spare. If there isn't, there is nothing to be done.
    pub fn refill(&self) {
        for (path, size) in &self.files {
            let there = std::fs::metadata(path).is_ok_and(|m| m.len() == *size);
            if !there && file::allocate(path, *size).is_err() {
                let _ = file::remove_file(path);
            }
        }
    }

    /// Gives the space back. False if none was put by.
    pub fn release(&self) -> Result<bool> {
        let mut there = false;
        for (path, _) in &self.files {
            there |= path.exists();
            file::remove_file(path)?;
        }
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
        let files = ["disk", "run"].map(|name| dir.path().join(name));
        let [disk, run] = files.clone();
        let reserve = Reserve::at(disk, run);
        assert!(!reserve.release().unwrap());
        reserve.refill();
        for (file, size) in files.iter().zip([ON_DISK, IN_RUN]) {
            assert!(std::fs::metadata(file).unwrap().blocks() * 512 >= size);
        }
        reserve.refill();
        assert!(reserve.release().unwrap());
        assert!(!reserve.release().unwrap());
    }
}
