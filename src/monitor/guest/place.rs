//! Reading and replacing files below a root that a tenant owns.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;

use super::MAX_SIZE;

/// How many entries of a directory are looked at: a tenant can make millions.
const MAX_ENTRIES: usize = 4096;
/// How often a name for a temporary file is tried.
const MAX_NAMES: u32 = 16;

/// What lies at a path.
pub(super) enum Found {
    /// Nothing (or a link that leads nowhere).
    Missing,
    /// A regular file.
    File { content: Vec<u8>, stat: Stat },
    /// A regular file too big to read.
    TooBig(Stat),
    /// A directory, device, FIFO, socket, a link, or a file of /proc or /sys.
    Other,
}

/// Is it the host that failed, and not something a tenant can bring about?
pub(super) fn is_fault_of_host(e: &io::Error) -> bool {
    let host = [
        Errno::IO,
        Errno::NOMEM,
        Errno::NOSYS,
        Errno::MFILE,
        Errno::NFILE,
        Errno::BADF,
        Errno::FAULT,
    ];
    host.iter().any(|errno| e.raw_os_error() == Some(errno.raw_os_error()))
}

/// Errors that mean "no such thing": also a file where a directory should be, and links in a circle.
fn is_absent(e: Errno) -> bool {
    matches!(e, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

/// The directory below which every path is resolved.
pub(super) struct Root(OwnedFd);

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(fs::open(path, flags, Mode::empty())?))
    }

    fn open_at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 8;
        loop {
            match fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // openat2(2): a ".." in a link raced with a rename somewhere on the host; try again.
                Err(Errno::AGAIN) if tries > 0 => tries -= 1,
                other => return other,
            }
        }
    }

    fn dir(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open_at(path, OFlags::PATH | OFlags::DIRECTORY)
    }

    /// The directory of a path, made if need be, and the last name.
    fn parent<'p>(&self, path: &'p str, make: bool) -> io::Result<(OwnedFd, &'p str)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = if dir.is_empty() { "/" } else { dir };
        match self.dir(dir) {
            Err(Errno::NOENT) if make => {
                self.make_dir(dir, 0o755)?;
                Ok((self.dir(dir)?, name))
            }
            other => Ok((other?, name)),
        }
    }

    pub(super) fn is_dir(&self, path: &str) -> io::Result<bool> {
        match self.dir(path) {
            Ok(_) => Ok(true),
            Err(e) if is_absent(e) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Is there anything at the path? A link counts, wherever it leads.
    pub(super) fn exists(&self, path: &str) -> io::Result<bool> {
        match self.open_at(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(e) if is_absent(e) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads a file. With `follow`, through links (never out of the root); else a link is [`Found::Other`].
    pub(super) fn read(&self, path: &str, follow: bool) -> io::Result<Found> {
        let link = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        // A look first, because opening a device for reading can have effects of its own.
        let look = match self.open_at(path, OFlags::PATH | link) {
            Ok(fd) => fd,
            Err(Errno::LOOP) => return Ok(Found::Other),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Found::Missing),
            Err(e) => return Err(e.into()),
        };
        if !is_plain(&look)? {
            return Ok(Found::Other);
        }
        let file = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | link)?;
        let stat = fs::fstat(&file)?;
        if !is_plain(&file)? {
            return Ok(Found::Other);
        }
        let mut content = Vec::new();
        File::from(file).take(MAX_SIZE as u64 + 1).read_to_end(&mut content)?;
        if content.len() > MAX_SIZE {
            Ok(Found::TooBig(stat))
        } else {
            Ok(Found::File { content, stat })
        }
    }

    /// Puts a new file in the place of what was `found` there.
    pub(super) fn replace(&self, path: &str, content: &[u8], found: &Found, mode: u32, sync: bool) -> io::Result<()> {
        let (dir, name) = self.parent(path, true)?;
        let (temporary, file) = fresh_name(&dir, |temporary| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            fs::openat(&dir, temporary, flags, Mode::RUSR | Mode::WUSR)
        })?;
        let filled = fill(file, content, found, mode, sync);
        finish(&dir, &temporary, name, filled)
    }

    /// Makes a symbolic link; false if it is there.
    pub(super) fn symlink(&self, path: &str, target: &str) -> io::Result<bool> {
        let (dir, name) = self.parent(path, true)?;
        if fs::readlinkat(&dir, name, Vec::new()).is_ok_and(|old| old.as_bytes() == target.as_bytes()) {
            return Ok(false);
        }
        let (temporary, ()) = fresh_name(&dir, |temporary| fs::symlinkat(target, &dir, temporary))?;
        finish(&dir, &temporary, name, Ok(()))?;
        Ok(true)
    }

    /// Makes a directory with `mode`, and its parents with 0755; false if it is there.
    pub(super) fn make_dir(&self, path: &str, mode: u32) -> io::Result<bool> {
        let mut at = self.dir("/")?;
        let mut made = false;
        for (start, part) in path.split('/').scan(0, |start, part| {
            let this = *start;
            *start += part.len() + 1;
            Some((this, part))
        }) {
            if part.is_empty() {
                continue;
            }
            let upto = path.get(..start + part.len()).unwrap_or(path);
            let mode = Mode::from_raw_mode(if upto == path { mode } else { 0o755 });
            made = match fs::mkdirat(&at, part, mode) {
                Ok(()) => {
                    // mkdir(2) obeys the umask. It is ours since a moment, so it is no link.
                    fs::chmodat(&at, part, mode, AtFlags::empty())?;
                    true
                }
                Err(Errno::EXIST) => false,
                Err(e) => return Err(e.into()),
            };
            at = self.dir(upto)?;
        }
        Ok(made)
    }

    /// Removes what is no directory; false if there is nothing.
    pub(super) fn remove(&self, path: &str) -> io::Result<bool> {
        let (dir, name) = match self.parent(path, false) {
            Ok(found) => found,
            Err(e) if Errno::from_io_error(&e).is_some_and(is_absent) => return Ok(false),
            Err(e) => return Err(e),
        };
        match fs::unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes the files of a directory whose names begin so; false if there is none.
    pub(super) fn remove_prefixed(&self, path: &str, prefix: &str) -> io::Result<bool> {
        let dir = match self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(dir) => dir,
            Err(e) if is_absent(e) => return Ok(false),
            Err(e) => return Err(e.into()),
        };
        let mut names = Vec::new();
        for (count, entry) in Dir::read_from(&dir)?.enumerate() {
            let entry = entry?;
            if count >= MAX_ENTRIES {
                return Err(io::Error::other(format!(
                    "there are more than {MAX_ENTRIES} files in it"
                )));
            }
            if entry.file_name().to_bytes().starts_with(prefix.as_bytes()) {
                names.push(entry.file_name().to_owned());
            }
        }
        let mut removed = false;
        for name in names {
            match fs::unlinkat(&dir, &name, AtFlags::empty()) {
                Ok(()) => removed = true,
                Err(Errno::ISDIR | Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(removed)
    }
}

/// A regular file of a real file system? Files of /proc and /sys say they are regular but may block or have effects.
fn is_plain(fd: impl AsFd) -> io::Result<bool> {
    if FileType::from_raw_mode(fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
        return Ok(false);
    }
    let magic = fs::fstatfs(&fd)?.f_type as u64;
    Ok(![
        linux_raw_sys::general::PROC_SUPER_MAGIC,
        linux_raw_sys::general::SYSFS_MAGIC,
    ]
    .iter()
    .any(|m| u64::from(*m) == magic))
}

/// Makes something under a temporary name. A name that a crash left behind is taken again; the names are few so
/// that none pile up.
fn fresh_name<T>(dir: &OwnedFd, make: impl Fn(&str) -> Result<T, Errno>) -> io::Result<(String, T)> {
    for n in 0..MAX_NAMES {
        let name = format!(".hostel-new.{n}");
        match make(&name) {
            Ok(made) => return Ok((name, made)),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        if fs::unlinkat(dir, &name, AtFlags::empty()).is_ok()
            && let Ok(made) = make(&name)
        {
            return Ok((name, made));
        }
    }
    Err(io::Error::other(
        "the names .hostel-new.* in this directory are all taken",
    ))
}

/// Content, owner and mode of a new file.
fn fill(file: OwnedFd, content: &[u8], found: &Found, mode: u32, sync: bool) -> io::Result<()> {
    let mut file = File::from(file);
    file.write_all(content)?;
    let mode = match found {
        Found::File { stat, .. } | Found::TooBig(stat) => {
            let own = fs::fstat(&file)?;
            if (own.st_uid, own.st_gid) != (stat.st_uid, stat.st_gid) {
                fs::fchown(
                    &file,
                    Some(Uid::from_raw(stat.st_uid)),
                    Some(Gid::from_raw(stat.st_gid)),
                )?;
            }
            stat.st_mode
        }
        Found::Missing | Found::Other => mode,
    };
    fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
    if sync { file.sync_all() } else { Ok(()) }
}

/// Puts the temporary thing in its place, or takes it away again.
fn finish(dir: &OwnedFd, temporary: &str, name: &str, filled: io::Result<()>) -> io::Result<()> {
    let moved = filled.and_then(|()| Ok(fs::renameat(dir, temporary, dir, name)?));
    if moved.is_err() {
        // The first error is the one to tell; a name left over is taken again next time.
        let _ = fs::unlinkat(dir, temporary, AtFlags::empty());
    }
    moved
}
