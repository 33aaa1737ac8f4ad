//! Reading the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use hostel_model::usage::{Interval, Terms, decode};
use rusqlite::params;
use serde::Deserialize;

use super::record::{Hash, Kind, Record, hex};
use super::store::Ledger;
use super::verify::record;
use crate::error::{Class, Error, Result};

/// Where records are read from.
pub trait Source {
    /// Each record that says something of the time between these moments. `all`: also those that don't say what was used,
    /// in the order in which they were written.
    fn each(&mut self, window: (i64, i64), all: bool, see: &mut dyn FnMut(Line) -> Result<()>) -> Result<()>;
}

impl Source for Ledger {
    fn each(&mut self, window: (i64, i64), all: bool, see: &mut dyn FnMut(Line) -> Result<()>) -> Result<()> {
        Self::each(self, window, all, see)
    }
}

/// A record, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The host whose ledger it is of; empty: this one's.
    pub host: String,
    /// Its number.
    pub seq: i64,
    /// What it is.
    pub kind: Kind,
    /// The VE for all time; empty: of none.
    pub life: String,
    /// The VE's number; 0: of none.
    pub id: u32,
    /// The numbers of the records with its VE and its terms.
    pub refers: (i64, i64),
    /// When it begins and ends, in nanoseconds since 1970.
    pub at: (i64, i64),
    /// What it says.
    pub said: Said,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Its hash.
    pub hash: String,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// What was used, and under which terms.
    Usage(Box<Interval>, Arc<Terms>),
    /// Something else, as JSON.
    Text(String),
}

/// The body of the record in which a VE appears.
#[derive(Debug, Deserialize)]
pub(super) struct Life {
    life: String,
    pub(super) id: u32,
}

/// What records refer to.
#[derive(Default)]
pub(crate) struct Referred {
    lives: BTreeMap<i64, Life>,
    terms: BTreeMap<i64, Arc<Terms>>,
}

pub(super) fn makes_no_sense(seq: i64) -> Error {
    Error::new(Class::Failed, format!("record {seq} of the ledger makes no sense"))
        .hint("see what is wrong with: hostel ledger verify")
}

impl Ledger {
    /// Each record that says something of the time between these moments, in the order in which they were written.
    /// `all`: also those that don't say what was used.
    pub fn each(
        &mut self,
        (from_ns, to_ns): (i64, i64),
        all: bool,
        see: &mut dyn FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        // All is of one moment: nothing that is put together meanwhile is seen twice, or not at all.
        let view = self.connection.transaction()?;
        let mut referred = Referred::default();
        let mut find = view.prepare("SELECT seq, kind, body FROM record WHERE kind = ?1 OR kind = ?2")?;
        let mut rows = find.query([Kind::Life.number(), Kind::Terms.number()])?;
        while let Some(row) = rows.next()? {
            referred.add(row.get(0)?, row.get(1)?, &row.get::<_, Vec<u8>>(2)?)?;
        }
        let mut find = view.prepare(
            "SELECT seq, kind, life, terms, begins, ends, body, hash FROM record \
             WHERE ends >= ?1 AND begins < ?2 AND (?3 OR kind IN (3, 4, 5)) ORDER BY seq",
        )?;
        let mut rows = find.query(params![from_ns, to_ns, all])?;
        while let Some(row) = rows.next()? {
            let (record, hash) = record(row)?;
            see(referred.line(record, &hash)?)?;
        }
        Ok(())
    }
}

impl Referred {
    /// Takes note of a record in which a VE appears, or that says terms.
    pub fn add(&mut self, seq: i64, kind: i64, body: &[u8]) -> Result<()> {
        if kind == Kind::Life.number() {
            let life = serde_json::from_slice(body).map_err(|_| makes_no_sense(seq))?;
            self.lives.insert(seq, life);
        } else {
            let terms = serde_json::from_slice(body).map_err(|_| makes_no_sense(seq))?;
            self.terms.insert(seq, Arc::new(terms));
        }
        Ok(())
    }

    /// What a record says.
    pub fn line(&self, record: Record, hash: &Hash) -> Result<Line> {
        let mut line = Line {
            host: String::new(),
            seq: record.seq,
            kind: Kind::of(record.kind).ok_or_else(|| makes_no_sense(record.seq))?,
            life: String::new(),
            id: 0,
            refers: (record.life, record.terms),
            at: (record.from_ns, record.to_ns),
            said: Said::Text(String::new()),
            body: record.body,
            hash: hex(hash),
        };
        self.fill(&mut line)?;
        Ok(line)
    }

    fn fill(&self, line: &mut Line) -> Result<()> {
        if let Some(life) = self.lives.get(&line.refers.0) {
            line.life.clone_from(&life.life);
            line.id = life.id;
        }
        let none = || makes_no_sense(line.seq);
        line.said = match line.kind.is_usage() {
            true => {
                let interval = Box::new(Interval {
                    from_ns: line.at.0,
                    to_ns: line.at.1,
                    amounts: decode(&line.body).ok_or_else(none)?,
                });
                Said::Usage(interval, Arc::clone(self.terms.get(&line.refers.1).ok_or_else(none)?))
            }
            false => Said::Text(String::from_utf8(line.body.clone()).map_err(|_| none())?),
        };
        Ok(())
    }
}
