//! Counters of VEs' traffic, by class, direction and family of addresses. They are elements of nftables sets in a table
//! of their own (`templates/nftables/traffic.nft.tera`), so that no change of the firewall's rules touches them; where
//! there are bridges, in a second one of the family `bridge`. Each bears a mark that no other ever has, by which who
//! reads it knows what of it is counted already ([`hostel_model::traffic`]).
//!
//! As with [`super::Firewall`], hold a lock of the whole host around [`Counters::standing`] and [`Counters::load`].

use std::fmt::Debug;

use hostel_model::definition::TrafficClass;
use hostel_model::traffic::Reading;

use super::Standing;
use crate::Result;

mod fake;
mod kernel;
#[cfg(test)]
mod tests;
mod text;
mod wire;

pub use fake::FakeCounters;
pub use kernel::NftCounters;

/// What the tables shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counting {
    /// Name of the tables.
    pub table: String,
    /// What the names of all VE interfaces begin with.
    pub prefix: String,
    /// The classes besides the one of all that none names.
    pub classes: Vec<TrafficClass>,
    /// Are there networks of kind bridge?
    pub bridged: bool,
}

/// The host's end of a VE's link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Its name.
    pub interface: String,
    /// Is it a port of a bridge?
    pub port: bool,
}

/// The counters.
pub trait Counters: Send + Sync + Debug {
    /// How the tables stand; their counters aside. Cheap.
    fn standing(&self, counting: &Counting) -> Result<Standing>;

    /// Makes the tables so in one transaction, with counters for these interfaces in each class. What has a counter keeps
    /// it, and none of a class that is no more is removed: see [`Counters::prune`].
    fn load(&self, counting: &Counting, interfaces: &[Counted]) -> Result<()>;

    /// Begins to count what passes these interfaces. What has a counter keeps it. An error of kind
    /// [`crate::Kind::NotFound`] if a table isn't there.
    fn begin(&self, counting: &Counting, interfaces: &[Counted]) -> Result<()>;

    /// Reads the counters of these interfaces, or of all; none if there is no table.
    fn read(&self, table: &str, interfaces: Option<&[String]>) -> Result<Vec<Reading>>;

    /// Removes the counters of these interfaces. What they counted must be written down. Fine if there are none.
    fn end(&self, table: &str, interfaces: &[String]) -> Result<()>;

    /// Removes what is left of classes that are no more, once nothing is counted in them.
    fn prune(&self, counting: &Counting) -> Result<()>;

    /// Removes the tables; fine if there are none.
    fn remove(&self, table: &str) -> Result<()>;
}
