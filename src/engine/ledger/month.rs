//! What has passed the interfaces of a tenant's VEs in a month. It is kept beside the records, as it is asked for at each
//! start of a VE whose tenant has a budget for it.

use hostel_model::definition::REST;
use hostel_model::id::TenantName;
use hostel_model::monthly::Passed;
use hostel_model::usage::Interval;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, civil};
use rusqlite::params;
use serde::Deserialize;

use super::measure::Afresh;
use super::query::Life;
use super::store::{Ledger, Writer};
use crate::error::{Class, Error, Result};
use crate::facade::Silent;
use crate::host::Host;

/// How old what is known of a tenant's traffic may be where a VE of it is to start.
const FRESH_NS: u64 = 2_000_000_000;

/// A month of UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Month {
    /// `2026-10`.
    pub name: String,
    /// Its first moment, in nanoseconds since 1970.
    pub from_ns: i64,
    /// That of the next.
    pub to_ns: i64,
    /// The first day of the next, `2026-11-01`.
    pub next: String,
}

impl Month {
    /// The one that this moment is in; `None` only beyond the year 2262.
    pub fn of(wall_ns: i64) -> Option<Self> {
        let date = Timestamp::from_nanosecond(wall_ns.into())
            .ok()?
            .to_zoned(TimeZone::UTC)
            .date();
        let next = date.first_of_month().checked_add(1.month()).ok()?;
        Some(Self {
            name: format!("{:04}-{:02}", date.year(), date.month()),
            from_ns: begins(date.first_of_month())?,
            to_ns: begins(next)?,
            next: next.to_string(),
        })
    }
}

fn begins(date: civil::Date) -> Option<i64> {
    let midnight = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
    i64::try_from(midnight.as_nanosecond()).ok()
}

/// What is needed of terms.
#[derive(Deserialize)]
struct Name {
    name: String,
}

fn makes_no_sense(e: serde_json::Error) -> Error {
    Error::new(Class::Failed, "cannot understand the ledger").because(e)
}

impl Ledger {
    /// Each VE of which something has passed in a month while it was this tenant's.
    pub fn passed(&mut self, month: &Month, tenant: &TenantName) -> Result<Vec<Passed>> {
        let mut find = self.connection.prepare(
            "SELECT named.body, record.body, passed.bytes FROM passed JOIN life ON life.seq = passed.life \
             JOIN record AS named ON named.seq = life.terms JOIN record ON record.seq = passed.life \
             WHERE passed.month = ?1 AND passed.tenant = ?2",
        )?;
        let mut rows = find.query(params![month.from_ns, tenant.as_str()])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let (terms, life): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let named: Name = serde_json::from_slice(&terms).map_err(makes_no_sense)?;
            let life: Life = serde_json::from_slice(&life).map_err(makes_no_sense)?;
            all.push(Passed {
                ve: named.name,
                id: life.id,
                bytes: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
            });
        }
        Ok(all)
    }
}

impl Writer<'_> {
    /// Adds what has passed in an interval to the months that it is in.
    pub(super) fn add_passed(&self, life: i64, tenant: &str, interval: &Interval) -> Result<()> {
        if external(interval) == 0 {
            return Ok(());
        }
        let mut put = self.tx.prepare_cached(
            "INSERT INTO passed (month, tenant, life, bytes) VALUES (?1, ?2, ?3, ?4) ON CONFLICT \
             DO UPDATE SET bytes = iif(bytes > 9223372036854775807 - excluded.bytes, 9223372036854775807, \
             bytes + excluded.bytes)",
        )?;
        let mut done = Ok(());
        each_month(interval, &mut |month, piece| {
            let bytes = external(piece);
            if bytes > 0 && done.is_ok() {
                // The largest number of the database's is 8 EiB.
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                done = put.execute(params![month.from_ns, tenant, life, bytes]).map(drop);
            }
        });
        Ok(done?)
    }
}

impl Host {
    /// This month by the host's clock, and what has passed in it, as far as the ledger knows.
    pub(crate) fn passed_this_month(&self, tenant: &TenantName) -> Result<(Month, Vec<Passed>)> {
        let mut ledger = Ledger::open_existing(&self.dirs.ledger())?;
        self.passed_by(ledger.as_mut(), tenant)
    }

    /// The same, from an open ledger; `None`: there is none.
    pub(crate) fn passed_by(&self, ledger: Option<&mut Ledger>, tenant: &TenantName) -> Result<(Month, Vec<Passed>)> {
        let far = || Error::new(Class::Failed, "the host's clock is beyond all months");
        let month = Month::of(self.moment().wall_ns).ok_or_else(far)?;
        let passed = ledger.map_or(Ok(Vec::new()), |ledger| ledger.passed(&month, tenant))?;
        Ok((month, passed))
    }

    /// Enters how the VEs of a tenant stand now that run, and what lies in the spool. Their disks aren't looked at, as one
    /// that hangs would hold up another VE.
    pub(crate) fn catch_up(&self, tenant: &TenantName) -> Result<()> {
        let now = self.moment();
        let mut counters = self.counters_by_ve()?;
        let mut readings = Vec::new();
        for state in self.all_states()? {
            if state.tenant.as_ref() == Some(tenant) && self.cgroups.exists(state.id) {
                let own = counters.remove(&state.id).unwrap_or_default();
                let passed = self.passed_with(state.id, &own, now.up_ns);
                // One that can't be looked at keeps no other from being entered; the manager tells of it.
                let measured = self.measure_with(&state, None, passed, &mut Afresh { disk: false });
                readings.extend(measured.ok().flatten());
            }
        }
        self.enter_usage("traffic", readings, &Silent).map(drop)
    }

    /// The same where a VE of the tenant is to start; not again where that was done just before: of many that start at once
    /// each would look at all others.
    pub(crate) fn catch_up_to_start(&self, tenant: &TenantName) -> Result<()> {
        let (stamp, now) = (self.dirs.caught_up(tenant), self.moment().up_ns);
        let done = std::fs::read_to_string(&stamp)
            .ok()
            .and_then(|text| text.parse::<u64>().ok());
        if done.is_some_and(|done| done <= now && now - done < FRESH_NS) {
            return Ok(());
        }
        self.catch_up(tenant)?;
        // It lies in /run, so that no boot but this is meant. Where it can't be written, the next does it once more.
        let _ = std::fs::write(stamp, now.to_string());
        Ok(())
    }
}

/// Shows the pieces of an interval in the months that it is in.
pub(super) fn each_month(interval: &Interval, see: &mut dyn FnMut(&Month, &Interval)) {
    let mut at = interval.from_ns;
    while let Some(month) = Month::of(at) {
        if let Some(piece) = interval.within(month.from_ns, month.to_ns) {
            see(&month, &piece);
        }
        if month.to_ns >= interval.to_ns {
            return;
        }
        at = month.to_ns;
    }
}

/// Bytes both ways, but for classes that hostel.toml names.
pub(super) fn external(interval: &Interval) -> u64 {
    let flows = interval.amounts.traffic.iter().filter(|(flow, _)| flow.class == REST);
    flows.fold(0, |sum, (_, amount)| sum.saturating_add(amount.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other() {
        let mut at = 1_000_000_000_000_000_000; // 2001-09-09
        for name in ["2001-09", "2001-10", "2001-11", "2001-12", "2002-01", "2002-02"] {
            let month = Month::of(at).unwrap();
            assert_eq!(month.name, name);
            assert!((month.from_ns..month.to_ns).contains(&at));
            assert_eq!(Month::of(month.to_ns - 1).unwrap(), month);
            at = month.to_ns;
        }
        assert_eq!(Month::of(at - 1).unwrap().next, "2002-03-01");
        assert_eq!(Month::of(0).unwrap().from_ns, 0);
    }
}
