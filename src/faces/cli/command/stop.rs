//! `hostel stop`

use std::time::Duration;

use clap::Args;
use hostel_model::request::Action;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;
use crate::cli::values::duration;

/// Shut VEs down
///
/// Asks the guest's init to shut down, in the way that init knows, and ends what is left of the VE when the time is
/// up. A VE that is stopped already is left alone, and that is no failure.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel stop web1\n  hostel stop web1 db1 --timeout 5s\n  hostel stop --all")]
pub struct Stop {
    #[command(flatten)]
    pub selected: Selected,

    /// Give the guest TIME, instead of what its definition says
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,

    #[command(flatten)]
    json: Json,
}

impl Stop {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Stop { timeout: self.timeout }
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Waiting, &self.action())
    }
}
