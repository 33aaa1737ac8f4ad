//! Ports of the host that lead elsewhere than the records say.

use std::collections::BTreeSet;

use hostel_system::firewall::Member;

use super::Findings;
use super::inventory::Inventory;
use crate::error::Result;
use crate::host::Host;

fn ports(member: &Member) -> BTreeSet<String> {
    member.forwards.iter().map(ToString::to_string).collect()
}

impl Host {
    /// Of interfaces that have elements at all: those of others, and those that are missing, are told as a whole.
    pub(super) fn audit_forwards<'a>(
        &'a self,
        inventory: &Inventory,
        there: &[Member],
        found: &mut Findings<'a>,
    ) -> Result<()> {
        let table = self.config.nft_table.as_str();
        for stray in self.firewall.stray_forwards(table)? {
            let why = "it was added by hand: a port of the host leads where no VE's record says";
            found.add("firewall element", stray, why, move || {
                let _lock = self.lock_firewall("audit")?;
                Ok(self.firewall.remove_stray_forwards(table)?)
            });
        }
        for member in self.members()? {
            let has = there.iter().find(|m| m.interface == member.interface);
            let differs = has.is_some_and(|has| ports(has) != ports(&member));
            if !differs || !inventory.interfaces().any(|name| *name == member.interface) {
                continue;
            }
            let object = format!("forwards of {}", member.interface);
            let why = "the rules were changed by hand: ports of the host lead elsewhere than they should";
            found.add("firewall element", object, why, move || {
                let _lock = self.lock_firewall("audit")?;
                Ok(self.firewall.admit(table, std::slice::from_ref(&member))?)
            });
        }
        Ok(())
    }
}
