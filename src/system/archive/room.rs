//! How much of the host an archive may take besides the bytes of its files.

use super::member::Member;
use super::place::{Pending, Placer};
use super::refused;
use crate::Result;

/// The most bytes of extended attributes of a member: more than Linux lists of a file (XATTR_LIST_MAX) no tool has packed.
const MOST_ATTRIBUTES: usize = 64 << 10;
/// The most bytes of names and attributes that are kept until all is placed. A distribution has some megabytes.
const MOST_KEPT: usize = 256 << 20;

impl Placer<'_> {
    /// Whoever made the archive doesn't say how much this takes of the host: neither in the tree nor in memory.
    pub(super) fn has_room(&self, path: &[u8]) -> Result<()> {
        if self.report.entries.saturating_add(self.made) > self.limits.entries {
            let why = format!("it is one more than the {} entries allowed", self.limits.entries);
            return Err(refused(path, why));
        }
        if self.kept > MOST_KEPT {
            let why = format!(
                "the names and attributes up to it take more than {} MiB",
                MOST_KEPT >> 20
            );
            return Err(refused(path, why));
        }
        Ok(())
    }

    /// The same of a member, of which nothing is placed yet.
    pub(super) fn has_room_for(&self, member: &Member) -> Result<()> {
        self.has_room(&member.path)?;
        if attributes(member) > MOST_ATTRIBUTES {
            let why = format!("its extended attributes take more than {} KiB", MOST_ATTRIBUTES >> 10);
            return Err(refused(&member.path, why));
        }
        Ok(())
    }

    /// Keeps what a directory gets in the end.
    pub(super) fn keep(&mut self, path: Vec<u8>, mut member: Member) -> Result<()> {
        member.path = Vec::new();
        self.kept += size_of::<Pending>() + path.len() + attributes(&member);
        self.report.directories += 1;
        self.directories.push(Pending { path, member });
        Ok(())
    }
}

/// How many bytes its extended attributes take.
fn attributes(member: &Member) -> usize {
    member.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
}
