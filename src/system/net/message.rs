//! The requests that make up a link: pure, one function each.

mod route;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use ipnetwork::IpNetwork;
use rtnetlink::packet_core::NetlinkSerializable;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, BridgeMulticastRouterType, BridgeStpState, In6AddrGenMode, InetDevConf,
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVlan, RouteMessageBuilder};

pub(super) use self::route::{default_route, find_route, route_behind, route_on_link, route_to_ve, rule_from};
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

/// The largest piece of TCP over IPv4 that a big link takes, in bytes. Of the kernel's own limit of 512 KiB this is what
/// still gains (measured: 64 KiB 18, 128 KiB 22, 192 KiB 24 Gbit/s from a VE to its host).
pub(super) const BIG_TCP: u32 = 192 << 10;
/// The same of any other: the kernel's default (GSO_LEGACY_MAX_SIZE).
const LEGACY_TCP: u32 = 65_536;

/// Makes the pair, the VE's end directly in its namespace. Nothing is up yet.
pub(super) fn create_pair(link: &Link, netns: RawFd) -> Request {
    pair(link, link.guest_name.clone(), |peer| peer.setns_by_fd(netns))
}

/// Makes the pair with both ends in this namespace; the VE's is called `end`.
pub(super) fn create_pair_here(link: &Link, end: &str) -> Request {
    pair(link, end.to_owned(), |peer| peer)
}

type Unspec = LinkMessageBuilder<LinkUnspec>;

fn pair(link: &Link, end: String, place: impl FnOnce(Unspec) -> Unspec) -> Request {
    let mut peer = place(Unspec::new().name(end).address(link.mac.to_vec()));
    let mut host = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(link.host_name.clone())
        .link_group(GROUP);
    if link.port.is_some() {
        host = host.address(high(link.mac).to_vec());
    }
    if let Some(mtu) = link.mtu {
        peer = peer.mtu(mtu);
        host = host.mtu(mtu);
    }
    if link.big_tcp {
        peer = peer.append_extra_attribute(LinkAttribute::GsoIpv4MaxSize(BIG_TCP));
        host = host.append_extra_attribute(LinkAttribute::GsoIpv4MaxSize(BIG_TCP));
    }
    let host = host.set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build()))).build();
    request(&RouteNetlinkMessage::NewLink(host), CREATE)
}

/// An address for the port behind which this one is. A bridge without an address of its own has the lowest of its ports'
/// (br_stp_recalculate_bridge_id): one that is higher than those of hardware changes it for nobody.
fn high(mac: [u8; 6]) -> [u8; 6] {
    let first = if mac[0] == 0xfe { 0xfa } else { 0xfe };
    [first, mac[1], mac[2], mac[3], mac[4], mac[5]]
}

/// Whether an interface takes big pieces of TCP over IPv4.
pub(super) fn set_big_tcp(index: u32, big: bool) -> Request {
    let size = LinkAttribute::GsoIpv4MaxSize(if big { BIG_TCP } else { LEGACY_TCP });
    let link = LinkUnspec::new_with_index(index).append_extra_attribute(size);
    request(&RouteNetlinkMessage::SetLink(link.build()), ACK)
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

/// An interface asks for neighbours in the name of its own addresses (arp_announce 2 of ip-sysctl.rst), whatever address
/// of its host's a packet bears.
pub(super) fn ask_as_itself(index: u32) -> Request {
    let mut settings = InetDevConf::default();
    settings.arp_announce = 2;
    let settings = AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(settings)]);
    let link = LinkUnspec::new_with_index(index).append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![settings]));
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

/// Makes a bridge: no spanning tree, multicast only to those who asked for it. Nothing is up yet.
pub(super) fn create_bridge(name: &str, address: [u8; 6]) -> Request {
    let bridge = LinkBridge::new(name).address(address.to_vec()).link_group(GROUP);
    let bridge = bridge.stp_state(BridgeStpState::Disabled).mcast_snooping(true);
    request(&RouteNetlinkMessage::NewLink(bridge.build()), CREATE)
}

/// Makes an interface that is nothing but a queue (ifb). It isn't up yet.
pub(super) fn create_queue(name: &str) -> Request {
    let queue = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Ifb);
    let queue = queue.name(name.to_owned()).link_group(GROUP);
    request(&RouteNetlinkMessage::NewLink(queue.build()), CREATE)
}

/// Makes an interface that is one VLAN of another.
pub(super) fn create_vlan(name: &str, base: u32, id: u16) -> Request {
    let vlan = LinkVlan::new(name, base, id).link_group(GROUP);
    request(&RouteNetlinkMessage::NewLink(vlan.build()), CREATE)
}

/// Sets an interface's MTU in bytes.
pub(super) fn set_mtu(index: u32, mtu: u32) -> Request {
    let link = LinkUnspec::new_with_index(index).mtu(mtu).build();
    request(&RouteNetlinkMessage::SetLink(link), ACK)
}

/// Makes an interface a port of a bridge.
pub(super) fn enslave(index: u32, bridge: u32) -> Request {
    let link = LinkUnspec::new_with_index(index).controller(bridge).build();
    request(&RouteNetlinkMessage::SetLink(link), ACK)
}

/// Takes a port out of its bridge.
pub(super) fn release(index: u32) -> Request {
    let link = LinkUnspec::new_with_index(index).nocontroller().build();
    request(&RouteNetlinkMessage::SetLink(link), ACK)
}

/// What a VE's port may do: no spanning tree, no multicast router, nothing sent back to where it came from. One whose
/// guest has one address forwards frames of addresses that it was told alone, and gets no frame for an unknown one.
pub(super) fn guard_port(index: u32, any_mac: bool) -> Request {
    let port = LinkBridgePort::new(index).guard(true).root_block(true).hairpin(false);
    let port = port.mcast_router(BridgeMulticastRouterType::Disabled).learning(any_mac);
    let port = port.flood(any_mac).locked(!any_mac);
    request(&RouteNetlinkMessage::NewLink(port.build()), ACK)
}

/// Tells the bridge which address is behind a port, for as long as the port is there. Who sends a frame from that address
/// elsewhere takes nothing over (NTF_STICKY, Linux 4.20): a port that learns nothing would never get it back.
pub(super) fn static_entry(index: u32, mac: [u8; 6]) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Noarp;
    message.header.flags = NeighbourFlags::Controller | NeighbourFlags::Sticky;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    request(
        &RouteNetlinkMessage::NewNeighbour(message),
        ACK | (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16,
    )
}

/// Asks for all addresses that bridges know.
pub(super) fn list_entries() -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    request(&RouteNetlinkMessage::GetNeighbour(message), 0)
}

/// Asks for all addresses of the host.
pub(super) fn list_addresses() -> Request {
    request(&RouteNetlinkMessage::GetAddress(AddressMessage::default()), 0)
}

/// Removes an address.
pub(super) fn delete_address(index: u32, address: IpNetwork) -> Request {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix();
    message.header.family = match address {
        IpNetwork::V4(_) => AddressFamily::Inet,
        IpNetwork::V6(_) => AddressFamily::Inet6,
    };
    message.attributes.push(AddressAttribute::Local(address.ip()));
    request(&RouteNetlinkMessage::DelAddress(message), ACK)
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

/// The gateway's address on the host's end, for VEs with addresses of this family.
pub(super) fn add_gateway(index: u32, ipv6: bool) -> Request {
    if ipv6 {
        add_address(index, GATEWAY_V6.into(), 64, AddressScope::Link)
    } else {
        add_address(index, GATEWAY_V4.into(), 32, AddressScope::Link)
    }
}

/// Has the host answer on an interface for an address that it routes elsewhere.
pub(super) fn add_proxy(index: u32, address: IpAddr) -> Request {
    let mut message = proxies_of(address.is_ipv6());
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    let ours = RouteProtocol::Other(ROUTE_PROTOCOL);
    message.attributes.push(NeighbourAttribute::Protocol(ours));
    request(
        &RouteNetlinkMessage::NewNeighbour(message),
        ACK | libc::NLM_F_CREATE as u16,
    )
}

/// Asks for all that the host answers for, of one family.
pub(super) fn list_proxies(ipv6: bool) -> Request {
    request(&RouteNetlinkMessage::GetNeighbour(proxies_of(ipv6)), 0)
}

fn proxies_of(ipv6: bool) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = if ipv6 {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    message.header.flags = NeighbourFlags::Proxy;
    message
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
