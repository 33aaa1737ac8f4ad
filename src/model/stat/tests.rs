//! Intervals and reports: known loads, and everything that may happen between two readings.

use proptest::prelude::*;

use super::*;
use crate::traffic::{Amount, Direction, Flow, Reading};

const SECOND: u64 = 1_000_000_000;

fn id(n: u32) -> VeId {
    VeId::try_from(n).unwrap()
}

fn life(began: u64) -> Option<Life> {
    Some(Life { pid: 1, began })
}

fn flow(mark: &str, direction: Direction, bytes: u64) -> Reading {
    Reading {
        interface: "hv101.0".into(),
        flow: Flow {
            class: "external".into(),
            direction,
            ipv6: false,
        },
        mark: mark.into(),
        amount: Amount { bytes, packets: 1 },
    }
}

/// A VE that runs, with nothing used.
fn ve(name: &str, at_ns: u64) -> VeReading {
    VeReading {
        files: None,
        full: None,
        at_ns,
        life: life(1),
        state: "running".into(),
        known: Some(Known {
            name: name.parse().unwrap(),
            tenant: "acme".into(),
            plan: "small".into(),
            caps: Figures::each(|f| (f == Figure::Cpu).then_some(500_000)),
            cpu_weight: Some(100),
            io_weight: None,
        }),
        figures: Figures::each(|f| (f.resource() != Resource::Network).then_some(0)),
        flows: Some(Vec::new()),
        stalled_us: [None; 3],
    }
}

/// A host of two processors.
fn snapshot(at_ns: u64, cpu_ns: u64, ves: Vec<VeReading>) -> Snapshot {
    Snapshot {
        host: HostReading {
            at_ns,
            figures: Figures::each(|f| Some(if f == Figure::Cpu { cpu_ns } else { 1000 })),
            sizes: Figures::each(|f| match f {
                Figure::Cpu => Some(2_000_000),
                f if f.is_rate() => None,
                _ => Some(4000),
            }),
        },
        ves: ves
            .into_iter()
            .enumerate()
            .map(|(n, ve)| (id(101 + n as u32), ve))
            .collect(),
    }
}

fn with(mut ve: VeReading, figure: Figure, value: Option<u64>) -> VeReading {
    ve.figures[figure] = value;
    ve
}

/// `[total]`, `[system]`, the first VE.
fn used(rows: &[Row], figure: Figure) -> [Option<u64>; 3] {
    [0, 1, 2].map(|n| rows[n].cells[figure].used)
}

#[test]
fn a_known_load() {
    let before = snapshot(0, 0, vec![with(ve("a", 0), Figure::Cpu, Some(7)), ve("b", 0)]);
    let mut a = with(ve("a", 2 * SECOND), Figure::Cpu, Some(7 + SECOND / 2));
    a.figures[Figure::Memory] = Some(100);
    a.figures[Figure::Read] = Some(4096);
    a.flows = Some(vec![flow("x", Direction::Out, 10), flow("x", Direction::In, 2000)]);
    let mut old = before.clone();
    old.ves.get_mut(&id(101)).unwrap().flows = Some(vec![flow("x", Direction::Out, 4), flow("x", Direction::In, 0)]);
    let now = snapshot(2 * SECOND, SECOND, vec![a, ve("b", 2 * SECOND)]);
    let rows = interval(&old, &now).rows;
    assert_eq!(used(&rows, Figure::Cpu), [Some(500_000), Some(250_000), Some(250_000)]);
    assert_eq!(used(&rows, Figure::Memory), [Some(1000), Some(900), Some(100)]);
    assert_eq!(rows[2].cells[Figure::Read].used, Some(2048));
    assert_eq!(used(&rows, Figure::In), [Some(1000), None, Some(1000)]);
    assert_eq!(used(&rows, Figure::Out), [Some(3), None, Some(3)]);
    let cpu = rows[2].cells[Figure::Cpu];
    assert_eq!((cpu.of_host(), cpu.of_cap()), (Some(12.5), Some(50.0)));
    // Half of two processors is its share: of that it has used a quarter.
    assert_eq!(
        (rows[2].entitled[Figure::Cpu], rows[2].of_entitlement(Figure::Cpu)),
        (Some(1_000_000), Some(25.0))
    );
    assert_eq!(rows[1].cells[Figure::Cpu].of_cap(), None);
}

/// Of what goes to and from disks nobody knows how much could: the weight's part is of what does.
#[test]
fn a_disks_weight_entitles_to_a_part_of_what_passes() {
    let before = snapshot(0, 0, vec![ve("a", 0), ve("b", 0)]);
    let read = |name: &str, bytes, weight| {
        let mut ve = with(ve(name, SECOND), Figure::Read, Some(bytes));
        ve.known.as_mut().unwrap().io_weight = weight;
        ve
    };
    let mut before = before;
    for ve in before.ves.values_mut() {
        ve.figures[Figure::Read] = Some(0);
    }
    before.host.figures[Figure::Read] = Some(0);
    let mut now = snapshot(SECOND, SECOND, vec![read("a", 600, Some(300)), read("b", 200, None)]);
    now.host.figures[Figure::Read] = Some(800);
    let rows = interval(&before, &now).rows;
    let of = |n: usize| (rows[n].entitled[Figure::Read], rows[n].of_entitlement(Figure::Read));
    assert_eq!(of(2), (Some(600), Some(100.0)));
    assert_eq!(of(3), (Some(200), Some(100.0)), "without a weight it has the kernel's");
    let together = &by_tenant(rows)[2];
    assert_eq!((together.entitled[Figure::Read], together.io_weight), (Some(800), None));
}

#[test]
fn a_restart_counts_from_zero() {
    let before = snapshot(0, 0, vec![with(ve("a", 0), Figure::Cpu, Some(90 * SECOND))]);
    let mut again = with(ve("a", SECOND), Figure::Cpu, Some(SECOND / 4));
    again.life = life(2);
    again.flows = Some(vec![flow("new", Direction::In, 8)]);
    let now = snapshot(SECOND, SECOND, vec![again]);
    let rows = interval(&before, &now).rows;
    assert_eq!(
        used(&rows, Figure::Cpu),
        [Some(1_000_000), Some(750_000), Some(250_000)]
    );
    assert_eq!(rows[2].cells[Figure::In].used, Some(8));
}

#[test]
fn starts_and_ends_in_between() {
    let mut down = ve("a", 0);
    down.life = None;
    let up = || {
        snapshot(
            SECOND,
            SECOND,
            vec![with(ve("a", SECOND), Figure::Cpu, Some(SECOND / 2))],
        )
    };
    // Started: from zero. New: the same.
    for before in [snapshot(0, 0, vec![down.clone()]), snapshot(0, 0, vec![])] {
        assert_eq!(interval(&before, &up()).rows[2].cells[Figure::Cpu].used, Some(500_000));
    }
    // Ended: what it used can't be known, and the host has it.
    let before = snapshot(0, 0, vec![with(ve("a", 0), Figure::Cpu, Some(5))]);
    let gone = interval(&before, &snapshot(SECOND, SECOND, vec![down.clone()])).rows;
    assert_eq!(used(&gone, Figure::Cpu), [Some(1_000_000), Some(1_000_000), None]);
    assert_eq!(gone[2].cells[Figure::Memory].used, Some(0));
    assert!(gone[2].ran && gone[2].entitled == Figures::default());
    // Destroyed: no line.
    assert_eq!(interval(&before, &snapshot(SECOND, 0, vec![])).rows.len(), 2);
    // Stopped all the time: nothing, for certain.
    let still = interval(&snapshot(0, 0, vec![down.clone()]), &snapshot(SECOND, 0, vec![down])).rows;
    assert_eq!((still[2].cells[Figure::Cpu].used, still[2].ran), (Some(0), false));
}

#[test]
fn what_cant_be_read_is_unknown_in_every_sum() {
    let before = snapshot(0, 0, vec![with(ve("a", 0), Figure::Cpu, None), ve("b", 0)]);
    let mut now = snapshot(SECOND, SECOND, vec![ve("a", SECOND), ve("b", SECOND)]);
    now.ves.get_mut(&id(102)).unwrap().flows = None;
    now.ves.get_mut(&id(101)).unwrap().figures[Figure::Memory] = None;
    let rows = interval(&before, &now).rows;
    assert_eq!(used(&rows, Figure::Cpu), [Some(1_000_000), None, None]);
    assert_eq!(used(&rows, Figure::Memory), [Some(1000), None, None]);
    assert_eq!(used(&rows, Figure::In), [None, None, Some(0)]);
    let tenants = by_tenant(rows);
    assert_eq!((tenants.len(), tenants[2].ves), (3, 2));
    assert_eq!(tenants[2].cells[Figure::Memory].used, None);
    assert_eq!(tenants[2].cells[Figure::Cpu].cap, Some(1_000_000));
    assert_eq!(
        tenants[2].cells[Figure::Memory].cap,
        None,
        "no limit is no limit of all"
    );
    assert_eq!(tenants[2].cpu_weight, Some(200));
}

#[test]
fn one_reading_has_levels_only() {
    let rows = stand(&snapshot(5, 5, vec![with(ve("a", 5), Figure::Memory, Some(10))])).rows;
    assert_eq!(used(&rows, Figure::Memory), [Some(1000), Some(990), Some(10)]);
    assert_eq!(used(&rows, Figure::Cpu), [None, None, None]);
}

#[test]
fn reports_of_a_ve_that_runs_half_of_the_time() {
    let mut tally = Tally::default();
    let at = |second: u64, cpu: u64, up: bool| {
        let mut a = with(ve("a", second * SECOND), Figure::Cpu, Some(cpu));
        a.life = a.life.filter(|_| up);
        snapshot(second * SECOND, cpu, vec![a])
    };
    let readings = [
        at(0, 0, true),
        at(1, SECOND, true),
        at(3, SECOND, true),
        at(4, 0, false),
        at(6, 0, false),
    ];
    for pair in readings.windows(2) {
        tally.add(&interval(&pair[0], &pair[1]));
    }
    assert_eq!((tally.intervals(), tally.ns()), (4, 6 * SECOND));
    let cpu = |report| tally.rows(report)[2].cells[Figure::Cpu].used;
    assert_eq!(cpu(Report::High), Some(1_000_000));
    // A second of processor time: in three seconds of running that are known, in five of all.
    assert_eq!(cpu(Report::Average), Some(333_333));
    assert_eq!(cpu(Report::Total), Some(200_000));
    assert_eq!(tally.rows(Report::High)[0].name, "[total]");
}

proptest! {
    /// Whatever counters do between two readings: no figure of a VE is more than what the counter shows, and no line is
    /// more than the host.
    #[test]
    fn nothing_absurd(
        old in prop::option::of(0_u64..u64::MAX / 4), new in prop::option::of(0_u64..u64::MAX / 4),
        began in 1_u64..3, up in any::<[bool; 2]>(), ns in 0_u64..100 * SECOND, host in 0_u64..SECOND,
    ) {
        let reading = |at, cpu, began, up: bool| {
            let mut a = with(ve("a", at), Figure::Cpu, cpu);
            a.life = life(began).filter(|_| up);
            a
        };
        let before = snapshot(0, 0, vec![reading(0, old, 1, up[0])]);
        let now = snapshot(ns, host, vec![reading(ns, new, began, up[1])]);
        let rows = interval(&before, &now).rows;
        let [total, system, own] = used(&rows, Figure::Cpu);
        if let (Some(own), Some(new)) = (own, new) {
            prop_assert!(u128::from(own) * u128::from(ns) <= u128::from(new) * 1_000_000 + u128::from(ns));
        }
        if let (Some(total), Some(system), Some(own)) = (total, system, own) {
            prop_assert_eq!(system + own, total);
        }
        if began == 1 && up == [true, true] && old > new {
            prop_assert_eq!(own, None, "a counter that went back");
        }
    }
}
