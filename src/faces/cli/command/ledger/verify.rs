//! `hostel ledger verify`

use clap::Args;
use hostel_engine::{Class, Error};

use crate::cli::command::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Prove that nothing in the ledger was changed
///
/// Reads every record and works out every hash anew. The first that is not as it was written is named, and the command
/// fails. Who has noted number and hash of the last record elsewhere can compare: all up to it is as it was then.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel ledger verify\n  hostel ledger verify --json")]
pub struct Verify {
    #[command(flatten)]
    json: Json,
}

impl Verify {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let verified = context.engine()?.verify_ledger()?;
        if self.json.json {
            context.print_json(&verified)?;
        } else if verified.broken.is_none() {
            context.print(&format!(
                "{} records are as they were written, and stand for {} more\nthe last one is {}: {}\n",
                verified.records, verified.thinned, verified.last, verified.hash
            ))?;
        }
        match &verified.broken {
            None => Ok(Exit::Ok),
            Some(broken) => {
                let what = match broken.seq {
                    0 => "the ledger was changed".to_owned(),
                    seq => format!("the ledger was changed: record {seq} is the first that is not as it was written"),
                };
                Err(Error::new(Class::Failed, what).because(broken.why.clone()).into())
            }
        }
    }
}
