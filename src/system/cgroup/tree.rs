//! Making, walking and removing groups: plain directory work, for hierarchies of both versions.
//!
//! A guest may have made any number of groups below its payload, nested and named as it likes. Nothing here builds a
//! path from their names (they may be longer than `PATH_MAX` together) and nothing recurses: a walk holds one
//! directory and goes down by name and up by `..`.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use crate::{Error, Kind, Result};

/// What a group's directory is open for, whatever the caller's umask is: in kernels such as 6.1, a guest that mounts its
/// tree walks down to it from the top by its own rights (cgroup_do_get_tree).
const OPEN: Mode = Mode::from_raw_mode(0o755);

/// Makes a group; says whether it wasn't there before.
pub fn make(dir: &Path) -> Result<bool> {
    let act = "create control group";
    match rustix::fs::mkdir(dir, OPEN) {
        Ok(()) => {
            rustix::fs::chmod(dir, OPEN).map_err(|e| Error::os(act, dir.display(), e))?;
            Ok(true)
        }
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(e) => Err(Error::os(act, dir.display(), e)),
    }
}

/// Groups made by one call, to be removed again should it fail half-way.
#[derive(Debug, Default)]
pub struct Made(Vec<PathBuf>);

impl Made {
    /// Makes a group and remembers it if it wasn't there before.
    pub fn make(&mut self, dir: PathBuf) -> Result<()> {
        if make(&dir)? {
            self.0.push(dir);
        }
        Ok(())
    }

    /// All went well: they stay.
    pub fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for dir in self.0.drain(..).rev() {
            // Best effort: the failure that led here is the one to report, and `remove` finds what is left.
            let _ = rustix::fs::rmdir(&dir);
        }
    }
}

/// Opens a group for walking. `None` if it isn't there.
fn open(dir: &Path) -> Result<Option<OwnedFd>> {
    match rustix::fs::open(dir, DIR, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NODEV) => Ok(None),
        Err(e) => Err(Error::os("open control group", dir.display(), e)),
    }
}

const DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The names of the groups in a group.
fn children(dir: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Calls `visit` for a group and all below it, parents first. Groups that vanish meanwhile are passed over.
pub fn walk(top: &Path, mut visit: impl FnMut(&OwnedFd) -> io::Result<()>) -> Result<()> {
    let fail = |e: io::Error| Error::os("walk control group", top.display(), e);
    let Some(mut at) = open(top)? else { return Ok(()) };
    visit(&at).or_else(gone_is_fine).map_err(fail)?;
    let mut pending = vec![children(&at).map_err(fail)?];
    while let Some(names) = pending.last_mut() {
        if let Some(name) = names.pop() {
            match rustix::fs::openat(&at, &name, DIR, Mode::empty()) {
                Ok(below) => at = below,
                Err(e) => {
                    gone_is_fine(e.into()).map_err(fail)?;
                    continue;
                }
            }
            visit(&at).or_else(gone_is_fine).map_err(fail)?;
            pending.push(
                children(&at)
                    .or_else(|e| gone_is_fine(e).map(|()| Vec::new()))
                    .map_err(fail)?,
            );
        } else {
            pending.pop();
            if !pending.is_empty() {
                at = rustix::fs::openat(&at, c"..", DIR, Mode::empty()).map_err(|e| fail(e.into()))?;
            }
        }
    }
    Ok(())
}

/// A group that was removed while we looked: `ENOENT`, or `ENODEV` from its open files.
fn gone_is_fine(e: io::Error) -> io::Result<()> {
    match e.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV) => Ok(()),
        _ => Err(e),
    }
}

/// Removes a group and all below it, deepest first. Groups whose last tasks are still dying are tried again until
/// `deadline`. Content if there is none.
pub fn remove(top: &Path, deadline: Instant) -> Result<()> {
    let mut pause = Duration::from_micros(200);
    loop {
        match remove_once(top) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind == Kind::Busy && Instant::now() < deadline => {
                std::thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(e) => return Err(e),
        }
    }
}

/// One pass. What is busy is left, the rest goes; the error is that of the first group that stayed.
fn remove_once(top: &Path) -> Result<()> {
    let fail = |e: io::Error| Error::os("remove control group", top.display(), e);
    // A VE whose guest made no groups, which is the usual case, goes without being looked at.
    let _ = rustix::fs::rmdir(top.join("payload"));
    match rustix::fs::rmdir(top) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(rustix::io::Errno::BUSY) => {}
        Err(e) => return Err(fail(e.into())),
    }
    let Some(mut at) = open(top)? else { return Ok(()) };
    let mut first_error = None;
    // The groups still to be removed on each level, and the name of the one we are in.
    let mut levels: Vec<(Vec<CString>, Option<CString>)> = vec![(children(&at).map_err(fail)?, None)];
    while let Some((names, _)) = levels.last_mut() {
        if let Some(name) = names.pop() {
            if rmdir_at(&at, &name).is_ok() {
                continue;
            }
            let Ok(below) = rustix::fs::openat(&at, &name, DIR, Mode::empty()) else {
                continue;
            };
            let names = children(&below)
                .or_else(|e| gone_is_fine(e).map(|()| Vec::new()))
                .map_err(fail)?;
            at = below;
            levels.push((names, Some(name)));
        } else {
            let (_, name) = levels.pop().unwrap_or_default();
            let Some(name) = name else { break };
            at = rustix::fs::openat(&at, c"..", DIR, Mode::empty()).map_err(|e| fail(e.into()))?;
            if let Err(e) = rmdir_at(&at, &name) {
                first_error.get_or_insert(e);
            }
        }
    }
    match rustix::fs::rmdir(top) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(fail(first_error.unwrap_or_else(|| e.into()))),
    }
}

/// Removes one group; content if it is gone.
fn rmdir_at(dir: &OwnedFd, name: &CString) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Adds the process ids in a group and below to `pids`.
pub fn processes(top: &Path, pids: &mut Vec<u32>) -> Result<()> {
    let mut text = Vec::new();
    walk(top, |group| {
        text.clear();
        match read_at(group, c"cgroup.procs", &mut text) {
            // Threads of a threaded group are listed at the domain above it (cgroup-v2.rst, "Threads").
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
            other => other?,
        }
        // 0 stands for a process of a pid namespace that isn't below ours.
        let numbers = text
            .split(|b| *b == b'\n')
            .filter_map(|l| str::from_utf8(l).ok()?.parse::<u32>().ok());
        pids.extend(numbers.filter(|p| *p != 0));
        Ok(())
    })
}

/// Reads a file of a group that is held open.
fn read_at(dir: impl AsFd, name: &std::ffi::CStr, into: &mut Vec<u8>) -> io::Result<()> {
    let fd = rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    io::Read::read_to_end(&mut std::fs::File::from(fd), into)?;
    Ok(())
}

/// Gives files of a group, and the group itself, to a user. Files that this kernel doesn't have are passed over.
pub fn give(dir: &Path, files: &[&str], owner: u32) -> Result<()> {
    let chown = |path: &Path| std::os::unix::fs::lchown(path, Some(owner), Some(owner));
    for file in files {
        let path = dir.join(file);
        match chown(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::os("give to the guest", path.display(), e));
            }
            _ => {}
        }
    }
    // Last, so that a guest never holds a directory whose files aren't its own yet.
    chown(dir).map_err(|e| Error::os("give to the guest", dir.display(), e))
}
