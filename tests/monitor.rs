//! A VE is never tied to the life of a Hostel process: monitors, commands and what clears up after them are killed,
//! stopped and overtaken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod house;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use house::{House, end_of};
use rustix::process::{Pid, Signal, kill_process};

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Does it live? One whose parent hasn't taken note of its end yet doesn't.
fn is_there(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// The id that the first VE of a house gets.
const ID: u32 = 101;

/// The VE's monitor, as it says itself; `None` if there is none.
fn monitor(h: &House) -> Option<u32> {
    let mut stream = UnixStream::connect(h.run.join(format!("{ID}/monitor.sock"))).ok()?;
    stream.write_all(b"\"status\"\n").ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    let answer: serde_json::Value = serde_json::from_str(&line).ok()?;
    u32::try_from(answer["monitor"].as_u64()?).ok()
}

fn init(h: &House, ve: &str) -> u32 {
    u32::try_from(h.status(ve, "pid").as_u64().unwrap()).unwrap()
}

/// Does it run with another init than this one?
fn runs_anew(h: &House, ve: &str, old: u32) -> bool {
    h.status(ve, "pid").as_u64().is_some_and(|pid| pid != u64::from(old))
}

/// Kills the VE's monitor, and waits until it is gone.
fn kill_monitor(h: &House) -> u32 {
    let pid = monitor(h).unwrap();
    send(pid, Signal::KILL);
    h.until("the monitor is gone", 10, || monitor(h).is_none());
    pid
}

/// The VE's groups, wherever this host has them.
fn groups(h: &House) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts
        .lines()
        .filter(|l| l.contains(" cgroup"))
        .filter_map(|l| l.split(' ').nth(1));
    points
        .map(|p| Path::new(p).join(&h.cgroup_root).join(ID.to_string()))
        .filter(|p| p.exists())
        .collect()
}

/// The processes that clear up after VEs of this house, or wait to start them again.
fn settling(h: &House) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok());
    let config = h.dir.join("hostel.toml").display().to_string();
    let settles = |pid: &u32| {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.contains(&config) && command.contains("\0settle\0")
    };
    pids.filter(settles).collect()
}

/// Nobody will start it again: whoever might have has looked, and gone.
#[track_caller]
fn stays_stopped(h: &House, ve: &str) {
    h.until("nobody is at it any more", 30, || settling(h).is_empty());
    assert_eq!(h.state(ve), "stopped");
    assert!(groups(h).is_empty());
}

/// Waits until the VE has ended and been cleared up after, without any command that would do so itself.
#[track_caller]
fn cleared(h: &House, ve: &str) {
    h.until("it is stopped and cleared up after", 20, || {
        h.state(ve) == "stopped" && groups(h).is_empty()
    });
    h.until("its monitor has done", 20, || h.audit().is_empty());
}

fn spawn(h: &House, args: &[&str]) -> Child {
    h.command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Makes the guest call reboot(2) or its like; the entry ends with the guest.
fn inside(h: &House, ve: &str, line: &str) {
    h.run(&["exec", ve, "--", "/bin/sh", "-c", line]);
}

#[test]
fn a_ve_outlives_its_monitor_and_the_next_command_gives_it_a_new_one() {
    let h = House::new();
    h.busybox("web1");
    h.sh(
        "web1",
        "(while :; do date +%s > /tick; sleep 0.1; done) >/dev/null 2>&1 &",
    );
    let (pid, old) = (init(&h, "web1"), kill_monitor(&h));
    // It runs on, unwatched: looking at it and going into it need no monitor.
    assert_eq!((h.state("web1").as_str(), init(&h, "web1")), ("running", pid));
    let tick = h.sh("web1", "cat /tick");
    h.until("its processes run on", 10, || h.sh("web1", "cat /tick") != tick);
    h.ok(&["log", "web1"]);
    let found = h.audit();
    assert!(found.len() == 1 && found[0]["kind"] == "monitor", "{found:#?}");
    // Any command that acts on it will do.
    h.ok(&["start", "web1"]);
    let new = monitor(&h).expect("a new monitor");
    assert_ne!(new, old);
    assert_eq!(init(&h, "web1"), pid);
    assert!(h.audit().is_empty());
    h.ok(&["stop", "web1"]);
    assert!(!is_there(pid) && groups(&h).is_empty());
    assert!(h.audit().is_empty());
}

/// From the kill to a new monitor's first answer.
#[test]
fn a_killed_monitor_is_replaced_within_two_seconds() {
    let h = House::new();
    h.busybox("web1");
    let pid = init(&h, "web1");
    let mut took: Vec<Duration> = (0..5)
        .map(|_| {
            let begun = Instant::now();
            let old = kill_monitor(&h);
            h.ok(&["start", "web1"]);
            h.until("a new monitor answers", 10, || {
                monitor(&h).is_some_and(|new| new != old)
            });
            begun.elapsed()
        })
        .collect();
    took.sort();
    println!("a new monitor after {took:?}");
    // One of the five may have come into a moment in which this host was at something else.
    assert!(took[3] < Duration::from_secs(2 * house::slowness()), "{took:?}");
    assert_eq!((h.state("web1").as_str(), init(&h, "web1")), ("running", pid));
}

#[test]
fn audit_gives_a_ve_a_new_monitor_too() {
    let h = House::new();
    h.busybox("web1");
    kill_monitor(&h);
    h.ok(&["audit", "--fix"]);
    assert!(monitor(&h).is_some() && h.audit().is_empty());
}

/// Does the kernel tell a monitor that isn't init's parent what the guest wanted? Else it is a matter of who comes first,
/// the monitor or the parent.
fn tells_how_it_ended() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

#[test]
fn reboot_and_poweroff_work_after_an_adoption() {
    if !tells_how_it_ended() {
        println!("skipped because Linux before 6.15 tells nobody but its parent how a process has ended");
        return;
    }
    let h = House::new();
    h.busybox("web1");
    kill_monitor(&h);
    h.ok(&["start", "web1"]);
    let pid = init(&h, "web1");
    inside(&h, "web1", "reboot -f");
    h.until("it has started again", 20, || runs_anew(&h, "web1", pid));
    h.until("with a monitor", 10, || monitor(&h).is_some());
    kill_monitor(&h);
    h.ok(&["start", "web1"]);
    inside(&h, "web1", "poweroff -f");
    cleared(&h, "web1");
    stays_stopped(&h, "web1");
}

#[test]
fn a_guest_that_ends_unwatched_is_cleared_up_after_by_the_next_command() {
    let h = House::new();
    h.busybox("web1");
    kill_monitor(&h);
    inside(&h, "web1", "poweroff -f");
    h.until("it has ended", 10, || h.state("web1") == "stopped");
    assert!(
        !groups(&h).is_empty() && !h.audit().is_empty(),
        "nobody was there to clear up"
    );
    // And nobody makes up how that came.
    let why = h.ok(&["why", "web1"]);
    assert!(why.contains("It ended, and nobody saw how"), "{why}");
    h.ok(&["start", "web1"]);
    assert_eq!(h.sh("web1", "echo alive"), "alive");
    assert!(h.audit().is_empty());
}

#[test]
fn a_debian_guest_runs_on_and_reboots_without_its_first_monitor() {
    if !tells_how_it_ended() {
        println!("skipped because Linux before 6.15 tells nobody but its parent how a process has ended");
        return;
    }
    let h = House::new();
    h.debian("d12", "debian-12");
    let pid = init(&h, "d12");
    kill_monitor(&h);
    h.ok(&["start", "d12"]);
    assert_eq!(init(&h, "d12"), pid);
    assert_eq!(
        h.ok(&["exec", "d12", "systemctl", "is-system-running"]).trim(),
        "running"
    );
    inside(&h, "d12", "systemctl reboot");
    h.until("it has started again", 60, || runs_anew(&h, "d12", pid));
    let up = || {
        h.run(&["exec", "d12", "systemctl", "is-system-running", "--wait"])
            .out
            .trim()
            == "running"
    };
    h.until("it has booted", 60, up);
    h.ok(&["stop", "d12"]);
}

#[test]
fn init_killed_from_outside_is_cleared_up_after() {
    let h = House::new();
    h.busybox("web1");
    send(init(&h, "web1"), Signal::KILL);
    cleared(&h, "web1");
    h.ok(&["start", "web1"]);
}

#[test]
fn a_monitor_that_hangs_keeps_nobody_from_stopping_its_ve() {
    let h = House::new();
    h.busybox("web1");
    let hung = monitor(&h).unwrap();
    send(hung, Signal::STOP);
    h.ok(&["stop", "web1"]);
    assert_eq!(h.state("web1"), "stopped");
    assert!(groups(&h).is_empty());
    send(hung, Signal::CONT);
    h.until("the monitor has ended", 20, || !is_there(hung));
    assert!(h.audit().is_empty());
    h.ok(&["start", "web1"]);
}

/// Holds a VE's lock from here, as another command would.
fn hold(h: &House) -> File {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(h.run.join(format!("locks/{ID}.lock")))
        .unwrap();
    file.lock().unwrap();
    file
}

#[test]
fn whoever_clears_up_may_be_killed_at_any_moment() {
    let h = House::new();
    h.busybox("web1");
    // Before it has begun: it waits for the lock that we hold.
    let held = hold(&h);
    let settling = monitor(&h).unwrap();
    inside(&h, "web1", "reboot -f");
    let command = format!("/proc/{settling}/cmdline");
    h.until("the monitor clears up", 10, || {
        std::fs::read_to_string(&command).is_ok_and(|c| c.contains("settle"))
    });
    send(settling, Signal::KILL);
    drop(held);
    h.ok(&["start", "web1"]);
    assert!(h.audit().is_empty());
    // Somewhere in the middle of clearing up and starting again.
    for delay in [0, 5, 15, 30, 50, 80, 120] {
        // A VE that has run for a while is started again at once.
        h.until("it has run for a while", 10, || {
            h.status("web1", "uptime").as_u64() >= Some(3)
        });
        let settling = monitor(&h).unwrap();
        let guest = init(&h, "web1");
        inside(&h, "web1", "reboot -f");
        std::thread::sleep(Duration::from_millis(delay));
        let _ = kill_process(Pid::from_raw(i32::try_from(settling).unwrap()).unwrap(), Signal::KILL);
        h.until("it is gone", 10, || !is_there(settling));
        h.until("the guest has ended", 10, || !is_there(guest));
        let next = h.run(&["start", "web1"]);
        assert_eq!(next.code, 0, "killed after {delay} ms: {}{}", next.out, next.err);
        assert_eq!(h.sh("web1", "echo alive"), "alive");
        assert!(h.audit().is_empty(), "killed after {delay} ms: {:#?}", h.audit());
    }
}

/// Stops the guest's init. Until it has taken note of that, another signal would come before.
fn stand_still(h: &House, pid: u32) {
    send(pid, Signal::STOP);
    h.until("it stands still", 10, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    });
}

/// Waits until a stop is under way and has asked the guest, which stands still, to shut down: a signal waits for it.
fn asked(h: &House, pid: u32) {
    let lock = h.run.join(format!("locks/{ID}.lock"));
    h.until("the stop is under way", 10, || {
        std::fs::read_to_string(&lock).is_ok_and(|t| t.contains("\"stop\""))
    });
    h.until("the guest is asked", 10, || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let waiting = status.lines().find_map(|l| l.strip_prefix("ShdPnd:")).unwrap();
        waiting.trim().bytes().any(|digit| digit != b'0')
    });
    // Both may be so from a stop before this one; what that one left is to be put in order by now.
    std::thread::sleep(Duration::from_millis(300) * u32::try_from(house::slowness()).unwrap());
}

#[test]
fn command_and_monitor_killed_together() {
    let h = House::new();
    h.busybox("web1");
    let pid = init(&h, "web1");
    // A guest that doesn't heed the request: the stop waits.
    stand_still(&h, pid);
    let mut stop = spawn(&h, &["stop", "web1", "--timeout", "60s"]);
    asked(&h, pid);
    let watch = monitor(&h).unwrap();
    stop.kill().unwrap();
    send(watch, Signal::KILL);
    stop.wait().unwrap();
    send(pid, Signal::CONT);
    // It shuts down now, as it was asked to, and nobody sees it.
    h.until("the guest has ended", 20, || h.state("web1") == "stopped");
    h.ok(&["start", "web1"]);
    assert_eq!(h.sh("web1", "echo alive"), "alive");
    assert!(h.audit().is_empty());
}

#[test]
fn a_stop_that_is_killed_leaves_the_clearing_to_the_monitor() {
    let h = House::new();
    h.busybox("web1");
    let pid = init(&h, "web1");
    for signal in [Signal::KILL, Signal::INT] {
        stand_still(&h, pid);
        let mut stop = spawn(&h, &["stop", "web1", "--timeout", "60s"]);
        asked(&h, pid);
        send(stop.id(), signal);
        stop.wait().unwrap();
        assert_eq!(h.state("web1"), "running", "it was not killed, only asked");
    }
    send(pid, Signal::CONT);
    h.until("the guest has ended", 20, || h.state("web1") == "stopped");
    h.until("its monitor has cleared up", 20, || groups(&h).is_empty());
}

/// A guest that reboots whenever it has booted; returns when it has done so again and again, and how long that took.
fn loops(h: &House) -> Duration {
    h.busybox("web1");
    h.sh("web1", "echo 'echo once more; reboot -f' > /etc/rc.local");
    inside(h, "web1", "reboot -f");
    let boots = || h.run(&["log", "web1"]).out.matches("once more").count();
    h.until("it loops", 60, || boots() >= 1);
    let begun = Instant::now();
    h.until("it loops on", 60, || boots() >= 4);
    begun.elapsed()
}

#[test]
fn a_reboot_loop_is_slow_and_ends_with_a_stop() {
    let h = House::new();
    let three_boots = loops(&h);
    assert!(
        three_boots > Duration::from_secs(5),
        "three boots in {three_boots:?} are a load on the host"
    );
    h.ok(&["stop", "web1", "--wait-lock", "60s"]);
    // It stays so: a restart that was waiting for its time doesn't come.
    stays_stopped(&h, "web1");
    assert!(h.audit().is_empty());
}

#[test]
fn a_ve_in_a_reboot_loop_can_be_destroyed() {
    let h = House::new();
    loops(&h);
    h.ok(&["destroy", "web1", "--force", "--wait-lock", "60s"]);
    h.until("nobody is at it any more", 30, || settling(&h).is_empty());
    h.fails(3, &["status", "web1"]);
    assert!(h.audit().is_empty());
}

#[test]
fn a_stop_wins_against_a_reboot_at_the_same_moment() {
    let h = House::new();
    h.busybox("web1");
    for (n, delay) in [0, 2, 5, 10, 20, 40].into_iter().enumerate() {
        let reboot = spawn(&h, &["exec", "web1", "reboot", "-f"]);
        std::thread::sleep(Duration::from_millis(delay));
        let verb = [["stop", "web1"], ["kill", "web1"]][n % 2];
        let ended = h.run(&verb);
        assert_eq!(ended.code, 0, "{verb:?}: {}", ended.err);
        let told = end_of(reboot);
        // The guest's wish may have been carried out before ours, but not after.
        h.until("nobody is at it any more", 30, || settling(&h).is_empty());
        let state = h.state("web1");
        assert_eq!(
            state,
            "stopped",
            "number {n}, {verb:?}: {ended:?}; reboot: {told:?}; {}",
            h.ok(&["log", "web1"])
        );
        stays_stopped(&h, "web1");
        assert!(h.audit().is_empty());
        h.ok(&["start", "web1"]);
    }
    let mut reboot = spawn(&h, &["exec", "web1", "reboot", "-f"]);
    h.ok(&["destroy", "web1", "--force"]);
    reboot.wait().unwrap();
    assert!(h.audit().is_empty());
}

/// When a process began, in hundredths of a second since boot (proc_pid_stat(5)).
fn began(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_ascii_whitespace().nth(19).unwrap().parse().unwrap()
}

/// Somebody sets the host's clock while a VE runs. What was written down before differs from the clock by a day then;
/// here it is what was written that is changed, for a host's clock is not a test's to set.
#[test]
fn a_clock_that_is_set_by_a_day_changes_nothing() {
    let h = House::new();
    h.busybox("web1");
    let record = h.run.join(format!("{ID}/run.json"));
    for day in [-86_400, 86_400] {
        h.ok(&["restart", "web1", "--timeout", "0s"]);
        let mut text: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
        text["started"] = (text["started"].as_i64().unwrap() + day).into();
        std::fs::write(&record, text.to_string()).unwrap();
        let uptime = h.status("web1", "uptime").as_u64().unwrap();
        assert!(uptime < 60, "it runs since {uptime} s, the clock being {day} s off");
        // A guest that reboots as soon as it has started is held back, no longer and no shorter than ever.
        let (old, start) = (init(&h, "web1"), began(init(&h, "web1")));
        inside(&h, "web1", "reboot -f");
        h.until("it runs again", 30, || runs_anew(&h, "web1", old));
        let apart = began(init(&h, "web1")) - start;
        assert!(
            apart >= 290,
            "two boots {apart}/100 s apart, the clock being {day} s off"
        );
    }
    assert!(h.audit().is_empty());
}
