//! `hostel compact`

use clap::Args;
use hostel_model::request::Action;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;

/// Give freed disk blocks back to the host
///
/// What the guest has deleted stays allocated on the host until then. Disk drivers that give blocks back by
/// themselves have nothing to do.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel compact --all")]
pub struct Compact {
    #[command(flatten)]
    pub selected: Selected,

    #[command(flatten)]
    json: Json,
}

impl Compact {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Compact
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Light, &self.action())
    }
}
