//! Budgets of tenants: who has how much of them, and whether a VE may run within them.
//!
//! What is defined counts, whether it runs or not, and is judged where it grows: see [`Host::judge`]. Processor time and
//! memory are judged once more at a start, among the VEs of the tenant that run, so that a budget which was lowered
//! below what is defined holds for what runs. Traffic is judged at a start only, by what has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use hostel_model::budget::{Take, check_running};
use hostel_model::definition::Tenant;
use hostel_model::id::{TenantName, VeId};
use hostel_model::monthly;
use hostel_model::policy::{Existing, Violation};
use hostel_model::resolve::Effective;
use hostel_system::file;

use super::record::VeState;
use super::registry::Catalogue;
use crate::error::{Class, Error, Result, chain};
use crate::host::Host;

/// In a VE's runtime directory while its start is under way: it was judged, and counts as running already.
const ADMITTED: &str = "admitted";

impl Host {
    /// What stands beside a VE that is to be judged. The others are looked at only where the tenant has a budget that
    /// they share. One whose definition is broken can't be summed but by its record; it keeps nobody from starting.
    pub(super) fn existing(&self, ve: &Effective, tenant: &Tenant, catalogue: &mut Catalogue) -> Result<Existing> {
        if !tenant.has_budgets() && tenant.templates.is_none() {
            return Ok(Existing::default());
        }
        let had = self.had(ve, catalogue);
        if !tenant.has_budgets() {
            return Ok(Existing::default().having(had));
        }
        let (mut others, mut broken) = (Vec::new(), Vec::new());
        // Those too that are being made.
        for state in self.all_states()? {
            match self.effective(&state.name, catalogue) {
                Ok(other) => others.push(other),
                Err(_) if state.tenant.as_ref() == Some(&ve.tenant) && state.id != ve.id => broken.push(state),
                Err(_) => {}
            }
        }
        let mut existing = Existing::besides(ve, &others, processors()).having(had);
        for state in &broken {
            existing.add(by_record(state, state.addresses()));
        }
        Ok(existing)
    }

    /// What a VE has had of its tenant's budgets until now: its disk and addresses by its record, the rest by the
    /// definition in force. `None` if it is new to the tenant.
    fn had(&self, ve: &Effective, catalogue: &mut Catalogue) -> Option<Take> {
        let state = self.state_of(ve.id).ok().flatten().filter(|s| s.name == ve.name)?;
        if state.tenant.as_ref().is_some_and(|tenant| *tenant != ve.tenant) {
            return None;
        }
        let defined = self.effective(&state.name, catalogue).ok();
        let defined = defined
            .filter(|d| d.tenant == ve.tenant)
            .map(|d| Take::of(&d, processors()));
        // While a change gives it other interfaces, what it had before it is what it has had.
        let before = state.former.as_ref().unwrap_or(&state.interfaces);
        let addresses = before.iter().flat_map(|i| i.addresses.iter().copied());
        Some(Take {
            cpu: defined.as_ref().map_or(0, |d| d.cpu),
            memory: defined.as_ref().map_or(0, |d| d.memory),
            ..by_record(&state, addresses)
        })
    }

    /// What each VE of a tenant takes of its budgets, those too that are just being made.
    pub fn takes(&self, tenant: &TenantName, catalogue: &mut Catalogue) -> Result<Vec<(VeId, Take)>> {
        Ok(self.all_takes(catalogue)?.remove(tenant).unwrap_or_default())
    }

    /// The same of all tenants, with one look at each VE.
    pub fn all_takes(&self, catalogue: &mut Catalogue) -> Result<BTreeMap<TenantName, Vec<(VeId, Take)>>> {
        let mut takes = BTreeMap::<_, Vec<_>>::new();
        for state in self.all_states()? {
            let (tenant, take) = match self.effective(&state.name, catalogue) {
                Ok(ve) => (ve.tenant.clone(), Take::of(&ve, processors())),
                Err(_) => match &state.tenant {
                    Some(tenant) => (tenant.clone(), by_record(&state, state.addresses())),
                    None => continue,
                },
            };
            takes.entry(tenant).or_default().push((state.id, take));
        }
        takes.values_mut().for_each(|list| list.sort_by_key(|(id, _)| *id));
        Ok(takes)
    }

    /// May a VE run that may be as it is? Not one of a suspended tenant, nor one that was given to another tenant by
    /// hand, nor beyond what the tenant's budgets leave beside the VEs that run, nor when its traffic of this month is
    /// used up. From then on it counts as one of those that run, until [`Self::has_started`]. Gives what is worth a line.
    pub fn judge_start(&self, state: &VeState, ve: &Effective) -> Result<Vec<String>> {
        let mut catalogue = Catalogue::default();
        let tenant = self.judge_tenant(state, ve, &mut catalogue)?;
        let notes = self.judge_traffic(ve, &tenant, true)?;
        if tenant.cpu.is_none() && tenant.memory.is_none() && !self.capacity_concerns_start(ve) {
            return Ok(notes);
        }
        let _lock = self.lock_registry("start")?;
        self.judge_beside(ve, &tenant, &mut catalogue)?;
        self.judge_capacity_at_start(ve, &mut catalogue)?;
        file::make_dir(&self.dirs.run(ve.id))?;
        file::write_atomic(&self.admission(ve.id), b"", 0o600)?;
        Ok(notes)
    }

    /// What [`Self::judge_start`] would say now, for whoever only asks.
    /// `fresh`: as what has passed by now says.
    pub fn may_start(&self, state: &VeState, ve: &Effective, fresh: bool) -> Result<()> {
        let mut catalogue = Catalogue::default();
        let tenant = self.judge_tenant(state, ve, &mut catalogue)?;
        self.judge_traffic(ve, &tenant, fresh)?;
        self.judge_beside(ve, &tenant, &mut catalogue)?;
        self.judge_capacity_at_start(ve, &mut catalogue)
    }

    /// What the tenant's VEs have passed this month, those too that are no more. Where it can't be told, that keeps none
    /// from starting. `fresh`: what has passed since the ledger was last written is entered first.
    fn judge_traffic(&self, ve: &Effective, tenant: &Tenant, fresh: bool) -> Result<Vec<String>> {
        if tenant.traffic.is_none() {
            return Ok(Vec::new());
        }
        let unknown = |what: &str, e: &Error| {
            format!(
                "what traffic its tenant \"{}\" has had {what} can't be told: {}",
                tenant.name,
                chain(e)
            )
        };
        // It is judged by what is known.
        let mut notes = Vec::new();
        if let Err(e) = if fresh {
            self.catch_up_to_start(&tenant.name)
        } else {
            Ok(())
        } {
            notes.push(unknown("of late", &e));
        }
        match self.passed_this_month(&tenant.name) {
            Err(e) => {
                notes.push(unknown("this month", &e));
                Ok(notes)
            }
            Ok((month, passed)) => match monthly::check(tenant, (&month.name, &month.next), &passed) {
                None => Ok(notes),
                Some(violation) => {
                    let message = format!("{} can't start: its tenant's traffic is used up", ve.name);
                    Err(Error::new(Class::Limit, message).because(violation.to_string()))
                }
            },
        }
    }

    fn judge_tenant(&self, state: &VeState, ve: &Effective, catalogue: &mut Catalogue) -> Result<Tenant> {
        let tenant = catalogue.tenant(self, &ve.tenant)?.clone();
        if let Some(reason) = &tenant.suspended {
            let message = format!("{} can't start: its tenant \"{}\" is suspended", ve.name, tenant.name);
            let error = Error::new(Class::Refused, message).because(reason.clone());
            return Err(error.hint(format!("end that with: hostel tenant unsuspend {}", tenant.name)));
        }
        if let Some(old) = state.tenant.as_ref().filter(|old| **old != tenant.name) {
            let message = format!("{} can't start: it is of tenant \"{old}\"", ve.name);
            let why = format!("its definition says \"{}\", and was changed by hand", tenant.name);
            return Err(Error::new(Class::Refused, message).because(why).hint(format!(
                "give it to that tenant with: hostel set {} tenant={}",
                ve.name, tenant.name
            )));
        }
        Ok(tenant)
    }

    fn judge_beside(&self, ve: &Effective, tenant: &Tenant, catalogue: &mut Catalogue) -> Result<()> {
        let mut running = Vec::new();
        for (id, take) in self.takes(&tenant.name, catalogue)? {
            if id != ve.id && self.is_up(id) {
                running.push(take);
            }
        }
        let violations = check_running(tenant, &Take::of(ve, processors()), &running);
        if !violations.is_empty() {
            let reasons: Vec<String> = violations.iter().map(Violation::to_string).collect();
            let error = Error::new(Class::Limit, format!("{} can't start beside what runs", ve.name));
            return Err(error.because(reasons.join("\n")));
        }
        Ok(())
    }

    /// Does it run, or is its start under way? One of which that can't be told counts.
    pub(super) fn is_up(&self, id: VeId) -> bool {
        self.admission(id).exists() || self.reality(id).map_or(true, |reality| reality.init.is_some())
    }

    /// Its start has ended, in whatever way: what is true of it now is what the kernel says.
    pub fn has_started(&self, id: VeId) -> Result<()> {
        Ok(file::remove_file(&self.admission(id))?)
    }

    fn admission(&self, id: VeId) -> PathBuf {
        self.dirs.run(id).join(ADMITTED)
    }
}

/// How many processors VEs without a cap may use.
pub fn processors() -> u32 {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(all).unwrap_or(u32::MAX)
}

/// What a VE that has these addresses takes, as far as its record tells.
fn by_record(state: &VeState, addresses: impl Iterator<Item = IpAddr>) -> Take {
    let (six, four): (BTreeSet<IpAddr>, _) = addresses.partition(IpAddr::is_ipv6);
    Take {
        ve: state.name.clone(),
        cpu: 0,
        memory: 0,
        disk: state.disk_size,
        ipv4: four.len() as u64,
        ipv6: six.len() as u64,
    }
}
