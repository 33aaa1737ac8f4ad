//! `hostel ledger export`

use clap::{Args, ValueEnum};
use hostel_engine::facade::Exported;
use hostel_engine::{Class, Error};

use crate::cli::books::From;
use crate::cli::command::Done;
use crate::cli::context::Context;
use crate::cli::csv;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::window;

/// Print the ledger's records
///
/// In the order in which they were written, with the bytes and the hash of each. A record that lies partly in the time
/// asked for is printed whole. Of several hosts, one after the other, with the host of each record.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel ledger export --from 2026-10-01 --to 2026-11-01 > october.jsonl")]
pub struct Export {
    /// From this DATE or TIME on, in UTC
    #[arg(long, value_name = "TIME", value_parser = window::moment)]
    from: Option<i64>,

    /// Up to this DATE or TIME, in UTC
    #[arg(long, value_name = "TIME", value_parser = window::moment)]
    to: Option<i64>,

    /// As an object a line, or as a table
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: Format,

    #[command(flatten)]
    books: From,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
}

/// The columns of a table; what was used is in one of them.
const COLUMNS: [&str; 17] = [
    "seq",
    "kind",
    "ve",
    "life",
    "life_record",
    "terms_record",
    "name",
    "tenant",
    "plan",
    "from_ns",
    "to_ns",
    "usage",
    "unread",
    "text",
    "body",
    "hash",
    "host",
];

impl Export {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let window = hostel_engine::facade::Window {
            from_ns: self.from.unwrap_or(i64::MIN),
            to_ns: self.to.unwrap_or(i64::MAX),
        };
        if window.from_ns >= window.to_ns {
            return Err(Error::new(Class::Usage, "the time asked for ends before it begins").into());
        }
        let engine = context.engine()?;
        if matches!(self.format, Format::Csv) {
            context.print(&csv::line(&COLUMNS))?;
        }
        // What can't be printed ends it; the engine knows of no faces, so that comes back by the side.
        let mut unprinted = None;
        engine.export_ledger(&self.books.get(), window, &mut |record| {
            if unprinted.is_none() {
                unprinted = self.print(context, record).err();
            }
            Ok(())
        })?;
        unprinted.map_or(Ok(Exit::Ok), Err)
    }

    fn print(&self, context: &Context, record: &Exported) -> Result<(), Failure> {
        match self.format {
            Format::Jsonl => context.print_json_line(record),
            Format::Csv => {
                let usage: Vec<String> = record.usage.iter().map(|(name, n)| format!("{name}={n}")).collect();
                let cells = [
                    record.seq.to_string(),
                    record.kind.clone(),
                    record.ve.to_string(),
                    record.life.clone(),
                    record.life_record.to_string(),
                    record.terms_record.to_string(),
                    record.name.clone(),
                    record.tenant.clone(),
                    record.plan.clone(),
                    record.from_ns.to_string(),
                    record.to_ns.to_string(),
                    usage.join(" "),
                    record.unread.join(" "),
                    record.text.clone(),
                    record.body.clone(),
                    record.hash.clone(),
                    record.host.clone(),
                ];
                context.print(&csv::line(&cells))
            }
        }
    }
}
