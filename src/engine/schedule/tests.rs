use std::sync::Arc;

use hostel_model::definition::Schedule;
use jiff::Timestamp;

use super::record::Looked;
use super::timetable::{Due, due};
use super::*;
use crate::facade::tests::Heard;
use crate::testing::{engine, host};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn nightly(more: &str) -> Schedule {
    let text = format!("at = \"30 3 * * *\"\nrun = [\"audit\"]\ntime_zone = \"UTC\"\n{more}");
    Schedule::parse("schedules/nightly.toml", &text).unwrap()
}

/// A host that has looked at the schedule at noon.
fn at_noon(schedule: &Schedule) -> Arc<Host> {
    let host = host().make();
    assert_eq!(due(&host, schedule, at("2026-11-28T12:00:00Z")).unwrap(), Due::No);
    host
}

const HALF_PAST_THREE: &str = "2026-11-29T03:30:00Z";

/// A new one isn't run for times before it was there.
#[test]
fn a_schedule_begins_when_it_is_seen() {
    let (host, schedule) = (host().make(), nightly(""));
    let half_past_three = at(HALF_PAST_THREE);
    assert_eq!(due(&host, &schedule, half_past_three).unwrap(), Due::No);
    assert_eq!(due(&host, &schedule, at("2026-11-29T03:40:00Z")).unwrap(), Due::No);
    assert_eq!(
        due(&host, &schedule, at("2026-11-30T03:30:00Z")).unwrap(),
        Due::At(at("2026-11-30T03:30:00Z"))
    );
}

#[test]
fn what_is_due_is_due_once() {
    let schedule = nightly("");
    let host = at_noon(&schedule);
    assert_eq!(due(&host, &schedule, at("2026-11-29T03:29:59Z")).unwrap(), Due::No);
    assert_eq!(
        due(&host, &schedule, at("2026-11-29T03:30:01Z")).unwrap(),
        Due::At(at(HALF_PAST_THREE))
    );
    // Not by another look, nor by a clock that is set back past it.
    for again in [
        "2026-11-29T03:30:02Z",
        "2026-11-29T03:29:58Z",
        "2026-11-29T03:30:01Z",
        "2026-11-29T02:00:00Z",
        HALF_PAST_THREE,
    ] {
        assert_eq!(due(&host, &schedule, at(again)).unwrap(), Due::No, "{again}");
    }
}

#[test]
fn a_manager_that_comes_late_runs_the_last_if_it_may() {
    let schedule = nightly("late = \"2h\"\n");
    let host = at_noon(&schedule);
    // Three nights were missed, and the last not long ago.
    assert_eq!(
        due(&host, &schedule, at("2026-12-01T05:00:00Z")).unwrap(),
        Due::At(at("2026-12-01T03:30:00Z"))
    );
    assert_eq!(
        due(&host, &schedule, at("2026-12-04T06:00:00Z")).unwrap(),
        Due::Missed(at("2026-12-02T03:30:00Z"))
    );
    assert_eq!(due(&host, &schedule, at("2026-12-04T06:00:01Z")).unwrap(), Due::No);
}

/// What the manager does otherwise takes its time.
#[test]
fn a_minute_is_not_late() {
    let schedule = nightly("late = \"0s\"\n");
    let host = at_noon(&schedule);
    assert_eq!(
        due(&host, &schedule, at("2026-11-29T03:30:59Z")).unwrap(),
        Due::At(at(HALF_PAST_THREE))
    );
    assert_eq!(
        due(&host, &schedule, at("2026-11-30T03:31:01Z")).unwrap(),
        Due::Missed(at("2026-11-30T03:30:00Z"))
    );
}

#[test]
fn other_times_are_another_schedule() {
    let host = at_noon(&nightly(""));
    let earlier = Schedule::parse("schedules/nightly.toml", "at = \"0 2 * * *\"\nrun = [\"audit\"]\n").unwrap();
    assert_eq!(due(&host, &earlier, at("2026-11-29T02:10:00Z")).unwrap(), Due::No);
    // What it runs makes none of it.
    let other = Schedule {
        run: vec!["list".to_owned()],
        ..nightly("")
    };
    let host = at_noon(&nightly(""));
    assert_eq!(
        due(&host, &other, at(HALF_PAST_THREE)).unwrap(),
        Due::At(at(HALF_PAST_THREE))
    );
}

/// A clock that was years ahead would have had the schedule wait for years.
#[test]
fn a_clock_that_was_far_ahead_is_forgotten() {
    let schedule = nightly("");
    let host = at_noon(&schedule);
    assert!(matches!(
        due(&host, &schedule, at("2038-01-01T05:00:00Z")).unwrap(),
        Due::Missed(_)
    ));
    assert_eq!(due(&host, &schedule, at("2026-11-28T12:00:10Z")).unwrap(), Due::No);
    assert_eq!(
        due(&host, &schedule, at(HALF_PAST_THREE)).unwrap(),
        Due::At(at(HALF_PAST_THREE))
    );
}

/// What can't be written down isn't run: it would be run again and again.
#[test]
fn nothing_is_run_that_can_not_be_noted() {
    let schedule = nightly("");
    let host = at_noon(&schedule);
    let kept = host.dirs.schedules();
    std::fs::rename(&kept, kept.with_extension("away")).unwrap();
    std::fs::write(&kept, "in the way").unwrap();
    assert!(due(&host, &schedule, at(HALF_PAST_THREE)).is_err());
    std::fs::remove_file(&kept).unwrap();
    std::fs::rename(kept.with_extension("away"), &kept).unwrap();
    assert_eq!(
        due(&host, &schedule, at(HALF_PAST_THREE)).unwrap(),
        Due::At(at(HALF_PAST_THREE))
    );
}

#[test]
fn a_zone_that_there_is_not() {
    let text = "at = \"0 0 * * *\"\nrun = [\"list\"]\ntime_zone = \"Mars/Olympus\"\n";
    let error = zone(&Schedule::parse("schedules/a.toml", text).unwrap()).unwrap_err();
    assert!(
        error.message.contains("Mars/Olympus") && !error.hints.is_empty(),
        "{error}"
    );
}

/// A mistake in one is told once, and hinders no other; what is kept of one that is gone goes, too.
#[test]
fn the_manager_tells_of_mistakes_once_and_forgets_what_is_gone() {
    let host = host().make();
    let dir = host.dirs.definitions("schedules");
    std::fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    write("bad.toml", "at = \"61 * * * *\"\nrun = [\"list\"]\n");
    write("good.toml", "at = \"0 0 1 1 *\"\nrun = [\"list\"]\n");
    write("BAD.toml", "");
    let (mut timetable, heard) = (Timetable::new(), Heard::default());
    for _ in 0..3 {
        timetable.look_now(&host, &heard);
    }
    let notes = heard.notes();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes
            .iter()
            .any(|n| n.contains("schedule bad is not run") && n.contains("bad.toml:1:6")),
        "{notes:?}"
    );
    assert!(notes.iter().any(|n| n.contains("BAD")), "{notes:?}");
    let good: ScheduleName = "good".parse().unwrap();
    assert!(host.looked(&good).is_some());
    let states = || -> Vec<(String, &'static str)> {
        engine(&host)
            .schedules()
            .into_iter()
            .map(|s| (s.name, s.state))
            .collect()
    };
    let all = [
        ("BAD".to_owned(), "broken"),
        ("bad".to_owned(), "broken"),
        ("good".to_owned(), "waiting"),
    ];
    assert_eq!(states(), all);
    // Somebody edits it: it is gone for a moment.
    let (file, away) = (dir.join("good.toml"), dir.join("good.away"));
    for _ in 0..2 {
        std::fs::rename(&file, &away).unwrap();
        timetable.look_now(&host, &heard);
        assert!(host.looked(&good).is_some());
        std::fs::rename(&away, &file).unwrap();
        timetable.look_now(&host, &heard);
    }
    std::fs::remove_file(&file).unwrap();
    timetable.look_now(&host, &heard);
    timetable.look_now(&host, &heard);
    assert_eq!(
        (host.looked(&good), host.kept_schedules().contains(&good)),
        (None, false)
    );
}

/// Whoever ran it was killed: that is seen by its lock.
#[test]
fn a_run_that_nobody_ended() {
    let host = host().make();
    let name: ScheduleName = "a".parse().unwrap();
    let held = host.lock_schedule(&name).unwrap().unwrap();
    host.write_run(&name, &LastRun::begin(None, at(HALF_PAST_THREE)))
        .unwrap();
    assert!(host.last_run(&name).unwrap().goes_on() && host.schedule_runs(&name));
    assert!(host.lock_schedule(&name).unwrap().is_none());
    drop(held);
    let last = host.last_run(&name).unwrap();
    assert_eq!((last.goes_on(), last.result.as_str()), (false, "killed before its end"));
    assert!(host.lock_schedule(&name).unwrap().is_some());
}

/// One that never ran, or runs, has no end.
#[test]
fn how_runs_ended_is_measured() {
    let host = host().make();
    let dir = host.dirs.definitions("schedules");
    std::fs::create_dir_all(&dir).unwrap();
    let name = |name: &str| name.parse::<ScheduleName>().unwrap();
    for (schedule, code) in [("good", Some(0)), ("bad", Some(1)), ("late", None)] {
        std::fs::write(
            dir.join(format!("{schedule}.toml")),
            "at = \"0 0 * * *\"\nrun = [\"list\"]\n",
        )
        .unwrap();
        let mut run = LastRun::begin(None, at(HALF_PAST_THREE));
        run.ended = Some(at("2026-11-29T03:31:00Z"));
        (run.code, run.result) = (code, "over".to_owned());
        host.write_run(&name(schedule), &run).unwrap();
    }
    // What ran it is gone without a word.
    let text = "at = \"0 0 * * *\"\nrun = [\"list\"]\n";
    std::fs::write(dir.join("killed.toml"), text).unwrap();
    host.write_run(&name("killed"), &LastRun::begin(None, at(HALF_PAST_THREE)))
        .unwrap();
    std::fs::write(dir.join("never.toml"), text).unwrap();
    std::fs::write(dir.join("broken.toml"), "at = 1\n").unwrap();
    let families = engine(&host).schedule_metrics();
    let values = |family: usize| -> Vec<(String, f64)> {
        let samples = families[family].samples.iter();
        samples.map(|s| (s.labels[0].1.clone(), s.value)).collect()
    };
    let of = |schedule: &str, value: f64| (schedule.to_owned(), value);
    assert_eq!(
        values(0),
        [
            of("bad", 1_795_923_060.0),
            of("good", 1_795_923_060.0),
            of("late", 1_795_923_060.0)
        ]
    );
    assert_eq!(
        values(1),
        [
            of("bad", 0.0),
            of("broken", 0.0),
            of("good", 1.0),
            of("killed", 0.0),
            of("late", 0.0)
        ]
    );
}

/// A record that somebody has spoilt is none.
#[test]
fn records_that_can_not_be_read_are_none() {
    let host = host().make();
    let name: ScheduleName = "a".parse().unwrap();
    let looked = Looked {
        of: "x".to_owned(),
        until: at(HALF_PAST_THREE),
    };
    host.write_looked(&name, &looked).unwrap();
    assert_eq!(host.looked(&name), Some(looked));
    std::fs::write(host.dirs.schedules().join("a.looked"), "{").unwrap();
    std::fs::write(host.dirs.schedules().join("a.run"), "{").unwrap();
    assert_eq!((host.looked(&name), host.last_run(&name)), (None, None));
}
