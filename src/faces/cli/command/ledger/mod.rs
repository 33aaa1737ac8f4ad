//! `hostel ledger`: a file for each of its subcommands.

pub mod export;
pub mod verify;

use clap::{Args, Subcommand};

use super::Done;
use crate::cli::context::Context;

/// Prove what the ledger says, and give it to others
///
/// The ledger has what every VE has used, in records of which each is bound to the one before by a hash. What its units and
/// rules are: docs/METERING.md.
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
}

impl Ledger {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match &self.what {
            What::Verify(c) => c.run(context),
            What::Export(c) => c.run(context),
        }
    }
}
