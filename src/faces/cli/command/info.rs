//! `hostel info`

use clap::Args;
use hostel_engine::facade::Fact;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Column, Table};

/// Show what this host can do
///
/// What was found of cgroups, disk drivers and kernel features, which limits can be enforced with it, and why. With
/// --json, an array of objects with what, value and why.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel info\n  hostel info --json")]
pub struct Info {
    #[command(flatten)]
    json: Json,
}

impl Info {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let facts = context.engine()?.info()?;
        if self.json.json {
            context.print_json(&facts)?;
        } else {
            context.print_table(&table(facts))?;
        }
        Ok(Exit::Ok)
    }
}

/// For a person.
pub fn table(facts: Vec<Fact>) -> Table {
    let columns = vec![
        Column::text("WHAT"),
        Column::text("VALUE").wrap(16),
        Column::text("WHY").wrap(24),
    ];
    let mut table = Table::new(columns);
    for fact in facts {
        table.row(vec![fact.what.into(), fact.value.into(), fact.why.into()]);
    }
    table
}
