//! What VEs are called on their networks, and who is told.
//!
//! `names/NETWORK/ID.TENANT` of the data directory says in lines of hosts(5) what one VE is called there. Such a file
//! follows the VE's record and its definition: it comes when the VE is created and goes when it is destroyed, so that a
//! start or a stop is no news to anybody. What a VE may know of the others stands in a block of its /etc/hosts. A start
//! writes it with all else; when a file has changed, the block of each VE that runs there and knows another text is
//! written by a child inside it. `names` in the VE's runtime directory has a digest of the text that it was given last.
//!
//! Nothing fails for a name that can't be told: whoever is at fault may be a guest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use hostel_model::definition::Naming;
use hostel_model::id::{NetworkName, TenantName, VeId};
use hostel_model::state::State;
use hostel_system::file;
use hostel_system::process::{Enter, Place, Switches, Task};

use super::called::{Called, lines};
use super::record::VeState;
use super::registry::Catalogue;
use crate::error::{Error, Result, chain};
use crate::guest::neighbours;
use crate::host::Host;
use crate::journal::checksum;

/// How long a guest may keep us from writing its file.
const ONE: Duration = Duration::from_secs(1);
/// How long all of them together may.
const ALL: Duration = Duration::from_secs(3);
/// The file with the digest in a VE's runtime directory.
const NOTED: &str = "names";

/// A file about one VE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The VE.
    pub id: VeId,
    /// Whose it is.
    pub tenant: TenantName,
    /// The file.
    pub path: PathBuf,
}

impl Listed {
    /// What it says; one that has gone since says nothing.
    pub fn read(&self) -> Option<Called> {
        Called::read(&file::read_opt(&self.path).ok().flatten()?)
    }
}

/// What was read, for many VEs: those of one tenant on the same networks know the same.
#[derive(Debug, Default)]
pub struct Board {
    catalogue: Catalogue,
    texts: BTreeMap<(TenantName, BTreeSet<NetworkName>), String>,
}

impl Host {
    /// Says what a VE is called now, and tells those who may know. What could not be done, a line each.
    pub fn tell_names(&self, state: &VeState, verb: &str) -> Vec<String> {
        match self.list_names(state) {
            // The usual: names are told on none of its networks, nor were they.
            Ok(None) if !self.dirs.run(state.id).join(NOTED).exists() => Vec::new(),
            Ok(changed) => {
                let changed = changed.unwrap_or_default();
                let own = state.interfaces.iter().map(|i| i.network.clone());
                let mut told = self.settle_name_servers(changed.iter().cloned().chain(own).collect(), verb);
                told.extend(self.spread_names(&changed, Some(state.id), verb));
                told
            }
            Err(e) => vec![format!("others could not be told its name: {}", chain(&e))],
        }
    }

    /// The same of a VE that is no more.
    pub fn untell_names(&self, id: VeId, verb: &str) -> Vec<String> {
        let (mut changed, mut told) = (BTreeSet::new(), Vec::new());
        for (network, listed) in self.listed_of(id) {
            match file::remove_file(&listed.path) {
                Ok(()) => drop(changed.insert(network)),
                Err(e) => told.push(chain(&Error::from(e))),
            }
        }
        told.extend(self.settle_name_servers(changed.clone(), verb));
        told.extend(self.spread_names(&changed, None, verb));
        told
    }

    /// A VE that couldn't be told for a while is.
    pub fn catch_up_names(&self, id: VeId, verb: &str) -> Vec<String> {
        self.spread_to(&BTreeSet::from([id]), verb)
    }

    /// The networks on which that changed something; `None`: there is nothing to say of this VE.
    fn list_names(&self, state: &VeState) -> Result<Option<BTreeSet<NetworkName>>> {
        let mut catalogue = Catalogue::default();
        let (mut on, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        for name in state.interfaces.iter().map(|i| &i.network) {
            match catalogue.network(self, name) {
                Ok(network) if network.names.by == Naming::Off => {}
                Ok(_) => drop(on.insert(name.clone())),
                // What can't be read says nothing about what was said.
                Err(_) => drop(unknown.insert(name.clone())),
            }
        }
        let there = self.listed_of(state.id);
        if on.is_empty() && there.is_empty() {
            return Ok(None);
        }
        let (mut changed, mut right) = (BTreeSet::new(), BTreeSet::new());
        for network in on {
            let first = self.listed(&network).is_empty();
            let (path, text) = self.listing(state, &network, &mut catalogue)?;
            if file::read_opt(&path)?.as_ref() != Some(&text) {
                changed.insert(network.clone());
                put(&path, &text)?;
            }
            right.insert(path);
            if first {
                self.list_all(&network)?;
            }
        }
        for (network, listed) in there {
            if !right.contains(&listed.path) && !unknown.contains(&network) {
                file::remove_file(&listed.path)?;
                changed.insert(network);
            }
        }
        Ok(Some(changed))
    }

    /// A network has begun to tell names: those of all who are on it.
    pub fn list_all(&self, network: &NetworkName) -> Result<()> {
        let mut catalogue = Catalogue::default();
        for state in self.states()?.into_iter().filter_map(|(_, state)| state.ok()) {
            if state.interfaces.iter().any(|i| i.network == *network)
                && let Ok((path, text)) = self.listing(&state, network, &mut catalogue)
            {
                put(&path, &text)?;
            }
        }
        Ok(())
    }

    /// The file that says what a VE is called on a network, and what is to be in it.
    pub fn listing(
        &self,
        state: &VeState,
        network: &NetworkName,
        catalogue: &mut Catalogue,
    ) -> Result<(PathBuf, String)> {
        let ve = self.effective(&state.name, catalogue)?;
        let addresses = state.interfaces.iter().filter(|i| i.network == *network);
        let called = Called {
            name: state.name.clone(),
            hostname: ve.hostname,
            addresses: addresses.flat_map(|i| i.addresses.clone()).collect(),
        };
        let file = format!("{}.{}", state.id, ve.tenant);
        Ok((self.dirs.names(network).join(file), called.to_string()))
    }

    /// The files of one network, in order of id.
    pub fn listed(&self, network: &NetworkName) -> Vec<Listed> {
        let entries = std::fs::read_dir(self.dirs.names(network))
            .into_iter()
            .flatten()
            .flatten();
        let mut all: Vec<Listed> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let (id, tenant) = name.to_str()?.split_once('.')?;
                Some(Listed {
                    id: id.parse().ok()?,
                    tenant: tenant.parse().ok()?,
                    path: entry.path(),
                })
            })
            .collect();
        all.sort_by_key(|l| l.id);
        all
    }

    /// The networks that there are files of.
    pub fn listed_networks(&self) -> Vec<NetworkName> {
        let entries = std::fs::read_dir(self.dirs.all_names()).into_iter().flatten().flatten();
        let mut all: Vec<NetworkName> = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
        all.sort();
        all
    }

    fn listed_of(&self, id: VeId) -> Vec<(NetworkName, Listed)> {
        let networks = self.listed_networks().into_iter();
        networks
            .flat_map(|n| self.listed(&n).into_iter().map(move |l| (n.clone(), l)))
            .filter(|(_, listed)| listed.id == id)
            .collect()
    }

    /// What a VE of this tenant may know, in lines of hosts(5).
    pub fn known_names(&self, state: &VeState, tenant: &TenantName, board: &mut Board) -> String {
        let mut shared: BTreeMap<NetworkName, bool> = BTreeMap::new();
        for name in state.interfaces.iter().map(|i| &i.network) {
            if let Ok(network) = board.catalogue.network(self, name)
                && network.names.by == Naming::Hosts
            {
                shared.insert(name.clone(), network.names.shared);
            }
        }
        let key = (tenant.clone(), shared.keys().cloned().collect());
        if let Some(text) = board.texts.get(&key) {
            return text.clone();
        }
        let mut all = BTreeMap::new();
        for (network, shared) in shared {
            let mut listed = self.listed(&network);
            listed.retain(|l| shared || l.tenant == *tenant);
            for listed in listed {
                if let Some(called) = listed.read() {
                    let entry = all.entry(listed.id);
                    let entry = entry.or_insert_with(|| (listed.tenant, called.with_no_address()));
                    entry.1.addresses.extend(called.addresses);
                }
            }
        }
        let text = lines(&all, Some(tenant));
        board.texts.insert(key, text.clone());
        text
    }

    /// Notes what a VE has been given to know.
    pub fn note_names(&self, id: VeId, text: &str) -> Result<()> {
        let path = self.dirs.run(id).join(NOTED);
        match text.is_empty() {
            true => Ok(file::remove_file(&path)?),
            false => Ok(file::replace(&path, checksum(text.as_bytes()).as_bytes())?),
        }
    }

    /// Those that run and know something else than they should, with what that is.
    pub fn behind(&self, ids: &BTreeSet<VeId>) -> Vec<(VeState, String)> {
        let (mut board, mut behind) = (Board::default(), Vec::new());
        for &id in ids {
            // What is paused would not be done with it: it is told when it goes on.
            if !self.reality(id).is_ok_and(|r| r.state == State::Running) {
                continue;
            }
            let Ok(Some(state)) = self.state_of(id) else { continue };
            let Some(tenant) = &state.tenant else { continue };
            let text = self.known_names(&state, tenant, &mut board);
            let noted = file::read_opt(&self.dirs.run(id).join(NOTED)).ok().flatten();
            let right = (!text.is_empty()).then(|| checksum(text.as_bytes()));
            if noted != right {
                behind.push((state, text));
            }
        }
        behind
    }

    /// When it was noted last what a VE has been given.
    fn noted_at(&self, id: VeId) -> Option<SystemTime> {
        std::fs::metadata(self.dirs.run(id).join(NOTED)).ok()?.modified().ok()
    }

    /// Tells all on these networks, and this one, what they should know and don't.
    fn spread_names(&self, networks: &BTreeSet<NetworkName>, also: Option<VeId>, verb: &str) -> Vec<String> {
        let listed = networks.iter().flat_map(|n| self.listed(n)).map(|l| l.id);
        self.spread_to(&listed.chain(also).collect(), verb)
    }

    /// Tells those of these that don't know what they should.
    pub fn spread_to(&self, ids: &BTreeSet<VeId>, verb: &str) -> Vec<String> {
        if self.behind(ids).is_empty() {
            return Vec::new();
        }
        // Who has changed a file, and waits here, looks after whoever is at it now: nobody ends up with an older text.
        let _lock = match self.lock_names(verb) {
            Ok(lock) => lock,
            Err(e) => return vec![format!("VEs on its networks hear of names later: {}", chain(&e))],
        };
        let mut behind = self.behind(ids);
        // Should the time not do for all, nobody is always the last.
        behind.sort_by_cached_key(|(state, _)| self.noted_at(state.id));
        self.give_all(&behind, Instant::now() + ALL)
    }

    /// Writes the blocks of VEs that run, as many as there is time for.
    fn give_all(&self, behind: &[(VeState, String)], end: Instant) -> Vec<String> {
        let mut told = Vec::new();
        for (done, (state, text)) in behind.iter().enumerate() {
            if Instant::now() >= end {
                let left = behind.len() - done;
                told.push(format!(
                    "{left} of the VEs on its networks hear of it at the next change or start: it would take too long now"
                ));
                break;
            }
            told.extend(self.give_names(state, text));
        }
        told
    }

    /// Writes the block of a VE that runs. One that hinders it isn't tried again before the next change.
    fn give_names(&self, state: &VeState, text: &str) -> Option<String> {
        let given = self.change_hosts(state.id, text);
        let noted = self.note_names(state.id, text);
        let why = match (given, noted) {
            (Ok(true), Ok(())) => return None,
            (Ok(false), _) => "something is in the way there".to_owned(),
            (Err(e), _) | (_, Err(e)) => chain(&e),
        };
        // It may have ended meanwhile.
        let runs = self.reality(state.id).is_ok_and(|r| r.init.is_some());
        runs.then(|| format!("names in /etc/hosts of {} stay as they were: {why}", state.name))
    }

    fn change_hosts(&self, id: VeId, text: &str) -> Result<bool> {
        let Some(init) = self.reality(id)?.init else {
            return Ok(true);
        };
        let group = Path::new("/proc").join(format!("{}/cgroup", init.pid));
        let place = self.cgroups.attach_placement(id, &group)?;
        let entry = Enter {
            init,
            payload: Place {
                tasks: place.join,
                unified: place.unified,
            },
            switches: Switches::default(),
            task: Task::Edit(vec![neighbours(text.to_owned())]),
            user: None,
            env: Vec::new(),
            cwd: Some("/".into()),
            pty: None,
        };
        Ok(self.guests.edit(entry, ONE)?)
    }
}

/// A file that is lost with the host's power is written again by the next start.
fn put(path: &Path, text: &str) -> Result<()> {
    file::make_dir(path.parent().unwrap_or(Path::new("/")))?;
    Ok(file::replace(path, text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fakes, host, id, started, with_ve};

    #[test]
    fn there_is_an_end_to_it() {
        let host = host().make();
        with_ve(&host, &[]);
        started(&host);
        let behind = [(host.state(id(101)).unwrap(), "10.77.0.9 web9\n".to_owned())];
        let before = fakes(&host).guests.files(101).len();
        let told = host.give_all(&behind, Instant::now());
        assert!(told.len() == 1 && told[0].starts_with("1 of the VEs"), "{told:?}");
        assert_eq!(fakes(&host).guests.files(101).len(), before);
        // It is as if nothing had been tried.
        assert!(host.noted_at(id(101)).is_none());
        assert!(host.give_all(&behind, Instant::now() + ALL).is_empty());
        assert_eq!(fakes(&host).guests.files(101).len(), before + 1);
        assert!(host.noted_at(id(101)).is_some());
    }
}
