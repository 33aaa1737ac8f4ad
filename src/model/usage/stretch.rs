//! Stretches of time, and levels over them.

use super::amounts::{Amounts, Held};
use super::interval::Interval;
use super::meter::Time;
use super::reading::Moment;

/// A stretch of one boot, in nanoseconds since that began.
#[derive(Clone, Copy)]
pub struct Stretch {
    pub from: u64,
    pub to: u64,
    pub time: Time,
}

impl Stretch {
    pub fn length(self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// As the wall clock stands at this moment: an interval is as long as it was, whatever was done to that clock.
    pub fn seen_from(self, now: &Moment, amounts: Amounts) -> Interval {
        let to_ns = now.wall_ns.saturating_sub(signed(now.up_ns.saturating_sub(self.to)));
        Interval {
            from_ns: to_ns.saturating_sub(signed(self.length())),
            to_ns,
            amounts,
        }
    }
}

pub fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

/// A level over a stretch: between its values at both ends in a straight line, or all along at the one that is known.
pub fn held(start: Option<u64>, end: Option<u64>, length: u64) -> Held {
    let (Some(a), Some(b)) = (start.or(end), end.or(start)) else {
        return Held::default();
    };
    Held {
        integral: (u128::from(a) + u128::from(b)) * u128::from(length) / 2,
        time: length,
        peak: Some(a.max(b)),
    }
}
