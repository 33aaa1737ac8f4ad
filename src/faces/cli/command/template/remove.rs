//! `hostel template remove`

use clap::Args;

use serde_json::json;

use super::{Done, Json};
use crate::cli::command::verb;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure;

/// Remove template versions
///
/// A version that VEs stand on is refused. With --json, an object for each, one a line, with template, ok, and error if
/// it isn't.
#[derive(Debug, Args)]
#[command(
    visible_alias = "rm",
    after_long_help = "Examples:\n  hostel template remove debian-12/20250101"
)]
pub struct Remove {
    /// Template with one version, or template/version
    #[arg(value_name = "TEMPLATE", required = true)]
    names: Vec<String>,

    #[command(flatten)]
    json: Json,
}

impl Remove {
    /// Does it; one failure stops no other.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.engine()?;
        let mut exit = Exit::Ok;
        for name in &self.names {
            let removed = engine.template_remove(name);
            exit = exit.worse(removed.as_ref().map_or_else(Exit::of, |()| Exit::Ok));
            if self.json.json {
                context.print_json_line(&match &removed {
                    Ok(()) => json!({ "template": name, "ok": true }),
                    Err(e) => json!({ "template": name, "ok": false, "error": failure::json(e) }),
                })?;
            }
            match removed {
                Ok(()) => context.say(verb::done(name, "removed", true, context.show.paint).trim_end()),
                Err(error) => context.error_of(&error, Some(name)),
            }
        }
        Ok(exit)
    }
}
