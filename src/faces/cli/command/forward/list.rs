//! `hostel forward list`

use std::net::SocketAddr;

use clap::{ArgAction, Args};
use hostel_engine::facade::ForwardState;
use hostel_model::request::VeRef;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Column, Table};

/// Print a table of ports of the host that lead to VEs
///
/// A line for each family that a forward is of. ACTIVE: it is in force now; a stopped VE's isn't, and its ports are kept
/// for it. With --json, an array of objects with ve, id, protocol, listen, target, to, interface, network and active.
#[derive(Debug, Args)]
#[command(
    visible_alias = "ls",
    after_long_help = "Examples:\n  hostel forward list\n  hostel forward list web1 --json"
)]
pub struct List {
    /// Name or id of the VE; otherwise all
    #[arg(value_name = "NAME|ID")]
    ve: Option<VeRef>,

    /// Leave the headings out
    #[arg(short = 'H', long, action = ArgAction::SetTrue)]
    no_header: bool,

    #[command(flatten)]
    json: Json,
}

impl List {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let all = context.engine()?.forwards(self.ve.as_ref())?;
        if self.json.json {
            context.print_json(&all)?;
        } else {
            context.print_table(&table(&all).headless(self.no_header))?;
        }
        Ok(Exit::Ok)
    }
}

/// For a person.
pub fn table(all: &[ForwardState]) -> Table {
    let mut table = Table::new(vec![
        Column::text("VE").cut(12),
        Column::text("PROTOCOL"),
        Column::text("LISTEN"),
        Column::text("TO"),
        Column {
            drop: 1,
            ..Column::text("NETWORK")
        },
        Column::text("ACTIVE"),
    ]);
    for ForwardState {
        ve,
        forward,
        network,
        active,
        ..
    } in all
    {
        let more = forward.listen.ports.moved_to(forward.to).filter(|p| p.count() > 1);
        let more = more.and_then(|p| p.to_string().split_once('-').map(|(_, last)| format!("-{last}")));
        table.row(vec![
            ve.as_str().into(),
            forward.protocol.as_str().into(),
            forward.listen.to_string().into(),
            format!(
                "{}{}",
                SocketAddr::new(forward.target, forward.to),
                more.unwrap_or_default()
            )
            .into(),
            network.as_str().into(),
            if *active { "yes" } else { "no" }.into(),
        ]);
    }
    table
}
