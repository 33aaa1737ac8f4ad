//! `hostel schedule run`

use std::io::Write;

use clap::Args;
use hostel_engine::{Class, Error};
use hostel_model::id::ScheduleName;
use jiff::Timestamp;

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Do now what a schedule does, also if it is disabled
///
/// What the command says goes to standard output as it comes, and its exit code is this one's. Refused while the schedule
/// runs already. Ctrl-C is passed on to the command.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel schedule run nightly")]
pub struct Run {
    /// Name of the schedule
    #[arg(value_name = "SCHEDULE")]
    name: ScheduleName,

    /// When it was due: how the manager runs it
    #[arg(long, value_name = "TIME", hide = true)]
    due: Option<Timestamp>,
}

impl Run {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        // Whether anybody hears it makes no difference to what is done.
        let mut hear = |piece: &[u8]| {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(piece).and_then(|()| out.flush());
        };
        let run = engine.run_schedule(&self.name, self.due, &mut hear)?;
        context.say(&format!("schedule {}: {}", self.name, run.result));
        match run.code.map(u8::try_from) {
            Some(Ok(code)) => Ok(Exit::Command(code)),
            _ => Err(Error::new(Class::Failed, format!("schedule {}: {}", self.name, run.result)).into()),
        }
    }
}
