//! Many VEs in one command, and the tables that show them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use house::House;
use serde_json::Value;

fn three(h: &House) {
    house::template("busybox");
    h.write("etc/tenants/acme.toml", "");
    h.ok(&[
        "create",
        "web1",
        "--template",
        "busybox",
        "--tenant",
        "acme",
        "--set",
        "memory.limit=64MiB",
    ]);
    h.ok(&[
        "create",
        "web2",
        "--template",
        "busybox",
        "--tenant",
        "acme",
        "--onboot",
    ]);
    h.ok(&["create", "db1", "--template", "busybox", "--set", "memory.limit=96MiB"]);
}

fn states(h: &House) -> [String; 3] {
    ["web1", "web2", "db1"].map(|ve| h.state(ve))
}

#[test]
fn verbs_take_names_ids_a_tenant_or_all() {
    let h = House::new();
    three(&h);
    h.ok(&["start", "web1", "103"]);
    assert_eq!(states(&h), ["running", "stopped", "running"]);
    h.ok(&["stop", "--tenant", "acme"]);
    assert_eq!(states(&h), ["stopped", "stopped", "running"]);
    let out = h.ok(&["start", "--all", "--json"]);
    let rows: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows.iter().filter(|r| r["changed"] == true).count(), 2, "{rows:?}");
    assert_eq!(states(&h), ["running"; 3]);
    // One line of each, on standard error; the same VE twice is done once.
    let ran = h.run(&["restart", "web1", "web1", "101", "db1"]);
    assert_eq!(
        ran.err.lines().filter(|l| l.contains(": restarted")).count(),
        2,
        "{}",
        ran.err
    );
    assert!(h.run(&["-q", "kill", "--all"]).err.is_empty());
    assert_eq!(states(&h), ["stopped"; 3]);
    let paths = h.ok(&["mount", "-q", "--all"]);
    assert!(
        paths.lines().count() == 3
            && paths
                .lines()
                .all(|p| std::path::Path::new(p).join("bin/busybox").exists()),
        "{paths}"
    );
    h.ok(&["umount", "--all"]);
    h.ok(&["destroy", "--all"]);
    assert_eq!(h.ok(&["list", "-H"]), "");
    assert_eq!(h.run(&["start", "--all"]).code, 0);
}

#[test]
fn the_list_has_the_columns_order_and_rows_asked_for() {
    let h = House::new();
    three(&h);
    h.ok(&["start", "web1", "db1"]);
    let lines = |args: &[&str]| -> Vec<String> {
        let args: Vec<&str> = ["list", "-H", "-o", "name"].iter().chain(args).copied().collect();
        h.ok(&args).lines().map(|l| l.trim().to_owned()).collect()
    };
    assert_eq!(lines(&[]), ["web1", "web2", "db1"], "by id");
    assert_eq!(lines(&["-s", "name"]), ["db1", "web1", "web2"]);
    assert_eq!(lines(&["-s", "-name"]), ["web2", "web1", "db1"]);
    assert_eq!(lines(&["-s", "-memory_limit"]), ["web2", "db1", "web1"]);
    assert_eq!(lines(&["-s", "tenant,-id"]), ["web2", "web1", "db1"]);
    assert_eq!(lines(&["--state", "running"]), ["web1", "db1"]);
    assert_eq!(lines(&["--tenant", "acme"]), ["web1", "web2"]);
    assert_eq!(lines(&["--name", "web*", "--state", "stopped"]), ["web2"]);
    assert_eq!(lines(&["--name", "*?1"]), ["web1", "db1"]);
    assert_eq!(lines(&["--plan", "small"]), [""; 0]);
    assert_eq!(lines(&["--template", "busybox"]), ["web1", "web2", "db1"]);
    let table = h.ok(&["list", "-o", "id,name,state,tenant"]);
    let mut rows = table.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    assert_eq!(rows.next().unwrap().len(), 4);
    assert_eq!(rows.next().unwrap(), ["101", "web1", "running", "acme"]);
    h.fails(2, &["list", "-o", "colour"]);
    h.fails(2, &["list", "--state", "happy"]);
    let all: Value = serde_json::from_str(&h.ok(&["list", "--json"])).unwrap();
    let web1 = &all[0];
    for (key, value) in [
        ("state", "running"),
        ("tenant", "acme"),
        ("plan", "test"),
        ("hostname", "web1"),
    ] {
        assert_eq!(web1[key], value);
    }
    assert_eq!(web1["memory_limit"], 64 << 20);
    for key in ["memory", "cpu_ns", "processes", "uptime", "pid"] {
        assert!(web1[key].is_u64(), "{key}: {web1}");
        assert!(all[1][key].is_null(), "{key} of one that is stopped: {}", all[1]);
    }
    assert_eq!((&all[0]["onboot"], &all[1]["onboot"]), (&false.into(), &true.into()));
    assert_eq!(web1["addresses"].as_array().map(Vec::len), Some(2));
    let some: Value = serde_json::from_str(&h.ok(&["list", "--json", "-o", "name,memory"])).unwrap();
    assert_eq!(some[0].as_object().unwrap().len(), 2);
}

#[test]
fn what_is_shown_is_what_is_so() {
    let h = House::new();
    h.busybox("web1");
    let number = |key: &str| h.status("web1", key).as_u64().unwrap();
    let (memory, processes, cpu) = (number("memory"), number("processes"), number("cpu_ns"));
    h.sh("web1", "for i in 1 2 3 4 5; do sleep 1000 & done >/dev/null 2>&1");
    h.until("five more processes", 10, || number("processes") >= processes + 5);
    h.sh("web1", "head -c 30m /dev/zero > /run/big");
    assert!(number("memory") > memory + (25 << 20), "{memory} {}", number("memory"));
    h.sh("web1", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
    assert!(number("cpu_ns") > cpu + 50_000_000);
    h.sh("web1", "head -c 20m /dev/urandom > /root/f; sync");
    assert!(number("disk") > 20 << 20 && number("disk_limit") == 128 << 20);
    assert!(
        h.host_sh("cat /proc/*/stat 2>/dev/null | cut -d' ' -f1")
            .lines()
            .any(|p| p == number("pid").to_string())
    );
    let text = h.ok(&["status", "web1"]);
    for word in ["web1", "running", "busybox", "10.77.0."] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    let facts: Value = serde_json::from_str(&h.ok(&["info", "--json"])).unwrap();
    let fact = |what: &str| {
        facts
            .as_array()
            .unwrap()
            .iter()
            .find(|f| f["what"] == what)
            .map(|f| f["value"].clone())
    };
    assert_eq!(fact("disk driver"), Some("image".into()));
    assert!(
        fact("cgroups").is_some() && fact("limit memory.limit").is_some(),
        "{facts:#}"
    );
}
