//! Many lives of VEs in a row, beside one that stays: nothing of them is left, neither in Hostel's directories nor in the
//! kernel. `scripts/soak` runs the long one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod house;

use std::time::{Duration, Instant};

use house::House;
use house::count::{Counts, Kernel};

/// The VE that stays, and what watches over it.
const STAYS: &str = "stays";

/// The parent of a VE's init: its monitor.
fn monitor_of(h: &House) -> u64 {
    let pid = h.status(STAYS, "pid").as_u64().unwrap();
    field(pid, "PPid:")
}

/// A number in /proc/PID/status.
fn field(pid: u64, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

/// One life; it ends now in the one way, now in the other.
fn life(h: &House, n: usize) {
    h.ok(&["create", "comes", "--template", "busybox"]);
    h.ok(&["start", "comes"]);
    match n % 10 {
        0 => drop(h.ok(&["stop", "comes"])),
        1..4 => drop(h.run(&["exec", "comes", "--", "/bin/sh", "-c", "poweroff -f"])),
        4..7 => drop(h.ok(&["kill", "comes"])),
        _ => {}
    }
    h.ok(&["destroy", "comes", "--force"]);
}

/// Monitors clear up after the last command has returned.
fn settled(h: &House, monitor: u64, before: &Counts) {
    let end = Instant::now() + Duration::from_secs(20 * house::slowness());
    while Counts::of(h, monitor) != *before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(Counts::of(h, monitor), *before);
    assert!(h.audit().is_empty());
    assert_eq!(monitor_of(h), monitor);
}

#[test]
fn fifty_lives_leave_nothing_behind() {
    let h = House::new();
    h.busybox(STAYS);
    let monitor = monitor_of(&h);
    life(&h, 2);
    let before = Counts::of(&h, monitor);
    (0..50).for_each(|n| life(&h, n));
    settled(&h, monitor, &before);
}

/// How many lives the long one has.
fn lives() -> usize {
    let asked = std::env::var("HOSTEL_SOAK_LIVES").ok().and_then(|n| n.parse().ok());
    asked.unwrap_or(1000)
}

/// It counts what the whole machine has, so nothing else may be going on there.
#[test]
#[ignore = "takes many minutes: scripts/soak runs it, alone"]
fn a_thousand_lives_leave_nothing_in_the_kernel() {
    let h = House::new();
    h.busybox(STAYS);
    let monitor = monitor_of(&h);
    // Caches and reserves that fill once.
    (0..30).for_each(|n| life(&h, n));
    let (before, kernel) = (Counts::of(&h, monitor), Kernel::now());
    let resident = field(monitor, "VmRSS:");
    let lives = lives();
    let begun = Instant::now();
    for n in 0..lives {
        if n % lives.div_ceil(10) == 0 {
            println!("{n}: {:?}, after {:?}", Kernel::now(), begun.elapsed());
        }
        life(&h, n);
    }
    settled(&h, monitor, &before);
    // The kernel frees much of it when it has time to.
    let most = (lives / 10).max(20) as u64;
    let grown = || -> Vec<(&str, u64, u64)> {
        let was = kernel.objects.iter().zip(Kernel::now().objects);
        let pairs = was.map(|((name, was), (_, is))| (*name, *was, is));
        pairs.filter(|(_, was, is)| *is > was + most).collect()
    };
    let end = Instant::now() + Duration::from_secs(60);
    while !grown().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_secs(1));
    }
    let now = Kernel::now();
    println!("{lives}: {now:?}, after {:?}", begun.elapsed());
    println!(
        "{before:?}, all as before; the monitor: {resident} KiB, now {}",
        field(monitor, "VmRSS:")
    );
    // One object for each life would be a leak.
    assert!(grown().is_empty(), "more than before: {:?}", grown());
    let more = now.memory.saturating_sub(kernel.memory);
    println!("{} bytes of kernel memory more for each life", more / lives as u64);
    // The rest of the machine has its ups and downs; any object that is left of each life is larger.
    assert!(
        more < 2048 * lives as u64 + (32 << 20),
        "{more} bytes of kernel memory are left"
    );
    assert!(field(monitor, "VmRSS:") <= resident + 256);
}
