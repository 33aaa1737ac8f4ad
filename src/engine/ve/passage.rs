//! What the firewall is to know of VEs: whose packets may pass.

use hostel_model::definition::NetworkKind;
use hostel_model::id::VeId;
use hostel_system::firewall::{IsolatedNetwork, MasqueradePool, Member, Nat, Ruleset};
use hostel_system::net::{ALIAS_PREFIX, Link};
use hostel_system::process::Init;

use super::record::VeState;
use super::registry::Catalogue;
use crate::error::{Error, Result, chain};
use crate::host::Host;

impl Host {
    /// The links of a VE.
    pub fn links(&self, id: VeId, state: &VeState) -> Result<Vec<Link>> {
        let mut catalogue = Catalogue::default();
        let mut links = Vec::new();
        for interface in &state.interfaces {
            let network = catalogue.network(self, &interface.network)?;
            links.push(Link {
                host_name: self.interface_name(id, interface),
                guest_name: interface.guest_name(),
                number: interface.mac.index().into(),
                mac: interface.mac.bytes(),
                mtu: network.mtu.map(u32::from),
                addresses: interface.addresses.clone(),
                routes: interface.routes.clone(),
                alias: format!("{ALIAS_PREFIX}{id}"),
                port: self.port(interface, network)?,
                proxy: network.proxy.as_ref().map(ToString::to_string),
            });
        }
        Ok(links)
    }

    /// Tells neighbours where a VE's addresses are now. Nothing depends on it but how soon they know: a failure is a line.
    pub fn announce(&self, init: Init, links: &[Link]) -> Option<String> {
        let told = self.network.announce(init.pid, links).err()?;
        let why = chain(&Error::from(told));
        Some(format!("its neighbours were not told where its addresses are: {why}"))
    }

    /// Lets packets of the VE's links pass: the table is there, then each link's addresses are.
    pub fn admit(&self, id: VeId, state: &VeState) -> Result<()> {
        let members = self.members_of(id, state, &mut Catalogue::default());
        let _lock = self.lock_firewall("start")?;
        let bridged = self.mend_firewall()?.bridged;
        self.begin_counting(&members, bridged)?;
        Ok(self.firewall.admit(self.config.nft_table.as_str(), &members)?)
    }

    /// If the table was gone or had been tampered with, every VE that runs is to pass again. The answer is what it is now.
    pub(super) fn mend_firewall(&self) -> Result<Ruleset> {
        let ruleset = self.ruleset()?;
        if self.firewall.ensure(&ruleset)? {
            // Whoever removed that table may have removed all. Nothing passes until these are in force.
            self.reload_access(None, None)?;
            self.firewall.admit(self.config.nft_table.as_str(), &self.members()?)?;
        }
        Ok(ruleset)
    }

    /// What the firewall should know of the VEs that run.
    pub fn members(&self) -> Result<Vec<Member>> {
        let (mut members, mut catalogue) = (Vec::new(), Catalogue::default());
        for (id, state) in self.states()? {
            let (Ok(state), Ok(reality)) = (state, self.reality(id)) else {
                continue;
            };
            if reality.init.is_some() {
                members.extend(self.members_of(id, &state, &mut catalogue));
            }
        }
        Ok(members)
    }

    /// What the firewall should know of a VE. A port whose network can't be read is left out: nothing passes it until that
    /// is mended.
    fn members_of(&self, id: VeId, state: &VeState, catalogue: &mut Catalogue) -> Vec<Member> {
        let mut members = Vec::new();
        for i in &state.interfaces {
            let mut addresses = i.addresses.clone();
            let port = match i.bridged {
                None => None,
                Some(allowed) => {
                    let network = catalogue.network(self, &i.network).ok();
                    let rules = network.and_then(|network| self.port_rules(i, state, network, allowed));
                    let Some((rules, announced)) = rules else { continue };
                    addresses.extend(announced);
                    Some(rules)
                }
            };
            // What it is called by from itself, too.
            let own = state.interfaces.iter().flat_map(|i| &i.addresses);
            let hairpin = own.filter(|_| !i.forwards.is_empty() && port.is_none());
            members.push(Member {
                interface: self.interface_name(id, i),
                addresses,
                routes: i.routes.clone(),
                mac: i.mac.bytes(),
                hairpin: hairpin.copied().collect(),
                port,
                forwards: i.forwards.iter().flat_map(|f| f.singles()).collect(),
            });
        }
        members
    }

    /// The firewall's rules as the networks' definitions want them; the members come and go one by one.
    pub fn ruleset(&self) -> Result<Ruleset> {
        let mut catalogue = Catalogue::default();
        let (mut masquerade, mut bridged, mut isolated) = (Vec::new(), false, Vec::new());
        let mut nat = Nat::default();
        for name in self.names_of("networks") {
            let Ok(name) = name.parse() else { continue };
            let network = catalogue.network(self, &name)?;
            if let Some(bridge) = &network.bridge {
                bridged = true;
                // What a host does on somebody else's bridge is its owner's affair.
                let own = bridge.existing.is_none();
                let apart = bridge.isolated && own;
                isolated.extend(apart.then(|| IsolatedNetwork {
                    pools: network.pools.clone(),
                    host: bridge.host.clone(),
                }));
                // Behind an uplink there are others, whose frames the bridge passes on to the host.
                let only_ves = own && bridge.uplink.is_none();
                let bridge_name = self.bridge_name(name.as_str(), bridge);
                nat.inside.extend(only_ves.then(|| bridge_name.clone()));
                let is_gateway = !bridge.host.is_empty();
                nat.bridged
                    .extend(is_gateway.then(|| (bridge_name, network.pools.clone())));
            }
            let servers = network.names.servers.iter();
            nat.named.extend(servers.map(|server| (*server, network.pools.clone())));
            if network.kind == NetworkKind::Nat {
                nat.closed.extend(&network.pools);
            }
            if network.masquerade {
                masquerade.push(MasqueradePool {
                    network: name.to_string(),
                    pools: network.pools.clone(),
                });
            }
        }
        Ok(Ruleset {
            table: self.config.nft_table.as_str().to_owned(),
            prefix: self.config.interface_prefix.as_str().to_owned(),
            masquerade,
            nat,
            bridged,
            isolated,
            members: Vec::new(),
        })
    }
}
