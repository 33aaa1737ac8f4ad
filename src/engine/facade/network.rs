//! How the networks stand: which addresses are in use, aside and left, who has which, and what of that lies in the
//! kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hostel_model::definition::{Naming, Network};
use hostel_model::id::{NetworkName, VeId};
use hostel_model::ipam::{Census, census};
use hostel_system::firewall::Ruleset;
use serde::Serialize;

use super::Engine;
use crate::error::{Result, chain};
use crate::ve::registry::Catalogue;
use crate::ve::taken::Taken;

/// A network as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkStatus {
    /// Its name.
    pub name: String,
    /// Why nothing more can be said of it: its definition has mistakes.
    pub problem: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// routed.
    pub kind: Option<String>,
    /// Its pools.
    pub pools: Vec<Census>,
    /// Its name servers; none: the host's own.
    pub dns: Vec<IpAddr>,
    /// Domains that short names are searched in.
    pub search: Vec<String>,
    /// Does what leaves the host bear the host's own address?
    pub masquerade: bool,
    /// Bytes of the largest packet; `None`: the kernel's default.
    pub mtu: Option<u16>,
    /// Does TCP over IPv4 pass in pieces of more than 64 KiB?
    pub big_tcp: bool,
    /// The interface on which the host answers for its addresses.
    pub proxy: Option<String>,
    /// Is the LAN asked, before a VE gets an address, whether somebody has it?
    pub probe: bool,
    /// Ports of the host that its VEs may connect to.
    pub host_services: Vec<String>,
    /// How many connections each interface of a VE may have begun.
    pub connections: u32,
    /// How its VEs find each other by name: off, hosts or dns.
    pub names: Option<Naming>,
    /// Do they learn the names of other tenants' VEs as well?
    pub names_shared: bool,
    /// Seconds that an address which a VE gave back is kept from others.
    pub quarantine: u64,
    /// How many VEs are on it.
    pub ves: usize,
}

/// An address in use or aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddressState {
    /// The address.
    pub address: IpAddr,
    /// used or aside.
    pub state: &'static str,
    /// Whose it is, or was.
    pub ve: String,
    /// That one's number, as long as it has it.
    pub id: Option<VeId>,
    /// The interface of the host that leads to it, if it is that VE's.
    pub interface: Option<String>,
    /// Does the host route it there now?
    pub routed: bool,
    /// Does the firewall let it pass now?
    pub admitted: bool,
    /// Seconds until one that is aside may be given to anybody.
    pub left: Option<u64>,
}

impl Engine {
    /// All networks, in order of name.
    pub fn networks(&self) -> Result<Vec<NetworkStatus>> {
        let taken = self.host.taken(None)?;
        let (ves, connections) = (self.ves_by_network()?, self.host.connections()?);
        let names = self.host.names_of("networks").into_iter();
        let names = names.filter_map(|name| name.parse::<NetworkName>().ok());
        Ok(names
            .map(|name| {
                let on_it = ves.get(&name).map_or(0, BTreeSet::len);
                match Catalogue::default().network(&self.host, &name) {
                    Ok(network) => status(network, &taken, on_it, connections),
                    Err(e) => NetworkStatus {
                        name: name.to_string(),
                        problem: Some(chain(&e)),
                        description: None,
                        kind: None,
                        pools: Vec::new(),
                        dns: Vec::new(),
                        search: Vec::new(),
                        masquerade: false,
                        mtu: None,
                        big_tcp: false,
                        proxy: None,
                        probe: false,
                        host_services: Vec::new(),
                        connections,
                        names: None,
                        names_shared: false,
                        quarantine: 0,
                        ves: on_it,
                    },
                }
            })
            .collect())
    }

    /// One network, and each of its addresses that is in use or aside, in order.
    pub fn network(&self, name: &NetworkName) -> Result<(NetworkStatus, Vec<AddressState>)> {
        let mut catalogue = Catalogue::default();
        let network = catalogue.network(&self.host, name)?;
        let taken = self.host.taken(None)?;
        let on_it = self.ves_by_network()?.get(name).map_or(0, BTreeSet::len);
        let mut all = self.in_use(name)?;
        for (address, freed) in taken.aside.of(network, &taken.addresses, taken.now) {
            let quarantine = network.quarantine.duration().as_secs();
            all.push(AddressState {
                address,
                state: "aside",
                ve: freed.ve.to_string(),
                id: None,
                interface: None,
                routed: false,
                admitted: false,
                left: Some(quarantine.saturating_sub(freed.age(taken.now))),
            });
        }
        all.sort_by_key(|a| a.address);
        Ok((status(network, &taken, on_it, self.host.connections()?), all))
    }

    /// The packet rules of all networks, as they are loaded, with what each VE that runs may send from.
    pub fn network_rules(&self) -> Result<String> {
        let members = self.host.members()?;
        let ruleset = Ruleset {
            members,
            ..self.host.ruleset()?
        };
        Ok(self.host.firewall.text(&ruleset)?)
    }

    fn ves_by_network(&self) -> Result<BTreeMap<NetworkName, BTreeSet<VeId>>> {
        let mut ves: BTreeMap<NetworkName, BTreeSet<VeId>> = BTreeMap::new();
        for (id, state) in self.host.states()? {
            for interface in state.into_iter().flat_map(|s| s.interfaces) {
                ves.entry(interface.network).or_default().insert(id);
            }
        }
        Ok(ves)
    }

    /// The addresses that VEs have on a network, and what the kernel knows of each.
    fn in_use(&self, name: &NetworkName) -> Result<Vec<AddressState>> {
        let links = self.host.network.list(self.host.config.interface_prefix.as_str())?;
        let routed: BTreeSet<(String, IpAddr)> = pairs(links.into_iter().map(|l| (l.name, l.addresses)));
        let members = self.host.firewall.members(self.host.config.nft_table.as_str())?;
        let admitted: BTreeSet<(String, IpAddr)> = pairs(members.into_iter().map(|m| (m.interface, m.addresses)));
        let mut all = Vec::new();
        for (id, state) in self.host.states()? {
            let Ok(state) = state else { continue };
            for interface in state.interfaces {
                let own = self.host.interface_name(id, &interface);
                for address in interface.addresses.into_iter().filter(|_| interface.network == *name) {
                    let key = (own.clone(), address);
                    all.push(AddressState {
                        address,
                        state: "used",
                        ve: state.name.to_string(),
                        id: Some(id),
                        routed: routed.contains(&key),
                        admitted: admitted.contains(&key),
                        interface: Some(key.0),
                        left: None,
                    });
                }
            }
        }
        Ok(all)
    }
}

fn pairs(all: impl Iterator<Item = (String, Vec<IpAddr>)>) -> BTreeSet<(String, IpAddr)> {
    all.flat_map(|(name, list)| list.into_iter().map(move |address| (name.clone(), address)))
        .collect()
}

fn status(network: &Network, taken: &Taken, ves: usize, connections: u32) -> NetworkStatus {
    NetworkStatus {
        name: network.name.to_string(),
        problem: None,
        description: network.description.clone(),
        kind: Some(network.kind.to_string()),
        pools: census(network, &taken.addresses, &taken.aside, taken.now),
        dns: network.name_servers().clone(),
        search: network.search.iter().map(ToString::to_string).collect(),
        masquerade: network.masquerade,
        mtu: network.mtu,
        big_tcp: network.big_tcp,
        proxy: network.proxy.as_ref().map(ToString::to_string),
        probe: network.probe,
        connections,
        host_services: network.host_services.iter().map(ToString::to_string).collect(),
        names: Some(network.names.by),
        names_shared: network.names.shared,
        quarantine: network.quarantine.duration().as_secs(),
        ves,
    }
}
