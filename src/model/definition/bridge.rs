//! What a network of kind "bridge" has beside its addresses, and what a VE may be allowed on one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::field::Reading;
use super::network::AddressRange;
use super::value::read_text;

/// The Ethernet of a network of kind "bridge".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bridge {
    /// A bridge that is there already, and is never made, changed or removed; `None`: Hostel makes one.
    pub existing: Option<InterfaceName>,
    /// The host's interface that becomes a port of the bridge.
    pub uplink: Option<InterfaceName>,
    /// The VLAN of the uplink that the bridge is on; `None`: what comes untagged.
    pub vlan: Option<u16>,
    /// Where the VEs' packets to the rest of the world go; one of a family at most.
    pub gateway: Vec<IpAddr>,
    /// The host's own addresses on the bridge.
    pub host: Vec<IpAddr>,
    /// Can VEs of different tenants not reach each other on it?
    pub isolated: bool,
    /// Do router advertisements reach its VEs, and may they use the addresses made from them?
    pub pass_ra: bool,
}

impl Bridge {
    /// May there be others on it than VEs and the host?
    pub fn is_on_lan(&self) -> bool {
        self.existing.is_some() || self.uplink.is_some()
    }

    /// Where a family's packets to the rest of the world go.
    pub fn gateway(&self, ipv6: bool) -> Option<IpAddr> {
        self.gateway.iter().copied().find(|a| a.is_ipv6() == ipv6)
    }
}

/// The name of one of the host's interfaces: 1 to 15 characters of `a-z 0-9 . _ -`, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        let good = (1..=15).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(inner);
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("\"{text}\" is not the name of an interface"))
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

read_text! { InterfaceName, "an interface: 1 to 15 of a-z 0-9 . _ -, a letter first"; }

/// What one interface of a VE may do on a bridge that others may not. All false: what is forbidden to everybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Allowances {
    /// Send from any hardware address: for a guest that bridges or has virtual machines.
    pub mac_spoofing: bool,
    /// Send from any address and answer for it: for a guest that routes.
    pub ip_spoofing: bool,
    /// Answer as a DHCP server.
    pub dhcp_server: bool,
    /// Ask for an address by DHCP, of a server on that Ethernet. It can use but those that are its own.
    pub dhcp_client: bool,
    /// Announce itself as an IPv6 router.
    pub ra: bool,
}

impl Allowances {
    /// Each key of `[[network]]`, and whether it is allowed.
    pub fn by_key(self) -> [(&'static str, bool); 5] {
        [
            ("allow_mac_spoofing", self.mac_spoofing),
            ("allow_ip_spoofing", self.ip_spoofing),
            ("allow_dhcp_server", self.dhcp_server),
            ("allow_dhcp_client", self.dhcp_client),
            ("allow_ra", self.ra),
        ]
    }
}

/// The keys as they were read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) existing: Option<InterfaceName>,
    pub(super) uplink: Option<InterfaceName>,
    pub(super) vlan: Option<u16>,
    pub(super) gateway: Option<Vec<IpAddr>>,
    pub(super) host: Option<Vec<IpAddr>>,
    pub(super) isolated: Option<bool>,
    pub(super) pass_ra: Option<bool>,
}

impl Draft {
    /// The keys that stand in the file.
    fn present(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("bridge", self.existing.is_some()),
            ("uplink", self.uplink.is_some()),
            ("vlan", self.vlan.is_some()),
            ("gateway", self.gateway.is_some()),
            ("host_addresses", self.host.is_some()),
            ("isolated", self.isolated.is_some()),
            ("pass_ra", self.pass_ra.is_some()),
        ];
        keys.into_iter().filter(|(_, there)| *there).map(|(key, _)| key)
    }

    /// None of them has a meaning for a network of another kind.
    pub(super) fn refuse(&self, reading: &mut Reading<'_>) {
        for key in self.present() {
            reading.wrong(key, "this key only beside kind = \"bridge\"");
        }
    }

    /// What the values must be together, and with the network's pools.
    pub(super) fn check(&self, pools: &[IpNetwork], masquerade: bool, reading: &mut Reading<'_>) {
        if self.vlan.is_some_and(|id| !(1..=4094).contains(&id)) {
            reading.wrong("vlan", "1 to 4094");
        }
        if self.vlan.is_some() && self.uplink.is_none() {
            reading.wrong("vlan", "an uplink that carries it, as in uplink = \"eth1\"");
        }
        if self.existing.is_some() {
            for (key, there) in [
                ("uplink", self.uplink.is_some()),
                ("host_addresses", self.host.is_some()),
            ] {
                if there {
                    reading.wrong(
                        key,
                        "nothing beside bridge = \"…\": that bridge is its owner's to set up",
                    );
                }
            }
        }
        self.check_addresses(pools, reading);
        let (gateway, host) = (self.gateway.as_deref(), self.host.as_deref());
        let is_host = |a: &IpAddr| host.unwrap_or_default().contains(a);
        if masquerade && !gateway.unwrap_or_default().iter().any(is_host) {
            reading.wrong(
                "masquerade",
                "a gateway that is one of host_addresses: the host rewrites what it forwards",
            );
        }
    }

    fn check_addresses(&self, pools: &[IpNetwork], reading: &mut Reading<'_>) {
        let inside = |a: &IpAddr| pools.iter().any(|p| is_host_of(p, *a));
        let link_local = |a: &IpAddr| matches!(a, IpAddr::V6(v6) if v6.is_unicast_link_local());
        for (i, address) in self.gateway.iter().flatten().enumerate() {
            let same = |a: &&IpAddr| a.is_ipv4() == address.is_ipv4();
            if self.gateway.iter().flatten().take(i).any(|a| same(&a)) {
                reading.wrong("gateway", "one address of each family at most");
            }
            if !inside(address) && !link_local(address) && reading.reports.is_empty() {
                reading.wrong("gateway", format!("addresses of hosts in the pools, unlike {address}"));
            }
        }
        for (i, address) in self.host.iter().flatten().enumerate() {
            if self.host.iter().flatten().take(i).any(|a| a == address) {
                reading.wrong("host_addresses", format!("each address once, not {address} twice"));
            }
            if !inside(address) && reading.reports.is_empty() {
                reading.wrong(
                    "host_addresses",
                    format!("addresses of hosts in the pools, unlike {address}"),
                );
            }
        }
    }

    pub(super) fn finish(self) -> Bridge {
        Bridge {
            existing: self.existing,
            uplink: self.uplink,
            vlan: self.vlan,
            gateway: self.gateway.unwrap_or_default(),
            host: self.host.unwrap_or_default(),
            isolated: self.isolated.unwrap_or(true),
            pass_ra: self.pass_ra.unwrap_or(false),
        }
    }
}

/// Can a host on the prefix's Ethernet have this address?
fn is_host_of(pool: &IpNetwork, address: IpAddr) -> bool {
    pool.contains(address) && !reserved(pool).contains(&address)
}

/// The addresses of a prefix that mean the prefix itself (IPv6: its routers, RFC 4291, 2.6.1) or all in it.
fn reserved(pool: &IpNetwork) -> Vec<IpAddr> {
    let single = if pool.is_ipv4() { 31 } else { 127 };
    match pool.prefix() {
        p if p >= single => Vec::new(),
        _ if pool.is_ipv4() => vec![pool.network(), pool.broadcast()],
        _ => vec![pool.network()],
    }
}

/// The addresses that no VE on the Ethernet can have.
pub(super) fn occupied(bridge: &Bridge, pools: &[IpNetwork]) -> Vec<AddressRange> {
    let reserved = pools.iter().flat_map(reserved);
    let inside = |a: &IpAddr| pools.iter().any(|p| p.contains(*a));
    let named = bridge.gateway.iter().chain(&bridge.host).copied().filter(inside);
    let mut all: Vec<IpAddr> = reserved.chain(named).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(AddressRange::from).collect()
}

#[cfg(test)]
mod tests {
    use crate::definition::Network;

    fn parse(text: &str) -> Result<Network, String> {
        let text = format!("pools = [\"192.0.2.0/24\", \"2001:db8::/64\"]\n{text}");
        Network::parse("networks/lan.toml", &text).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_not_said_is_safe() {
        let network = parse("kind = \"bridge\"").unwrap();
        let bridge = network.bridge.unwrap();
        assert!(bridge.isolated && !bridge.pass_ra && bridge.existing.is_none() && bridge.uplink.is_none());
        assert!(parse("kind = \"routed\"").unwrap().bridge.is_none());
    }

    #[test]
    fn nobody_gets_an_address_that_another_has_on_the_wire() {
        let text = "kind = \"bridge\"\ngateway = [\"192.0.2.9\", \"fe80::1\"]\nhost_addresses = [\"2001:db8::9\"]";
        let network = parse(text).unwrap();
        for address in ["192.0.2.0", "192.0.2.9", "192.0.2.255", "2001:db8::", "2001:db8::9"] {
            assert!(network.excludes(address.parse().unwrap()), "{address}");
        }
        assert!(!network.excludes("192.0.2.10".parse().unwrap()));
        assert!(
            !parse("kind = \"routed\"")
                .unwrap()
                .excludes("192.0.2.0".parse().unwrap())
        );
    }

    #[test]
    fn every_mistake_has_its_place() {
        for (text, place, reason) in [
            ("kind = \"routed\"\nisolated = true", "3:12", "kind = \"bridge\""),
            ("kind = \"bridge\"\nvlan = 7", "3:8", "uplink"),
            ("kind = \"bridge\"\nuplink = \"e\"\nvlan = 0", "4:8", "1 to 4094"),
            ("kind = \"bridge\"\nuplink = \"a/b\"", "3:10", "an interface"),
            (
                "kind = \"bridge\"\nbridge = \"br0\"\nhost_addresses = [\"192.0.2.1\"]",
                "4:18",
                "owner",
            ),
            (
                "kind = \"bridge\"\ngateway = [\"198.51.100.1\"]",
                "3:11",
                "198.51.100.1",
            ),
            ("kind = \"bridge\"\ngateway = [\"192.0.2.255\"]", "3:11", "192.0.2.255"),
            (
                "kind = \"bridge\"\ngateway = [\"192.0.2.1\", \"192.0.2.2\"]",
                "3:11",
                "each family",
            ),
            ("kind = \"bridge\"\nhost_addresses = [\"fe80::1\"]", "3:18", "fe80::1"),
            (
                "kind = \"bridge\"\nhost_addresses = [\"192.0.2.1\", \"192.0.2.1\"]",
                "3:18",
                "twice",
            ),
            (
                "kind = \"bridge\"\ngateway = [\"192.0.2.1\"]\nmasquerade = true",
                "4:14",
                "host_addresses",
            ),
        ] {
            let said = parse(text).unwrap_err();
            assert!(
                said.contains(&format!("lan.toml:{place}")) && said.contains(reason),
                "{text}\n{said}"
            );
        }
    }
}
