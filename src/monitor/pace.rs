//! How much of the monitor's time a guest gets. The monitor lives outside the VE's limits, so work that the guest can
//! cause without end (a byte on the console, a datagram, again and again) has to be bounded here.

use std::time::{Duration, Instant};

/// The time in which readings are counted.
const WINDOW: Duration = Duration::from_millis(100);

/// Readings in a window, each of [`CHUNK`] bytes at most: 1 MiB/s, and about a hundredth of a processor.
const READINGS: u32 = 26;

/// What is read at once.
pub const CHUNK: usize = 4096;

/// Counts readings.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    readings: u32,
}

impl Pace {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            readings: 0,
        }
    }

    /// Something of the guest's was read.
    pub fn count(&mut self) {
        self.readings += 1;
    }

    /// How long the guest has to wait, if it has had its share.
    pub fn pause(&mut self) -> Option<Duration> {
        let passed = self.began.elapsed();
        if passed >= WINDOW {
            *self = Self::new();
        }
        (self.readings >= READINGS).then(|| WINDOW.saturating_sub(passed).max(Duration::from_millis(1)))
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_for_each_window() {
        let mut pace = Pace::new();
        (1..READINGS).for_each(|_| pace.count());
        assert_eq!(pace.pause(), None);
        pace.count();
        assert!(pace.pause().is_some_and(|p| p <= WINDOW));
        pace.began -= WINDOW;
        assert_eq!(pace.pause(), None, "the next window");
    }
}
