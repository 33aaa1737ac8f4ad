//! A tree that becomes what a VE has written: the upper layer of an overlay.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::{Report, Tree, copy_tree, walk};
use crate::process::interrupt;
use crate::{Error, Result};

/// Copies a tree to an empty disk, above any template. All of it is on the disk when this returns.
pub fn fill(disk: BorrowedFd<'_>, from: &Tree) -> Result<Report> {
    let place = Path::new("the disk");
    hostel_monitor::root::prepare_disk(disk).map_err(|e| Error::new("prepare", place.display(), e))?;
    let report = copy_tree(from, &Tree::of(disk, place)?.subtree("upper")?)?;
    rustix::fs::syncfs(disk).map_err(|e| Error::os("sync", place.display(), e))?;
    Ok(report)
}

/// How many files a tree holds, and how many bytes they take where they lie.
pub fn measure(tree: &Tree) -> Result<(u64, u64)> {
    let (mut files, mut bytes, mut seen) = (0u64, 0u64, HashSet::new());
    walk::walk(tree.fd(), &mut |node| {
        interrupt::check("measure", "the tree")?;
        if node.stat.st_nlink < 2 || seen.insert(node.stat.st_ino) {
            files += 1;
            bytes = bytes.saturating_add(node.stat.st_blocks.cast_unsigned().saturating_mul(512));
        }
        Ok(())
    })?;
    Ok((files, bytes))
}
