//! `hostel set`

use clap::Args;
use hostel_engine::facade::SetReport;
use hostel_model::edit::parse_setting;
use hostel_model::request::VeRef;
use serde_json::{Value, json};

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::parallel;
use crate::cli::table::{Column, Table};

/// Change settings of a VE
///
/// All of them or none. What can change while the VE runs does so at once; the rest waits for a restart. The report
/// says which is which. With --json, an object with dry_run and the arrays applied and waiting, each of objects with
/// key, old and new.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel set web1 memory.limit=2GiB cpu.cap=1.5
  hostel set web1 plan=medium --dry-run")]
pub struct Set {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// Keys, as show lists them, and their new values
    #[arg(value_name = "KEY=VALUE", required = true, value_parser = parse_setting)]
    settings: Vec<(String, String)>,

    /// Say what would change, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    json: Json,
}

impl Set {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let report = parallel::one(context.show, &self.ve.to_string(), |progress| {
            engine.set(&self.ve, &self.settings, self.dry_run, progress)
        })?;
        print(context, &report, self.json.json)?;
        Ok(Exit::Ok)
    }
}

/// Prints a report of changes.
pub fn print(context: &Context, report: &SetReport, json: bool) -> Result<(), Failure> {
    if json {
        return context.print_json(&object(report));
    }
    if report.applied.is_empty() && report.waiting.is_empty() {
        context.say("no changes");
        return Ok(());
    }
    context.print_table(&table(report))?;
    if report.dry_run {
        context.say("dry run: nothing was changed");
    } else if !report.waiting.is_empty() {
        context.say("what waits takes effect at the next start, which a resume is not; restart does it now");
    }
    Ok(())
}

/// For a person.
pub fn table(report: &SetReport) -> Table {
    let columns = vec![
        Column::text("KEY"),
        Column::text("OLD").wrap(12),
        Column::text("NEW").wrap(12),
        Column::text(if report.dry_run {
            "WOULD TAKE EFFECT"
        } else {
            "TAKES EFFECT"
        }),
    ];
    let mut table = Table::new(columns);
    let now = report.applied.iter().map(|change| (change, "now"));
    for ((key, old, new), when) in now.chain(report.waiting.iter().map(|change| (change, "at restart"))) {
        table.row(vec![
            key.as_str().into(),
            old.as_str().into(),
            new.as_str().into(),
            when.into(),
        ]);
    }
    table
}

/// For a program.
pub fn object(report: &SetReport) -> Value {
    let changes = |list: &[(String, String, String)]| -> Vec<Value> {
        list.iter()
            .map(|(key, old, new)| json!({ "key": key, "old": old, "new": new }))
            .collect()
    };
    json!({ "dry_run": report.dry_run, "applied": changes(&report.applied), "waiting": changes(&report.waiting) })
}
