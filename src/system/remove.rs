//! Removing trees, however deep: a guest can make a hundred thousand directories inside each other, more than there are
//! descriptors for, or room on a stack.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

/// How many bytes of a directory are read at a time. It is read from its beginning whenever one inside it has been emptied.
const READ_AT_ONCE: usize = 4096;

/// Removes a name, a directory with all in it; no link is followed. No such name is no error.
///
/// One directory is open at a time, and the way back is `..`. Where that leads elsewhere than it came from, because
/// somebody moves directories about, it ends with ESTALE.
pub fn remove_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    while !remove_one(dir, name, FileType::Unknown)? {
        empty(open(dir, name)?)?;
    }
    Ok(())
}

/// Removes all that is in a directory.
fn empty(top: OwnedFd) -> Result<(), Errno> {
    let mut here = top;
    let mut above = Vec::new();
    let mut first_time = true;
    loop {
        match remove_entries(here.as_fd())? {
            Left::Full(name) => {
                let inner = open(here.as_fd(), &name)?;
                above.push(id(here.as_fd())?);
                (here, first_time) = (inner, true);
            }
            // It isn't empty, and shows nothing: that would go on for ever.
            Left::Nothing { seen: false } if first_time => return Err(Errno::NOTEMPTY),
            Left::Nothing { .. } => {
                let Some(parent) = above.pop() else { return Ok(()) };
                (here, first_time) = (open(here.as_fd(), c"..")?, false);
                if id(here.as_fd())? != parent {
                    return Err(Errno::STALE);
                }
            }
        }
    }
}

/// What a pass through a directory has left of it.
enum Left {
    Nothing {
        /// Was there anything?
        seen: bool,
    },
    /// This directory, which isn't empty, and what comes behind it.
    Full(CString),
}

fn remove_entries(dir: BorrowedFd<'_>) -> Result<Left, Errno> {
    let mut buffer = [MaybeUninit::uninit(); READ_AT_ONCE];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut seen = false;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        seen = true;
        if !remove_one(dir, entry.file_name(), entry.file_type())? {
            return Ok(Left::Full(entry.file_name().to_owned()));
        }
    }
    Ok(Left::Nothing { seen })
}

/// Removes what isn't a directory with something in it; false if it is one.
fn remove_one(dir: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<bool, Errno> {
    if kind != FileType::Directory {
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            Err(Errno::ISDIR) => {}
            Err(e) => return Err(e),
        }
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(e) => Err(e),
    }
}

fn open(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// What tells a directory from all others.
fn id(dir: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let stat = rustix::fs::fstat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn fd(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    /// Directories inside each other below this one, with a file in each hundredth.
    fn dig(top: &Path, depth: usize) {
        let mut here = fd(top);
        for n in 0..depth {
            if n % 100 == 0 {
                let flags = OFlags::CREATE | OFlags::WRONLY;
                rustix::fs::openat(&here, "file", flags, Mode::RUSR).unwrap();
            }
            rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
            here = open(here.as_fd(), c"d").unwrap();
        }
    }

    #[test]
    fn a_tree_is_removed_however_deep() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("tree");
        std::fs::create_dir(&top).unwrap();
        dig(&top, 20_000);
        for n in 0..300 {
            std::fs::create_dir_all(top.join(format!("side/{n}/in"))).unwrap();
        }
        std::fs::write(dir.path().join("outside"), "stays").unwrap();
        symlink("../outside", top.join("side/link")).unwrap();
        symlink("..", top.join("side/up")).unwrap();
        remove_at(fd(dir.path()).as_fd(), c"tree").unwrap();
        assert!(!top.exists());
        assert_eq!(std::fs::read_to_string(dir.path().join("outside")).unwrap(), "stays");
        // Not there, a link, and a file.
        remove_at(fd(dir.path()).as_fd(), c"tree").unwrap();
        symlink("outside", dir.path().join("link")).unwrap();
        remove_at(fd(dir.path()).as_fd(), c"link").unwrap();
        assert!(dir.path().join("outside").exists());
        remove_at(fd(dir.path()).as_fd(), c"outside").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_removed_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("tree/inner");
        std::fs::create_dir_all(&inner).unwrap();
        let mount = |path: &Path| rustix::mount::mount("none", path, "tmpfs", rustix::mount::MountFlags::empty(), None);
        if mount(&inner).is_err() {
            println!("skipped because this process can't mount");
            return;
        }
        let result = remove_at(fd(dir.path()).as_fd(), c"tree");
        rustix::mount::unmount(&inner, rustix::mount::UnmountFlags::empty()).unwrap();
        assert_eq!(result, Err(Errno::BUSY));
        remove_at(fd(dir.path()).as_fd(), c"tree").unwrap();
    }
}
