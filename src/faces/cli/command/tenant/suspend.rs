//! `hostel tenant suspend`

use std::time::Duration;

use clap::Args;
use hostel_model::id::TenantName;

use super::{Done, Json};
use crate::cli::command::verb;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::parallel::Load;
use crate::cli::values::duration;

/// Stop a tenant's VEs, and let none start
///
/// It is written first, so that no VE of the tenant can start from then on, not with the host either; then they are
/// shut down, side by side. Which of them ran is remembered for unsuspend. If it is cut short, do it again.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel tenant suspend acme --reason unpaid
  hostel tenant suspend acme --timeout 5s")]
pub struct Suspend {
    /// Name of the tenant
    #[arg(value_name = "TENANT")]
    name: TenantName,

    /// Show TEXT to whoever wants to start one
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Give each guest TIME, instead of what its definition says
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,

    #[command(flatten)]
    json: Json,
}

impl Suspend {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let ves = engine.suspend_tenant(&self.name, self.reason.as_deref(), context)?;
        if ves.is_empty() {
            context.say(&format!("{}: suspended; it has no VEs", self.name));
            return Ok(Exit::Ok);
        }
        let done = verb::each(context, &ves, self.json, Load::Waiting, &|n, progress| {
            engine.halt(&self.name, &ves[n], self.timeout, progress)
        })?;
        context.say(&match done {
            Exit::Ok => format!("{}: suspended", self.name),
            _ => format!(
                "{}: suspended, but not all of its VEs are stopped: do it again",
                self.name
            ),
        });
        Ok(done)
    }
}
