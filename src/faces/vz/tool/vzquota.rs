//! `vzquota`: how full a VE's disk is. Its limits hold whatever is done here.

use std::process::ExitCode;

use hostel_engine::facade::{Aspects, VeLook};

use super::super::list::disk;
use super::super::word::{Stop, Tool, print};

const VZQUOTA: Tool = Tool("vzquota");

/// vzquota's codes.
const USAGE_ERROR: u8 = 2;
const NO_QUOTA: u8 = 11;

const USAGE: &str = "Usage: vzquota stat|show CTID [-t]\n       vzquota init|on|off|drop CTID ...\n\
    Prints how full a container's disk is. A disk's limits always hold, so there is nothing to turn on or off; to change\n\
    them: vzctl set CTID --diskspace SIZE --save.\n";

/// The tool.
pub fn main() -> ExitCode {
    VZQUOTA.end(run(&Tool::typed()))
}

fn run(words: &[String]) -> Result<u8, Stop> {
    if words.iter().any(|word| word == "-h" || word == "--help") {
        print(USAGE)?;
        return Ok(0);
    }
    // Options are of no consequence here, and their values never come first.
    let mut operands = words.iter().filter(|word| !word.starts_with('-'));
    let (Some(verb), Some(word)) = (operands.next(), operands.next()) else {
        return Err(Stop::Said(format!("Usage error\n{USAGE}"), USAGE_ERROR));
    };
    match verb.as_str() {
        "stat" | "show" => stat(word),
        "init" | "on" | "off" | "drop" => {
            known(word, Aspects::NONE)?;
            Ok(0)
        }
        "setlimit" | "setlimit2" | "reload2" => Err(Stop::Said(
            "limits are changed by: vzctl set CTID --diskspace SIZE --save".into(),
            USAGE_ERROR,
        )),
        verb => Err(Stop::Said(format!("Unknown command {verb}\n{USAGE}"), USAGE_ERROR)),
    }
}

fn known(word: &str, aspects: Aspects) -> Result<VeLook, Stop> {
    let engine = Tool::engine()?;
    let looks = match Tool::refer(&engine, word)? {
        Some(ve) => engine.look(Some(&[ve]), aspects)?.0,
        None => Vec::new(),
    };
    let missing = || Stop::Said(format!("Container {word} not found"), NO_QUOTA);
    looks.into_iter().next().ok_or_else(missing)
}

fn stat(word: &str) -> Result<u8, Stop> {
    print(&table(&disk(&known(word, Aspects::DISK)?)))?;
    Ok(0)
}

/// Blocks of 1 KB and files: usage, soft limit, hard limit.
pub fn table(rows: &[[String; 3]; 2]) -> String {
    let mut out = format!(
        "{:>11} {:>14} {:>15} {:>14} {:>8}\n",
        "resource", "usage", "softlimit", "hardlimit", "grace"
    );
    for (name, [usage, soft, hard]) in ["1k-blocks", "inodes"].iter().zip(rows) {
        out.push_str(&format!("{name:>11} {usage:>14} {soft:>15} {hard:>14} {:>8}", ""));
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}
