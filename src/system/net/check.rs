//! What may be handed to the kernel: checked here, before anything is touched.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::{ALIAS_PREFIX, BRIDGE_ALIAS_PREFIX, Bridge, Link, Shape};
use crate::error::{Error, Kind, Result};

/// The longest name of an interface (IFNAMSIZ less the final zero).
const NAME_MAX: usize = 15;
/// The longest alias (IFALIASZ less the final zero).
const ALIAS_MAX: usize = 255;
/// The smallest MTU that carries IPv6 (RFC 8200), and the largest of a veth.
const MTU: std::ops::RangeInclusive<u32> = 1280..=65535;

/// What to do about an address that isn't ours to route.
pub(super) const ELSEWHERE: &str =
    "the address is routed elsewhere already: see \"ip route\", and \"hostel audit\" for what is left over";

fn wrong(act: &'static str, object: impl std::fmt::Display, why: impl Into<String>) -> Error {
    Error::new(act, object, why.into()).kind(Kind::Invalid)
}

/// Checks the name of an interface: 1 to 15 characters of `a-z 0-9 . _ -`, a letter first. So it is safe in a path
/// of /proc/sys and in a ruleset.
pub fn interface_name(name: &str) -> Result<()> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    if first && rest && name.len() <= NAME_MAX {
        return Ok(());
    }
    let why = format!("an interface name has 1 to {NAME_MAX} characters of a-z, 0-9, '.', '_' and '-', a letter first");
    Err(wrong("accept interface name", format!("\"{name}\""), why))
}

/// Checks the prefix of interface names: 1 to 7 characters (so that a VE's id and ".0" fit behind it), a letter
/// first and no digit last (or the prefix "hv2" would claim VE 2101 of the prefix "hv").
pub fn prefix(prefix: &str) -> Result<()> {
    let act = "accept interface prefix";
    interface_name(prefix).map_err(|e| wrong(act, format!("\"{prefix}\""), chain(&e)))?;
    if prefix.len() > 7 {
        return Err(wrong(act, format!("\"{prefix}\""), "it is longer than 7 characters"));
    }
    if prefix.ends_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(wrong(act, format!("\"{prefix}\""), "it ends with a digit or a dot"));
    }
    Ok(())
}

fn chain(e: &Error) -> String {
    std::error::Error::source(e).map_or_else(|| e.to_string(), ToString::to_string)
}

/// Is `name` made of `prefix`, a VE's id, a dot and a number?
pub fn belongs(name: &str, prefix: &str) -> bool {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    name.strip_prefix(prefix)
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(id, n)| digits(id) && digits(n))
}

/// Is `name` made of `prefix`, a VE's id, and ".i" or ".o"?
pub fn is_shaper(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix).and_then(|rest| rest.split_once('.'));
    rest.is_some_and(|(id, end)| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) && matches!(end, "i" | "o"))
}

/// Checks limits of traffic.
pub fn shape(shape: &Shape) -> Result<()> {
    alias(&shape.alias, ALIAS_PREFIX, &shape.inward.device)?;
    for direction in [&shape.inward, &shape.outward] {
        interface_name(&direction.device)?;
        direction.links.iter().try_for_each(|(name, _)| interface_name(name))?;
        let own = direction.links.iter().filter_map(|(_, own)| *own);
        if own
            .chain(direction.whole)
            .any(|pace| pace.rate < 8 || pace.burst == Some(0))
        {
            let why = "a limit of nothing at all";
            return Err(wrong("limit what passes", &direction.device, why));
        }
    }
    Ok(())
}

/// Checks that `mac` can be the address of one interface.
pub fn mac(mac: [u8; 6]) -> Result<()> {
    let text = mac_text(mac);
    match mac {
        [0, 0, 0, 0, 0, 0] => Err(wrong("accept MAC address", text, "it is all zero")),
        [first, ..] if first & 1 == 1 => Err(wrong("accept MAC address", text, "it is a group address")),
        _ => Ok(()),
    }
}

/// A MAC address as people write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

/// Checks that `address` can be the address of one VE.
pub fn address(address: IpAddr) -> Result<()> {
    let why = match address {
        IpAddr::V4(a) => v4(a),
        IpAddr::V6(a) => v6(a),
    };
    why.map_or(Ok(()), |why| Err(wrong("accept address", address, why)))
}

fn v4(a: Ipv4Addr) -> Option<&'static str> {
    match a.octets() {
        [0, ..] => Some("addresses in 0.0.0.0/8 mean \"this network\""),
        [127, ..] => Some("it is a loopback address"),
        [169, 254, ..] => Some("it is link-local; the gateway is one of these"),
        [224..=239, ..] => Some("it is a multicast address"),
        [240..=255, ..] => Some("addresses in 240.0.0.0/4 can't be used"),
        _ => None,
    }
}

fn v6(a: Ipv6Addr) -> Option<&'static str> {
    if a.is_unspecified() || a.is_loopback() {
        Some("it is the unspecified or the loopback address")
    } else if a.is_multicast() {
        Some("it is a multicast address")
    } else if a.is_unicast_link_local() {
        Some("it is link-local; the gateway is one of these")
    } else if a.to_ipv4_mapped().is_some() {
        Some("it is an IPv4 address in IPv6 form; write it as IPv4")
    } else {
        None
    }
}

/// Checks a link.
pub fn link(link: &Link) -> Result<()> {
    interface_name(&link.host_name)?;
    interface_name(&link.guest_name)?;
    mac(link.mac)?;
    link.addresses.iter().try_for_each(|a| address(*a))?;
    if let Some(mtu) = link.mtu.filter(|mtu| !MTU.contains(mtu)) {
        let why = format!("it must be {} to {}", MTU.start(), MTU.end());
        return Err(wrong("accept MTU", format!("{mtu} of {}", link.host_name), why));
    }
    if let Some(port) = &link.port {
        interface_name(&port.bridge)?;
    }
    prefixes(&link.routes)?;
    if let Some(uplink) = &link.proxy {
        interface_name(uplink)?;
    }
    alias(&link.alias, ALIAS_PREFIX, &link.host_name)
}

/// Checks that these are prefixes, and nothing more.
pub fn prefixes(prefixes: &[IpNetwork]) -> Result<()> {
    match prefixes.iter().find(|p| p.ip() != p.network()) {
        Some(prefix) => Err(wrong("accept prefix", prefix, "there are bits behind its length")),
        None => Ok(()),
    }
}

fn alias(alias: &str, prefix: &str, of: &str) -> Result<()> {
    let printable = alias.bytes().all(|b| (b' '..=b'~').contains(&b));
    if alias.starts_with(prefix) && printable && alias.len() <= ALIAS_MAX {
        return Ok(());
    }
    let why = format!("it must be printable ASCII, begin with \"{prefix}\" and have at most {ALIAS_MAX} characters");
    Err(wrong("accept alias", format!("{alias:?} of {of}"), why))
}

/// Checks a bridge.
pub fn bridge(bridge: &Bridge) -> Result<()> {
    interface_name(&bridge.name)?;
    let Some(own) = &bridge.own else { return Ok(()) };
    alias(&own.alias, BRIDGE_ALIAS_PREFIX, &bridge.name)?;
    own.addresses.iter().try_for_each(|a| address(a.ip()))?;
    if let Some(mtu) = own.mtu.filter(|mtu| !MTU.contains(mtu)) {
        let why = format!("it must be {} to {}", MTU.start(), MTU.end());
        return Err(wrong("accept MTU", format!("{mtu} of {}", bridge.name), why));
    }
    let Some(uplink) = &own.uplink else { return Ok(()) };
    interface_name(&uplink.name)?;
    let Some(vlan) = &uplink.vlan else { return Ok(()) };
    if !(1..=4094).contains(&vlan.id) {
        return Err(wrong(
            "accept VLAN",
            format!("{} of {}", vlan.id, uplink.name),
            "it must be 1 to 4094",
        ));
    }
    interface_name(&vlan.device)
}

/// Checks all links of a VE, also against each other.
pub fn links(links: &[Link]) -> Result<()> {
    links.iter().try_for_each(link)?;
    let twice = |what: String| Err(wrong("accept links", what, "it is there twice"));
    for (i, a) in links.iter().enumerate() {
        for b in &links[..i] {
            if a.host_name == b.host_name {
                return twice(format!("with host end {}", a.host_name));
            }
            if a.guest_name == b.guest_name {
                return twice(format!("with VE end {}", a.guest_name));
            }
        }
    }
    let mut seen: Vec<IpAddr> = links.iter().flat_map(|l| l.addresses.iter().copied()).collect();
    seen.sort_unstable();
    match seen.windows(2).find(|w| w[0] == w[1]) {
        Some(pair) => twice(format!("with address {}", pair[0])),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Link {
        Link {
            host_name: "hv101.0".into(),
            guest_name: "eth0".into(),
            number: 0,
            mac: [2, 0, 0, 0, 1, 1],
            mtu: None,
            big_tcp: false,
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            routes: Vec::new(),
            alias: "hostel VE 101".into(),
            port: None,
            proxy: None,
        }
    }

    #[test]
    fn names() {
        for name in ["hv101.0", "eth0", "a", "hv999999.0", "abcdefghijklmno"] {
            assert!(interface_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "Eth0",
            "0eth",
            "abcdefghijklmnop",
            "a b",
            "a\"",
            "a;b",
            "a\n",
            "a*",
            "ä",
        ] {
            assert!(interface_name(name).is_err(), "{name:?}");
        }
        for p in ["hv", "hostel", "a", "h-v_"] {
            assert!(prefix(p).is_ok(), "{p}");
        }
        for p in ["", "hv2", "toolongx", "h*", "hv.", "h\"v"] {
            assert!(prefix(p).is_err(), "{p:?}");
        }
        assert!(belongs("hv101.0", "hv") && belongs("hv999999.12", "hv"));
        for name in ["hv", "hv101", "hvc0", "hv101.", "hv.0", "hvx101.0", "eth0", "hv1x.0"] {
            assert!(!belongs(name, "hv"), "{name}");
        }
    }

    #[test]
    fn names_of_queues() {
        for name in ["hv101.i", "hv999999.o"] {
            assert!(
                is_shaper(name, "hv") && interface_name(name).is_ok() && !belongs(name, "hv"),
                "{name}"
            );
        }
        for name in ["hv101.0", "hv.i", "hv101.io", "hv1x.i", "hvx101.i", "hv101"] {
            assert!(!is_shaper(name, "hv"), "{name}");
        }
    }

    #[test]
    fn addresses_that_no_ve_can_have() {
        let bad =
            "0.0.0.0 127.0.0.1 169.254.1.1 224.0.0.1 255.255.255.255 240.0.0.1 :: ::1 ff02::1 fe80::1 ::ffff:192.0.2.1";
        for text in bad.split(' ') {
            assert!(address(text.parse().unwrap()).is_err(), "{text}");
        }
        for text in "10.0.0.1 192.0.2.255 203.0.113.0 2001:db8::1 fd00::1".split(' ') {
            assert!(address(text.parse().unwrap()).is_ok(), "{text}");
        }
    }

    #[test]
    fn whole_links() {
        assert!(links(&[good()]).is_ok());
        let other = Link {
            host_name: "hv101.1".into(),
            guest_name: "eth1".into(),
            addresses: vec![],
            ..good()
        };
        assert!(links(&[good(), other.clone()]).is_ok());
        let bad = [
            Link { mac: [0; 6], ..good() },
            Link {
                mac: [1, 0, 0, 0, 0, 1],
                ..good()
            },
            Link {
                mtu: Some(100),
                ..good()
            },
            Link {
                mtu: Some(70_000),
                ..good()
            },
            Link {
                alias: "mine".into(),
                ..good()
            },
            Link {
                alias: "hostel VE 1\n".into(),
                ..good()
            },
        ];
        for link in bad {
            assert_eq!(
                links(std::slice::from_ref(&link)).unwrap_err().kind,
                Kind::Invalid,
                "{link:?}"
            );
        }
        assert!(
            links(&[
                good(),
                Link {
                    guest_name: "eth0".into(),
                    ..other.clone()
                }
            ])
            .is_err()
        );
        assert!(
            links(&[
                good(),
                Link {
                    host_name: "hv101.0".into(),
                    ..other.clone()
                }
            ])
            .is_err()
        );
        assert!(
            links(&[
                good(),
                Link {
                    addresses: good().addresses,
                    ..other
                }
            ])
            .is_err()
        );
    }
}
