//! Readings that are not in the ledger yet: a file each, written whole or not at all.
//!
//! They are left in /run, where nothing has to be waited for, and no disk can be full or broken. What can't be entered
//! moves to a folder beside the ledger, one for each boot of the host, where it outlives the next.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hostel_model::usage::Reading;
use hostel_system::file;

use crate::error::{Class, Error, Result};

/// Where readings lie.
#[derive(Debug, Clone)]
pub struct Spool {
    run: PathBuf,
    disk: PathBuf,
}

/// Its name in order of time; the process beside, so that two at once don't meet.
fn name(reading: &Reading) -> String {
    format!("{:020}-{}-{}.json", reading.at.up_ns, reading.id, std::process::id())
}

/// When one was taken, in nanoseconds since its boot, as its name says.
fn taken(path: &Path) -> Option<u64> {
    let (at, _) = path.file_name()?.to_str()?.split_once('-')?;
    at.parse().ok()
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |e| {
        let full = e.kind() == std::io::ErrorKind::StorageFull;
        let class = if full { Class::Limit } else { Class::Failed };
        Error::new(class, format!("cannot note usage in {}", path.display())).because(e)
    }
}

fn write(dir: &Path, reading: &Reading, durable: bool) -> Result<()> {
    let path = dir.join(name(reading));
    let fail = failed(&path);
    let text = serde_json::to_vec(reading).map_err(|e| fail(e.into()))?;
    if durable {
        return Ok(file::write_atomic(&path, &text, 0o600)?);
    }
    // Past the places where proofs make files fail: whether this works must make no difference to an operation.
    let (made, temporary) = (
        DirBuilder::new().recursive(true).mode(0o700).create(dir),
        path.with_extension("new"),
    );
    made.map_err(&fail)?;
    let mut open = OpenOptions::new();
    open.write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(&text))
        .and_then(|()| std::fs::rename(&temporary, &path))
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        .map_err(&fail)
}

/// The entries of a directory in order of their names; none if there is no such directory.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed(dir))?,
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// What is being written, or can't be understood, is none.
fn is_note(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "json")
}

impl Spool {
    /// The one in these two directories.
    pub fn at(run: PathBuf, disk: PathBuf) -> Self {
        Self { run, disk }
    }

    /// Leaves a reading. Where /run has no room for it, on the disk.
    pub fn leave(&self, reading: &Reading) -> Result<()> {
        write(&self.run, reading, false).or_else(|_| self.keep(reading, true))
    }

    /// Leaves it on the disk.
    fn keep(&self, reading: &Reading, durable: bool) -> Result<()> {
        let dir = self.folder(reading)?;
        if durable {
            file::make_dir(&dir)?;
        }
        write(&dir, reading, durable)
    }

    /// Where the readings of its boot lie on the disk.
    fn folder(&self, reading: &Reading) -> Result<PathBuf> {
        let boot = &reading.at.boot;
        let known = entries(&self.disk)?
            .into_iter()
            .find(|dir| dir.to_string_lossy().ends_with(boot.as_str()));
        // In the order in which boots are first heard of.
        Ok(known.unwrap_or_else(|| self.disk.join(format!("{:020}-{boot}", reading.at.wall_ns))))
    }

    /// Brings what lies in /run to the disk; `durable`: and waits until each is there, so that it outlives this boot.
    pub fn lay_down(&self, durable: bool) -> Result<()> {
        for path in entries(&self.run)?.into_iter().filter(|path| is_note(path)) {
            // Another may have entered it just now; and what makes no sense is for who enters it.
            let read = std::fs::read(&path).ok();
            let Some(reading) = read.and_then(|text| serde_json::from_slice::<Reading>(&text).ok()) else {
                continue;
            };
            self.keep(&reading, durable)?;
            // If it was entered meanwhile, or stays, what it says is there twice, and counts once.
            let _ = std::fs::remove_file(&path);
        }
        Ok(())
    }

    /// The notes that are there, in the order in which they were taken: those of former boots first. In two parts: those
    /// that were taken before `first`, in nanoseconds since this boot, if that is said, and the rest.
    pub fn files(&self, boot: &str, first: Option<u64>) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        let (mut before, mut ours) = (Vec::new(), entries(&self.run)?);
        for dir in self.boots()? {
            match dir.to_string_lossy().ends_with(boot) {
                true => ours.extend(entries(&dir)?),
                false => before.extend(entries(&dir)?),
            }
        }
        ours.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        let early = |path: &PathBuf| first.is_none_or(|first| taken(path).is_some_and(|at| at < first));
        let later = ours.iter().position(|path| !early(path)).unwrap_or(ours.len());
        let rest = ours.split_off(later);
        before.append(&mut ours);
        let notes = |paths: Vec<PathBuf>| paths.into_iter().filter(|path| is_note(path)).collect();
        Ok((notes(before), notes(rest)))
    }

    /// What these say, and which of them say something. What makes no sense is renamed aside, and told.
    pub fn read(&self, files: &[PathBuf], told: &mut Vec<String>) -> Result<(Vec<Reading>, Vec<PathBuf>)> {
        let (mut readings, mut read) = (Vec::new(), Vec::new());
        for path in files {
            let text = match std::fs::read(path) {
                // Another has entered it just now.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                // It stays for the next time, and keeps no other from being entered.
                Err(e) => {
                    told.push(format!("a note of usage at {} can't be read: {e}", path.display()));
                    continue;
                }
                Ok(text) => text,
            };
            match serde_json::from_slice(&text) {
                Ok(reading) => {
                    readings.push(reading);
                    read.push(path.clone());
                }
                Err(e) => {
                    let aside = path.with_extension("broken");
                    std::fs::rename(path, &aside).map_err(failed(path))?;
                    told.push(format!(
                        "a note of usage can't be read and lies at {}: {e}",
                        aside.display()
                    ));
                }
            }
        }
        Ok((readings, read))
    }

    /// The folders of former boots.
    fn boots(&self) -> Result<impl Iterator<Item = PathBuf>> {
        Ok(entries(&self.disk)?.into_iter().filter(|dir| dir.is_dir()))
    }

    /// Is no note there?
    pub fn is_empty(&self) -> Result<bool> {
        let has_notes = |dir: &Path| Ok::<_, Error>(entries(dir)?.iter().any(|path| is_note(path)));
        for dir in self.boots()? {
            if has_notes(&dir)? {
                return Ok(false);
            }
        }
        Ok(!has_notes(&self.run)?)
    }

    /// Removes what is in the ledger now.
    pub fn forget(&self, entered: &[PathBuf]) -> Result<()> {
        for path in entered {
            file::remove_file(path)?;
            // The folder of a former boot, once it is empty.
            if let Some(dir) = path.parent().filter(|dir| dir.starts_with(&self.disk)) {
                let _ = std::fs::remove_dir(dir);
            }
        }
        Ok(())
    }
}
