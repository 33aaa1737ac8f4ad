//! `hostel suspend`

use clap::Args;
use hostel_model::request::Action;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;

/// Write what runs in VEs to disk and free their memory
///
/// Processes, memory, open files and connections are kept, also over a boot of the host, and go on at resume or start.
/// If it can't be done, the VE runs on and the error names what stands in the way.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel suspend web1\n  hostel suspend --all")]
pub struct Suspend {
    #[command(flatten)]
    pub selected: Selected,

    #[command(flatten)]
    json: Json,
}

impl Suspend {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Suspend
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Heavy, &self.action())
    }
}
