//! The clocks of a host of fakes, which go on by a millisecond with each look.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::NOW;

const SECOND: u64 = 1_000_000_000;

/// Both clocks.
#[derive(Debug)]
pub(crate) struct FakeTime {
    up: AtomicU64,
    /// What the clock on the wall shows when the host boots.
    booted: AtomicI64,
}

impl Default for FakeTime {
    fn default() -> Self {
        Self {
            up: AtomicU64::new(1_000 * SECOND),
            booted: AtomicI64::new(NOW * SECOND as i64),
        }
    }
}

impl FakeTime {
    /// Now.
    pub(crate) fn moment(&self) -> (i64, u64) {
        let up = self.up.fetch_add(1_000_000, Ordering::Relaxed);
        (self.booted.load(Ordering::Relaxed) + up as i64, up)
    }

    /// Time passes.
    pub(crate) fn pass(&self, seconds: u64) {
        self.up.fetch_add(seconds * SECOND, Ordering::Relaxed);
    }

    /// The clock on the wall is set, by so many seconds.
    pub(crate) fn set_clock(&self, seconds: i64) {
        self.booted.fetch_add(seconds * SECOND as i64, Ordering::Relaxed);
    }

    /// The host is down for so many seconds, and boots.
    pub(crate) fn reboot(&self, away: u64) {
        let up = self.up.swap(SECOND, Ordering::Relaxed);
        self.booted.fetch_add((up + away * SECOND) as i64, Ordering::Relaxed);
    }
}
