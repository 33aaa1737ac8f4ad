//! `hostel restart`

use std::time::Duration;

use clap::Args;
use hostel_model::request::{Action, StartOptions};

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;
use crate::cli::values::duration;

/// Stop VEs, then start them
///
/// Settings that wait for a restart take effect. A VE that is stopped is started.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  hostel restart web1\n  hostel restart web1 --timeout 5s --wait --boot-timeout 90s"
)]
pub struct Restart {
    #[command(flatten)]
    pub selected: Selected,

    /// Give the guest TIME to shut down, instead of what its definition says
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,

    /// Return only when the guest has booted
    #[arg(long)]
    wait: bool,

    /// Give up waiting after TIME, 2m unless said; the VE runs on
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "wait")]
    boot_timeout: Option<Duration>,

    #[command(flatten)]
    json: Json,
}

impl Restart {
    /// What the engine is asked to do.
    pub fn action(&self) -> Action {
        let start = StartOptions {
            wait: self.wait,
            timeout: self.boot_timeout,
            ..StartOptions::default()
        };
        Action::Restart {
            timeout: self.timeout,
            start,
        }
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::run(context, &self.selected, self.json, Load::Heavy, &self.action())
    }
}
