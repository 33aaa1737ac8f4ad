//! The requests that make routes and rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{CREATE, request};
use crate::net::ROUTE_PROTOCOL;
use crate::net::netlink::Request;

/// RT_TABLE_MAIN.
const MAIN_TABLE: u32 = 254;

/// The host's route to one address of a VE. Refused (EEXIST) if the address is routed elsewhere already.
pub(in crate::net) fn route_to_ve(index: u32, address: IpAddr) -> Request {
    let ours = RouteProtocol::Other(ROUTE_PROTOCOL);
    let route = match address {
        IpAddr::V4(a) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(a, 32)
                .scope(RouteScope::Link);
            route.output_interface(index).protocol(ours).build()
        }
        IpAddr::V6(a) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(a, 128);
            route.output_interface(index).protocol(ours).build()
        }
    };
    new_route(route)
}

/// Asks for the route by which the host itself would send to an address.
pub(in crate::net) fn find_route(to: IpAddr) -> Request {
    let route = match to {
        IpAddr::V4(a) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(a, 32).build(),
        IpAddr::V6(a) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(a, 128)
            .build(),
    };
    request(&RouteNetlinkMessage::GetRoute(route), 0)
}

/// The host's route to a prefix behind a VE, by an address of the VE's. On-link: that is in no subnet of the host's.
pub(in crate::net) fn route_behind(index: u32, prefix: IpNetwork, gateway: IpAddr) -> Option<Request> {
    let ours = RouteProtocol::Other(ROUTE_PROTOCOL);
    let route = match (prefix.network(), gateway) {
        (IpAddr::V4(to), IpAddr::V4(gateway)) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, prefix.prefix());
            let route = route.gateway(gateway).onlink().output_interface(index);
            route.protocol(ours).build()
        }
        (IpAddr::V6(to), IpAddr::V6(gateway)) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to, prefix.prefix());
            let route = route.gateway(gateway).onlink().output_interface(index);
            route.protocol(ours).build()
        }
        _ => return None,
    };
    Some(new_route(route))
}

/// The VE's default route, in the main table or another. On-link: the gateway needn't be in a subnet of the VE's.
pub(in crate::net) fn default_route(index: u32, gateway: IpAddr, table: Option<u32>) -> Request {
    let table = table.unwrap_or(MAIN_TABLE);
    let route = match gateway {
        IpAddr::V4(gateway) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).onlink();
            route.output_interface(index).table_id(table).build()
        }
        IpAddr::V6(gateway) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).onlink();
            route.output_interface(index).table_id(table).build()
        }
    };
    new_route(route)
}

/// In the VE: all of a prefix are neighbours, in this table.
pub(in crate::net) fn route_on_link(index: u32, pool: IpNetwork, table: u32) -> Request {
    let route = match pool.network() {
        IpAddr::V4(a) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(a, pool.prefix());
            let route = route.scope(RouteScope::Link).output_interface(index);
            route.table_id(table).build()
        }
        IpAddr::V6(a) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(a, pool.prefix());
            route.output_interface(index).table_id(table).build()
        }
    };
    new_route(route)
}

fn new_route(route: RouteMessage) -> Request {
    request(&RouteNetlinkMessage::NewRoute(route), CREATE)
}

/// In the VE: what comes from `address` is routed by `table`.
pub(in crate::net) fn rule_from(address: IpAddr, table: u32) -> Request {
    let mut rule = RuleMessage::default();
    (rule.header.family, rule.header.src_len) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    rule.header.action = RuleAction::ToTable;
    rule.attributes.push(RuleAttribute::Source(address));
    rule.attributes.push(RuleAttribute::Table(table));
    rule.attributes.push(RuleAttribute::Priority(table));
    request(&RouteNetlinkMessage::NewRule(rule), CREATE)
}
