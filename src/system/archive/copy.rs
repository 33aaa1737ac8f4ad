//! Copying a tree whole: owners, modes, times, attributes, hard links, holes. Files share their blocks with the
//! original where the file system can (FICLONE), so that a copy costs little.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::attributes::{Policy, list_at, set_at};
use super::scope::Scope;
use super::walk::{names, refuse_deeper};
use super::{Report, Tree, refused, shown};
use crate::process::interrupt;
use crate::{Error, Kind, Result};

/// How many threads copy files while the walk goes on.
const COPIERS: usize = 2;
/// How many files may wait for a copier; each keeps two directories open.
const QUEUE: usize = 128;

/// Copies all of `from` into the empty tree `to`. Device nodes and sockets are left out and reported, labels of
/// security modules too. Refused: attributes that steer the host's overlay, and what is mounted inside `from`.
/// After an error `to` holds a part; remove it.
pub fn copy_tree(from: &Tree, to: &Tree) -> Result<Report> {
    copy(from, to, Scope::Template)
}

/// Copies the layers of an overlay (`upper`, `work`) from one disk to another, which is new, with all that overlayfs
/// has noted in them: attributes, whiteouts, and the index of files that have several names in the template (kernel:
/// Documentation/filesystems/overlayfs.rst). What it notes of the place of directories on that very file system is left
/// behind, as it does without. All of it is on the disk when this returns.
pub fn copy_layers(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<Report> {
    let tree = |fd: BorrowedFd<'_>, name: &str| Tree::of(fd, Path::new(name));
    let report = copy(&tree(from, "the old disk")?, &tree(to, "the new disk")?, Scope::Layers)?;
    rustix::fs::syncfs(to).map_err(|e| Error::os("sync", "the new disk", e))?;
    Ok(report)
}

fn copy(from: &Tree, to: &Tree, scope: Scope) -> Result<Report> {
    let (send, receive) = sync_channel::<FileJob>(QUEUE);
    let receive = Mutex::new(receive);
    let can_clone = AtomicBool::new(true);
    let device = rustix::fs::fstat(from.fd())
        .map_err(|e| Error::os("read", from.path().display(), e))?
        .st_dev;
    let mut walk = Walk {
        scope,
        device,
        send: Some(send),
        linked: HashMap::new(),
        links: Vec::new(),
        directories: Vec::new(),
        report: Report::default(),
    };
    std::thread::scope(|threads| {
        let copiers: Vec<_> = (0..COPIERS)
            .map(|_| threads.spawn(|| copy_files(&receive, &can_clone, scope)))
            .collect();
        let duplicate = |tree: &Tree| rustix::io::fcntl_dupfd_cloexec(tree.fd(), 0).map(Arc::new);
        let tops = duplicate(from).and_then(|from| Ok((from, duplicate(to)?)));
        let walked = tops
            .map_err(|e| Error::os("open", from.path().display(), e))
            .and_then(|(from, to)| walk.directory(&from, &to, &mut Vec::new()));
        // Without senders the copiers end when the queue is empty.
        walk.send = None;
        let mut copied = Ok(());
        for copier in copiers {
            let (done, labels) = copier.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            walk.report.labels_left_out += labels;
            copied = copied.and(done);
        }
        // If a copier gave up, the walk failed only because nobody took its files any more.
        copied.and(walked)
    })?;
    walk.finish(to)?;
    let stat = rustix::fs::fstat(from.fd()).map_err(|e| Error::os("read", from.path().display(), e))?;
    if scope == Scope::Layers {
        // The top of a disk is its driver's.
        return Ok(walk.report);
    }
    let xattrs = kept(from.fd(), c".", b"", scope)?;
    finish_fd(to.fd(), &stat, &xattrs.0).map_err(|e| Error::os("set the attributes of", to.path().display(), e))?;
    Ok(walk.report)
}

/// Extended attributes: names and values.
type Attributes = Vec<(String, Vec<u8>)>;

/// A regular file to copy.
struct FileJob {
    from: Arc<OwnedFd>,
    to: Arc<OwnedFd>,
    name: CString,
    path: Vec<u8>,
}

struct Walk {
    scope: Scope,
    device: u64,
    send: Option<SyncSender<FileJob>>,
    /// The first name of each file that has several.
    linked: HashMap<u64, Vec<u8>>,
    /// Further names: path, and the first name.
    links: Vec<(Vec<u8>, Vec<u8>)>,
    /// Directories, parents first, with what they get when all is in them.
    directories: Vec<(Vec<u8>, Stat, Attributes)>,
    report: Report,
}

impl Walk {
    fn directory(&mut self, from: &Arc<OwnedFd>, to: &Arc<OwnedFd>, path: &mut Vec<u8>) -> Result<()> {
        let length = path.len();
        for name in names(from.as_fd()).map_err(|e| failed("read", path, e))? {
            path.truncate(length);
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            self.entry(from, to, &name, path)?;
        }
        path.truncate(length);
        Ok(())
    }

    fn entry(&mut self, from: &Arc<OwnedFd>, to: &Arc<OwnedFd>, name: &CStr, path: &mut Vec<u8>) -> Result<()> {
        interrupt::check("copy", "the tree")?;
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed("read", path, e))?;
        if stat.st_dev != self.device {
            return Err(Error::new(
                "copy",
                format!("\"{}\"", shown(path)),
                "another file system is mounted there",
            )
            .kind(Kind::Invalid)
            .hint("unmount it, or give a tree that nothing is mounted in"));
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !self.scope.takes(path, kind) {
            return Ok(());
        }
        if kind != FileType::Directory && self.is_further_name(path, &stat) {
            return Ok(());
        }
        match kind {
            FileType::RegularFile => return self.file(from, to, name, path, &stat),
            FileType::Directory => {
                refuse_deeper("copy", path)?;
                match rustix::fs::mkdirat(to, name, Mode::RWXU) {
                    // A new disk has the layers themselves already.
                    Err(Errno::EXIST) if self.scope == Scope::Layers && !path.contains(&b'/') => {}
                    made => made.map_err(|e| failed("create", path, e))?,
                }
                let inner = (open_dir(from, name, path)?, open_dir(to, name, path)?);
                let (xattrs, labels) = kept(from.as_fd(), name, path, self.scope)?;
                self.report.labels_left_out += labels;
                self.report.directories += 1;
                self.directories.push((path.clone(), stat, xattrs));
                return self.directory(&inner.0, &inner.1, path);
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new()).map_err(|e| failed("read", path, e))?;
                rustix::fs::symlinkat(&target, to, name).map_err(|e| failed("create", path, e))?;
                self.report.symlinks += 1;
            }
            FileType::Fifo => {
                rustix::fs::mknodat(to, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                    .map_err(|e| failed("create", path, e))?;
                self.report.fifos += 1;
            }
            // Among them whiteouts, which say what is deleted of the template.
            _ if self.scope == Scope::Layers => {
                rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)
                    .map_err(|e| failed("create", path, e))?;
            }
            _ => {
                self.report.leave_out(path);
                return Ok(());
            }
        }
        let (xattrs, labels) = kept(from.as_fd(), name, path, self.scope)?;
        self.report.labels_left_out += labels;
        finish_name(to.as_fd(), name, &stat, &xattrs).map_err(|e| failed("set the attributes of", path, e))
    }

    /// Has the walk come by it under another name? Then it is linked there in the end.
    fn is_further_name(&mut self, path: &[u8], stat: &Stat) -> bool {
        if stat.st_nlink < 2 {
            return false;
        }
        if let Some(first) = self.linked.get(&stat.st_ino) {
            self.links.push((path.to_vec(), first.clone()));
            self.report.hard_links += 1;
            return true;
        }
        self.linked.insert(stat.st_ino, path.to_vec());
        false
    }

    fn file(&mut self, from: &Arc<OwnedFd>, to: &Arc<OwnedFd>, name: &CStr, path: &[u8], stat: &Stat) -> Result<()> {
        self.report.files += 1;
        self.report.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        let job = FileJob {
            from: Arc::clone(from),
            to: Arc::clone(to),
            name: name.to_owned(),
            path: path.to_vec(),
        };
        let sent = self.send.as_ref().map(|s| s.send(job));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(Error::new(
                "copy",
                format!("\"{}\"", shown(path)),
                "the copying stopped",
            )),
        }
    }

    /// What can only be done when all files are there: hard links, then what directories get.
    fn finish(&mut self, to: &Tree) -> Result<()> {
        for (path, first) in &self.links {
            rustix::fs::linkat(to.fd(), first.as_slice(), to.fd(), path.as_slice(), AtFlags::empty())
                .map_err(|e| failed("link", path, e))?;
        }
        for (path, stat, xattrs) in self.directories.iter().rev() {
            let fd = to.open_strict(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            finish_fd(fd.as_fd(), stat, xattrs).map_err(|e| failed("set the attributes of", path, e))?;
        }
        Ok(())
    }
}

/// A copier: takes files until there are no more, or one fails.
fn copy_files(jobs: &Mutex<Receiver<FileJob>>, can_clone: &AtomicBool, scope: Scope) -> (Result<()>, u64) {
    let mut labels = 0;
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return (Ok(()), labels) };
        match copy_file(&job, can_clone, scope) {
            Ok(left_out) => labels += left_out,
            Err(e) => {
                // Take the rest away, so that the walk doesn't wait for room in the queue for ever.
                while jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().is_ok() {}
                return (Err(e), labels);
            }
        }
    }
}

fn copy_file(job: &FileJob, can_clone: &AtomicBool, scope: Scope) -> Result<u64> {
    let fail = |e: Errno| failed("copy", &job.path, e);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let from = rustix::fs::openat(&job.from, &job.name, flags, Mode::empty()).map_err(fail)?;
    let stat = rustix::fs::fstat(&from).map_err(fail)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refused(&job.path, "it changed into something else while it was copied"));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = rustix::fs::openat(&job.to, &job.name, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
    copy_content(&from, &to, &stat, can_clone).map_err(fail)?;
    let (xattrs, labels) = kept(job.from.as_fd(), &job.name, &job.path, scope)?;
    finish_fd(to.as_fd(), &stat, &xattrs).map_err(fail)?;
    Ok(labels)
}

fn copy_content(from: &OwnedFd, to: &OwnedFd, stat: &Stat, can_clone: &AtomicBool) -> std::result::Result<(), Errno> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size == 0 {
        return Ok(());
    }
    if can_clone.load(Ordering::Relaxed) {
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => return Ok(()),
            // The file system can't, or not between these two: don't ask again.
            Err(_) => can_clone.store(false, Ordering::Relaxed),
        }
    }
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    if blocks * 512 >= size {
        return copy_range(from, to, 0, size);
    }
    // It has holes: copy what lies between them.
    let mut offset = 0;
    while offset < size {
        let start = match rustix::fs::seek(from, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(e) => return Err(e),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start))?.min(size);
        copy_range(from, to, start, end)?;
        offset = end;
    }
    rustix::fs::ftruncate(to, size)
}

fn copy_range(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> std::result::Result<(), Errno> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let length = usize::try_from(end - read_at).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length) {
            Ok(0) => return Err(Errno::IO), // the file has shrunk under us
            Ok(_) | Err(Errno::INTR) => {}
            // Between file systems, or on one that can't: through the page cache.
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) => {
                rustix::fs::seek(to, SeekFrom::Start(write_at))?;
                let sent = rustix::fs::sendfile(to, from, Some(&mut read_at), length)?;
                if sent == 0 {
                    return Err(Errno::IO);
                }
                write_at += sent as u64;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The attributes that survive, and how many labels don't.
fn kept(parent: BorrowedFd<'_>, name: &CStr, path: &[u8], scope: Scope) -> Result<(Attributes, u64)> {
    let mut xattrs = list_at(parent, name).map_err(|e| failed("read the attributes of", path, e))?;
    if let Some((bad, _)) = xattrs.iter().find(|(n, _)| scope.policy(path, n) == Policy::Refuse) {
        let why = format!("a root tree may not carry its attribute \"{}\"", shown(bad.as_bytes()));
        return Err(Error::new("copy", format!("\"{}\"", shown(path)), why).kind(Kind::Invalid));
    }
    let before = xattrs.len();
    xattrs.retain(|(n, _)| scope.policy(path, n) == Policy::Keep);
    let labels = (before - xattrs.len()) as u64;
    Ok((xattrs, labels))
}

fn open_dir(parent: &OwnedFd, name: &CStr, path: &[u8]) -> Result<Arc<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
        .map(Arc::new)
        .map_err(|e| failed("open", path, e))
}

fn failed(act: &'static str, path: &[u8], errno: Errno) -> Error {
    Error::os(act, format!("\"{}\"", shown(path)), errno)
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime as _,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as _,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}

fn finish_fd(fd: BorrowedFd<'_>, stat: &Stat, xattrs: &[(String, Vec<u8>)]) -> std::result::Result<(), Errno> {
    rustix::fs::fchown(fd, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (name, value) in xattrs {
        rustix::fs::fsetxattr(fd, name.as_str(), value, rustix::fs::XattrFlags::empty())?;
    }
    rustix::fs::futimens(fd, &times(stat))
}

/// The same for what isn't opened, by its name.
fn finish_name(
    parent: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    xattrs: &[(String, Vec<u8>)],
) -> std::result::Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)?;
    }
    for (attribute, value) in xattrs {
        set_at(parent, name, attribute, value)?;
    }
    rustix::fs::utimensat(parent, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}
