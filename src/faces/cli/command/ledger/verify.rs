//! `hostel ledger verify`

use clap::Args;
use hostel_engine::ledger::{ClosedDay, Verified};
use hostel_engine::{Class, Error};

use crate::cli::books::From;
use crate::cli::command::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Prove that nothing in the ledger was changed
///
/// Reads every record and works out every hash anew. The first that is not as it was written is named, and the command
/// fails; so it does if the sums beside the records, which reports are made of, are not what these come to. Who has noted
/// number and hash of the record that closed a day elsewhere can compare: what was used up to then is what it was, but for
/// days that were closed late or again, which are named. With --fleet or --host, that of what hosts have forwarded; with --json
/// then an array.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  hostel ledger verify\n  hostel ledger verify --json\n  hostel ledger verify --fleet"
)]
pub struct Verify {
    #[command(flatten)]
    books: From,

    #[command(flatten)]
    json: Json,
}

impl Verify {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let (engine, books) = (context.engine()?, self.books.get());
        if !books.of_fleet() {
            let verified = engine.verify_ledger()?;
            if self.json.json {
                context.print_json(&verified)?;
            } else if verified.broken.is_none() {
                context.print(&sound(&verified))?;
            }
            return broken("the ledger", &verified).map_or(Ok(Exit::Ok), |e| Err(e.into()));
        }
        let all = engine.verify_fleet(&books)?;
        if self.json.json {
            context.print_json(&all)?;
        }
        let mut wrong = None;
        for one in &all {
            match broken(&format!("the ledger of {} in the fleet's", one.host), &one.verified) {
                None if self.json.json => {}
                None => context.print(&format!("{} ({}): {}", one.host, one.id, sound(&one.verified)))?,
                Some(e) => {
                    if let Some(before) = wrong.replace(e) {
                        context.error(&before);
                    }
                }
            }
        }
        wrong.map_or(Ok(Exit::Ok), |e| Err(e.into()))
    }
}

fn sound(verified: &Verified) -> String {
    let mut text = format!(
        "{} records are as they were written, and stand for {} more\nthe last one is {}: {}\n",
        verified.records, verified.thinned, verified.last, verified.hash
    );
    if let Some(ClosedDay { day, seq, hash }) = &verified.closed {
        text.push_str(&format!("the last day that was closed is {day}, by {seq}: {hash}\n"));
    }
    for ClosedDay { day, seq, .. } in &verified.closed_late {
        text.push_str(&format!(
            "{day} was closed late or again, by {seq}: something came in afterwards\n"
        ));
    }
    for day in &verified.not_closed {
        text.push_str(&format!("{day} is not closed\n"));
    }
    text
}

fn broken(what: &str, verified: &Verified) -> Option<Error> {
    let broken = verified.broken.as_ref()?;
    let what = match broken.seq {
        0 => format!("{what} was changed"),
        seq => format!("{what} was changed: record {seq} is the first that is not as it was written"),
    };
    Some(Error::new(Class::Failed, what).because(broken.why.clone()))
}
