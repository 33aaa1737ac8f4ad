//! `hostel limits`, `hostel why` and `hostel metrics` on VEs to which it is done: what is said first is what was done.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use house::House;
use rustix::process::{Pid, Signal};
use serde_json::Value;

/// What `hostel why` says first.
#[track_caller]
fn first(h: &House, ve: &str) -> String {
    let page = h.ok(&["why", ve]);
    let first = page.lines().next().unwrap().to_owned();
    assert!(page.lines().nth(1).unwrap().starts_with("  seen: "), "{page}");
    first
}

#[track_caller]
fn says(h: &House, ve: &str, what: &str) {
    let page = h.ok(&["why", ve]);
    assert!(page.starts_with(what), "{what:?} was expected of {ve}, not:\n{page}");
}

fn limit(h: &House, ve: &str, key: &str) -> Value {
    let lines: Value = serde_json::from_str(&h.ok(&["limits", ve, "--json"])).unwrap();
    let lines = lines.as_array().unwrap();
    lines.iter().find(|l| l["key"] == key).unwrap().clone()
}

const QUIET: &str = ">/dev/null 2>&1 </dev/null &";

#[test]
fn of_those_that_run() {
    let h = House::new();
    h.busybox_with("slow", &["cpu.cap=0.1"]);
    h.busybox_with("small", &["memory.limit=32MiB"]);
    h.busybox("full");
    h.busybox_with("many", &["processes=20"]);
    assert!(
        first(&h, "full").starts_with("Nothing stands out"),
        "{}",
        first(&h, "full")
    );

    h.sh("slow", &format!("(while :; do :; done) {QUIET}"));
    h.until("the cap is felt", 20, || {
        first(&h, "slow").starts_with("Its cap on processor time stops it")
    });
    let cap = limit(&h, "slow", "cpu.cap");
    assert!(
        cap["limit"] == 0.1 && cap["unit"] == "processors" && cap["hits"].as_u64() > Some(0),
        "{cap}"
    );

    assert_ne!(h.run(&["exec", "small", "--", "tail", "/dev/zero"]).code, 0);
    says(
        &h,
        "small",
        "It ran out of memory, and the kernel killed processes in it",
    );
    let memory = limit(&h, "small", "memory.limit");
    assert!(
        memory["kills"].as_u64() >= Some(1) && memory["hits"].as_u64() >= Some(1),
        "{memory}"
    );
    assert_eq!(memory["limit"], 32 << 20);
    let files = limit(&h, "small", "disk.inodes");
    assert!(
        files["most"].as_u64() >= files["held"].as_u64() && files["held"].as_u64() > Some(0),
        "{files}"
    );
    let most = memory["most"].as_u64();
    assert!(most.is_none_or(|n| n > 24 << 20 && n <= 32 << 20), "{memory}");
    assert!(
        memory["last"].is_null() || memory["last"].as_i64() > Some(1_600_000_000),
        "{memory}"
    );

    assert_ne!(
        h.run(&["exec", "full", "--", "dd", "if=/dev/zero", "of=/file", "bs=1M"])
            .code,
        0
    );
    says(&h, "full", "Its disk is full");
    let disk = limit(&h, "full", "disk.size");
    assert!(
        disk["held"].as_u64().unwrap() * 100 >= disk["limit"].as_u64().unwrap() * 98,
        "{disk}"
    );
    assert!(disk["hits"] == 1 && limit(&h, "full", "disk.inodes")["limit"].as_u64() > Some(1000));

    h.run(&[
        "exec",
        "many",
        "--",
        "sh",
        "-c",
        &format!("for i in $(seq 40); do sleep 1000 {QUIET} done"),
    ]);
    // The shell whose fork failed has gone itself, so that there is room for two or three again.
    says(&h, "many", "Its limit of processes has stood in its way");
    let processes = limit(&h, "many", "processes");
    let held = processes["held"].as_u64().unwrap();
    assert!((15..=20).contains(&held) && processes["limit"] == 20, "{processes}");
    assert!(processes["hits"].as_u64() > Some(0), "{processes}");
    let table = h.ok(&["limits", "many"]);
    let line = table.lines().find(|l| l.starts_with("processes")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[1].parse(), Ok(held), "{table}");
    assert_eq!((words[3], words[4].parse()), ("20", Ok(held * 5)), "{table}");

    h.busybox_with("held", &["io.write=2MiB"]);
    let write = "while :; do dd if=/dev/zero of=/file bs=256k count=64 oflag=direct conv=notrunc; done";
    h.sh("held", &format!("({write}) {QUIET}"));
    h.until("the limit is felt", 20, || {
        first(&h, "held").starts_with("It is as fast as its limit io.write lets it be")
    });
    h.until("the limit is seen", 20, || {
        let held = limit(&h, "held", "io.write")["held"].as_u64();
        held.is_some_and(|held| (1 << 20..3 << 20).contains(&held))
    });
    h.busybox_with("slow-net", &["net.out=2Mbit", "network.0.rate_out=8Mbit"]);
    let peer = h.status("full", "addresses")[0].as_str().unwrap().to_owned();
    h.sh("full", &format!("nc -ll -p 7000 -e sh -c 'cat >/dev/null' {QUIET}"));
    h.sh("slow-net", &format!("nc {peer} 7000 </dev/zero >/dev/null 2>&1 &"));
    h.until("the network's limit is felt", 20, || {
        first(&h, "slow-net").starts_with("It is as fast as its limit net.out lets it be")
    });
    let out = limit(&h, "slow-net", "net.out");
    assert!(out["hits"].as_u64() > Some(0), "{out}");
    let own = limit(&h, "slow-net", "network.0.rate_out");
    assert!(own["held"].as_u64() > Some(0) && own["limit"] == 1_000_000, "{own}");

    h.ok(&["pause", "slow"]);
    says(&h, "slow", "slow is paused");
    h.ok(&["unpause", "slow"]);
}

#[test]
fn the_last_hit_is_told_by_the_ledger_also_after_the_end() {
    let h = House::new();
    h.busybox_with(
        "web1",
        &[
            "cpu.cap=0.1",
            "processes=20",
            "io.read=10MiB",
            "net.in=80Mbit",
            "network.0.rate_out=8Mbit",
        ],
    );
    let begin = now();
    h.sh("web1", &format!("(while :; do :; done) {QUIET}"));
    h.run(&[
        "exec",
        "web1",
        "--",
        "sh",
        "-c",
        &format!("for i in $(seq 40); do sleep 1000 {QUIET} done"),
    ]);
    h.until("the cap is felt", 20, || {
        limit(&h, "web1", "cpu.cap")["hits"].as_u64() > Some(0)
    });
    // Where no manager runs, a report enters what was used.
    h.ok(&["report", "--all"]);
    let recent = |key: &str| {
        let last = limit(&h, "web1", key)["last"].as_i64();
        last.is_some_and(|last| (begin..=now() + 1).contains(&last))
    };
    assert!(recent("cpu.cap"), "{}", limit(&h, "web1", "cpu.cap"));
    h.ok(&["stop", "web1"]);
    assert!(recent("cpu.cap") && limit(&h, "web1", "cpu.cap")["hits"].as_u64() > Some(0));
    // On kernels that count it.
    assert!(recent("processes") || limit(&h, "web1", "processes")["last"].is_null());
    // In bytes per second, however they were written; and what nothing is known of is there with its limit.
    for (key, unit, most) in [
        ("net.in", "bytes/s", 10_000_000_u64.into()),
        ("network.0.rate_out", "bytes/s", 1_000_000_u64.into()),
        ("network.0.rate_in", "bytes/s", Value::Null),
        ("io.read", "bytes/s", (10_u64 << 20).into()),
        ("io.write_ops", "operations/s", Value::Null),
    ] {
        let line = limit(&h, "web1", key);
        assert_eq!((&line["unit"], &line["limit"]), (&unit.into(), &most), "{line}");
    }
    let table = h.ok(&["limits", "web1"]);
    assert!(table.contains("80Mbit") && table.contains("10M/s"), "{table}");
}

/// Seconds since 1970.
fn now() -> i64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

#[test]
fn of_those_that_do_not() {
    let h = House::new();
    house::template("busybox");
    h.ok(&["create", "own", "--template", "busybox", "--set", "share=tenant"]);
    says(&h, "own", "Nobody has started it");
    // Its tenant's copy of the template is gone.
    let (tree, away) = (h.dir.join("data/tenants"), h.dir.join("data/away"));
    fs::rename(&tree, &away).unwrap();
    says(&h, "own", "It can't start: the template tree ");
    h.fails(1, &["start", "own"]);
    says(&h, "own", "Its last start failed: the template tree of own is gone");
    fs::rename(&away, &tree).unwrap();
    h.ok(&["start", "own"]);
    assert!(
        first(&h, "own").starts_with("Nothing stands out"),
        "{}",
        first(&h, "own")
    );

    // Killed by somebody on the host.
    let pid = h.status("own", "pid").as_i64().unwrap();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    h.until("it is cleared up after", 20, || {
        h.state("own") == "stopped" && first(&h, "own").starts_with("Its init was killed from outside, by signal 9")
    });
    h.ok(&["start", "own"]);
    h.ok(&["kill", "own"]);
    says(&h, "own", "It was killed by \"hostel kill\"");
    h.ok(&["start", "own"]);
    h.ok(&["stop", "own"]);
    says(&h, "own", "It was stopped by \"hostel stop\"");

    // It has no init any more.
    h.in_mounted_root("own", |root| {
        for init in ["sbin/init", "bin/init", "etc/init", "usr/sbin/init"] {
            let _ = fs::remove_file(root.join(init));
        }
    });
    h.fails(1, &["start", "own"]);
    says(&h, "own", "Its last start failed: ");
    let answer: Value = serde_json::from_str(&h.ok(&["why", "own", "--json"])).unwrap();
    assert_eq!((&answer["state"], &answer["id"]), (&"stopped".into(), &101.into()));
    assert!(
        answer["causes"][0]["what"].as_str().unwrap().contains("init"),
        "{answer}"
    );
    h.fails(3, &["why", "nobody"]);
}

/// Parsed by the reference parser of OpenMetrics where it is installed.
fn check(text: &str) {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let script = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as p\n\
        n = sum(len(f.samples) for f in p(sys.stdin.read()))\nassert n > 0\n";
    let there = Command::new("python3")
        .args(["-c", "import prometheus_client.openmetrics.parser"])
        .output();
    if !there.is_ok_and(|o| o.status.success()) {
        println!("skipped because python3-prometheus-client isn't installed");
        return;
    }
    let mut python = Command::new("python3");
    let mut child = python
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{text}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn value(text: &str, start: &str) -> f64 {
    let line = text
        .lines()
        .find(|l| l.starts_with(start))
        .unwrap_or_else(|| panic!("no {start} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn metrics_printed_and_served() {
    let h = House::new();
    h.write("etc/tenants/acme.toml", "");
    h.busybox_with("web1", &["tenant=acme", "memory.limit=64MiB"]);
    h.ok(&["create", "web2", "--template", "busybox"]);
    let text = h.ok(&["metrics"]);
    check(&text);
    let of = "{ve=\"web1\",id=\"101\",tenant=\"acme\",plan=\"test\"}";
    assert_eq!(
        value(&text, &format!("hostel_ve_memory_limit_bytes{of}")),
        f64::from(64 << 20)
    );
    assert!(value(&text, &format!("hostel_ve_cpu_seconds_total{of}")) > 0.0);
    assert_eq!(value(&text, &format!("hostel_ve_running{of}")), 1.0);
    assert_eq!(value(&text, &format!("hostel_ve_oom_kills_total{of}")), 0.0);
    assert_eq!(value(&text, "hostel_ve_running{ve=\"web2\""), 0.0);
    assert!(
        !text.contains("hostel_ve_memory_bytes{ve=\"web2\""),
        "nothing is told of what doesn't run"
    );

    let socket = h.dir.join("metrics.sock");
    let server = h.spawn(&["metrics", "--listen", &format!("unix:{}", socket.display())]);
    h.until("it listens", 20, || UnixStream::connect(&socket).is_ok());
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let ask = |line: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        write!(
            stream,
            "{line} HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for _ in 0..3 {
        let answer = ask("GET /metrics");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200 ") && head.contains("application/openmetrics-text"),
            "{head}"
        );
        check(body);
        assert_eq!(value(body, &format!("hostel_ve_running{of}")), 1.0);
    }
    assert!(ask("GET /").starts_with("HTTP/1.1 404 ") && ask("POST /metrics").starts_with("HTTP/1.1 405 "));
    let second = h.run(&["metrics", "--listen", &format!("unix:{}", socket.display())]);
    assert_eq!(second.code, 1, "two can't listen at one place: {}", second.err);
    house::signal(&server, Signal::INT);
    let ran = house::end_of(server);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!socket.exists());
}
