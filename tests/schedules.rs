//! What the manager does at certain times: real commands on real VEs, by a real clock, with managers that are killed.

#![allow(clippy::unwrap_used)]

mod house;

use std::time::Duration;

use house::{House, end_of, signal};
use rustix::process::Signal;
use serde_json::Value;

fn show(h: &House, name: &str) -> Value {
    serde_json::from_str(&h.ok(&["schedule", "show", name, "--json"])).unwrap()
}

fn schedule(h: &House, name: &str, at: &str, run: &[&str], more: &str) {
    h.write(
        &format!("etc/schedules/{name}.toml"),
        &format!("at = {at:?}\nrun = {run:?}\n{more}"),
    );
}

/// The minutes at which the VE was told to note the time.
fn minutes(h: &House) -> Vec<String> {
    let noted = h.sh("a", "cat /root/noted 2>/dev/null || true");
    noted.lines().map(str::to_owned).collect()
}

/// Through two whole minutes: what is due is done once, whatever becomes of managers; what a manager has begun goes on
/// without it, and isn't begun anew as long as it does.
#[test]
fn what_is_due_is_done_once_though_managers_are_killed() {
    let h = House::new();
    h.busybox("a");
    let note = ["exec", "a", "--", "/bin/sh", "-c", "date +%H:%M >>/root/noted"];
    schedule(&h, "note", "* * * * *", &note, "");
    schedule(&h, "slow", "* * * * *", &["exec", "a", "--", "/bin/sleep", "300"], "");
    schedule(&h, "off", "* * * * *", &["stop", "a"], "disabled = true\n");
    schedule(&h, "bad", "61 * * * *", &["stop", "a"], "");
    schedule(&h, "fails", "* * * * *", &["start", "nobody"], "");
    let mut managers = vec![h.manager()];
    let again = |managers: &mut Vec<std::process::Child>| {
        let last = managers.last_mut().unwrap();
        last.kill().unwrap();
        last.wait().unwrap();
        managers.push(h.manager());
    };
    // At any time: before, while and after it is due.
    for count in 1..=2 {
        h.until("it was done", 150, || {
            std::thread::sleep(Duration::from_secs(2));
            again(&mut managers);
            minutes(&h).len() >= count
        });
        h.until("the slow one runs", 90, || show(&h, "slow")["state"] == "running");
        again(&mut managers);
    }
    h.until("the last one works", 20, || {
        h.run(&["--wait-lock", "0s", "manager"]).code == 5
    });
    let last = managers.pop().unwrap();
    signal(&last, Signal::TERM);
    let said = end_of(last);
    assert_eq!(said.code, 0, "{said:?}");
    let minutes = minutes(&h);
    assert_eq!(minutes.len(), 2, "{minutes:?}");
    assert_ne!(minutes[0], minutes[1]);
    assert_eq!(
        h.status("a", "state"),
        "running",
        "neither the disabled one nor the broken one was run"
    );

    let slow = show(&h, "slow");
    assert_eq!(
        (&slow["state"], &slow["last"]["result"]),
        (&"running".into(), &"running".into()),
        "{slow}"
    );
    let note = show(&h, "note");
    assert_eq!(
        (&note["state"], &note["last"]["result"]),
        (&"waiting".into(), &"done".into()),
        "{note}"
    );
    assert!(note["last"]["due"].as_str().unwrap().ends_with(":00Z"), "{note}");
    let fails = show(&h, "fails");
    assert_eq!(fails["last"]["code"], 3, "{fails}");
    assert!(
        fails["last"]["said"].as_str().unwrap().contains("there is no VE"),
        "{fails}"
    );
    let bad = show(&h, "bad");
    assert!(bad["problem"].as_str().unwrap().contains("bad.toml:1:6"), "{bad}");
    assert_eq!(show(&h, "off")["upcoming"], Value::Array(Vec::new()));
    // What is left of it ends as every command does that waits for a VE.
    h.ok(&["kill", "a"]);
    h.until("the slow one has ended", 30, || show(&h, "slow")["state"] == "waiting");
}

/// Notes inside which process it is, and stays.
const LONG: [&str; 6] = [
    "exec",
    "a",
    "--",
    "/bin/sh",
    "-c",
    "echo $$ >/root/pid; exec sleep 1000",
];

/// Does what LONG has begun last live? It is forgotten if not.
fn lives(h: &House) -> bool {
    let line = "test -s /root/pid && if kill -0 $(cat /root/pid); then echo yes; else rm /root/pid; fi";
    h.run(&["exec", "a", "--", "/bin/sh", "-c", line]).out == "yes\n"
}

#[test]
fn by_hand() {
    let h = House::new();
    h.busybox("a");
    schedule(
        &h,
        "hello",
        "0 0 1 1 *",
        &["exec", "a", "--", "/bin/sh", "-c", "echo hello; exit 7"],
        "disabled = true\n",
    );
    let ran = h.run(&["schedule", "run", "hello"]);
    assert_eq!((ran.code, ran.out.as_str()), (7, "hello\n"), "{ran:?}");
    let last = show(&h, "hello")["last"].clone();
    assert_eq!(
        (&last["code"], &last["due"], &last["said"]),
        (&7.into(), &Value::Null, &"hello\n".into()),
        "{last}"
    );
    let text = h.ok(&["schedule", "show", "hello"]);
    assert!(
        text.contains("failed with code 7") && text.ends_with("\nhello\n"),
        "{text}"
    );
    let list = h.ok(&["schedule", "list", "-H"]);
    assert!(
        list.contains("hello") && list.contains("disabled") && list.contains("failed with code 7"),
        "{list}"
    );

    // Its time is over: it is told as by Ctrl-C. Nothing is left of it inside.
    schedule(&h, "slow", "0 0 1 1 *", &LONG, "timeout = \"8s\"\n");
    let ran = h.run(&["schedule", "run", "slow"]);
    assert_ne!(h.sh("a", "cat /root/pid"), "", "it had begun");
    assert!(ran.code == 1 && ran.err.contains("took too long"), "{ran:?}");
    h.until("nothing of it is left", 20, || !lives(&h));

    // Ctrl-C is passed on, and meanwhile nobody else may.
    schedule(&h, "slow", "0 0 1 1 *", &LONG, "");
    let running = h.spawn(&["schedule", "run", "slow"]);
    h.until("it runs", 20, || lives(&h));
    let busy = h.fails(5, &["schedule", "run", "slow"]);
    assert!(busy.contains("schedule slow runs already"), "{busy}");
    signal(&running, Signal::INT);
    let ended = end_of(running);
    assert_ne!(ended.code, 0, "{ended:?}");
    h.until("nothing of it is left", 20, || !lives(&h));
    assert!(show(&h, "slow")["last"]["ended"].is_string());
}

#[test]
fn what_makes_no_sense() {
    let h = House::new();
    assert_eq!(h.ok(&["schedule", "list", "--json"]), "[]\n");
    let none = h.fails(3, &["schedule", "run", "nobody"]);
    assert!(none.contains("there is no schedule \"nobody\""), "{none}");
    h.fails(3, &["schedule", "show", "nobody"]);
    h.fails(2, &["schedule", "show", "No Body"]);
    // A mistake in the words is told before they are due, and is how a run of them ends.
    schedule(&h, "typo", "30 3 * * *", &["restrat", "web1"], "");
    let list = h.ok(&["schedule", "list"]);
    assert!(list.contains("broken") && list.contains("restrat"), "{list}");
    let ran = h.run(&["schedule", "run", "typo"]);
    assert!(
        ran.code == 2 && ran.out.contains("unrecognized subcommand 'restrat'"),
        "{ran:?}"
    );
    assert_eq!(show(&h, "typo")["last"]["code"], 2);
    schedule(&h, "mars", "30 3 * * *", &["list"], "time_zone = \"Mars/Olympus\"\n");
    let mars = show(&h, "mars");
    assert!(
        mars["problem"]
            .as_str()
            .unwrap()
            .contains("knows no time zone Mars/Olympus"),
        "{mars}"
    );
    h.write("etc/schedules/bad.toml", "at = 1\nrun = \"audit\"\n");
    let bad = h.fails(2, &["schedule", "run", "bad"]);
    assert!(bad.contains("bad.toml:1:6") && bad.contains("bad.toml:2:7"), "{bad}");
    schedule(&h, "help", "30 3 * * *", &["--help"], "");
    assert_eq!(show(&h, "help")["state"], "waiting");
}

/// The host's clocks, or those of a zone; and a day that the clocks make shorter.
#[test]
fn times_are_shown_by_the_clocks_that_they_are_of() {
    let h = House::new();
    schedule(
        &h,
        "berlin",
        "30 3 * 7 *",
        &["audit"],
        "time_zone = \"Europe/Berlin\"\n",
    );
    schedule(&h, "utc", "30 3 * 7 *", &["audit"], "time_zone = \"UTC\"\n");
    let next = |name: &str| show(&h, name)["upcoming"][0].as_str().unwrap().to_owned();
    assert!(next("berlin").ends_with("T03:30+02:00"), "{}", next("berlin"));
    assert!(next("utc").ends_with("T03:30+00:00"), "{}", next("utc"));
}
