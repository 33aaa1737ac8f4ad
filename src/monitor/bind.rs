//! What scripts of the host's owner have mounted for a VE: from the engine, by way of the monitor, to its place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::error::{Failure, Result, Step};
use crate::message::{Channel, FromMonitor, ToChild, ToMonitor};
use crate::{root, sys};

/// One of them, as a detached mount.
#[derive(Debug)]
pub struct Bind {
    /// Its path in the VE, without the first slash.
    pub path: String,
    /// Is it a directory? Else it is a file.
    pub directory: bool,
    /// Are the ids on it those that the VE's users have inside?
    pub mapped: bool,
    /// The mount.
    pub mount: OwnedFd,
}

/// Hears from the engine until the disk comes.
pub fn receive(engine: &Channel) -> Result<(Vec<Bind>, OwnedFd)> {
    let mut binds = Vec::new();
    loop {
        match engine.receive::<ToMonitor>().step("hear from", "the engine")? {
            Some((ToMonitor::Bind(path, directory, mapped), Some(mount))) => binds.push(Bind {
                path,
                directory,
                mapped,
                mount,
            }),
            Some((ToMonitor::Disk, Some(disk))) => return Ok((binds, disk)),
            Some(_) => return Err(Failure::new("start", "init", "the engine spoke out of turn")),
            None => return Err(Failure::new("start", "init", "the engine gave the start up")),
        }
    }
}

/// Gives them the VE's ids, and hands them to the child.
pub fn hand_over(binds: Vec<Bind>, user_namespace: BorrowedFd<'_>, child: &Channel, engine: &Channel) -> Result<()> {
    for bind in binds {
        let mapped = bind
            .mapped
            .then(|| sys::mount_setattr(bind.mount.as_fd(), 0, Some(user_namespace)));
        if let Some(Err(e)) = mapped {
            // Not every file system can. There it has the host's owners, who are nobody inside.
            let failure = Failure::new("map the owners of", format!("/{}", bind.path), e);
            engine
                .send(&FromMonitor::Without(failure), &[])
                .step("report to", "the engine")?;
        }
        child
            .send(&ToChild::Bind(bind.path, bind.directory), &[bind.mount.as_fd()])
            .step("hand over", "a mount")?;
    }
    Ok(())
}

/// Attaches one in the VE's root, whose directories are made where they are missing. No link is followed on the way: a
/// tenant may have put one there.
pub fn attach(tree: BorrowedFd<'_>, path: &str, directory: bool, mount: BorrowedFd<'_>) -> Result<()> {
    let shown = || format!("/{path}");
    let mut at = tree.try_clone_to_owned().step("open", "the VE's root")?;
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        at = match parts.peek() {
            None if !directory => open_file(at.as_fd(), part),
            _ => root::mount_point(at.as_fd(), part),
        }
        .map_err(|e| Failure::new("mount in the VE at", shown(), e))?;
    }
    root::place(mount, at.as_fd()).map_err(|e| Failure::new("mount in the VE at", shown(), e))
}

/// Opens a file on which another is to be mounted; makes it if it isn't there.
fn open_file(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = || {
        openat2(
            directory,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            how,
        )
    };
    match open() {
        Err(rustix::io::Errno::NOENT) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
            rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644)).step("make", name)?;
            open().step("open", name)
        }
        opened => opened.step("open", name),
    }
}
