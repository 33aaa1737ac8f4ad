//! Orphans on disk: what killed commands left, definitions of no VE, and what two VEs were given.

use std::collections::BTreeMap;
use std::fmt::Display;

use hostel_model::definition::DriverName;
use hostel_model::id::{VeId, VeName};
use hostel_model::request::VeRef;
use hostel_system::file;

use super::Findings;
use super::inventory::Inventory;
use crate::error::{Class, Error, Result, chain};
use crate::host::Host;
use crate::journal::Look;
use crate::templates::Copy;
use crate::ve::registry::ids_in;

impl Host {
    pub(super) fn audit_files<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        for entry in std::fs::read_dir(self.dirs.ves()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let id = [".creating-", ".destroyed-"]
                .iter()
                .find_map(|p| name.strip_prefix(p)?.parse::<VeId>().ok());
            if let Some(id) = id.filter(|id| !inventory.busy.contains(id)) {
                let why = "left by a command that was killed";
                found.add("staging file", entry.path().display(), why, move || {
                    self.of_nobody(id, Self::remove_half_made)
                });
            }
        }
        for path in self.templates().leftovers()? {
            let why = "left by a template build or import that was killed";
            found.add("staging file", path.display(), why, {
                let path = path.clone();
                move || Ok(file::remove_tree(&path)?)
            });
        }
        self.audit_copies(found)?;
        for id in ids_in(&self.dirs.runs())?
            .into_iter()
            .filter(|id| !inventory.known.contains(id))
        {
            let why = "there is no VE with that id";
            found.add("runtime directory", self.dirs.run(id).display(), why, move || {
                self.of_nobody(id, |host, id| match host.dirs.ve(id).exists() {
                    true => Ok(()),
                    false => host.remove_run_dir(id),
                })
            });
        }
        for path in self.journals.corrupt()? {
            let why = "it could not be read and was put aside; nothing follows from it any more";
            found.add("journal", path.display(), why, {
                let path = path.clone();
                move || Ok(file::remove_file(&path)?)
            });
        }
        Ok(())
    }

    /// Removes what is left of an id that no VE has. Whoever was given it meanwhile is waited for, and keeps what is theirs.
    fn of_nobody(&self, id: VeId, remove: impl FnOnce(&Self, VeId) -> Result<()>) -> Result<()> {
        let lock = self.lock_idle(id)?;
        remove(self, id)?;
        match self.dirs.ve(id).exists() {
            true => Ok(()),
            false => lock.retire(),
        }
    }

    /// Copies of a template that the store has no more and on which no VE stands. Those of a single VE go with it.
    fn audit_copies<'a>(&'a self, found: &mut Findings<'a>) -> Result<()> {
        let store = self.templates();
        for copy in store.copies()? {
            if !self.is_orphan(&copy)? {
                continue;
            }
            let why = format!(
                "{} has a copy, and neither the template nor a VE of it is there",
                copy.whose
            );
            let path = copy.path.display().to_string();
            found.add("template copy", path, why, move || {
                let _lock = self.lock_registry("audit")?;
                // A VE may have been made of it since.
                match self.is_orphan(&copy)? {
                    true => self.templates().remove_copy(&copy),
                    false => Ok(()),
                }
            });
        }
        Ok(())
    }

    fn is_orphan(&self, copy: &Copy) -> Result<bool> {
        let gone = matches!(self.templates().show(&copy.reference), Err(e) if e.class == Class::NotFound);
        Ok(copy.shared && gone && self.users_of(&copy.reference)?.is_empty())
    }

    /// Dumps that nothing may go on from: of a suspend that was cut short, and of a VE that runs or has gone on. Its
    /// journal is lost, or the next command would have removed them.
    pub(super) fn audit_dumps<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) {
        for &id in inventory.known.iter().filter(|id| !inventory.busy.contains(id)) {
            let runs = inventory.running.contains_key(&id);
            let stale = [
                (self.dirs.dump_staging(id), true, "left by a suspend that was cut short"),
                (self.dirs.dump_resumed(id), true, "its VE has gone on from it"),
                (
                    self.dirs.dump(id),
                    runs,
                    "its VE runs, and can't go on from it any more",
                ),
            ];
            for (path, _, why) in stale.iter().filter(|(path, is_stale, _)| *is_stale && path.exists()) {
                found.add("dump", path.display(), why, move || {
                    let _lock = self.lock_idle(id)?;
                    self.remove_stale_dumps(id, self.reality(id)?.init.is_some())
                });
            }
        }
    }

    /// What scripts have begun for a run that was cut short, and none has ended: by the host's end, as what ends here is
    /// cleared up at once.
    pub(super) fn audit_hooks<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) {
        for &id in inventory.known.iter().filter(|id| !inventory.busy.contains(id)) {
            if !inventory.running.contains_key(&id) && self.owes_hooks(id) {
                let why =
                    "its scripts of umount or postumount have not run since it ended; its next start runs them first";
                found.add("scripts", format!("of VE {id}"), why, move || {
                    let _lock = self.lock_idle(id)?;
                    let Some(ve) = self.outline(id).filter(|_| self.owes_hooks(id)) else {
                        return Ok(());
                    };
                    let cleared = self.clear(&ve);
                    self.with_hooks_told(id, cleared, &mut |_| ())
                });
            }
        }
    }

    /// What disks and their moves left behind. A disk is never removed that a VE may have been moved from.
    pub(super) fn audit_disks<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        for &id in inventory.known.iter().filter(|id| !inventory.busy.contains(id)) {
            if self.dirs.moving(id).exists() {
                let why = "left by a move of the VE's disk that was killed";
                let path = self.dirs.moving(id);
                found.add("staging file", path.display(), why, move || {
                    let _lock = self.lock_idle(id)?;
                    match self.journals.look(id) {
                        Look::Nothing => self.remove_moving(id),
                        // Who goes on with it needs it perhaps.
                        _ => Ok(()),
                    }
                });
            }
            if self.dirs.replaced(id).exists() {
                let why = "a disk that a reinstallation has put aside, whose journal was lost";
                let path = self.dirs.replaced(id);
                found.add("disk", self.dirs.replaced(id).display(), why, move || {
                    let _lock = self.lock_idle(id)?;
                    if self.journals.look(id) != Look::Nothing {
                        return Ok(()); // who goes on with it needs it
                    }
                    self.settle_replaced(id)?;
                    match path.exists() {
                        true => Err(Error::new(
                            Class::Failed,
                            "whose it is can't be told: a record of it can't be read",
                        )
                        .hint("see what is on it, then put it back or remove it")),
                        false => Ok(()),
                    }
                });
            }
            let Ok(Some(state)) = self.state_of(id) else { continue };
            let others = DriverName::ALL.iter().filter(|name| **name != state.driver);
            for name in others {
                if self.disks.get(*name).exists(&self.dirs.ve(id))? {
                    let why = format!(
                        "its disk is of driver {}, and there is one of driver {name} too; see what is on it, then remove it",
                        state.driver
                    );
                    found.tell("disk", format!("of VE {id}"), why);
                }
            }
        }
        let ids = self.config.idmap;
        let keys = ids.base..ids.base.saturating_add(ids.count.saturating_mul(65_536));
        for (driver, leftover) in self.disks.leftovers(&self.dirs.ves(), keys)? {
            let why = "no file belongs to it any more: its disk was removed by other hands";
            found.add("quota", leftover, why, move || {
                Ok(self.disks.get(driver).clear(&self.dirs.ves(), &leftover)?)
            });
        }
        Ok(())
    }

    /// Definitions that others name: whoever needs one with mistakes can't start.
    pub(super) fn audit_mistakes(&self, found: &mut Findings<'_>) {
        for (kind, _, path, why) in self.broken_definitions() {
            let why = format!("no VE with this {kind} can start, and those that run are held as it said before: {why}");
            found.tell("definition", path.display(), why);
        }
    }

    /// Definitions are a person's: none is removed.
    pub(super) fn audit_definitions(&self, inventory: &Inventory, found: &mut Findings<'_>) -> Result<()> {
        for name in self.names_of("ve") {
            let Ok(name) = name.parse::<VeName>() else { continue };
            let being_made = self.definition(&name).is_ok_and(|d| inventory.busy.contains(&d.id));
            if !being_made && self.locate(&VeRef::Name(name.clone()))?.is_none() {
                let path = self.dirs.definition(&name);
                let path = path.display();
                let why = format!(
                    "it defines a VE that was never created; make it with: hostel create --file {path}, or remove it"
                );
                found.tell("definition", path, why);
            }
        }
        Ok(())
    }

    /// Two VEs must never share an id range or an address.
    pub(super) fn audit_allocations<'a>(&'a self, found: &mut Findings<'a>) -> Result<()> {
        let (mut slots, mut addresses, mut macs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (id, state) in self.states()? {
            let state = match state {
                Ok(state) => {
                    if let Some(why) = &state.damaged {
                        let why = format!("{why}; its copy is used");
                        let ve = format!("of VE {id}");
                        found.add("record", ve, why, move || self.mend_record(id, &crate::facade::Silent));
                    }
                    state
                }
                Err(e) => {
                    found.tell("record", format!("of VE {id}"), chain(&e));
                    continue;
                }
            };
            if let Some(other) = slots.insert(state.slot, id) {
                let remedy = "destroy one of them and create it anew";
                found.tell("id range", state.slot, twice(id, other, remedy));
            }
            for mac in state.interfaces.iter().map(|i| i.mac) {
                if let Some(other) = macs.insert(mac, id) {
                    found.tell(
                        "hardware address",
                        mac,
                        twice(id, other, "give one of them another (mac)"),
                    );
                }
            }
            for address in state.interfaces.iter().flat_map(|i| &i.addresses) {
                if let Some(other) = addresses.insert(*address, id) {
                    found.tell("address", address, twice(id, other, "give one of them another"));
                }
            }
        }
        Ok(())
    }
}

fn twice(one: VeId, other: VeId, remedy: impl Display) -> String {
    format!("VEs {other} and {one} have it; {remedy}")
}
