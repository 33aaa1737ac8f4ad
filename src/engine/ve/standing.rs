//! Definitions of networks and tenants that can't be read. One keeps its own VEs from starting and nobody else's; and as
//! long as it can't, its VEs that run are held as it said before, which is kept beside what else is known of this boot. A
//! file that is gone says that there is no such network: that is no mistake, and nothing is put in its place.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hostel_model::definition::{Network, Plan, Tenant};
use hostel_model::id::{NetworkName, TenantName};
use hostel_system::file;

use super::registry::{Catalogue, load};
use crate::error::{Class, Error, Result};
use crate::host::Host;

const NETWORKS: &str = "networks";
const TENANTS: &str = "tenants";

impl Catalogue {
    /// A network as it is in force: as its definition says, or as it said when rules were last made of it.
    pub fn network_in_force(&mut self, host: &Host, name: &NetworkName) -> Result<&Network> {
        if self.standing.contains_key(name) {
            return Ok(&self.standing[name]);
        }
        let error = match self.network(host, name) {
            Ok(_) => return self.network(host, name),
            Err(e) => e,
        };
        let standing = read(host, NETWORKS, name.as_str(), error, |file, text| {
            Network::parse(file, text).ok()
        })?;
        Ok(self.standing.entry(name.clone()).or_insert(standing))
    }

    /// The same for a tenant.
    pub fn tenant_in_force(&mut self, host: &Host, name: &TenantName) -> Result<Tenant> {
        match self.tenant(host, name) {
            Ok(tenant) => Ok(tenant.clone()),
            Err(e) => read(host, TENANTS, name.as_str(), e, |file, text| {
                Tenant::parse(file, text).ok()
            }),
        }
    }
}

/// What was kept of a definition; where there is nothing, or the definition is gone, the error of reading it.
fn read<T>(host: &Host, kind: &str, name: &str, error: Error, parse: impl Fn(&str, &str) -> Option<T>) -> Result<T> {
    if error.class == Class::NotFound {
        return Err(error);
    }
    let path = place(host, kind, name);
    let text = file::read_opt(&path).ok().flatten();
    text.and_then(|text| parse(&path.display().to_string(), &text))
        .ok_or(error)
}

fn place(host: &Host, kind: &str, name: &str) -> PathBuf {
    host.dirs.standing().join(kind).join(format!("{name}.toml"))
}

impl Host {
    /// Keeps what the definitions of networks say that rules are made of; one that can't be read stays as it was. Before
    /// those rules are loaded, with the firewall locked.
    pub(super) fn keep_networks(&self) -> Result<()> {
        let names = self.names_of(NETWORKS);
        names
            .iter()
            .try_for_each(|name| self.keep(NETWORKS, name, |file, text| Network::parse(file, text).is_ok()))
    }

    /// The same for tenants whose rules are about to be in force.
    pub fn keep_tenants<'t>(&self, tenants: impl IntoIterator<Item = &'t TenantName>) -> Result<()> {
        let names: BTreeSet<&TenantName> = tenants.into_iter().collect();
        names
            .into_iter()
            .try_for_each(|name| self.keep(TENANTS, name.as_str(), |file, text| Tenant::parse(file, text).is_ok()))
    }

    fn keep(&self, kind: &str, name: &str, is_good: impl Fn(&str, &str) -> bool) -> Result<()> {
        let path = self.dirs.definitions(kind).join(format!("{name}.toml"));
        let Ok(Some(text)) = file::read_opt(&path) else {
            return Ok(());
        };
        let kept = place(self, kind, name);
        let known = std::fs::read(&kept).is_ok_and(|old| old == text.as_bytes());
        if known || !is_good(&path.display().to_string(), &text) {
            return Ok(());
        }
        file::make_dir(kept.parent().unwrap_or(Path::new("/")))?;
        Ok(file::replace(&kept, text.as_bytes())?)
    }

    /// The definitions that others name and that can't be read: the kind of each, its name, its file, and its first mistake.
    pub fn broken_definitions(&self) -> Vec<(&'static str, String, PathBuf, String)> {
        let mut broken = Vec::new();
        let mut look = |kind: &'static str, check: &dyn Fn(&str) -> Result<()>| {
            for name in self.names_of(kind) {
                if let Err(e) = check(&name) {
                    let path = self.dirs.definitions(kind).join(format!("{name}.toml"));
                    let cause = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
                    let first = cause.lines().next().unwrap_or_default().to_owned();
                    broken.push((kind.trim_end_matches('s'), name, path, first));
                }
            }
        };
        look("plans", &|name| load(self, "plans", name, Plan::parse).map(drop));
        look(NETWORKS, &|name| load(self, NETWORKS, name, Network::parse).map(drop));
        look(TENANTS, &|name| load(self, TENANTS, name, Tenant::parse).map(drop));
        broken
    }
}
