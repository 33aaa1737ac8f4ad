//! `hostel console`

use clap::Args;
use hostel_model::request::VeRef;

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Join a VE's console
///
/// Shows what init and the kernel-side boot of the guest print, and its login prompt. Waits for the VE if it is
/// stopped. Type Ctrl-A q to leave; the VE runs on.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel console web1")]
pub struct Console {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,
}

impl Console {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.engine()?;
        engine.console(&self.ve, |name| {
            context.say(&format!("console of {name}; type Ctrl-A q to leave it"));
        })?;
        Ok(Exit::Ok)
    }
}
