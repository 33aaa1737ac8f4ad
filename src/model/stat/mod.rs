//! Who uses how much of a host: from two readings to a table of shares.
//!
//! A reading is what the kernel tells at one moment. Some of it are counters, which only grow as long as a VE's control
//! group lives and begin anew with the next one; the rest are levels. What can't be read is `None` and stays so in
//! everything that is worked out from it: never zero, and never a negative number that was turned into one.

mod figure;
mod interval;
mod report;
mod row;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{VeId, VeName};
use crate::traffic;

pub use figure::{FIGURES, Figure, Figures, Resource};
pub use interval::{Interval, interval, stand};
pub use report::{Report, Tally};
pub use row::{Cell, Kind, Row, by_tenant};

/// One run of a VE, told from those before and after it: its init's process id and start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// The process id.
    pub pid: u32,
    /// When it began, in clock ticks since the host's boot.
    pub began: u64,
}

/// What a VE is and may have. It changes with its definition, not with its load.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its name.
    pub name: VeName,
    /// Whose it is; empty if that can't be told.
    pub tenant: String,
    /// Its plan; empty if that can't be told.
    pub plan: String,
    /// Its limits.
    pub caps: Figures<Option<u64>>,
    /// Its weight for processor time.
    pub cpu_weight: Option<u32>,
    /// Its weight for the disk.
    pub io_weight: Option<u32>,
}

/// A VE at one moment. Figures that are rates stand here as counters.
#[derive(Debug, Clone, PartialEq)]
pub struct VeReading {
    /// When, in nanoseconds of a clock that only goes forward.
    pub at_ns: u64,
    /// Which run of it this is; `None`: it doesn't run.
    pub life: Option<Life>,
    /// Its state: "running", "stopped", ….
    pub state: String,
    /// What it is; `None` if that wasn't asked for.
    pub known: Option<Known>,
    /// Counters and levels; those of the network are in `flows`.
    pub figures: Figures<Option<u64>>,
    /// Its counters of traffic; `None` if they can't be read.
    pub flows: Option<Vec<traffic::Reading>>,
    /// Files on its disk, and how many there can be; `None` if that wasn't asked for, or its disk can't tell.
    pub files: Option<[u64; 2]>,
    /// Whether the disk is full; the same.
    pub full: Option<bool>,
    /// For how long some task of it has waited for a processor, for memory, for a disk: counters of microseconds.
    pub stalled_us: [Option<u64>; 3],
}

/// The host at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostReading {
    /// When, as in [`VeReading`].
    pub at_ns: u64,
    /// Counters and levels of the whole host.
    pub figures: Figures<Option<u64>>,
    /// How much there is of each; `None` where that can't be told, as for the bandwidth of a disk.
    pub sizes: Figures<Option<u64>>,
}

/// All that was read at about one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The host.
    pub host: HostReading,
    /// Its VEs.
    pub ves: BTreeMap<VeId, VeReading>,
}
