//! Ending what a killed command left: done first by the next operation on the same VE.

use std::sync::Arc;

use hostel_model::id::VeId;
use hostel_system::process::{Adopt, Place, Watch};

use super::create::Create;
use super::destroy::Destroy;
use super::mount::{Mount, Umount};
use super::set::Set;
use super::start::Start;
use super::stop::Stop;
use crate::error::{Class, Error, Result};
use crate::facade::Progress;
use crate::host::Host;
use crate::journal::{Found, Unfinished};
use crate::step::{Operation, Runner};
use crate::ve::record::{RunRecord, VeState};

impl Host {
    /// Puts a VE in order: an unfinished operation is ended, what a former run left is cleared, a running VE without
    /// a monitor gets one. The VE's lock must be held.
    pub fn recover(self: &Arc<Self>, id: VeId, runner: &Runner<'_>) -> Result<()> {
        match self.journals.find(id)? {
            Found::Nothing => {}
            Found::Unfinished(unfinished) => self.finish(unfinished, runner)?,
            Found::Corrupt { moved_to, why } => {
                runner.progress.note(&format!(
                    "a journal could not be read and lies at {}: {why}",
                    moved_to.display()
                ));
            }
        }
        match VeState::read(&self.dirs.ve(id))? {
            Some(state) => self.tidy(id, &state, runner.progress),
            None => Ok(()), // it was being made or removed, and that is over now
        }
    }

    fn finish(self: &Arc<Self>, unfinished: Unfinished, runner: &Runner<'_>) -> Result<()> {
        match unfinished.begin.verb.as_str() {
            Create::VERB => runner.recover::<Create>(self, unfinished),
            Start::VERB => runner.recover::<Start>(self, unfinished),
            Stop::VERB => runner.recover::<Stop>(self, unfinished),
            Destroy::VERB => runner.recover::<Destroy>(self, unfinished),
            Mount::VERB => runner.recover::<Mount>(self, unfinished),
            Umount::VERB => runner.recover::<Umount>(self, unfinished),
            Set::VERB => runner.recover::<Set>(self, unfinished),
            verb => {
                return Err(Error::new(
                    Class::Failed,
                    format!("VE {} has an unfinished {verb}", unfinished.begin.id),
                )
                .because("this version of hostel knows no such operation")
                .hint("use the version of hostel that began it"));
            }
        }
        .map(drop)
    }

    /// What needs no journal: reality says what is to be done.
    fn tidy(&self, id: VeId, state: &VeState, progress: &dyn Progress) -> Result<()> {
        let reality = self.reality(id)?;
        if reality.remains {
            progress.note("clearing up after its last run");
            return self.clear(id, state);
        }
        let Some(init) = reality.init else { return Ok(()) };
        let run_dir = self.dirs.run(id);
        if RunRecord::read(&run_dir).is_none_or(|r| r.init != init) {
            hostel_system::file::make_dir(&run_dir)?;
            let started = (self.clock)();
            RunRecord {
                init,
                boot_id: self.boot_id.clone(),
                started,
            }
            .write(&run_dir)?;
        }
        if self
            .guests
            .ask(&run_dir, &hostel_system::process::Request::Status)?
            .is_none()
        {
            progress.note("its monitor was gone; it has a new one now");
            let watch = self.watch(id)?;
            self.guests.adopt(Adopt { watch, init })?;
        }
        Ok(())
    }

    /// What a monitor has to know for as long as its VE runs.
    pub fn watch(&self, id: VeId) -> Result<Watch> {
        let place = self.cgroups.monitor_placement()?;
        let program = self.program.display().to_string();
        let config = self.config_file.display().to_string();
        Ok(Watch {
            id: id.get(),
            run_dir: self.dirs.run(id),
            place: Place {
                tasks: place.join,
                unified: place.unified,
            },
            console_log_size: self.config.console.log_size.get(),
            after: vec![program, "--config".into(), config, "settle".into(), id.to_string()],
        })
    }
}
