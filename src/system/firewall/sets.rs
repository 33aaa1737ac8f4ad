//! The sets that hold members: where each is, what it is called, and what for.

/// The tables, which have one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// Of routed links (NFPROTO_INET).
    Inet = 1,
    /// Of what routed links ask and answer about addresses (NFPROTO_ARP).
    Arp = 3,
    /// Of ports of bridges (NFPROTO_BRIDGE).
    Bridge = 7,
}

impl Family {
    /// Its word in nft's language.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
        }
    }
}

/// The sets that hold members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Set {
    /// Interface and MAC.
    Links,
    /// Interface and IPv4 source.
    Ve4,
    /// Interface and IPv6 source.
    Ve6,
    /// Interface and target of a neighbour advertisement.
    Nd6,
    /// Interface and IPv4 prefix of the source.
    Routes4,
    /// Interface and IPv6 prefix of the source.
    Routes6,
    /// Interface, MAC, protocol of the frame and IPv4 source, all that has to fit in one look.
    Sources4,
    /// See [`Set::Sources4`].
    Sources6,
    /// Ports of the host's IPv4 addresses that lead to VEs (a map).
    Forward4,
    /// See [`Set::Forward4`].
    Forward6,
    /// Ports of all the host's IPv4 addresses that lead to VEs (a map).
    ForwardAny4,
    /// See [`Set::ForwardAny4`].
    ForwardAny6,
    /// Interface, and the IPv4 sources from which its VE reaches itself.
    Hairpin4,
    /// See [`Set::Hairpin4`].
    Hairpin6,
    /// IPv4 addresses of ports, which the host forwards to.
    Near4,
    /// See [`Set::Near4`].
    Near6,
    /// MACs of ports, by which the host knows VEs where others are on the bridge.
    VeMacs,
    /// Interface and MAC of who speaks in ARP.
    ArpLinks,
    /// Interface and IPv4 address of who speaks in ARP.
    Arp4,
    /// The first four for ports.
    PortLinks,
    /// See [`Set::Ve4`].
    Port4,
    /// See [`Set::Ve6`].
    Port6,
    /// See [`Set::Nd6`].
    PortNd,
    /// See [`Set::Sources4`].
    PortSources4,
    /// See [`Set::Sources4`].
    PortSources6,
    /// Port, and MAC in a neighbour discovery message.
    PortNdMac,
    /// Ports that may send from any MAC.
    AnyMac,
    /// Ports that may send from any address.
    AnyIp,
    /// Ports with a DHCP server behind.
    DhcpServers,
    /// Ports with a DHCP client behind.
    DhcpClients,
    /// Ports with an IPv6 router behind.
    Routers,
    /// Ports that are told of IPv6 routers.
    HearsRa,
    /// The side of each port (a map).
    Sides,
    /// Port and side, to be found by where a frame goes.
    Peers,
}

impl Set {
    /// Those of routed links.
    pub const ROUTED: &'static [Self] = &[
        Self::Links,
        Self::Ve4,
        Self::Ve6,
        Self::Nd6,
        Self::Routes4,
        Self::Routes6,
        Self::Sources4,
        Self::Sources6,
    ];
    /// Of these the ones that one look is enough in.
    pub const SOURCES: &'static [Self] = &[Self::Sources4, Self::Sources6];
    /// Those of ports of the host that lead to VEs of either kind, and of those on bridges that the host routes to.
    pub const FORWARDS: &'static [Self] = &[
        Self::Forward4,
        Self::Forward6,
        Self::ForwardAny4,
        Self::ForwardAny6,
        Self::Hairpin4,
        Self::Hairpin6,
        Self::Near4,
        Self::Near6,
    ];
    /// Those by which the host knows ports.
    pub const HOST: &'static [Self] = &[Self::VeMacs];
    /// Those of routed links in ARP.
    pub const ARP: &'static [Self] = &[Self::ArpLinks, Self::Arp4];
    /// Those of ports.
    pub const PORTS: &'static [Self] = &[
        Self::PortLinks,
        Self::Port4,
        Self::Port6,
        Self::PortNd,
        Self::PortSources4,
        Self::PortSources6,
        Self::PortNdMac,
        Self::AnyMac,
        Self::AnyIp,
        Self::DhcpServers,
        Self::DhcpClients,
        Self::Routers,
        Self::HearsRa,
        Self::Sides,
        Self::Peers,
    ];

    /// All.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::ROUTED, Self::ARP, Self::FORWARDS, Self::HOST, Self::PORTS]
            .into_iter()
            .flatten()
            .copied()
    }

    /// The table that it is in.
    pub fn family(self) -> Family {
        if Self::PORTS.contains(&self) {
            Family::Bridge
        } else if Self::ARP.contains(&self) {
            Family::Arp
        } else {
            Family::Inet
        }
    }

    /// Do its elements belong to whom their comments name?
    pub fn has_owners(self) -> bool {
        self.is_forward() || self.is_near()
    }

    /// Does it say nothing but where somebody is?
    pub fn is_near(self) -> bool {
        matches!(self, Self::Near4 | Self::Near6 | Self::VeMacs)
    }

    /// Is it of ports of the host that lead to VEs?
    pub fn is_forward(self) -> bool {
        matches!(
            self,
            Self::Forward4 | Self::Forward6 | Self::ForwardAny4 | Self::ForwardAny6
        )
    }

    /// Do its elements lead to something?
    pub fn is_map(self) -> bool {
        self.is_forward() || self == Self::Sides
    }

    /// Its name in the templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Links | Self::PortLinks => "links",
            Self::ArpLinks => "arp_links",
            Self::Arp4 => "arp4",
            Self::Ve4 | Self::Port4 => "ve4",
            Self::Ve6 | Self::Port6 => "ve6",
            Self::Nd6 | Self::PortNd => "nd6",
            Self::Routes4 => "routes4",
            Self::Routes6 => "routes6",
            Self::Sources4 | Self::PortSources4 => "sources4",
            Self::Sources6 | Self::PortSources6 => "sources6",
            Self::Forward4 => "forward4",
            Self::Forward6 => "forward6",
            Self::ForwardAny4 => "forward_any4",
            Self::ForwardAny6 => "forward_any6",
            Self::Hairpin4 => "hairpin4",
            Self::Hairpin6 => "hairpin6",
            Self::Near4 => "near4",
            Self::Near6 => "near6",
            Self::VeMacs => "ve_macs",
            Self::PortNdMac => "nd_mac",
            Self::AnyMac => "any_mac",
            Self::AnyIp => "any_ip",
            Self::DhcpServers => "dhcp_servers",
            Self::DhcpClients => "dhcp_clients",
            Self::Routers => "routers",
            Self::HearsRa => "hears_ra",
            Self::Sides => "sides",
            Self::Peers => "peers",
        }
    }

    /// Its elements' type, as nft writes it.
    pub fn type_of(self) -> &'static str {
        match self {
            Self::Links | Self::PortLinks => "iifname . ether saddr",
            Self::ArpLinks => "iifname . arp saddr ether",
            Self::Arp4 => "iifname . arp saddr ip",
            Self::Ve4 | Self::Port4 | Self::Routes4 => "iifname . ip saddr",
            Self::Ve6 | Self::Port6 | Self::Routes6 => "iifname . ip6 saddr",
            Self::Nd6 | Self::PortNd => "iifname . @th,64,128",
            Self::Sources4 | Self::PortSources4 => "iifname . @ll,48,64 . ip saddr",
            Self::Sources6 | Self::PortSources6 => "iifname . @ll,48,64 . ip6 saddr",
            Self::Forward4 => "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
            Self::Forward6 => "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
            Self::ForwardAny4 => "inet_proto . inet_service : ipv4_addr . inet_service",
            Self::ForwardAny6 => "inet_proto . inet_service : ipv6_addr . inet_service",
            Self::Hairpin4 => "ifname . ipv4_addr",
            Self::Hairpin6 => "ifname . ipv6_addr",
            Self::Near4 => "ipv4_addr",
            Self::Near6 => "ipv6_addr",
            Self::VeMacs => "ether_addr",
            Self::PortNdMac => "iifname . @th,208,48",
            Self::AnyMac | Self::AnyIp | Self::DhcpServers | Self::DhcpClients | Self::Routers => "iifname",
            Self::HearsRa => "oifname",
            Self::Sides => "iifname : meta mark",
            Self::Peers => "oifname . meta mark",
        }
    }

    /// What it is for, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Self::Links | Self::PortLinks | Self::ArpLinks => "Host end and MAC address of each admitted VE interface.",
            Self::Ve4 | Self::Arp4 | Self::Port4 | Self::Ve6 | Self::Port6 => "The addresses that each may send from.",
            Self::Routes4 | Self::Routes6 => "The prefixes that are routed to each, which it may send from as well.",
            Self::Nd6 | Self::PortNd => "The same addresses as targets of neighbour advertisements.",
            Self::Sources4 | Self::Sources6 | Self::PortSources4 | Self::PortSources6 => {
                "The same addresses with the MAC address and what else a frame from them begins with, to be found in one look."
            }
            Self::Forward4 | Self::Forward6 => "Ports of the host's addresses, and where each leads.",
            Self::ForwardAny4 | Self::ForwardAny6 => "Ports of all the host's addresses, and where each leads.",
            Self::Hairpin4 | Self::Hairpin6 => "From where a VE would reach itself by such a port.",
            Self::Near4 | Self::Near6 => "The addresses of VEs on bridges.",
            Self::VeMacs => "Their hardware addresses.",
            Self::PortNdMac => "The MAC address once more, as it stands in neighbour discovery.",
            Self::AnyMac => "Whose VE has allow_mac_spoofing.",
            Self::AnyIp => "Whose VE has allow_ip_spoofing.",
            Self::DhcpClients => "Whose VE has allow_dhcp_client.",
            Self::DhcpServers => "Whose VE has allow_dhcp_server.",
            Self::Routers => "Whose VE has allow_ra.",
            Self::HearsRa => "On whose network router advertisements are passed.",
            Self::Sides => "The side that a VE is on: its tenant's, or its network's where that isn't isolated.",
            Self::Peers => "The same, to be looked up by where a frame goes.",
        }
    }
}
