//! `hostel manager`

use std::sync::Arc;

use clap::Args;
use hostel_engine::facade::Progress;
use hostel_engine::interrupt;

use super::Done;
use super::metrics::serve;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, with_causes};

/// Measure what VEs use, until told to end
///
/// A service for the host's init: "hostel init" installs it as hostel-manager.service. It measures each VE that runs once a
/// minute ([metering] in hostel.toml), enters that into the ledger, and thins what is old there. It holds nothing that
/// isn't on disk: to stop, kill or upgrade it touches no VE, and what a VE uses meanwhile is entered when that stops or a
/// manager runs again. Each time it also sees that the firewall's tables stand, and loads them again where somebody has
/// flushed or changed their rules; and of each VE that runs it writes down every ten minutes what has passed its interfaces.
/// It runs what schedules say (see hostel schedule). With metrics.listen in hostel.toml it serves metrics too, as
/// "hostel metrics" does.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  systemctl status hostel-manager\n  hostel manager")]
pub struct Manager {}

impl Manager {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = Arc::new(context.careful_engine()?);
        let Some(listen) = engine.metrics_listen() else {
            engine.manage(context)?;
            return Ok(Exit::Ok);
        };
        // It measures whether or not anybody can ask for metrics.
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                if let Err(Failure::Engine(e)) = serve(context, &engine, listen) {
                    context.note(&with_causes(&e));
                }
            });
            let done = engine.manage(context);
            if done.is_err() {
                // The server ends by the same word as the manager.
                interrupt::raise();
            }
            // It has told what was wrong with it.
            let _ = server.join();
            done
        })?;
        Ok(Exit::Ok)
    }
}
