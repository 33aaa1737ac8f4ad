//! `hostel network`: a file for each of its subcommands.

pub mod attach;
pub mod detach;
pub mod list;
pub mod show;

use clap::{Args, Subcommand};
use hostel_engine::facade::{AddressReport, NetworkStatus};
use hostel_model::id::{NetworkName, VeName};

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Show networks and who has their addresses, and put VEs on them
///
/// A network is one or more pools of addresses and the way to reach them: a file in networks/ beside hostel.toml.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Network {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(list::List),
    Show(show::Show),
    Attach(attach::Attach),
    Detach(detach::Detach),
}

impl Network {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match &self.what {
            What::List(c) => c.run(context),
            What::Show(c) => c.run(context),
            What::Attach(c) => c.run(context),
            What::Detach(c) => c.run(context),
        }
    }
}

/// Says what became of a VE on a network.
fn print(context: &Context, report: &AddressReport, line: &str, json: Json) -> Done {
    if json.json {
        context.print_json(report)?;
    } else {
        context.say(line);
    }
    Ok(Exit::Ok)
}

/// The VE, the network, and its addresses there.
fn names(report: &AddressReport) -> (&VeName, &str, String) {
    let list: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
    let network = report.network.as_ref().map(NetworkName::as_str).unwrap_or_default();
    (&report.name, network, list.join(" and "))
}

/// How many addresses; those of IPv6 would take the whole line.
pub fn count(n: u64) -> String {
    const MANY: u64 = 1 << 32;
    if n < MANY {
        return n.to_string();
    }
    format!("~2^{:.0}", (n as f64).log2())
}

/// Its kind; one whose definition has mistakes has none.
pub fn kind(network: &NetworkStatus) -> &str {
    network.kind.as_deref().unwrap_or("broken")
}
