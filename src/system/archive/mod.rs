//! Root trees of distributions: unpacked from archives, copied, listed and checked, built by the distributions'
//! own tools.
//!
//! Everything that comes out of an archive is hostile until placed. The reader ([`unpack`]) places each entry
//! itself, relative to descriptors, never through a symbolic link, never outside the tree it was given, on a
//! thread that Landlock confines to that tree where the kernel can. What a root tree needs survives: owners,
//! modes with setuid, times, hard links, extended attributes with capabilities and ACLs, FIFOs, holes. Device
//! nodes and sockets are left out and reported: a guest gets its devices from Hostel.

mod attributes;
pub mod carry;
mod compression;
mod confine;
mod copy;
mod devices;
mod extended;
mod fill;
mod import;
mod layer;
mod manifest;
mod member;
mod oci;
mod path;
mod pax;
mod place;
mod rebase;
mod room;
mod scope;
mod sparse;
#[cfg(test)]
mod tests;
mod tool;
mod tree;
mod unpack;
mod walk;

pub use confine::why_unconfined;
pub use copy::{copy_layers, copy_tree};
pub use fill::{Measure, fill, measure};
pub use import::{Form, Import};
pub use manifest::{Manifest, manifest, sha256, verify};
pub use rebase::rebase;
pub use tool::{Job, Output, find_program, is_static_program};
pub use tree::{Resolved, Tree, rename_new};
pub use unpack::{unpack, unpack_layer};

use std::os::fd::AsFd;

use crate::Error;

/// How much an archive may hold before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sum of the sizes of all files, holes counted, in bytes.
    pub bytes: u64,
    /// How many entries.
    pub entries: u64,
    /// Length of a path in bytes, at most 4095 (`PATH_MAX` of limits.h with its NUL).
    pub path_len: usize,
    /// How many directories deep.
    pub depth: usize,
}

impl Default for Limits {
    /// 64 GiB, two million entries, paths of 4095 bytes, 256 directories deep.
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            entries: 2_000_000,
            path_len: 4095,
            depth: 256,
        }
    }
}

/// How many names of things left out are kept; the rest is only counted.
const NAMES_KEPT: usize = 1000;

/// What was placed, and what wasn't.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many entries there were, of whatever kind.
    pub entries: u64,
    /// Regular files, hard links not counted.
    pub files: u64,
    /// Directories that had an entry.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// FIFOs.
    pub fifos: u64,
    /// Sum of the sizes of the regular files in bytes, holes counted.
    pub bytes: u64,
    /// Device nodes and sockets that were left out: the first thousand paths.
    pub left_out: Vec<String>,
    /// How many device nodes and sockets were left out in all.
    pub left_out_count: u64,
    /// Labels of security modules (SELinux, IMA, …) that were left out; they mean something on one host only.
    pub labels_left_out: u64,
    /// Was the work confined by Landlock?
    pub confined: bool,
}

impl Report {
    fn leave_out(&mut self, path: &[u8]) {
        self.left_out_count += 1;
        if self.left_out.len() < NAMES_KEPT {
            self.left_out.push(shown(path));
        }
    }
}

/// Shows all that is below a directory: its path from there, and what stat(2) says of it. Names come in sorted order, a
/// directory before what is in it; no link is followed, and no other file system entered.
pub(crate) fn look_at_all(top: &std::fs::File, see: &mut dyn FnMut(&[u8], &rustix::fs::Stat)) -> crate::Result<()> {
    walk::walk(top.as_fd(), &mut |node| {
        see(node.path, &node.stat);
        Ok(())
    })
}

/// A path as a person can read it: control characters escaped.
fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// The refusal of an entry, with its name.
fn refused(path: &[u8], why: impl Into<String>) -> Error {
    Error::new("unpack", format!("\"{}\"", shown(path)), why.into())
        .kind(crate::Kind::Invalid)
        .hint("the archive is damaged or hostile; nothing of it was kept")
}
