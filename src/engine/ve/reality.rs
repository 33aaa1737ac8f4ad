//! What a VE is, read from the kernel and never from a status file.

use hostel_model::id::VeId;
use hostel_model::state::State;
use hostel_system::process::Init;

use super::record::RunRecord;
use crate::error::Result;
use crate::host::Host;

/// A VE as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reality {
    /// Its state.
    pub state: State,
    /// Its init, if it lives.
    pub init: Option<Init>,
    /// Is something of a former run left (a record, a cgroup) though it doesn't run?
    pub remains: bool,
}

impl Host {
    /// Looks.
    pub fn reality(&self, id: VeId) -> Result<Reality> {
        let record = self.run_record(id);
        let init = self.init_by(id, record.as_ref())?;
        let state = match init {
            Some(_) if self.is_frozen(id)? => State::Paused,
            Some(_) => State::Running,
            None if self.is_mounted(id) => State::Mounted,
            None if self.is_suspended(id) => State::Suspended,
            None => State::Stopped,
        };
        // What lives has a group, which needn't be looked for.
        let remains = init.is_none() && (record.is_some() || self.cgroups.exists(id));
        Ok(Reality { state, init, remains })
    }

    /// A VE's init, if it lives: what is asked of all VEs at once, where the rest doesn't matter.
    pub fn init(&self, id: VeId) -> Result<Option<Init>> {
        self.init_by(id, self.run_record(id).as_ref())
    }

    /// What is noted of the run that is under way in this boot.
    pub(crate) fn run_record(&self, id: VeId) -> Option<RunRecord> {
        RunRecord::read(&self.dirs.run(id)).filter(|r| r.boot_id == self.boot_id)
    }

    fn init_by(&self, id: VeId, record: Option<&RunRecord>) -> Result<Option<Init>> {
        let recorded = record.map(|r| r.init).filter(|init| self.guests.alive(*init));
        Ok(match recorded {
            // A lost record: the VE's cgroup still tells which process is its init.
            None if self.cgroups.exists(id) => self.guests.find(&self.cgroups.processes(id)?),
            found => found,
        })
    }

    /// Do all its processes stand still?
    pub(crate) fn is_frozen(&self, id: VeId) -> Result<bool> {
        match self.cgroups.is_frozen(id) {
            // It has ended since we looked, and its group with it.
            Err(e) if e.kind == hostel_system::Kind::NotFound => Ok(false),
            other => Ok(other?),
        }
    }

    fn is_mounted(&self, id: VeId) -> bool {
        self.mounts.is_mounted(&self.dirs.mount(id))
    }
}
