//! The VEs of this host: finding them, reading what they should be, and what is taken.

use std::path::Path;

use hostel_model::definition::{Network, Plan, Tenant, VeDefinition};
use hostel_model::id::{NetworkName, PlanName, TenantName, VeId, VeName};
use hostel_model::request::VeRef;
use hostel_model::resolve::{Effective, resolve};
use hostel_system::file;

use super::record::{STATE, VeState};
use crate::error::{Class, Error, Result};
use crate::host::Host;

/// What definitions take from other files, read once for many VEs.
#[derive(Debug, Default)]
pub struct Catalogue {
    plans: std::collections::BTreeMap<PlanName, Plan>,
    networks: std::collections::BTreeMap<NetworkName, Network>,
    tenants: std::collections::BTreeMap<TenantName, Tenant>,
    /// Networks whose definitions can't be read, as they are in force.
    pub(super) standing: std::collections::BTreeMap<NetworkName, Network>,
}

impl Host {
    /// What was allocated for every VE, in order of id. One that can't be read is an error of that VE alone.
    pub fn states(&self) -> Result<Vec<(VeId, Result<VeState>)>> {
        let mut found = Vec::new();
        for id in ids_in(&self.dirs.ves())? {
            match self.state_of(id) {
                Ok(None) => {}
                Ok(Some(state)) => found.push((id, Ok(state))),
                Err(e) => found.push((id, Err(e))),
            }
        }
        Ok(found)
    }

    /// What was allocated for one VE.
    pub fn state(&self, id: VeId) -> Result<VeState> {
        self.state_of(id)?.ok_or_else(|| unknown_ve(&VeRef::Id(id)))
    }

    /// The same; `None` if there is no such VE.
    pub fn state_of(&self, id: VeId) -> Result<Option<VeState>> {
        let dir = self.dirs.ve(id);
        match VeState::read(&dir)? {
            Some(state) if state.id != id => Err(Error::new(
                Class::Failed,
                format!("{} is not of VE {id}", dir.display()),
            )
            .because(format!("its record is of VE {}", state.id))
            .hint("a VE can't be copied as files; move that directory out of here")),
            // A directory without a record is what is left of a VE.
            None if dir.exists() => Err(Error::new(Class::Failed, format!("VE {id} has no record"))
                .because(format!("there is no {}", dir.join(STATE).display()))
                .hint("restore it from a backup, or destroy the VE with --force")),
            found => Ok(found),
        }
    }

    /// The VE that a person means.
    pub fn find(&self, ve: &VeRef) -> Result<VeState> {
        match ve {
            VeRef::Id(id) => self.state(*id),
            VeRef::Name(name) => self.find_name(name)?.ok_or_else(|| unknown_ve(ve)),
        }
    }

    fn find_name(&self, name: &VeName) -> Result<Option<VeState>> {
        // Its definition says the id; if that can't be read, the records of all are looked through.
        if let Ok(definition) = self.definition(name)
            && let Some(state) = self.state_of(definition.id)?
            && state.name == *name
        {
            return Ok(Some(state));
        }
        Ok(self
            .states()?
            .into_iter()
            .filter_map(|(_, s)| s.ok())
            .find(|s| s.name == *name))
    }

    /// The VE that is remembered under a name of the OpenVZ dialect's that is not its own.
    pub fn openvz_named(&self, name: &str) -> Result<Option<VeId>> {
        let all = self.states()?.into_iter();
        let mut named = all.filter_map(|(id, state)| {
            let own = state.map_or_else(|_| self.outline(id).map(|ve| ve.name), |state| Some(state.name));
            let definition = self.definition(&own?).ok()?;
            (definition.openvz.get("NAME") == Some(name)).then_some(id)
        });
        Ok(named.next())
    }

    /// A VE's definition.
    pub fn definition(&self, name: &VeName) -> Result<VeDefinition> {
        let path = self.dirs.definition(name);
        let Some(text) = file::read_opt(&path)? else {
            return Err(
                Error::new(Class::Failed, format!("{name} has no definition")).hint(format!(
                    "{} is gone; restore it, or destroy {name} with --force",
                    path.display()
                )),
            );
        };
        VeDefinition::parse(&path.display().to_string(), &text).map_err(|e| mistakes(&path, e))
    }

    /// Writes a definition where this text was found, or none. A person may put one there, or change it, at any time:
    /// theirs is never overwritten unread.
    pub fn put_definition(&self, name: &VeName, found: Option<&str>, new: &str) -> Result<()> {
        let path = self.dirs.definition(name);
        let there = file::read_opt(&path)?;
        if there.as_deref() != found && there.as_deref() != Some(new) {
            return Err(self.changed_meanwhile(name));
        }
        Ok(file::write_atomic(&path, new.as_bytes(), 0o600)?)
    }

    /// Puts back what was found, in the place of what is ours and of nothing else.
    pub fn put_back_definition(&self, name: &VeName, found: Option<&str>, ours: &str) -> Result<()> {
        let path = self.dirs.definition(name);
        if file::read_opt(&path)?.as_deref() == Some(ours) {
            match found {
                Some(found) => file::write_atomic(&path, found.as_bytes(), 0o600)?,
                None => file::remove_file(&path)?,
            }
        }
        Ok(file::sync_dir(&self.dirs.definitions("ve"))?)
    }

    pub(crate) fn changed_meanwhile(&self, name: &VeName) -> Error {
        let path = self.dirs.definition(name);
        let message = format!("{} has been changed by somebody else meanwhile", path.display());
        Error::new(Class::Busy, message).hint("try again")
    }

    /// What a VE is to be, all told.
    pub fn effective(&self, name: &VeName, catalogue: &mut Catalogue) -> Result<Effective> {
        let definition = self.definition(name)?;
        self.resolve(&definition, catalogue)
    }

    /// What a definition comes to with the plan, networks and tenant that it names.
    pub fn resolve(&self, definition: &VeDefinition, catalogue: &mut Catalogue) -> Result<Effective> {
        let plan = catalogue.plan(self, &definition.plan)?.clone();
        let tenant = catalogue.tenant(self, &definition.tenant)?.clone();
        let mut networks = Vec::new();
        for interface in &definition.interfaces {
            networks.push(catalogue.network(self, &interface.network)?.clone());
        }
        resolve(definition, &plan, &networks, &self.config, &tenant).map_err(|e| {
            Error::new(
                Class::Usage,
                format!("the definition of {} makes no sense", definition.name),
            )
            .because(e)
        })
    }

    /// What was allocated, as far as it can be read; also for VEs that are just being made or removed: theirs is not
    /// free yet.
    pub fn all_states(&self) -> Result<Vec<VeState>> {
        let dirs = std::fs::read_dir(self.dirs.ves())
            .map_err(|e| Error::new(Class::Failed, format!("cannot read {}", self.dirs.ves().display())).because(e))?;
        Ok(dirs
            .flatten()
            .filter_map(|entry| VeState::read(&entry.path()).ok().flatten())
            .collect())
    }

    /// The names of all definitions of one kind.
    pub fn names_of(&self, kind: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dirs.definitions(kind))
            .into_iter()
            .flatten()
            .flatten();
        let stem = |e: std::fs::DirEntry| Some(e.file_name().to_str()?.strip_suffix(".toml")?.to_owned());
        let mut names: Vec<String> = entries.filter_map(stem).filter(|n| !n.starts_with('.')).collect();
        names.sort();
        names
    }
}

impl Catalogue {
    /// A plan.
    pub fn plan(&mut self, host: &Host, name: &PlanName) -> Result<&Plan> {
        if !self.plans.contains_key(name) {
            let plan = load(host, "plans", name.as_str(), Plan::parse)?;
            self.plans.insert(name.clone(), plan);
        }
        Ok(&self.plans[name])
    }

    /// A network.
    pub fn network(&mut self, host: &Host, name: &NetworkName) -> Result<&Network> {
        if !self.networks.contains_key(name) {
            let network = load(host, "networks", name.as_str(), Network::parse)?;
            self.networks.insert(name.clone(), network);
        }
        Ok(&self.networks[name])
    }

    /// A tenant.
    pub fn tenant(&mut self, host: &Host, name: &TenantName) -> Result<&Tenant> {
        if !self.tenants.contains_key(name) {
            let tenant = load(host, "tenants", name.as_str(), Tenant::parse)?;
            self.tenants.insert(name.clone(), tenant);
        }
        Ok(&self.tenants[name])
    }
}

/// Reads a definition of one kind.
pub(crate) fn load<T, E>(
    host: &Host,
    kind: &str,
    name: &str,
    parse: impl Fn(&str, &str) -> std::result::Result<T, E>,
) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let path = host.dirs.definitions(kind).join(format!("{name}.toml"));
    match file::read_opt(&path)? {
        Some(text) => parse(&path.display().to_string(), &text).map_err(|e| mistakes(&path, e)),
        None => {
            let what = kind.trim_end_matches('s');
            let there = host.names_of(kind).join(", ");
            Err(
                Error::new(Class::NotFound, format!("there is no {what} \"{name}\"")).hint(format!(
                    "{kind} there are: {}",
                    if there.is_empty() { "none" } else { &there }
                )),
            )
        }
    }
}

fn mistakes(path: &Path, e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Class::Usage, format!("{} has mistakes", path.display())).because(e)
}

/// The error for a VE that isn't there.
pub fn unknown_ve(ve: &VeRef) -> Error {
    Error::new(Class::NotFound, format!("there is no VE {ve}")).hint("see all with: hostel list")
}

/// The VE ids among the names in a directory, rising.
pub fn ids_in(dir: &Path) -> Result<Vec<VeId>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| Error::new(Class::Failed, format!("cannot read {}", dir.display())).because(e))?,
    };
    let mut ids: Vec<VeId> = entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    ids.sort_unstable();
    Ok(ids)
}
