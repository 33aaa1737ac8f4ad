//! `hostel show`

use clap::Args;
use hostel_engine::facade::Setting;
use hostel_model::request::VeRef;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Column, Table};

/// Show a VE's settings, and where each comes from
///
/// A setting comes from the VE's definition, an override of its plan, the plan, or the defaults. The keys are those
/// that set takes. With --json, an array of objects with key, value and source.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel show web1\n  hostel show web1 --json")]
pub struct Show {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    #[command(flatten)]
    json: Json,
}

impl Show {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let settings = context.engine()?.show(&self.ve)?;
        if self.json.json {
            context.print_json(&settings)?;
        } else {
            context.print_table(&table(settings))?;
        }
        Ok(Exit::Ok)
    }
}

/// For a person.
pub fn table(settings: Vec<Setting>) -> Table {
    let mut table = Table::new(vec![
        Column::text("KEY"),
        Column::text("VALUE").wrap(20),
        Column::text("SOURCE"),
    ]);
    for setting in settings {
        table.row(vec![setting.key.into(), setting.value.into(), setting.source.into()]);
    }
    table
}
