//! What shouldn't exist: `hostel audit`. Everything that exists carries a VE's id in its name, so what exists is
//! matched with what should.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_model::id::VeId;
use hostel_system::file;

use super::{Engine, Orphan, Silent};
use crate::error::{Result, chain};
use crate::ve::record::VeState;
use crate::ve::registry::ids_in;

/// How long the kernel may take to let go of an orphan.
const PATIENCE: Duration = Duration::from_secs(10);

/// The VEs there are, and those that have a run to show for.
#[derive(Debug)]
struct Inventory {
    known: BTreeSet<VeId>,
    live: BTreeSet<VeId>,
    interfaces: BTreeSet<String>,
    mounted: BTreeSet<VeId>,
}

/// How an orphan is removed.
type Remedy<'a> = Box<dyn Fn() -> Result<()> + 'a>;

struct Found<'a> {
    orphan: Orphan,
    remedy: Option<Remedy<'a>>,
}

impl Engine {
    /// What shouldn't exist, or what should and doesn't; removes (or mends) it with `fix`.
    pub fn audit(&self, fix: bool) -> Result<Vec<Orphan>> {
        // A VE that is in the middle of an operation is in no state to be judged: its leavings are that operation's.
        self.finish_pending(fix)?;
        let inventory = self.inventory()?;
        let mut found = Vec::new();
        self.audit_groups(&inventory, &mut found)?;
        self.audit_interfaces(&inventory, &mut found)?;
        self.audit_firewall(&inventory, &mut found)?;
        self.audit_disks(&inventory, &mut found)?;
        self.audit_files(&inventory, &mut found)?;
        self.audit_allocations(&mut found)?;
        Ok(found.into_iter().map(|f| settle(f, fix)).collect())
    }

    /// Ends what killed commands left unfinished, if nobody holds those VEs now.
    fn finish_pending(&self, fix: bool) -> Result<()> {
        if fix {
            for id in self.host.journals.pending()? {
                drop(self.lock_ve(id, "audit", &Silent)?);
            }
        }
        Ok(())
    }

    fn inventory(&self) -> Result<Inventory> {
        let busy = |id: &VeId| matches!(self.host.locks.holder(crate::lock::Subject::Ve(*id)), Ok(Some(_)));
        let mut inventory = Inventory {
            known: BTreeSet::new(),
            live: BTreeSet::new(),
            interfaces: BTreeSet::new(),
            mounted: BTreeSet::new(),
        };
        let unfinished = self.host.journals.pending()?;
        for (id, state) in self.host.states()? {
            inventory.known.insert(id);
            let reality = self.host.reality(id)?;
            let in_the_middle = busy(&id) || unfinished.contains(&id);
            if reality.init.is_some() || in_the_middle {
                inventory.live.insert(id);
                let count = state.map_or(0, |s| s.interfaces.len());
                inventory.interfaces.extend(self.host.interface_names(id, count));
            }
            if reality.state == hostel_model::state::State::Mounted {
                inventory.mounted.insert(id);
            }
        }
        for id in unfinished {
            inventory.known.insert(id);
            inventory.live.insert(id);
        }
        Ok(inventory)
    }

    fn audit_groups<'a>(&'a self, inventory: &Inventory, found: &mut Vec<Found<'a>>) -> Result<()> {
        for id in self
            .host
            .cgroups
            .list()?
            .into_iter()
            .filter(|id| !inventory.live.contains(id))
        {
            let remedy = move || {
                self.host.cgroups.kill(id)?;
                Ok(self.host.cgroups.remove(id, PATIENCE)?)
            };
            found.push(orphan("cgroup", id, "no VE with that id runs", Some(Box::new(remedy))));
        }
        Ok(())
    }

    fn audit_interfaces<'a>(&'a self, inventory: &Inventory, found: &mut Vec<Found<'a>>) -> Result<()> {
        let links = self.host.network.list(self.host.config.interface_prefix.as_str())?;
        let there: BTreeSet<&str> = links.iter().map(|l| l.name.as_str()).collect();
        for missing in inventory
            .interfaces
            .iter()
            .filter(|name| !there.contains(name.as_str()))
        {
            found.push(orphan(
                "interface",
                missing,
                "its VE runs, but it is gone; restart the VE",
                None,
            ));
        }
        for link in links.into_iter().filter(|l| !inventory.interfaces.contains(&l.name)) {
            let name = link.name.clone();
            let remedy = move || Ok(self.host.network.detach(std::slice::from_ref(&name))?);
            found.push(orphan(
                "interface",
                link.name,
                "no VE that runs has it",
                Some(Box::new(remedy)),
            ));
        }
        Ok(())
    }

    fn audit_firewall<'a>(&'a self, inventory: &Inventory, found: &mut Vec<Found<'a>>) -> Result<()> {
        let table = self.host.config.nft_table.as_str();
        let members: BTreeSet<String> = self
            .host
            .firewall
            .members(table)?
            .into_iter()
            .map(|m| m.interface)
            .collect();
        for member in members.iter().filter(|m| !inventory.interfaces.contains(*m)) {
            let name = member.clone();
            let remedy = move || {
                let _lock = self.host.lock_firewall("audit")?;
                Ok(self.host.firewall.expel(table, &name)?)
            };
            found.push(orphan(
                "firewall element",
                member,
                "no VE that runs has that interface",
                Some(Box::new(remedy)),
            ));
        }
        if let Some(missing) = inventory.interfaces.iter().find(|name| !members.contains(*name)) {
            let remedy = move || {
                let _lock = self.host.lock_firewall("audit")?;
                self.host.firewall.ensure(&self.host.ruleset()?)?;
                Ok(self.host.firewall.admit(table, &self.host.members()?)?)
            };
            let why = "the rules were changed by hand: its VE can't send";
            found.push(orphan("firewall element", missing, why, Some(Box::new(remedy))));
        }
        Ok(())
    }

    fn audit_disks<'a>(&'a self, inventory: &Inventory, found: &mut Vec<Found<'a>>) -> Result<()> {
        let ves = self.host.dirs.ves();
        for device in self.host.disks.list(&ves)? {
            let dir = device.backing.parent().map(Path::to_path_buf).unwrap_or_default();
            let id = dir
                .file_name()
                .and_then(|n| n.to_str())
                .and_then(|n| n.parse::<VeId>().ok());
            if id.is_some_and(|id| inventory.live.contains(&id) || inventory.mounted.contains(&id)) {
                continue;
            }
            let remedy: Option<Remedy<'a>> =
                (!device.deleted).then(|| Box::new(move || Ok(self.host.disks.detach(&dir, PATIENCE)?)) as Remedy<'a>);
            let object = format!("{} ({})", device.node().display(), device.backing.display());
            found.push(orphan(
                "loop device",
                object,
                "no VE that runs or is mounted uses it",
                remedy,
            ));
        }
        for id in ids_in(&self.host.dirs.runs())?
            .into_iter()
            .filter(|id| !inventory.mounted.contains(id))
        {
            let disk = self.host.dirs.run(id).join("disk");
            if self.host.mounts.is_mounted(&disk) {
                let remedy = move || self.host.umount(id);
                found.push(orphan(
                    "mount",
                    disk.display(),
                    "its VE is not mounted",
                    Some(Box::new(remedy)),
                ));
            }
        }
        Ok(())
    }

    fn audit_files<'a>(&'a self, inventory: &Inventory, found: &mut Vec<Found<'a>>) -> Result<()> {
        let dirs = &self.host.dirs;
        let mut stale: Vec<(PathBuf, &'static str)> = Vec::new();
        for entry in std::fs::read_dir(dirs.ves()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let id = [".creating-", ".destroyed-"]
                .iter()
                .find_map(|p| name.strip_prefix(p)?.parse::<VeId>().ok());
            if id.is_some_and(|id| !inventory.live.contains(&id)) {
                stale.push((entry.path(), "left by a command that was killed"));
            }
        }
        for id in ids_in(&dirs.runs())?
            .into_iter()
            .filter(|id| !inventory.known.contains(id))
        {
            stale.push((dirs.run(id), "there is no VE with that id"));
        }
        for path in self.host.templates().leftovers()? {
            stale.push((path, "left by a template build or import that was killed"));
        }
        for (path, why) in stale {
            let target = path.clone();
            let remedy = move || Ok(file::remove_tree(&target)?);
            found.push(orphan("staging file", path.display(), why, Some(Box::new(remedy))));
        }
        for name in self.host.names_of("ve") {
            if self.host.find_by_text(&name).is_none() {
                let path = dirs.definitions("ve").join(format!("{name}.toml"));
                let why = "it defines a VE that was never created; create it with --file, or remove it";
                found.push(orphan("definition", path.display(), why, None));
            }
        }
        Ok(())
    }

    /// Two VEs must never share an id range or an address.
    fn audit_allocations(&self, found: &mut Vec<Found<'_>>) -> Result<()> {
        let (mut slots, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for (id, state) in self.host.states()? {
            let state: VeState = match state {
                Ok(state) => state,
                Err(e) => {
                    found.push(orphan("record", id, &chain(&e), None));
                    continue;
                }
            };
            if !slots.insert(state.slot) {
                found.push(orphan(
                    "id range",
                    state.slot,
                    "two VEs have it; one of them has to be made anew",
                    None,
                ));
            }
            for address in state.interfaces.iter().flat_map(|i| &i.addresses) {
                if !addresses.insert(*address) {
                    found.push(orphan(
                        "address",
                        address,
                        "two VEs have it; give one of them another",
                        None,
                    ));
                }
            }
        }
        Ok(())
    }
}

fn orphan<'a>(kind: &str, object: impl ToString, why: &str, remedy: Option<Remedy<'a>>) -> Found<'a> {
    let orphan = Orphan {
        kind: kind.into(),
        object: object.to_string(),
        why: why.into(),
        fixed: false,
        error: None,
    };
    Found { orphan, remedy }
}

fn settle(found: Found<'_>, fix: bool) -> Orphan {
    let mut orphan = found.orphan;
    if let (true, Some(remedy)) = (fix, found.remedy) {
        match remedy() {
            Ok(()) => orphan.fixed = true,
            Err(e) => orphan.error = Some(chain(&e)),
        }
    }
    orphan
}
