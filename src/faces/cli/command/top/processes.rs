//! The processes of one VE: what each has used since the last look, as a table.

use std::collections::BTreeMap;
use std::time::Instant;

use hostel_engine::facade::VeProcess;

use crate::cli::human::{bytes, seconds};
use crate::cli::table::{Cell, Column, Table};

/// A process, and how much of a processor it uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    pub process: VeProcess,
    /// In percent of one; `None`: it was not there before.
    pub percent: Option<f64>,
}

/// Readings of the same VE, one after the other.
#[derive(Debug, Default)]
pub struct Run {
    before: Option<(Instant, Times)>,
}

/// Processor time by process: a number may be another one's by the next time, so when it began belongs to it.
type Times = BTreeMap<(u32, u64), u64>;

impl Run {
    /// The next reading: those that use most first.
    #[allow(clippy::cast_precision_loss)] // percents for people
    pub fn next(&mut self, processes: Vec<VeProcess>, now: Instant) -> Vec<Usage> {
        let key = |p: &VeProcess| (p.seen.pid, p.seen.began);
        let old = self.before.take();
        let used = |process: &VeProcess| {
            let (then, before) = old.as_ref()?;
            let ns = now.saturating_duration_since(*then).as_nanos();
            let grown = process.seen.cpu_ns.checked_sub(*before.get(&key(process))?)?;
            (ns > 0).then(|| grown as f64 * 100.0 / ns as f64)
        };
        let mut all: Vec<Usage> = processes
            .into_iter()
            .map(|process| Usage {
                percent: used(&process),
                process,
            })
            .collect();
        self.before = Some((
            now,
            all.iter().map(|u| (key(&u.process), u.process.seen.cpu_ns)).collect(),
        ));
        all.sort_by(|a, b| {
            let by_use = b.percent.unwrap_or(0.0).total_cmp(&a.percent.unwrap_or(0.0));
            let by_memory = b.process.seen.memory.cmp(&a.process.seen.memory);
            by_use.then(by_memory).then(a.process.seen.pid.cmp(&b.process.seen.pid))
        });
        all
    }
}

/// For the screen.
pub fn table(all: &[Usage]) -> Table {
    let number = |header: &str, drop| Column {
        drop,
        ..Column::number(header)
    };
    let mut table = Table::new(vec![
        number("PID", 0),
        number("INSIDE", 1),
        number("USER", 2),
        Column::text("S"),
        number("THREADS", 3),
        number("%CPU", 0),
        number("MEMORY", 0),
        number("TIME", 1),
        Column::text("NAME"),
    ]);
    for Usage { process, percent } in all {
        let seen = &process.seen;
        table.row(vec![
            seen.pid.to_string().into(),
            seen.inside.to_string().into(),
            // One of the host's: somebody has entered the VE.
            process
                .user
                .map_or_else(|| "host".to_owned(), |uid| uid.to_string())
                .into(),
            seen.state.to_string().into(),
            seen.threads.to_string().into(),
            percent.map(|p| format!("{p:.1}")).unwrap_or_default().into(),
            bytes(seen.memory).into(),
            seconds(seen.cpu_ns / 1_000_000_000).into(),
            Cell::new(seen.name.clone()),
        ]);
    }
    table
}
