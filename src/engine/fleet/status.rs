//! How far forwarding is: what the last one who tried has left in /run, so that to ask for it waits for nobody.

use hostel_system::file;
use serde::{Deserialize, Serialize};

use super::Sent;
use crate::error::{Result, chain};
use crate::host::Host;
use crate::ledger::Ledger;

/// What is left in /run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// The last record that the fleet's ledger has, as far as is known.
    pub last: i64,
    /// When that was last found out, in nanoseconds since 1970; 0: not since the host's boot.
    pub at_ns: i64,
    /// What goes wrong; `None`: nothing.
    pub trouble: Option<String>,
    /// Since when, in nanoseconds since 1970.
    pub trouble_ns: i64,
}

/// How far forwarding is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forwarding {
    /// Where to.
    pub server: String,
    /// This ledger's id there; `None`: it has none yet.
    pub id: Option<String>,
    /// The last record here.
    pub last: i64,
    /// The last that is there.
    pub forwarded: i64,
    /// How many records are not there yet.
    pub behind: i64,
    /// When the first of those was written, in nanoseconds since 1970.
    #[serde(rename = "behind_since", serialize_with = "crate::facade::some_moment")]
    pub behind_since_ns: Option<i64>,
    /// When it was last forwarded, or found that nothing was left, in nanoseconds since 1970; `None`: not since the host's
    /// boot.
    #[serde(rename = "forwarded_at", serialize_with = "crate::facade::some_moment")]
    pub forwarded_ns: Option<i64>,
    /// What keeps it from being forwarded.
    pub trouble: Option<String>,
    /// Since when, in nanoseconds since 1970.
    #[serde(rename = "trouble_since", serialize_with = "crate::facade::some_moment")]
    pub trouble_since_ns: Option<i64>,
}

impl Host {
    fn attempts(&self) -> Attempts {
        let text = file::read_opt(&self.dirs.forwarding())
            .ok()
            .flatten()
            .unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Notes what came of forwarding. Whether it can be noted changes nothing.
    pub(crate) fn note_forwarded(&self, came: &Result<Sent>) -> Attempts {
        let (mut attempts, now) = (self.attempts(), self.moment().wall_ns);
        match came {
            Ok(sent) => {
                attempts = Attempts {
                    last: sent.last,
                    at_ns: now,
                    ..Attempts::default()
                };
            }
            Err(e) => {
                if attempts.trouble.is_none() {
                    attempts.trouble_ns = now;
                }
                attempts.trouble = Some(chain(e));
            }
        }
        if let Ok(text) = serde_json::to_vec(&attempts) {
            let _ = file::replace(&self.dirs.forwarding(), &text);
        }
        attempts
    }

    /// How far it is.
    pub(crate) fn forwarding(&self) -> Result<Forwarding> {
        let server = self.ledger_server()?.to_string();
        let attempts = self.attempts();
        let (mut id, mut last, mut forwarded) = (None, 0, attempts.last);
        let (mut behind, mut since) = (0, None);
        if let Some(ledger) = Ledger::open_existing(&self.dirs.ledger())? {
            id = ledger.known_id()?;
            last = ledger.head()?.0;
            // It may be another ledger than the one that was forwarded before.
            forwarded = if forwarded > last { 0 } else { forwarded };
            forwarded = forwarded.max(ledger.sent()?);
            (behind, since) = ledger.after(forwarded)?;
        }
        let known = |ns: i64| (ns > 0).then_some(ns);
        Ok(Forwarding {
            server,
            id,
            last,
            forwarded,
            behind,
            behind_since_ns: since,
            forwarded_ns: known(attempts.at_ns),
            trouble_since_ns: attempts.trouble.is_some().then_some(attempts.trouble_ns),
            trouble: attempts.trouble,
        })
    }
}
