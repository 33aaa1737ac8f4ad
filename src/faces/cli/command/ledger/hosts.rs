//! `hostel ledger hosts`

use clap::Args;
use hostel_engine::fleet::FleetHost;

use super::status::moment;
use crate::cli::command::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Column, Table};

/// Print a table of hosts in the fleet's ledger
///
/// RECORDS: the number of the last that is there. COMPLETE UNTIL: up to when all that its VEs have used is there. One that
/// was begun anew (hostel ledger forward --anew) is set aside, and in no report that doesn't name its id. With --json, an
/// array of objects with id, name, last, caught_up and aside.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel ledger hosts")]
pub struct Hosts {
    #[command(flatten)]
    json: Json,
}

impl Hosts {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let hosts = context.engine()?.fleet_hosts()?;
        if self.json.json {
            context.print_json(&hosts)?;
        } else {
            context.print_table(&table(&hosts))?;
        }
        Ok(Exit::Ok)
    }
}

/// For a person.
fn table(hosts: &[FleetHost]) -> Table {
    let mut table = Table::new(vec![
        Column::text("HOST").cut(12),
        Column::text("ID"),
        Column::number("RECORDS"),
        Column::text("COMPLETE UNTIL"),
        Column::text("ASIDE"),
    ]);
    for host in hosts {
        let known = (host.caught_up_ns > 0).then_some(host.caught_up_ns);
        table.row(vec![
            host.name.as_str().into(),
            host.id.as_str().into(),
            host.last.to_string().into(),
            moment(known, "not yet").into(),
            if host.aside { "yes" } else { "" }.into(),
        ]);
    }
    table
}
