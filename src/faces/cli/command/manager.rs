//! `hostel manager`

use clap::Args;

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Measure what VEs use, until told to end
///
/// A service for the host's init: "hostel init" installs it as hostel-manager.service. It measures each VE that runs once a
/// minute ([metering] in hostel.toml), enters that into the ledger, and thins what is old there. It holds nothing that
/// isn't on disk: to stop, kill or upgrade it touches no VE, and what a VE uses meanwhile is entered when that stops or a
/// manager runs again.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  systemctl status hostel-manager\n  hostel manager")]
pub struct Manager {}

impl Manager {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        context.careful_engine()?.manage(context)?;
        Ok(Exit::Ok)
    }
}
