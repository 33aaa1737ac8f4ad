//! How much of this host is promised to its VEs, and whether one may have more of it.
//!
//! As with budgets, what is defined counts, whether it runs or not, and is judged where it grows: where a VE is made or
//! changed. A start is judged once more among the VEs that run, but only by bounds that refuse: a definition or a plan may
//! have been changed by hand, and the host may have less than it had.

use std::path::Path;

use hostel_model::capacity::{Each, Promise, Resource, concerns, judge, sum};
use hostel_model::definition::Beyond;
use hostel_model::id::VeId;
use hostel_model::policy::Violation;
use hostel_model::resolve::Effective;
use hostel_system::load;

use super::budget::processors;
use super::registry::Catalogue;
use crate::error::{Class, Error, Result};
use crate::host::Host;

impl Host {
    /// What this host has of each. A host without swap promises none, and has none that could run out.
    pub fn has(&self) -> Each<Option<u64>> {
        let proc = self.proc_sys.parent().unwrap_or(Path::new("/proc"));
        let load = load::read(proc, Path::new("/sys"), &self.dirs.ves());
        Each::of(|resource| match resource {
            Resource::Cpu => load.processors.and_then(|n| n.checked_mul(1000)),
            Resource::Memory | Resource::Guarantee => load.memory_size,
            Resource::Swap => load.swap_size.filter(|size| *size > 0),
            Resource::Disk => load.disk_size,
            Resource::Processes => load.processes_max,
        })
    }

    /// What each VE is promised but `except`, of those that `which` picks; those too that are being made. Of one whose
    /// definition can't be read its disk is known.
    pub fn promises(
        &self,
        except: Option<VeId>,
        catalogue: &mut Catalogue,
        which: impl Fn(VeId) -> bool,
    ) -> Result<Vec<Promise>> {
        let states = self.all_states()?.into_iter();
        let wanted = states.filter(|state| Some(state.id) != except && which(state.id));
        Ok(wanted
            .map(|state| match self.effective(&state.name, catalogue) {
                Ok(ve) => Promise::of(&ve, processors()),
                Err(_) => Promise::of_disk(state.disk_size),
            })
            .collect())
    }

    /// What stands against a VE that is to be as it is defined: what refuses it, and what is worth a line.
    pub(super) fn judge_capacity(
        &self,
        ve: &Effective,
        catalogue: &mut Catalogue,
    ) -> Result<(Vec<Violation>, Vec<String>)> {
        let (rules, asked) = (&self.config.capacity, Promise::of(ve, processors()));
        if !concerns(rules, &asked, None, false) {
            return Ok(Default::default());
        }
        let state = self.state_of(ve.id).ok().flatten().filter(|s| s.name == ve.name);
        let had = state.and_then(|state| self.effective(&state.name, catalogue).ok());
        let had = had.map(|had| Promise::of(&had, processors()));
        if !concerns(rules, &asked, had.as_ref(), false) {
            return Ok(Default::default());
        }
        let others = sum(&self.promises(Some(ve.id), catalogue, |_| true)?);
        let found = judge(rules, &self.has(), (&asked, had.as_ref()), &others, "this host");
        let (mut refused, mut notes) = (Vec::new(), Vec::new());
        for (beyond, violation) in found {
            match beyond {
                Beyond::Refuse => refused.push(violation),
                Beyond::Warn | Beyond::Off => notes.push(violation.to_string()),
            }
        }
        Ok((refused, notes))
    }

    /// Is its start judged by what runs?
    pub(super) fn capacity_concerns_start(&self, ve: &Effective) -> bool {
        concerns(&self.config.capacity, &running(ve), None, true)
    }

    /// Refuses a start beyond what may be promised to what runs.
    pub(super) fn judge_capacity_at_start(&self, ve: &Effective, catalogue: &mut Catalogue) -> Result<()> {
        if !self.capacity_concerns_start(ve) {
            return Ok(());
        }
        let others = sum(&self.promises(Some(ve.id), catalogue, |id| self.is_up(id))?);
        let whom = "this host, by what runs,";
        let found = judge(&self.config.capacity, &self.has(), (&running(ve), None), &others, whom);
        let refused = found.into_iter().filter(|(beyond, _)| *beyond == Beyond::Refuse);
        let reasons: Vec<String> = refused.map(|(_, violation)| violation.to_string()).collect();
        match reasons.is_empty() {
            true => Ok(()),
            false => {
                let error = Error::new(Class::Limit, format!("{} can't start beside what runs", ve.name));
                Err(error.because(reasons.join("\n")))
            }
        }
    }
}

/// What it takes only while it runs: its disk it has anyway.
fn running(ve: &Effective) -> Promise {
    Promise::of(ve, processors()).without(Resource::Disk)
}
