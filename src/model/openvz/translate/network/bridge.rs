//! Interfaces on bridges: how they are written, and which network is meant.

use std::net::IpAddr;

use super::{Planned, address, mac, on, refuse};
use crate::definition::{Network, NetworkKind};
use crate::mac::Mac;
use crate::openvz::code;
use crate::openvz::translate::{Refused, Surroundings};

/// An interface on a bridge, to be added.
#[derive(Debug, Default)]
pub(super) struct New {
    pub(super) name: String,
    pub(super) bridge: Option<String>,
    pub(super) mac: Option<Mac>,
    pub(super) filter: Option<bool>,
    pub(super) dhcp: bool,
    pub(super) addresses: Vec<IpAddr>,
}

impl New {
    /// `ifname[,mac,host_ifname,host_mac,bridge]`
    pub(super) fn of_option(text: &str) -> Result<Self, Refused> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let part = |n: usize| parts.get(n).copied().filter(|p| !p.is_empty());
        let name = part(0).filter(|_| parts.len() <= 5).ok_or_else(|| {
            let what = "an interface: IFNAME[,MAC,HOST_IFNAME,HOST_MAC,BRIDGE]";
            refuse(code::VALUE, format!("\"{text}\" is not {what}"))
        })?;
        Ok(Self {
            name: name.to_owned(),
            bridge: part(4).map(str::to_owned),
            mac: part(1).map(mac).transpose()?,
            ..Self::default()
        })
    }

    /// `ifname=eth0,bridge=br0,mac=…`, as CTID.conf has it.
    pub(super) fn of_file(text: &str) -> Result<Self, Refused> {
        let mut new = Self::default();
        for part in text.split(',') {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().to_owned();
            match key.trim() {
                "ifname" => new.name = value,
                "bridge" => new.bridge = Some(value),
                "network" if new.bridge.is_none() => new.bridge = Some(value),
                "mac" => new.mac = Some(mac(&value)?),
                "mac_filter" => new.filter = Some(on(&value)?),
                "dhcp" | "dhcp6" => new.dhcp |= on(&value)?,
                "ip" => new.addresses.push(address(&value)?),
                _ => {}
            }
        }
        if new.name.is_empty() {
            return Err(refuse(
                code::VALUE,
                format!("\"{text}\" names no interface: ifname=eth0"),
            ));
        }
        Ok(new)
    }

    pub(super) fn planned(self, around: &Surroundings<'_>, plan: &[Planned]) -> Result<Planned, Refused> {
        let network = match &self.bridge {
            Some(bridge) => find(around.networks, bridge)?,
            None => only_bridge(around)?,
        };
        if plan.iter().any(|p| p.network == network.name) {
            let why = format!(
                "it is on network \"{}\" already: a VE is on a network once",
                network.name
            );
            return Err(refuse(code::VETH, why));
        }
        let mut keys = Vec::new();
        keys.extend(self.mac.map(|mac| ("mac", mac.to_string())));
        keys.extend(self.filter.map(|filter| ("allow_mac_spoofing", (!filter).to_string())));
        keys.extend(self.dhcp.then(|| ("allow_dhcp_client", "true".to_owned())));
        Ok(Planned {
            network: network.name.clone(),
            addresses: Some(self.addresses).filter(|list| !list.is_empty()),
            was: None,
            name: None,
            asked: Some(self.name),
            keys,
            changed: true,
        })
    }
}

/// The bridge where none is named: the default network if it is one, or the only one there is.
fn only_bridge<'n>(around: &Surroundings<'n>) -> Result<&'n Network, Refused> {
    let bridges = || around.networks.iter().filter(|n| n.kind == NetworkKind::Bridge);
    let default = bridges().find(|n| Some(&n.name) == around.default_network.as_ref());
    let mut all = bridges();
    match (default, all.next(), all.next()) {
        (Some(network), ..) | (None, Some(network), None) => Ok(network),
        (None, None, _) => Err(refuse(code::VETH, "there is no network of kind \"bridge\"")),
        _ => Err(refuse(code::VETH, "say on which bridge: --netif_add IFNAME,,,,BRIDGE")),
    }
}

/// The network of a bridge of the host, or by its own name.
pub(super) fn find<'n>(networks: &'n [Network], name: &str) -> Result<&'n Network, Refused> {
    let of_bridge = |n: &&Network| {
        let existing = n.bridge.as_ref().and_then(|b| b.existing.as_ref());
        existing.is_some_and(|e| e.as_str() == name)
    };
    let by_bridge = networks.iter().find(of_bridge);
    by_bridge.or_else(|| networks.iter().find(|n| n.name.as_str() == name)).ok_or_else(|| {
        let why = format!(
            "there is no network of bridge {name}, nor one called so; write networks/{name}.toml with kind = \"bridge\" and \
             bridge = \"{name}\""
        );
        refuse(code::VETH, why)
    })
}
