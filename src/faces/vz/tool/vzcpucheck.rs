//! `vzcpucheck`: how much processor time is promised by weights, against how much there is.

use std::process::ExitCode;

use hostel_engine::facade::{Aspects, VeLook};
use hostel_model::openvz::cpu_units;

use super::super::options::{Opt, flag};
use super::super::word::{Stop, Tool, print};

const VZCPUCHECK: Tool = Tool("vzcpucheck");

const USAGE: &str = "Usage: vzcpucheck [-v]\n\
    Prints the sum of the CPU units of running containers and the power of this host; with -v those of each.\n";

/// What the host itself has: the weight of everybody.
const HOST: u64 = 1000;
/// How many units a BogoMIPS is worth.
const UNITS: f64 = 25.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Each,
    Help,
}

const OPTIONS: &[Opt<Is>] = &[flag(Is::Each, 'v', "verbose"), flag(Is::Help, 'h', "help")];

/// The tool.
pub fn main() -> ExitCode {
    VZCPUCHECK.end(run(&Tool::typed()))
}

fn run(words: &[String]) -> Result<u8, Stop> {
    let Some(typed) = Tool::read(OPTIONS, Is::Help, USAGE, words)? else {
        return Ok(0);
    };
    Tool::no_operand(&typed, USAGE)?;
    let engine = Tool::engine()?;
    let (ves, _) = engine.look(None, Aspects::DEFINITION | Aspects::STATE)?;
    let (text, over) = report(&ves, engine.bogomips(), typed.has(Is::Each));
    print(&text)?;
    if over {
        VZCPUCHECK.say("Warning: the CPU is overcommitted");
    }
    Ok(0)
}

/// The text, and whether more is promised than there is.
pub fn report(ves: &[VeLook], bogomips: Option<f64>, each: bool) -> (String, bool) {
    let running = ves.iter().filter(|ve| ve.pid.is_some());
    let units = |ve: &VeLook| ve.definition.as_ref().map_or(HOST, cpu_units);
    let rows: Vec<(u32, u64)> = running.map(|ve| (ve.id.get(), units(ve))).collect();
    let sum = HOST + rows.iter().map(|(_, units)| units).sum::<u64>();
    let mut out = String::new();
    if each {
        out.push_str(&format!("{:<15} {}\n{}\n", "CTID", "CPUUNITS", "-".repeat(25)));
        for (id, units) in std::iter::once(&(0, HOST)).chain(&rows) {
            out.push_str(&format!("{id:<15} {units}\n"));
        }
        out.push('\n');
    }
    out.push_str(&format!("Current CPU utilization: {sum}\n"));
    let power = bogomips.map(|n| n * UNITS);
    let told = power.map_or_else(|| "-".to_owned(), |power| format!("{power:.1}"));
    out.push_str(&format!("Power of the node: {told}\n"));
    #[allow(clippy::cast_precision_loss)] // a VE has at most 100 000 units
    let over = power.is_some_and(|power| sum as f64 > power);
    (out, over)
}
