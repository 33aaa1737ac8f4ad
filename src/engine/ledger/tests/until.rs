//! A report says up to when it is complete, and whoever hears of nothing for long is told so.

use std::sync::Arc;

use super::life::{ALWAYS, STOP, act, pass, running, sample};
use super::power::{lose_power, manager_lock};
use crate::facade::tests::Heard;
use crate::facade::{Books, By, Report, Silent, Whose, Window};
use crate::host::Host;
use crate::testing::engine;

const SECOND: i64 = 1_000_000_000;

fn report(host: &Arc<Host>, window: Window) -> (Report, Vec<String>) {
    let heard = Heard::default();
    let said = engine(host).report(&Books::Own, window, &Whose::All, By::Ve, &heard);
    (said.unwrap(), heard.notes())
}

fn now(host: &Host) -> i64 {
    host.moment().wall_ns
}

#[test]
fn where_no_manager_runs_it_is_complete_when_it_is_asked_for() {
    let host = running();
    pass(&host, 1_000);
    let before = now(&host);
    let (said, notes) = report(&host, ALWAYS);
    assert!((before..now(&host)).contains(&said.complete_ns), "{said:?}");
    assert_eq!(notes, Vec::<String>::new());
    // All of a time that is over is in it.
    let over = Window {
        from_ns: 0,
        to_ns: before - 500 * SECOND,
    };
    assert_eq!(report(&host, over).0.complete_ns, over.to_ns);
}

#[test]
fn a_manager_that_enters_nothing_is_told_of() {
    let host = running();
    let _lock = manager_lock(&host);
    pass(&host, 60);
    sample(&host);
    let last = now(&host);
    pass(&host, 100);
    let (said, notes) = report(&host, ALWAYS);
    assert!((last - SECOND..last).contains(&said.complete_ns), "{said:?}, {last}");
    assert_eq!(notes, Vec::<String>::new(), "it may be at work");
    pass(&host, 600);
    let (late, notes) = report(&host, ALWAYS);
    assert_eq!(late.complete_ns, said.complete_ns);
    assert!(
        notes.len() == 1 && notes[0].contains("nothing was entered since") && notes[0].contains("(web1)"),
        "{notes:?}"
    );
    // Of the time before that all is there.
    let over = Window {
        from_ns: 0,
        to_ns: said.complete_ns,
    };
    let (whole, notes) = report(&host, over);
    assert_eq!((whole.complete_ns, notes), (over.to_ns, Vec::new()));
    // What a stop has left is not in it either, and nobody may say it were.
    act(&host, &STOP);
    let (ended, notes) = report(&host, ALWAYS);
    assert_eq!((ended.complete_ns, notes.len()), (said.complete_ns, 1));
}

/// A VE whose files a person has removed is not waited for.
#[test]
fn of_what_went_without_a_word_nothing_is_missed() {
    let host = running();
    act(&host, &STOP);
    let _lock = manager_lock(&host);
    std::fs::remove_dir_all(host.dirs.ve(crate::testing::id(101))).unwrap();
    pass(&host, 3 * 3_600);
    let before = now(&host);
    let (said, notes) = report(&host, ALWAYS);
    assert!(said.complete_ns >= before && notes.is_empty(), "{said:?} {notes:?}");
}

#[test]
fn metrics_say_whether_anybody_measures_and_when_something_was_entered() {
    let host = running();
    pass(&host, 60);
    sample(&host);
    let value = |name: &str| {
        let mut all = Vec::new();
        engine(&host).metrics(&mut |family| all.push(family.clone())).unwrap();
        let family = all.into_iter().find(|family| family.name == name).unwrap();
        family.samples[0].value
    };
    assert_eq!(value("hostel_manager_up"), 0.0);
    let _lock = manager_lock(&host);
    assert_eq!(value("hostel_manager_up"), 1.0);
    pass(&host, 600);
    let age = now(&host) as f64 / 1e9 - value("hostel_ledger_last_record_timestamp_seconds");
    assert!((600.0..602.0).contains(&age), "{age}");
    drop(engine(&host).act(crate::testing::id(101), &STOP, &Silent).unwrap());
}

/// A thread that has looked at a VE holds the host for a moment after it has said what it saw.
fn alone(host: &Arc<Host>) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while Arc::strong_count(host) > 1 {
        assert!(std::time::Instant::now() < end, "somebody holds the host");
        std::thread::yield_now();
    }
}

/// How long the host was down is entered when its clock is right, and no report that begins before that is complete until then.
#[test]
fn a_time_that_is_not_entered_yet_is_not_complete() {
    let host = running();
    pass(&host, 60);
    sample(&host);
    let last = now(&host);
    let host = lose_power(host, 3_000);
    alone(&host);
    let mut host = Arc::into_inner(host).unwrap();
    host.clock_is_set = || false;
    let mut host = Arc::new(host);
    pass(&host, 10);
    let (said, notes) = report(&host, ALWAYS);
    assert!((last - SECOND..=last).contains(&said.complete_ns), "{said:?}, {last}");
    assert_eq!(notes, Vec::<String>::new());
    alone(&host);
    Arc::get_mut(&mut host).unwrap().clock_is_set = || true;
    pass(&host, 10);
    let before = now(&host);
    assert!(report(&host, ALWAYS).0.complete_ns > before);
}
