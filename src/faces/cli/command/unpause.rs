//! `hostel unpause`

use clap::Args;
use hostel_model::request::Action;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;

/// Let paused VEs go on
///
/// Its processes continue where pause froze them.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel unpause web1")]
pub struct Unpause {
    #[command(flatten)]
    pub selected: Selected,

    #[command(flatten)]
    json: Json,
}

impl Unpause {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Unpause
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Light, &self.action())
    }
}
