//! How much of a host is promised to its VEs, whether one more may have what it is to have, and how many more fit.
//!
//! A promise is what a VE may use at most: its limits. All of them together may come to more than there is, which is
//! overselling; how far that may go stands in hostel.toml. What VEs really use is told by the ledger.

mod fit;
mod history;
#[cfg(test)]
mod tests;

use std::ops::{Index, IndexMut};

use serde::{Serialize, Serializer};

use crate::definition::{Beyond, Rules, capacity_key};
use crate::limits::Max;
use crate::policy::{Sort, Violation};
use crate::resolve::Effective;
use crate::units::Bytes;

pub use fit::{Fit, first, fits, oversold};
pub use history::{History, NEEDED_HOURS};

/// Something of which a host has only so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Processor time, in thousandths of a processor.
    Cpu,
    /// Memory, in bytes.
    Memory,
    /// Memory that is never taken away, in bytes.
    Guarantee,
    /// Swap, in bytes.
    Swap,
    /// Space on the file system that VEs lie on, in bytes.
    Disk,
    /// Processes and threads.
    Processes,
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl Resource {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Cpu,
        Self::Memory,
        Self::Guarantee,
        Self::Swap,
        Self::Disk,
        Self::Processes,
    ];

    /// As it is typed and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Guarantee => "guarantee",
            Self::Swap => "swap",
            Self::Disk => "disk",
            Self::Processes => "processes",
        }
    }

    /// The setting of a VE by which it is promised.
    pub const fn asked_by(self) -> &'static str {
        match self {
            Self::Cpu => "cpu.cap",
            Self::Memory => "memory.limit",
            Self::Guarantee => "memory.guarantee",
            Self::Swap => "memory.swap",
            Self::Disk => "disk.size",
            Self::Processes => "processes",
        }
    }

    /// An amount of it, as definitions write it.
    pub fn text(self, amount: u64) -> String {
        match self {
            Self::Cpu => {
                let text = format!("{}.{:03}", amount / 1000, amount % 1000);
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            Self::Memory | Self::Guarantee | Self::Swap | Self::Disk => Bytes(amount).to_string(),
            Self::Processes => amount.to_string(),
        }
    }

    /// What it is, behind an amount of it in a sentence.
    const fn words(self) -> &'static str {
        match self {
            Self::Cpu => "processors",
            Self::Memory => "of memory",
            Self::Guarantee => "of guaranteed memory",
            Self::Swap => "of swap",
            Self::Disk => "of disk",
            Self::Processes => "processes",
        }
    }

    /// In a sentence.
    fn phrase(self, amount: Max<u64>) -> String {
        match amount {
            Max::Unlimited => match self {
                Self::Cpu | Self::Processes => format!("all {}", self.words()),
                _ => format!("all {}", self.words().trim_start_matches("of ")),
            },
            // To the digit where people wrote it; sums of many are easier to read rounded.
            Max::At(amount) => format!("{} {}", self.text(amount), self.words()),
        }
    }
}

/// A value for each resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Each<T>([T; 6]);

impl<T> Each<T> {
    /// One made for each.
    pub fn of(make: impl FnMut(Resource) -> T) -> Self {
        Self(Resource::ALL.map(make))
    }
}

impl<T> Index<Resource> for Each<T> {
    type Output = T;
    fn index(&self, resource: Resource) -> &T {
        &self.0[resource as usize]
    }
}

impl<T> IndexMut<Resource> for Each<T> {
    fn index_mut(&mut self, resource: Resource) -> &mut T {
        &mut self.0[resource as usize]
    }
}

impl<T: Serialize> Serialize for Each<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(Resource::ALL.iter().map(|r| (r.name(), &self[*r])))
    }
}

/// What one VE is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise(Each<Max<u64>>);

impl Promise {
    /// By its definition, on a host of so many processors.
    pub fn of(ve: &Effective, processors: u32) -> Self {
        let bytes = |limit: Option<Bytes>| limit.map_or(Max::Unlimited, |b| Max::At(b.get()));
        let (cpu, memory) = (&ve.limits.cpu, &ve.limits.memory);
        let pinned = cpu.pin.as_ref().map_or(u64::from(processors), |pin| pin.len() as u64);
        let usable = cpu.count.map_or(pinned, |count| count.min(pinned)) * 1000;
        Self(Each::of(|resource| match resource {
            // A cap that is wider than what it may run on promises no more than that.
            Resource::Cpu => Max::At(cpu.cap_milli.map_or(usable, |cap| u64::from(cap).min(usable))),
            Resource::Memory => bytes(memory.limit),
            Resource::Guarantee => Max::At(memory.guarantee.map_or(0, Bytes::get)),
            Resource::Swap => bytes(memory.swap),
            Resource::Disk => Max::At(ve.disk.size.get()),
            Resource::Processes => ve.limits.processes.map_or(Max::Unlimited, Max::At),
        }))
    }

    /// But of this nothing.
    #[must_use]
    pub fn without(mut self, resource: Resource) -> Self {
        self.0[resource] = Max::At(0);
        self
    }

    /// Of a VE of which nothing but its disk is known.
    pub fn of_disk(size: u64) -> Self {
        Self(Each::of(|resource| {
            Max::At(if resource == Resource::Disk { size } else { 0 })
        }))
    }
}

impl Index<Resource> for Promise {
    type Output = Max<u64>;
    fn index(&self, resource: Resource) -> &Max<u64> {
        &self.0[resource]
    }
}

/// What all VEs together are promised of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// What those come to that have a limit.
    pub limited: u64,
    /// How many have none: each of them may use all there is.
    pub unlimited: u64,
}

impl Sum {
    /// What it comes to where there is `have`.
    pub fn of(self, have: u64) -> u64 {
        self.limited.saturating_add(self.unlimited.saturating_mul(have))
    }
}

/// What these are promised.
pub fn sum<'p>(promises: impl IntoIterator<Item = &'p Promise>) -> Each<Sum> {
    let mut sums = Each::<Sum>::default();
    for promise in promises {
        for resource in Resource::ALL {
            let sum = &mut sums[resource];
            match promise[resource] {
                Max::At(amount) => sum.limited = sum.limited.saturating_add(amount),
                Max::Unlimited => sum.unlimited += 1,
            }
        }
    }
    sums
}

/// Does this promise grow, of what hostel.toml has a bound for? Otherwise nobody need look at what others have.
pub fn concerns(rules: &Rules, asked: &Promise, had: Option<&Promise>, refusing_only: bool) -> bool {
    let watched = |r: &Resource| match rules[*r].beyond {
        Beyond::Off => false,
        Beyond::Warn => !refusing_only,
        Beyond::Refuse => true,
    };
    Resource::ALL.iter().any(|r| watched(r) && grows(*r, asked, had))
}

fn grows(resource: Resource, asked: &Promise, had: Option<&Promise>) -> bool {
    match (asked[resource], had.map(|had| had[resource])) {
        (Max::At(0), _) | (Max::Unlimited, Some(Max::Unlimited)) | (Max::At(_), Some(Max::Unlimited)) => false,
        (Max::At(asked), Some(Max::At(had))) => asked > had,
        (Max::Unlimited, _) | (Max::At(_), None) => true,
    }
}

/// What stands against a VE that is to have this much beside what the others have, and what becomes of it for that. What
/// doesn't grow is never too much. `has`: what there is; what can't be told is not judged.
pub fn judge(
    rules: &Rules,
    has: &Each<Option<u64>>,
    (asked, had): (&Promise, Option<&Promise>),
    others: &Each<Sum>,
    whom: &str,
) -> Vec<(Beyond, Violation)> {
    let one = |resource: &Resource| {
        let resource = *resource;
        let (rule, have) = (rules[resource], has[resource]?);
        if rule.beyond == Beyond::Off || !grows(resource, asked, had) {
            return None;
        }
        let (most, promised) = (rule.oversell.of(have), others[resource].of(have));
        let amount = match asked[resource] {
            Max::At(amount) => amount,
            Max::Unlimited => have,
        };
        if promised.saturating_add(amount) <= most {
            return None;
        }
        let left = resource.text(rounded(resource, most.saturating_sub(promised)));
        let most = resource.text(rounded(resource, most));
        let key = capacity_key(resource);
        let problem = format!(
            "it is promised {}, and {whom} has {left} left to promise of {most} ({key} is {})",
            resource.phrase(asked[resource]),
            rule.oversell,
        );
        let violation = Violation {
            sort: Sort::Grant,
            key: resource.asked_by().to_owned(),
            problem,
            instead: format!("take less, or raise {key} in hostel.toml"),
        };
        Some((rule.beyond, violation))
    };
    Resource::ALL.iter().filter_map(one).collect()
}

/// What a host has is no round number: in a sentence whole MiB say enough.
fn rounded(resource: Resource, amount: u64) -> u64 {
    match resource {
        Resource::Cpu | Resource::Processes => amount,
        _ => amount >> 20 << 20,
    }
}
