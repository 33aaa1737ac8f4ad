//! `hostel settle`: what a monitor becomes when its VE has ended. Not for people, so not in the help.

use clap::Args;
use hostel_model::id::VeId;

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Clear up after a VE that has ended, or after a command on it that was killed
#[derive(Debug, Args)]
pub struct Settle {
    /// The VE
    id: VeId,

    /// How it ended; `left`: it lives, and the command doesn't
    reason: String,
}

impl Settle {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        context
            .engine()?
            .settle(self.id, &self.reason, &hostel_engine::facade::Silent)?;
        Ok(Exit::Ok)
    }
}
