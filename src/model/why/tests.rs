//! Each cause from what it is seen by, and which of two comes first.

use super::*;

fn running() -> Evidence {
    Evidence {
        name: "web1".into(),
        state: "running".into(),
        now: 100_000,
        ..Evidence::default()
    }
}

fn stopped() -> Evidence {
    Evidence {
        state: "stopped".into(),
        ..running()
    }
}

fn first(evidence: &Evidence) -> String {
    let causes = causes(evidence);
    for cause in &causes {
        assert!(!cause.what.is_empty() && !cause.seen.is_empty(), "{cause:?}");
        assert!(!cause.what.ends_with('.') && !cause.what.contains('\n'), "{cause:?}");
    }
    causes[0].what.clone()
}

fn level(used: u64, limit: u64) -> Level {
    Level {
        used: Some(used),
        limit: Some(limit),
    }
}

fn operation(verb: &str, time: i64, error: Option<&str>) -> Option<Operation> {
    Some(Operation {
        verb: verb.into(),
        time,
        error: error.map(str::to_owned),
        hints: vec!["do this".into()],
    })
}

fn end(how: &str, oom_kills: u64) -> Option<End> {
    Some(End {
        how: how.into(),
        time: 99_990,
        oom_kills: Some(oom_kills),
    })
}

#[test]
fn of_one_that_runs() {
    type Change = fn(&mut Evidence);
    let cases: [(Change, &str); 16] = [
        (|_| {}, "Nothing stands out"),
        (|e| e.state = "paused".into(), "web1 is paused"),
        (
            |e| e.unfinished = Some("set".into()),
            "\"hostel set\" on it has not ended",
        ),
        (|e| e.oom_kills = Some(3), "It ran out of memory"),
        (|e| e.disk = level(99, 100), "Its disk is full"),
        (|e| e.disk = level(91, 100), "Its disk is nearly full (91 %)"),
        (|e| e.inodes = level(100, 100), "Its disk can hold no more files"),
        (
            |e| e.processes = level(100, 100),
            "It has as many processes as it may have",
        ),
        (
            |e| e.processes_hits = Some(1),
            "Its limit of processes has stood in its way",
        ),
        (
            |e| e.throttled = Some((10, 9)),
            "Its cap on processor time stops it: in 90 %",
        ),
        (|e| e.waits.io = Some(50.0), "It waits for its disk"),
        (
            |e| (e.waits.io, e.rates) = (Some(50.0), vec![rate("io.write", 95), rate("net.in", 3)]),
            "It is as fast as its limit io.write lets it be",
        ),
        (
            |e| (e.waits.memory, e.memory) = (Some(20.0), level(95, 100)),
            "It has too little memory",
        ),
        (|e| e.waits.memory = Some(20.0), "The host is short of memory"),
        (
            |e| (e.waits.cpu, e.host_waits.cpu) = (Some(50.0), Some(50.0)),
            "The host's processors are busy",
        ),
        (
            |e| e.operation = operation("set", 1, Some("no")),
            "The last \"hostel set\" on it failed",
        ),
    ];
    for (change, what) in cases {
        let mut evidence = running();
        change(&mut evidence);
        assert!(first(&evidence).starts_with(what), "{what}: {:?}", causes(&evidence));
    }
}

#[test]
fn of_one_that_does_not() {
    type Change = fn(&mut Evidence);
    let cases: [(Change, &str); 16] = [
        (|_| {}, "Nobody has started it"),
        (|e| e.state = "suspended".into(), "It is suspended"),
        (|e| e.state = "mounted".into(), "Its disk is mounted"),
        (
            |e| e.operation = operation("start", 5, Some("no template")),
            "Its last start failed: no template",
        ),
        (
            |e| e.obstacle = Some(("no plan".into(), vec![])),
            "It can't start: no plan",
        ),
        (
            |e| e.unfinished = Some("start".into()),
            "\"hostel start\" on it has not ended",
        ),
        (|e| e.end = end("signal-9", 1), "It ran out of memory"),
        (
            |e| e.end = end("signal-9", 0),
            "Its init was killed from outside, by signal 9",
        ),
        (|e| e.end = end("exit-1", 0), "Its init failed: it ended with code 1"),
        (|e| e.end = end("exit-0", 0), "Its init ended by itself"),
        (|e| e.end = end("halt", 0), "Its guest shut down by itself"),
        (|e| e.end = end("reboot", 0), "Its guest asked for a reboot"),
        (|e| e.end = end("unknown", 0), "It ended, and nobody saw how"),
        (
            |e| e.operation = operation("start", 5, None),
            "It ended, and nobody saw how",
        ),
        (|e| e.operation = operation("stop", 5, None), "It was stopped by"),
        (
            |e| (e.state, e.problem) = ("broken".into(), Some("no record".into())),
            "Something is wrong with it: no record",
        ),
    ];
    for (change, what) in cases {
        let mut evidence = stopped();
        change(&mut evidence);
        assert!(first(&evidence).starts_with(what), "{what}: {:?}", causes(&evidence));
    }
}

#[test]
fn an_end_that_a_command_brought_is_that_commands() {
    for verb in ["stop", "kill"] {
        let mut e = stopped();
        (e.end, e.operation) = (end("signal-9", 0), operation(verb, 99_991, None));
        assert!(first(&e).contains(verb), "{:?}", causes(&e));
        // The next run's end is its own.
        e.operation = operation(verb, 90_000, None);
        assert!(
            first(&e).starts_with("Its init was killed from outside"),
            "{:?}",
            causes(&e)
        );
    }
}

#[test]
fn what_is_worse_comes_first() {
    let mut e = running();
    (e.throttled, e.waits.cpu, e.host_waits.cpu) = (Some((10, 10)), Some(90.0), Some(90.0));
    assert!(
        first(&e).starts_with("Its cap") && causes(&e).len() == 1,
        "{:?}",
        causes(&e)
    );
    e.disk = level(100, 100);
    assert!(first(&e).starts_with("Its disk is full"));
    // A kill of long ago explains less than a cap that is felt now.
    let mut e = running();
    (e.oom_kills, e.last_kill, e.throttled) = (Some(1), Some(("db".into(), 5)), Some((10, 10)));
    assert!(first(&e).starts_with("Its cap"));
    e.last_kill = Some(("db".into(), 99_999));
    assert!(first(&e).starts_with("It ran out of memory"));
    // A start that failed since says why it doesn't run now; one before the end doesn't.
    let mut e = stopped();
    (e.end, e.operation) = (end("exit-1", 0), operation("start", 99_995, Some("no")));
    assert!(first(&e).starts_with("Its last start failed"));
    e.operation = operation("start", 5, Some("no"));
    assert!(first(&e).starts_with("Its init failed"));
}

#[test]
fn what_was_is_told_after_what_is() {
    let mut e = running();
    (e.day.disk_full, e.day.throttled) = (75, 3);
    let causes = causes(&e);
    assert_eq!(causes.len(), 2);
    assert!(causes[0].what.starts_with("Since yesterday"), "{causes:?}");
    assert_eq!(causes[0].seen[0], "seconds for which its disk was full: 75");
    e.disk = level(99, 100);
    assert!(first(&e).starts_with("Its disk is full"));
}

#[test]
fn what_is_unknown_is_no_cause() {
    let mut e = running();
    (e.disk.used, e.processes.limit) = (Some(5), Some(0));
    e.processes.used = Some(1);
    e.throttled = Some((0, 0));
    assert!(first(&e).starts_with("Nothing stands out"), "{:?}", causes(&e));
    e.console = vec!["hello".into()];
    assert!(causes(&e)[0].seen.contains(&"console: hello".to_owned()));
}

fn rate(key: &'static str, used: u64) -> Rate {
    Rate {
        key: key.into(),
        used,
        limit: 100,
        bytes: true,
    }
}
