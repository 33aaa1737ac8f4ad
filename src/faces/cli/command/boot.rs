//! `hostel boot`

use clap::Args;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::parallel::Load;

/// Start the VEs that are to run when the host has booted
///
/// Those with onboot = true, and those that the host's shutdown has suspended. A higher priority starts first, and the
/// next begins when all of the last have booted; of the same priority, as many start at once as the host bears. A VE
/// that runs already is left alone, and one that fails keeps no other from starting.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel boot\n  systemctl status hostel-boot")]
pub struct Boot {
    #[command(flatten)]
    json: Json,
}

impl Boot {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let boot = engine.boot(context)?;
        let ves = boot.ves();
        if ves.is_empty() {
            context.say("there is no VE to start with the host");
            return Ok(Exit::Ok);
        }
        verb::each(context, &ves, self.json, Load::Waiting, &|n, progress| {
            engine.boot_one(&boot, n, progress)
        })
    }
}
