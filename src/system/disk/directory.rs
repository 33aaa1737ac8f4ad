//! Disks that are directories of the host's own file system, held to their size by a quota of its: what the drivers
//! [`project`](super::project) and [`btrfs`](super::btrfs) have in common.
//!
//! A disk is the directory `disk.NAME` in the VE's own. What it was made as is noted in an attribute of it, and put in
//! force again at each attach, should the host have lost its quotas. `.disk.NAME.new` is one that is being made, and
//! removed by the next call. Nothing is attached and nothing detached: a directory is always there.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_model::definition::DriverName;
use rustix::mount::MountAttrFlags;

use super::{
    Attached, Content, DiskSource, DiskSpec, Disks, FsckOutcome, Leftover, LoopDevice, MountOptions, Root, Usage, image,
};
use crate::cgroup::BlockDevice;
use crate::file::{make_dir, sync_dir};
use crate::{Error, Kind, Result};

/// What a disk was made as, or changed to: its limits, and what they are kept under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// Bytes.
    pub size: u64,
    /// Files; `None`: as many as there is room for.
    pub inodes: Option<u64>,
    /// The number of the quota, where the driver chooses it.
    pub key: u32,
}

/// What is in use of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    pub bytes: u64,
    pub inodes: Option<u64>,
}

/// The quota of one kind of file system.
pub trait Quota: Debug + Copy + Send + Sync {
    /// The driver.
    const DRIVER: DriverName;
    /// Can it limit files too?
    const LIMITS_FILES: bool;

    /// Can it be had below `dir`? If not, why.
    fn support(self, dir: &Path) -> std::result::Result<(), String>;
    /// Turns on what it needs there; says what was changed.
    fn prepare(self, dir: &Path) -> Result<Vec<String>>;
    /// Makes an empty directory, whose quota is empty and has no limit yet, and notes what it is. `note.key` is the
    /// first number that may be taken.
    fn make(self, path: &Path, note: &Note) -> Result<()>;
    /// Sees to it that the limits of the note are in force.
    fn hold(self, path: &Path, note: &Note) -> Result<()>;
    /// What is in use.
    fn used(self, path: &Path) -> Result<Used>;
    /// Removes the directory with all in it, and its quota.
    fn remove(self, path: &Path) -> Result<()>;
    /// As [`Disks::stamp`].
    fn stamp(self, path: &Path) -> Result<String>;
    /// As [`Disks::devices`].
    fn devices(self, path: &Path) -> Result<Vec<BlockDevice>>;
    /// As [`Disks::leftovers`].
    fn leftovers(self, under: &Path, keys: Range<u32>) -> Result<Vec<Leftover>>;
    /// As [`Disks::clear`].
    fn clear(self, under: &Path, leftover: &Leftover) -> Result<()>;
}

/// Disks as directories. It has no state: everything is in the VE's directory and in the file system's quotas.
#[derive(Debug, Clone, Copy, Default)]
pub struct DirectoryDisks<Q>(pub(super) Q);

/// Where the note lies.
const NOTE: &str = "trusted.hostel.disk";

impl Note {
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let inodes = self.inodes.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let text = format!("{} {inodes} {}", self.size, self.key);
        rustix::fs::setxattr(path, NOTE, text.as_bytes(), rustix::fs::XattrFlags::empty())
            .map_err(|e| Error::os("note the size of", path.display(), e))
    }

    /// `None`: there is no directory.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let mut text = [0u8; 80];
        let length = match rustix::fs::getxattr(path, NOTE, &mut text) {
            Ok(length) => length,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::NODATA) => return Err(unknown(path)),
            Err(e) => return Err(Error::os("read the size of", path.display(), e)),
        };
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned();
        Self::parse(&text).map(Some).ok_or_else(|| unknown(path))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let note = Self {
            size: words.next()?.parse().ok()?,
            inodes: match words.next()? {
                "-" => None,
                n => Some(n.parse().ok()?),
            },
            key: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(note)
    }
}

/// A copy of it by tools that leave out attributes, say.
fn unknown(path: &Path) -> Error {
    Error::new(
        "read the size of",
        path.display(),
        format!("its attribute {NOTE} is missing or wrong"),
    )
    .hint("restore the disk with its attributes (tar --xattrs --xattrs-include='*', rsync -X)")
}

/// As many inodes as the image driver's disks have of that size.
fn usual_inodes(size: u64) -> u64 {
    size / 16384
}

impl<Q: Quota> DirectoryDisks<Q> {
    fn path(dir: &Path) -> PathBuf {
        dir.join(format!("disk.{}", Q::DRIVER))
    }

    fn staging(dir: &Path) -> PathBuf {
        dir.join(format!(".disk.{}.new", Q::DRIVER))
    }

    /// The disk and its note, which must be there.
    fn open(dir: &Path) -> Result<(PathBuf, Note)> {
        let path = Self::path(dir);
        match Note::read(&path)? {
            Some(note) => Ok((path, note)),
            None => Err(Error::os("open the disk", path.display(), rustix::io::Errno::NOENT)
                .hint("put it back there from a backup, or destroy the VE")),
        }
    }

    fn resize(self, path: &Path, note: Note, size: u64) -> Result<()> {
        let inodes = note
            .inodes
            .map(|n| u64::try_from(u128::from(n) * u128::from(size) / u128::from(note.size.max(1))).unwrap_or(n));
        let new = Note { size, inodes, ..note };
        if size < note.size {
            let used = self.0.used(path)?;
            if used.bytes > size || used.inodes > new.inodes.or(used.inodes) {
                let files = used.inodes.map(|n| format!(" and {n} files")).unwrap_or_default();
                let why = format!("{} bytes{files} are in use; {size} bytes were asked for", used.bytes);
                return Err(Error::new("shrink", path.display(), why)
                    .kind(Kind::NoSpace)
                    .hint("free some space inside, or ask for more"));
            }
        }
        // On a full disk there is room for the note only once the limit has been raised. If it goes no further, the old
        // limit is put in force again at the next attach.
        self.0.hold(path, &new)?;
        new.write(path)
    }
}

fn check_size(size: u64, path: &Path) -> Result<()> {
    if (image::MIN_SIZE..=image::MAX_SIZE).contains(&size) {
        return Ok(());
    }
    let why = format!("a disk has between 16 MiB and 16 TiB, not {size} bytes");
    Err(Error::new("size the disk", path.display(), why).kind(Kind::Invalid))
}

impl<Q: Quota> Disks for DirectoryDisks<Q> {
    fn name(&self) -> DriverName {
        Q::DRIVER
    }

    fn sizes(&self) -> RangeInclusive<u64> {
        image::MIN_SIZE..=image::MAX_SIZE
    }

    fn inodes(&self, size: u64) -> Option<RangeInclusive<u64>> {
        Q::LIMITS_FILES.then_some(16..=size / 512)
    }

    fn probe(&self, dir: &Path) -> std::result::Result<(), String> {
        self.0.support(dir)
    }

    fn prepare(&self, dir: &Path) -> Result<Vec<String>> {
        self.0.prepare(dir)
    }

    fn mount_options(&self) -> MountOptions {
        MountOptions {
            fs_type: None,
            options: &[],
            attributes: u64::from(
                (MountAttrFlags::MOUNT_ATTR_NODEV
                    | MountAttrFlags::MOUNT_ATTR_NOSUID
                    | MountAttrFlags::MOUNT_ATTR_NOATIME)
                    .bits(),
            ),
        }
    }

    fn create(&self, dir: &Path, spec: &DiskSpec, _label: &str) -> Result<()> {
        let (path, staging) = (Self::path(dir), Self::staging(dir));
        check_size(spec.size, &path)?;
        if let Some(n) = spec.inodes
            && !self.inodes(spec.size).is_some_and(|range| range.contains(&n))
        {
            let why = format!("a disk of {} bytes can't be held to {n} inodes", spec.size);
            return Err(Error::new("size the disk", path.display(), why).kind(Kind::Invalid));
        }
        make_dir(dir)?;
        self.0.remove(&staging)?;
        if let Some(note) = Note::read(&path)? {
            if note.size == spec.size {
                return self.0.hold(&path, &note);
            }
            let why = format!("there is a disk of {} bytes already", note.size);
            return Err(Error::new("make a disk at", path.display(), why).kind(Kind::Exists));
        }
        self.0.support(dir).map_err(|why| {
            Error::new("make a disk at", path.display(), why)
                .kind(Kind::Unsupported)
                .hint("see what this host can with: hostel info")
        })?;
        self.0.prepare(dir)?;
        let inodes = Q::LIMITS_FILES.then(|| spec.inodes.unwrap_or_else(|| usual_inodes(spec.size)));
        let note = Note {
            size: spec.size,
            inodes,
            key: spec.key,
        };
        let made = self.0.make(&staging, &note).and_then(|()| {
            let note = Note::read(&staging)?.unwrap_or(note);
            self.0.hold(&staging, &note)?;
            std::fs::rename(&staging, &path).map_err(|e| Error::os("make", path.display(), e))
        });
        if made.is_err() {
            self.0.remove(&staging)?;
        }
        made?;
        sync_dir(dir)
    }

    fn exists(&self, dir: &Path) -> Result<bool> {
        let path = Self::path(dir);
        match std::fs::symlink_metadata(&path) {
            Ok(found) => Ok(found.is_dir()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::os("look at", path.display(), e)),
        }
    }

    fn remove(&self, dir: &Path) -> Result<()> {
        self.0.remove(&Self::path(dir))?;
        self.0.remove(&Self::staging(dir))?;
        if dir.exists() { sync_dir(dir) } else { Ok(()) }
    }

    fn attach(&self, dir: &Path) -> Result<Attached> {
        let (path, note) = Self::open(dir)?;
        self.0.hold(&path, &note)?;
        Ok(Attached {
            source: DiskSource::Directory(path),
            direct_io: false,
            reused: false,
            keep: None,
        })
    }

    fn attached(&self, _dir: &Path) -> Result<Option<Attached>> {
        Ok(None)
    }

    fn detach(&self, _dir: &Path, _timeout: Duration) -> Result<()> {
        Ok(())
    }

    /// The host's file system has a journal of its own, and its quotas are part of what that keeps right.
    fn check(&self, dir: &Path) -> Result<FsckOutcome> {
        Self::open(dir).map(|_| FsckOutcome::Clean)
    }

    fn grow(&self, dir: &Path, size: u64) -> Result<()> {
        let (path, note) = Self::open(dir)?;
        check_size(size, &path)?;
        if size < note.size {
            let why = format!("it has {} bytes; {size} would be less", note.size);
            return Err(Error::new("grow", path.display(), why)
                .kind(Kind::Invalid)
                .hint("shrink it instead"));
        }
        self.resize(&path, note, size)
    }

    fn shrink(&self, dir: &Path, size: u64) -> Result<()> {
        let (path, note) = Self::open(dir)?;
        check_size(size, &path)?;
        if size > note.size {
            let why = format!("it has {} bytes; {size} would be more", note.size);
            return Err(Error::new("shrink", path.display(), why)
                .kind(Kind::Invalid)
                .hint("grow it instead"));
        }
        self.resize(&path, note, size)
    }

    fn size(&self, dir: &Path) -> Result<u64> {
        Self::open(dir).map(|(_, note)| note.size)
    }

    fn usage(&self, dir: &Path) -> Result<Usage> {
        let (path, note) = Self::open(dir)?;
        let used = self.0.used(&path)?;
        Ok(Usage {
            host_bytes: Some(used.bytes),
            size: Some(note.size),
            used: Some(used.bytes),
            free: Some(note.size.saturating_sub(used.bytes)),
            inodes: note.inodes,
            inodes_used: used.inodes,
        })
    }

    fn stamp(&self, dir: &Path) -> Result<String> {
        self.0.stamp(&Self::open(dir)?.0)
    }

    fn glance(&self, dir: &Path, _root: Option<&Root>) -> Option<u64> {
        self.0.used(&Self::path(dir)).ok().map(|used| used.bytes)
    }

    fn look(&self, dir: &Path, _root: Option<&Root>) -> Usage {
        // What it has is billed, also of one whose note can't be read.
        self.usage(dir).unwrap_or_else(|_| Usage {
            used: self.glance(dir, None),
            ..Usage::default()
        })
    }

    /// What a guest frees is the host's at once.
    fn compact(&self, dir: &Path) -> Result<u64> {
        Self::open(dir).map(|_| 0)
    }

    fn devices(&self, dir: &Path) -> Result<Vec<BlockDevice>> {
        self.0.devices(&Self::open(dir)?.0)
    }

    fn content(&self, dir: &Path) -> Result<Content> {
        let path = Self::path(dir);
        let root = File::open(&path).map_err(|e| Error::os("open the disk", path.display(), e))?;
        Ok(Content::new(root.into(), ()))
    }

    fn adopt(&self, from: &Path, to: &Path) -> Result<()> {
        super::adopt(&Self::path(from), &Self::path(to))
    }

    fn release(&self, device: &LoopDevice, _timeout: Duration) -> Result<()> {
        let why = "disks of this driver have no loop devices";
        Err(Error::new("release", device.node().display(), why).kind(Kind::Invalid))
    }

    fn list(&self, _under: &Path) -> Result<Vec<LoopDevice>> {
        Ok(Vec::new())
    }

    fn leftovers(&self, under: &Path, keys: Range<u32>) -> Result<Vec<Leftover>> {
        self.0.leftovers(under, keys)
    }

    fn clear(&self, under: &Path, leftover: &Leftover) -> Result<()> {
        self.0.clear(under, leftover)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes() {
        let note = Note {
            size: 1 << 30,
            inodes: Some(7),
            key: 1 << 20,
        };
        assert_eq!(Note::parse("1073741824 7 1048576"), Some(note));
        assert_eq!(Note::parse("1073741824 - 0").unwrap().inodes, None);
        for bad in ["", "1", "1 2", "1 2 3 4", "x 2 3", "1 x 3", "1 - -1"] {
            assert_eq!(Note::parse(bad), None, "{bad}");
        }
    }
}
