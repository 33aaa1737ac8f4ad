//! A VE that serves a file system to itself (features.fuse) and never answers: the kernel lets nobody who waits for an
//! answer die, not even by SIGKILL, until the connection is aborted. It ends all the same when it is told to.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod house;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use house::{House, Talk, end_of, signal};
use rustix::process::{Pid, Signal, kill_process};

/// Mounts at $1 a file system of which this very shell is the server. The kernel's greeting is answered (struct
/// fuse_init_out, version 7.23); what comes then is read and kept.
const SERVE: &str = r#"set -e
dd if=/dev/zero of=/tmp/zeros bs=36 count=1 2>/tmp/trouble
exec 3<>/dev/fuse
mkdir -p "$1"
mount -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none "$1"
dd bs=135168 count=1 of=/tmp/asked <&3 2>/tmp/trouble
{
    printf '\120\0\0\0\0\0\0\0'
    dd if=/tmp/asked bs=1 skip=8 count=8
    printf '\7\0\0\0\27\0\0\0\0\20\0\0\0\0\0\0\0\0\0\0\0\20\0\0\1\0\0\0'
    cat /tmp/zeros
} >/tmp/answer 2>>/tmp/trouble
dd if=/tmp/answer bs=80 count=1 >&3 2>>/tmp/trouble
"#;

/// Whoever waits has the connection open as well, so it doesn't end with its server.
const AND_WAIT: &str = "cat \"$1/file\" & dd bs=135168 count=1 of=/tmp/held <&3\necho ready; sleep 1000";
/// Takes whatever others ask for and keeps it.
const AND_TAKE: &str = "echo ready; while dd bs=135168 count=1 of=/tmp/held <&3; do :; done";

fn guest(name: &str) -> House {
    let h = House::new();
    let plan = h.read("etc/plans/test.toml");
    h.write("etc/plans/test.toml", &format!("{plan}\n[features]\nfuse = true\n"));
    h.busybox_with(name, &["features.fuse=true"]);
    h
}

/// Runs this behind [`SERVE`] in the guest, until it says that it is ready.
#[track_caller]
fn serve(h: &House, name: &str, place: &str, then: &str) -> Talk {
    let script = format!("{SERVE}{then}");
    let talk = Talk::new(h.spawn(&["exec", name, "--", "sh", "-c", &script, "sh", place]));
    talk.hear("ready");
    talk
}

/// A VE's init's mount namespace, and how many processes there wait for a FUSE server.
fn mounts(h: &House, name: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{}/ns/mnt", h.status(name, "pid"))).unwrap()
}

fn waiters(mounts: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|e| e.path());
    let there = processes.filter(|p| std::fs::read_link(p.join("ns/mnt")).is_ok_and(|m| m == mounts));
    let waits = |p: &PathBuf| std::fs::read_to_string(p.join("stack")).is_ok_and(|s| s.contains("fuse_"));
    // The server waits as well, for what it is asked.
    let serves = |p: &PathBuf| std::fs::read_to_string(p.join("stack")).is_ok_and(|s| s.contains("fuse_dev_"));
    there.filter(|p| waits(p) && !serves(p)).count()
}

#[track_caller]
fn soon<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = act();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{what} took {took:?}");
    done
}

#[test]
fn a_ve_that_waits_for_itself_for_ever_can_be_killed_stopped_and_destroyed() {
    let h = guest("web1");
    let ends: [&[&str]; 4] = [
        &["kill", "web1"],
        &["stop", "web1", "--timeout", "1s"],
        &["restart", "web1", "--timeout", "0s"],
        &["destroy", "web1", "--force"],
    ];
    for end in ends {
        h.run(&["start", "web1"]); // it may run
        let server = serve(&h, "web1", "/srv/x", AND_WAIT);
        soon(&end.join(" "), || h.ok(end));
        server.end();
    }
}

/// The user database, where whoever goes in looks for a user.
#[test]
fn a_command_that_waits_for_the_guests_file_system_is_given_up() {
    let h = guest("web1");
    let inside = mounts(&h, "web1");
    let server = serve(&h, "web1", "/etc", AND_TAKE);
    // Not by a pipe: who waits has what it was given open as long as it waits.
    let said = h.dir.join("said");
    let mut command = h.command(&["exec", "web1", "--user", "nobody", "--", "true"]);
    let child = command.stderr(File::create(&said).unwrap()).spawn().unwrap();
    h.until("somebody waits", 10, || waiters(&inside) > 0);
    signal(&child, Signal::INT);
    assert_ne!(soon("giving up", || end_of(child)).code, 0);
    let said = std::fs::read_to_string(said).unwrap();
    assert!(said.contains("given up"), "{said}");
    // Who waits can't end, but doesn't keep the VE from ending.
    assert!(waiters(&inside) > 0);
    soon("kill", || h.ok(&["kill", "web1"]));
    server.end();
    assert_eq!(waiters(&inside), 0);
}

/// A new monitor makes a terminal in the VE's /dev.
#[test]
fn a_monitor_that_takes_over_does_not_wait_for_the_guests_file_system() {
    let h = guest("web1");
    let server = serve(&h, "web1", "/dev", AND_TAKE);
    let status = std::fs::read_to_string(format!("/proc/{}/status", h.status("web1", "pid"))).unwrap();
    let monitor = status.lines().find_map(|l| l.strip_prefix("PPid:")).unwrap();
    kill_process(Pid::from_raw(monitor.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    let state = soon("a new monitor", || h.state("web1"));
    assert_eq!(state, "running");
    soon("kill", || h.ok(&["kill", "web1"]));
    server.end();
}
