//! What one VE can use up, and what it can't: its neighbours, its monitor and the host go on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;
mod probe;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use house::{House, slowness};
use probe::{INSIDE, arm, armed, init, inside, monitor, probe};
use rustix::process::{Pid, Signal, kill_process};

/// Inotify instances are counted by who made the user namespace: were that root of the host for all VEs, the first
/// one would leave none for the second, and its systemd would not boot.
#[test]
fn one_ve_without_inotify_leaves_the_next_its_own() {
    let h = armed();
    h.sh("ve", &format!("{INSIDE} inotify > /count 2>&1 & :"));
    h.until("all are used up", 20, || h.sh("ve", "cat /count").contains("EMFILE"));
    let most: u32 = h.sh("ve", "cat /proc/sys/user/max_inotify_instances").parse().unwrap();
    let used: u32 = h.sh("ve", "cut -d' ' -f1 /count").parse().unwrap();
    let host: u32 = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(used > 100 && used <= most.min(host), "{used} of {most}, {host}");
    h.debian("deb", "debian-12");
    assert_eq!(
        h.ok(&["exec", "deb", "systemctl", "is-system-running"]).trim(),
        "running"
    );
    // Root of the host has all of its own, too.
    let mut hog = Command::new(probe())
        .arg("inotify")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(hog.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    hog.kill().unwrap();
    hog.wait().unwrap();
    let own: u32 = line.split(' ').next().unwrap().parse().unwrap();
    assert!(own > 0, "{line}");
}

/// A command that has to come back, whatever a VE does. The time is for a host under load: what is looked for is one
/// that hangs.
#[track_caller]
fn within(seconds: u32, h: &House, args: &[&str]) -> Duration {
    let command = h.command(args);
    let mut timed = Command::new("timeout");
    timed
        .arg(seconds.to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    let began = Instant::now();
    let output = timed.output().unwrap();
    assert!(output.status.success(), "{args:?} within {seconds} s: {output:?}");
    began.elapsed()
}

/// How many forks the kernel has refused a VE because it had as many processes as it may (pids.events).
fn forks_refused(h: &House, ve: &str) -> u64 {
    fn below(dir: PathBuf) -> u64 {
        let events = fs::read_to_string(dir.join("pids.events")).unwrap_or_default();
        let here: u64 = events
            .lines()
            .filter_map(|l| l.strip_prefix("max ")?.parse::<u64>().ok())
            .sum();
        let inner = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
        here + inner.filter(|p| p.is_dir()).map(below).sum::<u64>()
    }
    let group = format!("{}/{}", h.cgroup_root, h.status(ve, "id"));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts
        .lines()
        .filter(|l| l.contains(" cgroup"))
        .filter_map(|l| l.split(' ').nth(1));
    points.map(|point| below(PathBuf::from(point).join(&group))).sum()
}

#[test]
fn a_fork_bomb_stays_in_its_ve() {
    let h = House::new();
    h.busybox("bomb");
    h.busybox("peer");
    h.sh(
        "bomb",
        "printf 'b() { b | b & }; b; while :; do b; sleep 0.1; done' > /bomb; (sh /bomb >/dev/null 2>&1 &) ; :",
    );
    h.until("the bomb has used up its processes", 60, || {
        forks_refused(&h, "bomb") > 0
    });
    within(20, &h, &["exec", "peer", "--", "/bin/sh", "-c", "true | true"]);
    within(20, &h, &["status", "bomb"]);
    within(30, &h, &["stop", "bomb", "--timeout", "3s"]);
    assert_eq!(h.state("bomb"), "stopped");
    h.ok(&["start", "bomb"]);
    h.sh("bomb", "(sh /bomb >/dev/null 2>&1 &) ; :");
    within(30, &h, &["kill", "bomb"]);
    assert_eq!(h.sh("peer", "echo fine"), "fine");
}

#[test]
fn a_ve_out_of_memory_kills_its_own() {
    let h = House::new();
    h.busybox("hog");
    h.busybox("peer");
    let (guard, first) = (monitor(&h, "hog"), init(&h, "hog"));
    let ran = h.run(&["exec", "hog", "--", "tail", "/dev/zero"]);
    assert_eq!(ran.code, 137, "killed for want of memory: {}{}", ran.out, ran.err);
    assert_eq!(
        (monitor(&h, "hog"), init(&h, "hog")),
        (guard, first),
        "monitor and init live on"
    );
    assert_eq!(
        (h.sh("hog", "echo fine"), h.sh("peer", "echo fine")),
        ("fine".into(), "fine".into())
    );
    // The same by what lies in memory without belonging to a process.
    for dir in ["/dev/shm", "/run", "/dev"] {
        let filled = h.sh(
            "hog",
            &format!("dd if=/dev/zero of={dir}/fill bs=64k 2>&1; wc -c < {dir}/fill; rm {dir}/fill"),
        );
        assert!(filled.contains("o space left"), "{dir}: {filled}");
        let bytes: u64 = filled.lines().last().unwrap().trim().parse().unwrap();
        assert!(bytes <= 64 << 20, "{dir} holds {bytes} of 128 MiB");
    }
    let inodes = h.sh(
        "hog",
        "n=0; while [ $n -lt 5000 ] && (: > /dev/f$n) 2>/dev/null; do n=$((n+1)); done; rm -f /dev/f*; echo $n",
    );
    assert!(inodes.parse::<u32>().unwrap() < 1100, "{inodes} files in /dev");
    // And /tmp, which is on the disk.
    let filled = h.sh("hog", "dd if=/dev/zero of=/tmp/fill bs=64k 2>&1; rm /tmp/fill");
    assert!(filled.contains("o space left"), "{filled}");
    assert_eq!(h.sh("hog", "echo fine > /tmp/x && cat /tmp/x"), "fine");
    // A tmpfs without a size is bounded by the VE's memory: the host does not pay.
    let ran = h.run(&[
        "exec",
        "hog",
        "--",
        "/bin/sh",
        "-c",
        "mkdir -p /t && mount -t tmpfs -o size=100% t /t && dd if=/dev/zero of=/t/fill bs=1M",
    ]);
    assert_ne!(ran.code, 0);
    h.ok(&["kill", "hog"]);
    h.ok(&["start", "hog"]);
}

/// Whoever looks for something to kill when the host is out of memory must find a VE's processes.
#[test]
fn no_process_inside_is_safer_than_the_hosts() {
    let h = House::new();
    h.busybox("ve");
    let try_it = "for n in -1000 -500 -1; do (echo $n > /proc/$P/oom_score_adj) 2>/dev/null && echo lowered; done; cat /proc/$P/oom_score_adj";
    assert_eq!(h.sh("ve", &format!("P=1; {try_it}")), "0");
    assert_eq!(h.sh("ve", &format!("P=self; {try_it}")), "0");
    h.sh("ve", "echo 300 > /proc/self/oom_score_adj");
    let guard = fs::read_to_string(format!("/proc/{}/oom_score_adj", monitor(&h, "ve"))).unwrap();
    assert!(
        matches!(guard.trim(), "-1000" | "0"),
        "0 only where the host withholds CAP_SYS_RESOURCE: {guard}"
    );
}

/// Processor time of a process, in clock ticks.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn console_logs(h: &House) -> u64 {
    let dirs = fs::read_dir(&h.run).unwrap().flatten().map(|e| e.path());
    let logs = dirs.flat_map(|d| ["console.log", "console.log.1"].map(|n| d.join(n)));
    logs.filter_map(|l| fs::metadata(l).ok()).map(|m| m.len()).sum()
}

/// The monitor is outside of the VE's limits, so a guest may not make it work.
#[test]
fn a_flood_on_the_console_costs_the_host_little() {
    let h = House::with("console = { log_size = \"64KiB\" }");
    h.busybox("ve");
    arm(&h, "ve");
    let guard = monitor(&h, "ve");
    let (before, begun) = (ticks(guard), Instant::now());
    // Byte by byte, each a reason to wake up; then in bulk. What it costs is bounded by the time that it takes, a tick being
    // a hundredth of a second: the guest waits for the most of that.
    inside(&h, "ve", &["drip", "/dev/console", "1000"]);
    let (dripped, took) = (ticks(guard) - before, begun.elapsed());
    let most = 3 * took.as_secs() + 6;
    assert!(
        dripped <= most * slowness(),
        "the guest used 100 ticks in {took:?}, its monitor {dripped}"
    );
    let before = ticks(guard);
    h.sh("ve", "head -c 3000000 /dev/zero | tr '\\0' 'y' > /dev/console");
    let flooded = ticks(guard) - before;
    assert!(flooded <= 20 * slowness(), "its monitor used {flooded}");
    assert!(
        console_logs(&h) > 1000 && console_logs(&h) <= 66_000,
        "{} bytes of log",
        console_logs(&h)
    );
    assert_eq!(h.sh("ve", "echo fine"), "fine");
    // Opened and closed again and again.
    let before = ticks(guard);
    h.sh(
        "ve",
        "n=0; while [ $n -lt 3000 ]; do : > /dev/console; n=$((n+1)); done",
    );
    assert!(ticks(guard) - before <= 30 * slowness());
    h.ok(&["stop", "ve"]);
}

#[test]
fn a_guest_that_reads_nothing_keeps_nobody_waiting() {
    let h = House::new();
    h.busybox("ve");
    h.sh("ve", "echo '::respawn:/bin/sleep 1000' > /etc/inittab");
    h.ok(&["restart", "ve"]);
    let mut console = h.command(&["console", "ve"]);
    let mut child = console.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    let typing = std::thread::spawn(move || {
        let _ = keys.write_all(&vec![b'x'; 1 << 20]);
    });
    within(20, &h, &["status", "ve"]);
    h.until("all is typed", 20, || child.try_wait().unwrap().is_some());
    typing.join().unwrap();
    within(30, &h, &["stop", "ve"]);
}

/// A Debian VE, not started, whose init is this shell script.
fn hostile_init(h: &House, script: &str) {
    house::template("debian-12");
    h.ok(&["create", "ve", "--template", "debian-12", "--plan", "small"]);
    h.in_mounted_root("ve", |root| {
        fs::copy(probe(), root.join("usr/bin/probe")).unwrap();
        fs::remove_file(root.join("usr/sbin/init")).unwrap();
        fs::write(
            root.join("usr/sbin/init"),
            format!("#!/bin/sh\n{script}\nexec sleep 1000\n"),
        )
        .unwrap();
        fs::set_permissions(root.join("usr/sbin/init"), PermissionsExt::from_mode(0o755)).unwrap();
    });
}

fn socket(h: &House) -> PathBuf {
    fs::read_dir(&h.run)
        .unwrap()
        .flatten()
        .map(|e| e.path().join("monitor.sock"))
        .find(|p| p.exists())
        .unwrap()
}

/// Closing a TCP socket may wait for hours. The monitor must not be the one who closes a guest's.
#[test]
fn a_descriptor_sent_to_the_monitor_does_not_hold_it_up() {
    let h = House::new();
    hostile_init(
        &h,
        "ip link set lo up\nwhile [ ! -e /go ]; do sleep 0.1; done\nprobe linger /run/host/notify > /sent 2>&1 &\n\
         while [ ! -e /on ]; do sleep 0.1; done\nprobe notify /run/host/notify X=1 20 > /more 2>&1",
    );
    h.ok(&["start", "ve"]);
    // The monitor sleeps until the sender has closed its own, so that it finds itself the last user.
    let guard = Pid::from_raw(i32::try_from(monitor(&h, "ve")).unwrap()).unwrap();
    kill_process(guard, Signal::STOP).unwrap();
    h.sh("ve", "touch /go");
    h.until("it is sent", 60, || {
        h.sh("ve", "cat /sent 2>/dev/null || true") == "sent ok\nclosed ok"
    });
    kill_process(guard, Signal::CONT).unwrap();
    h.sh("ve", "touch /on");
    h.until("more is sent", 60, || {
        h.sh("ve", "cat /more 2>/dev/null || true").contains("sent")
    });
    within(20, &h, &["status", "ve"]);
    // Its sender ends; whoever holds the socket now would be its last user.
    h.sh("ve", "for p in /proc/[0-9]*; do case $(cat $p/cmdline 2>/dev/null | tr '\\0' ' ') in 'probe linger'*) kill -9 ${p#/proc/};; esac; done");
    within(20, &h, &["status", "ve"]);
    within(30, &h, &["stop", "ve", "--timeout", "1s"]);
    assert_eq!(h.state("ve"), "stopped");
}

#[test]
fn nonsense_on_the_notify_socket_is_only_noise() {
    let h = House::new();
    hostile_init(
        &h,
        "probe notify /run/host/notify READY=0\nprobe notify /run/host/notify MAINPID=1\nprobe notify /run/host/notify xREADY=1\n\
                      while [ ! -e /go ]; do probe notify /run/host/notify FLOOD=1 100; echo x >> /rounds; done\nprobe notify /run/host/notify READY=1",
    );
    h.ok(&["start", "ve"]);
    let guard = monitor(&h, "ve");
    let before = ticks(guard);
    h.until("the monitor has had hundreds to read", 30, || {
        h.sh("ve", "grep -c . /rounds || true").parse().unwrap_or(0) > 6
    });
    let spent = ticks(guard) - before;
    assert!(spent <= 15 * slowness(), "its monitor used {spent} ticks");
    // More who wait for the boot, and go, than there is room for.
    let ask = |request: &[u8]| {
        let mut asker = UnixStream::connect(socket(&h)).unwrap();
        asker.write_all(request).unwrap();
        asker
    };
    (0..200).for_each(|_| drop(ask(b"\"await_boot\"\n")));
    h.until("the monitor answers", 20, || {
        let mut line = String::new();
        BufReader::new(ask(b"\"status\"\n")).read_line(&mut line).is_ok() && line.contains("monitor")
    });
    within(20, &h, &["status", "ve"]);
    let waiting = h
        .command(&["start", "ve", "--wait", "--timeout", "20s"])
        .stderr(Stdio::null())
        .spawn();
    h.sh("ve", "touch /go");
    waiting.unwrap().wait().unwrap();
    within(20, &h, &["status", "ve"]);
    within(30, &h, &["stop", "ve", "--timeout", "1s"]);
}

/// The monitor was killed: the VE runs on, and whoever watches over it next gives it a console that works.
#[test]
fn a_new_monitor_brings_a_new_console() {
    let h = House::new();
    h.busybox("ve");
    let (guard, first) = (monitor(&h, "ve"), init(&h, "ve"));
    Command::new("kill").args(["-9", &guard.to_string()]).status().unwrap();
    h.until("it is gone", 20, || {
        !std::path::Path::new(&format!("/proc/{guard}")).exists()
    });
    assert_eq!(h.sh("ve", "echo alive"), "alive");
    h.until("another one watches", 20, || {
        h.ok(&["audit", "--fix"]);
        fs::read_dir(&h.run)
            .unwrap()
            .flatten()
            .any(|e| UnixStream::connect(e.path().join("monitor.sock")).is_ok())
    });
    assert_eq!(init(&h, "ve"), first);
    h.sh("ve", "echo said-anew > /dev/console");
    h.until("the log has it", 20, || h.ok(&["log", "ve"]).contains("said-anew"));
    assert_eq!(h.sh("ve", "stat -c %t /dev/console; ls /dev | wc -l"), "88\n15");
    h.ok(&["stop", "ve"]);
}

/// A guest whose /dev leads elsewhere can't make the one who takes over hang or write outside.
#[test]
fn a_new_monitor_trusts_no_dev() {
    let h = House::new();
    h.busybox("ve");
    let guard = monitor(&h, "ve");
    h.sh("ve", "umount -l /dev/console; rm -f /dev/console; ln -s /etc/hostname /dev/console; umount -l /dev/pts; mkfifo /dev/pts/ptmx");
    Command::new("kill").args(["-9", &guard.to_string()]).status().unwrap();
    h.until("it is gone", 20, || {
        !std::path::Path::new(&format!("/proc/{guard}")).exists()
    });
    within(30, &h, &["audit", "--fix"]);
    assert_eq!(h.sh("ve", "cat /etc/hostname"), "ve");
    within(30, &h, &["stop", "ve"]);
}
