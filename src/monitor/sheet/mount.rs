//! The mount by which a sheet is shown in the VE, made and taken away by children that join it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, UnmountFlags, unmount};

use crate::error::{Result, Step};
use crate::view::child::{by_child, enter};
use crate::{root, sys};

/// Shows this file of the host at this path of the VE, where nobody can write to it.
pub fn put_on(init: BorrowedFd<'_>, file: &Path, path: &str) -> Result<()> {
    by_child(init, "show a VE its beancounters", |init| {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        let mount = rustix::mount::open_tree(CWD, file, flags).step("open", file.display())?;
        let inert = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        sys::mount_setattr(mount.as_fd(), inert.bits().into(), None).step("make inert", file.display())?;
        enter(init)?;
        remove(path);
        if let Some(dir) = Path::new(path).parent() {
            std::fs::create_dir_all(dir).step("make the VE's directory", dir.display())?;
        }
        let point = match place(path) {
            Err(Errno::NOENT) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::open(path, flags, Mode::from_raw_mode(0o444)).step("make in the VE", path)?;
                place(path)
            }
            found => found,
        };
        let point = point.step("open the VE's", path)?;
        root::place(mount.as_fd(), point.as_fd())
    })
}

/// What is there, without opening it: if it is a sheet after all, that would ask the monitor, which waits for us.
fn place(path: &str) -> std::result::Result<OwnedFd, Errno> {
    let how = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(
        CWD,
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        how,
    )
}

/// Takes it away; the empty file below stays.
pub fn take_off(init: BorrowedFd<'_>, path: &str) -> Result<()> {
    by_child(init, "take its beancounters from a VE", |init| {
        enter(init)?;
        remove(path);
        Ok(())
    })
}

/// If it isn't there, the guest has done so.
fn remove(path: &str) {
    let _ = unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
}
