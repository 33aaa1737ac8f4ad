//! All that a VE has counted and held since it was made, as far as the ledger goes: for `hostel limits`.

use hostel_model::usage::{Amounts, Counter, Level, Mark, Run};
use rusqlite::OptionalExtension;

use super::measure::life;
use super::store::Ledger;
use super::tally::Piece;
use crate::error::Result;
use crate::host::Host;
use crate::ve::record::VeState;

/// Later than any record is.
const FOR_EVER: i64 = i64::MAX / 2;

/// What a VE has used in its life, and what of its run is in that already.
#[derive(Debug, Default)]
pub(crate) struct Ever {
    amounts: Amounts,
    mark: Option<Mark>,
}

impl Ever {
    /// How much it has counted, with what it has in this run.
    pub fn counted(&self, counter: Counter, run: Option<(&Run, u64)>) -> Option<u64> {
        let before = self.amounts.counter(counter);
        let fresh = run.map(|(run, now)| {
            let same = self
                .mark
                .as_ref()
                .filter(|mark| mark.run.as_ref().is_some_and(|known| known.is(run)));
            let entered = same.and_then(|mark| mark.counters[counter as usize]).unwrap_or(0);
            now.saturating_sub(entered)
        });
        match (before, fresh) {
            (Some(before), Some(fresh)) => Some(before.saturating_add(fresh)),
            (before, fresh) => before.or(fresh),
        }
    }

    /// The most that it ever had.
    pub fn most(&self, level: Level) -> Option<u64> {
        self.amounts.level(level).peak
    }
}

impl Ledger {
    /// All that was entered of a VE from this moment on, in nanoseconds since 1970; nothing of one that the ledger doesn't
    /// know.
    fn ever(&mut self, life: &str, from_ns: i64) -> Result<Ever> {
        let mut ever = Ever::default();
        let find = "SELECT seq, mark FROM life WHERE name = ?1";
        let found = self
            .connection
            .query_row(find, [life], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            })
            .optional()?;
        let Some((seq, mark)) = found else {
            return Ok(ever);
        };
        // One that can't be understood is the writer's to tell of; then what is counted in this run may be there twice.
        ever.mark = serde_json::from_str(&mark).ok();
        self.tally(
            (from_ns, FOR_EVER),
            false,
            &|party| party.life == seq,
            &mut |_, piece| {
                ever.amounts.add(match &piece {
                    Piece::Record(interval) => &interval.amounts,
                    Piece::Day { amounts, .. } => amounts,
                });
            },
        )?;
        Ok(ever)
    }
}

impl Host {
    /// The same of a VE; nothing where there is no ledger, or it can't be read.
    pub(crate) fn ever(&self, state: &VeState) -> Ever {
        self.entered(state, 0)
    }

    /// What it has used from this moment on, in nanoseconds since 1970, as far as it was entered.
    pub(crate) fn used_since(&self, state: &VeState, from_ns: i64) -> Amounts {
        self.entered(state, from_ns).amounts
    }

    fn entered(&self, state: &VeState, from_ns: i64) -> Ever {
        let ledger = Ledger::open_existing(&self.dirs.ledger()).ok().flatten();
        ledger
            .and_then(|mut ledger| ledger.ever(&life(state), from_ns).ok())
            .unwrap_or_default()
    }
}
