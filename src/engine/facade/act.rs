//! Actions on one VE.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use hostel_model::id::VeId;
use hostel_model::request::{Action, StartOptions, VeRef};
use hostel_model::state::{State, Transition, judge};
use hostel_model::units::human;

use super::{Engine, Outcome, Progress};
use crate::error::{Class, Detail, Error, Result, whole};
use crate::interrupt;
use crate::journal::Look;
use crate::op;
use crate::op::destroy::Destroy;
use crate::op::mount::{Mount, Umount};
use crate::op::resume::Resume;
use crate::op::start::Start;
use crate::op::stop::Stop;
use crate::op::suspend::Suspend;
use crate::step::Operation;
use crate::ve::judge::refuse_disabled;
use crate::ve::outline::Outline;
use crate::ve::reality::Reality;
use crate::ve::registry::Catalogue;

/// How long a VE may take to stand still.
const FREEZE: Duration = Duration::from_secs(10);

impl Engine {
    /// One action on one VE.
    pub fn act(&self, id: VeId, action: &Action, progress: &dyn Progress) -> Result<Outcome> {
        let lock = self.lock_ve(id, verb(action), progress)?;
        let Some(ve) = self.host.outline(id) else {
            // An interrupted creation or destruction was just ended; then there is nothing to act on.
            lock.retire()?;
            return match action {
                Action::Destroy { .. } => Ok(outcome("is destroyed already", false)),
                _ => Err(crate::ve::registry::unknown_ve(&VeRef::Id(id))),
            };
        };
        let reality = self.settled(&ve, action, progress)?;
        let was = if ve.whole || reality.init.is_some() {
            reality.state
        } else {
            State::Broken
        };
        match judge(was, action) {
            Err(refusal) => Err(Error::new(Class::Refused, format!("{}: {refusal}", ve.name)).hint(refusal.instead)),
            Ok(Transition::AlreadyDone(why)) => {
                drop(lock);
                self.afterwards(&ve, action, progress)?;
                Ok(outcome(why, false))
            }
            // What is no operation in steps looks at this nowhere else, and there may be others in the same line of names.
            Ok(_) if interrupt::raised() => {
                let message = format!("interrupted before the {} of {} was begun", verb(action), ve.name);
                Err(Error::new(Class::Interrupted, message))
            }
            Ok(_) => {
                self.refuse_disabled(&ve, action)?;
                let done = self.perform(&ve, was, action, progress);
                let trouble = self.host.hooks_told(id, &mut |line| progress.note(line));
                self.host
                    .note_operation(id, &ve.name, verb(action), done.as_ref().err().or(trouble.as_ref()));
                let done = match done {
                    Err(mut e) => {
                        e.also.extend(trouble.as_ref().map(whole));
                        drop(lock);
                        // What was ended before it failed, or undone.
                        self.host.keep_usage();
                        return Err(e);
                    }
                    Ok(done) => done,
                };
                // Before its lock is given back: whoever suspends its tenant next may note that it ran.
                if matches!(action, Action::Start(_) | Action::Resume | Action::Restart { .. }) {
                    self.host.forget_halt(id)?;
                }
                match action {
                    Action::Destroy { .. } => lock.retire()?,
                    _ => drop(lock),
                }
                if matches!(
                    action,
                    Action::Start(_) | Action::Resume | Action::Restart { .. } | Action::Destroy { .. }
                ) {
                    self.note_openvz(id, progress);
                }
                if settles(action) {
                    self.host.settle_usage(verb(action), progress);
                } else {
                    self.host.keep_usage();
                }
                self.afterwards(&ve, action, progress)?;
                // It is done all the same, and whoever asked is to know that not all went well.
                trouble.map_or(Ok(done.clone()), |e| {
                    Err(e.hint(format!("{} {} all the same", ve.name, done.done)))
                })
            }
        }
    }

    /// How a VE is that is to be acted upon, once what ends by itself has ended, and what is left of it is cleared.
    fn settled(&self, ve: &Outline, action: &Action, progress: &dyn Progress) -> Result<Reality> {
        let id = ve.id;
        let mut reality = self.host.reality(id)?;
        if let (Action::Start(_), Some(init)) = (action, reality.init)
            && reality.state == State::Running
            && self.host.await_asked_end(id, init, progress)?
        {
            reality = self.host.reality(id)?;
        }
        if reality.remains {
            // It ended just now. What is left of it would tell its monitor that it may start it again when we have gone.
            let cleared = self.host.clear(ve);
            self.tell_of_hooks(id, progress);
            cleared?;
            reality = self.host.reality(id)?;
        }
        Ok(reality)
    }

    /// Says what scripts have said and which of them failed, without an error.
    pub(crate) fn tell_of_hooks(&self, id: VeId, progress: &dyn Progress) {
        if let Some(e) = self.host.hooks_told(id, &mut |line| progress.note(line)) {
            progress.note(&whole(&e));
        }
    }

    fn perform(&self, ve: &Outline, was: State, action: &Action, progress: &dyn Progress) -> Result<Outcome> {
        let id = ve.id;
        match action {
            Action::Start(options) if was == State::Suspended && !options.discard => self
                .run::<Resume>(id, &op::VeAlone {}, progress)
                .map(|()| outcome("resumed", true)),
            Action::Start(_) => self
                .run::<Start>(id, &op::VeAlone {}, progress)
                .map(|()| outcome("started", true)),
            Action::Stop { timeout } => self
                .stop(id, Some(self.grace(ve, *timeout)), progress)
                .map(|()| outcome("stopped", true)),
            Action::Kill => self.kill(ve, progress).map(|()| outcome("killed", true)),
            Action::Restart { timeout, .. } => {
                if was == State::Running {
                    // What can't be started again is better left running.
                    let check = self
                        .host
                        .state(id)
                        .and_then(|state| self.host.check_start(&state, true));
                    check.map_err(|e| e.hint(format!("{} was not stopped, and runs on", ve.name)))?;
                    self.stop(id, Some(self.grace(ve, *timeout)), progress)?;
                }
                self.run::<Start>(id, &op::VeAlone {}, progress)
                    .map(|()| outcome("restarted", true))
                    .map_err(|e| if was == State::Running { is_stopped(e, ve) } else { e })
            }
            Action::Pause => {
                self.host.cgroups.freeze_unless(id, FREEZE, interrupt::flag())?;
                self.host.note_change(id);
                Ok(outcome("paused", true))
            }
            Action::Unpause => {
                self.host.cgroups.thaw(id)?;
                self.host.note_change(id);
                let told = self.host.catch_up_names(id, "unpause");
                told.iter().for_each(|line| progress.note(line));
                Ok(outcome("unpaused", true))
            }
            Action::Suspend { timeout } => self
                .run::<Suspend>(id, &op::suspend::Params::within(*timeout), progress)
                .map(|()| outcome("suspended", true)),
            Action::Resume => self
                .run::<Resume>(id, &op::VeAlone {}, progress)
                .map(|()| outcome("resumed", true)),
            Action::Destroy { .. } => self.destroy(ve, was, progress),
            Action::Mount => {
                self.run::<Mount>(id, &op::VeAlone {}, progress)?;
                Ok(Outcome {
                    path: Some(self.host.dirs.mount(id)),
                    ..outcome("mounted", true)
                })
            }
            Action::Umount => self
                .run::<Umount>(id, &op::VeAlone {}, progress)
                .map(|()| outcome("unmounted", true)),
            Action::Compact => {
                progress.step("giving back freed blocks");
                let disks = self.host.disks.get(self.host.state(id)?.driver);
                let freed = disks.compact(&self.host.dirs.ve(id))?;
                Ok(outcome(&format!("compacted, {} given back", human(freed)), freed > 0))
            }
        }
    }

    /// What starts a VE, or lets one go on, is refused while its definition says that it is disabled.
    fn refuse_disabled(&self, ve: &Outline, action: &Action) -> Result<()> {
        let starts = match action {
            Action::Start(options) => !options.disabled_too,
            Action::Restart { .. } | Action::Resume => true,
            _ => false,
        };
        if !starts {
            return Ok(());
        }
        // Whatever is wrong with the definition is said by who starts it.
        let effective = self.host.effective(&ve.name, &mut Catalogue::default());
        effective.map_or(Ok(()), |effective| refuse_disabled(&effective))
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
            State::Mounted => self.run::<Umount>(ve.id, &op::VeAlone {}, progress)?,
            State::Stopped | State::Suspended | State::Broken => self.host.clear(ve)?,
        }
        let params = op::destroy::Params { name: ve.name.clone() };
        match self.making_room(|| self.run::<Destroy>(ve.id, &params, progress)) {
            // Not even the journal could be begun. What removing a VE leaves when it is cut short is found without.
            Err(e) if e.class == Class::Limit && self.host.journals.look(ve.id) == Look::Nothing => {
                Destroy::without_journal(&self.host, ve.id, params)?;
            }
            Err(e) if e.class == Class::Interrupted && !matches!(was, State::Stopped | State::Suspended) => {
                return Err(is_stopped(e, ve));
            }
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
                let message = format!("{} runs but has not booted in {} s", ve.name, patience.as_secs());
                Err(Error::new(Class::Failed, message)
                    .detail(Detail::BootsOn)
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
}

/// What ends a VE takes its time, and what it has used is entered at once, should no manager run. What is done to one that
/// runs on is entered with the next.
const fn settles(action: &Action) -> bool {
    matches!(
        action,
        Action::Stop { .. } | Action::Restart { .. } | Action::Suspend { .. } | Action::Destroy { .. }
    )
}

/// An error of the second half of a verb, with what the first half has done: that isn't undone.
fn is_stopped(error: Error, ve: &Outline) -> Error {
    let name = &ve.name;
    error.hint(format!("{name} is stopped now; start it with: hostel start {name}"))
}

pub(super) fn outcome(done: &str, changed: bool) -> Outcome {
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
        Action::Suspend { .. } => "suspend",
        Action::Resume => "resume",
        Action::Destroy { .. } => "destroy",
        Action::Mount => "mount",
        Action::Umount => "umount",
        Action::Compact => "compact",
    }
}
