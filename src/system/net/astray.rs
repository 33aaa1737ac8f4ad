//! Links of VEs that run, and whose host's ends are not as they were made any more: somebody has been at them by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::inspect::{self, Interface};
use super::netlink::{Attributes, Netlink};
use super::port;
use super::routed::{apply, configure, existing, host_steps};
use super::sysctl::Sysctl;
use super::{Link, message};
use crate::error::{Kind, Result};

/// Attributes of a port (linux/if_link.h), and what each is called: IFLA_BRPORT_MODE (hairpin), _GUARD, _PROTECT,
/// _LEARNING, _UNICAST_FLOOD, _MULTICAST_ROUTER, _LOCKED.
const MODE: (u16, &str) = (4, "hairpin");
const GUARD: (u16, &str) = (5, "guard");
const PROTECT: (u16, &str) = (6, "root_block");
const LEARNING: (u16, &str) = (8, "learning");
const FLOOD: (u16, &str) = (9, "flood");
const MULTICAST_ROUTER: (u16, &str) = (25, "mcast_router");
const LOCKED: (u16, &str) = (39, "locked");

/// Length of struct ndmsg, before the attributes of an entry; NDA_LLADDR; NUD_NOARP.
const NEIGHBOUR_HEADER: usize = 12;
const LINK_ADDRESS: u16 = 2;
const NO_ARP: u16 = 0x40;
/// NTF_STICKY of linux/neighbour.h.
const STICKY: u8 = 0x40;

/// What [`message::guard_port`] sets.
fn flags(any_mac: bool) -> [((u16, &'static str), bool); 7] {
    [
        (MODE, false),
        (GUARD, true),
        (PROTECT, true),
        (LEARNING, any_mac),
        (FLOOD, any_mac),
        (MULTICAST_ROUTER, false),
        (LOCKED, !any_mac),
    ]
}

/// See [`super::Network::astray`].
pub(super) fn list(links: &[Link]) -> Result<Vec<(String, String)>> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let mut netlink = inspect::open()?;
    netlink.filter_strictly();
    let all = inspect::all(&mut netlink)?.into_iter();
    let interfaces: BTreeMap<String, Interface> = all.map(|i| (i.name.clone(), i)).collect();
    let routes: BTreeSet<(u32, IpNetwork)> = inspect::our_prefixes(&mut netlink)?.into_iter().collect();
    let entries = entries(&mut netlink, links)?;
    let mut found = Vec::new();
    for link in links {
        let Some(there) = interfaces.get(&link.host_name) else {
            continue;
        };
        let what = match &link.port {
            _ if !there.up => Some("it is down".to_owned()),
            Some(port) => changed_flag(there, port.any_mac).or_else(|| {
                // One that is no port is told of as that.
                let told = there.master != 0 && !port.any_mac;
                let lost = told && !entries.contains(&(there.index, link.mac));
                lost.then(|| "its bridge doesn't know what is behind it".to_owned())
            }),
            None => {
                let lost = wanted(link).find(|to| !routes.contains(&(there.index, *to)));
                lost.map(|to| format!("the host's route to {to} is gone"))
            }
        };
        found.extend(what.map(|what| (link.host_name.clone(), what)));
    }
    Ok(found)
}

/// What the host routes to a link.
fn wanted(link: &Link) -> impl Iterator<Item = IpNetwork> {
    let own = link.addresses.iter().map(|a: &IpAddr| IpNetwork::from(*a));
    own.chain(link.behind().map(|(prefix, _)| prefix))
}

/// The addresses that bridges have been told, with their ports; of none if no link needs that.
fn entries(netlink: &mut Netlink, links: &[Link]) -> Result<BTreeSet<(u32, [u8; 6])>> {
    if !links.iter().any(|l| l.port.as_ref().is_some_and(|p| !p.any_mac)) {
        return Ok(BTreeSet::new());
    }
    let answers = netlink.dump(&message::list_entries());
    let answers = answers.map_err(|r| r.into_error("list", "what bridges know"))?;
    Ok(answers.iter().filter_map(|body| read_entry(body)).collect())
}

/// An entry (struct ndmsg and its attributes), if it stays where it is until somebody removes it.
fn read_entry(body: &[u8]) -> Option<(u32, [u8; 6])> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let state = u16::from_ne_bytes(body.get(8..10)?.try_into().ok()?);
    let flags = body.get(10)?;
    let mut all = Attributes::new(body.get(NEIGHBOUR_HEADER..)?);
    let mac = all.find_map(|(kind, value)| (kind == LINK_ADDRESS).then(|| value.try_into().ok())?)?;
    (state & NO_ARP != 0 && flags & STICKY != 0).then_some((index, mac))
}

/// A flag that a kernel doesn't tell is none that it has.
fn changed_flag(there: &Interface, any_mac: bool) -> Option<String> {
    let differs = |((flag, _), on): &((u16, &str), bool)| there.port.get(flag).is_some_and(|v| (*v != 0) != *on);
    let ((_, name), on) = flags(any_mac).into_iter().find(differs)?;
    Some(format!("\"{name}\" of the port is {}", if on { "off" } else { "on" }))
}

/// See [`super::Network::mend`].
pub(super) fn mend(sysctl: &Sysctl, links: &[Link]) -> Result<()> {
    let mut netlink = inspect::open()?;
    for link in links {
        let index = existing(&mut netlink, &link.host_name)?;
        configure(sysctl, sysctl.has_ipv6(), link)?;
        let mut steps = host_steps(link, index);
        steps.extend(port::guard(link, index));
        for step in steps {
            match apply(&mut netlink, &[step]) {
                // It is so already. A route of somebody else's is in the way, and is told of at the next look.
                Err(e) if e.kind == Kind::Exists => {}
                other => other?,
            }
        }
    }
    Ok(())
}
