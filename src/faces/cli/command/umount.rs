//! `hostel umount`

use clap::Args;
use hostel_model::request::Action;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;

/// Take away what mount has mounted
///
/// The root that mount made visible on the host goes away again; nothing on it is lost.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel umount web1")]
pub struct Umount {
    #[command(flatten)]
    pub selected: Selected,

    #[command(flatten)]
    json: Json,
}

impl Umount {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Umount
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Light, &self.action())
    }
}
