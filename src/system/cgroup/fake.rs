//! Control groups in memory, for the tests of what is built on them: it remembers like the real ones, says no where
//! they would, and can be told to fail.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hostel_model::id::VeId;
use hostel_model::limits::Limits;

use super::inner::Inner;
use super::types::{BlockDevice, Facts, Hits, Kind, Limit, Placement, Support, Unenforceable, Usage};
use super::want::Want;
use super::{Cgroups, Told};
use crate::fake::{Calls, steered};
use crate::{Error, Result, error};

/// What the fake knows of one VE's group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FakeVe {
    /// To whom the payload was given.
    pub owner: u32,
    /// To whom `name=systemd` was given, if it was.
    pub legacy_owner: Option<u32>,
    /// The limits last applied; `None` before the first time.
    pub limits: Option<Limits>,
    /// The cap that its payload shows.
    pub revealed: Option<u32>,
    /// The disks they were applied with.
    pub disks: Vec<BlockDevice>,
    /// The processes in it.
    pub processes: Vec<u32>,
    /// Whether it is frozen.
    pub frozen: bool,
    /// What it uses.
    pub usage: Usage,
    /// How often it has run into its limits.
    pub hits: Hits,
}

#[derive(Debug, Default)]
struct State {
    ves: BTreeMap<VeId, FakeVe>,
    monitors: bool,
    calls: Calls,
}

/// The fake. All its methods take `&self`, so a test can keep a reference and look in.
#[derive(Debug)]
pub struct FakeCgroups {
    facts: Facts,
    state: Mutex<State>,
}

impl Default for FakeCgroups {
    fn default() -> Self {
        Self::new()
    }
}

// Readings (`facts`, `unenforceable`, `placement`, `exists`, `hits`) are no calls.
steered!(FakeCgroups);

impl FakeCgroups {
    /// A v2 host that can hold every limit.
    pub fn new() -> Self {
        let limits = Limit::ALL.map(|l| (l, Support::Full)).to_vec();
        let facts = Facts {
            kind: Kind::V2,
            devices: Support::Full,
            controllers: Vec::new(),
            limits,
        };
        Self {
            facts,
            state: Mutex::default(),
        }
    }

    /// The same host, unable to hold one limit.
    #[must_use]
    pub fn without(self, limit: Limit, why: &str) -> Self {
        self.with(limit, &Support::No(why.to_owned()))
    }

    /// The same host, holding one limit as far as is said.
    #[must_use]
    pub fn with(mut self, limit: Limit, can: &Support) -> Self {
        for (_, support) in self.facts.limits.iter_mut().filter(|(l, _)| *l == limit) {
            support.clone_from(can);
        }
        self
    }

    /// All that there is, a line each, without process ids: for comparing before and after.
    pub fn inventory(&self) -> Vec<String> {
        let line = |(id, ve): (&VeId, &FakeVe)| {
            let nobody = FakeVe {
                processes: vec![0; ve.processes.len()],
                ..ve.clone()
            };
            format!("group {id} {nobody:?}")
        };
        self.state().ves.iter().map(line).collect()
    }

    /// What it knows of a VE.
    pub fn ve(&self, id: VeId) -> Option<FakeVe> {
        self.state().ves.get(&id).cloned()
    }

    /// Changes what it knows of a VE: processes that started or ended, usage. Nothing happens without a group.
    pub fn change(&self, id: VeId, change: impl FnOnce(&mut FakeVe)) {
        if let Some(ve) = self.state().ves.get_mut(&id) {
            change(ve);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked with the lock held has failed already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call and fails it if that was asked for.
    fn call(&self, method: &'static str, id: Option<VeId>) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state
            .calls
            .note(method, id.map_or_else(String::new, |id| id.to_string()))?;
        Ok(state)
    }

    /// A call on a group that must be there.
    fn on<T>(&self, method: &'static str, id: VeId, act: impl FnOnce(&mut FakeVe) -> Result<T>) -> Result<T> {
        let mut state = self.call(method, Some(id))?;
        let none = || Error::new(method, id, "it has no control group").kind(error::Kind::NotFound);
        act(state.ves.get_mut(&id).ok_or_else(none)?)
    }
}

impl Cgroups for FakeCgroups {
    fn thaw_guest(&self, id: VeId) -> Result<()> {
        self.call("thaw_guest", Some(id)).map(drop)
    }

    fn inner(&self, id: VeId) -> Result<Vec<Inner>> {
        self.call("inner", Some(id)).map(|_| Vec::new())
    }

    fn make_inner(&self, id: VeId, _: &[Inner]) -> Result<Vec<String>> {
        self.call("make_inner", Some(id)).map(|_| Vec::new())
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn support(&self, limit: Limit) -> Support {
        self.facts.support(limit).clone()
    }

    fn unenforceable(&self, limits: &Limits) -> Vec<Unenforceable> {
        super::facts::asked(limits)
            .filter_map(|l| {
                self.facts.why_not(l).map(|why| Unenforceable {
                    limit: l,
                    why: why.to_owned(),
                })
            })
            .collect()
    }

    fn create(&self, id: VeId, owner: u32) -> Result<()> {
        self.call("create", Some(id))?.ves.entry(id).or_default().owner = owner;
        Ok(())
    }

    fn delegate_legacy(&self, id: VeId, owner: u32) -> Result<()> {
        self.on("delegate_legacy", id, |ve| {
            ve.legacy_owner = Some(owner);
            Ok(())
        })
    }

    fn reveal_cap(&self, id: VeId, cap_milli: Option<u32>) -> Result<()> {
        self.on("reveal_cap", id, |ve| {
            ve.revealed = cap_milli;
            Ok(())
        })
    }

    fn apply(&self, id: VeId, limits: &Limits, disks: &[BlockDevice]) -> Result<()> {
        let cannot = self.unenforceable(limits);
        self.on("apply", id, |ve| {
            if let Some(first) = cannot.first() {
                return Err(Error::new("limit VE", id, first.to_string()).kind(error::Kind::Unsupported));
            }
            if let Some((used, limit)) = ve.usage.memory.zip(limits.memory.limit).filter(|(u, l)| *u > l.get()) {
                return Err(
                    Error::new("limit VE", id, format!("{used} bytes in use, more than {limit}"))
                        .kind(error::Kind::Busy),
                );
            }
            ve.limits = Some(limits.clone());
            ve.disks = disks.to_vec();
            Ok(())
        })
    }

    fn placement(&self, _: VeId) -> Placement {
        Placement::default()
    }

    fn attach_placement(&self, id: VeId, _: &Path) -> Result<Placement> {
        self.on("attach_placement", id, |_| Ok(Placement::default()))
    }

    fn monitor_placement(&self) -> Result<Placement> {
        self.call("monitor_placement", None)?.monitors = true;
        Ok(Placement::default())
    }

    fn usage(&self, id: VeId) -> Result<Usage> {
        self.on("usage", id, |ve| Ok(ve.usage.clone()))
    }

    fn measure(&self, id: VeId, _: Want) -> Result<(Usage, Hits)> {
        Ok((self.usage(id)?, self.hits(id)))
    }

    fn measure_again(&self, id: VeId, want: Want, _: &(Usage, Hits)) -> Result<(Usage, Hits)> {
        self.measure(id, want)
    }

    fn hits(&self, id: VeId) -> Hits {
        self.ve(id).map(|ve| ve.hits).unwrap_or_default()
    }

    /// There are no files.
    fn told(&self, _: VeId) -> Told {
        Told::default()
    }

    fn processes(&self, id: VeId) -> Result<Vec<u32>> {
        Ok(self
            .call("processes", Some(id))?
            .ves
            .get(&id)
            .map(|ve| ve.processes.clone())
            .unwrap_or_default())
    }

    fn freeze_unless(&self, id: VeId, _: Duration, _: &AtomicBool) -> Result<()> {
        self.on("freeze", id, |ve| {
            ve.frozen = true;
            Ok(())
        })
    }

    fn thaw(&self, id: VeId) -> Result<()> {
        self.on("thaw", id, |ve| {
            ve.frozen = false;
            Ok(())
        })
    }

    fn is_frozen(&self, id: VeId) -> Result<bool> {
        self.on("is_frozen", id, |ve| Ok(ve.frozen))
    }

    fn kill(&self, id: VeId) -> Result<()> {
        if let Some(ve) = self.call("kill", Some(id))?.ves.get_mut(&id) {
            ve.processes.clear();
            ve.frozen = false;
        }
        Ok(())
    }

    fn exists(&self, id: VeId) -> bool {
        self.state().ves.contains_key(&id)
    }

    fn remove(&self, id: VeId, _: Duration) -> Result<()> {
        let mut state = self.call("remove", Some(id))?;
        if state.ves.get(&id).is_some_and(|ve| !ve.processes.is_empty()) {
            return Err(Error::new("remove control group", id, "processes are still in it").kind(error::Kind::Busy));
        }
        state.ves.remove(&id);
        Ok(())
    }

    fn list(&self) -> Result<Vec<VeId>> {
        Ok(self.call("list", None)?.ves.keys().copied().collect())
    }

    fn remove_root(&self) -> Result<()> {
        let mut state = self.call("remove_root", None)?;
        if !state.ves.is_empty() {
            return Err(
                Error::new("remove", "the root of the control groups", "VEs have groups in it").kind(error::Kind::Busy),
            );
        }
        state.monitors = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hostel_model::units::Bytes;

    #[test]
    fn remembers_refuses_and_fails_when_told() {
        let id = VeId::try_from(101).unwrap();
        let fake = FakeCgroups::new().without(Limit::Guarantee, "a test");
        assert_eq!(
            fake.apply(id, &Limits::default(), &[]).unwrap_err().kind,
            error::Kind::NotFound
        );
        fake.create(id, 1_000_000).unwrap();
        let mut limits = Limits {
            processes: Some(7),
            ..Limits::default()
        };
        fake.apply(id, &limits, &[]).unwrap();
        limits.memory.guarantee = Some(Bytes::mib(1));
        assert_eq!(fake.apply(id, &limits, &[]).unwrap_err().kind, error::Kind::Unsupported);
        assert_eq!(fake.ve(id).unwrap().limits.unwrap().memory.guarantee, None);
        fake.change(id, |ve| ve.processes = vec![7]);
        assert_eq!(fake.remove(id, Duration::ZERO).unwrap_err().kind, error::Kind::Busy);
        assert!(!fake.fail_call(2));
        fake.freeze(id, Duration::ZERO).unwrap();
        fake.kill(id).unwrap_err();
        assert!(fake.ve(id).unwrap().frozen, "a failed call changes nothing");
        fake.kill(id).unwrap();
        fake.fail_method(Some("remove"));
        fake.remove(id, Duration::ZERO).unwrap_err();
        fake.fail_method(None);
        fake.remove(id, Duration::ZERO).unwrap();
        assert!(!fake.exists(id) && fake.list().unwrap().is_empty());
        assert_eq!(fake.calls().last().unwrap(), "list");
    }
}
