//! `vznetstat`: what passed VEs' interfaces, by class.

use std::collections::BTreeSet;
use std::process::ExitCode;

use hostel_engine::facade::{Aspects, ClassTraffic, Ways};
use hostel_model::request::VeRef;
use hostel_model::traffic::Amount;

use super::super::options::{Opt, flag, valued};
use super::super::word::{Stop, Tool, print};

const VZNETSTAT: Tool = Tool("vznetstat");

const USAGE: &str = "Usage: vznetstat [-4 | -6] [-v CTID] [-c CLASS] [-a] [-t]\n\
    Prints the traffic of running containers by class; with -a of all, with -4 or -6 of one family alone. Classes have\n\
    the names that hostel.toml gives them.\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Ipv4,
    Ipv6,
    Ve,
    Class,
    All,
    Reset,
    Table,
    Help,
}

const OPTIONS: &[Opt<Is>] = &[
    flag(Is::Ipv4, '4', "ipv4"),
    flag(Is::Ipv6, '6', "ipv6"),
    valued(Is::Ve, 'v', "veid"),
    valued(Is::Class, 'c', "class"),
    flag(Is::All, 'a', "all"),
    flag(Is::Reset, 'r', "reset"),
    flag(Is::Table, 't', "table"),
    flag(Is::Help, 'h', "help"),
];

/// Which family's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Both in sum.
    Both,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    fn of(self, ways: Ways) -> Amount {
        match self {
            Self::Both => ways.ipv4.plus(ways.ipv6),
            Self::Ipv4 => ways.ipv4,
            Self::Ipv6 => ways.ipv6,
        }
    }
}

/// The tool.
pub fn main() -> ExitCode {
    VZNETSTAT.end(run(&Tool::typed()))
}

fn run(words: &[String]) -> Result<u8, Stop> {
    let Some(typed) = Tool::read(OPTIONS, Is::Help, USAGE, words)? else {
        return Ok(0);
    };
    Tool::no_operand(&typed, USAGE)?;
    if typed.has(Is::Reset) {
        return Err(Stop::Said(
            "what was counted is what is billed, and can't be set back".into(),
            1,
        ));
    }
    let family = match (typed.has(Is::Ipv4), typed.has(Is::Ipv6)) {
        (true, false) => Family::Ipv4,
        (false, true) => Family::Ipv6,
        _ => Family::Both,
    };
    let engine = Tool::engine()?;
    let ves: Vec<VeRef> = match typed.value(Is::Ve) {
        Some(word) => vec![Tool::one(&engine, word)?],
        None => {
            let (looks, _) = engine.look(None, Aspects::STATE)?;
            let wanted = looks
                .into_iter()
                .filter(|look| typed.has(Is::All) || look.pid.is_some());
            wanted.map(|look| VeRef::Id(look.id)).collect()
        }
    };
    let mut rows = Vec::new();
    for ve in &ves {
        rows.extend(engine.traffic(ve)?);
    }
    let class = typed.value(Is::Class);
    let is_known = |class: &str| rows.iter().any(|row| row.class == class);
    if let Some(unknown) = class.filter(|class| !rows.is_empty() && !is_known(class)) {
        let known: BTreeSet<&str> = rows.iter().map(|row| row.class.as_str()).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Stop::Said(format!("there is no class {unknown}, but: {known}"), 1));
    }
    print(&table(&rows, family, class))?;
    Ok(0)
}

/// A line for each VE and class.
pub fn table(rows: &[ClassTraffic], family: Family, class: Option<&str>) -> String {
    let mut out = format!(
        "{:<10} {:<16} {:>20} {:>14} {:>20} {:>14}\n",
        "CTID", "Net.Class", "Input(bytes)", "Input(pkts)", "Output(bytes)", "Output(pkts)"
    );
    for row in rows.iter().filter(|row| class.is_none_or(|class| class == row.class)) {
        let (to, from) = (family.of(row.r#in), family.of(row.out));
        out.push_str(&format!(
            "{:<10} {:<16} {:>20} {:>14} {:>20} {:>14}\n",
            row.id, row.class, to.bytes, to.packets, from.bytes, from.packets
        ));
    }
    out
}
