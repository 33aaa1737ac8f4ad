//! Prefixes that are routed to VEs: whose they may be.

use std::net::IpAddr;

use hostel_model::definition::overlap;
use hostel_model::resolve::{Effective, Interface};
use ipnetwork::IpNetwork;

use super::record::InterfaceState;
use super::registry::Catalogue;
use super::taken::Taken;
use crate::error::{Class, Error, Result};
use crate::host::Host;

impl Taken {
    /// Whose prefix this address is in.
    pub fn owner_of(&self, address: IpAddr) -> Option<&str> {
        let found = self.routes.iter().find(|(p, _)| p.contains(address));
        found.map(|(_, name)| name.as_str())
    }

    /// Does a prefix or an address of these, IP or hardware, belong to others?
    pub fn lost(&self, interfaces: &[InterfaceState]) -> bool {
        let address = |a: &IpAddr| self.addresses.contains(a) || self.owner_of(*a).is_some();
        let prefix = |p: &IpNetwork| self.owner(p).is_some() || self.addresses.iter().any(|a| p.contains(*a));
        interfaces
            .iter()
            .any(|i| self.macs.contains_key(&i.mac) || i.addresses.iter().any(address) || i.routes.iter().any(prefix))
    }

    fn owner(&self, prefix: &IpNetwork) -> Option<&str> {
        let found = self.routes.iter().find(|(p, _)| overlap(p, prefix));
        found.map(|(_, name)| name.as_str())
    }
}

impl Host {
    /// A prefix is one VE's, and in no pool: what is in a pool is given to VEs one by one.
    pub(super) fn judge_routes(&self, ve: &Effective, taken: &Taken) -> Result<()> {
        let mut catalogue = Catalogue::default();
        let prefixes = ve.interfaces.iter().enumerate();
        for (n, prefix) in prefixes.flat_map(|(n, i)| i.routes.iter().map(move |p| (n, p))) {
            let refuse = |why: String| {
                let place = self.place(ve, None, &format!("network.{n}.routes"));
                Error::new(Class::Refused, format!("{prefix} can't be routed to {}", ve.name))
                    .because(format!("{place}{why}"))
            };
            if let Some(other) = taken.owner(prefix) {
                return Err(refuse(format!("it is, in whole or in part, VE \"{other}\"'s")));
            }
            if let Some(address) = taken.addresses.iter().find(|a| prefix.contains(**a)) {
                let all = self.all_states()?;
                let owner = all.iter().find(|s| s.addresses().any(|a| a == *address));
                let owner = owner.map_or_else(|| "another VE".to_owned(), |s| format!("VE \"{}\"", s.name));
                return Err(refuse(format!("{address} is in it, which {owner} has")));
            }
            for name in self.names_of("networks") {
                // One that can't be read keeps only its own VEs from starting.
                let Ok(parsed) = name.parse() else { continue };
                let Ok(network) = catalogue.network_in_force(self, &parsed) else {
                    continue;
                };
                if let Some(pool) = network.pools.iter().find(|p| overlap(p, prefix)) {
                    return Err(refuse(format!("it overlaps {pool}, a pool of network \"{name}\"")));
                }
            }
        }
        Ok(())
    }

    /// The host routes a prefix by an address of the VE's.
    pub(super) fn judge_gateways(&self, ve: &Effective, interface: &Interface, addresses: &[IpAddr]) -> Result<()> {
        let without = |p: &&IpNetwork| addresses.iter().all(|a| a.is_ipv6() != p.is_ipv6());
        match interface.routes.iter().find(without) {
            None => Ok(()),
            Some(prefix) => {
                let (name, network) = (&ve.name, &interface.network.name);
                Err(
                    Error::new(Class::Refused, format!("{prefix} can't be routed to {name}"))
                        .because(format!("it has no address of that family on network \"{network}\"")),
                )
            }
        }
    }
}
