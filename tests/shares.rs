//! What a VE has of its host's memory and disk while others want it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use house::{House, until};

/// Whether this host holds a limit, as `hostel info` has it.
fn held(h: &House, key: &str) -> bool {
    let facts: serde_json::Value = serde_json::from_str(&h.ok(&["info", "--json"])).unwrap();
    let what = format!("limit {key}");
    let fact = facts.as_array().unwrap().iter().find(|f| f["what"] == what);
    fact.unwrap_or_else(|| panic!("info says nothing of {key}"))["value"] != "not here"
}

/// A group of the v2 tree: that of all VEs of this house, or of one.
fn group(h: &House, below: &str) -> PathBuf {
    PathBuf::from("/sys/fs/cgroup").join(&h.cgroup_root).join(below)
}

/// Bytes of files that the kernel keeps in memory for a VE.
fn cached(h: &House, name: &str) -> u64 {
    let stat = fs::read_to_string(group(h, &h.status(name, "id").to_string()).join("memory.stat")).unwrap();
    let line = stat.lines().find_map(|l| l.strip_prefix("file ")).unwrap();
    line.parse().unwrap()
}

const MIB: u64 = 1 << 20;

#[test]
fn guaranteed_memory_stays_when_others_want_it() {
    let h = House::new();
    if !held(&h, "memory.guarantee") {
        println!("skipped because this host can't guarantee memory: that takes control groups of version 2");
        return;
    }
    h.busybox_with("sure", &["memory.limit=unlimited", "memory.guarantee=24MiB"]);
    h.busybox_with("greedy", &["memory.limit=unlimited"]);
    h.sh("sure", "dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null; sync");
    // All of this house has less than both want. It is the test's own group.
    fs::write(group(&h, "memory.max"), (64 * MIB).to_string()).unwrap();
    let read = || h.sh("sure", "cat /big >/dev/null");
    // Memory that is in use, not files: what of it finds no room is swapped, or its process killed.
    let press = || {
        h.run(&[
            "exec",
            "greedy",
            "--",
            "dd",
            "if=/dev/zero",
            "of=/dev/null",
            "bs=52M",
            "count=2",
        ])
    };
    let keeps = || {
        read();
        for _ in 0..3 {
            press();
            assert!(cached(&h, "sure") >= 18 * MIB, "{}", cached(&h, "sure"));
        }
    };
    keeps();
    // Without it the same others take it.
    h.ok(&["set", "sure", "memory.guarantee=0"]);
    until("its memory is taken", 20, || {
        press();
        cached(&h, "sure") < 12 * MIB
    });
    h.ok(&["set", "sure", "memory.guarantee=24MiB"]);
    keeps();
}

/// A disk that scripts/vm adds to its machine: it does some hundred operations a second, and is the bottleneck.
const SLOW: &str = "/dev/disk/by-id/virtio-slow";

/// Bytes that a VE has read from disks so far.
fn bytes_read(h: &House, name: &str) -> u64 {
    let stat = fs::read_to_string(group(h, &h.status(name, "id").to_string()).join("io.stat")).unwrap();
    let fields = stat.split_whitespace().filter_map(|f| f.strip_prefix("rbytes="));
    fields.map(|n| n.parse::<u64>().unwrap()).sum()
}

/// How many times as much as the second the first reads meanwhile, of a disk that both want all of.
fn share(h: &House, [one, two]: [&str; 2]) -> f64 {
    let read = || [bytes_read(h, one), bytes_read(h, two)];
    let before = read();
    sleep(Duration::from_secs(4));
    let after = read();
    let [one, two] = [0, 1].map(|n| (after[n] - before[n]) as f64);
    one / two.max(1.0)
}

#[test]
fn a_busy_disk_is_shared_by_weight() {
    let Ok(device) = fs::canonicalize(SLOW) else {
        println!("skipped because no disk here is the test's own, and so slow that it is the bottleneck");
        return;
    };
    let scheduler = Path::new("/sys/block")
        .join(device.file_name().unwrap())
        .join("queue/scheduler");
    fs::write(scheduler, "bfq").unwrap();
    let ext4 = ["-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"];
    let h = House::on_disk(&device, "ext4", &ext4, "prjquota");
    assert!(held(&h, "io.weight"));
    // BFQ has no say about what goes through a loop device.
    let image = ["--set", "io.weight=400", "--set", "disk.driver=image"];
    let said = h.fails(6, &[&["create", "image", "--template", "busybox"], &image[..]].concat());
    assert!(
        said.contains("can't enforce io.weight: BFQ gives equal shares"),
        "{said}"
    );
    let names = ["heavy", "light"];
    for (name, weight) in names.into_iter().zip([400, 100]) {
        h.busybox_with(name, &["disk.driver=project", &format!("io.weight={weight}")]);
        h.sh(name, "dd if=/dev/zero of=/big bs=1M count=24 2>/dev/null; sync");
    }
    let all_the_time = "while dd if=/big of=/dev/null bs=64k iflag=direct 2>/dev/null; do :; done";
    let read = |name| {
        h.command(&["exec", name, "--", "sh", "-c", all_the_time])
            .stdin(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut readers: Vec<Child> = names.map(read).into();
    until("the heavier reads four times as much", 40, || {
        let times = share(&h, names);
        println!("{times} times as much");
        (2.5..6.0).contains(&times)
    });
    h.ok(&["set", "heavy", "io.weight=100"]);
    until("both read alike", 40, || {
        let times = share(&h, names);
        println!("alike: {times} times as much");
        (0.7..1.4).contains(&times)
    });
    h.ok(&["destroy", "--force", "heavy", "light"]);
    for reader in &mut readers {
        reader.wait().unwrap();
    }
}
