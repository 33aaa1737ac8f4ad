//! A look at VEs that finds out no more than was asked for: for whoever polls many of them for a figure or two.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::BitOr;
use std::path::PathBuf;
use std::time::Duration;

use hostel_model::beancounters::{Beancounter, Groups, Level, beancounters};
use hostel_model::definition::DriverName;
use hostel_model::id::{NetworkName, VeId};
use hostel_model::mac::Mac;
use hostel_model::request::VeRef;
use hostel_model::resolve::Effective;
use hostel_model::stat::{Figures, Kind, interval};
use hostel_model::state::State;
use hostel_model::traffic::{Amount, Direction, Reading};
use hostel_model::units::Bytes;
use hostel_system::cgroup::{DeviceIo, Hits, Usage, Want};
use hostel_system::disk;

use super::Engine;
use crate::error::{Result, chain};
use crate::host::Host;
use crate::shares;
use crate::ve::record::{InterfaceState, VeState};
use crate::ve::registry::{Catalogue, ids_in};
use crate::ve::storage::loops;

/// Over which time rates are measured.
const MOMENT: Duration = Duration::from_millis(80);

/// What a look is to find out beside the numbers of VEs: each has its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Aspects(u16);

impl Aspects {
    /// Nothing else.
    pub const NONE: Self = Self(0);
    /// What was allocated for it: a file.
    pub const RECORD: Self = Self(1);
    /// Whether it runs, and since when.
    pub const STATE: Self = Self(1 << 1);
    /// What it is to be: four files and more.
    pub const DEFINITION: Self = Self(1 << 2 | Self::RECORD.0);
    /// Memory, processes and processor time that it uses.
    pub const USAGE: Self = Self(1 << 3 | Self::STATE.0);
    /// Swap that it uses.
    pub const SWAP: Self = Self(1 << 4 | Self::USAGE.0);
    /// How long its tasks have waited.
    pub const WAITS: Self = Self(1 << 5 | Self::USAGE.0);
    /// How often it ran into its limits: as many files again.
    pub const HITS: Self = Self(1 << 6 | Self::STATE.0);
    /// How full its disk is.
    pub const DISK: Self = Self(1 << 7 | Self::STATE.0 | Self::RECORD.0);
    /// What it has read and written.
    pub const IO: Self = Self(1 << 8 | Self::USAGE.0 | Self::RECORD.0);
    /// What passed its interfaces: all counters of all VEs, once.
    pub const TRAFFIC: Self = Self(1 << 9 | Self::RECORD.0);
    /// What it uses per second: two readings and 80 ms between them.
    pub const RATES: Self = Self(1 << 10);
    /// Its row of each beancounter.
    pub const BEANCOUNTERS: Self = Self(Self::DEFINITION.0 | Self::SWAP.0 | Self::HITS.0);

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What of a VE's control groups has to be read; `None`: nothing.
    fn want(self) -> Option<Want> {
        let parts = [
            (Self::SWAP, Want::LEVELS),
            (Self::WAITS, Want::WAITS),
            (Self::HITS, Want::ALL_HITS),
            (Self::IO, Want::IO),
        ];
        let asked = self.has(Self::USAGE) || self.has(Self::HITS);
        let all = parts.into_iter().filter(|(part, _)| self.has(*part));
        asked.then(|| all.fold(Want::GLANCE, |want, (_, more)| want.with(more)))
    }

    /// Are all of these among them?
    pub const fn has(self, these: Self) -> bool {
        self.0 & these.0 == these.0
    }
}

impl BitOr for Aspects {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.and(other)
    }
}

/// A VE as it was found. What wasn't asked for is as what isn't known: `None`, or empty.
#[derive(Debug, Clone, PartialEq)]
pub struct VeLook {
    /// Its number.
    pub id: VeId,
    /// What was allocated for it.
    pub record: Option<Allocated>,
    /// Its state.
    pub state: Option<State>,
    /// Init's process id on the host.
    pub pid: Option<u32>,
    /// For how long it has run.
    pub uptime: Option<Duration>,
    /// What it is to be.
    pub definition: Option<Effective>,
    /// Why nothing can be started, or not all be told, of it.
    pub problem: Option<String>,
    /// Its directory, and where its root is mounted when it is for repair.
    pub places: (PathBuf, PathBuf),
    /// What it uses; nothing if it doesn't run.
    pub usage: Option<Usage>,
    /// How often it ran into its limits.
    pub hits: Option<Hits>,
    /// How full its disk is.
    pub disk: disk::Usage,
    /// What it has read from its disk and written to it since its start.
    pub io: Option<DeviceIo>,
    /// What came to it and what left it since it was made.
    pub traffic: Option<(Amount, Amount)>,
    /// What it uses per second.
    pub rates: Option<Figures<Option<u64>>>,
}

/// What was allocated for a VE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocated {
    /// Its name.
    pub name: String,
    /// template/version.
    pub template: String,
    /// Its distribution family.
    pub family: String,
    /// What its disk is made of.
    pub driver: DriverName,
    /// The disk's size in bytes.
    pub disk_size: u64,
    /// Its interfaces.
    pub interfaces: Vec<Port>,
}

/// An interface of a VE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// What it is called inside.
    pub inside: String,
    /// What its end on the host is called.
    pub outside: String,
    /// Its hardware address inside.
    pub mac: Mac,
    /// The network it is on.
    pub network: NetworkName,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl VeLook {
    /// Its beancounters; `None` if they weren't asked for, or its definition can't be read.
    pub fn beancounters(&self) -> Option<Vec<Beancounter>> {
        let limits = &self.definition.as_ref()?.limits;
        let idle = Usage::default();
        let usage = self.usage.as_ref().unwrap_or(&idle);
        let hits = self.hits.unwrap_or_default();
        let level = |held, most, limit, hits| Level {
            held,
            most,
            limit,
            hits,
        };
        Some(beancounters(&Groups {
            memory: level(
                usage.memory,
                hits.memory_peak,
                limits.memory.limit.map(Bytes::get),
                hits.memory,
            ),
            swap: level(
                usage.swap,
                hits.swap_peak,
                limits.memory.swap.map(Bytes::get),
                hits.swap,
            ),
            processes: level(usage.processes, hits.processes_peak, limits.processes, hits.processes),
            guarantee: limits.memory.guarantee.map(Bytes::get),
            oom_kills: hits.oom_kills,
        }))
    }
}

/// What is the same for all VEs of a look.
#[derive(Debug, Default)]
struct Common {
    aspects: Aspects,
    flows: Option<HashMap<String, Vec<Reading>>>,
    rates: BTreeMap<VeId, Figures<Option<u64>>>,
}

impl Engine {
    /// Looks at all VEs, or at these. With it go those of these that there aren't.
    pub fn look(&self, which: Option<&[VeRef]>, aspects: Aspects) -> Result<(Vec<VeLook>, Vec<VeRef>)> {
        let host = &self.host;
        let mut missing = Vec::new();
        let ids = match which {
            None => ids_in(&host.dirs.ves())?,
            Some(list) => {
                let mut ids = Vec::new();
                for ve in list {
                    match host.locate(ve)? {
                        Some(found) if !ids.contains(&found.id) => ids.push(found.id),
                        Some(_) => {}
                        None => missing.push(ve.clone()),
                    }
                }
                ids
            }
        };
        let common = Common {
            aspects,
            flows: aspects.has(Aspects::TRAFFIC).then(|| self.meter().flows()).flatten(),
            rates: if aspects.has(Aspects::RATES) {
                self.rates()?
            } else {
                BTreeMap::new()
            },
        };
        let looks = shares::each(&ids, |ids| {
            let mut catalogue = Catalogue::default();
            ids.iter()
                .filter_map(|id| host.look_at(*id, &common, &mut catalogue))
                .collect()
        });
        Ok((looks, missing))
    }

    /// What each VE used in a moment, per second.
    fn rates(&self) -> Result<BTreeMap<VeId, Figures<Option<u64>>>> {
        let meter = self.meter();
        let before = meter.begin()?;
        std::thread::sleep(MOMENT);
        let rows = interval(&before, &meter.begin()?).rows;
        let of = |row: hostel_model::stat::Row| match row.kind {
            Kind::Ve(id) if row.ran => Some((id, Figures::each(|f| row.cells[f].used))),
            _ => None,
        };
        Ok(rows.into_iter().filter_map(of).collect())
    }
}

impl Host {
    /// `None`: it is no more.
    fn look_at(&self, id: VeId, common: &Common, catalogue: &mut Catalogue) -> Option<VeLook> {
        let mut look = VeLook {
            id,
            record: None,
            state: None,
            pid: None,
            uptime: None,
            definition: None,
            problem: None,
            places: (self.dirs.ve(id), self.dirs.mount(id)),
            usage: None,
            hits: None,
            disk: disk::Usage::default(),
            io: None,
            traffic: None,
            rates: common.rates.get(&id).copied(),
        };
        let state = match common.aspects.has(Aspects::RECORD).then(|| self.state_of(id)) {
            Some(Ok(None)) => return None,
            Some(Ok(Some(state))) => Some(state),
            Some(Err(e)) => {
                look.problem = Some(chain(&e));
                None
            }
            None => None,
        };
        self.look_at_paper(&mut look, state.as_ref(), common, catalogue);
        if common.aspects.has(Aspects::STATE) {
            self.look_at_life(&mut look, state.as_ref(), common.aspects);
        }
        Some(look)
    }

    /// What is written of it.
    fn look_at_paper(&self, look: &mut VeLook, state: Option<&VeState>, common: &Common, catalogue: &mut Catalogue) {
        let Some(state) = state else { return };
        let id = state.id;
        look.record = Some(Allocated {
            name: state.name.to_string(),
            template: state.template.clone(),
            family: state.family.to_string(),
            driver: state.driver,
            disk_size: state.disk_size,
            interfaces: state.interfaces.iter().map(|i| self.seen_port(id, i)).collect(),
        });
        if common.aspects.has(Aspects::DEFINITION) {
            match self.effective(&state.name, catalogue) {
                Ok(effective) => {
                    look.problem = self.suspension(&effective.tenant, catalogue);
                    look.definition = Some(effective);
                }
                Err(e) => look.problem = Some(chain(&e)),
            }
        }
        if let Some(flows) = &common.flows {
            let names = self.interface_names(id, &state.numbers()).into_iter();
            let own = names.filter_map(|name| flows.get(&name)).flatten().cloned().collect();
            look.traffic = self.traffic_with(id, own).ok().map(|traffic| {
                let totals = traffic.totals();
                let sum = |way: Direction| {
                    let flows = totals.iter().filter(|(flow, _)| flow.direction == way);
                    flows.fold(Amount::default(), |sum, (_, amount)| sum.plus(*amount))
                };
                (sum(Direction::In), sum(Direction::Out))
            });
        }
    }

    fn seen_port(&self, id: VeId, interface: &InterfaceState) -> Port {
        Port {
            inside: interface.guest_name(),
            outside: self.interface_name(id, interface),
            mac: interface.mac,
            network: interface.network.clone(),
            addresses: interface.addresses.clone(),
        }
    }

    /// What the kernel tells of it.
    fn look_at_life(&self, look: &mut VeLook, state: Option<&VeState>, aspects: Aspects) {
        let id = look.id;
        let (init, now) = match self.reality(id) {
            Ok(reality) => (reality.init, reality.state),
            Err(e) => {
                look.problem.get_or_insert_with(|| chain(&e));
                return;
            }
        };
        look.state = Some(now);
        look.pid = init.map(|init| init.pid);
        look.uptime = init.and_then(|init| self.guests.age(init));
        if let (Some(want), Some(_)) = (aspects.want(), init)
            && let Ok((usage, hits)) = self.cgroups.measure(id, want)
        {
            (look.usage, look.hits) = (Some(usage), Some(hits));
        }
        let Some(state) = state else { return };
        if aspects.has(Aspects::DISK) && (init.is_some() || now == State::Stopped) {
            let root = init.map(|init| self.root_of(init));
            look.disk = self.disks.get(state.driver).look(&self.dirs.ve(id), root.as_ref());
        }
        if aspects.has(Aspects::IO) {
            let usage = look.usage.as_ref();
            look.io = usage.and_then(|usage| match state.driver {
                DriverName::Image => loops(usage),
                driver => usage.io_on(&self.disks.get(driver).devices(&self.dirs.ve(id)).ok()?),
            });
        }
    }
}
