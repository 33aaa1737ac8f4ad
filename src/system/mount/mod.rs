//! The root of a stopped VE on the host, for repair: its disk over its template, with the owners as they lie on disk,
//! and nothing in it that could run as a program or open a device of the host's.

mod fake;
mod stage;

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use hostel_monitor::bind::Bind;
use hostel_monitor::root::{OVERLAY, open_disk, prepare_disk};
use hostel_monitor::spec::Disk;
use hostel_monitor::table::each_line;
use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, move_mount, unmount,
};

use crate::{Error, Result, file};

pub use fake::FakeMounts;

/// Roots of stopped VEs on the host.
pub trait RootMounts: Send + Sync + Debug {
    /// Mounts the root made of `lower` and `disk` at `root`; the disk itself goes to `disk_point`. Both are made if
    /// missing. Content if it is mounted; on failure nothing stays mounted.
    fn mount(&self, lower: &Path, disk: &Disk, disk_point: &Path, root: &Path) -> Result<()>;
    /// Takes both away again; content if they aren't mounted.
    fn umount(&self, disk_point: &Path, root: &Path) -> Result<()>;
    /// Is something mounted at `path`?
    fn is_mounted(&self, path: &Path) -> bool;
    /// The mount points below a directory and at it, the deepest first.
    fn below(&self, dir: &Path) -> Result<Vec<PathBuf>>;
    /// Those of these mount points that a process sees, as it names them.
    fn seen_by(&self, process: u32, points: &[PathBuf]) -> Result<Vec<PathBuf>>;
    /// Takes one mount away; content if there is none.
    fn detach(&self, point: &Path) -> Result<()>;
    /// Makes a place where others may mount something that goes no further than this mount namespace. Content if it
    /// is there.
    fn stage(&self, point: &Path) -> Result<()>;
    /// A copy of each mount that others have made there, those below others after them.
    fn staged(&self, point: &Path) -> Result<Vec<Bind>>;
    /// Takes that away, with all that is mounted there, also if a program works in it; content if there is none.
    fn unstage(&self, point: &Path) -> Result<()>;
}

/// Real ones, in this process's mount namespace.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelMounts;

impl RootMounts for KernelMounts {
    fn mount(&self, lower: &Path, disk: &Disk, disk_point: &Path, root: &Path) -> Result<()> {
        mount_root(lower, disk, disk_point, root)
    }

    fn umount(&self, disk_point: &Path, root: &Path) -> Result<()> {
        detach(root)?;
        detach(disk_point)
    }

    fn is_mounted(&self, path: &Path) -> bool {
        is_mount_point(path)
    }

    fn below(&self, dir: &Path) -> Result<Vec<PathBuf>> {
        mounts_below(dir)
    }

    fn seen_by(&self, process: u32, points: &[PathBuf]) -> Result<Vec<PathBuf>> {
        let path = format!("/proc/{process}/mountinfo");
        let fail = |e| Error::new("read", &path, e);
        let mut seen = Vec::new();
        let table = File::open(&path).map_err(fail)?;
        each_line(table, |line| {
            seen.extend(mount_point(line).filter(|point| points.contains(point)));
            true
        })
        .map_err(fail)?;
        Ok(seen)
    }

    fn detach(&self, point: &Path) -> Result<()> {
        detach(point)
    }

    fn stage(&self, point: &Path) -> Result<()> {
        stage::make(point)
    }

    fn staged(&self, point: &Path) -> Result<Vec<Bind>> {
        stage::copies(point)
    }

    fn unstage(&self, point: &Path) -> Result<()> {
        stage::remove(point)
    }
}

/// statx(2)'s STATX_ATTR_MOUNT_ROOT.
const MOUNT_ROOT: u64 = 0x2000;

fn is_mount_point(path: &Path) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(CWD, path, flags, StatxFlags::empty()).is_ok_and(|s| s.stx_attributes.bits() & MOUNT_ROOT != 0)
}

/// The mount points below a directory and at it, the deepest first.
pub fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let own = Path::new("/proc/self/mountinfo");
    let mut points: Vec<PathBuf> = file::read(own)?
        .lines()
        .filter_map(mount_point)
        .filter(|point| point.starts_with(dir))
        .collect();
    points.sort_by(|a, b| b.cmp(a));
    Ok(points)
}

/// The fifth field of a line of mountinfo (proc_pid_mountinfo(5)).
fn mount_point(line: &str) -> Option<PathBuf> {
    line.split(' ').nth(4).map(unescape)
}

/// A path in mountinfo: space, tab, newline and backslash stand there as three octal digits behind a backslash.
pub(crate) fn unescape(field: &str) -> PathBuf {
    let field = field.as_bytes();
    let mut bytes = Vec::with_capacity(field.len());
    let mut at = 0;
    while let Some(byte) = field.get(at) {
        let code = (*byte == b'\\').then(|| field.get(at + 1..at + 4)).flatten();
        match code.and_then(|c| u8::from_str_radix(std::str::from_utf8(c).ok()?, 8).ok()) {
            Some(escaped) => (bytes.push(escaped), at += 4),
            None => (bytes.push(*byte), at += 1),
        };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Mounts the root made of `lower` and `disk` at `root`; the disk itself goes to `disk_point`. Both are made if
/// missing. On failure nothing stays mounted.
fn mount_root(lower: &Path, disk: &Disk, disk_point: &Path, root: &Path) -> Result<()> {
    if is_mount_point(root) {
        return Ok(());
    }
    file::make_dir(disk_point)?;
    file::make_dir(root)?;
    if !is_mount_point(disk_point) {
        let mount = open_disk(disk).map_err(|e| Error::new("mount the disk at", disk_point.display(), e))?;
        // A VE that never started has none of the overlay's directories yet.
        prepare_disk(mount.as_fd()).map_err(|e| Error::new("prepare", disk_point.display(), e))?;
        attach(&mount, disk_point)?;
    }
    overlay(lower, disk_point, root).inspect_err(|_| {
        let _ = detach(disk_point); // the failure that counts is the overlay's
    })
}

fn overlay(lower: &Path, disk_point: &Path, root: &Path) -> Result<()> {
    let fail = |e: rustix::io::Errno| Error::os("mount the VE's root at", root.display(), e);
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(fail)?;
    // A colon separates layers unless it is escaped.
    let lower = lower.display().to_string().replace('\\', "\\\\").replace(':', "\\:");
    fsconfig_set_string(&context, "source", "overlay").map_err(fail)?;
    fsconfig_set_string(&context, "lowerdir", lower.as_str()).map_err(fail)?;
    fsconfig_set_string(&context, "upperdir", disk_point.join("upper").as_path()).map_err(fail)?;
    fsconfig_set_string(&context, "workdir", disk_point.join("work").as_path()).map_err(fail)?;
    for (key, value) in OVERLAY {
        fsconfig_set_string(&context, key, value).map_err(fail)?;
    }
    fsconfig_create(&context).map_err(fail)?;
    let inert =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, inert).map_err(fail)?;
    attach(&mount, root)
}

fn attach(mount: &std::os::fd::OwnedFd, point: &Path) -> Result<()> {
    move_mount(mount, "", CWD, point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|e| Error::os("mount at", point.display(), e))
}

/// Unmounts one mount point; content if nothing is mounted there.
pub fn detach(point: &Path) -> Result<()> {
    if !is_mount_point(point) {
        return Ok(());
    }
    match unmount(point, UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::BUSY) => Err(Error::os("unmount", point.display(), rustix::io::Errno::BUSY).hint(
            format!("a program works in it; find it with: fuser -vm {}", point.display()),
        )),
        Err(e) => Err(Error::os("unmount", point.display(), e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        let point = |line| mount_point(line).unwrap().display().to_string();
        assert_eq!(point("36 35 98:0 /mnt1 /mnt2 rw - ext3 /dev/root rw"), "/mnt2");
        assert_eq!(point(r"36 35 98:0 / /a\040b\134c rw - ext3 /dev/root rw"), r"/a b\c");
        assert_eq!(mount_point("36 35"), None);
    }
}
