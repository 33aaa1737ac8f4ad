//! Files on their way between the host and a VE, as a tar stream through a pipe.
//!
//! Into a VE the stream is of our own making. Out of one it is a tenant's: it is unpacked like any hostile archive,
//! into a place of its own, stripped of whatever would have power on the host, and only then given its name.

use std::fs::{self, File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use super::{Limits, Tree, unpack};
use crate::{Error, Kind, Result, file};

/// Both ends of a pipe: to read from, to write to.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| Error::os("make", "a pipe", e))
}

/// Writes the file or directory `from` to `to`, as a stream in which it is called `name`.
pub fn pack(from: &Path, name: &str, to: OwnedFd) -> Result<()> {
    let fail = |e: std::io::Error| Error::os("read", from.display(), e);
    // The one link that is followed is the one that is named.
    let real = fs::canonicalize(from).map_err(fail)?;
    let meta = fs::metadata(&real).map_err(fail)?;
    if !(meta.is_dir() || meta.is_file()) {
        return Err(Error::new("copy", from.display(), "it is neither a file nor a directory").kind(Kind::Invalid));
    }
    hostel_monitor::pack::pack(File::from(to), &real, name).map_err(fail)
}

/// Where something pulled out of a VE goes.
#[derive(Debug)]
pub struct Landing {
    staging: tempfile::TempDir,
    /// Held while somebody is at work in it.
    _lock: File,
    name: String,
    target: PathBuf,
}

impl Landing {
    /// As cp(1): into `to` if that is a directory, else as `to`, which replaces a file that is there.
    pub fn prepare(from: &str, to: &Path) -> Result<Self> {
        let name = from
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .filter(|n| !n.is_empty() && *n != "." && *n != "..");
        let name = name.unwrap_or("root").to_owned();
        let target = if to.is_dir() { to.join(&name) } else { to.to_owned() };
        if target.is_dir() {
            return Err(Error::new("copy to", target.display(), "there is a directory already").kind(Kind::Exists));
        }
        let parent = target
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        clear_abandoned(parent);
        let (staging, lock) = stage(parent).map_err(|e| Error::os("write to", parent.display(), e))?;
        Ok(Self {
            staging,
            _lock: lock,
            name,
            target,
        })
    }

    /// The name it has in the stream.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Unpacks the stream.
    pub fn receive(&self, stream: OwnedFd) -> Result<()> {
        let tree = Tree::create(&self.staging.path().join("tree"))?;
        unpack(File::from(stream), &tree, &Limits::default()).map(drop)
    }

    /// Makes what came harmless, and gives it its name.
    pub fn commit(&self) -> Result<()> {
        let came = self.staging.path().join("tree").join(&self.name);
        make_harmless(&came)?;
        file::rename(&came, &self.target)
    }
}

/// What the names of places begin with where pulled things lie until they are harmless.
const STAGING: &str = ".hostel-pull-";

fn stage(parent: &Path) -> std::io::Result<(tempfile::TempDir, File)> {
    loop {
        let dir = tempfile::Builder::new()
            .prefix(STAGING)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        // Before it was locked somebody may have taken it for abandoned.
        match File::open(dir.path()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            opened => {
                let lock = opened?;
                let _ = lock.try_lock(); // on a file system without locks nothing is ever taken for abandoned
                if dir.path().exists() {
                    return Ok((dir, lock));
                }
            }
        }
    }
}

/// Removes what commands that were killed have left in a directory: of our own and locked by nobody. What can't be removed
/// is in nobody's way. Where others may rename things of ours, a name says nothing, and all stays.
fn clear_abandoned(parent: &Path) {
    let us = rustix::process::geteuid().as_raw();
    let safe = |m: fs::Metadata| m.uid() == us && (m.mode() & 0o022 == 0 || m.mode() & 0o1000 != 0);
    if !fs::metadata(parent).is_ok_and(safe) {
        return;
    }
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = |m: &fs::Metadata| m.is_dir() && m.uid() == us;
        if !entry.file_name().as_encoded_bytes().starts_with(STAGING.as_bytes())
            || !entry.metadata().is_ok_and(|m| ours(&m))
        {
            continue;
        }
        let mut options = File::options();
        let options = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY);
        if let Ok(dir) = options.open(entry.path())
            && dir.try_lock().is_ok()
        {
            let _ = file::remove_tree(&entry.path());
        }
    }
}

/// Owner: us. No setuid or setgid, no capabilities, no FIFOs or the like. Nobody else can reach the tree, so its
/// names don't change under our hands.
fn make_harmless(path: &Path) -> Result<()> {
    let fail = |e: std::io::Error| Error::os("take over", path.display(), e);
    let meta = fs::symlink_metadata(path).map_err(fail)?;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    lchown(path, Some(uid), Some(gid)).map_err(fail)?;
    if meta.is_symlink() {
        return Ok(());
    }
    for name in xattr::list(path).map_err(fail)? {
        xattr::remove(path, &name).map_err(fail)?;
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path).map_err(fail)? {
            make_harmless(&entry.map_err(fail)?.path())?;
        }
    } else if !meta.is_file() {
        return fs::remove_file(path).map_err(fail);
    }
    fs::set_permissions(path, Permissions::from_mode(meta.permissions().mode() & 0o777)).map_err(fail)
}
