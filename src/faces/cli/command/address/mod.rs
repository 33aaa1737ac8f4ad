//! `hostel address`: a file for each of its subcommands.

mod add;
mod remove;

use clap::{Args, Subcommand};
use hostel_engine::facade::AddressReport;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Give a VE addresses, or take some from it
///
/// At once and for good: in a VE that runs, and in its definition. All of it is done or nothing.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Address {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Add(add::Add),
    Remove(remove::Remove),
}

impl Address {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match &self.what {
            What::Add(c) => c.run(context),
            What::Remove(c) => c.run(context),
        }
    }
}

/// What is said of an address that a VE has, or hasn't, already.
#[derive(Debug, Clone, Copy)]
pub enum Nothing {
    /// It was to be added.
    HasIt,
    /// It was to be removed.
    HasntIt,
}

/// Says what became of it.
fn print(context: &Context, report: &AddressReport, done: &str, nothing: Nothing, json: Json) -> Done {
    if json.json {
        context.print_json(report)?;
    } else {
        context.say(&line(report, done, nothing));
    }
    Ok(Exit::Ok)
}

/// For a person.
pub fn line(report: &AddressReport, done: &str, nothing: Nothing) -> String {
    let list: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
    let (name, list) = (&report.name, list.join(" and "));
    if !report.changed {
        return match nothing {
            Nothing::HasIt => format!("{name}: has {list} already"),
            Nothing::HasntIt => format!("{name}: hasn't {list}"),
        };
    }
    let place = report.interface.as_deref().unwrap_or_default();
    let when = if report.live {
        ""
    } else {
        "; in force at its next start"
    };
    format!("{name}: {list} {done} {place}{when}")
}
