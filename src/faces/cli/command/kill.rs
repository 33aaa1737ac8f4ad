//! `hostel kill`

use clap::Args;
use hostel_model::request::Action;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;

/// End VEs at once
///
/// Ends every process of the VE without asking the guest, as if its power were cut.
/// Use stop to let the guest shut down.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel kill web1")]
pub struct Kill {
    #[command(flatten)]
    pub selected: Selected,

    #[command(flatten)]
    json: Json,
}

impl Kill {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Kill
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Light, &self.action())
    }
}
