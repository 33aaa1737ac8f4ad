//! From a [`Ruleset`] to the text that nft reads. All that goes into the text is checked first.

use std::net::{IpAddr, Ipv6Addr};

use serde::Serialize;
use sha2::{Digest, Sha256};
use tera::Context;

use super::keys::{Family, Key, Set, keys};
use super::template::Template;
use super::{Member, Ruleset, host, nat};
use crate::error::{Error, Kind, Result};
use crate::net::{GATEWAY_V6, check};

static TEMPLATE: Template = Template::new(include_str!("../../../templates/nftables/ruleset.nft.tera"));
static ARP_TEMPLATE: Template = Template::new(include_str!("../../../templates/nftables/arp.nft.tera"));
static BRIDGE_TEMPLATE: Template = Template::new(include_str!("../../../templates/nftables/bridge.nft.tera"));

/// The empty chain that tells for which interfaces a table was made, whatever the table is called.
pub(super) fn chain_of(prefix: &str) -> String {
    format!("of_{prefix}")
}

/// The tables that a ruleset has.
pub(super) fn families(ruleset: &Ruleset) -> Vec<Family> {
    let bridged = ruleset.bridged || ruleset.members.iter().any(|m| m.port.is_some());
    [Family::Inet, Family::Arp]
        .into_iter()
        .chain(bridged.then_some(Family::Bridge))
        .collect()
}

/// The solicited-node multicast group of an address (RFC 4291, 2.7.1).
const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
}

/// One element: an interface, and what belongs to it, as nft writes it.
#[derive(Serialize)]
struct Element<'a> {
    interface: &'a str,
    value: String,
}

/// Checks the name of a table: 1 to 31 characters of `a-z 0-9 _`, a letter first.
pub(super) fn check_table(table: &str) -> Result<()> {
    let first = table.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = table
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if first && rest && table.len() <= 31 {
        return Ok(());
    }
    let why = "a table's name has 1 to 31 characters of a-z, 0-9 and '_', a letter first";
    Err(Error::new("accept table name", format!("{table:?}"), why).kind(Kind::Invalid))
}

/// Checks members, also against each other: an interface or an address can't be there twice.
pub(super) fn check_members(members: &[Member]) -> Result<()> {
    for member in members {
        check::interface_name(&member.interface)?;
        check::mac(member.mac)?;
        member.addresses.iter().try_for_each(|a| check::address(*a))?;
        member.hairpin.iter().try_for_each(|a| check::address(*a))?;
        if let Some(lost) = member.forwards.iter().find(|f| !member.addresses.contains(&f.target)) {
            let why = format!("{} hasn't that address", member.interface);
            return Err(Error::new("forward", lost, why).kind(Kind::Invalid));
        }
        check::prefixes(&member.routes)?;
    }
    let twice = |what: String| Err(Error::new("admit", what, "it is there twice").kind(Kind::Invalid));
    let mut interfaces: Vec<&str> = members.iter().map(|m| m.interface.as_str()).collect();
    interfaces.sort_unstable();
    if let Some(pair) = interfaces.windows(2).find(|w| w[0] == w[1]) {
        return twice(format!("interface {}", pair[0]));
    }
    let mut addresses: Vec<IpAddr> = members.iter().flat_map(|m| m.addresses.iter().copied()).collect();
    addresses.sort_unstable();
    match addresses.windows(2).find(|w| w[0] == w[1]) {
        Some(pair) => twice(format!("address {}", pair[0])),
        None => Ok(()),
    }
}

fn check(ruleset: &Ruleset) -> Result<()> {
    check_table(&ruleset.table)?;
    check::prefix(&ruleset.prefix)?;
    check_members(&ruleset.members)?;
    match ruleset
        .members
        .iter()
        .find(|m| !m.interface.starts_with(&ruleset.prefix))
    {
        Some(m) => {
            let why = format!(
                "its name doesn't begin with \"{}\", so no rule would look at it",
                ruleset.prefix
            );
            Err(Error::new("admit", format!("interface {}", m.interface), why).kind(Kind::Invalid))
        }
        None => Ok(()),
    }
}

/// The text of these tables, with members and version. The same ruleset gives the same text, in whatever order its
/// parts come.
pub(super) fn text(ruleset: &Ruleset, families: &[Family]) -> Result<String> {
    check(ruleset)?;
    let one = |family: &Family| {
        render(
            ruleset,
            *family,
            &ruleset.members,
            &version_unchecked(ruleset, *family)?,
        )
    };
    families.iter().map(one).collect()
}

/// A hash of a table's text without members: 32 hexadecimal digits.
pub(super) fn version(ruleset: &Ruleset, family: Family) -> Result<String> {
    check(ruleset)?;
    version_unchecked(ruleset, family)
}

fn version_unchecked(ruleset: &Ruleset, family: Family) -> Result<String> {
    Ok(digest(render(ruleset, family, &[], "")?.as_bytes()))
}

/// The first half of a SHA-256, in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .take(16)
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// A set, as the templates want it.
#[derive(Serialize)]
pub(super) struct PortSet {
    about: &'static str,
    kind: &'static str,
    name: &'static str,
    of: &'static str,
    elements: Vec<String>,
}

/// These sets with the members' elements.
pub(super) fn member_sets(sets: &[Set], members: &[Member]) -> Vec<PortSet> {
    let mut all: Vec<Key> = members.iter().flat_map(keys).collect();
    all.sort_unstable();
    let one = |set: &Set| PortSet {
        about: set.about(),
        kind: if set.is_map() { "map" } else { "set" },
        name: set.name(),
        of: set.type_of(),
        elements: all.iter().filter(|k| k.set == *set).map(Key::text).collect(),
    };
    sets.iter().map(one).collect()
}

/// What the host has to do with isolated networks: their pools, and its own addresses in them.
fn host_sets(ruleset: &Ruleset) -> Vec<PortSet> {
    let mut sets = Vec::new();
    for (ipv6, apart, host, of) in [
        (false, "apart4", "host4", "ipv4_addr"),
        (true, "apart6", "host6", "ipv6_addr"),
    ] {
        let pools = ruleset
            .isolated
            .iter()
            .flat_map(|i| &i.pools)
            .filter(|p| p.is_ipv6() == ipv6);
        let own = ruleset
            .isolated
            .iter()
            .flat_map(|i| &i.host)
            .filter(|a| a.is_ipv6() == ipv6);
        let sorted = |mut list: Vec<String>| {
            list.sort_unstable();
            list.dedup();
            list
        };
        let set = |about, name, elements| PortSet {
            about,
            kind: "set",
            name,
            of,
            elements: sorted(elements),
        };
        let pools = pools.map(|p| format!("{}/{}", p.network(), p.prefix())).collect();
        sets.push(set("The pools of isolated networks on bridges of ours.", apart, pools));
        sets.push(set(
            "The host's own addresses in them.",
            host,
            own.map(ToString::to_string).collect(),
        ));
    }
    sets
}

fn render(ruleset: &Ruleset, family: Family, members: &[Member], version: &str) -> Result<String> {
    let mut context = Context::new();
    context.insert("table", &ruleset.table);
    context.insert("prefix", &ruleset.prefix);
    context.insert("version", version);
    context.insert("chain_of", &chain_of(&ruleset.prefix));
    context.insert("gateway6", &GATEWAY_V6.to_string());
    context.insert("gateway6_group", &solicited_node(GATEWAY_V6).to_string());
    context.insert("gateway6_hex", &hex(GATEWAY_V6));
    let template = match family {
        Family::Inet => {
            insert_members(&mut context, members);
            context.insert("sources", &member_sets(Set::SOURCES, members));
            context.insert("nat", &nat::text(ruleset, members)?);
            context.insert("host", &host::text(ruleset, members)?);
            &TEMPLATE
        }
        Family::Arp => {
            context.insert("sets", &member_sets(Set::ARP, members));
            &ARP_TEMPLATE
        }
        Family::Bridge => {
            context.insert("sets", &member_sets(Set::PORTS, members));
            context.insert("host_sets", &host_sets(ruleset));
            &BRIDGE_TEMPLATE
        }
    };
    template.fill(&context, "render the ruleset of table", &ruleset.table)
}

fn insert_members(context: &mut Context, members: &[Member]) {
    let mut members: Vec<&Member> = members.iter().filter(|m| m.port.is_none()).collect();
    members.sort_unstable_by(|a, b| a.interface.cmp(&b.interface));
    let links: Vec<_> = members
        .iter()
        .map(|m| Element {
            interface: &m.interface,
            value: check::mac_text(m.mac),
        })
        .collect();
    context.insert("links", &links);
    let (mut ve4, mut ve6, mut nd6) = (Vec::new(), Vec::new(), Vec::new());
    for member in &members {
        let mut addresses = member.addresses.clone();
        addresses.sort_unstable();
        for address in addresses {
            let element = |value| Element {
                interface: &member.interface,
                value,
            };
            match address {
                IpAddr::V4(a) => ve4.push(element(a.to_string())),
                IpAddr::V6(a) => {
                    ve6.push(element(a.to_string()));
                    nd6.push(element(hex(a)));
                }
            }
        }
    }
    for (name, set) in [("routes4", Set::Routes4), ("routes6", Set::Routes6)] {
        let all = members.iter().flat_map(|m| keys(m));
        let mut elements: Vec<String> = all.filter(|k| k.set == set).map(|k| k.text()).collect();
        elements.sort_unstable();
        context.insert(name, &elements);
    }
    context.insert("ve4", &ve4);
    context.insert("ve6", &ve6);
    context.insert("nd6", &nd6);
}

fn hex(address: Ipv6Addr) -> String {
    format!("{:#034x}", u128::from(address))
}
