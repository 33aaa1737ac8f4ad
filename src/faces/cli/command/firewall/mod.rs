//! `hostel firewall`: a file for each of its subcommands.

pub mod apply;
pub mod show;

use clap::{Args, Subcommand};

use super::{Done, Json};
use crate::cli::context::Context;

/// Show who may reach a VE, and put changed rules in force
///
/// Access rules are the [firewall] of a VE's definition and of its tenant's: see docs/FIREWALL.md.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Firewall {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Show(show::Show),
    Apply(apply::Apply),
}

impl Firewall {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match &self.what {
            What::Show(c) => c.run(context),
            What::Apply(c) => c.run(context),
        }
    }
}
