//! `hostel capacity`, and bounds of what may be promised, on real VEs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // it is all test

mod house;

use house::House;
use serde_json::Value;

/// As much memory as this host has.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

fn capacity(h: &House, args: &[&str]) -> Value {
    serde_json::from_str(&h.ok(&[&["capacity", "--json"][..], args].concat())).unwrap()
}

fn resource<'a>(list: &'a Value, name: &str) -> &'a Value {
    let list = list.as_array().unwrap();
    list.iter()
        .find(|r| r["resource"] == name)
        .unwrap_or_else(|| panic!("no {name} in {list:?}"))
}

/// A house whose host may promise this, by lines of [capacity].
fn bounded(lines: &str) -> House {
    let h = House::new();
    let text = h.read("hostel.toml");
    h.write("hostel.toml", &format!("{text}\n{lines}\n"));
    house::template("busybox");
    h
}

#[test]
fn what_is_promised_and_what_fits() {
    let h =
        bounded("[capacity]\nmemory = { oversell = 2, beyond = \"off\" }\ncpu = { oversell = 1000, beyond = \"off\" }");
    h.write("etc/tenants/acme.toml", "");
    h.busybox_with("web1", &["memory.limit=256MiB", "cpu.cap=0.5", "processes=100"]);
    h.ok(&[
        "create",
        "web2",
        "--template",
        "busybox",
        "--set",
        "memory.limit=unlimited",
        "--set",
        "cpu.cap=1.5",
    ]);
    let all = capacity(&h, &[]);
    let memory_line = resource(&all["resources"], "memory");
    assert_eq!(memory_line["have"], memory());
    assert_eq!(memory_line["promised"], memory() + (256 << 20));
    assert_eq!(
        (&memory_line["unlimited"], &memory_line["most"]),
        (&1.into(), &2.0.into())
    );
    let oversell = memory_line["oversell"].as_f64().unwrap();
    assert!(oversell > 1.0 && oversell < 1.5, "{oversell}");
    let cpu = resource(&all["resources"], "cpu");
    assert_eq!((&cpu["promised"], &cpu["unit"]), (&2.0.into(), &"processors".into()));
    let addresses = resource(&all["resources"], "ipv4 private");
    assert_eq!(addresses["promised"], 2);
    let ids = resource(&all["resources"], "ids");
    assert_eq!((&ids["have"], &ids["promised"]), (&64.into(), &2.into()));
    // As many as are said to fit do, of what runs out first; of ranges of ids there are the fewest here.
    h.write(
        "etc/plans/tiny.toml",
        "processes = 20\n[cpu]\ncap = 0.01\n[memory]\nlimit = \"16MiB\"\n[disk]\nsize = \"32MiB\"\n",
    );
    let tiny = capacity(&h, &["tiny"]);
    let plan = &tiny["plans"][0];
    assert_eq!(
        (&plan["promise"]["fits"], &plan["promise"]["first"]),
        (&62.into(), &"ids".into()),
        "{plan}"
    );
    assert_eq!(resource(&plan["resources"], "memory")["promised"], 16 << 20);
    assert_eq!(resource(&plan["resources"], "guarantee")["fits"], "unlimited");
    // Of use nothing can be said yet, and that is said.
    assert_eq!(
        (&plan["real"]["fits"], &tiny["history"]["hours"]),
        (&Value::Null, &0.into())
    );
    let text = h.ok(&["capacity", "tiny"]);
    assert!(
        text.contains("By promise 62 more VEs of tiny fit; ids runs out first.\n"),
        "{text}"
    );
    assert!(
        text.contains("Too little history to tell of use: the ledger has 0 whole hours"),
        "{text}"
    );
    let text = h.ok(&["capacity"]);
    assert!(text.contains("tiny") && text.contains("2.00 off"), "{text}");
    h.fails(3, &["capacity", "nobody"]);
    h.fails(3, &["capacity", "tiny", "--network", "nowhere"]);
}

#[test]
fn a_bound_refuses_and_warns_where_promises_grow() {
    // Twice what there is may be promised of memory.
    let h = bounded(
        "[capacity.memory]\noversell = 2\nbeyond = \"refuse\"\n[capacity.processes]\noversell = 0.01\nbeyond = \"warn\"",
    );
    let half = memory() / 2 + (64 << 20);
    let limit = format!("memory.limit={half}");
    let create = |name: &str| h.run(&["create", name, "--template", "busybox", "--set", &limit]);
    for name in ["web1", "web2", "web3"] {
        assert_eq!(create(name).code, 0);
    }
    let refused = create("web4");
    assert_eq!(refused.code, 6, "{}", refused.err);
    for part in [
        "memory.limit: it is promised",
        "left to promise of",
        "capacity.memory.oversell is 2",
    ] {
        assert!(refused.err.contains(part), "{}", refused.err);
    }
    assert!(!h.ok(&["list"]).contains("web4"));
    // Less is made, and can't grow beyond it; nothing of a change that is refused is done.
    h.ok(&[
        "create",
        "web4",
        "--template",
        "busybox",
        "--set",
        "memory.limit=64MiB",
        "--start",
    ]);
    let grown = h.fails(6, &["set", "web4", &limit]);
    assert!(grown.contains("capacity.memory.oversell"), "{grown}");
    assert_eq!(h.sh("web4", "echo runs"), "runs");
    // What doesn't grow is never refused, and what shrinks makes room.
    h.ok(&["set", "web1", "memory.limit=64MiB"]);
    h.ok(&["set", "web4", &limit]);
    // Of processes it is said, and done.
    let most = capacity(&h, &[]);
    let have = resource(&most["resources"], "processes")["have"].as_u64().unwrap();
    let many = h.run(&["set", "web2", &format!("processes={have}")]);
    assert!(
        many.code == 0 && many.err.contains("capacity.processes.oversell is 0.01"),
        "{}",
        many.err
    );
}

#[test]
fn a_start_is_refused_beside_what_runs() {
    let h = bounded("[capacity.memory]\noversell = 1\nbeyond = \"refuse\"");
    let create = |name: &str| h.ok(&["create", name, "--template", "busybox", "--set", "memory.limit=64MiB"]);
    create("web1");
    create("web2");
    // By hand: what was changed so is judged by what runs.
    for name in ["web1", "web2"] {
        let path = format!("etc/ve/{name}.toml");
        let text = h
            .read(&path)
            .replace("\"64MiB\"", &(memory() / 2 + (64 << 20)).to_string());
        h.write(&path, &text);
    }
    h.ok(&["start", "web1"]);
    let refused = h.fails(6, &["start", "web2"]);
    assert!(refused.contains("this host, by what runs,"), "{refused}");
    assert_eq!(h.state("web2"), "stopped");
    h.ok(&["stop", "web1"]);
    h.ok(&["start", "web2"]);
}

#[test]
fn memory_that_is_guaranteed_twice_is_warned_of_unasked() {
    let h = bounded("");
    let guarantee = format!("memory.guarantee={}", memory() / 2 + (64 << 20));
    let create = |name: &str| {
        let args = [
            "create",
            name,
            "--template",
            "busybox",
            "--set",
            "memory.limit=unlimited",
            "--set",
            &guarantee,
        ];
        h.run(&args)
    };
    let first = create("web1");
    if first.err.contains("can't enforce memory.guarantee") {
        println!("skipped because this host can't guarantee memory: {}", first.err);
        return;
    }
    assert!(first.code == 0 && !first.err.contains("capacity."), "{}", first.err);
    let second = create("web2");
    assert!(
        second.code == 0 && second.err.contains("capacity.guarantee.oversell is 1"),
        "{}",
        second.err
    );
}
