//! Has anybody changed the ledger? Every record is read, and every hash worked out anew.

use std::collections::{BTreeMap, BTreeSet};

use hostel_model::usage::{Sums, decode};
use rusqlite::{Connection, Row};
use serde::Serialize;

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
    there: BTreeMap<Kind, Sums>,
    made: BTreeMap<Kind, Sums>,
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
    Ok(walk.end(walked, head))
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
            records: 0,
            thinned: 0,
        }
    }

    /// What came of it, where this is to be the last record.
    pub fn end(mut self, walked: Walked, head: (i64, Hash)) -> Verified {
        let walked = walked.and_then(|()| self.arrive(head));
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
                let sums = self.made.entry(into).or_default();
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
        let sums = |of: &BTreeMap<Kind, Sums>, kind: Kind| of.get(&kind).cloned().unwrap_or_default();
        let (hours, days) = (sums(&self.made, Kind::Hour), sums(&self.made, Kind::Day));
        let mut there = sums(&self.there, Kind::Hour);
        there.add_all(&days);
        if there != hours || sums(&self.there, Kind::Day) != days {
            return broken(0, "what records were put together comes to something else than before");
        }
        Ok(())
    }
}
