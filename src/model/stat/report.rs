//! What many intervals come to.

use std::collections::BTreeMap;

use super::{Cell, Figure, Figures, Interval, Kind, Row};

/// A kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Report {
    /// Each interval by itself.
    Interval,
    /// The average over all the time, also that in which a VE didn't run.
    Total,
    /// The average over the intervals in which a VE ran.
    Average,
    /// The highest of each figure in any interval.
    High,
}

impl Report {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Interval, Self::Total, Self::Average, Self::High];

    /// As it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Total => "total",
            Self::Average => "average",
            Self::High => "high",
        }
    }
}

/// Intervals taken together.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    ns: u64,
    intervals: u64,
    rows: BTreeMap<(Kind, String), Sums>,
}

#[derive(Debug, Clone)]
struct Sums {
    last: Row,
    /// Nanoseconds in which there was such a line.
    there: u64,
    ns_run: u64,
    figures: Figures<Sum>,
}

/// Of one figure.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    /// Sum of value times nanoseconds.
    all: u128,
    /// The same of the intervals in which it ran.
    run: u128,
    /// Nanoseconds in which it was known.
    known: u64,
    known_run: u64,
    high: Option<u64>,
}

impl Tally {
    /// One interval more.
    pub fn add(&mut self, interval: &Interval) {
        self.ns = self.ns.saturating_add(interval.ns);
        self.intervals += 1;
        for row in &interval.rows {
            let sums = self
                .rows
                .entry((row.kind.clone(), row.name.clone()))
                .or_insert_with(|| Sums {
                    last: row.clone(),
                    there: 0,
                    ns_run: 0,
                    figures: Figures::default(),
                });
            sums.add(row, interval.ns);
        }
    }

    /// How long, in nanoseconds.
    pub fn ns(&self) -> u64 {
        self.ns
    }

    /// How many.
    pub fn intervals(&self) -> u64 {
        self.intervals
    }

    /// The lines of a report, as those of an interval. Limits and weights are the last ones. A VE that isn't there for
    /// all the time used nothing in the rest of it; a figure that was unknown in between is the average of when it was
    /// known.
    pub fn rows(&self, report: Report) -> Vec<Row> {
        self.rows.values().map(|sums| sums.row(report, self.ns)).collect()
    }
}

impl Sums {
    fn add(&mut self, row: &Row, ns: u64) {
        self.last = row.clone();
        self.there = self.there.saturating_add(ns);
        if row.ran {
            self.ns_run = self.ns_run.saturating_add(ns);
        }
        for f in super::FIGURES {
            let Some(used) = row.cells[f].used else { continue };
            let (sum, part) = (&mut self.figures[f], u128::from(used) * u128::from(ns));
            sum.all += part;
            sum.known += ns;
            sum.high = sum.high.max(Some(used));
            if row.ran {
                sum.run += part;
                sum.known_run += ns;
            }
        }
    }

    fn row(&self, report: Report, ns: u64) -> Row {
        let average = |sum: u128, ns: u64| u64::try_from((sum + u128::from(ns) / 2).checked_div(u128::from(ns))?).ok();
        let of = |f: Figure| {
            let sum = self.figures[f];
            match report {
                Report::Interval => self.last.cells[f].used,
                Report::High => sum.high,
                Report::Average => average(sum.run, sum.known_run),
                Report::Total => {
                    // In the time that it was there but unknown it may have used anything.
                    average(sum.all, sum.known.checked_add(ns.checked_sub(self.there)?)?).filter(|_| sum.known > 0)
                }
            }
        };
        let cells = Figures::each(|f| Cell {
            used: of(f),
            ..self.last.cells[f]
        });
        Row {
            cells,
            ran: self.ns_run > 0,
            ..self.last.clone()
        }
    }
}
