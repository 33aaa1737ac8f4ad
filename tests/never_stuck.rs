//! Many commands at once, fifty lives of one VE in a row, a full disk, damaged records and a host that was restarted: whatever
//! comes, a VE can be used, stopped and removed, and the other VEs don't notice.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod house;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use house::{House, Ran, Talk, template};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::Digest;

/// The first VE's number.
const ID: u32 = 101;

fn send(pid: u64, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Runs all of them at once; what became of each, in order.
fn at_once(h: &House, commands: &[Vec<&str>]) -> Vec<Ran> {
    let children: Vec<_> = commands
        .iter()
        .map(|args| {
            h.command(args)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    children
        .into_iter()
        .map(|c| c.wait_with_output().unwrap().into())
        .collect()
}

#[track_caller]
fn all_fine(runs: &[Ran]) {
    for (n, ran) in runs.iter().enumerate() {
        assert_eq!(ran.code, 0, "number {n}: {}{}", ran.out, ran.err);
    }
}

fn rows(h: &House) -> Vec<Value> {
    let list: Value = serde_json::from_str(&h.ok(&["list", "--json"])).unwrap();
    list.as_array().unwrap().clone()
}

const NAMES: [&str; 8] = ["web1", "web2", "web3", "web4", "web5", "web6", "web7", "web8"];

#[test]
fn creations_starts_and_ends_all_at_once() {
    let h = House::new();
    template("busybox");
    let each = |args: &[&'static str]| -> Vec<Vec<&'static str>> {
        NAMES
            .iter()
            .map(|name| [&[args[0], *name], &args[1..]].concat())
            .collect()
    };
    let wait: &[&str] = &["--wait-lock", "120s"];
    all_fine(&at_once(
        &h,
        &each(&[&["create", "--template", "busybox"], wait].concat()),
    ));
    let rows = rows(&h);
    let ids: BTreeSet<u64> = rows.iter().map(|r| r["id"].as_u64().unwrap()).collect();
    let addresses: BTreeSet<String> = rows.iter().map(|r| r["addresses"][0].to_string()).collect();
    let slots: BTreeSet<String> = ids
        .iter()
        .flat_map(|id| {
            h.read(&format!("data/ve/{id}/state.toml"))
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|l| l.starts_with("slot ="))
        .collect();
    assert_eq!((ids.len(), addresses.len(), slots.len()), (8, 8, 8), "{rows:#?}");
    all_fine(&at_once(&h, &each(&[&["start"], wait].concat())));
    assert!(self::rows(&h).iter().all(|r| r["state"] == "running"));
    all_fine(&at_once(&h, &each(&[&["restart"], wait].concat())));
    for name in NAMES {
        assert_eq!(h.sh(name, "hostname"), name);
    }
    assert!(h.audit().is_empty());
    all_fine(&at_once(&h, &each(&[&["stop"], wait].concat())));
    all_fine(&at_once(&h, &each(&[&["destroy"], wait].concat())));
    assert!(self::rows(&h).is_empty() && h.audit().is_empty());
}

#[test]
fn eight_creations_of_one_name_make_one_ve() {
    let h = House::new();
    template("busybox");
    let runs = at_once(
        &h,
        &vec![vec!["create", "web1", "--template", "busybox", "--wait-lock", "60s"]; 8],
    );
    let made = runs.iter().filter(|r| r.code == 0).count();
    assert_eq!(made, 1, "{runs:#?}");
    assert!(runs.iter().all(|r| [0, 4].contains(&r.code)), "{runs:#?}");
    assert_eq!(rows(&h).len(), 1);
    assert!(h.audit().is_empty());
    h.ok(&["start", "web1"]);
    let runs = at_once(&h, &vec![vec!["destroy", "web1", "--force", "--wait-lock", "60s"]; 8]);
    assert!(runs.iter().all(|r| [0, 3].contains(&r.code)), "{runs:#?}");
    assert!(runs.iter().any(|r| r.code == 0) && rows(&h).is_empty() && h.audit().is_empty());
}

#[test]
fn commands_on_one_ve_follow_each_other() {
    let h = House::new();
    h.busybox("web1");
    let verbs = ["start", "stop", "restart", "kill", "start", "restart", "stop", "start"];
    let patient: Vec<Vec<&str>> = verbs
        .iter()
        .map(|verb| vec![*verb, "web1", "--wait-lock", "120s"])
        .collect();
    for _ in 0..3 {
        all_fine(&at_once(&h, &patient));
        let state = h.state("web1");
        assert!(["running", "stopped"].contains(&state.as_str()), "{state}");
        assert!(h.audit().is_empty());
    }
    // Those that don't wait say who is in the way.
    let hasty: Vec<Vec<&str>> = verbs
        .iter()
        .map(|verb| vec![*verb, "web1", "--wait-lock", "0s"])
        .collect();
    let runs = at_once(&h, &hasty);
    for ran in &runs {
        let busy = ran.code == 5 && ran.err.contains("VE 101 is held by");
        assert!(ran.code == 0 || busy, "{ran:#?}");
    }
    assert!(runs.iter().any(|r| r.code == 0), "{runs:#?}");
    assert!(h.audit().is_empty());
    h.ok(&["start", "web1"]);
    assert_eq!(h.sh("web1", "echo alive"), "alive");
}

#[test]
fn one_that_hangs_holds_up_nobody_else() {
    let h = House::new();
    for name in ["web1", "web2"] {
        h.busybox(name);
    }
    let init = h.status("web1", "pid").as_u64().unwrap();
    // It doesn't heed its stop, which waits for it and holds its lock.
    send(init, Signal::STOP);
    let mut stop = h
        .command(&["stop", "web1", "--timeout", "60s"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lock = h.run.join(format!("locks/{ID}.lock"));
    h.until("the stop is under way", 10, || {
        std::fs::read_to_string(&lock).is_ok_and(|t| t.contains("\"stop\""))
    });
    let begun = Instant::now();
    h.ok(&["restart", "web2"]);
    h.ok(&["create", "web3", "--template", "busybox", "--start"]);
    assert_eq!(rows(&h).len(), 3);
    h.ok(&["destroy", "web3", "--force"]);
    assert!(
        h.audit().is_empty(),
        "a VE in the middle of its stop has nothing that is an orphan"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "they waited: {:?}",
        begun.elapsed()
    );
    let refused = h.fails(5, &["kill", "web1", "--wait-lock", "0s"]);
    assert!(refused.contains("held by stop"), "{refused}");
    send(u64::from(stop.id()), Signal::KILL);
    stop.wait().unwrap();
    h.ok(&["kill", "web1"]);
}

/// What a host has of Hostel, as numbers.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    mounts: usize,
    loops: usize,
    groups: usize,
    links: usize,
    elements: usize,
    run_files: usize,
    data_files: usize,
    monitor_fds: usize,
}

fn files_below(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|e| {
            1 + if e.file_type().unwrap().is_dir() {
                files_below(&e.path())
            } else {
                0
            }
        })
        .sum()
}

fn lines(h: &House, program: &str, args: &[&str]) -> Vec<String> {
    let ran: Ran = h.on_host(program).args(args).output().unwrap().into();
    assert_eq!(ran.code, 0, "{program} {args:?}: {}", ran.err);
    ran.out.lines().map(str::to_owned).collect()
}

fn groups_below(h: &House) -> usize {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts
        .lines()
        .filter(|l| l.contains(" cgroup"))
        .filter_map(|l| l.split(' ').nth(1));
    let dirs = |dir: PathBuf| -> usize {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().unwrap().is_dir()).count()
    };
    points.map(|p| dirs(Path::new(p).join(&h.cgroup_root))).sum()
}

/// The process that watches over a VE, found by the socket that it holds: its init's parent.
fn parent(pid: u64) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')')
        .unwrap()
        .1
        .split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

fn counts(h: &House, monitor: u64) -> Counts {
    let ours = |l: &&String| l.contains(h.dir.to_str().unwrap()) || l.contains(h.run.to_str().unwrap());
    let mounts: Vec<String> = std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    Counts {
        mounts: mounts.iter().filter(ours).count(),
        loops: lines(h, "losetup", &["-a"]).iter().filter(ours).count(),
        groups: groups_below(h),
        links: lines(h, "ip", &["-o", "link"]).len(),
        elements: lines(h, "nft", &["list", "ruleset"]).len(),
        run_files: files_below(&h.run),
        data_files: files_below(&h.dir),
        monitor_fds: std::fs::read_dir(format!("/proc/{monitor}/fd")).unwrap().count(),
    }
}

#[test]
fn fifty_lives_leave_nothing_behind() {
    let h = House::new();
    h.busybox("stays");
    let monitor = parent(h.status("stays", "pid").as_u64().unwrap());
    let life = |n: usize| {
        h.ok(&["create", "comes", "--template", "busybox"]);
        h.ok(&["start", "comes"]);
        match n % 10 {
            0 => drop(h.ok(&["stop", "comes"])),
            1..4 => drop(h.run(&["exec", "comes", "--", "/bin/sh", "-c", "poweroff -f"])),
            4..7 => drop(h.ok(&["kill", "comes"])),
            _ => {}
        }
        h.ok(&["destroy", "comes", "--force"]);
    };
    life(2);
    let before = counts(&h, monitor);
    (0..50).for_each(life);
    let end = Instant::now() + Duration::from_secs(20);
    while counts(&h, monitor) != before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(counts(&h, monitor), before);
    assert!(h.audit().is_empty());
    assert_eq!(parent(h.status("stays", "pid").as_u64().unwrap()), monitor);
}

/// A small file system of its own for what a house writes.
struct SmallDisk {
    house: Option<House>,
    point: PathBuf,
}

impl SmallDisk {
    fn new() -> Self {
        Self::made("")
    }

    /// With options for mkfs.ext4.
    fn made(options: &str) -> Self {
        let mut house = House::new();
        house.unchecked(); // it is looked at here, before its disk goes
        let (image, point) = (house.dir.join("small.img"), house.dir.join("small"));
        std::fs::create_dir(&point).unwrap();
        let line = format!(
            "truncate -s 128M {0} && mkfs.ext4 -q -F {options} {0} && mount -o loop {0} {1}",
            image.display(),
            point.display()
        );
        assert_eq!(sh(&house, &line).code, 0);
        let toml = house.read("hostel.toml");
        let moved = ["etc", "data"].iter().fold(toml, |text, part| {
            let old = house.dir.join(part).display().to_string();
            text.replace(&format!("\"{old}\""), &format!("\"{}\"", point.join(part).display()))
        });
        house.write("hostel.toml", &moved);
        let small = Self {
            house: Some(house),
            point,
        };
        small.house().ok(&["init"]);
        let plan = "processes = 60\n[cpu]\ncap = 1\n[memory]\nlimit = \"64MiB\"\n[disk]\nsize = \"32MiB\"\n";
        small.house().write("small/etc/plans/test.toml", plan);
        template("busybox");
        small
    }

    fn house(&self) -> &House {
        self.house.as_ref().unwrap()
    }

    /// Not a byte is left.
    fn fill(&self) {
        let fill = self.point.join("fill");
        let line = format!(
            "for s in 1M 4k 1k; do dd if=/dev/zero bs=$s >> {0} 2>/dev/null; done; sync {0}; true",
            fill.display()
        );
        sh(self.house(), &line);
        assert!(
            std::fs::write(self.point.join("drop"), [1; 4096]).is_err(),
            "there is still space"
        );
        let _ = std::fs::remove_file(self.point.join("drop"));
    }

    fn free(&self) {
        std::fs::remove_file(self.point.join("fill")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let house = self.house.take().unwrap();
        let _ = std::fs::remove_file(self.point.join("fill"));
        house.run(&["destroy", "--all", "--force"]);
        let left = if std::thread::panicking() {
            Vec::new()
        } else {
            house.audit()
        };
        sh(&house, &format!("umount {0} || umount -l {0}", self.point.display()));
        drop(house);
        assert!(left.is_empty(), "{left:#?}");
    }
}

fn sh(h: &House, line: &str) -> Ran {
    h.on_host("sh").args(["-c", line]).output().unwrap().into()
}

#[test]
fn on_a_full_disk_nothing_is_lost_and_everything_can_be_ended() {
    let small = SmallDisk::new();
    let h = small.house();
    for name in ["web1", "web2", "web3"] {
        h.ok(&["create", name, "--template", "busybox", "--start"]);
    }
    h.ok(&["create", "web4", "--template", "busybox"]);
    small.fill();
    // What needs space fails, says so, and leaves nothing.
    let ves = || files_below(&small.point.join("data/ve"));
    let before = (ves(), h.read("small/etc/ve/web1.toml"));
    let refused = h.run(&["create", "web5", "--template", "busybox"]);
    assert!(
        [1, 6].contains(&refused.code) && refused.err.contains("No space left"),
        "{refused:#?}"
    );
    h.fails(3, &["status", "web5"]);
    let refused = h.run(&["set", "web1", "memory.limit=48MiB"]);
    assert!(
        [1, 6].contains(&refused.code) && refused.err.contains("No space left"),
        "{refused:#?}"
    );
    let refused = h.run(&["set", "web4", "disk.size=64MiB"]);
    assert_ne!(refused.code, 0);
    assert_eq!(
        (ves(), h.read("small/etc/ve/web1.toml")),
        before,
        "a definition or a VE has changed"
    );
    assert_eq!(h.sh("web1", "echo alive"), "alive");
    assert!(h.audit().is_empty(), "{:#?}", h.audit());
    // What ends VEs works.
    h.ok(&["stop", "web1"]);
    h.ok(&["kill", "web2"]);
    assert_eq!(
        (h.state("web1").as_str(), h.state("web2").as_str()),
        ("stopped", "stopped")
    );
    small.fill();
    h.ok(&["destroy", "web1"]);
    small.fill();
    h.ok(&["destroy", "web3", "--force"]);
    h.fails(3, &["status", "web3"]);
    assert!(h.audit().is_empty(), "{:#?}", h.audit());
    // Even if nothing was put by for that.
    let _ = std::fs::remove_file(small.point.join("data/.reserve"));
    small.fill();
    h.ok(&["destroy", "web2"]);
    h.fails(3, &["status", "web2"]);
    // A VE that was never started has something to write at its first start; it can be ended all the same.
    small.fill();
    for reserve in [true, false] {
        if !reserve {
            let _ = std::fs::remove_file(small.point.join("data/.reserve"));
            small.fill();
        }
        let started = h.run(&["start", "web4"]);
        // Linux 6.1 tells a guest's file system that the disk below is broken, not full.
        let broken = started.code == 1 && started.err.contains("Input/output error");
        assert!(broken || [0, 6].contains(&started.code), "{started:#?}");
        let stopped = h.run(&["stop", "web4"]);
        assert_eq!(stopped.code, 0, "{stopped:#?}");
        assert!(h.audit().is_empty(), "{:#?}", h.audit());
    }
    // With space again all is as it was.
    small.free();
    h.ok(&["start", "web4"]);
    assert_eq!(h.sh("web4", "hostname"), "web4");
    h.ok(&["set", "web4", "memory.limit=48MiB"]);
    h.ok(&["create", "web5", "--template", "busybox", "--start"]);
}

/// Space enough, but no file can be made any more.
#[test]
fn on_a_disk_without_inodes_nothing_is_lost_and_everything_can_be_ended() {
    let small = SmallDisk::made("-N 256");
    let h = small.house();
    for name in ["web1", "web2"] {
        h.ok(&["create", name, "--template", "busybox", "--start"]);
    }
    h.ok(&["create", "web3", "--template", "busybox"]);
    let files = small.point.join("files");
    let fill = || {
        std::fs::create_dir_all(&files).unwrap();
        let first = std::fs::read_dir(&files).unwrap().count();
        let made = (first..1000).take_while(|n| std::fs::write(files.join(n.to_string()), "").is_ok());
        assert!(first + made.count() < 1000);
        assert!(
            std::fs::write(small.point.join("drop"), "").is_err(),
            "there are still inodes"
        );
    };
    fill();
    let before = h.read("small/etc/ve/web1.toml");
    for args in [
        &["create", "web4", "--template", "busybox"][..],
        &["set", "web1", "memory.limit=48MiB"],
    ] {
        let ran = h.run(args);
        assert!(
            [1, 6].contains(&ran.code) && ran.err.contains("No space left"),
            "{args:?}: {ran:?}"
        );
        assert!(h.audit().is_empty(), "{args:?}: {:#?}", h.audit());
    }
    assert_eq!(h.read("small/etc/ve/web1.toml"), before);
    h.ok(&["stop", "web1"]);
    fill();
    h.ok(&["destroy", "web1"]);
    fill();
    h.ok(&["destroy", "web2", "--force"]);
    fill();
    let started = h.run(&["start", "web3"]);
    assert!([0, 6].contains(&started.code), "{started:#?}");
    h.ok(&["stop", "web3"]);
    h.ok(&["destroy", "web3"]);
    assert!(rows(h).is_empty() && h.audit().is_empty(), "{:#?}", h.audit());
    std::fs::remove_dir_all(&files).unwrap();
    h.ok(&["create", "web4", "--template", "busybox", "--start"]);
}

/// A file system that is frozen (fsfreeze(8)): whoever writes to it hangs in the kernel, as on a disk that doesn't answer.
/// It thaws after a minute by itself, so that a command that hangs on it makes its test fail, and not hang as well.
struct Frozen<'a> {
    point: &'a Path,
    _thaws: Talk,
}

impl<'a> Frozen<'a> {
    fn new(point: &'a Path) -> Self {
        let frozen = std::process::Command::new("fsfreeze").arg("-f").arg(point).status();
        assert!(frozen.unwrap().success());
        let mut watch = std::process::Command::new("sh");
        watch
            .args(["-c", "timeout 60 cat; fsfreeze -u \"$0\" 2>/dev/null"])
            .arg(point);
        let watch = watch
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            point,
            _thaws: Talk::new(watch),
        }
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("fsfreeze")
            .arg("-u")
            .arg(self.point)
            .status();
    }
}

#[test]
fn a_disk_that_hangs_holds_up_only_those_who_write_to_it() {
    let small = SmallDisk::new();
    let h = small.house();
    for name in ["web1", "web2"] {
        h.ok(&["create", name, "--template", "busybox", "--start"]);
    }
    h.ok(&["stop", "web2"]);
    let frozen = Frozen::new(&small.point);
    let within = |args: &[&str]| -> Ran {
        let hostel = h.command(args);
        let mut timed = h.on_host("timeout");
        timed
            .args(["-s", "KILL", "30"])
            .arg(house::hostel())
            .args(hostel.get_args().skip_while(|a| *a != "--config"));
        timed.output().unwrap().into()
    };
    let look = |when: &str| {
        for args in [
            &["list"][..],
            &["list", "--json"],
            &["status", "web1"],
            &["show", "web2"],
            &["log", "web1"],
        ] {
            let ran = within(args);
            assert_eq!(ran.code, 0, "{when}: {args:?} {ran:?}");
        }
    };
    look("frozen");
    // Who ends a VE on it waits for it, and says so to the others; nobody else is held up.
    let stop = h.spawn(&["stop", "web1", "--timeout", "1s"]);
    let lock = h.run.join(format!("locks/{ID}.lock"));
    h.until("the stop is under way", 20, || {
        std::fs::read_to_string(&lock).is_ok_and(|t| t.contains("\"stop\""))
    });
    look("stopping");
    let busy = within(&["--wait-lock", "0s", "kill", "web1"]);
    // Linux 6.1 lets a stop through where a later kernel has it wait.
    let through = busy.code == 0 && busy.err.contains("stopped already");
    assert!(through || (busy.code == 5 && busy.err.contains("stop")), "{busy:?}");
    drop(frozen);
    let stopped = house::end_of(stop);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    for name in ["web1", "web2"] {
        h.ok(&["start", name]);
        assert_eq!(h.sh(name, "hostname"), name);
    }
    assert!(h.audit().is_empty(), "{:#?}", h.audit());
}

#[test]
fn a_creation_on_a_full_disk_can_be_repeated_when_there_is_space() {
    let small = SmallDisk::new();
    let h = small.house();
    small.fill();
    for _ in 0..3 {
        assert_ne!(h.run(&["create", "web1", "--template", "busybox"]).code, 0);
        assert!(h.audit().is_empty(), "{:#?}", h.audit());
    }
    small.free();
    h.ok(&["create", "web1", "--template", "busybox", "--start"]);
}

/// The file with one bit turned, or cut off, in many ways.
fn damaged(whole: &[u8], ways: usize) -> Vec<Vec<u8>> {
    let step = (whole.len() / ways).max(1);
    let flipped = (0..whole.len()).step_by(step).map(|at| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cut = [0, 1, whole.len() / 2, whole.len() - 1].map(|n| whole[..n].to_vec());
    flipped.chain(cut).collect()
}

/// What was allocated for a VE, as it is told.
fn allocated(h: &House, ve: &str) -> Vec<String> {
    let shown = h.run(&["show", ve]);
    shown
        .out
        .lines()
        .filter(|l| l.contains("allocated"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_damaged_record_is_read_from_its_copy_and_put_right() {
    let h = House::new();
    for name in ["web1", "web2"] {
        h.busybox(name);
    }
    h.ok(&["stop", "web1"]);
    let file = h.dir.join(format!("data/ve/{ID}/state.toml"));
    let whole = std::fs::read(&file).unwrap();
    let before = allocated(&h, "web1");
    assert!(!before.is_empty());
    for bytes in damaged(&whole, 40) {
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(allocated(&h, "web1"), before, "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(
            (h.state("web1").as_str(), h.state("web2").as_str()),
            ("stopped", "running")
        );
    }
    let found = h.audit();
    assert!(found.len() == 1 && found[0]["kind"] == "record", "{found:#?}");
    assert!(h.status("web1", "problem").as_str().unwrap().contains("damaged"));
    let ran = h.run(&["start", "web1"]);
    assert!(ran.code == 0 && ran.err.contains("put right"), "{}{}", ran.out, ran.err);
    assert_eq!(h.sh("web1", "hostname"), "web1");
    assert!(h.audit().is_empty());
    std::fs::remove_file(&file).unwrap();
    h.ok(&["audit", "--fix"]);
    assert_eq!(allocated(&h, "web1"), before);
    assert!(h.audit().is_empty());
}

#[test]
fn a_lost_record_is_the_trouble_of_one_ve() {
    let h = House::new();
    for name in ["web1", "web2"] {
        h.busybox(name);
    }
    h.ok(&["stop", "web1"]);
    let dir = h.dir.join(format!("data/ve/{ID}"));
    let (file, copy) = (dir.join("state.toml"), dir.join(".state.toml.copy"));
    let whole = std::fs::read(&file).unwrap();
    let before = allocated(&h, "web1");
    for bytes in damaged(&whole, 20) {
        std::fs::write(&file, &bytes).unwrap();
        std::fs::write(&copy, &bytes).unwrap();
        let rows = rows(&h);
        assert_eq!(rows.len(), 2, "{rows:#?}");
        let (bad, good) = (&rows[0], &rows[1]);
        assert_eq!(good["state"], "running");
        // Either it is told, or what was damaged was a comment and nothing has changed.
        let told = bad["state"] == "broken" && bad["problem"].as_str().is_some_and(|p| !p.is_empty());
        assert!(
            told || allocated(&h, "web1") == before,
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }
    // Broken for certain: by number or by name, and all that is done to all is done to the others.
    for file in [&file, &copy] {
        std::fs::write(file, String::from_utf8_lossy(&whole).replace("seed", "sead")).unwrap();
    }
    assert_eq!(
        (h.state("web1").as_str(), h.status("101", "id")),
        ("broken", Value::from(ID))
    );
    assert!(h.status("web1", "problem").as_str().unwrap().contains("checksum"));
    assert_eq!(h.run(&["start", "web1"]).code, 4);
    assert_eq!(h.run(&["restart", "--all"]).code, 4, "one of them is broken");
    assert_eq!(h.state("web2"), "running");
    h.ok(&["stop", "web2"]);
    // Nobody gets what can still be read of it.
    h.ok(&["create", "web3", "--template", "busybox", "--start"]);
    std::fs::write(&file, &whole).unwrap();
    assert!(h.audit().is_empty(), "{:#?}", h.audit());
    h.ok(&["start", "web1"]);
    assert_eq!(h.sh("web1", "hostname"), "web1");
}

#[test]
fn a_ve_whose_record_is_damaged_can_be_ended_and_destroyed() {
    let h = House::new();
    for name in ["web1", "web2"] {
        h.busybox(name);
    }
    for id in [ID, ID + 1] {
        for file in ["state.toml", ".state.toml.copy"] {
            std::fs::write(h.dir.join(format!("data/ve/{id}/{file}")), "what?").unwrap();
        }
    }
    // They run, and the audit takes nothing from them.
    assert_eq!(h.state("web1"), "running");
    h.run(&["audit", "--fix"]);
    let links = lines(&h, "ip", &["-o", "link"]).join("\n");
    assert!(links.contains("hv101.0") && links.contains("hv102.0"), "{links}");
    h.ok(&["stop", "web1"]);
    assert_eq!(h.state("web1"), "broken");
    h.fails(4, &["destroy", "web1"]);
    h.ok(&["destroy", "web1", "--force"]);
    h.fails(3, &["status", "web1"]);
    h.ok(&["destroy", "102", "--force"]);
    assert!(rows(&h).is_empty() && h.audit().is_empty(), "{:#?}", h.audit());
    assert!(!h.dir.join("etc/ve/web1.toml").exists() && !h.dir.join("etc/ve/web2.toml").exists());
}

#[test]
fn a_damaged_run_record_is_healed_from_what_runs() {
    let h = House::new();
    for name in ["web1", "web2"] {
        h.busybox(name);
    }
    let file = h.run.join(format!("{ID}/run.json"));
    let whole = std::fs::read(&file).unwrap();
    let pid = h.status("web1", "pid");
    for bytes in damaged(&whole, 12) {
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(
            (h.state("web1").as_str(), h.status("web1", "pid")),
            ("running", pid.clone())
        );
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(h.sh("web1", "echo alive"), "alive");
    h.ok(&["start", "web1"]);
    let (old, new): (Value, Value) = (
        serde_json::from_slice(&whole).unwrap(),
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap(),
    );
    assert_eq!((&old["init"], &old["boot_id"]), (&new["init"], &new["boot_id"]));
    let apart = old["started"].as_i64().unwrap() - new["started"].as_i64().unwrap();
    // The one is when it was recorded, the other when its first process was made.
    assert!(apart.unsigned_abs() <= 2 * house::slowness(), "started {apart} s apart");
    std::fs::write(&file, "{").unwrap();
    h.ok(&["stop", "web1"]);
    assert!(h.audit().is_empty());
    assert_eq!(h.state("web2"), "running");
}

/// A real journal of an operation that was cut short (a stop, while it waited for its guest) and where it lay. Its VE
/// is stopped.
fn cut_short(h: &House, ve: &str, id: u32) -> (PathBuf, Vec<u8>) {
    let init = h.status(ve, "pid").as_u64().unwrap();
    send(init, Signal::STOP);
    let mut stop = h
        .command(&["stop", ve, "--timeout", "60s"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal = h.run.join(format!("journal/{id}.journal"));
    h.until("it has begun", 10, || {
        std::fs::read_to_string(&journal).is_ok_and(|t| t.contains("\"step\":\"end\""))
    });
    let whole = std::fs::read(&journal).unwrap();
    stop.kill().unwrap();
    stop.wait().unwrap();
    send(init, Signal::CONT);
    h.ok(&["kill", ve]);
    (journal, whole)
}

#[test]
fn a_damaged_journal_is_put_aside_and_nothing_stands_still() {
    let h = House::new();
    for name in ["web1", "web2"] {
        h.busybox(name);
    }
    let (journal, whole) = cut_short(&h, "web1", ID);
    for (n, bytes) in damaged(&whole, 12).into_iter().enumerate() {
        std::fs::write(&journal, &bytes).unwrap();
        assert_eq!(rows(&h).len(), 2);
        let next = [["start", "web1"], ["kill", "web1"]][n % 2];
        let ran = h.run(&next);
        assert_eq!(
            ran.code,
            0,
            "{next:?} after {}: {}{}",
            String::from_utf8_lossy(&bytes),
            ran.out,
            ran.err
        );
        assert!(!journal.exists());
    }
    assert_eq!(h.state("web2"), "running");
    h.ok(&["audit", "--fix"]);
    h.ok(&["start", "web1"]);
    assert_eq!(h.sh("web1", "echo alive"), "alive");
}

/// A journal's lines with the boot id of another boot, and checksums that fit.
fn of_another_boot(journal: &str) -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let sign = |line: &str| {
        let json = line.split_once(' ').unwrap().1.replace(boot.trim(), OTHER_BOOT);
        let sum: String = sha2::Sha256::digest(&json)
            .iter()
            .take(8)
            .map(|b| format!("{b:02x}"))
            .collect();
        format!("{sum} {json}\n")
    };
    journal.lines().map(sign).collect()
}

const OTHER_BOOT: &str = "00000000-1111-2222-3333-444444444444";

#[test]
fn what_was_before_the_hosts_restart_counts_no_more() {
    let h = House::new();
    h.busybox("web1");
    let (journal, whole) = cut_short(&h, "web1", ID);
    let old_journal = of_another_boot(std::str::from_utf8(&whole).unwrap());
    h.ok(&["start", "web1"]);
    let record = h.run.join(format!("{ID}/run.json"));
    let mut old: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    h.ok(&["stop", "web1"]);
    // The number of its init has gone to another process since, which must come to no harm: to this one.
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    let began: u64 = own
        .rsplit_once(')')
        .unwrap()
        .1
        .split_ascii_whitespace()
        .nth(19)
        .unwrap()
        .parse()
        .unwrap();
    old["boot_id"] = OTHER_BOOT.into();
    old["init"] = serde_json::json!({"pid": std::process::id(), "start_time": began});
    std::fs::write(&record, old.to_string()).unwrap();
    std::fs::write(&journal, &old_journal).unwrap();
    assert_eq!(h.state("web1"), "stopped");
    assert!(h.audit().is_empty(), "{:#?}", h.audit());
    let ran = h.run(&["kill", "web1"]);
    assert!(ran.code == 0 && !journal.exists(), "{}{}", ran.out, ran.err);
    std::fs::write(&journal, &old_journal).unwrap();
    let ran = h.run(&["start", "web1"]);
    assert!(ran.code == 0 && !ran.err.contains("undoing"), "{}{}", ran.out, ran.err);
    assert_eq!(h.sh("web1", "echo alive"), "alive");
    // The record of a VE that runs, as from before: the VE is found all the same.
    let mut now: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    now["boot_id"] = OTHER_BOOT.into();
    std::fs::write(&record, now.to_string()).unwrap();
    assert_eq!(h.state("web1"), "running");
    h.ok(&["stop", "web1"]);
    assert!(h.audit().is_empty());
}

#[test]
fn ctrl_c_in_a_creation_leaves_nothing() {
    let h = House::new();
    template("busybox");
    for delay in [0, 5, 10, 20, 40, 80] {
        let mut create = h
            .command(&["create", "web1", "--template", "busybox"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let _ = kill_process(Pid::from_child(&create), Signal::INT);
        let ended = create.wait().unwrap();
        match ended.code() {
            Some(0) => drop(h.ok(&["destroy", "web1"])),
            Some(130) => drop(h.fails(3, &["status", "web1"])),
            // Before it listens to the signal it has done nothing.
            None => drop(h.fails(3, &["status", "web1"])),
            other => panic!("it ended with {other:?} after {delay} ms"),
        }
        assert!(h.audit().is_empty(), "{:#?}", h.audit());
    }
}
