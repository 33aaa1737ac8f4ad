//! Why a VE is slow, doesn't run, or was ended: from what can be seen of it to causes, the most likely first.
//!
//! Each cause has a likelihood that only puts them in order. Of a VE that doesn't run, what ended it or kept it from
//! starting is asked; of one that runs, what it waits for and what it was refused.

mod running;
mod stopped;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// A cause that fits what is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// In one sentence.
    pub what: String,
    /// What it is seen by, a line each.
    pub seen: Vec<String>,
    /// What can be done, a line each.
    pub advice: Vec<String>,
    /// Higher comes first.
    #[serde(skip)]
    pub likelihood: u32,
}

/// The last thing that was done with a VE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The verb: "start".
    pub verb: String,
    /// When, in seconds since 1970.
    pub time: i64,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// What to do about that.
    #[serde(default)]
    pub hints: Vec<String>,
}

/// How a VE's last run ended, as its monitor saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// `halt`, `reboot`, `exit-N`, `signal-N` or `unknown`.
    pub how: String,
    /// When, in seconds since 1970.
    pub time: i64,
    /// Processes of it that were killed for want of memory in that run.
    pub oom_kills: Option<u64>,
}

/// How long something was waited for, in percent of the last ten seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Waits {
    /// Some task waited for a processor.
    pub cpu: Option<f32>,
    /// For memory.
    pub memory: Option<f32>,
    /// For a disk.
    pub io: Option<f32>,
}

/// So much of so much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// In use.
    pub used: Option<u64>,
    /// The limit; `None`: none, or unknown.
    pub limit: Option<u64>,
}

impl Level {
    /// In percent of the limit, rounded down.
    fn percent(self) -> Option<u64> {
        let part = u128::from(self.used?) * 100;
        u64::try_from(part.checked_div(u128::from(self.limit?))?).ok()
    }
}

/// What passed in a second just now, and what may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// The limit's key: `io.read`.
    pub key: String,
    /// What passed.
    pub used: u64,
    /// What may.
    pub limit: u64,
    /// Bytes, or operations?
    pub bytes: bool,
}

/// What the ledger has of today and yesterday, in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Day {
    /// Processes killed for want of memory.
    pub oom_kills: u64,
    /// Processes that could not be made.
    pub processes_hits: u64,
    /// How often memory was refused, or had to be freed first.
    pub memory_hits: u64,
    /// For how many seconds its disk was full.
    pub disk_full: u64,
    /// For how many its cap stopped it, in sum over processors.
    pub throttled: u64,
}

/// All that is known of a VE. `None`: it can't be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// Its name.
    pub name: String,
    /// Its state: "running", "stopped", ….
    pub state: String,
    /// Seconds since 1970.
    pub now: i64,
    /// What `hostel status` says is wrong with it.
    pub problem: Option<String>,
    /// What keeps it from starting, with what to do, as far as that can be told without trying.
    pub obstacle: Option<(String, Vec<String>)>,
    /// An operation that has not ended: under way, or cut short.
    pub unfinished: Option<String>,
    /// What was done with it last.
    pub operation: Option<Operation>,
    /// How its last run ended.
    pub end: Option<End>,
    /// Its cap, in thousandths of a processor.
    pub cap_milli: Option<u32>,
    /// Of the last periods in which it wanted to run: all, and those in which its cap stopped it.
    pub throttled: Option<(u64, u64)>,
    /// What its tasks waited for.
    pub waits: Waits,
    /// What the host's tasks waited for.
    pub host_waits: Waits,
    /// Bytes.
    pub memory: Level,
    /// How often memory was refused, or had to be freed first, in this run.
    pub memory_hits: Option<u64>,
    /// Processes killed for want of memory in this run.
    pub oom_kills: Option<u64>,
    /// The last of those: its name, and when, in seconds since 1970.
    pub last_kill: Option<(String, i64)>,
    /// Processes and threads.
    pub processes: Level,
    /// Processes that could not be made, in this run.
    pub processes_hits: Option<u64>,
    /// Bytes of its disk.
    pub disk: Level,
    /// Files on it.
    pub inodes: Level,
    /// What passes in the time of a look, of what is limited.
    pub rates: Vec<Rate>,
    /// Today and yesterday.
    pub day: Day,
    /// The last lines of its console.
    pub console: Vec<String>,
}

/// The causes, most likely first. Never empty: where nothing stands out, that is said.
pub fn causes(evidence: &Evidence) -> Vec<Cause> {
    let mut causes = match evidence.state.as_str() {
        "running" | "paused" => running::causes(evidence),
        _ => stopped::causes(evidence),
    };
    // Those that are as likely stay in the order in which they were found.
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.likelihood));
    causes
}

/// A command that has begun and not ended.
fn unfinished(e: &Evidence, likelihood: u32) -> Option<Cause> {
    let verb = e.unfinished.as_ref()?;
    Some(Cause {
        what: format!("\"hostel {verb}\" on it has not ended: it is at work, or was cut short"),
        seen: vec!["its journal is there".into()],
        advice: vec![format!(
            "if nobody is at work, the next command puts it in order, such as: hostel start {}",
            e.name
        )],
        likelihood,
    })
}

/// What isn't seen now, but was entered into the ledger.
fn lately(e: &Evidence) -> Option<Cause> {
    let day = e.day;
    let seen = [
        (day.oom_kills, "processes killed for want of memory"),
        (day.memory_hits, "times that its memory was at its limit"),
        (day.processes_hits, "processes that could not be made"),
        (day.disk_full, "seconds for which its disk was full"),
        (
            day.throttled,
            "seconds for which its cap stopped it, in sum over processors",
        ),
    ];
    let seen: Vec<String> = seen
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{what}: {n}"))
        .collect();
    // Memory is at its limit for the page cache's sake alone, too.
    let hit = day.oom_kills + day.processes_hits + day.disk_full + day.throttled > 0;
    hit.then(|| Cause {
        what: "Since yesterday its limits have stood in its way".into(),
        seen,
        advice: vec![format!("see which, and when last: hostel limits {}", e.name)],
        likelihood: 20,
    })
}

/// How long ago, for people.
fn ago(evidence: &Evidence, time: i64) -> String {
    let seconds = evidence.now.saturating_sub(time).max(0);
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// The console's last words, as evidence.
fn console(evidence: &Evidence) -> Vec<String> {
    evidence.console.iter().map(|line| format!("console: {line}")).collect()
}
