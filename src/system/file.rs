//! Files of our own: written whole or not at all, and locks that die with their holder.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use tempfile::NamedTempFile;

use crate::remove::remove_at;
use crate::{Error, Result};

/// A place where tests can make it fail.
fn reach(_act: &'static str, _path: &Path) -> Result<()> {
    #[cfg(feature = "faults")]
    crate::faults::reach(_act, _path)?;
    Ok(())
}

/// Replaces `path` by `content`: a crash leaves the old file or the new one, never a part (write to a temporary
/// file beside it, fsync, rename, fsync of the directory). The file gets `mode`.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let fail = |e: std::io::Error| Error::os("write", path.display(), e);
    let file = beside(path, content, mode)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    sync_dir(path.parent().unwrap_or(Path::new("/")))
}

/// Replaces `path` by `content` with mode 0600, whole or not at all, but leaves the time to the kernel: a power cut may
/// bring the old file back.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let file = beside(path, content, 0o600)?;
    file.persist(path)
        .map(drop)
        .map_err(|e| Error::os("write", path.display(), e.error))
}

/// A temporary file beside `path` with what it is to hold.
fn beside(path: &Path, content: &[u8], mode: u32) -> Result<NamedTempFile> {
    reach("write", path)?;
    let fail = |e: std::io::Error| Error::os("write", path.display(), e);
    let dir = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempfile_in(dir)
        .map_err(fail)?;
    file.write_all(content).map_err(fail)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))
        .map_err(fail)?;
    Ok(file)
}

/// Has the kernel begin to write what of a file isn't on the disk yet, and doesn't wait. For many files that are to be
/// synced: the disk is given all of them at once, and one commit of its journal does for all.
pub fn begin_sync(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is passed.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes what happened in a directory durable.
pub fn sync_dir(dir: &Path) -> Result<()> {
    reach("sync directory", dir)?;
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| Error::os("sync directory", dir.display(), e))
}

/// Reads a text file whole, with the path in the error.
pub fn read(path: &Path) -> Result<String> {
    reach("read", path)?;
    fs::read_to_string(path).map_err(|e| Error::os("read", path.display(), e))
}

/// Reads a text file whole; `None` if there is none.
pub fn read_opt(path: &Path) -> Result<Option<String>> {
    reach("read", path)?;
    match read_small(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::os("read", path.display(), e)),
    }
}

/// The text of a file that is small as a rule, in as few calls as can be: many are read for a list of all VEs. A file whose
/// end comes sooner than there is room for has ended. That holds for plain files, and for those of the kernel that give all
/// they have at once; not for its lists (`mountinfo`, `cgroup.procs`), which come in pieces.
pub fn read_small(path: &Path) -> std::io::Result<String> {
    let mut text = Vec::with_capacity(4096);
    read_into(CWD, path, &mut text)?;
    String::from_utf8(text).map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e))
}

/// The same below a directory that is open, into a buffer that is used again and again.
pub(crate) fn read_into(dir: BorrowedFd<'_>, path: &Path, text: &mut Vec<u8>) -> std::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, path, flags, Mode::empty())?;
    text.clear();
    loop {
        text.reserve(512);
        let room = text.capacity() - text.len();
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&file, rustix::buffer::spare_capacity(text)))?;
        if read < room {
            return Ok(());
        }
    }
}

/// Writes at the end of an open file of our own; `sync`: it is on the disk when this returns.
pub fn append(file: &mut File, path: &Path, content: &[u8], sync: bool) -> Result<()> {
    if let Err(e) = reach("write", path) {
        // As a full disk does: the first half fits.
        let _ = file.write_all(&content[..content.len() / 2]);
        return Err(e);
    }
    let fail = |e: std::io::Error| Error::os("write", path.display(), e);
    file.write_all(content).map_err(fail)?;
    if sync { file.sync_data().map_err(fail) } else { Ok(()) }
}

/// Makes a directory and its parents with mode 0700, content with one that is there.
pub fn make_dir(path: &Path) -> Result<()> {
    reach("create directory", path)?;
    // Looked at first: mkdir(2) wants to write, and so hangs on a disk that does, even where there is nothing to make.
    if path.is_dir() {
        return Ok(());
    }
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Error::os("create directory", path.display(), e))
}

/// Lets others look into a directory of our own: whoever comes by a descriptor of it, as its parents are closed to them.
pub fn open_up(path: &Path) -> Result<()> {
    reach("open up", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|e| Error::os("open up", path.display(), e))
}

/// Removes a file; content if there is none.
pub fn remove_file(path: &Path) -> Result<()> {
    reach("remove", path)?;
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::os("remove", path.display(), e)),
        _ => Ok(()),
    }
}

/// Removes a directory with all in it (symlinks are not followed); content if there is none.
pub fn remove_tree(path: &Path) -> Result<()> {
    reach("remove directory", path)?;
    let fail = |e: std::io::Error| Error::os("remove directory", path.display(), e);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new("remove directory", path.display(), "it has no name"));
    };
    let name = CString::new(name.as_bytes()).map_err(|e| fail(e.into()))?;
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    match File::open(parent) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(fail(e)),
        Ok(parent) => remove_at(parent.as_fd(), &name).map_err(|e| fail(e.into())),
    }
}

/// Bytes that root can still write on the file system of a directory.
pub fn free_space(dir: &Path) -> Result<u64> {
    let s = rustix::fs::statfs(dir).map_err(|e| Error::os("look for free space in", dir.display(), e))?;
    Ok(s.f_bavail.saturating_mul(u64::try_from(s.f_bsize).unwrap_or(0)))
}

/// Makes a file of this size whose blocks are all really there, so that they can be given back later.
pub fn allocate(path: &Path, size: u64) -> Result<()> {
    let fail = |e: std::io::Error| Error::os("put space by in", path.display(), e);
    let file = open_own(path)?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size) {
        // A file system that can't do it beforehand does it with the data.
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let block = [0xa5; 4096];
            (0..size.div_ceil(4096))
                .try_for_each(|_| (&file).write_all(&block))
                .and_then(|()| file.set_len(size))
        }
        other => other.map_err(Into::into),
    }
    .map_err(fail)
}

/// Opens a file of our own for writing, made with mode 0600 if it isn't there.
pub fn open_own(path: &Path) -> Result<File> {
    reach("open", path)?;
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::os("open", path.display(), e))
}

/// Renames within a file system and makes it durable; content if it has been done already.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    reach("rename", from)?;
    match fs::rename(from, to) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && to.exists() => return Ok(()),
        Err(e) => {
            return Err(Error::os(
                "rename",
                format!("{} to {}", from.display(), to.display()),
                e,
            ));
        }
    }
    for dir in [to.parent(), from.parent()].into_iter().flatten() {
        // A relative name has the working directory as its parent.
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        sync_dir(dir)?;
    }
    Ok(())
}
