//! The mounts of a view: put on and taken off by children that join the VE.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat2};
use rustix::mount::{MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change};

use super::child::{by_child, enter};
use super::{FILE_SYSTEM, mount_in};
use crate::error::{Failure, Result, Step};
use crate::table::each_line;
use crate::{root, sys};

/// The files, by their path in lxcfs and in a VE alike. `slabinfo` is not for guests, and of `sys` only this one file
/// differs from the kernel's.
pub(super) const FILES: [&str; 8] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "sys/devices/system/cpu/online",
];

/// Where a VE has its /proc and /sys once more, with nothing mounted over any part. Where a user namespace has no such
/// one, the kernel lets nobody in it mount another (mount_too_revealing), so containers inside would get none.
const BARE: [(&str, &str); 2] = [("/proc", "/dev/.hostel/proc"), ("/sys", "/dev/.hostel/sys")];

/// Kernel: include/uapi/linux/magic.h.
const PROC_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;

pub fn put_on(init: BorrowedFd<'_>, mount: &Path) -> Result<()> {
    by_child(init, "show a VE its own /proc", |init| {
        let files = take_files(mount)?;
        let own = enter(init)?;
        remove_all(&own)?;
        share_mounts()?;
        keep_bare()?;
        for (path, file) in files {
            // What a guest has made of its /proc itself is left alone.
            match mount_point(path) {
                Ok(point) => root::place(file.as_fd(), point.as_fd())?,
                Err(failure) if path.starts_with("proc/") => return Err(failure),
                Err(_) => {}
            }
        }
        Ok(())
    })
}

pub fn take_off(init: BorrowedFd<'_>) -> Result<()> {
    by_child(init, "give a VE the kernel's /proc", |init| remove_all(&enter(init)?))
}

/// Detached mounts of lxcfs's files, with which nobody can do anything but read. Those that this version of lxcfs
/// doesn't have are left out.
fn take_files(mount: &Path) -> Result<Vec<(&'static str, OwnedFd)>> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let inert = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mut files = Vec::new();
    for path in FILES {
        let from = mount.join(path);
        let file = match rustix::mount::open_tree(CWD, &from, flags) {
            Err(rustix::io::Errno::NOENT) => continue,
            other => other.step("open", from.display())?,
        };
        sys::mount_setattr(file.as_fd(), inert.bits().into(), None).step("make inert", from.display())?;
        files.push((path, file));
    }
    // All that was so far may have come from what the kernel remembers. Only this shows that lxcfs answers.
    let asked = mount.join("proc/uptime");
    std::fs::read(&asked).step("read", asked.display())?;
    Ok(files)
}

/// From now on what is mounted in the VE's /proc and /sys, and unmounted there, is so in the mount namespaces that come
/// of this one as well, such as those of services: else these would keep the files of an lxcfs that has died. systemd
/// leaves it to its container manager to have mounts shared.
fn share_mounts() -> Result<()> {
    for place in ["/proc", "/sys"] {
        mount_change(place, MountPropagationFlags::SHARED).step("share the VE's mounts in", place)?;
    }
    Ok(())
}

fn keep_bare() -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    for (place, again) in BARE {
        let bare = rustix::mount::open_tree(CWD, place, flags).step("copy the VE's", place)?;
        std::fs::create_dir_all(again).step("make directory", again)?;
        rustix::mount::move_mount(bare, "", CWD, again, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .step("attach a mount at", again)?;
        // Or what is mounted over parts of the other would come here as well.
        mount_change(again, MountPropagationFlags::PRIVATE).step("make private", again)?;
    }
    Ok(())
}

/// The kernel's own file in the VE, reached through nothing that a guest can plant.
fn mount_point(path: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let (act, object) = ("open the VE's", format!("/{path}"));
    let point = openat2(CWD, object.as_str(), flags, Mode::empty(), how).step(act, &object)?;
    let kind = fstatfs(&point).step(act, &object)?.f_type as u64;
    match kind {
        PROC_MAGIC | SYSFS_MAGIC => Ok(point),
        _ => Err(Failure::new(act, object, "the guest has put something else there")),
    }
}

/// Unmounts all that we have mounted. Where a guest shares its mounts with namespaces of its
/// own, as systemd does with those of its services, they go there as well.
fn remove_all(own: &OwnedFd) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let act = "read the VE's";
    let table = rustix::fs::openat(own, "mountinfo", flags, Mode::empty()).step(act, "mount table")?;
    let is_ours = |(point, kind): &(&str, &str)| match point.strip_prefix('/') {
        Some(path) if FILES.contains(&path) => *kind == FILE_SYSTEM,
        _ => BARE.iter().any(|(_, again)| again == point),
    };
    let mut all = Ok(());
    let mut ours = Vec::new();
    each_line(File::from(table), |line| {
        ours.extend(mount_in(line).filter(is_ours).map(|(point, _)| point.to_owned()));
        true
    })
    .step(act, "mount table")?;
    for point in &ours {
        // The last lookup of this asks nothing of the file system that is mounted there (path_lookup with
        // LOOKUP_MOUNTPOINT), so it works if that is dead, too.
        let unmounted = rustix::mount::unmount(point.as_str(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        // One that stays keeps none of the others; the first is told.
        all = all.and(unmounted.step("unmount", point));
    }
    all
}
