//! `hostel exec`

use clap::Args;
use hostel_model::request::{self, VeRef};

use super::Done;
use crate::cli::context::{self, Context};
use crate::cli::values::pair;

/// Run a command inside a VE
///
/// The command gets this terminal or pipe, a clean environment, and its arguments untouched. It gets a terminal of
/// its own if standard input and output are terminals. Ends with the command's exit code; 125 means that Hostel
/// failed, 126 that the command is not executable, 127 that the VE has no such command.
#[derive(Debug, Args)]
#[command(
    override_usage = "hostel exec [OPTIONS] <NAME|ID> [--] <COMMAND>...",
    after_long_help = "\
Examples:
  hostel exec web1 -- apt-get -y upgrade
  hostel exec web1 --user www-data --cwd /var/www -- ls -l
  echo 'select 1' | hostel exec db1 --user postgres -- psql"
)]
pub struct Exec {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    #[command(flatten)]
    session: Session,

    /// Set the variable NAME; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,

    /// Run in DIR instead of the user's home
    #[arg(short = 'w', long, value_name = "DIR")]
    cwd: Option<String>,

    /// Command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    argv: Vec<String>,
}

/// Who runs it, and whether on a terminal.
#[derive(Debug, Args)]
pub struct Session {
    /// Run as USER of the VE, or USER:GROUP, instead of root
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,

    /// Give it a terminal in any case
    #[arg(short = 't', long = "tty", overrides_with = "no_tty")]
    pub tty: bool,

    /// Give it none in any case
    #[arg(short = 'T', long = "no-tty", overrides_with = "tty")]
    pub no_tty: bool,
}

impl Session {
    /// Whether it gets a terminal; `interactive`: both ends here are one.
    pub fn pty(&self, interactive: bool) -> bool {
        self.tty || (interactive && !self.no_tty)
    }
}

impl Exec {
    /// What the engine is asked to do.
    pub fn request(&self, interactive: bool) -> request::Exec {
        request::Exec {
            argv: self.argv.clone(),
            user: self.session.user.clone(),
            env: self.env.iter().cloned().collect(),
            cwd: self.cwd.clone(),
            pty: self.session.pty(interactive),
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
