//! Counters of traffic that belong to nobody, or should be there and aren't.

use std::collections::BTreeSet;

use super::Findings;
use super::inventory::Inventory;
use crate::error::Result;
use crate::host::Host;
use crate::ve::counting::BROKEN;

impl Host {
    pub(super) fn audit_counters<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let readings = self.counters.read(&self.traffic_table(), None)?;
        let counted: BTreeSet<String> = readings.into_iter().map(|r| r.interface).collect();
        for name in counted.iter().filter(|name| !inventory.may_have_interface(name)) {
            let id = self.config.interface_prefix.id_of(name);
            let names = vec![name.clone()];
            found.add("counter", name, "no VE that runs has that interface", move || {
                // Whose it was may still want to know what passed.
                match id.filter(|id| self.outline(*id).is_some()) {
                    Some(id) => {
                        let _lock = self.lock_idle(id)?;
                        self.end_counting(id, &names)
                    }
                    None => Ok(self.counters.end(&self.traffic_table(), &names)?),
                }
            });
        }
        for missing in inventory.interfaces().filter(|name| !counted.contains(*name)) {
            found.add(
                "counter",
                missing,
                "it is gone: its VE's traffic isn't counted",
                move || {
                    let _lock = self.lock_firewall("audit")?;
                    self.mend_counting(&self.counting(self.ruleset()?.bridged))
                },
            );
        }
        for id in &inventory.known {
            let broken = self.dirs.ve(*id).join(BROKEN);
            if broken.exists() {
                let why = "it made no sense, so its VE's traffic was counted anew from then on";
                found.tell("file", broken.display(), why);
            }
        }
        Ok(())
    }
}
