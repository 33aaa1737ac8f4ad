//! `hostel tenant unsuspend`

use clap::Args;
use hostel_model::id::TenantName;

use super::{Done, Json};
use crate::cli::command::verb;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::parallel::Load;

/// Let a tenant's VEs start again, and start those that ran
///
/// Those that ran when it was suspended. One that can't be started is tried again when this is done again.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel tenant unsuspend acme
  hostel tenant unsuspend acme --no-start")]
pub struct Unsuspend {
    /// Name of the tenant
    #[arg(value_name = "TENANT")]
    name: TenantName,

    /// Start none of them, and forget which ran
    #[arg(long)]
    no_start: bool,

    #[command(flatten)]
    json: Json,
}

impl Unsuspend {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let ves = engine.unsuspend_tenant(&self.name, context)?;
        context.say(&format!("{}: not suspended any more", self.name));
        if ves.is_empty() {
            return Ok(Exit::Ok);
        }
        verb::each(context, &ves, self.json, Load::Heavy, &|n, progress| {
            engine.release(&ves[n], !self.no_start, progress)
        })
    }
}
