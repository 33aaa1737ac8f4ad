//! For a person.

use hostel_model::stat::{Figure, Figures, Kind, Report, Resource, Row};

use super::form::{Block, View};
use crate::cli::human::{bytes, milli};
use crate::cli::table::{Cell, Column, Table};

/// To how much of a name it may be cut.
pub const LEAST: usize = 7;

/// What stands in a column.
#[derive(Debug, Clone, Copy)]
enum What {
    Used(Figure),
    OfHost(Figure),
    Cap(Figure),
    OfCap(Figure),
    CpuWeight,
    IoWeight,
    Entitled,
    OfEntitlement(Figure),
    Ves,
}

/// A heading, when it is left out (higher numbers first, 0 never), and what it is of.
type Head = (&'static str, u8, What);

const SUMMARY: &[Head] = &[
    ("CPU", 0, What::Used(Figure::Cpu)),
    ("%HOST", 2, What::OfHost(Figure::Cpu)),
    ("%CAP", 0, What::OfCap(Figure::Cpu)),
    ("%SHARE", 1, What::OfEntitlement(Figure::Cpu)),
    ("MEMORY", 0, What::Used(Figure::Memory)),
    ("%LIMIT", 0, What::OfCap(Figure::Memory)),
    ("IN/S", 0, What::Used(Figure::In)),
    ("OUT/S", 0, What::Used(Figure::Out)),
    ("DISK", 0, What::Used(Figure::Disk)),
    ("%FULL", 0, What::OfCap(Figure::Disk)),
];

const CPU: &[Head] = &[
    ("CPU", 0, What::Used(Figure::Cpu)),
    ("%HOST", 0, What::OfHost(Figure::Cpu)),
    ("CAP", 0, What::Cap(Figure::Cpu)),
    ("%CAP", 0, What::OfCap(Figure::Cpu)),
    ("WEIGHT", 1, What::CpuWeight),
    ("SHARE", 1, What::Entitled),
    ("%SHARE", 0, What::OfEntitlement(Figure::Cpu)),
    ("VES", 2, What::Ves),
];

const MEMORY: &[Head] = &level(Figure::Memory, "MEMORY");
const SWAP: &[Head] = &level(Figure::Swap, "SWAP");
const DISK: &[Head] = &level(Figure::Disk, "DISK");
const PROCESSES: &[Head] = &level(Figure::Processes, "PROCESSES");

const fn level(figure: Figure, heading: &'static str) -> [Head; 4] {
    [
        (heading, 0, What::Used(figure)),
        ("%HOST", 0, What::OfHost(figure)),
        ("LIMIT", 0, What::Cap(figure)),
        ("%LIMIT", 0, What::OfCap(figure)),
    ]
}

const IO: &[Head] = &[
    ("READ/S", 0, What::Used(Figure::Read)),
    ("%HOST", 3, What::OfHost(Figure::Read)),
    ("LIMIT", 4, What::Cap(Figure::Read)),
    ("%LIMIT", 0, What::OfCap(Figure::Read)),
    ("%SHARE", 2, What::OfEntitlement(Figure::Read)),
    ("WRITE/S", 0, What::Used(Figure::Write)),
    ("%HOST", 3, What::OfHost(Figure::Write)),
    ("LIMIT", 4, What::Cap(Figure::Write)),
    ("%LIMIT", 0, What::OfCap(Figure::Write)),
    ("%SHARE", 2, What::OfEntitlement(Figure::Write)),
    ("READS/S", 1, What::Used(Figure::ReadOps)),
    ("%LIMIT", 2, What::OfCap(Figure::ReadOps)),
    ("WRITES/S", 1, What::Used(Figure::WriteOps)),
    ("%LIMIT", 2, What::OfCap(Figure::WriteOps)),
    ("WEIGHT", 5, What::IoWeight),
];

const NETWORK: &[Head] = &[
    ("IN/S", 0, What::Used(Figure::In)),
    ("%ALL", 1, What::OfHost(Figure::In)),
    ("LIMIT", 0, What::Cap(Figure::In)),
    ("%LIMIT", 0, What::OfCap(Figure::In)),
    ("OUT/S", 0, What::Used(Figure::Out)),
    ("%ALL", 1, What::OfHost(Figure::Out)),
    ("LIMIT", 0, What::Cap(Figure::Out)),
    ("%LIMIT", 0, What::OfCap(Figure::Out)),
];

/// The line above a table: which it is, and how much the host has.
pub fn heading(block: &Block, sizes: &Figures<Option<u64>>) -> String {
    let ends = block.time.strftime("%Y-%m-%d %H:%M:%S");
    let seconds = format!("{:.1} s up to {ends} UTC", seconds(block.ns));
    let mut out = match block.report {
        Report::Interval => format!("Interval {}, {seconds}", block.intervals),
        report => format!("Report {}, {} intervals, {seconds}", report.name(), block.intervals),
    };
    out.push_str(&self::sizes(sizes));
    out.push('\n');
    out
}

/// How much the host has.
pub fn sizes(sizes: &Figures<Option<u64>>) -> String {
    let parts = [
        ("processors", sizes[Figure::Cpu].map(|n| limit(Figure::Cpu, n))),
        ("memory", sizes[Figure::Memory].map(bytes)),
        ("swap", sizes[Figure::Swap].map(bytes)),
        ("disk", sizes[Figure::Disk].map(bytes)),
    ];
    let known = parts
        .into_iter()
        .filter_map(|(what, size)| Some(format!("  {what} {}", size?)));
    known.collect()
}

#[allow(clippy::cast_precision_loss)] // for people
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The tables of a view, each with the line that stands above it. Names are cut to no less than `least`.
pub fn tables(view: View, rows: &[Row], least: usize) -> Vec<(String, Table)> {
    let heads = |resource| match resource {
        Resource::Cpu => CPU,
        Resource::Memory => MEMORY,
        Resource::Swap => SWAP,
        Resource::Disk => DISK,
        Resource::Io => IO,
        Resource::Network => NETWORK,
        Resource::Processes => PROCESSES,
    };
    match view {
        View::Summary => vec![(String::new(), table(SUMMARY, rows, least))],
        View::One(resource) => vec![(String::new(), table(heads(resource), rows, least))],
        View::All => Resource::ALL
            .into_iter()
            .map(|resource| (format!("{}:\n", resource.name()), table(heads(resource), rows, least)))
            .collect(),
    }
}

fn table(heads: &[Head], rows: &[Row], least: usize) -> Table {
    let columns = heads.iter().map(|(heading, drop, _)| Column {
        drop: *drop,
        ..Column::number(heading)
    });
    let name = Column::text("NAME").cut(least);
    let mut table = Table::new([name].into_iter().chain(columns).collect());
    for row in rows {
        let cells = heads.iter().map(|(_, _, what)| Cell::new(text(*what, row)));
        table.row([Cell::new(row.name.clone())].into_iter().chain(cells).collect());
    }
    table
}

/// Empty for what is unknown.
fn text(what: What, row: &Row) -> String {
    let some = match what {
        What::Used(figure) => row.cells[figure].used.map(|n| amount(figure, n)),
        What::OfHost(figure) => row.cells[figure].of_host().map(percent),
        What::Cap(figure) => row.cells[figure].cap.map(|n| limit(figure, n)),
        What::OfCap(figure) => row.cells[figure].of_cap().map(percent),
        What::CpuWeight => row.cpu_weight.map(|n| n.to_string()),
        What::IoWeight => row.io_weight.map(|n| n.to_string()),
        What::Entitled => row.entitled[Figure::Cpu].map(processors),
        What::OfEntitlement(figure) => row.of_entitlement(figure).map(percent),
        What::Ves => Some(row.ves.to_string()).filter(|_| matches!(row.kind, Kind::Tenant | Kind::Ve(_))),
    };
    some.unwrap_or_default()
}

fn amount(figure: Figure, n: u64) -> String {
    match figure {
        Figure::Cpu => processors(n),
        Figure::ReadOps | Figure::WriteOps | Figure::Processes => n.to_string(),
        _ => bytes(n),
    }
}

/// A limit is what a person wrote, to the last digit.
fn limit(figure: Figure, n: u64) -> String {
    match figure {
        Figure::Cpu => u32::try_from(n / 1000).map_or_else(|_| processors(n), milli),
        figure => amount(figure, n),
    }
}

/// Millionths of a processor, in processors.
#[allow(clippy::cast_precision_loss)] // for people
fn processors(n: u64) -> String {
    format!("{:.2}", n as f64 / 1e6)
}

fn percent(n: f64) -> String {
    match n {
        n if n < 9.95 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}
