//! Limits, by what they do to a guest: set when the VE is made, and changed while it runs.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use house::pace::{READ, READS, WRITE, WRITES, is_free, takes};
use house::{House, template, until};

/// How far the kernel may be from what was asked for, in processor time.
const NEAR: f64 = 0.15;

#[track_caller]
fn set(h: &House, name: &str, settings: &[&str]) {
    let mut args = vec!["set", name];
    args.extend(settings);
    let said = h.ok(&args);
    assert!(
        !said.contains("at restart"),
        "all of {settings:?} takes effect now:\n{said}"
    );
}

/// How this host holds a limit, as `hostel info` has it: enforced, in part, not here.
fn held(h: &House, key: &str) -> String {
    let facts: serde_json::Value = serde_json::from_str(&h.ok(&["info", "--json"])).unwrap();
    let what = format!("limit {key}");
    let fact = facts.as_array().unwrap().iter().find(|f| f["what"] == what);
    fact.unwrap_or_else(|| panic!("info says nothing of {key}"))["value"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The processor time that busy loops get, in processors: `count` of them, over two seconds inside.
fn burned(h: &House, name: &str, count: u32) -> f64 {
    let mut line = String::from("p=; ");
    for _ in 0..count {
        let _ = write!(line, "sh -c 'while :; do :; done' & p=\"$p $!\"; ");
    }
    // Hundredths of a second and nanoseconds. A guest at its cap is held up now and then between any two commands.
    line += "now() { read u x </proc/uptime; t=${u%.*}${u#*.}; s=0; \
             for i in $p; do read c x </proc/$i/schedstat; s=$((s + c)); done; }; \
             now; t0=$t s0=$s; sleep 2; now; kill $p; echo $((t - t0)) $((s - s0))";
    let said = h.sh(name, &line);
    let numbers: Vec<f64> = said.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let [hundredths, nanoseconds] = numbers[..] else {
        panic!("{said}")
    };
    nanoseconds / 1e7 / hundredths
}

/// The host's other load counts for next to nothing against this house, whose group is the test's own: only so can it
/// be seen how much of a processor a limit leaves.
fn prefer(h: &House) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts
        .lines()
        .filter(|l| l.contains(" cgroup"))
        .filter_map(|l| l.split(' ').nth(1));
    let weights = [("cpu.shares", "262144"), ("cpu.weight", "10000")];
    let set =
        points.flat_map(|point| weights.map(|(file, most)| (Path::new(point).join(&h.cgroup_root).join(file), most)));
    let set = set
        .filter(|(file, most)| file.exists() && fs::write(file, most).is_ok())
        .count();
    assert!(set > 0, "no weight of processor time could be set");
}

/// Busy loops get as much as their cap. Never more; as much, as soon as the host's other load lets them.
#[track_caller]
fn gets(h: &House, name: &str, cap: f64, count: u32) {
    let mut last = 0.0;
    until(&format!("{count} busy loops get {cap} of a processor"), 40, || {
        last = burned(h, name, count);
        assert!(
            last <= cap * (1.0 + NEAR),
            "{last} of a processor, above the cap of {cap}"
        );
        last >= cap * (1.0 - NEAR)
    });
}

#[test]
fn processor_time_stops_at_the_cap() {
    let h = House::new();
    h.busybox_with("cap", &["cpu.cap=0.2"]);
    prefer(&h);
    gets(&h, "cap", 0.2, 1);
    set(&h, "cap", &["cpu.cap=40%"]);
    gets(&h, "cap", 0.4, 2);
    set(&h, "cap", &["cpu.cap=unlimited"]);
    until("without a cap it gets more", 40, || {
        burned(&h, "cap", 1) > 0.4 * (1.0 + NEAR)
    });
}

#[test]
fn processor_time_is_shared_by_weight() {
    let h = House::new();
    // On one processor, where they meet.
    h.busybox_with("light", &["cpu.cap=unlimited", "cpu.pin=0", "cpu.weight=50"]);
    h.busybox_with("heavy", &["cpu.cap=unlimited", "cpu.pin=0", "cpu.weight=200"]);
    for name in ["light", "heavy"] {
        h.sh(name, "(while :; do :; done) >/dev/null 2>&1 & echo $! >/run/burner");
    }
    // Both from one answer: what is asked inside waits for the processor that it asks about.
    let used = || -> (f64, f64) {
        let rows: serde_json::Value = serde_json::from_str(&h.ok(&["list", "--json"])).unwrap();
        let of = |name: &str| {
            let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
            row["cpu_ns"].as_f64().unwrap()
        };
        (of("light"), of("heavy"))
    };
    let ratio = || {
        let (light, heavy) = used();
        let mut now = (light, heavy);
        until("a second of processor time is used", 60, || {
            now = used();
            now.0 + now.1 > heavy + light + 1e9
        });
        let ratio = (now.1 - heavy) / (now.0 - light);
        println!("{ratio}"); // what is shown if it doesn't come near
        ratio
    };
    let near = |ratio: f64, want: f64| (ratio / want).max(want / ratio) < 1.3;
    until("200 gets four times as much as 50", 60, || near(ratio(), 4.0));
    set(&h, "light", &["cpu.weight=400"]);
    until("200 gets half of what 400 gets", 60, || near(ratio(), 0.5));
}

#[test]
fn a_pinned_ve_stays_on_its_processors() {
    let h = House::new();
    let all = h.on_host("nproc").output().unwrap();
    if String::from_utf8_lossy(&all.stdout).trim() == "1" {
        println!("skipped because there is one processor only");
        return;
    }
    h.busybox_with("pin", &["cpu.pin=1"]);
    // Its init and what it starts, as the scheduler sees them: field 39 of stat is the processor last run on.
    let at = "nproc; grep -h Cpus_allowed_list /proc/1/status /proc/self/status | cut -f2; \
              i=0; while [ $i -lt 20 ]; do i=$((i+1)); cut -d' ' -f39 /proc/self/stat; done | sort -u";
    assert_eq!(h.sh("pin", at), "1\n1\n1\n1");
    set(&h, "pin", &["cpu.pin=0"]);
    assert_eq!(h.sh("pin", at), "1\n0\n0\n0");
    set(&h, "pin", &["cpu.pin=0-1"]);
    assert_eq!(
        h.sh("pin", "nproc; grep Cpus_allowed_list /proc/1/status | cut -f2"),
        "2\n0-1"
    );
    set(&h, "pin", &["cpu.pin=unlimited"]);
    assert_eq!(h.sh("pin", "nproc"), String::from_utf8_lossy(&all.stdout).trim());
    let said = h.fails(6, &["set", "pin", "cpu.pin=0,4095"]);
    assert!(said.contains("cpu.pin") && said.contains("4095"), "{said}");
}

#[test]
fn a_ve_with_a_count_of_processors_sees_and_uses_no_more() {
    let h = House::new();
    let all = String::from_utf8_lossy(&h.on_host("nproc").output().unwrap().stdout)
        .trim()
        .to_owned();
    if all == "1" {
        println!("skipped because there is one processor only");
        return;
    }
    let at = "nproc; grep Cpus_allowed_list /proc/1/status | cut -f2";
    h.busybox_with("first", &["cpu.cap=unlimited", "cpu.count=1"]);
    h.busybox_with("second", &["cpu.cap=unlimited", "cpu.count=1"]);
    // The second is where the first isn't, and stays whatever else is set.
    assert_eq!(h.sh("first", at), "1\n0");
    assert_eq!(h.sh("second", at), "1\n1");
    h.ok(&["stop", "first"]);
    set(&h, "second", &["processes=300"]);
    assert_eq!(h.sh("second", at), "1\n1");
    // Two loops get what one processor has.
    let burn = "end=$(($(cut -d. -f1 /proc/uptime) + 3)); for n in 1 2; do \
                (while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do :; done) & done; wait; \
                cut -d' ' -f1 /proc/uptime";
    let used = |h: &House| h.status("second", "cpu_ns").as_u64().unwrap();
    let (begun, before) = (Instant::now(), used(&h));
    h.sh("second", burn);
    let (passed, got) = (begun.elapsed(), Duration::from_nanos(used(&h) - before));
    println!("in {passed:?} it used {got:?}");
    assert!(got < passed.mul_f64(1.05), "{got:?} in {passed:?}");
    // While it runs: more, and as many as there are.
    set(&h, "second", &["cpu.count=2"]);
    assert_eq!(h.sh("second", at).lines().next(), Some("2"));
    set(&h, "second", &["cpu.count=4096"]);
    assert_eq!(h.sh("second", "nproc"), all);
    set(&h, "second", &["cpu.pin=1", "cpu.count=1"]);
    assert_eq!(h.sh("second", at), "1\n1");
    set(&h, "second", &["cpu.pin=unlimited", "cpu.count=unlimited"]);
    assert_eq!(h.sh("second", "nproc"), all);
}

/// Fills as many MiB of memory at once; the shell's own exit status tells whether it lived.
fn hog(h: &House, name: &str, mib: u32) -> i32 {
    h.run(&[
        "exec",
        name,
        "--",
        "dd",
        "if=/dev/zero",
        "of=/dev/null",
        &format!("bs={mib}M"),
        "count=1",
    ])
    .code
}

const KILLED: i32 = 128 + 9;

#[test]
fn memory_ends_at_the_limit() {
    let h = House::new();
    h.busybox_with("mem", &["memory.limit=64MiB"]);
    assert_eq!(hog(&h, "mem", 52), 0, "below the limit it lives");
    assert_eq!(hog(&h, "mem", 68), KILLED, "above, it doesn't");
    assert_eq!(h.state("mem"), "running", "the guest's init isn't the one to die");
    set(&h, "mem", &["memory.limit=128MiB"]);
    assert_eq!(hog(&h, "mem", 100), 0, "raised");
    assert_eq!(hog(&h, "mem", 132), KILLED);
    set(&h, "mem", &["memory.limit=64MiB"]);
    assert_eq!(hog(&h, "mem", 68), KILLED, "lowered");
    set(&h, "mem", &["memory.limit=unlimited"]);
    assert_eq!(hog(&h, "mem", 200), 0);
}

#[test]
fn memory_in_use_is_not_taken_away() {
    let h = House::new();
    h.busybox_with("mem", &["memory.limit=128MiB"]);
    // What lies in a tmpfs can't be reclaimed where there is no swap for it.
    h.sh("mem", "dd if=/dev/zero of=/dev/shm/kept bs=1M count=50 2>/dev/null");
    let before = h.read("etc/ve/mem.toml");
    let said = h.fails(6, &["set", "mem", "processes=50", "memory.limit=32MiB"]);
    assert!(said.contains("memory of mem") && said.contains("in use"), "{said}");
    assert_eq!(h.read("etc/ve/mem.toml"), before, "nothing was changed");
    assert_eq!(
        h.sh("mem", "wc -c </dev/shm/kept"),
        (50 << 20).to_string(),
        "nobody was killed"
    );
    assert_eq!(hog(&h, "mem", 60), 0, "the old limit holds");
    h.sh("mem", "rm /dev/shm/kept");
    set(&h, "mem", &["memory.limit=32MiB"]);
    assert_eq!(hog(&h, "mem", 60), KILLED);
}

/// MiB of swap that nobody uses.
fn free_swap() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("SwapFree:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn swap_is_what_was_granted() {
    let h = House::new();
    if held(&h, "memory.swap") != "enforced" {
        println!("skipped because swap isn't counted by group here");
        return;
    }
    h.busybox_with("swap", &["memory.limit=64MiB"]);
    assert_eq!(hog(&h, "swap", 80), KILLED, "swap that nobody granted is none");
    // Both may move past each other in any direction while it runs.
    set(&h, "swap", &["memory.limit=32MiB", "memory.swap=96MiB"]);
    set(&h, "swap", &["memory.limit=128MiB", "memory.swap=0"]);
    assert_eq!(hog(&h, "swap", 100), 0);
    assert_eq!(hog(&h, "swap", 132), KILLED);
    set(&h, "swap", &["memory.limit=64MiB", "memory.swap=64MiB"]);
    assert_eq!(hog(&h, "swap", 140), KILLED, "above both together");
    if free_swap() < 100 {
        println!("skipped because this host has no swap to fill: the rest");
        return;
    }
    assert_eq!(hog(&h, "swap", 90), 0, "swapped out");
    set(&h, "swap", &["memory.swap=0"]);
    assert_eq!(hog(&h, "swap", 90), KILLED);
    set(&h, "swap", &["memory.swap=unlimited"]);
    assert_eq!(hog(&h, "swap", 140), 0);
}

#[test]
fn a_fork_too_many_is_refused() {
    let h = House::new();
    h.busybox_with("forks", &["processes=20"]);
    let processes = || h.status("forks", "processes").as_u64().unwrap();
    // What its boot runs is gone when init offers the console.
    h.until("it has booted", 20, || h.ok(&["log", "forks"]).contains("press Enter"));
    let idle = processes();
    // Children until it fails; the subshell gives up then. The guest's init must have reaped them before the next time.
    let count = || -> u32 {
        let line = "(i=0; while [ $i -lt 60 ]; do sleep 60 >/dev/null 2>&1 & i=$((i+1)); echo $i; done) 2>/run/why \
                    | tail -n1; killall sleep";
        let children = h.sh("forks", line).parse().unwrap();
        h.until("they are gone", 20, || processes() == idle);
        children
    };
    let at_20 = count();
    assert!((10..20).contains(&at_20), "{at_20} children with 20 processes at most");
    assert!(h.sh("forks", "cat /run/why").contains("fork"), "the shell says why");
    set(&h, "forks", &["processes=40"]);
    assert_eq!(count(), at_20 + 20, "twenty more at once");
    set(&h, "forks", &["processes=unlimited"]);
    assert_eq!(count(), 60);
}

#[test]
fn bytes_per_second_of_the_disk_are_held() {
    let h = House::new();
    h.busybox_with("io", &["io.write=2MiB", "io.read=4MiB"]);
    takes(&h, "io", WRITE, 2.0);
    takes(&h, "io", READ, 1.0);
    set(&h, "io", &["io.write=4MiB", "io.read=2MiB"]);
    takes(&h, "io", WRITE, 1.0);
    takes(&h, "io", READ, 2.0);
    set(&h, "io", &["io.write=unlimited"]);
    is_free(&h, "io", WRITE);
    takes(&h, "io", READ, 2.0);
    h.ok(&["restart", "io"]);
    takes(&h, "io", READ, 2.0);
    set(&h, "io", &["io.read=unlimited"]);
    is_free(&h, "io", READ);
}

#[test]
fn operations_per_second_of_the_disk_are_held() {
    let h = House::new();
    h.busybox_with("ops", &["io.write_ops=30", "io.read_ops=60"]);
    // Laid out first, so that a write is one operation. With 16 writes it isn't held for long.
    h.sh(
        "ops",
        "dd if=/dev/zero of=/big bs=256k count=16 oflag=direct 2>/dev/null",
    );
    takes(&h, "ops", WRITES, 2.0);
    takes(&h, "ops", READS, 1.0);
    set(&h, "ops", &["io.write_ops=60", "io.read_ops=30"]);
    takes(&h, "ops", WRITES, 1.0);
    takes(&h, "ops", READS, 2.0);
    set(&h, "ops", &["io.write_ops=unlimited", "io.read_ops=unlimited"]);
    is_free(&h, "ops", WRITES);
    is_free(&h, "ops", READS);
}

#[test]
fn one_ves_disk_limit_is_not_its_neighbours() {
    let h = House::new();
    h.busybox_with("slow", &["io.write=1MiB"]);
    h.busybox_with("fast", &[]);
    is_free(&h, "fast", WRITE);
    takes(&h, "slow", "if=/dev/zero of=/big bs=256k count=6 oflag=direct", 1.5);
}

/// Those of the limits that hosts of one kind or another can't hold.
const DELICATE: [(&str, &str); 2] = [
    ("io.weight", "io.weight=200"),
    ("memory.guarantee", "memory.guarantee=16MiB"),
];

#[test]
fn what_the_host_cannot_hold_is_refused_by_name() {
    let h = House::new();
    let mut any = false;
    for (key, setting) in DELICATE.iter().filter(|(key, _)| held(&h, key) == "not here") {
        any = true;
        template("busybox");
        let said = h.fails(6, &["create", "no", "--template", "busybox", "--set", setting]);
        assert!(said.contains(&format!("can't enforce {key}: ")), "{said}");
        h.fails(3, &["status", "no"]);
        h.busybox_with("yes", &[]);
        let before = h.read("etc/ve/yes.toml");
        let said = h.fails(6, &["set", "yes", setting]);
        assert!(said.contains(&format!("can't enforce {key}: ")), "{said}");
        assert_eq!(h.read("etc/ve/yes.toml"), before);
        // Written by hand it is refused at the next start.
        let (table, key_of) = key.split_once('.').unwrap();
        let value = setting.split_once('=').unwrap().1;
        h.write(
            "etc/ve/yes.toml",
            &format!("{before}\n[{table}]\n{key_of} = {}\n", quoted(value)),
        );
        h.ok(&["stop", "yes"]);
        let said = h.fails(6, &["start", "yes"]);
        assert!(said.contains(&format!("can't enforce {key}: ")), "{said}");
        h.write("etc/ve/yes.toml", &before);
        h.ok(&["destroy", "yes", "--force"]);
    }
    if !any {
        println!("skipped because this host can hold all limits");
    }
}

fn quoted(value: &str) -> String {
    if value.parse::<u64>().is_ok() {
        value.to_owned()
    } else {
        format!("\"{value}\"")
    }
}

#[test]
fn what_the_host_cannot_hold_is_warned_about_if_so_chosen() {
    let h = House::with("unenforceable = \"warn\"");
    let cannot: Vec<_> = DELICATE.iter().filter(|(key, _)| held(&h, key) == "not here").collect();
    if cannot.is_empty() {
        println!("skipped because this host can hold all limits");
        return;
    }
    template("busybox");
    let mut args = vec!["create", "warned", "--template", "busybox", "--start"];
    cannot.iter().for_each(|(_, setting)| args.extend(["--set", setting]));
    let made = h.run(&args);
    assert_eq!(made.code, 0, "{}", made.err);
    for (key, _) in &cannot {
        assert!(made.err.contains(&format!("can't enforce {key}: ")), "{}", made.err);
    }
    assert_eq!(h.state("warned"), "running");
    // What can be held beside it is.
    let set = h.run(&["set", "warned", "processes=20", cannot[0].1]);
    assert_eq!(set.code, 0, "{}", set.err);
    assert!(set.err.contains(cannot[0].0), "{}", set.err);
    assert_ne!(
        h.run(&[
            "exec",
            "warned",
            "--",
            "sh",
            "-c",
            "for i in $(seq 30); do sleep 1 & done"
        ])
        .code,
        0
    );
    h.ok(&["restart", "warned"]);
}

#[test]
fn every_shipped_plan_can_be_used_here() {
    let h = House::new();
    template("busybox");
    let mut plans = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/plans")).unwrap() {
        let path = entry.unwrap().path();
        let plan = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let made = h.run(&["create", &plan, "--template", "busybox", "--plan", &plan, "--start"]);
        assert_eq!(
            (made.code, made.err.contains("can't enforce")),
            (0, false),
            "{plan}: {}",
            made.err
        );
        assert_eq!(h.sh(&plan, "hostname"), plan);
        h.ok(&["destroy", &plan, "--force"]);
        plans += 1;
    }
    assert!(plans >= 4, "{plans} plans");
}
