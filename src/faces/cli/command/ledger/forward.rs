//! `hostel ledger forward`

use clap::Args;

use crate::cli::command::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Forward this host's ledger to the fleet's now
///
/// The manager does that by itself, after each look at the VEs; this is for hosts where none runs, and for whoever doesn't
/// want to wait. What is there already is not sent again. What to do when it is refused: docs/METERING.md, "Several hosts".
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel ledger forward")]
pub struct Forward {
    /// Set what is there of this host aside, so that no report has it, and forward all of its ledger once more
    #[arg(long)]
    anew: bool,
}

impl Forward {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let sent = context.engine()?.forward_ledger(self.anew, context)?;
        context.print(&match sent.records {
            0 => format!("nothing was left to forward; the last record is {}\n", sent.last),
            n => format!("{n} records were forwarded; the last one is {}\n", sent.last),
        })?;
        Ok(Exit::Ok)
    }
}
