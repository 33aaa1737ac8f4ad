//! `hostel ledger status`

use clap::Args;
use hostel_engine::fleet::Forwarding;

use crate::cli::command::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::table::{Column, Table};

/// Show how far this host's ledger is forwarded
///
/// What is told is what the manager, or whoever forwarded last, has found out; PostgreSQL isn't asked. With --json, an object
/// with server, id, last, forwarded, behind, behind_since, forwarded_at, trouble and trouble_since.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel ledger status")]
pub struct Status {
    #[command(flatten)]
    json: Json,
}

impl Status {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let forwarding = context.engine()?.forwarding_of_ledger()?;
        if self.json.json {
            context.print_json(&forwarding)?;
        } else {
            context.print_table(&table(&forwarding))?;
        }
        Ok(Exit::Ok)
    }
}

/// A moment that may not be known.
pub fn moment(ns: Option<i64>, otherwise: &str) -> String {
    let moment = ns.and_then(|ns| jiff::Timestamp::from_second(ns.div_euclid(1_000_000_000)).ok());
    moment.map_or_else(|| otherwise.to_owned(), |moment| moment.to_string())
}

/// For a person.
fn table(now: &Forwarding) -> Table {
    let mut table = Table::new(vec![Column::text("WHAT"), Column::text("VALUE").wrap(16)]);
    let behind = match (now.behind, now.behind_since_ns) {
        (0, _) => "nothing".to_owned(),
        (n, since) => format!("{n} records, since {}", moment(since, "some time")),
    };
    let trouble = match &now.trouble {
        None => "none".to_owned(),
        Some(why) => format!("since {}: {why}", moment(now.trouble_since_ns, "some time")),
    };
    for (what, value) in [
        ("server", now.server.clone()),
        ("id there", now.id.clone().unwrap_or_else(|| "none yet".to_owned())),
        ("last record", now.last.to_string()),
        ("forwarded", now.forwarded.to_string()),
        ("behind", behind),
        ("last success", moment(now.forwarded_ns, "not since this host's boot")),
        ("trouble", trouble),
    ] {
        table.row(vec![what.into(), value.into()]);
    }
    table
}
