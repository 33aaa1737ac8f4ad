//! A stand-in with state: VEs that live in a table.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Adopt, Answer, Enter, Entered, Guests, Init, Launching, NoNamespace, Request, Start, Streams};
use crate::{Error, Result};

/// Starts nothing, but remembers what it was asked to start, and fails where it is told to.
#[derive(Debug, Default, Clone)]
pub struct FakeGuests {
    inner: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Running VEs: the init of each by id.
    running: BTreeMap<u32, Init>,
    /// Ids with a monitor.
    monitored: BTreeMap<u32, bool>,
    next: u32,
    stubborn: bool,
    fail_at: Option<&'static str>,
}

impl FakeGuests {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the method of this name fail from now on; `None`: none.
    pub fn fail_at(&self, method: Option<&'static str>) {
        self.state().fail_at = method;
    }

    /// Guests that don't heed a request to shut down.
    pub fn stubborn(&self, stubborn: bool) {
        self.state().stubborn = stubborn;
    }

    /// The ids of all that run.
    pub fn running(&self) -> Vec<u32> {
        self.state().running.keys().copied().collect()
    }

    /// The init of a running VE.
    pub fn init(&self, id: u32) -> Option<Init> {
        self.state().running.get(&id).copied()
    }

    fn check(&self, method: &'static str) -> Result<()> {
        match self.state().fail_at {
            Some(name) if name == method => Err(Error::new("do", method, "the fake was told to fail")),
            _ => Ok(()),
        }
    }

    fn end(&self, init: Init) {
        self.state().running.retain(|_, i| *i != init);
    }
}

#[derive(Debug)]
struct FakeLaunch {
    guests: FakeGuests,
    id: u32,
    init: Init,
    namespace: NoNamespace,
}

impl Launching for FakeLaunch {
    fn init(&self) -> Init {
        self.init
    }

    fn network_namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    fn go(self: Box<Self>) -> Result<()> {
        self.guests.check("go")?;
        let mut state = self.guests.state();
        state.running.insert(self.id, self.init);
        state.monitored.insert(self.id, true);
        Ok(())
    }
}

impl Guests for FakeGuests {
    fn launch(&self, start: Start) -> Result<Box<dyn Launching>> {
        self.check("launch")?;
        let null = std::fs::File::open("/dev/null").map_err(|e| Error::os("open", "/dev/null", e))?;
        let mut state = self.state();
        state.next += 1;
        let init = Init {
            pid: 1000 + state.next,
            start_time: u64::from(state.next),
        };
        let namespace = NoNamespace(OwnedFd::from(null));
        Ok(Box::new(FakeLaunch {
            guests: self.clone(),
            id: start.watch.id,
            init,
            namespace,
        }))
    }

    fn adopt(&self, adopt: Adopt) -> Result<()> {
        self.check("adopt")?;
        self.state().monitored.insert(adopt.watch.id, true);
        Ok(())
    }

    fn alive(&self, init: Init) -> bool {
        self.state().running.values().any(|i| *i == init)
    }

    fn age(&self, init: Init) -> Option<Duration> {
        self.alive(init).then_some(Duration::from_secs(60))
    }

    fn shut_down(&self, init: Init) -> Result<()> {
        self.check("shut_down")?;
        if !self.state().stubborn {
            self.end(init);
        }
        Ok(())
    }

    fn kill(&self, init: Init) -> Result<()> {
        self.check("kill")?;
        self.end(init);
        Ok(())
    }

    fn wait(&self, init: Init, _timeout: Duration) -> Result<bool> {
        self.check("wait")?;
        Ok(!self.alive(init))
    }

    fn ask(&self, run_dir: &Path, _request: &Request) -> Result<Option<Answer>> {
        self.check("ask")?;
        let id = run_dir
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.parse::<u32>().ok());
        let state = self.state();
        let init = id.and_then(|id| state.running.get(&id).copied());
        Ok(init.map(|init| Answer {
            init,
            monitor: 1,
            booted: Some(true),
            console: true,
        }))
    }

    fn take_over_clearing(&self, _run_dir: &Path) -> Result<Option<OwnedFd>> {
        self.check("take_over_clearing")?;
        let null = std::fs::File::open("/dev/null").map_err(|e| Error::os("open", "/dev/null", e))?;
        Ok(Some(null.into()))
    }

    fn await_boot(&self, run_dir: &Path, _timeout: Duration) -> Result<Option<Answer>> {
        self.ask(run_dir, &Request::AwaitBoot)
    }

    fn enter(&self, _enter: Enter, _streams: Streams) -> Result<Entered> {
        self.check("enter").map(|()| Entered::Code(0))
    }
}
