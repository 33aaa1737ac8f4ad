//! The `project` driver: a directory with a project quota of ext4 or XFS. Nothing stands between guest and file system,
//! bytes and files are limited, `df` inside shows the limits, and a crash leaves nothing to be checked.
//!
//! What is made in a directory that has a project and hands it on (FS_XFLAG_PROJINHERIT) belongs to that project, and
//! nothing of another may be moved or linked there (ioctl_xfs_fsgetxattr(2), xfs_quota(8)). The kernel lets nobody in
//! a user namespace change a file's project. On ext4, CAP_SYS_RESOURCE passes quotas: the root's overlay, which writes
//! for the guest, is mounted without it.

mod quota;

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use hostel_model::definition::DriverName;
use sha2::{Digest, Sha256};

use super::backing::{self, Below};
use super::directory::{DirectoryDisks, Note, Quota, Used};
use super::{Leftover, LeftoverKind};
use crate::archive;
use crate::cgroup::BlockDevice;
use crate::file::remove_tree;
use crate::{Error, Kind, Result};

/// Disks with project quotas.
pub type ProjectDisks = DirectoryDisks<Project>;

/// Project quotas.
#[derive(Debug, Clone, Copy, Default)]
pub struct Project;

/// How many numbers a VE may take: those of its id range, which no other VE has.
const NUMBERS: u32 = 65_536;

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::os("open", path.display(), e))
}

/// Why a file system holds nobody to project quotas, and what to do about it.
fn unheld(dir: &Path, fs: &File) -> Option<String> {
    const EXT4: u32 = linux_raw_sys::general::EXT4_SUPER_MAGIC;
    const XFS: u32 = linux_raw_sys::general::XFS_SUPER_MAGIC;
    let kind = match rustix::fs::fstatfs(fs) {
        Ok(s) => u32::try_from(s.f_type).unwrap_or(0),
        Err(e) => return Some(format!("{}: {e}", dir.display())),
    };
    let state = quota::state(fs);
    if state.is_ok_and(|s| s.enforced) && [EXT4, XFS].contains(&kind) {
        return None;
    }
    let below = Below::of(dir);
    let unknown = || {
        (
            "its file system".to_owned(),
            "DEVICE".to_owned(),
            "its mount point".to_owned(),
        )
    };
    let (name, source, point) = below.map_or_else(unknown, |b| (b.kind, b.source, b.point.display().to_string()));
    Some(match kind {
        EXT4 | XFS if !Path::new("/proc/sys/fs/quota").exists() => {
            "the kernel was built without quotas (CONFIG_QUOTA)".to_owned()
        }
        EXT4 if state.is_ok_and(|s| s.counted) => format!(
            "{name} on {source} counts by project but holds nobody to it: mount {point} with prjquota, and for now: \
             quotaon -P {point}"
        ),
        EXT4 => format!(
            "{name} on {source} is without project quotas: while it isn't mounted, tune2fs -O project,quota -Q prjquota \
             {source}; then mount it with prjquota"
        ),
        XFS => format!(
            "{name} on {source} is without project quotas: mount {point} with prjquota (a root file system: \
             rootflags=prjquota on the kernel's command line)"
        ),
        _ => format!("{point} is {name}, which has no project quotas; ext4 and XFS do"),
    })
}

impl Project {
    /// The first number from `first` on that nothing on the file system has.
    fn free_number(self, fs: &File, path: &Path, first: u32) -> Result<u32> {
        for number in first..first.saturating_add(NUMBERS) {
            if quota::get(fs, path, number)?.is_nothing() {
                return Ok(number);
            }
        }
        let why = format!("all project numbers from {first} on are in use");
        Err(Error::new("make", path.display(), why).kind(Kind::NoSpace))
    }
}

impl Quota for Project {
    const DRIVER: DriverName = DriverName::Project;
    const LIMITS_FILES: bool = true;

    fn support(self, dir: &Path) -> std::result::Result<(), String> {
        let fs = open(dir).map_err(|e| format!("{e}"))?;
        if let Some(why) = unheld(dir, &fs) {
            return Err(why);
        }
        match quota::project(&fs) {
            Ok(p) if p.inherits => Err(format!(
                "{} belongs to project {} itself, and nothing of another may be moved there",
                dir.display(),
                p.number
            )),
            Ok(_) => Ok(()),
            Err(e) => Err(format!("{}: {e}", dir.display())),
        }
    }

    fn prepare(self, _dir: &Path) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn make(self, path: &Path, note: &Note) -> Result<()> {
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(path)
            .map_err(|e| Error::os("make", path.display(), e))?;
        let dir = open(path)?;
        let key = self.free_number(&dir, path, note.key)?;
        // Before it has the project: whoever removes it knows by this whether that is one of ours.
        Note { key, ..*note }.write(path)?;
        quota::set_project(&dir, key).map_err(|e| Error::os("give a project to", path.display(), e))
    }

    fn hold(self, path: &Path, note: &Note) -> Result<()> {
        const ACT: &str = "hold to its size";
        let dir = open(path)?;
        if let Some(why) = unheld(path, &dir) {
            return Err(Error::new(ACT, path.display(), why).kind(Kind::Unsupported));
        }
        let found = quota::project(&dir).map_err(|e| Error::os("read the project of", path.display(), e))?;
        if found.number != note.key || !found.inherits {
            let why = format!("it doesn't belong to project {}, as a copy doesn't", note.key);
            return Err(Error::new(ACT, path.display(), why)
                .hint("move it to a disk of another driver and back: hostel set NAME disk.driver=image"));
        }
        let now = quota::get(&dir, path, note.key)?;
        if now.is_held_to(note) {
            return Ok(());
        }
        quota::set(&dir, path, note.key, note.size, note.inodes.unwrap_or(0))
    }

    fn used(self, path: &Path) -> Result<Used> {
        let dir = open(path)?;
        let found = quota::project(&dir).map_err(|e| Error::os("read the project of", path.display(), e))?;
        let now = quota::get(&dir, path, found.number)?;
        Ok(Used {
            bytes: now.bytes,
            inodes: Some(now.inodes),
        })
    }

    /// The limits go first: so no number is left that is held to something and has nothing.
    fn remove(self, path: &Path) -> Result<()> {
        let dir = match File::open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| Error::os("open", path.display(), e))?,
        };
        let noted = Note::read(path).ok().flatten();
        let number = quota::project(&dir).map_or(0, |p| p.number);
        if number != 0 && noted.is_some_and(|n| n.key == number) {
            match quota::set(&dir, path, number, 0, 0) {
                // The host has no quotas any more.
                Err(e) if matches!(e.kind, Kind::NotFound | Kind::Unsupported) => {}
                other => other?,
            }
        }
        drop(dir);
        remove_tree(path)
    }

    /// What stat(2) says of all that is there: the kernel sets the time of the last change (ctime), and nobody else can.
    fn stamp(self, path: &Path) -> Result<String> {
        let dir = open(path)?;
        let mut digest = Sha256::new();
        archive::look_at_all(&dir, &mut |path, stat| {
            digest.update((path.len() as u64).to_le_bytes());
            digest.update(path);
            for number in [
                i128::from(stat.st_ino),
                i128::from(stat.st_mode),
                i128::from(stat.st_size),
                i128::from(stat.st_ctime),
                i128::from(stat.st_ctime_nsec),
            ] {
                digest.update(number.to_le_bytes());
            }
        })?;
        Ok(format!("project {:x}", digest.finalize()))
    }

    fn devices(self, path: &Path) -> Result<Vec<BlockDevice>> {
        backing::block_device(path)
    }

    /// Limits of numbers that are ours and that nothing has: of directories that were removed by other hands.
    fn leftovers(self, under: &Path, keys: Range<u32>) -> Result<Vec<Leftover>> {
        let Ok(fs) = File::open(under) else {
            return Ok(Vec::new());
        };
        if unheld(under, &fs).is_some() {
            return Ok(Vec::new());
        }
        let mut numbers = BTreeSet::new();
        let mut next = keys.start;
        while next < keys.end
            && let Some((number, quota)) = quota::next(&fs, under, next)?
        {
            if quota.inodes == 0 && quota.bytes == 0 && quota.is_limited() && keys.contains(&number) {
                numbers.insert(number);
            }
            next = number.saturating_add(1);
        }
        let leftover = |number| Leftover {
            kind: LeftoverKind::ProjectQuota,
            number: u64::from(number),
        };
        Ok(numbers.into_iter().map(leftover).collect())
    }

    fn clear(self, under: &Path, leftover: &Leftover) -> Result<()> {
        let number = u32::try_from(leftover.number).map_err(|e| Error::new("clear", leftover, e))?;
        let fs = open(under)?;
        // Somebody may have taken it meanwhile.
        match quota::get(&fs, under, number)?.inodes {
            0 => quota::set(&fs, under, number, 0, 0),
            _ => Ok(()),
        }
    }
}
