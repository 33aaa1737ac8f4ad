//! A CRIU that saves nothing, for tests of the floors above.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Criu, DUMP_LOG, Dump, Dumped, Version};
use crate::fake::{Calls, steered};
use crate::process::{FakeGuests, Guests};
use crate::{Error, Kind, Result};

/// Writes a file where the images should be.
#[derive(Debug, Default, Clone)]
pub struct FakeCriu {
    state: Arc<Mutex<State>>,
    guests: FakeGuests,
}

#[derive(Debug, Default)]
struct State {
    missing: bool,
    calls: Calls,
}

steered!(FakeCriu);

impl FakeCriu {
    /// For these guests.
    pub fn of(guests: FakeGuests) -> Self {
        Self {
            guests,
            ..Self::default()
        }
    }

    /// A host without it.
    pub fn uninstall(&self) {
        self.state().missing = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, method: &'static str) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.note(method, "the fake CRIU")?;
        Ok(state)
    }
}

impl Criu for FakeCriu {
    fn usable(&self) -> Result<(PathBuf, Version)> {
        match self.call("usable")?.missing {
            true => Err(Error::new("find", "criu", "there is no such program on this host").kind(Kind::NotFound)),
            false => Ok(("/usr/sbin/criu".into(), Version(4, 2))),
        }
    }

    fn await_end(&self, _images: &Path) -> Result<()> {
        self.call("await_end").map(drop)
    }

    fn dump(&self, dump: &Dump, _gone: &dyn Fn()) -> Result<Box<dyn Dumped>> {
        drop(self.call("dump")?);
        if !self.guests.alive(dump.init) {
            return Err(Error::new("save the processes of init", dump.init.pid, "it has ended").kind(Kind::NotFound));
        }
        let write = |name: &str| {
            let path = dump.images.join(name);
            std::fs::write(&path, name).map_err(|e| Error::os("write", path.display(), e))
        };
        write("core-1.img")?;
        write(DUMP_LOG)?;
        Ok(Box::new(FakeDumped(self.clone())))
    }

    fn mend(&self, _init: u32, _processes: &[u32]) -> Result<()> {
        self.call("mend").map(drop)
    }

    fn wind_up(&self, _processes: &[u32]) -> Result<()> {
        self.call("wind_up").map(drop)
    }
}

#[derive(Debug)]
struct FakeDumped(FakeCriu);

impl Dumped for FakeDumped {
    fn leave(self: Box<Self>) -> Result<()> {
        self.0.call("leave").map(drop)
    }
}
