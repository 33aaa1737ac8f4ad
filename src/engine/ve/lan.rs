//! Addresses that somebody else has: the host itself, or who is on an Ethernet that isn't Hostel's alone.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use hostel_model::aside::Aside;
use hostel_model::definition::{Addresses, Network};
use hostel_model::id::VeName;
use hostel_model::ipam::{self, Family};
use hostel_model::resolve::Effective;
use hostel_system::net::{Link, Probe, check};

use super::record::{InterfaceState, VeState};
use super::registry::Catalogue;
use super::taken::Taken;
use crate::error::{Class, Error, Result};
use crate::host::Host;

/// How long the LAN is asked, for all addresses together. RFC 5227 takes seconds for one; machines that are up answer
/// within a few milliseconds, and each is asked three times.
const WITHIN: Duration = Duration::from_millis(300);
/// So many addresses of a family are asked for at once when "auto" is to choose one, and this often at most.
const DRAW: usize = 16;
const DRAWS: usize = 4;

impl Host {
    /// Refuses addresses that others have, or the host itself. Those of `links` are asked for, which are the VE's interfaces
    /// in order. `there`: those of them that a VE which runs has already, and may answer by.
    pub fn probe(&self, state: &VeState, links: &[Link], there: &[InterfaceState]) -> Result<()> {
        let new = |a: &IpAddr| !there.iter().any(|i| i.addresses.contains(a));
        self.refuse_own(&state.name, state.addresses().filter(new).collect())?;
        let mut catalogue = Catalogue::default();
        let mut probes = Vec::new();
        for (interface, link) in state.interfaces.iter().zip(links) {
            let network = catalogue.network(self, &interface.network)?;
            let answers = link.port.is_some() && there.iter().any(|i| i.number() == interface.number());
            let on = link.port.as_ref().map(|p| &p.bridge).or(link.proxy.as_ref());
            probes.extend(on.filter(|_| network.probe).map(|on| Probe {
                interface: on.clone(),
                instead: None,
                addresses: link.addresses.clone(),
                own: answers.then_some(link.mac),
                rivals: true,
            }));
        }
        if probes.iter().all(|p| p.addresses.is_empty()) {
            return Ok(());
        }
        let found = self.network.probe(&probes, WITHIN)?;
        if found.is_empty() {
            return Ok(());
        }
        let same = |mac: &[u8; 6]| links.iter().any(|l| l.port.is_some() && l.mac == *mac);
        let one = |(address, mac): &(IpAddr, [u8; 6])| {
            let same = if same(mac) {
                ", the hardware address of this VE, too"
            } else {
                ""
            };
            format!("{address} is at {}{same}", check::mac_text(*mac))
        };
        let list: Vec<String> = found.iter().map(one).collect();
        let error = Error::new(
            Class::Refused,
            format!(
                "somebody else on the LAN has addresses of {}, or is about to",
                state.name
            ),
        )
        .because(list.join("; "));
        let error = match found.iter().any(|(_, mac)| same(mac)) {
            true => error.hint(
                "a VE of another host has the same id, which hardware addresses are made of: give one of them another by \
                 \"mac\" of its [[network]], or recreate it with another id",
            ),
            false => error,
        };
        Err(error
            .hint("find that machine, or give the VE another address: hostel address add, hostel address remove")
            .hint("or don't ask: probe = false in the network's definition"))
    }

    /// Refuses addresses that the host itself has: who sends to them means the host, and is heard by it alone.
    pub fn refuse_own(&self, name: &VeName, addresses: Vec<IpAddr>) -> Result<()> {
        let own = self.network.own(&addresses)?;
        let Some(one) = own.first() else { return Ok(()) };
        Err(Error::new(Class::Refused, format!("address {one} can't be {name}'s"))
            .because("the host itself has it")
            .hint(
                "give the VE another one, and name the host's by \"exclude\" of the network; or take it from the host",
            ))
    }

    /// Which of the addresses that "auto" would give to this VE's interfaces, next to those that they have, others have
    /// out there. All are asked for together; as a rule that takes as long as to ask for one.
    pub fn heard_for(&self, ve: &Effective, has: &[InterfaceState], taken: &Taken) -> Result<BTreeSet<IpAddr>> {
        let keeps = |network: &Network| has.iter().any(|i| i.network == network.name && !i.addresses.is_empty());
        let new = ve.interfaces.iter().filter(|i| i.addresses == Addresses::Auto);
        let networks = new.map(|i| &i.network).filter(|n| !keeps(n));
        let wants: Vec<_> = networks.flat_map(|n| ipam::families(n).map(move |f| (n, f))).collect();
        self.heard(&wants, &taken.addresses, &taken.aside, taken.now)
    }

    /// The same for an address of each of these families: all that answered, or are the host's own, before one of each was
    /// found that nobody has.
    pub fn heard(
        &self,
        wants: &[(&Network, Family)],
        used: &BTreeSet<IpAddr>,
        aside: &Aside,
        now: i64,
    ) -> Result<BTreeSet<IpAddr>> {
        let mut heard = BTreeSet::new();
        let draw = |heard: &mut _, network: &Network, family, most| loop {
            let not: BTreeSet<IpAddr> = used.union(heard).copied().collect();
            let drawn = ipam::candidates(network, family, &not, aside, now, most);
            match self.network.own(&drawn)? {
                own if own.is_empty() => return Ok::<_, Error>(drawn),
                own => heard.extend(own),
            }
        };
        let mut asked = Vec::new();
        for (network, family) in wants {
            match self.ear(network) {
                Some(ear) => asked.push((ear, *network, *family)),
                None => drop(draw(&mut heard, network, *family, 1)?),
            }
        }
        let mut wants = asked;
        for _ in 0..DRAWS {
            let mut probes = Vec::new();
            for (ear, network, family) in &wants {
                probes.push(Probe {
                    addresses: draw(&mut heard, network, *family, DRAW)?,
                    ..ear.clone()
                });
            }
            if probes.iter().all(|p| p.addresses.is_empty()) {
                return Ok(heard);
            }
            heard.extend(self.network.probe(&probes, WITHIN)?.into_iter().map(|(a, _)| a));
            let answered = |p: &Probe| !p.addresses.is_empty() && p.addresses.iter().all(|a| heard.contains(a));
            let mut still = probes.iter().map(answered);
            wants.retain(|_| still.next().unwrap_or(false));
            if wants.is_empty() {
                return Ok(heard);
            }
        }
        let names: BTreeSet<&str> = wants.iter().map(|(_, n, _)| n.name.as_str()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        Err(Error::new(
            Class::Limit,
            format!("no address of network {names} was found that nobody has"),
        )
        .because(format!("{} that are free here all answer on its LAN", DRAW * DRAWS))
        .hint("leave them out by \"ranges\" or \"exclude\" of the network; or find who answers for all: a router's proxy ARP may")
        .hint("or don't ask: probe = false in the network's definition"))
    }

    /// Where the LAN of a network is asked, if it is to be: its bridge, or what is to be the bridge's uplink; or where the
    /// host answers for its VEs.
    fn ear(&self, network: &Network) -> Option<Probe> {
        let bridge = network.bridge.as_ref();
        let uplink = bridge.and_then(|b| b.uplink.as_ref().filter(|_| b.vlan.is_none()));
        let on = match bridge {
            Some(bridge) => self.bridge_name(network.name.as_str(), bridge),
            None => network.proxy.as_ref()?.to_string(),
        };
        network.probe.then(|| Probe {
            interface: on,
            instead: uplink.map(ToString::to_string),
            addresses: Vec::new(),
            own: None,
            // Whoever else chooses asks for more than he will take. What is taken is asked for once more at the start.
            rivals: false,
        })
    }
}
