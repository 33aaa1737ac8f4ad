//! A day is closed: what each VE has used in it is bound into the chain, before anybody has a reason to wish that it were
//! something else. From then on a record that puts others together can't move it from one to another unseen: the day would
//! have to be closed again, and that shows.

use std::collections::BTreeSet;

use hostel_model::usage::{DAY, HOUR, encode, floor};
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::daily::{Day, damaged};
use super::record::{Kind, hex};
use super::store::{Ledger, Writer};
use crate::error::{Class, Error, Result};

/// How long after its end a day is closed: by then those that don't run have been looked at.
const LATE: i64 = HOUR;
/// So many are closed at once.
const AT_ONCE: usize = 4;
/// Of so many days each is tried; of more it is looked up which there are.
const FEW: i64 = 100;

/// What the record says that closes a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// How many VEs, each under its terms, have something in it.
    pub parties: u64,
    /// SHA-256 of what they have used.
    pub used: String,
    /// The same of when something is known of them, and what passed in which hour.
    pub hours: String,
}

/// Two hashes on the way. VEs are added in the order of their numbers and those of their terms.
#[derive(Default)]
pub(super) struct Seal {
    parties: u64,
    used: Sha256,
    hours: Sha256,
}

impl Seal {
    /// What one has used in the day.
    pub fn add(&mut self, (life, terms): (i64, i64), day: &Day) {
        self.parties += 1;
        for hash in [&mut self.used, &mut self.hours] {
            hash.update(life.to_be_bytes());
            hash.update(terms.to_be_bytes());
        }
        self.used.update(encode(&day.amounts));
        self.hours.update(day.known.0.to_be_bytes());
        self.hours.update(day.known.1.to_be_bytes());
        for way in day.passed.as_flattened() {
            self.hours.update(way.to_be_bytes());
        }
    }

    /// What is to be said of it.
    pub fn closing(self) -> Closing {
        Closing {
            parties: self.parties,
            used: hex(&self.used.finalize()),
            hours: hex(&self.hours.finalize()),
        }
    }
}

impl Ledger {
    /// Closes days that are over, some at a time. True if there are more. Call it where all is summed up.
    pub(super) fn close_days(&mut self, now_ns: i64) -> Result<bool> {
        let over = floor(now_ns.saturating_sub(LATE), DAY);
        let mut writer = self.writer()?;
        let closed = writer.closed_before(now_ns)?;
        if closed.is_some_and(|closed| closed >= over) {
            return Ok(false);
        }
        let (terms, mut count) = (writer.all_terms()?, 0);
        for day in writer.days_until(closed, over)? {
            if count >= AT_ONCE {
                writer.commit()?;
                return Ok(true);
            }
            count += usize::from(writer.close(day, &terms)?);
        }
        writer.commit()?;
        Ok(false)
    }
}

impl Writer<'_> {
    /// The end of the last day that was closed and had ended by then.
    fn closed_before(&self, now_ns: i64) -> Result<Option<i64>> {
        let mut find = self
            .tx
            .prepare_cached("SELECT max(ends) FROM record WHERE kind = ?1 AND ends <= ?2")?;
        Ok(find.query_row(params![Kind::Closed.number(), now_ns], |row| row.get(0))?)
    }

    fn days_until(&self, closed: Option<i64>, over: i64) -> Result<Vec<i64>> {
        if let Some(first) = closed.filter(|first| over.saturating_sub(*first) <= FEW * DAY) {
            return Ok((0..FEW)
                .map(|n| first + n * DAY)
                .take_while(|day| *day < over)
                .collect());
        }
        let mut find = self
            .tx
            .prepare("SELECT DISTINCT day FROM daily WHERE day >= ?1 AND day < ?2 ORDER BY day")?;
        let days = find.query_map(params![closed.unwrap_or(i64::MIN), over], |row| row.get(0))?;
        Ok(days.collect::<rusqlite::Result<_>>()?)
    }

    /// Those of these days that are closed.
    pub(super) fn closed_of(&self, days: &BTreeSet<i64>, now_ns: i64) -> Result<BTreeSet<i64>> {
        let before = self.closed_before(now_ns)?.unwrap_or(i64::MIN);
        let mut closed = BTreeSet::new();
        for day in days {
            let ends = day.saturating_add(DAY);
            if ends <= before || self.is_closed(ends)? {
                closed.insert(*day);
            }
        }
        Ok(closed)
    }

    /// Closes days once more to which something was added that came late.
    pub(super) fn close_again(&mut self, days: &BTreeSet<i64>) -> Result<()> {
        if days.is_empty() {
            return Ok(());
        }
        let terms = self.all_terms()?;
        days.iter().try_for_each(|day| self.close(*day, &terms).map(drop))
    }

    fn is_closed(&self, ends: i64) -> Result<bool> {
        let mut find = self
            .tx
            .prepare_cached("SELECT 1 FROM record WHERE kind = ?1 AND ends = ?2 LIMIT 1")?;
        Ok(find.exists(params![Kind::Closed.number(), ends])?)
    }

    /// Closes a day; false: nothing is known of it, and it is none. `terms`: all that there are.
    fn close(&mut self, day: i64, terms: &BTreeSet<(i64, i64)>) -> Result<bool> {
        let mut seal = Seal::default();
        for &(life, terms) in terms {
            let mut find = self.tx.prepare_cached(
                "SELECT begins, ends, body, passed FROM daily WHERE life = ?1 AND terms = ?2 AND day = ?3",
            )?;
            let found = find
                .query_row(params![life, terms, day], |row| Day::read(row, 0))
                .optional()?;
            if let Some(found) = found {
                seal.add((life, terms), &found.ok_or_else(damaged)?);
            }
        }
        if seal.parties == 0 {
            return Ok(false);
        }
        let body = serde_json::to_vec(&seal.closing());
        let body = body.map_err(|e| Error::new(Class::Failed, "cannot write a record").because(e))?;
        self.append(Kind::Closed, (0, 0), (day, day.saturating_add(DAY)), body)?;
        Ok(true)
    }

    /// All VEs and their terms, in the order of their numbers.
    fn all_terms(&self) -> Result<BTreeSet<(i64, i64)>> {
        let mut find = self.tx.prepare_cached("SELECT life, seq FROM record WHERE kind = ?1")?;
        let all = find.query_map([Kind::Terms.number()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(all.collect::<rusqlite::Result<_>>()?)
    }
}
