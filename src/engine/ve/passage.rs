//! What the firewall is to know of VEs: whose packets may pass.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hostel_model::definition::NetworkKind;
use hostel_model::id::VeId;
use hostel_system::firewall::{
    Apart, HostSide, IsolatedNetwork, MasqueradePool, Member, Nat, Offer, Ruleset, Standing, usual_connections,
};
use hostel_system::net::{ALIAS_PREFIX, Link};
use hostel_system::process::Init;

use super::record::VeState;
use super::registry::Catalogue;
use crate::error::{Class, Error, Result, chain};
use crate::host::Host;

impl Host {
    /// The links of a VE.
    pub fn links(&self, id: VeId, state: &VeState) -> Result<Vec<Link>> {
        self.links_of(id, state, &mut Catalogue::default())
    }

    /// The same, for many VEs.
    pub fn links_of(&self, id: VeId, state: &VeState, catalogue: &mut Catalogue) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        for interface in &state.interfaces {
            let network = catalogue.network_in_force(self, &interface.network)?;
            links.push(Link {
                host_name: self.interface_name(id, interface),
                guest_name: interface.guest_name(),
                number: interface.index().into(),
                mac: interface.mac.bytes(),
                mtu: network.mtu.map(u32::from),
                big_tcp: network.big_tcp,
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

    /// If the rules are not those that are wanted, these are loaded in one transaction with all VEs that run: none loses a
    /// packet by it. The answer is the rules. Hold the firewall's lock.
    pub fn mend_firewall(&self) -> Result<Ruleset> {
        self.keep_networks()?;
        let mut ruleset = self.ruleset()?;
        match self.firewall.standing(&ruleset)? {
            Standing::Current => return Ok(ruleset),
            Standing::Outdated => {}
            // Whoever changed that table may have changed all. What access rules drop is dropped before anything passes.
            Standing::Broken => self.mend_access()?,
        }
        ruleset.members = self.admitted()?;
        self.firewall.ensure(&ruleset)?;
        Ok(ruleset)
    }

    /// The members that a table has to have when it is loaded anew: those of VEs that run, and of operations under way
    /// that have admitted theirs and whose VE's init is yet to come, as a resume's.
    fn admitted(&self) -> Result<Vec<Member>> {
        let under_way = self.journals.pending()?;
        let there = self.firewall.members(self.config.nft_table.as_str())?;
        let is_there = |m: &Member| there.iter().any(|t| t.interface == m.interface);
        let (mut members, mut given, mut catalogue) = (Vec::new(), BTreeMap::new(), Catalogue::default());
        for (id, state) in self.states()? {
            let Ok(state) = state else {
                // What it is called now can't be known, and it may run: what it has stays.
                let its = |m: &&Member| self.config.interface_prefix.id_of(&m.interface) == Some(id);
                members.extend(there.iter().filter(its).cloned());
                continue;
            };
            self.note_given(&state, &mut given);
            let init = self.init(id);
            let runs = matches!(init, Ok(Some(_)));
            // Of one that can't be told to have ended, the same.
            if runs || init.is_err() || under_way.contains(&id) {
                let all = self.members_of(id, &state, &mut catalogue).into_iter();
                members.extend(all.filter(|m| runs || is_there(m)));
            }
        }
        Ok(each_once(members, &given))
    }

    /// What the firewall should know of the VEs that run.
    pub fn members(&self) -> Result<Vec<Member>> {
        let (mut members, mut given, mut catalogue) = (Vec::new(), BTreeMap::new(), Catalogue::default());
        for (id, state) in self.states()? {
            let Ok(state) = state else { continue };
            self.note_given(&state, &mut given);
            if let Ok(Some(_)) = self.init(id) {
                members.extend(self.members_of(id, &state, &mut catalogue));
            }
        }
        Ok(each_once(members, &given))
    }

    /// Notes which interface each address was given to.
    fn note_given(&self, state: &VeState, given: &mut BTreeMap<IpAddr, String>) {
        for i in &state.interfaces {
            let name = self.interface_name(state.id, i);
            given.extend(i.addresses.iter().map(|address| (*address, name.clone())));
        }
    }

    /// What the firewall should know of a VE. An interface whose network can't be read, nor was in force before, is left out:
    /// nothing passes it until that is mended.
    pub(super) fn members_of(&self, id: VeId, state: &VeState, catalogue: &mut Catalogue) -> Vec<Member> {
        let mut members = Vec::new();
        for i in &state.interfaces {
            let mut addresses = i.addresses.clone();
            let network = catalogue.network_in_force(self, &i.network);
            // Nobody knows what else than addresses holds it.
            if network.as_ref().is_err_and(|e| e.class != Class::NotFound) {
                continue;
            }
            let port = match i.bridged {
                None => None,
                Some(allowed) => {
                    let rules = network
                        .ok()
                        .and_then(|network| self.port_rules(i, state, network, allowed));
                    let Some((rules, announced)) = rules else { continue };
                    addresses.extend(announced.into_iter().filter(|a| !i.addresses.contains(a)));
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

    /// How many connections each interface of a VE may have begun.
    pub fn connections(&self) -> Result<u32> {
        match self.config.connections {
            Some(most) => Ok(most),
            None => Ok(usual_connections(self.firewall.tracked()?)),
        }
    }

    /// The firewall's rules as the networks' definitions want them, or wanted them before one was broken; the members come
    /// and go one by one.
    pub fn ruleset(&self) -> Result<Ruleset> {
        let mut catalogue = Catalogue::default();
        let (mut masquerade, mut bridged, mut isolated) = (Vec::new(), false, Vec::new());
        let mut nat = Nat::default();
        let mut host = HostSide {
            connections: self.connections()?,
            ..HostSide::default()
        };
        for name in self.names_of("networks") {
            let Ok(name) = name.parse() else { continue };
            // One that was never in force since the host's boot holds nobody who runs.
            let Ok(network) = catalogue.network_in_force(self, &name) else {
                continue;
            };
            if let Some(bridge) = &network.bridge {
                bridged = true;
                // What a host does on somebody else's bridge is its owner's affair.
                let own = bridge.existing.is_none();
                let apart = bridge.isolated && own;
                isolated.extend(apart.then(|| IsolatedNetwork {
                    pools: network.pools.clone(),
                    host: bridge.host.clone(),
                }));
                host.apart.extend(bridge.isolated.then(|| Apart {
                    bridge: self.bridge_name(name.as_str(), bridge),
                    pools: network.pools.clone(),
                    others: network.exclude.clone(),
                    own,
                }));
                // Behind an uplink there are others, whose frames the bridge passes on to the host.
                let only_ves = own && bridge.uplink.is_none();
                let bridge_name = self.bridge_name(name.as_str(), bridge);
                let side = if only_ves { &mut nat.inside } else { &mut host.shared };
                side.push(bridge_name.clone());
                let is_gateway = !bridge.host.is_empty();
                nat.bridged
                    .extend(is_gateway.then(|| (bridge_name, network.pools.clone())));
            }
            let offers = !network.host_services.is_empty();
            host.offers.extend(offers.then(|| Offer {
                pools: network.pools.clone(),
                services: network.host_services.clone(),
            }));
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
            host,
            bridged,
            isolated,
            members: Vec::new(),
        })
    }
}

/// An address that one makes of what a router announces, and that was given to another, is the other's: one that is there
/// twice would keep the rules of all from being loaded.
fn each_once(mut members: Vec<Member>, given: &BTreeMap<IpAddr, String>) -> Vec<Member> {
    for Member {
        interface, addresses, ..
    } in &mut members
    {
        addresses.retain(|address| given.get(address).is_none_or(|owner| owner == interface));
    }
    members
}
