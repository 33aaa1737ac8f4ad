//! The proofs that every operation must pass, on hosts made of fakes.
//!
//! An operation's tests say how to make a host, what to run, and what is on a host; [`Case::prove`] does the rest.
//! Each proof gives the first case that fails, so that the proofs can be tested themselves.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use hostel_model::id::VeId;

use super::{Operation, Points, Recovered, Runner, Side, Step};
use crate::error::{Class, Error, Result, chain};
use crate::facade::Silent;
use crate::journal::{Found, Journals};

/// What is proved.
pub(crate) struct Case<'a, O: Operation> {
    /// Makes a host as it is before the operation. Each call gives the same.
    pub host: &'a dyn Fn() -> Arc<O::Host>,
    /// The VE.
    pub id: VeId,
    /// What to run.
    pub params: &'a dyn Fn(&O::Host) -> O::Params,
    /// All that is on a host, in a form that says the same of the same (no pids, no times).
    pub inventory: &'a dyn Fn(&O::Host) -> Vec<String>,
    /// For each of the host's fakes: makes the `n`th call to it from now on (from 1) fail; 0: none does. True if the
    /// failure asked for before has not come up ([`hostel_system::disk::FakeDisks::fail_call`]).
    pub fail_calls: &'a [&'a FailCall<O::Host>],
}

/// Makes the nth call to a fake of this host fail.
pub(crate) type FailCall<H> = dyn Fn(&H, usize) -> bool;

type Proof = std::result::Result<(), String>;

/// A place: a step and a side of it.
type Place = (&'static str, Side);

/// Fails and dies at the places told, once each.
#[derive(Default)]
struct Script {
    fail: Mutex<Option<Place>>,
    die: Mutex<Option<Place>>,
    reached: Mutex<Vec<(String, Side)>>,
}

impl Script {
    fn new(fail: Option<Place>, die: Option<Place>) -> Self {
        Self {
            fail: Mutex::new(fail),
            die: Mutex::new(die),
            reached: Mutex::default(),
        }
    }

    /// The places of this operation that it came by so far.
    fn came_by<O: Operation>(&self) -> Vec<Place> {
        let reached = self.reached.lock().unwrap();
        let place = |(name, side): &(String, Side)| Some((O::steps().iter().find(|s| s.name == name)?.name, *side));
        reached.iter().filter_map(place).collect()
    }

    fn is(place: &Mutex<Option<Place>>, step: &str, side: Side) -> bool {
        let mut place = place.lock().unwrap();
        let here = place.is_some_and(|(s, at)| s == step && at == side);
        if here {
            *place = None;
        }
        here
    }
}

/// What a simulated death is thrown with.
struct Died;

impl Points for Script {
    fn reach(&self, _: &str, step: &str, side: Side) -> Result<()> {
        self.reached.lock().unwrap().push((step.to_owned(), side));
        if Self::is(&self.die, step, side) {
            resume_unwind(Box::new(Died)); // without a panic message; nothing on the way catches it
        }
        if Self::is(&self.fail, step, side) {
            return Err(Error::new(Class::Failed, format!("told to fail {side} {step}")));
        }
        Ok(())
    }
}

/// How a run ended.
#[derive(Debug)]
enum Ended<T> {
    Well(T),
    Failed(Error),
    Died,
}

fn mortal<T>(act: impl FnOnce() -> Result<T>) -> Ended<T> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(value)) => Ended::Well(value),
        Ok(Err(error)) => Ended::Failed(error),
        Err(thrown) if (*thrown).is::<Died>() => Ended::Died,
        Err(thrown) => resume_unwind(thrown as Box<dyn Any + Send>),
    }
}

/// A host with a place for journals.
struct Lab<'c, 'a, O: Operation> {
    case: &'c Case<'a, O>,
    host: Arc<O::Host>,
    journals: Journals,
    /// As the journal has them.
    params: String,
    _dir: tempfile::TempDir,
}

impl<O: Operation> Lab<'_, '_, O> {
    fn run(&self, script: &Script) -> Ended<()> {
        let interrupted = AtomicBool::new(false);
        let runner = Runner {
            journals: &self.journals,
            progress: &Silent,
            interrupted: &interrupted,
            points: script,
        };
        mortal(|| runner.run::<O>(&self.host, self.case.id, &self.params()).map(drop))
    }

    /// As the next operation does: looks for a journal, and ends what it tells of.
    fn recover(&self, script: &Script) -> Ended<Option<Recovered>> {
        let interrupted = AtomicBool::new(false);
        let runner = Runner {
            journals: &self.journals,
            progress: &Silent,
            interrupted: &interrupted,
            points: script,
        };
        mortal(|| match self.journals.find(self.case.id)? {
            Found::Nothing => Ok(None),
            Found::Unfinished(unfinished) => runner.recover::<O>(&self.host, unfinished).map(Some),
            Found::Corrupt { why, .. } => Err(Error::new(Class::Failed, why)),
        })
    }

    fn params(&self) -> O::Params {
        serde_json::from_str(&self.params).unwrap()
    }

    /// A context as the next process makes it.
    fn context(&self) -> O {
        O::resume(self.host.clone(), self.case.id, self.params()).unwrap()
    }

    /// Is the operation past the point of no return, when this side of this step was the last that it came to?
    fn committed(&self, step: &Step<O>, side: Side) -> bool {
        let before = |s: &&Step<O>| s.name != step.name;
        let passed = |asks: fn(&O) -> Result<bool>| asks(&self.context()).unwrap();
        O::steps().iter().take_while(before).any(|s| s.point_of_no_return)
            || side == Side::After && step.passed.is_some_and(passed)
    }

    fn inventory(&self) -> Vec<String> {
        (self.case.inventory)(&self.host)
    }

    fn expect(&self, wanted: &[String], when: &str) -> Proof {
        let found = self.inventory();
        if found == wanted {
            return Ok(());
        }
        let only = |a: &[String], b: &[String]| a.iter().filter(|l| !b.contains(l)).cloned().collect::<Vec<_>>();
        let (surplus, missing) = (only(&found, wanted), only(wanted, &found));
        Err(format!("{when}: there is {surplus:#?}\nand missing is {missing:#?}"))
    }

    fn expect_no_journal(&self, when: &str) -> Proof {
        match self.journals.pending() {
            Ok(ids) if ids.is_empty() => Ok(()),
            other => Err(format!("{when}: a journal remains: {other:?}")),
        }
    }
}

impl<'a, O: Operation> Case<'a, O> {
    /// All proofs; panics with the first case that fails.
    pub(crate) fn prove(&self) {
        for proof in [
            Self::steps_can_be_taken_twice,
            Self::failure_leaves_nothing,
            Self::undo_can_be_run_twice,
            Self::any_call_may_fail,
            Self::death_leaves_all_or_nothing,
        ] {
            if let Err(why) = proof(self) {
                panic!("{} of VE {}: {why}", O::VERB, self.id);
            }
        }
    }

    fn lab(&self) -> Lab<'_, 'a, O> {
        let dir = crate::testing::in_memory();
        let journals = Journals::at(&dir.path().join("durable"), &dir.path().join("volatile"), "boot").unwrap();
        let host = (self.host)();
        Lab {
            case: self,
            params: serde_json::to_string(&(self.params)(&host)).unwrap(),
            host,
            journals,
            _dir: dir,
        }
    }

    fn before(&self) -> Vec<String> {
        (self.inventory)(&(self.host)())
    }

    /// What is there when all went well. An operation that changes nothing proves nothing.
    fn after(&self) -> std::result::Result<Vec<String>, String> {
        let lab = self.lab();
        if let Ended::Failed(e) = lab.run(&Script::default()) {
            return Err(format!("it fails by itself: {}", chain(&e)));
        }
        lab.expect_no_journal("when all went well")?;
        let after = lab.inventory();
        if after == self.before() {
            Err("it changes nothing that the inventory shows".into())
        } else {
            Ok(after)
        }
    }

    /// Each step's act run twice gives what it gives once.
    pub(crate) fn steps_can_be_taken_twice(&self) -> Proof {
        let after = self.after()?;
        let lab = self.lab();
        let mut context = lab.context();
        for step in O::steps() {
            for round in ["", "again "] {
                let failed = |e: Error| format!("{} fails {round}when taken twice: {}", step.name, chain(&e));
                (step.act)(&mut context).map_err(failed)?;
            }
        }
        lab.expect(&after, "with each step taken twice")?;
        // What is left after the point of no return: by the next process, which remembers nothing.
        let lab = self.lab();
        let mut first = lab.context();
        for step in O::steps() {
            let failed = |e: Error| format!("{} with a new context: {}", step.name, chain(&e));
            match lab.committed(step, Side::Before) {
                false => (step.act)(&mut first).map_err(failed)?,
                true => {
                    (step.act)(&mut lab.context()).map_err(failed)?;
                    (step.act)(&mut lab.context()).map_err(failed)?;
                }
            }
        }
        drop(first);
        lab.expect(&after, "with each step that is left taken by processes of its own")
    }

    /// A failure at any step leaves nothing, and then the operation still works. Past the point of no return it
    /// leaves all, once it is gone on with.
    pub(crate) fn failure_leaves_nothing(&self) -> Proof {
        let (before, after) = (self.before(), self.after()?);
        for step in O::steps() {
            for side in [Side::Before, Side::After] {
                let when = format!("after a failure {side} {}", step.name);
                let lab = self.lab();
                match lab.run(&Script::new(Some((step.name, side)), None)) {
                    Ended::Failed(e) if e.also.is_empty() => {}
                    other => return Err(format!("{when}: {other:?}")),
                }
                if lab.committed(step, side) {
                    self.goes_on(&lab, &after, &when)?;
                    continue;
                }
                lab.expect(&before, &when)?;
                lab.expect_no_journal(&when)?;
                if let Ended::Failed(e) = lab.run(&Script::default()) {
                    return Err(format!("{when} it can't be run again: {}", chain(&e)));
                }
                lab.expect(&after, &format!("{when}, run again"))?;
            }
        }
        Ok(())
    }

    fn goes_on(&self, lab: &Lab<'_, 'a, O>, after: &[String], when: &str) -> Proof {
        match lab.recover(&Script::default()) {
            Ended::Well(Some(Recovered::RolledForward | Recovered::Finished)) => {}
            other => return Err(format!("{when} it does not go on: {other:?}")),
        }
        lab.expect(after, when)?;
        lab.expect_no_journal(when)
    }

    /// Undoing works twice, and when the act never ran, and by a process that remembers nothing.
    pub(crate) fn undo_can_be_run_twice(&self) -> Proof {
        let before = self.before();
        let gone = O::steps().iter().position(|s| s.point_of_no_return);
        for (last, step) in O::steps()
            .iter()
            .enumerate()
            .filter(|(at, _)| gone.is_none_or(|gone| *at <= gone))
        {
            for acted in [false, true] {
                let lab = self.lab();
                let mut context = lab.context();
                for earlier in &O::steps()[..last] {
                    (earlier.act)(&mut context).map_err(|e| format!("{}: {}", earlier.name, chain(&e)))?;
                }
                if acted {
                    (step.act)(&mut context).map_err(|e| format!("{}: {}", step.name, chain(&e)))?;
                    if lab.committed(step, Side::After) {
                        continue;
                    }
                }
                // Each twice, and then all once more: that a step was undone may not have been written down.
                let undone = || O::steps()[..=last].iter().rev();
                let twice = undone().flat_map(|step| [(step, ""), (step, " again")]);
                for (step, round) in twice.chain(undone().map(|step| (step, " with all others"))) {
                    let mut context = lab.context();
                    let failed = |e: Error| format!("undoing {}{round} fails: {}", step.name, chain(&e));
                    (step.undo)(&mut context).map_err(failed)?;
                }
                let how = if acted { "taken" } else { "not taken" };
                lab.expect(&before, &format!("with every undo run twice, {} {how}", step.name))?;
            }
        }
        Ok(())
    }

    /// Whichever call to the host fails, half way through a step too, all or nothing is left.
    pub(crate) fn any_call_may_fail(&self) -> Proof {
        let (before, after) = (self.before(), self.after()?);
        for (fake, fail_call) in self.fail_calls.iter().enumerate() {
            let mut n = 0;
            loop {
                n += 1;
                let when = format!("after call {n} to fake {fake} failed");
                let lab = self.lab();
                fail_call(&lab.host, n);
                let ended = lab.run(&Script::default());
                if fail_call(&lab.host, 0) {
                    break; // it makes no more calls than these
                }
                match (ended, lab.recover(&Script::default())) {
                    // A failure of no weight.
                    (Ended::Well(()), Ended::Well(None | Some(Recovered::Finished))) => lab.expect(&after, &when)?,
                    (Ended::Failed(_), Ended::Well(None | Some(Recovered::RolledBack))) => {
                        lab.expect(&before, &when)?
                    }
                    (Ended::Failed(_), Ended::Well(Some(_))) => lab.expect(&after, &when)?,
                    other => return Err(format!("{when}: {other:?}")),
                }
                lab.expect_no_journal(&when)?;
            }
        }
        Ok(())
    }

    /// Killed at any place, on the way forward, while undoing, or while recovering from that: recovery leaves all or
    /// nothing, and it is known beforehand which.
    pub(crate) fn death_leaves_all_or_nothing(&self) -> Proof {
        let places = O::steps()
            .iter()
            .flat_map(|s| [(s.name, Side::Before), (s.name, Side::After)]);
        let ends = (self.before(), self.after()?);
        for first in places {
            for second in self.dies(&ends, None, first, None)? {
                self.dies(&ends, None, first, Some(second))?;
            }
            // The same on the way back from a failure.
            let lab = self.lab();
            let script = Script::new(Some(first), None);
            let _ = lab.run(&script);
            for dying in script.came_by::<O>().into_iter().filter(|(_, side)| side.is_undo()) {
                for second in self.dies(&ends, Some(first), dying, None)? {
                    self.dies(&ends, Some(first), dying, Some(second))?;
                }
            }
        }
        Ok(())
    }

    /// Fails at `fail`, dies at `die`, and dies again at `again` while that is recovered from. Gives the places that
    /// the last recovery came by.
    fn dies(
        &self,
        (before, after): &(Vec<String>, Vec<String>),
        fail: Option<Place>,
        die: Place,
        again: Option<Place>,
    ) -> std::result::Result<Vec<Place>, String> {
        let when = format!("failed at {fail:?}, killed at {die:?} and then at {again:?}");
        let lab = self.lab();
        if !matches!(lab.run(&Script::new(fail, Some(die))), Ended::Died) {
            return Err(format!("{when}: it never came to the first"));
        }
        let (last, side) = fail.unwrap_or(die);
        let committed = O::steps().iter().any(|s| s.name == last && lab.committed(s, side));
        if let Some(again) = again
            && !matches!(lab.recover(&Script::new(None, Some(again))), Ended::Died)
        {
            return Err(format!("{when}: it never came to the last"));
        }
        let script = Script::default();
        match lab.recover(&script) {
            Ended::Well(Some(Recovered::RolledBack)) if !committed => lab.expect(before, &when)?,
            Ended::Well(Some(Recovered::RolledForward | Recovered::Finished)) if committed => {
                lab.expect(after, &when)?;
            }
            other => return Err(format!("{when}: {other:?}")),
        }
        lab.expect_no_journal(&when)?;
        Ok(script.came_by::<O>())
    }
}
