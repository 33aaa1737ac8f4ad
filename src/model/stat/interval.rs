//! What happened between two readings.

use super::row::sum;
use super::{Cell, Figure, Figures, HostReading, Kind, Resource, Row, Snapshot, VeReading};
use crate::id::VeId;
use crate::traffic::{Direction, Reading};

/// The time between two readings, and who used what in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// How long it was, in nanoseconds.
    pub ns: u64,
    /// `[total]`, `[system]`, then every VE in the order of ids.
    pub rows: Vec<Row>,
}

/// Works out what was used between two readings.
///
/// A VE that began anew in between counts with what its new run has used since; what its old one used after the first
/// reading can't be known any more, and is part of `[system]`. So is what a VE used that has ended: its own line says
/// that it isn't known.
pub fn interval(before: &Snapshot, now: &Snapshot) -> Interval {
    let ves = now.ves.iter().map(|(id, ve)| {
        let old = before.ves.get(id);
        let ended = ve.life.is_none() && old.is_some_and(|old| old.life.is_some());
        Seen {
            id: *id,
            ve,
            used: used(old, ve, before.host.at_ns),
            ran: ended || ve.life.is_some(),
            ended,
        }
    });
    let ves: Vec<Seen<'_>> = ves.collect();
    let host = Figures::each(|f| match f.is_rate() {
        true => {
            let growth = before.host.figures[f]
                .zip(now.host.figures[f])
                .and_then(|(old, new)| new.checked_sub(old));
            f.rate(growth?, now.host.at_ns.checked_sub(before.host.at_ns)?)
        }
        false => now.host.figures[f],
    });
    Interval {
        ns: now.host.at_ns.saturating_sub(before.host.at_ns),
        rows: rows(&now.host, &host, &ves),
    }
}

/// The same from one reading alone: no rates.
pub fn stand(now: &Snapshot) -> Interval {
    let levels = |figures: &Figures<Option<u64>>| Figures::each(|f| figures[f].filter(|_| !f.is_rate()));
    let seen = now.ves.iter().map(|(id, ve)| Seen {
        id: *id,
        ve,
        used: levels(&ve.figures),
        ran: ve.life.is_some(),
        ended: false,
    });
    Interval {
        ns: 0,
        rows: rows(&now.host, &levels(&now.host.figures), &seen.collect::<Vec<_>>()),
    }
}

struct Seen<'a> {
    id: VeId,
    ve: &'a VeReading,
    used: Figures<Option<u64>>,
    ran: bool,
    /// It ran at the first reading and no more at the second.
    ended: bool,
}

/// What a VE uses. `since`: when the first reading was, for a VE that wasn't there yet.
fn used(before: Option<&VeReading>, now: &VeReading, since: u64) -> Figures<Option<u64>> {
    if now.life.is_none() {
        // What it did before it ended, nobody has seen.
        let ran = before.is_some_and(|b| b.life.is_some());
        return Figures::each(|f| match f {
            Figure::Disk => now.figures[f],
            f if f.is_rate() && ran => None,
            _ => Some(0),
        });
    }
    let same = before.filter(|b| b.life == now.life);
    let began = before.map_or(since, |b| b.at_ns);
    let ns = now.at_ns.saturating_sub(began);
    let (inward, outward) = match (&now.flows, same, same.and_then(|b| b.flows.as_deref())) {
        (None, _, _) | (_, Some(_), None) => (None, None),
        (Some(flows), _, old) => moved(old.unwrap_or_default(), flows),
    };
    Figures::each(|f| match f {
        Figure::In => f.rate(inward?, ns),
        Figure::Out => f.rate(outward?, ns),
        f if f.is_rate() => {
            let new = now.figures[f]?;
            let growth = match same {
                Some(old) => new.checked_sub(old.figures[f]?)?,
                None => new,
            };
            f.rate(growth, ns)
        }
        f => now.figures[f],
    })
}

/// Bytes to the VE and from it. A counter that wasn't there before has counted since it began.
fn moved(before: &[Reading], now: &[Reading]) -> (Option<u64>, Option<u64>) {
    let way = |direction: Direction| {
        sum(now.iter().filter(|r| r.flow.direction == direction).map(|new| {
            let old = before
                .iter()
                .find(|old| old.mark == new.mark && old.interface == new.interface && old.flow == new.flow);
            new.amount.bytes.checked_sub(old.map_or(0, |old| old.amount.bytes))
        }))
    };
    (way(Direction::In), way(Direction::Out))
}

/// What weighs for a figure. Disks' weights are those of the kernel where none is set.
fn weight(ve: &VeReading, figure: Figure) -> Option<u32> {
    let known = ve.known.as_ref()?;
    match figure.resource() {
        Resource::Cpu => known.cpu_weight,
        Resource::Io => Some(known.io_weight.unwrap_or(100)),
        _ => None,
    }
}

fn rows(reading: &HostReading, host: &Figures<Option<u64>>, ves: &[Seen<'_>]) -> Vec<Row> {
    let all = Figures::each(|f| {
        sum(ves.iter().map(|ve| match ve.ended && f.is_rate() {
            true => Some(0),
            false => ve.used[f],
        }))
    });
    let total = Figures::each(|f| match f.resource() {
        // The host's own traffic isn't counted, and what goes from VE to VE passes no wire.
        Resource::Network => all[f],
        // Time is told in steps of a tick there, and exactly of VEs.
        Resource::Cpu => host[f].map(|host| host.min(reading.sizes[f].unwrap_or(host)).max(all[f].unwrap_or(0))),
        _ => host[f],
    });
    let size = Figures::each(|f| reading.sizes[f].or(total[f]));
    let cell = |f: Figure, used: Option<u64>, cap: Option<u64>| Cell {
        used,
        host: size[f],
        cap,
    };
    let system = Figures::each(|f| match f.resource() {
        Resource::Network => None,
        _ => total[f]?.checked_sub(all[f]?),
    });
    let mut out = vec![
        Row::host(Kind::Total, Figures::each(|f| cell(f, total[f], reading.sizes[f]))),
        Row::host(Kind::System, Figures::each(|f| cell(f, system[f], None))),
    ];
    let weights = Figures::each(|f| {
        let alive = ves.iter().filter(|ve| ve.ve.life.is_some());
        alive.filter_map(|ve| weight(ve.ve, f)).map(u64::from).sum::<u64>()
    });
    out.extend(ves.iter().map(|seen| {
        let known = seen.ve.known.as_ref();
        let share = |f: Figure| {
            let weight = weight(seen.ve, f).filter(|_| seen.ve.life.is_some())?;
            let part = u128::from(size[f]?) * u128::from(weight);
            u64::try_from(part.checked_div(u128::from(weights[f]))?).ok()
        };
        let text = |of: fn(&super::Known) -> &String| known.map(of).cloned().unwrap_or_default();
        Row {
            kind: Kind::Ve(seen.id),
            name: known.map_or_else(|| seen.id.to_string(), |k| k.name.to_string()),
            tenant: text(|k| &k.tenant),
            plan: text(|k| &k.plan),
            state: seen.ve.state.clone(),
            ran: seen.ran,
            ves: 1,
            cells: Figures::each(|f| cell(f, seen.used[f], known.and_then(|k| k.caps[f]))),
            cpu_weight: known.and_then(|k| k.cpu_weight),
            io_weight: known.and_then(|k| k.io_weight),
            entitled: Figures::each(share),
        }
    }));
    out
}
