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
use super::routed::{attach, configure, existing, remove_ours};
use super::sysctl::Sysctl;
use super::{Link, check, message};
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
        self.is_way_out() || matches!(self, Self::Address(_))
    }

    /// Routes inside come after the addresses, and go before them.
    fn is_way_out(self) -> bool {
        matches!(self, Self::Default { .. } | Self::Near(..) | Self::Rule(..))
    }

    /// In words, for errors.
    fn of(self, link: &Link) -> String {
        let (host, guest) = (&link.host_name, &link.guest_name);
        match self {
            Self::Gateway { .. } => format!("the gateway's address of {host}"),
            Self::Neighbour(address) => format!("neighbour {address} by {host}"),
            Self::Route(address) => format!("the route to {address} by {host}"),
            Self::Address(address) => format!("address {address} of {guest} in the VE"),
            Self::Default { .. } => format!("the VE's default route by {guest}"),
            Self::Near(pool, _) => format!("the VE's route to {pool} by {guest}"),
            Self::Rule(address, _) => format!("a rule of the VE for {address}"),
        }
    }

    fn request(self, link: &Link, index: u32) -> Request {
        match self {
            Self::Gateway { ipv6 } => message::add_gateway(index, ipv6),
            Self::Neighbour(address) => message::neighbour(index, address, link.mac),
            Self::Route(address) => message::route_to_ve(index, address),
            Self::Address(address) => {
                message::add_address(index, address, link.prefix(address), AddressScope::Universe)
            }
            Self::Default { gateway, table } => message::default_route(index, gateway, table),
            Self::Near(pool, table) => message::route_on_link(index, pool, table),
            Self::Rule(address, table) => message::rule_from(address, table),
        }
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
    let only = |of: &[(u32, Object)], not: &[(u32, Object)], way_out: bool| -> Vec<(u32, Object)> {
        let wanted = |o: &&(u32, Object)| o.1.is_way_out() == way_out && !not.contains(o);
        of.iter().filter(wanted).copied().collect()
    };
    // The last IPv4 address of an interface takes all routes by it along when it goes, so new ones come first.
    change.remove(&only(&before, &after, true))?;
    remove_ours(&mut change.host, going.iter().map(|l| l.host_name.as_str()))?;
    change.add(&only(&after, &before, false))?;
    change.remove(&only(&before, &after, false))?;
    change.add(&only(&after, &before, true))?;
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
                Some(refusal) => match object {
                    Object::Route(address) if !self.routes(*n, *address)? => {
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
        Ok(netlink.apply(&[make(object.request(link, index))]).err())
    }

    /// Do we route this address to this link?
    fn routes(&mut self, n: u32, address: IpAddr) -> Result<bool> {
        let index = existing(&mut self.host, &self.links[&n].host_name)?;
        let routes = inspect::our_routes(&mut self.host)?;
        Ok(routes.get(&index).is_some_and(|list| list.contains(&address)))
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
mod tests {
    use std::path::Path;

    use super::*;
    use crate::net::Network;
    use crate::net::testing::{Space, add_ve, host_and_ve, link, network};

    /// What a VE may have on its two interfaces, one after the other, there and back: families come and go, the default
    /// route moves from one interface to the other, all at once.
    const LIVES: &[[&[&str]; 2]] = &[
        [&["192.0.2.10"], &[]],
        [&["192.0.2.10", "192.0.2.11", "2001:db8::10"], &[]],
        [&["192.0.2.11"], &["198.51.100.8", "2001:db8:8::8"]],
        [&["192.0.2.12", "2001:db8::10"], &["198.51.100.8", "2001:db8:8::9"]],
        [&[], &["192.0.2.10", "2001:db8:8::9"]],
        [&[], &[]],
        [&["2001:db8::10"], &["198.51.100.9"]],
    ];

    fn links(life: &[&[&str]; 2]) -> [Link; 2] {
        [link(101, 0, life[0]), link(101, 1, life[1])]
    }

    /// The same in a VE of which links come and go: one without addresses isn't there.
    fn some_links(life: &[&[&str]; 2]) -> Vec<Link> {
        links(life).into_iter().filter(|l| !l.addresses.is_empty()).collect()
    }

    /// All that the kernel has of it, in an order of our own.
    fn laid(host: &Space, ve: &Space) -> Vec<String> {
        let mut all = Vec::new();
        for (space, args) in [
            (host, "addr show"),
            (host, "neigh show nud permanent"),
            (host, "route show proto 104"),
            (host, "-6 route show proto 104"),
            (ve, "addr show"),
            (ve, "-4 route show table all proto static"),
            (ve, "-4 route show table all proto boot"),
            (ve, "-6 route show table all proto static"),
            (ve, "-6 route show table all proto boot"),
            (ve, "-4 rule"),
            (ve, "-6 rule"),
        ] {
            let text = space.ip(&format!("-o {args}"));
            let mut lines: Vec<String> = text
                .lines()
                // Interfaces are numbered in each namespace anew, and a link-local address of the kernel's comes late.
                .map(|l| l.split_once(": ").map_or(l, |(_, rest)| rest).trim().to_owned())
                .filter(|l| !l.contains("scope link") || l.contains("hv101"))
                .collect();
            lines.sort();
            all.extend(lines.into_iter().map(|l| format!("{args}: {l}")));
        }
        all
    }

    fn change(host: &Space, ve: &Space, old: &[Link], new: &[Link]) -> Result<Vec<String>> {
        host.run(|| readdress_in(&Sysctl::new(Path::new("/proc")), ve.fd(), old, new))
    }

    #[test]
    fn each_change_leaves_what_a_start_would_have_laid() {
        lives(|life| links(life).to_vec());
    }

    #[test]
    fn links_come_and_go_and_leave_what_a_start_would_have_laid() {
        lives(some_links);
    }

    fn lives(links: impl Fn(&[&[&str]; 2]) -> Vec<Link> + Sync) {
        let Some(probe) = Space::new() else { return };
        drop(probe);
        let fresh = |life: &[&[&str]; 2]| {
            let (host, ve) = (Space::new().unwrap(), Space::new().unwrap());
            host.run(|| network().prepare_host()).unwrap();
            ve.ip("link set lo up");
            host.run(|| network().attach(ve.fd(), &links(life))).unwrap();
            (host, ve)
        };
        let expected: Vec<_> = LIVES.iter().map(fresh).map(|(h, v)| laid(&h, &v)).collect();
        let (host, ve) = fresh(&LIVES[0]);
        for (n, m) in (0..LIVES.len() - 1)
            .map(|n| (n, n + 1))
            .chain((1..LIVES.len()).rev().map(|n| (n, n - 1)))
        {
            let (old, new) = (links(&LIVES[n]), links(&LIVES[m]));
            for round in ["once", "again"] {
                change(&host, &ve, &old, &new).unwrap();
                assert_eq!(laid(&host, &ve), expected[m], "from {n} to {m}, {round}");
            }
            for address in new.iter().flat_map(|l| &l.addresses) {
                assert!(host.ping(&address.to_string(), 5), "from {n} to {m}: {address}");
            }
        }
    }

    #[test]
    fn what_is_routed_elsewhere_is_refused_and_taken_back() {
        let Some((host, ve)) = host_and_ve(101, &["192.0.2.10"]) else {
            return;
        };
        let Some(_other) = add_ve(&host, 102, &["192.0.2.20"]) else {
            return;
        };
        let before = laid(&host, &ve);
        let (old, new) = (
            [link(101, 0, &["192.0.2.10"])],
            [link(101, 0, &["2001:db8::10", "192.0.2.20"])],
        );
        let refused = change(&host, &ve, &old, &new).unwrap_err();
        assert_eq!(refused.kind, Kind::Exists, "{refused}");
        change(&host, &ve, &new, &old).unwrap();
        assert_eq!(laid(&host, &ve), before);
        assert!(host.ping("192.0.2.10", 5) && host.ping("192.0.2.20", 5));
        // Nor does a link become another.
        let others = [Link {
            guest_name: "eth7".into(),
            ..link(101, 0, &[])
        }];
        assert_eq!(change(&host, &ve, &old, &others).unwrap_err().kind, Kind::Invalid);
    }

    /// Renamed, removed, or in a namespace of its own.
    #[test]
    fn a_link_goes_wherever_its_guest_has_put_it() {
        for act in ["link set eth0 name mine", "link del eth0", "link set eth0 netns"] {
            let (Some(host), Some(ve), Some(own)) = (Space::new(), Space::new(), Space::new()) else {
                return;
            };
            host.run(|| network().prepare_host()).unwrap();
            let both = [link(101, 0, &["192.0.2.10"]), link(101, 1, &["198.51.100.8"])];
            host.run(|| network().attach(ve.fd(), &both)).unwrap();
            let place = std::os::fd::AsRawFd::as_raw_fd(&own.fd());
            ve.ip("link set eth0 down");
            ve.ip(&match act.ends_with("netns") {
                true => format!("{act} /proc/{}/fd/{place}", std::process::id()),
                false => act.to_owned(),
            });
            let told = change(&host, &ve, &both, &both[1..]).unwrap();
            assert!(told.is_empty(), "{told:?}");
            assert_eq!(
                (host.interfaces(), ve.interfaces()),
                (vec!["hv101.1".to_owned()], vec!["eth1".to_owned()])
            );
            assert!(own.interfaces().is_empty() && host.ping("198.51.100.8", 5));
            assert!(
                ve.ip("route").contains("default via 169.254.1.1 dev eth1"),
                "{}",
                ve.ip("route")
            );
        }
    }

    #[test]
    fn what_its_guest_has_renamed_is_set_up_on_the_host_and_told_of() {
        let Some((host, ve)) = host_and_ve(101, &["192.0.2.10"]) else {
            return;
        };
        ve.ip("link set eth0 down");
        ve.ip("link set eth0 name mine");
        let (old, new) = ([link(101, 0, &["192.0.2.10"])], [link(101, 0, &["192.0.2.11"])]);
        let told = change(&host, &ve, &old, &new).unwrap();
        assert!(told.len() == 1 && told[0].contains("eth0"), "{told:?}");
        assert!(host.ip("route show proto 104").contains("192.0.2.11"));
        change(&host, &ve, &new, &old).unwrap();
        assert!(host.ip("route show proto 104").contains("192.0.2.10"));
    }

    #[test]
    fn what_the_guests_root_has_done_is_no_obstacle() {
        let Some((host, ve)) = host_and_ve(101, &["192.0.2.10", "192.0.2.11"]) else {
            return;
        };
        ve.ip("addr del 192.0.2.11/32 dev eth0");
        ve.ip("addr add 192.0.2.12/32 dev eth0");
        let (old, new) = (
            [link(101, 0, &["192.0.2.10", "192.0.2.11"])],
            [link(101, 0, &["192.0.2.10", "192.0.2.12"])],
        );
        change(&host, &ve, &old, &new).unwrap();
        assert!(host.ping("192.0.2.12", 5) && host.ping("192.0.2.10", 5) && !host.ping("192.0.2.11", 1));
    }
}
