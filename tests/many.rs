//! Many VEs at once.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::time::{Duration, Instant};

use house::{House, template};

const MANY: usize = 30;

/// How many VEs are in this state, by `hostel list`.
fn count(h: &House, state: &str) -> usize {
    let rows: serde_json::Value = serde_json::from_str(&h.ok(&["list", "--json"])).unwrap();
    rows.as_array().unwrap().iter().filter(|r| r["state"] == state).count()
}

#[test]
fn thirty_ves_start_are_listed_and_stop_together() {
    let h = House::new();
    template("busybox");
    for n in 0..MANY {
        h.ok(&[
            "create",
            &format!("many{n}"),
            "--template",
            "busybox",
            "--set",
            "disk.size=32MiB",
        ]);
    }
    let begin = Instant::now();
    h.ok(&["start", "--all"]);
    println!("started {MANY} in {:?}", begin.elapsed());
    assert_eq!(count(&h, "running"), MANY);

    let begin = Instant::now();
    let list = h.ok(&["list"]);
    let took = begin.elapsed();
    println!("listed in {took:?}");
    assert_eq!(list.lines().count(), MANY + 1);
    assert!(took < Duration::from_secs(house::slowness()), "{took:?}");

    // None of those that look at all of them needs much for it.
    for args in [&["list", "--json"][..], &["stat", "--json"], &["metrics"], &["audit"]] {
        let mut small = h.on_host("prlimit");
        small.args(["--data=32000000", "--"]).arg(house::hostel());
        small.arg("--config").arg(h.dir.join("hostel.toml")).args(args);
        let ran: house::Ran = small.output().unwrap().into();
        assert_eq!(ran.code, 0, "{args:?} in 32 MB: {}", ran.err);
    }

    // Each is itself, and reaches its neighbour.
    for n in [0, MANY / 2, MANY - 1] {
        let name = format!("many{n}");
        assert_eq!(h.sh(&name, "hostname; ls /proc | grep -c '^1$'"), format!("{name}\n1"));
        let next = h.status(&format!("many{}", (n + 1) % MANY), "addresses")[0]
            .as_str()
            .unwrap()
            .to_owned();
        h.sh(&name, &format!("ping -c 1 -W 5 {next}"));
    }

    let begin = Instant::now();
    h.ok(&["stop", "--all"]);
    println!("stopped in {:?}", begin.elapsed());
    assert_eq!(count(&h, "stopped"), MANY);
    assert_eq!(h.audit(), Vec::<serde_json::Value>::new());
    h.ok(&["start", "--all"]);
    h.ok(&["kill", "--all"]);
    assert_eq!(count(&h, "stopped"), MANY);
}
