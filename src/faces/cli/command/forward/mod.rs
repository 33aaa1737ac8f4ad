//! `hostel forward`: a file for each of its subcommands.

mod add;
pub mod list;
mod remove;

use clap::{Args, Subcommand};
use hostel_engine::facade::ForwardReport;
use hostel_model::forward::Listen;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Lead ports of the host to a VE
///
/// TCP or UDP, of IPv4 and IPv6: what comes to the host on such a port goes to the VE, from outside, from other VEs,
/// from the host and from the VE itself. At once and for good: in the firewall, and in the VE's definition.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Forward {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Add(add::Add),
    Remove(remove::Remove),
    List(list::List),
}

impl Forward {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match &self.what {
            What::Add(c) => c.run(context),
            What::Remove(c) => c.run(context),
            What::List(c) => c.run(context),
        }
    }
}

fn listen(text: &str) -> Result<Listen, String> {
    text.parse().map_err(|expected| format!("expected {expected}"))
}

/// Says what became of it.
fn print(context: &Context, report: &ForwardReport, done: &str, nothing: &str, json: Json) -> Done {
    if json.json {
        context.print_json(report)?;
    } else {
        context.say(&line(report, done, nothing));
    }
    Ok(Exit::Ok)
}

/// For a person.
pub fn line(report: &ForwardReport, done: &str, nothing: &str) -> String {
    let ForwardReport { name, listen, .. } = report;
    let protocol = report.protocol.map(|p| format!("{p} ")).unwrap_or_default();
    if !report.changed {
        return format!("{name}: {protocol}{listen} {nothing}");
    }
    let to = report.to.and_then(|to| listen.ports.moved_to(to));
    let to = to.map(|to| format!(" {to}")).unwrap_or_default();
    let when = if report.live { "" } else { "; in force when it runs" };
    format!("{name}: {protocol}{listen} {done}{to}{when}")
}
