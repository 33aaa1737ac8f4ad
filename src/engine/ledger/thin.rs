//! Many records become few, and not one unit is lost: those of an hour, and later those of a day.
//!
//! What is removed stays in the chain by its first and last record: a record says which rows of records are gone, what
//! hash stood before each row and at its end, what all of them came to, and which records stand in their place. What goes
//! is proved once more before it does: nobody can afterwards. It is done bit by bit, so that it takes no more memory and
//! holds nobody up longer however much there is.

use std::collections::BTreeMap;

use hostel_model::usage::{Amounts, DAY, HOUR, Interval, Totals, decode, decode_whole, encode, floor};
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::daily::Summed;
use super::outbox::places;
use super::record::{Hash, Kind, hex};
use super::store::{Ledger, Proof, Writer};
use super::verify::record;
use crate::error::{Class, Error, Result};

/// How long what is kept, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Each reading's records.
    pub samples_ns: i64,
    /// Those of hours.
    pub hours_ns: i64,
    /// How long what is old enough may wait for more, where there is little of it: each time costs a record.
    pub wait_ns: i64,
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
    /// "sample" or "hour": what is gone. Where it doesn't say, it is the next finer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The first and the last of those.
    pub records: (i64, i64),
    /// How many are gone.
    pub removed: u64,
    /// Which.
    pub gaps: Vec<Gap>,
    /// What they came to, but for those that were hours or days already and are put together once more; numbers as text,
    /// as they may be larger than what programs read.
    pub sums: BTreeMap<String, String>,
}

/// So few are put together in one go, whatever the time that they are of.
const FEW: i64 = 5_000;
/// What is longer than so many hours (or days) isn't cut into them, which would make many of one: a report cuts it as well.
const PIECES: i64 = 8;

/// A step of the thinning.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Records of this kind become
    of: Kind,
    /// those
    into: Kind,
    /// of this length.
    period: i64,
}

const HOURS: Step = Step {
    of: Kind::Sample,
    into: Kind::Hour,
    period: HOUR,
};
const DAYS: Step = Step {
    of: Kind::Hour,
    into: Kind::Day,
    period: DAY,
};
/// Of samples that were too long to be cut into hours.
const LONG: Step = Step {
    of: Kind::Sample,
    into: Kind::Day,
    period: DAY,
};

/// What is put together in one go: what ends after the first time and not after the second.
#[derive(Debug, Clone, Copy)]
struct Slice {
    after: i64,
    until: i64,
}

/// What is found to be put together.
#[derive(Default)]
struct Pile {
    periods: BTreeMap<(i64, i64, i64), Amounts>,
    gaps: Vec<(i64, i64, Hash)>,
    /// What was not put together before comes to this, and is so many records.
    totals: Totals,
    fresh: u64,
    removed: u64,
}

impl Ledger {
    /// Closes the days that are over at `now_ns`, and puts together what is old enough. How many records are gone.
    #[cfg(test)]
    pub fn thin(&mut self, now_ns: i64, policy: Policy) -> Result<u64> {
        let mut gone = 0;
        while let Some(removed) = self.thin_some(now_ns, policy)? {
            gone += removed;
        }
        Ok(gone)
    }

    /// A part of that, so that others may write in between: how many records are gone with it. `None`: there is no more to do.
    pub fn thin_some(&mut self, now_ns: i64, policy: Policy) -> Result<Option<u64>> {
        // Also what was entered in between, so that what is closed is whole.
        if (self.unsummed()? > 0 && self.sum_up(now_ns)?) || self.close_days(now_ns)? {
            return Ok(Some(0));
        }
        self.put_some_together(now_ns, policy)
    }

    /// The same of what is summed up, and closed.
    pub(super) fn put_some_together(&mut self, now_ns: i64, policy: Policy) -> Result<Option<u64>> {
        let ages = [policy.samples_ns, policy.hours_ns, policy.hours_ns];
        for (step, age) in [HOURS, DAYS, LONG].into_iter().zip(ages) {
            let upto = floor(now_ns.saturating_sub(age), step.period);
            if let Some(slice) = self.slice(step, upto, policy.wait_ns)? {
                match self.fold(step, slice)? {
                    0 => {}
                    removed => return Ok(Some(removed)),
                }
            }
        }
        Ok(None)
    }

    /// What is to be put together next of what has ended by then.
    fn slice(&self, step: Step, upto: i64, wait: i64) -> Result<Option<Slice>> {
        let of = params![step.of.number(), upto, step.longest()];
        let old = "FROM record WHERE kind = ?1 AND ends <= ?2 AND ends - begins <= ?3";
        let first = format!("SELECT ends {old} ORDER BY ends LIMIT 1");
        let first: Option<i64> = self
            .connection
            .prepare_cached(&first)?
            .query_row(of, |row| row.get(0))
            .optional()?;
        let Some(first) = first else {
            return Ok(None);
        };
        let count = format!("SELECT count(*) FROM (SELECT 1 {old} LIMIT {FEW})");
        let count: i64 = self
            .connection
            .prepare_cached(&count)?
            .query_row(of, |row| row.get(0))?;
        let after = floor(first.saturating_sub(1), step.period);
        if count >= FEW {
            let until = after.saturating_add(step.period).min(upto);
            return Ok(Some(Slice { after, until }));
        }
        let waits = upto.saturating_sub(first) < wait;
        Ok((!waits).then_some(Slice { after, until: upto }))
    }

    fn fold(&mut self, step: Step, slice: Slice) -> Result<u64> {
        let mut writer = self.writer()?;
        let pile = writer.pile(step, slice)?;
        if pile.fresh == 0 {
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
            let at = (*begins, begins.saturating_add(step.period));
            writer.append(step.into, (*life, *terms), at, encode(amounts))?;
        }
        let sums = pile.totals.sums().0;
        let thinning = Thinning {
            made: step.into.name().to_owned(),
            of: Some(step.of.name().to_owned()),
            records: (first, writer.seq),
            removed: pile.removed,
            gaps,
            sums: sums.into_iter().map(|(k, v)| (k, v.to_string())).collect(),
        };
        let body =
            serde_json::to_vec(&thinning).map_err(|e| Error::new(Class::Failed, "cannot write a record").because(e))?;
        writer.append(Kind::Thinned, (0, 0), (slice.until, slice.until), body)?;
        for (first, last, hash) in &pile.gaps {
            let gone = params![first, last];
            writer
                .tx
                .execute("DELETE FROM record WHERE seq BETWEEN ?1 AND ?2", gone)?;
            let gap = params![last, hash];
            writer.tx.execute("INSERT INTO gap (last, hash) VALUES (?1, ?2)", gap)?;
        }
        writer.commit()?;
        Ok(pile.removed)
    }
}

impl Step {
    fn longest(self) -> i64 {
        self.period.saturating_mul(PIECES)
    }
}

fn lost(seq: i64) -> Error {
    Error::new(
        Class::Failed,
        format!("record {seq} of the ledger is missing or makes no sense"),
    )
    .hint("nothing was changed; see: hostel ledger verify")
}

/// What a record says, all of it.
fn whole(seq: i64, body: &[u8]) -> Result<Amounts> {
    decode_whole(body).ok_or_else(|| match decode(body) {
        None => lost(seq),
        Some(_) => Error::new(
            Class::Failed,
            format!(
                "record {seq} of the ledger says more than this hostel knows of, and can't be put together with others"
            ),
        )
        .hint("nothing was changed; use the version of hostel that wrote it"),
    })
}

impl Writer<'_> {
    /// All records of a step and a slice, cut into periods. What was made of the period already, by what was cut at its
    /// beginning, is put together with the rest of it.
    fn pile(&self, step: Step, slice: Slice) -> Result<Pile> {
        let chosen = "FROM record WHERE (kind = ?1 AND ends <= ?2 AND ends - begins <= ?3 AND (kind != 3 OR seq <= ?4)) \
                      OR (kind = ?5 AND ends > ?6 AND ends <= ?2)";
        let summed = Summed::of(&self.tx)?;
        let of = params![
            step.of.number(),
            slice.until,
            step.longest(),
            summed.seq,
            step.into.number(),
            slice.after
        ];
        let mut pile = Pile::default();
        // The hash of where the fleet's ledger may be is kept, so that it can be compared.
        let places = places(&self.tx)?;
        let mut find = self
            .tx
            .prepare_cached(&format!("SELECT seq, hash {chosen} ORDER BY seq"))?;
        let mut rows = find.query(of)?;
        while let Some(row) = rows.next()? {
            let (seq, hash): (i64, Hash) = (row.get(0)?, row.get(1)?);
            pile.removed += 1;
            match pile.gaps.last_mut() {
                Some((_, last, at)) if *last + 1 == seq && !places.contains(last) => (*last, *at) = (seq, hash),
                _ => pile.gaps.push((seq, seq, hash)),
            }
        }
        for (first, last, _) in pile.gaps.clone() {
            self.pile_row(&mut pile, step, (first, last))?;
        }
        Ok(pile)
    }

    /// Piles up a row of records, each of which must be what was written there: what is made of it can't be compared with
    /// it any more.
    fn pile_row(&self, pile: &mut Pile, step: Step, (first, last): (i64, i64)) -> Result<()> {
        let mut proof = Proof::default();
        let mut find = self.tx.prepare_cached(
            "SELECT seq, kind, life, terms, begins, ends, body, hash FROM record WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq",
        )?;
        let mut rows = find.query(params![first, last])?;
        while let Some(row) = rows.next()? {
            let (record, hash) = record(row)?;
            self.prove(&mut proof, &record, &hash)?;
            let interval = Interval {
                from_ns: record.from_ns,
                to_ns: record.to_ns,
                amounts: whole(record.seq, &record.body)?,
            };
            if record.kind != step.into.number() {
                pile.totals.add(&interval.amounts);
                pile.fresh += 1;
            }
            interval.each_period(step.period, &mut |begins, piece| {
                pile.periods
                    .entry((begins, record.life, record.terms))
                    .or_default()
                    .add(&piece.amounts);
            });
        }
        Ok(())
    }
}
