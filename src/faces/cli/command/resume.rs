//! `hostel resume`

use clap::Args;
use hostel_model::request::Action;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;

/// Let suspended VEs go on where they were
///
/// Its limits, addresses and connections are the same as before. If it can't be done, the VE stays suspended with
/// all that ran in it; start --discard gives that up and boots it anew.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel resume web1\n  hostel resume --all")]
pub struct Resume {
    #[command(flatten)]
    pub selected: Selected,

    #[command(flatten)]
    json: Json,
}

impl Resume {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Resume
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Heavy, &self.action())
    }
}
