//! A host that runs short of what commands need: descriptors, processes, memory, room in /run, a disk that can be
//! written. A command may fail then, with a word why; the next one that has what it needs works without repair, nothing
//! is left over, and VEs that run don't notice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)] // it is all test

mod house;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use house::{House, Ran, hostel};

/// The VE that comes and goes, and the one that must not notice.
const VE: &str = "comes1";
const NEIGHBOUR: &str = "stays1";

/// A life, from beginning to end.
const LIFE: [&[&str]; 7] = [
    &["create", VE, "--template", "busybox"],
    &["start", VE],
    &["exec", VE, "--", "/bin/true"],
    &["list"],
    &["restart", VE, "--timeout", "0s"],
    &["stop", VE, "--timeout", "10s"],
    &["destroy", VE],
];

/// A house with a neighbour in it.
fn lived_in() -> (House, u64) {
    let h = House::new();
    h.busybox(NEIGHBOUR);
    let pid = h.status(NEIGHBOUR, "pid").as_u64().unwrap();
    (h, pid)
}

/// Lives a life with each command run through `squeeze`, a program that takes the command as its last arguments.
/// Before and after each, a command that has all it needs brings the VE to where the next begins. How many failed.
#[track_caller]
fn live(h: &House, neighbour: u64, story: &str, squeeze: &dyn Fn() -> Command) -> usize {
    let mut failed = 0;
    for (n, args) in LIFE.iter().enumerate() {
        let mut command = squeeze();
        let output = command
            .arg(hostel())
            .arg("--config")
            .arg(h.dir.join("hostel.toml"))
            .args(*args)
            .output()
            .unwrap();
        let signal = output.status.signal();
        let ran: Ran = output.into();
        let story = format!("{story}, {args:?}: {signal:?} {ran:?}");
        // 124 and 137: it hung, or was killed for want of memory (as seen by timeout). A panic (101) or an abort is
        // no way to say what is missing, unless nothing could be said.
        assert!(![101, 124, 134, 139].contains(&ran.code), "{story}");
        assert!(
            ran.code == 0 || ran.code == 137 || signal == Some(9) || !ran.err.is_empty(),
            "{story}"
        );
        failed += usize::from(ran.code != 0);
        // Where it would be without the shortage.
        let made = h.run(&["status", VE]).code == 0;
        match n {
            0 if !made => drop(h.ok(LIFE[0])),
            1..=4 => drop(h.ok(&["start", VE])),
            5 => drop(h.ok(&["stop", VE])),
            6 if made => drop(h.ok(&["destroy", VE, "--force"])),
            _ => {}
        }
        let orphans = h.audit();
        assert!(orphans.is_empty(), "{story}: {orphans:#?}");
        assert_eq!(
            h.status(NEIGHBOUR, "pid").as_u64(),
            Some(neighbour),
            "{story}: the neighbour noticed"
        );
    }
    failed
}

/// From next to nothing to plenty: with too little something fails, with enough nothing does.
#[track_caller]
fn with_more_and_more(what: &str, amounts: &[u64], squeeze: &dyn Fn(&House, u64) -> Command) {
    let (h, neighbour) = lived_in();
    let failed: Vec<usize> = amounts
        .iter()
        .map(|amount| live(&h, neighbour, &format!("{amount} {what}"), &|| squeeze(&h, *amount)))
        .collect();
    println!("{what}: {amounts:?}, of {} commands failed: {failed:?}", LIFE.len());
    assert!(failed[0] > 0, "{} {what} are enough", amounts[0]);
    assert_eq!(failed.last(), Some(&0), "{:?} {what} are too few", amounts.last());
}

#[test]
fn descriptors() {
    let amounts: Vec<u64> = (4..24).step_by(2).chain([64]).collect();
    with_more_and_more("descriptors", &amounts, &|h, most| {
        let mut command = h.on_host("prlimit");
        // The soft limit, which is what a caller has low. A hard one that is low is the host's word for all of it.
        command.args([&format!("--nofile={most}:"), "timeout", "60"]);
        command
    });
}

/// A control group of the test's own, with one limit.
struct Group(PathBuf);

impl Group {
    /// `None` where the host has no tree for this controller alone (only cgroup v1 has).
    fn new(h: &House, controller: &str) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let of = |l: &&str| {
            let fields: Vec<&str> = l.split(' ').collect();
            fields[2] == "cgroup" && fields[3].split(',').any(|o| o == controller)
        };
        let point = mounts.lines().find(of)?.split(' ').nth(1)?;
        let dir = Path::new(point).join(format!("{}-short", h.cgroup_root));
        std::fs::create_dir(&dir).unwrap();
        Some(Self(dir))
    }

    fn limit(&self, file: &str, most: u64) {
        std::fs::write(self.0.join(file), most.to_string()).unwrap();
    }

    /// Runs what follows in the group.
    fn command(&self, h: &House) -> Command {
        let mut command = h.on_host("timeout");
        command.args(["60", "sh", "-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]);
        command.arg(&self.0);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that was killed for want of memory is gone when its parent has taken note.
        let gone = || std::fs::remove_dir(&self.0).is_ok();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !gone() && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

#[test]
fn processes() {
    let (h, neighbour) = lived_in();
    let Some(group) = Group::new(&h, "pids") else {
        println!("skipped because this host has no tree of groups for processes alone");
        return;
    };
    let mut failed = Vec::new();
    for most in [1, 2, 3, 4, 5, 6, 30] {
        group.limit("pids.max", most);
        failed.push(live(&h, neighbour, &format!("{most} processes"), &|| group.command(&h)));
    }
    println!("of {} commands failed: {failed:?}", LIFE.len());
    assert!(failed[0] > 0 && failed.last() == Some(&0), "{failed:?}");
}

/// The kernel kills a command that needs more memory than its group may have: at any place.
#[test]
fn memory() {
    let (h, neighbour) = lived_in();
    let Some(group) = Group::new(&h, "memory") else {
        println!("skipped because this host has no tree of groups for memory alone");
        return;
    };
    let mut failed = Vec::new();
    for kib in [512, 1024, 1536, 2048, 2560, 3072, 4096, 5120, 6144, 8192, 65_536] {
        group.limit("memory.limit_in_bytes", kib << 10);
        failed.push(live(&h, neighbour, &format!("{kib} KiB"), &|| group.command(&h)));
    }
    println!("of {} commands failed: {failed:?}", LIFE.len());
    assert!(failed[0] > 0 && failed.last() == Some(&0), "{failed:?}");
}
