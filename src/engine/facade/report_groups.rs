//! The groups of a report: what each has used, put together piece by piece.

use std::collections::{BTreeMap, BTreeSet};

use hostel_model::usage::{DAY, HOUR, Hours, Level, Terms, Totals};

use super::fleet::date;
use super::report::{By, Row};
use crate::ledger::{Line, Party, Piece};

/// Of one group: what its VEs have used, and what passed in each hour.
#[derive(Default)]
struct Group {
    ves: BTreeSet<i64>,
    totals: Totals,
    hours: Hours,
}

impl Group {
    fn add(&mut self, life: i64, piece: &Piece<'_>) {
        self.ves.insert(life);
        match piece {
            Piece::Record(interval) => {
                self.totals.add(&interval.amounts);
                self.hours.add(interval);
            }
            Piece::Day {
                begins,
                known,
                amounts,
                passed,
            } => {
                self.totals.add(amounts);
                self.hours.know(known.0, known.1);
                for (n, bytes) in (0..).zip(*passed) {
                    self.hours.pass(begins + n * HOUR, *bytes);
                }
            }
        }
    }

    fn row(&self, group: Option<String>) -> Row {
        let peaks = Level::ALL.into_iter().zip(self.totals.peaks);
        Row {
            group,
            ves: self.ves.len(),
            sums: self.totals.sums(),
            peaks: peaks.map(|(level, peak)| (level.name(), peak)).collect(),
            p95: self.hours.p95(),
        }
    }
}

/// Those of several hosts, by host and the record of their terms. Records have the same numbers on each host: here each VE
/// and each terms has a number of its own.
#[derive(Default)]
pub(super) struct Parties {
    known: BTreeMap<(String, i64), Party>,
    lives: BTreeMap<(String, i64), i64>,
}

impl Parties {
    /// Whose a record is.
    pub fn of(&mut self, line: &Line, terms: &Terms) -> &Party {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let (known, lives) = (number(self.known.len()), number(self.lives.len()));
        let life = *self.lives.entry((line.host.clone(), line.refers.0)).or_insert(lives);
        self.known
            .entry((line.host.clone(), line.refers.1))
            .or_insert_with(|| Party {
                host: line.host.clone(),
                terms: known,
                life,
                id: line.id,
                name: terms.name.clone(),
                tenant: terms.tenant.clone(),
                plan: terms.plan.clone(),
            })
    }
}

/// The groups of a report.
pub(super) struct Groups {
    by: By,
    all: Group,
    groups: Vec<Group>,
    /// Which of them is whose, by the record of terms.
    of: BTreeMap<i64, usize>,
    /// And by name; one that was that of several VEs one after the other has several, by the records of their lives.
    named: BTreeMap<(String, i64), usize>,
    times: BTreeMap<i64, Group>,
}

impl Groups {
    /// Of none yet.
    pub fn by(by: By) -> Self {
        Self {
            by,
            all: Group::default(),
            groups: Vec::new(),
            of: BTreeMap::new(),
            named: BTreeMap::new(),
            times: BTreeMap::new(),
        }
    }

    /// Adds what a party has used.
    pub fn add(&mut self, party: &Party, piece: &Piece<'_>) {
        self.all.add(party.life, piece);
        let period = match self.by {
            By::Tenant | By::Ve | By::Plan | By::Host => return self.of(party).add(party.life, piece),
            By::Day => DAY,
            By::Hour => HOUR,
        };
        match piece {
            Piece::Day { begins, .. } => self.times.entry(*begins).or_default().add(party.life, piece),
            Piece::Record(interval) => interval.each_period(period, &mut |begins, part| {
                let group = self.times.entry(begins).or_default();
                group.add(party.life, &Piece::Record(part));
            }),
        }
    }

    fn of(&mut self, party: &Party) -> &mut Group {
        let at = *self.of.entry(party.terms).or_insert_with(|| {
            let name = match self.by {
                By::Ve if party.host.is_empty() => (format!("{} ({})", party.name, party.id), party.life),
                By::Ve => (format!("{} ({} on {})", party.name, party.id, party.host), party.life),
                By::Host => (party.host.clone(), 0),
                By::Plan => (party.plan.clone(), 0),
                By::Tenant | By::Day | By::Hour => (party.tenant.clone(), 0),
            };
            *self.named.entry(name).or_insert_with(|| {
                self.groups.push(Group::default());
                self.groups.len() - 1
            })
        });
        &mut self.groups[at]
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.all.ves.is_empty()
    }

    /// The total first, then a row each.
    pub fn rows(self) -> Vec<Row> {
        let named = self.named.into_iter();
        let named = named.map(|((name, _), at)| self.groups[at].row(Some(name)));
        let times = self
            .times
            .into_iter()
            .map(|(begins, group)| group.row(Some(date(begins))));
        std::iter::once(self.all.row(None)).chain(named).chain(times).collect()
    }
}
