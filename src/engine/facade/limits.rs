//! How near a VE is to its limits, and how often it has run into them: `hostel limits`.

use std::time::Duration;

use hostel_model::bandwidth::Bandwidth;
use hostel_model::quantity::Unit;
use hostel_model::request::VeRef;
use hostel_model::resolve::Effective;
use hostel_model::state::State;
use hostel_model::units::Bytes;
use hostel_model::usage::{Counter, Level};
use hostel_system::cgroup::{Hits, Usage};
use hostel_system::disk;
use hostel_system::kernel_log::{OomKill, oom_kills};
use hostel_system::process::Init;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::pace::Pace;
use super::{Engine, Progress};
use crate::error::{Result, chain};
use crate::host::Host;
use crate::ledger::Ever;
use crate::ve::record::VeState;
use crate::ve::registry::{Catalogue, unknown_ve};

/// For how long a VE is watched for what passes in a second: two periods of its cap.
const WATCH: Duration = Duration::from_millis(200);

/// A limit of a VE. `None`: unknown, or not told by this kernel; for `limit`: there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitUse {
    /// Its key in a definition: `memory.limit`.
    pub key: String,
    /// What its amounts are counted in.
    pub unit: Unit,
    /// In use now.
    pub held: Option<u64>,
    /// The most at any time, as far as the ledger goes; of what it doesn't tell, since the VE's start.
    pub most: Option<u64>,
    /// The limit.
    pub limit: Option<u64>,
    /// How often it stood in the way; as far back as `most`.
    pub hits: Option<u64>,
    /// What of that was a process killed.
    pub kills: Option<u64>,
    /// When it did so last, in seconds since 1970: as the kernel's log tells, or the end of the record of the ledger that
    /// it is in. It may have been in an earlier run.
    pub last: Option<i64>,
}

impl LimitUse {
    /// One of which nothing is known.
    fn of(key: impl Into<String>, unit: Unit) -> Self {
        Self {
            key: key.into(),
            unit,
            held: None,
            most: None,
            limit: None,
            hits: None,
            kills: None,
            last: None,
        }
    }

    fn at_most(self, limit: Option<u64>) -> Self {
        Self { limit, ..self }
    }
}

impl Serialize for LimitUse {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        let amount = |n: Option<u64>| n.map(|n| self.unit.of(n));
        let mut one = s.serialize_struct("LimitUse", 8)?;
        one.serialize_field("key", &self.key)?;
        one.serialize_field("unit", &self.unit)?;
        one.serialize_field("held", &amount(self.held))?;
        one.serialize_field("most", &amount(self.most))?;
        one.serialize_field("limit", &amount(self.limit))?;
        one.serialize_field("hits", &self.hits)?;
        one.serialize_field("kills", &self.kills)?;
        one.serialize_field("last", &self.last)?;
        one.end()
    }
}

impl Engine {
    /// Every limit of a VE, set or not, and what is known of it: in this run, and in those before that the ledger has.
    pub fn limits(&self, ve: &VeRef, progress: &dyn Progress) -> Result<Vec<LimitUse>> {
        let Some(found) = self.host.locate(ve)? else {
            return Err(unknown_ve(ve));
        };
        let state = self.host.state(found.id)?;
        let effective = self.host.effective(&state.name, &mut Catalogue::default())?;
        let ever = self.host.ever(&state).unwrap_or_else(|e| {
            progress.note(&format!(
                "the ledger can't be read, so that this is of the present run alone: {}",
                chain(&e)
            ));
            Ever::default()
        });
        loop {
            let init = self.host.reality(state.id)?.init;
            let before = init.map(|_| {
                let before = self.host.pace(&state);
                std::thread::sleep(WATCH);
                before
            });
            let mut lines = self.host.limit_uses(&state, &effective)?;
            if let Some(before) = before {
                self.host.add_rates(&state, &effective, &before, &mut lines);
            }
            self.host.add_past(&state, &ever, init, &mut lines);
            // What was counted must be of one run.
            if self.host.reality(state.id)?.init == init {
                return Ok(lines);
            }
        }
    }
}

impl Host {
    /// As [`Engine::limits`], of this run alone.
    pub(super) fn limit_uses(&self, state: &VeState, effective: &Effective) -> Result<Vec<LimitUse>> {
        let reality = self.reality(state.id)?;
        let running = reality.init.is_some();
        let usage = running.then(|| self.cgroups.usage(state.id).ok()).flatten();
        let usage = usage.unwrap_or_default();
        let hits = if running {
            self.cgroups.hits(state.id)
        } else {
            Hits::default()
        };
        let mut lines = of_group(effective, &usage, &hits);
        lines.extend(of_io(effective));
        let full = running || reality.state == State::Stopped;
        let disk = full.then(|| self.disks.get(state.driver).usage(&self.dirs.ve(state.id)));
        lines.extend(self.of_network(state, effective, running));
        // A disk that can't be read is unknown here; `hostel status` says why.
        let disk = disk.and_then(std::result::Result::ok).unwrap_or_default();
        lines.push(LimitUse {
            held: disk.used,
            // As `df` reckons: what the file system keeps for itself can't be filled.
            limit: disk
                .used
                .zip(disk.free)
                .map(|(used, free)| used.saturating_add(free))
                .or(Some(state.disk_size)),
            ..LimitUse::of("disk.size", Unit::Bytes)
        });
        lines.push(LimitUse {
            held: disk.inodes_used,
            limit: disk.inodes,
            ..LimitUse::of("disk.inodes", Unit::Files)
        });
        Ok(lines)
    }

    /// What it uses in a second, of what is limited by the second.
    fn add_rates(&self, state: &VeState, effective: &Effective, before: &Pace, lines: &mut [LimitUse]) {
        let now = self.pace(state);
        let rates = self.rates(state, effective, before, &now);
        // A nanosecond in each is a thousand millionth of a processor.
        let cpu = now
            .per_second(before, |pace| pace.usage.cpu.total_ns)
            .map(|ns| ns / 1_000_000);
        for line in lines {
            line.held = match rates.iter().find(|rate| rate.key == line.key) {
                Some(rate) if line.unit == Unit::Bits => Some(rate.used.saturating_mul(8)),
                Some(rate) => Some(rate.used),
                None if line.key == "cpu.cap" => cpu,
                None => line.held,
            };
        }
    }

    /// What the ledger knows of the runs before, and of looks at this one; and when each limit was hit last.
    fn add_past(&self, state: &VeState, ever: &Ever, init: Option<Init>, lines: &mut [LimitUse]) {
        let now = self.moment();
        let run = init.map(|init| self.run_of(init, &now));
        let kill = run.as_ref().and_then(|_| self.last_kill(state));
        let kill = kill.and_then(|kill| self.time_of(kill.since_boot));
        let counters = [
            Counter::CapHits,
            Counter::MemoryHits,
            Counter::OomKills,
            Counter::ForksRefused,
            Counter::DiskHits,
        ];
        let [cap, memory, oom, forks, disk] = self.last_hits(state, counters);
        for line in lines {
            let (level, hits, last) = match line.key.as_str() {
                "cpu.cap" => (None, Some(Counter::CapHits), cap),
                "memory.limit" => {
                    let last = [kill, memory, oom].into_iter().flatten().max();
                    (Some(Level::Memory), Some(Counter::MemoryHits), last)
                }
                "memory.swap" => (Some(Level::Swap), None, None),
                "processes" => (Some(Level::Processes), Some(Counter::ForksRefused), forks),
                "disk.size" => (Some(Level::Disk), Some(Counter::DiskHits), disk),
                "disk.inodes" => (Some(Level::Inodes), None, None),
                _ => continue,
            };
            let all = |counter, now: Option<u64>| ever.counted(counter, run.as_ref().zip(now));
            if let Some(counter) = hits {
                line.hits = all(counter, line.hits);
            }
            if line.key == "memory.limit" {
                line.kills = all(Counter::OomKills, line.kills);
            }
            if let Some(level) = level {
                line.most = [line.most, line.held, ever.most(level)].into_iter().max().flatten();
            }
            if line.key == "disk.size" && is_full(line) && !ever.was_full() {
                line.hits = Some(line.hits.unwrap_or(0) + 1);
            }
            line.last = last;
        }
    }

    /// What holds its traffic. How much passes is told by rates: see `hostel stat`.
    fn of_network(&self, state: &VeState, effective: &Effective, running: bool) -> Vec<LimitUse> {
        let limit =
            |key: String, limit: Option<Bandwidth>| LimitUse::of(key, Unit::Bits).at_most(limit.map(Bandwidth::bits));
        let waits = running
            .then(|| self.network.waits(&self.shaper_names(state.id)).ok())
            .flatten();
        let all = |n: usize, key: &str, most: Option<Bandwidth>| LimitUse {
            hits: waits.as_ref().and_then(|waits| waits[n]),
            ..limit(key.to_owned(), most)
        };
        let mut lines = vec![
            all(0, "net.in", effective.traffic.inward),
            all(1, "net.out", effective.traffic.outward),
        ];
        // Of these the kernel counts no hits.
        for (n, interface) in effective.interfaces.iter().enumerate() {
            lines.push(limit(format!("network.{n}.rate_in"), interface.rate_in));
            lines.push(limit(format!("network.{n}.rate_out"), interface.rate_out));
        }
        lines
    }

    /// The last process of this run of the VE that was killed for want of memory, as far as the kernel's log goes back.
    pub(super) fn last_kill(&self, state: &VeState) -> Option<OomKill> {
        let init = self.reality(state.id).ok()?.init?;
        let age = self.guests.age(init)?;
        let began = self.since_boot()?.checked_sub(age)?;
        self.kills(state).into_iter().rfind(|kill| kill.since_boot >= began)
    }

    /// All kills of the VE that the kernel's log tells of, also of runs before.
    pub(super) fn kills(&self, state: &VeState) -> Vec<OomKill> {
        let group = format!("/{}/{}", self.config.cgroup_root.as_str(), state.id);
        oom_kills(std::path::Path::new("/dev/kmsg"), &group).unwrap_or_default()
    }

    /// How long ago the host was booted.
    fn since_boot(&self) -> Option<Duration> {
        let text = std::fs::read_to_string(self.proc_sys.parent()?.join("uptime")).ok()?;
        Duration::try_from_secs_f64(text.split(' ').next()?.parse().ok()?).ok()
    }

    /// When that was, in seconds since 1970.
    pub(super) fn time_of(&self, since_boot: Duration) -> Option<i64> {
        let ago = self.since_boot()?.checked_sub(since_boot)?;
        (self.clock)().checked_sub(i64::try_from(ago.as_secs()).ok()?)
    }
}

/// Can nothing more be written to a disk?
fn is_full(line: &LimitUse) -> bool {
    let left = line
        .held
        .zip(line.limit)
        .map(|(held, limit)| limit.saturating_sub(held));
    left.is_some_and(|left| left < disk::Usage::FULL_BELOW)
}

/// Those that a control group holds.
fn of_group(effective: &Effective, usage: &Usage, hits: &Hits) -> Vec<LimitUse> {
    let limits = &effective.limits;
    let bytes = |key, limit: Option<Bytes>| LimitUse::of(key, Unit::Bytes).at_most(limit.map(Bytes::get));
    vec![
        LimitUse {
            hits: hits.throttled.map(|t| t.throttled),
            ..LimitUse::of("cpu.cap", Unit::Millis).at_most(limits.cpu.cap_milli.map(Into::into))
        },
        LimitUse {
            held: usage.memory,
            most: hits.memory_peak,
            hits: hits.memory,
            kills: hits.oom_kills,
            ..bytes("memory.limit", limits.memory.limit)
        },
        LimitUse {
            held: usage.swap,
            most: hits.swap_peak,
            hits: hits.swap,
            ..bytes("memory.swap", limits.memory.swap)
        },
        LimitUse {
            held: usage.processes,
            most: hits.processes_peak,
            hits: hits.processes,
            ..LimitUse::of("processes", Unit::Processes).at_most(limits.processes)
        },
    ]
}

/// Those of its disk's bandwidth: kernels count neither how near it comes to them nor how often they held it.
fn of_io(effective: &Effective) -> [LimitUse; 4] {
    let io = &effective.limits.io;
    let rate = |key, limit: Option<Bytes>| LimitUse::of(key, Unit::Rate).at_most(limit.map(Bytes::get));
    let operations = |key, limit| LimitUse::of(key, Unit::Operations).at_most(limit);
    [
        rate("io.read", io.read_bytes),
        rate("io.write", io.write_bytes),
        operations("io.read_ops", io.read_ops),
        operations("io.write_ops", io.write_ops),
    ]
}
