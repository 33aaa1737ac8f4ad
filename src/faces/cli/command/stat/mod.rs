//! `hostel stat`: what is asked for, and the loop of readings. How it is shown is in the files of this folder.

mod form;
mod json;
mod lines;
mod select;
pub mod table;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use clap::Args;
use hostel_engine::interrupt;
use hostel_model::stat::{self, Report, Row, Snapshot, Tally};

pub use form::View;
pub use select::{Choice, Group, Order};

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::values::duration;
use form::{Block, Form};

/// How long a look is where no interval was asked for. Processor time is told by the tick (4 ms mostly), so it is right
/// to about 5 %.
const LOOK: Duration = Duration::from_millis(80);

/// The least interval.
pub const LEAST: Duration = Duration::from_millis(20);

/// How long Ctrl-C may wait to be heard.
const HEED: Duration = Duration::from_millis(50);

/// Show who uses how much of the host, live
///
/// After each INTERVAL a table: the host, what of it runs in no VE, and each VE. Without INTERVAL one look, over 80 ms.
/// COUNT intervals are shown, or all until Ctrl-C. A share is of the host, of the VE's limit, or of what its weight
/// entitles it to; "-" is unknown or no limit. docs/STAT.md defines every column. With --json, an object on a line of
/// its own for each table, with every figure.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel stat
  hostel stat 5s 12 --resource cpu --report average,high
  hostel stat 1m --by tenant --json")]
pub struct Stat {
    /// Time between tables, such as 5s
    #[arg(value_name = "INTERVAL", value_parser = interval)]
    interval: Option<Duration>,

    /// How many intervals
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// What of it
    #[arg(short, long, value_name = "RESOURCE", default_value = "summary", value_parser = View::parser())]
    resource: View,

    /// Kinds of tables: each interval, or at the end the average over all the time (total) or over the time in which a VE ran
    /// (average), or the highest
    #[arg(short = 'R', long, value_name = "REPORT", value_delimiter = ',', default_value = "interval", value_parser = form::report_parser())]
    report: Vec<Report>,

    #[command(flatten)]
    choice: Choice,

    /// Print lines for programs: whole numbers, fields with ":" between them
    #[arg(short, long, conflicts_with = "json")]
    parsable: bool,

    /// Print JSON; its shape is stable
    #[arg(long)]
    json: bool,
}

/// An interval as it is typed.
pub fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        long if long >= LEAST => Ok(long),
        _ => Err(format!("an interval is at least {} ms", LEAST.as_millis())),
    }
}

impl Stat {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.engine()?;
        interrupt::watch()?;
        let meter = engine.meter();
        let (each, count) = match self.interval {
            Some(each) => (each, self.count),
            None => (LOOK, Some(1)),
        };
        let mut tally = Tally::default();
        let mut next = Instant::now();
        let mut before = meter.begin()?;
        for n in 1..=count.unwrap_or(u64::MAX) {
            // What a table takes doesn't make the next interval shorter or longer.
            next += each;
            if !wait(next) {
                break;
            }
            let now = meter.read()?;
            let interval = stat::interval(&before, &now);
            if self.report.contains(&Report::Interval) {
                let block = Self::block(Report::Interval, n, interval.ns, n == 1);
                self.show(context, &now, block, interval.rows.clone())?;
            }
            tally.add(&interval);
            before = now;
        }
        if tally.intervals() > 0 {
            let alone = !self.report.contains(&Report::Interval);
            let reports = self.report.iter().filter(|r| **r != Report::Interval);
            for (n, report) in reports.enumerate() {
                let block = Self::block(*report, tally.intervals(), tally.ns(), alone && n == 0);
                self.show(context, &before, block, tally.rows(*report))?;
            }
        }
        Ok(Exit::Ok)
    }

    fn block(report: Report, intervals: u64, ns: u64, first: bool) -> Block {
        Block {
            report,
            intervals,
            ns,
            time: jiff::Timestamp::now(),
            first,
        }
    }

    fn show(&self, context: &Context, now: &Snapshot, block: Block, rows: Vec<Row>) -> Result<(), Failure> {
        let rows = self.pick(rows);
        match self.form() {
            Form::Json => context.print_json_line(&json::object(&block, &rows)),
            Form::Lines => context.print(&lines::lines(&block, self.resource, &rows)),
            Form::Table => {
                if !block.first {
                    context.print("\n")?;
                }
                context.print(&table::heading(&block, &now.host.sizes))?;
                for (title, table) in table::tables(self.resource, &rows, table::LEAST) {
                    context.print(&title)?;
                    context.print_table(&table)?;
                }
                Ok(())
            }
        }
    }

    fn pick(&self, rows: Vec<Row>) -> Vec<Row> {
        self.choice.pick(rows, self.resource)
    }

    fn form(&self) -> Form {
        match (self.json, self.parsable) {
            (true, _) => Form::Json,
            (_, true) => Form::Lines,
            _ => Form::Table,
        }
    }
}

/// Waits for a moment. False if Ctrl-C came first.
fn wait(until: Instant) -> bool {
    loop {
        if interrupt::raised() {
            return false;
        }
        match until.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => std::thread::sleep(left.min(HEED)),
            _ => return true,
        }
    }
}
