//! `hostel template remove`

use clap::Args;

use super::Done;
use crate::cli::command::verb;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Remove template versions
///
/// A version that VEs stand on is refused.
#[derive(Debug, Args)]
#[command(
    visible_alias = "rm",
    after_long_help = "Examples:\n  hostel template remove debian-12/20250101"
)]
pub struct Remove {
    /// Template with one version, or template/version
    #[arg(value_name = "TEMPLATE", required = true)]
    names: Vec<String>,
}

impl Remove {
    /// Does it; one failure stops no other.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.engine()?;
        let mut exit = Exit::Ok;
        for name in &self.names {
            match engine.template_remove(name) {
                Ok(()) => context.say(verb::done(name, "removed", true, context.show.paint).trim_end()),
                Err(error) => {
                    context.error_of(&error, Some(name));
                    exit = exit.worse(Exit::of(&error));
                }
            }
        }
        Ok(exit)
    }
}
