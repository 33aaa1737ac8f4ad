//! `hostel shutdown`

use std::time::Duration;

use clap::Args;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::parallel::Load;
use crate::cli::values::duration;

/// How often VEs are looked for that have begun to run meanwhile.
const LOOKS: usize = 3;

/// End all VEs, as the host does before it goes down
///
/// Each is shut down, or suspended if its definition says so (stop.mode): a lower priority first, those of the same
/// side by side. What has not ended when the time is over is killed. The host itself runs on.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel shutdown\n  hostel shutdown --timeout 90s")]
pub struct Shutdown {
    /// Give all VEs together TIME, instead of what hostel.toml says
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,

    #[command(flatten)]
    json: Json,
}

impl Shutdown {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let mut exit = Exit::Ok;
        for look in 0..LOOKS {
            let shutdown = engine.shutdown(self.timeout)?;
            let ves = shutdown.ves();
            if ves.is_empty() {
                if look == 0 {
                    context.say("no VE runs");
                }
                break;
            }
            exit = verb::each(context, &ves, self.json, Load::Waiting, &|n, progress| {
                engine.shut_down_one(&shutdown, n, progress)
            })?;
            // What could not be ended once is not tried again: its failure is told.
            if exit != Exit::Ok {
                break;
            }
        }
        engine.end_shutdown(context);
        Ok(exit)
    }
}
