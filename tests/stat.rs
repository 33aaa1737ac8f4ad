//! `hostel stat` on known loads: what is shown is what was burnt, and nothing absurd comes of lives that begin and end.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::process::Stdio;

use house::{House, slowness};
use rustix::process::{Pid, Signal};
use serde_json::Value;

/// The tables that `hostel stat ARGS --json` prints.
fn tables(h: &House, args: &[&str]) -> Vec<Value> {
    let out = h.ok(&[&["stat", "--json"][..], args].concat());
    out.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn row<'a>(table: &'a Value, name: &str) -> &'a Value {
    let rows = table["rows"].as_array().unwrap();
    rows.iter()
        .find(|r| r["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {table}"))
}

fn used(table: &Value, name: &str, figure: &str) -> Option<u64> {
    let used = &row(table, name)[figure]["used"];
    match figure {
        // In millionths, which can be added without rounding.
        "cpu" => used.as_f64().map(|n| (n * 1e6).round() as u64),
        _ => used.as_u64(),
    }
}

/// A VE whose init's child does nothing but count.
fn burn(h: &House, ve: &str) {
    h.sh(ve, "(while :; do :; done) >/dev/null 2>&1 </dev/null &");
}

/// Processor time that a VE has had, in nanoseconds, as its guest's own processes can't tell it.
fn cpu_ns(h: &House, ve: &str) -> u64 {
    let rows: Value = serde_json::from_str(&h.ok(&["list", "--json", "--name", ve])).unwrap();
    rows[0]["cpu_ns"].as_u64().unwrap()
}

#[test]
fn known_loads_are_shown_as_they_are() {
    let h = House::new();
    h.write("etc/tenants/acme.toml", "");
    h.busybox_with("burner", &["cpu.cap=0.3", "tenant=acme"]);
    h.busybox_with("idle", &["cpu.cap=0.5"]);
    burn(&h, "burner");
    // Sixty megabytes that stay.
    h.sh("idle", "dd if=/dev/zero of=/file bs=1M count=60 2>/dev/null; sync");
    let before = (cpu_ns(&h, "burner"), std::time::Instant::now());
    let shown = tables(&h, &["500ms", "4", "-R", "interval,total,average,high"]);
    let burnt = (cpu_ns(&h, "burner") - before.0) as f64 / before.1.elapsed().as_secs_f64() / 1e9;
    assert_eq!(shown.len(), 7);
    let [total, average, high] = [4, 5, 6].map(|n| used(&shown[n], "burner", "cpu").unwrap() as f64 / 1e6);
    // Over nearly the same time by another reader, however much the machine gives it.
    assert!((total - burnt).abs() <= 0.15 * burnt, "{total} was shown of {burnt}");
    assert!(
        total <= 0.3 * 1.15 && (total - average).abs() < 1e-6 && high >= total,
        "{total} {average} {high}"
    );
    for table in &shown {
        let [all, system, burner, idle] =
            ["[total]", "[system]", "burner", "idle"].map(|name| used(table, name, "cpu"));
        if table["report"] == "interval" {
            assert_eq!(
                all.unwrap(),
                system.unwrap() + burner.unwrap() + idle.unwrap(),
                "{table}"
            );
        }
        // A cap of 0.3 lets it run for thirty of a hundred milliseconds, and longer breaks follow where it was let run on
        // for longer: in an interval that begins late, and so is short, it may not run at all.
        if table["ns"].as_u64().unwrap() >= 300_000_000 {
            assert!(idle < burner, "{table}");
        }
        assert_eq!(row(table, "burner")["cpu"]["limit"], 0.3);
        assert_eq!(row(table, "burner")["tenant"], "acme");
        // What the file takes is on the disk, and what was written of it passed through memory.
        let disk = used(table, "idle", "disk").unwrap();
        assert!((60 << 20..90 << 20).contains(&disk), "{disk}");
        assert_eq!(row(table, "idle")["disk"]["limit"], 128 << 20);
        assert!(used(table, "idle", "memory") > Some(0) && used(table, "idle", "processes") > Some(0));
    }
    let share = row(&shown[0], "burner");
    assert_eq!(share["cpu_weight"], 100);
    assert!(share["percent_of_entitlement"].as_f64() > Some(0.0), "{share}");
}

#[test]
fn for_people_and_for_programs() {
    let h = House::new();
    h.write("etc/tenants/acme.toml", "");
    h.busybox_with("web1", &["tenant=acme"]);
    h.busybox("web2");
    let text = h.ok(&["stat"]);
    let lines: Vec<&str> = text.lines().collect();
    // A tenth of a second, and what the machine needs to look.
    let took = lines[0]
        .strip_prefix("Interval 1, ")
        .and_then(|rest| rest.split(' ').next());
    let took: f64 = took.unwrap().parse().unwrap();
    assert!((0.1..slowness() as f64).contains(&took), "{text}");
    assert!(lines[1].starts_with("NAME") && lines[1].contains("%SHARE"), "{text}");
    assert!(
        lines[2].starts_with("[total]") && lines[3].starts_with("[system]"),
        "{text}"
    );
    assert_eq!(lines.len(), 6, "{text}");
    for resource in ["cpu", "memory", "swap", "disk", "io", "network", "processes", "all"] {
        let text = h.ok(&["stat", "--resource", resource]);
        assert!(text.contains("web1") && text.contains("web2"), "{text}");
    }
    let text = h.ok(&["stat", "-p", "--resource", "processes", "--by", "tenant"]);
    let kinds: Vec<&str> = text.lines().map(|l| l.split(':').next().unwrap()).collect();
    assert_eq!(kinds, ["header", "row", "row", "row", "row", "footer"], "{text}");
    let acme = text.lines().find(|l| l.contains(":tenant:acme:")).unwrap();
    let fields: Vec<&str> = acme.split(':').collect();
    assert_eq!((fields[8], fields[11]), ("processes", "100"), "{acme}");
    assert!(fields[9].parse::<u64>().unwrap() >= 1, "{acme}");
}

#[test]
fn lives_that_begin_and_end_in_between() {
    let h = House::new();
    h.busybox("comes");
    h.busybox("goes");
    h.busybox("again");
    h.ok(&["stop", "comes"]);
    for ve in ["goes", "again"] {
        burn(&h, ve);
    }
    h.until("it has burnt something", 20, || cpu_ns(&h, "again") > 300_000_000);
    let stat = h.spawn(&["stat", "400ms", "10", "--json", "--all"]);
    h.ok(&["start", "comes"]);
    h.ok(&["kill", "again"]);
    h.ok(&["start", "again"]);
    h.ok(&["destroy", "goes", "--force"]);
    let ran = house::end_of(stat);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let cpus = std::thread::available_parallelism().unwrap().get() as f64;
    let mut seen = 0;
    for line in ran.out.lines() {
        let table: Value = serde_json::from_str(line).unwrap();
        for row in table["rows"].as_array().unwrap() {
            // A cap of one processor may be passed within a short interval, the host's processors not.
            let cpu = row["cpu"]["used"].as_f64();
            assert!(cpu.is_none_or(|n| n <= cpus * 1.2), "{row}");
            let net = row["in"]["used"].as_u64();
            assert!(net.is_none_or(|n| n < 1 << 20), "{row}");
            seen += 1;
        }
    }
    assert!(seen >= 10 * 4, "{seen} lines");
    let last: Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    assert_eq!(row(&last, "comes")["state"], "running");
    assert!(last["rows"].as_array().unwrap().iter().all(|r| r["name"] != "goes"));
}

#[test]
fn ctrl_c_prints_what_is_pending() {
    let h = House::new();
    h.busybox("a");
    let mut stat = h.command(&["stat", "100ms", "-R", "interval,total"]);
    stat.stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = stat.spawn().unwrap();
    let pid = Pid::from_child(&child);
    let talk = house::Talk::new(child);
    talk.hear("Interval 2,");
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let ran = talk.end();
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("\nReport total, "), "{}", ran.out);
}
