//! Reading and writing single control files.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::{Error, Result, file};

/// Writes a value to `dir/name`. Never makes the file: a missing one is an error (`ENOENT`), as it means that the
/// kernel or the parent group doesn't offer that control.
pub fn write(dir: &Path, name: &str, value: &str) -> Result<()> {
    let path = dir.join(name);
    try_write(&path, value).map_err(|e| failed(&path, value, e))
}

/// The same with the bare OS error.
pub fn try_write(path: &Path, value: &str) -> io::Result<()> {
    #[cfg(test)]
    log::note(path, value);
    // One write call: the kernel takes each as a whole command. Truncation means nothing to the kernel's files.
    File::options()
        .write(true)
        .truncate(true)
        .open(path)?
        .write_all(value.as_bytes())
}

/// Writes a value unless it stands there already: a read is cheaper than most writes, and a group just made
/// holds the defaults.
pub fn write_if_new(dir: &Path, name: &str, value: &str) -> Result<()> {
    match try_read(&dir.join(name)) {
        Ok(now) if now.trim_end() == value => Ok(()),
        _ => write(dir, name, value),
    }
}

/// Reads a small file whole.
pub fn read(dir: &Path, name: &str) -> Result<String> {
    let path = dir.join(name);
    try_read(&path).map_err(|e| Error::os("read", path.display(), e))
}

/// The same with the bare OS error.
pub fn try_read(path: &Path) -> io::Result<String> {
    file::read_small(path)
}

/// The unit in which the kernel counts memory limits: it rounds them down to whole pages.
pub fn page_size() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|s| u64::try_from(s).ok()).unwrap_or(4096)
}

/// Says what could not be written where.
pub fn failed(path: &Path, value: &str, error: io::Error) -> Error {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let error = Error::os("write", format_args!("\"{value}\" to {}", path.display()), error);
    if missing {
        error.hint("this kernel doesn't offer that control, or the group is gone; see `hostel info`")
    } else {
        error
    }
}

/// What was written, in order, for tests against a directory that plays a cgroup mount.
#[cfg(test)]
pub mod log {
    use std::cell::RefCell;
    use std::path::Path;

    thread_local! {
        static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    pub fn note(path: &Path, value: &str) {
        LOG.with_borrow_mut(|l| l.push(format!("{} <- {value}", path.display())));
    }

    /// All writes of this thread since the last call, with `prefix` taken off the paths.
    pub fn take(prefix: &Path) -> Vec<String> {
        let prefix = format!("{}/", prefix.display());
        LOG.take().into_iter().map(|l| l.replacen(&prefix, "", 1)).collect()
    }
}
