//! Suspending a tenant: its VEs stop, and none starts until that has ended.
//!
//! The word of it stands in the tenant's definition, and is written first: from then on every start is refused, and one
//! that was judged before holds its VE's lock, so that the stop waits for it. Before a VE is stopped that runs, a file in
//! its own directory says so; the end of the suspension starts those, and each start removes its file. So whatever is
//! cut short is finished by doing it once more.

use std::path::PathBuf;
use std::time::Duration;

use hostel_model::definition::Tenant;
use hostel_model::edit::suspend_tenant;
use hostel_model::id::{TenantName, VeId};
use hostel_model::request::{Action, Selection, StartOptions};
use hostel_model::state::State;
use hostel_system::file;

use super::act::outcome;
use super::query::handle;
use super::tenant::refused_edit;
use super::{Engine, Outcome, Progress, VeHandle};
use crate::error::Result;
use crate::host::Host;
use crate::ve::outline::Outline;
use crate::ve::registry::Catalogue;

/// In the directory of a VE that ran when its tenant was suspended; it holds the tenant's name.
const HALTED: &str = "halted";
/// What is written where nobody gave a reason.
const NO_REASON: &str = "no reason given";

impl Engine {
    /// Suspends a tenant. Each of the VEs that this gives is then to be ended by [`Self::halt`]. Without a reason, one
    /// that was given before stays.
    pub fn suspend_tenant(
        &self,
        name: &TenantName,
        reason: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<Vec<VeHandle>> {
        self.rewrite(name, "suspend", |tenant| {
            let had = tenant.suspended.as_deref();
            Some(reason.or(had).unwrap_or(NO_REASON).to_owned())
        })?;
        self.ves_of(name, progress)
    }

    /// Its VEs by their definitions, and those that are its by their records: where a definition was changed by hand,
    /// the VE that runs is still this tenant's.
    fn ves_of(&self, name: &TenantName, progress: &dyn Progress) -> Result<Vec<VeHandle>> {
        let mut ves = self.select(&Selection::Tenant(name.clone()), progress)?;
        for ve in self.outlines()? {
            if ve.tenant.as_ref() == Some(name) && ves.iter().all(|other| other.id != ve.id) {
                ves.push(handle(ve));
            }
        }
        Ok(ves)
    }

    /// Stops a VE of a tenant that was suspended, and remembers that it ran.
    pub fn halt(
        &self,
        tenant: &TenantName,
        ve: &VeHandle,
        timeout: Option<Duration>,
        progress: &dyn Progress,
    ) -> Result<Outcome> {
        let lock = self.lock_ve(ve.id, "suspend", progress)?;
        let was = self.host.reality(ve.id)?.state;
        if matches!(was, State::Running | State::Paused) {
            self.host.note_halt(ve.id, tenant)?;
        }
        drop(lock);
        match was {
            State::Mounted | State::Broken => return Ok(outcome(&format!("is {was}, and left so"), false)),
            // It can't write what it has in memory while it is frozen, and then that would be lost.
            State::Paused => drop(self.act(ve.id, &Action::Unpause, progress)?),
            State::Running | State::Stopped | State::Suspended => {}
        }
        self.act(ve.id, &Action::Stop { timeout }, progress)
    }

    /// Ends a tenant's suspension. Each of the VEs that this gives ran before it, and is then to be released by
    /// [`Self::release`].
    pub fn unsuspend_tenant(&self, name: &TenantName, progress: &dyn Progress) -> Result<Vec<VeHandle>> {
        self.rewrite(name, "unsuspend", |_| None)?;
        let all = self.ves_of(name, progress)?;
        let ran = |ve: &VeHandle| file::read_opt(&self.host.halted(ve.id)).ok().flatten();
        Ok(all
            .into_iter()
            .filter(|ve| ran(ve).as_deref() == Some(name.as_str()))
            .collect())
    }

    /// Starts a VE that ran when its tenant was suspended; or leaves it stopped, and forgets that it ran.
    pub fn release(&self, ve: &VeHandle, start: bool, progress: &dyn Progress) -> Result<Outcome> {
        let done = match start {
            true => self.act(ve.id, &Action::Start(StartOptions::default()), progress)?,
            false => outcome("stays stopped", false),
        };
        let _lock = self.lock_ve(ve.id, "unsuspend", progress)?;
        let noted = file::read_opt(&self.host.halted(ve.id))?.and_then(|tenant| tenant.parse().ok());
        // It may be suspended again by now, and that have noted anew that it ran.
        if noted.is_none_or(|tenant| self.host.suspension(&tenant, &mut Catalogue::default()).is_none()) {
            self.host.forget_halt(ve.id)?;
        }
        Ok(done)
    }

    /// Writes a tenant's suspension, or its end. A definition that has mistakes is refused.
    fn rewrite(&self, name: &TenantName, verb: &str, to: impl Fn(&Tenant) -> Option<String>) -> Result<()> {
        let _lock = self.host.lock_registry(verb)?;
        let mut catalogue = Catalogue::default();
        let tenant = catalogue.tenant(&self.host, name)?;
        let path = self.host.dirs.tenant_definition(name);
        let old = file::read(&path)?;
        let reason = to(tenant);
        let new =
            suspend_tenant(&path.display().to_string(), &old, reason.as_deref()).map_err(|e| refused_edit(name, e))?;
        match new == old {
            true => Ok(()),
            false => Ok(file::write_atomic(&path, new.as_bytes(), 0o600)?),
        }
    }

    /// Is it disabled, or of a suspended tenant, and so not to be started with the host? That is told.
    pub(super) fn is_withheld(&self, ve: &Outline, progress: &dyn Progress) -> bool {
        let defined = self.host.definition(&ve.name).ok();
        let disabled = defined.as_ref().is_some_and(|d| d.disabled == Some(true));
        let suspended = || {
            let tenant = defined
                .as_ref()
                .map(|d| d.tenant.clone())
                .or_else(|| ve.tenant.clone())?;
            self.host.suspension(&tenant, &mut Catalogue::default())
        };
        match disabled.then(|| "it is disabled".to_owned()).or_else(suspended) {
            Some(why) => {
                progress.note(&format!("VE {} ({}) isn't started: {why}", ve.id, ve.name));
                true
            }
            None => false,
        }
    }
}

impl Host {
    /// Why the VEs of a tenant may not start, if it is suspended.
    pub(super) fn suspension(&self, tenant: &TenantName, catalogue: &mut Catalogue) -> Option<String> {
        let tenant = catalogue.tenant(self, tenant).ok()?;
        let reason = tenant.suspended.as_ref()?;
        Some(format!("its tenant \"{}\" is suspended: {reason}", tenant.name))
    }

    /// It runs, or would run, but for its tenant's suspension.
    fn note_halt(&self, id: VeId, tenant: &TenantName) -> Result<()> {
        Ok(file::write_atomic(&self.halted(id), tenant.as_str().as_bytes(), 0o600)?)
    }

    /// Its guest asked for a reboot, and it can't start: if that is for its tenant's suspension, it starts when that ends.
    /// The VE's lock must be held.
    pub(super) fn note_refused_reboot(&self, id: VeId) -> Result<()> {
        let tenant = self.outline(id).and_then(|ve| ve.tenant);
        match tenant.filter(|tenant| self.suspension(tenant, &mut Catalogue::default()).is_some()) {
            Some(tenant) => self.note_halt(id, &tenant),
            None => Ok(()),
        }
    }

    /// It runs again, or isn't to.
    pub(super) fn forget_halt(&self, id: VeId) -> Result<()> {
        Ok(file::remove_file(&self.halted(id))?)
    }

    fn halted(&self, id: VeId) -> PathBuf {
        self.dirs.ve(id).join(HALTED)
    }
}
