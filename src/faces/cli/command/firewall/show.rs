//! `hostel firewall show`

use clap::{ArgAction, Args};
use hostel_engine::facade::AccessReport;
use hostel_model::request::VeRef;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Column, Table};

/// Show a VE's access rules in order, and what they have counted
///
/// The first rule that fits decides: those of the VE's tenant come first, then its own, then what becomes of the rest.
/// Counted are packets that begin a connection, not those that follow. With --json, an object with id, name, state (none,
/// in force, not running, or differs) and rules: an array of objects with direction, from, number, action, rule, comment,
/// packets and bytes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel firewall show web1")]
pub struct Show {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// Leave the headings out
    #[arg(short = 'H', long, action = ArgAction::SetTrue)]
    no_header: bool,

    #[command(flatten)]
    json: Json,
}

impl Show {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let report = context.engine()?.access(&self.ve)?;
        if self.json.json {
            context.print_json(&report)?;
        } else {
            context.print_table(&table(&report).headless(self.no_header))?;
            if report.state == "differs" {
                context.say("the kernel has others; have these in force with: hostel firewall apply");
            }
        }
        Ok(Exit::Ok)
    }
}

/// For a person.
pub fn table(report: &AccessReport) -> Table {
    let mut table = Table::new(vec![
        Column::text("RULE").wrap(20),
        Column::text("FROM").cut(12),
        Column::number("PACKETS"),
        Column::number("BYTES"),
        Column {
            drop: 1,
            ..Column::text("COMMENT").cut(10)
        },
    ]);
    for line in &report.rules {
        let from = match line.number {
            Some(n) => format!("{} #{n}", line.from),
            None => line.from.clone(),
        };
        let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
        table.row(vec![
            line.rule.as_str().into(),
            from.into(),
            number(line.packets).into(),
            number(line.bytes).into(),
            line.comment.clone().unwrap_or_default().into(),
        ]);
    }
    table
}
