//! Networks of VEs. A VE's interface is one end of a veth pair; the other is the host's end of a routed link, or a port
//! of a bridge ([`Bridge`]).
//!
//! Routed: one veth pair per interface, a /32 or /128 per address, a link-local gateway on the
//! host's end. There is no shared Ethernet, so a VE has no neighbour but the host.
//!
//! ```text
//!   VE                                     host
//!   eth0  203.0.113.10/32                  hv101.0  169.254.1.1/32, fe80::1/64
//!         default via 169.254.1.1 onlink            route 203.0.113.10/32 dev hv101.0
//!         2001:db8::10/128                          route 2001:db8::10/128 dev hv101.0
//!         default via fe80::1                       both with a permanent neighbour entry (the VE's MAC)
//! ```
//!
//! "The host" is the network namespace of the calling thread. What is Hostel's carries three marks: the alias
//! ("hostel VE 101"), the device group ([`GROUP`], there from the first moment, so that a link is known even if we
//! died before the alias was set) and the route protocol ([`ROUTE_PROTOCOL`]). What lacks them is never touched.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::Result;

mod announce;
mod astray;
mod bridge;
pub mod check;
mod fake;
mod guest;
mod inspect;
mod lay;
mod local;
mod message;
pub(crate) mod netlink;
mod port;
mod prepare;
mod probe;
mod proxy;
mod readdress;
mod remove;
mod routed;
mod settings;
mod shape;
mod sysctl;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use fake::FakeNetwork;
pub(crate) use inspect::read_address;
pub use routed::RoutedNetwork;
pub use shape::{BURST_MS, Direction, Pace, Shape};

/// The IPv4 gateway that every routed VE sees: the host's end of its own link.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The IPv6 gateway that every routed VE sees.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// How the alias of every host end begins.
pub const ALIAS_PREFIX: &str = "hostel VE ";
/// How the alias of every bridge of ours begins; the network's name follows.
pub const BRIDGE_ALIAS_PREFIX: &str = "hostel network ";
/// The device group of every host end ("host" in ASCII); see `ip link show group 1752134516`.
pub const GROUP: u32 = 0x686f_7374;
/// The protocol number of our routes (`ip route show proto 104`), free in iproute2's rt_protos.
pub const ROUTE_PROTOCOL: u8 = 104;

/// One interface of a VE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The host's end: "hv101.0".
    pub host_name: String,
    /// The VE's end: "eth0".
    pub guest_name: String,
    /// Its number among the VE's: it names the table of routes that the link may need inside.
    pub number: u32,
    /// MAC address of the VE's end.
    pub mac: [u8; 6],
    /// MTU of both ends in bytes; the kernel's default (1500) if none.
    pub mtu: Option<u32>,
    /// Do both ends take TCP over IPv4 in pieces of up to [`message::BIG_TCP`] bytes? (Kernels before 6.3 don't.)
    pub big_tcp: bool,
    /// The VE's addresses; with none the link is made and brought up, no more.
    pub addresses: Vec<IpAddr>,
    /// Prefixes that the host routes to the VE, by its first address of that family; without one it doesn't. Not for a
    /// port.
    pub routes: Vec<IpNetwork>,
    /// Of the host's end; begins with [`ALIAS_PREFIX`].
    pub alias: String,
    /// The host's end is a port of this bridge; `None`: it is the VE's gateway.
    pub port: Option<Port>,
    /// The host's interface on which the host answers for the addresses, to which it routes them.
    pub proxy: Option<String>,
}

/// What a link on a bridge has beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The bridge, which must be there ([`Network::bridge`]).
    pub bridge: String,
    /// The prefixes that are on the bridge: an address of the VE has the length of the one that it is in.
    pub pools: Vec<IpNetwork>,
    /// Where the VE sends what is for others, one of a family at most.
    pub gateways: Vec<IpAddr>,
    /// May the VE send from any MAC address?
    pub any_mac: bool,
}

/// The bridge of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// What Hostel's own shall be; `None`: it is somebody else's, and only used.
    pub own: Option<OwnBridge>,
}

/// What a bridge of Hostel's shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnBridge {
    /// Begins with [`BRIDGE_ALIAS_PREFIX`].
    pub alias: String,
    /// In bytes; the kernel's default (the least of its ports') if none.
    pub mtu: Option<u32>,
    /// As of a [`Link`].
    pub big_tcp: bool,
    /// The host's addresses on it, with the lengths of their prefixes.
    pub addresses: Vec<IpNetwork>,
    /// The host's interface that is a port of it.
    pub uplink: Option<Uplink>,
}

/// An interface of the host that is a port of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Its name.
    pub name: String,
    /// Only this VLAN of it.
    pub vlan: Option<Vlan>,
}

/// A VLAN of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlan {
    /// 1 to 4094.
    pub id: u16,
    /// The name of the interface that is made for it.
    pub device: String,
}

/// A bridge of ours that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBridge {
    /// Its name.
    pub name: String,
    /// The network it was made for; empty if its making was cut off before that was noted.
    pub network: String,
    /// The names of its ports.
    pub ports: Vec<String>,
}

/// A host end that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLink {
    /// Its name.
    pub name: String,
    /// Its alias; empty if its making was cut off before it got one.
    pub alias: String,
    /// The addresses that we route to it, in order.
    pub addresses: Vec<IpAddr>,
    /// The bridge that it is a port of.
    pub bridge: Option<String>,
}

/// What came of making a bridge as it shall be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bridged {
    /// It wasn't there: the ports of VEs that run are to come back to it.
    pub made: bool,
    /// The MTU of its uplink, if that is smaller than its own is to be: larger frames are lost there.
    pub narrow: Option<u32>,
}

/// Addresses, and where to ask for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The host's interface: a bridge, or an uplink.
    pub interface: String,
    /// Where to ask if there is no such interface: the uplink of a bridge that isn't made yet.
    pub instead: Option<String>,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// The hardware address whose answers don't count: the VE's own, if it is there already.
    pub own: Option<[u8; 6]>,
    /// Does also count who asks for an address himself, as he is about to use it?
    pub rivals: bool,
}

/// An address that this host answers for on one of its interfaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundProxy {
    /// The host's interface.
    pub uplink: String,
    /// The address.
    pub address: IpAddr,
    /// Because we said so, or somebody else?
    pub ours: bool,
}

/// Counters of a host end since it was made. Mind the side: what the *host* receives is what the VE sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes that the VE sent.
    pub rx_bytes: u64,
    /// Bytes that the VE received.
    pub tx_bytes: u64,
    /// Packets that the VE sent.
    pub rx_packets: u64,
    /// Packets that the VE received.
    pub tx_packets: u64,
}

/// What a setting of the host's is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// That it passes packets on.
    Forwarding,
    /// That its tables of neighbours, which all VEs share, have room.
    Neighbours,
}

/// What the host itself has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Local {
    /// Its addresses, on whatever interface.
    pub addresses: Vec<IpAddr>,
    /// Where its own services wait for TCP.
    pub tcp: Vec<SocketAddr>,
    /// Where they wait for UDP.
    pub udp: Vec<SocketAddr>,
    /// Is what passes bridges given to the rules for what is routed (br_netfilter)?
    pub bridges_filtered: bool,
}

/// The network of VEs.
pub trait Network: Send + Sync + Debug {
    /// Makes the links between this host and a VE's network namespace (a descriptor of /proc/PID/ns/net), with addresses, routes and gateways on
    /// both sides; all of them or none. A link of the same name that is ours is replaced; one that isn't is an
    /// error. The first link with an address of a family carries the VE's default route of that family; what comes
    /// from the address of a later link leaves by that link (a rule and a table of its own).
    fn attach(&self, netns: BorrowedFd<'_>, links: &[Link]) -> Result<()>;

    /// Gives a VE that runs other links and addresses, in the network namespace of this process (its init) and on the
    /// host: what is only in `new` is made, what is only in `old` goes, and of those in both (by the host's end) the
    /// addresses change. On an error it may be done in part: the same the other way round takes it back. What is so
    /// already is left as it is. The answer is a line for each end that its guest has renamed or moved, and whose
    /// addresses inside are left to it.
    fn readdress(&self, init: u32, old: &[Link], new: &[Link]) -> Result<Vec<String>>;

    /// Makes the links of a VE that CRIU is to restore, with both ends on this host and the host's one set up; all of
    /// them or none. The answer names, for each link in order, the end that becomes the VE's.
    fn lay(&self, links: &[Link]) -> Result<Vec<String>>;

    /// Tells neighbours where the addresses of these links are from now on: on the Ethernet of a port, from inside the
    /// network namespace of this process (a VE's init) and as all that comes from there is; of addresses that the host
    /// answers for, on its interface. A guest's end that isn't there under its name says nothing.
    fn announce(&self, init: u32, links: &[Link]) -> Result<()>;

    /// Asks whether others have these addresses already: all of them at once, for as long as this in all. The answer
    /// names who has which, or is about to, by hardware address. Where there is neither of the
    /// two interfaces nobody is asked.
    fn probe(&self, probes: &[Probe], within: Duration) -> Result<Vec<(IpAddr, [u8; 6])>>;

    /// Has the host answer on an interface for these addresses ([`Link::proxy`]). What is so already is left as it is.
    fn proxy(&self, uplink: &str, addresses: &[IpAddr]) -> Result<()>;

    /// Ends that, on whichever interface it is. Entries that aren't ours stay.
    fn unproxy(&self, addresses: &[IpAddr]) -> Result<()>;

    /// What the host answers for, in order; of ours without what another Hostel of this host, whose host ends have another
    /// prefix, routes to its VEs.
    fn proxied(&self, prefix: &str) -> Result<Vec<FoundProxy>>;

    /// The kernel settings (/proc/sys/net) in the network namespace of this process, a VE's init.
    fn settings(&self, init: u32) -> Result<BTreeMap<String, String>>;

    /// Writes those of them that differ. The answer names the settings that the kernel wouldn't take.
    fn set_settings(&self, init: u32, settings: &BTreeMap<String, String>) -> Result<Vec<String>>;

    /// Removes links by the names of their host ends: those of a VE that has ended go by themselves, which is waited for
    /// first. One that is gone is fine; one that isn't ours is an error, and then none is removed.
    fn detach(&self, host_names: &[String]) -> Result<()>;

    /// Our host ends named `prefix` + VE id + "." + number, in order of name.
    fn list(&self, prefix: &str) -> Result<Vec<FoundLink>>;

    /// What is otherwise at the host's ends of these links than [`Network::attach`] made it: each end with a line. One that
    /// isn't there isn't told.
    fn astray(&self, links: &[Link]) -> Result<Vec<(String, String)>>;

    /// Makes the host's ends of these links so again. Routes of others stay.
    fn mend(&self, links: &[Link]) -> Result<()>;

    /// Makes a bridge of ours as it shall be, or mends it: name, addresses, uplink; all or nothing if it is new. Where its
    /// uplink has changed, all ports but VEs' and the new one are taken out of it. Of somebody else's, only whether it is there. Hold a
    /// lock of the whole host around it.
    fn bridge(&self, bridge: &Bridge) -> Result<Bridged>;

    /// Makes host ends of a VE that are there ports of their bridges again, with all that holds a port; those that are already stay
    /// as they are, and those that are gone are passed over. What the firewall has for them must be in force before. Tells
    /// how many it has made ports.
    fn rejoin(&self, links: &[Link]) -> Result<usize>;

    /// Our bridges named "br" + `prefix` + "-" + something, in order of name.
    fn bridges(&self, prefix: &str) -> Result<Vec<FoundBridge>>;

    /// Our interfaces of VLANs that are ports of no bridge, named "vl" + `prefix` + "-" + something, in order. They lack a
    /// bridge that somebody has removed.
    fn vlans(&self, prefix: &str) -> Result<Vec<String>>;

    /// Removes a bridge of ours, and the VLAN that was made for it; its uplink is the host's again; or one of [`Network::vlans`]. Fine if it is gone;
    /// an error if VEs are on it, or if it isn't ours. Hold the same lock.
    fn unbridge(&self, name: &str) -> Result<()>;

    /// Limits what passes links that are there, or changes or ends the limits that they have: at once, and without the
    /// links going down. On an error it may be done in part; the same with what was before takes it back. What is so
    /// already is left as it is.
    fn shape(&self, shape: &Shape) -> Result<()>;

    /// Removes the interfaces of [`Network::shape`], by name, of links that are gone. Fine if there are none; an error if
    /// one isn't ours, and then none is removed.
    fn unshape(&self, devices: &[String]) -> Result<()>;

    /// Our interfaces of [`Network::shape`] named `prefix` + VE id + ".i" or ".o", in order of name.
    fn shapers(&self, prefix: &str) -> Result<Vec<String>>;

    /// Why this kernel can't do [`Network::shape`]; `None` if it can. Found out once.
    fn unable_to_shape(&self) -> Result<Option<String>>;

    /// How often something had to wait at each of these interfaces of [`Network::shape`], or was lost there; `None` if there
    /// is no such interface or no limit, or it can't be read.
    fn waits(&self, devices: &[String]) -> Result<Vec<Option<u64>>>;

    /// The counters of a host end, or of an interface of [`Network::shape`]; `None` if there is no such link.
    fn counters(&self, host_name: &str) -> Result<Option<Counters>>;

    /// Which of these addresses are the host's own, on whatever interface.
    fn own(&self, addresses: &[IpAddr]) -> Result<Vec<IpAddr>>;

    /// The host's own addresses, and what its services listen on.
    fn local(&self) -> Result<Local>;

    /// Turns on forwarding where it is off, makes room for neighbours, and tells what it changed. It doesn't outlive a boot of the host, and
    /// others turn it off; so each start asks for it, and it costs a few small reads where all is well. An interface
    /// that obeys router advertisements keeps obeying them (the kernel stops that on forwarding hosts unless
    /// `accept_ra` is 2).
    fn prepare_host(&self) -> Result<Vec<String>>;

    /// What [`Network::prepare_host`] would change: the names of settings, none if all is as it should be.
    fn unprepared(&self) -> Result<Vec<(Need, String)>>;
}
