//! `hostel template verify`

use clap::Args;
use hostel_engine::facade::Verified;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::parallel;
use crate::cli::table::{Column, Table};

/// Compare templates with the checksums that they were made with
///
/// Reads every file of them, in the store and in the copies that tenants have: contents, owners, modes and attributes.
/// Ends with 1 if anything differs. A template that differs is no good for new VEs, and create refuses it: make another
/// version. A copy that differs is read by the VEs that stand on it: create new ones and take their data over, then
/// destroy them. With --json, an array of objects with template, place, path and differences.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel template verify\n  hostel template verify debian-12")]
pub struct Verify {
    /// Template (all its versions), or template/version; all if not given
    #[arg(value_name = "TEMPLATE")]
    name: Option<String>,

    #[command(flatten)]
    json: Json,
}

impl Verify {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let label = self.name.as_deref().unwrap_or("templates");
        let verified = parallel::one(context.show, label, |progress| {
            engine.template_verify(self.name.as_deref(), progress)
        })?;
        if self.json.json {
            context.print_json(&verified)?;
        } else if verified.is_empty() {
            context.say("there are no templates");
        } else {
            context.print_table(&table(&verified))?;
        }
        let whole = verified.iter().all(|v| v.differences.is_empty());
        Ok(if whole { Exit::Ok } else { Exit::Failed })
    }
}

/// For a person: a line for each tree, and more where it differs.
pub fn table(verified: &[Verified]) -> Table {
    let mut table = Table::new(vec![
        Column::text("TEMPLATE").cut(12),
        Column::text("PLACE").cut(8),
        Column::text("FOUND").wrap(20),
    ]);
    for v in verified {
        let found = match v.differences.as_slice() {
            [] => vec!["as it was made"],
            differences => differences.iter().map(String::as_str).collect(),
        };
        for line in found {
            table.row(vec![v.template.as_str().into(), v.place.as_str().into(), line.into()]);
        }
    }
    table
}
