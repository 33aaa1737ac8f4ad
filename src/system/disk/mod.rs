//! A VE's own writable storage. A driver makes it with a fixed size and a fixed number of inodes, lends it for
//! mounting, changes its size, and says how much of it is used.
//!
//! There are three: [`project`], a directory with a project quota; [`btrfs`], a subvolume with a quota group; and
//! [`image`], a sparse ext4 file on a loop device. [`Drivers`] holds them all. Drivers keep no state but what lies in
//! the VE's directory and in the kernel: each call looks at both anew, so every call may be repeated, and a call that was
//! killed half way is made good by the next one. Two calls on the same disk must not run at the same time; the VE's lock
//! sees to that. What a disk may hold, and where the mount goes, is decided above.

pub mod btrfs;
pub mod fake;
pub mod image;
pub mod project;

mod backing;
mod directory;
mod drivers;
mod ext4;
mod loopdev;
mod tools;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt::{self, Debug};
use std::ops::{Range, RangeInclusive};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_model::definition::DriverName;
use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::cgroup::BlockDevice;
use crate::{Error, Result};

pub use btrfs::BtrfsDisks;
pub use drivers::Drivers;
pub use fake::FakeDisks;
pub use image::ImageDisks;
pub use loopdev::LoopDevice;
pub use project::ProjectDisks;

/// What a new disk shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpec {
    /// Bytes, the file system's own tables included.
    pub size: u64,
    /// How many files it can hold; `None`: one for each 16 KiB.
    pub inodes: Option<u64>,
    /// A number that no other VE of the host has, nor any of the 65 535 that follow: the first of its id range. Quotas
    /// of projects are kept under it.
    pub key: u32,
}

/// What is to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSource {
    /// A block device with a file system on it.
    Device {
        /// Its node: /dev/loop3.
        path: PathBuf,
        /// Major device number.
        major: u32,
        /// Minor device number.
        minor: u32,
    },
    /// A directory, to be bound.
    Directory(PathBuf),
}

impl DiskSource {
    /// The device, as limits of I/O want it.
    pub fn device(&self) -> Option<BlockDevice> {
        match *self {
            Self::Device { major, minor, .. } => Some(BlockDevice { major, minor }),
            Self::Directory(_) => None,
        }
    }
}

/// A disk that is ready to be mounted.
#[derive(Debug)]
pub struct Attached {
    /// What to mount.
    pub source: DiskSource,
    /// Does its I/O bypass the host's page cache?
    pub direct_io: bool,
    /// It was attached before this call: by a mount that is still there, or by a call that was killed.
    pub reused: bool,
    /// Holds the device until it is mounted: the kernel frees a device that nobody has open. Drop it after the mount.
    pub keep: Option<OwnedFd>,
}

/// How to mount what [`Disks::attach`] gives: in the words of fsconfig(2) and mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountOptions {
    /// File system type for fsopen(2); `None`: a bind mount.
    pub fs_type: Option<&'static str>,
    /// Options of the file system, with their values.
    pub options: &'static [(&'static str, &'static str)],
    /// MOUNT_ATTR_* of the mount.
    pub attributes: u64,
}

/// What a file system check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FsckOutcome {
    /// It was unmounted in order; nothing was read further.
    Clean,
    /// It was not, and is now (what was done, in the checker's words).
    Corrected(String),
    /// It is damaged in a way that a person must decide on (the checker's words).
    NeedsHand(String),
}

/// The root of a guest that runs, as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// `/proc/PID/root`.
    pub path: PathBuf,
    /// The number (st_dev) of the file system that its monitor made for it; `None`: not known, or not of interest.
    pub device: Option<u64>,
}

/// How full a disk is. `None`: could not be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that it takes on the host.
    pub host_bytes: Option<u64>,
    /// Bytes that the guest can use in all (what its `df` calls the size).
    pub size: Option<u64>,
    /// Bytes in use inside.
    pub used: Option<u64>,
    /// Bytes that can still be written (what its `df` calls available): less than what isn't used where the file
    /// system keeps some for itself.
    pub free: Option<u64>,
    /// Inodes in all.
    pub inodes: Option<u64>,
    /// Inodes in use.
    pub inodes_used: Option<u64>,
}

impl Usage {
    /// With less than this a disk is full: a file system keeps some blocks for what it has to do to write any.
    pub const FULL_BELOW: u64 = 1 << 20;

    /// Can nothing more be written to it, or no more file be made? `None`: that can't be told.
    pub fn full(&self) -> Option<bool> {
        let of_files = self.inodes.zip(self.inodes_used).is_some_and(|(all, used)| used >= all);
        self.free.map(|free| free < Self::FULL_BELOW || of_files)
    }
}

/// The files on a disk that no guest uses, for a look by the host. What it takes to have them there goes with this.
pub struct Content {
    root: OwnedFd,
    _keep: Box<dyn Any + Send>,
}

impl Content {
    fn new(root: OwnedFd, keep: impl Any + Send) -> Self {
        Self {
            root,
            _keep: Box::new(keep),
        }
    }

    /// The directory that all is in.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// What a disk that is gone has left in the host's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// Its number.
    pub number: u64,
}

/// What a disk can leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftoverKind {
    /// The limits of a project that nothing belongs to.
    ProjectQuota,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            LeftoverKind::ProjectQuota => write!(f, "project quota {}", self.number),
        }
    }
}

/// A driver of disks. `dir` is always the VE's own directory; what the driver keeps lies directly in it.
pub trait Disks: Send + Sync + Debug {
    /// Its name in hostel.toml.
    fn name(&self) -> DriverName;
    /// Can disks be made below `dir` on this host? If not, why. Tries it for real where it costs little.
    fn probe(&self, dir: &Path) -> std::result::Result<(), String>;
    /// Turns on what disks below `dir` need of its file system; says what was changed.
    fn prepare(&self, dir: &Path) -> Result<Vec<String>>;
    /// How to mount a disk of this driver.
    fn mount_options(&self) -> MountOptions;
    /// How many bytes a disk can have.
    fn sizes(&self) -> RangeInclusive<u64>;
    /// How many inodes a disk of `size` bytes can be made with; `None`: the driver can't limit them.
    fn inodes(&self, size: u64) -> Option<RangeInclusive<u64>>;
    /// Makes a disk. What a killed call left is replaced; a finished disk of the same size is left as it is, one of
    /// another size is `Exists`. `label`: at most 16 bytes, shown by `lsblk -f`.
    fn create(&self, dir: &Path, spec: &DiskSpec, label: &str) -> Result<()>;
    /// Is there a finished disk?
    fn exists(&self, dir: &Path) -> Result<bool>;
    /// Removes a disk and what killed calls left; content if there is none. `Busy` while attached.
    fn remove(&self, dir: &Path) -> Result<()>;
    /// Makes a disk ready to be mounted; if it is attached already, says so and lends it again.
    fn attach(&self, dir: &Path) -> Result<Attached>;
    /// As what it is attached now. A disk that is a directory of the host is never attached: it is always there, and
    /// whatever is said here of attached disks doesn't concern it.
    fn attached(&self, dir: &Path) -> Result<Option<Attached>>;
    /// Lets go, and waits until the kernel has: `Busy` if something still uses it after `timeout`. Content if it isn't
    /// attached.
    fn detach(&self, dir: &Path, timeout: Duration) -> Result<()>;
    /// Brings the file system in order if it was not unmounted so, and ends what a killed resize left. Detached only.
    fn check(&self, dir: &Path) -> Result<FsckOutcome>;
    /// Makes it larger, while mounted too. It gets inodes in proportion: they can't be raised in another way.
    fn grow(&self, dir: &Path, size: u64) -> Result<()>;
    /// Makes it smaller; detached only. `NoSpace` says what is used and the least size, and nothing has changed then.
    fn shrink(&self, dir: &Path, size: u64) -> Result<()>;
    /// The size that it has, as it was made or changed, in whole blocks: what the host gives, not what fits in it.
    fn size(&self, dir: &Path) -> Result<u64>;
    /// How full it is, mounted or not.
    fn usage(&self, dir: &Path) -> Result<Usage>;
    /// An opaque text that is another one as soon as anything on the detached disk has changed, by whomever: who saved
    /// the processes that work on a disk may let them go on only if it is the same. To attach and detach it without a
    /// mount, or to look at it, changes nothing. `Busy` while attached.
    fn stamp(&self, dir: &Path) -> Result<String>;
    /// Bytes in use inside, at a glance, for lists of many VEs; `None` if that can't be told cheaply. `root`: of a guest
    /// that runs; `None` if the disk isn't mounted.
    fn glance(&self, dir: &Path, root: Option<&Root>) -> Option<u64>;
    /// The same with all that can be told as cheaply, for what measures many VEs again and again.
    fn look(&self, dir: &Path, root: Option<&Root>) -> Usage;
    /// The block devices that its I/O goes to, for limits; none if it isn't attached.
    fn devices(&self, dir: &Path) -> Result<Vec<BlockDevice>>;
    /// The files on it, for a look by the host; detached only.
    fn content(&self, dir: &Path) -> Result<Content>;
    /// Brings a detached disk from one directory to another of the same file system; content if it is there already.
    fn adopt(&self, from: &Path, to: &Path) -> Result<()>;
    /// Gives blocks that the guest freed back to the host, mounted or not. The bytes that the host got.
    fn compact(&self, dir: &Path) -> Result<u64>;
    /// Releases a device that [`Disks::list`] has named, whatever has become of the file behind it; `Busy` if something
    /// still uses it after `timeout`.
    fn release(&self, device: &LoopDevice, timeout: Duration) -> Result<()>;
    /// What is attached of all that lies (or lay, before it was deleted) below `under`, for an audit.
    fn list(&self, under: &Path) -> Result<Vec<LoopDevice>>;
    /// What the file system of `under` still keeps of disks whose key was in this range, and that are gone.
    fn leftovers(&self, under: &Path, keys: Range<u32>) -> Result<Vec<Leftover>>;
    /// Removes one of these, unless somebody has taken its number meanwhile.
    fn clear(&self, under: &Path, leftover: &Leftover) -> Result<()>;
}

/// Renames what a disk lies in, durably; content if that is done.
fn adopt(from: &Path, to: &Path) -> Result<()> {
    if from.exists() {
        std::fs::rename(from, to).map_err(|e| Error::os("move the disk to", to.display(), e))?;
    } else if !to.exists() {
        return Err(Error::os("move the disk", from.display(), rustix::io::Errno::NOENT));
    }
    [from, to]
        .into_iter()
        .filter_map(Path::parent)
        .filter(|dir| dir.exists())
        .try_for_each(crate::file::sync_dir)
}

/// Bytes and files in use on the upper layer of the overlay that is a guest's root; `None` if something else is there, which
/// a guest can bring about. Nothing is opened, and no file system that the guest itself serves (FUSE) is asked: not by
/// statfs(2) on behalf of a process outside of its user namespace, nor by statx(2) for what need not be up to date.
fn look_at_overlay(root: &Root) -> Option<Usage> {
    const OVERLAYFS_SUPER_MAGIC: u64 = 0x794c_7630;
    if let Some(device) = root.device
        && device_of(&root.path)? != device
    {
        return None;
    }
    let s = rustix::fs::statfs(&root.path).ok()?;
    let overlay = u64::try_from(s.f_type).ok()? == OVERLAYFS_SUPER_MAGIC;
    let block = u64::try_from(s.f_frsize).ok()?;
    overlay.then(|| Usage {
        size: Some(s.f_blocks.saturating_mul(block)),
        used: Some(s.f_blocks.saturating_sub(s.f_bfree).saturating_mul(block)),
        free: Some(s.f_bavail.saturating_mul(block)),
        inodes: Some(s.f_files),
        inodes_used: Some(s.f_files.saturating_sub(s.f_ffree)),
        host_bytes: None,
    })
}

fn device_of(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::empty()).ok()?;
    Some(rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor))
}
