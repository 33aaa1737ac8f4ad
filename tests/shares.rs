//! What a VE keeps of its memory while others want it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::fs;
use std::path::PathBuf;

use house::{House, until};

/// Whether this host holds a limit, as `hostel info` has it.
fn held(h: &House, key: &str) -> bool {
    let facts: serde_json::Value = serde_json::from_str(&h.ok(&["info", "--json"])).unwrap();
    let what = format!("limit {key}");
    let fact = facts.as_array().unwrap().iter().find(|f| f["what"] == what);
    fact.unwrap_or_else(|| panic!("info says nothing of {key}"))["value"] == "enforced"
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
