//! How many more there is room for.

use serde::{Serialize, Serializer};

/// How many more fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// That can't be told.
    Unknown,
    /// As many as one likes: they take nothing of it.
    Any,
    /// This many.
    At(u64),
}

impl Serialize for Fit {
    /// A number; null: that can't be told; "unlimited".
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown => s.serialize_none(),
            Self::Any => s.serialize_str("unlimited"),
            Self::At(n) => s.serialize_u64(*n),
        }
    }
}

/// How many that take `one` each fit into `most`, of which `used` is taken.
pub fn fits(most: Option<u64>, used: Option<u64>, one: Option<u64>) -> Fit {
    match (most, used, one) {
        (_, _, Some(0)) => Fit::Any,
        (Some(most), Some(used), Some(one)) => Fit::At(most.saturating_sub(used) / one),
        _ => Fit::Unknown,
    }
}

/// Which of these runs out first, and after how many; the first of several. `None`: none that is known ever does.
pub fn first<T: Copy>(fits: impl IntoIterator<Item = (T, Fit)>) -> Option<(T, u64)> {
    let mut least: Option<(T, u64)> = None;
    for (what, fit) in fits {
        if let Fit::At(n) = fit
            && least.is_none_or(|(_, most)| n < most)
        {
            least = Some((what, n));
        }
    }
    least
}

/// What is promised, in thousandths of what there is; `None` where there is nothing.
pub fn oversold(promised: u64, have: u64) -> Option<u64> {
    let milli = (u128::from(promised) * 1000).checked_div(u128::from(have))?;
    u64::try_from(milli).ok()
}
