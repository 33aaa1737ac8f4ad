//! The elements of ports of the host that lead to VEs: one for each port, in maps from what a packet asks for to where it
//! goes. No interval: a range of ports can then lead to others one by one, which nft's own ranges can't, and one look in
//! a hash table tells, on every kernel. Whose an element is stands in its comment, as no interface is in its key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hostel_model::definition::Protocol;
use hostel_model::forward::{Listen, PortForward, Ports};

use super::Member;
use super::keys::{Key, Set};

/// IPPROTO_TCP and IPPROTO_UDP.
const NUMBERS: [(Protocol, u8); 2] = [(Protocol::Tcp, 6), (Protocol::Udp, 17)];
/// A protocol and a port, each padded to four bytes.
const TAIL: usize = 8;

/// All keys of a member's forwards.
pub(super) fn keys(member: &Member) -> Vec<Key> {
    let name = &member.interface;
    let singles = member.forwards.iter().flat_map(|f| f.singles());
    let mut keys: Vec<Key> = singles.map(|forward| key(name, &forward)).collect();
    // What a port of a bridge sends to itself comes back to the bridge, which the rules know.
    if member.port.is_none() {
        let hairpin = member.hairpin.iter().map(|address| match address {
            IpAddr::V4(a) => Key::new(Set::Hairpin4, name, &a.octets()),
            IpAddr::V6(a) => Key::new(Set::Hairpin6, name, &a.octets()),
        });
        keys.extend(hairpin);
    }
    keys
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn port(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn key(owner: &str, forward: &PortForward) -> Key {
    let Listen { address, ports } = forward.listen;
    let number = NUMBERS
        .iter()
        .find(|(p, _)| *p == forward.protocol)
        .map_or(0, |(_, n)| *n);
    let set = match (address.is_some(), forward.target.is_ipv6()) {
        (true, false) => Set::Forward4,
        (true, true) => Set::Forward6,
        (false, false) => Set::ForwardAny4,
        (false, true) => Set::ForwardAny6,
    };
    Key {
        end: Vec::new(),
        set,
        bytes: [
            address.map(octets).unwrap_or_default(),
            vec![number, 0, 0, 0],
            port(ports.first()).to_vec(),
        ]
        .concat(),
        data: [octets(forward.target), port(forward.to).to_vec()].concat(),
        owner: owner.to_owned(),
    }
}

/// An address and a port.
fn read_socket(bytes: &[u8]) -> Option<SocketAddr> {
    let (address, port) = bytes.split_last_chunk::<4>()?;
    let address = match address.len() {
        4 => Ipv4Addr::from_octets(address.try_into().ok()?).into(),
        16 => Ipv6Addr::from_octets(address.try_into().ok()?).into(),
        _ => return None,
    };
    let [high, low, ..] = *port;
    Some(SocketAddr::new(address, u16::from_be_bytes([high, low])))
}

/// The forward that a key is.
pub(super) fn read(key: &Key) -> Option<PortForward> {
    let (address, tail) = key.bytes.split_last_chunk::<TAIL>()?;
    let [number, _, _, _, high, low, ..] = *tail;
    let ports = Ports::one(u16::from_be_bytes([high, low]))?;
    let address = match address {
        [] => None,
        address => Some(crate::net::read_address(address)?),
    };
    let target = read_socket(&key.data)?;
    Some(PortForward {
        protocol: NUMBERS.iter().find(|(_, n)| *n == number).map(|(p, _)| *p)?,
        listen: Listen { address, ports },
        target: target.ip(),
        to: target.port(),
    })
}

/// The element as nft writes it.
pub(super) fn text(key: &Key) -> Option<String> {
    let PortForward {
        protocol,
        listen,
        target,
        to,
    } = read(key)?;
    let address = listen.address.map(|a| format!("{a} . ")).unwrap_or_default();
    let comment = match key.owner.as_str() {
        "" => String::new(),
        owner => format!(" comment \"{owner}\""),
    };
    Some(format!(
        "{address}{protocol} . {}{comment} : {target} . {to}",
        listen.ports
    ))
}

#[cfg(test)]
mod tests {
    use super::super::keys::{keys, members};
    use super::*;

    #[test]
    fn a_key_has_nfts_layout_and_reads_back() {
        let forwards = [
            "tcp 203.0.113.1:80 to 10.77.0.5:8080",
            "udp [2001:db8::1]:53 to [fd77::5]:53",
            "tcp :443 to 10.77.0.5:443",
            "tcp :443 to [fd77::5]:443",
        ];
        let member = Member {
            interface: "hv101.0".into(),
            addresses: vec!["10.77.0.5".parse().unwrap(), "fd77::5".parse().unwrap()],
            mac: [2, 0, 0, 0, 1, 5],
            forwards: forwards.map(|f| f.to_owned().try_into().unwrap()).to_vec(),
            hairpin: vec!["10.77.0.5".parse().unwrap(), "fd77::5".parse().unwrap()],
            ..Member::default()
        };
        let keys = keys(&member);
        let first = keys.iter().find(|k| k.set == Set::Forward4).unwrap();
        assert_eq!(first.bytes, [203, 0, 113, 1, 6, 0, 0, 0, 0, 80, 0, 0]);
        assert_eq!(first.data, [10, 77, 0, 5, 0x1f, 0x90, 0, 0]);
        assert_eq!(
            first.text(),
            "203.0.113.1 . tcp . 80 comment \"hv101.0\" : 10.77.0.5 . 8080"
        );
        assert_eq!(members(&keys), [member]);
    }

    #[test]
    fn a_range_is_an_element_each() {
        let member = Member {
            interface: "hv101.0".into(),
            forwards: vec!["tcp :8000-8010 to 10.77.0.5:80".to_owned().try_into().unwrap()],
            ..Member::default()
        };
        let last = keys(&member).into_iter().rfind(|k| k.set == Set::ForwardAny4);
        assert_eq!(last.unwrap().text(), "tcp . 8010 comment \"hv101.0\" : 10.77.0.5 . 90");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, data: Vec<u8>) {
            let key = Key { set: Set::Forward4, bytes, end: Vec::new(), data, owner: String::new() };
            let _ = (read(&key), text(&key));
        }
    }
}
