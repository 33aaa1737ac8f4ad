//! Access rules of VEs in the kernel: who may reach them, and whom they may reach. They are in a table of their own for
//! each family, `inet` for routed links and `bridge` for ports, whose frame is `templates/nftables/access.nft.tera`; a
//! VE with rules has two chains, and named counters, which outlive a change of other rules.
//!
//! Whose addresses a peer by name has are two sets that all rules share: a hash of addresses, and the intervals of prefixes
//! that are routed to it. They are filled by whoever knows. All calls are for
//! one process at a time: hold a lock of the whole host around them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use hostel_model::definition::{AccessRule, Direction, Peer};
use hostel_model::id::VeId;
use hostel_model::resolve::AccessRules;
use ipnetwork::IpNetwork;

use super::keys::Family;
use super::ruleset::{check_table, digest};
use crate::Result;

mod fake;
mod kernel;
mod text;
mod wire;

#[cfg(test)]
mod tests;

pub use fake::FakeAccess;
pub use kernel::NftAccess;

/// The addresses of peers by name, each as a prefix of its whole length, and the prefixes that are routed to them.
pub type Peers = BTreeMap<Peer, BTreeSet<IpNetwork>>;

/// The access rules of one VE, and where they are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Whose they are.
    pub ve: VeId,
    /// The host's ends of its routed links.
    pub links: Vec<String>,
    /// Its ports on bridges.
    pub ports: Vec<String>,
    /// The rules.
    pub rules: AccessRules,
}

/// What becomes of some VEs in one transaction; all others stay as they are.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// These have exactly these rules from now on.
    pub put: Vec<Guard>,
    /// These have none any more.
    pub end: Vec<VeId>,
    /// These peers have exactly these addresses, in rules that are there and in those that come.
    pub peers: Peers,
}

/// What is in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Is there anything that somebody has changed by hand, or that isn't of this version and limit of connections?
    pub changed_by_hand: bool,
    /// The VEs with rules, each with [`Guard::marks`].
    pub guards: BTreeMap<VeId, BTreeSet<String>>,
    /// The addresses of the peers that rules name, or have named.
    pub peers: Peers,
}

/// What a rule has decided about: packets that began a connection, or belonged to none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes, headers of IP included.
    pub bytes: u64,
}

/// The kernel.
pub trait Access: Send + Sync + Debug {
    /// Makes this change in one transaction. False, and nothing is done, if somebody has changed by hand what is there:
    /// then all is to be loaded anew with [`Access::replace`].
    fn change(&self, table: &str, change: &Change) -> Result<bool>;

    /// Loads these and nothing else, in one transaction; all counters begin at zero.
    fn replace(&self, table: &str, guards: &[Guard], peers: &Peers) -> Result<()>;

    /// Is there a table at all? Cheap.
    fn exists(&self, table: &str) -> Result<bool>;

    /// Can this kernel hold rules for ports of bridges? They need to know connections there.
    fn bears_ports(&self, table: &str) -> Result<bool>;

    /// What is there.
    fn loaded(&self, table: &str) -> Result<Loaded>;

    /// What has been counted for a VE's rules by [`counters`]; empty if it has none in the kernel.
    fn counts(&self, table: &str, ve: VeId) -> Result<BTreeMap<String, Count>>;
}

/// These prefixes without such as lie within another: the kernel takes no interval within an interval. Single addresses
/// stay, as they are no intervals.
pub fn outermost(prefixes: BTreeSet<IpNetwork>) -> BTreeSet<IpNetwork> {
    let wide: Vec<IpNetwork> = prefixes.iter().copied().filter(|p| !is_single(p)).collect();
    let within = |p: &IpNetwork| wide.iter().any(|w| w.prefix() < p.prefix() && w.contains(p.ip()));
    prefixes.into_iter().filter(|p| is_single(p) || !within(p)).collect()
}

/// Is it one address?
fn is_single(prefix: &IpNetwork) -> bool {
    prefix.prefix() == if prefix.is_ipv6() { 128 } else { 32 }
}

/// Checks the name of a table: as the other one's, which it may be with this behind it.
fn check_name(table: &str) -> Result<()> {
    check_table(table.strip_suffix("_acl").unwrap_or(table))
}

impl Guard {
    /// Its interfaces of one family.
    fn interfaces(&self, family: Family) -> &[String] {
        match family {
            Family::Inet => &self.links,
            Family::Bridge => &self.ports,
            // No rule is about ARP.
            Family::Arp => &[],
        }
    }

    /// What tells these very rules and interfaces from others: a word for each family that it is in.
    pub fn marks(&self) -> BTreeSet<String> {
        let families = [Family::Inet, Family::Bridge].into_iter();
        let used = families.filter(|f| !self.interfaces(*f).is_empty());
        used.map(|f| self.mark(f)).collect()
    }

    fn mark(&self, family: Family) -> String {
        let mut words = vec![family.word().to_owned()];
        words.extend(self.interfaces(family).iter().cloned());
        for direction in [Direction::In, Direction::Out] {
            words.push(self.rules.rest(direction).to_string());
            words.extend(self.rules.of(direction).map(ToString::to_string));
        }
        let hash = digest(words.join("\n").as_bytes());
        format!("{}_{}", family.word(), hash.get(..16).unwrap_or(&hash))
    }

    /// The peers by name in its rules.
    pub fn peers(&self) -> BTreeSet<Peer> {
        let both = [Direction::In, Direction::Out];
        let rules = both.iter().flat_map(|d| self.rules.of(*d));
        let peers = rules.flat_map(|r| &r.peers);
        peers.filter(|p| !matches!(p, Peer::Network(_))).cloned().collect()
    }
}

/// The names of the counters of a VE's rules of one direction, in their order, and that of what no rule is about. A name
/// is made from what the rule says, so that a rule keeps its counter wherever it stands.
pub fn counters<'r>(ve: VeId, direction: Direction, rules: impl Iterator<Item = &'r AccessRule>) -> Vec<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut names = Vec::new();
    for rule in rules {
        let hash = digest(rule.to_string().as_bytes());
        let name = format!("{direction}_{ve}_{}", hash.get(..16).unwrap_or(&hash));
        let before = seen.entry(name.clone()).or_default();
        names.push(match before {
            0 => name,
            ref n => format!("{name}_{n}"),
        });
        *before += 1;
    }
    names.push(format!("{direction}_{ve}_rest"));
    names
}
