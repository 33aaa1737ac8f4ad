//! Questions: which VEs there are, how they are, and what their settings are.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hostel_model::id::{TenantName, VeId};
use hostel_model::request::{Action, Selection, VeRef};
use hostel_model::resolve::Effective;
use hostel_model::state::{State, judge};
use hostel_system::cgroup::Want;
use hostel_system::criu::{blockers, unkept_ipc, visitors};
use hostel_system::disk::{Disks, Root};
use hostel_system::file;
use hostel_system::process::{Init, ROOT_DEVICE, Request};

use super::{Engine, Progress, Setting, TROUBLE, VeHandle, VeStatus};
use crate::error::{Class, Error, Result, chain};
use crate::host::Host;
use crate::journal::Look;
use crate::op;
use crate::shares;
use crate::ve::outline::Outline;
use crate::ve::record::VeState;
use crate::ve::registry::{Catalogue, ids_in, unknown_ve};

impl Engine {
    /// The VEs meant; not found is an error that names all that weren't. Told are those of which it isn't known whether
    /// they are meant.
    pub fn select(&self, selection: &Selection, progress: &dyn Progress) -> Result<Vec<VeHandle>> {
        match selection {
            Selection::Some(list) => self.select_some(list),
            Selection::All => Ok(self.outlines()?.into_iter().map(handle).collect()),
            Selection::Tenant(tenant) => {
                match Catalogue::default().tenant(&self.host, tenant) {
                    Err(e) if e.class == Class::NotFound => return Err(e),
                    // Its VEs can be ended and looked at all the same.
                    Err(e) => progress.note(&e.message),
                    Ok(_) => {}
                }
                let mut meant = Vec::new();
                for ve in self.outlines()? {
                    // Where its definition can't be read, its record may tell.
                    let whose = self.host.definition(&ve.name).map(|d| d.tenant);
                    match whose.map_err(|e| (ve.tenant.clone(), e)) {
                        Ok(whose) | Err((Some(whose), _)) if whose == *tenant => meant.push(handle(ve)),
                        Ok(_) | Err((Some(_), _)) => {}
                        Err((None, e)) => progress.note(&format!(
                            "VE {} ({}) is passed over, as it can't be told whose it is: {}",
                            ve.id, ve.name, e.message
                        )),
                    }
                }
                Ok(meant)
            }
        }
    }

    /// All VEs, the broken ones too: what is done to all is done to the others all the same.
    pub(super) fn outlines(&self) -> Result<Vec<Outline>> {
        let outline = |(id, state): (VeId, Result<VeState>)| match state {
            Ok(state) => Some(Outline::from(&state)),
            Err(_) => self.host.outline(id),
        };
        Ok(self.host.states()?.into_iter().filter_map(outline).collect())
    }

    fn select_some(&self, list: &[VeRef]) -> Result<Vec<VeHandle>> {
        let (mut found, mut missing, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for ve in list {
            match self.host.locate(ve)?.map(handle).or_else(|| self.unfinished(ve)) {
                Some(handle) if seen.insert(handle.id) => found.push(handle),
                Some(_) => {}
                None => missing.push(ve.to_string()),
            }
        }
        match missing.as_slice() {
            [] => Ok(found),
            missing => Err(
                Error::new(Class::NotFound, format!("there is no VE {}", missing.join(", ")))
                    .hint("see all with: hostel list"),
            ),
        }
    }

    /// A VE of which only the journal of its creation or destruction is left can still be named.
    pub(crate) fn unfinished(&self, ve: &VeRef) -> Option<VeHandle> {
        let named = |id: VeId| match self.host.journals.look(id) {
            Look::Unfinished(begin) => Some(VeHandle {
                id,
                name: op::name_in(&begin)?,
            }),
            Look::Nothing | Look::Corrupt(_) => None,
        };
        self.host
            .journals
            .pending()
            .ok()?
            .into_iter()
            .filter_map(named)
            .find(|h| match ve {
                VeRef::Id(id) => h.id == *id,
                VeRef::Name(name) => h.name == *name,
            })
    }

    /// Every VE's status, in order of id.
    pub fn list(&self) -> Result<Vec<VeStatus>> {
        let ids = ids_in(&self.host.dirs.ves())?;
        Ok(shares::each(&ids, |ids| self.host.rows(ids)))
    }

    /// One VE's status.
    pub fn status(&self, ve: &VeRef) -> Result<VeStatus> {
        let Some(found) = self.host.locate(ve)? else {
            return Err(unknown_ve(ve));
        };
        Ok(match self.host.state(found.id) {
            Ok(state) => self.host.status_of(&state, &mut Catalogue::default(), true),
            Err(e) => self.host.status_of_broken(found.id, &e),
        })
    }

    /// What stands in the way of suspending a VE that runs, as far as it can be told without doing it: a line each.
    pub fn obstacles(&self, ve: &VeRef) -> Result<Vec<String>> {
        let Some(found) = self.host.locate(ve)? else {
            return Err(unknown_ve(ve));
        };
        let reality = self.host.reality(found.id)?;
        let refusal = judge(reality.state, &Action::Suspend { timeout: None }).err();
        let mut lines: Vec<String> = refusal.iter().map(|r| format!("{r}; {}", r.instead)).collect();
        let usable = self.host.criu.usable();
        lines.extend(usable.as_ref().err().map(|e| chain(e)));
        lines.extend(self.host.withheld().map(str::to_owned));
        if let Some(init) = reality.init {
            let criu = usable.ok().map(|(_, version)| version);
            if let Some(criu) = criu {
                lines.extend(unkept_ipc(criu, init.pid)?);
            }
            lines.extend(self.host.mount_of_script(found.id, init.pid)?);
            lines.extend(blockers(init.pid, &self.host.cgroups.processes(found.id)?, criu));
        }
        Ok(lines)
    }

    /// Commands that run in a VE from outside, by `exec` and `enter`; a suspension ends them.
    pub fn visitors(&self, ve: &VeRef) -> Result<Vec<String>> {
        let Some(found) = self.host.locate(ve)? else {
            return Err(unknown_ve(ve));
        };
        match self.host.reality(found.id)?.init {
            Some(init) => Ok(visitors(init.pid, &self.host.cgroups.processes(found.id)?)),
            None => Ok(Vec::new()),
        }
    }

    /// Effective settings and where each came from.
    pub fn show(&self, ve: &VeRef) -> Result<Vec<Setting>> {
        let state = self.host.find(ve)?;
        let effective = self.host.effective(&state.name, &mut Catalogue::default())?;
        let mut settings: Vec<Setting> = effective
            .settings()
            .into_iter()
            .map(|(key, value, source)| Setting { key, value, source })
            .collect();
        let allocated = |key: String, value: String| Setting {
            key,
            value,
            source: "allocated".into(),
        };
        settings.push(allocated("template.version".into(), state.template.clone()));
        settings.push(allocated("idmap.base".into(), self.host.id_base(&state)?.to_string()));
        let actual = state.driver.to_string();
        match effective.disk.driver {
            Some(asked) if asked == state.driver => {}
            Some(_) => settings.push(allocated("disk.driver.now".into(), actual)),
            None => {
                settings.retain(|s| s.key != "disk.driver");
                settings.push(allocated("disk.driver".into(), actual));
            }
        }
        for (n, interface) in state.interfaces.iter().enumerate() {
            let list: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
            settings.push(allocated(format!("network.{n}.allocated"), list.join(", ")));
            let (key, mac) = (format!("network.{n}.mac"), interface.mac.to_string());
            match effective.interfaces.get(n).and_then(|i| i.mac) {
                Some(asked) if asked == interface.mac => {}
                Some(_) => settings.push(allocated(format!("{key}.now"), mac)),
                None => {
                    settings.retain(|s| s.key != key);
                    settings.push(allocated(key, mac));
                }
            }
        }
        Ok(settings)
    }
}

pub(super) fn handle(ve: Outline) -> VeHandle {
    VeHandle {
        id: ve.id,
        name: ve.name,
    }
}

impl Host {
    /// The rows of these VEs, as far as there are such.
    fn rows(&self, ids: &[VeId]) -> Vec<VeStatus> {
        let mut catalogue = Catalogue::default();
        let row = |id: &VeId| match self.state_of(*id) {
            Ok(None) => None,
            Ok(Some(state)) => Some(self.status_of(&state, &mut catalogue, false)),
            Err(e) => Some(self.status_of_broken(*id, &e)),
        };
        ids.iter().filter_map(row).collect()
    }

    /// A row for a VE whose record can't be read. It may run all the same.
    fn status_of_broken(&self, id: VeId, e: &Error) -> VeStatus {
        let mut row = VeStatus {
            problem: Some(chain(e)),
            ..VeStatus::nameless(id)
        };
        row.name = self.outline(id).map(|ve| ve.name.to_string()).unwrap_or_default();
        row.state = State::Broken.to_string();
        if let Ok(reality) = self.reality(id)
            && let Some(init) = reality.init
        {
            row.state = reality.state.to_string();
            row.pid = Some(init.pid);
            self.measured(&mut row, id, self.disks.at(&self.dirs.ve(id)), init);
        }
        row
    }

    /// How a VE is. Never fails: what can't be told is `None`, and `problem` says why. `closely`: also what takes a
    /// look at its disk or a word with its monitor.
    fn status_of(&self, state: &VeState, catalogue: &mut Catalogue, closely: bool) -> VeStatus {
        let mut row = VeStatus {
            name: state.name.to_string(),
            ..VeStatus::nameless(state.id)
        };
        row.template = state.template.clone();
        row.tenant = state.tenant.as_ref().map(ToString::to_string).unwrap_or_default();
        row.addresses = state
            .interfaces
            .iter()
            .flat_map(|i| i.addresses.iter().copied())
            .collect();
        row.disk_limit = Some(state.disk_size);
        match self.effective(&state.name, catalogue) {
            Ok(effective) => defined(&mut row, &effective),
            Err(e) => row.problem = Some(chain(&e)),
        }
        match self.reality(state.id) {
            Ok(reality) => {
                row.state = reality.state.to_string();
                row.pid = reality.init.map(|init| init.pid);
                row.uptime = reality
                    .init
                    .and_then(|init| self.guests.age(init))
                    .map(|age| age.as_secs());
                match reality.init {
                    Some(init) => self.measured(&mut row, state.id, self.disks.get(state.driver), init),
                    None => {
                        if reality.state == State::Stopped {
                            row.disk = self.disks.get(state.driver).glance(&self.dirs.ve(state.id), None);
                        }
                        if row.problem.is_some() {
                            row.state = State::Broken.to_string();
                        }
                    }
                }
                // Of its last end, also if it runs again since: it may have rebooted.
                if row.problem.is_none() {
                    row.problem = std::fs::read_to_string(self.dirs.run(state.id).join(TROUBLE)).ok();
                }
            }
            Err(e) => row.problem = Some(chain(&e)),
        }
        if let (None, Ok(tenant)) = (&row.problem, row.tenant.parse::<TenantName>()) {
            row.problem = self.suspension(&tenant, catalogue);
        }
        if let (None, Some(why)) = (&row.problem, &state.damaged) {
            row.problem = Some(format!(
                "its record is damaged ({why}); the next command puts it right from its copy"
            ));
        }
        if closely {
            self.closely(&mut row, state);
        }
        row
    }

    /// The root of a running guest, as its init has it: for what only shows it.
    pub(crate) fn root_of(&self, init: Init) -> Root {
        Root {
            path: PathBuf::from(format!("/proc/{}/root", init.pid)),
            device: None,
        }
    }

    /// The same for what is paid by it: with what its monitor noted of it.
    pub(crate) fn sure_root_of(&self, id: VeId, init: Init) -> Root {
        let noted = file::read_small(&self.dirs.run(id).join(ROOT_DEVICE));
        Root {
            device: noted.ok().and_then(|text| text.parse().ok()),
            ..self.root_of(init)
        }
    }

    fn measured(&self, row: &mut VeStatus, id: VeId, driver: &dyn Disks, init: Init) {
        row.disk = driver.glance(&self.dirs.ve(id), Some(&self.root_of(init)));
        if let Ok((usage, _)) = self.cgroups.measure(id, Want::GLANCE) {
            row.memory = usage.memory;
            row.cpu_ns = usage.cpu.total_ns;
            row.processes = usage.processes;
        }
    }

    fn closely(&self, row: &mut VeStatus, state: &VeState) {
        let dir = self.dirs.ve(state.id);
        match self.disks.get(state.driver).usage(&dir) {
            Ok(usage) => row.disk = usage.used,
            Err(e) => {
                row.problem.get_or_insert_with(|| chain(&e));
            }
        }
        if row.pid.is_some() {
            let answer = self.guests.ask(&self.dirs.run(state.id), &Request::Status);
            row.booted = answer.ok().flatten().and_then(|a| a.booted);
        }
    }
}

fn defined(row: &mut VeStatus, effective: &Effective) {
    row.tenant = effective.tenant.to_string();
    row.plan = effective.plan.to_string();
    row.hostname = effective.hostname.to_string();
    row.memory_limit = effective.limits.memory.limit.map(hostel_model::units::Bytes::get);
    row.cpu_cap_milli = effective.limits.cpu.cap_milli;
    row.process_limit = effective.limits.processes;
    row.onboot = effective.onboot;
}
