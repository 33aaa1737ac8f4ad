//! A stretch of time of one VE under the same terms.

use super::amounts::{Amounts, Part};

/// An hour in nanoseconds.
pub const HOUR: i64 = 3_600_000_000_000;
/// A day of UTC in nanoseconds: there is no other there.
pub const DAY: i64 = 24 * HOUR;

/// A stretch of time, and what was used in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// Its beginning, in nanoseconds since 1970.
    pub from_ns: i64,
    /// Its end.
    pub to_ns: i64,
    /// What was used.
    pub amounts: Amounts,
}

impl Interval {
    /// Its length in nanoseconds.
    pub fn length(&self) -> u64 {
        u64::try_from(self.to_ns.saturating_sub(self.from_ns)).unwrap_or(0)
    }

    /// What falls between two times; `None` if nothing does. A moment is in what begins with it.
    pub fn within(&self, from_ns: i64, to_ns: i64) -> Option<Self> {
        let length = self.length();
        if length == 0 {
            return (from_ns <= self.from_ns && self.from_ns < to_ns).then(|| self.clone());
        }
        let (begins, ends) = (from_ns.max(self.from_ns), to_ns.min(self.to_ns));
        if begins >= ends {
            return None;
        }
        let since = |at: i64| u64::try_from(at.saturating_sub(self.from_ns)).unwrap_or(0);
        let part = Part {
            from: since(begins),
            to: since(ends),
            of: length,
        };
        Some(Self {
            from_ns: begins,
            to_ns: ends,
            amounts: self.amounts.part(part),
        })
    }

    /// Shows its pieces in periods of this length, as [`Interval::by_period`] cuts them.
    pub fn each_period(&self, period: i64, see: &mut dyn FnMut(i64, &Self)) {
        let mut begins = floor(self.from_ns, period);
        // Most lie in one, and needn't be cut.
        if self.to_ns <= begins.saturating_add(period) {
            return see(begins, self);
        }
        while begins < self.to_ns {
            let ends = begins.saturating_add(period);
            if let Some(piece) = self.within(begins, ends) {
                see(begins, &piece);
            }
            begins = ends;
        }
    }

    /// Its pieces in periods of this length, which all begin at a multiple of it: each period's beginning, and what falls
    /// into it. They come to the whole.
    pub fn by_period(&self, period: i64) -> Vec<(i64, Amounts)> {
        let mut pieces = Vec::new();
        self.each_period(period, &mut |begins, piece| {
            pieces.push((begins, piece.amounts.clone()))
        });
        pieces
    }
}

/// The beginning of the period that a moment is in.
pub fn floor(ns: i64, period: i64) -> i64 {
    ns.div_euclid(period).saturating_mul(period)
}
