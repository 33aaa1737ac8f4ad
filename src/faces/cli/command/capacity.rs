//! `hostel capacity`

use std::time::Duration;

use clap::Args;
use hostel_engine::facade::{self, PlanCapacity, Room, Stock, Window};
use hostel_model::capacity::Fit;
use hostel_model::id::{NetworkName, PlanName};
use hostel_model::quantity::{Quantity, Unit};

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::human::{bytes, milli};
use crate::cli::table::{Column, Table};
use crate::cli::values::duration;

/// Show what of the host is promised and used, and what more fits
///
/// PROMISED is what all VEs may use at most, by their limits; of one without a limit that is all there is. BOUND is how
/// much may be promised by [capacity] in hostel.toml, in parts of what there is, and what becomes of a VE that would pass
/// it. USED is what all VEs together have really used: what they did not pass in 95 of 100 hours, by the ledger. How many
/// VEs of a plan fit is told by promise (the worst case: all take all that they may) and by use (new ones are like those of
/// the plan that there are). docs/STAT.md defines every figure. With --json, an object with resources, history and plans.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel capacity\n  hostel capacity small --network public --json")]
pub struct Capacity {
    /// Show what a VE of PLAN takes of each resource
    #[arg(value_name = "PLAN")]
    plan: Option<PlanName>,

    /// Networks that new VEs would be on; that of hostel.toml if not said
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    network: Option<Vec<NetworkName>>,

    /// Use what the ledger has of the last TIME
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "7d")]
    last: Duration,

    #[command(flatten)]
    json: Json,
}

impl Capacity {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        let last = i64::try_from(self.last.as_nanos()).unwrap_or(i64::MAX);
        let window = Window {
            from_ns: now.saturating_sub(last),
            to_ns: now,
        };
        let engine = context.engine()?;
        let capacity = engine.capacity(self.plan.as_ref(), self.network.as_deref(), window, context)?;
        match self.json.json {
            true => context.print_json(&capacity)?,
            false => {
                context.print_table(&stocks(&capacity.resources))?;
                context.print("\n")?;
                match (&self.plan, capacity.plans.first()) {
                    (Some(_), Some(plan)) => {
                        context.print_table(&shares(plan))?;
                        context.print("\n")?;
                        context.print(&sentence(plan, &capacity))?;
                    }
                    _ => {
                        context.print_table(&plans(&capacity.plans))?;
                        context.print(&known(&capacity))?;
                    }
                }
            }
        }
        Ok(Exit::Ok)
    }
}

/// The last number that is shown as it is.
const MANY: u64 = 999_999_999_999;

fn amount(quantity: Option<Quantity>) -> String {
    let Some(Quantity { n, unit }) = quantity else {
        return String::new();
    };
    match unit {
        Unit::Millis => u32::try_from(n).map_or_else(|_| n.to_string(), milli),
        Unit::Bytes => bytes(n),
        _ => many(n),
    }
}

/// Of addresses of IPv6 there are more than anybody counts.
fn many(n: u64) -> String {
    match n {
        0..=MANY => n.to_string(),
        _ => "many".to_owned(),
    }
}

fn factor(factor: Option<f64>) -> String {
    factor.map(|f| format!("{f:.2}")).unwrap_or_default()
}

/// What there is, and whose it is.
pub fn stocks(all: &[Stock]) -> Table {
    let number = |header: &str, drop| Column {
        drop,
        ..Column::number(header)
    };
    let mut table = Table::new(vec![
        Column::text("RESOURCE").cut(9),
        number("HAVE", 0),
        number("PROMISED", 0),
        number("OVERSELL", 0),
        Column {
            drop: 1,
            ..Column::text("BOUND")
        },
        number("USED", 0),
        number("UNLIMITED", 2),
    ]);
    for stock in all {
        let bound = stock
            .beyond
            .map(|beyond| format!("{} {beyond}", factor(stock.most)))
            .unwrap_or_default();
        table.row(vec![
            stock.resource.clone().into(),
            amount(stock.have).into(),
            amount(stock.promised).into(),
            factor(stock.oversell).into(),
            bound.into(),
            amount(stock.used).into(),
            Some(stock.unlimited)
                .filter(|n| *n > 0)
                .map(|n| n.to_string())
                .unwrap_or_default()
                .into(),
        ]);
    }
    table
}

fn number(n: Option<u64>) -> String {
    n.map(|n| n.to_string()).unwrap_or_default()
}

/// How many VEs of each plan fit.
pub fn plans(all: &[PlanCapacity]) -> Table {
    let mut table = Table::new(vec![
        Column::text("PLAN").cut(9),
        Column::number("BY PROMISE"),
        Column::text("FIRST OUT"),
        Column::number("BY USE"),
        Column::text("FIRST OUT"),
    ]);
    for plan in all {
        let first = |room: &Room| room.first.clone().unwrap_or_default();
        table.row(vec![
            plan.plan.to_string().into(),
            number(plan.promise.fits).into(),
            first(&plan.promise).into(),
            number(plan.real.fits).into(),
            first(&plan.real).into(),
        ]);
    }
    table
}

/// What a VE of a plan takes.
pub fn shares(plan: &PlanCapacity) -> Table {
    let mut table = Table::new(vec![
        Column::text("RESOURCE").cut(9),
        Column::number("PROMISED"),
        Column::number("FIT"),
        Column::number("USES"),
        Column::number("FIT"),
    ]);
    let fit = |fit: Fit| match fit {
        Fit::Unknown => String::new(),
        Fit::Any => "any".to_owned(),
        Fit::At(n) => many(n),
    };
    for share in &plan.resources {
        let promised = match share.promised {
            None if plan.problem.is_none() => "unlimited".to_owned(),
            promised => amount(promised),
        };
        table.row(vec![
            share.resource.clone().into(),
            promised.into(),
            fit(share.fits).into(),
            amount(share.used).into(),
            fit(share.fits_by_use).into(),
        ]);
    }
    table
}

/// Whether the ledger knows enough of all VEs.
fn known(capacity: &facade::Capacity) -> String {
    let history = capacity.history;
    match history.hours < history.needed {
        true => format!(
            "\nToo little history to tell of use: the ledger has {} whole hours of that time, and {} are needed.\n",
            history.hours, history.needed
        ),
        false => String::new(),
    }
}

/// What it comes to.
pub fn sentence(plan: &PlanCapacity, capacity: &facade::Capacity) -> String {
    let name = &plan.plan;
    if let Some(problem) = &plan.problem {
        return format!("Nothing can be said of plan {name}: {problem}\n");
    }
    let room = |room: &Room| match (room.fits, &room.first) {
        (Some(n), Some(first)) => format!("{n} more VEs of {name} fit; {first} runs out first"),
        _ => format!("how many more VEs of {name} fit can't be told"),
    };
    let promise = format!("By promise {}.\n", room(&plan.promise));
    let (all, needed) = (known(capacity), capacity.history.needed);
    if !all.is_empty() {
        return promise + all.trim_start();
    }
    match plan.hours < needed {
        true => format!(
            "{promise}Too little history to tell of use: VEs of {name} have run in {} whole hours of that time, and \
             {needed} are needed.\n",
            plan.hours
        ),
        false => format!("{promise}By use {}.\n", room(&plan.real)),
    }
}
