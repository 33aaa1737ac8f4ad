//! Whether VEs are measured: what `hostel info` says of the manager.

use std::path::Path;

use hostel_system::service::Services;

use super::metrics::Family;
use super::units::{CONFIG, MANAGER as UNIT};
use super::{Engine, Fact};
use crate::ledger::{Ledger, MANAGER};

impl Engine {
    /// Does a manager run? Where that can't be known, as if it did.
    pub fn manager_runs(&self) -> bool {
        !matches!(self.host.locks.holder(MANAGER), Ok(None))
    }

    /// Does it run, by whom, and when was anything measured last?
    pub(super) fn manager(&self) -> Fact {
        let holder = self.host.locks.holder(MANAGER);
        let services = Services::new(Path::new("/"));
        let ours = self.host.config_file == Path::new(CONFIG) && services.has_systemd();
        let whose = match () {
            () if !ours => "have \"hostel manager\" run by this host's init".to_owned(),
            () if !services.is_installed(UNIT) => "its unit is not installed; do so with: hostel init".to_owned(),
            () if !services.is_enabled(UNIT) => {
                format!("turned off; turn it on with: systemctl enable --now {UNIT}")
            }
            () => format!("it should run; see why not with: systemctl status {UNIT}"),
        };
        let (value, why) = match holder {
            Ok(Some(_)) => ("runs", "every VE that runs is measured regularly".to_owned()),
            Ok(None) => (
                "doesn't run",
                format!("{whose}; usage is entered when a VE is stopped or changed"),
            ),
            Err(_) => ("unknown", whose),
        };
        Fact {
            what: "metering".into(),
            value: value.into(),
            why: format!("{why}; {}", self.last_measured()),
        }
    }

    /// The same as metrics: whoever watches a host is to hear that nobody measures, or that nothing of it arrives.
    pub(super) fn ledger_metrics(&self) -> Vec<Family> {
        let up = self.host.locks.holder(MANAGER).ok().map(|holder| holder.is_some());
        let ledger = Ledger::open_existing(&self.host.dirs.ledger()).ok().flatten();
        let last = ledger.and_then(|ledger| ledger.last_use().ok().flatten());
        // A moment is of seconds.
        #[allow(clippy::cast_precision_loss)]
        let last = last.map(|ns| ns as f64 / 1e9);
        vec![
            Family::of_host(
                "hostel_manager_up",
                "Whether a manager runs, which measures VEs regularly.",
                up.map(|up| if up { 1.0 } else { 0.0 }),
            ),
            Family::of_host(
                "hostel_ledger_last_record_timestamp_seconds",
                "The end of the last record of usage in this host's ledger.",
                last,
            ),
        ]
    }

    fn last_measured(&self) -> String {
        let ledger = Ledger::open_existing(&self.host.dirs.ledger());
        match ledger.and_then(|ledger| ledger.map_or(Ok(None), |l| l.last_use())) {
            Ok(Some(ns)) => {
                let at = jiff::Timestamp::from_second(ns.div_euclid(1_000_000_000)).unwrap_or_default();
                format!("last measured at {at}")
            }
            Ok(None) => "nothing was measured yet".to_owned(),
            Err(e) => format!("when it was last measured can't be told: {}", e.message),
        }
    }
}
