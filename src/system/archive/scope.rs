//! What comes along when a tree is copied.

use rustix::fs::FileType;

use super::attributes::{Policy, policy};

/// What is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// A distribution's root tree, which nothing of the host's may hide in.
    Template,
    /// A VE's disk.
    Layers,
}

impl Scope {
    /// Does what lies at this path come along? Of a disk, what overlayfs knows how to make anew doesn't: temporary
    /// files, and in the index, directories that say where on the file system another directory is.
    pub(super) fn takes(self, path: &[u8], kind: FileType) -> bool {
        match (self, path.strip_prefix(b"work/index/")) {
            (Self::Template, _) => true,
            (Self::Layers, Some(name)) => kind != FileType::Directory && !name.starts_with(b"#"),
            (Self::Layers, None) => {
                path.starts_with(b"upper/") || [&b"upper"[..], b"work", b"work/index"].contains(&path)
            }
        }
    }

    pub(super) fn policy(self, path: &[u8], attribute: &str) -> Policy {
        if self == Self::Template {
            return policy(attribute);
        }
        let of_index = [&b"work"[..], b"work/index"].contains(&path);
        match attribute.split_once('.') {
            // Where the upper layer is on the old file system.
            Some(("trusted", rest)) if of_index && rest.starts_with("overlay.") => Policy::LeaveOut,
            // What one file system alone has is no content.
            Some(("btrfs", _)) => Policy::LeaveOut,
            Some(("system", rest)) if !rest.starts_with("posix_acl_") => Policy::LeaveOut,
            _ => Policy::Keep,
        }
    }
}
