//! The `btrfs` driver: a subvolume with a limit on what it refers to (btrfs-qgroup(8)). Nothing stands between guest and
//! file system. It can't limit files, and statfs(2) knows nothing of the limit: `df` inside shows the whole file
//! system.
//!
//! A subvolume in the subvolume would be outside of the limit. A guest can make none: its seccomp list has no ioctl of
//! btrfs. One that somebody of the host made goes with the disk.
//!
//! Quotas are turned on in their full form. The simple one (since Linux 6.7) is cheaper, but file systems that have it
//! can't be mounted by older kernels any more: that is for the host's owner to decide, and used where it is on.

mod ioctl;

use std::ffi::CString;
use std::fs::{File, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hostel_model::definition::DriverName;

use super::Leftover;
use super::backing::{self, Below};
use super::directory::{DirectoryDisks, Note, Quota, Used};
use crate::cgroup::BlockDevice;
use crate::file::remove_tree;
use crate::{Error, Kind, Result};

/// Disks as subvolumes.
pub type BtrfsDisks = DirectoryDisks<Btrfs>;

/// Quota groups of subvolumes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Btrfs;

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::os("open", path.display(), e))
}

/// Where the kernel shows a file system.
fn shown(fs: &File, path: &Path) -> Result<PathBuf> {
    let id = ioctl::fsid(fs).map_err(|e| Error::os("identify the file system of", path.display(), e))?;
    Ok(Path::new("/sys/fs/btrfs").join(id))
}

/// Where it shows the quota group of a subvolume.
fn group(dir: &File, path: &Path) -> Result<PathBuf> {
    let id = identify(dir, path)?.id;
    Ok(shown(dir, path)?.join(format!("qgroups/0_{id}")))
}

fn identify(dir: &File, path: &Path) -> Result<ioctl::Subvolume> {
    ioctl::subvolume(dir).map_err(|e| Error::os("identify the subvolume", path.display(), e))
}

fn number(group: &Path, name: &str) -> Result<u64> {
    let file = group.join(name);
    let text = std::fs::read_to_string(&file).map_err(|e| {
        let error = Error::os("read the quota of the subvolume in", file.display(), e);
        match error.kind {
            Kind::NotFound => error
                .kind(Kind::Unsupported)
                .hint("its quota is off; turn it on with: btrfs quota enable PATH"),
            _ => error,
        }
    })?;
    text.trim()
        .parse()
        .map_err(|e| Error::new("read the quota of the subvolume in", file.display(), e))
}

fn has_quotas(fs: &File, path: &Path) -> Result<bool> {
    Ok(shown(fs, path)?.join("qgroups").exists())
}

/// The directory that a path is in, open, and the last part of the path.
fn parent(path: &Path) -> Result<(File, CString)> {
    let dir = open(path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().unwrap_or_default().as_bytes();
    let name = CString::new(name).map_err(|e| Error::new("name", path.display(), e))?;
    Ok((dir, name))
}

/// Deletes the subvolumes that lie in one, the deepest first.
fn remove_children(fs: &File, id: u64) -> io::Result<()> {
    for child in ioctl::children(fs, id)? {
        remove_children(fs, child)?;
        ioctl::destroy_by_id(fs, child)?;
    }
    Ok(())
}

impl Quota for Btrfs {
    const DRIVER: DriverName = DriverName::Btrfs;
    const LIMITS_FILES: bool = false;

    fn support(self, dir: &Path) -> std::result::Result<(), String> {
        let of = rustix::fs::statfs(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        if u32::try_from(of.f_type) != Ok(linux_raw_sys::general::BTRFS_SUPER_MAGIC) {
            let (kind, point) = Below::of(dir).map_or_else(
                || ("another file system".to_owned(), dir.display().to_string()),
                |b| (b.kind, b.point.display().to_string()),
            );
            return Err(format!("{point} is {kind}, not btrfs"));
        }
        // Where there are no quotas, they are turned on by the first disk.
        let fs = open(dir).map_err(|e| e.to_string())?;
        shown(&fs, dir).map(drop).map_err(|e| e.to_string())
    }

    fn prepare(self, dir: &Path) -> Result<Vec<String>> {
        let fs = open(dir)?;
        if has_quotas(&fs, dir)? {
            return Ok(Vec::new());
        }
        ioctl::enable_quotas(&fs).map_err(|e| Error::os("turn on the quotas of", dir.display(), e))?;
        let point = Below::of(dir).map_or_else(|| dir.to_owned(), |b| b.point);
        Ok(vec![format!(
            "turned on the quotas of the btrfs at {}",
            point.display()
        )])
    }

    fn make(self, path: &Path, note: &Note) -> Result<()> {
        let (dir, name) = parent(path)?;
        ioctl::create(&dir, &name).map_err(|e| Error::os("make the subvolume", path.display(), e))?;
        std::fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(|e| Error::os("make the subvolume", path.display(), e))?;
        note.write(path)
    }

    fn hold(self, path: &Path, note: &Note) -> Result<()> {
        const ACT: &str = "hold to its size";
        let dir = open(path)?;
        if dir.metadata().map(|m| m.ino()).ok() != Some(ioctl::ROOT_INODE) {
            let why = "it is a plain directory, as a copy is, and no subvolume";
            return Err(Error::new(ACT, path.display(), why)
                .hint("move it to a disk of another driver and back: hostel set NAME disk.driver=image"));
        }
        if !has_quotas(&dir, path)? {
            let point = Below::of(path).map_or_else(|| "PATH".to_owned(), |b| b.point.display().to_string());
            return Err(Error::new(ACT, path.display(), "the quotas of its file system are off")
                .kind(Kind::Unsupported)
                .hint(format!("turn them on with: btrfs quota enable {point}")));
        }
        let group = group(&dir, path)?;
        if number(&group, "max_referenced").ok() == Some(note.size) {
            return Ok(());
        }
        let id = identify(&dir, path)?.id;
        ioctl::limit(&dir, id, note.size).map_err(|e| Error::os(ACT, path.display(), e))
    }

    fn used(self, path: &Path) -> Result<Used> {
        let dir = open(path)?;
        let group = group(&dir, path)?;
        // What was written just now is only reserved until it is on the disk.
        let reserved = number(&group, "rsv_data").unwrap_or(0);
        Ok(Used {
            bytes: number(&group, "referenced")?.saturating_add(reserved),
            inodes: None,
        })
    }

    fn remove(self, path: &Path) -> Result<()> {
        let fail = |e: io::Error| Error::os("delete the subvolume", path.display(), e);
        let volume = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(fail)?,
        };
        let is_subvolume = volume.metadata().map_err(fail)?.ino() == ioctl::ROOT_INODE;
        let Some(found) = ioctl::subvolume(&volume).ok().filter(|_| is_subvolume) else {
            return remove_tree(path);
        };
        let (dir, name) = parent(path)?;
        remove_children(&dir, found.id).map_err(fail)?;
        drop(volume);
        ioctl::destroy(&dir, &name).map_err(fail)?;
        // Newer kernels do it themselves, when the last of the subvolume is gone, and refuse it before.
        let _ = ioctl::remove_group(&dir, found.id);
        Ok(())
    }

    fn stamp(self, path: &Path) -> Result<String> {
        let dir = open(path)?;
        rustix::fs::syncfs(&dir).map_err(|e| Error::os("sync", path.display(), e))?;
        let found = identify(&dir, path)?;
        let uuid: String = found.uuid.iter().map(|b| format!("{b:02x}")).collect();
        Ok(format!("btrfs {uuid} {}", found.changed))
    }

    /// All that the file system is made of.
    fn devices(self, path: &Path) -> Result<Vec<BlockDevice>> {
        let all = shown(&open(path)?, path)?.join("devices");
        let fail = |e: io::Error| Error::os("list the disks in", all.display(), e);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&all).map_err(fail)? {
            let device = entry.map_err(fail)?.path();
            found.extend(backing::whole(&device).map_err(fail)?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// A quota group has its subvolume's number alone: one whose subvolume is gone can't be told from another program's.
    fn leftovers(self, _under: &Path, _keys: Range<u32>) -> Result<Vec<Leftover>> {
        Ok(Vec::new())
    }

    fn clear(self, _under: &Path, leftover: &Leftover) -> Result<()> {
        Err(Error::new("clear", leftover, "it is none of this driver's").kind(Kind::Invalid))
    }
}
