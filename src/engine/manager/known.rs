//! What need not be read anew for each look at a VE, as long as its files are the same.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hostel_model::definition::DriverName;
use hostel_model::id::VeId;
use hostel_model::state::State;
use hostel_model::traffic::{Amount, Reading as Counter, Traffic};
use hostel_model::usage::Terms;
use hostel_system::cgroup::{BlockDevice, DeviceIo, Hits, Usage};
use hostel_system::disk::Root;
use hostel_system::process::{Init, Lifeline, raise_open_files};

use crate::error::Result;
use crate::host::Host;
use crate::ledger::{Eyes, METERED, Passed};
use crate::lock::{NOTE, Subject};
use crate::ve::counting;
use crate::ve::reality::Reality;
use crate::ve::record::{RunRecord, STATE, VeState};
use crate::ve::stamp::{Stamp, stamp};

/// How many descriptors are held, where the host lets us: one for each VE that runs.
const DESCRIPTORS: u64 = 65_536;

/// How exactly the beginning of a run is known, with room to spare: the kernel tells it to 10 ms.
const SLACK: u64 = 50_000_000;

/// One VE.
#[derive(Debug, Default)]
pub struct Entry {
    state: Option<(Arc<VeState>, Stamp)>,
    /// The terms, and the versions of definition and plan that they are from.
    terms: Option<(Arc<Terms>, [Stamp; 2])>,
    /// The run that is under way, as noted.
    run: Option<(RunRecord, Stamp)>,
    /// The init of the run that was looked at last.
    looked_at: Option<Init>,
    /// Its init, held.
    line: Option<Lifeline>,
    /// What was noted of that init's root.
    root: Option<(Init, u64)>,
    /// What was read of its control groups in that run.
    measured: Option<(Init, (Usage, Hits))>,
    /// What is written of its traffic.
    traffic: Option<(Traffic, Stamp)>,
    /// Its counters as they were read at the last look, if something of them isn't written down.
    counters: Option<Remembered>,
}

/// Counters of a run.
#[derive(Debug)]
struct Remembered {
    init: Init,
    counters: Vec<Counter>,
    /// The version of what was written of its traffic that was there after they had been read.
    noted: Stamp,
}

/// All that were looked at.
#[derive(Debug)]
pub struct Known {
    entries: Mutex<BTreeMap<VeId, Entry>>,
    /// Of a look at all: versions of plans, and the disks below a driver's directories, which are the same for all VEs.
    plans: Mutex<BTreeMap<String, Stamp>>,
    below: Mutex<Vec<(DriverName, Option<Vec<BlockDevice>>)>>,
    /// The number that a descriptor of a VE's init must be below: the rest is for all else.
    room: i64,
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked with it has left entries that are whole.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// Nothing yet. `stays`: what is known is used again and again.
    pub fn new(stays: bool) -> Self {
        let most = raise_open_files(if stays { DESCRIPTORS } else { 0 });
        Self {
            entries: Mutex::default(),
            plans: Mutex::default(),
            below: Mutex::default(),
            room: i64::try_from(most / 2).unwrap_or(i64::MAX),
        }
    }

    /// A look at all begins: those that are no more are forgotten.
    pub fn begin(&self, there: &[VeId]) {
        locked(&self.entries).retain(|id, _| there.binary_search(id).is_ok());
        locked(&self.plans).clear();
        locked(&self.below).clear();
    }

    /// What is known of a VE; give it back with [`Known::put`].
    pub fn take(&self, id: VeId) -> Entry {
        locked(&self.entries).remove(&id).unwrap_or_default()
    }

    /// Those that are known.
    pub fn ids(&self) -> Vec<VeId> {
        locked(&self.entries).keys().copied().collect()
    }

    /// Keeps it for the next time.
    pub fn put(&self, id: VeId, entry: Entry) {
        locked(&self.entries).insert(id, entry);
    }

    fn plan(&self, host: &Host, terms: &Terms) -> Stamp {
        if let Some(stamp) = locked(&self.plans).get(&terms.plan) {
            return *stamp;
        }
        let stamp = stamp(&host.dirs.definitions("plans").join(format!("{}.toml", terms.plan)));
        locked(&self.plans).insert(terms.plan.clone(), stamp);
        stamp
    }
}

impl Entry {
    /// Does its init live, as far as is known?
    pub fn lives(&self) -> bool {
        self.line.as_ref().is_some_and(Lifeline::lives)
    }

    /// A VE's record; `None` if there is no such VE.
    pub fn state(&mut self, host: &Host, id: VeId) -> Result<Option<Arc<VeState>>> {
        let now = stamp(&host.dirs.ve(id).join(STATE));
        let same = |(_, read): &&(_, Stamp)| now.is_some() && *read == now;
        if let Some((state, _)) = self.state.as_ref().filter(same) {
            return Ok(Some(Arc::clone(state)));
        }
        self.state = host.state_of(id)?.map(|state| (Arc::new(state), now));
        Ok(self.state.as_ref().map(|(state, _)| Arc::clone(state)))
    }

    /// Its terms, if its definition can be read.
    pub fn terms(&mut self, known: &Known, host: &Host, state: &VeState) -> Option<Arc<Terms>> {
        let definition = stamp(&host.dirs.definition(&state.name));
        let current = |(terms, [d, p]): &&(Arc<Terms>, [Stamp; 2])| {
            // Whose it is, its record says, and that may have changed.
            let tenant = state
                .tenant
                .as_ref()
                .is_none_or(|tenant| tenant.as_str() == terms.tenant);
            tenant && *d == definition && *p == known.plan(host, terms)
        };
        if self.terms.as_ref().filter(current).is_none() {
            self.terms = host.terms_of(state).map(|terms| {
                let from = [definition, known.plan(host, &terms)];
                (terms, from)
            });
        }
        self.terms.as_ref().map(|(terms, _)| Arc::clone(terms))
    }

    /// What has passed its interfaces, with its counters as they were read at that time.
    pub fn passed(&mut self, host: &Host, id: VeId, counters: &[Counter], from_ns: u64) -> Option<Passed> {
        self.read_noted(host, id).ok()?;
        // Counters that have gone with what nobody had written down: somebody has flushed the rules. What can't be written
        // down now is told when it can.
        let same = |a: &Counter, b: &Counter| a.mark == b.mark && a.interface == b.interface && a.flow == b.flow;
        let gone = |counter: &Counter| !counters.iter().any(|now| same(now, counter));
        if self.remembers(host, &gone) {
            self.note(host, id).ok().filter(|noted| *noted)?;
        }
        let (traffic, _) = self.traffic.as_ref()?;
        Some(Passed::of(traffic, counters, from_ns))
    }

    fn read_noted(&mut self, host: &Host, id: VeId) -> Result<()> {
        let now = stamp(&counting::path(&host.dirs.ve(id)));
        if self.traffic.as_ref().is_none_or(|(_, read)| *read != now) {
            self.traffic = Some((host.noted_traffic(id)?, now));
        }
        Ok(())
    }

    /// Are there such counters, of the run that goes on, that have more than what is written down?
    fn remembers(&self, host: &Host, which: &dyn Fn(&Counter) -> bool) -> bool {
        let Some(last) = &self.counters else { return false };
        let noted = |counter: &Counter| self.traffic.as_ref().is_some_and(|(traffic, _)| traffic.has(counter));
        let mut counters = last.counters.iter().filter(|counter| !noted(counter));
        counters.any(which) && self.runs(host, last.init)
    }

    fn runs(&self, host: &Host, init: Init) -> bool {
        match &self.line {
            Some(line) if line.init() == init => line.lives(),
            _ => host.guests.alive(init),
        }
    }

    /// Keeps of its counters, as they were just read of a run that goes on, what isn't written down.
    pub fn remember(&mut self, mut counters: Vec<Counter>) {
        let (Some((run, _)), Some((traffic, noted))) = (&self.run, &self.traffic) else {
            self.counters = None;
            return;
        };
        counters.retain(|counter| counter.amount != Amount::default() && !traffic.has(counter));
        counters.shrink_to_fit();
        self.counters = (!counters.is_empty()).then_some(Remembered {
            init: run.init,
            counters,
            noted: *noted,
        });
    }

    /// Its counters, of all that were read at that time, and when they were. If the run that goes on had not begun then, those
    /// are of what had the same number, or of a run before: its own are read anew. What doesn't run has none, and all of it is
    /// written down.
    pub fn counters(
        &mut self,
        (known, host): (&Known, &Host),
        state: &VeState,
        (counters, from_ns): (Vec<Counter>, u64),
    ) -> Option<(Vec<Counter>, u64)> {
        let Some((init, true)) = self.hold(host, state.id, known.room) else {
            return Some((Vec::new(), from_ns));
        };
        let had_begun = || host.run_of(init, &host.moment()).began_ns.saturating_add(SLACK) < from_ns;
        if self.looked_at.replace(init) == Some(init) || had_begun() {
            return Some((counters, from_ns));
        }
        host.counters_of(state)
    }

    /// Nothing is kept of a run that is over.
    pub fn forget(&mut self) {
        self.counters = None;
    }

    /// Writes down what its counters had at the last look, so that it outlives them. False: somebody works on the VE, and
    /// it isn't to wait for us.
    pub fn note(&mut self, host: &Host, id: VeId) -> Result<bool> {
        if !self.remembers(host, &|_| true) {
            return Ok(true);
        }
        let Some(_lock) = host.locks.take_free(Subject::Ve(id), NOTE)? else {
            return Ok(false);
        };
        self.read_noted(host, id)?;
        let (Some(last), Some((traffic, now))) = (&self.counters, &self.traffic) else {
            return Ok(true);
        };
        // What was written since by others is of these counters, or else of others that came after them, and has what these
        // had. With the lock held, a run that goes on has had nothing noted of its end.
        let mut of_it = last.counters.clone();
        of_it.retain(|counter| (last.noted == *now || traffic.knows(counter)) && !traffic.has(counter));
        if self.runs(host, last.init) && !of_it.is_empty() {
            host.write_traffic(id, &of_it)?;
            self.read_noted(host, id)?;
        }
        Ok(true)
    }

    /// The init that is noted, held if that can be, and whether it lives.
    fn hold(&mut self, host: &Host, id: VeId, room: i64) -> Option<(Init, bool)> {
        // While it lives, no other run of the VE can be noted.
        if let Some(line) = self.line.as_ref().filter(|line| line.lives()) {
            return Some((line.init(), true));
        }
        let now = stamp(&host.dirs.run(id).join("run.json"));
        if self.run.as_ref().is_none_or(|(_, read)| now.is_none() || *read != now) {
            self.run = host.run_record(id).map(|record| (record, now));
        }
        let init = self.run.as_ref()?.0.init;
        let line = host.guests.hold(init);
        let lives = line.is_some() || host.guests.alive(init);
        self.line = line.filter(|line| i64::from(line.as_raw_fd()) < room);
        Some((init, lives))
    }
}

/// Looks at a VE with what is known of it.
pub struct Look<'a> {
    pub known: &'a Known,
    pub entry: &'a mut Entry,
}

impl Eyes for Look<'_> {
    fn reality(&mut self, host: &Host, id: VeId) -> Result<Reality> {
        match self.entry.hold(host, id, self.known.room) {
            Some((init, true)) => Ok(Reality {
                state: if host.is_frozen(id)? {
                    State::Paused
                } else {
                    State::Running
                },
                init: Some(init),
                remains: false,
            }),
            _ => host.reality(id),
        }
    }

    fn alive(&mut self, host: &Host, init: Init) -> bool {
        match &self.entry.line {
            Some(line) if line.init() == init => line.lives(),
            _ => host.guests.alive(init),
        }
    }

    fn measure(&mut self, host: &Host, id: VeId, init: Init) -> Result<(Usage, Hits)> {
        let last = self.entry.measured.take().filter(|(of, _)| *of == init);
        let now = match &last {
            Some((_, last)) => host.cgroups.measure_again(id, METERED, last)?,
            None => host.cgroups.measure(id, METERED)?,
        };
        self.entry.measured = Some((init, now.clone()));
        Ok(now)
    }

    fn root(&mut self, host: &Host, id: VeId, init: Init) -> Root {
        if let Some((_, device)) = self.entry.root.filter(|(of, _)| *of == init) {
            return Root {
                device: Some(device),
                ..host.root_of(init)
            };
        }
        let root = host.sure_root_of(id, init);
        self.entry.root = root.device.map(|device| (init, device));
        root
    }

    fn io(&mut self, host: &Host, state: &VeState, usage: &Usage) -> Option<DeviceIo> {
        if state.driver == DriverName::Image {
            return host.io_of(state, usage);
        }
        let known = |driver| {
            let below = locked(&self.known.below);
            below
                .iter()
                .find(|(d, _)| *d == driver)
                .map(|(_, devices)| devices.clone())
        };
        let devices = known(state.driver).unwrap_or_else(|| {
            // Without the lock: this may hang as the disk does, and that is no other VE's trouble.
            let devices = host.io_devices(state, None).ok();
            locked(&self.known.below).push((state.driver, devices.clone()));
            devices
        });
        usage.io_on(&devices?)
    }

    fn sees_disks(&self) -> bool {
        true
    }
}
