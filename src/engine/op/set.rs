//! Changing a VE's definition: `hostel set` and `hostel edit`. What can be changed on a running VE is; all or nothing.

mod definition;
mod disk;

use std::collections::BTreeSet;
use std::sync::Arc;

use hostel_model::definition::VeDefinition;
use hostel_model::id::VeId;
use hostel_model::resolve::Effective;
use hostel_system::Kind;
use hostel_system::net::Link;
use serde::{Deserialize, Serialize};

use super::tree::Tree;
use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::step::{Home, Operation, Step, nothing};
use crate::ve::judge::memory_in_use;
use crate::ve::record::{InterfaceState, VeState};
use crate::ve::registry::Catalogue;

/// A change under way.
#[derive(Debug)]
pub struct Set {
    host: Arc<Host>,
    id: VeId,
    state: VeState,
    params: Params,
    notes: Vec<String>,
}

/// Both texts, so that the next process can go on or back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Params {
    /// The definition as it was.
    pub old: String,
    /// As it is to be.
    pub new: String,
    /// The size that its disk is to have, if another than now.
    #[serde(default)]
    pub disk_size: Option<u64>,
    /// Whose copy of its template it is to stand on, if it goes to another tenant.
    #[serde(default)]
    pub tree: Option<Tree>,
    /// Settings that wait for its next start.
    #[serde(default)]
    pub waiting: BTreeSet<String>,
    /// Its interfaces, if they change now and not at its next start.
    #[serde(default)]
    pub interfaces: Option<Interfaces>,
}

/// What was allocated for its interfaces, and what is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interfaces {
    /// Until now.
    pub old: Vec<InterfaceState>,
    /// From now on.
    pub new: Vec<InterfaceState>,
}

impl Operation for Set {
    const VERB: &'static str = "set";
    const HOME: Home = Home::Durable;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, params: Params) -> Result<Self> {
        let state = host.state(id)?;
        Ok(Self {
            host,
            id,
            state,
            params,
            notes: Vec::new(),
        })
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new("reserve", "reserving addresses", Set::reserve, Set::release),
                Step::new("definition", "writing the definition", Set::write_new, Set::write_old),
                Step::new("tree", "changing the template's tree", Set::new_tree, Set::old_tree),
                Step::new("limits", "changing limits", Set::new_limits, Set::old_limits),
                Step::new("access", "changing access rules", Set::new_access, Set::old_access),
                Step::new("network", "changing interfaces", Set::readdress, Set::address_back),
                // Last, because a disk that has grown can't shrink while it is in use.
                Step::new("disk", "changing the disk", Set::resize, nothing).irrevocable(Set::has_resized),
                Step::new("aside", "putting addresses aside", Set::put_aside, nothing),
                Step::new("record", "recording", Set::record, nothing),
            ]
        }
    }
}

impl Set {
    fn effective(&self, text: &str) -> Result<Effective> {
        let file = self.host.dirs.definition(&self.state.name).display().to_string();
        let definition = VeDefinition::parse(&file, text)
            .map_err(|e| Error::new(Class::Usage, "the definition has mistakes").because(e))?;
        self.host.resolve(&definition, &mut Catalogue::default())
    }

    fn apply(&self, ve: &Effective) -> Result<()> {
        if self.host.reality(self.id)?.init.is_none() {
            return Ok(());
        }
        let limits = &ve.limits;
        let disks = self.host.io_devices(&self.state, None)?;
        let enforced = self.host.enforceable(limits);
        self.host.cgroups.apply(self.id, &enforced, &disks).map_err(|e| {
            if e.kind == Kind::Busy {
                memory_in_use(&self.state.name, limits, e)
            } else {
                e.into()
            }
        })?;
        // Also where lxcfs isn't chosen any more: what was revealed before must not stay.
        let shown = self.host.lxcfs().and(enforced.cpu.cap_milli);
        self.host.cgroups.reveal_cap(self.id, shown)?;
        // Links that come and go are the network's affair, before which the limits change and after which they change back.
        let there = match &self.params.interfaces {
            Some(Interfaces { old, .. }) => self.with(old),
            None => self.state.clone(),
        };
        self.host.reshape(self.id, &there, ve)
    }

    /// The VE with these interfaces.
    fn with(&self, interfaces: &[InterfaceState]) -> VeState {
        VeState {
            interfaces: interfaces.to_vec(),
            ..self.state.clone()
        }
    }

    fn new_tree(&mut self) -> Result<()> {
        match &self.params.tree {
            Some(tree) => self.host.stand_on(&self.state, tree),
            None => Ok(()),
        }
    }

    fn old_tree(&mut self) -> Result<()> {
        match &self.params.tree {
            Some(tree) => self.host.stand_back(&self.state, tree),
            None => Ok(()),
        }
    }

    fn new_limits(&mut self) -> Result<()> {
        self.apply(&self.effective(&self.params.new)?)
    }

    /// A definition that a person had broken by hand says nothing; then the limits stay as they are.
    fn old_limits(&mut self) -> Result<()> {
        match self.effective(&self.params.old) {
            Ok(old) => self.apply(&old),
            Err(e) if e.class == Class::Failed => Err(e), // it could not be read now
            Err(_) => Ok(()),
        }
    }

    /// From here on both the old and the new addresses are the VE's. They were chosen before, without a lock.
    fn reserve(&mut self) -> Result<()> {
        let Some(Interfaces { old, new }) = self.params.interfaces.clone() else {
            return Ok(());
        };
        let _lock = self.host.lock_registry(Self::VERB)?;
        let taken = self.host.taken(Some(self.id))?;
        if taken.lost(&new) {
            let message = "another VE took one of its new addresses just now";
            return Err(Error::new(Class::Busy, message).hint("try again"));
        }
        if let Some((one, owner, _)) = taken.clash(&new) {
            let message = format!("{owner} took {} {} just now", one.protocol, one.listen);
            return Err(Error::new(Class::Busy, message).hint("try again"));
        }
        self.notes = self.host.given_again(&self.state.name, &old, &new, &taken);
        self.state.former = Some(old);
        self.state.interfaces = new;
        self.state.write(&self.host.dirs.ve(self.id))
    }

    fn release(&mut self) -> Result<()> {
        let Some(Interfaces { old, .. }) = self.params.interfaces.clone() else {
            self.tell_names_and_terms();
            return Ok(());
        };
        self.state.former = None;
        self.state.interfaces = old;
        self.state.write(&self.host.dirs.ve(self.id))?;
        self.tell_names_and_terms();
        self.host.refresh_peers(Self::VERB)
    }

    /// The rules of a definition, on these interfaces of a VE that runs.
    fn guard(&mut self, effective: &Effective, interfaces: Vec<InterfaceState>) -> Result<()> {
        if self.host.reality(self.id)?.init.is_some() {
            let state = self.with(&interfaces);
            let told = self.host.guard(self.id, &state, &effective.access, Self::VERB)?;
            self.notes.extend(told);
        }
        Ok(())
    }

    /// The interfaces that there may be on the way from the old ones to the new: none is ever without rules.
    fn all_interfaces(&self) -> Vec<InterfaceState> {
        let Some(Interfaces { old, new }) = self.params.interfaces.clone() else {
            return self.state.interfaces.clone();
        };
        let gone = old
            .into_iter()
            .filter(|i| new.iter().all(|other| other.index() != i.index()));
        new.iter().cloned().chain(gone).collect()
    }

    fn new_access(&mut self) -> Result<()> {
        let (new, interfaces) = (self.effective(&self.params.new)?, self.all_interfaces());
        self.guard(&new, interfaces)
    }

    /// A definition that a person had broken by hand says nothing; then the rules stay as they are.
    fn old_access(&mut self) -> Result<()> {
        let before = match self.params.interfaces.clone() {
            Some(Interfaces { old, .. }) => old,
            None => self.state.interfaces.clone(),
        };
        match self.effective(&self.params.old) {
            Ok(old) => self.guard(&old, before),
            Err(e) if e.class == Class::Failed => Err(e), // it could not be read now
            Err(_) => Ok(()),
        }
    }

    /// From the first of these interfaces to the second, in a VE that runs.
    /// `limits`: of which definition; `None` leaves those of links that stay as they are.
    fn change_links(
        &mut self,
        from: &[InterfaceState],
        to: &[InterfaceState],
        limits: Option<&Effective>,
    ) -> Result<()> {
        let (host, id) = (&self.host, self.id);
        let Some(init) = host.reality(id)?.init else {
            return Ok(());
        };
        let (old, new) = (self.with(from), self.with(to));
        let only = |of: &[InterfaceState], not: &[InterfaceState]| -> Vec<String> {
            let wanted = of.iter().filter(|i| not.iter().all(|other| other.index() != i.index()));
            wanted.map(|i| host.interface_name(id, i)).collect()
        };
        let (had, has) = (host.links(id, &old)?, host.links(id, &new)?);
        if !only(to, from).is_empty() {
            host.network.prepare_host()?;
            self.notes.extend(host.ready_bridges(&new)?);
        }
        let going = only(from, to);
        for name in &going {
            host.firewall.expel(host.config.nft_table.as_str(), name)?;
        }
        let told = host.network.readdress(init.pid, &had, &has)?;
        host.end_counting(id, &going)?;
        if let Some(limits) = limits.filter(|_| had.len() != has.len() || !going.is_empty()) {
            host.reshape(id, &new, limits)?;
        }
        host.admit(id, &new)?;
        // What it may do by now is said to its bridges as well.
        let allowed = |link: &&Link| {
            let any = |l: &Link| l.port.as_ref().is_some_and(|p| p.any_mac);
            had.iter().any(|l| l.host_name == link.host_name && any(l) != any(link))
        };
        let ports: Vec<Link> = has.iter().filter(allowed).cloned().collect();
        if !ports.is_empty() {
            host.network.mend(&ports)?;
        }
        let mut come = has;
        for link in &mut come {
            link.addresses.retain(|a| !from.iter().any(|i| i.addresses.contains(a)));
        }
        let unheard = host.announce(init, &come);
        self.notes.extend(told.into_iter().chain(unheard));
        Ok(())
    }

    /// Does somebody else have what is new to a VE that runs?
    fn probe(&mut self, old: &[InterfaceState], new: &[InterfaceState]) -> Result<()> {
        if self.host.reality(self.id)?.init.is_none() {
            return Ok(());
        }
        let state = self.with(new);
        self.notes.extend(self.host.ready_bridges(&state)?);
        let mut links = self.host.links(self.id, &state)?;
        for link in &mut links {
            link.addresses.retain(|a| !old.iter().any(|i| i.addresses.contains(a)));
        }
        self.host.probe(&state, &links, old)
    }

    fn readdress(&mut self) -> Result<()> {
        match self.params.interfaces.clone() {
            Some(Interfaces { old, new }) => {
                self.probe(&old, &new)?;
                self.host.refresh_peers(Self::VERB)?;
                let effective = self.effective(&self.params.new)?;
                self.change_links(&old, &new, Some(&effective))?;
                self.guard(&effective, new)
            }
            None => Ok(()),
        }
    }

    fn address_back(&mut self) -> Result<()> {
        match self.params.interfaces.clone() {
            Some(Interfaces { old, new }) => {
                if let Ok(effective) = self.effective(&self.params.new) {
                    self.guard(&effective, self.all_interfaces())?;
                }
                // One that can't be read, as its network's or its plan's file is broken by now, keeps nothing from going back.
                let limits = self
                    .effective(&self.params.old)
                    .or_else(|_| self.effective(&self.params.new))
                    .ok();
                self.change_links(&new, &old, limits.as_ref())
            }
            None => Ok(()),
        }
    }

    fn put_aside(&mut self) -> Result<()> {
        match &self.params.interfaces {
            Some(Interfaces { old, new }) => self.host.put_aside(&self.state.name, old, new, Self::VERB),
            None => Ok(()),
        }
    }

    fn record(&mut self) -> Result<()> {
        let size = self.params.disk_size.unwrap_or(self.state.disk_size);
        let tenant = Some(self.effective(&self.params.new)?.tenant);
        let settled = self.params.waiting.is_empty() && self.params.interfaces.is_none() && self.params.tree.is_none();
        if settled && (size, &tenant) == (self.state.disk_size, &self.state.tenant) {
            self.tell_names_and_terms(); // they may be others all the same
            return Ok(());
        }
        if let Some(interfaces) = &self.params.interfaces {
            self.state.interfaces.clone_from(&interfaces.new);
            self.state.former = None;
        }
        self.state.waiting.extend(self.params.waiting.iter().cloned());
        self.state.disk_size = size;
        self.state.tenant = tenant;
        if let Some(tree) = &self.params.tree {
            self.state.lower = self.host.tree_of(&self.state, tree)?;
        }
        self.state.write(&self.host.dirs.ve(self.id))?;
        self.tell_names_and_terms();
        if self.params.tree.is_some() {
            self.host.drop_own_tree(&self.state)?;
        }
        self.host.refresh_peers(Self::VERB)
    }

    fn tell_names_and_terms(&mut self) {
        self.host.note_change(self.id);
        self.notes.extend(self.host.tell_names(&self.state, Self::VERB));
    }
}
