//! What was used in a stretch of time, and cutting that in pieces without losing a unit.

use std::collections::BTreeMap;

use super::meter::{Counter, Counters, Level, Time};
use crate::traffic::{Amount, Flow};

/// A level over time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// The level times nanoseconds.
    pub integral: u128,
    /// The nanoseconds in which it was known.
    pub time: u64,
    /// The most that was seen.
    pub peak: Option<u64>,
}

/// What was used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Nanoseconds in each state.
    pub times: [u64; Time::ALL.len()],
    /// What the counters have counted. `None`: that couldn't be read.
    pub counters: Counters,
    /// The levels over time.
    pub levels: [Held; Level::ALL.len()],
    /// What has passed its interfaces. What nothing has passed isn't there.
    pub traffic: BTreeMap<Flow, Amount>,
}

/// `total * upto / of`, rounded down, without an overflow on the way: `upto` is at most `of`.
fn upto(total: u128, upto: u64, of: u64) -> u128 {
    match of {
        // A moment can't be cut: all of it is in what ends with it.
        0 => total,
        _ => {
            let (whole, rest) = (total / u128::from(of), total % u128::from(of));
            // Less than `of * of`, which fits.
            whole * u128::from(upto) + rest * u128::from(upto) / u128::from(of)
        }
    }
}

/// A stretch of a longer one: from here, to there, of that length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub from: u64,
    pub to: u64,
    pub of: u64,
}

impl Part {
    fn of_wide(self, total: u128) -> u128 {
        let before = if self.from == 0 {
            0
        } else {
            upto(total, self.from, self.of)
        };
        upto(total, self.to, self.of) - before
    }

    fn of(self, total: u64) -> u64 {
        // A part is no more than the whole.
        u64::try_from(self.of_wide(total.into())).unwrap_or(total)
    }
}

impl Amounts {
    /// Time of a state.
    pub const fn time(&self, time: Time) -> u64 {
        self.times[time as usize]
    }

    /// What a counter has counted.
    pub const fn counter(&self, counter: Counter) -> Option<u64> {
        self.counters[counter as usize]
    }

    /// A level over time.
    pub const fn level(&self, level: Level) -> Held {
        self.levels[level as usize]
    }

    /// Nothing at all?
    pub fn is_empty(&self) -> bool {
        let counted = |c: &Option<u64>| c.is_some_and(|n| n > 0);
        self.times == [0; 5]
            && !self.counters.iter().any(counted)
            && self.levels.iter().all(|l| l.integral == 0)
            && self.traffic.is_empty()
    }

    /// Adds what was used in another stretch of time.
    pub fn add(&mut self, other: &Self) {
        for (time, more) in self.times.iter_mut().zip(other.times) {
            *time = time.saturating_add(more);
        }
        for (counter, more) in self.counters.iter_mut().zip(other.counters) {
            *counter = match (*counter, more) {
                (Some(a), Some(b)) => Some(a.saturating_add(b)),
                (a, b) => a.or(b),
            };
        }
        for (level, more) in self.levels.iter_mut().zip(other.levels) {
            level.integral = level.integral.saturating_add(more.integral);
            level.time = level.time.saturating_add(more.time);
            level.peak = level.peak.max(more.peak);
        }
        for (flow, more) in &other.traffic {
            let amount = self.traffic.entry(flow.clone()).or_default();
            *amount = amount.plus(*more);
        }
    }

    /// What falls into a part of the time. All parts of a stretch come to the whole; a peak is in each.
    pub(super) fn part(&self, part: Part) -> Self {
        let flow = |(flow, amount): (&Flow, &Amount)| {
            let amount = Amount {
                bytes: part.of(amount.bytes),
                packets: part.of(amount.packets),
            };
            (amount != Amount::default()).then(|| (flow.clone(), amount))
        };
        Self {
            times: self.times.map(|time| part.of(time)),
            counters: self.counters.map(|counter| counter.map(|n| part.of(n))),
            levels: self.levels.map(|level| Held {
                integral: part.of_wide(level.integral),
                time: part.of(level.time),
                peak: level.peak,
            }),
            traffic: self.traffic.iter().filter_map(flow).collect(),
        }
    }
}
