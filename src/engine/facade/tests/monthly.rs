//! A tenant's budget for traffic: it is used up by what passes, and judged when a VE is to start.

use hostel_model::traffic::Direction;

use super::tenants::{acme, make, start_ve, told, ve};
use super::*;
use crate::testing::{fakes, host, id, order};

const STOP: Action = Action::Stop { timeout: None };
const DAY: u64 = 86_400;

fn passes(host: &Arc<Host>, interface: &str, class: &str, bytes: u64) {
    fakes(host).counters.pass(interface, class, Direction::Out, bytes);
}

fn used(host: &Arc<Host>) -> (Option<u64>, Option<u64>) {
    let traffic = engine(host).tenant(&acme()).unwrap().0.traffic.unwrap();
    (traffic.used, traffic.limit)
}

fn two() -> Arc<Host> {
    let host = host().file("tenants/acme.toml", "[traffic]\nmonth = \"4KiB\"\n").make();
    make(&host, "web1", &[]);
    make(&host, "web2", &[]);
    start_ve(&host, 101).unwrap();
    host
}

#[test]
fn what_is_used_up_is_there_again_in_the_next_month() {
    let host = two();
    passes(&host, "hv101.0", "external", 3 << 10);
    // No manager runs, and it has not ended: that is known all the same.
    start_ve(&host, 102).unwrap();
    passes(&host, "hv102.0", "external", 1 << 10);
    engine(&host).act(id(102), &STOP, &Silent).unwrap();
    fakes(&host).time.pass(3);
    let used_up = "of the 4KiB of traffic that tenant \"acme\" may have in ";
    let by = "4 KiB are used: web1 has had 3 KiB, web2 has had 1 KiB; wait for ";
    let error = start_ve(&host, 102).unwrap_err();
    assert_eq!(error.class, Class::Limit);
    told(&error, used_up);
    told(&error, by);
    // What runs goes on, and can't start again either; and what is no more has had it all the same.
    engine(&host)
        .act(id(101), &Action::Destroy { force: true }, &Silent)
        .unwrap();
    told(&start_ve(&host, 102).unwrap_err(), by);
    assert_eq!(used(&host), (Some(4 << 10), Some(4 << 10)));
    fakes(&host).time.pass(31 * DAY);
    start_ve(&host, 102).unwrap();
    assert_eq!(used(&host), (Some(0), Some(4 << 10)));
}

#[test]
fn a_budget_that_is_passed_already_is_told_of() {
    let host = two();
    passes(&host, "hv101.0", "external", 9 << 10);
    assert_eq!(used(&host), (Some(9 << 10), Some(4 << 10)));
    let heard = Heard::default();
    let settings = [("traffic.month".to_owned(), "5KiB".to_owned())];
    engine(&host).set_tenant(&acme(), &settings, false, &heard).unwrap();
    let notes = heard.notes();
    assert!(
        notes.iter().any(|n| n.starts_with("none of its VEs can start: ")),
        "{notes:?}"
    );
    let why = engine(&host).why(&ve("web2")).unwrap();
    assert!(format!("{:?}", why.causes).contains("web1 has had 9 KiB"), "{why:?}");
}

#[test]
fn only_what_passed_while_it_was_the_tenants_counts_and_no_class_of_the_hosts() {
    let host = two();
    passes(&host, "hv101.0", "internal", 9 << 10);
    start_ve(&host, 102).unwrap();
    assert_eq!(used(&host).0, Some(0));
    engine(&host)
        .create(&order("other", &[("id", "104"), ("tenant", "default")]), &Silent)
        .unwrap();
    start_ve(&host, 104).unwrap();
    passes(&host, "hv104.0", "external", 9 << 10);
    engine(&host).act(id(104), &STOP, &Silent).unwrap();
    let settings = [("tenant".to_owned(), "acme".to_owned())];
    engine(&host).set(&ve("other"), &settings, false, &Silent).unwrap();
    start_ve(&host, 104).unwrap();
    assert_eq!(used(&host).0, Some(0));
    passes(&host, "hv104.0", "external", 5);
    assert_eq!(used(&host).0, Some(5));
}

#[test]
fn a_ledger_that_can_not_be_read_keeps_nothing_from_starting() {
    let host = two();
    passes(&host, "hv101.0", "external", 9 << 10);
    std::fs::write(host.dirs.ledger(), "broken").unwrap();
    let heard = Heard::default();
    engine(&host).act(id(102), &start(), &heard).unwrap();
    let notes = heard.notes();
    assert!(
        notes
            .iter()
            .any(|n| n.starts_with("what traffic its tenant \"acme\" has had")),
        "{notes:?}"
    );
    assert_eq!(used(&host), (None, Some(4 << 10)));
}

/// What can't be entered now, on a full disk say, changes nothing about what is known.
#[test]
fn a_ledger_that_can_not_be_written_judges_by_what_it_has() {
    let host = two();
    passes(&host, "hv101.0", "external", 9 << 10);
    assert_eq!(used(&host).0, Some(9 << 10));
    let _writes = host.lock_ledger("test").unwrap();
    told(&start_ve(&host, 102).unwrap_err(), "web1 has had 9 KiB");
}

/// Of many that start at once, not each looks at all the others: what is known may be two seconds old.
#[test]
fn what_was_looked_at_just_before_is_not_looked_at_again() {
    let host = two();
    start_ve(&host, 102).unwrap();
    engine(&host).act(id(102), &STOP, &Silent).unwrap();
    passes(&host, "hv101.0", "external", 9 << 10);
    start_ve(&host, 102).unwrap();
    engine(&host).act(id(102), &STOP, &Silent).unwrap();
    fakes(&host).time.pass(3);
    told(&start_ve(&host, 102).unwrap_err(), "web1 has had 9 KiB");
    // Who asks is told what is so now.
    passes(&host, "hv101.0", "external", 1 << 10);
    assert_eq!(used(&host).0, Some(10 << 10));
}

#[test]
fn what_may_not_start_again_is_not_stopped_for_it() {
    let host = two();
    passes(&host, "hv101.0", "external", 9 << 10);
    fakes(&host).time.pass(3);
    let restart = Action::Restart {
        timeout: None,
        start: StartOptions::default(),
    };
    let error = engine(&host).act(id(101), &restart, &Silent).unwrap_err();
    told(&error, "web1 has had 9 KiB");
    assert!(host.cgroups.exists(id(101)), "it runs on");
}
