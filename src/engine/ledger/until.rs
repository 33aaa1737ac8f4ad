//! Up to when the ledger knows what VEs have used.

use hostel_model::usage::{Condition, Moment};
use serde::Deserialize;

use super::query::Life;
use super::store::Ledger;
use super::tally::{Brief, Party, blob};
use crate::error::Result;

/// A VE that there is, as far as the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Which for all time.
    pub life: String,
    /// Its name, whose it is now, and under which plan.
    pub party: Party,
    /// Up to when all that it has used is entered; by the clock that nobody sets, when it was looked at last.
    pub at: Moment,
    /// It had processes then.
    pub lives: bool,
}

/// What is needed of a mark. To read its counters would take longer.
#[derive(Deserialize)]
struct Seen {
    at: Moment,
    condition: Condition,
    #[serde(default)]
    away: Option<SeenAway>,
}

/// The time for which the host was down is not entered yet, and nothing from its beginning on is complete.
#[derive(Deserialize)]
struct SeenAway {
    wall_ns: i64,
}

impl Seen {
    /// Up to when all is entered.
    fn entered(self) -> Moment {
        match self.away {
            None => self.at,
            Some(SeenAway { wall_ns }) => Moment { wall_ns, ..self.at },
        }
    }
}

impl Ledger {
    /// All VEs that are not known to be gone, of those who are wanted. A mark that can't be understood is left out: it is
    /// put aside, and told of, with the next reading of its VE.
    pub fn followed(&self, wanted: &dyn Fn(&Party) -> bool) -> Result<Vec<Followed>> {
        let mut find = self.connection.prepare(
            "SELECT life.name, life.seq, life.terms, record.body, named.body, life.mark FROM life \
             JOIN record ON record.seq = life.seq JOIN record AS named ON named.seq = life.terms WHERE life.mark != ''",
        )?;
        let mut rows = find.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let (Ok(born), Ok(terms)) = (
                serde_json::from_slice::<Life>(blob(row, 3)),
                serde_json::from_slice::<Brief>(blob(row, 4)),
            ) else {
                continue; // whose record it is in says so: a report, or verify
            };
            let party = terms.party(row.get(2)?, row.get(1)?, born.id);
            if !wanted(&party) {
                continue;
            }
            if let Ok(seen) = serde_json::from_str::<Seen>(&row.get::<_, String>(5)?) {
                all.push(Followed {
                    life: row.get(0)?,
                    party,
                    lives: seen.condition.lives(),
                    at: seen.entered(),
                });
            }
        }
        Ok(all)
    }
}
