//! The firewall of routed VEs: one nftables table, whose rules never change when a VE comes or goes. A VE is some
//! elements of the table's sets; one without elements can send nothing, so there is no moment at which a new VE's
//! packets pass unchecked. The rules are in `templates/nftables/ruleset.nft.tera`.
//!
//! The table works in the network namespace of the calling thread. Call [`Firewall::ensure`] before a VE's link is
//! made and [`Firewall::admit`] after, and hold a lock of the whole host around reading what VEs there are and
//! [`Firewall::ensure`] or [`Firewall::replace`], or a VE admitted in between may be forgotten.
//!
//! What it can't see: ARP and foreign ethertypes never reach an `inet` table. On a routed link they reach the host
//! alone: ARP with a foreign sender is dropped by the strict reverse path filter of the host's end, the entries for the
//! VE's own addresses are permanent, and nothing there listens to VLANs, STP or LLDP.

use std::fmt::Debug;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::Result;

mod fake;
mod nftables;
mod ruleset;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod wire;

pub use fake::FakeFirewall;
pub use nftables::Nftables;

/// What the table shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// Name of the table, of the family `inet`; it is wholly ours.
    pub table: String,
    /// What the names of all VE interfaces begin with; every interface of that name is taken for a VE's.
    pub prefix: String,
    /// Networks whose VEs leave the host under the host's own address.
    pub masquerade: Vec<MasqueradePool>,
    /// The VEs' interfaces.
    pub members: Vec<Member>,
}

/// A network behind the host's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasqueradePool {
    /// Its name.
    pub network: String,
    /// Its addresses.
    pub pools: Vec<IpNetwork>,
}

/// One interface of a VE, and what may come from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The host's end.
    pub interface: String,
    /// The addresses it may send from.
    pub addresses: Vec<IpAddr>,
    /// The MAC address it may send from.
    pub mac: [u8; 6],
}

/// The firewall.
pub trait Firewall: Send + Sync + Debug {
    /// Loads the whole table in one transaction: every packet sees the old table or the new one.
    fn replace(&self, ruleset: &Ruleset) -> Result<()>;

    /// Replaces the table if it isn't there, isn't of this version, or its rules were changed by hand; else admits
    /// the ruleset's members as [`Firewall::admit`] does. True if the table was replaced. Cheap if all is right.
    fn ensure(&self, ruleset: &Ruleset) -> Result<bool>;

    /// Makes these interfaces members, with exactly this MAC and these addresses: what they had before is gone, in
    /// the same transaction. Other members stay.
    fn admit(&self, table: &str, members: &[Member]) -> Result<()>;

    /// Ends the membership of an interface: nothing more from it passes. Fine if it is no member, or there is no
    /// table.
    fn expel(&self, table: &str, interface: &str) -> Result<()>;

    /// The members in the kernel's table, in order of interface; none if there is no table.
    fn members(&self, table: &str) -> Result<Vec<Member>>;

    /// Drops everything to and from these interfaces, there or yet to come, until [`Firewall::release`]: for a VE whose
    /// connections must not change. The rules are a table of their own, `held`; what it held before is held no more.
    fn hold(&self, held: &str, interfaces: &[String]) -> Result<()>;

    /// Ends [`Firewall::hold`]; fine if nothing is held.
    fn release(&self, held: &str) -> Result<()>;

    /// Our tables whose names begin with this, in order: of [`Firewall::hold`], for a prefix that no other table has.
    fn tables(&self, prefix: &str) -> Result<Vec<String>>;

    /// The text that [`Firewall::replace`] loads.
    fn text(&self, ruleset: &Ruleset) -> Result<String>;

    /// Removes the table; fine if there is none. VEs are unchecked from then on.
    fn remove(&self, table: &str) -> Result<()>;
}
