//! Readings of what the host and its VEs use: `hostel stat` and whatever else is told of them live. Read from the
//! kernel, by nobody's leave: no lock, no program run, and no file written.

mod seen;
mod ve;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Instant;

use hostel_model::id::VeId;
use hostel_model::stat::{Figure, Figures, HostReading, Snapshot};
use hostel_model::traffic;
use hostel_system::cgroup::Hits;
use hostel_system::load;

pub(crate) use seen::Seen;

use super::Engine;
use crate::error::Result;
use crate::shares;
use crate::ve::registry::ids_in;

/// Counters of traffic, by interface.
type Flows = HashMap<String, Vec<traffic::Reading>>;

/// Takes readings whose times can be compared with each other.
#[derive(Debug)]
pub struct Meter<'a> {
    engine: &'a Engine,
    began: Instant,
}

/// What is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// What counters need, and no definition.
    Counters,
    All,
    /// Also what limits have done.
    Limits,
}

impl Engine {
    /// Begins to measure.
    pub fn meter(&self) -> Meter<'_> {
        Meter {
            engine: self,
            began: Instant::now(),
        }
    }
}

impl Meter<'_> {
    /// Everything at this moment.
    pub fn read(&self) -> Result<Snapshot> {
        self.look(Depth::All).map(|(now, _)| now)
    }

    /// Also how often VEs that run have run into their limits.
    pub fn read_with_limits(&self) -> Result<(Snapshot, BTreeMap<VeId, Hits>)> {
        self.look(Depth::Limits)
    }

    /// What an interval can begin with: counters, but neither definitions nor disks. It costs a third. Definitions are read
    /// when that is done, in the time that is waited for the end of the interval.
    pub fn begin(&self) -> Result<Snapshot> {
        let (now, _) = self.look(Depth::Counters)?;
        let ids: Vec<VeId> = now.ves.keys().copied().collect();
        shares::each(&ids, |ids| self.acquaint(ids));
        Ok(now)
    }

    fn look(&self, depth: Depth) -> Result<(Snapshot, BTreeMap<VeId, Hits>)> {
        let host = &self.engine.host;
        let ids = ids_in(&host.dirs.ves())?;
        self.engine.seen.begin(host, &ids);
        let flows = self.flows();
        let ves = shares::each(&ids, |ids| self.ves(ids, depth, flows.as_ref()));
        let mut now = Snapshot {
            host: self.host(),
            ves: BTreeMap::new(),
        };
        let mut all = BTreeMap::new();
        for (id, ve, hits) in ves {
            if ve.life.is_some() {
                all.insert(id, hits);
            }
            now.ves.insert(id, ve);
        }
        Ok((now, all))
    }

    /// All counters of traffic by one look; `None` if they can't be read.
    pub(super) fn flows(&self) -> Option<Flows> {
        let host = &self.engine.host;
        let mut flows = Flows::new();
        for reading in host.counters.read(&host.traffic_table(), None).ok()? {
            flows.entry(reading.interface.clone()).or_default().push(reading);
        }
        Some(flows)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn host(&self) -> HostReading {
        let host = &self.engine.host;
        // The kernel's settings are in /proc too, wherever that is mounted.
        let proc = host.proc_sys.parent().unwrap_or(Path::new("/proc"));
        // Processor time is the first that is read, and on a busy host the rest may take long.
        let at_ns = self.now_ns();
        let load = load::read(proc, Path::new("/sys"), &host.dirs.ves());
        let figures = Figures::each(|f| match f {
            Figure::Cpu => load.cpu_ns,
            Figure::Memory => load.memory,
            Figure::Swap => load.swap,
            Figure::Disk => load.disk,
            Figure::Read => load.io.map(|io| io.read_bytes),
            Figure::Write => load.io.map(|io| io.write_bytes),
            Figure::ReadOps => load.io.map(|io| io.read_ops),
            Figure::WriteOps => load.io.map(|io| io.write_ops),
            Figure::In | Figure::Out => None,
            Figure::Processes => load.processes,
        });
        let sizes = Figures::each(|f| match f {
            Figure::Cpu => load.processors?.checked_mul(1_000_000),
            Figure::Memory => load.memory_size,
            Figure::Swap => load.swap_size,
            Figure::Disk => load.disk_size,
            Figure::Processes => load.processes_max,
            _ => None,
        });
        HostReading { at_ns, figures, sizes }
    }
}
