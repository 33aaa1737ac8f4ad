//! The VE's own end of a link: addresses and routes in its namespace.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::address::AddressScope;

use super::netlink::Netlink;
use super::routed::{Step, apply};
use super::{GATEWAY_V4, GATEWAY_V6, Link, message};
use crate::error::{Kind, Result};

/// `lo` has this index in every network namespace.
const LOOPBACK: u32 = 1;

/// Which families already have a default route in the VE.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    v4: bool,
    v6: bool,
}

impl Defaults {
    /// Takes the default route of a family; false if it was taken.
    fn take(&mut self, ipv6: bool) -> bool {
        !std::mem::replace(if ipv6 { &mut self.v6 } else { &mut self.v4 }, true)
    }
}

/// The table, and the priority of the rule, of a VE's interface 0, should it need one; the next has the next.
const FIRST_TABLE: u32 = 1000;

impl Link {
    /// The table of its own that it has inside, where another link has the default route; the same as long as it is
    /// there.
    pub(super) fn table(&self) -> u32 {
        FIRST_TABLE + self.number
    }

    /// The prefixes that the host routes to the VE, each with the VE's address that it goes by.
    pub(super) fn behind(&self) -> impl Iterator<Item = (IpNetwork, IpAddr)> {
        let gateway = |p: &IpNetwork| self.addresses.iter().copied().find(|a| a.is_ipv6() == p.is_ipv6());
        let routes = self.routes.iter().filter(|_| self.port.is_none());
        routes.filter_map(move |p| Some((*p, gateway(p)?)))
    }

    /// The length of the prefix that an address of the VE has: on a routed link it is alone.
    pub(super) fn prefix(&self, address: IpAddr) -> u8 {
        let pools = self.port.iter().flat_map(|p| &p.pools);
        let pool = pools.filter(|p| p.contains(address)).map(|p| p.prefix()).next();
        pool.unwrap_or(if address.is_ipv6() { 128 } else { 32 })
    }

    /// Where the VE sends what is for others; on a bridge there needn't be anybody.
    pub(super) fn gateway(&self, ipv6: bool) -> Option<IpAddr> {
        match &self.port {
            Some(port) => port.gateways.iter().copied().find(|g| g.is_ipv6() == ipv6),
            None if ipv6 => Some(GATEWAY_V6.into()),
            None => Some(GATEWAY_V4.into()),
        }
    }
}

/// `lo` and the interface up, with its addresses.
pub(super) fn steps(link: &Link, guest: u32) -> Vec<Step> {
    let up = |object: &str, index| Step {
        act: "bring up in the VE",
        object: object.to_owned(),
        request: message::up(index),
    };
    let mut steps = vec![up("lo", LOOPBACK), up(&link.guest_name, guest)];
    // The host hears no question in the name of a prefix that is routed to the VE: each would be a neighbour of its.
    steps.extend(link.port.is_none().then(|| Step {
        act: "set up in the VE",
        object: link.guest_name.clone(),
        request: message::ask_as_itself(guest),
    }));
    steps.extend(link.addresses.iter().map(|address| Step {
        act: "add address in the VE",
        object: format!("{address} to {}", link.guest_name),
        request: message::add_address(guest, *address, link.prefix(*address), AddressScope::Universe),
    }));
    steps
}

/// The VE's default routes by this link: in its main table for the first link that has one, in the link's own for others, for
/// what comes from their addresses.
pub(super) fn route(netlink: &mut Netlink, defaults: &mut Defaults, link: &Link, guest: u32) -> Result<()> {
    let table = link.table();
    let step = |act, request| Step {
        act,
        object: link.guest_name.clone(),
        request,
    };
    for ipv6 in [false, true] {
        let own: Vec<IpAddr> = link.addresses.iter().copied().filter(|a| a.is_ipv6() == ipv6).collect();
        let Some(gateway) = link.gateway(ipv6).filter(|_| !own.is_empty()) else {
            continue;
        };
        if defaults.take(ipv6) {
            let route = message::default_route(guest, gateway, None);
            apply(netlink, &[step("add the VE's default route by", route)])?;
            continue;
        }
        let mut steps = vec![step(
            "add a route of the VE by",
            message::default_route(guest, gateway, Some(table)),
        )];
        // Its neighbours are no affair of the gateway's.
        let pools = link.port.iter().flat_map(|p| &p.pools).filter(|p| p.is_ipv6() == ipv6);
        let near = pools.filter(|p| own.iter().any(|a| p.contains(*a)));
        steps.extend(near.map(|p| step("add a route of the VE by", message::route_on_link(guest, *p, table))));
        apply(netlink, &steps)?;
        for address in own {
            let rule = apply(
                netlink,
                &[step("add a rule of the VE for", message::rule_from(address, table))],
            );
            // Rules don't go with the interface: it may be there from an earlier attachment.
            rule.or_else(|e| if e.kind == Kind::Exists { Ok(()) } else { Err(e) })?;
        }
    }
    Ok(())
}
