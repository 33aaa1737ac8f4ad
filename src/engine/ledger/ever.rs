//! All that a VE has counted and held since it was made, as far as the ledger goes: for `hostel limits` and `hostel why`.

use hostel_model::usage::{Amounts, Counter, DAY, Level, Mark, Run, floor};
use rusqlite::OptionalExtension;

use super::measure::life;
use super::store::Ledger;
use super::tally::Piece;
use crate::error::Result;
use crate::host::Host;
use crate::ve::record::VeState;

/// Later than any record is.
const FOR_EVER: i64 = i64::MAX / 2;

/// What a VE has used in its life, and how far it is accounted for.
#[derive(Debug, Default)]
pub(crate) struct Ever {
    amounts: Amounts,
    mark: Option<Mark>,
    /// The boot that the host is in.
    boot: String,
}

impl Ever {
    /// How much it has counted, with what it has in this run.
    pub fn counted(&self, counter: Counter, run: Option<(&Run, u64)>) -> Option<u64> {
        let before = self.amounts.counter(counter);
        let fresh = run.map(|(run, now)| {
            // Process ids and times are given again after a boot.
            let of_boot = self.mark.as_ref().filter(|mark| mark.at.boot == self.boot);
            let same = of_boot.filter(|mark| mark.run.as_ref().is_some_and(|known| known.is(run)));
            let entered = same.and_then(|mark| mark.counters[counter as usize]).unwrap_or(0);
            now.saturating_sub(entered)
        });
        match (before, fresh) {
            (Some(before), Some(fresh)) => Some(before.saturating_add(fresh)),
            (before, fresh) => before.or(fresh),
        }
    }

    /// Was its disk full when it was looked at last?
    pub fn was_full(&self) -> bool {
        let full = |mark: &Mark| mark.levels[Level::DiskFull as usize] == Some(1);
        self.mark.as_ref().is_some_and(full)
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
        let mut marked = self.marked(life)?;
        while let Some((seq, mark)) = marked {
            let mut amounts = Amounts::default();
            self.tally(
                (from_ns, FOR_EVER),
                false,
                &|party| party.life == seq,
                &mut |_, piece| {
                    amounts.add(match &piece {
                        Piece::Record(interval) => &interval.amounts,
                        Piece::Day { amounts, .. } => amounts,
                    });
                },
            )?;
            // Whoever enters something meanwhile moves the mark.
            let now = self.marked(life)?;
            if now.as_ref().is_some_and(|(_, now)| *now == mark) {
                return Ok(Ever {
                    amounts,
                    // One that can't be understood is the writer's to tell of.
                    mark: serde_json::from_str(&mark).ok(),
                    boot: String::new(),
                });
            }
            marked = now;
        }
        Ok(Ever::default())
    }

    /// The number of a VE's record, and how far it is accounted for.
    fn marked(&self, life: &str) -> Result<Option<(i64, String)>> {
        let find = "SELECT seq, mark FROM life WHERE name = ?1";
        let found = self
            .connection
            .query_row(find, [life], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(found.optional()?)
    }
}

impl Host {
    /// The same of a VE; nothing where there is no ledger.
    pub(crate) fn ever(&self, state: &VeState) -> Result<Ever> {
        Ok(Ever {
            boot: self.boot_id.clone(),
            ..self.entered(state, 0)?
        })
    }

    /// What it has used from the beginning of yesterday on, in UTC, as far as it was entered: days are summed up, and to read a
    /// part of one takes long.
    pub(crate) fn used_since_yesterday(&self, state: &VeState) -> Result<Amounts> {
        let yesterday = floor(self.moment().wall_ns.saturating_sub(DAY), DAY);
        Ok(self.entered(state, yesterday)?.amounts)
    }

    fn entered(&self, state: &VeState, from_ns: i64) -> Result<Ever> {
        match Ledger::open_existing(&self.dirs.ledger())? {
            Some(mut ledger) => ledger.ever(&life(state), from_ns),
            None => Ok(Ever::default()),
        }
    }
}
