//! What a start can't write into a VE is told, and tried again until it is done.

use hostel_system::process::Op;

use super::*;
use crate::op::VeAlone;
use crate::op::proofs::prove;
use crate::op::start::Start;
use crate::testing::{fakes, host, with_ve};

const OLD: &str = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7";
const NEW: &str = "$y$j9T$AAAAAAAxrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7";
const SHADOW: &str = "/etc/shadow";
const HOST_KEYS: &str = "/etc/ssh";
const MACHINE_ID: &str = "/etc/machine-id";

/// Stops web1 if it runs, and starts it; what was told.
fn again(host: &Arc<Host>) -> Vec<String> {
    act(host, &Action::Kill).unwrap();
    started_with(host)
}

fn started_with(host: &Arc<Host>) -> Vec<String> {
    let heard = Heard::default();
    engine(host).act(id(101), &start(), &heard).unwrap();
    // Not of what the host's first start turns on.
    heard
        .notes()
        .into_iter()
        .filter(|note| note.contains("inside"))
        .collect()
}

fn set_password(host: &Arc<Host>, hash: &str) {
    let settings = [("guest.password_hash".to_owned(), hash.to_owned())];
    engine(host).set(&web1(), &settings, false, &Silent).unwrap();
}

/// The password that the last start had orders to set.
fn ordered(host: &Arc<Host>) -> Option<String> {
    let ops = fakes(host).guests.files(101);
    ops.into_iter().find_map(|op| match op {
        Op::Password { hash, .. } => Some(hash),
        _ => None,
    })
}

fn touches(host: &Arc<Host>, path: &str) -> bool {
    fakes(host).guests.files(101).iter().any(|op| op.path() == path)
}

fn fix(host: &Arc<Host>, paths: &[&str]) {
    fakes(host).guests.fix(paths);
}

#[test]
fn a_password_that_could_not_be_set_is_told_and_set_later() {
    let host = host().make();
    with_ve(&host, &[("guest.password_hash", OLD)]);
    assert_eq!(started_with(&host), [""; 0]);
    assert_eq!(ordered(&host).as_deref(), Some(OLD));
    set_password(&host, NEW);
    fix(&host, &[SHADOW, "/etc/hosts", "/etc/hostname", "/etc/nothing"]);
    for _ in 0..2 {
        let told = again(&host);
        assert_eq!(
            told,
            [
                "guest.password_hash is not set inside: /etc/shadow: No space left on device; the next start tries again",
                "not changed inside: /etc/hostname, /etc/hosts: No space left on device; the next start tries again",
            ]
        );
        assert_eq!(ordered(&host).as_deref(), Some(NEW));
        let state = host.state(id(101)).unwrap();
        assert_eq!(state.password.as_deref(), Some(OLD));
        assert!(state.waiting.contains("guest.password_hash"), "{state:?}");
    }
    fix(&host, &[]);
    assert_eq!(again(&host), [""; 0]);
    assert!(host.state(id(101)).unwrap().waiting.is_empty());
    assert_eq!(ordered(&host).as_deref(), Some(NEW));
    // Once it is, it is the guest's own to change.
    again(&host);
    assert_eq!(ordered(&host), None);
    // What isn't to be set is no news.
    fix(&host, &[SHADOW]);
    assert_eq!(again(&host), [""; 0]);
}

#[test]
fn what_is_left_of_the_template_goes_later_and_nothing_else_with_it() {
    let host = host().make();
    with_ve(&host, &[]);
    fix(&host, &[HOST_KEYS]);
    for (n, hindered) in [true, true, false, false].into_iter().enumerate() {
        if !hindered {
            fix(&host, &[]);
        }
        let told = if n == 0 { started_with(&host) } else { again(&host) };
        assert_eq!(told.len(), usize::from(hindered), "{n}: {told:?}");
        assert_eq!(touches(&host, HOST_KEYS), n < 3, "{n}");
        // It has one of its own by then.
        assert_eq!(touches(&host, MACHINE_ID), n == 0, "{n}");
        let state = host.state(id(101)).unwrap();
        assert!(state.settled_in);
        assert_eq!(state.overdue.contains(HOST_KEYS), hindered, "{n}: {state:?}");
    }
}

/// A hash that a person writes into the definition while the VE starts was not in its orders.
#[test]
fn a_password_that_comes_too_late_is_not_taken_for_set() {
    let host = host().make();
    with_ve(&host, &[("guest.password_hash", OLD)]);
    let late = || edit_by_hand(&host, &definition(&host).replace(OLD, NEW));
    engine(&host).act(id(101), &start(), &At("finishing", &late)).unwrap();
    assert_eq!(host.state(id(101)).unwrap().password.as_deref(), Some(OLD));
    again(&host);
    assert_eq!(ordered(&host).as_deref(), Some(NEW));
    // And with a record that was lost it isn't known: it is set once more.
    set_password(&host, OLD);
    let lose = || crate::ve::record::RunRecord::remove(&host.dirs.run(id(101))).unwrap();
    act(&host, &Action::Kill).unwrap();
    engine(&host).act(id(101), &start(), &At("finishing", &lose)).unwrap();
    assert_eq!(host.state(id(101)).unwrap().password.as_deref(), Some(NEW));
}

/// Whichever process finishes the start.
#[test]
fn it_is_known_after_a_death_at_any_step() {
    let hindered = || {
        let host = host().make();
        with_ve(&host, &[("guest.password_hash", OLD)]);
        host.reserve.refill();
        fix(&host, &[SHADOW, HOST_KEYS]);
        host
    };
    prove::<Start>(hindered, |_| VeAlone {});
}
