//! `hostel ledger`: a file for each of its subcommands.

pub mod export;
pub mod forward;
pub mod hosts;
pub mod status;
pub mod verify;

use clap::{Args, Subcommand};

use super::Done;
use crate::cli::context::Context;

/// Prove what the ledger says, and give it to others
///
/// The ledger has what every VE has used, in records of which each is bound to the one before by a hash. What its units and
/// rules are: docs/METERING.md. Where hostel.toml names a PostgreSQL (ledger), the manager forwards it there, to where
/// those of other hosts are: the fleet's ledger.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Ledger {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Verify(verify::Verify),
    Export(export::Export),
    Status(status::Status),
    Forward(forward::Forward),
    Hosts(hosts::Hosts),
}

impl Ledger {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match &self.what {
            What::Verify(c) => c.run(context),
            What::Export(c) => c.run(context),
            What::Status(c) => c.run(context),
            What::Forward(c) => c.run(context),
            What::Hosts(c) => c.run(context),
        }
    }
}
