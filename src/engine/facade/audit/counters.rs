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
        // Those of a VE that has ended wait for room to be written down: they are its own, and go on when it starts.
        let owned = |name: &&String| {
            let id = self.config.interface_prefix.id_of(name);
            id.is_some_and(|id| inventory.known.contains(&id) || inventory.busy.contains(&id))
        };
        for name in counted.iter().filter(|name| !owned(name)) {
            let names = vec![name.clone()];
            found.add("counter", name, "there is no such VE", move || {
                Ok(self.counters.end(&self.traffic_table(), &names)?)
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
