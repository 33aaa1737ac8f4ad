//! What remains of a suspend or resume when the host loses its power at any place of it: the VE goes on from its dump, or
//! there is none; it never goes on from one after which it has run.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hostel_model::request::{Action, StartOptions};
use hostel_model::state::State;

use super::resume::Resume;
use super::suspend::Suspend;
use crate::error::Result;
use crate::facade::Silent;
use crate::host::Host;
use crate::step::{Operation, Points, Runner, Side};
use crate::testing::{again, engine, fakes, host, id, started, with_ve};

/// Ends the process when it comes by.
struct DiesAt(&'static str, Side);

/// What such an end is thrown with.
struct Died;

impl Points for DiesAt {
    fn reach(&self, _: &str, step: &str, side: Side) -> Result<()> {
        if step == self.0 && side == self.1 {
            resume_unwind(Box::new(Died)); // without a message
        }
        Ok(())
    }
}

/// The host as it comes up again after its power has gone at this side of this step.
fn loses_power<O: Operation<Host = Host>>(
    host: &Arc<Host>,
    params: &O::Params,
    step: &'static str,
    side: Side,
) -> Arc<Host> {
    let runner = Runner {
        journals: &host.journals,
        progress: &Silent,
        interrupted: &AtomicBool::new(false),
        points: &DiesAt(step, side),
    };
    let ran = catch_unwind(AssertUnwindSafe(|| runner.run::<O>(host, id(101), params).map(drop)));
    assert!(ran.is_err_and(|thrown| thrown.is::<Died>()), "{step} {side}");
    fakes(host).guests.halt(101);
    host.clear(&host.outline(id(101)).unwrap()).unwrap();
    std::fs::remove_dir_all(host.dirs.runs()).unwrap();
    std::fs::create_dir(host.dirs.runs()).unwrap();
    again(host)
}

/// What it is found to be by the next command.
fn state(host: &Arc<Host>) -> State {
    let stop = Action::Stop { timeout: None };
    engine(host).act(id(101), &stop, &Silent).unwrap();
    for stale in [host.dirs.dump_staging(id(101)), host.dirs.dump_resumed(id(101))] {
        assert!(!stale.exists(), "{}", stale.display());
    }
    assert_eq!(host.dirs.dump(id(101)).exists(), host.is_suspended(id(101)));
    host.reality(id(101)).unwrap().state
}

fn running() -> Arc<Host> {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    host
}

fn suspended() -> Arc<Host> {
    let host = running();
    engine(&host)
        .act(id(101), &Action::Suspend { timeout: None }, &Silent)
        .unwrap();
    host
}

/// The sides of the steps in order.
fn places<O: Operation>() -> Vec<(&'static str, Side)> {
    let both = |name| [(name, Side::Before), (name, Side::After)];
    O::steps().iter().flat_map(|step| both(step.name)).collect()
}

#[test]
fn a_suspend_keeps_its_dump_from_the_moment_it_has_its_name() {
    let mut kept = false;
    for (step, side) in places::<Suspend>() {
        kept |= (step, side) == ("keep", Side::After);
        let host = loses_power::<Suspend>(&running(), &super::suspend::Params::default(), step, side);
        let wanted = if kept { State::Suspended } else { State::Stopped };
        assert_eq!(state(&host), wanted, "{step} {side}");
        let start = Action::Start(StartOptions::default());
        let done = engine(&host).act(id(101), &start, &Silent).unwrap().done;
        assert_eq!(done, if kept { "resumed" } else { "started" }, "{step} {side}");
    }
    assert!(kept);
}

#[test]
fn a_resume_keeps_its_dump_until_anything_may_run() {
    let mut gone = false;
    for (step, side) in places::<Resume>() {
        gone |= (step, side) == ("go", Side::After);
        let host = loses_power::<Resume>(&suspended(), &super::VeAlone {}, step, side);
        let wanted = if gone { State::Stopped } else { State::Suspended };
        assert_eq!(state(&host), wanted, "{step} {side}");
    }
    assert!(gone);
}

/// Nothing of it stays, and nothing is in the way of the next.
#[test]
fn a_suspend_whose_time_is_over_is_undone() {
    let host = running();
    let timeout = Some(std::time::Duration::ZERO);
    let e = engine(&host)
        .act(id(101), &Action::Suspend { timeout }, &Silent)
        .unwrap_err();
    assert!(e.message.contains("its time was over"), "{}", e.message);
    assert_eq!(host.reality(id(101)).unwrap().state, State::Running);
    assert!(!host.dirs.dump_staging(id(101)).exists());
    let timeout = Some(std::time::Duration::MAX);
    engine(&host)
        .act(id(101), &Action::Suspend { timeout }, &Silent)
        .unwrap();
    assert_eq!(state(&host), State::Suspended);
}

/// What the suspend has frozen is thawed when it runs on, and what the resume has frozen when it goes on.
#[test]
fn nothing_stays_frozen() {
    let frozen = |host: &Host| fakes(host).cgroups.ve(id(101)).is_some_and(|group| group.frozen);
    let host = running();
    fakes(&host).criu.fail_method(Some("leave"));
    engine(&host)
        .act(id(101), &Action::Suspend { timeout: None }, &Silent)
        .unwrap_err();
    assert_eq!(
        (host.reality(id(101)).unwrap().state, frozen(&host)),
        (State::Running, false)
    );
    fakes(&host).criu.fail_method(None);
    engine(&host)
        .act(id(101), &Action::Suspend { timeout: None }, &Silent)
        .unwrap();
    engine(&host).act(id(101), &Action::Resume, &Silent).unwrap();
    assert_eq!(
        (host.reality(id(101)).unwrap().state, frozen(&host)),
        (State::Running, false)
    );
}

#[test]
fn what_may_have_run_is_never_gone_on_from_again() {
    let host = suspended();
    fakes(&host).guests.tear();
    let error = engine(&host).act(id(101), &Action::Resume, &Silent).unwrap_err();
    assert!(
        error.hints.iter().any(|h| h.contains("may have run for a moment")),
        "{error:?}"
    );
    assert_eq!(state(&host), State::Stopped);
    started(&host);
}
