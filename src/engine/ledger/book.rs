//! Entering readings: what was used since the last one becomes records.

use std::collections::BTreeMap;
use std::sync::Arc;

use hostel_model::usage::{Condition, Interval, Mark, Reading, Terms, encode};
use rusqlite::{OptionalExtension, params};
use serde_json::json;

use super::record::Kind;
use super::store::{Ledger, Writer};
use crate::error::{Class, Error, Result};

/// What is at hand of a VE.
#[derive(Debug)]
struct Known {
    seq: i64,
    boot: i64,
    terms: i64,
    mark: Mark,
}

/// What is at hand of all VEs that were entered last, so that it needn't be read again by who goes on.
#[derive(Debug, Default)]
pub(super) struct Marks {
    known: BTreeMap<String, Known>,
    /// The version of the file that they are from: any other writer's changes make it another.
    version: i64,
    /// The boot that was entered last, and its place.
    boot: Option<(String, i64)>,
}

/// What the ledger says of a VE.
enum Found {
    Nothing,
    /// It is no more, and nothing comes after that.
    Gone,
    Known(Box<Known>),
    /// How far it is accounted for can't be understood.
    Broken {
        seq: i64,
        boot: i64,
        terms: i64,
    },
}

fn text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::new(Class::Failed, "cannot write a record").because(e))
}

/// What is written of a mark. That of a VE that is no more isn't asked for again.
fn written(mark: &Mark) -> Result<String> {
    match mark.condition {
        Condition::Gone => Ok(String::new()),
        _ => text(mark),
    }
}

impl Ledger {
    /// Enters readings, in the order in which they were taken. Those that are entered already, or come too late to say
    /// anything new, are passed over. How many were entered. `told`: what is worth a line.
    pub fn enter(&mut self, readings: &[Reading], told: &mut Vec<String>) -> Result<usize> {
        // Whatever fails, they are read anew the next time.
        let mut marks = std::mem::take(&mut self.marks);
        let mut writer = Writer::begin(&mut self.connection)?;
        let version = writer.tx.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        if marks.version != version {
            marks = Marks {
                version,
                ..Marks::default()
            };
        }
        let mut entered = 0;
        for reading in readings {
            entered += usize::from(writer.enter(reading, &mut marks, told)?);
        }
        writer.commit()?;
        self.marks = marks;
        Ok(entered)
    }
}

impl Writer<'_> {
    fn enter(&mut self, reading: &Reading, marks: &mut Marks, told: &mut Vec<String>) -> Result<bool> {
        let boot = self.boot(&reading.at.boot, &mut marks.boot)?;
        let found = match marks.known.remove(&reading.life) {
            Some(known) => Found::Known(Box::new(known)),
            None => self.find(&reading.life)?,
        };
        let (entered, known) = match found {
            Found::Gone => return Ok(false),
            Found::Nothing => (true, self.appear(reading, boot)?),
            Found::Broken { seq, boot: had, terms } if had <= boot => {
                told.push(format!(
                    "how far VE {} ({}) was accounted for can't be understood and is put aside: what it has used since \
                     its last record counts for nobody",
                    reading.id, reading.owner.name
                ));
                (true, self.resume(reading, (seq, terms), boot)?)
            }
            Found::Broken { .. } => return Ok(false),
            Found::Known(known) => match self.proceed(reading, &known, boot)? {
                Some(next) => (true, next),
                None => (false, *known),
            },
        };
        if known.mark.condition != Condition::Gone {
            marks.known.insert(reading.life.clone(), known);
        }
        Ok(entered)
    }

    /// A VE appears.
    fn appear(&mut self, reading: &Reading, boot: i64) -> Result<Known> {
        let wall = reading.at.wall_ns;
        let body = text(&json!({ "life": reading.life, "id": reading.id }))?;
        let seq = self.append(Kind::Life, (0, 0), (wall, wall), body.into_bytes())?;
        let (mark, intervals) = Mark::begin(reading);
        let terms = self.terms(seq, wall, &mark.terms)?;
        self.intervals((seq, terms), &mark.terms, &intervals)?;
        self.tx
            .prepare_cached("INSERT INTO life (seq, name, boot, terms, mark) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![seq, reading.life, boot, terms, written(&mark)?])?;
        Ok(Known { seq, boot, terms, mark })
    }

    /// What was used since the mark; `None` if that reading says nothing new.
    fn proceed(&mut self, reading: &Reading, known: &Known, boot: i64) -> Result<Option<Known>> {
        if boot < known.boot {
            return Ok(None);
        }
        let Some((mark, intervals)) = known.mark.advance(reading) else {
            return Ok(None);
        };
        self.intervals((known.seq, known.terms), &known.mark.terms, &intervals)?;
        let same = Arc::ptr_eq(&mark.terms, &known.mark.terms) || mark.terms == known.mark.terms;
        let terms = match same {
            true => known.terms,
            false => self.terms(known.seq, reading.at.wall_ns, &mark.terms)?,
        };
        self.mark(known.seq, boot, terms, mark).map(Some)
    }

    fn resume(&mut self, reading: &Reading, (seq, terms): (i64, i64), boot: i64) -> Result<Known> {
        self.tx.execute(
            "INSERT INTO aside (life, wall, mark) SELECT seq, ?2, mark FROM life WHERE seq = ?1",
            params![seq, reading.at.wall_ns],
        )?;
        let had = self.terms_at(terms)?.unwrap_or_default();
        let mark = Mark::resume(reading, Arc::clone(&had));
        let terms = match mark.terms == had {
            true => terms,
            false => self.terms(seq, reading.at.wall_ns, &mark.terms)?,
        };
        self.mark(seq, boot, terms, mark)
    }

    fn mark(&mut self, seq: i64, boot: i64, terms: i64, mark: Mark) -> Result<Known> {
        self.tx
            .prepare_cached("UPDATE life SET boot = ?2, terms = ?3, mark = ?4 WHERE seq = ?1")?
            .execute(params![seq, boot, terms, written(&mark)?])?;
        Ok(Known { seq, boot, terms, mark })
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

    /// The terms that a record says; `None` if it can't be understood.
    fn terms_at(&self, seq: i64) -> Result<Option<Arc<Terms>>> {
        let mut find = self.tx.prepare_cached("SELECT body FROM record WHERE seq = ?1")?;
        let body: Option<Vec<u8>> = find.query_row([seq], |row| row.get(0)).optional()?;
        Ok(body.and_then(|body| serde_json::from_slice(&body).ok()).map(Arc::new))
    }

    /// The place of a boot among those of this host: the order in which they were first heard of.
    fn boot(&self, id: &str, last: &mut Option<(String, i64)>) -> Result<i64> {
        if let Some((_, ordinal)) = last.as_ref().filter(|(known, _)| known == id) {
            return Ok(*ordinal);
        }
        let mut find = self.tx.prepare_cached("SELECT ordinal FROM boot WHERE id = ?1")?;
        let ordinal = match find.query_row([id], |row| row.get(0)).optional()? {
            Some(ordinal) => ordinal,
            None => {
                self.tx.execute("INSERT INTO boot (id) VALUES (?1)", [id])?;
                self.tx.last_insert_rowid()
            }
        };
        *last = Some((id.to_owned(), ordinal));
        Ok(ordinal)
    }

    fn find(&self, life: &str) -> Result<Found> {
        let mut find = self
            .tx
            .prepare_cached("SELECT seq, boot, terms, mark FROM life WHERE name = ?1")?;
        let found = find
            .query_row([life], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?))
            })
            .optional()?;
        let Some((seq, boot, terms, mark)) = found else {
            return Ok(Found::Nothing);
        };
        if mark.is_empty() {
            return Ok(Found::Gone);
        }
        let broken = Found::Broken { seq, boot, terms };
        Ok(match (serde_json::from_str::<Mark>(&mark), self.terms_at(terms)?) {
            (Ok(mark), Some(terms_of)) => Found::Known(Box::new(Known {
                seq,
                boot,
                terms,
                mark: Mark {
                    terms: terms_of,
                    ..mark
                },
            })),
            _ => broken,
        })
    }
}
