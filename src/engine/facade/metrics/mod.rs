//! All that is measured, as families of samples: for `hostel metrics`. Counters begin with each start of a VE, which
//! whoever collects them knows how to handle.

mod limits;

use std::collections::BTreeMap;

use hostel_model::definition::Listen;
use hostel_model::id::VeId;
use hostel_model::stat::{Figure, Known, Snapshot, VeReading};
use hostel_model::traffic::Direction;
use hostel_system::cgroup::Hits;

use self::limits::Waits;
use super::Engine;
use crate::error::Result;

/// What a family's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// It goes up and down.
    Gauge,
    /// It only grows, until it begins anew.
    Counter,
}

/// Samples of one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Its name, without what its kind adds: `hostel_ve_cpu_seconds`.
    pub name: &'static str,
    /// What its values are.
    pub kind: FamilyKind,
    /// In one sentence.
    pub help: &'static str,
    /// One for each VE of which it is known.
    pub samples: Vec<Sample>,
}

/// A value and what it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl Family {
    /// One value of the host; none if it isn't known.
    pub(super) fn of_host(name: &'static str, help: &'static str, value: Option<f64>) -> Self {
        Self {
            name,
            kind: FamilyKind::Gauge,
            help,
            samples: value.map(Sample::of_host).into_iter().collect(),
        }
    }
}

impl Sample {
    /// Of the host, which needs no label.
    pub(super) const fn of_host(value: f64) -> Self {
        Self {
            labels: Vec::new(),
            value,
        }
    }
}

/// A VE, and all that was read of it.
struct Seen<'a> {
    id: VeId,
    ve: &'a VeReading,
    known: &'a Known,
    hits: &'a Hits,
    /// How often its limits of traffic stood in the way, in and out.
    waits: Waits,
}

impl Engine {
    /// Where hostel.toml has the manager serve them.
    pub fn metrics_listen(&self) -> Option<&Listen> {
        self.host.config.metrics.as_ref()
    }

    /// Reads everything once, and shows a family after the other: of many VEs all of them take much room.
    pub fn metrics(&self, see: &mut dyn FnMut(&Family)) -> Result<()> {
        let (now, hits) = self.meter().read_with_limits()?;
        let waits = self.waits(&now);
        of_ves(&now, &hits, &waits, &mut |family| see(&family));
        self.ledger_metrics().iter().for_each(&mut *see);
        self.schedule_metrics().iter().for_each(&mut *see);
        self.forwarding_metrics().iter().for_each(see);
        Ok(())
    }
}

/// Takes a family as soon as it is made.
type See<'a> = &'a mut dyn FnMut(Family);

/// Those of VEs, also without a sample.
fn of_ves(now: &Snapshot, hits: &BTreeMap<VeId, Hits>, waits: &BTreeMap<VeId, Waits>, see: See<'_>) {
    let none = Hits::default();
    let seen = now.ves.iter().filter_map(|(id, ve)| {
        Some(Seen {
            id: *id,
            ve,
            known: ve.known.as_ref()?,
            hits: hits.get(id).unwrap_or(&none),
            waits: waits.get(id).copied().unwrap_or_default(),
        })
    });
    let seen: Vec<Seen<'_>> = seen.collect();
    see(info(&seen));
    of_figures(&seen, see);
    limits::of_hits(&seen, see);
    limits::of_rates(&seen, see);
    limits::of_files(&seen, see);
    see(traffic(&seen, Direction::In));
    see(traffic(&seen, Direction::Out));
    see(waiting(&seen));
}

fn labels(seen: &Seen<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("ve", seen.known.name.to_string()),
        ("id", seen.id.to_string()),
        ("tenant", seen.known.tenant.clone()),
        ("plan", seen.known.plan.clone()),
    ]
}

/// A family with a sample for each VE of which the value is known.
fn family<'a>(
    (name, kind, help): (&'static str, FamilyKind, &'static str),
    seen: &'a [Seen<'a>],
    value: impl Fn(&Seen<'a>) -> Option<f64>,
) -> Family {
    let samples = seen.iter().filter_map(|ve| {
        Some(Sample {
            labels: labels(ve),
            value: value(ve)?,
        })
    });
    Family {
        name,
        kind,
        help,
        samples: samples.collect(),
    }
}

fn info(seen: &[Seen<'_>]) -> Family {
    let mut family = family(
        ("hostel_ve_info", FamilyKind::Gauge, "A VE and its state; always 1."),
        seen,
        |_| Some(1.0),
    );
    for (sample, ve) in family.samples.iter_mut().zip(seen) {
        sample.labels.push(("state", ve.ve.state.clone()));
    }
    family
}

/// Whole numbers up to 2^53 are exact, which is 8 PiB, or 104 days of nanoseconds; of more the last digits are lost.
#[allow(clippy::cast_precision_loss)]
fn float(n: u64) -> f64 {
    n as f64
}

fn of_figures<'a>(seen: &'a [Seen<'a>], see: See<'_>) {
    use FamilyKind::{Counter, Gauge};
    let used = |head, figure: Figure, unit: f64| {
        family(head, seen, move |ve| {
            let running = ve.ve.life.is_some() || figure == Figure::Disk;
            ve.ve.figures[figure].filter(|_| running).map(|n| float(n) / unit)
        })
    };
    let limit =
        |head, figure: Figure, unit: f64| family(head, seen, move |ve| ve.known.caps[figure].map(|n| float(n) / unit));
    see(family(
        ("hostel_ve_running", Gauge, "Whether the VE runs (1) or not (0)."),
        seen,
        |ve| Some(if ve.ve.life.is_some() { 1.0 } else { 0.0 }),
    ));
    see(used(
        ("hostel_ve_cpu_seconds", Counter, "Processor time since the VE's start."),
        Figure::Cpu,
        1e9,
    ));
    see(limit(
        ("hostel_ve_cpu_limit_cpus", Gauge, "Processors that the VE may use."),
        Figure::Cpu,
        1e6,
    ));
    see(used(
        ("hostel_ve_memory_bytes", Gauge, "Memory in use, page cache included."),
        Figure::Memory,
        1.0,
    ));
    see(limit(
        ("hostel_ve_memory_limit_bytes", Gauge, "Memory that the VE may use."),
        Figure::Memory,
        1.0,
    ));
    see(used(("hostel_ve_swap_bytes", Gauge, "Swap in use."), Figure::Swap, 1.0));
    see(limit(
        ("hostel_ve_swap_limit_bytes", Gauge, "Swap that the VE may use."),
        Figure::Swap,
        1.0,
    ));
    see(used(
        ("hostel_ve_disk_bytes", Gauge, "Disk space in use."),
        Figure::Disk,
        1.0,
    ));
    see(limit(
        ("hostel_ve_disk_limit_bytes", Gauge, "Size of the disk."),
        Figure::Disk,
        1.0,
    ));
    see(used(
        ("hostel_ve_disk_read_bytes", Counter, "Bytes read since the VE's start."),
        Figure::Read,
        1.0,
    ));
    see(used(
        (
            "hostel_ve_disk_written_bytes",
            Counter,
            "Bytes written since the VE's start.",
        ),
        Figure::Write,
        1.0,
    ));
    see(used(
        ("hostel_ve_disk_reads", Counter, "Read operations since the VE's start."),
        Figure::ReadOps,
        1.0,
    ));
    see(used(
        (
            "hostel_ve_disk_writes",
            Counter,
            "Write operations since the VE's start.",
        ),
        Figure::WriteOps,
        1.0,
    ));
    see(used(
        ("hostel_ve_processes", Gauge, "Processes and threads."),
        Figure::Processes,
        1.0,
    ));
    see(limit(
        ("hostel_ve_processes_limit", Gauge, "Processes that the VE may have."),
        Figure::Processes,
        1.0,
    ));
}

/// By class: there may be several, so this has labels of its own.
fn traffic(seen: &[Seen<'_>], direction: Direction) -> Family {
    let mut samples = Vec::new();
    for ve in seen {
        let mut classes: BTreeMap<&str, u64> = BTreeMap::new();
        let flows = ve.ve.flows.iter().flatten();
        for reading in flows.filter(|r| r.flow.direction == direction) {
            let sum = classes.entry(&reading.flow.class).or_default();
            *sum = sum.saturating_add(reading.amount.bytes);
        }
        samples.extend(classes.into_iter().map(|(class, bytes)| {
            let mut labels = labels(ve);
            labels.push(("class", class.to_owned()));
            Sample {
                labels,
                value: float(bytes),
            }
        }));
    }
    let (name, help) = match direction {
        Direction::In => ("hostel_ve_network_receive_bytes", "Bytes to the VE since its start."),
        Direction::Out => ("hostel_ve_network_transmit_bytes", "Bytes from the VE since its start."),
    };
    Family {
        name,
        kind: FamilyKind::Counter,
        help,
        samples,
    }
}

fn waiting(seen: &[Seen<'_>]) -> Family {
    let samples = seen.iter().flat_map(|ve| {
        let waits = ["cpu", "memory", "io"].into_iter().zip(ve.ve.stalled_us);
        waits.filter_map(move |(resource, us)| {
            let mut labels = labels(ve);
            labels.push(("resource", resource.to_owned()));
            Some(Sample {
                labels,
                value: float(us?) / 1e6,
            })
        })
    });
    Family {
        name: "hostel_ve_waiting_seconds",
        kind: FamilyKind::Counter,
        help: "Time in which some task of the VE waited for a resource.",
        samples: samples.collect(),
    }
}
