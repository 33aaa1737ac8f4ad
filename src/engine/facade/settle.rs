//! After a VE has ended by itself: what its monitor becomes; and what it runs when a command was killed that was at work
//! on the VE. Never typed by a person.

use std::time::Duration;

use hostel_model::id::VeId;
use hostel_system::process::LEFT;

use super::{Engine, Progress};
use crate::error::{Class, Error, Result, whole};
use crate::interrupt;
use crate::lock::{Patience, SETTLE, Subject};
use crate::op::VeAlone;
use crate::op::start::Start;
use crate::ve::judge::refuse_disabled;
use crate::ve::record::RunRecord;
use crate::ve::registry::Catalogue;

/// Whoever holds the VE's lock for longer than this clears up himself: it is the first thing every operation does.
const PATIENCE: Duration = Duration::from_secs(300);

/// A guest that reboots sooner than this after its start has to wait: a loop of reboots must not become the host's
/// work.
const LEAST_RUN: Duration = Duration::from_secs(3);

/// How a guest ended that wants to be started again ([`hostel_system::process::Ended`]).
const REBOOT: &str = "reboot";

/// In the VE's run directory: what went wrong when its VE ended. The monitor writes there too.
pub(crate) const TROUBLE: &str = "monitor.error";

impl Engine {
    /// Clears up after a VE, and starts it again if it asked for a reboot; or ends what a command has left that was
    /// killed while it was at work on a VE that lives.
    pub fn settle(&self, id: VeId, reason: &str, progress: &dyn Progress) -> Result<()> {
        let done = self.clear_or_restart(id, reason, progress);
        // With the scripts that failed, though that could keep nothing from being done.
        let result = self.host.with_hooks_told(id, done, &mut |line| progress.note(line));
        if let Err(e) = &result {
            // Nobody reads what this process says; `status` shows what it leaves here.
            let note = self.host.dirs.run(id).join(TROUBLE);
            std::fs::write(&note, whole(e))
                .map_err(|e| Error::new(Class::Failed, format!("cannot write {}", note.display())).because(e))?;
        }
        result
    }

    fn clear_or_restart(&self, id: VeId, reason: &str, progress: &dyn Progress) -> Result<()> {
        if reason == REBOOT {
            self.hold_back(id);
        }
        let patience = Patience {
            wait: PATIENCE,
            progress,
            interrupted: interrupt::flag(),
        };
        let lock = self.host.locks.take(Subject::Ve(id), SETTLE, &patience)?;
        let Some(ve) = self.host.outline(id) else {
            return lock.retire(); // it was destroyed while we waited, and its lock with it: this one is ours
        };
        let reality = self.host.reality(id)?;
        if reason == LEFT {
            return self.host.recover(id, &self.runner(progress));
        }
        if reality.init.is_some() {
            return Ok(()); // somebody has started it meanwhile
        }
        // A command may have cleared up before us, and then what it did counts, not what the guest had asked for.
        let was_ours = reality.remains;
        self.host.note_end(id, &ve.name, reason);
        self.host.recover(id, &self.runner(progress))?;
        if reason == REBOOT && was_ours {
            if let Ok(effective) = self.host.effective(&ve.name, &mut Catalogue::default()) {
                refuse_disabled(&effective)?;
            }
            let started = self.run::<Start>(id, &VeAlone {}, progress);
            if started.is_err() {
                self.host.note_refused_reboot(id)?;
            }
            started?;
            self.host.note_reboot(id, &ve.name);
        }
        drop(lock);
        self.note_openvz(id, progress);
        self.host.settle_usage(SETTLE, progress);
        Ok(())
    }

    /// Waits until the VE's last start is long enough ago. Without its lock: whoever stops or destroys it meanwhile
    /// clears up after it, and so we know afterwards that it is not to be started again.
    fn hold_back(&self, id: VeId) {
        // Without a record somebody has cleared up already.
        let Some(record) = RunRecord::read(&self.host.dirs.run(id)) else {
            return;
        };
        // Not by the time of day, which somebody may have set meanwhile.
        if let Some(ran) = self.host.guests.age(record.init) {
            std::thread::sleep(LEAST_RUN.saturating_sub(ran));
        }
    }
}
