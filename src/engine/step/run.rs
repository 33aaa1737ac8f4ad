//! Runs an operation's steps, undoes them when one fails, and ends what a killed process began.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hostel_model::id::VeId;

use super::{Operation, Points, Side, Step};
use crate::error::{Class, Error, Result, chain};
use crate::facade::Progress;
use crate::journal::{Journal, Journals, Unfinished};

/// What an operation runs with.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// Where it keeps its journal.
    pub journals: &'a Journals,
    /// Whom it tells.
    pub progress: &'a dyn Progress,
    /// Set by Ctrl-C; looked at between steps.
    pub interrupted: &'a AtomicBool,
    /// Where tests make it fail.
    pub points: &'a dyn Points,
}

impl fmt::Debug for Runner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("journals", &self.journals)
            .finish_non_exhaustive()
    }
}

/// How an unfinished operation was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// All its steps had been taken.
    Finished,
    /// What it had done was undone.
    RolledBack,
    /// It was past the point of no return; the steps that were left have been taken.
    RolledForward,
}

/// An operation under way.
struct Run<'r, 'a, O: Operation> {
    runner: &'r Runner<'a>,
    id: VeId,
    context: O,
    journal: Journal,
}

impl Runner<'_> {
    /// Runs an operation. The VE's lock must be held, and nothing be unfinished. The context comes back for what it
    /// has learned.
    pub fn run<O: Operation>(&self, host: &Arc<O::Host>, id: VeId, params: &O::Params) -> Result<O> {
        let bad = |e| Error::new(Class::Failed, format!("cannot journal the {} of VE {id}", O::VERB)).because(e);
        let json = serde_json::to_value(params).map_err(bad)?;
        // Made from what the journal will hold, so that here and after a crash it is the same.
        let context = O::resume(host.clone(), id, serde_json::from_value(json.clone()).map_err(bad)?)?;
        let journal = self.journals.begin(O::HOME, O::VERB, id, json)?;
        let mut run = Run {
            runner: self,
            id,
            context,
            journal,
        };
        let mut begun = 0;
        match run.forward(&mut begun, |_| false) {
            Ok(()) => {
                let Run { context, journal, .. } = run;
                // All is done; a journal that stays says so to the next operation.
                if let Err(e) = journal.end() {
                    self.progress.note(&chain(&e));
                }
                Ok(context)
            }
            Err(Stop {
                error,
                committed: true,
                at,
            }) => Err(run.remains(error, at)),
            Err(Stop {
                error,
                committed: false,
                ..
            }) => Err(run.back(error, &O::steps()[..begun])),
        }
    }

    /// Ends an unfinished operation of this type ([`Operation::VERB`] is `unfinished.begin.verb`). The VE's lock must
    /// be held. On an error the journal stays, and the next operation on the VE tries again.
    pub fn recover<O: Operation>(&self, host: &Arc<O::Host>, unfinished: Unfinished) -> Result<Recovered> {
        let Unfinished {
            begin,
            steps: marks,
            undoing,
            journal,
        } = unfinished;
        let id = begin.id;
        let fail = |why: String| {
            Error::new(
                Class::Failed,
                format!("cannot end the unfinished {} of VE {id}", begin.verb),
            )
            .because(why)
            .hint(format!("its journal is {}", journal.path().display()))
        };
        if begin.verb != O::VERB {
            return Err(fail(format!("it is no {}", O::VERB)));
        }
        let steps = O::steps();
        if let Some(unknown) = marks.keys().find(|name| steps.iter().all(|s| s.name != *name)) {
            return Err(fail(format!("this version knows no step \"{unknown}\"")));
        }
        let params = serde_json::from_value(begin.params.clone()).map_err(|e| fail(e.to_string()))?;
        let context = O::resume(host.clone(), id, params)?;
        let done = |s: &Step<O>| marks.get(s.name).is_some_and(|m| m.done);
        let run = Run {
            runner: self,
            id,
            context,
            journal,
        };
        if !undoing && steps.iter().all(done) {
            run.journal.end()?;
            return Ok(Recovered::Finished);
        }
        let passed = match steps
            .iter()
            .find(|s| s.passed.is_some() && marks.contains_key(s.name) && !done(s))
        {
            Some(step) if !undoing => run.has_passed(step)?.then_some(step.name),
            _ => None,
        };
        if !undoing && (passed.is_some() || steps.iter().any(|s| s.point_of_no_return && done(s))) {
            return run.finish(passed, done);
        }
        run.give_up(steps.iter().filter(|s| marks.get(s.name).is_some_and(|m| !m.undone)))
    }
}

/// Why and where the way forward ended.
struct Stop {
    error: Error,
    committed: bool,
    /// The index of the step that was not taken.
    at: usize,
}

impl<O: Operation> Run<'_, '_, O> {
    /// Goes on with one that was cut short. `passed`: the step that was begun and has done what can't be taken back.
    fn finish(mut self, passed: Option<&'static str>, done: impl Fn(&Step<O>) -> bool) -> Result<Recovered> {
        let (verb, id) = (O::VERB, self.id);
        let note = format!("finishing the {verb} of VE {id} that was cut short");
        self.runner.progress.note(&note);
        if let Some(name) = passed {
            self.journal.done(name, true)?;
        }
        match self.forward(&mut 0, |s| done(s) || passed == Some(s.name)) {
            Ok(()) => self.journal.end().map(|()| Recovered::RolledForward),
            Err(stop) => Err(self.remains(stop.error, stop.at)),
        }
    }

    /// Undoes what was begun of one that was cut short.
    fn give_up<'s>(mut self, begun: impl DoubleEndedIterator<Item = &'s Step<O>>) -> Result<Recovered> {
        let (verb, id) = (O::VERB, self.id);
        self.runner
            .progress
            .note(&format!("undoing the {verb} of VE {id} that was cut short"));
        let failures = self.undo(begun);
        if failures.is_empty() {
            self.journal.end()?;
            return Ok(Recovered::RolledBack);
        }
        let message = format!("cannot undo the {verb} of VE {id} that was cut short");
        let mut error = Error::new(Class::Failed, message).hint(format!("the next operation on VE {id} tries again"));
        error.also = failures;
        Err(error)
    }

    /// Takes the steps that `skip` doesn't name. `begun` counts those that the journal knows of.
    fn forward(&mut self, begun: &mut usize, skip: impl Fn(&Step<O>) -> bool) -> std::result::Result<(), Stop> {
        let mut committed = O::steps().iter().any(|s| s.point_of_no_return && skip(s));
        for (at, step) in O::steps().iter().enumerate().filter(|(_, s)| !skip(s)) {
            if !committed && self.runner.interrupted.load(Ordering::Relaxed) {
                let error = Error::new(
                    Class::Interrupted,
                    format!("the {} of VE {} was interrupted", O::VERB, self.id),
                );
                return Err(Stop { error, committed, at });
            }
            self.runner.progress.step(step.says);
            // Counted before the line is written: a write that fails may have reached the disk all the same.
            *begun = at + 1;
            if let Err(error) = self.take(step) {
                // If the host can't be asked, it is left to the next operation to ask again.
                let committed = committed || self.has_passed(step).unwrap_or(true);
                return Err(Stop { error, committed, at });
            }
            committed |= step.point_of_no_return;
        }
        Ok(())
    }

    /// Has what this step does, and nothing can take back, happened?
    fn has_passed(&self, step: &Step<O>) -> Result<bool> {
        step.passed.map_or(Ok(false), |asks| asks(&self.context))
    }

    fn take(&mut self, step: &Step<O>) -> Result<()> {
        self.journal.step(step.name)?;
        self.runner.points.reach(O::VERB, step.name, Side::Before)?;
        let acted = (step.act)(&mut self.context);
        for note in self.context.notes() {
            self.runner.progress.note(&note);
        }
        acted?;
        self.runner.points.reach(O::VERB, step.name, Side::After)?;
        self.journal.done(step.name, step.point_of_no_return)
    }

    /// Undoes what was begun, all of it whatever fails, and adds the failures to `error`.
    fn back(mut self, mut error: Error, begun: &[Step<O>]) -> Error {
        let failures = self.undo(begun.iter());
        if failures.is_empty() {
            if error.class == Class::Interrupted {
                error.message.push_str(", and is undone");
            }
            if let Err(e) = self.journal.end() {
                error.also.push(chain(&e));
            }
        } else {
            error.also.extend(failures);
            error.hints.push(format!(
                "not all could be undone; the next operation on VE {} tries again",
                self.id
            ));
        }
        error
    }

    fn undo<'s>(&mut self, begun: impl DoubleEndedIterator<Item = &'s Step<O>>) -> Vec<String> {
        let mut failures = Vec::new();
        for step in begun.rev() {
            if let Err(e) = self.undo_one(step) {
                failures.push(format!("undoing {}: {}", step.name, chain(&e)));
            }
        }
        failures
    }

    fn undo_one(&mut self, step: &Step<O>) -> Result<()> {
        // A journal that can't be written (a full disk) must not keep us from undoing: that is what makes room. The
        // step stays marked as begun then, and being undone twice does it no harm.
        let _ = self.journal.undoing(step.name);
        self.runner.points.reach(O::VERB, step.name, Side::UndoBefore)?;
        (step.undo)(&mut self.context)?;
        self.runner.points.reach(O::VERB, step.name, Side::UndoAfter)?;
        let _ = self.journal.undone(step.name);
        Ok(())
    }

    /// The error of an operation that can't be undone any more.
    fn remains(self, mut error: Error, at: usize) -> Error {
        let left: Vec<_> = O::steps()[at..].iter().map(|s| s.says).collect();
        let (verb, id) = (O::VERB, self.id);
        error.hints.push(format!(
            "the {verb} of VE {id} can't be undone any more; what remains: {}",
            left.join(", ")
        ));
        error.hints.push(format!(
            "mend the cause, then give any command for VE {id}: it goes on with the {verb} first"
        ));
        error
    }
}
