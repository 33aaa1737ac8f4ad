//! `[[network]]` of a VE's definition: an interface of it.

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::addresses::Addresses;
use super::bridge::Allowances;
use super::field::{Field, Record, Shape, When, fields};
use super::value::{Cell, Read};
use crate::bandwidth::{Bandwidth, Burst};
use crate::id::NetworkName;
use crate::limits::Max;
use crate::mac::Mac;

/// One `[[network]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InterfaceKeys {
    /// The network it is on.
    pub network: NetworkName,
    /// Its addresses; `None`: auto.
    pub addresses: Option<Addresses>,
    /// Prefixes that the host routes to it.
    pub routes: Vec<IpNetwork>,
    /// Its hardware address; `None`: made from the VE's id.
    pub mac: Option<Mac>,
    /// What it may do on a bridge that others may not.
    pub allowed: Allowances,
    /// Which of those keys are set, to whatever.
    pub said: Vec<&'static str>,
    /// `rate_in`: the most to it by this interface.
    pub rate_in: Option<Max<Bandwidth>>,
    /// `rate_out`: the most from it by this interface.
    pub rate_out: Option<Max<Bandwidth>>,
    /// `burst`: what may pass these at once.
    pub burst: Option<Burst>,
}

#[derive(Debug, Default)]
pub(super) struct InterfaceDraft {
    pub(super) network: Option<NetworkName>,
    pub(super) addresses: Option<Addresses>,
    pub(super) routes: Option<Vec<IpNetwork>>,
    pub(super) mac: Option<Mac>,
    mac_spoofing: Option<bool>,
    ip_spoofing: Option<bool>,
    dhcp_server: Option<bool>,
    dhcp_client: Option<bool>,
    ra: Option<bool>,
    pub(super) rate_in: Option<Max<Bandwidth>>,
    pub(super) rate_out: Option<Max<Bandwidth>>,
    pub(super) burst: Option<Burst>,
}

impl InterfaceDraft {
    pub(super) fn said(&self) -> Vec<&'static str> {
        let set = [
            self.mac_spoofing,
            self.ip_spoofing,
            self.dhcp_server,
            self.dhcp_client,
            self.ra,
        ];
        let keys = self.allowed().by_key().map(|(key, _)| key).into_iter().zip(set);
        keys.filter(|(_, set)| set.is_some()).map(|(key, _)| key).collect()
    }

    pub(super) fn allowed(&self) -> Allowances {
        Allowances {
            mac_spoofing: self.mac_spoofing.unwrap_or(false),
            ip_spoofing: self.ip_spoofing.unwrap_or(false),
            dhcp_server: self.dhcp_server.unwrap_or(false),
            dhcp_client: self.dhcp_client.unwrap_or(false),
            ra: self.ra.unwrap_or(false),
        }
    }
}

impl Record for InterfaceDraft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "network": NetworkName => network, "the network it is on", "\"private\"", When::Restart;
        "addresses": Addresses => addresses,
            "its addresses there, or \"auto\" for a free one of each family", "\"auto\"", When::Restart;
        "routes": Vec<IpNetwork> => routes,
            "prefixes that the host routes to it there, for networks of its own behind it", "[\"2001:db8:5::/64\"]", When::Restart;
        "mac": Mac => mac, "its hardware address; made from the VE's id if not set", "\"02:68:00:00:65:00\"", When::Restart;
        "allow_mac_spoofing": bool => mac_spoofing,
            "on a bridge: let it send from any hardware address", "false", When::Restart;
        "allow_ip_spoofing": bool => ip_spoofing,
            "on a bridge: let it send from any address, and answer for it", "false", When::Restart;
        "allow_dhcp_server": bool => dhcp_server, "on a bridge: let it be a DHCP server", "false", When::Restart;
        "allow_dhcp_client": bool => dhcp_client,
            "on a bridge: let it ask for an address by DHCP; it can use its own alone", "false", When::Restart;
        "allow_ra": bool => ra, "on a bridge: let it announce itself as an IPv6 router", "false", When::Restart;
        "rate_in": Max<Bandwidth> => rate_in, "most bits per second to it by this interface, within net.in",
            "\"100Mbit\"";
        "rate_out": Max<Bandwidth> => rate_out, "most bits per second from it by this interface, within net.out",
            "\"100Mbit\"";
        "burst": Burst => burst, "bytes that may pass these two at once after a pause; 10 ms if not set", "\"256KiB\"";
    };
    const REQUIRED: &'static [&'static str] = &["network"];
}

impl Read for Vec<InterfaceDraft> {
    const SHAPE: Shape = Shape::Tables;
    const EXPECTED: &'static str = "tables that each begin with [[network]]";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        Some(cell.records())
    }
}
