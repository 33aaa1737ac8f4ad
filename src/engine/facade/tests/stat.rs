//! Live figures from fakes: what is read of whom, and what is remembered of ends.

use hostel_model::stat::{Figure, Kind, interval};
use hostel_model::traffic::Direction;
use hostel_system::cgroup::{CpuTime, Hits, Usage};

use super::*;
use crate::manager::Sampler;
use crate::testing::{fakes, host, started, with_ve};

const MIB: u64 = 1 << 20;

fn usage(cpu_ns: u64, memory: Option<u64>) -> Usage {
    Usage {
        cpu: CpuTime {
            total_ns: Some(cpu_ns),
            ..CpuTime::default()
        },
        memory,
        processes: Some(7),
        ..Usage::default()
    }
}

/// The host's own files, and VE 101 that runs.
fn measured() -> Arc<Host> {
    let host = host().make();
    let proc = host.proc_sys.parent().unwrap().to_owned();
    std::fs::create_dir_all(&proc).unwrap();
    std::fs::write(proc.join("stat"), "cpu  0 0 0 0 0 0 0 0\ncpu0 0\ncpu1 0\n").unwrap();
    std::fs::write(proc.join("meminfo"), "MemTotal: 8192 kB\nMemFree: 4096 kB\n").unwrap();
    with_ve(&host, &[("cpu.cap", "0.5"), ("net.in", "8Mbit")]);
    started(&host);
    fakes(&host)
        .cgroups
        .change(id(101), |ve| ve.usage = usage(5, Some(MIB)));
    host
}

#[test]
fn a_reading_has_what_the_kernel_tells_and_what_the_definition_allows() {
    let host = measured();
    let engine = engine(&host);
    let meter = engine.meter();
    let before = meter.begin().unwrap();
    assert!(before.ves[&id(101)].known.is_none() && before.ves[&id(101)].figures[Figure::Disk].is_none());
    fakes(&host).counters.pass("hv101.0", "external", Direction::In, 1000);
    fakes(&host)
        .cgroups
        .change(id(101), |ve| ve.usage = usage(1_000_005, None));
    let now = meter.read().unwrap();
    let interval = interval(&before, &now);
    assert_eq!(interval.rows.len(), 3);
    let (total, row) = (&interval.rows[0], &interval.rows[2]);
    assert_eq!(
        (&row.kind, row.name.as_str(), row.tenant.as_str()),
        (&Kind::Ve(id(101)), "web1", "default")
    );
    assert_eq!(row.cells[Figure::Cpu].cap, Some(500_000));
    assert_eq!(row.cells[Figure::In].cap, Some(1_000_000));
    assert!(
        row.cells[Figure::Cpu].used > Some(0) && row.cells[Figure::In].used > Some(0),
        "{row:?}"
    );
    assert_eq!(row.cells[Figure::Memory].used, None, "unknown is not zero");
    assert_eq!(row.cells[Figure::Memory].cap, Some(256 * MIB));
    assert_eq!(row.cells[Figure::Processes].used, Some(7));
    assert_eq!(
        row.entitled[Figure::Cpu],
        Some(2_000_000),
        "it is alone on two processors"
    );
    assert_eq!(total.cells[Figure::Memory].used, Some(4 * MIB));
    // It is stopped: nothing is used but its disk, and its limits are still known.
    act(&host, &Action::Stop { timeout: None }).unwrap();
    let row = &hostel_model::stat::interval(&now, &meter.read().unwrap()).rows[2];
    assert_eq!(
        (row.cells[Figure::Memory].used, row.cells[Figure::Cpu].used),
        (Some(0), None)
    );
    assert!(
        row.cells[Figure::Disk].used.is_some() && row.state == "stopped",
        "{row:?}"
    );
}

#[test]
fn counters_that_cant_be_read_leave_the_rest() {
    let host = measured();
    fakes(&host).counters.fail_method(Some("read"));
    fakes(&host).cgroups.fail_method(Some("usage"));
    let now = engine(&host).meter().read().unwrap();
    let ve = &now.ves[&id(101)];
    assert!(
        ve.flows.is_none() && ve.life.is_some() && ve.figures[Figure::Cpu].is_none(),
        "{ve:?}"
    );
    fakes(&host).counters.fail_method(None);
    fakes(&host).cgroups.fail_method(None);
}

#[test]
fn limits_and_their_hits() {
    let host = measured();
    let hits = Hits {
        memory: Some(3),
        memory_peak: Some(2 * MIB),
        processes: Some(1),
        ..Hits::default()
    };
    fakes(&host).cgroups.change(id(101), |ve| ve.hits = hits);
    fakes(&host)
        .cgroups
        .change(id(101), |ve| ve.usage.memory_peak = Some(2 * MIB));
    let limits = engine(&host).limits(&web1(), &Silent).unwrap();
    let of = |key: &str| limits.iter().find(|l| l.key == key).unwrap();
    let memory = of("memory.limit");
    assert_eq!(
        (memory.held, memory.most, memory.limit, memory.hits),
        (Some(MIB), Some(2 * MIB), Some(256 * MIB), Some(3))
    );
    assert_eq!((memory.kills, memory.last), (None, None));
    assert_eq!((of("processes").limit, of("processes").hits), (Some(100), Some(1)));
    assert_eq!((of("cpu.cap").limit, of("cpu.cap").hits), (Some(500), None));
    assert!(of("disk.size").held.is_some() && of("disk.inodes").limit.is_some());
    act(&host, &Action::Stop { timeout: None }).unwrap();
    // Its counters are gone; the ledger has them, and those of the next run come to them.
    let memory = || {
        let limits = engine(&host).limits(&web1(), &Silent).unwrap();
        let memory = limits.into_iter().find(|l| l.key == "memory.limit").unwrap();
        (memory.held, memory.most, memory.hits, memory.kills)
    };
    assert_eq!(memory(), (None, Some(2 * MIB), Some(3), None));
    started(&host);
    let hits = Hits {
        memory: Some(2),
        oom_kills: Some(1),
        ..Hits::default()
    };
    fakes(&host)
        .cgroups
        .change(id(101), |ve| (ve.hits, ve.usage) = (hits, usage(5, Some(MIB))));
    assert_eq!(memory(), (Some(MIB), Some(2 * MIB), Some(5), Some(1)));
    // Also when a part of this run is entered already.
    Sampler::new(&host).pass(&Silent, &|| {}).unwrap();
    assert_eq!(memory(), (Some(MIB), Some(2 * MIB), Some(5), Some(1)));
}

#[test]
fn how_it_ended_is_remembered_until_it_runs_again() {
    let host = measured();
    let why = || engine(&host).why(&web1()).unwrap().causes[0].what.clone();
    let hits = Hits {
        oom_kills: Some(2),
        ..Hits::default()
    };
    fakes(&host).cgroups.change(id(101), |ve| ve.hits = hits);
    fakes(&host).guests.halt(101);
    engine(&host).settle(id(101), "signal-9", &Silent).unwrap();
    assert_eq!(why(), "It ran out of memory, and its init was killed for that");
    // The host is booted: nothing is in /run any more.
    let runtime = host.dirs.run(id(101)).join("last.json");
    std::fs::remove_file(&runtime).unwrap();
    assert_eq!(why(), "It ran out of memory, and its init was killed for that");
    started(&host);
    // What the ledger has of it isn't how it is.
    assert_eq!(why(), "Since yesterday its limits have stood in its way");
    // And once more: it has run since, and how it ended then nobody has seen.
    std::fs::remove_file(&runtime).unwrap();
    assert_eq!(why(), "Since yesterday its limits have stood in its way");
    act(&host, &Action::Stop { timeout: None }).unwrap();
    assert_eq!(why(), "It was stopped by \"hostel stop\"");
    // A start that fails, and its reason.
    let plan = host.dirs.definitions("plans").join("small.toml");
    std::fs::rename(&plan, plan.with_extension("away")).unwrap();
    act(&host, &start()).unwrap_err();
    assert!(why().starts_with("Its last start failed: "), "{}", why());
    std::fs::rename(plan.with_extension("away"), &plan).unwrap();
    // Another VE of the same number begins with nothing.
    act(&host, &Action::Destroy { force: false }).unwrap();
    with_ve(&host, &[]);
    assert_eq!(why(), "Nobody has started it since the host's boot");
}

#[test]
fn metrics_of_what_runs_and_what_does_not() {
    let host = measured();
    fakes(&host).counters.pass("hv101.0", "external", Direction::Out, 9);
    let families = || {
        let mut all = Vec::new();
        engine(&host).metrics(&mut |family| all.push(family.clone())).unwrap();
        all
    };
    let find = |name: &str| {
        let families = families();
        let family = families.into_iter().find(|f| f.name == name).unwrap();
        family.samples.first().map(|s| s.value)
    };
    assert_eq!(find("hostel_ve_memory_bytes"), Some(1_048_576.0));
    assert_eq!(find("hostel_ve_memory_limit_bytes"), Some(268_435_456.0));
    assert_eq!(find("hostel_ve_network_transmit_bytes"), Some(9.0));
    assert_eq!(find("hostel_ve_oom_kills"), None, "unknown");
    assert_eq!(find("hostel_ve_running"), Some(1.0));
    act(&host, &Action::Stop { timeout: None }).unwrap();
    assert_eq!(
        (find("hostel_ve_memory_bytes"), find("hostel_ve_running")),
        (None, Some(0.0))
    );
    let families = families();
    let names: Vec<&str> = families.iter().map(|f| f.name).collect();
    assert!(
        names.iter().enumerate().all(|(n, name)| !names[..n].contains(name)),
        "{names:?}"
    );
}
