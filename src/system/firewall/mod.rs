//! The firewall of VEs: one nftables table, whose rules never change when a VE comes or goes. A VE is some
//! elements of the table's sets; one without elements can send nothing, so there is no moment at which a new VE's
//! packets pass unchecked. The rules are in `templates/nftables/ruleset.nft.tera`. Frames between ports of a bridge never
//! reach an `inet` table, so where there are bridges there is a second one of the same name, of the family `bridge`:
//! `templates/nftables/bridge.nft.tera`.
//!
//! The table works in the network namespace of the calling thread. Call [`Firewall::ensure`] before a VE's link is
//! made and [`Firewall::admit`] after, and hold a lock of the whole host around reading what VEs there are and
//! [`Firewall::ensure`] or [`Firewall::replace`], or a VE admitted in between may be forgotten.
//!
//! What it can't see: ARP and foreign ethertypes never reach an `inet` table. On a routed link they reach the host
//! alone: for ARP there is a third table, of the family `arp` (`templates/nftables/arp.nft.tera`), the entries for the
//! VE's own addresses are permanent, and nothing there listens to VLANs, STP or LLDP.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::IpAddr;

use hostel_model::forward::PortForward;
use ipnetwork::IpNetwork;

use crate::Result;

mod access;
mod fake;
mod forward;
mod host;
mod keys;
mod nat;
mod nftables;
mod ruleset;
mod sets;
mod standing;
mod template;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod traffic;
mod wire;

pub use access::{Access, Change, Count, FakeAccess, Guard, Loaded, NftAccess, Peers, counters, outermost};
pub use fake::FakeFirewall;
pub use host::{Apart, HostSide, Offer, usual_connections};
pub use nat::Nat;
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
    /// Networks that nobody outside reaches uninvited.
    pub nat: Nat,
    /// What VEs reach of the host, and by way of it.
    pub host: HostSide,
    /// Are there networks of kind bridge? The table of that family is made for them only: not every kernel has it.
    pub bridged: bool,
    /// Networks on bridges of ours into which the host forwards nothing of their own VEs: tenants would reach each other
    /// by way of it.
    pub isolated: Vec<IsolatedNetwork>,
    /// The VEs' interfaces.
    pub members: Vec<Member>,
}

/// A network whose tenants are kept from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolatedNetwork {
    /// Its addresses.
    pub pools: Vec<IpNetwork>,
    /// Those of them that are the host's own.
    pub host: Vec<IpAddr>,
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// The host's end.
    pub interface: String,
    /// The addresses it may send from.
    pub addresses: Vec<IpAddr>,
    /// The prefixes that are routed to it, which it may send from as well. Not for a port.
    pub routes: Vec<IpNetwork>,
    /// The MAC address it may send from.
    pub mac: [u8; 6],
    /// It is a port of a bridge, with these rules.
    pub port: Option<PortRules>,
    /// Ports of the host that lead to addresses of it. The kernel tells ranges port by port.
    pub forwards: Vec<PortForward>,
    /// All addresses of its VE: from these it reaches itself by such a port, which takes a detour.
    pub hairpin: Vec<IpAddr>,
}

/// What may pass a port of a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortRules {
    /// Ports reach each other if this number is the same.
    pub side: u32,
    /// May it send from any MAC address?
    pub any_mac: bool,
    /// May it send from any address, and answer for it?
    pub any_ip: bool,
    /// May it answer as a DHCP server?
    pub dhcp_server: bool,
    /// May it ask for an address by DHCP before it has one?
    pub dhcp_client: bool,
    /// May it announce itself as an IPv6 router?
    pub router: bool,
    /// Do router advertisements reach it?
    pub hears_ra: bool,
}

/// How the table in the kernel stands to the one that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its rules are those.
    Current,
    /// Its rules are as they were loaded, and others are wanted by now.
    Outdated,
    /// It isn't there, or somebody has changed its rules by hand.
    Broken,
}

impl Standing {
    /// That of several tables together: the worst.
    fn of_all(each: impl IntoIterator<Item = Self>) -> Self {
        each.into_iter().max().unwrap_or(Self::Current)
    }
}

/// The firewall.
pub trait Firewall: Send + Sync + Debug {
    /// How the table stands; its members aside. Cheap.
    fn standing(&self, ruleset: &Ruleset) -> Result<Standing>;

    /// A number that is another whenever anything of the packet filter has changed, be it ours or not. One question.
    fn generation(&self) -> Result<u32>;

    /// Loads the whole table in one transaction: every packet sees the old table or the new one.
    fn replace(&self, ruleset: &Ruleset) -> Result<()>;

    /// Replaces the table if it isn't [`Standing::Current`], in one transaction and with the ruleset's members, of whom no
    /// packet is lost; else admits them as [`Firewall::admit`] does. True if the table was replaced. Cheap if all is right.
    fn ensure(&self, ruleset: &Ruleset) -> Result<bool>;

    /// Makes these interfaces members, with exactly this MAC and these addresses: what they had before is gone, in
    /// the same transaction. Other members stay.
    fn admit(&self, table: &str, members: &[Member]) -> Result<()>;

    /// Ends the membership of an interface: nothing more from it passes. Fine if it is no member, or there is no
    /// table.
    fn expel(&self, table: &str, interface: &str) -> Result<()>;

    /// The members in the kernel's table, in order of interface; none if there is no table.
    fn members(&self, table: &str) -> Result<Vec<Member>>;

    /// The interfaces whose elements in the kernel's table are not exactly those that these members have; also such as are
    /// no member of these.
    fn deviating(&self, table: &str, members: &[Member]) -> Result<BTreeSet<String>>;

    /// The tables that were loaded for interfaces of this prefix under another name than this, in order.
    fn strays(&self, table: &str, prefix: &str) -> Result<Vec<String>>;

    /// Ports of the host that lead somewhere though they are no member's, a line each: somebody has added them by hand.
    fn stray_forwards(&self, table: &str) -> Result<Vec<String>>;

    /// Removes those.
    fn remove_stray_forwards(&self, table: &str) -> Result<()>;

    /// How many connections the kernel tracks in all; `None` before it tracks any.
    fn tracked(&self) -> Result<Option<u32>>;

    /// Drops everything to and from these interfaces, there or yet to come, until [`Firewall::release`]: for a VE whose
    /// connections must not change. The rules are a table of their own, `held`; what it held before is held no more.
    /// `bridged`: are there ports of bridges among them?
    fn hold(&self, held: &str, interfaces: &[String], bridged: bool) -> Result<()>;

    /// Ends [`Firewall::hold`]; fine if nothing is held.
    fn release(&self, held: &str) -> Result<()>;

    /// Our tables whose names begin with this, in order: of [`Firewall::hold`], for a prefix that no other table has.
    fn tables(&self, prefix: &str) -> Result<Vec<String>>;

    /// The text that [`Firewall::replace`] loads.
    fn text(&self, ruleset: &Ruleset) -> Result<String>;

    /// Removes the table (of both families); fine if there is none. VEs are unchecked from then on.
    fn remove(&self, table: &str) -> Result<()>;
}
