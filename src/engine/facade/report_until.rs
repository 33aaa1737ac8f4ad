//! Up to when a report is complete, and who is at fault if that is long ago.

use std::time::Duration;

use hostel_model::id::VeId;
use hostel_model::usage::{HOUR, Moment};

use super::fleet::date;
use super::units::MANAGER as UNIT;
use super::{Engine, Progress, Whose, Window};
use crate::error::Result;
use crate::host::Host;
use crate::ledger::{Followed, Ledger, MANAGER, Party, life};

/// How long a manager may take beyond its interval until that is told: disks hang, and looks at many take their time.
const GRACE: Duration = Duration::from_secs(60);
/// How many VEs are named.
const NAMED: usize = 3;

impl Engine {
    /// Up to when all that these have used is in this ledger, in nanoseconds since 1970, and not beyond the time asked for.
    /// What is read of it afterwards has at least that. `progress` is told if of VEs that ran nothing was entered for
    /// longer than that should take.
    pub(super) fn complete(
        &self,
        ledger: &Ledger,
        window: Window,
        whose: &Whose,
        progress: &dyn Progress,
    ) -> Result<i64> {
        let now = self.host.moment();
        let all = self.host.awaited(ledger, &|party| whose.has(party), &now)?;
        let most = self.host.config.metering.interval.duration() * 2 + GRACE;
        let silent: Vec<&Followed> = all.iter().filter(|ve| ve.lives && since(ve, &now) > most).collect();
        if let Some(first) = silent.iter().min_by_key(|ve| ve.at.wall_ns)
            && first.at.wall_ns < window.to_ns
        {
            progress.note(&self.silence(&silent, first));
        }
        Ok(entered(&all, &now).min(window.to_ns))
    }

    fn silence(&self, silent: &[&Followed], first: &Followed) -> String {
        let names: Vec<&str> = silent.iter().take(NAMED).map(|ve| ve.party.name.as_str()).collect();
        let more = silent.len().saturating_sub(NAMED);
        let whose = match more {
            0 => names.join(", "),
            n => format!("{} and {n} more", names.join(", ")),
        };
        let why = match self.host.locks.holder(MANAGER) {
            Ok(None) => "they can't be measured now".to_owned(),
            _ => format!("the manager that runs enters nothing of them: see systemctl status {UNIT}"),
        };
        let at = date(first.at.wall_ns);
        format!("of VEs that ran when they were seen last nothing was entered since {at} ({whose}): {why}")
    }
}

impl Host {
    /// Up to when all that this host's VEs have used is in its ledger, in nanoseconds since 1970. What is read of it afterwards
    /// has at least that.
    pub(crate) fn known_until(&self, ledger: &Ledger) -> Result<i64> {
        let now = self.moment();
        Ok(entered(&self.awaited(ledger, &|_| true, &now)?, &now))
    }

    /// The VEs of which more will come.
    fn awaited(&self, ledger: &Ledger, wanted: &dyn Fn(&Party) -> bool, now: &Moment) -> Result<Vec<Followed>> {
        let spooled = !self.spool().is_empty()?;
        let mut all = ledger.followed(wanted)?;
        // Of a VE that went without a word nothing will come any more, unless that word lies in the spool.
        all.retain(|ve| spooled || !is_late(ve, now) || self.is_there(ve));
        Ok(all)
    }

    fn is_there(&self, ve: &Followed) -> bool {
        let id = VeId::try_from(ve.party.id).ok();
        // One whose record can't be read is there.
        id.is_none_or(|id| match self.state_of(id) {
            Ok(state) => state.is_some_and(|state| life(&state) == ve.life),
            Err(_) => true,
        })
    }
}

/// Up to when all of these is entered.
fn entered(all: &[Followed], now: &Moment) -> i64 {
    let until = all.iter().map(|ve| ve.at.wall_ns).min();
    until.unwrap_or(now.wall_ns).min(now.wall_ns)
}

/// Should it have been looked at since? Those that don't run are looked at each hour.
fn is_late(ve: &Followed, now: &Moment) -> bool {
    since(ve, now).as_nanos() > 2 * u128::from(HOUR.unsigned_abs())
}

/// How long ago it was accounted for.
fn since(ve: &Followed, now: &Moment) -> Duration {
    let ns = match ve.at.boot == now.boot {
        true => now.up_ns.saturating_sub(ve.at.up_ns),
        false => u64::try_from(now.wall_ns.saturating_sub(ve.at.wall_ns))
            .unwrap_or(0)
            .max(now.up_ns),
    };
    Duration::from_nanos(ns)
}
