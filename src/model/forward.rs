//! Ports of the host that lead to VEs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::definition::Protocol;

/// One port, or all from one to another: `8000-8010`. Never port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// One port; `None` for port 0.
    pub fn one(port: u16) -> Option<Self> {
        Self::new(port, port)
    }

    /// All from one to another; `None` if there is none, or port 0 is among them.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (1..=last).contains(&first).then_some(Self { first, last })
    }

    /// The lowest.
    pub fn first(self) -> u16 {
        self.first
    }

    /// How many they are.
    pub fn count(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }

    /// Is one of them among the others?
    pub fn overlap(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// As many ports from another one on; `None` if they would go beyond the last there is.
    pub fn moved_to(self, first: u16) -> Option<Self> {
        Self::new(first, first.checked_add(self.last - self.first)?)
    }
}

impl FromStr for Ports {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        // Digits alone: parse() takes "+80" too.
        let port = |t: &str| t.parse().ok().filter(|_| t.bytes().all(|b| b.is_ascii_digit()));
        match (port(first), port(last)) {
            (Some(first), Some(last)) => Self::new(first, last),
            _ => None,
        }
        .ok_or_else(|| {
            "a port from 1 to 65535, or a range from the lower to the higher such as \"8000-8010\"".to_owned()
        })
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// What is expected where ports of the host are named.
pub const LISTEN: &str = "an address and a port of the host such as \"203.0.113.1:8080\" or \"[2001:db8::1]:8000-8010\", or a \
    port of all its addresses such as \":8080\"";

/// Ports of one of the host's addresses, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    /// `None`: all of the host's addresses.
    pub address: Option<IpAddr>,
    /// The ports.
    pub ports: Ports,
}

impl FromStr for Listen {
    type Err = String;
    /// The error is what is expected instead.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || LISTEN.to_owned();
        let Some((address, ports)) = text.rsplit_once(':') else {
            let ports = text.parse().map_err(|_| expected())?;
            return Ok(Self { address: None, ports });
        };
        let ports = ports.parse().map_err(|_| expected())?;
        let address = match address.strip_prefix('[').map(|a| a.strip_suffix(']')) {
            _ if address.is_empty() => return Ok(Self { address: None, ports }),
            Some(Some(v6)) => v6.parse().map(IpAddr::V6),
            // Without brackets, where the address ends and the port begins is a guess.
            _ => address.parse().map(IpAddr::V4),
        }
        .map_err(|_| expected())?;
        if address.is_unspecified() {
            return Err(format!("\":{ports}\" for all of the host's addresses"));
        }
        if !is_hosts(address) {
            return Err(format!(
                "an address of the host that others reach, unlike {address}: neither loopback, link-local nor multicast"
            ));
        }
        Ok(Self {
            address: Some(address),
            ports,
        })
    }
}

/// Can it be an address that a host is reached by from elsewhere?
fn is_hosts(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(a) => a.is_link_local() || a.is_broadcast() || a.octets()[0] == 0,
        IpAddr::V6(a) => a.is_unicast_link_local() || a.to_ipv4_mapped().is_some(),
    };
    !(local || address.is_loopback() || address.is_multicast())
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.address {
            None => format!(":{}", self.ports),
            Some(IpAddr::V4(address)) => format!("{address}:{}", self.ports),
            Some(IpAddr::V6(address)) => format!("[{address}]:{}", self.ports),
        };
        f.pad(&text)
    }
}

impl Serialize for Listen {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A forward as it is in force: ports of the host, of one family, and whereto in a VE. Text of it, as in a record:
/// `tcp 203.0.113.1:8000-8010 to 10.77.0.5:80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PortForward {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The ports of the host; of the target's family.
    pub listen: Listen,
    /// An address of a VE.
    pub target: IpAddr,
    /// The port there that the first one leads to; the others follow.
    pub to: u16,
}

impl PortForward {
    /// Would a packet have to go both ways?
    pub fn clashes(&self, other: &Self) -> bool {
        let same = |a: Option<IpAddr>, b: Option<IpAddr>| a.is_none() || b.is_none() || a == b;
        self.protocol == other.protocol
            && self.target.is_ipv6() == other.target.is_ipv6()
            && self.listen.ports.overlap(other.listen.ports)
            && same(self.listen.address, other.listen.address)
    }

    /// The same, a port each.
    pub fn singles(self) -> impl Iterator<Item = Self> {
        let Ports { first, last } = self.listen.ports;
        let one = move |port: u16| Self {
            listen: Listen {
                ports: Ports {
                    first: port,
                    last: port,
                },
                ..self.listen
            },
            // Who made it has seen to it that there are as many.
            to: self.to.saturating_add(port - first),
            ..self
        };
        (first..=last).map(one)
    }
}

impl fmt::Display for PortForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = SocketAddr::new(self.target, self.to);
        write!(f, "{} {} to {target}", self.protocol, self.listen)
    }
}

impl From<PortForward> for String {
    fn from(forward: PortForward) -> Self {
        forward.to_string()
    }
}

impl TryFrom<String> for PortForward {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no forward such as \"tcp 203.0.113.1:8080 to 10.77.0.5:80\"");
        let parts: Vec<&str> = text.split(' ').collect();
        let [protocol, listen, "to", target] = parts[..] else {
            return Err(wrong());
        };
        let target: SocketAddr = target.parse().map_err(|_| wrong())?;
        let forward = Self {
            protocol: protocol.parse().map_err(|_| wrong())?,
            listen: listen.parse().map_err(|_| wrong())?,
            target: target.ip(),
            to: target.port(),
        };
        let families = forward.listen.address.is_none_or(|a| a.is_ipv4() == target.is_ipv4());
        let fits = forward.listen.ports.moved_to(forward.to).is_some();
        if families && fits { Ok(forward) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listen(text: &str) -> Listen {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn forward(text: &str) -> PortForward {
        text.to_owned().try_into().unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn ports_of_the_host() {
        assert_eq!(listen("203.0.113.1:8080").to_string(), "203.0.113.1:8080");
        assert_eq!(listen("[2001:db8:0::1]:80-90").to_string(), "[2001:db8::1]:80-90");
        for all in ["8080", ":8080"] {
            assert_eq!(listen(all).to_string(), ":8080");
        }
        assert_eq!(listen("1-65535").ports.count(), 65535);
        for bad in [
            "",
            ":",
            "x",
            "0",
            ":0",
            "65536",
            "9-8",
            "0-1",
            "+80",
            "-80",
            "80-",
            "1-2-3",
            "203.0.113.1",
            "203.0.113.1:",
            "2001:db8::1:80",
            "[2001:db8::1]",
            "[2001:db8::1:80",
            "[203.0.113.1]:80",
            "host:80",
            "203.0.113.1/32:80",
            " :80",
        ] {
            assert_eq!(bad.parse::<Listen>().unwrap_err(), LISTEN, "{bad}");
        }
        for (bad, word) in [
            ("0.0.0.0:80", "\":80\""),
            ("[::]:80-81", "\":80-81\""),
            ("127.0.0.1:80", "loopback"),
            ("[::1]:80", "loopback"),
            ("169.254.1.1:80", "link-local"),
            ("[fe80::1]:80", "link-local"),
            ("224.0.0.1:80", "multicast"),
            ("255.255.255.255:80", "255"),
            ("[::ffff:203.0.113.1]:80", "::ffff"),
        ] {
            let said = bad.parse::<Listen>().unwrap_err();
            assert!(said.contains(word), "{bad}: {said}");
        }
    }

    #[test]
    fn as_many_ports_or_none() {
        let ports: Ports = "8000-8010".parse().unwrap();
        assert_eq!(ports.moved_to(80).unwrap().to_string(), "80-90");
        assert!(ports.moved_to(65525).is_some() && ports.moved_to(65526).is_none() && ports.moved_to(0).is_none());
    }

    #[test]
    fn what_clashes() {
        let one = forward("tcp 203.0.113.1:8000-8010 to 10.77.0.5:80");
        for (other, clashes) in [
            ("tcp 203.0.113.1:8010 to 10.77.0.9:1", true),
            ("tcp :8005 to 10.77.0.9:1", true),
            ("tcp 203.0.113.1:8011 to 10.77.0.9:1", false),
            ("tcp 203.0.113.2:8005 to 10.77.0.9:1", false),
            ("udp 203.0.113.1:8005 to 10.77.0.9:1", false),
            ("tcp :8005 to [2001:db8::9]:1", false),
        ] {
            let other = forward(other);
            assert_eq!(
                (one.clashes(&other), other.clashes(&one)),
                (clashes, clashes),
                "{other}"
            );
        }
    }

    #[test]
    fn a_range_leads_port_by_port() {
        let all: Vec<String> = forward("udp [2001:db8::1]:8000-8002 to [fd00::5]:90")
            .singles()
            .map(|f| f.to_string())
            .collect();
        assert_eq!(
            all,
            [
                "udp [2001:db8::1]:8000 to [fd00::5]:90",
                "udp [2001:db8::1]:8001 to [fd00::5]:91",
                "udp [2001:db8::1]:8002 to [fd00::5]:92",
            ]
        );
    }

    prop_compose! {
        fn any_forward()(udp: bool, v6: bool, address: Option<(u8, u8)>, first in 1..500_u16, more in 0..20_u16, to in 1..60_000_u16,
            host: u8) -> PortForward {
            let ip = |a: u8, b: u8| match v6 {
                true => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, a.into(), b.into()]),
                false => IpAddr::from([198, 51, a, b]),
            };
            PortForward {
                protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
                listen: Listen { address: address.map(|(a, b)| ip(a % 2, b % 2)), ports: Ports { first, last: first + more } },
                target: ip(9, host),
                to,
            }
        }
    }

    proptest! {
        #[test]
        fn its_text_reads_back(f in any_forward()) {
            prop_assert_eq!(forward(&f.to_string()), f);
        }

        #[test]
        fn nothing_typed_panics(text: String) {
            let _ = text.parse::<Listen>();
            let _ = PortForward::try_from(text);
        }

        // Two clash if some packet would find both.
        #[test]
        fn clashes_are_shared_ports(a in any_forward(), b in any_forward()) {
            let shares = a.singles().any(|one| b.singles().any(|two| {
                let addresses = one.listen.address.zip(two.listen.address).is_none_or(|(x, y)| x == y);
                one.listen.ports == two.listen.ports && addresses
            }));
            let expected = shares && a.protocol == b.protocol && a.target.is_ipv4() == b.target.is_ipv4();
            prop_assert_eq!((a.clashes(&b), b.clashes(&a)), (expected, expected));
        }
    }
}
