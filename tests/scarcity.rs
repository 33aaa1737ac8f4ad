//! A host that runs short of what commands need: descriptors, processes, memory, room in /run, a disk that can be
//! written. A command may fail then, with a word why; the next one that has what it needs works without repair, nothing
//! is left over, and VEs that run don't notice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)] // it is all test

mod house;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use house::{House, Ran, Talk, hostel};

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
            // Its definition may be gone and the rest not: the next one ends that, too.
            6 => {
                let again = h.run(&["destroy", VE, "--force"]);
                assert!(again.code == 0 || (again.code == 3 && !made), "{story}: {again:?}");
            }
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

/// The manager, and who asks for what it has written, with little memory: with too little it is killed, which no VE
/// notices, and the next goes on from where it was.
#[test]
fn memory_of_the_manager() {
    let (h, neighbour) = lived_in();
    let Some(group) = Group::new(&h, "memory") else {
        println!("skipped because this host has no tree of groups for memory alone");
        return;
    };
    let interval = "\n[metering]\ninterval = \"1s\"\n";
    h.write("hostel.toml", &(h.read("hostel.toml") + interval));
    let squeezed = |args: &[&str]| {
        let mut command = group.command(&h);
        command
            .arg(hostel())
            .arg("--config")
            .arg(h.dir.join("hostel.toml"))
            .args(args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let measured = || {
        let said = h.run(&["report", "--last", "1h", "--ve", NEIGHBOUR, "--format", "json"]);
        let rows: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
        rows[0]["usage"]["running_ns"].as_u64().unwrap_or(0)
    };
    group.limit("memory.limit_in_bytes", 1 << 20);
    let ended = squeezed(&["manager"]).output().unwrap();
    assert!(!ended.status.success(), "1 MiB is enough: {ended:?}");
    group.limit("memory.limit_in_bytes", 24 << 20);
    let mut before = 0;
    for _ in 0..2 {
        let mut manager = squeezed(&["manager"]).spawn().unwrap();
        let lock = h.run.join("locks/manager.lock");
        h.until("the manager works", 20, || lock.metadata().is_ok_and(|m| m.len() > 0));
        // Twice, so that there is something between two looks.
        for _ in 0..2 {
            h.until("it measures", 20, || measured() > before + 1_000_000_000);
            before = measured();
        }
        for args in [&["list"][..], &["report", "--by", "ve"], &["ledger", "verify"]] {
            let ran: Ran = squeezed(args).output().unwrap().into();
            assert!(ran.code == 0 && !ran.out.is_empty(), "{args:?}: {ran:?}");
        }
        assert!(manager.try_wait().unwrap().is_none(), "24 MiB are too few");
        // `timeout` stands before it and hands the signal on.
        house::signal(&manager, rustix::process::Signal::TERM);
        manager.wait().unwrap();
    }
    assert_eq!(h.status(NEIGHBOUR, "pid").as_u64(), Some(neighbour));
    assert!(h.audit().is_empty());
}

/// A house whose directory below /run is a small tmpfs of its own.
struct SmallRun(Option<House>);

impl SmallRun {
    fn new() -> Self {
        let h = House::new();
        h.host_sh(&format!(
            "mount -t tmpfs -o size=512k,mode=700 small {}",
            h.run.display()
        ));
        let small = Self(Some(h));
        small.house().ok(&["init"]);
        small
    }

    fn house(&self) -> &House {
        self.0.as_ref().unwrap()
    }

    fn fill(&self) {
        let fill = self.house().run.join("fill");
        let line = format!(
            "for s in 64k 4k 1; do dd if=/dev/zero bs=$s >> {} 2>/dev/null; done; true",
            fill.display()
        );
        self.house().host_sh(&line);
        assert!(
            std::fs::write(self.house().run.join("drop"), [1]).is_err(),
            "there is still room"
        );
        let _ = std::fs::remove_file(self.house().run.join("drop"));
    }

    fn free(&self) {
        std::fs::remove_file(self.house().run.join("fill")).unwrap();
    }
}

impl Drop for SmallRun {
    fn drop(&mut self) {
        let h = self.0.take().unwrap();
        let _ = std::fs::remove_file(h.run.join("fill"));
        // What lies on it goes before it does.
        h.run(&["destroy", "--all", "--force"]);
        let left = if std::thread::panicking() {
            Vec::new()
        } else {
            h.audit()
        };
        let unmounted = Command::new("umount").arg(&h.run).status();
        drop(h);
        if !std::thread::panicking() {
            assert!(left.is_empty() && unmounted.unwrap().success(), "{left:#?}");
        }
    }
}

#[test]
fn room_in_run() {
    let small = SmallRun::new();
    let h = small.house();
    for ve in [NEIGHBOUR, VE, "kills1", "goes1"] {
        h.busybox(ve);
    }
    h.ok(&["create", "off1", "--template", "busybox"]);
    small.fill();
    // What needs room there says so and leaves nothing.
    let ran = h.run(&["start", "off1"]);
    assert!(
        [1, 6].contains(&ran.code) && ran.err.contains("No space left"),
        "{ran:?}"
    );
    assert_eq!(h.state("off1"), "stopped");
    // What is looked at and used needs none.
    assert_eq!(h.ok(&["list", "-H"]).lines().count(), 5);
    assert_eq!(h.sh(NEIGHBOUR, "echo alive"), "alive");
    assert_eq!(h.audit(), Vec::<serde_json::Value>::new());
    // What ends VEs works all the same.
    for (args, ve) in [
        (&["stop", VE][..], VE),
        (&["kill", "kills1"], "kills1"),
        (&["destroy", "goes1", "--force"], ""),
    ] {
        if args[0] == "kill" {
            // Even if nothing was put by for that.
            std::fs::remove_file(h.run.join(".reserve")).unwrap();
            small.fill();
        }
        let ran = h.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        if !ve.is_empty() {
            assert_eq!(h.state(ve), "stopped", "{args:?}");
        }
        assert_eq!(h.audit(), Vec::<serde_json::Value>::new(), "{args:?}");
        small.fill();
    }
    // A guest that ends by itself is cleared up after.
    h.run(&["exec", NEIGHBOUR, "--", "/bin/sh", "-c", "poweroff -f"]);
    h.until("it is stopped", 20, || h.state(NEIGHBOUR) == "stopped");
    h.until("it is cleared up after", 20, || h.audit().is_empty());
    small.free();
    for ve in [NEIGHBOUR, VE, "kills1", "off1"] {
        h.ok(&["start", ve]);
        assert_eq!(h.sh(ve, "hostname"), ve);
    }
}

/// The data directory of Hostel can't be written: a disk that was remounted after an error, say.
#[test]
fn a_disk_that_can_be_written() {
    let (h, neighbour) = lived_in();
    h.ok(&["create", "off1", "--template", "busybox"]);
    h.busybox(VE);
    let before = (h.read("etc/ve/off1.toml"), h.ok(&["list", "-H", "-o", "name,state"]));
    // Only this command sees it so, in a mount namespace of its own.
    let read_only = |args: &[&str]| -> Ran {
        let line = "for d in etc data; do mount --bind \"$0/$d\" \"$0/$d\" && mount -o remount,bind,ro \"$0/$d\" || exit 99; done; exec \"$@\"";
        let mut command = h.on_host("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", line])
            .arg(&h.dir);
        command
            .arg(hostel())
            .arg("--config")
            .arg(h.dir.join("hostel.toml"))
            .args(args);
        command.output().unwrap().into()
    };
    for args in [
        &["create", "new1", "--template", "busybox"][..],
        &["set", VE, "processes=50"],
        &["destroy", "off1"],
        &["set", "off1", "disk.size=160MiB"],
    ] {
        let ran = read_only(args);
        assert!(
            ran.code == 1 && ran.err.contains("Read-only file system"),
            "{args:?}: {ran:?}"
        );
        assert_eq!(h.audit(), Vec::<serde_json::Value>::new(), "{args:?}");
    }
    for args in [
        &["list"][..],
        &["status", VE],
        &["show", "off1"],
        &["audit"],
        &["exec", VE, "/bin/true"],
    ] {
        let ran = read_only(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    }
    assert_eq!(
        (h.read("etc/ve/off1.toml"), h.ok(&["list", "-H", "-o", "name,state"])),
        before
    );
    // A VE that runs can be ended: nothing of that has to be kept.
    for args in [&["stop", VE][..], &["kill", NEIGHBOUR]] {
        assert_eq!(h.status(NEIGHBOUR, "pid").as_u64(), Some(neighbour));
        let ran = read_only(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    }
    for ve in [VE, NEIGHBOUR, "off1"] {
        h.ok(&["start", ve]);
        assert_eq!(h.sh(ve, "hostname"), ve);
    }
}

/// Something on the host has a copy of the mount table from when a VE's root was mounted: any service with a mount
/// namespace of its own that was started meanwhile.
#[test]
fn a_copy_of_the_mount_table_elsewhere() {
    let h = House::new();
    h.busybox(VE);
    // As /run is on a host of systemd's: mounts and unmounts reach those who have a copy, if they let them.
    h.host_sh(&format!(
        "mount --bind {0} {0} && mount --make-shared {0}",
        h.run.display()
    ));
    let shared = Unmount(h.run.clone());
    let keep = |propagation: &str| {
        let mut keeper = h.on_host("unshare");
        let line = "echo ready; read end";
        keeper.args(["--mount", "--propagation", propagation, "sh", "-c", line]);
        keeper.stdin(Stdio::piped());
        let keeper = Talk::new(keeper.stdout(Stdio::piped()).spawn().unwrap());
        keeper.hear("ready");
        keeper
    };
    // While it runs: nothing of it shows in the host's table, so there is nothing to keep.
    let at_run = keep("private");
    h.ok(&["restart", VE, "--timeout", "0s"]);
    assert_eq!(h.sh(VE, "hostname"), VE);
    h.ok(&["stop", VE]);
    h.ok(&["mount", VE]);
    let at_mount = keep("slave");
    h.ok(&["umount", VE]);
    h.ok(&["start", VE]);
    h.ok(&["stop", VE]);
    h.ok(&["destroy", VE]);
    drop((at_run, at_mount));
    // One that doesn't let them: it is told who is in the way, and when that has ended all goes on without repair.
    h.ok(&["create", VE, "--template", "busybox"]);
    h.ok(&["mount", VE]);
    let keeper = keep("private");
    let err = h.fails(5, &["umount", VE]);
    assert!(err.contains("still in use") && err.contains("mount namespace"), "{err}");
    drop(keeper);
    h.ok(&["umount", VE]);
    h.ok(&["start", VE]);
    assert_eq!(h.sh(VE, "hostname"), VE);
    h.ok(&["destroy", VE, "--force"]);
    assert_eq!(h.audit(), Vec::<serde_json::Value>::new());
    drop(shared);
}

/// A mount of the test's own.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
