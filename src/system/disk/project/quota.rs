//! The system calls: projects of files (ioctl_xfs_fsgetxattr(2)) and their quotas (quotactl(2)).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use linux_raw_sys::general::{FS_XFLAG_PROJINHERIT, fsxattr};
use linux_raw_sys::ioctl::{FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR};

use crate::disk::directory::Note;
use crate::{Error, Result};

/// Of linux/quota.h and linux/dqblk_xfs.h.
const PRJQUOTA: u32 = 2;
const Q_GETQUOTA: u32 = 0x80_0007;
const Q_SETQUOTA: u32 = 0x80_0008;
const Q_GETNEXTQUOTA: u32 = 0x80_0009;
const Q_XGETQSTATV: u32 = (b'X' as u32) << 8 | 8;
/// Which members of a dqblk count: the limits of bytes and of files.
const QIF_LIMITS: u32 = 1 | 4;
/// The unit of the limits of bytes.
const BLOCK: u64 = 1024;

/// What a project has and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ProjectQuota {
    pub bytes: u64,
    pub inodes: u64,
    /// 0: no limit.
    most_blocks: u64,
    most_inodes: u64,
}

impl ProjectQuota {
    pub(super) fn is_limited(&self) -> bool {
        self.most_blocks != 0 || self.most_inodes != 0
    }

    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn is_held_to(&self, note: &Note) -> bool {
        self.most_blocks == note.size / BLOCK && self.most_inodes == note.inodes.unwrap_or(0)
    }

    fn of(raw: &libc::dqblk) -> Self {
        Self {
            bytes: raw.dqb_curspace,
            inodes: raw.dqb_curinodes,
            most_blocks: raw.dqb_bhardlimit,
            most_inodes: raw.dqb_ihardlimit,
        }
    }
}

/// quotactl_fd(2), which is there since Linux 5.14.
fn quotactl<T>(fs: &File, command: u32, number: u32, argument: *mut T) -> io::Result<()> {
    let command = command << 8 | PRJQUOTA;
    // SAFETY: each command used here reads or writes the one structure that its caller passes, and keeps no pointer.
    let done = unsafe { libc::syscall(libc::SYS_quotactl_fd, fs.as_raw_fd(), command, number, argument) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Does the file system count by project, and hold anybody to it?
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub counted: bool,
    pub enforced: bool,
}

/// `Err`: it has no quotas at all.
pub(super) fn state(fs: &File) -> std::result::Result<State, ()> {
    // struct fs_quota_statv: its version, and two bytes further its flags.
    const COUNTED: u16 = 1 << 4;
    const ENFORCED: u16 = 1 << 5;
    let mut raw = [0u64; 32];
    raw[0] = u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0]);
    quotactl(fs, Q_XGETQSTATV, 0, raw.as_mut_ptr()).map_err(drop)?;
    let bytes = raw[0].to_ne_bytes();
    let flags = u16::from_ne_bytes([bytes[2], bytes[3]]);
    Ok(State {
        counted: flags & COUNTED != 0,
        enforced: flags & ENFORCED != 0,
    })
}

fn nothing() -> libc::dqblk {
    // SAFETY: a dqblk consists of integers; all zero bytes are a value of it.
    unsafe { std::mem::zeroed() }
}

/// What the project of this number has. One that nothing was ever known of has nothing.
pub(super) fn get(fs: &File, path: &Path, number: u32) -> Result<ProjectQuota> {
    let mut raw = nothing();
    match quotactl(fs, Q_GETQUOTA, number, &raw mut raw) {
        Ok(()) => Ok(ProjectQuota::of(&raw)),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(ProjectQuota::default()),
        Err(e) => Err(Error::os("read the project quota of", path.display(), e)),
    }
}

/// Holds a project to so many bytes and files; 0: to none.
pub(super) fn set(fs: &File, path: &Path, number: u32, bytes: u64, inodes: u64) -> Result<()> {
    let mut raw = nothing();
    raw.dqb_bhardlimit = bytes / BLOCK;
    raw.dqb_ihardlimit = inodes;
    raw.dqb_valid = QIF_LIMITS;
    quotactl(fs, Q_SETQUOTA, number, &raw mut raw).map_err(|e| Error::os("set the project quota of", path.display(), e))
}

/// The project of the lowest number from `from` on that is known of; `None`: there is none,
/// or the file system can only be read.
pub(super) fn next(fs: &File, path: &Path, from: u32) -> Result<Option<(u32, ProjectQuota)>> {
    /// struct if_nextdqblk: a dqblk, whose last member the number follows.
    #[repr(C)]
    struct Next {
        quota: [u64; 8],
        valid: u32,
        number: u32,
    }
    let mut raw = Next {
        quota: [0; 8],
        valid: 0,
        number: 0,
    };
    match quotactl(fs, Q_GETNEXTQUOTA, from, &raw mut raw) {
        Ok(()) => {
            let [most_blocks, _, bytes, most_inodes, _, inodes, ..] = raw.quota;
            let quota = ProjectQuota {
                bytes,
                inodes,
                most_blocks,
                most_inodes,
            };
            Ok(Some((raw.number, quota)))
        }
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        // The kernel takes this question for a write (quotactl_cmd_write in fs/quota/quota.c). Nothing could be removed there.
        Err(e) if e.raw_os_error() == Some(libc::EROFS) => Ok(None),
        Err(e) => Err(Error::os("list the project quotas of", path.display(), e)),
    }
}

/// To which project a file or directory belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Membership {
    /// 0: to none.
    pub number: u32,
    /// What is made in it belongs there too.
    pub inherits: bool,
}

fn attributes(file: &File) -> io::Result<fsxattr> {
    // SAFETY: an fsxattr consists of integers; all zero bytes are a value of it.
    let mut raw: fsxattr = unsafe { std::mem::zeroed() };
    // SAFETY: FS_IOC_FSGETXATTR writes one fsxattr, which `raw` is, and keeps no pointer to it.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::Ioctl::from(FS_IOC_FSGETXATTR), &raw mut raw) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(raw),
    }
}

/// Reads it.
pub(super) fn project(file: &File) -> io::Result<Membership> {
    attributes(file).map(|raw| Membership {
        number: raw.fsx_projid,
        inherits: raw.fsx_xflags & FS_XFLAG_PROJINHERIT != 0,
    })
}

/// Gives an empty directory to a project, with all that will be made in it.
pub(super) fn set_project(dir: &File, number: u32) -> io::Result<()> {
    let mut raw = attributes(dir)?;
    raw.fsx_projid = number;
    raw.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    // SAFETY: FS_IOC_FSSETXATTR reads one fsxattr, which `raw` is.
    match unsafe { libc::ioctl(dir.as_raw_fd(), libc::Ioctl::from(FS_IOC_FSSETXATTR), &raw const raw) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
