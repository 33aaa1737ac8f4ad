//! A stand-in with state: name servers that are texts in a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::NameServers;
use crate::fake::{Calls, steered};
use crate::{Error, Kind, Result};

/// Runs nothing, but remembers what was to run.
#[derive(Debug, Default)]
pub struct FakeNameServers {
    inner: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: BTreeMap<PathBuf, String>,
    missing: bool,
    calls: Calls,
}

steered!(FakeNameServers);

impl FakeNameServers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, method: &'static str, dir: &Path) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        state.calls.note(method, name)?;
        Ok(state)
    }

    /// The program isn't installed.
    pub fn lack(&self, missing: bool) {
        self.state().missing = missing;
    }

    /// Plays whoever has killed them.
    pub fn die(&self) {
        self.state().running.clear();
    }

    /// The configurations that run, by their directories' names.
    pub fn running(&self) -> BTreeMap<String, String> {
        let name = |dir: &Path| dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let state = self.state();
        state
            .running
            .iter()
            .map(|(dir, text)| (name(dir), text.clone()))
            .collect()
    }
}

impl NameServers for FakeNameServers {
    fn usable(&self) -> Result<PathBuf> {
        match self.state().missing {
            true => Err(Error::new("find", "dnsmasq", "it is not installed")
                .kind(Kind::NotFound)
                .hint("install it")),
            false => Ok("/usr/sbin/dnsmasq".into()),
        }
    }

    fn serves(&self, dir: &Path, config: &str) -> Result<bool> {
        Ok(self.state().running.get(dir).is_some_and(|text| text == config))
    }

    fn serve(&self, dir: &Path, config: &str, _home: &[PathBuf]) -> Result<bool> {
        if self.serves(dir, config)? {
            return Ok(false);
        }
        crate::file::make_dir(dir)?;
        self.call("serve", dir)?
            .running
            .insert(dir.to_owned(), config.to_owned());
        Ok(true)
    }

    fn end(&self, dir: &Path) -> Result<()> {
        self.call("end", dir)?.running.remove(dir);
        crate::file::remove_tree(dir)
    }
}
