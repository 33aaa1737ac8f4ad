//! Suspending a tenant, and ending that.

use hostel_model::state::State;

use super::tenants::{acme, make, start_ve, told, ve};
use super::*;
use crate::facade::VeHandle;
use crate::testing::{again, fakes, host, order};

/// The VEs that ran, and those that run after the end of it.
fn suspend_all(host: &Arc<Host>, reason: Option<&str>) -> Vec<VeHandle> {
    let e = engine(host);
    let ves = e.suspend_tenant(&acme(), reason, &Silent).unwrap();
    for ve in &ves {
        e.halt(&acme(), ve, None, &Silent).unwrap();
    }
    ves
}

fn states(host: &Arc<Host>, ids: &[u32]) -> Vec<State> {
    ids.iter().map(|n| host.reality(id(*n)).unwrap().state).collect()
}

#[test]
fn a_suspended_tenants_ves_stop_and_none_starts() {
    use State::{Paused, Running, Stopped};
    let host = host().file("tenants/acme.toml", "# ours\n").make();
    for name in ["web1", "web2", "web3"] {
        make(&host, name, &[("onboot", "true")]);
    }
    engine(&host)
        .create(&order("other", &[("onboot", "true")]), &Silent)
        .unwrap();
    for n in [101, 102, 104] {
        start_ve(&host, n).unwrap();
    }
    engine(&host).act(id(102), &Action::Pause, &Silent).unwrap();
    assert_eq!(
        states(&host, &[101, 102, 103, 104]),
        [Running, Paused, Stopped, Running]
    );
    assert_eq!(suspend_all(&host, Some("unpaid")).len(), 3);
    assert_eq!(
        states(&host, &[101, 102, 103, 104]),
        [Stopped, Stopped, Stopped, Running]
    );
    // None starts, by whatever way, and the reason is told.
    let error = refused(&host, Class::Refused, "start", |_| start_ve(&host, 103));
    told(&error, "web3 can't start: its tenant \"acme\" is suspended: unpaid");
    told(&error, "hostel tenant unsuspend acme");
    let heard = Heard::default();
    let boot = engine(&host).boot(&heard).unwrap();
    assert_eq!(
        boot.ves().iter().map(|ve| ve.name.as_str()).collect::<Vec<_>>(),
        ["other"]
    );
    let withheld = heard
        .notes()
        .iter()
        .filter(|note| note.contains("isn't started: its tenant"))
        .count();
    assert_eq!(withheld, 3, "{:?}", heard.notes());
    let status = engine(&host).status(&ve("web1")).unwrap();
    assert_eq!(
        (status.state.as_str(), status.problem.as_deref()),
        ("stopped", Some("its tenant \"acme\" is suspended: unpaid"))
    );
    let (tenant, _) = engine(&host).tenant(&acme()).unwrap();
    assert_eq!(
        (tenant.state, tenant.suspended.as_deref()),
        ("suspended", Some("unpaid"))
    );
    // Once more, it is as it was; another reason takes the place of the first.
    suspend_all(&host, None);
    assert_eq!(
        engine(&host).tenant(&acme()).unwrap().0.suspended.as_deref(),
        Some("unpaid")
    );
    suspend_all(&host, Some("abuse"));
    assert_eq!(
        engine(&host).tenant(&acme()).unwrap().0.suspended.as_deref(),
        Some("abuse")
    );
    // It may be changed meanwhile, and made more of.
    make(&host, "web4", &[]);
    // Those start again that ran.
    let release = |start: bool| -> Vec<String> {
        let e = engine(&host);
        let ves = e.unsuspend_tenant(&acme(), &Silent).unwrap();
        ves.iter()
            .map(|ve| format!("{} {}", ve.name, e.release(ve, start, &Silent).unwrap().done))
            .collect()
    };
    assert_eq!(release(true), ["web1 started", "web2 started"]);
    assert_eq!(
        states(&host, &[101, 102, 103, 105]),
        [Running, Running, Stopped, Stopped]
    );
    assert_eq!(release(true), Vec::<String>::new());
    assert_eq!(
        std::fs::read_to_string(host.dirs.tenant_definition(&acme())).unwrap(),
        "# ours\n"
    );
    assert_eq!(engine(&host).status(&ve("web3")).unwrap().problem, None);
    suspend_all(&host, None);
    assert_eq!(release(false), ["web1 stays stopped", "web2 stays stopped"]);
    assert_eq!(release(true), Vec::<String>::new());
}

/// Whoever suspends is killed between two acts; whoever does it again finishes it, and no VE is forgotten.
#[test]
fn what_is_cut_short_is_finished_by_doing_it_again() {
    for cut in 0..4 {
        let host = host().make();
        for name in ["web1", "web2"] {
            make(&host, name, &[]);
        }
        for n in [101, 102] {
            start_ve(&host, n).unwrap();
        }
        let ves = engine(&host).suspend_tenant(&acme(), Some("x"), &Silent).unwrap();
        for ve in ves.iter().take(cut) {
            engine(&host).halt(&acme(), ve, None, &Silent).unwrap();
        }
        // Nothing of it can run any more that doesn't run, however far that came.
        if cut > 0 {
            assert_eq!(start_ve(&host, 101).unwrap_err().class, Class::Refused);
        }
        suspend_all(&host, Some("x"));
        assert_eq!(states(&host, &[101, 102]), [State::Stopped, State::Stopped]);
        // Its end is cut short too.
        let ves = engine(&host).unsuspend_tenant(&acme(), &Silent).unwrap();
        assert_eq!(ves.len(), 2);
        for ve in ves.iter().take(cut) {
            engine(&host).release(ve, true, &Silent).unwrap();
        }
        for ve in engine(&host).unsuspend_tenant(&acme(), &Silent).unwrap() {
            engine(&host).release(&ve, true, &Silent).unwrap();
        }
        assert_eq!(states(&host, &[101, 102]), [State::Running, State::Running]);
    }
}

/// A start that was judged before the word was written holds its VE's lock, and is waited for.
#[test]
fn a_start_that_races_is_refused_or_stopped() {
    for _ in 0..10 {
        let host = host().make();
        make(&host, "web1", &[]);
        let other = again(&host);
        std::thread::scope(|scope| {
            let starting = scope.spawn(move || start_ve(&other, 101));
            suspend_all(&host, Some("x"));
            let started = starting.join().unwrap();
            assert!(started.is_ok() || started.unwrap_err().class == Class::Refused);
        });
        assert_eq!(states(&host, &[101]), [State::Stopped]);
    }
}

/// A guest that reboots between the word and its turn to be stopped ran, and runs again when it may.
#[test]
fn a_reboot_that_is_refused_is_remembered() {
    let host = host().make();
    make(&host, "web1", &[]);
    start_ve(&host, 101).unwrap();
    engine(&host).suspend_tenant(&acme(), Some("x"), &Silent).unwrap();
    fakes(&host).guests.halt(101);
    let error = engine(&host).settle(id(101), "reboot", &Silent).unwrap_err();
    told(&error, "its tenant \"acme\" is suspended");
    assert_eq!(states(&host, &[101]), [State::Stopped]);
    suspend_all(&host, None);
    let ves = engine(&host).unsuspend_tenant(&acme(), &Silent).unwrap();
    assert_eq!(ves.len(), 1);
    engine(&host).release(&ves[0], true, &Silent).unwrap();
    assert_eq!(states(&host, &[101]), [State::Running]);
}

/// Given to another tenant by a line in its definition, it is still this one's for as long as it runs.
#[test]
fn a_line_in_a_definition_saves_no_ve_from_suspension() {
    let host = host().file("tenants/globex.toml", "").make();
    make(&host, "web1", &[]);
    start_ve(&host, 101).unwrap();
    edit_by_hand(&host, &definition(&host).replace("\"acme\"", "\"globex\""));
    assert_eq!(suspend_all(&host, None).len(), 1);
    assert_eq!(states(&host, &[101]), [State::Stopped]);
    told(&start_ve(&host, 101).unwrap_err(), "hostel set web1 tenant=globex");
}

/// Suspended again while the end of the first time is still at work: what that has noted stays.
#[test]
fn the_end_of_a_suspension_forgets_nothing_of_the_next() {
    let host = host().make();
    make(&host, "web1", &[]);
    start_ve(&host, 101).unwrap();
    suspend_all(&host, None);
    let ves = engine(&host).unsuspend_tenant(&acme(), &Silent).unwrap();
    start_ve(&host, 101).unwrap();
    let again = engine(&host).suspend_tenant(&acme(), None, &Silent).unwrap();
    let noted = host.dirs.ve(id(101)).join("halted");
    std::fs::write(&noted, "acme").unwrap();
    engine(&host).release(&ves[0], true, &Silent).unwrap();
    assert!(noted.exists());
    engine(&host).halt(&acme(), &again[0], None, &Silent).unwrap();
    assert_eq!(engine(&host).unsuspend_tenant(&acme(), &Silent).unwrap(), ves);
    // One that runs already isn't to be started by the next one.
    start_ve(&host, 101).unwrap();
    std::fs::write(&noted, "acme").unwrap();
    assert!(!engine(&host).release(&ves[0], true, &Silent).unwrap().changed);
    assert!(!noted.exists());
}
