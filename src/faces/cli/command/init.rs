//! `hostel init`

use clap::Args;
use hostel_engine::Engine;

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::parallel::{self, Show};

/// Prepare this host
///
/// Makes the directories, chooses the disk driver, writes example plans and networks and the host configuration, and
/// sets what the kernel must allow. Where systemd is the host's init, installs the units that start and end VEs with the
/// host, and the manager's, which it starts: hostel-boot.service, hostel.service, hostel-manager.service. Safe to run again: what a person has changed is left alone.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel init\n  hostel --config /srv/test/hostel.toml init")]
pub struct Init {}

impl Init {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        // Its steps are what a person wants to read afterwards.
        let show = Show {
            verbose: !context.show.quiet,
            live: false,
            ..context.show
        };
        parallel::one(show, "init", |progress| Engine::init(&context.config, progress))?;
        context.say("this host is ready; `hostel info` says what it can do");
        Ok(Exit::Ok)
    }
}
