//! A place where scripts of the host's owner mount what a VE is to have.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use hostel_monitor::bind::Bind;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{
    MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags, mount, mount_change, open_tree,
    unmount,
};

use super::{is_mount_point, unescape};
use crate::{Error, Result, file};

/// A small tmpfs from which nothing that is mounted on it goes on to other mount namespaces.
pub(super) fn make(point: &Path) -> Result<()> {
    let fail = |e: rustix::io::Errno| Error::os("mount a tmpfs at", point.display(), e);
    file::make_dir(point)?;
    if !is_mount_point(point) {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("hostel", point, "tmpfs", flags, Some(c"mode=0755,size=1m")).map_err(fail)?;
    }
    mount_change(point, MountPropagationFlags::PRIVATE).map_err(fail)
}

/// A copy of each mount below it, in the order in which they were made. Of what can only be read the owners stay those of
/// the host: a VE's root may make it writable again, and then must be nobody there.
pub(super) fn copies(point: &Path) -> Result<Vec<Bind>> {
    let place = rustix::fs::open(point, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::os("open", point.display(), e))?;
    // As the kernel names it.
    let named = std::fs::canonicalize(point).map_err(|e| Error::os("find", point.display(), e))?;
    let own = Path::new("/proc/self/mountinfo");
    let mut binds = Vec::new();
    for line in file::read(own)?.lines() {
        let (Some(at), Some(options)) = (line.split(' ').nth(4).map(unescape), line.split(' ').nth(5)) else {
            continue;
        };
        let Ok(path) = at.strip_prefix(&named).map(|path| path.display().to_string()) else {
            continue;
        };
        if !path.is_empty() {
            let mapped = !options.split(',').any(|option| option == "ro");
            binds.push(copy(&place, path, mapped).map_err(|e| Error::os("copy the mount at", at.display(), e))?);
        }
    }
    Ok(binds)
}

fn copy(place: &OwnedFd, path: String, mapped: bool) -> rustix::io::Result<Bind> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(place, &path, flags, Mode::empty(), how)?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(&found, "", clone)?;
    let inert = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    hostel_monitor::sys::mount_setattr(mount.as_fd(), inert.bits().into(), None)
        .map_err(|e| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO))?;
    let stat = rustix::fs::fstat(&mount)?;
    Ok(Bind {
        path,
        directory: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        mapped,
        mount,
    })
}

/// Away with it and all that is mounted below; what is in use goes when it isn't any more.
pub(super) fn remove(point: &Path) -> Result<()> {
    // Others may have been mounted over it.
    while is_mount_point(point) {
        unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            .map_err(|e| Error::os("unmount", point.display(), e))?;
    }
    match std::fs::remove_dir(point) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::os("remove directory", point.display(), e)),
        _ => Ok(()),
    }
}
