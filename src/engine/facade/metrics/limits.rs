//! What VEs are held to, and how often that stood in their way.

use std::collections::BTreeMap;

use hostel_model::id::VeId;
use hostel_model::stat::{Figure, Snapshot};
use hostel_system::cgroup::Hits;

use super::{Engine, FamilyKind, See, Seen, family, float};

/// Of traffic to a VE and from it.
pub(super) type Waits = [Option<u64>; 2];

impl Engine {
    /// How often limits of traffic stood in the way of the VEs that run and have any.
    pub(super) fn waits(&self, now: &Snapshot) -> BTreeMap<VeId, Waits> {
        let limited = now.ves.iter().filter(|(_, ve)| {
            let held = |f| ve.known.as_ref().is_some_and(|known| known.caps[f].is_some());
            ve.life.is_some() && (held(Figure::In) || held(Figure::Out))
        });
        let ids: Vec<VeId> = limited.map(|(id, _)| *id).collect();
        let devices: Vec<String> = ids.iter().flat_map(|id| self.host.shaper_names(*id)).collect();
        // What can't be read is left out.
        let waits = self.host.network.waits(&devices).unwrap_or_default();
        let pairs = waits.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
        ids.into_iter().zip(pairs).collect()
    }
}

/// What may pass in a second, where that is limited.
pub(super) fn of_rates<'a>(seen: &'a [Seen<'a>], see: See<'_>) {
    let of = |(name, help, figure): (&'static str, &'static str, Figure)| {
        family((name, FamilyKind::Gauge, help), seen, move |ve| {
            ve.known.caps[figure].map(float)
        })
    };
    let all = [
        (
            "hostel_ve_disk_read_limit_bytes_per_second",
            "Bytes that the VE may read in a second.",
            Figure::Read,
        ),
        (
            "hostel_ve_disk_written_limit_bytes_per_second",
            "Bytes that the VE may write in a second.",
            Figure::Write,
        ),
        (
            "hostel_ve_disk_reads_limit_per_second",
            "Read operations that the VE may do in a second.",
            Figure::ReadOps,
        ),
        (
            "hostel_ve_disk_writes_limit_per_second",
            "Write operations that the VE may do in a second.",
            Figure::WriteOps,
        ),
        (
            "hostel_ve_network_receive_limit_bytes_per_second",
            "Bytes to the VE that may pass in a second.",
            Figure::In,
        ),
        (
            "hostel_ve_network_transmit_limit_bytes_per_second",
            "Bytes from the VE that may pass in a second.",
            Figure::Out,
        ),
    ];
    all.into_iter().for_each(|one| see(of(one)));
}

/// What its disk tells of files, and whether it is full.
pub(super) fn of_files<'a>(seen: &'a [Seen<'a>], see: See<'_>) {
    see(family(
        (
            "hostel_ve_disk_full",
            FamilyKind::Gauge,
            "Whether nothing more can be written to the disk, or no file made (1), or not (0).",
        ),
        seen,
        |ve| ve.ve.full.map(|full| if full { 1.0 } else { 0.0 }),
    ));
    let of = |(name, help, n): (&'static str, &'static str, usize)| {
        family((name, FamilyKind::Gauge, help), seen, move |ve| {
            ve.ve.files.map(|files| float(files[n]))
        })
    };
    [
        ("hostel_ve_disk_inodes", "Files on the disk.", 0),
        ("hostel_ve_disk_inodes_limit", "Files that the disk can hold.", 1),
    ]
    .into_iter()
    .for_each(|one| see(of(one)));
}

pub(super) fn of_hits<'a>(seen: &'a [Seen<'a>], see: See<'_>) {
    use FamilyKind::{Counter, Gauge};
    let hits = |head, value: fn(&Hits) -> Option<u64>, unit: f64| {
        family(head, seen, move |ve| value(ve.hits).map(|n| float(n) / unit))
    };
    see(hits(
        (
            "hostel_ve_cpu_throttled_periods",
            Counter,
            "Periods in which the cap stopped the VE.",
        ),
        |h| h.throttled.map(|t| t.throttled),
        1.0,
    ));
    see(hits(
        (
            "hostel_ve_cpu_throttled_seconds",
            Counter,
            "Time for which the cap stopped the VE.",
        ),
        |h| h.throttled.map(|t| t.ns),
        1e9,
    ));
    see(hits(
        (
            "hostel_ve_memory_peak_bytes",
            Gauge,
            "The most memory since the VE's start.",
        ),
        |h| h.memory_peak,
        1.0,
    ));
    see(hits(
        (
            "hostel_ve_memory_limit_hits",
            Counter,
            "Times that the memory limit stood in the way.",
        ),
        |h| h.memory,
        1.0,
    ));
    see(hits(
        ("hostel_ve_oom_kills", Counter, "Processes killed for want of memory."),
        |h| h.oom_kills,
        1.0,
    ));
    see(hits(
        (
            "hostel_ve_swap_limit_hits",
            Counter,
            "Times that the swap limit stood in the way.",
        ),
        |h| h.swap,
        1.0,
    ));
    see(hits(
        (
            "hostel_ve_processes_limit_hits",
            Counter,
            "Processes that could not be made.",
        ),
        |h| h.processes,
        1.0,
    ));
    see(family(
        (
            "hostel_ve_network_receive_limit_hits",
            Counter,
            "Times that something to the VE had to wait for its limit, or was lost.",
        ),
        seen,
        |ve| ve.waits[0].map(float),
    ));
    see(family(
        (
            "hostel_ve_network_transmit_limit_hits",
            Counter,
            "Times that something from the VE had to wait for its limit, or was lost.",
        ),
        seen,
        |ve| ve.waits[1].map(float),
    ));
}
