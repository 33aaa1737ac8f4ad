//! Whoever starts a VE or runs a command in one brings along keys, limits and priorities. None of that goes in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;
mod probe;

use std::fs;
use std::process::Command;

use house::{House, hostel};
use probe::{INSIDE, arm, inside, probe};

/// Keys of whoever runs a command are not for the guest.
#[test]
fn the_callers_keys_stay_outside() {
    let h = House::new();
    probe::grant(&h, "keyring = true");
    h.ok(&["create", "ve", "--template", "busybox"]);
    let name = format!("hostel-test-{}", std::process::id());
    let with_key = |program: &std::path::Path, args: &[&str]| {
        let mut command = h.on_host(probe());
        let output = command
            .args(["with-key", &name])
            .arg(program)
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let config = h.dir.join("hostel.toml");
    let config = config.to_str().unwrap();
    assert_eq!(with_key(probe(), &["find-key", &name]), "key ok\n", "the control");
    with_key(&hostel(), &["--config", config, "start", "ve"]);
    arm(&h, "ve");
    let found = with_key(
        &hostel(),
        &["--config", config, "exec", "ve", "--", INSIDE, "find-key", &name],
    );
    assert_eq!(found, "key ENOKEY\n", "a command inside");
    h.sh(
        "ve",
        &format!(
            "echo '::respawn:/bin/sh -c \"{INSIDE} find-key {name} > /found; sleep 100\"' >> /etc/inittab; kill -HUP 1"
        ),
    );
    h.until("init's child has looked", 10, || {
        h.sh("ve", "cat /found 2>/dev/null || true") == "key ENOKEY"
    });
}

/// Limits, classes and priorities of whoever runs a command are not for the guest either.
#[test]
fn the_callers_limits_and_priorities_stay_outside() {
    let h = House::new();
    h.ok(&["create", "ve", "--template", "busybox"]);
    let line = "ulimit -S -n 64 -s 1024 -t 50 -c 7; \
                exec chrt -f 3 ionice -c 1 taskset 1 setarch -R choom -n 500 -- \"$@\"";
    let careless = |args: &[&str]| {
        let mut command = h.on_host("bash");
        command
            .args(["-c", line, "bash"])
            .arg(hostel())
            .arg("--config")
            .arg(h.dir.join("hostel.toml"))
            .args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let look = "for p in $P; do cat /proc/$p/limits | grep -E 'cpu time|file size|core|open|realtime priority|nice'; cat /proc/$p/oom_score_adj \
                /proc/$p/personality; awk '{print $18, $19, $41}' /proc/$p/stat; grep Cpus_allowed_list /proc/$p/status; done";
    h.ok(&["start", "ve"]);
    let clean = h.sh("ve", &format!("P=1; {look}"));
    h.ok(&["kill", "ve"]);
    careless(&["start", "ve"]);
    arm(&h, "ve");
    assert!(
        h.sh("ve", &format!("P=1; {look}")) == clean,
        "{clean}\n{}",
        h.sh("ve", &format!("P=1; {look}"))
    );
    let entered = careless(&["exec", "ve", "--", "/bin/sh", "-c", &format!("P=$$; {look}")]);
    assert_eq!(entered.trim(), clean);
    for wanted in [
        "open files            1024",
        "realtime priority     0                    0",
        "nice priority         0                    0",
    ] {
        assert!(clean.contains(wanted), "{wanted}: {clean}");
    }
    let found = inside(&h, "ve", &["priority"]);
    for (what, came) in &found {
        assert!(came == "EPERM" || came == "EACCES", "{what}: {came}");
    }
}

/// What a process of a guest leaves when it dies lies inside, if the guest asked for it, and is for no program of the
/// host's.
#[test]
fn a_core_dump_stays_inside() {
    let h = House::new();
    h.busybox("ve");
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let die = "mkdir -p /tmp/died && cd /tmp/died && (sh -c 'kill -SEGV $$'; true) 2>/dev/null; ls | wc -l";
    let asked = format!("ulimit -c unlimited 2>/dev/null; {die}");
    let elsewhere = || {
        let found = Command::new("find")
            .args([".", "/", "-maxdepth", "1", "-name", "core*", "-newer"])
            .arg(h.dir.join("hostel.toml"))
            .output();
        String::from_utf8(found.unwrap().stdout).unwrap()
    };
    if pattern.starts_with(['|', '@']) {
        // The kernel hands nothing to that program at this limit, and nobody inside can raise it.
        assert_eq!(
            h.sh(
                "ve",
                "grep -h core /proc/1/limits /proc/self/limits | tr -s ' ' | sort -u"
            ),
            "Max core file size 1 1 bytes"
        );
        assert_eq!(h.sh("ve", &asked), "0");
        return;
    }
    assert_eq!(h.sh("ve", die), "0", "none unless it is asked for");
    let absolute = pattern.starts_with('/');
    assert_eq!(h.sh("ve", &asked), if absolute { "0" } else { "1" });
    assert_eq!(elsewhere(), "");
}
