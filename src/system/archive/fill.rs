//! A tree that becomes what a VE has written: the upper layer of an overlay.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::path::Path;

use hostel_model::idmap::SLOT_SIZE;
use rustix::fs::FileType;

use super::attributes::{ids_in_acl, list_at};
use super::{Report, Tree, copy_tree, shown, walk};
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

/// What a tree holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measure {
    /// How many files, a directory being one, and one with several names one.
    pub files: u64,
    /// How many bytes they take where they lie.
    pub bytes: u64,
    /// How many of them are a user's or group's that no VE has, or name one in an ACL: inside, these files would be
    /// nobody's, whom root there has no power over.
    pub strangers: u64,
    /// The first of those: its path and the id.
    pub stranger: Option<(String, u32)>,
}

impl Measure {
    fn count(&mut self, node: &walk::Node<'_>) -> Result<()> {
        self.files += 1;
        self.bytes = self
            .bytes
            .saturating_add(node.stat.st_blocks.cast_unsigned().saturating_mul(512));
        self.look_for_strangers(node)
    }

    fn look_for_strangers(&mut self, node: &walk::Node<'_>) -> Result<()> {
        let mut ids = vec![node.stat.st_uid, node.stat.st_gid];
        match node.kind() {
            FileType::RegularFile | FileType::Directory | FileType::Fifo => {
                let attributes = list_at(node.parent, node.name)
                    .map_err(|e| Error::os("read the attributes of", format!("\"{}\"", shown(node.path)), e))?;
                ids.extend(attributes.iter().flat_map(|(name, value)| ids_in_acl(name, value)));
            }
            FileType::Symlink => {}
            // What no copy has.
            _ => return Ok(()),
        }
        if let Some(id) = ids.into_iter().find(|id| *id >= SLOT_SIZE) {
            self.strangers += 1;
            self.stranger.get_or_insert_with(|| (shown(node.path), id));
        }
        Ok(())
    }
}

/// Goes through a tree, itself included, to see whether a VE could hold it.
pub fn measure(tree: &Tree) -> Result<Measure> {
    let (mut found, mut seen) = (Measure::default(), HashSet::new());
    let stat = rustix::fs::fstat(tree.fd()).map_err(|e| Error::os("read", tree.path().display(), e))?;
    found.look_for_strangers(&walk::Node {
        parent: tree.fd(),
        name: c".",
        path: b".",
        stat,
    })?;
    walk::walk(tree.fd(), &mut |node| {
        interrupt::check("measure", "the tree")?;
        match node.stat.st_nlink < 2 || seen.insert(node.stat.st_ino) {
            true => found.count(node),
            false => Ok(()),
        }
    })?;
    Ok(found)
}
