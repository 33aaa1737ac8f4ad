//! `networks/*.toml`: named pools of addresses and the way to reach them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::bridge::{self, Bridge, InterfaceName};
use super::diagnostic::Diagnostics;
use super::field::{Field, Reading, Record, Shape, fields};
use super::name_of_file;
use super::names::{self, Names, Naming};
use super::services::HostService;
use super::value::{Cell, Read, read_list, read_text, words};
use crate::id::{Domain, NetworkName};
use crate::units::Span;

/// How long a freed address is kept aside if the network doesn't say: longer than the caches of neighbours, name servers
/// and clients usually remember whose it was.
const QUARANTINE: Span = Span::seconds(3600);

words! {
    /// The way to reach a network's addresses.
    NetworkKind, "\"routed\", \"nat\" or \"bridge\"",
    /// A route to each single address through the host.
    Routed = "routed",
    /// The same, behind the host's own addresses: nobody outside reaches its VEs but by a forward.
    Nat = "nat",
    /// An Ethernet that VEs share, with each other and perhaps with what is behind an interface of the host.
    Bridge = "bridge",
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name, that of its file.
    pub name: NetworkName,
    /// For people.
    pub description: Option<String>,
    /// The way to reach it.
    pub kind: NetworkKind,
    /// The prefixes its addresses come from; none overlaps another. Never empty.
    pub pools: Vec<IpNetwork>,
    /// Where "auto" addresses are taken from; empty: from the whole of each pool but its first two addresses and, for
    /// IPv4, its last.
    pub ranges: Vec<AddressRange>,
    /// Addresses that belong to somebody else; on a bridge also what no host can have, the gateway and the host.
    pub exclude: Vec<AddressRange>,
    /// How long an address that a VE gave back is kept from others.
    pub quarantine: Span,
    /// Rewrite the source of what leaves the host to the host's own address?
    pub masquerade: bool,
    /// Name servers for its VEs.
    pub dns: Vec<IpAddr>,
    /// Search domains for its VEs.
    pub search: Vec<Domain>,
    /// Bytes of the largest packet; `None`: the kernel's default, 1500.
    pub mtu: Option<u16>,
    /// May TCP over IPv4 pass between VEs and the host in pieces of more than 64 KiB (BIG TCP)?
    pub big_tcp: bool,
    /// Of kind "routed": the host's interface on which the host answers for its VEs' addresses, which belong to the subnet
    /// there.
    pub proxy: Option<InterfaceName>,
    /// Is the LAN asked, before a VE gets an address, whether somebody there has it? Never where there is no LAN.
    pub probe: bool,
    /// What of the host its VEs reach, beside ping, names and addresses.
    pub host_services: Vec<HostService>,
    /// How its VEs find each other by name.
    pub names: Names,
    /// Of kind "bridge": its Ethernet.
    pub bridge: Option<Bridge>,
}

/// One address, or all from one to another: `10.77.0.5-10.77.0.9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// The first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }
    /// The last address; of the same family, and not before the first.
    pub fn last(&self) -> IpAddr {
        self.last
    }
    /// Is the address one of these?
    pub fn contains(&self, address: IpAddr) -> bool {
        // IpAddr orders IPv4 before IPv6, so the other family is never between.
        (self.first..=self.last).contains(&address)
    }
    /// Has it an address in common with the other?
    fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        Self {
            first: address,
            last: address,
        }
    }
}

impl FromStr for AddressRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse::<IpAddr>(), last.trim().parse::<IpAddr>()) {
            (Ok(first), Ok(last)) if first.is_ipv4() == last.is_ipv4() && first <= last => Ok(Self { first, last }),
            _ => Err(format!("\"{text}\" is not {}", <Self as Read>::EXPECTED)),
        }
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

read_text! { AddressRange, "an address, or a range from the lower to the higher such as \"10.77.0.5-10.77.0.9\""; }

impl Read for IpNetwork {
    const SHAPE: Shape = Shape::Text;
    const EXPECTED: &'static str = "a prefix such as \"10.77.0.0/24\" or \"2001:db8:77::/64\"";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let text = cell.text()?;
        let Some(pool) = text.parse::<Self>().ok().filter(|_| text.contains('/')) else {
            cell.wrong(Self::EXPECTED);
            return None;
        };
        match misfit(&pool) {
            Some(expected) => {
                cell.wrong(expected);
                None
            }
            None => Some(pool),
        }
    }
}

/// Have two prefixes an address in common?
pub fn overlap(a: &IpNetwork, b: &IpNetwork) -> bool {
    a.contains(b.ip()) || b.contains(a.ip())
}

/// Why a prefix can't be a pool, as what is expected instead.
fn misfit(pool: &IpNetwork) -> Option<String> {
    let ip = pool.ip();
    if ip != pool.network() {
        return Some(format!(
            "\"{}/{}\", the network that this address is in",
            pool.network(),
            pool.prefix()
        ));
    }
    let shortest = if pool.is_ipv4() { 8 } else { 16 };
    if pool.prefix() < shortest {
        return Some(format!("a prefix length of at least {shortest}"));
    }
    let special = match ip {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.octets()[0] >= 240 || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some() || v6.is_unspecified(),
    };
    if special || ip.is_loopback() || ip.is_multicast() {
        return Some("addresses that hosts can have: neither loopback, link-local, multicast nor reserved".to_owned());
    }
    None
}

read_list! {
    IpNetwork, List, "a list of prefixes such as [\"10.77.0.0/24\", \"2001:db8:77::/64\"]";
    AddressRange, List, "a list of addresses and ranges such as [\"10.77.0.1\", \"10.77.0.5-10.77.0.9\"]";
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    description: Option<String>,
    kind: Option<NetworkKind>,
    pools: Option<Vec<IpNetwork>>,
    ranges: Option<Vec<AddressRange>>,
    exclude: Option<Vec<AddressRange>>,
    quarantine: Option<Span>,
    masquerade: Option<bool>,
    dns: Option<Vec<IpAddr>>,
    search: Option<Vec<Domain>>,
    mtu: Option<u16>,
    big_tcp: Option<bool>,
    proxy: Option<InterfaceName>,
    probe: Option<bool>,
    host_services: Option<Vec<HostService>>,
    names: names::Draft,
    bridge: bridge::Draft,
}

impl Record for Draft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "description": String => description, "what the network is for, for people", "\"addresses of the internet\"";
        "kind": NetworkKind => kind, "the way to reach it, \"routed\", \"nat\" or \"bridge\"", "\"routed\"";
        "pools": Vec<IpNetwork> => pools, "the prefixes its addresses come from", "[\"10.77.0.0/24\", \"2001:db8:77::/64\"]";
        "ranges": Vec<AddressRange> => ranges,
            "where \"auto\" addresses are taken from; the whole pools if not set", "[\"10.77.0.100-10.77.0.199\"]";
        "exclude": Vec<AddressRange> => exclude,
            "addresses that belong to somebody else", "[\"10.77.0.1\", \"10.77.0.5-10.77.0.9\"]";
        "quarantine": Span => quarantine,
            "how long an address that a VE gave back is kept from others; 0s for not at all", "\"1h\"";
        "masquerade": bool => masquerade, "give what leaves the host the host's own address; kind \"nat\" always does", "true";
        "dns": Vec<IpAddr> => dns, "name servers for its VEs; if not set, the host's own", "[\"9.9.9.9\", \"2620:fe::fe\"]";
        "search": Vec<Domain> => search, "domains its VEs search short names in", "[\"acme.example\"]";
        "mtu": u16 => mtu, "bytes of the largest packet, 1280 to 65535", "1500";
        "big_tcp": bool => big_tcp,
            "TCP over IPv4 in pieces of up to 192 KiB (BIG TCP); false if not set", "true";
        "proxy": InterfaceName => proxy,
            "the host's interface on which the host answers for its VEs' addresses", "\"eth0\"";
        "probe": bool => probe,
            "ask the LAN whether somebody there has an address; true if not set", "false";
        "host_services": Vec<HostService> => host_services,
            "ports of the host that its VEs may connect to; none if not set", "[\"tcp/22\", \"udp/123\"]";
        "names": Naming => names.by, "how its VEs find each other by name; off if not set", "\"hosts\"";
        "names_shared": bool => names.shared,
            "tell a tenant the names of other tenants' VEs, too; false if not set", "true";
        "names_domain": Domain => names.domain,
            "the domain that names are in, by \"dns\"; its name and .internal if not set", "\"acme.internal\"";
        "bridge": InterfaceName => bridge.existing,
            "the host's bridge that its VEs are on; if not set, Hostel makes one", "\"br0\"";
        "uplink": InterfaceName => bridge.uplink, "the host's interface that becomes a port of Hostel's bridge", "\"eth1\"";
        "vlan": u16 => bridge.vlan, "the VLAN of the uplink, 1 to 4094", "20";
        "gateway": Vec<IpAddr> => bridge.gateway,
            "where its VEs send what is for others; one of each family at most", "[\"10.77.0.1\", \"2001:db8:77::1\"]";
        "host_addresses": Vec<IpAddr> => bridge.host, "the host's own addresses on Hostel's bridge", "[\"10.77.0.1\"]";
        "isolated": bool => bridge.isolated, "keep tenants' VEs from each other; true if not set", "false";
        "pass_ra": bool => bridge.pass_ra,
            "let router advertisements reach its VEs, and allow EUI-64 addresses from them", "true";
    };
    const REQUIRED: &'static [&'static str] = &["kind", "pools"];
}

impl Network {
    /// Reads `networks/<name>.toml`. `file` gives the name, and is what mistakes are reported under.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        let (mut draft, mut reading) = Reading::file::<Draft>(file, text)?;
        let name = name_of_file(&mut reading);
        draft.check(&mut reading);
        let bridge = (draft.kind == Some(NetworkKind::Bridge)).then(|| std::mem::take(&mut draft.bridge).finish());
        let pools = draft.pools.as_deref().unwrap_or_default();
        let on_lan = bridge.as_ref().map_or(draft.proxy.is_some(), Bridge::is_on_lan);
        let mut occupied = bridge.as_ref().map(|b| bridge::occupied(b, pools)).unwrap_or_default();
        let on = bridge.as_ref().map(|b| b.host.as_slice());
        let names = std::mem::take(&mut draft.names).finish(name.as_ref(), on, pools);
        if bridge.is_none() {
            occupied.extend(names.servers.iter().copied().map(AddressRange::from));
        }
        match (name, draft.kind, draft.pools) {
            (Some(name), Some(kind), Some(pools)) if reading.reports.is_empty() => Ok(Self {
                name,
                description: draft.description,
                kind,
                ranges: draft.ranges.unwrap_or_default(),
                exclude: draft.exclude.into_iter().flatten().chain(occupied).collect(),
                quarantine: draft.quarantine.unwrap_or(QUARANTINE),
                pools,
                masquerade: draft.masquerade.unwrap_or(kind == NetworkKind::Nat),
                dns: draft.dns.unwrap_or_default(),
                search: names
                    .domain
                    .iter()
                    .cloned()
                    .chain(draft.search.into_iter().flatten())
                    .collect(),
                mtu: draft.mtu,
                big_tcp: draft.big_tcp.unwrap_or(false),
                proxy: draft.proxy,
                probe: on_lan && draft.probe.unwrap_or(true),
                host_services: draft.host_services.unwrap_or_default(),
                names,
                bridge,
            }),
            _ => Err(reading.reports.finish()),
        }
    }

    /// Is the address in one of the pools?
    pub fn contains(&self, address: IpAddr) -> bool {
        self.pools.iter().any(|p| p.contains(address))
    }

    /// The name servers of its VEs; none: the host's own.
    pub fn name_servers(&self) -> &Vec<IpAddr> {
        match self.names.servers.is_empty() {
            true => &self.dns,
            false => &self.names.servers,
        }
    }

    /// Does the address belong to somebody else?
    pub fn excludes(&self, address: IpAddr) -> bool {
        self.exclude.iter().any(|r| r.contains(address))
    }
}

impl Draft {
    /// What the values must be together.
    fn check(&self, reading: &mut Reading<'_>) {
        // 1280 is what every IPv6 link must carry (RFC 8200, 5).
        if self.mtu.is_some_and(|mtu| mtu < 1280) {
            reading.wrong("mtu", "1280 to 65535");
        }
        let on_bridge = self.kind == Some(NetworkKind::Bridge);
        self.names.check(on_bridge.then_some(&self.bridge), reading);
        let Some(pools) = &self.pools else { return };
        // With a mistake inside, the list is shorter than what was written.
        if pools.is_empty() && reading.reports.is_empty() {
            reading.wrong("pools", "at least one prefix");
        }
        // With a mistake in a list, its elements aren't where they were written.
        if !reading.reports.is_empty() {
            return;
        }
        for (i, pool) in pools.iter().enumerate() {
            if let Some(other) = pools[..i].iter().find(|o| overlap(o, pool)) {
                let expected = format!("prefixes that don't overlap, unlike {other} and {pool}");
                reading.wrong(&format!("pools.{i}"), expected);
            }
        }
        for (key, ranges) in [("ranges", &self.ranges), ("exclude", &self.exclude)] {
            for (i, range) in ranges.iter().flatten().enumerate() {
                let key = format!("{key}.{i}");
                if !pools.iter().any(|p| p.contains(range.first) && p.contains(range.last)) {
                    reading.wrong(&key, format!("ranges inside one of the pools, unlike {range}"));
                }
            }
        }
        let ranges = self.ranges.as_deref().unwrap_or_default();
        for (i, range) in ranges.iter().enumerate() {
            if let Some(other) = ranges[..i].iter().find(|o| o.overlaps(range)) {
                let expected = format!("ranges that don't overlap, unlike {other} and {range}");
                reading.wrong(&format!("ranges.{i}"), expected);
            }
        }
        match self.kind {
            Some(NetworkKind::Bridge) => {
                let masquerade = self.masquerade.unwrap_or(false);
                self.bridge.check(pools, masquerade, reading);
                if self.proxy.is_some() {
                    reading.wrong(
                        "proxy",
                        "this key only beside kind = \"routed\": on a bridge VEs answer themselves",
                    );
                }
            }
            Some(NetworkKind::Routed) => self.bridge.refuse(reading),
            Some(NetworkKind::Nat) => {
                self.bridge.refuse(reading);
                if self.proxy.is_some() {
                    reading.wrong(
                        "proxy",
                        "this key only beside kind = \"routed\": nobody outside reaches a VE of kind \"nat\" by its address",
                    );
                }
                if self.masquerade == Some(false) {
                    reading.wrong(
                        "masquerade",
                        "true, or no such key: what leaves a network of kind \"nat\" always has the host's address (one \
                         that the world can answer to directly is of kind \"routed\")",
                    );
                }
            }
            None => {}
        }
    }
}
