//! Ending what a killed command left: done first by the next operation on the same VE.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hostel_model::definition::View;
use hostel_model::id::VeId;
use hostel_system::file;
use hostel_system::process::{Adopt, Init, Place, Request, Watch};

use super::create::Create;
use super::destroy::Destroy;
use super::mount::{Mount, Umount};
use super::reinstall::Reinstall;
use super::relocate::Relocate;
use super::resume::Resume;
use super::set::Set;
use super::start::Start;
use super::stop::Stop;
use super::suspend::Suspend;
use crate::error::{Class, Error, Result, chain};
use crate::facade::Progress;
use crate::host::Host;
use crate::journal::{Found, Unfinished};
use crate::step::{Operation, Runner};
use crate::ve::outline::Outline;
use crate::ve::record::{RunRecord, VeState};

/// How long the kernel may take to let go of a disk.
const PATIENCE: Duration = Duration::from_secs(30);

impl Host {
    /// Puts a VE in order: an unfinished operation is ended, what a former run left is cleared, a running VE without
    /// a monitor gets one. The VE's lock must be held.
    pub fn recover(self: &Arc<Self>, id: VeId, runner: &Runner<'_>) -> Result<()> {
        match self.journals.find(id)? {
            Found::Nothing => {}
            Found::Unfinished(unfinished) if self.can_finish(&unfinished) => self.finish(unfinished, runner)?,
            Found::Unfinished(unfinished) => {
                runner
                    .progress
                    .note("an operation was cut short, and its record is damaged: what is left is cleared");
                self.journals
                    .quarantine(unfinished, "the record of the VE is damaged".into())?;
            }
            Found::Corrupt { moved_to, why } => {
                runner.progress.note(&format!(
                    "a journal could not be read and lies at {}: {why}",
                    moved_to.display()
                ));
            }
        }
        // A start whose journal was lost, or given up, is not under way either.
        self.has_started(id)?;
        self.remove_half_made(id)?;
        self.mend_record(id, runner.progress)?;
        match self.outline(id) {
            Some(ve) => self.tidy(&ve, runner.progress),
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
            Reinstall::VERB => runner.recover::<Reinstall>(self, unfinished),
            Relocate::VERB => runner.recover::<Relocate>(self, unfinished),
            Set::VERB => runner.recover::<Set>(self, unfinished),
            Suspend::VERB => runner.recover::<Suspend>(self, unfinished),
            Resume::VERB => runner.recover::<Resume>(self, unfinished),
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

    /// These begin with the record, and what they leave can be cleared without it.
    fn can_finish(&self, unfinished: &Unfinished) -> bool {
        let by_record = [
            Start::VERB,
            Mount::VERB,
            Set::VERB,
            Relocate::VERB,
            Suspend::VERB,
            Resume::VERB,
        ]
        .contains(&unfinished.begin.verb.as_str());
        !by_record || self.outline(unfinished.begin.id).is_none_or(|ve| ve.whole)
    }

    /// Forgets an unfinished start. What it has made is found without its journal. False if there is none.
    pub(crate) fn abandon_start(&self, id: VeId) -> Result<bool> {
        match self.journals.find(id)? {
            Found::Unfinished(unfinished) if unfinished.begin.verb == Start::VERB => {
                unfinished.journal.end()?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// A record that had to be read from its copy is written anew, and one that a start left undecided is decided.
    pub(crate) fn mend_record(&self, id: VeId, progress: &dyn Progress) -> Result<()> {
        let Ok(Some(mut state)) = self.state_of(id) else {
            return Ok(());
        };
        if let Some(why) = &state.damaged {
            // On a full disk the copy has to do for some time more.
            progress.note(&match state.write(&self.dirs.ve(id)) {
                Ok(()) => format!("its record was damaged ({why}) and has been put right from its copy"),
                Err(e) => format!(
                    "its record is damaged ({why}) and could not be put right: {}",
                    chain(&e)
                ),
            });
        }
        if state.former.is_some() {
            self.decide_interfaces(&mut state, progress)?;
        }
        Ok(())
    }

    /// A start that gave the VE other interfaces, and whose journal was lost (with the host's power, say), has come into
    /// force or not.
    fn decide_interfaces(&self, state: &mut VeState, progress: &dyn Progress) -> Result<()> {
        let decided = match self.reality(state.id)?.init {
            Some(_) => self.keep_interfaces(state),
            None => self.restore_interfaces(state),
        };
        // Until then it has the addresses of both.
        if let Err(e) = decided {
            progress.note(&format!("its interfaces could not be settled yet: {}", chain(&e)));
        }
        Ok(())
    }

    /// What needs no journal: reality says what is to be done.
    fn tidy(&self, ve: &Outline, progress: &dyn Progress) -> Result<()> {
        let (id, reality) = (ve.id, self.reality(ve.id)?);
        if reality.remains || self.owes_hooks(id) {
            progress.step("clearing up after its last run");
            self.clear(ve)?;
            return self.remove_stale_dumps(id, false);
        }
        self.remove_stale_dumps(id, reality.init.is_some())?;
        let Some(init) = reality.init else { return Ok(()) };
        let run_dir = self.dirs.run(id);
        if RunRecord::read(&run_dir).is_none_or(|r| r.init != init || r.boot_id != self.boot_id) {
            file::make_dir(&run_dir)?;
            let started = (self.clock)() - self.guests.age(init).map_or(0, |age| age.as_secs() as i64);
            RunRecord {
                init,
                boot_id: self.boot_id.clone(),
                started,
                switches: None,
                told: None,
            }
            .write(&run_dir)?;
        }
        match self.guests.ask(&run_dir, &Request::Status) {
            Ok(Some(answer)) if answer.init == init => Ok(()),
            Ok(_) => self.give_monitor(ve, init, progress),
            // It is there, but stopped or stuck. Nothing that we do needs its answer.
            Err(e) => {
                let what = chain(&Error::from(e));
                progress.note(&format!("{what}; kill it, and the next command gives the VE a new one"));
                Ok(())
            }
        }
    }

    fn give_monitor(&self, ve: &Outline, init: Init, progress: &dyn Progress) -> Result<()> {
        let watch = self.watch(ve.id)?;
        match self.guests.adopt(Adopt { watch, init }) {
            Ok(()) => {
                progress.note("its monitor was gone; it has a new one now");
                Ok(())
            }
            // The guest ended before anybody watched over it again.
            Err(_) if self.reality(ve.id)?.remains => self.clear(ve),
            Err(e) => Err(e.into()),
        }
    }

    /// No operation on this VE is unfinished: what lies under a staging name of its then has lost its journal, and
    /// nobody will ever come back for it.
    pub(crate) fn remove_half_made(&self, id: VeId) -> Result<()> {
        self.remove_moving(id)?;
        self.settle_replaced(id)?;
        for dir in [self.dirs.staging(id), self.dirs.doomed(id)] {
            if !dir.exists() {
                continue;
            }
            if let Ok(Some(state)) = VeState::read(&dir)
                && !self.dirs.ve(id).exists()
                && self.definition(&state.name).is_ok_and(|d| d.id == id)
            {
                if dir == self.dirs.doomed(id) {
                    self.retire_hooks(id, &state.name)?;
                }
                file::remove_file(&self.dirs.definition(&state.name))?;
            }
            self.disks.detach(&dir, PATIENCE)?;
            self.disks.remove(&dir)?;
            if dir == self.dirs.doomed(id) {
                if let Ok(Some(state)) = VeState::read(&dir) {
                    self.note_gone(&state);
                }
                self.put_doomed_aside(id, "recover")?;
            }
            file::remove_tree(&dir)?;
        }
        Ok(())
    }

    /// Where lxcfs is mounted, if it is chosen.
    pub fn lxcfs(&self) -> Option<PathBuf> {
        (self.config.proc.view == View::Lxcfs).then(|| self.config.proc.lxcfs.clone())
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
            view: self.lxcfs(),
            sheet: self.sheet(id).map(Box::new),
            console_log_size: self.config.console.log_size.get(),
            after: vec![program, "--config".into(), config, "settle".into(), id.to_string()],
        })
    }
}
