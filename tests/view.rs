//! What a VE sees in its /proc: its own figures by lxcfs, and the kernel's again when that ends.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use house::{House, signal};
use rustix::process::Signal;

/// An lxcfs of a test's own.
struct Lxcfs {
    mount: PathBuf,
    process: Child,
}

impl Lxcfs {
    /// `None` where there can be none.
    fn at(mount: &Path) -> Option<Self> {
        if !Path::new("/usr/bin/lxcfs").exists() || !Path::new("/dev/fuse").exists() {
            return None;
        }
        std::fs::create_dir_all(mount).unwrap();
        let process = Command::new("/usr/bin/lxcfs")
            .args(["--enable-cfs", "--enable-loadavg", "-f", "-p"])
            .arg(mount.with_extension("pid"))
            .arg(mount)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lxcfs = Self {
            mount: mount.to_owned(),
            process,
        };
        house::until("lxcfs is there", 20, || {
            assert_eq!(lxcfs.process.try_wait().unwrap(), None, "lxcfs has ended");
            is_mounted(mount)
        });
        Some(lxcfs)
    }

    /// It dies, and leaves its mount behind.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Lxcfs {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.mount).output();
    }
}

fn is_mounted(mount: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table
        .lines()
        .any(|l| l.contains(" - fuse.lxcfs ") && l.split(' ').nth(4) == mount.to_str())
}

/// A house whose VEs see what an lxcfs of its own shows.
fn house() -> Option<(House, Lxcfs)> {
    with_lxcfs(House::new())
}

fn with_lxcfs(house: House) -> Option<(House, Lxcfs)> {
    let mount = house.dir.join("lxcfs");
    let settings = house.read("hostel.toml");
    house.write(
        "hostel.toml",
        &format!("{settings}[proc]\nview = \"lxcfs\"\nlxcfs = \"{}\"\n", mount.display()),
    );
    let lxcfs = Lxcfs::at(&mount)?;
    Some((house, lxcfs))
}

fn memory(house: &House, ve: &str) -> u64 {
    let line = house.sh(ve, "grep MemTotal: /proc/meminfo");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn mib(n: u64) -> u64 {
    n << 10
}

fn has_own(house: &House, ve: &str) -> bool {
    has_files(house.status(ve, "pid").as_u64().unwrap())
}

/// Are files of lxcfs where this process is? The kernel tells, nothing inside is asked.
fn has_files(pid: u64) -> bool {
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
    mounts.contains(" fuse.lxcfs ")
}

/// Whether lxcfs can tell how much of each processor a VE has used: no file of version 2 of control groups says it.
fn usage_is_told_by_processor() -> bool {
    !Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A busy machine may start a VE without, and put it on a little later.
fn until_own(house: &House, ve: &str) {
    house.until("it has its own", 60, || has_own(house, ve));
}

/// How fast this machine is: what it takes to join a VE for a command.
fn pace(house: &House, ve: &str) -> Duration {
    let begun = Instant::now();
    house.sh(ve, "true");
    begun.elapsed()
}

const SMALL: [&str; 2] = ["memory.limit=200MiB", "cpu.cap=1"];

#[test]
fn a_ve_sees_its_own_figures() {
    let Some((house, _lxcfs)) = house() else {
        println!("skipped because lxcfs or /dev/fuse is not here");
        return;
    };
    house.busybox_with("small", &SMALL);
    until_own(&house, "small");
    assert_eq!(memory(&house, "small"), mib(200));
    assert_eq!(house.sh("small", "grep -c ^processor /proc/cpuinfo"), "1");
    assert_eq!(house.sh("small", "cat /sys/devices/system/cpu/online"), "0");
    let in_stat = || house.sh("small", "grep -c '^cpu[0-9]' /proc/stat");
    if usage_is_told_by_processor() {
        assert_eq!(in_stat(), "1");
    }
    // Here lxcfs shows the processors that the VE runs on, in any case.
    house.ok(&["set", "small", "cpu.count=1"]);
    assert_eq!(in_stat(), "1");
    assert_eq!(house.sh("small", "nproc"), "1");
    house.ok(&["set", "small", "cpu.count=unlimited"]);
    // It asks no file (sysinfo(2)).
    let own = std::fs::read_to_string("/proc/meminfo").unwrap();
    let own = own.split_whitespace().nth(1).unwrap();
    assert_eq!(house.sh("small", "busybox free -k | awk '/^Mem:/ { print $2 }'"), own);
    let uptime: f64 = house.sh("small", "cut -d. -f1 /proc/uptime").parse().unwrap();
    assert!(uptime < 120.0, "{uptime}");
    // Changed while it runs, up and down.
    house.ok(&["set", "small", "memory.limit=300MiB"]);
    assert_eq!(memory(&house, "small"), mib(300));
    house.ok(&["set", "small", "cpu.cap=2"]);
    house.ok(&["set", "small", "cpu.cap=0.5"]);
    assert_eq!(house.sh("small", "grep -c ^processor /proc/cpuinfo"), "1");
    // It starts itself anew, and has its own again.
    house.ok(&["restart", "small"]);
    until_own(&house, "small");
    assert_eq!(memory(&house, "small"), mib(300));
}

#[test]
fn nothing_but_those_files_and_nothing_but_reading() {
    let Some((house, _lxcfs)) = house() else {
        println!("skipped because lxcfs or /dev/fuse is not here");
        return;
    };
    house.busybox("ve");
    until_own(&house, "ve");
    let mounts = house.sh("ve", "cat /proc/mounts");
    let own: Vec<&str> = mounts.lines().filter(|l| l.contains("fuse.lxcfs")).collect();
    assert_eq!(own.len(), 8, "{mounts}");
    for line in own {
        let fields: Vec<&str> = line.split(' ').collect();
        assert!(
            ["/proc/", "/sys/devices/system/cpu/online"]
                .iter()
                .any(|p| fields[1].starts_with(p)),
            "{line}"
        );
        assert!(fields[3].starts_with("ro,nosuid,nodev,noexec"), "{line}");
    }
    // Even to root inside, who may make his mounts writable again, there is nothing behind a file.
    house.sh("ve", "mount -o remount,bind,rw /proc/meminfo; ! echo 1 > /proc/meminfo");
    house.sh("ve", "! ls /proc/meminfo/.. 2>/dev/null");
    // Another /proc can be mounted inside, as containers there do.
    house.sh(
        "ve",
        "mkdir -p /x && mount -t proc proc /x && grep MemTotal: /x/meminfo && umount /x",
    );
}

#[test]
fn the_kernels_own_comes_back_when_lxcfs_dies_and_goes_when_it_returns() {
    let Some((house, mut lxcfs)) = house() else {
        println!("skipped because lxcfs or /dev/fuse is not here");
        return;
    };
    house.busybox_with("ve", &SMALL);
    until_own(&house, "ve");
    assert_eq!(memory(&house, "ve"), mib(200));
    let init = house.status("ve", "pid");
    let pace = pace(&house, "ve");
    let begun = Instant::now();
    lxcfs.kill();
    house.until("the kernel's /proc is back", 10, || !has_files(init.as_u64().unwrap()));
    let took = begun.elapsed();
    println!("the kernel's /proc was back {took:?} after lxcfs's end; a command inside took {pace:?}");
    assert!(took < Duration::from_millis(500) + 2 * pace, "{took:?}");
    assert!(memory(&house, "ve") > mib(200));
    assert_eq!(
        house.sh(
            "ve",
            "cat /proc/uptime /proc/stat /proc/cpuinfo >/dev/null && echo well"
        ),
        "well"
    );
    assert_eq!(house.status("ve", "pid"), init);
    // One that starts meanwhile is told that it goes without.
    let without = house.run(&["restart", "ve"]);
    assert_eq!(without.code, 0, "{}", without.err);
    assert!(without.err.contains("its process does not run"), "{}", without.err);
    let mount = lxcfs.mount.clone();
    drop(lxcfs);
    let again = Lxcfs::at(&mount).unwrap();
    until_own(&house, "ve");
    assert_eq!(memory(&house, "ve"), mib(200));
    drop(again);
    house.until("the kernel's /proc is back again", 10, || !has_own(&house, "ve"));
}

#[test]
fn an_adopted_ve_is_looked_after_as_well() {
    let Some((house, mut lxcfs)) = house() else {
        println!("skipped because lxcfs or /dev/fuse is not here");
        return;
    };
    house.busybox_with("one", &SMALL);
    house.busybox_with("two", &SMALL);
    until_own(&house, "one");
    until_own(&house, "two");
    for ve in ["one", "two"] {
        let pid = house.status(ve, "pid").as_u64().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let monitor = status.lines().find_map(|l| l.strip_prefix("PPid:\t")).unwrap();
        house.host_sh(&format!("kill -KILL {monitor}"));
    }
    // The next command gives it a new monitor.
    house.ok(&["set", "one", "memory.limit=300MiB"]);
    house.until("it has its own", 60, || memory(&house, "one") == mib(300));
    lxcfs.kill();
    house.until("the kernel's /proc is back", 10, || !has_own(&house, "one"));
    // Nobody was there for this one when lxcfs died.
    assert!(house.run(&["exec", "two", "--", "cat", "/proc/meminfo"]).code != 0);
    house.ok(&["set", "two", "memory.limit=300MiB"]);
    assert!(memory(&house, "two") > mib(300));
}

#[test]
fn the_view_can_be_taken_away_and_put_on_again() {
    let Some((house, mut lxcfs)) = house() else {
        println!("skipped because lxcfs or /dev/fuse is not here");
        return;
    };
    house.busybox_with("ve", &SMALL);
    let id = house.status("ve", "id").as_u64().unwrap();
    let socket = house.run.join(id.to_string()).join("monitor.sock");
    // As whoever saves the VE to disk asks for it.
    let ask = |request: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        writeln!(stream, "\"{request}\"").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["view"].clone()
    };
    house.until("it has its own", 60, || ask("status") == true);
    for _ in 0..2 {
        assert_eq!(ask("hide_view"), false);
        assert!(!has_own(&house, "ve"));
    }
    for _ in 0..2 {
        ask("show_view");
        house.until("it has its own", 60, || ask("status") == true);
        assert_eq!(memory(&house, "ve"), mib(200));
    }
    let mounts = house.sh("ve", "grep -c fuse.lxcfs /proc/mounts");
    assert_eq!(mounts, "8", "one of each");
    lxcfs.kill();
    house.until("it is off", 10, || ask("status") == false);
    assert_eq!(ask("show_view"), false);
    assert!(!has_own(&house, "ve"));
}

/// CRIU can't save files of FUSE: they are away while it saves the VE, and there again afterwards, whatever hostel.toml
/// says of VEs that start now.
#[test]
fn a_ve_with_its_own_figures_is_suspended() {
    let Some(house) = House::with_criu() else { return };
    let Some((house, _lxcfs)) = with_lxcfs(house) else {
        println!("skipped because lxcfs or /dev/fuse is not here");
        return;
    };
    house.busybox_with("ve", &SMALL);
    until_own(&house, "ve");
    let free = "ve: nothing is seen that stands in the way\n";
    assert_eq!(house.ok(&["suspend", "--check", "ve"]), free);
    house.ok(&["suspend", "ve"]);
    house.ok(&["resume", "ve"]);
    until_own(&house, "ve");
    assert_eq!(memory(&house, "ve"), mib(200));
    // What is open is on a file system that is about to be away.
    house.sh("ve", "sleep 1000 </proc/meminfo >/dev/null 2>&1 &");
    let told = house.run(&["suspend", "--check", "ve"]);
    assert_eq!(told.code, 4, "{told:?}");
    assert!(
        told.out.contains("sleep (process") && told.out.contains("/proc/meminfo open"),
        "{told:?}"
    );
    let said = house.fails(1, &["suspend", "ve"]);
    assert!(said.contains("isn't mounted") && said.contains("runs on"), "{said}");
    until_own(&house, "ve");
    house.sh("ve", "killall sleep");
    let settings = house.read("hostel.toml");
    house.write("hostel.toml", &settings.replace("view = \"lxcfs\"", "view = \"none\""));
    assert_eq!(house.ok(&["suspend", "--check", "ve"]), free);
    house.ok(&["suspend", "ve"]);
    house.ok(&["resume", "ve"]);
    assert!(!has_own(&house, "ve"));
}

#[test]
fn containers_inside_can_mount_a_proc_of_their_own() {
    let Some((house, _lxcfs)) = house() else {
        println!("skipped because lxcfs or /dev/fuse is not here");
        return;
    };
    house.write(
        "etc/plans/test.toml",
        &format!("{}\n[features]\nnesting = true\n", house.read("etc/plans/test.toml")),
    );
    house.busybox_with("ve", &["features.nesting=true"]);
    until_own(&house, "ve");
    let mount = |kind: &str, look: &str| {
        let line =
            format!("mkdir -p /tmp/m && mount -t {kind} -o ro,nosuid,nodev,noexec {kind} /tmp/m && cat /tmp/m/{look}");
        house.sh("ve", &format!("unshare -Urnpf -m sh -c '{line}'"))
    };
    assert_eq!(mount("proc", "self/comm"), "cat");
    assert_eq!(mount("sysfs", "class/net/lo/ifindex"), "1");
}

#[test]
fn an_lxcfs_that_hangs_holds_up_no_command() {
    let Some((house, lxcfs)) = house() else {
        println!("skipped because lxcfs or /dev/fuse is not here");
        return;
    };
    house.busybox("ve");
    house.ok(&["create", "late", "--template", "busybox"]);
    let pace = pace(&house, "ve");
    signal(&lxcfs.process, Signal::STOP);
    let soon = |args: &[&str], seconds: u64| {
        let begun = Instant::now();
        let ran = house.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(seconds) + 5 * pace, "{args:?} took {took:?}");
        ran.err
    };
    soon(&["list"], 2);
    soon(&["status", "ve"], 2);
    soon(&["info"], 5);
    soon(&["exec", "ve", "--", "true"], 2);
    let said = soon(&["start", "late"], 4);
    assert!(said.contains("doesn't answer"), "{said}");
    assert!(memory(&house, "late") > 0);
    soon(&["stop", "ve"], 10);
    // Nothing but the time tells a VE that lxcfs answers again.
    assert!(!has_own(&house, "late"));
    signal(&lxcfs.process, Signal::CONT);
    until_own(&house, "late");
    signal(&lxcfs.process, Signal::STOP);
    soon(&["kill", "late"], 5);
    signal(&lxcfs.process, Signal::CONT);
}

#[test]
fn a_whole_distribution_sees_its_own_figures_everywhere() {
    let Some((house, mut lxcfs)) = house() else {
        println!("skipped because lxcfs or /dev/fuse is not here");
        return;
    };
    house.debian("deb", "debian-12");
    until_own(&house, "deb");
    let limit = house.status("deb", "memory_limit").as_u64().unwrap() >> 10;
    assert_eq!(memory(&house, "deb"), limit);
    assert!(house.sh("deb", "free -k | grep Mem:").contains(&limit.to_string()));
    // In MiB with a decimal: "MiB Mem :   2048.0 total, …".
    let top = house.sh(
        "deb",
        "top -bn1 -E m | sed -n 's/^MiB Mem : *\\([0-9]*\\)[.,][0-9]* total.*/\\1/p'",
    );
    assert_eq!(top.parse::<u64>().unwrap(), limit >> 10);
    assert!(
        house.sh("deb", "uptime -p").starts_with("up 0 minutes") || house.sh("deb", "uptime -p").starts_with("up 1 m")
    );
    assert_eq!(house.sh("deb", "systemctl is-system-running"), "running");
    // The kernel itself answers nproc: by the processors that a process may run on, not by how long it may.
    let host = house.host_sh("nproc");
    let processors = || {
        house.sh(
            "deb",
            "nproc; getconf _NPROCESSORS_ONLN; grep -c ^processor /proc/cpuinfo",
        )
    };
    house.ok(&["set", "deb", "cpu.cap=1"]);
    assert_eq!(processors(), format!("{}\n1\n1", host.trim()));
    house.ok(&["set", "deb", "cpu.cap=unlimited", "cpu.count=1"]);
    assert_eq!(processors(), "1\n1\n1");
    house.ok(&["set", "deb", "cpu.count=unlimited", "cpu.pin=0"]);
    assert_eq!(processors(), "1\n1\n1");
    // A service with mounts of its own has them, too, and loses them as well.
    let service = "systemd-run -q --wait --pipe -p PrivateTmp=yes -p ProtectSystem=strict";
    let seen = || house.sh("deb", &format!("{service} grep MemTotal: /proc/meminfo"));
    assert!(seen().contains(&limit.to_string()), "{}", seen());
    house.sh("deb", "systemd-run -q -p PrivateTmp=yes --unit stays sleep 1000");
    lxcfs.kill();
    house.until("the kernel's /proc is back", 10, || !has_own(&house, "deb"));
    let pid = house.sh("deb", "systemctl show -P MainPID stays");
    let inside = house.sh("deb", &format!("nsenter -m -t {pid} grep MemTotal: /proc/meminfo"));
    assert!(!inside.contains(&limit.to_string()), "{inside}");
    assert_eq!(house.sh("deb", "systemctl is-system-running"), "running");
}
