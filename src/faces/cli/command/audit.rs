//! `hostel audit`

use clap::Args;
use hostel_engine::facade::Orphan;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Cell, Column, Table};

/// Find what should not exist, or is not as it should be
///
/// Control groups, interfaces, mounts, loop devices, firewall entries, id ranges, addresses and unfinished work that
/// belong to no VE; rules, routes, queues and names that were changed by hand; definitions with mistakes. Ends with 1 if
/// something is found and not mended. With --json, an array of objects with kind,
/// object, why, fixed and error.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel audit\n  hostel audit --fix")]
pub struct Audit {
    /// Remove or mend what is found
    #[arg(long)]
    fix: bool,

    #[command(flatten)]
    json: Json,
}

impl Audit {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let orphans = context.engine()?.audit(self.fix)?;
        let clean = orphans.iter().all(|o| o.fixed && o.error.is_none());
        if self.json.json {
            context.print_json(&orphans)?;
        } else if orphans.is_empty() {
            context.say("nothing found");
        } else {
            context.print_table(&table(&orphans, self.fix))?;
            if !self.fix {
                context.say("hostel audit --fix removes or mends it");
            }
        }
        Ok(if clean { Exit::Ok } else { Exit::Failed })
    }
}

/// For a person; `fix`: with what became of each.
pub fn table(orphans: &[Orphan], fix: bool) -> Table {
    let mut columns = vec![
        Column::text("KIND"),
        Column::text("OBJECT").wrap(16),
        Column::text("WHY").wrap(20),
    ];
    if fix {
        columns.push(Column::text("RESULT").wrap(12));
    }
    let mut table = Table::new(columns);
    for orphan in orphans {
        let mut row: Vec<Cell> = [&orphan.kind, &orphan.object, &orphan.why]
            .map(|t| t.as_str().into())
            .into();
        if fix {
            let became = if orphan.fixed { "removed" } else { "kept" };
            let told = orphan.error.as_ref().map(|e| format!("{became}: {e}"));
            row.push(told.unwrap_or_else(|| became.to_owned()).into());
        }
        table.row(row);
    }
    table
}
