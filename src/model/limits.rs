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
        let text: Vec<String> =
            parts.iter().map(|(l, h)| if l == h { l.to_string() } else { format!("{l}-{h}") }).collect();
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
