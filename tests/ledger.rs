//! The ledger on a real kernel: VEs burn what is known, and the report says so; whoever measures may be killed, or never
//! have run.

#![allow(clippy::unwrap_used)]

mod house;

use house::House;
use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The IPv4 packet of `ping -s 972`.
const PACKET: u64 = 1000;
const MIB: u64 = 1 << 20;

/// A house that is measured each second.
fn house() -> House {
    let h = House::new();
    h.write(
        "hostel.toml",
        &(h.read("hostel.toml") + "\n[metering]\ninterval = \"1s\"\n"),
    );
    h
}

/// What was used in sum, by name.
fn usage(h: &House, whose: &[&str]) -> Value {
    let args = [&["report", "--last", "1h", "--format", "json"], whose].concat();
    let rows: Value = serde_json::from_str(&h.ok(&args)).unwrap();
    rows[0]["usage"].clone()
}

fn number(usage: &Value, name: &str) -> u64 {
    usage[name].as_u64().unwrap_or(0)
}

fn samples(h: &House, ve: &str) -> Vec<Value> {
    let text = h.ok(&["ledger", "export"]);
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|r| r["kind"] == "sample" && r["name"] == ve).collect()
}

#[track_caller]
fn verified(h: &House) -> Value {
    let said: Value = serde_json::from_str(&h.ok(&["ledger", "verify", "--json"])).unwrap();
    assert_eq!(said["broken"], Value::Null);
    said
}

#[track_caller]
fn within_a_hundredth(what: &str, found: u64, burnt: u64) {
    assert!(
        found.abs_diff(burnt) * 100 <= burnt,
        "{what}: {found}, and {burnt} were burnt"
    );
}

/// Burns processor time, and says how much of it.
fn burn(h: &House, ve: &str) -> u64 {
    spent(h, ve, "i=0; while [ $i -lt 4000000 ]; do i=$((i+1)); done")
}

/// Runs it inside. The processor time that it took in nanoseconds, as the guest's own clock of processes counts it.
fn spent(h: &House, ve: &str, line: &str) -> u64 {
    let said = h.sh(ve, &format!("{{ time sh -c '{line}'; }} 2>&1"));
    let spent = |kind: &str| -> f64 {
        let line = said
            .lines()
            .find(|l| l.starts_with(kind))
            .unwrap_or_else(|| panic!("{said}"));
        let (minutes, seconds) = line[kind.len()..].trim().trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.trim().parse::<f64>().unwrap()
    };
    ((spent("user") + spent("sys")) * 1e9) as u64
}

#[test]
fn what_is_burnt_is_in_the_report_though_no_manager_ran() {
    let h = house();
    for name in ["a", "b"] {
        h.busybox(name);
    }
    let b = h.status("b", "addresses")[0].as_str().unwrap().to_owned();
    let before = usage(&h, &["--ve", "a"]);
    let mut burnt = burn(&h, "a");
    let ping = |count: u64| {
        let out = h.sh("a", &format!("ping -c {count} -i 0.1 -s 972 -w 20 {b} 2>&1"));
        assert!(out.contains(&format!("{count} packets received")), "{out}");
    };
    ping(3);
    // A disk that is fuller by so much.
    h.sh("a", "dd if=/dev/urandom of=/root/file bs=1M count=20 2>/dev/null; sync");
    h.ok(&["stop", "a"]);
    h.ok(&["start", "a"]);
    burnt += burn(&h, "a");
    ping(2);
    // It ends by itself; nobody has asked for anything.
    h.run(&["exec", "a", "poweroff"]);
    h.until("it has ended", 30, || h.state("a") == "stopped");
    h.ok(&["start", "a"]);
    burnt += burn(&h, "a");
    h.ok(&["kill", "a"]);
    let after = usage(&h, &["--ve", "a"]);
    let more = |name: &str| number(&after, name) - number(&before, name);
    // What starting, stopping and entering the VE took is in it too, and isn't known: on a slow machine it may be more
    // than we would think, but not more than a hundredth of what was burnt there.
    let overhead = more("cpu_ns").saturating_sub(burnt);
    let borne = (400_000_000 * house::slowness()).max(burnt / 100);
    assert!(
        more("cpu_ns") * 100 >= burnt * 99 && overhead < borne,
        "{} of {burnt}",
        more("cpu_ns")
    );
    for way in ["in", "out"] {
        assert_eq!(more(&format!("traffic.external.{way}.ipv4.bytes")), 5 * PACKET, "{way}");
    }
    let grown = number(&after, "disk.peak") - number(&before, "disk.peak");
    within_a_hundredth("disk", grown, 20 * MIB);
    assert!(
        number(&after, "memory.peak") > 0 && number(&after, "memory.seconds") > 0,
        "{after}"
    );
    verified(&h);
    assert_eq!(h.audit(), Vec::<Value>::new());
}

#[test]
fn a_manager_measures_and_may_be_killed_at_any_time() {
    let h = house();
    h.busybox_with("a", &["memory.limit=512MiB"]);
    let init = h.status("a", "pid");
    let count = |h: &House| samples(h, "a").len();
    let mut child = h.manager();
    // Much, as the kernel charges for each processor some hundred KiB beforehand.
    h.sh("a", "dd if=/dev/zero of=/dev/shm/held bs=1M count=200 2>/dev/null");
    let held = h.status("a", "memory").as_u64().unwrap();
    let seen = count(&h);
    h.until("it was measured", 20, || count(&h) >= seen + 2);
    let before = usage(&h, &["--ve", "a"]);
    let mut burnt = burn(&h, "a");
    // Killed, and another in its place: nothing lost, nothing twice.
    for _ in 0..3 {
        child.kill().unwrap();
        child.wait().unwrap();
        child = h.manager();
    }
    burnt += burn(&h, "a");
    let seen = count(&h);
    h.until("it was measured again", 20, || count(&h) >= seen + 3);
    let two = h.fails(5, &["--wait-lock", "0s", "manager"]);
    assert!(two.contains("the manager is held by manager"), "{two}");
    house::signal(&child, Signal::TERM);
    let ended = house::end_of(child);
    // On a machine that stands still for seconds a look may take longer than it waits, which it says, and all is made up for.
    let wrong = ended.err.lines().find(|line| !line.contains("did not answer in time"));
    assert_eq!((ended.code, wrong), (0, None), "{ended:?}");
    let after = usage(&h, &["--ve", "a"]);
    within_a_hundredth(
        "processor time",
        number(&after, "cpu_ns") - number(&before, "cpu_ns"),
        burnt,
    );
    // The last records are of a time in which only that was in memory.
    let last = samples(&h, "a")
        .into_iter()
        .rev()
        .find(|r| number(&r["usage"], "memory.time") > 500_000_000)
        .unwrap();
    let memory = |name: &str| -> u128 { last["usage"][name].to_string().trim_matches('"').parse().unwrap() };
    let average = u64::try_from(memory("memory") / memory("memory.time")).unwrap();
    within_a_hundredth("memory", average, held);
    assert_eq!(h.status("a", "pid"), init, "no manager touches a VE");
    // A record of each second at most overlaps none other: all of them are as long as the time that has passed.
    let records = samples(&h, "a");
    let ends: Vec<i64> = records.iter().map(|r| r["to_ns"].as_i64().unwrap()).collect();
    assert!(ends.windows(2).all(|w| w[0] <= w[1]), "{ends:?}");
    verified(&h);
    assert_eq!(h.audit(), Vec::<Value>::new());
}

/// Init's root is what the guest's root makes it: an overlay too, with next to nothing in it.
#[test]
fn a_disk_is_measured_whatever_the_guest_has_for_its_root() {
    let h = house();
    h.busybox("a");
    let mut child = h.manager();
    h.until("there is a ledger", 20, || h.run(&["ledger", "verify"]).code == 0);
    let count = || samples(&h, "a").len();
    h.until("it was measured", 20, || count() > 1);
    let before = number(&usage(&h, &["--ve", "a"]), "disk.peak");
    h.sh(
        "a",
        "mkdir /t && mount -t tmpfs none /t && mkdir /t/u /t/w /t/new && \
         mount -t overlay -o lowerdir=/bin,upperdir=/t/u,workdir=/t/w,userxattr none /t/new && \
         mkdir /t/new/old && pivot_root /t/new /t/new/old && \
         /busybox dd if=/old/dev/urandom of=/old/root/file bs=1M count=30 && /busybox sync",
    );
    let init = h.status("a", "pid");
    let root = h.host_sh(&format!("ls /proc/{init}/root"));
    assert!(
        root.contains("old") && root.contains("busybox") && !root.contains("etc"),
        "{root}"
    );
    let seen = count();
    h.until("it was measured again", 20, || count() >= seen + 2);
    let after = number(&usage(&h, &["--ve", "a"]), "disk.peak");
    within_a_hundredth("disk", after - before, 30 * MIB);
    house::signal(&child, Signal::TERM);
    child.wait().unwrap();
}

#[test]
fn who_changes_the_ledger_is_found_out() {
    let h = house();
    h.busybox("victim");
    h.ok(&["destroy", "--force", "victim"]);
    let said = verified(&h);
    assert!(said["records"].as_u64().unwrap() > 3, "{said}");
    let refused = h.fails(2, &["report", "--all", "--from", "2020-01-02", "--to", "2020-01-01"]);
    assert!(refused.contains("ends before it begins"), "{refused}");
    // Gone, and yet in the report.
    let text = h.ok(&["report", "--all", "--last", "1h"]);
    assert!(text.contains("total") && text.contains("victim ("), "{text}");
    let csv = h.ok(&[
        "report", "--ve", "victim", "--last", "1h", "--by", "day", "--format", "csv",
    ]);
    assert!(csv.starts_with("group,ves,") && csv.lines().count() >= 3, "{csv}");
    let path = h.dir.join("data/ledger.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let name = b"\"name\":\"victim\"";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap();
    bytes[at + 8] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let said = h.run(&["ledger", "verify"]);
    let found = said.code == 1 && said.err.contains("is the first that is not as it was written");
    assert!(found, "{said:?}");
}

#[test]
fn traffic_that_is_used_up_keeps_its_tenants_ves_from_starting_and_is_billed() {
    let h = house();
    h.write("etc/tenants/acme.toml", "[traffic]\nmonth = \"8KiB\"\n");
    let price =
        "currency = \"EUR\"\ndigits = 4\n[[price]]\nname = \"Out\"\nusage = \"traffic_out\"\nprice = \"1024\"\n";
    h.write("etc/prices.toml", price);
    h.busybox("other");
    let other = h.status("other", "addresses")[0].as_str().unwrap().to_owned();
    for name in ["web1", "web2"] {
        h.ok(&["create", name, "--template", "busybox", "--tenant", "acme"]);
    }
    h.ok(&["start", "web1"]);
    let out = h.sh("web1", &format!("ping -c 5 -i 0.1 -s 972 -w 20 {other} 2>&1"));
    assert!(out.contains("5 packets received"), "{out}");
    // It runs, and what has passed so far is known all the same: to who asks, now; to a start, as of two seconds ago.
    let shown: Value = serde_json::from_str(&h.ok(&["tenant", "show", "acme", "--json"])).unwrap();
    // And what IPv6 says of itself when an interface comes up.
    let used = shown["traffic"]["used"].as_u64().unwrap();
    assert!((10 * PACKET..11 * PACKET).contains(&used), "{used}");
    assert_eq!(shown["traffic"]["ves"][0]["ve"], "web1");
    let refused = h.fails(6, &["start", "web2"]);
    assert!(
        refused.contains("of the 8KiB of traffic that tenant \"acme\" may have in 2"),
        "{refused}"
    );
    assert!(
        refused.contains("web1 has had ") && refused.contains("wait for 2"),
        "{refused}"
    );
    h.ok(&["destroy", "--force", "web1"]);
    h.fails(6, &["start", "web2"]);
    h.ok(&["tenant", "set", "acme", "traffic.month=1MiB"]);
    h.ok(&["start", "web2"]);
    let whose = ["report", "--tenant", "acme", "--last", "1h", "--invoice", "--format"];
    let bill = h.ok(&[&whose[..], &["csv"]].concat());
    // 5000 bytes of a GiB at 1024 are 0.0048, and 500 are 0.0005.
    let sum = bill.lines().nth(1).unwrap().split(',').nth(5).unwrap().to_owned();
    assert!(
        ["0.0048", "0.0049", "0.0050", "0.0051", "0.0052", "0.0053"].contains(&sum.as_str()),
        "{bill}"
    );
    let page = h.ok(&[&whose[..], &["html"]].concat());
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("web1 ("), "{page}");
    assert!(page.contains(&sum) && page.trim_end().ends_with("</html>"), "{page}");
    assert!(
        page.contains("traffic left this month") && page.contains("100.000 %"),
        "{page}"
    );
    // What is left of the month's budget, and for how much of the time that they should have run they did.
    let whose = ["report", "--tenant", "acme", "--last", "1h"];
    let text = h.ok(&whose);
    assert!(
        text.contains("\nTraffic of acme in 2") && text.contains(" used of 1.0M, "),
        "{text}"
    );
    let rows: Value = serde_json::from_str(&h.ok(&[&whose[..], &["--format", "json"]].concat())).unwrap();
    let budget = &rows[0]["budget"];
    let number = |key: &str| budget[key].as_u64().unwrap();
    assert_eq!((number("limit"), number("used") + number("left")), (1 << 20, 1 << 20));
    assert!(
        rows[1]["budget"].is_null() && rows[0]["usage"]["availability"] == 100.0,
        "{rows}"
    );
    let csv = h.ok(&["report", "--all", "--last", "1h", "--by", "tenant", "--format", "csv"]);
    let heads: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    let acme = csv.lines().find(|l| l.starts_with("acme,")).unwrap();
    let of = |head: &str| {
        acme.split(',')
            .nth(heads.iter().position(|h| *h == head).unwrap())
            .unwrap()
    };
    assert_eq!((of("availability"), of("budget.traffic.limit")), ("100.000", "1048576"));
    assert!(
        of("memory.peak").parse::<u64>().unwrap() >= of("memory.average").parse().unwrap(),
        "{csv}"
    );
    // Where none measures, that is told; and when something was last measured.
    let facts = h.ok(&["info"]);
    assert!(
        facts.contains("doesn't run") && facts.contains("measured at 2"),
        "{facts}"
    );
    verified(&h);
    assert_eq!(h.audit(), Vec::<Value>::new());
}

/// Kills what stands beside a VE that runs: the parent of its init.
fn kill_monitor(h: &House, ve: &str) {
    let init = h.status(ve, "pid");
    h.host_sh(&format!("kill -9 $(ps -o ppid= -p {init})"));
}

/// What two tenants' VEs burn through all that may happen to them is in their months' reports, each under whose it was then.
#[test]
fn a_month_of_two_tenants_is_what_they_burnt() {
    let h = house();
    for tenant in ["acme", "globex"] {
        h.write(&format!("etc/tenants/{tenant}.toml"), "");
    }
    h.write("etc/plans/large.toml", &h.read("etc/plans/test.toml"));
    let whole = |tenant: &str| {
        let rows = h.ok(&["report", "--last", "30d", "--by", "tenant", "--format", "json"]);
        let rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
        let row = rows.into_iter().find(|r| r["group"] == tenant);
        row.map_or(Value::Null, |row| row["usage"].clone())
    };
    h.busybox_with("a", &["tenant=acme"]);
    h.busybox_with("b", &["tenant=globex"]);
    let peer = h.status("b", "addresses")[0].as_str().unwrap().to_owned();
    let (mut acme, mut globex) = (0, 0);
    let mut manager = h.manager();
    // Past the page cache, so that it counts on every kernel.
    let dd = |line: &str| spent(&h, "a", &format!("dd if=/dev/zero bs=1M {line} 2>/dev/null"));
    let write = || dd("of=/root/written count=20 oflag=direct conv=notrunc");
    let ping = |count: u64| {
        let out = h.sh("a", &format!("ping -c {count} -i 0.1 -s 972 -w 20 {peer} 2>&1"));
        assert!(out.contains(&format!("{count} packets received")), "{out}");
    };
    acme += burn(&h, "a");
    globex += burn(&h, "b");
    ping(3);
    acme += write() + dd("of=/dev/shm/held count=64");
    // Who measures dies, and nobody does for a while; so does who stands beside the VE.
    manager.kill().unwrap();
    manager.wait().unwrap();
    acme += burn(&h, "a");
    kill_monitor(&h, "a");
    acme += burn(&h, "a");
    let mut manager = h.manager();
    acme += write();
    let small = acme;
    h.ok(&["set", "a", "plan=large"]);
    acme += burn(&h, "a");
    // It ends by its own hand, and is killed in its next life.
    h.run(&["exec", "a", "poweroff"]);
    h.until("it has ended", 30, || h.state("a") == "stopped");
    h.ok(&["start", "a"]);
    acme += burn(&h, "a");
    h.ok(&["kill", "a"]);
    // Another's from now on.
    h.ok(&["set", "a", "tenant=globex"]);
    h.ok(&["start", "a"]);
    globex += burn(&h, "a") + write();
    ping(2);
    h.ok(&["stop", "--all"]);
    h.ok(&["destroy", "--force", "a"]);
    house::signal(&manager, Signal::TERM);
    h.until("the manager ends", 30, || manager.try_wait().unwrap().is_some());
    for (tenant, burnt, packets, written) in [("acme", acme, 3, 40 * MIB), ("globex", globex, 5 + 2, 20 * MIB)] {
        let usage = whole(tenant);
        // What file systems write of their own is in it too.
        let found = number(&usage, "disk_write_bytes");
        assert!(
            (written..written + 16 * MIB).contains(&found),
            "{tenant}: {found} of {written}"
        );
        assert!(number(&usage, "disk_write_ops") > 0);
        let held = number(&usage, "memory.peak") >= 64 * MIB;
        assert_eq!(held, tenant == "acme", "{tenant}: {usage}");
        let found = number(&usage, "cpu_ns");
        // What starting, stopping and entering took is in it too, and isn't known.
        let borne = (400_000_000 * house::slowness()).max(burnt / 100);
        assert!(
            found * 100 >= burnt * 99 && found - burnt.min(found) < borne,
            "{tenant}: {found} of {burnt}"
        );
        // b is globex's, who hears all five of a's pings; the last two are of its own VE.
        for way in ["in", "out"] {
            let bytes = number(&usage, &format!("traffic.external.{way}.ipv4.bytes"));
            assert_eq!(bytes, packets * PACKET, "{tenant} {way}");
        }
    }
    let plans = h.ok(&[
        "report", "--tenant", "acme", "--last", "30d", "--by", "plan", "--format", "json",
    ]);
    let plans: Vec<Value> = serde_json::from_str(&plans).unwrap();
    let of = |plan: &str| {
        plans
            .iter()
            .find(|r| r["group"] == plan)
            .map(|r| number(&r["usage"], "cpu_ns"))
    };
    for (plan, burnt) in [("test", small), ("large", acme - small)] {
        let found = of(plan).unwrap();
        let borne = (400_000_000 * house::slowness()).max(burnt / 100);
        assert!(
            found * 100 >= burnt * 99 && found - burnt.min(found) < borne,
            "{plan}: {found} of {burnt}"
        );
    }
    verified(&h);
    h.ok(&["destroy", "b"]);
    assert_eq!(h.audit(), Vec::<Value>::new());
}

/// Bytes of memory times time are what was held, to a hundredth: against what was put there, not what Hostel says of it.
#[test]
fn memory_is_what_was_held_for_as_long() {
    const HELD: u64 = 200 * MIB;
    let h = house();
    h.busybox_with("a", &["memory.limit=512MiB"]);
    h.ok(&["report", "--last", "1h"]);
    let manager = h.manager();
    // Of a time in which nothing changes: the bytes times seconds, and the nanoseconds.
    let stretch = || {
        // The first records after a change are of both.
        let count = samples(&h, "a").len();
        h.until("it was measured", 30, || samples(&h, "a").len() >= count + 3);
        let before = (samples(&h, "a").len(), std::time::Instant::now());
        h.until("it was measured for a while", 60, || {
            samples(&h, "a").len() >= before.0 + 8
        });
        let all: Vec<Value> = samples(&h, "a").split_off(before.0);
        let sum = |name: &str| -> f64 {
            let number = |r: &Value| r["usage"][name].to_string().trim_matches('"').parse::<f64>().unwrap();
            all.iter().map(number).sum()
        };
        let (bytes, time) = (sum("memory"), sum("memory.time"));
        assert_eq!(time, sum("running_ns"), "it is known all the time");
        let (from, to) = (
            all[0]["from_ns"].as_i64().unwrap(),
            all[all.len() - 1]["to_ns"].as_i64().unwrap(),
        );
        assert!(((to - from) as f64 - time).abs() < 0.01 * time, "{from} {to} {time}");
        bytes / time
    };
    let without = stretch();
    h.sh("a", "dd if=/dev/zero of=/dev/shm/held bs=1M count=200 2>/dev/null");
    let with = stretch();
    within_a_hundredth("memory", (with - without) as u64, HELD);
    house::signal(&manager, Signal::TERM);
    house::end_of(manager);
    verified(&h);
}

/// A manager that is ended enters what was left to it: nothing else would when the host goes down.
#[test]
fn a_manager_that_is_ended_leaves_nothing_behind() {
    let h = House::new();
    h.write(
        "hostel.toml",
        &(h.read("hostel.toml") + "\n[metering]\ninterval = \"1h\"\n"),
    );
    h.busybox("a");
    h.ok(&["report", "--last", "1h"]);
    let seen = || samples(&h, "a").len();
    let first = seen();
    let manager = h.manager();
    h.until("it has looked once", 30, || seen() > first);
    let before = seen();
    let burnt = burn(&h, "a");
    h.ok(&["stop", "a"]);
    assert_eq!(seen(), before, "it is left to the manager");
    house::signal(&manager, Signal::TERM);
    let ended = house::end_of(manager);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    // Not by a report, which would look for itself.
    let used: u64 = samples(&h, "a").iter().map(|r| number(&r["usage"], "cpu_ns")).sum();
    assert!(used * 100 >= burnt * 99, "{used} of {burnt}");
    let text = h.ok(&["report", "--last", "1h"]);
    assert!(text.contains(", complete up to 2"), "{text}");
    verified(&h);
}

/// However it is asked for, it comes to the same; and a VE that is made anew is another of the same name.
#[test]
fn each_way_to_ask_comes_to_the_same() {
    let h = house();
    let month = || h.host_sh("date -u +%Y-%m").trim().to_owned();
    let began = month();
    h.busybox("a");
    let mut burnt = vec![burn(&h, "a")];
    h.ok(&["stop", "a"]);
    h.ok(&["reinstall", "a"]);
    h.ok(&["start", "a"]);
    burnt.push(burn(&h, "a"));
    h.ok(&["stop", "a"]);
    let rows = |args: &[&str]| -> Vec<Value> {
        let all = [&["report", "--ve", "a", "--format", "json"], args].concat();
        serde_json::from_str(&h.ok(&all)).unwrap()
    };
    let cpu = |row: &Value| number(&row["usage"], "cpu_ns");
    let by_ve = rows(&["--last", "1h"]);
    let (total, lives) = (cpu(&by_ve[0]), &by_ve[1..]);
    assert_eq!((by_ve[0]["ves"].as_u64(), lives.len()), (Some(2), 2), "{by_ve:?}");
    assert_eq!(lives[0]["group"], lives[1]["group"]);
    assert_eq!(total, lives.iter().map(cpu).sum::<u64>());
    // What starting, stopping and entering took is in it too, and isn't known.
    for (row, burnt) in lives.iter().zip(burnt) {
        let (found, borne) = (cpu(row), (400_000_000 * house::slowness()).max(burnt / 100));
        assert!(
            found * 100 >= burnt * 99 && found - burnt.min(found) < borne,
            "{found} of {burnt}"
        );
    }
    let mut months = vec![began, month()];
    months.dedup();
    let of_month = |month: &String| cpu(&rows(&["--month", month])[0]);
    assert_eq!(months.iter().map(of_month).sum::<u64>(), total);
    // What has no end goes up to now, and says so; what has one, to that.
    let open = rows(&["--from", "2020-01-01"]);
    let now = h.host_sh("date -u +%Y-%m-%dT%H:%M:%SZ");
    assert!(open[0]["to"].as_str().unwrap() <= now.trim(), "{open:?}");
    let closed = rows(&["--from", "2020-01-01T12:00:00Z", "--to", "2100-01-01"]);
    assert_eq!((cpu(&open[0]), cpu(&closed[0])), (total, total));
    assert_eq!(closed[0]["from"], "2020-01-01T12:00:00Z");
    assert_eq!(closed[0]["to"], "2100-01-01T00:00:00Z");
    for by in ["hour", "day", "plan", "tenant"] {
        let rows = rows(&["--last", "1h", "--by", by]);
        assert_eq!((cpu(&rows[0]), rows[1..].iter().map(cpu).sum()), (total, total), "{by}");
    }
    assert_eq!(cpu(&rows(&["--from", "2020-01-01", "--to", "2020-01-02"])[0]), 0);
}

/// In the order of docs/METERING.md.
const COUNTERS: [&str; 20] = [
    "cpu_ns",
    "cpu_user_ns",
    "cpu_system_ns",
    "throttled_ns",
    "cap_periods",
    "cap_hits",
    "disk_read_bytes",
    "disk_write_bytes",
    "disk_read_ops",
    "disk_write_ops",
    "oom_kills",
    "forks_refused",
    "memory_limit_hits",
    "cpu_some_us",
    "cpu_full_us",
    "memory_some_us",
    "memory_full_us",
    "io_some_us",
    "io_full_us",
    "disk_full_hits",
];

/// Whoever has an export alone can prove it, and read its bytes: by what docs/METERING.md says, and nothing of ours.
#[test]
fn an_export_proves_itself() {
    let h = house();
    h.busybox("a");
    burn(&h, "a");
    h.ok(&["stop", "a"]);
    let text = h.ok(&["ledger", "export"]);
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.len() > 3, "{text}");
    let body = |r: &Value| -> Vec<u8> {
        let text = r["body"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    };
    let proven = |records: &[Value]| {
        let mut before = vec![0_u8; 32];
        records.iter().all(|r| {
            let kind = ["life", "terms", "sample", "hour", "day", "thinned", "closed"];
            let kind = 1 + kind.iter().position(|kind| r["kind"] == *kind).unwrap();
            let mut hash = Sha256::new_with_prefix(&before);
            hash.update(r["seq"].as_i64().unwrap().to_be_bytes());
            hash.update((kind as i64).to_be_bytes());
            for name in ["life_record", "terms_record", "from_ns", "to_ns"] {
                hash.update(r[name].as_i64().unwrap().to_be_bytes());
            }
            hash.update(body(r));
            before = hash.finalize().to_vec();
            let shown: String = before.iter().map(|byte| format!("{byte:02x}")).collect();
            r["hash"] == shown
        })
    };
    assert!(proven(&records));
    for r in records.iter().filter(|r| r["kind"] == "sample") {
        let (body, mut at) = (body(r), 0);
        let mut next = || {
            let (mut n, mut shift) = (0_u128, 0);
            loop {
                n |= u128::from(body[at] & 0x7f) << shift;
                at += 1;
                if body[at - 1] < 0x80 {
                    return n;
                }
                shift += 7;
            }
        };
        assert_eq!(next(), 1, "the version");
        let usage = |name: &str| -> u128 {
            let shown = r["usage"][name].to_string();
            shown.trim_matches('"').parse().unwrap_or(0)
        };
        for name in ["running_ns", "paused_ns", "suspended_ns", "stopped_ns", "unknown_ns"] {
            assert_eq!(next(), usage(name), "{name}");
        }
        let counters: Vec<u128> = (0..next()).map(|_| next()).collect();
        assert!((19..=COUNTERS.len()).contains(&counters.len()), "{counters:?}");
        for (name, counter) in COUNTERS.into_iter().zip(counters) {
            assert_eq!(counter.saturating_sub(1), usage(name), "{name}");
        }
        let levels = ["memory", "swap", "processes", "disk", "inodes", "disk_full"];
        let count = next() as usize;
        assert!((5..=levels.len()).contains(&count));
        for name in &levels[..count] {
            let (integral, time, _) = (next(), next(), next());
            assert_eq!(
                (integral, time),
                (usage(name), usage(&format!("{name}.time"))),
                "{name}"
            );
        }
    }
    // One second more for one VE, and nothing else is changed.
    let mut forged = records.clone();
    let at = forged.iter().position(|r| r["kind"] == "sample").unwrap();
    forged[at]["to_ns"] = (forged[at]["to_ns"].as_i64().unwrap() + 1_000_000_000).into();
    assert!(!proven(&forged));
    forged.remove(at);
    assert!(!proven(&forged));
}

/// A disk that was full is in the report, and `limits` knows of it when it isn't any more, and after the VE has run again.
#[test]
fn a_disk_that_was_full_is_told_of() {
    let h = house();
    h.busybox_with("a", &["disk.size=64MiB"]);
    h.ok(&["report", "--last", "1h"]);
    let limit = |key: &str| {
        let lines: Vec<Value> = serde_json::from_str(&h.ok(&["limits", "a", "--json"])).unwrap();
        lines.into_iter().find(|l| l["key"] == key).unwrap()
    };
    assert_eq!(limit("disk.size")["hits"], 0);
    let filled = h.run(&["exec", "a", "--", "dd", "if=/dev/urandom", "of=/root/all", "bs=1M"]);
    assert!(filled.err.contains("No space left"), "{filled:?}");
    let manager = h.manager();
    h.until("it was found full", 30, || limit("disk.size")["hits"] == 1);
    h.sh("a", "rm /root/all; sync");
    let full = || number(&usage(&h, &["--ve", "a"]), "disk_full");
    h.until("it was found not to be full", 30, || {
        let before = full();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        before > 0 && full() == before
    });
    let shown = limit("disk.size");
    let number = |key: &str| shown[key].as_u64().unwrap();
    assert!(number("most") + MIB > number("limit"), "{shown}");
    assert!(number("held") < 16 * MIB && shown["last"].is_i64(), "{shown}");
    h.ok(&["restart", "a"]);
    for key in ["hits", "most"] {
        assert_eq!(limit("disk.size")[key], shown[key], "{key}");
    }
    house::signal(&manager, Signal::TERM);
    house::end_of(manager);
    let page = h.ok(&["report", "--ve", "a", "--last", "1h", "--format", "html"]);
    assert!(
        page.contains("Where limits stood in the way") && !page.contains("Nowhere"),
        "{page}"
    );
    h.ok(&["stop", "a"]);
    assert_eq!(limit("disk.size")["hits"], 1);
}
