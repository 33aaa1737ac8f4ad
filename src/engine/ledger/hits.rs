//! When limits of a VE stood in its way last, as far as the ledger tells: for `hostel limits`.

use std::time::{Duration, Instant};

use hostel_model::usage::{Counter, DAY, HOUR, decode};
use rusqlite::{OptionalExtension, params};

use super::measure::life;
use super::record::Kind;
use super::store::Ledger;
use crate::error::Result;
use crate::host::Host;
use crate::ve::record::VeState;

/// For how long it is looked for, the latest records first: nobody waits for what was long ago.
const PATIENCE: Duration = Duration::from_millis(200);

/// How much is looked at in one go: records lie in the order of their times, those of all VEs together.
const STEPS: [(Kind, i64); 3] = [(Kind::Sample, HOUR), (Kind::Hour, DAY), (Kind::Day, 30 * DAY)];

impl Ledger {
    /// For each of these counters the end of the latest record, in nanoseconds since 1970, in which it has counted.
    pub fn last_hits<const N: usize>(&self, life: &str, counters: [Counter; N]) -> Result<[Option<i64>; N]> {
        let (mut last, begin) = ([None; N], Instant::now());
        let find = "SELECT seq FROM life WHERE name = ?1";
        let Some(life) = self
            .connection
            .query_row(find, [life], |row| row.get::<_, i64>(0))
            .optional()?
        else {
            return Ok(last);
        };
        let ends = |of: &str, kind: Kind| {
            let find = format!("SELECT {of}(ends) FROM record WHERE kind = ?1");
            self.connection
                .query_row(&find, [kind.number()], |row| row.get::<_, Option<i64>>(0))
        };
        let mut rows = self.connection.prepare(
            "SELECT ends, body FROM record WHERE kind = ?1 AND ends > ?2 AND ends <= ?3 AND life = ?4 ORDER BY ends DESC",
        )?;
        for (kind, step) in STEPS {
            let (Some(first), Some(mut to)) = (ends("min", kind)?, ends("max", kind)?) else {
                continue;
            };
            while to >= first && last.contains(&None) && begin.elapsed() < PATIENCE {
                let from = to.saturating_sub(step);
                let mut found = rows.query(params![kind.number(), from, to, life])?;
                while let Some(row) = found.next()? {
                    let (end, body): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
                    let amounts = decode(&body);
                    for (last, counter) in last.iter_mut().zip(counters) {
                        if last.is_none() && amounts.as_ref().and_then(|a| a.counter(counter)) > Some(0) {
                            *last = Some(end);
                        }
                    }
                }
                to = from;
            }
        }
        Ok(last)
    }
}

impl Ledger {
    /// The end of the latest record of use, in nanoseconds since 1970; `None`: there is none.
    pub fn last_use(&self) -> Result<Option<i64>> {
        let find = "SELECT max(ends) FROM record WHERE kind = ?1";
        let mut last = None;
        for (kind, _) in STEPS {
            last = last.max(self.connection.query_row(find, [kind.number()], |row| row.get(0))?);
        }
        Ok(last)
    }
}

impl Host {
    /// The same of a VE, in seconds since 1970; nothing where there is no ledger, or it can't be read.
    pub(crate) fn last_hits<const N: usize>(&self, state: &VeState, counters: [Counter; N]) -> [Option<i64>; N] {
        let ledger = Ledger::open_existing(&self.dirs.ledger()).ok().flatten();
        let last = ledger.and_then(|ledger| ledger.last_hits(&life(state), counters).ok());
        last.unwrap_or([None; N])
            .map(|ns| ns.map(|ns| ns.div_euclid(1_000_000_000)))
    }
}
