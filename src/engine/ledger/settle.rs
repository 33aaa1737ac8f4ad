//! From the spool into the ledger.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_model::usage::Reading;

use super::spool::Spool;
use super::store::Ledger;
use crate::error::Result;
use crate::facade::{Progress, Silent};
use crate::host::Host;
use crate::interrupt;
use crate::lock::{Lock, Patience, Subject};

/// The lock of whoever writes the ledger. It is held for moments.
const LEDGER: Subject = Subject::Host("ledger");
/// How long it is waited for: whoever comes next enters what we leave.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many notes are in memory at once.
const SOME: usize = 256;
/// The lock of the manager.
pub(crate) const MANAGER: Subject = Subject::Host("manager");

impl Host {
    pub(crate) fn spool(&self) -> Spool {
        Spool::at(self.dirs.run_usage(), self.dirs.usage())
    }

    /// Leaves a reading for the ledger. If neither /run nor the disk takes it, what it says is part of the next.
    pub(super) fn note(&self, reading: &Reading) {
        let _ = self.spool().leave(reading);
    }

    /// Nobody else writes the ledger while this is held.
    pub(crate) fn lock_ledger(&self, verb: &str) -> Result<Lock> {
        let patience = Patience {
            wait: PATIENCE,
            progress: &Silent,
            interrupted: interrupt::flag(),
        };
        self.locks.take(LEDGER, verb, &patience)
    }

    /// Enters what lies in the spool, unless a manager does that. Whoever calls has done what he was asked for: what can't
    /// be entered is told of, and kept for the next.
    pub(crate) fn settle_usage(&self, verb: &str, progress: &dyn Progress) {
        if self.locks.holder(MANAGER).is_ok_and(|holder| holder.is_some()) {
            return;
        }
        self.settle_last(verb, progress);
    }

    /// Brings what lies in /run to where it outlives the host's power, unless a manager enters it in a moment: whoever starts
    /// a VE doesn't wait for the ledger, and without a manager it may be months until somebody enters it. The disk is
    /// not waited for either; in half a minute it is there.
    pub(crate) fn keep_usage(&self) {
        if self.locks.holder(MANAGER).is_ok_and(|holder| holder.is_none()) {
            // What has no room there stays in /run.
            let _ = self.spool().lay_down(false);
        }
    }

    /// Enters it whoever runs: the manager when it ends, and the shutdown of the host, after which nothing is in /run any
    /// more.
    pub(crate) fn settle_last(&self, verb: &str, progress: &dyn Progress) {
        if self.spool().is_empty().unwrap_or(false) {
            return;
        }
        if let Err(e) = self.enter_usage(verb, Vec::new(), progress) {
            progress.note(&format!(
                "usage could not be entered into the ledger, and is kept for the next time: {}",
                crate::error::chain(&e)
            ));
        }
    }

    /// Enters what lies in the spool and these readings of now. How many were entered.
    pub(crate) fn enter_usage(&self, verb: &str, now: Vec<Reading>, progress: &dyn Progress) -> Result<usize> {
        self.enter_usage_in(&mut Kept::default(), verb, now, progress)
    }

    /// The same into a ledger that is kept open for the next time.
    pub(crate) fn enter_usage_in(
        &self,
        kept: &mut Kept,
        verb: &str,
        now: Vec<Reading>,
        progress: &dyn Progress,
    ) -> Result<usize> {
        let lock = self.lock_ledger(verb)?;
        let mut entered = 0;
        // There may be many: what was noted before the first of now is entered bit by bit, and the rest among these.
        let first = now.iter().map(|reading| reading.at.up_ns).min();
        let (before, beside) = self.spool().files(&self.boot_id, first)?;
        for some in before.chunks(SOME) {
            entered += self.enter_some(kept, some, Vec::new(), progress)?;
        }
        entered += self.enter_some(kept, &beside, now, progress)?;
        drop(lock);
        Ok(entered)
    }

    fn enter_some(
        &self,
        kept: &mut Kept,
        files: &[PathBuf],
        now: Vec<Reading>,
        progress: &dyn Progress,
    ) -> Result<usize> {
        let (spool, mut told) = (self.spool(), Vec::new());
        let (spooled, files) = spool.read(files, &mut told)?;
        // Those of former boots come first, as they lie there; those of this one in the order of its clock.
        let (mut readings, mut ours): (Vec<Reading>, Vec<Reading>) =
            spooled.into_iter().partition(|reading| reading.at.boot != self.boot_id);
        ours.extend(now);
        ours.sort_by_cached_key(|reading| reading.at.up_ns);
        readings.append(&mut ours);
        let entered = kept
            .open(&self.dirs.ledger())
            .and_then(|ledger| ledger.enter(&readings, &mut told));
        told.iter().for_each(|line| progress.note(line));
        match entered {
            Ok(entered) => {
                spool.forget(&files)?;
                Ok(entered)
            }
            Err(e) => {
                *kept = Kept::default();
                // The ledger's trouble may be the disk's; then it stays where it is.
                let _ = spool.lay_down(true);
                Err(e)
            }
        }
    }
}

/// A ledger that is kept open by who comes back to it.
#[derive(Debug, Default)]
pub(crate) struct Kept(Option<(Ledger, (u64, u64))>);

impl Kept {
    /// The ledger at this path. One that was moved away, or replaced, is opened anew.
    pub fn open(&mut self, path: &Path) -> Result<&mut Ledger> {
        let file = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
        let known = self.0.take().filter(|(_, opened)| file(path) == Some(*opened));
        let known = match known {
            Some(known) => known,
            None => {
                let ledger = Ledger::open(path)?;
                (ledger, file(path).unwrap_or_default())
            }
        };
        Ok(&mut self.0.insert(known).0)
    }
}
