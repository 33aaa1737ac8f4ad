//! How near a VE is to its limits, and how often it has run into them: `hostel limits`.

use std::time::Duration;

use hostel_model::bandwidth::Bandwidth;
use hostel_model::request::VeRef;
use hostel_model::resolve::Effective;
use hostel_model::state::State;
use hostel_model::units::Bytes;
use hostel_system::cgroup::{Hits, Usage};
use hostel_system::kernel_log::{OomKill, oom_kills};
use serde::Serialize;

use super::Engine;
use crate::error::Result;
use crate::host::Host;
use crate::ve::record::VeState;
use crate::ve::registry::{Catalogue, unknown_ve};

/// A limit of a VE. `None`: unknown, or not told by this kernel; for `limit`: there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LimitUse {
    /// Its key in a definition: `memory.limit`.
    pub key: &'static str,
    /// What it counts: bytes, processes, files, bits/s, and of processor time millicpus, thousandths of a
    /// processor.
    pub unit: &'static str,
    /// In use now.
    pub held: Option<u64>,
    /// The most at any time since the VE's start.
    pub most: Option<u64>,
    /// The limit.
    pub limit: Option<u64>,
    /// How often it stood in the way since the VE's start.
    pub hits: Option<u64>,
    /// What of that was a process killed.
    pub kills: Option<u64>,
    /// When it did so last, in seconds since 1970.
    pub last: Option<i64>,
}

impl Engine {
    /// Every limit of a VE, set or not, and what is known of it. Counters begin with each start.
    pub fn limits(&self, ve: &VeRef) -> Result<Vec<LimitUse>> {
        let Some(found) = self.host.locate(ve)? else {
            return Err(unknown_ve(ve));
        };
        let state = self.host.state(found.id)?;
        let effective = self.host.effective(&state.name, &mut Catalogue::default())?;
        self.host.limit_uses(&state, &effective)
    }
}

impl Host {
    /// As [`Engine::limits`].
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
        let last_kill = running.then(|| self.last_kill(state)).flatten();
        let mut lines = of_group(effective, &usage, &hits);
        for line in lines.iter_mut().filter(|line| line.key == "memory.limit") {
            line.last = last_kill.as_ref().and_then(|kill| self.time_of(kill.since_boot));
        }
        let full = running || reality.state == State::Stopped;
        let disk = full.then(|| self.disks.get(state.driver).usage(&self.dirs.ve(state.id)));
        if running {
            lines.extend(self.of_network(state, effective));
        }
        // A disk that can't be read is unknown here; `hostel status` says why.
        let disk = disk.and_then(std::result::Result::ok).unwrap_or_default();
        lines.push(LimitUse {
            key: "disk.size",
            unit: "bytes",
            held: disk.used,
            // As `df` reckons: what the file system keeps for itself can't be filled.
            limit: disk
                .used
                .zip(disk.free)
                .map(|(used, free)| used.saturating_add(free))
                .or(Some(state.disk_size)),
            ..LimitUse::default()
        });
        lines.push(LimitUse {
            key: "disk.inodes",
            unit: "files",
            held: disk.inodes_used,
            limit: disk.inodes,
            ..LimitUse::default()
        });
        Ok(lines)
    }

    /// What holds its traffic. How much passes is told by rates: see `hostel stat`.
    fn of_network(&self, state: &VeState, effective: &Effective) -> [LimitUse; 2] {
        let [inward, outward] = self.shaper_names(state.id);
        let line = |key, limit: Option<Bandwidth>, device: &str| LimitUse {
            key,
            unit: "bits/s",
            limit: limit.map(Bandwidth::bits),
            hits: self.network.waits(device).ok().flatten(),
            ..LimitUse::default()
        };
        [
            line("net.in", effective.traffic.inward, &inward),
            line("net.out", effective.traffic.outward, &outward),
        ]
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

/// Those that a control group holds.
fn of_group(effective: &Effective, usage: &Usage, hits: &Hits) -> Vec<LimitUse> {
    let (limits, bytes) = (&effective.limits, |key| LimitUse {
        key,
        unit: "bytes",
        ..LimitUse::default()
    });
    vec![
        LimitUse {
            key: "cpu.cap",
            unit: "millicpus",
            limit: limits.cpu.cap_milli.map(Into::into),
            hits: hits.throttled.map(|t| t.throttled),
            ..LimitUse::default()
        },
        LimitUse {
            held: usage.memory,
            most: hits.memory_peak,
            limit: limits.memory.limit.map(Bytes::get),
            hits: hits.memory,
            kills: hits.oom_kills,
            ..bytes("memory.limit")
        },
        LimitUse {
            held: usage.swap,
            most: hits.swap_peak,
            limit: limits.memory.swap.map(Bytes::get),
            hits: hits.swap,
            ..bytes("memory.swap")
        },
        LimitUse {
            key: "processes",
            unit: "processes",
            held: usage.processes,
            most: hits.processes_peak,
            limit: limits.processes,
            hits: hits.processes,
            ..LimitUse::default()
        },
    ]
}
