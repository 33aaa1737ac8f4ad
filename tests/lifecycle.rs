//! The life of a VE as an admin types it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;

use std::time::{Duration, Instant};

use house::House;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_busybox_ve_lives_and_dies() {
    let h = House::new();
    h.busybox("web1");
    assert_eq!(h.state("web1"), "running");
    assert_eq!(h.sh("web1", "id -u; hostname"), "0\nweb1");
    h.ok(&["stop", "web1"]);
    assert_eq!(h.state("web1"), "stopped");
    h.ok(&["start", "web1"]);
    h.ok(&["kill", "web1"]);
    assert_eq!(h.state("web1"), "stopped");
    h.ok(&["destroy", "web1"]);
    h.fails(3, &["status", "web1"]);
}

#[test]
fn a_ve_is_created_from_a_file_with_options_on_top() {
    let h = House::new();
    house::template("busybox");
    h.write(
        "db1.toml",
        "# the database\nid = 333\nname = \"db1\"\ntenant = \"default\"\ntemplate = \"busybox\" # small\nplan = \"test\"\n\
         hostname = \"db1.example\"\n[memory]\nlimit = \"64MiB\"\n",
    );
    let file = h.dir.join("db1.toml");
    let out = h.ok(&[
        "create",
        "--file",
        file.to_str().unwrap(),
        "--set",
        "processes=77",
        "--start",
        "--json",
    ]);
    let made: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&made["id"], &made["name"]), (&333.into(), &"db1".into()));
    assert_eq!(h.sh("db1", "hostname"), "db1.example");
    let definition = h.read("etc/ve/db1.toml");
    assert!(
        definition.contains("# the database") && definition.contains("# small"),
        "{definition}"
    );
    assert!(definition.contains("processes = 77"), "{definition}");
    // No network in the file, none in the VE: only the loopback is there.
    assert_eq!(h.sh("db1", "ls /sys/class/net"), "lo");
    // The same file again: the name is taken.
    h.fails(4, &["create", "--file", file.to_str().unwrap()]);
    h.ok(&["create", "db2", "--file", file.to_str().unwrap(), "--id", "334"]);
    assert_eq!(h.status("db2", "id"), 334);
}

#[test]
fn start_and_stop_of_what_is_so_already_change_nothing() {
    let h = House::new();
    h.busybox("web1");
    let pid = h.status("web1", "pid");
    let again: serde_json::Value = serde_json::from_str(&h.ok(&["start", "web1", "--json"])).unwrap();
    assert_eq!((&again["ok"], &again["changed"]), (&true.into(), &false.into()));
    assert_eq!(h.status("web1", "pid"), pid);
    h.ok(&["stop", "web1"]);
    let again: serde_json::Value = serde_json::from_str(&h.ok(&["stop", "web1", "--json"])).unwrap();
    assert_eq!((&again["ok"], &again["changed"]), (&true.into(), &false.into()));
    h.ok(&["kill", "web1"]);
}

#[test]
fn a_busybox_guest_shuts_down_in_its_own_way() {
    let h = House::new();
    h.busybox("web1");
    h.sh(
        "web1",
        "printf '#!/bin/sh\\n[ $1 = stop ] && echo bye > /said\\n' > /etc/init.d/S99x; chmod +x /etc/init.d/S99x",
    );
    let ran = h.run(&["stop", "web1"]);
    assert_eq!(ran.code, 0);
    assert!(!ran.err.contains("killed"), "{}", ran.err);
    h.ok(&["start", "web1"]);
    assert_eq!(h.sh("web1", "cat /said"), "bye");
}

#[test]
fn a_guest_that_ignores_the_shutdown_is_killed_when_its_time_is_up() {
    let h = House::new();
    h.busybox("web1");
    h.sh(
        "web1",
        "printf '#!/bin/sh\\ntouch /asked; sleep 1000\\n' > /etc/init.d/rcK",
    );
    let begun = Instant::now();
    let ran = h.run(&["stop", "web1", "--timeout", "2s"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("killed"), "{}", ran.err);
    assert!((2..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(h.state("web1"), "stopped");
    h.ok(&["start", "web1"]);
    h.sh("web1", "test -e /asked");
    // The definition's own limit counts where none is typed.
    h.ok(&["set", "web1", "stop.timeout=1s"]);
    let begun = Instant::now();
    h.ok(&["stop", "web1"]);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

/// A stop is killed, or given up, while its guest shuts down already: a start then is no start of what is about to end.
#[test]
fn a_start_after_a_stop_that_was_cut_short_waits_for_the_end() {
    let h = House::new();
    h.busybox("web1");
    let slowly = |seconds: u32| {
        let script = format!("printf '#!/bin/sh\\ntouch /run/asked; sleep {seconds}\\n' > /etc/init.d/rcK");
        h.sh("web1", &script);
    };
    let asked = || h.run(&["exec", "web1", "--", "test", "-e", "/run/asked"]).code == 0;
    slowly(3);
    for signal in [Signal::KILL, Signal::INT] {
        let pid = h.status("web1", "pid");
        let mut stop = h.spawn(&["restart", "web1", "--timeout", "60s"]);
        h.until("the guest shuts down", 20, asked);
        let process = Pid::from_raw(stop.id().try_into().unwrap()).unwrap();
        kill_process(process, signal).unwrap();
        stop.wait().unwrap();
        let ran = h.run(&["start", "web1", "--wait"]);
        assert!(ran.code == 0 && ran.err.contains("started"), "{signal:?}: {ran:?}");
        assert_ne!(h.status("web1", "pid"), pid);
        assert!(!asked(), "{signal:?}: it shuts down");
    }
    // One that ignores it runs on when its time is over, and that is no start.
    slowly(1000);
    let mut stop = h.spawn(&["stop", "web1", "--timeout", "3s"]);
    h.until("the guest shuts down", 20, asked);
    stop.kill().unwrap();
    stop.wait().unwrap();
    let pid = h.status("web1", "pid");
    let ran = h.run(&["start", "web1"]);
    assert!(ran.code == 0 && ran.err.contains("is running already"), "{ran:?}");
    assert_eq!(h.status("web1", "pid"), pid);
}

/// An init that has just begun hears nothing yet.
#[test]
fn a_shutdown_right_after_the_start_is_heard() {
    let h = House::new();
    for template in ["busybox", "debian-12"] {
        house::template(template);
        h.ok(&["create", template, "--template", template, "--plan", "small"]);
        for _ in 0..6 {
            h.ok(&["start", template]);
            let ran = h.run(&["stop", template, "--timeout", "30s"]);
            assert!(ran.code == 0 && !ran.err.contains("killed"), "{template}: {}", ran.err);
        }
    }
}

#[test]
fn kill_asks_nobody() {
    let h = House::new();
    h.busybox("web1");
    h.sh("web1", "printf '#!/bin/sh\\ntouch /asked\\n' > /etc/init.d/rcK; sync");
    h.ok(&["kill", "web1"]);
    assert_eq!(h.state("web1"), "stopped");
    h.ok(&["start", "web1"]);
    h.sh("web1", "test ! -e /asked");
}

#[test]
fn restart_boots_anew_and_keeps_the_disk() {
    let h = House::new();
    h.busybox("web1");
    let (pid, addresses) = (h.status("web1", "pid"), h.status("web1", "addresses"));
    h.sh("web1", "echo kept > /root/f; touch /run/gone");
    h.ok(&["restart", "web1"]);
    assert_ne!(h.status("web1", "pid"), pid);
    assert_eq!(h.status("web1", "addresses"), addresses);
    assert_eq!(
        h.sh("web1", "cat /root/f; ls /run/gone 2>/dev/null || echo none"),
        "kept\nnone"
    );
    h.ok(&["stop", "web1"]);
    h.ok(&["restart", "web1"]);
    assert_eq!(h.state("web1"), "running");
}

#[test]
fn a_paused_ve_stands_still() {
    let h = House::new();
    h.busybox("web1");
    h.sh(
        "web1",
        "(i=0; while :; do i=$((i+1)); echo $i > /run/n; done) >/dev/null 2>&1 &",
    );
    h.until("the counter runs", 10, || {
        h.sh("web1", "cat /run/n").parse::<u64>().is_ok_and(|n| n > 100)
    });
    let pid = h.status("web1", "pid").as_u64().unwrap();
    // Seen from the host, since nothing can be asked inside.
    let count = || std::fs::read_to_string(format!("/proc/{pid}/root/run/n")).unwrap_or_default();
    h.ok(&["pause", "web1"]);
    assert_eq!(h.state("web1"), "paused");
    let cpu = h.status("web1", "cpu_ns");
    let before = count();
    std::thread::sleep(Duration::from_millis(500)); // the span in which nothing may happen
    assert_eq!(count(), before);
    assert_eq!(h.status("web1", "cpu_ns"), cpu);
    let err = h.fails(125, &["exec", "web1", "true"]);
    assert!(err.contains("paused") && err.contains("unpause"), "{err}");
    h.fails(4, &["start", "web1"]);
    h.ok(&["pause", "web1"]);
    h.ok(&["unpause", "web1"]);
    h.until("the counter goes on", 10, || count() != before);
    // A paused VE can be ended all the same.
    h.ok(&["pause", "web1"]);
    h.ok(&["kill", "web1"]);
    assert_eq!(h.state("web1"), "stopped");
}

#[test]
fn destroy_is_refused_while_it_runs() {
    let h = House::new();
    h.busybox("web1");
    let err = h.fails(4, &["destroy", "web1"]);
    assert!(err.contains("running") && err.contains("--force"), "{err}");
    assert_eq!(h.state("web1"), "running");
    h.ok(&["destroy", "web1", "--force"]);
    h.fails(3, &["status", "web1"]);
    assert!(!h.dir.join("etc/ve/web1.toml").exists());
    assert!(!h.dir.join("data/ve/101").exists());
}

#[test]
fn a_stopped_ve_is_repaired_by_mount() {
    let h = House::new();
    h.busybox("web1");
    h.sh("web1", "echo inside > /root/f; chown 1000:1000 /root/f");
    h.fails(4, &["mount", "web1"]);
    h.ok(&["stop", "web1"]);
    let path = h.ok(&["mount", "-q", "web1"]);
    let root = std::path::Path::new(path.trim());
    assert_eq!(std::fs::read_to_string(root.join("root/f")).unwrap(), "inside\n");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(root.join("root/f")).unwrap().uid(), 1000);
    std::fs::write(root.join("etc/repaired"), "by hand\n").unwrap();
    assert_eq!(h.state("web1"), "mounted");
    let err = h.fails(4, &["start", "web1"]);
    assert!(err.contains("umount"), "{err}");
    h.ok(&["mount", "web1"]);
    h.ok(&["umount", "web1"]);
    assert_eq!(h.state("web1"), "stopped");
    assert!(!root.join("etc").exists());
    h.ok(&["umount", "web1"]);
    h.ok(&["start", "web1"]);
    assert_eq!(
        h.sh("web1", "cat /etc/repaired; stat -c %u /etc/repaired"),
        "by hand\n0"
    );
    // Destroying a mounted one takes the mount away.
    h.ok(&["stop", "web1"]);
    h.ok(&["mount", "web1"]);
    h.ok(&["destroy", "web1", "--force"]);
    assert!(!h.host_sh("cat /proc/mounts").contains(h.run.to_str().unwrap()));
}

#[test]
fn reboot_and_halt_inside_a_busybox_guest_do_what_they_say() {
    let h = House::new();
    h.busybox("web1");
    let (pid, addresses) = (h.status("web1", "pid"), h.status("web1", "addresses"));
    h.sh("web1", "touch /run/before; reboot");
    h.until("it is back", 30, || {
        h.state("web1") == "running" && h.status("web1", "pid") != pid
    });
    h.until("exec works again", 10, || {
        h.run(&["exec", "web1", "--", "test", "!", "-e", "/run/before"]).code == 0
    });
    assert_eq!(h.status("web1", "addresses"), addresses);
    let inside = h.sh("web1", "ip -4 addr show eth0");
    assert!(inside.contains(addresses[0].as_str().unwrap()), "{inside}");
    for verb in ["poweroff", "halt"] {
        h.ok(&["start", "web1"]);
        h.sh("web1", verb);
        h.until(verb, 30, || h.state("web1") == "stopped");
    }
    h.ok(&["start", "web1"]);
}

#[test]
fn a_debian_12_ve_boots_to_running() {
    a_debian_ve_boots_reboots_and_powers_off("debian-12");
}

#[test]
fn a_debian_13_ve_boots_to_running() {
    a_debian_ve_boots_reboots_and_powers_off("debian-13");
}

fn a_debian_ve_boots_reboots_and_powers_off(template: &str) {
    let h = House::new();
    h.debian("d", template);
    assert_eq!(h.ok(&["exec", "d", "systemctl", "is-system-running"]).trim(), "running");
    assert_eq!(h.status("d", "booted"), true);
    let (pid, addresses) = (h.status("d", "pid"), h.status("d", "addresses"));
    // Its own way of stopping: a unit hears of it.
    let unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStop=/bin/sh -c 'echo bye >> /said'\n\
                [Install]\nWantedBy=multi-user.target\n";
    h.sh(
        "d",
        &format!(
            "printf '{}' > /etc/systemd/system/said.service",
            unit.replace('\n', "\\n").replace('\'', "'\\''")
        ),
    );
    h.sh("d", "systemctl enable --now said.service 2>/dev/null");
    let ran = h.run(&["stop", "d"]);
    assert!(ran.code == 0 && !ran.err.contains("killed"), "{}", ran.err);
    h.ok(&["start", "d", "--wait"]);
    assert_eq!(h.sh("d", "cat /said"), "bye");
    let first = h.status("d", "pid");
    assert_ne!(first, pid);
    h.run(&["exec", "d", "systemctl", "reboot"]);
    h.until("it is back", 60, || {
        h.state("d") == "running" && h.status("d", "pid") != first
    });
    h.until("it has booted", 60, || h.status("d", "booted") == true);
    assert_eq!(h.status("d", "addresses"), addresses);
    assert_eq!(h.sh("d", "systemctl is-system-running"), "running");
    h.run(&["exec", "d", "systemctl", "poweroff"]);
    h.until("it is off", 60, || h.state("d") == "stopped");
}

#[test]
fn waiting_for_a_boot_that_takes_too_long_ends_and_the_ve_runs_on() {
    let h = House::new();
    h.debian("d", "debian-12");
    let unit = "[Service]\\nType=oneshot\\nExecStart=/bin/sleep 1000\\n[Install]\\nWantedBy=multi-user.target\\n";
    h.sh(
        "d",
        &format!("printf '{unit}' > /etc/systemd/system/slow.service; systemctl enable slow.service 2>/dev/null"),
    );
    h.ok(&["stop", "d"]);
    let begun = Instant::now();
    let err = h.fails(1, &["start", "d", "--wait", "--timeout", "2s"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(err.contains("booted") || err.contains("boot"), "{err}");
    assert_eq!(
        (h.state("d").as_str(), h.status("d", "booted")),
        ("running", false.into())
    );
    // Who asks once more waits for the same boot.
    let begun = Instant::now();
    let err = h.fails(1, &["start", "d", "--wait", "--timeout", "2s"]);
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(err.contains("has not booted"), "{err}");
    h.ok(&["kill", "d"]);
}
