//! What the host answers for on its interfaces, on behalf of VEs.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Findings;
use super::inventory::Inventory;
use crate::error::Result;
use crate::host::Host;
use crate::ve::registry::Catalogue;

impl Host {
    /// Entries of VEs that are no more, and such as are missing: an interface that was down for a moment has lost all.
    pub(super) fn audit_proxies<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let (mut may_be, mut must_be) = (BTreeSet::new(), BTreeSet::new());
        let mut catalogue = Catalogue::default();
        for (id, state) in self.states()? {
            let Ok(state) = state else { continue };
            if !inventory.may_live(id) {
                continue;
            }
            may_be.extend(state.addresses());
            for interface in state.interfaces.iter().filter(|_| !inventory.busy.contains(&id)) {
                let network = catalogue.network(self, &interface.network).ok();
                let uplink = network.and_then(|n| n.proxy.as_ref()).map(ToString::to_string);
                let uplinks = uplink
                    .iter()
                    .flat_map(|u| interface.addresses.iter().map(|a| (u.clone(), *a)));
                must_be.extend(uplinks);
            }
        }
        let there = self.network.proxied(self.config.interface_prefix.as_str())?;
        for orphan in there.iter().filter(|p| p.ours && !may_be.contains(&p.address)) {
            let address = orphan.address;
            let why = "this host answers for it, and no VE that runs has it";
            found.add("proxy entry", object(&orphan.uplink, address), why, move || {
                Ok(self.network.unproxy(&[address])?)
            });
        }
        let there: BTreeSet<(String, IpAddr)> = there.into_iter().map(|p| (p.uplink, p.address)).collect();
        for (uplink, address) in must_be.difference(&there).cloned() {
            let why = "it is gone: nobody out there finds the VE that has this address";
            found.add("proxy entry", object(&uplink, address), why, move || {
                Ok(self.network.proxy(&uplink, &[address])?)
            });
        }
        Ok(())
    }
}

fn object(uplink: &str, address: IpAddr) -> String {
    format!("{address} on {uplink}")
}
