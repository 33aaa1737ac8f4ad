//! Networks behind the host's own addresses: the part of the text that says who may reach them, and as whom they speak.

use ipnetwork::IpNetwork;
use serde::Serialize;
use tera::{Context, Tera};

use super::Ruleset;
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
}

/// A set of the host's, as the template wants it.
#[derive(Serialize)]
struct HostSet {
    about: &'static str,
    name: &'static str,
    of: &'static str,
    interval: bool,
    elements: Vec<String>,
}

/// Prefixes of a family as nft writes them: without host bits, in order, each once.
fn prefixes<'a>(all: impl Iterator<Item = &'a IpNetwork>, ipv6: bool) -> Vec<String> {
    let text = |network: &IpNetwork| format!("{}/{}", network.network(), network.prefix());
    sorted(all.filter(|p| p.is_ipv6() == ipv6).map(text))
}

fn sorted(all: impl Iterator<Item = String>) -> Vec<String> {
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

/// The part of the table's text, without its members.
pub(super) fn text(ruleset: &Ruleset) -> Result<String> {
    let nat = &ruleset.nat;
    nat.inside.iter().try_for_each(|name| check::interface_name(name))?;
    let masquerade = |ipv6| prefixes(ruleset.masquerade.iter().flat_map(|m| &m.pools), ipv6);
    let mut context = Context::new();
    context.insert("prefix", &ruleset.prefix);
    context.insert("closed", &closed_sets(nat));
    context.insert("closed4", &nat.closed.iter().any(IpNetwork::is_ipv4));
    context.insert("closed6", &nat.closed.iter().any(IpNetwork::is_ipv6));
    context.insert("masquerade4", &masquerade(false));
    context.insert("masquerade6", &masquerade(true));
    Tera::one_off(TEMPLATE, &context, false).map_err(|e| Error::new("render the ruleset of table", &ruleset.table, e))
}
