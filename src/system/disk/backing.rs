//! What lies below a directory: the file system that it is on, and the block devices under that.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cgroup::BlockDevice;
use crate::mount::unescape;
use crate::{Error, Result};

/// The mount that a directory is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Below {
    /// The type: "ext4".
    pub kind: String,
    /// What is mounted: "/dev/sda1".
    pub source: String,
    /// Where.
    pub point: PathBuf,
}

impl Below {
    /// Looks for it in this process's mount namespace (proc_pid_mountinfo(5)). `None`: it can't be told.
    pub(super) fn of(dir: &Path) -> Option<Self> {
        let real = std::fs::canonicalize(dir).ok()?;
        let text = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        // Of mounts at the same point the last one is seen.
        text.lines()
            .filter_map(Self::parse)
            .filter(|m| real.starts_with(&m.point))
            .max_by_key(|m| m.point.components().count())
    }

    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        Some(Self {
            point: unescape(left.split(' ').nth(4)?),
            kind: right.next()?.to_owned(),
            source: unescape(right.next()?).display().to_string(),
        })
    }
}

/// The disk that the file system of `dir` is on, as limits of I/O want it: the whole one, not a partition.
pub(super) fn block_device(dir: &Path) -> Result<Vec<BlockDevice>> {
    let device = std::fs::metadata(dir)
        .map_err(|e| Error::os("look at", dir.display(), e))?
        .dev();
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    Ok(whole(&Path::new("/sys/dev/block").join(number))
        .map_err(|e| Error::os("find the disk below", dir.display(), e))?
        .into_iter()
        .collect())
}

/// The number of the device in a directory of sysfs, or of the disk that it is a part of. `None`: there is no such
/// device.
pub(super) fn whole(device: &Path) -> io::Result<Option<BlockDevice>> {
    let mut real = match std::fs::canonicalize(device) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if real.join("partition").exists() {
        real.pop();
    }
    let text = std::fs::read_to_string(real.join("dev"))?;
    let numbers = text.trim().split_once(':');
    Ok(numbers.and_then(|(major, minor)| {
        Some(BlockDevice {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let m =
            Below::parse(r"36 35 98:0 /a /mnt\0402 rw,noatime master:1 - ext4 /dev/root rw,errors=continue").unwrap();
        assert_eq!(
            (m.kind.as_str(), m.source.as_str(), m.point.to_str()),
            ("ext4", "/dev/root", Some("/mnt 2"))
        );
        assert_eq!(Below::parse("36 35"), None);
        assert_eq!(Below::of(Path::new("/proc/self")).unwrap().kind, "proc");
    }
}
