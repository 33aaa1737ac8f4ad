//! Taking readings of VEs.

use std::collections::BTreeMap;
use std::sync::Arc;

use hostel_model::id::VeId;
use hostel_model::resolve::Effective;
use hostel_model::state::State;
use hostel_model::traffic::{Amount, Flow, Reading as Counter, Traffic};
use hostel_model::usage::{CLOCK_SET_NS, Condition, Counter as Meter, Level, Moment, Owner, Reading, Run, Terms};
use hostel_system::cgroup::{DeviceIo, Hits, Pressure, Usage, Want};
use hostel_system::disk::{self, Root};
use hostel_system::process::Init;
use sha2::{Digest, Sha256};

use super::record::hex;
use crate::error::Result;
use crate::host::Host;
use crate::ve::reality::Reality;
use crate::ve::record::{RunRecord, VeState};
use crate::ve::registry::Catalogue;

/// The keys of a definition that are limits: these, and all below them.
const LIMITS: [&str; 7] = ["cpu", "memory", "io", "disk.size", "disk.inodes", "processes", "net"];

/// What has passed a VE's interfaces since it was made.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// By flow.
    pub flows: Vec<(Flow, Amount)>,
    /// Which sums these are.
    pub of: String,
    /// When the first of it was read, in nanoseconds since the host's boot.
    pub from_ns: u64,
}

impl Passed {
    /// What was written down, and what counters have counted since, which were read at that time and before it.
    pub fn of(noted: &Traffic, counters: &[Counter], from_ns: u64) -> Self {
        Self {
            flows: noted.totals_with(counters),
            of: noted.name().to_owned(),
            from_ns,
        }
    }
}

/// What is read of control groups for the ledger.
pub(crate) const METERED: Want = Want::USAGE;

/// How a VE is looked at: by who sees it for the first time, or by who knows it from before.
pub(crate) trait Eyes {
    /// How it is.
    fn reality(&mut self, host: &Host, id: VeId) -> Result<Reality>;
    /// Does its init live?
    fn alive(&mut self, host: &Host, init: Init) -> bool;
    /// What its control groups tell, of the run of this init.
    fn measure(&mut self, host: &Host, id: VeId, init: Init) -> Result<(Usage, Hits)>;
    /// What went to and from its disk.
    fn io(&mut self, host: &Host, state: &VeState, usage: &Usage) -> Option<DeviceIo>;
    /// The root of its init.
    fn root(&mut self, host: &Host, id: VeId, init: Init) -> Root {
        host.sure_root_of(id, init)
    }
    /// Is its disk looked at? That may take as long as the disk likes.
    fn sees_disks(&self) -> bool;
}

/// All is looked up.
pub(crate) struct Afresh {
    /// Its disk, too.
    pub disk: bool,
}

impl Eyes for Afresh {
    fn reality(&mut self, host: &Host, id: VeId) -> Result<Reality> {
        host.reality(id)
    }

    fn alive(&mut self, host: &Host, init: Init) -> bool {
        host.guests.alive(init)
    }

    fn measure(&mut self, host: &Host, id: VeId, _: Init) -> Result<(Usage, Hits)> {
        Ok(host.cgroups.measure(id, METERED)?)
    }

    fn io(&mut self, host: &Host, state: &VeState, usage: &Usage) -> Option<DeviceIo> {
        host.io_of(state, usage)
    }

    fn sees_disks(&self) -> bool {
        self.disk
    }
}

/// The terms that a definition comes to.
pub(crate) fn terms(ve: &Effective) -> Terms {
    let is_limit = |key: &str| {
        LIMITS.iter().any(|limit| {
            key.strip_prefix(limit)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let limits = ve.settings().into_iter().filter(|(key, ..)| is_limit(key));
    Terms {
        name: ve.name.to_string(),
        tenant: ve.tenant.to_string(),
        plan: ve.plan.to_string(),
        limits: limits.map(|(key, value, _)| (key, value)).collect(),
    }
}

/// Which VE it is for all time. What its machine id is made from is nobody's business, and can't be told from this.
pub(crate) fn life(state: &VeState) -> String {
    let hash = Sha256::digest(format!("hostel ledger\n{}\n{}", state.id, state.seed));
    hex(&hash[..16])
}

fn set_traffic(reading: &mut Reading, passed: Option<Passed>) {
    if let Some(passed) = passed {
        reading.traffic_ns = passed.from_ns;
        reading.traffic_of = passed.of;
        reading.traffic = Some(passed.flows);
    }
}

fn set_disk(reading: &mut Reading, disk: &disk::Usage) {
    reading.levels[Level::Disk as usize] = disk.used;
    reading.levels[Level::Inodes as usize] = disk.inodes_used;
    reading.levels[Level::DiskFull as usize] = disk.full().map(Into::into);
}

/// The counters of a run, and the levels of what runs.
fn fill(reading: &mut Reading, usage: &Usage, hits: &Hits, io: Option<DeviceIo>) {
    let some = |p: Option<Pressure>| p.map(|p| p.some_us);
    let full = |p: Option<Pressure>| p.and_then(|p| p.full_us);
    let counters = [
        (Meter::Cpu, usage.cpu.total_ns),
        (Meter::CpuUser, usage.cpu.user_ns),
        (Meter::CpuSystem, usage.cpu.system_ns),
        (Meter::Throttled, usage.throttled.map(|t| t.ns)),
        (Meter::CapPeriods, usage.throttled.map(|t| t.periods)),
        (Meter::CapHits, usage.throttled.map(|t| t.throttled)),
        (Meter::ReadBytes, io.map(|io| io.read_bytes)),
        (Meter::WriteBytes, io.map(|io| io.write_bytes)),
        (Meter::ReadOps, io.map(|io| io.read_ops)),
        (Meter::WriteOps, io.map(|io| io.write_ops)),
        (Meter::OomKills, hits.oom_kills),
        (Meter::ForksRefused, hits.processes),
        (Meter::MemoryHits, hits.memory),
        (Meter::CpuSome, some(usage.cpu_pressure)),
        (Meter::CpuFull, full(usage.cpu_pressure)),
        (Meter::MemorySome, some(usage.memory_pressure)),
        (Meter::MemoryFull, full(usage.memory_pressure)),
        (Meter::IoSome, some(usage.io_pressure)),
        (Meter::IoFull, full(usage.io_pressure)),
    ];
    for (counter, value) in counters {
        reading.counters[counter as usize] = value;
    }
    reading.memory_peak = usage.memory_peak;
}

impl Host {
    /// Now.
    pub(crate) fn moment(&self) -> Moment {
        let (wall_ns, up_ns) = (self.moments)();
        Moment {
            wall_ns,
            boot: self.boot_id.clone(),
            up_ns,
        }
    }

    /// A reading that says nothing yet but when, how it is, and whose.
    fn bare(&self, state: &VeState, at: Moment, condition: Condition) -> Reading {
        let owner = Owner {
            name: state.name.to_string(),
            tenant: state.tenant.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        Reading {
            owner,
            // What is up for longer has waited for its clock for long enough.
            unsure: at.up_ns < CLOCK_SET_NS && !(self.clock_is_set)(),
            ..Reading::bare(life(state), state.id.get(), at, condition)
        }
    }

    /// The run that began with this init.
    pub(crate) fn run_of(&self, init: Init, now: &Moment) -> Run {
        let age = self.guests.age(init).unwrap_or_default();
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        Run {
            pid: init.pid,
            ticks: init.start_time,
            began_ns: now.up_ns.saturating_sub(age),
        }
    }

    /// All that can be measured of a VE now. `None`: it has ended just now, or that can't be told; whoever looks next knows.
    pub(crate) fn measure(
        &self,
        state: &VeState,
        terms: Option<Arc<Terms>>,
        traffic: Option<Passed>,
    ) -> Option<Reading> {
        let measured = self.measure_with(state, terms, traffic, &mut Afresh { disk: true });
        measured.ok().flatten()
    }

    /// The same by who knows something of it already, and tells why it can't be told.
    pub(crate) fn measure_with(
        &self,
        state: &VeState,
        terms: Option<Arc<Terms>>,
        traffic: Option<Passed>,
        eyes: &mut dyn Eyes,
    ) -> Result<Option<Reading>> {
        // Before anything is looked at: a reading is never of a later time than the end of what it is of.
        let at = self.moment();
        let reality = eyes.reality(self, state.id)?;
        let condition = match reality.state {
            _ if reality.remains => return Ok(Some(self.left_over(state, at, eyes))),
            State::Running => Condition::Running,
            State::Paused => Condition::Paused,
            State::Suspended => Condition::Suspended,
            State::Stopped | State::Mounted | State::Broken => Condition::Stopped,
        };
        let mut reading = self.bare(state, at, condition);
        if let Some(init) = reality.init {
            reading.run = Some(self.run_of(init, &reading.at));
            if let Ok((usage, hits)) = eyes.measure(self, state.id, init) {
                fill(&mut reading, &usage, &hits, eyes.io(self, state, &usage));
                reading.levels[Level::Memory as usize] = usage.memory;
                reading.levels[Level::Swap as usize] = usage.swap;
                reading.levels[Level::Processes as usize] = usage.processes;
            }
        }
        if eyes.sees_disks() {
            let root = reality.init.map(|init| eyes.root(self, state.id, init));
            let disks = self.disks.get(state.driver);
            set_disk(&mut reading, &disks.look(&self.dirs.ve(state.id), root.as_ref()));
        }
        reading.terms = terms;
        set_traffic(&mut reading, traffic);
        reading.until_ns = (self.moments)().1;
        Ok(match reality.init {
            Some(init) if !eyes.alive(self, init) => None,
            _ => Some(reading),
        })
    }

    /// Of a VE that has ended, and after which nobody may clear up for days: what [`Host::note_last`] notes then once more,
    /// which adds nothing. So it isn't taken for one that runs until then. Where no run is noted, what its groups count may be
    /// of one that is about to begin.
    fn left_over(&self, state: &VeState, at: Moment, eyes: &mut dyn Eyes) -> Reading {
        let mut reading = self.ended(state, at);
        if let Some(record) = self.run_record(state.id) {
            reading.run = Some(self.run_of(record.init, &reading.at));
            if let Ok((usage, hits)) = eyes.measure(self, state.id, record.init) {
                fill(&mut reading, &usage, &hits, eyes.io(self, state, &usage));
            }
        }
        reading.until_ns = (self.moments)().1;
        reading
    }

    /// What has passed a VE's interfaces; `None` if that can't be told.
    pub(crate) fn passed(&self, state: &VeState) -> Option<Passed> {
        let (counters, from_ns) = self.counters_of(state)?;
        self.passed_with(state.id, &counters, from_ns)
    }

    /// The counters of a VE's interfaces, and when they were read.
    pub(crate) fn counters_of(&self, state: &VeState) -> Option<(Vec<Counter>, u64)> {
        let from_ns = self.moment().up_ns;
        let names = self.interface_names(state.id, &state.numbers());
        let counters = self.counters.read(&self.traffic_table(), Some(&names)).ok()?;
        Some((counters, from_ns))
    }

    /// The same with its counters as they were read at that time.
    pub(crate) fn passed_with(&self, id: VeId, counters: &[Counter], from_ns: u64) -> Option<Passed> {
        Some(Passed::of(&self.noted_traffic(id).ok()?, counters, from_ns))
    }

    /// The counters of all interfaces by VE, with one look.
    pub(crate) fn counters_by_ve(&self) -> Result<BTreeMap<VeId, Vec<Counter>>> {
        let mut by_ve: BTreeMap<VeId, Vec<Counter>> = BTreeMap::new();
        for counter in self.counters.read(&self.traffic_table(), None)? {
            if let Some(id) = self.config.interface_prefix.id_of(&counter.interface) {
                by_ve.entry(id).or_default().push(counter);
            }
        }
        Ok(by_ve)
    }

    /// The terms of a VE, as its definition says now. Whose it is, its record knows better: another tenant that was
    /// written into the definition by hand hasn't got it yet.
    pub(crate) fn terms_of(&self, state: &VeState) -> Option<Arc<Terms>> {
        let ve = self.effective(&state.name, &mut Catalogue::default()).ok()?;
        let mut terms = terms(&ve);
        if let Some(tenant) = &state.tenant {
            terms.tenant = tenant.to_string();
        }
        Some(Arc::new(terms))
    }

    /// Notes how a VE is and what it has used, as something about it changes. Never fails: an operation must not, for the
    /// sake of this. `terms`: what holds from now on, if that may be new.
    pub(crate) fn note_usage(&self, state: &VeState, terms: Option<Arc<Terms>>) {
        if let Some(reading) = self.measure(state, terms, self.passed(state)) {
            self.note(&reading);
        }
    }

    /// Notes how a VE is, whatever of it has just changed: it has been paused, say.
    pub(crate) fn note_change(&self, id: VeId) {
        if let Ok(state) = self.state(id) {
            self.note_usage(&state, self.terms_of(&state));
        }
    }

    /// Notes how a VE is that is about to be ended: what it has in memory can't be told afterwards.
    pub(crate) fn note_ending(&self, id: VeId) {
        if let Ok(state) = self.state(id)
            && let Some(reading) = self.measure(&state, None, None)
        {
            self.note(&reading);
        }
    }

    /// Notes that a VE has begun to run: what holds from now on. Its counters begin at nothing, and needn't be read.
    pub(crate) fn note_begin(&self, state: &VeState, terms: Option<Arc<Terms>>) {
        let now = self.moment();
        let mut reading = self.bare(state, now, Condition::Running);
        let Some(record) = RunRecord::read(&self.dirs.run(state.id)) else {
            return;
        };
        reading.run = Some(self.run_of(record.init, &reading.at));
        reading.terms = terms;
        self.note(&reading);
    }

    /// Notes that a VE was made: nothing has passed its interfaces yet.
    pub(crate) fn note_birth(&self, state: &VeState) {
        if let Some(reading) = self.measure(state, self.terms_of(state), Some(Passed::default())) {
            self.note(&reading);
        }
    }

    /// Notes that a VE is no more.
    pub(crate) fn note_gone(&self, state: &VeState) {
        let reading = self.bare(state, self.moment(), Condition::Gone);
        self.note(&reading);
    }

    /// Notes the last counters of a VE that has ended, before its groups go. Gives the run, for [`Host::note_after`];
    /// `None` if there is nothing to note.
    pub(crate) fn note_last(&self, id: VeId) -> Option<(VeState, Option<Run>)> {
        if !self.cgroups.exists(id) {
            return None;
        }
        let state = self.state(id).ok()?;
        let mut reading = self.ended(&state, self.moment());
        let record = RunRecord::read(&self.dirs.run(id)).filter(|record| record.boot_id == self.boot_id);
        reading.run = record.map(|record| self.run_of(record.init, &reading.at));
        // What can't be read is lost, but that it has ended is not.
        if let Ok((usage, hits)) = self.cgroups.measure(id, METERED) {
            fill(&mut reading, &usage, &hits, self.io_of(&state, &usage));
        }
        reading.until_ns = self.moment().up_ns;
        self.note(&reading);
        Some((state, reading.run))
    }

    /// Notes what is known when all of a run has been cleared up: what has passed its interfaces, and the disk it leaves.
    pub(crate) fn note_after(&self, (state, run): (VeState, Option<Run>)) {
        let mut reading = self.ended(&state, self.moment());
        reading.run = run;
        set_traffic(&mut reading, self.passed(&state));
        reading.until_ns = self.moment().up_ns;
        let disk = self.disks.get(state.driver).look(&self.dirs.ve(state.id), None);
        set_disk(&mut reading, &disk);
        self.note(&reading);
    }

    fn ended(&self, state: &VeState, at: Moment) -> Reading {
        let suspended = self.is_suspended(state.id);
        let condition = if suspended {
            Condition::Suspended
        } else {
            Condition::Stopped
        };
        self.bare(state, at, condition)
    }
}
