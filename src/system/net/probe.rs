//! Asking an Ethernet whether somebody there has an address already, before a VE gets it: probes by ARP (RFC 5227, 2.1.1)
//! and neighbour solicitations as of duplicate address detection (RFC 4862, 5.4). All addresses are asked for at once, and
//! the whole takes as long as one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, recv, sendto, socket};

use super::announce::{ARP_HEAD, BROADCAST, ETHERTYPE_ARP, icmpv6, packet_address};
use super::{Probe, check, inspect};
use crate::error::{Error, Result};

/// How often each address is asked for, spread over the time: a frame may be lost.
const TIMES: u32 = 3;
/// The one in which the host asks in its own name.
const AS_HOST: u32 = 2;
/// So many frames are read of each socket before the clock is looked at: who floods an Ethernet holds nobody up.
const AT_ONCE: usize = 4096;
/// Offset of the ARP message, or of the IPv6 header, in a frame.
const PAYLOAD: usize = 14;
/// Offset of an ICMPv6 message.
const ICMPV6: usize = PAYLOAD + 40;
/// Offsets of the sender's and the target's address in a frame of ARP.
const SENDER: usize = PAYLOAD + 14;
const TARGET: usize = PAYLOAD + 24;
/// The types of a neighbour solicitation, and of an advertisement.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// One interface that is asked on.
struct Ear<'a> {
    asked: &'a Probe,
    index: u32,
    mac: [u8; 6],
    /// An address of the host's there.
    address: Option<Ipv4Addr>,
    sockets: Vec<OwnedFd>,
}

/// As [`super::Network::probe`].
pub(super) fn probe(probes: &[Probe], within: Duration) -> Result<Vec<(IpAddr, [u8; 6])>> {
    let mut netlink = inspect::open()?;
    let mut ears = Vec::new();
    for asked in probes.iter().filter(|p| !p.addresses.is_empty()) {
        check::interface_name(&asked.interface)?;
        // One that isn't there, or is no Ethernet, has nobody to ask; who needs it will say so.
        let mut found = inspect::find(&mut netlink, &asked.interface, false)?;
        if let (None, Some(instead)) = (&found, &asked.instead) {
            check::interface_name(instead)?;
            found = inspect::find(&mut netlink, instead, false)?;
        }
        if let Some((index, mac)) = found.and_then(|i| Some((i.index, i.mac?))) {
            let mut of_host = inspect::addresses(&mut netlink, index)?.into_iter();
            let address = of_host.find_map(|a| match a.ip() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            });
            ears.push(Ear::new(asked, index, mac, address)?);
        }
    }
    let mut heard: Vec<(IpAddr, [u8; 6])> = Vec::new();
    let wanted: usize = ears.iter().map(|e| e.asked.addresses.len()).sum();
    let begin = Instant::now();
    for round in 1..=TIMES {
        ears.iter().try_for_each(|ear| ear.ask(round))?;
        let end = begin + within * round / TIMES;
        while heard.len() < wanted && wait(&ears, end)? {
            for (address, mac) in ears.iter().flat_map(Ear::answers) {
                if heard.iter().all(|(known, _)| *known != address) {
                    heard.push((address, mac));
                }
            }
        }
    }
    Ok(heard)
}

/// Waits until something is heard; false if it is `end` by then.
fn wait(ears: &[Ear<'_>], end: Instant) -> Result<bool> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() || ears.is_empty() {
        return Ok(false);
    }
    let sockets = ears.iter().flat_map(|e| &e.sockets);
    let mut all: Vec<PollFd<'_>> = sockets.map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)).collect();
    let timeout = PollTimeout::try_from(left.as_millis() as i32 + 1).unwrap_or(PollTimeout::ZERO);
    match poll(&mut all, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(true),
        Err(e) => Err(Error::os("wait for", "answers to address probes", io::Error::from(e))),
    }
}

impl<'a> Ear<'a> {
    fn new(asked: &'a Probe, index: u32, mac: [u8; 6], address: Option<Ipv4Addr>) -> Result<Self> {
        let fail = |e: Errno| Error::os("ask for addresses on", &asked.interface, io::Error::from(e));
        let open = |protocol: i32| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None).map_err(fail)?;
            bind(socket.as_raw_fd(), &packet_address(index, protocol as u16)).map_err(fail)?;
            Ok(socket)
        };
        let has = |ipv6: bool| asked.addresses.iter().any(|a| a.is_ipv6() == ipv6);
        let protocols = [(has(false), libc::ETH_P_ARP), (has(true), libc::ETH_P_IPV6)];
        let needed = protocols.into_iter().filter(|(needed, _)| *needed);
        let sockets: Result<Vec<OwnedFd>> = needed.map(|(_, protocol)| open(protocol)).collect();
        Ok(Self {
            asked,
            index,
            mac,
            address,
            sockets: sockets?,
        })
    }

    /// As nobody in particular, so that no neighbour learns anything by it; but once as the host, where that has an address:
    /// who answers by proxy doesn't answer nobody.
    fn ask(&self, round: u32) -> Result<()> {
        let sender = self.address.filter(|_| round == AS_HOST);
        let Some(socket) = self.sockets.first() else {
            return Ok(());
        };
        for address in &self.asked.addresses {
            let sent = sendto(
                socket.as_raw_fd(),
                &question(self.mac, sender.unwrap_or(Ipv4Addr::UNSPECIFIED), *address),
                &packet_address(self.index, 0),
                MsgFlags::empty(),
            );
            match sent {
                // Its cable is out, or it isn't up: there is nobody.
                Ok(_) | Err(Errno::ENETDOWN | Errno::ENOBUFS | Errno::EAGAIN) => {}
                Err(e) => {
                    return Err(Error::os(
                        "ask for addresses on",
                        &self.asked.interface,
                        io::Error::from(e),
                    ));
                }
            }
        }
        Ok(())
    }

    /// What has been heard until now, from others than this host and the VE itself. All of them ask from the interface's
    /// own hardware address, whatever VE it is for.
    fn answers(&self) -> Vec<(IpAddr, [u8; 6])> {
        let mut all = Vec::new();
        let mut frame = [0_u8; 256];
        for socket in &self.sockets {
            for _ in 0..AT_ONCE {
                let Ok(length) = recv(socket.as_raw_fd(), &mut frame, MsgFlags::MSG_TRUNC) else {
                    break;
                };
                let frame = frame.get(..length.min(256)).unwrap_or_default();
                let heard = answer(frame).or_else(|| rival(frame).filter(|_| self.asked.rivals));
                let of_others = |(address, mac): &(IpAddr, [u8; 6])| {
                    self.asked.addresses.contains(address) && *mac != self.mac && Some(*mac) != self.asked.own
                };
                all.extend(heard.filter(of_others));
            }
        }
        all
    }
}

/// "Has somebody this address?" In IPv6 from nobody in particular.
fn question(mac: [u8; 6], sender: Ipv4Addr, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => {
            let parts = [
                &BROADCAST[..],
                &mac,
                &ETHERTYPE_ARP,
                &ARP_HEAD,
                &[1],
                &mac,
                &sender.octets(),
                &[0; 6],
            ];
            [&parts.concat()[..], &address.octets()].concat()
        }
        IpAddr::V6(address) => {
            let [.., a, b, c] = address.octets();
            let to = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
            let message = [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &address.octets()].concat();
            icmpv6([0x33, 0x33, 0xff, a, b, c], mac, Ipv6Addr::UNSPECIFIED, to, message)
        }
    }
}

/// Who says in this frame that he has which address.
fn answer(frame: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    if frame.get(12..14)? == ETHERTYPE_ARP {
        let sender = arp_address(frame, SENDER)?;
        return (!sender.is_unspecified()).then_some((sender.into(), arp_sender(frame)?));
    }
    target(frame, ADVERTISEMENT)
}

/// Who asks in this frame, as we do, whether somebody has which address.
fn rival(frame: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    if frame.get(12..14)? == ETHERTYPE_ARP {
        let is_probe = arp_address(frame, SENDER)?.is_unspecified();
        return is_probe.then_some((arp_address(frame, TARGET)?.into(), arp_sender(frame)?));
    }
    let from: [u8; 16] = frame.get(PAYLOAD + 8..PAYLOAD + 24)?.try_into().ok()?;
    let heard = target(frame, SOLICITATION);
    heard.filter(|_| Ipv6Addr::from(from).is_unspecified())
}

fn arp_address(frame: &[u8], at: usize) -> Option<Ipv4Addr> {
    let address: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
    Some(address.into())
}

fn arp_sender(frame: &[u8]) -> Option<[u8; 6]> {
    frame.get(PAYLOAD + 8..PAYLOAD + 14)?.try_into().ok()
}

/// The target of a message of this type of neighbour discovery, and who sends it.
fn target(frame: &[u8], kind: u8) -> Option<(IpAddr, [u8; 6])> {
    let from = frame.get(6..12)?.try_into().ok()?;
    let is_it = *frame.get(PAYLOAD + 6)? == 58 && *frame.get(ICMPV6)? == kind;
    let target: [u8; 16] = frame.get(ICMPV6 + 8..ICMPV6 + 24)?.try_into().ok()?;
    is_it.then(|| (Ipv6Addr::from(target).into(), from))
}
