//! What was seen of a VE at a moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::listed::{list, shared};
use super::meter::{Counters, Levels};
use crate::traffic::{Amount, Flow};

/// When something was seen, by two clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Nanoseconds since 1970 in UTC: what people call the time. It may be set.
    pub wall_ns: i64,
    /// Which boot of the host this is.
    pub boot: String,
    /// Nanoseconds since that boot, sleep included: never set, never turned back.
    pub up_ns: u64,
}

/// Which run of a VE it is: counters begin anew with each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its init's process id on the host.
    pub pid: u32,
    /// Its init's start in ticks since the host's boot.
    pub ticks: u64,
    /// The same in nanoseconds since the host's boot.
    pub began_ns: u64,
}

impl Run {
    /// Is it the same? The nanoseconds are worked out, and may be a little off.
    pub fn is(&self, other: &Self) -> bool {
        (self.pid, self.ticks) == (other.pid, other.ticks)
    }
}

/// How a VE is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It runs.
    Running,
    /// It runs, and stands still.
    Paused,
    /// It lies in a dump.
    Suspended,
    /// It doesn't run.
    Stopped,
    /// It is no more. Nothing comes after that.
    Gone,
}

impl Condition {
    /// Has it processes?
    pub const fn lives(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// What was agreed on: whose it is, its plan, and the limits in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Terms {
    /// The VE's name.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// Its plan.
    pub plan: String,
    /// The limits by key, as a person writes them.
    pub limits: BTreeMap<String, String>,
}

/// Whose it is, as its record says, where nothing else is known of its terms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The VE's name.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
}

impl Owner {
    /// All that is known then.
    pub fn terms(&self) -> Terms {
        Terms {
            name: self.name.clone(),
            tenant: self.tenant.clone(),
            ..Terms::default()
        }
    }
}

/// What was seen of a VE. Its values are read one after the other, while others may read them, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Which VE for all time: a number is given to another when its VE is gone, this isn't.
    pub life: String,
    /// Its number.
    pub id: u32,
    /// Whose it is.
    #[serde(default)]
    pub owner: Owner,
    /// When: before the first of them was read, but for those of traffic.
    pub at: Moment,
    /// The time of day isn't known to be right yet: the host has just booted, and nobody has set its clock.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsure: bool,
    /// When the last of them had been read, in nanoseconds since the boot.
    #[serde(default)]
    pub until_ns: u64,
    /// When the first of traffic was read, in nanoseconds since the boot.
    #[serde(default)]
    pub traffic_ns: u64,
    /// What holds from now on; `None`: it couldn't be read, and what held before holds.
    #[serde(default, with = "shared")]
    pub terms: Option<Arc<Terms>>,
    /// How it is from now on.
    pub condition: Condition,
    /// The run that the counters are of, be it over now; `None` where that can't be told.
    pub run: Option<Run>,
    /// The counters of that run.
    #[serde(with = "list")]
    pub counters: Counters,
    /// The levels now.
    #[serde(with = "list")]
    pub levels: Levels,
    /// The most memory since the run began.
    pub memory_peak: Option<u64>,
    /// All that has passed its interfaces since it was made.
    pub traffic: Option<Vec<(Flow, Amount)>>,
    /// Which sums that is of ([`crate::traffic::Traffic::name`]).
    #[serde(default)]
    pub traffic_of: String,
}

impl Reading {
    /// One that says nothing but when, and how it is.
    pub fn bare(life: String, id: u32, at: Moment, condition: Condition) -> Self {
        Self {
            life,
            id,
            owner: Owner::default(),
            unsure: false,
            until_ns: at.up_ns,
            traffic_ns: at.up_ns,
            at,
            terms: None,
            condition,
            run: None,
            counters: Counters::default(),
            levels: Levels::default(),
            memory_peak: None,
            traffic: None,
            traffic_of: String::new(),
        }
    }
}
