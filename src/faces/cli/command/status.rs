//! `hostel status`

use clap::Args;
use hostel_engine::facade::VeStatus;
use hostel_model::request::VeRef;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::field::{self, FIELDS, Field};
use crate::cli::selection::Selected;
use crate::cli::table::{Cell, Column, Table};

/// Show the state and use of VEs
///
/// With --json, one object a line for each VE, with the fields of `hostel help fields`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel status web1\n  hostel status --all --json")]
pub struct Status {
    #[command(flatten)]
    selected: Selected,
    #[command(flatten)]
    json: Json,
}

impl Status {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.engine()?;
        let mut exit = Exit::Ok;
        let mut first = true;
        for ve in engine.select(&self.selected.selection(), context)? {
            match engine.status(&VeRef::Id(ve.id)) {
                Ok(status) if self.json.json => {
                    let fields: Vec<&Field> = FIELDS.iter().collect();
                    context.print_json_line(&field::object(&status, &fields))?;
                }
                Ok(status) => {
                    if !std::mem::take(&mut first) {
                        context.print("\n")?;
                    }
                    context.print_table(&block(&status))?;
                }
                Err(error) => {
                    context.error_of(&error, Some(ve.name.as_str()));
                    exit = exit.worse(Exit::of(&error));
                }
            }
        }
        Ok(exit)
    }
}

/// One VE as a block of names and values. A limit stands behind what it limits; what is unknown is left out.
pub fn block(ve: &VeStatus) -> Table {
    let mut table = Table::new(vec![Column::text("FIELD"), Column::text("VALUE").wrap(20)]).headless(true);
    for field in FIELDS {
        let limit = match field.name {
            "memory" => Some("memory_limit"),
            "processes" => Some("process_limit"),
            "disk" => Some("disk_limit"),
            "memory_limit" | "process_limit" | "disk_limit" => continue,
            _ => None,
        };
        let value = (field.cell)(ve);
        let limit = limit
            .and_then(|l| FIELDS.iter().find(|f| f.name == l))
            .map(|l| (l.cell)(ve).text);
        let cell = match (value.text.as_str(), limit.as_deref()) {
            ("-", None | Some("-")) => continue,
            ("-", Some(limit)) => Cell::new(format!("limit {limit}")),
            (_, None | Some("-")) => value,
            (used, Some(limit)) => Cell::new(format!("{used} of {limit}")),
        };
        let label = field.header.to_ascii_lowercase();
        table.row(vec![Cell::new(label).styled(anstyle::Style::new().dimmed()), cell]);
    }
    table
}
