//! A directory tree that is not to be trusted, held by a descriptor. Paths in it are resolved by the kernel as if
//! the tree were the root (openat2(2), `RESOLVE_IN_ROOT`): no link in it leads out of it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_model::recipe::part_matches;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::walk::names;
use crate::remove::remove_at;
use crate::{Error, Result};

/// Resolution that stays in the tree but follows its links.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
/// Resolution that stays in the tree and follows no link.
const STRICT: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// A directory tree, held open. The type for whatever holds files that others wrote.
#[derive(Debug)]
pub struct Tree {
    fd: OwnedFd,
    path: PathBuf,
}

/// Where a path inside a tree ends up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The path without links, from the tree's root: `/usr/lib/systemd/systemd`.
    pub path: String,
    /// Is it a regular file that someone may execute?
    pub executable: bool,
}

impl Tree {
    /// Opens a directory; the last part of `path` may not be a symbolic link.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::os("open directory", path.display(), e))?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// A directory that is open, under a name for messages.
    pub(super) fn of(fd: BorrowedFd<'_>, path: &Path) -> Result<Self> {
        let fd = rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|e| Error::os("open directory", path.display(), e))?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// Makes a new directory with mode 0755 and opens it. Its parent should have mode 0700, so that no user of
    /// the host reaches a setuid file inside.
    pub fn create(path: &Path) -> Result<Self> {
        rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))
            .map_err(|e| Error::os("create directory", path.display(), e))?;
        Self::open(path)
    }

    /// Opens a directory of this tree as a tree of its own; no part of `path` may be a symbolic link.
    pub fn subtree(&self, path: &str) -> Result<Self> {
        let fd = self.open_strict(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Self {
            fd,
            path: self.path.join(path),
        })
    }

    /// Where it lies on the host, for messages and for tools.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Brings all of it to the disk (syncfs(2)).
    pub fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&self.fd).map_err(|e| self.failed("write to disk", "", e))
    }

    /// Opens a path of the tree without following any link.
    pub(super) fn open_strict(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        open_beneath(self.fd(), path, flags).map_err(|e| self.failed("open", &super::shown(path), e))
    }

    fn open_inside(&self, path: &str, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        retry(|| rustix::fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), INSIDE))
    }

    fn failed(&self, act: &'static str, path: &str, errno: Errno) -> Error {
        Error::os(act, self.path.join(path.trim_start_matches('/')).display(), errno)
    }

    /// Reads a regular file of at most `max` bytes; `None` if there is none, or something that is no regular file.
    pub fn read(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>> {
        let fd = match self.open_inside(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(e) => return Err(self.failed("read", path, e)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|e| self.failed("read", path, e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let fail = |e| Error::os("read", self.path.join(path.trim_start_matches('/')).display(), e);
        let mut content = Vec::new();
        File::from(fd).take(max + 1).read_to_end(&mut content).map_err(fail)?;
        if content.len() as u64 > max {
            return Err(fail(std::io::Error::other(format!("it is larger than {max} bytes"))));
        }
        Ok(Some(content))
    }

    /// Follows a path's links inside the tree; `None` if it leads nowhere.
    pub fn resolve(&self, path: &str) -> Result<Option<Resolved>> {
        let fd = match self.open_inside(path, OFlags::PATH) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(e) => return Err(self.failed("resolve", path, e)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|e| self.failed("resolve", path, e))?;
        let target = |fd: &OwnedFd| {
            rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())
                .map_err(|e| self.failed("resolve", path, e))
        };
        let (root, full) = (target(&self.fd)?, target(&fd)?);
        let inside = full.to_bytes().strip_prefix(root.to_bytes()).unwrap_or_default();
        let file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(Some(Resolved {
            path: super::shown(inside),
            executable: file && stat.st_mode & 0o111 != 0,
        }))
    }

    /// Writes a file with these permission bits, owner root, replacing a file or link that is there. Missing
    /// parents are made with mode 0755; links among them are followed inside the tree.
    pub fn write(&self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let (parent, name) = self.parent_of(path)?;
        self.unlink_old(&parent, name, path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| self.failed("write", path, e))?;
        let mut file = File::from(fd);
        file.write_all(content)
            .map_err(|e| Error::os("write", self.path.join(path).display(), e))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(|e| self.failed("set the mode of", path, e))
    }

    /// Makes a symbolic link, replacing a file or link that is there; parents as for [`Tree::write`].
    pub fn symlink(&self, path: &str, target: &str) -> Result<()> {
        let (parent, name) = self.parent_of(path)?;
        self.unlink_old(&parent, name, path)?;
        rustix::fs::symlinkat(target, &parent, name).map_err(|e| self.failed("make symbolic link", path, e))
    }

    /// Makes a directory with mode 0755 and its parents, content with one that is there.
    pub fn make_dir(&self, path: &str) -> Result<()> {
        let (parent, name) = self.parent_of(path)?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Err(e) if e != Errno::EXIST => Err(self.failed("create directory", path, e)),
            _ => Ok(()),
        }
    }

    /// Sets the permission bits of what a path leads to inside the tree.
    pub fn set_mode(&self, path: &str, mode: u32) -> Result<()> {
        let fd = self
            .open_inside(path, OFlags::PATH)
            .map_err(|e| self.failed("open", path, e))?;
        rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), Mode::from_raw_mode(mode))
            .map_err(|e| self.failed("set the mode of", path, e))
    }

    fn unlink_old(&self, parent: &OwnedFd, name: &str, path: &str) -> Result<()> {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Err(e) if e != Errno::NOENT => Err(self.failed("replace", path, e)),
            _ => Ok(()),
        }
    }

    /// The directory that holds `path`, made if missing, and the last part of the path.
    fn parent_of<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str)> {
        let path = path.trim_matches('/');
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() || path.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(self.failed("use", path, Errno::INVAL));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut current = self.open_inside(".", flags).map_err(|e| self.failed("open", path, e))?;
        let mut prefix = String::new();
        for part in parents.split('/').filter(|p| !p.is_empty()) {
            prefix = format!("{prefix}/{part}");
            current = match self.open_inside(&prefix, flags) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&current, part, Mode::from_raw_mode(0o755))
                        .map_err(|e| self.failed("create directory", &prefix, e))?;
                    self.open_inside(&prefix, flags)
                }
                other => other,
            }
            .map_err(|e| self.failed("open", &prefix, e))?;
        }
        Ok((current, name))
    }

    /// Removes all that matches a pattern such as `/var/lib/apt/lists/*` (directories with all in them); says how
    /// much there was. Links among the pattern's directories are followed inside the tree, a match that is a link
    /// is removed itself.
    pub fn remove_matching(&self, pattern: &str) -> Result<usize> {
        let parts: Vec<&str> = pattern.trim_matches('/').split('/').collect();
        let mut found = vec![String::new()];
        let mut removed = 0;
        for (n, part) in parts.iter().enumerate() {
            for dir in std::mem::take(&mut found) {
                let fd = match self.open_inside(&format!("{dir}/"), OFlags::RDONLY | OFlags::DIRECTORY) {
                    Ok(fd) => fd,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                    Err(e) => return Err(self.failed("list", &dir, e)),
                };
                for name in names(fd.as_fd()).map_err(|e| self.failed("list", &dir, e))? {
                    if !part_matches(part.as_bytes(), name.to_bytes()) {
                        continue;
                    }
                    if n + 1 == parts.len() {
                        remove_at(fd.as_fd(), &name).map_err(|e| self.failed("remove", &dir, e))?;
                        removed += 1;
                    } else if let Ok(name) = name.to_str() {
                        found.push(format!("{dir}/{name}"));
                    }
                }
            }
        }
        Ok(removed)
    }
}

/// Opens `path` beneath `dir` without following any link; an empty path is `dir` itself.
pub(super) fn open_beneath(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b".".as_slice() } else { path };
    retry(|| {
        rustix::fs::openat2(
            dir,
            path,
            flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
            STRICT,
        )
    })
}

/// openat2(2) says EAGAIN if something was renamed while it resolved; it may be called again.
fn retry<T>(mut call: impl FnMut() -> std::result::Result<T, Errno>) -> std::result::Result<T, Errno> {
    for _ in 0..64 {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Renames to a name that must be free (renameat2(2), `RENAME_NOREPLACE`).
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags};
    rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
        .map_err(|e| Error::os("rename to", to.display(), e))
}
