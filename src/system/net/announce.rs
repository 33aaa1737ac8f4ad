//! Telling an Ethernet where an address is from now on, so that the caches of neighbours and the tables of switches needn't
//! find out by themselves: an announcement by ARP (RFC 5227, 3) or an unsolicited neighbour advertisement (RFC 4861,
//! 7.2.6). That of a port comes from inside the VE, by the way of all its frames: what the firewall and the bridge think
//! of it holds for this one, too. That of an address which the host answers for ([`super::Link::proxy`]) comes from the
//! host's interface.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, sendto, socket};

use super::{Link, check, inspect};
use crate::error::{Error, Kind, Result};
use crate::namespace;

pub(super) const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
pub(super) const BROADCAST: [u8; 6] = [0xff; 6];
/// The hardware address of ff02::1 (RFC 2464, 7).
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ICMPV6: u8 = 58;
/// Ethernet, IPv4, lengths of both addresses, and the first half of what it is: the second is 1 for a question (RFC 826).
pub(super) const ARP_HEAD: [u8; 7] = [0, 1, 0x08, 0, 6, 4, 0];

/// As [`super::Network::announce`].
pub(super) fn announce(init: u32, links: &[Link]) -> Result<()> {
    let path = format!("/proc/{init}/ns/net");
    let netns = File::open(&path).map_err(|e| Error::os("open", path, e))?;
    announce_in(netns.as_fd(), links)
}

pub(super) fn announce_in(netns: BorrowedFd<'_>, links: &[Link]) -> Result<()> {
    for link in links.iter().filter(|l| !l.addresses.is_empty()) {
        if link.port.is_some() {
            let from_inside = || send(&link.guest_name, Some(link.mac), &link.addresses);
            namespace::within_network(netns, from_inside)?;
        } else if let Some(uplink) = &link.proxy {
            send(uplink, None, &link.addresses)?;
        }
    }
    Ok(())
}

/// From an interface of this thread's namespace, and of its own hardware address if no other is named. One that isn't
/// there has nothing to say: whoever took it away knows.
fn send(interface: &str, mac: Option<[u8; 6]>, addresses: &[IpAddr]) -> Result<()> {
    check::interface_name(interface)?;
    let Some(found) = inspect::find(&mut inspect::open()?, interface, false)? else {
        return Ok(());
    };
    let Some(mac) = mac.or(found.mac) else {
        let why = "it has no hardware address: it is no Ethernet";
        return Err(Error::new("announce addresses on", interface, why).kind(Kind::Unsupported));
    };
    let fail = |e: Errno| Error::os("announce addresses on", interface, e);
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).map_err(fail)?;
    let to = packet_address(found.index, 0);
    // Each twice, as a frame may be lost (RFC 5227 wants it; the seconds between them no start waits for).
    for address in addresses.iter().chain(addresses) {
        sendto(socket.as_raw_fd(), &frame(mac, *address), &to, MsgFlags::empty()).map_err(fail)?;
    }
    Ok(())
}

/// An interface, as what a raw frame is sent to, or heard on if it is of this protocol (packet(7)).
pub(super) fn packet_address(index: u32, protocol: u16) -> LinkAddr {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: it points to a whole sockaddr_ll of that length, which is copied.
    let made = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    #[allow(clippy::expect_used)] // family and length, which are all that it looks at, are those of a sockaddr_ll
    made.expect("it is a sockaddr_ll")
}

/// "This address is at this hardware address."
fn frame(mac: [u8; 6], address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(mac, address),
        IpAddr::V6(address) => advertisement(mac, address),
    }
}

/// A question for the own address from the own address, to all (RFC 5227, 2.3).
fn arp(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let address = address.octets();
    [
        &BROADCAST[..],
        &mac,
        &ETHERTYPE_ARP,
        &ARP_HEAD,
        &[1],
        &mac,
        &address,
        &[0; 6],
        &address,
    ]
    .concat()
}

/// An advertisement that nobody asked for, and that replaces what was known: target, and its hardware address as the one
/// option (RFC 4861, 4.4 and 4.6.1).
fn advertisement(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    const OVERRIDE: u8 = 0x20;
    let head = [136, 0, 0, 0, OVERRIDE, 0, 0, 0];
    let message = [&head[..], &address.octets(), &[2, 1], &mac].concat();
    icmpv6(ALL_NODES_MAC, mac, address, ALL_NODES, message)
}

/// A frame with an ICMPv6 message that was never routed: its hop limit is 255. The message's checksum is put in.
pub(super) fn icmpv6(to_mac: [u8; 6], mac: [u8; 6], from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let sum = checksum(from, to, &message).to_be_bytes();
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&sum);
    }
    let [high, low] = (message.len() as u16).to_be_bytes();
    let ip = [0x60, 0, 0, 0, high, low, ICMPV6, 255];
    [
        &to_mac[..],
        &mac,
        &ETHERTYPE_IPV6,
        &ip,
        &from.octets(),
        &to.octets(),
        &message,
    ]
    .concat()
}

/// Of an ICMPv6 message with its pseudo-header (RFC 8200, 8.1; RFC 1071).
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = (message.len() as u32).to_be_bytes();
    let all = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, ICMPV6], message].concat();
    let words = all
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0x68, 0, 0, 0x65, 0];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn frames_are_as_the_standards_draw_them() {
        assert_eq!(
            hex(&frame(MAC, "192.0.2.10".parse().unwrap())),
            "ffffffffffff026800006500080600010800060400010268000065\
             00c000020a000000000000c000020a"
        );
        let six = frame(MAC, "2001:db8::10".parse().unwrap());
        assert_eq!(
            hex(&six[..54]),
            "33330000000102680000650086dd6000000000203aff20010db8000000000000000000000010ff020000000000000000000000000001"
        );
        // With its checksum the sum of all is nothing.
        assert_eq!(checksum("2001:db8::10".parse().unwrap(), ALL_NODES, &six[54..]), 0);
        assert_eq!(hex(&six[54..56]), "8800");
        assert_eq!(
            hex(&six[58..]),
            "2000000020010db80000000000000000000000100201026800006500"
        );
    }
}
