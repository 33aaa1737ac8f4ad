//! What `kill` leaves to the VE's monitor is done, whoever comes next and whatever becomes of that monitor.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod house;

use house::House;
use rustix::process::{Pid, Signal, kill_process};

fn monitor_of(h: &House, ve: &str) -> Pid {
    let init = h.status(ve, "pid").as_u64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let parent = status.lines().find_map(|l| l.strip_prefix("PPid:")).unwrap();
    Pid::from_raw(parent.trim().parse().unwrap()).unwrap()
}

/// A loop device over the disk of the first VE.
fn attached(h: &House) -> bool {
    let image = h.dir.join("data/ve/101/disk.img");
    let out = std::process::Command::new("losetup")
        .arg("-j")
        .arg(image)
        .output()
        .unwrap();
    !out.stdout.is_empty()
}

#[test]
fn nobody_has_to_clear_up_after_a_kill() {
    let h = House::new();
    h.busybox("ve");
    h.sh("ve", "echo kept > /root/file; sync");
    h.ok(&["kill", "ve"]);
    assert_eq!(h.state("ve"), "stopped");
    h.until("the disk is free", 20, || !attached(&h));
    h.until("nothing is left", 20, || h.audit().is_empty());
    h.ok(&["start", "ve"]);
    assert_eq!(h.sh("ve", "cat /root/file"), "kept");
}

#[test]
fn whatever_follows_a_kill_at_once_works() {
    let h = House::new();
    h.busybox("ve");
    for verb in [
        &["start", "ve"][..],
        &["restart", "ve"],
        &["set", "ve", "disk.size=600MiB"],
        &["mount", "ve"],
        &["umount", "ve"],
        &["compact", "ve"],
        &["destroy", "ve"],
    ] {
        if h.state("ve") == "stopped" {
            h.ok(&["start", "ve"]);
        }
        if h.state("ve") == "running" {
            h.ok(&["kill", "ve"]);
        }
        h.ok(verb);
    }
    h.fails(3, &["status", "ve"]);
    assert!(h.audit().is_empty());
}

#[test]
fn a_monitor_that_hangs_keeps_nobody_from_killing_its_ve() {
    let h = House::new();
    h.busybox("ve");
    let hung = monitor_of(&h, "ve");
    kill_process(hung, Signal::STOP).unwrap();
    h.ok(&["kill", "ve"]);
    assert_eq!(h.state("ve"), "stopped");
    assert!(!attached(&h), "the command has cleared up itself");
    kill_process(hung, Signal::CONT).unwrap();
    h.until("the monitor has ended", 20, || {
        rustix::process::test_kill_process(hung).is_err()
    });
    assert!(h.audit().is_empty());
    h.ok(&["start", "ve"]);
}

#[test]
fn a_monitor_killed_right_after_the_kill_leaves_it_to_the_next_command() {
    let h = House::new();
    h.busybox("ve");
    for _ in 0..5 {
        let monitor = monitor_of(&h, "ve");
        h.ok(&["kill", "ve"]);
        let _ = kill_process(monitor, Signal::KILL); // it may have done already
        h.ok(&["start", "ve"]);
    }
    assert_eq!(h.sh("ve", "hostname"), "ve");
}

#[test]
fn a_paused_ve_can_be_killed() {
    let h = House::new();
    h.busybox("ve");
    h.ok(&["pause", "ve"]);
    h.ok(&["kill", "ve"]);
    assert_eq!(h.state("ve"), "stopped");
    h.until("nothing is left", 20, || h.audit().is_empty());
}

#[test]
fn ctrl_c_keeps_the_rest_of_a_line_of_names_as_it_is() {
    let h = House::new();
    let names = ["web1", "web2", "web3"];
    for name in names {
        h.busybox(name);
    }
    // On one processor two are at work at once, and both wait: what is third has not begun.
    let held: Vec<_> = (101..=102)
        .map(|id| {
            let file = std::fs::File::options()
                .write(true)
                .open(h.run.join(format!("locks/{id}.lock")))
                .unwrap();
            file.lock().unwrap();
            file
        })
        .collect();
    for verb in ["pause", "kill"] {
        let args = [&["-v", verb, "--wait-lock", "1h"][..], &names].concat();
        let command = h.command(&args);
        let said = h.dir.join(verb);
        let child = std::process::Command::new("taskset")
            .args(["-c", "0"])
            .arg(command.get_program())
            .args(command.get_args())
            .stderr(std::fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let waits = |name: &str| h.read(verb).contains(&format!("{name}: waiting for"));
        h.until("two wait", 20, || waits("web1") && waits("web2"));
        house::signal(&child, Signal::INT);
        assert_eq!(house::end_of(child).code, 130);
        assert!(h.read(verb).contains("was begun"), "{}", h.read(verb));
        assert!(names.iter().all(|name| h.state(name) == "running"));
    }
    drop(held);
    h.ok(&["kill", "--all"]);
}
