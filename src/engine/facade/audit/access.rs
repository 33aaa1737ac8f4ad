//! Access rules that are not as the definitions want them.

use std::collections::BTreeSet;

use hostel_model::definition::Peer;
use hostel_system::firewall::Guard;

use super::Findings;
use super::inventory::Inventory;
use crate::error::Result;
use crate::host::Host;
use crate::ve::registry::Catalogue;

impl Host {
    /// Changed by hand, of a VE that doesn't run, or others than its definition and its tenant's say.
    pub(super) fn audit_access<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let table = self.access_table();
        let loaded = self.access.loaded(&table)?;
        let reload = || {
            let _lock = self.lock_firewall("audit")?;
            self.reload_access(None, None).map(drop)
        };
        if loaded.changed_by_hand {
            let why = "they were changed by hand, or are of another version or limit of connections";
            found.add("access rules", &table, why, reload);
        }
        for &id in loaded.guards.keys().filter(|id| !inventory.may_live(**id)) {
            found.add("access rules", format!("of VE {id}"), "it doesn't run", move || {
                self.unguard(id)
            });
        }
        let mut catalogue = Catalogue::default();
        for &id in inventory.running.keys().filter(|id| !inventory.busy.contains(id)) {
            let Ok(state) = self.state(id) else { continue };
            // One that can't be read is told of elsewhere, and keeps what it has.
            let Ok(effective) = self.effective(&state.name, &mut catalogue) else {
                continue;
            };
            let wants = self.guard_of(id, &state, &effective.access).as_ref().map(Guard::marks);
            if loaded.guards.get(&id) == wants.as_ref() {
                continue;
            }
            let why = match loaded.guards.contains_key(&id) {
                true => "they are others than its definition's; \"hostel firewall apply\" makes them follow",
                false => "its definition has some, and none are in force",
            };
            found.add("access rules", format!("of VE {id}"), why, move || {
                self.guard(id, &state, &effective.access, "audit").map(drop)
            });
        }
        let named: BTreeSet<Peer> = loaded.peers.keys().cloned().collect();
        let wanted = self.peers(&named)?;
        for (peer, _) in wanted.iter().filter(|(peer, has)| loaded.peers.get(peer) != Some(has)) {
            let why = "its addresses in rules are not those that it has";
            found.add("access rules", format!("with {peer}"), why, || {
                self.refresh_peers("audit")
            });
        }
        Ok(())
    }
}
