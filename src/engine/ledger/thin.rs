//! Many records become few, and not one unit is lost: those of an hour, and later those of a day.
//!
//! What is removed stays in the chain by its first and last record: a record says which rows of records are gone, what
//! hash stood before each row and at its end, what all of them came to, and which records stand in their place.

use std::collections::BTreeMap;

use hostel_model::usage::{Amounts, DAY, HOUR, Interval, Sums, decode, encode};
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::outbox::places;
use super::record::{Hash, Kind, hex};
use super::store::{Ledger, Writer};
use crate::error::{Class, Error, Result};

/// How long what is kept, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Each reading's records.
    pub samples_ns: i64,
    /// Those of hours.
    pub hours_ns: i64,
}

/// Records in a row that are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// The hash of the record before the first.
    pub before: String,
    /// The hash of the last.
    pub hash: String,
}

/// What the record of a thinning says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thinning {
    /// "hour" or "day": what stands in the place of what is gone.
    pub made: String,
    /// The first and the last of those.
    pub records: (i64, i64),
    /// How many are gone.
    pub removed: u64,
    /// Which.
    pub gaps: Vec<Gap>,
    /// What they came to; numbers as text, as they may be larger than what programs read.
    pub sums: BTreeMap<String, String>,
}

/// What is found to be put together.
#[derive(Default)]
struct Pile {
    periods: BTreeMap<(i64, i64, i64), Amounts>,
    gaps: Vec<(i64, i64, Hash)>,
    sums: Sums,
    removed: u64,
}

fn floor(ns: i64, period: i64) -> i64 {
    ns.div_euclid(period).saturating_mul(period)
}

impl Ledger {
    /// Puts together what is old enough at `now_ns`. How many records are gone.
    pub fn thin(&mut self, now_ns: i64, policy: Policy) -> Result<u64> {
        let hours = floor(now_ns.saturating_sub(policy.samples_ns), HOUR);
        let days = floor(now_ns.saturating_sub(policy.hours_ns), DAY);
        Ok(self.fold(Kind::Sample, (Kind::Hour, HOUR), hours)? + self.fold(Kind::Hour, (Kind::Day, DAY), days)?)
    }

    fn fold(&mut self, of: Kind, (into, period): (Kind, i64), until: i64) -> Result<u64> {
        let mut writer = self.writer()?;
        let pile = writer.pile(of, period, until)?;
        if pile.removed == 0 {
            return Ok(0);
        }
        let mut gaps = Vec::new();
        for (first, last, hash) in &pile.gaps {
            let before = writer.hash_of(first - 1)?.ok_or_else(|| lost(first - 1))?;
            gaps.push(Gap {
                first: *first,
                last: *last,
                before: hex(&before),
                hash: hex(hash),
            });
        }
        let first = writer.seq + 1;
        for ((begins, life, terms), amounts) in &pile.periods {
            let at = (*begins, begins.saturating_add(period));
            writer.append(into, (*life, *terms), at, encode(amounts))?;
        }
        let thinning = Thinning {
            made: into.name().to_owned(),
            records: (first, writer.seq),
            removed: pile.removed,
            gaps,
            sums: pile.sums.0.iter().map(|(k, v)| (k.clone(), v.to_string())).collect(),
        };
        let body =
            serde_json::to_vec(&thinning).map_err(|e| Error::new(Class::Failed, "cannot write a record").because(e))?;
        writer.append(Kind::Thinned, (0, 0), (until, until), body)?;
        let gone = params![of.number(), until];
        writer
            .tx
            .execute("DELETE FROM record WHERE kind = ?1 AND ends <= ?2", gone)?;
        for (_, last, hash) in &pile.gaps {
            let gap = params![last, hash];
            writer.tx.execute("INSERT INTO gap (last, hash) VALUES (?1, ?2)", gap)?;
        }
        writer.commit()?;
        Ok(pile.removed)
    }
}

fn lost(seq: i64) -> Error {
    Error::new(
        Class::Failed,
        format!("record {seq} of the ledger is missing or makes no sense"),
    )
    .hint("nothing was changed; see: hostel ledger verify")
}

impl Writer<'_> {
    /// All records of a kind that end by then, cut into periods.
    fn pile(&self, of: Kind, period: i64, until: i64) -> Result<Pile> {
        let mut pile = Pile::default();
        // The hash of where the fleet's ledger may be is kept, so that it can be compared.
        let places = places(&self.tx)?;
        let mut find = self.tx.prepare(
            "SELECT seq, life, terms, begins, ends, body, hash FROM record WHERE kind = ?1 AND ends <= ?2 ORDER BY seq",
        )?;
        let mut rows = find.query(params![of.number(), until])?;
        while let Some(row) = rows.next()? {
            let (seq, hash): (i64, Hash) = (row.get(0)?, row.get(6)?);
            let (life, terms): (i64, i64) = (row.get(1)?, row.get(2)?);
            let body: Vec<u8> = row.get(5)?;
            let interval = Interval {
                from_ns: row.get(3)?,
                to_ns: row.get(4)?,
                amounts: decode(&body).ok_or_else(|| lost(seq))?,
            };
            pile.removed += 1;
            pile.sums.add(&interval.amounts);
            for (begins, amounts) in interval.by_period(period) {
                pile.periods.entry((begins, life, terms)).or_default().add(&amounts);
            }
            match pile.gaps.last_mut() {
                Some((_, last, at)) if *last + 1 == seq && !places.contains(last) => (*last, *at) = (seq, hash),
                _ => pile.gaps.push((seq, seq, hash)),
            }
        }
        Ok(pile)
    }
}
