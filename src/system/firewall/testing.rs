//! Frames of our own making for tests: what an honest kernel in a VE would never send.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// In every frame that a test sends, so that a capture knows it.
pub(super) const MARK: &[u8] = b"hostel-test-mark";

pub(super) const ETHERTYPE_V4: u16 = 0x0800;
pub(super) const ETHERTYPE_ARP: u16 = 0x0806;
pub(super) const ETHERTYPE_VLAN: u16 = 0x8100;
pub(super) const ETHERTYPE_V6: u16 = 0x86dd;

/// A packet socket on one interface of the namespace in which it was made.
pub(super) struct Wire(OwnedFd);

impl Wire {
    pub fn new(interface: &str) -> Self {
        let every = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
        // SAFETY: plain system calls; the address is a zeroed, then filled C struct of the length given.
        unsafe {
            let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            let fd = libc::socket(libc::AF_PACKET, flags, i32::from(every));
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            let wire = Self(OwnedFd::from_raw_fd(fd));
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
            address.sll_protocol = every;
            let name = std::ffi::CString::new(interface).unwrap();
            address.sll_ifindex = i32::try_from(libc::if_nametoindex(name.as_ptr())).unwrap();
            let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
            // What this end sends itself isn't wanted: an ICMP error quotes the packet.
            let yes: i32 = 1;
            let option = (&raw const yes).cast();
            assert_eq!(
                libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, option, 4),
                0
            );
            assert_eq!(libc::bind(fd, (&raw const address).cast(), length), 0, "{interface}");
            wire
        }
    }

    pub fn send(&self, frame: &[u8]) {
        let send = || {
            // SAFETY: the buffer is valid for its length.
            let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
            usize::try_from(sent).map_err(|_| std::io::Error::last_os_error())
        };
        let mut sent = send();
        // The socket has no room while what was sent before is still on its way.
        while sent.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock) {
            std::thread::sleep(std::time::Duration::from_millis(1));
            sent = send();
        }
        assert_eq!(sent.unwrap(), frame.len());
    }

    /// The marked frames that came in and haven't been read; each as the text behind the mark.
    pub fn drain(&self) -> Vec<String> {
        let mut seen = Vec::new();
        let mut frame = [0_u8; 2048];
        loop {
            // SAFETY: the buffer is valid for its length.
            let n = unsafe { libc::recv(self.0.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
            let Ok(n) = usize::try_from(n) else { return seen };
            if let Some(at) = frame[..n].windows(MARK.len()).position(|w| w == MARK) {
                let text = &frame[at + MARK.len()..n];
                seen.push(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
            }
        }
    }

    /// Waits until the frame with this text comes; all marked frames up to then.
    pub fn wait_for(&self, text: &str) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(5);
        let mut seen = Vec::new();
        while Instant::now() < end {
            seen.extend(self.drain());
            if seen.iter().any(|s| s == text) {
                return seen;
            }
            std::thread::yield_now();
        }
        panic!("{text:?} never came, only {seen:?}");
    }
}

/// The mark and a text.
pub(super) fn marked(text: &str) -> Vec<u8> {
    [MARK, text.as_bytes()].concat()
}

pub(super) fn ethernet(from: [u8; 6], to: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from[..], &ethertype.to_be_bytes()[..], payload].concat()
}

fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let words = bytes
        .chunks(2)
        .map(|c| u32::from(c[0]) << 8 | u32::from(c.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_be_bytes()
}

/// A UDP datagram without checksum (good for IPv4 only).
pub(super) fn udp(source: u16, target: u16, payload: &[u8]) -> Vec<u8> {
    let size = u16::try_from(8 + payload.len()).unwrap();
    [
        &source.to_be_bytes()[..],
        &target.to_be_bytes(),
        &size.to_be_bytes(),
        &[0, 0],
        payload,
    ]
    .concat()
}

pub(super) fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let size = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut header = vec![0x45, 0, size[0], size[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    [header, payload.to_vec()].concat()
}

pub(super) fn ipv6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length(payload));
    packet.extend([protocol, hops]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

fn with_checksum6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, at: usize, mut payload: Vec<u8>) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let sum = checksum(&[&from.octets(), &to.octets(), &size, &[0, 0, 0, protocol], &payload]);
    payload[at..at + 2].copy_from_slice(&sum);
    payload
}

pub(super) fn udp6(from: Ipv6Addr, to: Ipv6Addr, source: u16, target: u16, payload: &[u8]) -> Vec<u8> {
    ipv6(
        from,
        to,
        17,
        64,
        &with_checksum6(from, to, 17, 6, udp(source, target, payload)),
    )
}

/// An ICMPv6 message of type `kind` with a neighbour discovery body: four bytes, a target, options.
pub(super) fn discovery(from: Ipv6Addr, to: Ipv6Addr, kind: u8, target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let message = [&[kind, 0, 0, 0, 0x60, 0, 0, 0][..], &target.octets(), options].concat();
    ipv6(from, to, 58, 255, &with_checksum6(from, to, 58, 2, message))
}
