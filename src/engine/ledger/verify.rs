//! Has anybody changed the ledger? Every record is read, and every hash worked out anew.

use std::collections::{BTreeMap, BTreeSet};

use hostel_model::usage::{Interval, Sums, Totals, decode};
use rusqlite::{Connection, Row};
use serde::Serialize;

use super::daily::{Day, Summed};
use super::month::Month;
use super::record::{Hash, Kind, NOTHING, Record, hex, unhex};
use super::store::Ledger;
use super::thin::{Gap, Thinning};
use crate::error::Result;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many records there are.
    pub records: u64,
    /// How many have been replaced by fewer.
    pub thinned: u64,
    /// The number of the last record.
    pub last: i64,
    /// Its hash: who has noted it elsewhere knows that all before it is as it was then.
    pub hash: String,
    /// The first that is not as it was written; `None`: all are.
    pub broken: Option<Broken>,
}

/// Where the chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The record's number; 0: the file as a whole.
    pub seq: i64,
    /// What is wrong with it.
    pub why: String,
}

const WRONG_DAYS: &str = "the sums of days, which reports are made of, are not what the records come to";

/// A broken chain ends the walk.
pub(crate) type Walked = std::result::Result<(), Broken>;

fn broken<T>(seq: i64, why: impl Into<String>) -> std::result::Result<T, Broken> {
    Err(Broken { seq, why: why.into() })
}

/// What is known on the way.
pub(crate) struct Walk {
    next: i64,
    hash: Hash,
    gaps: BTreeMap<i64, Gap>,
    lives: BTreeSet<i64>,
    terms: BTreeSet<i64>,
    /// What there is of each kind, and what thinnings say that they have put together into each.
    there: BTreeMap<Kind, Totals>,
    made: BTreeMap<(Kind, Kind), Sums>,
    /// What the days beside the ledger must come to, by life, terms, and month; `None`: there are none.
    summed: Option<Summed>,
    months: BTreeMap<(i64, i64, i64), Totals>,
    records: u64,
    thinned: u64,
}

/// A row of `seq, kind, life, terms, begins, ends, body, hash`.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<(Record, Hash)> {
    let record = Record {
        seq: row.get(0)?,
        kind: row.get(1)?,
        life: row.get(2)?,
        terms: row.get(3)?,
        from_ns: row.get(4)?,
        to_ns: row.get(5)?,
        body: row.get(6)?,
    };
    Ok((record, row.get(7)?))
}

impl Ledger {
    /// Reads all of it.
    pub fn verify(&mut self) -> Result<Verified> {
        // All is of one moment, whoever writes meanwhile.
        verified(&*self.connection.transaction()?)
    }
}

/// Reads all that this connection sees.
pub(super) fn verified(view: &Connection) -> Result<Verified> {
    let mut walk = Walk::new();
    walk.summed = Some(Summed::of(view)?);
    let mut walked = Ok(());
    let sound: String = view.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        walked = broken(0, sound);
    }
    let mut thinnings = view.prepare("SELECT seq, body FROM record WHERE kind = ?1 ORDER BY seq")?;
    let mut rows = thinnings.query([Kind::Thinned.number()])?;
    while let (Ok(()), Some(row)) = (&walked, rows.next()?) {
        walked = walk.expect_gaps(row.get(0)?, &row.get::<_, Vec<u8>>(1)?);
    }
    let all = "SELECT seq, kind, life, terms, begins, ends, body, hash FROM record ORDER BY seq";
    let mut all = view.prepare(all)?;
    let mut rows = all.query([])?;
    while let (Ok(()), Some(row)) = (&walked, rows.next()?) {
        walked = match record(row) {
            Ok((record, hash)) => walk.step(&record, &hash),
            Err(e) => broken(walk.next, e.to_string()),
        };
    }
    let head = view.query_row("SELECT seq, hash FROM head", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut walked = walked.and_then(|()| walk.arrive(head));
    if walked.is_ok() {
        walked = walk.compare_days(view)?;
    }
    Ok(walk.found(walked))
}

impl Walk {
    /// Before the first record.
    pub fn new() -> Self {
        Self {
            next: 1,
            hash: NOTHING,
            gaps: BTreeMap::new(),
            lives: BTreeSet::new(),
            terms: BTreeSet::new(),
            there: BTreeMap::new(),
            made: BTreeMap::new(),
            summed: None,
            months: BTreeMap::new(),
            records: 0,
            thinned: 0,
        }
    }

    /// What came of it, where this is to be the last record.
    pub fn end(mut self, walked: Walked, head: (i64, Hash)) -> Verified {
        let walked = walked.and_then(|()| self.arrive(head));
        self.found(walked)
    }

    fn found(self, walked: Walked) -> Verified {
        Verified {
            records: self.records,
            thinned: self.thinned,
            last: self.next - 1,
            hash: hex(&self.hash),
            broken: walked.err(),
        }
    }

    /// What a thinning says is gone. Whether it is to be believed is seen when the walk comes to it.
    pub fn expect_gaps(&mut self, seq: i64, body: &[u8]) -> Walked {
        let Ok(thinning) = serde_json::from_slice::<Thinning>(body) else {
            return broken(seq, "it can't be read");
        };
        self.gaps.extend(thinning.gaps.into_iter().map(|gap| (gap.first, gap)));
        Ok(())
    }

    /// The next record.
    pub fn step(&mut self, record: &Record, hash: &Hash) -> Walked {
        while self.next < record.seq {
            self.pass_gap()?;
        }
        if record.seq < self.next {
            return broken(record.seq, "it is there though it was replaced by others");
        }
        if record.hash(&self.hash) != *hash {
            return broken(record.seq, "it is not what was written there");
        }
        self.look_into(record)?;
        self.hash = *hash;
        self.next += 1;
        self.records += 1;
        Ok(())
    }

    fn pass_gap(&mut self) -> Walked {
        let Some(gap) = self.gaps.remove(&self.next) else {
            return broken(self.next, "it is missing");
        };
        let Some(hash) = unhex(&gap.hash).filter(|_| gap.last >= gap.first && gap.before == hex(&self.hash)) else {
            return broken(
                self.next,
                "what was there before it was replaced is not what was written there",
            );
        };
        self.hash = hash;
        self.next = gap.last + 1;
        Ok(())
    }

    fn look_into(&mut self, record: &Record) -> Walked {
        let seq = record.seq;
        let Some(kind) = Kind::of(record.kind) else {
            return broken(
                seq,
                format!("it is of a kind {} that this hostel doesn't know", record.kind),
            );
        };
        match kind {
            Kind::Life => drop(self.lives.insert(seq)),
            Kind::Terms => drop(self.terms.insert(seq)),
            Kind::Thinned => {
                let Ok(thinning) = serde_json::from_slice::<Thinning>(&record.body) else {
                    return broken(seq, "it can't be read");
                };
                self.thinned += thinning.removed;
                let into = if thinning.made == Kind::Day.name() {
                    Kind::Day
                } else {
                    Kind::Hour
                };
                let of = match thinning.of {
                    Some(of) if of == Kind::Sample.name() => Kind::Sample,
                    None if into == Kind::Hour => Kind::Sample,
                    _ => Kind::Hour,
                };
                let sums = self.made.entry((of, into)).or_default();
                for (name, sum) in thinning.sums {
                    let Ok(sum) = sum.parse::<u128>() else {
                        return broken(seq, "it can't be read");
                    };
                    sums.add_all(&Sums(BTreeMap::from([(name, sum)])));
                }
            }
            Kind::Sample | Kind::Hour | Kind::Day => {
                if !self.lives.contains(&record.life) || !self.terms.contains(&record.terms) {
                    return broken(seq, "it is of a VE that never appeared, or under terms that never were");
                }
                let Some(amounts) = decode(&record.body) else {
                    return broken(seq, "it can't be read");
                };
                self.there.entry(kind).or_default().add(&amounts);
                if self.summed.is_some_and(|summed| summed.has(seq, kind)) {
                    let interval = Interval {
                        from_ns: record.from_ns,
                        to_ns: record.to_ns,
                        amounts,
                    };
                    self.add_months((record.life, record.terms), &interval);
                }
            }
        }
        Ok(())
    }

    /// The end: is it the end, and does what was put together come to what it was?
    fn arrive(&mut self, (last, hash): (i64, Hash)) -> Walked {
        if last != self.next - 1 {
            let (seq, why) = match last < self.next {
                true => (last + 1, "it was added by somebody else"),
                false => (self.next, "it is missing, with all after it"),
            };
            return broken(seq, why);
        }
        if hash != self.hash {
            return broken(last, "it is not the one that was written last");
        }
        let made = |of, into| self.made.get(&(of, into)).cloned().unwrap_or_default();
        let there = |kind| self.there.get(&kind).map(Totals::sums).unwrap_or_default();
        let mut hours = there(Kind::Hour);
        hours.add_all(&made(Kind::Hour, Kind::Day));
        let mut days = made(Kind::Hour, Kind::Day);
        days.add_all(&made(Kind::Sample, Kind::Day));
        if hours != made(Kind::Sample, Kind::Hour) || there(Kind::Day) != days {
            return broken(0, "what records were put together comes to something else than before");
        }
        Ok(())
    }

    fn add_months(&mut self, (life, terms): (i64, i64), interval: &Interval) {
        let mut at = interval.from_ns;
        while let Some(month) = Month::of(at) {
            if let Some(piece) = interval.within(month.from_ns, month.to_ns) {
                let months = self.months.entry((life, terms, month.from_ns)).or_default();
                months.add(&piece.amounts);
            }
            if month.to_ns >= interval.to_ns {
                break;
            }
            at = month.to_ns;
        }
    }

    /// Do the days, which reports are made of, come to what the records say?
    fn compare_days(&mut self, view: &Connection) -> Result<Walked> {
        let mut find =
            view.prepare("SELECT life, terms, day, begins, ends, body, passed FROM daily ORDER BY life, terms, day")?;
        let mut rows = find.query([])?;
        let mut days: BTreeMap<(i64, i64, i64), Totals> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let month = Month::of(row.get(2)?).map_or(0, |month| month.from_ns);
            let Some(day) = Day::read(row, 3)? else {
                return Ok(broken(0, WRONG_DAYS));
            };
            let key = (row.get(0)?, row.get(1)?, month);
            days.entry(key).or_default().add(&day.amounts);
        }
        Ok(match days == self.months {
            true => Ok(()),
            false => broken(0, WRONG_DAYS),
        })
    }
}
