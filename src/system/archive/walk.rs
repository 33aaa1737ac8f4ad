//! Going through trees by descriptor: listing and walking.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::shown;
use crate::{Error, Kind, Result};

/// The names in a directory, sorted, without `.` and `..`.
pub(super) fn names(dir: BorrowedFd<'_>) -> std::result::Result<Vec<CString>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            found.push(name.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// How many directories may lie inside each other. Each takes descriptors while it is gone through.
const DEEPEST: usize = 400;

/// Refuses a directory that lies deeper than any would that somebody made to be used.
pub(super) fn refuse_deeper(act: &'static str, path: &[u8]) -> Result<()> {
    match path.iter().filter(|b| **b == b'/').count() {
        depth if depth < DEEPEST => Ok(()),
        _ => Err(Error::new(
            act,
            "the tree",
            format!("more than {DEEPEST} directories lie inside each other"),
        )
        .kind(Kind::Invalid)
        .hint(format!(
            "remove what begins at \"{}\"",
            shown(&path[..path.len().min(80)])
        ))),
    }
}

/// Something that the walk came by.
pub(super) struct Node<'w> {
    /// The directory it is in.
    pub(super) parent: BorrowedFd<'w>,
    /// Its name there.
    pub(super) name: &'w CStr,
    /// Its path from the top.
    pub(super) path: &'w [u8],
    /// What it is; a link isn't followed.
    pub(super) stat: Stat,
}

impl Node<'_> {
    /// Its type.
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Goes through all that is below a directory: names in sorted order, a directory before what is in it. Follows no
/// link, and refuses to cross into another file system.
pub(super) fn walk(top: BorrowedFd<'_>, visit: &mut dyn FnMut(&Node<'_>) -> Result<()>) -> Result<()> {
    let device = rustix::fs::fstat(top)
        .map_err(|e| Error::os("read", "the tree", e))?
        .st_dev;
    descend(top, device, &mut Vec::new(), visit)
}

fn descend(
    dir: BorrowedFd<'_>,
    device: u64,
    path: &mut Vec<u8>,
    visit: &mut dyn FnMut(&Node<'_>) -> Result<()>,
) -> Result<()> {
    let fail = |path: &[u8], e: Errno| Error::os("read", format!("\"{}\"", shown(path)), e);
    let length = path.len();
    for name in names(dir).map_err(|e| fail(path, e))? {
        path.truncate(length);
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        let stat = rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| fail(path, e))?;
        if stat.st_dev != device {
            let why = "another file system is mounted there";
            return Err(Error::new("read", format!("\"{}\"", shown(path)), why)
                .kind(Kind::Invalid)
                .hint("unmount it, or give a tree that nothing is mounted in"));
        }
        let node = Node {
            parent: dir,
            name: &name,
            path,
            stat,
        };
        visit(&node)?;
        if node.kind() == FileType::Directory {
            refuse_deeper("read", path)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = rustix::fs::openat(dir, &name, flags, Mode::empty()).map_err(|e| fail(path, e))?;
            descend(inner.as_fd(), device, path, visit)?;
        }
    }
    path.truncate(length);
    Ok(())
}
