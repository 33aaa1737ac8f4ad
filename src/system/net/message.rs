//! The requests that make up a link: pure, one function each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use rtnetlink::packet_core::NetlinkSerializable;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::netlink::Request;
use super::{GATEWAY_V4, GATEWAY_V6, GROUP, Link, ROUTE_PROTOCOL};

const ACK: u16 = libc::NLM_F_ACK as u16;
const CREATE: u16 = ACK | (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;

fn request(message: &RouteNetlinkMessage, flags: u16) -> Request {
    let mut body = vec![0; NetlinkSerializable::buffer_len(message)];
    NetlinkSerializable::serialize(message, &mut body);
    Request {
        kind: NetlinkSerializable::message_type(message),
        flags,
        body,
    }
}

/// Removes what this request adds: an address, a route, a rule or a neighbour. The kernel numbers the two messages one
/// after the other (rtnetlink(7)).
pub(super) fn removal(added: Request) -> Request {
    Request {
        kind: added.kind + 1,
        flags: ACK,
        body: added.body,
    }
}

/// Makes the pair, the VE's end directly in its namespace. Nothing is up yet.
pub(super) fn create_pair(link: &Link, netns: RawFd) -> Request {
    let mut peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(link.guest_name.clone())
        .address(link.mac.to_vec())
        .setns_by_fd(netns);
    let mut host = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(link.host_name.clone())
        .link_group(GROUP);
    if let Some(mtu) = link.mtu {
        peer = peer.mtu(mtu);
        host = host.mtu(mtu);
    }
    let host = host.set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build()))).build();
    request(&RouteNetlinkMessage::NewLink(host), CREATE)
}

/// Makes the pair with both ends in this namespace; the VE's is called `end`.
pub(super) fn create_pair_here(link: &Link, end: &str) -> Request {
    let mut peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(end.to_owned())
        .address(link.mac.to_vec());
    let mut host = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(link.host_name.clone())
        .link_group(GROUP);
    if let Some(mtu) = link.mtu {
        peer = peer.mtu(mtu);
        host = host.mtu(mtu);
    }
    let host = host.set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build()))).build();
    request(&RouteNetlinkMessage::NewLink(host), CREATE)
}

/// Gives the host's end its alias, and stops the kernel from giving it a link-local address of its own making.
pub(super) fn mark_host_end(index: u32, alias: &str, ipv6: bool) -> Request {
    let mut link = LinkUnspec::new_with_index(index).alias(alias);
    if ipv6 {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        link = link.append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]));
    }
    request(&RouteNetlinkMessage::SetLink(link.build()), ACK)
}

/// Brings an interface up.
pub(super) fn up(index: u32) -> Request {
    request(
        &RouteNetlinkMessage::SetLink(LinkUnspec::new_with_index(index).up().build()),
        ACK,
    )
}

/// Removes an interface (and with one end of a pair the other).
pub(super) fn delete(index: u32) -> Request {
    request(
        &RouteNetlinkMessage::DelLink(LinkUnspec::new_with_index(index).build()),
        ACK,
    )
}

/// Asks for an interface by name; with its counters only if asked to (they cost most of the answer).
pub(super) fn get_link(name: &str, counters: bool) -> Request {
    let mut link = LinkUnspec::new_with_name(name);
    if !counters {
        link = link.append_extra_attribute(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    }
    request(&RouteNetlinkMessage::GetLink(link.build()), 0)
}

/// Asks for all interfaces.
pub(super) fn list_links() -> Request {
    let mut link = LinkMessage::default();
    link.attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    request(&RouteNetlinkMessage::GetLink(link), 0)
}

/// Asks for our own routes of one family.
pub(super) fn list_routes(ipv6: bool) -> Request {
    let ours = RouteProtocol::Other(ROUTE_PROTOCOL);
    let route = if ipv6 {
        RouteMessageBuilder::<Ipv6Addr>::new().protocol(ours).build()
    } else {
        RouteMessageBuilder::<Ipv4Addr>::new().protocol(ours).build()
    };
    request(&RouteNetlinkMessage::GetRoute(route), 0)
}

/// Adds an address. IPv6 without duplicate address detection: nobody else is on the link, and an address under
/// detection can't be used for a second.
pub(super) fn add_address(index: u32, address: IpAddr, prefix_len: u8, scope: AddressScope) -> Request {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = prefix_len;
    message.header.scope = scope;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => {
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            AddressFamily::Inet6
        }
    };
    request(&RouteNetlinkMessage::NewAddress(message), CREATE)
}

/// The prefix length of one address alone.
pub(super) fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

/// The gateway's address on the host's end, for VEs with addresses of this family.
pub(super) fn add_gateway(index: u32, ipv6: bool) -> Request {
    if ipv6 {
        add_address(index, GATEWAY_V6.into(), 64, AddressScope::Link)
    } else {
        add_address(index, GATEWAY_V4.into(), 32, AddressScope::Link)
    }
}

/// The host's route to one address of a VE. Refused (EEXIST) if the address is routed elsewhere already.
pub(super) fn route_to_ve(index: u32, address: IpAddr) -> Request {
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

/// The VE's default route, in the main table or another.
pub(super) fn default_route(index: u32, ipv6: bool, table: Option<u32>) -> Request {
    let main = 254;
    let route = if ipv6 {
        let route = RouteMessageBuilder::<Ipv6Addr>::new().gateway(GATEWAY_V6);
        route.output_interface(index).table_id(table.unwrap_or(main)).build()
    } else {
        // On-link: the gateway is in no subnet of the VE's.
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(GATEWAY_V4).onlink();
        route.output_interface(index).table_id(table.unwrap_or(main)).build()
    };
    new_route(route)
}

fn new_route(route: RouteMessage) -> Request {
    request(&RouteNetlinkMessage::NewRoute(route), CREATE)
}

/// In the VE: what comes from `address` is routed by `table`.
pub(super) fn rule_from(address: IpAddr, table: u32) -> Request {
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

/// The host's permanent neighbour entry for one address of a VE: the first packet needs no question, the VE can't
/// make the entry point elsewhere, and it doesn't count against the limit of the host's neighbour table.
pub(super) fn neighbour(index: u32, address: IpAddr, mac: [u8; 6]) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    request(
        &RouteNetlinkMessage::NewNeighbour(message),
        ACK | (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16,
    )
}
