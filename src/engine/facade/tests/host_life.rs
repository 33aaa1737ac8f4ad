//! The host comes up and goes down, and its VEs with it.

use std::sync::Mutex;
use std::time::Duration;

use hostel_model::state::State;

use super::*;
use crate::facade::{Procession, Progress};
use crate::testing::{fakes, host, order, started};

/// Makes VEs of these names, from id 101 on, each with these settings.
fn with_ves(host: &Arc<Host>, ves: &[(&str, &[(&str, &str)])]) {
    for (name, settings) in ves {
        engine(host).create(&order(name, settings), &Silent).unwrap();
    }
}

fn state(host: &Arc<Host>, n: u32) -> State {
    host.reality(id(n)).unwrap().state
}

fn names(procession: &Procession) -> Vec<String> {
    procession.ves().iter().map(|ve| ve.name.to_string()).collect()
}

/// What each came to, side by side as a face does it.
fn all(
    procession: &Procession,
    one: impl Fn(usize, &dyn Progress) -> Result<Outcome> + Sync,
) -> (Vec<String>, Vec<String>) {
    let (ended, heard) = (Mutex::new(Vec::new()), Heard::default());
    std::thread::scope(|scope| {
        for (n, ve) in procession.ves().into_iter().enumerate() {
            let (one, ended, heard) = (&one, &ended, &heard);
            scope.spawn(move || {
                let said = match one(n, heard) {
                    Ok(outcome) => outcome.done,
                    Err(e) => e.to_string(),
                };
                ended.lock().unwrap().push(format!("{}: {said}", ve.name));
            });
        }
    });
    // Who is through tells of it when the next are at work already.
    let mut ended = ended.into_inner().unwrap();
    ended.sort();
    (ended, heard.notes())
}

fn boot(host: &Arc<Host>) -> (Vec<String>, Vec<String>) {
    let heard = Heard::default();
    let procession = engine(host).boot(&heard).unwrap();
    let (ended, notes) = all(&procession, |n, p| engine(host).boot_one(&procession, n, p));
    (ended, [heard.notes(), notes].concat())
}

fn shutdown(host: &Arc<Host>, timeout: Option<Duration>) -> (Vec<String>, Vec<String>) {
    let procession = engine(host).shutdown(timeout).unwrap();
    all(&procession, |n, p| engine(host).shut_down_one(&procession, n, p))
}

const ONBOOT: (&str, &str) = ("onboot", "true");

/// A host that tells of pressure, of which there is none.
fn calm() -> Arc<Host> {
    let host = host().make();
    std::fs::create_dir_all(&host.pressure).unwrap();
    for resource in ["cpu", "io", "memory"] {
        std::fs::write(host.pressure.join(resource), "some avg10=0.00 total=5\n").unwrap();
    }
    host
}

#[test]
fn a_boot_starts_what_is_to_run_by_priority_and_leaves_the_rest() {
    let host = calm();
    with_ves(
        &host,
        &[
            ("late", &[ONBOOT]),
            ("never", &[("priority", "900")]),
            ("first", &[ONBOOT, ("priority", "100")]),
            ("runs", &[ONBOOT, ("priority", "50")]),
        ],
    );
    engine(&host).act(id(104), &start(), &Silent).unwrap();
    let procession = engine(&host).boot(&Silent).unwrap();
    assert_eq!(names(&procession), ["first", "runs", "late"]);
    let (ended, notes) = boot(&host);
    assert_eq!(ended, ["first: started", "late: started", "runs: is running already"]);
    // Process ids rise.
    let pid = |n: u32| fakes(&host).guests.init(n).unwrap().pid;
    assert!(pid(103) < pid(101));
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(state(&host, 102), State::Stopped);
    // Again, and nothing is to be done.
    assert!(boot(&host).0.iter().all(|line| line.ends_with("is running already")));
}

#[test]
fn one_that_fails_or_is_paused_keeps_no_other_from_starting() {
    let host = calm();
    with_ves(
        &host,
        &[
            ("bad", &[ONBOOT, ("priority", "9")]),
            ("paused", &[ONBOOT]),
            ("good", &[ONBOOT]),
            ("unreadable", &[ONBOOT]),
        ],
    );
    engine(&host).act(id(102), &start(), &Silent).unwrap();
    engine(&host).act(id(102), &Action::Pause, &Silent).unwrap();
    std::fs::remove_dir_all(host.state(id(101)).unwrap().lower).ok();
    let text = host.dirs.definition(&"unreadable".parse().unwrap());
    std::fs::write(text, "id = [\n").unwrap();
    let (ended, notes) = boot(&host);
    assert_eq!(ended.len(), 3, "{ended:?}");
    // The three share a tree, so its loss fails what starts; the paused one is left as it is.
    assert!(ended[0].starts_with("bad: the template tree"), "{ended:?}");
    assert!(
        ended.contains(&"paused: is paused, and left so".to_owned()),
        "{ended:?}"
    );
    assert!(ended.iter().any(|line| line.starts_with("good: ")), "{ended:?}");
    assert!(
        notes.iter().any(|n| n.contains("(unreadable) is passed over")),
        "{notes:?}"
    );
}

#[test]
fn a_kernel_without_pressure_is_told_of() {
    let host = host().make();
    with_ves(&host, &[("one", &[ONBOOT]), ("two", &[ONBOOT]), ("three", &[ONBOOT])]);
    let (ended, notes) = boot(&host);
    assert!(ended.iter().all(|line| line.ends_with(": started")), "{ended:?}");
    assert!(notes[0].contains("tells no pressure"), "{notes:?}");
}

#[test]
fn a_boot_first_ends_what_was_cut_short() {
    let host = calm();
    with_ves(&host, &[("web1", &[])]);
    std::fs::create_dir_all(host.dirs.data().join("journal")).unwrap();
    std::fs::write(host.dirs.data().join("journal/101.journal"), "no journal at all\n").unwrap();
    assert_eq!(host.journals.pending().unwrap(), [id(101)]);
    boot(&host);
    assert_eq!(host.journals.pending().unwrap(), []);
}

#[test]
fn a_shutdown_ends_all_in_reverse_order() {
    let host = calm();
    with_ves(
        &host,
        &[
            ("db", &[("priority", "100")]),
            ("web", &[ONBOOT]),
            ("paused", &[("priority", "7")]),
            ("stopped", &[]),
            ("mounted", &[]),
        ],
    );
    for n in [101, 102, 103] {
        engine(&host).act(id(n), &start(), &Silent).unwrap();
    }
    engine(&host).act(id(103), &Action::Pause, &Silent).unwrap();
    engine(&host).act(id(105), &Action::Mount, &Silent).unwrap();
    let procession = engine(&host).shutdown(None).unwrap();
    assert_eq!(names(&procession), ["web", "mounted", "paused", "db"]);
    let (ended, notes) = all(&procession, |n, p| engine(&host).shut_down_one(&procession, n, p));
    let expected = ["db: stopped", "mounted: unmounted", "paused: stopped", "web: stopped"];
    assert_eq!(ended, expected);
    assert_eq!(notes, ["it was paused, and goes on so that it can shut down"]);
    assert!((101..=105).all(|n| state(&host, n) == State::Stopped));
    // What ran without being onboot doesn't come back, and there is nothing more to end.
    assert_eq!(boot(&host).0, ["web: started"]);
    shutdown(&host, None);
    assert_eq!(shutdown(&host, None).0, Vec::<String>::new());
}

#[test]
fn who_does_not_shut_down_is_killed_before_the_time_of_all_is_over() {
    let host = calm();
    let slow: &[(&str, &str)] = &[("stop.timeout", "10m")];
    with_ves(
        &host,
        &[("a", slow), ("b", &[("stop.timeout", "10m"), ("priority", "5")])],
    );
    for n in [101, 102] {
        engine(&host).act(id(n), &start(), &Silent).unwrap();
    }
    fakes(&host).guests.stubborn(true);
    let begun = std::time::Instant::now();
    let (ended, notes) = shutdown(&host, Some(Duration::from_secs(2)));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(ended, ["a: stopped", "b: stopped"]);
    assert_eq!(notes, ["it did not shut down in time and was killed"; 2]);
}

#[test]
fn a_held_ve_is_waited_for_within_the_time() {
    let host = calm();
    with_ves(&host, &[("web1", &[])]);
    started(&host);
    let lock = engine(&host).lock_ve(id(101), "edit", &Silent).unwrap();
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| shutdown(&crate::testing::again(&host), Some(Duration::from_secs(30))));
        std::thread::sleep(Duration::from_millis(50));
        drop(lock);
        assert_eq!(ended.join().unwrap().0, ["web1: stopped"]);
    });
}

/// A suspended VE, as far as anybody can see from its directory.
fn play_suspended(host: &Arc<Host>, n: u32) {
    let dump = host.dirs.dump(id(n));
    std::fs::create_dir(&dump).unwrap();
    std::fs::write(dump.join(crate::ve::dump::MANIFEST), "").unwrap();
}

#[test]
fn what_the_shutdown_suspended_goes_on_and_what_a_person_suspended_does_not() {
    let host = calm();
    with_ves(&host, &[("by-host", &[]), ("by-person", &[]), ("onboot", &[ONBOOT])]);
    for n in [101, 102, 103] {
        play_suspended(&host, n);
    }
    engine(&host).mark_suspended_by_shutdown(id(101)).unwrap();
    let procession = engine(&host).boot(&Silent).unwrap();
    assert_eq!(names(&procession), ["by-host", "onboot"]);
    // Nor does a shutdown end what doesn't run.
    assert_eq!(names(&engine(&host).shutdown(None).unwrap()), Vec::<String>::new());
}
