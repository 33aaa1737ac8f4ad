//! The sets that hold members, and their elements.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

pub(super) use super::sets::{Family, Set};
use super::{Member, PortRules, forward};
use crate::net::{check, read_address};

/// An interface's name in a key: IFNAMSIZ.
pub(super) const NAME: usize = 16;
/// What a frame says after whom it is for: who sends it, and its protocol.
const FRAME: usize = 8;

/// The key of an element: the interface's name padded with zeros, and the value in network order (a mark: in the host's),
/// each padded to 4 bytes (nft's layout of a concatenation). In a map, `data` is what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub set: Set,
    pub bytes: Vec<u8>,
    /// The last key, if the element is a range; else empty.
    pub end: Vec<u8>,
    pub data: Vec<u8>,
    /// The interface it belongs to, where that isn't in the key.
    pub owner: String,
}

impl Key {
    pub fn new(set: Set, interface: &str, value: &[u8]) -> Self {
        let mut bytes = interface.as_bytes().to_vec();
        bytes.resize(NAME, 0);
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        Self {
            set,
            bytes,
            end: Vec::new(),
            data: Vec::new(),
            owner: String::new(),
        }
    }

    /// Of all sources in a prefix.
    fn prefix(interface: &str, prefix: IpNetwork) -> Self {
        let set = if prefix.is_ipv6() { Set::Routes6 } else { Set::Routes4 };
        let one = |address: IpAddr| match address {
            IpAddr::V4(a) => Self::new(set, interface, &a.octets()),
            IpAddr::V6(a) => Self::new(set, interface, &a.octets()),
        };
        Self {
            end: one(prefix.broadcast()).bytes,
            ..one(prefix.network())
        }
    }

    /// The prefix that it is of.
    fn route(&self) -> Option<IpNetwork> {
        let (first, last) = (self.value(), self.end.get(NAME..)?);
        let differ = first.iter().zip(last).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
        let length = u32::try_from(first.len() * 8).ok()?.checked_sub(differ)?;
        IpNetwork::new(read_address(first)?, u8::try_from(length).ok()?).ok()
    }

    /// Is it a port that leads somewhere, and nobody's?
    pub fn is_stray(&self) -> bool {
        self.set.is_forward() && self.owner.is_empty()
    }

    /// The interface it belongs to.
    pub fn interface(&self) -> String {
        if self.set.has_owners() {
            return self.owner.clone();
        }
        let name = self.bytes.get(..NAME).unwrap_or_default();
        String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()
    }

    fn value(&self) -> &[u8] {
        self.bytes.get(NAME..).unwrap_or_default()
    }

    fn mac(&self) -> Option<[u8; 6]> {
        self.value().get(..6)?.try_into().ok()
    }

    /// The mark that is the value, or the data in a map.
    fn mark(&self) -> Option<u32> {
        let bytes = if self.set == Set::Sides {
            &self.data[..]
        } else {
            self.value()
        };
        bytes.try_into().ok().map(u32::from_ne_bytes)
    }

    /// The element as nft writes it.
    pub fn text(&self) -> String {
        let name = format!("\"{}\"", self.interface());
        let value = match self.set {
            Set::Links | Set::ArpLinks | Set::PortLinks => self.mac().map(check::mac_text),
            Set::Ve4 | Set::Arp4 | Set::Port4 | Set::Ve6 | Set::Port6 | Set::Hairpin4 | Set::Hairpin6 => {
                read_address(self.value()).map(|a| a.to_string())
            }
            Set::Forward4 | Set::Forward6 | Set::ForwardAny4 | Set::ForwardAny6 => {
                return forward::text(self).unwrap_or_default();
            }
            Set::Near4 | Set::Near6 | Set::VeMacs => {
                let address = match self.set {
                    Set::VeMacs => self.bytes[..].try_into().ok().map(check::mac_text),
                    _ => read_address(&self.bytes).map(|a| a.to_string()),
                };
                return format!("{} comment {name}", address.unwrap_or_default());
            }
            Set::Nd6 | Set::PortNd => Some(hex(self.value())),
            Set::Sources4 | Set::Sources6 | Set::PortSources4 | Set::PortSources6 => {
                let (frame, address) = self.value().split_at_checked(FRAME).unwrap_or_default();
                read_address(address).map(|a| format!("{} . {a}", hex(frame)))
            }
            Set::Routes4 | Set::Routes6 => self.route().map(|p| p.to_string()),
            Set::PortNdMac => self.value().get(..6).map(hex),
            Set::Peers => self.mark().map(|m| m.to_string()),
            Set::Sides => return format!("{name} : {}", self.mark().unwrap_or(0)),
            Set::AnyMac | Set::AnyIp | Set::DhcpServers | Set::DhcpClients | Set::Routers | Set::HearsRa => None,
        };
        value.map_or_else(|| name.clone(), |value| format!("{name} . {value}"))
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("0x{digits}")
}

/// The link-local address that a kernel gives an interface by itself (RFC 4291, appendix A).
pub(super) fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// All keys of a member.
pub(super) fn keys(member: &Member) -> Vec<Key> {
    let name = &member.interface;
    let [links, v4, v6, nd] = match &member.port {
        None => [Set::Links, Set::Ve4, Set::Ve6, Set::Nd6],
        Some(_) => [Set::PortLinks, Set::Port4, Set::Port6, Set::PortNd],
    };
    let mut keys = vec![Key::new(links, name, &member.mac)];
    keys.extend(member.addresses.iter().map(|a| source(member, *a)));
    let of_v6 = |a: Ipv6Addr| [Key::new(v6, name, &a.octets()), Key::new(nd, name, &a.octets())];
    for address in &member.addresses {
        match address {
            IpAddr::V4(a) => {
                keys.push(Key::new(v4, name, &a.octets()));
                keys.extend(member.port.is_none().then(|| Key::new(Set::Arp4, name, &a.octets())));
            }
            IpAddr::V6(a) => keys.extend(of_v6(*a)),
        }
    }
    if member.port.is_none() {
        keys.push(Key::new(Set::ArpLinks, name, &member.mac));
        keys.extend(member.routes.iter().map(|p| Key::prefix(name, *p)));
    }
    if let Some(port) = &member.port {
        keys.extend(member.addresses.iter().map(|a| near(name, *a)));
        keys.push(owned(Set::VeMacs, name, member.mac.to_vec()));
        keys.extend(of_v6(link_local(member.mac)));
        keys.extend(port_keys(name, member.mac, port));
    }
    keys.extend(forward::keys(member));
    keys
}

/// All that a packet from an address of its has to be, in one key.
fn source(member: &Member, address: IpAddr) -> Key {
    let bridged = member.port.is_some();
    let (set, protocol, octets) = match address {
        IpAddr::V4(a) => (
            if bridged { Set::PortSources4 } else { Set::Sources4 },
            libc::ETH_P_IP,
            a.octets().to_vec(),
        ),
        IpAddr::V6(a) => (
            if bridged { Set::PortSources6 } else { Set::Sources6 },
            libc::ETH_P_IPV6,
            a.octets().to_vec(),
        ),
    };
    let frame = [&member.mac[..], &(protocol as u16).to_be_bytes()].concat();
    Key::new(set, &member.interface, &[frame, octets].concat())
}

/// An address that is on a bridge.
fn near(owner: &str, address: IpAddr) -> Key {
    match address {
        IpAddr::V4(a) => owned(Set::Near4, owner, a.octets().to_vec()),
        IpAddr::V6(a) => owned(Set::Near6, owner, a.octets().to_vec()),
    }
}

/// Something that belongs to an interface, whose name isn't in it.
fn owned(set: Set, owner: &str, bytes: Vec<u8>) -> Key {
    Key {
        set,
        bytes,
        end: Vec::new(),
        data: Vec::new(),
        owner: owner.to_owned(),
    }
}

fn port_keys(name: &str, mac: [u8; 6], port: &PortRules) -> Vec<Key> {
    let side = port.side.to_ne_bytes();
    let flags = [
        (Set::AnyMac, port.any_mac),
        (Set::AnyIp, port.any_ip),
        (Set::DhcpServers, port.dhcp_server),
        (Set::DhcpClients, port.dhcp_client),
        (Set::Routers, port.router),
        (Set::HearsRa, port.hears_ra),
    ];
    let flags = flags.into_iter().filter(|(_, on)| *on);
    let mut keys: Vec<Key> = flags.map(|(set, _)| Key::new(set, name, &[])).collect();
    keys.push(Key::new(Set::PortNdMac, name, &mac));
    keys.push(Key::new(Set::Peers, name, &side));
    keys.push(Key {
        data: side.to_vec(),
        ..Key::new(Set::Sides, name, &[])
    });
    keys
}

/// The members that these keys make, in order of interface; without what is nobody's. An interface without a MAC has one of all zeros, which
/// no frame comes from.
pub(super) fn members<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Vec<Member> {
    let mut members = BTreeMap::new();
    // One that only says where somebody is makes no member.
    for key in keys.into_iter().filter(|k| !k.set.is_near() && !k.is_stray()) {
        let interface = key.interface();
        let new = || Member {
            interface: interface.clone(),
            ..Member::default()
        };
        let member: &mut Member = members.entry(interface.clone()).or_insert_with(new);
        match key.set {
            Set::Links | Set::PortLinks => member.mac = key.mac().unwrap_or_default(),
            Set::Ve4 | Set::Ve6 | Set::Port4 | Set::Port6 => {
                // The one that every port has is nothing that somebody gave it.
                let own = read_address(key.value()).filter(|a| !is_link_local(*a));
                member.addresses.extend(own);
            }
            Set::Routes4 | Set::Routes6 => member.routes.extend(key.route()),
            Set::Nd6 | Set::Near4 | Set::Near6 | Set::VeMacs => {}
            // The same as in the other sets.
            Set::ArpLinks | Set::Arp4 => {}
            Set::Sources4 | Set::Sources6 | Set::PortSources4 | Set::PortSources6 => {}
            Set::Hairpin4 | Set::Hairpin6 => member.hairpin.extend(read_address(key.value())),
            set if set.is_forward() => member.forwards.extend(forward::read(key)),
            set => {
                let port = member.port.get_or_insert_default();
                match set {
                    Set::AnyMac => port.any_mac = true,
                    Set::AnyIp => port.any_ip = true,
                    Set::DhcpServers => port.dhcp_server = true,
                    Set::DhcpClients => port.dhcp_client = true,
                    Set::Routers => port.router = true,
                    Set::HearsRa => port.hears_ra = true,
                    _ => port.side = key.mark().unwrap_or(port.side),
                }
            }
        }
    }
    let mut members: Vec<Member> = members.into_values().collect();
    for member in &mut members {
        member.addresses.sort_unstable();
        member.routes.sort_unstable();
    }
    members
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => Ipv4Addr::is_link_local(&a),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(port: Option<PortRules>) -> Member {
        Member {
            interface: "hv101.0".into(),
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            routes: Vec::new(),
            mac: [2, 0, 0, 0, 1, 5],
            port,
            ..Member::default()
        }
    }

    #[test]
    fn a_key_has_nfts_layout() {
        let keys = keys(&member(None));
        let lengths: Vec<usize> = keys.iter().map(|k| k.bytes.len()).collect();
        assert_eq!(lengths, [24, 28, 40, 20, 20, 32, 32, 24]);
        assert_eq!(&keys[3].bytes, b"hv101.0\0\0\0\0\0\0\0\0\0\xc0\x00\x02\x01");
        assert_eq!(keys[1].text(), "\"hv101.0\" . 0x0200000001050800 . 192.0.2.1");
        assert_eq!(keys[2].text(), "\"hv101.0\" . 0x02000000010586dd . 2001:db8::1");
        assert_eq!(keys[0].interface(), "hv101.0");
        assert_eq!(members(&keys), [member(None)]);
    }

    #[test]
    fn a_prefix_is_a_range_and_reads_back() {
        let routes = ["198.51.100.64/28", "203.0.113.1/32", "2001:db8:5::/64"];
        let behind = Member {
            routes: routes.iter().map(|p| p.parse().unwrap()).collect(),
            ..member(None)
        };
        let keys = keys(&behind);
        assert_eq!(keys[8].text(), "\"hv101.0\" . 198.51.100.64/28");
        assert_eq!(&keys[8].end[NAME..], [198, 51, 100, 79]);
        assert_eq!(members(&keys), [behind]);
    }

    #[test]
    fn a_port_is_told_from_a_link_and_keeps_what_it_may() {
        for n in 0..64_u32 {
            let rules = PortRules {
                side: 0xfedc_ba00 + n,
                any_mac: n & 1 != 0,
                any_ip: n & 2 != 0,
                dhcp_server: n & 4 != 0,
                router: n & 8 != 0,
                hears_ra: n & 16 != 0,
                dhcp_client: n & 32 != 0,
            };
            let port = member(Some(rules));
            let keys = keys(&port);
            let (near, own): (Vec<_>, Vec<_>) = keys.iter().partition(|k| k.set.is_near());
            assert!(own.iter().all(|k| k.set.family() == Family::Bridge), "{keys:?}");
            assert_eq!(near.len(), 3);
            assert_eq!(near[2].text(), "02:00:00:00:01:05 comment \"hv101.0\"");
            assert_eq!(members(&keys), [port]);
        }
        let local = link_local([2, 0x68, 0, 0, 0x65, 0]);
        assert_eq!(local.to_string(), "fe80::68:ff:fe00:6500");
    }
}
