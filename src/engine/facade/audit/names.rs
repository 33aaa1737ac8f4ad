//! Names that are said of nobody, not said though they should be, or not known to a VE that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use hostel_model::definition::Naming;
use hostel_model::id::{NetworkName, VeId};
use hostel_system::file;

use super::Findings;
use super::inventory::Inventory;
use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::ve::name_server::Service;
use crate::ve::names::Listed;
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;

/// What is to be said of VEs.
#[derive(Default)]
struct Right {
    /// The networks on which names are told.
    on: BTreeSet<NetworkName>,
    /// Those of which that can't be read.
    unknown: BTreeSet<NetworkName>,
    /// The files that there should be, each with whose it is and its text.
    files: BTreeMap<PathBuf, (VeState, String)>,
    /// The VEs of which nobody can read what they are called.
    vague: BTreeSet<VeId>,
}

impl Host {
    pub(super) fn audit_names<'a>(&'a self, inventory: &Inventory, found: &mut Findings<'a>) -> Result<()> {
        let right = self.right_names(inventory)?;
        for (path, (state, text)) in &right.files {
            let settled = !inventory.busy.contains(&state.id);
            if settled && file::read_opt(path)?.as_ref() != Some(text) {
                let why = format!("it doesn't say what {} is called", state.name);
                let state = state.clone();
                found.add("names", path.display(), why, move || {
                    let _lock = self.lock_idle(state.id)?;
                    done(self.tell_names(&state, "audit"))
                });
            }
        }
        for network in self.listed_networks() {
            if !right.unknown.contains(&network) {
                self.audit_said(inventory, &network, &right, found);
            }
        }
        self.audit_name_servers(found)?;
        let running = inventory.running.keys().filter(|id| !inventory.busy.contains(id));
        for (state, _) in self.behind(&running.copied().collect()) {
            let why = "its /etc/hosts was not given the names that it may know now";
            found.add("names", format!("in VE {}", state.id), why, move || {
                self.tell_behind(&BTreeSet::from([state.id]))
            });
        }
        Ok(())
    }

    /// Those that run and shouldn't, and those that should and don't.
    fn audit_name_servers<'a>(&'a self, found: &mut Findings<'a>) -> Result<()> {
        let there = std::fs::read_dir(self.dirs.name_servers())
            .into_iter()
            .flatten()
            .flatten();
        let there = there.filter_map(|e| e.file_name().into_string().ok());
        let all = self.names_of("networks").into_iter().chain(there);
        let all: BTreeSet<NetworkName> = all.filter_map(|name| name.parse().ok()).collect();
        for network in all {
            let service = self.service_of(&network);
            if self.is_served(&network, &service)? {
                continue;
            }
            let why = match service {
                Service::Config(..) => "it doesn't run with the names that there are",
                Service::None | Service::Unknown => "it is there for nobody",
            };
            found.add("name server", format!("of network {network}"), why, move || {
                self.settle_name_server(&network, "audit")
            });
        }
        Ok(())
    }

    /// What is said on a network and shouldn't be.
    fn audit_said<'a>(&'a self, inventory: &Inventory, network: &NetworkName, right: &Right, found: &mut Findings<'a>) {
        let listed = self.listed(network);
        let ids: BTreeSet<VeId> = listed.iter().map(|l| l.id).collect();
        if !right.on.contains(network) {
            let (dir, why) = (self.dirs.names(network), "names are not told on this network");
            found.add("names", dir.clone().display(), why, move || {
                file::remove_tree(&dir)?;
                self.tell_behind(&ids)
            });
            return;
        }
        let unclear = |id: &VeId| inventory.busy.contains(id) || right.vague.contains(id);
        for Listed { id, path, .. } in listed {
            if right.files.contains_key(&path) || unclear(&id) {
                continue;
            }
            let why = format!("VE {id} is not on this network, or of another tenant");
            let ids = ids.clone();
            found.add("names", path.clone().display(), why, move || {
                file::remove_file(&path)?;
                self.tell_behind(&ids)
            });
        }
    }

    fn right_names(&self, inventory: &Inventory) -> Result<Right> {
        let (mut right, mut catalogue) = (Right::default(), Catalogue::default());
        for name in self
            .names_of("networks")
            .into_iter()
            .filter_map(|n| n.parse::<NetworkName>().ok())
        {
            match catalogue.network(self, &name) {
                Ok(network) if network.names.by == Naming::Off => {}
                Ok(_) => drop(right.on.insert(name)),
                Err(_) => drop(right.unknown.insert(name)),
            }
        }
        right.vague.clone_from(&inventory.known);
        for state in self.states()?.into_iter().filter_map(|(_, state)| state.ok()) {
            let networks = state.interfaces.iter().map(|i| i.network.clone());
            let networks: BTreeSet<NetworkName> = networks.filter(|n| right.on.contains(n)).collect();
            let listing = |n: &NetworkName| self.listing(&state, n, &mut catalogue);
            if let Ok(files) = networks.iter().map(listing).collect::<Result<Vec<_>>>() {
                right.vague.remove(&state.id);
                let files = files.into_iter().map(|(path, text)| (path, (state.clone(), text)));
                right.files.extend(files);
            }
        }
        Ok(right)
    }

    fn tell_behind(&self, ids: &BTreeSet<VeId>) -> Result<()> {
        done(self.spread_to(ids, "audit"))
    }
}

/// What is only a word elsewhere is what was asked for here.
fn done(told: Vec<String>) -> Result<()> {
    match told.into_iter().next() {
        None => Ok(()),
        Some(line) => Err(Error::new(Class::Failed, line)),
    }
}
