//! What we read of an ext4 file system without mounting it, and what we ask of it through a mount of our own.
//!
//! The layout of the superblock is from the kernel's Documentation/filesystems/ext4/super.rst.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::Usage;
use crate::{Error, Kind, Result};

pub(super) const MAGIC: u16 = 0xef53;
const STATE_CLEAN: u16 = 1;
const STATE_ERRORS: u16 = 2;
const INCOMPAT_RECOVER: u32 = 0x4;
pub(super) const INCOMPAT_64BIT: u32 = 0x80;

/// The numbers of a superblock that matter to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Superblock {
    pub block_size: u64,
    pub blocks: u64,
    pub free_blocks: u64,
    pub overhead_blocks: u64,
    pub inodes: u64,
    pub free_inodes: u64,
    /// Unmounted in order, with no errors noted and nothing in the journal.
    pub clean: bool,
}

impl Superblock {
    /// Size of the file system in bytes.
    pub(super) fn size(&self) -> u64 {
        self.blocks * self.block_size
    }

    /// Bytes that files can have in all.
    pub(super) fn room(&self) -> u64 {
        self.blocks.saturating_sub(self.overhead_blocks) * self.block_size
    }

    /// Bytes that files have.
    pub(super) fn used(&self) -> u64 {
        self.room().saturating_sub(self.free_blocks * self.block_size)
    }

    /// Bytes that files can still have. The kernel keeps a fiftieth of the blocks to itself, 4096 at most
    /// (`reserved_clusters` in its Documentation/ABI/testing/sysfs-fs-ext4), as `df` of what is mounted shows.
    pub(super) fn free(&self) -> u64 {
        self.free_blocks.saturating_sub((self.blocks / 50).min(4096)) * self.block_size
    }

    /// How full it is.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            host_bytes: None,
            size: Some(self.room()),
            used: Some(self.used()),
            free: Some(self.free()),
            inodes: Some(self.inodes),
            inodes_used: Some(self.inodes.saturating_sub(self.free_inodes)),
        }
    }

    /// Reads it from an image or a device; `None` if there is no ext4.
    pub(super) fn read(image: &File) -> io::Result<Option<Self>> {
        match read_raw(image) {
            Ok(raw) => Ok(Self::parse(&raw)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn parse(raw: &[u8; 1024]) -> Option<Self> {
        let u16_at = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        if u16_at(0x38) != MAGIC || u32_at(0x18) > 6 {
            return None;
        }
        let incompat = u32_at(0x60);
        let wide = |low: usize, high: usize| {
            let high = if incompat & INCOMPAT_64BIT != 0 {
                u64::from(u32_at(high))
            } else {
                0
            };
            high << 32 | u64::from(u32_at(low))
        };
        let state = u16_at(0x3a);
        Some(Self {
            block_size: 1024 << u32_at(0x18),
            blocks: wide(0x04, 0x150),
            free_blocks: wide(0x0c, 0x158),
            overhead_blocks: u64::from(u32_at(0x248)),
            inodes: u64::from(u32_at(0x00)),
            free_inodes: u64::from(u32_at(0x10)),
            clean: state & STATE_CLEAN != 0 && state & STATE_ERRORS == 0 && incompat & INCOMPAT_RECOVER == 0,
        })
    }
}

/// The superblock as it lies there. Each mount for writing changes it (times, count of mounts), and so do the tools.
pub(super) fn read_raw(image: &File) -> io::Result<[u8; 1024]> {
    let mut raw = [0u8; 1024];
    image.read_exact_at(&mut raw, 1024)?;
    Ok(raw)
}

/// Is a file system on this device mounted, in whatever mount namespace? The kernel shows each live ext4 in sysfs.
pub(super) fn is_mounted(number: u32) -> bool {
    Path::new(&format!("/sys/fs/ext4/loop{number}")).exists()
}

/// A mount that nobody sees: it hangs in no tree, and goes when this is dropped. If the file system is mounted
/// elsewhere, this is the same one.
#[derive(Debug)]
pub(super) struct PrivateMount {
    root: OwnedFd,
}

impl PrivateMount {
    /// Mounts the ext4 on `device`; read-only if it is mounted so (after an error, say).
    pub(super) fn of(device: &Path) -> Result<Self> {
        match Self::new(device, false) {
            Err(Errno::BUSY) => Self::new(device, true),
            other => other,
        }
        .map_err(|e| Error::os("mount", device.display(), e))
    }

    pub(super) fn new(device: &Path, read_only: bool) -> rustix::io::Result<Self> {
        let fs = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(fs.as_fd(), "source", device)?;
        if read_only {
            rustix::mount::fsconfig_set_flag(fs.as_fd(), "ro")?;
        }
        rustix::mount::fsconfig_create(fs.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NOATIME;
        let mount = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        // fsmount(2) gives an O_PATH descriptor; ioctls want a real one. The mount lives as long as one of them.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&mount, ".", flags, Mode::empty())?;
        Ok(Self { root })
    }

    /// The top of its tree.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Sizes and free counts, as the guest's `df` sees them.
    pub(super) fn statfs(&self) -> io::Result<rustix::fs::StatFs> {
        Ok(rustix::fs::fstatfs(&self.root)?)
    }

    /// Writes out all that is dirty (syncfs(2)).
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }

    /// Tells the device which blocks are free (FITRIM).
    pub(super) fn trim(&self) -> io::Result<()> {
        // struct fstrim_range of linux/fs.h: start, length, least extent.
        let mut range = [0u64, u64::MAX, 0];
        let request = libc::Ioctl::from(linux_raw_sys::ioctl::FITRIM);
        // SAFETY: FITRIM reads and writes three u64, which `range` is, and keeps no pointer to it.
        match unsafe { libc::ioctl(self.root.as_raw_fd(), request, &raw mut range) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Makes the file system `blocks` large while it is mounted (EXT4_IOC_RESIZE_FS).
    pub(super) fn resize(&self, blocks: u64, on: &Path) -> Result<()> {
        // _IOW('f', 16, __u64), from the kernel's fs/ext4/ext4.h.
        const EXT4_IOC_RESIZE_FS: u32 = 1 << 30 | 8 << 16 | (b'f' as u32) << 8 | 16;
        let request = libc::Ioctl::from(EXT4_IOC_RESIZE_FS);
        // SAFETY: EXT4_IOC_RESIZE_FS reads one u64, which `blocks` is.
        if unsafe { libc::ioctl(self.root.as_raw_fd(), request, &raw const blocks) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        let refused = error.raw_os_error() == Some(libc::EPERM);
        let error = Error::os("grow the mounted file system on", on.display(), error);
        Err(if refused {
            error
                .kind(Kind::Unsupported)
                .hint("growing a mounted ext4 needs CAP_SYS_RESOURCE, which this process lacks: stop the VE first")
        } else {
            error
        })
    }
}

impl AsRawFd for PrivateMount {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.root.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(edit: impl Fn(&mut [u8; 1024])) -> [u8; 1024] {
        let mut raw = [0u8; 1024];
        raw[0x38..0x3a].copy_from_slice(&MAGIC.to_le_bytes());
        raw[0x18] = 2; // 4 KiB
        raw[0x3a] = 1;
        edit(&mut raw);
        raw
    }

    #[test]
    fn zeros_are_no_file_system() {
        assert_eq!(Superblock::parse(&[0; 1024]), None);
        assert_eq!(
            Superblock::parse(&raw(|r| r[0x18] = 7)),
            None,
            "a block size that ext4 doesn't have"
        );
    }

    #[test]
    fn high_halves_count_only_with_64bit() {
        let with = |incompat| {
            Superblock::parse(&raw(|r| {
                r[0x04] = 5;
                r[0x150] = 1;
                r[0x60] = incompat;
            }))
            .map(|s| s.blocks)
        };
        assert_eq!(with(0), Some(5));
        assert_eq!(with(0x80), Some((1 << 32) + 5));
    }

    #[test]
    fn clean_means_no_error_and_an_empty_journal() {
        let clean = |state, incompat| {
            Superblock::parse(&raw(|r| {
                r[0x3a] = state;
                r[0x60] = incompat;
            }))
            .map(|s| s.clean)
        };
        assert_eq!(clean(1, 0), Some(true));
        assert_eq!(clean(0, 0), Some(false));
        assert_eq!(clean(3, 0), Some(false));
        assert_eq!(clean(1, 4), Some(false));
    }
}
