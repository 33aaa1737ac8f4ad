//! What is kept of a look for the next one, as long as files are the same: records, definitions, and what control groups
//! told of who has not run since.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hostel_model::id::VeId;
use hostel_model::stat::Known;
use hostel_system::cgroup::{Hits, Usage};
use hostel_system::process::Init;

use super::ve::{Shared, known};
use crate::error::Result;
use crate::host::Host;
use crate::ve::record::{STATE, VeState};
use crate::ve::stamp::{Stamp, stamp};

/// One VE.
#[derive(Debug, Default)]
pub(super) struct One {
    state: Option<(Arc<VeState>, Stamp)>,
    known: Option<(Known, Stamp)>,
    /// All that its control groups told of this run.
    pub measured: Option<(Init, (Usage, Hits))>,
}

/// All that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    ves: Mutex<BTreeMap<VeId, One>>,
    /// The versions of what definitions take from other files.
    others: Mutex<Vec<Stamp>>,
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked with it has left entries that are whole.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    /// A look begins. What is no more is forgotten, and what was made of other files than there are now.
    pub fn begin(&self, host: &Host, there: &[VeId]) {
        let mut others = Vec::new();
        for kind in ["plans", "networks", "tenants"] {
            let dir = host.dirs.definitions(kind);
            others.push(stamp(&dir));
            let files = host.names_of(kind).into_iter();
            others.extend(files.map(|name| stamp(&dir.join(format!("{name}.toml")))));
        }
        let mut ves = locked(&self.ves);
        ves.retain(|id, _| there.binary_search(id).is_ok());
        if std::mem::replace(&mut *locked(&self.others), others.clone()) != others {
            ves.values_mut().for_each(|one| one.known = None);
        }
    }

    /// What is known of a VE; give it back with [`Seen::put`].
    pub(super) fn take(&self, id: VeId) -> One {
        locked(&self.ves).remove(&id).unwrap_or_default()
    }

    /// Keeps it for the next look.
    pub(super) fn put(&self, id: VeId, one: One) {
        locked(&self.ves).insert(id, one);
    }
}

impl One {
    /// Its record; `None` if there is no such VE.
    pub fn state(&mut self, host: &Host, id: VeId) -> Result<Option<Arc<VeState>>> {
        let now = stamp(&host.dirs.ve(id).join(STATE));
        if let Some((state, read)) = &self.state
            && now.is_some()
            && *read == now
        {
            return Ok(Some(Arc::clone(state)));
        }
        *self = Self::default();
        self.state = host.state_of(id)?.map(|state| (Arc::new(state), now));
        Ok(self.state.as_ref().map(|(state, _)| Arc::clone(state)))
    }

    /// What its definition says.
    pub fn known(&mut self, host: &Host, state: &VeState, shared: &mut Shared) -> Known {
        let now = stamp(&host.dirs.definition(&state.name));
        match &self.known {
            Some((known, read)) if now.is_some() && *read == now => known.clone(),
            _ => {
                let known = known(host, state, &mut shared.catalogue);
                self.known = Some((known.clone(), now));
                known
            }
        }
    }
}
