//! After a VE has ended by itself: what its monitor becomes. Never typed by a person.

use std::time::Duration;

use hostel_model::id::VeId;

use super::{Engine, Progress};
use crate::error::Result;
use crate::interrupt;
use crate::lock::{Patience, Subject};
use crate::op::start::{Params, Start};
use crate::ve::record::VeState;

/// Whoever holds the VE's lock for longer than this clears up himself: it is the first thing every operation does.
const PATIENCE: Duration = Duration::from_secs(300);

/// A guest that reboots sooner than this after its start has to wait: a loop of reboots must not become the host's
/// work.
const LEAST_RUN: i64 = 3;

impl Engine {
    /// Clears up after a VE, and starts it again if it asked for a reboot.
    pub fn settle(&self, id: VeId, reason: &str, progress: &dyn Progress) -> Result<()> {
        let started = crate::ve::record::RunRecord::read(&self.host.dirs.run(id)).map(|r| r.started);
        let patience = Patience {
            wait: PATIENCE,
            progress,
            interrupted: interrupt::flag(),
        };
        let lock = self.host.locks.take(Subject::Ve(id), "settle", &patience)?;
        if VeState::read(&self.host.dirs.ve(id))?.is_none() {
            return Ok(());
        }
        let reality = self.host.reality(id)?;
        if reality.init.is_some() {
            return Ok(()); // somebody has started it meanwhile
        }
        // A command may have cleared up before us, and then what it did counts, not what the guest had asked for.
        let was_ours = reality.remains;
        self.host.recover(id, &self.runner(progress))?;
        if reason != "reboot" || !was_ours {
            return Ok(());
        }
        let now = (self.host.clock)();
        if started.is_some_and(|s| now - s < LEAST_RUN) {
            std::thread::sleep(Duration::from_secs(LEAST_RUN as u64));
        }
        self.run::<Start>(id, &Params {}, progress)?;
        drop(lock);
        Ok(())
    }
}
