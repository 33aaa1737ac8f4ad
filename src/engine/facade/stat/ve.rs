//! One VE's reading.

use hostel_model::definition::DriverName;
use hostel_model::id::VeId;
use hostel_model::resolve::Effective;
use hostel_model::stat::{Figure, Figures, Known, Life, VeReading};
use hostel_model::state::State;
use hostel_model::units::Bytes;
use hostel_system::cgroup::{BlockDevice, DeviceIo, Usage};
use hostel_system::process::Init;

use super::{Depth, Flows, Meter};
use crate::error::Result;
use crate::host::Host;
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;
use crate::ve::storage::loops;

/// What is the same for many VEs.
#[derive(Debug, Default)]
struct Shared {
    catalogue: Catalogue,
    /// The disks below the directories of a driver; `None`: they can't be told.
    below: Vec<(DriverName, Option<Vec<BlockDevice>>)>,
}

impl Meter<'_> {
    pub(super) fn ves(&self, ids: &[VeId], depth: Depth, flows: Option<&Flows>) -> Vec<(VeId, VeReading)> {
        let mut shared = Shared::default();
        let one = |id: &VeId| match self.engine.host.state_of(*id) {
            Ok(None) => None,
            Ok(Some(state)) => Some((*id, self.ve(&state, depth, flows, &mut shared))),
            Err(_) => Some((*id, self.broken(*id))),
        };
        ids.iter().filter_map(one).collect()
    }

    fn ve(&self, state: &VeState, depth: Depth, flows: Option<&Flows>, shared: &mut Shared) -> VeReading {
        let host = &self.engine.host;
        let known = (depth == Depth::All).then(|| known(host, state, &mut shared.catalogue));
        let reality = host.reality(state.id);
        let init = reality.as_ref().ok().and_then(|r| r.init);
        let io_of = |usage: &Usage| match state.driver {
            DriverName::Image => loops(usage),
            driver => usage.io_on(shared.below(host, state, driver)?),
        };
        let (mut figures, stalled_us) = self.figures(state.id, init, io_of);
        if depth == Depth::All && (init.is_some() || matches!(&reality, Ok(r) if r.state == State::Stopped)) {
            let root = init.map(|init| host.root_of(init));
            figures[Figure::Disk] = host
                .disks
                .get(state.driver)
                .glance(&host.dirs.ve(state.id), root.as_deref());
        }
        VeReading {
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
            stalled_us,
        }
    }

    /// Its record can't be read; but it may run.
    fn broken(&self, id: VeId) -> VeReading {
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
        let (figures, stalled_us) = self.figures(id, init, |_| None);
        VeReading {
            at_ns: self.now_ns(),
            life: init.map(life),
            state: State::Broken.to_string(),
            known,
            figures,
            flows: None,
            stalled_us,
        }
    }

    /// What its control group tells, and how long its tasks have waited.
    fn figures(
        &self,
        id: VeId,
        init: Option<Init>,
        io: impl FnOnce(&Usage) -> Option<DeviceIo>,
    ) -> (Figures<Option<u64>>, [Option<u64>; 3]) {
        let read = init.and_then(|_| self.engine.host.cgroups.usage(id).ok());
        let Some(usage) = read else {
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
        (figures, waits.map(|wait| wait.as_ref().map(|p| p.some_us)))
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

fn known(host: &Host, state: &VeState, catalogue: &mut Catalogue) -> Known {
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
