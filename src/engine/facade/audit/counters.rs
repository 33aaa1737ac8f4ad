//! Counters of traffic that belong to nobody, or should be there and aren't.

use std::collections::BTreeSet;

use hostel_system::firewall::Standing;

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
        self.audit_counting(inventory, found)?;
        for id in &inventory.known {
            let broken = self.dirs.ve(*id).join(BROKEN);
            if broken.exists() {
                let why = "it made no sense, so its VE's traffic was counted anew from then on";
                found.tell("file", broken.display(), why);
            }
        }
        Ok(())
    }

    /// Rules that were changed by hand leave all counters, which count nothing then. A table that is gone is told by the
    /// counters that are missing.
    fn audit_counting<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let missing = found.0.iter().any(|f| f.orphan.kind == "counter");
        // A network that can't be read is told of with the definitions.
        let counting = self.ruleset().ok().map(|ruleset| self.counting(ruleset.bridged));
        let Some(counting) = counting.filter(|_| !missing && inventory.interfaces().next().is_some()) else {
            return Ok(());
        };
        if self.counters.standing(&counting)? == Standing::Broken {
            let why = "its rules were changed by hand: VEs' traffic isn't counted as it should be";
            found.add("traffic rules", counting.table.clone(), why, move || {
                let _lock = self.lock_firewall("audit")?;
                self.mend_counting(&counting)
            });
        }
        Ok(())
    }
}
