//! Other links and addresses for a VE that runs. What each link needs is a list of objects in the kernel; what only the
//! old ones need is removed, what only the new ones need is added. Both leave alone what is so already, so the change may
//! be made twice, go on after it was cut short, or be taken back from wherever it stopped.
//!
//! A link is made bare, as one without addresses, and is then one whose addresses change. One that goes takes all along
//! but rules inside; it is removed by its host's end, wherever its guest has put the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::address::AddressScope;

use super::inspect;
use super::netlink::{Netlink, Refusal, Request};
use super::remove::remove_ours;
use super::routed::{attach, configure, existing};
use super::sysctl::Sysctl;
use super::{Link, check, message, proxy};
use crate::error::{Error, Kind, Result};
use crate::namespace;

/// One thing that an address needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    /// On the host's end: the gateway of a family.
    Gateway { ipv6: bool },
    /// On the host: the VE's MAC for an address.
    Neighbour(IpAddr),
    /// On the host: the way to an address.
    Route(IpAddr),
    /// On the host: the way to a prefix, by an address.
    Behind(IpNetwork, IpAddr),
    /// In the VE.
    Address(IpAddr),
    /// In the VE: the default route of a family, in the main table or one of the link's own.
    Default { gateway: IpAddr, table: Option<u32> },
    /// In the VE: its neighbours on a bridge, in a table of the link's own.
    Near(IpNetwork, u32),
    /// In the VE: what comes from an address goes by that table.
    Rule(IpAddr, u32),
}

impl Object {
    fn is_inside(self) -> bool {
        matches!(
            self,
            Self::Default { .. } | Self::Near(..) | Self::Rule(..) | Self::Address(_)
        )
    }

    /// Routes inside, and those by an address, come after the addresses and go before them.
    fn goes_by_others(self) -> bool {
        matches!(
            self,
            Self::Default { .. } | Self::Near(..) | Self::Rule(..) | Self::Behind(..)
        )
    }

    /// What the host routes by it.
    fn destination(self) -> Option<IpNetwork> {
        match self {
            Self::Route(address) => Some(address.into()),
            Self::Behind(prefix, _) => Some(prefix),
            _ => None,
        }
    }

    /// In words, for errors.
    fn of(self, link: &Link) -> String {
        let (host, guest) = (&link.host_name, &link.guest_name);
        match self {
            Self::Gateway { .. } => format!("the gateway's address of {host}"),
            Self::Neighbour(address) => format!("neighbour {address} by {host}"),
            Self::Route(address) => format!("the route to {address} by {host}"),
            Self::Behind(prefix, _) => format!("the route to {prefix} by {host}"),
            Self::Address(address) => format!("address {address} of {guest} in the VE"),
            Self::Default { .. } => format!("the VE's default route by {guest}"),
            Self::Near(pool, _) => format!("the VE's route to {pool} by {guest}"),
            Self::Rule(address, _) => format!("a rule of the VE for {address}"),
        }
    }

    fn request(self, link: &Link, index: u32) -> Option<Request> {
        Some(match self {
            Self::Gateway { ipv6 } => message::add_gateway(index, ipv6),
            Self::Neighbour(address) => message::neighbour(index, address, link.mac),
            Self::Route(address) => message::route_to_ve(index, address),
            Self::Address(address) => {
                message::add_address(index, address, link.prefix(address), AddressScope::Universe)
            }
            Self::Default { gateway, table } => message::default_route(index, gateway, table),
            Self::Near(pool, table) => message::route_on_link(index, pool, table),
            Self::Rule(address, table) => message::rule_from(address, table),
            Self::Behind(prefix, gateway) => return message::route_behind(index, prefix, gateway),
        })
    }
}

/// All that these links need, by the number of the link; as `attach` lays it.
fn objects(links: &[Link]) -> Vec<(u32, Object)> {
    let mut all = Vec::new();
    let mut defaults = [false; 2];
    for link in links {
        let n = link.number;
        for ipv6 in [false, true] {
            let own: Vec<IpAddr> = link.addresses.iter().copied().filter(|a| a.is_ipv6() == ipv6).collect();
            if own.is_empty() {
                continue;
            }
            let gateway = link.gateway(ipv6);
            let second = gateway.is_some() && std::mem::replace(&mut defaults[usize::from(ipv6)], true);
            let table = second.then_some(link.table());
            all.extend(gateway.map(|gateway| (n, Object::Default { gateway, table })));
            let pools = link.port.iter().flat_map(|p| &p.pools);
            let near = pools.filter(|p| own.iter().any(|a| p.contains(*a)));
            all.extend(near.flat_map(|pool| table.map(|table| (n, Object::Near(*pool, table)))));
            if link.port.is_none() {
                let behind = link.behind().filter(|(p, _)| p.is_ipv6() == ipv6);
                all.extend(behind.map(|(prefix, gateway)| (n, Object::Behind(prefix, gateway))));
                all.push((n, Object::Gateway { ipv6 }));
                let on_host = own.iter().flat_map(|a| [Object::Neighbour(*a), Object::Route(*a)]);
                all.extend(on_host.map(|object| (n, object)));
            }
            for address in own {
                all.push((n, Object::Address(address)));
                all.extend(table.map(|table| (n, Object::Rule(address, table))));
            }
        }
    }
    all
}

/// As [`super::Network::readdress`].
pub(super) fn readdress(sysctl: &Sysctl, init: u32, old: &[Link], new: &[Link]) -> Result<Vec<String>> {
    let path = format!("/proc/{init}/ns/net");
    let namespace = File::open(&path).map_err(|e| Error::os("open", path, e))?;
    readdress_in(sysctl, namespace.as_fd(), old, new)
}

pub(super) fn readdress_in(sysctl: &Sysctl, netns: BorrowedFd<'_>, old: &[Link], new: &[Link]) -> Result<Vec<String>> {
    check::links(new)?;
    let twin = |of: &Link, list: &[Link]| list.iter().find(|l| l.host_name == of.host_name).cloned();
    let same = |a: &Link, b: &Link| (&a.guest_name, a.number, a.mac) == (&b.guest_name, b.number, b.mac);
    if let Some(link) = new.iter().find(|l| twin(l, old).is_some_and(|was| !same(&was, l))) {
        let why = "it is another link than before";
        return Err(Error::new("change the addresses of", &link.host_name, why).kind(Kind::Invalid));
    }
    let ipv6 = sysctl.has_ipv6();
    if let Some(address) = new.iter().flat_map(|l| &l.addresses).find(|a| a.is_ipv6() && !ipv6) {
        let no = "this kernel has no IPv6, or it is turned off";
        return Err(Error::new("give a VE", address, no).kind(Kind::Unsupported));
    }
    let mut change = Change {
        host: inspect::open()?,
        guest: namespace::within_network(netns, inspect::open)?,
        links: old.iter().chain(new).map(|l| (l.number, l)).collect(),
        absent: BTreeSet::new(),
    };
    for link in new.iter().filter(|l| twin(l, old).is_none()) {
        change.make_bare(sysctl, netns, link)?;
    }
    for link in new {
        if twin(link, old).is_none_or(|was| was.addresses != link.addresses) {
            configure(sysctl, ipv6, link)?;
        }
    }
    let going: Vec<&Link> = old.iter().filter(|l| twin(l, new).is_none()).collect();
    let goes_along =
        |(n, object): &(u32, Object)| going.iter().any(|l| l.number == *n) && !matches!(object, Object::Rule(..));
    let (mut before, after) = (objects(old), objects(new));
    before.retain(|o| !goes_along(o));
    let only = |of: &[(u32, Object)], not: &[(u32, Object)], by_others: bool| -> Vec<(u32, Object)> {
        let wanted = |o: &&(u32, Object)| o.1.goes_by_others() == by_others && !not.contains(o);
        of.iter().filter(wanted).copied().collect()
    };
    let (had, has) = (proxy::answered(old), proxy::answered(new));
    let given_up: Vec<IpAddr> = had.into_iter().filter(|a| !has.contains(a)).collect();
    proxy::remove(&mut change.host, &given_up)?;
    // The last IPv4 address of an interface takes all routes by it along when it goes, so new ones come first.
    change.remove(&only(&before, &after, true))?;
    remove_ours(&mut change.host, going.iter().map(|l| l.host_name.as_str()))?;
    change.add(&only(&after, &before, false))?;
    change.remove(&only(&before, &after, false))?;
    change.add(&only(&after, &before, true))?;
    for link in new {
        proxy::of(sysctl, &mut change.host, link)?;
    }
    Ok(change.notes())
}

/// The ends of the links, and where they are.
struct Change<'a> {
    host: Netlink,
    guest: Netlink,
    /// By their numbers.
    links: BTreeMap<u32, &'a Link>,
    /// Ends that aren't in the VE under their names.
    absent: BTreeSet<String>,
}

impl Change<'_> {
    /// Makes the pair, unless it is there whole: it comes up last.
    fn make_bare(&mut self, sysctl: &Sysctl, netns: BorrowedFd<'_>, link: &Link) -> Result<()> {
        let found = inspect::find(&mut self.host, &link.host_name, false)?;
        if found.is_some_and(|i| i.is_ours() && i.is_ready()) {
            return Ok(());
        }
        let bare = Link {
            addresses: Vec::new(),
            ..link.clone()
        };
        attach(sysctl, netns, &[bare])
    }

    fn add(&mut self, objects: &[(u32, Object)]) -> Result<()> {
        for (n, object) in objects {
            match self.send(*n, *object, |request| request)? {
                None => {}
                Some(refusal) if refusal.errno() != libc::EEXIST => {
                    return Err(refusal.into_error("add", object.of(self.links[n])));
                }
                // Its own, or somebody else's?
                Some(refusal) => match object.destination() {
                    Some(to) if !self.routes(*n, to)? => {
                        let error = refusal.into_error("add", object.of(self.links[n]));
                        return Err(error.hint(check::ELSEWHERE));
                    }
                    _ => {}
                },
            }
        }
        Ok(())
    }

    fn remove(&mut self, objects: &[(u32, Object)]) -> Result<()> {
        for (n, object) in objects.iter().rev() {
            match self.send(*n, *object, message::removal)? {
                Some(refusal) if !is_gone(&refusal) => {
                    return Err(refusal.into_error("remove", object.of(self.links[n])));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Sends what is about an object; what the kernel has against it.
    fn send(&mut self, n: u32, object: Object, make: impl FnOnce(Request) -> Request) -> Result<Option<Refusal>> {
        let link = self.links[&n];
        let (netlink, index) = match object {
            Object::Rule(..) => (&mut self.guest, 0),
            _ if object.is_inside() => match inspect::find(&mut self.guest, &link.guest_name, false)? {
                Some(end) => (&mut self.guest, end.index),
                None => {
                    self.absent.insert(link.guest_name.clone());
                    return Ok(None);
                }
            },
            _ => {
                let index = existing(&mut self.host, &link.host_name)?;
                (&mut self.host, index)
            }
        };
        let request = object.request(link, index).map(make);
        Ok(netlink.apply(request.as_slice()).err())
    }

    /// Do we route this to this link?
    fn routes(&mut self, n: u32, to: IpNetwork) -> Result<bool> {
        let index = existing(&mut self.host, &self.links[&n].host_name)?;
        Ok(inspect::our_prefixes(&mut self.host)?.contains(&(index, to)))
    }

    fn notes(self) -> Vec<String> {
        let say = |name: String| {
            format!("inside there is no {name}: its root has renamed or moved it, and sets it up until the next start")
        };
        self.absent.into_iter().map(say).collect()
    }
}

/// By an earlier attempt, or the guest's root took it away.
fn is_gone(refusal: &Refusal) -> bool {
    matches!(refusal.errno(), libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL)
}

#[cfg(test)]
mod tests;
