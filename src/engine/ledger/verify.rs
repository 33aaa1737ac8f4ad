//! Has anybody changed the ledger? Every record is read, and every hash worked out anew.

use std::collections::{BTreeMap, BTreeSet};

use hostel_model::usage::{Amounts, DAY, HOUR, Interval, Sums, Totals, decode};
use rusqlite::{Connection, Row};
use serde::Serialize;

use super::close::Closing;
use super::daily::Summed;
use super::expected::Expected;
use super::record::{Hash, Kind, NOTHING, Record, hex, unhex};
use super::store::Ledger;
use super::tally::Brief;
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
    /// The last day that was closed: such a record is never replaced, so its hash is the one to note.
    pub closed: Option<ClosedDay>,
    /// Days that were closed once more, or after a later one, as something came late, by the record that did it: what was
    /// used in them may be more than was known before.
    pub closed_late: Vec<ClosedDay>,
    /// Days before that one that are not closed: nothing is bound of them.
    pub not_closed: Vec<String>,
    /// The first that is not as it was written; `None`: all are.
    pub broken: Option<Broken>,
}

/// The record that closes a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClosedDay {
    /// The day, `2026-10-31`.
    pub day: String,
    /// The record's number.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}

/// Where the chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The record's number; 0: the file as a whole.
    pub seq: i64,
    /// What is wrong with it.
    pub why: String,
}

/// A day as people write it.
fn date(day_ns: i64) -> String {
    let day = jiff::Timestamp::from_nanosecond(day_ns.into()).unwrap_or_default();
    day.strftime("%F").to_string()
}

/// A broken chain ends the walk.
pub(crate) type Walked = std::result::Result<(), Broken>;

pub(super) fn broken<T>(seq: i64, why: impl Into<String>) -> std::result::Result<T, Broken> {
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
    /// What the sums beside the ledger must come to. Which records are in them; `None`: there are none.
    expected: Expected,
    summed: Option<Summed>,
    /// Something failed that is nothing of the ledger's.
    trouble: Result<()>,
    days: BTreeSet<i64>,
    closed: Option<ClosedDay>,
    late: Vec<ClosedDay>,
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
    let mut walk = Walk::new()?;
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
    if walked.is_ok() && walk.trouble.is_ok() {
        walked = walk.expected.compare(view)?;
    }
    walk.found(walked)
}

impl Walk {
    /// Before the first record.
    pub fn new() -> Result<Self> {
        Ok(Self {
            next: 1,
            hash: NOTHING,
            gaps: BTreeMap::new(),
            lives: BTreeSet::new(),
            terms: BTreeSet::new(),
            there: BTreeMap::new(),
            made: BTreeMap::new(),
            expected: Expected::new()?,
            summed: None,
            trouble: Ok(()),
            days: BTreeSet::new(),
            closed: None,
            late: Vec::new(),
            records: 0,
            thinned: 0,
        })
    }

    /// What came of it, where this is to be the last record.
    pub fn end(mut self, walked: Walked, head: (i64, Hash)) -> Result<Verified> {
        let mut walked = walked.and_then(|()| self.arrive(head));
        if walked.is_ok() && self.trouble.is_ok() {
            walked = self.expected.compare_closings()?;
        }
        self.found(walked)
    }

    fn found(self, walked: Walked) -> Result<Verified> {
        self.trouble?;
        Ok(Verified {
            records: self.records,
            thinned: self.thinned,
            last: self.next - 1,
            hash: hex(&self.hash),
            closed: self.closed,
            closed_late: self.late,
            not_closed: self.expected.open.into_iter().map(date).collect(),
            broken: walked.err(),
        })
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
        self.look_into(record, hash)?;
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

    fn look_into(&mut self, record: &Record, hash: &Hash) -> Walked {
        let seq = record.seq;
        let Some(kind) = Kind::of(record.kind) else {
            return broken(
                seq,
                format!("it is of a kind {} that this hostel doesn't know", record.kind),
            );
        };
        match kind {
            Kind::Life => drop(self.lives.insert(seq)),
            Kind::Terms => {
                self.terms.insert(seq);
                if let Ok(terms) = serde_json::from_slice::<Brief>(&record.body) {
                    self.expected.tenant(seq, terms.tenant);
                }
            }
            Kind::Closed => self.close(record, hash)?,
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
                self.expect(record, kind, amounts)?;
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

    /// What the sums beside the records must have of a record.
    fn expect(&mut self, record: &Record, kind: Kind, amounts: Amounts) -> Walked {
        let length = match kind {
            Kind::Hour => HOUR,
            Kind::Day => DAY,
            _ => 0,
        };
        let (begins, ends) = (record.from_ns, record.to_ns);
        if length > 0 && (begins.rem_euclid(length) != 0 || ends.checked_sub(begins) != Some(length)) {
            return broken(record.seq, format!("it is not of one {} of UTC", kind.name()));
        }
        let (refers, interval) = (
            (record.life, record.terms),
            Interval {
                from_ns: begins,
                to_ns: ends,
                amounts,
            },
        );
        self.expected.use_in_months(refers, &interval);
        if self.trouble.is_ok() && self.summed.is_none_or(|summed| summed.has(record.seq, kind)) {
            self.trouble = self.expected.use_in_days(refers, (record.seq, kind), &interval);
        }
        Ok(())
    }

    /// A day is closed, or once more.
    fn close(&mut self, record: &Record, hash: &Hash) -> Walked {
        let day = record.from_ns;
        let closing = serde_json::from_slice::<Closing>(&record.body).ok();
        let Some(closing) = closing.filter(|_| day.rem_euclid(DAY) == 0) else {
            return broken(record.seq, "it can't be read");
        };
        let closed = ClosedDay {
            day: date(day),
            seq: record.seq,
            hash: hex(hash),
        };
        self.expected.close(day, record.seq, closing);
        // Whoever hides that a day was closed in a row of records that are gone has to close it out of order.
        match self.days.last().is_none_or(|last| *last < day) {
            true => self.closed = Some(closed),
            false => self.late.push(closed),
        }
        self.days.insert(day);
        Ok(())
    }
}
