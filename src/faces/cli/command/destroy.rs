//! `hostel destroy`

use clap::Args;
use hostel_model::request::Action;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;

/// Remove VEs and their disks for good
///
/// Nothing is asked and nothing can be brought back.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel destroy web1\n  hostel destroy --force web1 db1")]
pub struct Destroy {
    #[command(flatten)]
    pub selected: Selected,

    /// Kill a VE first if it runs; without this it is refused
    #[arg(short, long)]
    force: bool,

    #[command(flatten)]
    json: Json,
}

impl Destroy {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Destroy { force: self.force }
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Light, &self.action())
    }
}
