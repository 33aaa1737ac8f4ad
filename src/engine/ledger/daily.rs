//! What each VE has used in each day of UTC, put together from the records as they come, so that a report of a month
//! needn't read all of them. It proves nothing by itself: [`Ledger::verify`] compares it with the records.

use std::collections::{BTreeMap, BTreeSet};

use hostel_model::usage::{
    Amounts, DAY, HOUR, Interval, decode, decode_numbers, encode, encode_numbers, floor, passed,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::query::makes_no_sense;
use super::record::Kind;
use super::store::{Ledger, Proof, Writer};
use super::verify::record;
use crate::error::{Class, Error, Result};

/// The table that has them.
pub(super) const DAILY: &str = "
CREATE TABLE daily (
    life INTEGER NOT NULL,
    terms INTEGER NOT NULL,
    day INTEGER NOT NULL,
    begins INTEGER NOT NULL,
    ends INTEGER NOT NULL,
    body BLOB NOT NULL,
    passed BLOB NOT NULL,
    PRIMARY KEY (life, terms, day)
) STRICT, WITHOUT ROWID;
";
/// How many records are summed up at once by who has more to do: a moment's work.
pub(crate) const BATCH: i64 = 20_000;
/// How many days are kept in memory before they are written: one record may be of years.
pub(super) const ROOM: usize = 4096;
/// Hours of a day.
const HOURS: usize = 24;

/// What a VE has used in a day under the same terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Day {
    /// From when to when anything is known of it, in nanoseconds since 1970.
    pub known: (i64, i64),
    pub amounts: Amounts,
    /// Bytes in each hour to the VE and from it, but for the classes that hostel.toml names.
    pub passed: [[u64; 2]; HOURS],
}

/// Which records are in the days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summed {
    /// Those up to this one,
    pub seq: i64,
    /// but hours and days up to this one only: what came later was made of samples.
    pub since: i64,
}

impl Summed {
    pub fn of(view: &Connection) -> Result<Self> {
        let mut find = view.prepare_cached("SELECT seq, since FROM summed")?;
        Ok(find.query_row([], |row| {
            Ok(Self {
                seq: row.get(0)?,
                since: row.get(1)?,
            })
        })?)
    }

    /// Is what this record says in the days?
    pub fn has(self, seq: i64, kind: Kind) -> bool {
        seq <= self.seq || (kind != Kind::Sample && seq > self.since)
    }
}

impl Day {
    /// The columns begins, ends, body, passed of a row, from this one on; `None` if they make no sense.
    pub fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Self>> {
        let known = (row.get(at)?, row.get(at + 1)?);
        let (body, numbers) = (row.get_ref(at + 2)?.as_blob()?, row.get_ref(at + 3)?.as_blob()?);
        let (Some(amounts), Some(numbers)) = (decode(body), decode_numbers(numbers)) else {
            return Ok(None);
        };
        let mut day = Self {
            known,
            amounts,
            ..Self::default()
        };
        for (way, number) in day.passed.as_flattened_mut().iter_mut().zip(numbers) {
            *way = number;
        }
        Ok(Some(day))
    }

    fn add(&mut self, other: &Self) {
        self.known = (self.known.0.min(other.known.0), self.known.1.max(other.known.1));
        self.amounts.add(&other.amounts);
        let ways = self.passed.as_flattened_mut().iter_mut();
        for (sum, more) in ways.zip(other.passed.as_flattened()) {
            *sum = sum.saturating_add(*more);
        }
    }

    /// Most have no traffic, and need no numbers for that.
    fn numbers(&self) -> Vec<u8> {
        match self.passed == [[0; 2]; HOURS] {
            true => Vec::new(),
            false => encode_numbers(self.passed.as_flattened().iter().copied()),
        }
    }
}

/// Days that are not written yet, by life, terms, and beginning.
pub(super) type Days = BTreeMap<(i64, i64, i64), Day>;

/// Adds what a record says.
pub(super) fn add(days: &mut Days, (life, terms): (i64, i64), interval: &Interval) {
    interval.each_period(DAY, &mut |begins, piece| {
        let fresh = || Day {
            known: (piece.from_ns, piece.to_ns),
            ..Day::default()
        };
        let day = days.entry((life, terms, begins)).or_insert_with(fresh);
        day.known = (day.known.0.min(piece.from_ns), day.known.1.max(piece.to_ns));
        day.amounts.add(&piece.amounts);
    });
    if interval.amounts.traffic.is_empty() {
        return;
    }
    interval.each_period(HOUR, &mut |begins, piece| {
        let day = floor(begins, DAY);
        let hour = usize::try_from((begins - day) / HOUR).unwrap_or(0).min(HOURS - 1);
        let Some(day) = days.get_mut(&(life, terms, day)) else {
            return; // an hour is part of its day, which was made above
        };
        for (sum, more) in day.passed[hour].iter_mut().zip(passed(&piece.amounts)) {
            *sum = sum.saturating_add(more);
        }
    });
}

impl Ledger {
    /// Sums up records that are not in the days yet, some at a time; `now_ns`: the time of day. True if there are more. Hold
    /// the ledger's lock.
    pub fn sum_up(&mut self, now_ns: i64) -> Result<bool> {
        let mut writer = self.writer()?;
        let more = writer.sum_up(now_ns)?;
        writer.commit()?;
        Ok(more)
    }

    /// How many records are not in the days yet, about.
    pub fn unsummed(&self) -> Result<i64> {
        let query = "SELECT head.seq - summed.seq FROM head, summed";
        Ok(self.connection.query_row(query, [], |row| row.get(0))?)
    }
}

impl Writer<'_> {
    /// Where days are touched that are closed already, all that there is is summed up at once: closed again while a part of
    /// what came late isn't in them, they would look changed to who has the records alone.
    fn sum_up(&mut self, now_ns: i64) -> Result<bool> {
        let mut touched = BTreeSet::new();
        loop {
            let more = self.sum_batch(&mut touched)?;
            let closed = self.closed_of(&touched, now_ns)?;
            if !more {
                self.close_again(&closed)?;
                self.tx.execute("UPDATE summed SET seq = ?1", [self.seq])?;
                return Ok(false);
            }
            if closed.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Sums up a batch. True if there may be more. Which days are touched by it.
    fn sum_batch(&mut self, touched: &mut BTreeSet<i64>) -> Result<bool> {
        let summed = Summed::of(&self.tx)?;
        let (mut days, mut last, mut count) = (Days::new(), summed.seq, 0);
        let mut proof = Proof::default();
        {
            // By number, and not by kind and time.
            let mut find = self.tx.prepare_cached(
                "SELECT seq, kind, life, terms, begins, ends, body, hash FROM record \
                 WHERE seq > ?1 AND +kind IN (3, 4, 5) ORDER BY seq LIMIT ?2",
            )?;
            let mut rows = find.query(params![summed.seq, BATCH])?;
            while let Some(row) = rows.next()? {
                count += 1;
                let (record, hash) = record(row)?;
                last = record.seq;
                self.prove(&mut proof, &record, &hash)?;
                let kind = Kind::of(record.kind).ok_or_else(|| makes_no_sense(last))?;
                // It was made of samples that are in the days.
                if summed.has(last, kind) {
                    continue;
                }
                let interval = Interval {
                    from_ns: record.from_ns,
                    to_ns: record.to_ns,
                    amounts: decode(&record.body).ok_or_else(|| makes_no_sense(last))?,
                };
                add(&mut days, (record.life, record.terms), &interval);
                if days.len() >= ROOM {
                    touched.extend(days.keys().map(|(.., day)| *day));
                    write(&self.tx, &std::mem::take(&mut days))?;
                }
            }
        }
        touched.extend(days.keys().map(|(.., day)| *day));
        write(&self.tx, &days)?;
        self.tx.execute("UPDATE summed SET seq = ?1", [last])?;
        Ok(count == BATCH)
    }
}

/// Adds to the days that are there.
pub(super) fn write(db: &Connection, days: &Days) -> Result<()> {
    let mut find =
        db.prepare_cached("SELECT begins, ends, body, passed FROM daily WHERE life = ?1 AND terms = ?2 AND day = ?3")?;
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO daily (life, terms, day, begins, ends, body, passed) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for ((life, terms, begins), more) in days {
        let key = params![life, terms, begins];
        let had = find.query_row(key, |row| Day::read(row, 0)).optional()?;
        let mut day = match had {
            None => more.clone(),
            Some(Some(day)) => {
                let mut day = day;
                day.add(more);
                day
            }
            Some(None) => return Err(damaged()),
        };
        day.known.1 = day.known.1.max(day.known.0);
        let (body, numbers) = (encode(&day.amounts), day.numbers());
        put.execute(params![life, terms, begins, day.known.0, day.known.1, body, numbers])?;
    }
    Ok(())
}

/// What is said of days that make no sense.
pub(super) fn damaged() -> Error {
    Error::new(Class::Failed, "the sums of days beside the ledger make no sense")
        .hint("see what is wrong with: hostel ledger verify")
}
