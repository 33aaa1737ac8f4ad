//! Placing members in a tree: by descriptors of their directories, which are opened without following any link.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::attributes::set_at;
use super::layer::remember;
use super::member::{Kind, Member, Members};
use super::path::{clean, split};
use super::tree::open_beneath;
use super::{Limits, Report, refused, shown};
use crate::{Error, Result};

/// Runs of zeros of this many bytes, at multiples of it, become holes.
const HOLE: usize = 4096;
const BUFFER: usize = 256 << 10;

/// What a directory gets when all is in it: its time would change, and its default ACL would be inherited.
pub(super) struct Pending {
    pub(super) path: Vec<u8>,
    pub(super) member: Member,
}

/// Places members in one tree.
pub(super) struct Placer<'t> {
    root: BorrowedFd<'t>,
    pub(super) limits: &'t Limits,
    /// In a layer of an image: the paths that this layer has placed, with all their parents.
    pub(super) layer: Option<HashSet<Vec<u8>>>,
    /// The directory of the last member.
    parent: Option<(Vec<u8>, OwnedFd)>,
    pub(super) directories: Vec<Pending>,
    /// What is kept of those, and of a layer's paths, in bytes.
    pub(super) kept: usize,
    /// Directories that were made as no member told of them.
    pub(super) made: u64,
    buffer: Vec<u8>,
    pub(super) report: Report,
}

impl<'t> Placer<'t> {
    pub(super) fn new(root: BorrowedFd<'t>, limits: &'t Limits, layer: bool) -> Self {
        Self {
            root,
            limits,
            layer: layer.then(HashSet::new),
            parent: None,
            directories: Vec::new(),
            kept: 0,
            made: 0,
            buffer: vec![0; BUFFER],
            report: Report::default(),
        }
    }

    /// Places one member, with its data if it is a file.
    pub(super) fn place<R: Read>(&mut self, member: Member, data: &mut Members<R>) -> Result<()> {
        self.report.entries += 1;
        self.has_room_for(&member)?;
        let path = clean(&member.path, self.limits)?;
        self.report.labels_left_out += member.labels_left_out;
        if path.is_empty() {
            if member.kind != Kind::Directory {
                return Err(refused(
                    &member.path,
                    "it stands for the root of the tree and is no directory",
                ));
            }
            return self.keep(path, member);
        }
        let (parent_path, name) = split(&path);
        let name = CString::new(name).map_err(|_| refused(&member.path, "its name holds a NUL"))?;
        let parent = self.take_parent(parent_path)?;
        let result = self.place_in(parent.as_fd(), &name, &path, member, data);
        self.parent = Some((parent_path.to_vec(), parent));
        result
    }

    /// Sets what directories get when all is in them, and tells what was done.
    pub(super) fn finish(mut self) -> Result<Report> {
        self.parent = None;
        // The deepest first: setting attributes inside doesn't touch a parent's time, but nothing may depend on it.
        self.directories.reverse();
        let mut done = HashSet::new();
        for Pending { path, member } in std::mem::take(&mut self.directories) {
            // A directory told twice gets what was said last.
            if !done.insert(path.clone()) {
                continue;
            }
            let fd = match open_beneath(self.root, &path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(fd) => fd,
                // A whiteout of this layer may have taken it away again.
                Err(Errno::NOENT) if self.layer.is_some() => continue,
                Err(e) => return Err(Error::os("open", shown(&path), e)),
            };
            finish_fd(fd.as_fd(), &member).map_err(|e| Error::os("set the attributes of", shown(&path), e))?;
        }
        Ok(self.report)
    }

    fn place_in<R: Read>(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
        member: Member,
        data: &mut Members<R>,
    ) -> Result<()> {
        if self.layer.is_some() && self.whiteout(parent, name, path, &member)? {
            return Ok(());
        }
        if member.kind == Kind::Device {
            self.report.leave_out(path);
            return Ok(());
        }
        self.make_way(parent, name, path, &member)?;
        match &member.kind {
            Kind::File => self.file(parent, name, path, &member, data)?,
            Kind::HardLink(target) => self.hard_link(parent, name, path, target)?,
            Kind::Symlink(target) => self.symlink(parent, name, path, target, &member)?,
            Kind::Fifo => self.fifo(parent, name, path, &member)?,
            Kind::Directory => {
                match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
                    Ok(()) => {}
                    Err(Errno::EXIST) if is_directory(parent, name) => {}
                    Err(e) => return Err(exists(path, e)),
                }
                self.keep(path.to_vec(), member)?;
            }
            Kind::Device => {}
        }
        if let Some(placed) = &mut self.layer {
            self.kept += remember(placed, path);
        }
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
        member: &Member,
        data: &mut Members<R>,
    ) -> Result<()> {
        let total = self
            .report
            .bytes
            .checked_add(member.size)
            .filter(|t| *t <= self.limits.bytes);
        self.report.bytes = total.ok_or_else(|| {
            refused(
                path,
                format!(
                    "with it the tree would hold more than the {} bytes allowed",
                    self.limits.bytes
                ),
            )
        })?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(|e| exists(path, e))?;
        let file = File::from(fd);
        self.fill(&file, member, data)
            .and_then(|()| finish_fd(file.as_fd(), member).map_err(io::Error::from))
            .map_err(|e| Error::new("unpack", format!("\"{}\"", shown(path)), e))?;
        self.report.files += 1;
        Ok(())
    }

    /// Writes a member's data, leaving holes where it is zero.
    fn fill<R: Read>(&mut self, file: &File, member: &Member, data: &mut Members<R>) -> io::Result<()> {
        let whole = [super::sparse::Segment {
            offset: 0,
            length: member.size,
        }];
        for segment in member.map.as_deref().unwrap_or(&whole) {
            let mut offset = segment.offset;
            let end = segment.offset.saturating_add(segment.length);
            while offset < end {
                let most = usize::try_from(end - offset)
                    .unwrap_or(usize::MAX)
                    .min(self.buffer.len());
                let Some(part) = self.buffer.get_mut(..most) else { break };
                let mut filled = 0;
                while let Some(rest) = part.get_mut(filled..).filter(|r| !r.is_empty()) {
                    match data.read_data(rest)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        n => filled += n,
                    }
                }
                write_around_holes(file, part, offset)?;
                offset += most as u64;
            }
        }
        // The file may end in a hole, and be empty.
        if member.size > 0 {
            file.set_len(member.size)
        } else {
            Ok(())
        }
    }

    fn hard_link(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8], target: &[u8]) -> Result<()> {
        let wrong = |why: &str| refused(path, format!("it is a hard link to \"{}\", {why}", shown(target)));
        let target_path = clean(target, self.limits).map_err(|_| wrong("which is outside the tree"))?;
        let (target_parent, target_name) = split(&target_path);
        let target_name = CString::new(target_name).map_err(|_| wrong("which holds a NUL"))?;
        let target_parent = open_beneath(self.root, target_parent, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|_| wrong("which isn't there or leads through a symbolic link"))?;
        match rustix::fs::linkat(&target_parent, &target_name, parent, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Err(wrong("which isn't there")),
            Err(Errno::PERM) => return Err(wrong("which is a directory")),
            Err(e) => return Err(exists(path, e)),
        }
        self.report.hard_links += 1;
        Ok(())
    }

    fn symlink(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
        target: &[u8],
        member: &Member,
    ) -> Result<()> {
        if target.is_empty() || target.len() > 4095 || target.contains(&0) {
            return Err(refused(path, "its link target is empty, too long or holds a NUL"));
        }
        rustix::fs::symlinkat(target, parent, name).map_err(|e| exists(path, e))?;
        self.finish_name(parent, name, path, member)?;
        self.report.symlinks += 1;
        Ok(())
    }

    fn fifo(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8], member: &Member) -> Result<()> {
        rustix::fs::mknodat(parent, name, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .map_err(|e| exists(path, e))?;
        let fail = |e: Errno| Error::os("unpack", format!("\"{}\"", shown(path)), e);
        self.finish_name(parent, name, path, member)?;
        // A FIFO can't be opened without a partner; its inode can. Its mode goes last: a change of owner clears
        // setuid and setgid. The time has been set, and a change of mode leaves it.
        let fd = rustix::fs::openat(
            parent,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(fail)?;
        rustix::fs::chmod(
            format!("/proc/self/fd/{}", fd.as_raw_fd()),
            Mode::from_raw_mode(member.mode),
        )
        .map_err(fail)?;
        self.report.fifos += 1;
        Ok(())
    }

    /// Owner, attributes and time of what has no descriptor for writing.
    fn finish_name(&self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8], member: &Member) -> Result<()> {
        let set = || {
            let (uid, gid) = (Uid::from_raw(member.uid), Gid::from_raw(member.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            for (attribute, value) in &member.xattrs {
                set_at(parent, name, attribute, value)?;
            }
            rustix::fs::utimensat(parent, name, &times(member), AtFlags::SYMLINK_NOFOLLOW)
        };
        set().map_err(|e| Error::os("set the attributes of", shown(path), e))
    }

    /// The directory that will hold the next member, made with mode 0755 if no member told of it.
    fn take_parent(&mut self, path: &[u8]) -> Result<OwnedFd> {
        if let Some((_, fd)) = self.parent.take().filter(|(known, _)| known == path) {
            return Ok(fd);
        }
        // For writing in it a descriptor of mode O_PATH is enough; an opaque whiteout lists it by another.
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match open_beneath(self.root, path, flags) {
            Err(Errno::NOENT) => {}
            Err(e @ (Errno::LOOP | Errno::NOTDIR)) => return Err(through_link(path, e)),
            other => return other.map_err(|e| Error::os("open", shown(path), e)),
        }
        let mut current = open_beneath(self.root, b"", flags).map_err(|e| Error::os("open", "the tree", e))?;
        for part in path.split(|b| *b == b'/') {
            current = match open_beneath(current.as_fd(), part, flags) {
                Err(Errno::NOENT) => {
                    self.made += 1;
                    self.has_room(path)?;
                    rustix::fs::mkdirat(&current, part, Mode::from_raw_mode(0o755))
                        .and_then(|()| open_beneath(current.as_fd(), part, flags))
                }
                other => other,
            }
            .map_err(|e| through_link(path, e))?;
        }
        Ok(current)
    }
}

pub(super) fn is_directory(parent: BorrowedFd<'_>, name: &CStr) -> bool {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::Directory)
}

fn exists(path: &[u8], errno: Errno) -> Error {
    match errno {
        Errno::EXIST => refused(path, "the archive has another entry at this path"),
        Errno::NAMETOOLONG => refused(path, "its name is longer than a file system can hold"),
        e => Error::os("unpack", format!("\"{}\"", shown(path)), e),
    }
}

fn through_link(path: &[u8], errno: Errno) -> Error {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => {
            refused(path, "entries lie below it, and it is a symbolic link or no directory")
        }
        e => Error::os("unpack", format!("\"{}\"", shown(path)), e),
    }
}

fn times(member: &Member) -> Timestamps {
    let time = Timespec {
        tv_sec: member.mtime.0,
        tv_nsec: i64::from(member.mtime.1) as _,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Owner, mode, attributes and time by descriptor, in the order in which none undoes another: a change of owner
/// clears setuid and capabilities, an ACL changes the group bits of the mode it was packed with back to the same.
fn finish_fd(fd: BorrowedFd<'_>, member: &Member) -> std::result::Result<(), Errno> {
    rustix::fs::fchown(fd, Some(Uid::from_raw(member.uid)), Some(Gid::from_raw(member.gid)))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(member.mode))?;
    for (name, value) in &member.xattrs {
        rustix::fs::fsetxattr(fd, name.as_str(), value, rustix::fs::XattrFlags::empty())?;
    }
    rustix::fs::futimens(fd, &times(member))
}

/// Writes data at an offset, leaving out blocks of zeros: the file is new, so they are holes.
fn write_around_holes(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    let is_hole = |block: &[u8]| block.len() == HOLE && block.iter().all(|b| *b == 0);
    let mut position = 0;
    let mut start = 0;
    for block in data.chunks(HOLE) {
        if is_hole(block) {
            file.write_all_at(data.get(start..position).unwrap_or_default(), offset + start as u64)?;
            start = position + block.len();
        }
        position += block.len();
    }
    file.write_all_at(data.get(start..).unwrap_or_default(), offset + start as u64)
}
