//! `hostel mount`

use clap::Args;
use hostel_model::request::Action;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;

/// Mount the root of stopped VEs, for repair
///
/// Prints the path of each root, a line each. The VE cannot start until umount.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel mount web1\n  ls $(hostel mount -q web1)/etc")]
pub struct Mount {
    #[command(flatten)]
    pub selected: Selected,

    #[command(flatten)]
    json: Json,
}

impl Mount {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Mount
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Light, &self.action())
    }
}
