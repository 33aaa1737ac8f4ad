//! Links of VEs that are there, and not as they should be; and what was made for bridges that are no more.

use std::collections::BTreeSet;

use super::Findings;
use super::inventory::Inventory;
use crate::error::Result;
use crate::host::Host;
use crate::ve::registry::Catalogue;

impl Host {
    /// Routes and flags that somebody has changed at the host's ends, and queues that somebody has removed.
    pub(super) fn audit_links<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let mut catalogue = Catalogue::default();
        let queues: BTreeSet<String> = self
            .network
            .shapers(self.config.interface_prefix.as_str())?
            .into_iter()
            .collect();
        let mut links = Vec::new();
        for &id in inventory.running.keys().filter(|id| !inventory.busy.contains(id)) {
            let Ok(state) = self.state(id) else { continue };
            // A network or a definition that can't be read is told of with the definitions.
            links.extend(self.links_of(id, &state, &mut catalogue).unwrap_or_default());
            let Ok(effective) = self.effective(&state.name, &mut catalogue) else {
                continue;
            };
            let lost = self.shapers_of(id, &state, &effective)?;
            for lost in lost.into_iter().filter(|name| !queues.contains(name)) {
                let (state, effective) = (state.clone(), effective.clone());
                let why = "its VE has limits, and what holds them is gone";
                found.add("interface", lost, why, move || {
                    let _lock = self.lock_idle(id)?;
                    self.reshape(id, &state, &effective)
                });
            }
        }
        for (name, why) in self.network.astray(&links)? {
            let its: Vec<_> = links.iter().filter(|l| l.host_name == name).cloned().collect();
            found.add("interface", name, why, move || Ok(self.network.mend(&its)?));
        }
        Ok(())
    }

    /// Networks that were defined beside others since those gave out addresses.
    pub(super) fn audit_pools(&self, found: &mut Findings<'_>) {
        for why in self.clashing_pools() {
            found.tell("definition", "of two networks", why);
        }
    }

    /// A VLAN of an uplink goes with its bridge, but not where somebody else removes that.
    pub(super) fn audit_vlans<'a>(&'a self, found: &mut Findings<'a>) -> Result<()> {
        let vlans = self.network.vlans(self.config.interface_prefix.as_str())?;
        let mut catalogue = Catalogue::default();
        for name in vlans {
            let wants = |network: &String| {
                let read = network.parse().ok().map(|n| catalogue.network(self, &n).cloned());
                // One that can't be read may want it.
                let has = match read {
                    Some(Ok(network)) => network.bridge.is_some_and(|b| b.vlan.is_some()),
                    Some(Err(_)) | None => true,
                };
                has && self.own_name("vl", network) == name
            };
            if self.names_of("networks").iter().any(wants) {
                continue;
            }
            let its = name.clone();
            found.add("interface", name, "no network has this VLAN", move || {
                let _lock = self.lock_firewall("audit")?;
                Ok(self.network.unbridge(&its)?)
            });
        }
        Ok(())
    }
}
