//! `vzmemcheck`: how much of the host's memory is used by its VEs, and how much promised to them.

use std::process::ExitCode;

use hostel_engine::facade::{Aspects, VeLook};
use hostel_model::stat::{Figure, HostReading};
use hostel_model::units::Bytes;

use super::super::options::{Opt, flag};
use super::super::word::{Stop, Tool, print};

const VZMEMCHECK: Tool = Tool("vzmemcheck");

const USAGE: &str = "Usage: vzmemcheck [-v] [-A]\n\
    Prints how much memory running containers use and are promised, in percent of this host's; with -v those of each, with\n\
    -A in MB, and what this host has.\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Each,
    Absolute,
    Help,
}

const OPTIONS: &[Opt<Is>] = &[
    flag(Is::Each, 'v', "verbose"),
    flag(Is::Absolute, 'A', "absolute"),
    flag(Is::Help, 'h', "help"),
];

/// The columns. A 64-bit kernel has no low memory of its own: there, it is the memory. What is guaranteed is what is
/// committed.
const HEADINGS: [(&str, &str); 8] = [
    ("LowMem", "util"),
    ("LowMem", "commit"),
    ("RAM", "util"),
    ("MemSwap", "util"),
    ("MemSwap", "commit"),
    ("Alloc", "util"),
    ("Alloc", "commit"),
    ("Alloc", "limit"),
];

/// The tool.
pub fn main() -> ExitCode {
    VZMEMCHECK.end(run(&Tool::typed()))
}

fn run(words: &[String]) -> Result<u8, Stop> {
    let Some(typed) = Tool::read(OPTIONS, Is::Help, USAGE, words)? else {
        return Ok(0);
    };
    Tool::no_operand(&typed, USAGE)?;
    let engine = Tool::engine()?;
    let (ves, _) = engine.look(None, Aspects::DEFINITION | Aspects::SWAP)?;
    let (each, absolute) = (typed.has(Is::Each), typed.has(Is::Absolute));
    print(&report(&ves, &engine.host_now(), each, absolute))?;
    Ok(0)
}

/// The text.
pub fn report(ves: &[VeLook], host: &HostReading, each: bool, absolute: bool) -> String {
    let memory = host.sizes[Figure::Memory].unwrap_or(0);
    let both = memory.saturating_add(host.sizes[Figure::Swap].unwrap_or(0));
    let whole = [memory, memory, memory, both, both, both, both, both];
    let rows: Vec<(u32, [u64; 8])> = ves
        .iter()
        .filter(|ve| ve.pid.is_some())
        .map(|ve| (ve.id.get(), amounts(ve, memory, both)))
        .collect();
    let line = |id: &str, amounts: [u64; 8]| {
        let cells = amounts.iter().zip(whole).map(|(n, whole)| cell(*n, whole, absolute));
        let cells: String = cells.map(|cell| format!(" {cell:>7}")).collect();
        if each {
            format!("{id:<10}{cells}\n")
        } else {
            format!("{}\n", &cells[1..])
        }
    };
    let mut out = String::from(if absolute {
        "Output values in Mbytes\n"
    } else {
        "Output values in %\n"
    });
    for (title, heading) in [("CTID", HEADINGS.map(|h| h.0)), ("", HEADINGS.map(|h| h.1))] {
        let cells: String = heading.iter().map(|word| format!("{word:>8}")).collect();
        out.push_str(&if each {
            format!("{title:<10}{cells}\n")
        } else {
            format!("{}\n", &cells[1..])
        });
    }
    let mut sum = [0_u64; 8];
    for (id, amounts) in &rows {
        for (sum, n) in sum.iter_mut().zip(amounts) {
            *sum = sum.saturating_add(*n);
        }
        if each {
            out.push_str(&line(&id.to_string(), *amounts));
        }
    }
    if each {
        out.push_str(&format!("{}\n", "-".repeat(74)));
    }
    out.push_str(&line("Summary:", sum));
    if absolute {
        out.push_str(&line("Host:", whole));
    }
    out
}

/// What a VE uses and is promised, in bytes, in the order of the columns.
fn amounts(ve: &VeLook, memory: u64, both: u64) -> [u64; 8] {
    let used = |of: fn(&hostel_engine::facade::Usage) -> Option<u64>| ve.usage.as_ref().and_then(of).unwrap_or(0);
    let (ram, swap) = (used(|u| u.memory), used(|u| u.swap));
    let limits = ve.definition.as_ref().map(|d| &d.limits.memory);
    let guarantee = limits.and_then(|l| l.guarantee).map_or(0, Bytes::get);
    // Without a limit it may have all there is.
    let ram_limit = limits.and_then(|l| l.limit).map_or(memory, Bytes::get);
    let swap_limit = limits
        .and_then(|l| l.swap)
        .map_or(both.saturating_sub(memory), Bytes::get);
    let (all, limit) = (ram.saturating_add(swap), ram_limit.saturating_add(swap_limit));
    [ram, guarantee, ram, all, guarantee, all, guarantee, limit]
}

#[allow(clippy::cast_precision_loss)] // two digits of it are shown
fn cell(n: u64, whole: u64, absolute: bool) -> String {
    match (absolute, whole) {
        (true, _) => format!("{:.2}", n as f64 / f64::from(1 << 20)),
        (false, 0) => "-".to_owned(),
        (false, whole) => format!("{:.2}", n as f64 * 100.0 / whole as f64),
    }
}
