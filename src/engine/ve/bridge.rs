//! The bridges of networks: what they are called, what they shall be, and which VEs reach each other on them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hostel_model::definition::{self, Allowances, Network};
use hostel_model::id::VeId;
use hostel_model::resolve::Effective;
use hostel_system::firewall::PortRules;
use hostel_system::net::{BRIDGE_ALIAS_PREFIX, Bridge, OwnBridge, Port, Uplink, Vlan};
use ipnetwork::IpNetwork;
use sha2::{Digest, Sha256};

use super::record::{InterfaceState, VeState};
use super::registry::Catalogue;
use crate::error::{Class, Error, Result, chain};
use crate::host::Host;

/// The longest name of an interface (IFNAMSIZ less the final zero).
const NAME_MAX: usize = 15;

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// What ports must have in common to reach each other: a tenant, or a network that isn't isolated.
fn side(of: &str) -> u32 {
    let [a, b, c, d, ..] = digest(of);
    u32::from_be_bytes([a, b, c, d])
}

fn tenants_side(tenant: &str) -> String {
    format!("tenant {tenant}")
}

fn networks_side(network: &str) -> String {
    format!("network {network}")
}

/// Nobody hears of a frame that is too large for an uplink.
fn too_narrow(network: &Network, mtu: u32) -> String {
    let (name, own) = (&network.name, network.mtu.unwrap_or_default());
    let uplink = network.bridge.as_ref().and_then(|b| b.uplink.as_ref());
    let uplink = uplink.map_or_else(|| "its uplink".to_owned(), |uplink| format!("its uplink {uplink}"));
    format!(
        "network {name}: larger packets than the {mtu} bytes that {uplink} takes are lost there, and its VEs send up to \
         {own}: raise the uplink's MTU, or lower \"mtu\" of the network"
    )
}

impl VeState {
    /// Is one of its interfaces a port of a bridge?
    pub fn is_bridged(&self) -> bool {
        self.interfaces.iter().any(|i| i.bridged.is_some())
    }
}

impl Host {
    /// The bridge of a network, if it is of that kind.
    pub fn bridge(&self, network: &Network) -> Result<Option<Bridge>> {
        let Some(bridge) = &network.bridge else { return Ok(None) };
        let name = self.bridge_name(network.name.as_str(), bridge);
        let own = bridge.existing.is_none().then(|| self.own_bridge(network, bridge));
        // Every interface of such a name is taken for a VE's by the firewall.
        if own.is_none() && name.starts_with(self.config.interface_prefix.as_str()) {
            let prefix = self.config.interface_prefix.as_str();
            return Err(Error::new(
                Class::Usage,
                format!("network {} can't use bridge {name}", network.name),
            )
            .because(format!(
                "names that begin with \"{prefix}\" are those of VEs' interfaces"
            ))
            .hint("rename the bridge, or choose another interface_prefix in hostel.toml"));
        }
        Ok(Some(Bridge { name, own }))
    }

    /// The name of the bridge of a network.
    pub fn bridge_name(&self, network: &str, bridge: &definition::Bridge) -> String {
        match &bridge.existing {
            Some(existing) => existing.to_string(),
            None => self.own_name("br", network),
        }
    }

    /// What Hostel calls an interface that it makes for a network: after the network if that is short enough.
    pub fn own_name(&self, kind: &str, network: &str) -> String {
        let begin = format!("{kind}{}-", self.config.interface_prefix.as_str());
        if begin.len() + network.len() <= NAME_MAX {
            return format!("{begin}{network}");
        }
        let hash: String = digest(network).iter().map(|b| format!("{b:02x}")).collect();
        let room = NAME_MAX.saturating_sub(begin.len());
        format!("{begin}{}", hash.get(..room).unwrap_or_default())
    }

    fn own_bridge(&self, network: &Network, bridge: &definition::Bridge) -> OwnBridge {
        let pool = |a: &IpAddr| network.pools.iter().find(|p| p.contains(*a)).map(IpNetwork::prefix);
        let with_prefix = |a: &IpAddr| IpNetwork::new(*a, pool(a)?).ok();
        let vlan = |id| Vlan {
            id,
            device: self.own_name("vl", network.name.as_str()),
        };
        OwnBridge {
            alias: format!("{BRIDGE_ALIAS_PREFIX}{}", network.name),
            mtu: network.mtu.map(u32::from),
            big_tcp: network.big_tcp,
            addresses: bridge.host.iter().filter_map(with_prefix).collect(),
            uplink: bridge.uplink.as_ref().map(|uplink| Uplink {
                name: uplink.to_string(),
                vlan: bridge.vlan.map(vlan),
            }),
        }
    }

    /// Makes the bridges that a VE's interfaces are to be ports of, or mends them, and sees to the rules: both are there
    /// before a port is. The answer is what is worth a line.
    pub fn ready_bridges(&self, state: &VeState) -> Result<Vec<String>> {
        let mut told = Vec::new();
        if !state.is_bridged() {
            return Ok(told);
        }
        let mut catalogue = Catalogue::default();
        let _lock = self.lock_firewall("start")?;
        self.mend_firewall()?;
        for interface in state.interfaces.iter().filter(|i| i.bridged.is_some()) {
            let network = catalogue.network_in_force(self, &interface.network)?;
            let Some(bridge) = self.bridge(network)? else { continue };
            let done = self.network.bridge(&bridge)?;
            told.extend(done.narrow.map(|mtu| too_narrow(network, mtu)));
            if done.made {
                told.extend(self.replug(&bridge.name)?);
            }
        }
        Ok(told)
    }

    /// A bridge was just made: VEs that run and are to be on it were on one that somebody has removed. The firewall must be
    /// locked.
    fn replug(&self, bridge: &str) -> Result<Vec<String>> {
        let mut told = Vec::new();
        for (id, state) in self.states()? {
            let Ok(state) = state else { continue };
            // One that can't be looked at keeps nobody from starting; the audit finds it.
            if !state.is_bridged() || !self.init(id).is_ok_and(|init| init.is_some()) {
                continue;
            }
            match self.plug_in(id, &state, Some(bridge)) {
                Ok(0) => {}
                Ok(_) => told.push(format!("bridge {bridge} was gone: {} is on it again", state.name)),
                // It keeps nobody else from starting; the audit finds it.
                Err(e) => told.push(format!(
                    "bridge {bridge} was gone, and {} is not on it: {}",
                    state.name,
                    chain(&e)
                )),
            }
        }
        Ok(told)
    }

    /// Makes the host ends of a VE that runs ports again: of this bridge, or of all theirs. What holds them is there before.
    /// Tells how many weren't. The firewall must be locked.
    fn plug_in(&self, id: VeId, state: &VeState, bridge: Option<&str>) -> Result<usize> {
        let mut links = self.links(id, state)?;
        links.retain(|l| {
            l.port
                .as_ref()
                .is_some_and(|p| bridge.is_none_or(|name| p.bridge == name))
        });
        if links.is_empty() {
            return Ok(0);
        }
        let table = self.config.nft_table.as_str();
        let there: BTreeSet<String> = self.firewall.members(table)?.into_iter().map(|m| m.interface).collect();
        // As a rule they are: who ends just now is not to get them back.
        if links.iter().any(|l| !there.contains(&l.host_name)) {
            let members = self.members_of(id, state, &mut Catalogue::default());
            self.firewall.admit(table, &members)?;
        }
        Ok(self.network.rejoin(&links)?)
    }

    /// For a VE that runs and whose ports are none any more: makes the bridges where they are gone, and the ports.
    pub fn mend_ports(&self, id: VeId) -> Result<()> {
        let state = self.state(id)?;
        self.ready_bridges(&state)?;
        let _lock = self.lock_firewall("audit")?;
        self.plug_in(id, &state, None).map(drop)
    }

    /// What a link has beside if it is a port.
    pub(super) fn port(&self, interface: &InterfaceState, network: &Network) -> Result<Option<Port>> {
        match (interface.bridged, &network.bridge) {
            (None, None) => Ok(None),
            (Some(allowed), Some(bridge)) => Ok(Some(Port {
                bridge: self.bridge_name(network.name.as_str(), bridge),
                pools: network.pools.clone(),
                gateways: bridge.gateway.clone(),
                any_mac: allowed.mac_spoofing,
            })),
            _ => Err(Error::new(
                Class::Refused,
                format!(
                    "network {} is of another kind than when the VE was given its interface",
                    network.name
                ),
            )
            .hint("a VE that is suspended goes on with what it had: give the network its kind back")),
        }
    }

    /// What may pass a port, and from which addresses beside those that were given.
    pub(super) fn port_rules(
        &self,
        interface: &InterfaceState,
        state: &VeState,
        network: &Network,
        allowed: Allowances,
    ) -> Option<(PortRules, Vec<IpAddr>)> {
        let bridge = network.bridge.as_ref()?;
        let of = match &state.tenant {
            _ if !bridge.isolated => networks_side(network.name.as_str()),
            Some(tenant) => tenants_side(tenant.as_str()),
            // Of a time when this wasn't recorded: nobody's peer until it is.
            None => format!("VE {}", state.id),
        };
        let rules = PortRules {
            side: side(&of),
            any_mac: allowed.mac_spoofing,
            any_ip: allowed.ip_spoofing,
            dhcp_server: allowed.dhcp_server,
            dhcp_client: allowed.dhcp_client,
            router: allowed.ra,
            hears_ra: bridge.pass_ra,
        };
        let mac = interface.mac;
        let announced = network.pools.iter().filter_map(|p| mac.announced(*p)).map(IpAddr::from);
        let announced = if bridge.pass_ra {
            announced.collect()
        } else {
            Vec::new()
        };
        Some((rules, announced))
    }

    /// Sides are told apart by 32 bits of a hash. Two that aren't would not be kept from each other.
    pub(super) fn judge_sides(&self, ve: &Effective) -> Result<()> {
        if !ve.interfaces.iter().any(|i| i.network.bridge.is_some()) {
            return Ok(());
        }
        let tenants = self.names_of("tenants").into_iter().map(|name| tenants_side(&name));
        let networks = self.names_of("networks").into_iter().map(|name| networks_side(&name));
        let own = tenants_side(ve.tenant.as_str());
        match tenants
            .chain(networks)
            .find(|other| *other != own && side(other) == side(&own))
        {
            None => Ok(()),
            Some(other) => Err(Error::new(
                Class::Refused,
                format!("{} can't be kept from others on its bridge", ve.name),
            )
            .because(format!("{own} and {other} have the same mark"))
            .hint("rename one of them: the mark is made from the name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::host;

    #[test]
    fn names_fit_and_tell_networks_apart() {
        let host = host().make();
        assert_eq!(host.own_name("br", "lan"), "brhv-lan");
        assert_eq!(host.own_name("br", "ten-letter"), "brhv-ten-letter");
        let (a, b) = (host.own_name("br", "eleven-lette"), host.own_name("br", "eleven-letts"));
        assert!(
            a != b && a.len() == 15 && b.len() == 15 && a.starts_with("brhv-"),
            "{a} {b}"
        );
        assert_ne!(host.own_name("vl", "lan"), host.own_name("br", "lan"));
    }
}
