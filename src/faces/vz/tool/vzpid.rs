//! `vzpid`: which VE a process of the host is in.

use std::io::Read;
use std::process::ExitCode;

use hostel_engine::facade::Owned;

use super::super::options::{Opt, flag};
use super::super::word::{Stop, Tool, print};

const VZPID: Tool = Tool("vzpid");

const USAGE: &str = "Usage: vzpid [-p] PID... | -\n\
    Tells which container each process is in; with -p also its number there. - reads numbers from standard input.\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Inside,
    Help,
}

const OPTIONS: &[Opt<Is>] = &[flag(Is::Inside, 'p', "pid"), flag(Is::Help, 'h', "help")];

/// The tool.
pub fn main() -> ExitCode {
    VZPID.end(run(&Tool::typed()))
}

fn run(words: &[String]) -> Result<u8, Stop> {
    let Some(typed) = Tool::read(OPTIONS, Is::Help, USAGE, words)? else {
        return Ok(0);
    };
    if typed.operands.is_empty() {
        return Err(Stop::Said(format!("of which process?\n{USAGE}"), 1));
    }
    let inside = typed.has(Is::Inside);
    let mut words = typed.operands;
    if let Some(at) = words.iter().position(|word| word == "-") {
        words.remove(at);
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|e| Stop::Said(format!("cannot read standard input: {e}"), 1))?;
        words.extend(text.split_whitespace().map(str::to_owned));
    }
    let mut pids = Vec::new();
    for word in words {
        let pid = word.parse::<u32>();
        pids.push(pid.map_err(|_| Stop::Said(format!("Invalid PID {word}"), 1))?);
    }
    let engine = Tool::engine()?;
    let owners = engine.owners(&pids);
    print(&table(&owners, inside))?;
    let mut code = 0;
    for pid in pids.iter().filter(|pid| !owners.iter().any(|o| o.seen.pid == **pid)) {
        VZPID.say(&format!("Process {pid} not found"));
        code = 1;
    }
    Ok(code)
}

/// A line for each; what is in no VE is the host's, which is 0.
pub fn table(owners: &[Owned], inside: bool) -> String {
    let mut out = String::from(if inside {
        "Pid\tCTPid\tCTID\tName\n"
    } else {
        "Pid\tCTID\tName\n"
    });
    for owner in owners {
        let ve = owner.ve.map_or(0, |ve| ve.get());
        out.push_str(&format!("{}\t", owner.seen.pid));
        if inside {
            out.push_str(&format!("{}\t", owner.seen.inside));
        }
        out.push_str(&format!("{ve}\t{}\n", crate::cli::failure::visible(&owner.seen.name)));
    }
    out
}
