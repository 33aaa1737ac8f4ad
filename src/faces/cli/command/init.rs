//! `hostel init`

use std::path::PathBuf;

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
///
/// With --vz, the tools of OpenVZ are links to Hostel in DIR (vzctl, vzlist, and others), which then speaks their dialect.
/// What has such a name and isn't Hostel's is left alone, and no link is made.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  hostel init\n  hostel init --vz\n  hostel --config /srv/test/hostel.toml init"
)]
pub struct Init {
    /// Make the names of OpenVZ's tools in DIR, /usr/sbin unless said
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "/usr/sbin")]
    vz: Option<PathBuf>,
}

impl Init {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        // Its steps are what a person wants to read afterwards.
        let show = Show {
            verbose: !context.show.quiet,
            live: false,
            ..context.show
        };
        parallel::one(show, "init", |progress| {
            Engine::init(&context.config, progress)?;
            match &self.vz {
                Some(dir) => context.engine()?.install_dialect(&crate::tools(), dir, progress),
                None => Ok(()),
            }
        })?;
        context.say("this host is ready; `hostel info` says what it can do");
        Ok(Exit::Ok)
    }
}
