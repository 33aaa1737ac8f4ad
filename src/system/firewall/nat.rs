//! Networks behind the host's own addresses, and ports of the host that lead to VEs: the part of the text that says who
//! may reach them by what, and as whom they speak.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;
use tera::{Context, Tera};

use super::keys::Set;
use super::ruleset::member_sets;
use super::{Member, Ruleset};
use crate::error::{Error, Result};
use crate::net::check;

const TEMPLATE: &str = include_str!("../../../templates/nftables/nat.nft.tera");

/// What lies behind the host's own addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nat {
    /// Nothing from outside reaches these but what the host itself leads there.
    pub closed: Vec<IpNetwork>,
    /// Interfaces of the host, beside those of VEs, behind which there are VEs and nobody else.
    pub inside: Vec<String>,
    /// Bridges that the host is the gateway of, with the addresses that are on each.
    pub bridged: Vec<(String, Vec<IpNetwork>)>,
    /// Addresses of the host that are name servers of networks, each with the pools that it is there for. Nobody else
    /// reaches them, and no port there leads elsewhere.
    pub named: Vec<(IpAddr, Vec<IpNetwork>)>,
}

/// What an address of [`Nat::named`] is in the words of nft: "ip daddr 10.77.0.1".
fn to(server: &IpAddr) -> String {
    let family = if server.is_ipv6() { "ip6" } else { "ip" };
    format!("{family} daddr {server}")
}

/// The rules that keep others from them.
pub(super) fn named_rules(nat: &Nat) -> Vec<String> {
    let rule = |(server, pools): &(IpAddr, Vec<IpNetwork>)| {
        let family = if server.is_ipv6() { "ip6" } else { "ip" };
        let pools = prefixes(pools.iter(), server.is_ipv6()).join(", ");
        format!("{} {family} saddr != {{ {pools} }} drop", to(server))
    };
    nat.named.iter().map(rule).collect()
}

/// A set of the host's, as the template wants it.
#[derive(Serialize)]
pub(super) struct HostSet {
    pub about: &'static str,
    pub name: &'static str,
    pub of: &'static str,
    pub interval: bool,
    pub elements: Vec<String>,
}

/// Prefixes of a family as nft writes them: without host bits, in order, each once.
pub(super) fn prefixes<'a>(all: impl Iterator<Item = &'a IpNetwork>, ipv6: bool) -> Vec<String> {
    let text = |network: &IpNetwork| format!("{}/{}", network.network(), network.prefix());
    sorted(all.filter(|p| p.is_ipv6() == ipv6).map(text))
}

pub(super) fn sorted(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut list: Vec<String> = all.collect();
    list.sort_unstable();
    list.dedup();
    list
}

fn closed_sets(nat: &Nat) -> Vec<HostSet> {
    let about = "The pools of networks of kind nat.";
    let pools = |name, of, ipv6| HostSet {
        about,
        name,
        of,
        interval: true,
        elements: prefixes(nat.closed.iter(), ipv6),
    };
    vec![
        pools("closed4", "ipv4_addr", false),
        pools("closed6", "ipv6_addr", true),
        HostSet {
            about: "Interfaces of the host behind which there are VEs and nobody else.",
            name: "inside",
            of: "ifname",
            interval: false,
            elements: sorted(nat.inside.iter().map(|name| format!("\"{name}\""))),
        },
    ]
}

/// Whoever is on a bridge of which the host is the gateway. By his address and not by where he comes from: with
/// br_netfilter, what goes back to the bridge that it came from never leaves it, and comes from nowhere.
fn bridged_sets(nat: &Nat) -> Vec<HostSet> {
    let on = |name, of, ipv6| HostSet {
        about: "Who is on a bridge that the host is the gateway of.",
        name,
        of,
        interval: true,
        elements: sorted(nat.bridged.iter().flat_map(|(bridge, pools)| {
            let pools = prefixes(pools.iter(), ipv6).into_iter();
            pools.map(move |pool| format!("\"{bridge}\" . {pool}"))
        })),
    };
    vec![
        on("bridged4", "ifname . ipv4_addr", false),
        on("bridged6", "ifname . ipv6_addr", true),
    ]
}

/// Of those bridges the ones where there are VEs alone, so that all who are there are known.
fn own_sets(nat: &Nat) -> Vec<HostSet> {
    let own = nat.bridged.iter().filter(|(name, _)| nat.inside.contains(name));
    let own = Nat {
        bridged: own.cloned().collect(),
        ..Nat::default()
    };
    let renamed = bridged_sets(&own).into_iter().zip(["own4", "own6"]);
    let about = "Who may be on such a bridge where there are VEs and nobody else.";
    renamed.map(|(set, name)| HostSet { about, name, ..set }).collect()
}

/// The part of the table's text, with these members.
pub(super) fn text(ruleset: &Ruleset, members: &[Member]) -> Result<String> {
    let nat = &ruleset.nat;
    let mut names = nat.inside.iter().chain(nat.bridged.iter().map(|(name, _)| name));
    names.try_for_each(|name| check::interface_name(name))?;
    let masquerade = |ipv6| prefixes(ruleset.masquerade.iter().flat_map(|m| &m.pools), ipv6);
    let mut context = Context::new();
    context.insert("prefix", &ruleset.prefix);
    context.insert("closed", &closed_sets(nat));
    context.insert("closed4", &nat.closed.iter().any(IpNetwork::is_ipv4));
    context.insert("closed6", &nat.closed.iter().any(IpNetwork::is_ipv6));
    context.insert("forward_sets", &member_sets(Set::FORWARDS, members));
    context.insert("bridged", &bridged_sets(nat));
    context.insert("own", &own_sets(nat));
    context.insert(
        "named",
        &nat.named.iter().map(|(server, _)| to(server)).collect::<Vec<_>>(),
    );
    context.insert("masquerade4", &masquerade(false));
    context.insert("masquerade6", &masquerade(true));
    Tera::one_off(TEMPLATE, &context, false).map_err(|e| Error::new("render the ruleset of table", &ruleset.table, e))
}
