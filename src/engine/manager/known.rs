//! What need not be read anew for each look at a VE, as long as its files are the same.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hostel_model::id::VeId;
use hostel_model::usage::Terms;

use crate::error::Result;
use crate::host::Host;
use crate::ve::record::{STATE, VeState};

/// Which version of a file it is; `None`: there is none.
type Stamp = Option<(u64, i64, i64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let m = std::fs::metadata(path).ok()?;
    Some((m.ino(), m.mtime(), m.mtime_nsec(), m.size()))
}

/// One VE.
#[derive(Debug, Clone)]
struct Entry {
    state: Arc<VeState>,
    read: Stamp,
    /// The terms, and the versions of definition and plan that they are from.
    terms: Option<(Terms, [Stamp; 2])>,
}

/// All that were looked at.
#[derive(Debug, Default)]
pub struct Known(Mutex<BTreeMap<VeId, Entry>>);

impl Known {
    /// A VE's record, and its terms if its definition can be read; `None` if there is no such VE.
    pub fn of(&self, host: &Host, id: VeId) -> Result<Option<(Arc<VeState>, Option<Terms>)>> {
        let read = stamp(&host.dirs.ve(id).join(STATE));
        let entry = self
            .entries()
            .get(&id)
            .filter(|e| read.is_some() && e.read == read)
            .cloned();
        let mut entry = match entry {
            Some(entry) => entry,
            None => match host.state_of(id)? {
                None => return Ok(None),
                Some(state) => Entry {
                    state: Arc::new(state),
                    read,
                    terms: None,
                },
            },
        };
        let definition = stamp(&host.dirs.definition(&entry.state.name));
        let plan = |terms: &Terms| stamp(&host.dirs.definitions("plans").join(format!("{}.toml", terms.plan)));
        let current = entry
            .terms
            .as_ref()
            .is_some_and(|(terms, [d, p])| *d == definition && *p == plan(terms));
        if !current {
            entry.terms = host.terms_of(&entry.state).map(|terms| {
                let from = [definition, plan(&terms)];
                (terms, from)
            });
        }
        let answer = (
            Arc::clone(&entry.state),
            entry.terms.as_ref().map(|(terms, _)| terms.clone()),
        );
        self.entries().insert(id, entry);
        Ok(Some(answer))
    }

    /// Forgets those that are no more.
    pub fn keep(&self, there: &[VeId]) {
        self.entries().retain(|id, _| there.binary_search(id).is_ok());
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<VeId, Entry>> {
        // Whoever panicked with it has left entries that are whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
