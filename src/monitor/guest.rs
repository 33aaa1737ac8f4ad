//! Changes to files of a guest: its names, addresses, keys and passwords.
//!
//! [`apply`] runs in a child that stands inside the VE's root and namespaces, before the VE's init. The tree
//! belongs to the tenant, so anything may lie at any path. Three rules follow:
//! - An existing file is never opened for writing: what changes is written beside it and renamed over it.
//! - Only regular files up to [`MAX_SIZE`] are read, and nothing is opened that could block (FIFOs, devices).
//! - What the tenant may have caused (a directory in the way, an immutable file, a full disk) is an
//!   [`Outcome::Left`], never a failure: a VE starts whatever its files look like.
//!
//! Every path is resolved below the given root with openat2(2), RESOLVE_IN_ROOT.

mod place;
mod text;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use place::{Found, Root};

use crate::error::causes;

/// The largest file that is read or written, in bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// On what a change depends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// On nothing.
    Always,
    /// Nothing may lie at the path.
    IfMissing,
    /// Something must lie at the path.
    IfExists,
    /// This directory must exist.
    IfDir(String),
}

/// One change. Paths are absolute, as the VE sees them, without `.` and `..`. Modes count for new files only: a
/// regular file that is replaced keeps its mode (without set-id bits) and its owner. Missing parent directories
/// are made with mode 0755.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// A file with exactly this content. A symbolic link in its place is replaced, not followed.
    Write {
        /// The file.
        path: String,
        /// All of it.
        content: String,
        /// Permission bits.
        mode: u32,
        /// On what it depends.
        when: When,
    },
    /// Lines between two marker lines; all lines outside are kept. Empty content removes the block.
    ManagedBlock {
        /// The file.
        path: String,
        /// The line before the block, a comment.
        begin: String,
        /// The line after it.
        end: String,
        /// Whole lines.
        content: String,
        /// Permission bits.
        mode: u32,
        /// Lines outside the block that begin so would contradict it: a `#` is put before them.
        comment_out: Vec<String>,
        /// On what it depends.
        when: When,
    },
    /// A copy of another file of the VE (symbolic links on the way to it are followed). With `from` equal to
    /// `path`, a link becomes a file of its own.
    Copy {
        /// What to copy.
        from: String,
        /// The copy.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// An empty file.
    Truncate {
        /// The file.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// The link.
        path: String,
        /// Its text; it need not exist.
        target: String,
    },
    /// A directory; one that is there stays as it is.
    MakeDir {
        /// The directory.
        path: String,
        /// Permission bits of a new one.
        mode: u32,
    },
    /// No file. Directories are left.
    Remove {
        /// The file.
        path: String,
    },
    /// No files in a directory whose names begin so. Directories are left.
    RemovePrefixed {
        /// The directory.
        dir: String,
        /// How the names begin.
        prefix: String,
    },
    /// A user's password hash, in shadow(5). The user's other fields are kept. The field in passwd(5) becomes
    /// `x` if it is not, or the hash in shadow would not count.
    Password {
        /// The user.
        user: String,
        /// As crypt(5) writes it.
        hash: String,
        /// The day of the change, counted from 1970-01-01.
        day: u32,
    },
}

/// What became of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was so already, or its condition isn't met.
    Unchanged,
    /// Done.
    Changed,
    /// Not done, because of what the VE holds.
    Left(Left),
}

/// A change that could not be made, because of what the VE holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Where.
    pub path: String,
    /// What is in the way.
    pub why: String,
}

/// The file in a VE's runtime directory that lists what its start has [`Left`]; without any there is no such file.
pub const LEFT: &str = "left.json";

/// A change that makes no sense, or a host that can't do its part.
#[derive(Debug, thiserror::Error)]
#[error("cannot {op} {path} inside the VE")]
pub struct Failure {
    /// What we were doing: "write", "remove".
    pub op: &'static str,
    /// To what.
    pub path: String,
    /// Why it failed.
    pub source: io::Error,
}

impl From<Failure> for crate::error::Failure {
    /// With the system's number, by which the engine tells a full disk from other faults.
    fn from(failure: Failure) -> Self {
        let (errno, reason) = causes(&failure.source);
        Self {
            act: failure.op.to_owned(),
            object: format!("{} inside the VE", failure.path),
            errno,
            reason,
        }
    }
}

/// Makes the changes in order, below `root` ("/" in the child). The outcomes are in the order of `ops`. Every
/// change is checked before the first is made. A second run with the same changes touches nothing.
pub fn apply(root: &Path, ops: &[Op]) -> Result<Vec<Outcome>, Failure> {
    for op in ops {
        op.check()
            .map_err(|why| op.failure(io::Error::new(io::ErrorKind::InvalidInput, why)))?;
    }
    let root = Root::open(root).map_err(|source| Failure {
        op: "open the root directory",
        path: root.display().to_string(),
        source,
    })?;
    ops.iter()
        .map(|op| match op.run(&root) {
            Ok(outcome) => Ok(outcome),
            Err(e) if place::is_fault_of_host(&e) => Err(op.failure(e)),
            Err(e) => Ok(Outcome::Left(Left {
                path: op.path().to_owned(),
                why: e.to_string(),
            })),
        })
        .collect()
}

impl Op {
    /// The path that it changes.
    pub fn path(&self) -> &str {
        match self {
            Self::Write { path, .. }
            | Self::ManagedBlock { path, .. }
            | Self::Copy { path, .. }
            | Self::Truncate { path, .. }
            | Self::Symlink { path, .. }
            | Self::MakeDir { path, .. }
            | Self::Remove { path }
            | Self::RemovePrefixed { dir: path, .. } => path,
            Self::Password { .. } => SHADOW,
        }
    }

    fn verb(&self) -> &'static str {
        match self {
            Self::Write { .. } | Self::Truncate { .. } => "write",
            Self::ManagedBlock { .. } | Self::Password { .. } => "edit",
            Self::Copy { .. } => "copy to",
            Self::Symlink { .. } => "make the symbolic link",
            Self::MakeDir { .. } => "make the directory",
            Self::Remove { .. } => "remove",
            Self::RemovePrefixed { .. } => "remove files from",
        }
    }

    fn failure(&self, source: io::Error) -> Failure {
        Failure {
            op: self.verb(),
            path: self.path().to_owned(),
            source,
        }
    }

    /// Does it make sense? The text of these changes comes from Hostel, so a mistake here is ours: fail.
    fn check(&self) -> Result<(), &'static str> {
        check_path(self.path())?;
        match self {
            Self::Write { content, when, .. } => {
                check_when(when)?;
                check_size(content)
            }
            Self::ManagedBlock {
                begin,
                end,
                content,
                comment_out,
                when,
                ..
            } => {
                check_when(when)?;
                check_size(content)?;
                text::check_block(begin, end, content, comment_out)
            }
            Self::Copy { from, .. } => check_path(from),
            Self::Symlink { target, .. } => match target.is_empty() || target.contains('\0') {
                true => Err("the target of the link is empty or has a zero byte in it"),
                false => Ok(()),
            },
            Self::RemovePrefixed { prefix, .. } => match prefix.is_empty() || prefix.contains('/') {
                true => Err("the prefix is empty or has a slash in it"),
                false => Ok(()),
            },
            Self::Password { user, hash, .. } => text::check_password(user, hash),
            Self::Truncate { .. } | Self::MakeDir { .. } | Self::Remove { .. } => Ok(()),
        }
    }

    fn run(&self, root: &Root) -> io::Result<Outcome> {
        match self {
            Self::Write {
                path,
                content,
                mode,
                when,
            } => match holds(root, when, path)? {
                true => write(root, path, content.as_bytes(), *mode),
                false => Ok(Outcome::Unchanged),
            },
            Self::ManagedBlock {
                path,
                begin,
                end,
                content,
                mode,
                comment_out,
                when,
            } => match holds(root, when, path)? {
                true => edit(root, path, *mode, |old| {
                    text::merge_block(old, begin, end, content, comment_out)
                }),
                false => Ok(Outcome::Unchanged),
            },
            Self::Copy { from, path, mode } => copy(root, from, path, *mode),
            Self::Truncate { path, mode } => write(root, path, b"", *mode),
            Self::Symlink { path, target } => changed(root.symlink(path, target)?),
            Self::MakeDir { path, mode } => changed(root.make_dir(path, *mode)?),
            Self::Remove { path } => changed(root.remove(path)?),
            Self::RemovePrefixed { dir, prefix } => changed(root.remove_prefixed(dir, prefix)?),
            Self::Password { user, hash, day } => password(root, user, hash, *day),
        }
    }
}

/// Where passwords are.
pub const SHADOW: &str = "/etc/shadow";
const PASSWD: &str = "/etc/passwd";

fn changed(changed: bool) -> io::Result<Outcome> {
    Ok(if changed { Outcome::Changed } else { Outcome::Unchanged })
}

fn holds(root: &Root, when: &When, path: &str) -> io::Result<bool> {
    Ok(match when {
        When::Always => true,
        When::IfMissing => !root.exists(path)?,
        When::IfExists => root.exists(path)?,
        When::IfDir(dir) => root.is_dir(dir)?,
    })
}

fn write(root: &Root, path: &str, content: &[u8], mode: u32) -> io::Result<Outcome> {
    let found = root.read(path, false)?;
    if matches!(&found, Found::File { content: old, .. } if old == content) {
        return Ok(Outcome::Unchanged);
    }
    // Not synced to the disk: if a crash takes it, the next start writes it again.
    root.replace(path, content, &found, mode, false)?;
    Ok(Outcome::Changed)
}

fn copy(root: &Root, from: &str, path: &str, mode: u32) -> io::Result<Outcome> {
    match root.read(from, true)? {
        Found::File { content, .. } => write(root, path, &content, mode),
        Found::Missing if from == path => Ok(Outcome::Unchanged),
        Found::Missing => Err(io::Error::other(format!("{from} does not exist"))),
        Found::TooBig(_) => Err(too_big(from)),
        Found::Other => Err(io::Error::other(format!("{from} is not a regular file"))),
    }
}

/// Changes a file that holds lines of the tenant's own: synced before it takes the old one's place, because a
/// crash must not cost them these lines.
fn edit(root: &Root, path: &str, mode: u32, change: impl FnOnce(&[u8]) -> Vec<u8>) -> io::Result<Outcome> {
    let found = root.read(path, true)?;
    let old: &[u8] = match &found {
        Found::File { content, .. } => content,
        Found::TooBig(_) => return Err(too_big(path)),
        Found::Missing | Found::Other => b"",
    };
    let new = change(old);
    if new == old {
        return Ok(Outcome::Unchanged);
    }
    root.replace(path, &new, &found, mode, true)?;
    Ok(Outcome::Changed)
}

fn password(root: &Root, user: &str, hash: &str, day: u32) -> io::Result<Outcome> {
    let shadow = edit(root, SHADOW, 0o600, |old| text::set_shadow(old, user, hash, day))?;
    let passwd = edit(root, PASSWD, 0o644, |old| text::point_to_shadow(old, user))?;
    changed(shadow == Outcome::Changed || passwd == Outcome::Changed)
}

fn too_big(path: &str) -> io::Error {
    io::Error::other(format!("{path} is larger than {} KiB", MAX_SIZE >> 10))
}

fn check_size(content: &str) -> Result<(), &'static str> {
    if content.len() > MAX_SIZE {
        Err("the content is larger than 1 MiB")
    } else {
        Ok(())
    }
}

fn check_when(when: &When) -> Result<(), &'static str> {
    match when {
        When::IfDir(dir) => check_path(dir),
        When::Always | When::IfMissing | When::IfExists => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err("the path is not absolute");
    };
    match rest.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\0') {
        true => Ok(()),
        false => Err("the path has an empty part, \".\" or \"..\" in it"),
    }
}
