//! A real Prometheus scrapes what the manager serves, and the dashboard's questions are asked of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // it is all test

mod house;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use house::House;
use rustix::process::Signal;
use serde_json::Value;

const METRICS: &str = "127.0.0.1:9738";
const SERVER: &str = "127.0.0.1:9090";

/// Kernels tell these only in part, or not at all: of pressure, of the most memory, of swap that doesn't exist. And what is
/// of hosts that forward their ledger.
const OF_SOME_HOSTS: [&str; 5] = [
    "hostel_ledger_behind_records",
    "hostel_ve_waiting_seconds_total",
    "hostel_ve_memory_peak_bytes",
    "hostel_ve_swap_bytes",
    "hostel_ve_swap_limit_hits_total",
];

/// Where prometheus and promtool are; `None`, with a word of it, where they can't be had.
fn programs() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fetch-prometheus");
    let output = Command::new(script).output().unwrap();
    if output.status.success() {
        return Some(String::from_utf8(output.stdout).unwrap().trim().into());
    }
    println!("skipped because {}", String::from_utf8_lossy(&output.stderr).trim());
    None
}

/// A server that ends with the test, and in any case after some minutes.
struct Server(Child);

impl Server {
    fn new(h: &House, programs: &Path) -> Self {
        h.write(
            "prometheus.yml",
            &format!(
                "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n- job_name: hostel\n  \
                 static_configs:\n  - targets: ['{METRICS}']\n"
            ),
        );
        let log = std::fs::File::create(h.dir.join("prometheus.log")).unwrap();
        let mut command = h.on_host("timeout");
        command
            .args(["--kill-after=5", &(240 * house::slowness()).to_string()])
            .arg(programs.join("prometheus"))
            .arg(format!("--config.file={}", h.dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", h.dir.join("prometheus").display()))
            .arg(format!("--web.listen-address={SERVER}"))
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // timeout(1) hands it on.
        house::signal(&self.0, Signal::TERM);
        let _ = self.0.wait();
    }
}

/// What the server answers now, by its HTTP API; `Err` is what was wrong with the question, or that it isn't there yet.
fn ask(h: &House, programs: &Path, question: &str) -> Result<Vec<Value>, String> {
    let mut command = h.on_host(programs.join("promtool"));
    command.args([
        "query",
        "instant",
        "-o",
        "json",
        "--",
        &format!("http://{SERVER}"),
        question,
    ]);
    let output = command.output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn number(answer: &Value) -> f64 {
    answer["value"][1].as_str().unwrap().parse().unwrap()
}

/// Every text under these keys of a JSON document.
fn texts(value: &Value, keys: &[&str], found: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|v| texts(v, keys, found)),
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if keys.contains(&key.as_str()) => found.push(text.clone()),
                    _ => texts(value, keys, found),
                }
            }
        }
        _ => {}
    }
}

/// The questions of the dashboard, as Grafana would ask them.
fn questions() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/grafana/hostel.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut all, mut variables) = (Vec::new(), Vec::new());
    texts(&dashboard, &["expr"], &mut all);
    texts(&dashboard["templating"], &["definition"], &mut variables);
    assert!(all.len() > 15 && variables.len() == 2, "{all:?} {variables:?}");
    // label_values(SERIES, LABEL)
    all.extend(variables.iter().map(|text| {
        let inner = text
            .strip_prefix("label_values(")
            .and_then(|t| t.strip_suffix(')'))
            .unwrap();
        inner.rsplit_once(", ").unwrap().0.to_owned()
    }));
    let plain = |text: String| {
        let text = text
            .replace("$tenant", ".*")
            .replace("$ve", ".*")
            .replace("$__rate_interval", "30s");
        assert!(!text.contains('$'), "{text}");
        text
    };
    all.into_iter().map(plain).collect()
}

/// The metrics that a question names.
fn names(question: &str) -> BTreeSet<String> {
    let words = question.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|w| w.starts_with("hostel_")).map(str::to_owned).collect()
}

/// promtool takes the text, and has nothing against it.
fn lint(programs: &Path, text: &str) {
    let mut child = Command::new(programs.join("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{text}");
}

#[test]
fn a_prometheus_scrapes_the_manager_and_the_dashboard_asks_it() {
    let Some(programs) = programs() else { return };
    let h = House::new();
    let text = h.read("hostel.toml");
    h.write(
        "hostel.toml",
        &format!("{text}\n[metrics]\nlisten = \"{METRICS}\"\n[metering]\ninterval = \"5s\"\n"),
    );
    h.write("etc/tenants/acme.toml", "");
    h.busybox_with(
        "web1",
        &[
            "tenant=acme",
            "memory.limit=96MiB",
            "memory.swap=32MiB",
            "cpu.cap=0.2",
            "io.read=100MiB",
            "io.write=100MiB",
            "net.in=100Mbit",
            "net.out=100Mbit",
        ],
    );
    h.ok(&["create", "web2", "--template", "busybox"]);
    h.write("etc/schedules/look.toml", "at = \"0 0 1 1 *\"\nrun = [\"list\"]\n");
    h.ok(&["schedule", "run", "look"]);
    h.sh("web1", "(while :; do :; done) >/dev/null 2>&1 </dev/null &");
    let manager = h.spawn(&["manager"]);
    let server = Server::new(&h, &programs);
    h.until("its first scrapes have come", 60, || {
        let count = ask(&h, &programs, "count_over_time(hostel_ve_running{ve=\"web1\"}[5m])");
        count.is_ok_and(|answer| answer.first().is_some_and(|n| number(n) >= 4.0))
    });
    // What comes back is what the VE is and does.
    let one = |question: &str| {
        let answer = ask(&h, &programs, question).unwrap();
        assert_eq!(answer.len(), 1, "{question}: {answer:?}");
        (number(&answer[0]), answer[0]["metric"].clone())
    };
    let (limit, labels) = one("hostel_ve_memory_limit_bytes{ve=\"web1\"}");
    assert_eq!(limit, f64::from(96 << 20));
    assert_eq!(
        (&labels["tenant"], &labels["plan"], &labels["id"]),
        (&"acme".into(), &"test".into(), &"101".into())
    );
    assert_eq!(one("up").0, 1.0);
    for (name, value) in [
        ("hostel_ve_network_receive_limit_bytes_per_second", 12_500_000.0),
        ("hostel_ve_disk_written_limit_bytes_per_second", f64::from(100 << 20)),
        ("hostel_schedule_last_success", 1.0),
    ] {
        assert_eq!(one(name).0, value, "{name}");
    }
    assert!(one("hostel_ve_disk_inodes{ve=\"web1\"} / hostel_ve_disk_inodes_limit").0 < 1.0);
    assert_eq!(one("sum(hostel_ve_running)").0, 1.0);
    assert_eq!(one("count(hostel_ve_info{state=\"stopped\"})").0, 1.0);
    h.until("its rate is that of its cap", 60, || {
        let rate = ask(&h, &programs, "rate(hostel_ve_cpu_seconds_total{ve=\"web1\"}[20s])").unwrap();
        rate.first().is_some_and(|rate| (0.1..0.25).contains(&number(rate)))
    });
    // The names that the dashboard asks for are exported, and each of its questions has an answer.
    h.sh("web1", "ping -c 2 -W 1 10.77.0.1 >/dev/null 2>&1; true");
    let text = h.ok(&["metrics"]);
    lint(&programs, &h.ok(&["metrics", "--format", "prometheus"]));
    let exported: BTreeSet<String> = text
        .lines()
        .filter_map(|l| l.strip_prefix("hostel_")?.split(['{', ' ']).next())
        .map(|name| format!("hostel_{name}"))
        .collect();
    for question in questions() {
        let answer = ask(&h, &programs, &question);
        let answer = answer.unwrap_or_else(|why| panic!("{question}: {why}"));
        let some = names(&question).into_iter().all(|name| {
            let known = exported.contains(&name);
            assert!(
                known || OF_SOME_HOSTS.contains(&name.as_str()),
                "{question}: there is no {name}"
            );
            known
        });
        assert!(!some || !answer.is_empty(), "{question} has no answer");
    }
    assert!(
        ask(&h, &programs, "rate(hostel_ve_running").is_err(),
        "a mistake is seen"
    );
    drop(server);
    // The manager ends, and with it what it serves.
    house::signal(&manager, Signal::TERM);
    let end = house::end_of(manager);
    assert_eq!(end.code, 0, "{}", end.err);
    assert!(
        end.err
            .contains(&format!("serving metrics at http://{METRICS}/metrics")),
        "{}",
        end.err
    );
}

#[test]
fn a_manager_that_cannot_serve_measures_all_the_same() {
    let h = House::new();
    let text = h.read("hostel.toml");
    h.write(
        "hostel.toml",
        &format!("{text}\n[metrics]\nlisten = \"unix:/nowhere/metrics.sock\"\n[metering]\ninterval = \"1s\"\n"),
    );
    h.busybox("web1");
    let manager = h.spawn(&["manager"]);
    h.until("it measures", 60, || {
        h.run(&["report", "--format", "json"]).out.contains("web1 (101)")
    });
    // A second one is told of the first, and ends at once.
    let second = h.fails(5, &["manager", "--wait-lock", "0"]);
    assert!(second.contains("manager"), "{second}");
    house::signal(&manager, Signal::TERM);
    let end = house::end_of(manager);
    assert_eq!(end.code, 0, "{}", end.err);
    assert!(
        end.err.contains("cannot serve metrics at unix:/nowhere/metrics.sock"),
        "{}",
        end.err
    );
    // At a path it is served too, for root alone, and the path is gone with it.
    let socket = h.dir.join("metrics.sock");
    h.write(
        "hostel.toml",
        &format!("{text}\n[metrics]\nlisten = \"unix:{}\"\n", socket.display()),
    );
    let manager = h.spawn(&["manager"]);
    h.until("it listens", 20, || {
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    });
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.contains("hostel_ve_running{ve=\"web1\""), "{answer}");
    house::signal(&manager, Signal::TERM);
    assert_eq!(house::end_of(manager).code, 0);
    assert!(!socket.exists());
}
