//! What the sums beside the records must come to, worked out from the records alone: for who proves a ledger.

use std::collections::{BTreeMap, BTreeSet};

use hostel_model::usage::{DAY, HOUR, Interval, floor, passed};
use rusqlite::{Connection, Row, Statement};

use super::close::{Closing, Seal};
use super::daily::{DAILY, Day, Days, ROOM, add, damaged, write};
use super::month::{each_month, external};
use super::record::Kind;
use super::verify::{Broken, Walked, broken};
use crate::error::Result;

const WRONG_DAYS: &str = "the sums of days, which reports are made of, are not what the records come to";
const WRONG_MONTHS: &str =
    "what has passed in months, by which tenants' budgets are judged, is not what the records come to";
/// All days, as both sides have them.
const ALL: &str = "SELECT life, terms, day, begins, ends, body, passed FROM daily ORDER BY life, terms, day";

/// A VE under its terms, and a day.
type Key = (i64, i64, i64);

/// All that was found in the records.
pub(super) struct Expected {
    /// Days of years have no room in memory: a database of its own has them, which goes with us.
    db: Connection,
    days: Days,
    /// Those of which not all is known by the hour any more.
    blurred: BTreeSet<Key>,
    /// The last sample that is of a day, by the day.
    latest: BTreeMap<i64, i64>,
    /// Bytes of the month, by the VE and its terms.
    months: BTreeMap<(i64, i64, i64), u64>,
    tenants: BTreeMap<i64, String>,
    /// What was said of a day last when it was closed, and by which record.
    closings: BTreeMap<i64, (i64, Closing)>,
    /// Days before the last one that was closed that are not.
    pub open: Vec<i64>,
}

impl Expected {
    pub fn new() -> Result<Self> {
        let db = Connection::open("")?;
        db.execute_batch(DAILY)?;
        Ok(Self {
            db,
            days: Days::new(),
            blurred: BTreeSet::new(),
            latest: BTreeMap::new(),
            months: BTreeMap::new(),
            tenants: BTreeMap::new(),
            closings: BTreeMap::new(),
            open: Vec::new(),
        })
    }

    /// Whose a VE is under terms.
    pub fn tenant(&mut self, terms: i64, tenant: String) {
        self.tenants.insert(terms, tenant);
    }

    /// What a record says that is in the days, if they have all that they should.
    pub fn use_in_days(&mut self, refers: (i64, i64), (seq, kind): (i64, Kind), interval: &Interval) -> Result<()> {
        add(&mut self.days, refers, interval);
        let mut day = floor(interval.from_ns, DAY);
        match kind {
            Kind::Day => drop(self.blurred.insert((refers.0, refers.1, day))),
            Kind::Sample => {
                while day <= interval.to_ns.saturating_sub(1).max(interval.from_ns) {
                    self.latest.insert(day, seq);
                    day = day.saturating_add(DAY);
                }
            }
            _ => {}
        }
        match self.days.len() >= ROOM {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// What has passed in it, in each month.
    pub fn use_in_months(&mut self, (life, terms): (i64, i64), interval: &Interval) {
        if external(interval) > 0 {
            each_month(interval, &mut |month, piece| {
                let bytes = self.months.entry((month.from_ns, life, terms)).or_default();
                *bytes = bytes.saturating_add(external(piece));
            });
        }
    }

    pub fn close(&mut self, day: i64, seq: i64, closing: Closing) {
        self.closings.insert(day, (seq, closing));
    }

    fn flush(&mut self) -> Result<()> {
        self.db.execute_batch("BEGIN")?;
        write(&self.db, &std::mem::take(&mut self.days))?;
        Ok(self.db.execute_batch("COMMIT")?)
    }

    /// Do the sums that stand beside these records come to the same, and to what was said of days when they were closed?
    pub fn compare(&mut self, view: &Connection) -> Result<Walked> {
        self.flush()?;
        let (mut ours, mut theirs) = (self.db.prepare(ALL)?, view.prepare(ALL)?);
        let (mut ours, mut theirs) = (Rows::of(&mut ours)?, Rows::of(&mut theirs)?);
        let mut seals: BTreeMap<i64, Seal> = BTreeMap::new();
        loop {
            let same = match (ours.next()?, theirs.next()?) {
                (None, None) => break,
                (Some((key, Some(day))), Some((other, Some(found)))) if key == other => {
                    seals.entry(key.2).or_default().add((key.0, key.1), &found);
                    is(&found, &day, self.blurred.contains(&key), key.2)
                }
                _ => false,
            };
            if !same {
                return Ok(broken(0, WRONG_DAYS));
            }
        }
        self.open = self.not_closed(&seals);
        for (day, (seq, said)) in &self.closings {
            let found = seals.remove(day).unwrap_or_default().closing();
            if found != *said {
                return Ok(was_changed(*seq));
            }
        }
        self.compare_months(view)
    }

    /// The same where there are no sums: of what was used. In which hour, records of days can't tell.
    pub fn compare_closings(&mut self) -> Result<Walked> {
        self.flush()?;
        let mut ours = self.db.prepare(ALL)?;
        let mut ours = Rows::of(&mut ours)?;
        let mut seals: BTreeMap<i64, Seal> = BTreeMap::new();
        while let Some((key, day)) = ours.next()? {
            let seal = seals.entry(key.2).or_default();
            seal.add((key.0, key.1), &day.ok_or_else(damaged)?);
        }
        self.open = self.not_closed(&seals);
        for (day, (seq, said)) in &self.closings {
            // What came later is in the next closing, which isn't here yet.
            if self.latest.get(day).is_some_and(|latest| latest > seq) {
                continue;
            }
            let found = seals.remove(day).unwrap_or_default().closing();
            if (found.parties, &found.used) != (said.parties, &said.used) {
                return Ok(was_changed(*seq));
            }
        }
        Ok(Ok(()))
    }

    fn not_closed(&self, days: &BTreeMap<i64, Seal>) -> Vec<i64> {
        let Some((last, _)) = self.closings.last_key_value() else {
            return Vec::new();
        };
        let before = days.range(..*last).map(|(day, _)| *day);
        before.filter(|day| !self.closings.contains_key(day)).collect()
    }

    fn compare_months(&self, view: &Connection) -> Result<Walked> {
        let mut expected: BTreeMap<(i64, String, i64), u64> = BTreeMap::new();
        for ((month, life, terms), bytes) in &self.months {
            let tenant = self.tenants.get(terms).cloned().unwrap_or_default();
            let sum = expected.entry((*month, tenant, *life)).or_default();
            // The largest number of the table's.
            *sum = sum.saturating_add(*bytes).min(i64::MAX.unsigned_abs());
        }
        let mut find = view.prepare("SELECT month, tenant, life, bytes FROM passed")?;
        let found = find.query_map([], |row| {
            let bytes: i64 = row.get(3)?;
            Ok(((row.get(0)?, row.get(1)?, row.get(2)?), bytes.unsigned_abs()))
        })?;
        let found: BTreeMap<_, _> = found.collect::<rusqlite::Result<_>>()?;
        Ok(match found == expected {
            true => Ok(()),
            false => broken(0, WRONG_MONTHS),
        })
    }
}

fn was_changed(seq: i64) -> Walked {
    Err(Broken {
        seq,
        why: "what was used in the day that it closes is not what it was then".to_owned(),
    })
}

/// Is a day what it is to be? `blurred`: not all is known by the hour, but in sum.
fn is(found: &Day, expected: &Day, blurred: bool, begins: i64) -> bool {
    let hours = |day: &Day| {
        // What ends with an hour is not in the next.
        let last = day.known.1.saturating_sub(1).max(day.known.0);
        (floor(day.known.0, HOUR), floor(last, HOUR))
    };
    let sums = |day: &Day| {
        let hours = day.passed.iter();
        hours.fold([0_u64; 2], |sum, hour| [0, 1].map(|n| sum[n].saturating_add(hour[n])))
    };
    let ((first, last), (other_first, other_last)) = (hours(found), hours(expected));
    // A moment at the beginning of an hour is in it, and stands there alone once records of hours are made.
    let ends = [last, floor(found.known.1, HOUR)];
    found.amounts == expected.amounts
        && match blurred {
            false => found.passed == expected.passed && first == other_first && ends.contains(&other_last),
            true => sums(found) == passed(&found.amounts) && begins <= first && first <= last && last < begins + DAY,
        }
}

/// Days in their order.
struct Rows<'a>(rusqlite::Rows<'a>);

impl<'a> Rows<'a> {
    fn of(find: &'a mut Statement<'_>) -> Result<Self> {
        Ok(Self(find.query([])?))
    }

    /// The next; without what it says, if that makes no sense.
    fn next(&mut self) -> Result<Option<(Key, Option<Day>)>> {
        let read = |row: &Row<'_>| -> Result<(Key, Option<Day>)> {
            let key = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((key, Day::read(row, 3)?))
        };
        self.0.next()?.map(read).transpose()
    }
}
