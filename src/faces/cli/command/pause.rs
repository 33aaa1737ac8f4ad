//! `hostel pause`

use clap::Args;
use hostel_model::request::Action;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;

/// Freeze every process of VEs
///
/// The VE keeps its memory and its connections and uses no processor time until unpause.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel pause web1\n  hostel pause --tenant acme")]
pub struct Pause {
    #[command(flatten)]
    pub selected: Selected,

    #[command(flatten)]
    json: Json,
}

impl Pause {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Pause
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Light, &self.action())
    }
}
