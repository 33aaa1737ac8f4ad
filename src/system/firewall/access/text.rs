//! From access rules to the text that nft reads.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use hostel_model::definition::{AccessProtocol, AccessRule, Direction, Peer, PortRange, Verdict};
use hostel_model::id::VeId;
use ipnetwork::IpNetwork;
use tera::Context;

use super::kernel::Table;
use super::{Change, Guard, Peers, counters, is_single, outermost};
use crate::error::Result;
use crate::firewall::keys::Family;
use crate::firewall::ruleset::digest;
use crate::firewall::template::Template;
use crate::net::check;

static TEMPLATE: Template = Template::new(include_str!("../../../../templates/nftables/access.nft.tera"));

/// The maps from an interface to its VE's chain, and which chain that is.
pub(super) const MAPS: [(&str, Direction); 2] = [("from_ve", Direction::Out), ("to_ve", Direction::In)];
/// The sets in which packets count themselves; of ports alone.
pub(super) const COUNTED: [&str; 2] = ["port_connections", "port_crowded"];
/// How rules call the two families of addresses, and the type of their sets.
const ADDRESSES: [(&str, &str); 2] = [("ip", "ipv4_addr"), ("ip6", "ipv6_addr")];

/// A kind of set that a peer by name has: addresses, or prefixes that are routed to it. A hash for the ones, which may be
/// thousands, and intervals for the others: what is asked of each packet that begins a connection is cheap in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// What the names of such sets begin with.
    begin: &'static str,
    ipv6: bool,
    /// Of prefixes?
    pub routed: bool,
}

const fn kind(begin: &'static str, ipv6: bool, routed: bool) -> Kind {
    Kind { begin, ipv6, routed }
}

const KINDS: [Kind; 4] = [
    kind("v4", false, false),
    kind("v6", true, false),
    kind("routed4", false, true),
    kind("routed6", true, true),
];

impl Kind {
    /// Is it for this?
    fn holds(self, prefix: &IpNetwork) -> bool {
        prefix.is_ipv6() == self.ipv6 && is_single(prefix) != self.routed
    }

    /// One as nft writes it there.
    fn element(self, prefix: &IpNetwork) -> String {
        match self.routed {
            true => prefix.to_string(),
            false => prefix.ip().to_string(),
        }
    }

    fn definition(self) -> String {
        let of = ADDRESSES[usize::from(self.ipv6)].1;
        let flags = if self.routed { " flags interval;" } else { "" };
        format!("{{ type {of};{flags} }}")
    }
}

/// What the frame of the table for ports of bridges says of them.
#[derive(Debug)]
pub(super) struct Ports {
    /// What the names of VEs' interfaces begin with.
    pub prefix: String,
    /// How many connections each may have begun.
    pub connections: u32,
}

/// The text of an empty table.
fn frame(family: Family, table: &str, ports: &Ports, version: &str) -> Result<String> {
    check::prefix(&ports.prefix)?;
    let mut context = Context::new();
    context.insert("family", family.word());
    context.insert("bridged", &(family == Family::Bridge));
    context.insert("table", table);
    context.insert("prefix", &ports.prefix);
    context.insert("connections", &ports.connections);
    context.insert("version", version);
    TEMPLATE.fill(&context, "render the frame of table", table)
}

/// The chain that marks a table with the version of its frame.
pub(super) fn version(family: Family, table: &str, ports: &Ports) -> Result<String> {
    Ok(format!("base_{}", digest(frame(family, table, ports, "")?.as_bytes())))
}

/// A table that is gone in the same transaction: can the kernel have rules on bridges, with the state of connections?
pub(super) fn probe(table: &str, with_state: bool) -> String {
    let what = if with_state {
        "ct state established"
    } else {
        "ip protocol tcp"
    };
    format!(
        "table bridge {table}_probe {{\n\tchain probe {{\n\t\ttype filter hook forward priority 10\n\t\t{what} accept\n\t}}\n}}\n\
         delete table bridge {table}_probe\n"
    )
}

/// The name of a peer's set of this kind.
fn set_name(peer: &Peer, kind: Kind) -> Option<String> {
    let begin = kind.begin;
    match peer {
        Peer::Network(_) => None,
        Peer::Ve(name) => Some(format!("{begin}_ve_{name}")),
        Peer::Tenant(name) => Some(format!("{begin}_tenant_{name}")),
    }
}

/// The peer whose set this is, and of which kind.
pub(super) fn peer_of(set: &str) -> Option<(Peer, Kind)> {
    let (begin, peer) = set.split_once('_')?;
    let kind = KINDS.into_iter().find(|k| k.begin == begin)?;
    let (what, name) = peer.split_once('_')?;
    let peer = match what {
        "ve" => name.parse().ok().map(Peer::Ve),
        "tenant" => name.parse().ok().map(Peer::Tenant),
        _ => None,
    };
    Some((peer?, kind))
}

/// The names of a VE's chains, without its mark.
pub(super) fn chain(ve: VeId, direction: Direction) -> String {
    format!("{direction}_{ve}")
}

/// What one family's table needs for a change, given what it has; empty if nothing.
pub(super) fn change(
    family: Family,
    table: &str,
    ports: &Ports,
    now: Option<&Table>,
    change: &Change,
) -> Result<String> {
    let put: Vec<&Guard> = change.put.iter().filter(|g| !g.interfaces(family).is_empty()).collect();
    for name in put.iter().flat_map(|g| g.interfaces(family)) {
        check::interface_name(name)?;
    }
    let put_ves: BTreeSet<VeId> = put.iter().map(|g| g.ve).collect();
    let ends: BTreeSet<VeId> = change
        .end
        .iter()
        .copied()
        .chain(change.put.iter().map(|g| g.ve))
        .collect();
    let empty = Table::default();
    let had = now.unwrap_or(&empty);
    let stay = had.ves().into_iter().any(|ve| !ends.contains(&ve));
    let target = format!("{} {table}", family.word());
    if put.is_empty() && !stay {
        return Ok(now.map_or_else(String::new, |_| format!("delete table {target}\n")));
    }
    let mut text = match now {
        Some(_) => String::new(),
        None => {
            let version = version(family, table, ports)?;
            frame(family, table, ports, version.trim_start_matches("base_"))?
        }
    };
    for ve in ends.iter().filter(|ve| !put_ves.contains(ve) && had.ves().contains(ve)) {
        text += &end(&target, had, *ve);
    }
    text += &sets(&target, had, &put, &change.peers);
    // What is there already, and untouched, stays.
    for guard in put.iter().filter(|g| !had.chains.contains(&mark(family, g))) {
        text += &guarded(family, &target, had, guard);
    }
    if text.is_empty() {
        return Ok(text);
    }
    for mark in had.states() {
        let _ = writeln!(text, "delete chain {target} {mark}");
    }
    Ok(text)
}

/// The empty chain that tells which rules a VE has.
fn mark(family: Family, guard: &Guard) -> String {
    format!("is_{}_{}", guard.ve, guard.mark(family))
}

/// A VE's rules go.
fn end(target: &str, had: &Table, ve: VeId) -> String {
    let mut text = String::new();
    for (map, direction) in MAPS {
        for interface in had.interfaces(map, &chain(ve, direction)) {
            let _ = writeln!(text, "delete element {target} {map} {{ \"{interface}\" }}");
        }
        if had.chains.contains(&chain(ve, direction)) {
            let _ = writeln!(text, "flush chain {target} {}", chain(ve, direction));
        }
    }
    for chain in had.chains_of(ve) {
        let _ = writeln!(text, "delete chain {target} {chain}");
    }
    for counter in had.counters_of(ve) {
        let _ = writeln!(text, "delete counter {target} {counter}");
    }
    text
}

/// The sets that rules name, with their addresses.
fn sets(target: &str, had: &Table, put: &[&Guard], peers: &Peers) -> String {
    let mut text = String::new();
    let named: BTreeSet<Peer> = put.iter().flat_map(|g| g.peers()).collect();
    let all: BTreeSet<&Peer> = named.iter().chain(peers.keys()).collect();
    for peer in all {
        for kind in KINDS {
            let Some(name) = set_name(peer, kind) else { continue };
            let there = had.sets.get(&name);
            if there.is_none() && !named.contains(peer) {
                continue;
            }
            if there.is_none() {
                let _ = writeln!(text, "add set {target} {name} {}", kind.definition());
            }
            // A peer that the caller says nothing of keeps what it has.
            let Some(wanted) = peers.get(peer) else { continue };
            let wanted = outermost(wanted.iter().copied().filter(|p| kind.holds(p)).collect());
            let none = BTreeSet::new();
            let has = there.unwrap_or(&none);
            for (verb, list) in [("delete", has.difference(&wanted)), ("add", wanted.difference(has))] {
                let list: Vec<String> = list.map(|p| kind.element(p)).collect();
                if !list.is_empty() {
                    let _ = writeln!(text, "{verb} element {target} {name} {{ {} }}", list.join(", "));
                }
            }
        }
    }
    text
}

/// A VE's rules as they are to be, over those that it has.
fn guarded(family: Family, target: &str, had: &Table, guard: &Guard) -> String {
    let (ve, mark) = (guard.ve, mark(family, guard));
    let mut text = String::new();
    let (mut wanted, mut rules) = (BTreeSet::new(), String::new());
    for direction in [Direction::In, Direction::Out] {
        let chain = chain(ve, direction);
        let names = counters(ve, direction, guard.rules.of(direction));
        let _ = writeln!(text, "add chain {target} {chain}\nflush chain {target} {chain}");
        let mut rule = |what: &str, counter: &str, verdict: Verdict| {
            let word = if verdict == Verdict::Allow { "return" } else { "drop" };
            let _ = writeln!(
                rules,
                "add rule {target} {chain} {what} counter name \"{counter}\" {word}"
            );
        };
        for (one, counter) in guard.rules.of(direction).zip(&names) {
            for what in matches(family, one) {
                rule(&what, counter, one.action);
            }
        }
        let rest = names.last().map_or("", String::as_str);
        rule("", rest, guard.rules.rest(direction));
        wanted.extend(names);
    }
    for name in wanted.iter().filter(|name| !had.counters.contains_key(*name)) {
        let _ = writeln!(text, "add counter {target} {name}");
    }
    text += &rules;
    for stale in had.counters_of(ve).filter(|name| !wanted.contains(*name)) {
        let _ = writeln!(text, "delete counter {target} {stale}");
    }
    let interfaces: BTreeSet<&str> = guard.interfaces(family).iter().map(String::as_str).collect();
    for (map, direction) in MAPS {
        let jump = chain(ve, direction);
        let has = had.interfaces(map, &jump);
        for name in interfaces.difference(&has) {
            let _ = writeln!(text, "add element {target} {map} {{ \"{name}\" : jump {jump} }}");
        }
        for name in has.difference(&interfaces) {
            let _ = writeln!(text, "delete element {target} {map} {{ \"{name}\" }}");
        }
    }
    for old in had.chains_of(ve).filter(|c| c.starts_with("is_") && **c != mark) {
        let _ = writeln!(text, "delete chain {target} {old}");
    }
    let _ = writeln!(text, "add chain {target} {mark}");
    text
}

/// What a rule is about, as matches of nft: a packet that fits in one of them fits in the rule.
fn matches(family: Family, rule: &AccessRule) -> Vec<String> {
    let protocol = match rule.protocol {
        None => String::new(),
        Some(AccessProtocol::Tcp) => "meta l4proto tcp".to_owned(),
        Some(AccessProtocol::Udp) => "meta l4proto udp".to_owned(),
        Some(AccessProtocol::Icmp) => "meta l4proto { icmp, icmpv6 }".to_owned(),
    };
    let ports = match joined(&rule.ports) {
        list if list.is_empty() => String::new(),
        list => format!(" th dport {{ {} }}", list.join(", ")),
    };
    let what = format!("{protocol}{ports}");
    if rule.peers.is_empty() {
        return vec![what];
    }
    let side = match rule.direction {
        Direction::In => "saddr",
        Direction::Out => "daddr",
    };
    let mut all = Vec::new();
    for (ipv6, (word, _)) in [false, true].into_iter().zip(ADDRESSES) {
        let networks = networks(&rule.peers, ipv6);
        if networks.iter().any(|n| n.prefix() == 0) {
            // Everybody of that family; an interval of all addresses is no good element.
            let any = match family {
                Family::Inet | Family::Arp => format!("meta nfproto ipv{}", if ipv6 { 6 } else { 4 }),
                Family::Bridge => format!("ether type {word}"),
            };
            all.push(format!("{any} {what}"));
            continue;
        }
        if !networks.is_empty() {
            let list: Vec<String> = networks.iter().map(ToString::to_string).collect();
            all.push(format!("{word} {side} {{ {} }} {what}", list.join(", ")));
        }
        let kinds = KINDS.into_iter().filter(|k| k.ipv6 == ipv6);
        let sets = kinds.flat_map(|k| rule.peers.iter().filter_map(move |peer| set_name(peer, k)));
        all.extend(sets.map(|set| format!("{word} {side} @{set} {what}")));
    }
    all
}

/// The networks of one family, none within another: nft doesn't take those.
fn networks(peers: &[Peer], ipv6: bool) -> Vec<IpNetwork> {
    let of_family = |peer: &Peer| match peer {
        Peer::Network(n) if n.is_ipv6() == ipv6 => Some(*n),
        _ => None,
    };
    let mut all: Vec<IpNetwork> = peers.iter().filter_map(of_family).collect();
    all.sort_by_key(|n| (n.prefix(), n.ip()));
    let mut kept: Vec<IpNetwork> = Vec::new();
    for network in all {
        if !kept.iter().any(|k| k.contains(network.ip())) {
            kept.push(network);
        }
    }
    kept
}

/// Ports and ranges, none touching another.
fn joined(ports: &[PortRange]) -> Vec<String> {
    let mut all = ports.to_vec();
    all.sort_unstable();
    let mut kept: Vec<PortRange> = Vec::new();
    for range in all {
        match kept.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => last.last = last.last.max(range.last),
            _ => kept.push(range),
        }
    }
    kept.iter().map(ToString::to_string).collect()
}
