//! Staging directories: where a version or a copy is made before it gets its name, and goes before it is deleted.
//!
//! A staging directory's owner holds a kernel lock on it (flock(2)), so one without is a leftover. They are made
//! and looked at under the store's own lock, so none is ever seen between its making and its locking.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hostel_system::{Error as SystemError, archive, file};

use crate::error::Result;

const PREFIX: &str = ".staging-";

/// A staging directory of ours; removed with all in it when let go, unless it was renamed into place.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    /// Holds the lock for as long as it is open.
    lock: Option<File>,
}

impl Staging {
    /// A new one in `parent`, a directory of the store `store`; both are made if missing.
    pub(super) fn new(store: &Path, parent: &Path) -> Result<Self> {
        file::make_dir(store)?;
        let _guard = lock_store(store)?;
        file::make_dir(parent)?;
        let path = free_name(parent);
        file::make_dir(&path)?;
        let lock = lock_dir(&path)?;
        Ok(Self { path, lock: Some(lock) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, which must be free, and makes that durable. What is in it must be on the disk already.
    pub(super) fn commit(mut self, to: &Path) -> Result<()> {
        archive::rename_new(&self.path, to)?;
        self.lock = None;
        file::sync_dir(to.parent().unwrap_or(to))?;
        Ok(())
    }

    /// Takes a directory of the store away: out of its name at once, then off the disk. None there is no error.
    pub(super) fn remove(store: &Path, path: &Path) -> Result<()> {
        let guard = lock_store(store)?;
        let parent = path.parent().unwrap_or(store);
        let away = free_name(parent);
        match archive::rename_new(path, &away) {
            Err(e) if e.kind == hostel_system::Kind::NotFound => return Ok(()),
            other => other?,
        }
        let lock = lock_dir(&away)?;
        drop(guard);
        file::sync_dir(parent)?;
        file::remove_tree(&away)?;
        drop(lock);
        // The directory of the name goes with its last version. Under the lock, so that nobody is about to make a
        // staging directory in it.
        let _guard = lock_store(store)?;
        if subdirectories(parent)?.is_empty() {
            file::remove_tree(parent)?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // What can't be removed now is a leftover that an audit finds.
            let _ = file::remove_tree(&self.path);
        }
    }
}

/// Staging directories in a store (one level below it) whose owner is gone.
pub(super) fn leftovers(store: &Path) -> Result<Vec<PathBuf>> {
    if !store.is_dir() {
        return Ok(Vec::new());
    }
    let _guard = lock_store(store)?;
    let mut found = Vec::new();
    for dir in subdirectories(store)? {
        for path in subdirectories(&dir)? {
            let staged = path
                .file_name()
                .is_some_and(|n| n.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
            if staged && File::open(&path).is_ok_and(|f| f.try_lock().is_ok()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Removes them; says which they were.
pub(super) fn remove_leftovers(store: &Path) -> Result<Vec<PathBuf>> {
    let found = leftovers(store)?;
    for path in &found {
        file::remove_tree(path)?;
    }
    Ok(found)
}

fn free_name(parent: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let name = format!(
            "{PREFIX}{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = parent.join(name);
        // A leftover of a process that had our id may bear it.
        if std::fs::symlink_metadata(&path).is_err() {
            return path;
        }
    }
}

fn lock_store(store: &Path) -> Result<File> {
    let path = store.join(".lock");
    let file = file::open_own(&path)?;
    file.lock().map_err(|e| SystemError::os("lock", path.display(), e))?;
    Ok(file)
}

fn lock_dir(path: &Path) -> Result<File> {
    let fail = |e| SystemError::os("lock", path.display(), e);
    let file = File::open(path).map_err(fail)?;
    file.lock().map_err(fail)?;
    Ok(file)
}

fn subdirectories(dir: &Path) -> Result<Vec<PathBuf>> {
    let fail = |e| SystemError::os("list", dir.display(), e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.file_type().map_err(fail)?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
