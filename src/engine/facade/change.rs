//! Actions on one VE, and changes of its definition.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use hostel_model::definition::{VeDefinition, When};
use hostel_model::edit::{self, EditError};
use hostel_model::id::VeId;
use hostel_model::request::{Action, StartOptions, VeRef};
use hostel_model::resolve::{DiskLimits, Effective};
use hostel_model::state::{State, Transition, judge};
use hostel_model::units::{Bytes, human};
use hostel_system::file;

use super::{Engine, Outcome, Progress, SetReport};
use crate::error::{Class, Error, Result};
use crate::interrupt;
use crate::journal::Look;
use crate::op;
use crate::op::destroy::Destroy;
use crate::op::mount::{Mount, Umount};
use crate::op::set::Set;
use crate::op::start::Start;
use crate::op::stop::Stop;
use crate::step::Operation;
use crate::ve::outline::Outline;
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;

/// How long a VE may take to stand still.
const FREEZE: Duration = Duration::from_secs(10);

impl Engine {
    /// One action on one VE.
    pub fn act(&self, id: VeId, action: &Action, progress: &dyn Progress) -> Result<Outcome> {
        let lock = self.lock_ve(id, verb(action), progress)?;
        let Some(ve) = self.host.outline(id) else {
            // An interrupted creation or destruction was just ended; then there is nothing to act on.
            return match action {
                Action::Destroy { .. } => Ok(outcome("is destroyed already", false)),
                _ => Err(crate::ve::registry::unknown_ve(&VeRef::Id(id))),
            };
        };
        let mut reality = self.host.reality(id)?;
        if reality.remains {
            // It ended just now. What is left of it would tell its monitor that it may start it again when we have gone.
            self.host.clear(&ve)?;
            reality = self.host.reality(id)?;
        }
        let was = if ve.whole || reality.init.is_some() {
            reality.state
        } else {
            State::Broken
        };
        match judge(was, action) {
            Err(refusal) => Err(Error::new(Class::Refused, format!("{}: {refusal}", ve.name)).hint(refusal.instead)),
            Ok(Transition::AlreadyDone(why)) => Ok(outcome(why, false)),
            Ok(_) => {
                let done = self.perform(&ve, was, action, progress)?;
                match action {
                    Action::Destroy { .. } => lock.retire()?,
                    _ => drop(lock),
                }
                self.afterwards(&ve, action, progress)?;
                Ok(done)
            }
        }
    }

    fn perform(&self, ve: &Outline, was: State, action: &Action, progress: &dyn Progress) -> Result<Outcome> {
        let id = ve.id;
        match action {
            Action::Start(_) => self
                .run::<Start>(id, &op::start::Params {}, progress)
                .map(|()| outcome("started", true)),
            Action::Stop { timeout } => self
                .stop(id, Some(self.grace(ve, *timeout)), progress)
                .map(|()| outcome("stopped", true)),
            Action::Kill => self.kill(ve, progress).map(|()| outcome("killed", true)),
            Action::Restart { timeout, .. } => {
                if was == State::Running {
                    self.stop(id, Some(self.grace(ve, *timeout)), progress)?;
                }
                self.run::<Start>(id, &op::start::Params {}, progress)
                    .map(|()| outcome("restarted", true))
                    .map_err(|e| if was == State::Running { is_stopped(e, ve) } else { e })
            }
            Action::Pause => self
                .host
                .cgroups
                .freeze(id, FREEZE)
                .map(|()| outcome("paused", true))
                .map_err(Into::into),
            Action::Unpause => self
                .host
                .cgroups
                .thaw(id)
                .map(|()| outcome("unpaused", true))
                .map_err(Into::into),
            Action::Destroy { .. } => self.destroy(ve, was, progress),
            Action::Mount => {
                self.run::<Mount>(id, &op::mount::Params {}, progress)?;
                Ok(Outcome {
                    path: Some(self.host.dirs.mount(id)),
                    ..outcome("mounted", true)
                })
            }
            Action::Umount => self
                .run::<Umount>(id, &op::mount::Params {}, progress)
                .map(|()| outcome("unmounted", true)),
            Action::Compact => {
                progress.step("giving back freed blocks");
                let freed = self.host.disks.compact(&self.host.dirs.ve(id))?;
                Ok(outcome(&format!("compacted, {} given back", human(freed)), freed > 0))
            }
        }
    }

    /// Runs an operation on a VE whose lock is held.
    pub(crate) fn run<O: Operation<Host = crate::host::Host>>(
        &self,
        id: VeId,
        params: &O::Params,
        progress: &dyn Progress,
    ) -> Result<()> {
        self.runner(progress)
            .run::<O>(&Arc::clone(&self.host), id, params)
            .map(drop)
    }

    fn kill(&self, ve: &Outline, progress: &dyn Progress) -> Result<()> {
        if let Some(init) = self.host.reality(ve.id)?.init
            && self.host.kill_and_leave(ve, init)?
        {
            return Ok(());
        }
        self.stop(ve.id, None, progress)
    }

    pub(crate) fn stop(&self, id: VeId, grace: Option<Duration>, progress: &dyn Progress) -> Result<()> {
        let grace = grace.map_or(0, |g| u64::try_from(g.as_millis()).unwrap_or(u64::MAX));
        let params = op::stop::Params { grace };
        let again = Cell::new(false);
        let stop = || {
            if again.replace(true) {
                // What the first attempt could not write down.
                self.host.recover(id, &self.runner(progress))?;
            }
            self.run::<Stop>(id, &params, progress)
        };
        match self.making_room(stop) {
            // Not even the journal could be begun. What remains of a stop that is cut short is found without.
            Err(e) if e.class == Class::Limit && self.host.journals.look(id) == Look::Nothing => {
                Stop::without_journal(&self.host, id, params)
            }
            other => other,
        }
    }

    /// How long a guest may take to shut down: as asked, as defined, or as the host has it if the definition can't be
    /// read.
    fn grace(&self, ve: &Outline, asked: Option<Duration>) -> Duration {
        let defined = || {
            self.host
                .effective(&ve.name, &mut Catalogue::default())
                .map(|e| e.stop_timeout)
                .ok()
        };
        asked.unwrap_or_else(|| defined().unwrap_or(self.host.config.defaults.stop_timeout).duration())
    }

    fn destroy(&self, ve: &Outline, was: State, progress: &dyn Progress) -> Result<Outcome> {
        match was {
            State::Running | State::Paused => self.stop(ve.id, None, progress)?,
            State::Mounted => self.run::<Umount>(ve.id, &op::mount::Params {}, progress)?,
            State::Stopped | State::Broken => self.host.clear(ve)?,
        }
        let params = op::destroy::Params { name: ve.name.clone() };
        match self.making_room(|| self.run::<Destroy>(ve.id, &params, progress)) {
            // Not even the journal could be begun. What removing a VE leaves when it is cut short is found without.
            Err(e) if e.class == Class::Limit && self.host.journals.look(ve.id) == Look::Nothing => {
                Destroy::without_journal(&self.host, ve.id, params)?;
            }
            Err(e) if e.class == Class::Interrupted && was != State::Stopped => return Err(is_stopped(e, ve)),
            other => other?,
        }
        Ok(outcome("destroyed", true))
    }

    /// What is done when the lock is free again: waiting for a boot must not keep others from stopping it.
    fn afterwards(&self, ve: &Outline, action: &Action, progress: &dyn Progress) -> Result<()> {
        match action {
            Action::Start(options) | Action::Restart { start: options, .. } if options.wait => {
                self.await_boot(ve, options, progress)
            }
            _ => Ok(()),
        }
    }

    fn await_boot(&self, ve: &Outline, options: &StartOptions, progress: &dyn Progress) -> Result<()> {
        let defined = || {
            self.host
                .effective(&ve.name, &mut Catalogue::default())
                .map(|e| e.start_timeout)
                .ok()
        };
        let default = || defined().unwrap_or(self.host.config.defaults.start_timeout).duration();
        let patience = options.timeout.unwrap_or_else(default);
        progress.step("booting");
        let log = format!("see what it says with: hostel log {}", ve.name);
        let booted = self
            .host
            .guests
            .await_boot(&self.host.dirs.run(ve.id), patience, interrupt::flag());
        match booted {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                let message = format!("{} was started but has not booted in {} s", ve.name, patience.as_secs());
                Err(Error::new(Class::Failed, message)
                    .hint("it boots on; wait longer with --timeout")
                    .hint(log))
            }
            Err(e) if e.kind == hostel_system::Kind::Interrupted => {
                let message = format!("interrupted while {} boots; it runs on", ve.name);
                Err(Error::new(Class::Interrupted, message)
                    .hint(format!("end it with: hostel stop {}", ve.name))
                    .hint(log))
            }
            Err(e) => Err(Error::from(e).hint(log)),
        }
    }

    /// Changes a definition, live where it can; all or nothing.
    pub fn set(
        &self,
        ve: &VeRef,
        settings: &[(String, String)],
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<SetReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "set", progress)?;
        let old = self.definition_text(ve)?;
        let file = self.host.dirs.definition(&state.name).display().to_string();
        let new = edit::edit(&file, &old, settings).map_err(|e| refused_edit(&state, e))?;
        self.change(&state, &old, &new, dry_run, progress)
    }

    /// The text of a VE's definition, for an editor.
    pub fn definition_text(&self, ve: &VeRef) -> Result<String> {
        let state = self.host.find(ve)?;
        Ok(file::read(&self.host.dirs.definition(&state.name))?)
    }

    /// Replaces a VE's definition by an edited text if it is right; the error names every mistake with its line.
    pub fn replace_definition(&self, ve: &VeRef, text: &str, progress: &dyn Progress) -> Result<SetReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "edit", progress)?;
        let old = self.definition_text(ve)?;
        self.change(&state, &old, text, false, progress)
    }

    fn change(
        &self,
        state: &VeState,
        old: &str,
        new: &str,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<SetReport> {
        let file = self.host.dirs.definition(&state.name).display().to_string();
        let mut catalogue = Catalogue::default();
        let after = VeDefinition::parse(&file, new).map_err(|e| refused_edit(state, e.into()))?;
        let after = self.host.resolve(&after, &mut catalogue)?;
        // A definition that was broken by hand has no effect to compare with: then all of the new one waits.
        let before = VeDefinition::parse(&file, old)
            .ok()
            .and_then(|d| self.host.resolve(&d, &mut catalogue).ok());
        for warning in self.host.judge(&after)? {
            progress.note(&warning);
        }
        let running = self.host.reality(state.id)?.init.is_some();
        let disk_size = self.new_disk_size(state, before.as_ref(), &after, running, progress)?;
        // What the disk has is what changes, whatever was written in the definition or the plan meanwhile.
        let before = before.map(|b| {
            let size = disk_size.map_or(after.disk.size, |_| Bytes(state.disk_size));
            Effective {
                disk: DiskLimits { size, ..b.disk },
                ..b
            }
        });
        let report = plan_change(state, before.as_ref(), &after, running, dry_run)?;
        if !dry_run && (old != new || disk_size.is_some()) {
            let params = op::set::Params {
                old: old.to_owned(),
                new: new.to_owned(),
                disk_size,
            };
            self.run::<Set>(state.id, &params, progress)?;
        }
        Ok(report)
    }

    /// The size that its disk gets by this change; `None` if it stays. What can't be is refused beforehand, so that
    /// nothing else of the change is begun.
    fn new_disk_size(
        &self,
        state: &VeState,
        before: Option<&Effective>,
        after: &Effective,
        running: bool,
        progress: &dyn Progress,
    ) -> Result<Option<u64>> {
        let size = after.disk.size.get();
        if size == state.disk_size {
            return Ok(None);
        }
        if running && before.is_some_and(|b| b.disk.size == after.disk.size) {
            // Its plan was edited, or its definition by hand; this change is about something else.
            let (has, should) = (human(state.disk_size), human(size));
            progress.note(&match size > state.disk_size {
                true => format!("its disk has {has}; it grows to the {should} of its definition at the next start"),
                false => format!("its disk has {has}, not the {should} of its definition; stop it to shrink it"),
            });
            return Ok(None);
        }
        if size < state.disk_size {
            if running {
                return Err(Error::new(
                    Class::Refused,
                    format!("the disk of {} can't shrink while it runs", state.name),
                )
                .hint(format!("stop it first: hostel stop {}", state.name)));
            }
            self.check_shrink(state, size)?;
        }
        Ok(Some(size))
    }

    fn check_shrink(&self, state: &VeState, size: u64) -> Result<()> {
        let usage = self.host.disks.usage(&self.host.dirs.ve(state.id))?;
        match usage.used {
            Some(used) if used >= size => Err(Error::new(
                Class::Limit,
                format!("the disk of {} can't shrink below what is on it", state.name),
            )
            .because(format!("{} are in use", human(used)))
            .hint("remove files inside first, or choose a larger size")),
            _ => Ok(()),
        }
    }
}

/// Sorts what differs into what is done now and what waits, and refuses what can't be.
fn plan_change(
    state: &VeState,
    before: Option<&Effective>,
    after: &Effective,
    running: bool,
    dry_run: bool,
) -> Result<SetReport> {
    let mut report = SetReport {
        dry_run,
        ..SetReport::default()
    };
    if after.id != state.id || after.name != state.name {
        return Err(never(
            state,
            "id and name",
            "they are what everything of it is called by",
        ));
    }
    // With nothing to compare with, the record says whose it is.
    if before.is_none() && state.tenant.as_ref().is_some_and(|t| *t != after.tenant) {
        return Err(never(state, "tenant", "its template tree belongs to its tenant"));
    }
    for change in before.map(|b| edit::diff(b, after)).unwrap_or_default() {
        let line = (change.key.clone(), change.old, change.new);
        match change.when {
            When::Never(why) => return Err(never(state, &change.key, why)),
            When::Restart if running => report.waiting.push(line),
            When::Restart | When::Live => report.applied.push(line),
        }
    }
    Ok(report)
}

fn never(state: &VeState, key: &str, why: &str) -> Error {
    Error::new(Class::Refused, format!("{key} of {} can't be changed", state.name)).because(why.to_owned())
}

fn refused_edit(state: &VeState, e: EditError) -> Error {
    Error::new(
        Class::Usage,
        format!("the definition of {} would have mistakes", state.name),
    )
    .because(e)
}

/// An error of the second half of a verb, with what the first half has done: that isn't undone.
fn is_stopped(error: Error, ve: &Outline) -> Error {
    let name = &ve.name;
    error.hint(format!("{name} is stopped now; start it with: hostel start {name}"))
}

fn outcome(done: &str, changed: bool) -> Outcome {
    Outcome {
        done: done.to_owned(),
        changed,
        path: None,
    }
}

fn verb(action: &Action) -> &'static str {
    match action {
        Action::Start(_) => "start",
        Action::Stop { .. } => "stop",
        Action::Kill => "kill",
        Action::Restart { .. } => "restart",
        Action::Pause => "pause",
        Action::Unpause => "unpause",
        Action::Destroy { .. } => "destroy",
        Action::Mount => "mount",
        Action::Umount => "umount",
        Action::Compact => "compact",
    }
}
