//! `hostel report`

mod bill;
mod budget;
mod html;
mod sheet;
mod span;

use std::time::Duration;

use clap::{Args, ValueEnum};
use hostel_engine::facade::{By, Row, Whole, Whose, Window};
use hostel_engine::{Class, Error};
use hostel_model::id::TenantName;
use hostel_model::usage::{HOUR, Level, availability};
use serde_json::{Map, Value};

use self::span::Span;
use super::Done;
use crate::cli::books::From;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::human::{bytes, seconds};
use crate::cli::table::{Cell, Column, Table};
use crate::cli::values::duration;
use crate::cli::window;

/// Show what VEs have used
///
/// Worked out from the ledger for any time, which is this month if nothing else is said; all times are in UTC. The first
/// row is the total. What a VE used while it had another name, tenant or plan counts for those. Averages of memory and
/// disk are of one VE in the time in which they were known, peaks are of one VE; GIB-H, which bills go by, are of all
/// together: GiB times hours. AVAIL% is for how much of the time that
/// it should have run it did, P95 what 95 of 100 hours did not pass; OOM are processes killed for want of memory, FULL is for
/// how long a disk was full. Of a tenant, what is left of this month's budget for
/// traffic is told too. With --format json, exact and with everything
/// that is measured, and numbers above 2^53 as texts; what that is, and how: docs/METERING.md. With --invoice, what that costs by the prices in
/// prices.toml, beside hostel.toml: each line is rounded once, and sums are of what is printed. Each says up to when it is
/// complete: what was used later is not in the ledger yet. With --format html, a
/// page with charts that needs nothing else.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel report --tenant acme --from 2026-10-01 --to 2026-10-15 --by day
  hostel report --ve web1 --last 24h --by hour --format csv
  hostel report --fleet --month 2026-10 --by tenant --invoice")]
pub struct Report {
    #[command(flatten)]
    whose: Wanted,

    /// Of this month
    #[arg(long, value_name = "YYYY-MM", value_parser = window::month, conflicts_with_all = ["from", "to", "last"])]
    month: Option<(i64, i64)>,

    /// From this DATE or TIME on
    #[arg(long, value_name = "TIME", value_parser = window::moment)]
    from: Option<i64>,

    /// Up to this DATE or TIME; now if not said
    #[arg(long, value_name = "TIME", value_parser = window::moment, requires = "from")]
    to: Option<i64>,

    /// Of the last TIME
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "from")]
    last: Option<Duration>,

    /// A row for each of these
    #[arg(long, value_name = "WHAT", default_value = "ve")]
    by: Grouped,

    #[command(flatten)]
    books: From,

    /// What it costs, by prices.toml
    #[arg(long)]
    invoice: bool,

    /// How it is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// Whose usage is wanted: one of them at most.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Wanted {
    /// That of all VEs, as if nothing is said
    #[arg(long)]
    all: bool,

    /// That of the VEs of TENANT, while they were its
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantName>,

    /// That of VEs while they had this name, or of all that have had this number
    #[arg(long, value_name = "NAME|ID")]
    ve: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Grouped {
    Tenant,
    Ve,
    Plan,
    Day,
    Hour,
    /// With --fleet or --host
    Host,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
    Html,
}

impl Grouped {
    /// What a row is of.
    const fn of(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::Ve => "VE",
            Self::Plan => "Plan",
            Self::Day => "Day",
            Self::Hour => "Hour",
            Self::Host => "Host",
        }
    }
}

impl Report {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let whose = match (&self.whose.tenant, &self.whose.ve) {
            (Some(tenant), _) => Whose::Tenant(tenant.to_string()),
            (_, Some(ve)) => Whose::Ve(ve.clone()),
            _ => Whose::All,
        };
        let by = match self.by {
            Grouped::Tenant => By::Tenant,
            Grouped::Ve => By::Ve,
            Grouped::Plan => By::Plan,
            Grouped::Day => By::Day,
            Grouped::Hour => By::Hour,
            Grouped::Host => By::Host,
        };
        let books = self.books.get();
        if by == By::Host && !books.of_fleet() {
            let error = Error::new(Class::Usage, "this host's ledger is of one host");
            return Err(error.hint("for all that forward theirs: --fleet").into());
        }
        let window = self.window(jiff::Timestamp::now())?;
        let engine = context.engine()?;
        let said = engine.report(&books, window, &whose, by, context)?;
        let now_ns = ns(jiff::Timestamp::now());
        let (rows, span) = (said.rows, Span::of(self.shown(window, now_ns), said.complete_ns));
        let bills = if self.invoice { Some(engine.bills(&rows)?) } else { None };
        let tenant = self.whose.tenant.as_ref();
        // A budget is this host's, and what is left of it too.
        let own = !books.of_fleet();
        let budgets = budget::of(&engine, &rows, tenant.filter(|_| own), own && by == By::Tenant);
        match (self.format, &bills) {
            (Format::Table, None) => {
                context.print_table(&table(&rows, self.by))?;
                context.print(&budget::lines(&rows, &budgets, tenant))?;
                context.print(&span.line())?;
            }
            (Format::Table, Some(bills)) => {
                context.print_table(&bill::table(bills))?;
                context.print(&span.line())?;
            }
            (Format::Json, None) => {
                let rows = rows.iter().zip(&budgets).map(object);
                context.print_json(&rows.map(|row| span.put_into(row)).collect::<Vec<_>>())?;
            }
            (Format::Json, Some(bills)) => context.print_json(&bill::objects(bills, &span))?,
            (Format::Csv, None) => context.print(&sheet::text(&rows, &budgets, &span))?,
            (Format::Csv, Some(bills)) => context.print(&bill::sheet(bills, &span))?,
            (Format::Html, _) => {
                let step = html::step(window);
                let course = if step == HOUR { By::Hour } else { By::Day };
                let course = engine.report_as_it_is(&books, window, &whose, course, context)?.rows;
                let page = html::Page {
                    title: self.title(),
                    window: self.shown(window, now_ns),
                    complete_ns: said.complete_ns,
                    now_ns,
                    step,
                    course: course.get(1..).unwrap_or_default(),
                    of: self.by.of(),
                    rows: &rows,
                    budget: budgets.first().and_then(Option::as_ref),
                    bills: bills.as_deref(),
                };
                context.print(&page.render()?)?;
            }
        }
        Ok(Exit::Ok)
    }

    /// As it was asked for; what has no end goes up to now.
    fn shown(&self, window: Window, now_ns: i64) -> Window {
        let open = self.to.is_none() && (self.from.is_some() || self.last.is_some());
        Window {
            to_ns: if open { now_ns.max(window.from_ns) } else { window.to_ns },
            ..window
        }
    }

    fn title(&self) -> String {
        match (&self.whose.tenant, &self.whose.ve) {
            (Some(tenant), _) => format!("Usage of {tenant}"),
            (_, Some(ve)) => format!("Usage of {ve}"),
            _ => "Usage of all".to_owned(),
        }
    }

    fn window(&self, now: jiff::Timestamp) -> Result<Window, Error> {
        let now_ns = ns(now);
        // Before it is read, the ledger is brought up to a moment that is later than this one.
        let open = now_ns.saturating_add(60_000_000_000);
        let (from_ns, to_ns) = match (self.month, self.from, self.last) {
            (Some(month), ..) => month,
            (_, Some(from), _) => (from, self.to.unwrap_or(open)),
            (.., Some(last)) => {
                let last = i64::try_from(last.as_nanos()).unwrap_or(i64::MAX);
                (now_ns.saturating_sub(last), open)
            }
            _ => window::month_of(now).map_err(|e| Error::new(Class::Usage, e))?,
        };
        match from_ns < to_ns {
            true => Ok(Window { from_ns, to_ns }),
            false => Err(Error::new(Class::Usage, "the time asked for ends before it begins")),
        }
    }
}

fn ns(moment: jiff::Timestamp) -> i64 {
    i64::try_from(moment.as_nanosecond()).unwrap_or(i64::MAX)
}

/// A sum that is shown as a number of 64 bits.
fn small(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The average of a level; `None` if it was never known.
fn average(row: &Row, level: &str) -> Option<u64> {
    let time = row.sums.get(&format!("{level}.time"));
    row.sums.get(level).checked_div(time).map(small)
}

/// A level of bytes times time, as bills have it, to three digits behind the point.
fn gib_hours(row: &Row, level: &str) -> String {
    const UNIT: u128 = (1 << 30) * 3_600_000_000_000;
    let (sum, unit) = (row.sums.get(level), UNIT / 1000);
    let thousandths = sum / unit + u128::from(sum % unit * 2 >= unit);
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

/// Bytes of all classes and families in one direction.
fn passed(row: &Row, direction: &str) -> u128 {
    let way = format!(".{direction}.");
    let flows = row.sums.0.iter();
    let flows =
        flows.filter(|(name, _)| name.starts_with("traffic.") && name.contains(&way) && name.ends_with(".bytes"));
    flows.map(|(_, n)| n).sum()
}

fn peak(row: &Row, level: &str) -> Option<u64> {
    row.peaks.iter().find(|(name, _)| *name == level)?.1
}

/// Everything, for programs: sums by their names, averages, peaks.
fn object((row, budget): (&Row, &budget::Budget)) -> Value {
    let number = |n: u128| serde_json::to_value(Whole(n)).unwrap_or_default();
    let mut usage: Map<String, Value> = row.sums.0.iter().map(|(name, n)| (name.clone(), number(*n))).collect();
    for (level, peak) in &row.peaks {
        usage.insert(format!("{level}.peak"), (*peak).into());
        if *level != Level::DiskFull.name() {
            usage.insert(format!("{level}.average"), average(row, level).into());
        }
        // As bills have it: a byte (or a process) for a second.
        usage.insert(format!("{level}.seconds"), number(row.sums.get(level) / 1_000_000_000));
    }
    for (n, way) in ["in", "out"].into_iter().enumerate() {
        usage.insert(format!("bandwidth.{way}.p95"), row.p95.map(|p95| p95[n]).into());
    }
    let available = availability(&row.sums).map(|milli| f64::from(milli) / 1000.0);
    usage.insert("availability".into(), available.into());
    let mut object = Map::new();
    object.insert("group".into(), row.group.clone().into());
    object.insert("ves".into(), row.ves.into());
    object.insert("usage".into(), usage.into());
    object.insert("budget".into(), budget::object(budget));
    object.into()
}

/// Thousandths of a percent, in percent.
fn percent(milli: u32) -> String {
    format!("{}.{:03}", milli / 1000, milli % 1000)
}

/// Bits per second, three digits or four of them.
fn bits(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} bit/s"),
        1_000..1_000_000 => format!("{}.{} kbit/s", n / 1_000, n / 100 % 10),
        1_000_000..1_000_000_000 => format!("{}.{} Mbit/s", n / 1_000_000, n / 100_000 % 10),
        _ => format!("{}.{} Gbit/s", n / 1_000_000_000, n / 100_000_000 % 10),
    }
}

/// For a person.
fn table(rows: &[Row], by: Grouped) -> Table {
    let number = |header: &str, drop| Column {
        drop,
        ..Column::number(header)
    };
    let mut table = Table::new(vec![
        Column::text(&by.of().to_uppercase()).cut(12),
        number("RUNNING", 0),
        number("AVAIL%", 5),
        number("CPU", 0),
        number("MEMORY", 0),
        number("PEAK", 2),
        number("GIB-H", 6),
        number("DISK", 0),
        number("GIB-H", 6),
        number("READ", 3),
        number("WRITTEN", 3),
        number("IN", 1),
        number("OUT", 1),
        number("P95 IN", 3),
        number("P95 OUT", 3),
        number("OOM", 4),
        number("FULL", 7),
    ]);
    let known = |n: Option<u64>| Cell::new(n.map_or_else(String::new, bytes));
    for row in rows {
        let sum = |name: &str| row.sums.get(name);
        let time = |name: &str| Cell::new(seconds(small(sum(name) / 1_000_000_000)));
        table.row(vec![
            Cell::new(row.group.clone().unwrap_or_else(|| "total".to_owned())),
            time("running_ns"),
            Cell::new(availability(&row.sums).map(percent).unwrap_or_default()),
            time("cpu_ns"),
            known(average(row, "memory")),
            known(peak(row, "memory")),
            Cell::new(gib_hours(row, "memory")),
            known(average(row, "disk")),
            Cell::new(gib_hours(row, "disk")),
            Cell::new(bytes(small(sum("disk_read_bytes")))),
            Cell::new(bytes(small(sum("disk_write_bytes")))),
            Cell::new(bytes(small(passed(row, "in")))),
            Cell::new(bytes(small(passed(row, "out")))),
            Cell::new(row.p95.map(|p95| bits(p95[0])).unwrap_or_default()),
            Cell::new(row.p95.map(|p95| bits(p95[1])).unwrap_or_default()),
            Cell::new(sum("oom_kills").to_string()),
            time("disk_full"),
        ]);
    }
    table
}
