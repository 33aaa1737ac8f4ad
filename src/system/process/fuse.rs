//! Ending processes that wait for a FUSE server which never answers.
//!
//! Once a server has read a request, the kernel lets whoever made it wait for the answer, SIGKILL or not, for as long as
//! somebody has the connection open; and those who wait may be the last to have it. Aborting the connection frees them
//! (Documentation/filesystems/fuse/fuse.rst in the kernel, "How do I abort a filesystem connection?").

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use hostel_monitor::spec::Init;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::{Error, Result};

/// Aborts all connections of file systems that were mounted by ids of this process's user namespace. A mount from there
/// can name no other as its owner, so what the host or another VE has mounted (lxcfs, for one) is never among them.
pub fn abort_connections(init: Init) -> Result<()> {
    let ids = ids(init)?;
    let Some(all) = connections()? else { return Ok(()) };
    let fail = |e: rustix::io::Errno| Error::os("look through", OBJECT, e);
    for entry in Dir::read_from(&all).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        match rustix::fs::statat(&all, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if ids.contains(&stat.st_uid) => abort(&all, &name.to_string_lossy())?,
            Ok(_) | Err(rustix::io::Errno::NOENT) => {} // not the VE's, or it has just ended
            Err(e) => return Err(fail(e)),
        }
    }
    Ok(())
}

const OBJECT: &str = "the FUSE connections";

/// A process's user ids as the host has them, by its first row of uid_map (user_namespaces(7)), which can be written
/// once and was by its monitor.
fn ids(init: Init) -> Result<Range<u32>> {
    let path = format!("/proc/{}/uid_map", init.pid);
    let map = crate::file::read(path.as_ref())?;
    let row = map.lines().next().unwrap_or_default();
    let numbers: Vec<u32> = row.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
    match numbers[..] {
        // Never those of the host itself, whoever has the process's number by now.
        [0, base, count] if base > 0 => Ok(base..base.saturating_add(count)),
        _ => Err(Error::new("read", path, format!("not the ids of a VE: {row:?}"))),
    }
}

/// The directory of all connections, on a mount of its own: the host's (/sys/fs/fuse/connections) may not be there.
/// `None` on a kernel without FUSE.
fn connections() -> Result<Option<OwnedFd>> {
    let fail = |e: rustix::io::Errno| Error::os("mount", OBJECT, e);
    let context = match rustix::mount::fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC) {
        Err(rustix::io::Errno::NODEV) => return Ok(None),
        other => other.map_err(fail)?,
    };
    rustix::mount::fsconfig_create(context.as_fd()).map_err(fail)?;
    let inert =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, inert).map_err(fail)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&mount, ".", flags, Mode::empty())
        .map(Some)
        .map_err(fail)
}

fn abort(all: &OwnedFd, name: &str) -> Result<()> {
    let fail = |e: std::io::Error| Error::os("abort FUSE connection", name, e);
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(all, format!("{name}/abort"), flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(fail(e.into())),
        Ok(file) => match File::from(file).write_all(b"1") {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(fail(e)),
            _ => Ok(()),
        },
    }
}
