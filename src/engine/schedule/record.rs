//! What is kept of a schedule: up to when the manager has looked at it, and how its last run went.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hostel_model::id::ScheduleName;
use hostel_system::file;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};
use crate::host::Host;

/// How a run of a schedule went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it was due; `None`: a person ran it.
    pub due: Option<Timestamp>,
    /// When it began.
    pub began: Timestamp,
    /// When it ended; `None`: it goes on, or whatever did it was killed.
    pub ended: Option<Timestamp>,
    /// How: `done`, `running`, or what went wrong.
    pub result: String,
    /// The code that the command ended with; `None` if it has none.
    pub code: Option<i32>,
    /// The last of what it said.
    pub said: String,
}

/// While it goes on.
const RUNNING: &str = "running";

/// What becomes of that if nobody writes down its end.
const KILLED: &str = "killed before its end";

impl LastRun {
    pub(super) fn begin(due: Option<Timestamp>, began: Timestamp) -> Self {
        Self {
            due,
            began,
            ended: None,
            result: RUNNING.to_owned(),
            code: None,
            said: String::new(),
        }
    }

    /// Is it running now?
    pub fn goes_on(&self) -> bool {
        self.result == RUNNING
    }

    /// Did it do what it was to do?
    pub fn is_done(&self) -> bool {
        self.code == Some(0)
    }
}

/// Up to when a schedule was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Looked {
    /// Its times. With others it is another schedule, which begins when it is seen first.
    pub of: String,
    /// Whatever was due up to then has been run, or missed for good.
    pub until: Timestamp,
}

/// What is kept of each: the ends of files' names.
const LOOKED: &str = "looked";
const RUN: &str = "run";
const LOCK: &str = "lock";

/// How long a lock is tried for.
const GLANCE: Duration = Duration::from_millis(100);

impl Host {
    fn of_schedule(&self, name: &ScheduleName, what: &str) -> PathBuf {
        self.dirs.schedules().join(format!("{name}.{what}"))
    }

    /// Up to when it was looked at; what can't be read counts as never.
    pub(super) fn looked(&self, name: &ScheduleName) -> Option<Looked> {
        let text = file::read_opt(&self.of_schedule(name, LOOKED)).ok()??;
        serde_json::from_str(&text).ok()
    }

    pub(super) fn write_looked(&self, name: &ScheduleName, looked: &Looked) -> Result<()> {
        self.write_of_schedule(name, LOOKED, looked)
    }

    pub(super) fn write_run(&self, name: &ScheduleName, run: &LastRun) -> Result<()> {
        self.write_of_schedule(name, RUN, run)
    }

    fn write_of_schedule(&self, name: &ScheduleName, what: &str, record: &impl Serialize) -> Result<()> {
        let path = self.of_schedule(name, what);
        let fail = |e| Error::new(Class::Failed, format!("cannot write {}", path.display())).because(e);
        file::make_dir(&self.dirs.schedules())?;
        Ok(file::write_atomic(
            &path,
            &serde_json::to_vec(record).map_err(fail)?,
            0o600,
        )?)
    }

    /// How it went last, or that it runs.
    pub(super) fn last_run(&self, name: &ScheduleName) -> Option<LastRun> {
        let text = file::read_opt(&self.of_schedule(name, RUN)).ok()??;
        let mut run: LastRun = serde_json::from_str(&text).ok()?;
        if run.goes_on() && !self.schedule_runs(name) {
            // Between the two looks it may have ended.
            let text = file::read_opt(&self.of_schedule(name, RUN)).ok()??;
            run = serde_json::from_str(&text).ok()?;
            if run.goes_on() {
                run.result = KILLED.to_owned();
            }
        }
        Some(run)
    }

    /// Does somebody hold its lock?
    pub(super) fn schedule_runs(&self, name: &ScheduleName) -> bool {
        let opened = File::open(self.of_schedule(name, LOCK));
        opened.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Its lock, which ends with whoever holds it; `None`: another has it.
    pub(super) fn lock_schedule(&self, name: &ScheduleName) -> Result<Option<File>> {
        let path = self.of_schedule(name, LOCK);
        file::make_dir(&self.dirs.schedules())?;
        let lock = file::open_own(&path)?;
        let begun = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Some(lock)),
                // Who only looks whether it runs has it for a moment.
                Err(TryLockError::WouldBlock) if begun.elapsed() < GLANCE => std::thread::sleep(GLANCE / 20),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => {
                    return Err(Error::new(Class::Failed, format!("cannot lock {}", path.display())).because(e));
                }
            }
        }
    }

    /// Schedules of which something is kept.
    pub(super) fn kept_schedules(&self) -> BTreeSet<ScheduleName> {
        let entries = std::fs::read_dir(self.dirs.schedules()).into_iter().flatten().flatten();
        let name = |file: std::ffi::OsString| match file.to_str()?.rsplit_once('.')? {
            (name, LOOKED | RUN | LOCK) => name.parse().ok(),
            _ => None,
        };
        entries.filter_map(|entry| name(entry.file_name())).collect()
    }

    /// Removes what is kept of one, unless it still runs.
    pub(super) fn forget_schedule(&self, name: &ScheduleName) -> Result<()> {
        if self.schedule_runs(name) {
            return Ok(());
        }
        for what in [LOOKED, RUN, LOCK] {
            file::remove_file(&self.of_schedule(name, what))?;
        }
        Ok(())
    }
}
