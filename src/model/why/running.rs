//! A VE that runs: what it waits for, and what it was refused.

use super::{Cause, Evidence, Level, Rate, ago, console, lately, unfinished};
use crate::units::human;

/// A share of time from which on somebody notices, in percent.
const FELT: f32 = 10.0;

/// Killed within this time, in seconds: that is what somebody asks about.
const LATELY: i64 = 3600;

pub fn causes(e: &Evidence) -> Vec<Cause> {
    let found = [
        paused(e),
        unfinished(e, 88),
        killed(e),
        disk_full(e),
        no_inodes(e),
        no_processes(e),
        tight_memory(e),
        capped(e),
        held(e),
        slow_disk(e),
        busy_host(e),
        refused_processes(e),
        failed_last(e),
        damaged(e),
    ];
    let mut causes: Vec<Cause> = found.into_iter().flatten().collect();
    if causes.is_empty() {
        causes.push(nothing(e));
    }
    causes.extend(lately(e));
    causes
}

fn paused(e: &Evidence) -> Option<Cause> {
    (e.state == "paused").then(|| Cause {
        what: format!("{} is paused: none of its processes runs", e.name),
        seen: vec!["its control group is frozen".into()],
        advice: vec![format!("let it go on: hostel unpause {}", e.name)],
        likelihood: 99,
    })
}

fn killed(e: &Evidence) -> Option<Cause> {
    let kills = e.oom_kills.filter(|n| *n > 0)?;
    let mut seen = vec![format!("processes killed for want of memory since its start: {kills}")];
    let mut likelihood = 70;
    if let Some((name, time)) = &e.last_kill {
        seen.push(format!("the last was \"{name}\", {}", ago(e, *time)));
        likelihood = if e.now - time <= LATELY { 95 } else { 50 };
    }
    seen.extend(level("memory", e.memory, human));
    Some(Cause {
        what: "It ran out of memory, and the kernel killed processes in it".into(),
        seen,
        advice: vec![format!("give it more: hostel set {} memory.limit=SIZE", e.name)],
        likelihood,
    })
}

fn disk_full(e: &Evidence) -> Option<Cause> {
    let percent = e.disk.percent().filter(|p| *p >= 90)?;
    Some(Cause {
        what: match percent {
            98.. => "Its disk is full".into(),
            _ => format!("Its disk is nearly full ({percent} %)"),
        },
        seen: level("disk", e.disk, human),
        advice: vec![
            format!("give it more: hostel set {} disk.size=SIZE", e.name),
            format!("or look what takes it: hostel exec {} -- du -xh /", e.name),
        ],
        likelihood: if percent >= 98 { 93 } else { 30 },
    })
}

fn no_inodes(e: &Evidence) -> Option<Cause> {
    let percent = e.inodes.percent().filter(|p| *p >= 90)?;
    Some(Cause {
        what: match percent {
            98.. => "Its disk can hold no more files, however small".into(),
            _ => format!("Its disk can hold few more files ({percent} % are there)"),
        },
        seen: level("files", e.inodes, |n| n.to_string()),
        advice: vec![format!(
            "remove files, or make the disk larger: hostel set {} disk.size=SIZE",
            e.name
        )],
        likelihood: if percent >= 98 { 92 } else { 29 },
    })
}

fn no_processes(e: &Evidence) -> Option<Cause> {
    e.processes.percent().filter(|p| *p >= 98)?;
    Some(Cause {
        what: "It has as many processes as it may have: no other can be made".into(),
        seen: with_hits(level("processes", e.processes, |n| n.to_string()), e.processes_hits),
        advice: vec![
            format!("see which they are: hostel exec {} -- ps", e.name),
            format!("or allow more: hostel set {} processes=N", e.name),
        ],
        likelihood: 94,
    })
}

fn refused_processes(e: &Evidence) -> Option<Cause> {
    let refused = e.processes_hits.filter(|n| *n > 0)?;
    if no_processes(e).is_some() {
        return None;
    }
    Some(Cause {
        what: "Its limit of processes has stood in its way".into(),
        seen: with_hits(level("processes", e.processes, |n| n.to_string()), Some(refused)),
        advice: vec![format!("allow more: hostel set {} processes=N", e.name)],
        likelihood: 55,
    })
}

fn tight_memory(e: &Evidence) -> Option<Cause> {
    let waits = e.waits.memory.filter(|w| *w >= FELT)?;
    let full = e.memory.percent().is_some_and(|p| p >= 90);
    let mut seen = vec![format!("its tasks waited for memory in {waits:.0} % of the last 10 s")];
    seen.extend(level("memory", e.memory, human));
    seen.extend(e.memory_hits.map(|n| format!("times its limit stood in the way: {n}")));
    let (what, advice) = match full {
        true => (
            "It has too little memory: what it needs is thrown out and read again",
            format!("give it more: hostel set {} memory.limit=SIZE", e.name),
        ),
        false => (
            "The host is short of memory, and it waits for that",
            "see who uses it: hostel stat --resource memory".to_owned(),
        ),
    };
    Some(Cause {
        what: what.into(),
        seen,
        advice: vec![advice],
        likelihood: 60 + points(waits),
    })
}

fn capped(e: &Evidence) -> Option<Cause> {
    let (periods, stopped) = e.throttled.filter(|(periods, _)| *periods > 0)?;
    let share = u32::try_from(stopped.saturating_mul(100) / periods).ok()?.min(100);
    if share < 10 {
        return None;
    }
    let cap = e
        .cap_milli
        .map(|milli| format!("its cap is {} processors", f64::from(milli) / 1000.0));
    Some(Cause {
        what: format!("Its cap on processor time stops it: in {share} % of the last periods it had to wait"),
        seen: [format!("{stopped} of {periods} periods of 100 ms just now")]
            .into_iter()
            .chain(cap)
            .collect(),
        advice: vec![
            format!("raise it: hostel set {} cpu.cap=N", e.name),
            format!("or see what uses it: hostel exec {} -- top", e.name),
        ],
        likelihood: 50 + share * 4 / 10,
    })
}

/// Something passes as fast as it may, or nearly.
fn held(e: &Evidence) -> Option<Cause> {
    let near = |rate: &&Rate| u128::from(rate.used) * 100 >= u128::from(rate.limit) * 90;
    let rates: Vec<&Rate> = e.rates.iter().filter(near).collect();
    let first = rates.first()?;
    let amount = |rate: &Rate, n| if rate.bytes { human(n) } else { n.to_string() };
    let line = |rate: &&Rate| {
        let [used, limit] = [rate.used, rate.limit].map(|n| amount(rate, n));
        format!("{}: {used} of {limit} in a second, just now", rate.key)
    };
    Some(Cause {
        what: format!("It is as fast as its limit {} lets it be", first.key),
        seen: rates.iter().map(line).collect(),
        advice: vec![format!("raise it: hostel set {} {}=RATE", e.name, first.key)],
        likelihood: 82,
    })
}

fn slow_disk(e: &Evidence) -> Option<Cause> {
    let waits = e.waits.io.filter(|w| *w >= FELT)?;
    let host = e.host_waits.io.map(|w| format!("the host's tasks: {w:.0} %"));
    Some(Cause {
        what: "It waits for its disk".into(),
        seen: [format!(
            "its tasks waited for the disk in {waits:.0} % of the last 10 s"
        )]
        .into_iter()
        .chain(host)
        .collect(),
        advice: vec![
            "see who keeps the disk busy: hostel stat 2s --resource io".into(),
            format!("and whether it is a limit of its own: hostel show {}", e.name),
        ],
        likelihood: 48 + points(waits),
    })
}

fn busy_host(e: &Evidence) -> Option<Cause> {
    let (waits, host) = (e.waits.cpu.filter(|w| *w >= FELT)?, e.host_waits.cpu?);
    // Who has to wait for his cap waits for a processor as well.
    if host < FELT || capped(e).is_some() {
        return None;
    }
    Some(Cause {
        what: "The host's processors are busy, and it has to wait for them".into(),
        seen: vec![
            format!("its tasks waited for a processor in {waits:.0} % of the last 10 s"),
            format!("the host's in {host:.0} %"),
        ],
        advice: vec![
            "see who uses them: hostel stat 2s --resource cpu".into(),
            format!("or let it come first: hostel set {} cpu.weight=N", e.name),
        ],
        likelihood: 45 + points(waits),
    })
}

fn failed_last(e: &Evidence) -> Option<Cause> {
    let operation = e.operation.as_ref()?;
    let error = operation.error.as_ref()?;
    Some(Cause {
        what: format!("The last \"hostel {}\" on it failed", operation.verb),
        seen: vec![format!("{}: {error}", ago(e, operation.time))],
        advice: operation.hints.clone(),
        likelihood: 40,
    })
}

fn damaged(e: &Evidence) -> Option<Cause> {
    let problem = e.problem.as_ref()?;
    Some(Cause {
        what: "Something is wrong with it".into(),
        seen: vec![problem.clone()],
        advice: vec![format!("see: hostel status {}", e.name)],
        likelihood: 35,
    })
}

fn nothing(e: &Evidence) -> Cause {
    let waits = [
        ("a processor", e.waits.cpu),
        ("memory", e.waits.memory),
        ("its disk", e.waits.io),
    ];
    let mut seen = vec![format!("its state is {}", e.state)];
    let waits = waits
        .iter()
        .filter_map(|(what, share)| Some(format!("waiting for {what}: {:.0} % of the last 10 s", (*share)?)));
    seen.extend(waits);
    seen.extend(console(e));
    Cause {
        what: format!(
            "Nothing stands out: {} runs, waits for nothing and was refused nothing",
            e.name
        ),
        seen,
        advice: vec![
            format!("look inside: hostel enter {}", e.name),
            format!("and at its log: hostel log {}", e.name),
        ],
        likelihood: 1,
    }
}

/// Up to 30 for a share of time.
fn points(percent: f32) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // held between 0 and 30
    let points = (percent * 0.3).clamp(0.0, 30.0) as u32;
    points
}

fn level(what: &str, level: Level, show: impl Fn(u64) -> String) -> Vec<String> {
    let line = level.used.zip(level.limit).map(|(used, limit)| {
        let percent = level.percent().unwrap_or_default();
        format!("{what}: {} of {} ({percent} %)", show(used), show(limit))
    });
    line.into_iter().collect()
}

fn with_hits(mut seen: Vec<String>, hits: Option<u64>) -> Vec<String> {
    seen.extend(hits.map(|n| format!("refused since its start: {n}")));
    seen
}
