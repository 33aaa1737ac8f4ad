//! What is known of a VE that somebody wonders about: `hostel why`. It is gathered here and judged in
//! [`hostel_model::why`].

use std::time::Duration;

use hostel_model::id::{VeId, VeName};
use hostel_model::request::VeRef;
use hostel_model::usage::{self, Counter};
use hostel_model::why::{Cause, Day, Evidence, Level, Waits, causes};
use hostel_system::cgroup::{Pressure, Throttled};
use hostel_system::pressure;
use serde::Serialize;

use super::{Engine, LimitUse};
use crate::error::{Result, chain};
use crate::host::Host;
use crate::journal::Look;
use crate::ve::outline::Outline;
use crate::ve::record::VeState;
use crate::ve::registry::{Catalogue, unknown_ve};

/// How long a VE is watched for what its cap does to it: some periods of 100 ms.
const WATCH: Duration = Duration::from_millis(500);

/// How much of the console is looked at, and how many lines of that are shown.
const TAIL: usize = 4096;
const LINES: usize = 5;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The VE's number.
    pub id: VeId,
    /// Its name.
    pub name: VeName,
    /// Its state.
    pub state: String,
    /// The causes, the most likely first; at least one.
    pub causes: Vec<Cause>,
}

impl Engine {
    /// Why a VE is slow, doesn't run, or was ended. Takes half a second for one that runs.
    pub fn why(&self, ve: &VeRef) -> Result<Why> {
        let Some(found) = self.host.locate(ve)? else {
            return Err(unknown_ve(ve));
        };
        let evidence = self.evidence(&found)?;
        Ok(Why {
            id: found.id,
            name: found.name,
            state: evidence.state.clone(),
            causes: causes(&evidence),
        })
    }

    fn evidence(&self, ve: &Outline) -> Result<Evidence> {
        let host = &self.host;
        let status = self.status(&VeRef::Id(ve.id))?;
        let last = host.last(ve.id, &ve.name);
        let mut evidence = Evidence {
            name: ve.name.to_string(),
            state: status.state,
            now: (host.clock)(),
            problem: status.problem,
            unfinished: match host.journals.look(ve.id) {
                Look::Unfinished(begin) => Some(begin.verb),
                Look::Corrupt(_) | Look::Nothing => None,
            },
            operation: last.operation,
            end: last.end,
            console: self.last_words(ve.id),
            ..Evidence::default()
        };
        let Ok(state) = host.state(ve.id) else {
            return Ok(evidence); // its status says what is wrong with its record
        };
        evidence.day = host.last_day(&state);
        match status.pid {
            Some(_) => host.observe(&state, &mut evidence),
            None => evidence.obstacle = host.obstacle(&state),
        }
        Ok(evidence)
    }

    /// The last lines of its console that have something in them.
    fn last_words(&self, id: VeId) -> Vec<String> {
        let log = self.log(&VeRef::Id(id)).unwrap_or_default();
        let tail = log.get(log.len().saturating_sub(TAIL)..).unwrap_or_default();
        let text = without_colours(&String::from_utf8_lossy(tail).replace('\r', ""));
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
        let from = lines.len().saturating_sub(LINES);
        lines[from..].iter().map(|l| (*l).to_owned()).collect()
    }
}

/// Without control sequences of a terminal (ECMA-48, 5.4), which are no words.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |plain, piece| {
        let end = piece
            .find(|c: char| ('@'..='~').contains(&c))
            .map_or(piece.len(), |at| at + 1);
        plain + piece.get(end..).unwrap_or_default()
    })
}

impl Host {
    /// What a start would stumble on before it touched anything, for a person.
    fn obstacle(&self, state: &VeState) -> Option<(String, Vec<String>)> {
        let e = self.check_start(state, false).err()?;
        Some((chain(&e), e.hints))
    }

    /// Looks at a VE that runs for a moment.
    fn observe(&self, state: &VeState, e: &mut Evidence) {
        let before = self.pace(state);
        std::thread::sleep(WATCH);
        let now = self.pace(state);
        let usage = &now.usage;
        e.throttled = before.usage.throttled.zip(usage.throttled).map(since);
        let some = |pressure: Option<Pressure>| pressure.map(|p| p.some_avg10);
        e.waits = Waits {
            cpu: some(usage.cpu_pressure),
            memory: some(usage.memory_pressure),
            io: some(usage.io_pressure),
        };
        let host = |resource| pressure::some_avg10(&self.pressure, resource);
        e.host_waits = Waits {
            cpu: host("cpu"),
            memory: host("memory"),
            io: host("io"),
        };
        e.last_kill = self
            .last_kill(state)
            .and_then(|kill| Some((kill.name, self.time_of(kill.since_boot)?)));
        let Ok(effective) = self.effective(&state.name, &mut Catalogue::default()) else {
            return; // its status says why
        };
        e.cap_milli = effective.limits.cpu.cap_milli;
        e.rates = self.rates(state, &effective, &before, &now);
        for limit in self.limit_uses(state, &effective).unwrap_or_default() {
            take(e, &limit);
        }
    }
}

impl Host {
    /// What the ledger has of today and yesterday.
    fn last_day(&self, state: &VeState) -> Day {
        // A ledger that can't be read is `hostel ledger status`'s to tell of.
        let amounts = self.used_since_yesterday(state).unwrap_or_default();
        let counted = |counter| amounts.counter(counter).unwrap_or(0);
        let seconds = |ns: u128| u64::try_from(ns / 1_000_000_000).unwrap_or(u64::MAX);
        Day {
            oom_kills: counted(Counter::OomKills),
            processes_hits: counted(Counter::ForksRefused),
            memory_hits: counted(Counter::MemoryHits),
            disk_full: seconds(amounts.level(usage::Level::DiskFull).integral),
            throttled: seconds(counted(Counter::Throttled).into()),
        }
    }
}

/// What came in between: periods, and those of them in which the cap stopped it.
fn since((before, now): (Throttled, Throttled)) -> (u64, u64) {
    (
        now.periods.saturating_sub(before.periods),
        now.throttled.saturating_sub(before.throttled),
    )
}

fn take(e: &mut Evidence, limit: &LimitUse) {
    let level = Level {
        used: limit.held,
        limit: limit.limit,
    };
    match limit.key.as_str() {
        "memory.limit" => (e.memory, e.memory_hits, e.oom_kills) = (level, limit.hits, limit.kills),
        "processes" => (e.processes, e.processes_hits) = (level, limit.hits),
        "disk.size" => e.disk = level,
        "disk.inodes" => e.inodes = level,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_no_words() {
        let text = "[\u{1b}[0;32m  OK  \u{1b}[0m] Reached\u{1b}[K it\u{1b}[";
        assert_eq!(without_colours(text), "[  OK  ] Reached it");
    }
}
