//! One VE's reading.

use hostel_model::definition::DriverName;
use hostel_model::id::VeId;
use hostel_model::resolve::Effective;
use hostel_model::stat::{Figure, Figures, Known, Life, VeReading};
use hostel_model::state::State;
use hostel_model::units::Bytes;
use hostel_system::cgroup::{BlockDevice, DeviceIo, Hits, Usage, Want};
use hostel_system::process::Init;

use super::seen::One;
use super::{Depth, Flows, Meter};
use crate::error::Result;
use crate::host::Host;
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;
use crate::ve::storage::loops;

/// What is the same for many VEs.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub catalogue: Catalogue,
    /// The disks below the directories of a driver; `None`: they can't be told.
    below: Vec<(DriverName, Option<Vec<BlockDevice>>)>,
}

impl Meter<'_> {
    pub(super) fn ves(&self, ids: &[VeId], depth: Depth, flows: Option<&Flows>) -> Vec<(VeId, VeReading, Hits)> {
        let mut shared = Shared::default();
        let one = |id: &VeId| {
            let mut seen = self.engine.seen.take(*id);
            let found = match seen.state(&self.engine.host, *id) {
                Ok(None) => return None,
                Ok(Some(state)) => self.ve(&state, depth, flows, &mut shared, &mut seen),
                Err(_) => self.broken(*id, depth, &mut seen),
            };
            self.engine.seen.put(*id, seen);
            Some((*id, found.0, found.1))
        };
        ids.iter().filter_map(one).collect()
    }

    /// Reads their definitions, so that the next look finds them read.
    pub(super) fn acquaint(&self, ids: &[VeId]) -> Vec<()> {
        let mut shared = Shared::default();
        for id in ids {
            let mut seen = self.engine.seen.take(*id);
            if let Ok(Some(state)) = seen.state(&self.engine.host, *id) {
                seen.known(&self.engine.host, &state, &mut shared);
            }
            self.engine.seen.put(*id, seen);
        }
        Vec::new()
    }

    fn ve(
        &self,
        state: &VeState,
        depth: Depth,
        flows: Option<&Flows>,
        shared: &mut Shared,
        seen: &mut One,
    ) -> (VeReading, Hits) {
        let host = &self.engine.host;
        let known = (depth != Depth::Counters).then(|| seen.known(host, state, shared));
        let reality = host.reality(state.id);
        let init = reality.as_ref().ok().and_then(|r| r.init);
        let io_of = |usage: &Usage| match state.driver {
            DriverName::Image => loops(usage),
            driver => usage.io_on(shared.below(host, state, driver)?),
        };
        let (mut figures, stalled_us, hits) = self.figures(state.id, depth, init, seen, io_of);
        let (mut files, mut full) = (None, None);
        if depth != Depth::Counters && (init.is_some() || matches!(&reality, Ok(r) if r.state == State::Stopped)) {
            let root = init.map(|init| host.root_of(init));
            let (disks, dir) = (host.disks.get(state.driver), host.dirs.ve(state.id));
            figures[Figure::Disk] = match depth {
                Depth::Limits => {
                    let disk = disks.look(&dir, root.as_ref());
                    full = disk.full();
                    files = disk.inodes_used.zip(disk.inodes).map(<[u64; 2]>::from);
                    disk.used
                }
                _ => disks.glance(&dir, root.as_ref()),
            };
        }
        let ve = VeReading {
            at_ns: self.now_ns(),
            life: init.map(life),
            state: shown(&reality.map(|r| r.state)),
            known,
            figures,
            flows: flows.and_then(|flows| {
                let names = host.interface_names(state.id, &state.numbers());
                let own: Vec<_> = names
                    .iter()
                    .filter_map(|name| flows.get(name))
                    .flatten()
                    .cloned()
                    .collect();
                // Somebody has removed its counters.
                (names.is_empty() || !own.is_empty()).then_some(own)
            }),
            files,
            full,
            stalled_us,
        };
        (ve, hits)
    }

    /// Its record can't be read; but it may run.
    fn broken(&self, id: VeId, depth: Depth, seen: &mut One) -> (VeReading, Hits) {
        let host = &self.engine.host;
        let init = host.reality(id).ok().and_then(|r| r.init);
        let known = host.outline(id).map(|ve| Known {
            name: ve.name,
            tenant: ve.tenant.map(|t| t.to_string()).unwrap_or_default(),
            plan: String::new(),
            caps: Figures::default(),
            cpu_weight: None,
            io_weight: None,
        });
        let (figures, stalled_us, hits) = self.figures(id, depth, init, seen, |_| None);
        let ve = VeReading {
            at_ns: self.now_ns(),
            life: init.map(life),
            state: State::Broken.to_string(),
            known,
            figures,
            flows: None,
            files: None,
            full: None,
            stalled_us,
        };
        (ve, hits)
    }

    /// What its control group tells, how long its tasks have waited, and what its limits have done.
    fn figures(
        &self,
        id: VeId,
        depth: Depth,
        init: Option<Init>,
        seen: &mut One,
        io: impl FnOnce(&Usage) -> Option<DeviceIo>,
    ) -> (Figures<Option<u64>>, [Option<u64>; 3], Hits) {
        let groups = &self.engine.host.cgroups;
        let last = seen.measured.take().filter(|(of, _)| Some(*of) == init);
        let read = init.and_then(|_| match (depth, &last) {
            (Depth::Counters | Depth::All, _) => groups.measure(id, Want::LIVE).ok(),
            (Depth::Limits, Some((_, last))) => groups.measure_again(id, Want::EVERYTHING, last).ok(),
            (Depth::Limits, None) => groups.measure(id, Want::EVERYTHING).ok(),
        });
        if depth == Depth::Limits {
            seen.measured = init.zip(read.clone());
        }
        let Some((usage, hits)) = read else {
            return Default::default();
        };
        let io = io(&usage);
        let figures = Figures::each(|f| match f {
            Figure::Cpu => usage.cpu.total_ns,
            Figure::Memory => usage.memory,
            Figure::Swap => usage.swap,
            Figure::Read => io.map(|io| io.read_bytes),
            Figure::Write => io.map(|io| io.write_bytes),
            Figure::ReadOps => io.map(|io| io.read_ops),
            Figure::WriteOps => io.map(|io| io.write_ops),
            Figure::Processes => usage.processes,
            Figure::Disk | Figure::In | Figure::Out => None,
        });
        let waits = [&usage.cpu_pressure, &usage.memory_pressure, &usage.io_pressure];
        (figures, waits.map(|wait| wait.as_ref().map(|p| p.some_us)), hits)
    }
}

impl Shared {
    /// The disks below a driver's directories: all VEs' lie on one file system.
    fn below(&mut self, host: &Host, state: &VeState, driver: DriverName) -> Option<&[BlockDevice]> {
        let at = match self.below.iter().position(|(d, _)| *d == driver) {
            Some(at) => at,
            None => {
                let devices = host.disks.get(driver).devices(&host.dirs.ve(state.id)).ok();
                self.below.push((driver, devices));
                self.below.len() - 1
            }
        };
        self.below[at].1.as_deref()
    }
}

fn life(init: Init) -> Life {
    Life {
        pid: init.pid,
        began: init.start_time,
    }
}

fn shown(state: &Result<State>) -> String {
    state
        .as_ref()
        .map_or_else(|_| State::Broken.to_string(), ToString::to_string)
}

/// What its definition says, read anew.
pub(super) fn known(host: &Host, state: &VeState, catalogue: &mut Catalogue) -> Known {
    let effective = host.effective(&state.name, catalogue).ok();
    let recorded = || state.tenant.as_ref().map(ToString::to_string).unwrap_or_default();
    let limits = effective.as_ref().map(|e| &e.limits);
    let mut caps = Figures::each(|f| effective.as_ref().and_then(|e| cap(e, f)));
    // What the disk has is what it is held to, whatever its definition says by now.
    caps[Figure::Disk] = Some(state.disk_size);
    Known {
        name: state.name.clone(),
        tenant: effective.as_ref().map_or_else(recorded, |e| e.tenant.to_string()),
        plan: effective.as_ref().map(|e| e.plan.to_string()).unwrap_or_default(),
        caps,
        cpu_weight: limits.map(|l| l.cpu.weight.unwrap_or(100).into()),
        io_weight: limits.and_then(|l| l.io.weight).map(Into::into),
    }
}

/// The limit of a figure, in its unit.
fn cap(effective: &Effective, figure: Figure) -> Option<u64> {
    let (limits, traffic) = (&effective.limits, &effective.traffic);
    match figure {
        Figure::Cpu => {
            let cap = limits.cpu.cap_milli.map(|milli| u64::from(milli) * 1000);
            let count = limits.cpu.count.and_then(|n| n.checked_mul(1_000_000));
            cap.into_iter().chain(count).min()
        }
        Figure::Memory => limits.memory.limit.map(Bytes::get),
        Figure::Swap => limits.memory.swap.map(Bytes::get),
        Figure::Disk => Some(effective.disk.size.get()),
        Figure::Read => limits.io.read_bytes.map(Bytes::get),
        Figure::Write => limits.io.write_bytes.map(Bytes::get),
        Figure::ReadOps => limits.io.read_ops,
        Figure::WriteOps => limits.io.write_ops,
        Figure::In => traffic.inward.map(|b| b.bits() / 8),
        Figure::Out => traffic.outward.map(|b| b.bits() / 8),
        Figure::Processes => limits.processes,
    }
}
