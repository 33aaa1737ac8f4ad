//! What of the ledger goes to that of the fleet: its records in their order, as they are, and what became of those that
//! are no more.
//!
//! The other side is to be at any time what this ledger was at some moment. So it may stop only at certain records: not
//! between the record of an hour and the record that says which samples that stands for, and not past records that are
//! gone here and there never were, before the record that says what stands in their place.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::record::{Hash, Kind, NOTHING, Record, hex, unhex};
use super::store::{self, Ledger};
use super::thin::Thinning;
use super::verify::record;
use crate::error::{Error, Result};

/// Beside the ledger: who it is in the fleet, and how far the other side is. Both `sent` and `sending` may be where that
/// is: whoever forwards may die before it learns of it. Thinning keeps the hashes of both.
const TABLE: &str = "
CREATE TABLE IF NOT EXISTS fleet (
    one INTEGER PRIMARY KEY CHECK (one = 0),
    id TEXT NOT NULL,
    sent INTEGER NOT NULL,
    sending INTEGER NOT NULL
) STRICT";

/// How many records are held in memory at once.
const CHUNK: usize = 500;

/// What is to be done on the other side, in order.
#[derive(Debug)]
pub enum Outgoing<'a> {
    /// These are added.
    Records(&'a [(Record, Hash)]),
    /// These, the first and the last of a row that is there, are replaced by what was added.
    Replaced(i64, i64),
}

/// A place in the chain: a record's number and its hash.
pub type Place = (i64, Hash);

/// Removed records in a row.
struct Gone {
    last: i64,
    before: String,
    hash: String,
    /// The record that says what stands in their place.
    by: i64,
}

fn changed(seq: i64) -> Error {
    store::changed(seq).hint("nothing was forwarded; see: hostel ledger verify")
}

fn has_table(connection: &Connection) -> Result<bool> {
    let there = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'fleet')";
    Ok(connection.query_row(there, [], |row| row.get(0))?)
}

/// How far the other side may be.
pub(super) fn places(connection: &Connection) -> Result<[i64; 2]> {
    if !has_table(connection)? {
        return Ok([0; 2]);
    }
    let find = "SELECT sent, sending FROM fleet";
    let found = connection.query_row(find, [], |row| Ok([row.get(0)?, row.get(1)?]));
    Ok(found.optional()?.unwrap_or_default())
}

impl Ledger {
    /// What this ledger is called in the fleet's: drawn when it is first asked for, and the ledger's, not the host's, so
    /// that another ledger never goes on with this one's records. Hold the ledger's lock.
    pub fn fleet_id(&mut self, draw: &dyn Fn() -> Result<String>) -> Result<String> {
        let tx = self.connection.transaction()?;
        tx.execute_batch(TABLE)?;
        let find = |tx: &Connection| tx.query_row("SELECT id FROM fleet", [], |row| row.get(0)).optional();
        if let Some(id) = find(&tx)? {
            return Ok(id);
        }
        let id = draw()?;
        tx.execute("INSERT INTO fleet (one, id, sent, sending) VALUES (0, ?1, 0, 0)", [&id])?;
        tx.commit()?;
        Ok(id)
    }

    /// The same, if it has one.
    pub fn known_id(&self) -> Result<Option<String>> {
        if !has_table(&self.connection)? {
            return Ok(None);
        }
        let find = "SELECT id FROM fleet";
        Ok(self.connection.query_row(find, [], |row| row.get(0)).optional()?)
    }

    /// The last record.
    pub fn head(&self) -> Result<Place> {
        let find = "SELECT seq, hash FROM head";
        Ok(self
            .connection
            .query_row(find, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// The hash at a place; `None` if the ledger has none, or doesn't know it any more.
    pub fn hash_at(&self, seq: i64) -> Result<Option<Hash>> {
        if seq == 0 {
            return Ok(Some(NOTHING));
        }
        for find in [
            "SELECT hash FROM record WHERE seq = ?1",
            "SELECT hash FROM gap WHERE last = ?1",
        ] {
            let found = self.connection.query_row(find, [seq], |row| row.get(0)).optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// How far the other side is at least, as far as is known here.
    pub fn sent(&self) -> Result<i64> {
        Ok(places(&self.connection)?[0])
    }

    /// How many records come after this one, and when the first of them was written.
    pub fn after(&self, seq: i64) -> Result<(i64, Option<i64>)> {
        let find =
            "SELECT count(*), (SELECT ends FROM record WHERE seq > ?1 ORDER BY seq LIMIT 1) FROM record WHERE seq > ?1";
        Ok(self
            .connection
            .query_row(find, [seq], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// Notes that the other side is at `sent`, and will be at `sending` in a moment. False: that place was thinned away
    /// meanwhile. Hold the ledger's lock.
    pub fn note_sending(&mut self, sent: i64, sending: i64) -> Result<bool> {
        if self.hash_at(sending)?.is_none() {
            return Ok(false);
        }
        let update = "UPDATE fleet SET sent = ?1, sending = ?2";
        self.connection.execute(update, params![sent, sending])?;
        Ok(true)
    }

    /// Tells what comes after `from`, where the other side is, up to the first place from `most` records on where it may
    /// stop. That place.
    pub fn send(
        &mut self,
        from: Place,
        most: usize,
        take: &mut dyn FnMut(Outgoing<'_>) -> Result<()>,
    ) -> Result<Place> {
        // All is of one moment: nothing is thinned on the way.
        let view = self.connection.transaction()?;
        let mut way = Way {
            from: from.0,
            at: from,
            gone: gone_after(&view, from.0)?,
            until: 0,
            open: false,
            chunk: Vec::new(),
            take,
        };
        let mut find = view.prepare(
            "SELECT seq, kind, life, terms, begins, ends, body, hash FROM record WHERE seq > ?1 ORDER BY seq",
        )?;
        let mut rows = find.query([from.0])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let (record, hash) = record(row)?;
            way.go(record, hash)?;
            count += 1;
            if count >= most && way.may_stop() {
                break;
            }
        }
        match way.may_stop() {
            true => way.stop(),
            false => Err(changed(way.at.0 + 1)),
        }
    }
}

/// The rows of records after this place that are gone, by their first.
fn gone_after(view: &Connection, place: i64) -> Result<BTreeMap<i64, Gone>> {
    let mut all = BTreeMap::new();
    let mut find = view.prepare("SELECT seq, body FROM record WHERE kind = ?1 AND seq > ?2")?;
    let mut rows = find.query(params![Kind::Thinned.number(), place])?;
    while let Some(row) = rows.next()? {
        let (by, body): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        for gap in thinning(by, &body)?.gaps.into_iter().filter(|gap| gap.first > place) {
            let (last, before, hash) = (gap.last, gap.before, gap.hash);
            all.insert(gap.first, Gone { last, before, hash, by });
        }
    }
    Ok(all)
}

fn thinning(seq: i64, body: &[u8]) -> Result<Thinning> {
    serde_json::from_slice(body).map_err(|_| changed(seq))
}

/// How far we are on the way from one place to the next.
struct Way<'a> {
    from: i64,
    at: Place,
    gone: BTreeMap<i64, Gone>,
    /// No place before this one does: records that the other side never had are replaced there.
    until: i64,
    /// What records stand for is yet to be said.
    open: bool,
    chunk: Vec<(Record, Hash)>,
    take: &'a mut dyn FnMut(Outgoing<'_>) -> Result<()>,
}

impl Way<'_> {
    fn may_stop(&self) -> bool {
        !self.open && self.at.0 >= self.until
    }

    /// Over what is gone.
    fn pass(&mut self, next: i64) -> Result<()> {
        while self.at.0 + 1 < next {
            let first = self.at.0 + 1;
            let gone = self.gone.remove(&first).filter(|gone| gone.last >= first);
            let gone = gone
                .filter(|gone| gone.before == hex(&self.at.1))
                .ok_or_else(|| changed(first))?;
            self.at = (gone.last, unhex(&gone.hash).ok_or_else(|| changed(gone.by))?);
            self.until = self.until.max(gone.by);
        }
        Ok(())
    }

    fn go(&mut self, record: Record, hash: Hash) -> Result<()> {
        self.pass(record.seq)?;
        if record.seq != self.at.0 + 1 || record.hash(&self.at.1) != hash {
            return Err(changed(record.seq));
        }
        self.at = (record.seq, hash);
        let kind = Kind::of(record.kind).ok_or_else(|| changed(record.seq))?;
        self.open = matches!(kind, Kind::Hour | Kind::Day);
        let replaced = match kind {
            Kind::Thinned => thinning(record.seq, &record.body)?.gaps,
            _ => Vec::new(),
        };
        self.chunk.push((record, hash));
        if self.chunk.len() >= CHUNK || !replaced.is_empty() {
            self.flush()?;
        }
        // The others never came there.
        for gap in replaced.into_iter().filter(|gap| gap.first <= self.from) {
            (self.take)(Outgoing::Replaced(gap.first, gap.last))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if !self.chunk.is_empty() {
            (self.take)(Outgoing::Records(&self.chunk))?;
            self.chunk.clear();
        }
        Ok(())
    }

    fn stop(mut self) -> Result<Place> {
        self.flush()?;
        Ok(self.at)
    }
}
