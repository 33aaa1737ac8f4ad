//! Tenants: what they have and may have, making them, changing them, and removing them.

use std::path::Path;

use hostel_model::budget::{Budget, Take, passed};
use hostel_model::definition::Tenant;
use hostel_model::edit::{EditError, edit_tenant};
use hostel_model::id::{TenantName, VeId, VeName};
use hostel_model::monthly::{self, Passed};
use hostel_model::quantity::Unit;
use hostel_model::units::Bytes;
use hostel_system::file;
use serde::Serialize;

use super::tenant_status::{finite, status};
use super::{Engine, Progress, SetReport};
use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::ledger::Ledger;
use crate::ve::registry::Catalogue;

/// A tenant as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantStatus {
    /// Its name.
    pub name: String,
    /// active, suspended, or broken where its definition has mistakes.
    pub state: &'static str,
    /// Why nothing more can be said of it.
    pub problem: Option<String>,
    /// Why it is suspended.
    pub suspended: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Whom to tell.
    pub contact: Option<String>,
    /// Words to sort tenants by.
    pub tags: Vec<String>,
    /// How its VEs share template trees; `None`: as hostel.toml says.
    pub share: Option<String>,
    /// The only plans of its VEs; `None`: all.
    pub plans: Option<Vec<String>>,
    /// The only templates; `None`: all.
    pub templates: Option<Vec<String>>,
    /// The only networks; `None`: all.
    pub networks: Option<Vec<String>>,
    /// How many VEs it has.
    pub ves: usize,
    /// How many of them run.
    pub running: usize,
    /// Its budgets, also those that have no limit.
    pub budgets: Vec<BudgetStatus>,
    /// Its budget for traffic; `None` if it is broken.
    pub traffic: Option<TrafficStatus>,
}

/// What has passed the interfaces of a tenant's VEs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrafficStatus {
    /// In which month of UTC: this one.
    pub month: String,
    /// How many bytes, as far as they are in the ledger; `None`: it can't be read.
    pub used: Option<u64>,
    /// How many may; `None`: any number.
    pub limit: Option<u64>,
    /// Which VEs have had how many, those too that are no more.
    pub ves: Vec<Passed>,
}

/// What is in use of a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Its key in the tenant's definition.
    pub budget: Budget,
    /// What the amounts are counted in.
    pub unit: Unit,
    /// What all its VEs have of it; `None`: one of them has no limit.
    pub used: Option<u64>,
    /// What those have that run.
    pub running: Option<u64>,
    /// How much it may have; `None`: as much as there is.
    pub limit: Option<u64>,
}

/// What one VE takes of its tenant's budgets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantVe {
    /// Its number.
    pub id: VeId,
    /// Its name.
    pub name: VeName,
    /// Its state.
    pub state: String,
    /// Processor time, in thousandths of a processor; all that it may run on if it has no cap.
    #[serde(serialize_with = "super::tenant_json::processors")]
    pub cpu: u64,
    /// Memory in bytes; `None`: it has no limit.
    pub memory: Option<u64>,
    /// Disk in bytes.
    pub disk: u64,
    /// IPv4 addresses.
    pub ipv4: u64,
    /// IPv6 addresses.
    pub ipv6: u64,
}

impl Engine {
    /// All tenants, in order of name.
    pub fn tenants(&self) -> Result<Vec<TenantStatus>> {
        let mut catalogue = Catalogue::default();
        // All VEs are looked at once, and the ledger is opened once, however many tenants there are.
        let mut takes = self.host.all_takes(&mut catalogue)?;
        let mut ledger = Ledger::open_existing(&self.host.dirs.ledger());
        let names = self.host.names_of("tenants").into_iter();
        let names = names.filter_map(|name| name.parse::<TenantName>().ok());
        let stands = |name: TenantName| {
            let takes = takes.remove(&name).unwrap_or_default();
            Ok(self.stands(&name, takes, &mut catalogue, &mut ledger)?.0)
        };
        names.map(stands).collect()
    }

    /// One tenant, and what each of its VEs takes.
    pub fn tenant(&self, name: &TenantName) -> Result<(TenantStatus, Vec<TenantVe>)> {
        let mut catalogue = Catalogue::default();
        match catalogue.tenant(&self.host, name) {
            Err(e) if e.class == Class::NotFound => return Err(e),
            Ok(tenant) if tenant.traffic.is_some() => {
                // Where it can't be entered, it is told without what came last.
                let _ = self.host.catch_up(name);
            }
            _ => {}
        }
        let takes = self.host.takes(name, &mut catalogue)?;
        let mut ledger = Ledger::open_existing(&self.host.dirs.ledger());
        self.stands(name, takes, &mut catalogue, &mut ledger)
    }

    fn stands(
        &self,
        name: &TenantName,
        all: Vec<(VeId, Take)>,
        catalogue: &mut Catalogue,
        ledger: &mut Result<Option<Ledger>>,
    ) -> Result<(TenantStatus, Vec<TenantVe>)> {
        let tenant = catalogue.tenant(&self.host, name).cloned();
        let (mut takes, mut running, mut ves) = (Vec::new(), Vec::new(), Vec::new());
        for (id, take) in all {
            let reality = self.host.reality(id)?;
            if reality.init.is_some() {
                running.push(take.clone());
            }
            ves.push(TenantVe {
                id,
                name: take.ve.clone(),
                state: reality.state.to_string(),
                cpu: take.cpu,
                memory: finite(take.memory),
                disk: take.disk,
                ipv4: take.ipv4,
                ipv6: take.ipv6,
            });
            takes.push(take);
        }
        let traffic = tenant.as_ref().ok().map(|tenant| self.traffic_of(tenant, ledger));
        let status = TenantStatus {
            traffic,
            ..status(name, tenant, &takes, &running)
        };
        Ok((status, ves))
    }

    fn traffic_of(&self, tenant: &Tenant, ledger: &mut Result<Option<Ledger>>) -> TrafficStatus {
        let passed = |ledger: &mut Option<Ledger>| self.host.passed_by(ledger.as_mut(), &tenant.name).ok();
        let (month, ves) = ledger.as_mut().ok().and_then(passed).unzip();
        TrafficStatus {
            month: month.map(|month| month.name).unwrap_or_default(),
            used: ves.as_deref().map(monthly::sum),
            limit: tenant.traffic.map(Bytes::get),
            ves: ves.unwrap_or_default(),
        }
    }

    /// Makes a tenant, from a file and settings.
    pub fn create_tenant(
        &self,
        name: &TenantName,
        from: Option<&Path>,
        settings: &[(String, String)],
        progress: &dyn Progress,
    ) -> Result<()> {
        let _lock = self.host.lock_registry("tenant")?;
        let path = self.host.dirs.tenant_definition(name);
        if path.exists() {
            let error = Error::new(Class::Refused, format!("there is a tenant \"{name}\" already"));
            return Err(error.hint(format!("change it with: hostel tenant set {name} KEY=VALUE")));
        }
        let old = match from {
            Some(from) => file::read(from).map_err(|e| Error::from(e).class(Class::NotFound))?,
            None => String::new(),
        };
        let (file, tenant) = self.edited(name, &old, settings)?;
        self.host.told_of(&tenant, progress)?;
        Ok(file::write_atomic(&path, file.as_bytes(), 0o600)?)
    }

    /// Changes a tenant; all or nothing. A budget may be lowered below what is in use, which is told.
    pub fn set_tenant(
        &self,
        name: &TenantName,
        settings: &[(String, String)],
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<SetReport> {
        let _lock = self.host.lock_registry("tenant")?;
        let path = self.host.dirs.tenant_definition(name);
        let Some(old) = file::read_opt(&path)? else {
            return Err(unknown(&self.host, name));
        };
        let (new, after) = self.edited(name, &old, settings)?;
        self.host.told_of(&after, progress)?;
        let before = Tenant::parse(&path.display().to_string(), &old).ok();
        let had = before.as_ref().map(Tenant::values).unwrap_or_default();
        let changed = |(key, value): (&'static str, String)| {
            let had = had.iter().find(|(k, _)| *k == key).map(|(_, v)| v.clone());
            (had.as_ref() != Some(&value)).then(|| (key.to_owned(), had.unwrap_or_default(), value))
        };
        let report = SetReport {
            applied: after.values().into_iter().filter_map(changed).collect(),
            waiting: Vec::new(),
            dry_run,
        };
        if report.applied.iter().any(|(key, ..)| key.starts_with("firewall.")) {
            progress.note("VEs that run get its access rules with: hostel firewall apply");
        }
        if !dry_run && new != old {
            file::write_atomic(&path, new.as_bytes(), 0o600)?;
        }
        Ok(report)
    }

    /// Removes a tenant that has no VEs, with its copies of templates.
    pub fn remove_tenant(&self, name: &TenantName) -> Result<()> {
        let _lock = self.host.lock_registry("tenant")?;
        let path = self.host.dirs.tenant_definition(name);
        if !path.exists() {
            return Err(unknown(&self.host, name));
        }
        let refused =
            |why: String| Error::new(Class::Refused, format!("tenant \"{name}\" can't be removed")).because(why);
        if self.host.config.defaults.tenant == *name {
            let why = "it is the one of new VEs: defaults.tenant in hostel.toml".to_owned();
            return Err(refused(why));
        }
        let copies = self.host.dirs.tenant(name);
        let mut has: Vec<String> = Vec::new();
        for state in self.host.all_states()? {
            let defined = self.host.definition(&state.name).is_ok_and(|d| d.tenant == *name);
            if defined || state.tenant.as_ref() == Some(name) || state.lower.starts_with(&copies) {
                has.push(state.name.to_string());
            }
        }
        // One whose record is damaged stands on a copy all the same.
        for ve in self.outlines()?.into_iter().filter(|ve| !ve.whole) {
            if self.host.definition(&ve.name).is_ok_and(|d| d.tenant == *name) {
                has.push(ve.name.to_string());
            }
        }
        if !has.is_empty() {
            has.sort();
            return Err(refused(format!("it has the VEs {}", has.join(", ")))
                .hint("destroy them, or give them to another tenant with: hostel set NAME tenant=OTHER"));
        }
        // Before the definition, so that whoever is cut short here does it again.
        file::remove_tree(&copies)?;
        Ok(file::remove_file(&path)?)
    }

    fn edited(&self, name: &TenantName, old: &str, settings: &[(String, String)]) -> Result<(String, Tenant)> {
        let file = self.host.dirs.tenant_definition(name).display().to_string();
        let new = edit_tenant(&file, old, settings).map_err(|e| refused_edit(name, e))?;
        let tenant = Tenant::parse(&file, &new).map_err(|e| refused_edit(name, e.into()))?;
        Ok((new, tenant))
    }
}

impl Host {
    /// What is worth a line of a tenant as it is to be: budgets that are passed already, names of what isn't there, and
    /// VEs that have what they may not have any more.
    fn told_of(&self, tenant: &Tenant, progress: &dyn Progress) -> Result<()> {
        let mut catalogue = Catalogue::default();
        let takes: Vec<Take> = self
            .takes(&tenant.name, &mut catalogue)?
            .into_iter()
            .map(|(_, t)| t)
            .collect();
        for line in passed(tenant, &takes) {
            progress.note(&line);
        }
        if tenant.traffic.is_some()
            && let Ok((month, passed)) = self.passed_this_month(&tenant.name)
            && let Some(violation) = monthly::check(tenant, (&month.name, &month.next), &passed)
        {
            progress.note(&format!("none of its VEs can start: {violation}"));
        }
        let missing = |kind: &str, name: &str| {
            let there = self.names_of(kind);
            if !there.iter().any(|n| n == name) {
                progress.note(&format!("there is no {} \"{name}\" yet", kind.trim_end_matches('s')));
            }
        };
        tenant
            .plans
            .iter()
            .flatten()
            .for_each(|name| missing("plans", name.as_str()));
        tenant
            .networks
            .iter()
            .flatten()
            .for_each(|name| missing("networks", name.as_str()));
        for take in &takes {
            let Ok(ve) = self.effective(&take.ve, &mut catalogue) else {
                continue;
            };
            let plan = tenant.plans.as_ref().is_some_and(|plans| !plans.contains(&ve.plan));
            let network = |list: &Vec<_>| ve.interfaces.iter().find(|i| !list.contains(&i.network.name));
            let network = tenant.networks.as_ref().and_then(network);
            let has = match network {
                _ if plan => format!("plan \"{}\"", ve.plan),
                Some(interface) => format!("network \"{}\"", interface.network.name),
                None => continue,
            };
            progress.note(&format!(
                "{} has {has}, which the tenant may not use: it can't start until that is changed",
                ve.name
            ));
        }
        Ok(())
    }
}

fn unknown(host: &Host, name: &TenantName) -> Error {
    let there = host.names_of("tenants").join(", ");
    Error::new(Class::NotFound, format!("there is no tenant \"{name}\"")).hint(format!("tenants there are: {there}"))
}

pub(super) fn refused_edit(name: &TenantName, e: EditError) -> Error {
    let message = format!("the definition of tenant \"{name}\" would have mistakes");
    Error::new(Class::Usage, message).because(e)
}
