//! Layers of OCI images: what they take away from the layers before them (image-spec, layer.md).

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::member::{Kind, Member};
use super::path::{join, split};
use super::place::{Placer, is_directory};
use super::tree::open_beneath;
use super::walk::names;
use super::{refused, shown};
use crate::remove::remove_at;
use crate::{Error, Result};

impl Placer<'_> {
    /// In a layer: does what a whiteout says, and tells whether the member was one.
    pub(super) fn whiteout(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
        member: &Member,
    ) -> Result<bool> {
        let Some(hidden) = name.to_bytes().strip_prefix(b".wh.") else {
            return Ok(false);
        };
        let Some(placed) = &self.layer else { return Ok(false) };
        if member.kind != Kind::File || member.size != 0 {
            return Err(refused(path, "it is named as a whiteout and isn't an empty file"));
        }
        let (directory, _) = split(path);
        let fail = |e: Errno| Error::os("apply whiteout", format!("\"{}\"", shown(path)), e);
        if hidden == b".wh..opq" {
            let listing = open_beneath(parent, b"", OFlags::RDONLY | OFlags::DIRECTORY).map_err(fail)?;
            for child in names(listing.as_fd()).map_err(fail)? {
                remove_lower(placed, parent, &child, &join(directory, child.to_bytes())).map_err(fail)?;
            }
            return Ok(true);
        }
        if hidden.is_empty() || hidden.starts_with(b".wh.") || matches!(hidden, b"." | b"..") {
            return Err(refused(path, "it is a whiteout of an unknown kind"));
        }
        let hidden_name = CString::new(hidden).map_err(|_| refused(path, "its name holds a NUL"))?;
        remove_lower(placed, parent, &hidden_name, &join(directory, hidden)).map_err(fail)?;
        Ok(true)
    }

    /// In a layer: removes what an earlier layer has at this name, unless both are directories.
    pub(super) fn make_way(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8], member: &Member) -> Result<()> {
        let Some(placed) = &self.layer else { return Ok(()) };
        if placed.contains(path) || (member.kind == Kind::Directory && is_directory(parent, name)) {
            return Ok(());
        }
        remove_at(parent, name).map_err(|e| Error::os("replace", shown(path), e))
    }
}

/// Removes what earlier layers have at a name: all that this layer hasn't placed itself.
fn remove_lower(
    placed: &HashSet<Vec<u8>>,
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &[u8],
) -> std::result::Result<(), Errno> {
    if !placed.contains(path) {
        return remove_at(parent, name);
    }
    if !is_directory(parent, name) {
        return Ok(());
    }
    let inner = open_beneath(parent, name.to_bytes(), OFlags::RDONLY | OFlags::DIRECTORY)?;
    for child in names(inner.as_fd())? {
        remove_lower(placed, inner.as_fd(), &child, &join(path, child.to_bytes()))?;
    }
    Ok(())
}

/// Notes a path and its parents as placed. How many bytes are kept for it.
pub(super) fn remember(placed: &mut HashSet<Vec<u8>>, path: &[u8]) -> usize {
    let (mut path, mut kept) = (path, 0);
    while !path.is_empty() && placed.insert(path.to_vec()) {
        kept += path.len();
        path = split(path).0;
    }
    kept
}
