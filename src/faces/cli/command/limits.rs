//! `hostel limits`

use clap::Args;
use hostel_engine::facade::LimitUse;
use hostel_model::bandwidth::Bandwidth;
use hostel_model::quantity::Unit;
use hostel_model::request::VeRef;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::human::{bytes, milli};
use crate::cli::table::{Cell, Column, Table};

/// Show how near a VE is to its limits
///
/// For each limit what is held now, the most that ever was, the limit, how often it stood in the way, how many processes
/// were killed for it, and when that was last: since the VE was made, as far as the ledger goes; hits of memory.swap and
/// net are since its start. "-" is what this kernel doesn't tell, or no limit. Of cpu.cap, hits are the periods of 100 ms in which the
/// VE had to wait; of disk.size, how often the disk was found full, of bytes or of files. With --json, an array of objects with key, unit (processors, bytes,
/// bytes/s, operations/s, processes, files), held, most, limit, hits, kills, and last in seconds since 1970; null is what
/// isn't known, or no limit.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel limits web1\n  hostel limits web1 --json")]
pub struct Limits {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    #[command(flatten)]
    json: Json,
}

impl Limits {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let limits = context.engine()?.limits(&self.ve, context)?;
        if self.json.json {
            context.print_json(&limits)?;
        } else {
            context.print_table(&table(&limits))?;
        }
        Ok(Exit::Ok)
    }
}

/// For a person.
pub fn table(limits: &[LimitUse]) -> Table {
    let headings = ["HELD", "MOST", "LIMIT", "%", "HITS", "KILLS"].map(Column::number);
    let last = Column {
        drop: 1,
        ..Column::text("LAST HIT")
    };
    let mut table = Table::new(
        [Column::text("NAME")]
            .into_iter()
            .chain(headings)
            .chain([last])
            .collect(),
    );
    for line in limits {
        let amount = |n: Option<u64>| n.map(|n| amount(line.unit, n)).unwrap_or_default();
        let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
        let last = line.last.and_then(|t| jiff::Timestamp::from_second(t).ok());
        let cells = [
            line.key.clone(),
            amount(line.held),
            amount(line.most),
            amount(line.limit),
            percent(line.held, line.limit),
            number(line.hits),
            number(line.kills),
            last.map(|t| t.to_string()).unwrap_or_default(),
        ];
        table.row(cells.map(Cell::new).into());
    }
    table
}

fn amount(unit: Unit, n: u64) -> String {
    match unit {
        Unit::Bytes => bytes(n),
        Unit::Rate => format!("{}/s", bytes(n)),
        Unit::Bits => format!("{}kbit", n / 1000)
            .parse::<Bandwidth>()
            .map_or_else(|_| n.to_string(), |b| b.to_string()),
        Unit::Millis => u32::try_from(n).map_or_else(|_| n.to_string(), milli),
        _ => n.to_string(),
    }
}

fn percent(held: Option<u64>, limit: Option<u64>) -> String {
    let share = |(held, limit): (u64, u64)| held.saturating_mul(100).checked_div(limit);
    held.zip(limit)
        .and_then(share)
        .map(|n| n.to_string())
        .unwrap_or_default()
}
