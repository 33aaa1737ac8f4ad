//! Locks of the whole host by name: one per VE, and a few for what all VEs share (`registry`, `firewall`).
//!
//! They are kernel locks (flock(2)) and die with their holder, so nothing ever has to be unlocked by hand. The
//! file says who holds it, so that whoever must wait knows for whom. The files lie in a directory of their own,
//! so that a VE's directory can be removed while its lock is held.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hostel_model::id::VeId;
use hostel_system::file::{make_dir, open_own};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};
use crate::facade::Progress;

/// Waited even by those who won't wait: [`Locks::holder`] looks by taking the lock for some microseconds.
const GLANCE: Duration = Duration::from_millis(10);

/// The verb of a monitor that clears up after its VE. That lasts moments, and whoever comes next waits for it: the VE
/// is nobody else's.
pub const SETTLE: &str = "settle";

/// The verb of the manager while it writes down what a VE's counters have counted. That lasts moments as well.
pub const NOTE: &str = "note";

/// How long these are waited for.
const SETTLED: Duration = Duration::from_secs(60);

/// How long somebody is waited for who hasn't said yet who he is, as that may be such a monitor.
const UNNAMED: Duration = Duration::from_secs(2);

/// The locks in one directory.
#[derive(Debug, Clone)]
pub struct Locks {
    dir: PathBuf,
}

/// What a lock is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// One VE, and all that is its own.
    Ve(VeId),
    /// Something of the whole host, by name: `registry`, `firewall`.
    Host(&'static str),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ve(id) => write!(f, "VE {id}"),
            Self::Host(name) => write!(f, "the {name}"),
        }
    }
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// What it is doing: "start".
    pub verb: String,
    /// Since when, in seconds since 1970.
    pub since: i64,
}

/// How to wait for a lock.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// How long.
    pub wait: Duration,
    /// Told once whom we wait for.
    pub progress: &'a dyn Progress,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

impl std::fmt::Debug for Patience<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patience")
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

/// A lock that we hold, until this is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Locks {
    /// The locks in `dir`, which is made if need be.
    pub fn at(dir: &Path) -> Result<Self> {
        make_dir(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    fn path(&self, subject: Subject) -> PathBuf {
        match subject {
            Subject::Ve(id) => self.dir.join(format!("{id}.lock")),
            Subject::Host(name) => self.dir.join(format!("{name}.lock")),
        }
    }

    /// Takes a lock for `verb`; waits as long as `patience` says, then the error is `Busy` and names the holder.
    pub fn take(&self, subject: Subject, verb: &str, patience: &Patience<'_>) -> Result<Lock> {
        let path = self.path(subject);
        let begun = Instant::now();
        let mut pause = Duration::from_millis(1);
        let mut told = false;
        loop {
            let mut file = open_own(&path)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => return Lock::held(file, path, verb),
                // Its last holder removed the file after we had opened it: what we hold is nobody's lock any more.
                Ok(()) => continue,
                Err(TryLockError::Error(e)) => {
                    return Err(Error::new(Class::Failed, format!("cannot lock {subject}")).because(e));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            if patience.interrupted.load(Ordering::Relaxed) {
                return Err(Error::new(
                    Class::Interrupted,
                    format!("interrupted while waiting for {subject}"),
                ));
            }
            let holder = read_holder(&mut file);
            let wait = match &holder {
                Some(holder) if [SETTLE, NOTE].contains(&holder.verb.as_str()) => patience.wait.max(SETTLED),
                Some(_) => patience.wait.max(GLANCE),
                None => patience.wait.max(UNNAMED),
            };
            let left = wait.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(busy(subject, holder, patience.wait));
            }
            if !told && pause > Duration::from_millis(20) {
                let whom = holder.map_or_else(String::new, |h| format!(": {}", describe(&h)));
                patience.progress.step(&format!("waiting for {subject}{whom}"));
                told = true;
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Takes a lock that nobody holds; `None` if somebody does.
    pub fn take_free(&self, subject: Subject, verb: &str) -> Result<Option<Lock>> {
        let path = self.path(subject);
        let file = open_own(&path)?;
        match file.try_lock() {
            Ok(()) if is_at(&file, &path) => Lock::held(file, path, verb).map(Some),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(Error::new(Class::Failed, format!("cannot lock {subject}")).because(e)),
        }
    }

    /// Who holds a lock now; `None` if nobody does.
    pub fn holder(&self, subject: Subject) -> Result<Option<Holder>> {
        let path = self.path(subject);
        let fail = |e| Error::new(Class::Failed, format!("cannot look at the lock of {subject}")).because(e);
        let mut file = match File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(fail)?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(read_holder(&mut file)),
            Err(TryLockError::Error(e)) => Err(fail(e)),
        }
    }
}

impl Lock {
    fn held(mut file: File, path: PathBuf, verb: &str) -> Result<Self> {
        let since = Timestamp::now().as_second();
        let holder = Holder {
            pid: std::process::id(),
            verb: verb.to_owned(),
            since,
        };
        let fail = |e: std::io::Error| Error::new(Class::Failed, format!("cannot write {}", path.display())).because(e);
        let line = serde_json::to_vec(&holder).map_err(|e| fail(e.into()))?;
        file.set_len(0).and_then(|()| file.rewind()).map_err(fail)?;
        // Only for those who wait and want to know for whom: where there is no room for it, the lock is held all the
        // same.
        if file.write_all(&line).is_err() {
            let _ = file.set_len(0);
        }
        Ok(Self { file, path })
    }

    /// Lets go, and removes the file: for a VE that is no more.
    pub fn retire(self) -> Result<()> {
        // While we hold it; whoever opened it before sees that it is no longer at its place, and begins anew.
        Ok(hostel_system::file::remove_file(&self.path)?)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // So that nobody takes an old holder for the present one; if it fails, the next one overwrites it.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// Is this open file the one at `path`?
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        _ => false,
    }
}

/// The holder, if it has written its name by now.
fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn describe(holder: &Holder) -> String {
    let since = Timestamp::from_second(holder.since).map_or_else(|_| "?".to_owned(), |t| t.to_string());
    format!("{} (process {}) since {since}", holder.verb, holder.pid)
}

fn busy(subject: Subject, holder: Option<Holder>, waited: Duration) -> Error {
    let by = holder.map_or_else(|| "another operation".to_owned(), |h| describe(&h));
    let after = if waited.is_zero() {
        String::new()
    } else {
        format!(", still after {} s", waited.as_secs_f32())
    };
    Error::new(Class::Busy, format!("{subject} is held by {by}{after}")).hint("wait longer with --wait-lock SECONDS")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facade::Silent;
    use std::sync::atomic::AtomicU32;

    impl Locks {
        /// Takes a lock if nobody holds it.
        fn try_take(&self, subject: Subject, verb: &str) -> Result<Lock> {
            let never = AtomicBool::new(false);
            self.take(
                subject,
                verb,
                &Patience {
                    wait: Duration::ZERO,
                    progress: &Silent,
                    interrupted: &never,
                },
            )
        }
    }

    fn ve() -> Subject {
        Subject::Ve(VeId::try_from(101).unwrap())
    }

    fn patience(wait: Duration, interrupted: &AtomicBool) -> Patience<'_> {
        Patience {
            wait,
            progress: &Silent,
            interrupted,
        }
    }

    #[test]
    fn a_held_lock_names_its_holder_and_others_are_free() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::at(&dir.path().join("locks")).unwrap();
        assert_eq!(locks.holder(ve()).unwrap(), None);
        let held = locks.try_take(ve(), "start").unwrap();
        let error = locks.try_take(ve(), "stop").unwrap_err();
        assert_eq!(error.class, Class::Busy);
        let pid = std::process::id().to_string();
        assert!(
            error.message.contains("VE 101 is held by start") && error.message.contains(&pid),
            "{error}"
        );
        assert!(error.hints[0].contains("--wait-lock"));
        assert_eq!(locks.holder(ve()).unwrap().unwrap().verb, "start");
        locks.try_take(Subject::Host("registry"), "create").unwrap();
        drop(held);
        assert_eq!(locks.holder(ve()).unwrap(), None);
        locks.try_take(ve(), "stop").unwrap();
    }

    #[test]
    fn who_takes_what_is_free_waits_for_nobody_and_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::at(dir.path()).unwrap();
        let held = locks.try_take(ve(), "set").unwrap();
        let begun = Instant::now();
        assert!(locks.take_free(ve(), NOTE).unwrap().is_none());
        assert!(begun.elapsed() < GLANCE);
        drop(held);
        let note = locks.take_free(ve(), NOTE).unwrap().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                drop(note);
            });
            // Though it wouldn't wait for others.
            locks.try_take(ve(), "stop").unwrap();
        });
    }

    #[test]
    fn waiting_ends_when_it_is_free_or_time_is_up_or_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::at(dir.path()).unwrap();
        let never = AtomicBool::new(false);
        let held = locks.try_take(ve(), "start").unwrap();
        let begun = Instant::now();
        let error = locks
            .take(ve(), "stop", &patience(Duration::from_millis(60), &never))
            .unwrap_err();
        assert!(error.class == Class::Busy && begun.elapsed() >= Duration::from_millis(60));
        let already = AtomicBool::new(true);
        let error = locks
            .take(ve(), "stop", &patience(Duration::from_secs(60), &already))
            .unwrap_err();
        assert_eq!(error.class, Class::Interrupted);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| locks.take(ve(), "stop", &patience(Duration::from_secs(60), &never)));
            drop(held);
            waiter.join().unwrap().unwrap();
        });
    }

    #[test]
    fn looking_at_a_lock_does_not_make_it_busy() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::at(dir.path()).unwrap();
        drop(locks.try_take(ve(), "start").unwrap());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    locks.holder(ve()).unwrap();
                    std::thread::yield_now();
                }
            });
            let taken: Vec<_> = (0..200).map(|_| locks.try_take(ve(), "start").map(drop)).collect();
            stop.store(true, Ordering::Relaxed);
            assert!(
                taken.iter().all(Result::is_ok),
                "{:?}",
                taken.iter().find(|t| t.is_err())
            );
        });
    }

    #[test]
    fn a_dead_holder_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::at(dir.path()).unwrap();
        // flock(1) holds it in another process, which we kill.
        let path = locks.path(ve());
        drop(open_own(&path).unwrap());
        let mut child = match std::process::Command::new("flock")
            .arg(&path)
            .args(["sleep", "60"])
            .spawn()
        {
            Ok(child) => child,
            Err(e) => return println!("skipped because there is no flock(1): {e}"),
        };
        let end = Instant::now() + Duration::from_secs(10);
        while locks.try_take(ve(), "start").is_ok() {
            assert!(Instant::now() < end);
        }
        // `sleep` has inherited the lock; it ends with its pipe of parents only if told so too.
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let sleep = std::fs::read_to_string(children).unwrap_or_default();
        child.kill().unwrap();
        child.wait().unwrap();
        for pid in sleep.split_whitespace() {
            std::process::Command::new("kill").args(["-9", pid]).status().unwrap();
        }
        let never = AtomicBool::new(false);
        locks
            .take(ve(), "start", &patience(Duration::from_secs(10), &never))
            .unwrap();
    }

    #[test]
    fn removing_the_file_lets_no_two_in() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::at(dir.path()).unwrap();
        let never = AtomicBool::new(false);
        let (inside, turns) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..40 {
                        let lock = locks
                            .take(ve(), "destroy", &patience(Duration::from_secs(60), &never))
                            .unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        if turns.fetch_add(1, Ordering::SeqCst) % 2 == 0 {
                            lock.retire().unwrap()
                        } else {
                            drop(lock)
                        }
                    }
                });
            }
        });
        assert_eq!(turns.load(Ordering::SeqCst), 240);
    }
}
