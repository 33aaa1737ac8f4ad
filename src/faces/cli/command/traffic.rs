//! `hostel traffic`

use clap::Args;
use hostel_engine::facade::{ClassTraffic, Ways};
use hostel_model::request::VeRef;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::human::bytes;
use crate::cli::selection::Selected;
use crate::cli::table::{Cell, Column, Table};

/// Show what VEs have sent and received
///
/// Since each VE was made: what was counted by a VE that was stopped, rebooted or suspended is in it. Bytes are counted
/// from the IP header on, also between VEs; "in" has what came for the VE, also what its limits (net.in, rate_in) then
/// dropped. By class: [[traffic]] in hostel.toml names classes by the addresses of the other end, and what none names is
/// "external". With --json, an array with an object for each VE and class, exact and with packets.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel traffic web1\n  hostel traffic --tenant acme --json")]
pub struct Traffic {
    #[command(flatten)]
    selected: Selected,
    #[command(flatten)]
    json: Json,
}

impl Traffic {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.engine()?;
        let (mut exit, mut rows) = (Exit::Ok, Vec::new());
        for ve in engine.select(&self.selected.selection(), context)? {
            match engine.traffic(&VeRef::Id(ve.id)) {
                Ok(own) => rows.extend(own),
                Err(error) => {
                    context.error_of(&error, Some(ve.name.as_str()));
                    exit = exit.worse(Exit::of(&error));
                }
            }
        }
        if self.json.json {
            context.print_json(&rows)?;
        } else {
            context.print_table(&table(&rows))?;
        }
        Ok(exit)
    }
}

/// For a person: of both families together, and each by itself where there is room.
pub fn table(rows: &[ClassTraffic]) -> Table {
    let number = |header: &str, drop| Column {
        right: true,
        drop,
        ..Column::text(header)
    };
    let mut table = Table::new(vec![
        Column::text("VE").cut(12),
        Column::text("CLASS"),
        number("IN", 0),
        number("OUT", 0),
        number("IN IPV4", 1),
        number("OUT IPV4", 1),
        number("IN IPV6", 1),
        number("OUT IPV6", 1),
    ]);
    let both = |ways: Ways| ways.ipv4.plus(ways.ipv6).bytes;
    for row in rows {
        let numbers = [
            both(row.r#in),
            both(row.out),
            row.r#in.ipv4.bytes,
            row.out.ipv4.bytes,
            row.r#in.ipv6.bytes,
            row.out.ipv6.bytes,
        ];
        let names = [Cell::new(row.ve.to_string()), Cell::new(row.class.clone())];
        table.row(names.into_iter().chain(numbers.map(|n| Cell::new(bytes(n)))).collect());
    }
    table
}
