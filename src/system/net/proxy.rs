//! Addresses of VEs that belong to the subnet of one of the host's interfaces: the host answers there for them (proxy ARP
//! and NDP), by an entry for each and not for all that it has a route to. Ours bear [`ROUTE_PROTOCOL`]; others are never
//! touched.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::netlink::{Attributes, Netlink};
use super::sysctl::Sysctl;
use super::{FoundProxy, Link, ROUTE_PROTOCOL, check, inspect, message};
use crate::error::{Error, Kind, Result};

/// Length of struct ndmsg, before the attributes of a neighbour.
const NEIGHBOUR_HEADER: usize = 12;
/// NDA_DST and NDA_PROTOCOL.
const DESTINATION: u16 = 1;
const PROTOCOL: u16 = 12;

/// An entry as the kernel shows it.
struct Entry {
    index: u32,
    address: IpAddr,
    ours: bool,
}

/// As [`super::Network::proxy`].
pub(super) fn ensure(sysctl: &Sysctl, netlink: &mut Netlink, uplink: &str, addresses: &[IpAddr]) -> Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    check::interface_name(uplink)?;
    let none = || {
        Error::new("answer for VEs on", uplink, "there is no interface of that name")
            .kind(Kind::NotFound)
            .hint("name the host's interface in \"proxy\" of the network's definition")
    };
    let index = inspect::find(netlink, uplink, false)?.ok_or_else(none)?.index;
    if addresses.iter().any(IpAddr::is_ipv6) {
        sysctl.set(&format!("ipv6/conf/{uplink}/proxy_ndp"), "1")?;
    }
    // The kernel would let up to 0.8 s pass before each answer, for hosts that answer for the same, and have no more than 64
    // answers wait. Nobody else answers for these.
    for (family, ipv6) in [("ipv4", false), ("ipv6", true)] {
        if addresses.iter().any(|a| a.is_ipv6() == ipv6) {
            sysctl.set(&format!("{family}/neigh/{uplink}/proxy_delay"), "0")?;
        }
    }
    let there: BTreeSet<IpAddr> = all(netlink)?
        .into_iter()
        .filter(|e| e.index == index)
        .map(|e| e.address)
        .collect();
    // The kernel would give somebody else's entry our mark.
    for address in addresses.iter().filter(|a| !there.contains(a)) {
        let added = netlink.apply(&[message::add_proxy(index, *address)]);
        added.map_err(|r| r.into_error("answer for VEs on", format!("{uplink} for {address}")))?;
    }
    Ok(())
}

/// Answers for a link's addresses, if it is one of those.
pub(super) fn of(sysctl: &Sysctl, netlink: &mut Netlink, link: &Link) -> Result<()> {
    match &link.proxy {
        Some(uplink) => ensure(sysctl, netlink, uplink, &link.addresses),
        None => Ok(()),
    }
}

/// The addresses that the host answers for because of these links.
pub(super) fn answered(links: &[Link]) -> Vec<IpAddr> {
    let proxied = links.iter().filter(|l| l.proxy.is_some());
    proxied.flat_map(|l| l.addresses.iter().copied()).collect()
}

/// As [`super::Network::unproxy`].
pub(super) fn remove(netlink: &mut Netlink, addresses: &[IpAddr]) -> Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    for entry in all(netlink)?
        .into_iter()
        .filter(|e| e.ours && addresses.contains(&e.address))
    {
        match netlink.apply(&[message::removal(message::add_proxy(entry.index, entry.address))]) {
            // It has gone meanwhile, perhaps with its interface.
            Err(refusal) if !matches!(refusal.errno(), libc::ENOENT | libc::ENODEV) => {
                return Err(refusal.into_error("answer no more for", entry.address));
            }
            _ => {}
        }
    }
    Ok(())
}

/// As [`super::Network::proxied`].
pub(super) fn list(prefix: &str) -> Result<Vec<FoundProxy>> {
    check::prefix(prefix)?;
    let mut netlink = inspect::open()?;
    let entries = all(&mut netlink)?;
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let interfaces = inspect::all(&mut netlink)?;
    let name = |index: u32| interfaces.iter().find(|i| i.index == index).map(|i| i.name.clone());
    // Another Hostel of this host routes what is its own to interfaces of another name.
    let routes = inspect::our_routes(&mut netlink)?;
    let elsewhere: BTreeSet<IpAddr> = routes
        .into_iter()
        .filter(|(index, _)| name(*index).is_some_and(|name| !check::belongs(&name, prefix)))
        .flat_map(|(_, addresses)| addresses)
        .collect();
    let found = entries
        .into_iter()
        .filter(|e| !(e.ours && elsewhere.contains(&e.address)));
    let mut found: Vec<FoundProxy> = found
        .filter_map(|e| {
            Some(FoundProxy {
                uplink: name(e.index)?,
                address: e.address,
                ours: e.ours,
            })
        })
        .collect();
    found.sort();
    Ok(found)
}

/// All entries of this namespace.
fn all(netlink: &mut Netlink) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for ipv6 in [false, true] {
        match netlink.dump(&message::list_proxies(ipv6)) {
            Ok(answers) => entries.extend(answers.iter().filter_map(|a| read(a))),
            // A kernel without IPv6.
            Err(refusal) if ipv6 && matches!(refusal.errno(), libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => {}
            Err(refusal) => return Err(refusal.into_error("list", "what this host answers for")),
        }
    }
    Ok(entries)
}

/// An entry (struct ndmsg and its attributes), if it is a proxy's.
fn read(body: &[u8]) -> Option<Entry> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    if body.get(10)? & libc::NTF_PROXY == 0 {
        return None;
    }
    let (mut address, mut ours) = (None, false);
    for (kind, value) in Attributes::new(body.get(NEIGHBOUR_HEADER..)?) {
        match kind {
            DESTINATION => address = inspect::read_address(value),
            PROTOCOL => ours = value.first() == Some(&ROUTE_PROTOCOL),
            _ => {}
        }
    }
    Some(Entry {
        index,
        address: address?,
        ours,
    })
}
