//! `hostel start`

use std::time::Duration;

use clap::Args;
use hostel_model::request::{Action, StartOptions};

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;
use crate::cli::values::duration;

/// Boot VEs
///
/// Returns when init runs in each VE; with --wait, when the guest says that it has booted. A VE that runs already
/// is left alone, and that is no failure. A suspended VE goes on where it was, unless --discard says otherwise.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  hostel start web1\n  hostel start --tenant acme --wait --timeout 90s\n  hostel start --all"
)]
pub struct Start {
    #[command(flatten)]
    pub selected: Selected,

    /// Return only when the guest has booted
    #[arg(long)]
    wait: bool,

    /// Give up waiting after TIME, 2m unless said; the VE runs on
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "wait")]
    timeout: Option<Duration>,

    /// Boot a suspended VE anew; what ran in it is lost
    #[arg(long)]
    discard: bool,

    #[command(flatten)]
    json: Json,
}

impl Start {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        Action::Start(StartOptions {
            wait: self.wait,
            timeout: self.timeout,
            discard: self.discard,
            ..StartOptions::default()
        })
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Heavy, &self.action())
    }
}
