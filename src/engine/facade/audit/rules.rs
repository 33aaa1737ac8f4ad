//! Rules that somebody has changed, and elements that are not those that a VE should have.

use std::collections::BTreeMap;

use hostel_model::id::VeId;
use hostel_model::traffic::Reading;
use hostel_system::firewall::{Peers, Standing};

use super::inventory::Inventory;
use super::{Findings, Orphan, orphan};
use crate::error::{Result, chain};
use crate::host::Host;

/// What is wrong with a table that isn't as it should be.
fn why(standing: Standing) -> &'static str {
    match standing {
        Standing::Outdated => "the networks' definitions want other rules; the next start loads them",
        Standing::Current | Standing::Broken => "its rules were changed by hand, or are gone",
    }
}

impl Host {
    /// For who looks again and again while VEs run: tables of which somebody has changed the rules, or which are gone, are
    /// loaded again. Their names.
    pub(crate) fn mend_broken(&self) -> Result<Vec<String>> {
        // A network that can't be read is the audit's to tell of.
        let Ok(ruleset) = self.ruleset() else {
            return Ok(Vec::new());
        };
        let (acl, counting) = (self.access_table(), self.counting(ruleset.bridged));
        // Definitions that want other rules by now wait for the next start.
        let look = || -> Result<[bool; 3]> {
            Ok([
                self.firewall.standing(&ruleset)? == Standing::Broken,
                self.dirs.rules_due().exists()
                    && (!self.access.exists(&acl)? || self.access.loaded(&acl)?.changed_by_hand),
                self.counters.standing(&counting)? == Standing::Broken,
            ])
        };
        if look()? == [false; 3] || self.members()?.is_empty() {
            return Ok(Vec::new());
        }
        let _lock = self.lock_firewall("manager")?;
        // Whoever was loading them has done so.
        let [rules, access, counters] = look()?;
        if access {
            self.mend_access()?;
        }
        if rules {
            self.mend_firewall()?;
        }
        if counters {
            self.mend_counting(&counting)?;
        }
        let mended = [(rules, &ruleset.table), (access, &acl), (counters, &counting.table)];
        Ok(mended
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, table)| table.clone())
            .collect())
    }

    /// At once, and not after another look: until then nobody sees to it who sends what.
    pub(super) fn mend_rules(&self) -> Result<Option<Orphan>> {
        // A network that can't be read is told of with the definitions.
        let Ok(ruleset) = self.ruleset() else { return Ok(None) };
        let standing = self.firewall.standing(&ruleset)?;
        if standing == Standing::Current || self.members()?.is_empty() {
            return Ok(None);
        }
        let mut orphan = orphan("firewall table", &ruleset.table, why(standing));
        let mended = self.lock_firewall("audit").and_then(|_lock| self.mend_firewall());
        match mended {
            Ok(_) => orphan.fixed = true,
            Err(e) => orphan.error = Some(chain(&e)),
        }
        Ok(Some(orphan))
    }

    /// While VEs run; the next start of one sees to it where none does.
    pub(super) fn audit_rules<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        if inventory.interfaces().next().is_none() {
            return Ok(());
        }
        let table = self.config.nft_table.as_str();
        let there = self.firewall.members(table)?;
        // One that isn't there, or is empty, is told by the elements that are missing. A network that can't be read is
        // told of with the definitions.
        let ruleset = self.ruleset().ok().filter(|_| !there.is_empty());
        let standing = ruleset.map(|ruleset| self.firewall.standing(&ruleset)).transpose()?;
        if let Some(standing) = standing.filter(|s| *s != Standing::Current) {
            found.add("firewall table", table, why(standing), move || {
                let _lock = self.lock_firewall("audit")?;
                self.mend_firewall().map(drop)
            });
        }
        self.audit_elements(inventory, found)
    }

    /// Of interfaces that have some. Forwards have a word of their own.
    fn audit_elements<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let table = self.config.nft_table.as_str();
        let elements = found.0.iter().filter(|f| f.orphan.kind == "firewall element");
        let told: Vec<String> = elements.map(|f| f.orphan.object.clone()).collect();
        let is_told = |name: &str| told.iter().any(|object| object.split(' ').next_back() == Some(name));
        let members = self.members()?;
        for name in self.firewall.deviating(table, &members)? {
            if !inventory.may_have_interface(&name) && !is_told(&name) {
                let why = "no VE that runs has that interface";
                let its = name.clone();
                found.add("firewall element", name, why, move || {
                    let _lock = self.lock_firewall("audit")?;
                    Ok(self.firewall.expel(table, &its)?)
                });
                continue;
            }
            let wanted = members.iter().find(|m| m.interface == name).cloned();
            let Some(member) = wanted.filter(|_| !is_told(&name) && inventory.interfaces().any(|i| *i == name)) else {
                continue;
            };
            let why =
                "they were changed by hand, or its network's definition was: its VE may do other things than it should";
            found.add("firewall element", format!("elements of {name}"), why, move || {
                let _lock = self.lock_firewall("audit")?;
                Ok(self.firewall.admit(table, std::slice::from_ref(&member))?)
            });
        }
        Ok(())
    }

    /// Tables that this Hostel loaded under another name: of the VEs that have started since, they let nothing pass.
    pub(super) fn audit_tables<'a>(&'a self, found: &mut Findings<'a>) -> Result<()> {
        let (table, prefix) = (self.config.nft_table.as_str(), self.config.interface_prefix.as_str());
        for old in self.firewall.strays(table, prefix)? {
            let why = format!("it is of VEs of this host, whose table is {table} by now");
            found.add("firewall table", old.clone(), why, move || self.abandon(&old));
        }
        Ok(())
    }

    /// What is in force under the new name comes first; what was counted under the old one is written down.
    fn abandon(&self, old: &str) -> Result<()> {
        {
            let _lock = self.lock_firewall("audit")?;
            self.mend_firewall()?;
            self.firewall.remove(old)?;
            self.access.replace(&format!("{old}_acl"), &[], &Peers::new())?;
        }
        let counted = format!("{old}_traffic");
        let mut of_each: BTreeMap<VeId, Vec<Reading>> = BTreeMap::new();
        for reading in self.counters.read(&counted, None)? {
            if let Some(id) = self.config.interface_prefix.id_of(&reading.interface) {
                of_each.entry(id).or_default().push(reading);
            }
        }
        for (id, readings) in of_each {
            if !self.dirs.ve(id).is_dir() {
                continue;
            }
            let _lock = self.lock_idle(id)?;
            self.note_traffic(id, &readings)?;
        }
        Ok(self.counters.remove(&counted)?)
    }
}
