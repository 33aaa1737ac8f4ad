//! Sees at each look that the rules stand.

use crate::error::chain;
use crate::facade::Progress;
use crate::host::Host;
use crate::ve::stamp::{Stamp, stamp};

/// What it says when it can't know any more which rules are wanted.
const CHANGED: &str =
    "hostel.toml has changed since the manager began, which loads no rules again until it is restarted";

/// Looks after the rules.
#[derive(Debug)]
pub struct Guardian {
    /// The version of hostel.toml that its host was opened with: rules of another table, or prefix, would cut VEs off.
    config: Stamp,
    /// The state of the packet filter in which all was as it should be.
    fine: Option<u32>,
    told: Option<String>,
}

impl Guardian {
    /// For a host that was just opened.
    pub fn new(host: &Host) -> Self {
        Self {
            config: stamp(&host.config_file),
            fine: None,
            told: None,
        }
    }

    /// Rules that somebody has flushed, or changed by hand, are loaded again: until then VEs may send what they like, and
    /// what they send isn't counted. Each time is told, and a failure once for as long as it lasts.
    pub fn look(&mut self, host: &Host, progress: &dyn Progress) {
        if stamp(&host.config_file) != self.config {
            return self.fail(CHANGED.to_owned(), progress);
        }
        // Whoever changes anything changes that.
        let now = host.firewall.generation().ok();
        if now.is_some() && now == self.fine {
            return;
        }
        match host.mend_broken() {
            Ok(tables) => {
                self.fine = now.filter(|_| tables.is_empty());
                for table in tables {
                    progress.note(&format!(
                        "firewall table {table}: its rules were changed by hand, or were gone, and were loaded again"
                    ));
                }
                self.told = None;
            }
            Err(e) => self.fail(
                format!("the firewall's rules could not be looked after: {}", chain(&e)),
                progress,
            ),
        }
    }

    fn fail(&mut self, why: String, progress: &dyn Progress) {
        if self.told.as_ref() != Some(&why) {
            progress.note(&why);
        }
        self.told = Some(why);
    }
}
