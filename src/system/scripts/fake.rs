//! Scripts that exist only in a table, and what they have made: each that begins something has to be ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Bounds, How, Ran, Scripts};
use crate::fake::{Calls, steered};
use crate::{Error, Result};

/// A [`Scripts`] that remembers what ran, and fails where it is told to.
#[derive(Debug, Default)]
pub struct FakeScripts {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The files, and how those end that don't end well.
    files: BTreeMap<PathBuf, How>,
    /// Which are unfit.
    unfit: BTreeSet<PathBuf>,
    /// VEs for which a script of this event has begun something.
    open: BTreeSet<(String, &'static str)>,
    calls: Calls,
}

steered!(FakeScripts);

/// What begins, and what ends it.
const PAIRS: [(&str, &str); 2] = [("premount", "postumount"), ("mount", "umount")];

impl FakeScripts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one there, which ends like this.
    pub fn put(&self, script: &Path, how: How) {
        self.state().files.insert(script.to_owned(), how);
    }

    /// Nobody may run it.
    pub fn spoil(&self, script: &Path) {
        self.state().unfit.insert(script.to_owned());
    }

    /// What scripts have begun and none has ended, and the files, a line each.
    pub fn inventory(&self) -> Vec<String> {
        let state = self.state();
        let open = state.open.iter().map(|(ve, event)| format!("script {event} of {ve}"));
        let files = state.files.keys().map(|file| format!("script {}", file.display()));
        open.chain(files).collect()
    }
}

impl Scripts for FakeScripts {
    fn find(&self, places: &[(PathBuf, Vec<String>)]) -> Result<Vec<PathBuf>> {
        let mut state = self.state();
        if state.files.is_empty() {
            return Ok(Vec::new());
        }
        state.calls.note("find", "")?;
        let all = places
            .iter()
            .flat_map(|(dir, names)| names.iter().map(move |name| dir.join(name)));
        Ok(all.filter(|path| state.files.contains_key(path)).collect())
    }

    fn judge(&self, script: &Path) -> Result<std::result::Result<PathBuf, String>> {
        let mut state = self.state();
        state.calls.note("judge", script.display())?;
        Ok(match state.unfit.contains(script) {
            true => Err("others than root may write it".into()),
            false => Ok(script.to_owned()),
        })
    }

    fn read(&self, script: &Path) -> Result<Vec<u8>> {
        self.state().calls.note("read", script.display())?;
        Ok(b"#!/bin/sh\n".to_vec())
    }

    fn retire(&self, script: &Path) -> Result<()> {
        let mut state = self.state();
        state.calls.note("retire", script.display())?;
        if let Some(how) = state.files.remove(script) {
            state.files.insert(super::retired(script), how);
        }
        Ok(())
    }

    /// Beginning what has begun and not ended is an error.
    fn run(&self, script: &Path, env: &[(String, String)], _: &Path, _: Bounds<'_>) -> Result<Ran> {
        let mut state = self.state();
        let name = script.file_name().unwrap_or_default().to_string_lossy().into_owned();
        state.calls.note("run", &name)?;
        let ve = env
            .iter()
            .find(|(key, _)| key == "VEID")
            .map(|(_, id)| id.clone())
            .unwrap_or_default();
        let event = name.rsplit('.').next().unwrap_or_default();
        for (begins, ends) in PAIRS {
            if event == begins && !state.open.insert((ve.clone(), begins)) {
                return Err(Error::new("run", &name, "that has begun already"));
            }
            // One that was cut short is run again.
            if event == ends {
                state.open.remove(&(ve.clone(), begins));
            }
        }
        let how = state.files.get(script).cloned().unwrap_or(How::Code(0));
        Ok(Ran {
            how,
            said: format!("{name} ran\n").into_bytes(),
        })
    }
    fn end_left(&self, _: &Path) -> Result<()> {
        self.state().calls.note("end_left", "")
    }
}
