//! The fleet's ledger, as faces see it: forwarding this host's, and reading all hosts'.

use hostel_model::usage::HOUR;
use serde::Serialize;

use super::metrics::Family;
use super::{Engine, Fact, Progress, Window};
use crate::error::{Class, Error, Result, chain};
use crate::fleet::{Fleet, FleetHost, FleetSource, Forwarding, Sent};
use crate::ledger::{MANAGER, Source, Verified};

/// How old what a host has forwarded may be before a report says so: VEs that don't run are looked at each hour, and five
/// minutes are for the look and the way.
const FRESH_NS: i64 = HOUR + 300_000_000_000;

/// Which records a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Books {
    /// This host's.
    Own,
    /// All hosts', from the fleet's ledger.
    Fleet,
    /// One host's from there, by its name or its ledger's id.
    Host(String),
}

/// What became of a host's ledger there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedHost {
    /// The host's name.
    pub host: String,
    /// Its ledger's id.
    pub id: String,
    /// What was found.
    #[serde(flatten)]
    pub verified: Verified,
}

/// A moment as people write it, in UTC and to the second.
pub(crate) fn date(ns: i64) -> String {
    let moment = jiff::Timestamp::from_second(ns.div_euclid(1_000_000_000)).unwrap_or_default();
    moment.to_string()
}

/// A moment as a text; 0 is none.
#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
pub(crate) fn moment<S: serde::Serializer>(ns: &i64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_some(&(*ns != 0).then(|| date(*ns)))
}

/// The same of one that may not be known.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(crate) fn some_moment<S: serde::Serializer>(ns: &Option<i64>, s: S) -> std::result::Result<S::Ok, S::Error> {
    moment(&ns.unwrap_or(0), s)
}

impl Books {
    /// Of several hosts?
    pub fn of_fleet(&self) -> bool {
        *self != Self::Own
    }

    fn host(&self) -> Option<&str> {
        match self {
            Self::Host(name) => Some(name),
            Self::Own | Self::Fleet => None,
        }
    }
}

impl Engine {
    fn fleet(&self, books: &Books) -> Result<FleetSource> {
        Fleet::open_existing(self.host.ledger_server()?)?.source(books.host())
    }

    /// Where records are read from.
    pub(super) fn source(&self, books: &Books) -> Result<Box<dyn Source>> {
        match books {
            Books::Own => Ok(Box::new(self.existing()?)),
            Books::Fleet | Books::Host(_) => Ok(Box::new(self.fleet(books)?)),
        }
    }

    /// The fleet's for a report of some time: what is not in it yet is told of.
    pub(super) fn fleet_of(&self, books: &Books, window: Window, progress: &dyn Progress) -> Result<FleetSource> {
        let source = self.fleet(books)?;
        let needed = window.to_ns.min(self.host.moment().wall_ns - FRESH_NS);
        for host in source.hosts().iter().filter(|host| host.caught_up_ns < needed) {
            progress.note(&match host.caught_up_ns {
                0 => format!("of {} not all has been forwarded yet", host.name),
                since => format!("of {} not all is known since {}", host.name, date(since)),
            });
        }
        for (n, host) in source.hosts().iter().enumerate() {
            let same = source.hosts()[..n].iter().find(|other| other.name == host.name);
            if let Some(other) = same {
                progress.note(&format!(
                    "there are two ledgers of hosts that are called {} ({} and {}): if one took the other's place while a VE \
                     ran, what that had used by then since its start is in both",
                    host.name, other.id, host.id
                ));
            }
        }
        Ok(source)
    }

    /// All hosts of the fleet's ledger.
    pub fn fleet_hosts(&self) -> Result<Vec<FleetHost>> {
        Fleet::open_existing(self.host.ledger_server()?)?.hosts()
    }

    /// Whether anything in the fleet's ledger was changed, host by host.
    pub fn verify_fleet(&self, books: &Books) -> Result<Vec<VerifiedHost>> {
        let all = self.fleet(books)?.verify()?;
        let one = |(host, verified): (FleetHost, Verified)| VerifiedHost {
            host: host.name,
            id: host.id,
            verified,
        };
        Ok(all.into_iter().map(one).collect())
    }

    /// Forwards what the fleet's ledger doesn't have yet of this host's. `anew`: all of it, and what is there is set aside.
    pub fn forward_ledger(&self, anew: bool, progress: &dyn Progress) -> Result<Sent> {
        self.host.settle_usage("forward", progress);
        let came = self.host.forward(&mut None, anew);
        self.host.note_forwarded(&came);
        came
    }

    /// How far this host's ledger is forwarded.
    pub fn forwarding_of_ledger(&self) -> Result<Forwarding> {
        self.host.forwarding()
    }

    /// The same as metrics of this host; none if nothing is to be forwarded, or it can't be told.
    pub(super) fn forwarding_metrics(&self) -> Vec<Family> {
        let forwarding = self
            .host
            .config
            .ledger
            .as_ref()
            .and_then(|_| self.host.forwarding().ok());
        let Some(Forwarding {
            behind, forwarded_ns, ..
        }) = forwarding
        else {
            return Vec::new();
        };
        // As precise as both need: records are counted, and moments are of seconds.
        #[allow(clippy::cast_precision_loss)]
        let (behind, moment) = (behind as f64, |ns: i64| ns as f64 / 1e9);
        vec![
            Family::of_host(
                "hostel_ledger_behind_records",
                "Records of this host that the fleet's ledger does not have yet.",
                Some(behind),
            ),
            Family::of_host(
                "hostel_ledger_forwarded_timestamp_seconds",
                "When the fleet's ledger was last found to have all of them, or given more.",
                forwarded_ns.map(moment),
            ),
        ]
    }

    /// The same as a fact of this host.
    pub(super) fn fleet_fact(&self) -> Option<Fact> {
        self.host.config.ledger.as_ref()?;
        let (value, why) = match self.host.forwarding() {
            Err(e) => ("unknown".to_owned(), chain(&e)),
            Ok(Forwarding {
                behind,
                server,
                trouble,
                ..
            }) => {
                let value = match behind {
                    0 => "forwarded".to_owned(),
                    n => format!("{n} records behind"),
                };
                let manager = self.host.locks.holder(MANAGER).is_ok_and(|holder| holder.is_some());
                let idle = (!manager).then(|| "no hostel manager runs, which does that".to_owned());
                let why: Vec<String> = [Some(format!("to {server}")), idle, trouble]
                    .into_iter()
                    .flatten()
                    .collect();
                (value, why.join("; "))
            }
        };
        Some(Fact {
            what: "ledger".to_owned(),
            value,
            why,
        })
    }
}

/// Nothing was found in the fleet's ledger of whom is asked for.
pub(super) fn nobody(what: &str) -> Error {
    Error::new(
        Class::NotFound,
        format!("the fleet's ledger has nothing of {what} in that time"),
    )
}
