//! What links exist. Only the attributes that we need are read: a host may have interfaces of any kind.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::netlink::{Attributes, Netlink};
use super::{ALIAS_PREFIX, BRIDGE_ALIAS_PREFIX, Counters, FoundLink, GROUP, ROUTE_PROTOCOL, check, message};
use crate::{Error, Result};

/// Length of struct ifinfomsg, before the attributes of a link.
const LINK_HEADER: usize = 16;
/// IF_OPER_UP.
const OPERSTATE_UP: u8 = 6;
/// Length of struct ifaddrmsg, before the attributes of an address.
const ADDRESS_HEADER: usize = 8;
/// IFLA_VLAN_ID.
const VLAN_ID: u16 = 1;
/// Length of struct rtmsg, before the attributes of a route.
const ROUTE_HEADER: usize = 12;

/// One interface as the kernel shows it.
#[derive(Debug, Default)]
pub(super) struct Interface {
    pub index: u32,
    pub name: String,
    pub alias: String,
    /// Its hardware address, if that is one of Ethernet.
    pub mac: Option<[u8; 6]>,
    /// In bytes.
    pub mtu: u32,
    /// The bridge (or bond) that it is a port of; 0 if none.
    pub master: u32,
    /// The interface that it is a part of, as a VLAN is; 0 if none.
    pub link: u32,
    /// Which VLAN it is.
    pub vlan: Option<u16>,
    /// Is it up, as far as anybody said so (IFF_UP)?
    pub up: bool,
    /// Of a port of a bridge, those of its attributes that are one byte (IFLA_BRPORT_*).
    pub port: BTreeMap<u16, u8>,
    /// What made it: "bridge", "vlan"; empty for hardware.
    kind: String,
    group: u32,
    operstate: u8,
    counters: Option<Counters>,
}

impl Interface {
    /// Can it send? Up by RFC 2863, which the kernel says once it has given the interface its queue.
    pub fn is_ready(&self) -> bool {
        self.operstate == OPERSTATE_UP
    }

    /// Was it made by Hostel?
    pub fn is_ours(&self) -> bool {
        let known = [ALIAS_PREFIX, BRIDGE_ALIAS_PREFIX]
            .iter()
            .any(|p| self.alias.starts_with(p));
        known || (self.alias.is_empty() && self.group == GROUP)
    }

    /// Is it a bridge?
    pub fn is_bridge(&self) -> bool {
        self.kind == "bridge"
    }

    /// Is it nothing but a queue?
    pub fn is_queue(&self) -> bool {
        self.kind == "ifb"
    }

    /// Is it the host's end of a VE's link?
    pub fn is_port_of_ve(&self) -> bool {
        self.kind == "veth" && self.is_ours()
    }
}

/// Opens a socket to the routing subsystem of this thread's network namespace.
pub(super) fn open() -> Result<Netlink> {
    Netlink::route().map_err(|e| Error::os("open a socket to", "the kernel's routing (netlink)", e))
}

/// An interface by name; `None` if there is none.
pub(super) fn find(netlink: &mut Netlink, name: &str, counters: bool) -> Result<Option<Interface>> {
    match netlink.get(&message::get_link(name, counters)) {
        Ok(answer) => Ok(Some(read_interface(&answer))),
        Err(refusal) if refusal.errno() == libc::ENODEV => Ok(None),
        Err(refusal) => Err(refusal.into_error("look up interface", name)),
    }
}

/// All interfaces.
pub(super) fn all(netlink: &mut Netlink) -> Result<Vec<Interface>> {
    let answers = netlink
        .dump(&message::list_links())
        .map_err(|r| r.into_error("list", "interfaces"))?;
    Ok(answers.iter().map(|a| read_interface(a)).collect())
}

/// The addresses that the host has on an interface, each with the length of its prefix.
pub(super) fn addresses(netlink: &mut Netlink, index: u32) -> Result<Vec<IpNetwork>> {
    let answers = netlink
        .dump(&message::list_addresses())
        .map_err(|r| r.into_error("list", "addresses"))?;
    Ok(answers.iter().filter_map(|a| read_own_address(a, index)).collect())
}

/// See [`super::Network::list`].
pub(super) fn list(prefix: &str) -> Result<Vec<FoundLink>> {
    check::prefix(prefix)?;
    let mut netlink = open()?;
    netlink.filter_strictly();
    let everything = all(&mut netlink)?;
    let bridges: BTreeMap<u32, String> = everything
        .iter()
        .filter(|i| i.is_bridge())
        .map(|i| (i.index, i.name.clone()))
        .collect();
    let mut ours: Vec<_> = everything
        .into_iter()
        .filter(|i| i.is_ours() && check::belongs(&i.name, prefix))
        .collect();
    ours.sort_by(|a, b| a.name.cmp(&b.name));
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    let mut routes = our_routes(&mut netlink)?;
    let found = |i: Interface| {
        let addresses = routes.remove(&i.index).unwrap_or_default();
        FoundLink {
            name: i.name,
            alias: i.alias,
            addresses,
            bridge: bridges.get(&i.master).cloned(),
        }
    };
    Ok(ours.into_iter().map(found).collect())
}

/// The addresses that we route, by the index of the interface.
pub(super) fn our_routes(netlink: &mut Netlink) -> Result<BTreeMap<u32, Vec<IpAddr>>> {
    let mut routes: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
    let of_one = |p: &IpNetwork| p.prefix() == if p.is_ipv6() { 128 } else { 32 };
    for (index, to) in our_prefixes(netlink)?.into_iter().filter(|(_, to)| of_one(to)) {
        routes.entry(index).or_default().push(to.ip());
    }
    routes.values_mut().for_each(|addresses| addresses.sort_unstable());
    Ok(routes)
}

/// All that we route, each with the index of its interface.
pub(super) fn our_prefixes(netlink: &mut Netlink) -> Result<Vec<(u32, IpNetwork)>> {
    let mut routes = Vec::new();
    for ipv6 in [false, true] {
        let answers = match netlink.dump(&message::list_routes(ipv6)) {
            Ok(answers) => answers,
            // A kernel without IPv6.
            Err(refusal) if ipv6 && matches!(refusal.errno(), libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => continue,
            Err(refusal) => return Err(refusal.into_error("list", "routes")),
        };
        routes.extend(answers.iter().filter_map(|a| read_route(a)));
    }
    Ok(routes)
}

/// See [`super::Network::counters`].
pub(super) fn counters(host_name: &str) -> Result<Option<Counters>> {
    check::interface_name(host_name)?;
    let Some(interface) = find(&mut open()?, host_name, true)? else {
        return Ok(None);
    };
    match interface.counters {
        Some(counters) => Ok(Some(counters)),
        None => Err(Error::new("read counters of", host_name, "the kernel sent none")),
    }
}

fn read_interface(body: &[u8]) -> Interface {
    let mut interface = Interface {
        index: read_u32(body, 4),
        up: read_u32(body, 8) & libc::IFF_UP as u32 != 0,
        ..Interface::default()
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
    for (kind, value) in Attributes::new(body.get(LINK_HEADER..).unwrap_or_default()) {
        match kind {
            libc::IFLA_IFNAME => interface.name = text(value),
            libc::IFLA_ADDRESS => interface.mac = value.try_into().ok(),
            libc::IFLA_MTU => interface.mtu = read_u32(value, 0),
            libc::IFLA_MASTER => interface.master = read_u32(value, 0),
            libc::IFLA_LINK => interface.link = read_u32(value, 0),
            libc::IFLA_LINKINFO => read_kind(value, &mut interface),
            libc::IFLA_IFALIAS => interface.alias = text(value),
            libc::IFLA_GROUP => interface.group = read_u32(value, 0),
            libc::IFLA_OPERSTATE => interface.operstate = value.first().copied().unwrap_or(0),
            libc::IFLA_STATS64 => interface.counters = read_counters(value),
            _ => {}
        }
    }
    interface
}

/// What an interface is made by, and its number if that is a VLAN (IFLA_VLAN_ID).
fn read_kind(info: &[u8], interface: &mut Interface) {
    let mut data: &[u8] = &[];
    for (kind, value) in Attributes::new(info) {
        match kind {
            libc::IFLA_INFO_KIND => {
                interface.kind = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
            }
            libc::IFLA_INFO_DATA => data = value,
            libc::IFLA_INFO_SLAVE_DATA => {
                let bytes = Attributes::new(value).filter(|(_, v)| v.len() == 1);
                interface.port.extend(bytes.map(|(kind, v)| (kind, v[0])));
            }
            _ => {}
        }
    }
    if interface.kind == "vlan" {
        let id = Attributes::new(data).find(|(kind, _)| *kind == VLAN_ID);
        interface.vlan = id.and_then(|(_, v)| v.try_into().ok()).map(u16::from_ne_bytes);
    }
}

/// An address in an answer to [`message::list_addresses`], if it is of that interface (struct ifaddrmsg).
fn read_own_address(body: &[u8], index: u32) -> Option<IpNetwork> {
    let prefix = *body.get(1)?;
    if read_u32(body, 4) != index {
        return None;
    }
    IpNetwork::new(read_local_address(body)?, prefix).ok()
}

/// The host's own address in an answer to [`message::list_addresses`].
pub(super) fn read_local_address(body: &[u8]) -> Option<IpAddr> {
    let (mut local, mut address) = (None, None);
    for (kind, value) in Attributes::new(body.get(ADDRESS_HEADER..)?) {
        match kind {
            libc::IFA_LOCAL => local = read_address(value),
            libc::IFA_ADDRESS => address = read_address(value),
            _ => {}
        }
    }
    local.or(address)
}

/// The first four fields of struct rtnl_link_stats64.
fn read_counters(value: &[u8]) -> Option<Counters> {
    let field = |n: usize| value.get(n * 8..n * 8 + 8)?.try_into().ok().map(u64::from_ne_bytes);
    Some(Counters {
        rx_packets: field(0)?,
        tx_packets: field(1)?,
        rx_bytes: field(2)?,
        tx_bytes: field(3)?,
    })
}

/// The interface and destination of a route, if the route is ours.
fn read_route(body: &[u8]) -> Option<(u32, IpNetwork)> {
    if *body.get(5)? != ROUTE_PROTOCOL {
        return None;
    }
    let (mut index, mut address) = (None, None);
    for (kind, value) in Attributes::new(body.get(ROUTE_HEADER..)?) {
        match kind {
            libc::RTA_OIF => index = Some(read_u32(value, 0)),
            libc::RTA_DST => address = read_address(value),
            _ => {}
        }
    }
    Some((index?, IpNetwork::new(address?, *body.get(1)?).ok()?))
}

/// Does this route (struct rtmsg, rtnetlink(7)) lead to the host itself?
pub(super) fn is_local_route(body: &[u8]) -> bool {
    body.get(7) == Some(&libc::RTN_LOCAL)
}

/// An address of 4 or 16 bytes in network order.
pub(crate) fn read_address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}
