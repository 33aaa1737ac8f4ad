//! `hostel enter`

use clap::Args;
use hostel_model::request::{self, VeRef};

use super::Done;
use super::exec::Session;
use crate::cli::context::{self, Context};

/// Open the user's login shell inside a VE
///
/// The shell is the one that the VE's passwd file names for the user. Without a terminal it reads its commands from
/// standard input. Ends with the shell's exit code; 125 means that Hostel failed.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel enter web1\n  hostel enter web1 --user www-data")]
pub struct Enter {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    #[command(flatten)]
    session: Session,
}

impl Enter {
    /// What the engine is asked to do: no command means the user's shell.
    pub fn request(&self, interactive: bool) -> request::Exec {
        let pty = self.session.pty(interactive);
        request::Exec {
            user: self.session.user.clone(),
            pty,
            ..request::Exec::default()
        }
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let end = context
            .engine()?
            .exec(&self.ve, &self.request(context::interactive()))?;
        Ok(context.command_ended(end))
    }
}
