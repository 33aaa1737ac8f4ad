//! What was used in any time, for reports: whole days as they were summed up, the rest from the records themselves.

use std::collections::BTreeMap;

use hostel_model::usage::{Amounts, DAY, HOUR, Interval, decode, floor};
use rusqlite::{Connection, Row, params};
use serde::Deserialize;

use super::daily::{Day, Summed, damaged};
use super::query::{Life, makes_no_sense};
use super::record::Kind;
use super::store::Ledger;
use crate::error::Result;

/// A VE under the same terms, and what of these sorts a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The host whose ledger it is of; empty: this one's.
    pub host: String,
    /// The record of its terms.
    pub terms: i64,
    /// The record that the VE appeared in.
    pub life: i64,
    /// The VE's number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// Its plan.
    pub plan: String,
}

/// What a party has used in a part of the time.
#[derive(Debug)]
pub enum Piece<'a> {
    /// As a record says it, cut to the time.
    Record(&'a Interval),
    /// As it was summed up in a day.
    Day {
        /// Its beginning.
        begins: i64,
        /// From when to when anything is known of it.
        known: (i64, i64),
        /// What was used.
        amounts: &'a Amounts,
        /// Bytes to the VE and from it in each hour, but for the classes that hostel.toml names.
        passed: &'a [[u64; 2]],
    },
}

/// What is needed of terms. To read their limits would take longer.
#[derive(Deserialize)]
pub(super) struct Brief {
    name: String,
    pub tenant: String,
    plan: String,
}

impl Brief {
    /// Whose record of terms it is, of the VE that appeared in this record.
    pub fn party(self, terms: i64, life: i64, id: u32) -> Party {
        Party {
            host: String::new(),
            terms,
            life,
            id,
            name: self.name,
            tenant: self.tenant,
            plan: self.plan,
        }
    }
}

/// Those that are wanted, by the record of their terms.
type Parties = BTreeMap<i64, Party>;

/// How the pieces are told of.
type See<'a> = &'a mut dyn FnMut(&Party, Piece<'_>);

impl Ledger {
    /// Shows what was used between these moments by those who are wanted. `by_hour`: what
    /// is said of a day won't do.
    pub fn tally(
        &mut self,
        (from_ns, to_ns): (i64, i64),
        by_hour: bool,
        wanted: &dyn Fn(&Party) -> bool,
        see: See<'_>,
    ) -> Result<()> {
        // All is of one moment: nothing that is put together meanwhile is seen twice, or not at all.
        let view = self.connection.transaction()?;
        let parties = parties(&view, wanted)?;
        let summed = Summed::of(&view)?;
        let first = match floor(from_ns, DAY) {
            day if day < from_ns => day.saturating_add(DAY),
            day => day,
        };
        let last = floor(to_ns, DAY);
        if first < last && !by_hour {
            days(&view, &parties, (first, last), see)?;
            old(&view, &parties, summed, (from_ns, first), see)?;
            old(&view, &parties, summed, (last, to_ns), see)?;
        } else {
            old(&view, &parties, summed, (from_ns, to_ns), see)?;
        }
        fresh(&view, &parties, summed, (from_ns, to_ns), see)
    }
}

fn parties(view: &Connection, wanted: &dyn Fn(&Party) -> bool) -> Result<Parties> {
    let of = |kind: Kind| format!("SELECT seq, life, body FROM record WHERE kind = {}", kind.number());
    let mut lives = BTreeMap::new();
    let mut find = view.prepare(&of(Kind::Life))?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let life: Life = serde_json::from_slice(blob(row, 2)).map_err(|_| makes_no_sense(seq))?;
        lives.insert(seq, life.id);
    }
    let mut parties = Parties::new();
    let mut find = view.prepare(&of(Kind::Terms))?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let (seq, life): (i64, i64) = (row.get(0)?, row.get(1)?);
        let terms: Brief = serde_json::from_slice(blob(row, 2)).map_err(|_| makes_no_sense(seq))?;
        let id = lives.get(&life).copied().ok_or_else(|| makes_no_sense(seq))?;
        let party = terms.party(seq, life, id);
        if wanted(&party) {
            parties.insert(seq, party);
        }
    }
    Ok(parties)
}

pub(super) fn blob<'a>(row: &'a Row<'_>, at: usize) -> &'a [u8] {
    // What is no blob is as good as an empty one: it makes no sense.
    row.get_ref(at)
        .ok()
        .and_then(|value| value.as_blob().ok())
        .unwrap_or_default()
}

/// Whole days.
fn days(view: &Connection, parties: &Parties, (from, to): (i64, i64), see: See<'_>) -> Result<()> {
    let mut find = view.prepare(
        "SELECT day, begins, ends, body, passed FROM daily WHERE life = ?1 AND terms = ?2 AND day >= ?3 AND day < ?4",
    )?;
    for (terms, party) in parties {
        let mut rows = find.query(params![party.life, terms, from, to])?;
        while let Some(row) = rows.next()? {
            let day = Day::read(row, 1)?.ok_or_else(damaged)?;
            let piece = Piece::Day {
                begins: row.get(0)?,
                known: day.known,
                amounts: &day.amounts,
                passed: &day.passed,
            };
            see(party, piece);
        }
    }
    Ok(())
}

/// Records that are in the days, where a part of a day is wanted.
fn old(view: &Connection, parties: &Parties, summed: Summed, window: (i64, i64), see: See<'_>) -> Result<()> {
    let (from, to) = window;
    if from >= to {
        return Ok(());
    }
    let mut find = view.prepare(
        "SELECT seq, kind, terms, begins, ends, body FROM record \
         WHERE kind = ?1 AND ends >= ?2 AND ends <= ?3 AND begins < ?4",
    )?;
    // A sample may be of any length; what was put together isn't longer than it says.
    let longest = [(Kind::Sample, i64::MAX), (Kind::Hour, HOUR), (Kind::Day, DAY)];
    for (kind, length) in longest {
        let rows = find.query(params![kind.number(), from, to.saturating_add(length), to])?;
        records(rows, parties, &|seq| summed.has(seq, kind), window, see)?;
    }
    Ok(())
}

/// Records that are not in the days yet.
fn fresh(view: &Connection, parties: &Parties, summed: Summed, window: (i64, i64), see: See<'_>) -> Result<()> {
    // By number, and not by kind and time.
    let mut find = view.prepare(
        "SELECT seq, kind, terms, begins, ends, body FROM record \
         WHERE seq > ?1 AND (+kind = 3 OR (+kind IN (4, 5) AND seq <= ?2)) AND ends >= ?3 AND begins < ?4",
    )?;
    let rows = find.query(params![summed.seq, summed.since, window.0, window.1])?;
    records(rows, parties, &|_| true, window, see)
}

fn records(
    mut rows: rusqlite::Rows<'_>,
    parties: &Parties,
    is_meant: &dyn Fn(i64) -> bool,
    (from, to): (i64, i64),
    see: See<'_>,
) -> Result<()> {
    while let Some(row) = rows.next()? {
        let (seq, terms): (i64, i64) = (row.get(0)?, row.get(2)?);
        let Some(party) = parties.get(&terms).filter(|_| is_meant(seq)) else {
            continue;
        };
        let interval = Interval {
            from_ns: row.get(3)?,
            to_ns: row.get(4)?,
            amounts: decode(blob(row, 5)).ok_or_else(|| makes_no_sense(seq))?,
        };
        let whole = from <= interval.from_ns && interval.to_ns <= to && interval.from_ns < interval.to_ns;
        if whole {
            see(party, Piece::Record(&interval));
        } else if let Some(piece) = interval.within(from, to) {
            see(party, Piece::Record(&piece));
        }
    }
    Ok(())
}
