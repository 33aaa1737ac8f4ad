//! Access rules in the kernel: loaded by `nft`, looked at by netlink.

use std::collections::{BTreeMap, BTreeSet};

use hostel_model::definition::Direction;
use hostel_model::id::VeId;
use ipnetwork::IpNetwork;
use sha2::{Digest, Sha256};

use super::text::{self, COUNTED, MAPS, Ports};
use super::wire::{self, Kind};
use super::{Access, Change, Count, Guard, Loaded, Peers, check_name};
use crate::error::Result;
use crate::firewall::keys::Family;
use crate::firewall::nftables::{Nftables, commit, exists, open};
use crate::firewall::ruleset::digest;
use crate::firewall::wire as main_wire;
use crate::firewall::{Firewall as _, usual_connections};
use crate::net::netlink::{Netlink, Refusal};

const FAMILIES: [Family; 2] = [Family::Inet, Family::Bridge];
const READ: &str = "read the access rules of table";

/// nf_tables of the calling thread's network namespace.
#[derive(Debug, Clone)]
pub struct NftAccess {
    nft: Nftables,
    prefix: String,
    connections: Option<u32>,
}

/// What a table has.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub chains: BTreeSet<String>,
    pub sets: BTreeMap<String, BTreeSet<IpNetwork>>,
    pub counters: BTreeMap<String, Count>,
    /// The interfaces in each map, and to which chain it sends them.
    maps: BTreeMap<String, BTreeMap<String, String>>,
    /// A digest of all rules and elements.
    fingerprint: String,
    awake: bool,
}

impl Table {
    /// The VEs that have rules here.
    pub fn ves(&self) -> BTreeSet<VeId> {
        self.chains.iter().filter_map(|c| ve_of(c)).collect()
    }

    /// The chains of a VE.
    pub fn chains_of(&self, ve: VeId) -> impl Iterator<Item = &String> {
        self.chains.iter().filter(move |c| ve_of(c) == Some(ve))
    }

    /// The counters of a VE.
    pub fn counters_of(&self, ve: VeId) -> impl Iterator<Item = &String> {
        self.counters.keys().filter(move |c| ve_of(c) == Some(ve))
    }

    /// The interfaces that a map sends to this chain.
    pub fn interfaces(&self, map: &str, chain: &str) -> BTreeSet<&str> {
        let all = self.maps.get(map).into_iter().flatten();
        all.filter(|(_, to)| *to == chain)
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// The marks of what it has, or had: see [`state`].
    pub fn states(&self) -> impl Iterator<Item = &String> {
        self.chains.iter().filter(|c| c.starts_with("state_"))
    }
}

/// The tables of both families; `None` where there is none.
type Both = [(Family, Option<Table>); 2];

fn is_bridged(guards: &[Guard]) -> bool {
    guards.iter().any(|g| !g.ports.is_empty())
}

/// The mark of a table that nobody has touched, with this fingerprint: of what it has, and which families have a table. So
/// each tells if the other is gone.
fn state(fingerprint: &str, both: &Both) -> String {
    let there = both.iter().filter(|(_, has)| has.is_some());
    let mut words = vec![fingerprint];
    words.extend(there.map(|(family, _)| family.word()));
    format!("state_{}", digest(words.join(" ").as_bytes()))
}

/// Are they of this version, and as they were loaded?
fn are_intact(both: &Both, table: &str, ports: &Ports) -> Result<bool> {
    for (family, has) in both {
        let Some(has) = has else { continue };
        let loaded = has.awake && has.states().eq([&state(&has.fingerprint, both)]);
        if !loaded || !has.chains.contains(&text::version(*family, table, ports)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The VE that a chain or counter belongs to: `in_101`, `is_101_…`.
fn ve_of(name: &str) -> Option<VeId> {
    let mut words = name.split('_');
    let kind = words.next()?;
    let ours = kind == "is" || kind == Direction::In.as_str() || kind == Direction::Out.as_str();
    words.next().filter(|_| ours)?.parse().ok()
}

/// What the table of a family has; `None` if there is none.
fn look(netlink: &mut Netlink, family: Family, table: &str) -> Result<Option<Table>> {
    let Some(found) = exists(netlink, table, &main_wire::get_table(family, table))? else {
        return Ok(None);
    };
    let fail = |refusal: Refusal| refusal.into_error(READ, table);
    let mut has = Table {
        awake: main_wire::is_awake(&found),
        ..Table::default()
    };
    let mut all = |kind: Kind| netlink.dump(&wire::list(family, table, kind)).map_err(fail);
    let chains = all(Kind::Chains)?;
    let (sets, objects) = (all(Kind::Sets)?, all(Kind::Objects)?);
    let named = |kind: Kind, body: &[u8]| wire::name(table, kind, body);
    has.chains = chains.iter().filter_map(|body| named(Kind::Chains, body)).collect();
    let counters = objects
        .iter()
        .filter_map(|body| Some((named(Kind::Objects, body)?, wire::count(body)?)));
    has.counters = counters.collect();
    let rules = netlink.dump(&main_wire::list_rules(family, table)).map_err(fail)?;
    let mut hash = Sha256::new();
    for rule in rules.iter().filter_map(|body| main_wire::read_rule(table, body)) {
        hash.update(rule);
    }
    let sets: BTreeSet<String> = sets.iter().filter_map(|body| named(Kind::Sets, body)).collect();
    // Those of rules themselves are nobody's to change.
    for set in sets.into_iter().filter(|name| !name.starts_with("__")) {
        hash.update(&set);
        // What packets put there is nobody's change.
        if COUNTED.contains(&set.as_str()) {
            continue;
        }
        let answers = netlink.dump(&wire::list_elements(family, table, &set)).map_err(fail)?;
        let mut elements: Vec<_> = answers.iter().flat_map(|body| wire::elements(body)).collect();
        elements.sort_unstable();
        elements.iter().for_each(|(_, whole)| hash.update(whole));
        if MAPS.iter().any(|(map, _)| *map == set) {
            let all = elements
                .iter()
                .filter_map(|(key, whole)| Some((wire::interface(key)?, wire::jump(whole)?)));
            has.maps.insert(set, all.collect());
        } else {
            let all = match text::peer_of(&set).is_some_and(|(_, kind)| kind.routed) {
                true => wire::prefixes(&elements),
                false => elements
                    .iter()
                    .filter_map(|(key, _)| wire::address(key))
                    .map(IpNetwork::from)
                    .collect(),
            };
            has.sets.insert(set, all);
        }
    }
    has.fingerprint = digest(&hash.finalize());
    Ok(Some(has))
}

fn look_at_both(netlink: &mut Netlink, table: &str) -> Result<Both> {
    let [one, other] = FAMILIES;
    Ok([(one, look(netlink, one, table)?), (other, look(netlink, other, table)?)])
}

/// Marks each table with what the kernel made of it, and with what other there is.
fn mark(netlink: &mut Netlink, table: &str) -> Result<()> {
    let both = look_at_both(netlink, table)?;
    let mut messages = Vec::new();
    for (family, has) in &both {
        let Some(has) = has else { continue };
        let mark = state(&has.fingerprint, &both);
        let stale = has.states().filter(|state| **state != mark);
        messages.extend(stale.map(|state| main_wire::delete_chain(*family, table, state)));
        if !has.chains.contains(&mark) {
            messages.push(main_wire::new_chain(*family, table, &mark));
        }
    }
    commit(netlink, messages).map_err(|refusal| refusal.into_error("mark firewall table", table))
}

impl NftAccess {
    /// For ports of bridges whose names begin with this, of which each may have begun so many connections; `None`: a share
    /// of what the kernel can track.
    pub fn new(prefix: &str, connections: Option<u32>) -> Self {
        Self {
            nft: Nftables::default(),
            prefix: prefix.to_owned(),
            connections,
        }
    }

    fn ports(&self) -> Result<Ports> {
        let connections = match self.connections {
            Some(most) => most,
            None => usual_connections(self.nft.tracked()?),
        };
        Ok(Ports {
            prefix: self.prefix.clone(),
            connections,
        })
    }

    /// The same for a change after which these may have rules. A kernel that tracks nothing yet tells no limit, and would
    /// as soon as the table is there: its frame would be another one than is wanted.
    fn ports_for(&self, table: &str, guards: &[Guard]) -> Result<Ports> {
        if is_bridged(guards) && self.connections.is_none() && self.nft.tracked()?.is_none() {
            self.bears_ports(table)?;
        }
        self.ports()
    }

    /// Loads a text, and marks the tables. Without the mark, as after a death in between, a table counts as changed by hand;
    /// so does one whose mark says that there is no other, or another, where that has changed.
    fn load(&self, netlink: &mut Netlink, table: &str, text: &str, bridged: bool) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.nft.load(table, text).map_err(|e| match bridged {
            true => e.hint(
                "rules for VEs on bridges need connection tracking there: nf_conntrack_bridge, of Linux 5.3 and later",
            ),
            false => e.hint("the kernel needs nf_tables with the family inet, and connection tracking"),
        })?;
        mark(netlink, table)
    }
}

impl Access for NftAccess {
    fn change(&self, table: &str, change: &Change) -> Result<bool> {
        check_name(table)?;
        let mut netlink = open()?;
        let (mut whole, ports) = (String::new(), self.ports_for(table, &change.put)?);
        let both = look_at_both(&mut netlink, table)?;
        if !are_intact(&both, table, &ports)? {
            return Ok(false);
        }
        for (family, now) in &both {
            whole += &text::change(*family, table, &ports, now.as_ref(), change)?;
        }
        self.load(&mut netlink, table, &whole, is_bridged(&change.put))
            .map(|()| true)
    }

    fn replace(&self, table: &str, guards: &[Guard], peers: &Peers) -> Result<()> {
        check_name(table)?;
        let mut netlink = open()?;
        let change = Change {
            put: guards.to_vec(),
            end: Vec::new(),
            peers: peers.clone(),
        };
        let (mut whole, ports) = (String::new(), self.ports_for(table, guards)?);
        for family in FAMILIES {
            if exists(&mut netlink, table, &main_wire::get_table(family, table))?.is_some() {
                whole += &format!("delete table {} {table}\n", family.word());
            }
            whole += &text::change(family, table, &ports, None, &change)?;
        }
        self.load(&mut netlink, table, &whole, is_bridged(guards))
    }

    fn exists(&self, table: &str) -> Result<bool> {
        check_name(table)?;
        let mut netlink = open()?;
        for family in FAMILIES {
            if exists(&mut netlink, table, &main_wire::get_table(family, table))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn bears_ports(&self, table: &str) -> Result<bool> {
        check_name(table)?;
        if self.nft.load(table, &text::probe(table, true)).is_ok() {
            return Ok(true);
        }
        // It is that, and nothing else that fails.
        self.nft.load(table, &text::probe(table, false)).map(|()| false)
    }

    fn loaded(&self, table: &str) -> Result<Loaded> {
        check_name(table)?;
        let both = look_at_both(&mut open()?, table)?;
        let mut loaded = Loaded {
            changed_by_hand: !are_intact(&both, table, &self.ports()?)?,
            ..Loaded::default()
        };
        for has in both.into_iter().filter_map(|(_, has)| has) {
            for ve in has.ves() {
                let marks = has.chains_of(ve).filter_map(|c| c.strip_prefix(&format!("is_{ve}_")));
                let marks: Vec<String> = marks.map(str::to_owned).collect();
                loaded.guards.entry(ve).or_default().extend(marks);
            }
            for (set, addresses) in has.sets {
                if let Some((peer, _)) = text::peer_of(&set) {
                    loaded.peers.entry(peer).or_default().extend(addresses);
                }
            }
        }
        Ok(loaded)
    }

    fn counts(&self, table: &str, ve: VeId) -> Result<BTreeMap<String, Count>> {
        check_name(table)?;
        let (mut netlink, mut counts) = (open()?, BTreeMap::<String, Count>::new());
        for family in FAMILIES {
            let answers = match netlink.dump(&wire::list(family, table, Kind::Objects)) {
                Ok(answers) => answers,
                Err(refusal) if refusal.errno() == libc::ENOENT => continue,
                Err(refusal) => return Err(refusal.into_error(READ, table)),
            };
            for body in &answers {
                let Some(name) = wire::name(table, Kind::Objects, body).filter(|n| ve_of(n) == Some(ve)) else {
                    continue;
                };
                let (all, more) = (counts.entry(name).or_default(), wire::count(body).unwrap_or_default());
                all.packets += more.packets;
                all.bytes += more.bytes;
            }
        }
        Ok(counts)
    }
}
