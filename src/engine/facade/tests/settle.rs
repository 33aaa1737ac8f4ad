//! What becomes of a VE that ended by itself.

use super::*;
use crate::testing::{again, fakes, host, started, with_ve};

/// A VE that was started a while ago and whose guest has just ended.
fn ended() -> Arc<Host> {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    fakes(&host).guests.halt(101);
    host
}

fn stopped() -> Vec<String> {
    let host = ended();
    act(&host, &Action::Stop { timeout: None }).unwrap();
    inventory(&host)
}

#[test]
fn a_reboot_starts_it_again_and_a_halt_does_not() {
    let host = ended();
    engine(&host).settle(id(101), "reboot", &Silent).unwrap();
    assert!(fakes(&host).guests.init(101).is_some());
    for reason in ["halt", "killed", "unknown", ""] {
        let host = ended();
        engine(&host).settle(id(101), reason, &Silent).unwrap();
        assert_eq!(inventory(&host), stopped(), "{reason}");
    }
}

/// The guest asked for a reboot, but a person's stop came first: it stays stopped.
#[test]
fn who_cleared_up_before_has_the_last_word() {
    let host = ended();
    act(&host, &Action::Stop { timeout: None }).unwrap();
    engine(&again(&host)).settle(id(101), "reboot", &Silent).unwrap();
    assert_eq!(inventory(&host), stopped());
    // Or a start.
    let host = ended();
    started(&host);
    let (init, before) = (fakes(&host).guests.init(101), inventory(&host));
    engine(&again(&host)).settle(id(101), "reboot", &Silent).unwrap();
    assert_eq!((fakes(&host).guests.init(101), inventory(&host)), (init, before));
    // Or a destroy.
    let host = ended();
    act(&host, &Action::Destroy { force: true }).unwrap();
    let before = inventory(&host);
    engine(&again(&host)).settle(id(101), "reboot", &Silent).unwrap();
    assert_eq!(inventory(&host), before);
    assert!(!host.dirs.locks().join("101.lock").exists(), "a lock of nobody is left");
}

/// A reboot into a definition that may not be leaves it stopped and clean.
#[test]
fn a_reboot_is_a_start_and_judged_as_one() {
    let host = ended();
    edit_by_hand(&host, &format!("{}\n[features]\nnesting = true\n", definition(&host)));
    let error = engine(&host).settle(id(101), "reboot", &Silent).unwrap_err();
    assert_eq!(error.class, Class::Limit);
    let f = fakes(&host);
    assert!(f.guests.inventory().is_empty() && f.cgroups.inventory().is_empty() && f.network.links().is_empty());
}

/// It loses its monitor, gets a new one from the very command that is to end it, and asks for a reboot right then: the
/// command has the last word all the same.
#[test]
fn an_end_in_the_midst_of_a_stop_is_cleared_up_by_the_stop() {
    for action in [Action::Stop { timeout: None }, Action::Kill] {
        let host = host().make();
        with_ve(&host, &[]);
        started(&host);
        fakes(&host).guests.lose_monitor(101);
        fakes(&host).guests.end_when_adopted();
        act(&again(&host), &action).unwrap();
        engine(&again(&host)).settle(id(101), "reboot", &Silent).unwrap();
        assert_eq!(inventory(&host), stopped(), "{action:?}");
    }
}

/// It asks for a reboot in the moment when it is to be killed, and its monitor has seen that first.
#[test]
fn a_kill_that_its_monitor_has_not_heard_of_clears_up_itself() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    fakes(&host).guests.hear_nothing();
    act(&host, &Action::Kill).unwrap();
    engine(&again(&host)).settle(id(101), "reboot", &Silent).unwrap();
    assert_eq!(inventory(&host), stopped());
}
