//! What the kernel counts is entered, each under its own name.

use hostel_system::cgroup::{BlockDevice, CpuTime, DeviceIo, Hits, Pressure, Throttled, Usage};

use super::life::{STOP, act, pass, rows, running, sample, total};
use crate::facade::By;
use crate::testing::{fakes, id, started};

const MIB: u64 = 1 << 20;

fn io(major: u32, n: u64) -> DeviceIo {
    DeviceIo {
        device: BlockDevice { major, minor: 0 },
        read_bytes: n,
        write_bytes: n + 1,
        read_ops: n + 2,
        write_ops: n + 3,
    }
}

fn waited(some_us: u64) -> Option<Pressure> {
    Some(Pressure {
        some_avg10: 0.0,
        some_us,
        full_avg10: Some(0.0),
        full_us: Some(some_us + 1),
    })
}

/// Each number is another.
fn usage() -> Usage {
    Usage {
        memory: Some(3 * MIB),
        memory_peak: Some(7 * MIB),
        swap: Some(5 * MIB),
        cpu: CpuTime {
            total_ns: Some(101),
            user_ns: Some(102),
            system_ns: Some(103),
        },
        throttled: Some(Throttled {
            periods: 201,
            throttled: 202,
            ns: 203,
        }),
        processes: Some(17),
        // What passes another device than its disk's is not its disk's.
        io: Some(vec![io(7, 300), io(8, 900)]),
        oom_kills: Some(999),
        cpu_pressure: waited(500),
        memory_pressure: waited(510),
        io_pressure: waited(520),
    }
}

const COUNTED: [(&str, u128); 19] = [
    ("cpu_ns", 101),
    ("cpu_user_ns", 102),
    ("cpu_system_ns", 103),
    ("throttled_ns", 203),
    ("cap_periods", 201),
    ("cap_hits", 202),
    ("disk_read_bytes", 300),
    ("disk_write_bytes", 301),
    ("disk_read_ops", 302),
    ("disk_write_ops", 303),
    ("oom_kills", 401),
    ("forks_refused", 402),
    ("memory_limit_hits", 403),
    ("cpu_some_us", 500),
    ("cpu_full_us", 501),
    ("memory_some_us", 510),
    ("memory_full_us", 511),
    ("io_some_us", 520),
    ("io_full_us", 521),
];

#[test]
fn each_counter_and_level_has_its_own_name() {
    let host = running();
    pass(&host, 60);
    let hits = Hits {
        memory: Some(403),
        out_of_memory: Some(998),
        oom_kills: Some(401),
        memory_peak: Some(997),
        swap: Some(996),
        swap_peak: Some(995),
        processes: Some(402),
        processes_peak: Some(994),
        throttled: None,
    };
    fakes(&host).cgroups.change(id(101), |ve| {
        ve.usage = usage();
        ve.hits = hits;
    });
    // By who looks at what runs, by who ends it, and by who runs it again and looks at once.
    sample(&host);
    let sums = total(&host);
    for (name, counted) in COUNTED {
        assert_eq!(sums.get(name), counted, "{name}");
    }
    for (name, level) in [("memory", 3 * MIB), ("swap", 5 * MIB), ("processes", 17)] {
        let average = sums.get(name) / sums.get(&format!("{name}.time"));
        assert_eq!(average, level.into(), "{name}");
    }
    pass(&host, 60);
    act(&host, &STOP);
    started(&host);
    fakes(&host).cgroups.change(id(101), |ve| {
        ve.usage = usage();
        ve.hits = hits;
    });
    pass(&host, 60);
    act(&host, &STOP);
    let sums = total(&host);
    for (name, counted) in COUNTED {
        assert_eq!(sums.get(name), 2 * counted, "{name} of two runs");
    }
    let peaks = &rows(&host, By::Ve)[0].peaks;
    let peak = |name: &str| peaks.iter().find(|(of, _)| *of == name).unwrap().1;
    assert_eq!(peak("memory"), Some(7 * MIB), "as the kernel saw between looks");
    assert_eq!((peak("swap"), peak("processes")), (Some(5 * MIB), Some(17)));
    assert_eq!(peak("inodes"), Some(11));
}

#[test]
fn how_often_and_how_long_a_disk_was_full_is_known() {
    let host = running();
    let disk = |full: bool| {
        let used = if full { (1 << 30) - 4096 } else { 10 * MIB };
        fakes(&host).disks.fill(&host.dirs.ve(id(101)), used);
    };
    let look = |seconds: u64| {
        pass(&host, seconds);
        sample(&host);
    };
    look(60);
    disk(true);
    look(60); // found full: half of the minute before counts
    look(60);
    disk(false);
    look(60);
    disk(true);
    look(60);
    // It is as full while nothing runs.
    act(&host, &STOP);
    look(3600);
    let sums = total(&host);
    assert_eq!(sums.get("disk_full_hits"), 2);
    let seconds = (sums.get("disk_full") + 500_000_000) / 1_000_000_000;
    assert_eq!(seconds, 30 + 60 + 30 + 30 + 3600);
    let known = (sums.get("disk_full.time") + 500_000_000) / 1_000_000_000;
    assert_eq!(known, 300 + 3600);
}
