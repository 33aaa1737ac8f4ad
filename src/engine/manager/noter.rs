//! Writes down what has passed the interfaces of VEs that run, now and then: what only counters in the kernel have is lost
//! with these, when the host loses its power or somebody flushes the rules. In a thread of its own, one VE after the other,
//! so that no look waits for a disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::known::Known;
use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::interrupt;

/// How much of that may be lost.
const EVERY: Duration = Duration::from_secs(600);
/// How often it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(500);

/// Who does that.
#[derive(Debug)]
pub struct Noter {
    host: Arc<Host>,
    known: Arc<Known>,
}

impl Noter {
    pub(super) fn new(host: Arc<Host>, known: Arc<Known>) -> Self {
        Self { host, known }
    }

    /// Begins, in a thread that ends with the process or when that is told to.
    pub fn begin(self) -> Result<()> {
        let rounds = move || {
            while !interrupt::raised() {
                self.round(&rest);
            }
        };
        match std::thread::Builder::new().stack_size(256 << 10).spawn(rounds) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::new(Class::Failed, "cannot begin a thread").because(e)),
        }
    }

    /// Once for each VE that is known; `rest` between two of them. What goes wrong is for the VE's end to tell, which writes
    /// the same file; until then it is tried again.
    pub fn round(&self, rest: &dyn Fn(Duration)) {
        let ids = self.known.ids();
        let pause = EVERY / u32::try_from(ids.len().max(1)).unwrap_or(u32::MAX);
        for id in ids {
            let mut entry = self.known.take(id);
            let _ = entry.note(&self.host, id);
            self.known.put(id, entry);
            rest(pause);
        }
        if self.known.ids().is_empty() {
            rest(LOOK);
        }
    }
}

/// Until then, or until the process is to end.
fn rest(pause: Duration) {
    let end = Instant::now() + pause;
    while !interrupt::raised() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(LOOK));
    }
}
