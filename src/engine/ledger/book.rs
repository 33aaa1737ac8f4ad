//! Entering readings: what was used since the last one becomes records.

use hostel_model::usage::{Interval, Mark, Reading, Terms, encode};
use rusqlite::{OptionalExtension, params};
use serde_json::json;

use super::record::Kind;
use super::store::{Ledger, Writer};
use crate::error::{Class, Error, Result};

/// What is at hand of a VE.
struct Known {
    seq: i64,
    boot: i64,
    terms: i64,
    mark: Mark,
}

fn text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::new(Class::Failed, "cannot write a record").because(e))
}

impl Ledger {
    /// Enters readings, in the order in which they were taken. Those that are entered already, or come too late to say
    /// anything new, are passed over. How many were entered.
    pub fn enter(&mut self, readings: &[Reading]) -> Result<usize> {
        let mut writer = self.writer()?;
        let mut entered = 0;
        for reading in readings {
            entered += usize::from(writer.enter(reading)?);
        }
        writer.commit()?;
        Ok(entered)
    }
}

impl Writer<'_> {
    fn enter(&mut self, reading: &Reading) -> Result<bool> {
        let boot = self.boot(&reading.at.boot)?;
        let wall = reading.at.wall_ns;
        let Some(known) = self.known(&reading.life)? else {
            let body = text(&json!({ "life": reading.life, "id": reading.id }))?;
            let life = self.append(Kind::Life, (0, 0), (wall, wall), body.into_bytes())?;
            let (mark, intervals) = Mark::begin(reading);
            let terms = self.terms(life, wall, &mark.terms)?;
            self.intervals((life, terms), &mark.terms, &intervals)?;
            self.tx
                .prepare_cached("INSERT INTO life (seq, name, boot, terms, mark) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![life, reading.life, boot, terms, text(&mark)?])?;
            return Ok(true);
        };
        if boot < known.boot {
            return Ok(false);
        }
        let Some((mark, intervals)) = known.mark.advance(reading) else {
            return Ok(false);
        };
        self.intervals((known.seq, known.terms), &known.mark.terms, &intervals)?;
        let terms = match mark.terms == known.mark.terms {
            true => known.terms,
            false => self.terms(known.seq, wall, &mark.terms)?,
        };
        self.tx
            .prepare_cached("UPDATE life SET boot = ?2, terms = ?3, mark = ?4 WHERE seq = ?1")?
            .execute(params![known.seq, boot, terms, text(&mark)?])?;
        Ok(true)
    }

    fn intervals(&mut self, refers: (i64, i64), terms: &Terms, intervals: &[Interval]) -> Result<()> {
        for interval in intervals {
            let at = (interval.from_ns, interval.to_ns);
            self.append(Kind::Sample, refers, at, encode(&interval.amounts))?;
            self.add_passed(refers.0, &terms.tenant, interval)?;
        }
        Ok(())
    }

    fn terms(&mut self, life: i64, wall: i64, terms: &Terms) -> Result<i64> {
        self.append(Kind::Terms, (life, 0), (wall, wall), text(terms)?.into_bytes())
    }

    /// The place of a boot among those of this host: the order in which they were first heard of.
    fn boot(&self, id: &str) -> Result<i64> {
        let mut find = self.tx.prepare_cached("SELECT ordinal FROM boot WHERE id = ?1")?;
        if let Some(ordinal) = find.query_row([id], |row| row.get(0)).optional()? {
            return Ok(ordinal);
        }
        self.tx.execute("INSERT INTO boot (id) VALUES (?1)", [id])?;
        Ok(self.tx.last_insert_rowid())
    }

    fn known(&self, life: &str) -> Result<Option<Known>> {
        let mut find = self
            .tx
            .prepare_cached("SELECT seq, boot, terms, mark FROM life WHERE name = ?1")?;
        let found = find
            .query_row([life], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?))
            })
            .optional()?;
        let Some((seq, boot, terms, mark)) = found else {
            return Ok(None);
        };
        let mark = serde_json::from_str(&mark)
            .map_err(|e| Error::new(Class::Failed, "cannot understand the ledger").because(e))?;
        Ok(Some(Known { seq, boot, terms, mark }))
    }
}
