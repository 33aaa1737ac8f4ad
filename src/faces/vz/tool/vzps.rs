//! `vzps`: ps, with a column that says which VE each process is in.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use hostel_engine::facade::Silent;
use hostel_model::id::VeId;
use hostel_model::request::Selection;

use super::super::word::{Stop, Tool, print};

const VZPS: Tool = Tool("vzps");

const USAGE: &str = "Usage: vzps [-E CTID] [OPTIONS OF ps]\n\
    Prints what ps prints, with the container of each process before it; with -E only those of one, 0 being the host.\n";

/// The tool.
pub fn main() -> ExitCode {
    VZPS.end(run(&Tool::typed()))
}

fn run(words: &[String]) -> Result<u8, Stop> {
    if words.iter().any(|word| word == "--help") {
        print(USAGE)?;
        return Ok(0);
    }
    let (wanted, options) = split(words)?;
    let engine = Tool::engine()?;
    let mut only = None;
    for word in &wanted {
        let ids: &mut BTreeSet<u32> = only.get_or_insert_default();
        match word.as_str() {
            "0" => {
                ids.insert(0);
            }
            word => {
                let ves = engine.select(&Selection::Some(vec![Tool::one(&engine, word)?]), &Silent)?;
                ids.extend(ves.iter().map(|ve| ve.id.get()));
            }
        }
    }
    let (ps, code) = engine.ps(&options)?;
    match table(&ps, &engine.inhabitants()?, only.as_ref()) {
        Some(table) => print(&table)?,
        None => {
            return Err(Stop::Said(
                "what ps prints has no column PID; name one, as in -o pid,args".into(),
                1,
            ));
        }
    }
    Ok(u8::try_from(code).unwrap_or(1))
}

/// Those of -E, and the rest for ps; all processes, if nothing else is said.
fn split(words: &[String]) -> Result<(Vec<String>, Vec<String>), Stop> {
    let (mut wanted, mut options) = (Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix("-E") {
            Some("") => {
                let value = words.next();
                let value = value.ok_or_else(|| Stop::Said("option requires an argument -- 'E'".into(), 1))?;
                wanted.push(value.clone());
            }
            Some(value) => wanted.push(value.to_owned()),
            None => options.push(word.clone()),
        }
    }
    if options.is_empty() {
        options.push("-e".to_owned());
    }
    Ok((wanted, options))
}

/// The lines of ps with their VE; `only` these, if some are named. `None`: it can't be told which process a line is of.
pub fn table(ps: &str, owners: &BTreeMap<u32, VeId>, only: Option<&BTreeSet<u32>>) -> Option<String> {
    let mut lines = ps.lines();
    let Some(header) = lines.next() else {
        return Some(String::new());
    };
    let at = header.split_whitespace().position(|word| word == "PID")?;
    let mut out = format!("{:>10} {header}\n", "CTID");
    for line in lines {
        let pid = line
            .split_whitespace()
            .nth(at)
            .and_then(|word| word.parse::<u32>().ok());
        let ve = pid.and_then(|pid| owners.get(&pid)).map_or(0, |ve| ve.get());
        if only.is_none_or(|only| only.contains(&ve)) {
            out.push_str(&format!("{ve:>10} {line}\n"));
        }
    }
    Some(out)
}
