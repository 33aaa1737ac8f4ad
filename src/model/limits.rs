//! What the kernel is to enforce on one VE, free of cgroup versions. `None` means "no limit".

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// All limits of one VE, as resolved from its plan and its overrides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Processor time.
    pub cpu: CpuLimits,
    /// Memory and swap.
    pub memory: MemoryLimits,
    /// The most processes and threads at once.
    pub processes: Option<u64>,
    /// Disk bandwidth.
    pub io: IoLimits,
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuLimits {
    /// The cap, in thousandths of one processor (1500 = one and a half).
    pub cap_milli: Option<u32>,
    /// The share under contention, 1 to 10 000, 100 being the default (cgroup v2's `cpu.weight`).
    pub weight: Option<u16>,
    /// The processors the VE may run on.
    pub pin: Option<CpuSet>,
    /// On how many processors it runs, out of those.
    pub count: Option<u64>,
}

impl CpuLimits {
    /// The processors to bind a VE to; `None`: to none, it runs on `all` of the host's. `now` is what it is bound to,
    /// `others` what the other VEs that run are.
    ///
    /// With a count, it gets those that the fewest others are bound to. It keeps what it has if that is as many as it
    /// may have: a setting of something else mustn't move it. Of nodes of memory and of cores that share their parts
    /// nothing is known here; whoever has to care pins.
    pub fn bound_to(&self, all: &CpuSet, now: &CpuSet, others: &[CpuSet]) -> Option<CpuSet> {
        let allowed = self.pin.as_ref().unwrap_or(all);
        let count = usize::try_from(self.count.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        if count >= allowed.len() {
            return self.pin.clone();
        }
        if now.len() == count && now.is_within(allowed) {
            return Some(now.clone());
        }
        // Who may run on all is everywhere alike.
        let bound = |cpu: &u32| {
            others
                .iter()
                .filter(|o| o.len() < all.len() && o.0.contains(cpu))
                .count()
        };
        let mut best: Vec<u32> = allowed.iter().collect();
        best.sort_by_cached_key(|cpu| (bound(cpu), !now.0.contains(cpu), *cpu));
        Some(CpuSet(best.into_iter().take(count).collect()))
    }
}

/// A set of processor numbers, written as the kernel does: `0-3,8`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet(std::collections::BTreeSet<u32>);

/// A text that is no set of processors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a set of processors; write numbers and ranges, such as \"0-3,8\"")]
pub struct CpuSetError(String);

impl CpuSet {
    /// The processor numbers in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
    /// How many processors.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether all of these are among those.
    pub fn is_within(&self, those: &Self) -> bool {
        self.0.is_subset(&those.0)
    }
    /// Never true for a parsed set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<String> for CpuSet {
    type Error = CpuSetError;
    fn try_from(text: String) -> Result<Self, CpuSetError> {
        text.parse()
    }
}

impl std::str::FromStr for CpuSet {
    type Err = CpuSetError;
    fn from_str(text: &str) -> Result<Self, CpuSetError> {
        let bad = || CpuSetError(text.to_owned());
        let mut set = std::collections::BTreeSet::new();
        for part in text.trim().split(',') {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let low: u32 = low.trim().parse().map_err(|_| bad())?;
            let high: u32 = high.trim().parse().map_err(|_| bad())?;
            if low > high || high >= 8192 {
                return Err(bad());
            }
            set.extend(low..=high);
        }
        Ok(Self(set))
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> Self {
        set.to_string()
    }
}

impl std::fmt::Display for CpuSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts: Vec<(u32, u32)> = Vec::new();
        for cpu in self.iter() {
            match parts.last_mut() {
                Some((_, high)) if *high + 1 == cpu => *high = cpu,
                _ => parts.push((cpu, cpu)),
            }
        }
        let text: Vec<String> = parts
            .iter()
            .map(|(l, h)| if l == h { l.to_string() } else { format!("{l}-{h}") })
            .collect();
        f.pad(&text.join(","))
    }
}

/// Memory and swap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimits {
    /// The most memory; above it the VE's own OOM killer acts.
    pub limit: Option<Bytes>,
    /// The most swap besides. `Some(0)`: none.
    pub swap: Option<Bytes>,
    /// Memory that is never reclaimed from this VE while it uses no more (v2 `memory.min`).
    pub guarantee: Option<Bytes>,
}

/// Disk bandwidth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoLimits {
    /// Bytes read per second.
    pub read_bytes: Option<Bytes>,
    /// Bytes written per second.
    pub write_bytes: Option<Bytes>,
    /// Read operations per second.
    pub read_ops: Option<u64>,
    /// Write operations per second.
    pub write_ops: Option<u64>,
    /// The share under contention, 1 to 10 000, 100 being the default (v2 `io.weight`).
    pub weight: Option<u16>,
}

/// A limit as a person writes it: an amount, or the word `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Max<T> {
    /// As much as there is.
    Unlimited,
    /// This much.
    At(T),
}

impl<T> Max<T> {
    /// `None` for no limit, as [`Limits`] has it.
    pub fn limit(self) -> Option<T> {
        match self {
            Self::Unlimited => None,
            Self::At(limit) => Some(limit),
        }
    }
}

impl<T: std::fmt::Display> std::fmt::Display for Max<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unlimited => f.pad("unlimited"),
            Self::At(limit) => limit.fmt(f),
        }
    }
}

impl<T: Serialize> Serialize for Max<T> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unlimited => s.serialize_str("unlimited"),
            Self::At(limit) => limit.serialize(s),
        }
    }
}

/// A cap on processor time, in thousandths of one processor. Written in processors (`1.5`) or percent of one (`150%`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Cap(u32);

/// A text that is no cap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an amount of processor time; write processors such as 1.5, or percent of one such as \"150%\"")]
pub struct CapError(String);

impl Cap {
    /// The least: a hundredth of a processor. The kernel takes no quota below 1 ms per period of 100 ms.
    pub const MIN: Self = Self(10);
    /// The most: 8192 processors, as many as Linux can have.
    pub const MAX: Self = Self(8_192_000);

    /// Thousandths of one processor.
    pub const fn milli(self) -> u32 {
        self.0
    }
}

impl std::str::FromStr for Cap {
    type Err = CapError;
    fn from_str(text: &str) -> Result<Self, CapError> {
        let bad = || CapError(text.to_owned());
        let t = text.trim();
        // Read with six digits behind the point, so no rounding hides what was written.
        let (number, divisor) = t.strip_suffix('%').map_or((t, 1_000), |n| (n.trim_end(), 100_000));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |d: &str| !d.is_empty() && d.len() <= 6 && d.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(bad());
        }
        let micro: u64 = format!("{whole}{fraction:0<6}").parse().map_err(|_| bad())?;
        let milli = u32::try_from(micro / divisor).map_err(|_| bad())?;
        if !micro.is_multiple_of(divisor) || !(Self::MIN.0..=Self::MAX.0).contains(&milli) {
            return Err(bad());
        }
        Ok(Self(milli))
    }
}

impl From<Cap> for String {
    fn from(cap: Cap) -> Self {
        cap.to_string()
    }
}

impl std::fmt::Display for Cap {
    /// In processors: `2`, `1.5`, `0.05`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// A share under contention: 1 to 10 000, 100 being everybody's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Weight(u16);

/// A text that is no weight.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a weight; write a whole number from 1 to 10000")]
pub struct WeightError(String);

impl Weight {
    /// The bare number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl std::str::FromStr for Weight {
    type Err = WeightError;
    fn from_str(text: &str) -> Result<Self, WeightError> {
        match text.parse() {
            Ok(n @ 1..=10_000) => Ok(Self(n)),
            _ => Err(WeightError(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn caps() {
        for (text, milli) in [
            ("1.5", 1500),
            ("2", 2000),
            ("150%", 1500),
            ("0.05", 50),
            ("12.5%", 125),
            ("1.0", 1000),
        ] {
            assert_eq!(text.parse(), Ok(Cap(milli)), "{text}");
        }
        for text in [
            "", "0", "0.001", "1.2345", "-1", "1e3", "inf", "%", "1.5 cpus", "9000", "0.5%", "1.",
        ] {
            assert!(text.parse::<Cap>().is_err(), "{text}");
        }
        assert_eq!(Cap(1500).to_string(), "1.5");
        assert_eq!(Cap(20_000).to_string(), "20");
    }

    #[test]
    fn processor_sets() {
        for (text, shown) in [
            ("0-3,8", "0-3,8"),
            ("3,1,2", "1-3"),
            ("7", "7"),
            (" 0 - 1 , 4 ", "0-1,4"),
        ] {
            assert_eq!(text.parse::<CpuSet>().unwrap().to_string(), shown);
        }
        for text in ["", ",", "3-1", "a", "0-", "-1", "0-9999", "1,,2"] {
            assert!(text.parse::<CpuSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_count_takes_the_processors_with_the_fewest_others() {
        let set = |text: &str| text.parse::<CpuSet>().unwrap_or_default();
        let bound = |count, pin: &str, now: &str, others: &[&str]| {
            let limits = CpuLimits {
                count,
                pin: pin.parse().ok(),
                ..CpuLimits::default()
            };
            let others: Vec<CpuSet> = others.iter().map(|o| set(o)).collect();
            let to = limits.bound_to(&set("0-3"), &set(now), &others);
            to.map_or_else(|| "all".to_owned(), String::from)
        };
        assert_eq!(bound(None, "", "0-3", &["0"]), "all");
        assert_eq!(bound(None, "1,2", "0", &[]), "1-2");
        assert_eq!(bound(Some(2), "", "0-3", &[]), "0-1");
        assert_eq!(bound(Some(2), "", "0-3", &["0", "2", "0-3", "0-3"]), "1,3");
        assert_eq!(bound(Some(1), "", "", &["0", "0", "1", "1", "2", "3"]), "2");
        // As many as there are, or more.
        assert_eq!(bound(Some(4), "", "1", &["0"]), "all");
        assert_eq!(bound(Some(9), "1,2", "1", &[]), "1-2");
        // Out of those it is pinned to.
        assert_eq!(bound(Some(1), "1,2", "0-3", &["1"]), "2");
        assert_eq!(bound(Some(1), "1,2", "0", &[]), "1");
        // What it has it keeps; but a change takes the best.
        assert_eq!(bound(Some(1), "", "2", &["2", "2"]), "2");
        assert_eq!(bound(Some(2), "", "2", &["2"]), "0-1");
        assert_eq!(bound(Some(1), "", "1-2", &["0"]), "1");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_printed_is_read_back(milli in Cap::MIN.0..=Cap::MAX.0, cpus in prop::collection::btree_set(0_u32..8192, 1..40)) {
            prop_assert_eq!(Cap(milli).to_string().parse(), Ok(Cap(milli)));
            let set = CpuSet(cpus);
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }
    }
}
