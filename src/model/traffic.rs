//! What VEs' traffic comes to: from counters that come and go to sums that only grow.
//!
//! A counter of the kernel's counts from zero, and bears a mark of its own that no other ever has. What is kept beside a
//! sum is how much of which counter is in it. So a counter may be read as often as one likes, by whoever is killed
//! before or after writing that down: no byte is lost, and none is there twice.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Which way, as the VE sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the VE.
    In,
    /// From the VE.
    Out,
}

impl Direction {
    /// in, out
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is counted by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    /// The class that the other end is in.
    pub class: String,
    /// Which way.
    pub direction: Direction,
    /// IPv6, or else IPv4.
    pub ipv6: bool,
}

/// So many packets, and the bytes in them from the IP header on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Bytes.
    pub bytes: u64,
    /// Packets, as the kernel handles them: several that came or leave together may be one.
    pub packets: u64,
}

impl Amount {
    /// Both together.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            packets: self.packets.saturating_add(other.packets),
        }
    }

    /// Is all of an earlier amount in it?
    pub(crate) const fn has(self, before: Self) -> bool {
        self.bytes >= before.bytes && self.packets >= before.packets
    }

    /// What has come since; `None` if it was more before.
    pub(crate) const fn after(self, before: Self) -> Option<Self> {
        match (
            self.bytes.checked_sub(before.bytes),
            self.packets.checked_sub(before.packets),
        ) {
            (Some(bytes), Some(packets)) => Some(Self { bytes, packets }),
            _ => None,
        }
    }

    /// The same of a counter; all of it, if that was more before (somebody has set it back).
    const fn since(self, before: Self) -> Self {
        match self.after(before) {
            Some(more) => more,
            None => self,
        }
    }
}

/// A counter as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The interface on the host.
    pub interface: String,
    /// What it counts there.
    pub flow: Flow,
    /// Its mark.
    pub mark: String,
    /// How far it is.
    pub amount: Amount,
}

/// A sum, and how much of which counter is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    interface: String,
    #[serde(flatten)]
    flow: Flow,
    total: Amount,
    mark: String,
    counted: Amount,
}

/// As much of a counter's mark as no other begins with.
const NAME: usize = 12;

/// A VE's traffic since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    sums: Vec<Sum>,
    #[serde(default)]
    name: String,
}

impl Traffic {
    /// Takes in what counters have counted since they were last taken in. False if that is nothing.
    pub fn take_in(&mut self, readings: &[Reading]) -> bool {
        let mut changed = false;
        for reading in readings {
            changed |= self.take_one(reading);
        }
        changed
    }

    /// Which sums these are: others, begun anew, have another name. Empty before anything was taken in.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has it taken in something of this counter, and of none that came after it?
    pub fn knows(&self, reading: &Reading) -> bool {
        let of_it = |sum: &Sum| sum.interface == reading.interface && sum.flow == reading.flow;
        self.sums.iter().any(|sum| of_it(sum) && sum.mark == reading.mark)
    }

    /// Has it taken in all of this, or more of the same counter? So for who reads a counter and these sums one after the
    /// other.
    pub fn has(&self, reading: &Reading) -> bool {
        self.sums.iter().any(|sum| {
            sum.interface == reading.interface
                && sum.flow == reading.flow
                && sum.mark == reading.mark
                && sum.counted.bytes >= reading.amount.bytes
                && sum.counted.packets >= reading.amount.packets
        })
    }

    fn take_one(&mut self, reading: &Reading) -> bool {
        let same = |sum: &&mut Sum| sum.interface == reading.interface && sum.flow == reading.flow;
        let sum = self.sums.iter_mut().find(same);
        // One that hasn't begun yet changes nothing.
        if reading.amount == Amount::default() && sum.as_ref().is_none_or(|sum| sum.mark != reading.mark) {
            return false;
        }
        if self.name.is_empty() {
            self.name = reading.mark.chars().take(NAME).collect();
        }
        let Some(sum) = sum else {
            self.sums.push(Sum {
                interface: reading.interface.clone(),
                flow: reading.flow.clone(),
                total: reading.amount,
                mark: reading.mark.clone(),
                counted: reading.amount,
            });
            return true;
        };
        let known = sum.mark == reading.mark;
        if known && sum.counted == reading.amount {
            return false;
        }
        let before = if known { sum.counted } else { Amount::default() };
        sum.total = sum.total.plus(reading.amount.since(before));
        sum.mark.clone_from(&reading.mark);
        sum.counted = reading.amount;
        true
    }

    /// The sums over all interfaces with what counters have counted since, in order: as if it had been taken in.
    pub fn totals_with(&self, readings: &[Reading]) -> Vec<(Flow, Amount)> {
        let mut totals: Vec<(&Flow, Amount)> = Vec::with_capacity(readings.len());
        let mut add = |flow, more: Amount| match totals.iter_mut().find(|(other, _)| *other == flow) {
            Some((_, total)) => *total = total.plus(more),
            None => totals.push((flow, more)),
        };
        for sum in &self.sums {
            add(&sum.flow, sum.total);
        }
        for reading in readings.iter().filter(|reading| !self.has(reading)) {
            let same = |sum: &&Sum| sum.interface == reading.interface && sum.flow == reading.flow;
            let sum = self.sums.iter().find(same).filter(|sum| sum.mark == reading.mark);
            let more = reading.amount.since(sum.map(|sum| sum.counted).unwrap_or_default());
            if more != Amount::default() {
                add(&reading.flow, more);
            }
        }
        totals.sort_unstable_by_key(|(flow, _)| *flow);
        totals.into_iter().map(|(flow, total)| (flow.clone(), total)).collect()
    }

    /// The sums over all interfaces, in order.
    pub fn totals(&self) -> BTreeMap<Flow, Amount> {
        let mut totals: BTreeMap<Flow, Amount> = BTreeMap::new();
        for sum in &self.sums {
            let total = totals.entry(sum.flow.clone()).or_default();
            *total = total.plus(sum.total);
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(interface: &str, mark: &str, bytes: u64) -> Reading {
        Reading {
            interface: interface.to_owned(),
            flow: Flow {
                class: "external".into(),
                direction: Direction::Out,
                ipv6: false,
            },
            mark: mark.to_owned(),
            amount: Amount {
                bytes,
                packets: bytes / 10,
            },
        }
    }

    fn bytes(traffic: &Traffic) -> u64 {
        traffic.totals().values().map(|a| a.bytes).sum()
    }

    #[test]
    fn a_counter_is_taken_in_once_however_often_it_is_read() {
        let mut traffic = Traffic::default();
        assert!(traffic.take_in(&[reading("hv1.0", "a", 100)]));
        assert!(!traffic.take_in(&[reading("hv1.0", "a", 100)]));
        assert!(traffic.take_in(&[reading("hv1.0", "a", 150), reading("hv1.1", "b", 20)]));
        assert_eq!(bytes(&traffic), 170);
        // Another counter of the same flow: the VE was started anew.
        assert!(traffic.take_in(&[reading("hv1.0", "c", 30)]));
        assert_eq!(bytes(&traffic), 200);
        assert!(traffic.has(&reading("hv1.0", "c", 20)));
        assert!(!traffic.has(&reading("hv1.0", "c", 31)) && !traffic.has(&reading("hv1.0", "a", 1)));
        // Set back by hand: never less than before.
        assert!(traffic.take_in(&[reading("hv1.0", "c", 5)]));
        assert_eq!(bytes(&traffic), 205);
    }

    #[test]
    fn it_is_written_and_read_again() {
        let mut traffic = Traffic::default();
        traffic.take_in(&[reading("hv1.0", "a", u64::MAX)]);
        let text = serde_json::to_string(&traffic).unwrap();
        assert_eq!(serde_json::from_str::<Traffic>(&text).unwrap(), traffic);
    }

    proptest! {
        /// Whoever reads is killed at any moment, before or after what was read is written down.
        #[test]
        fn no_byte_is_lost_and_none_is_there_twice(
            lives in prop::collection::vec(prop::collection::vec((0_u64..1_000_000, any::<bool>()), 1..8), 1..6)
        ) {
            let (mut kept, mut truth) = (Traffic::default(), 0);
            for (life, steps) in lives.iter().enumerate() {
                let mut counter = 0;
                for (step, (more, written)) in steps.iter().enumerate() {
                    counter += more;
                    let mut taken = kept.clone();
                    let read = [reading("hv1.0", &life.to_string(), counter)];
                    taken.take_in(&read);
                    prop_assert_eq!(Vec::from_iter(taken.totals()), kept.totals_with(&read));
                    // A counter is removed only after it was written down.
                    if *written || step + 1 == steps.len() {
                        kept = taken;
                    }
                }
                truth += counter;
            }
            prop_assert_eq!(bytes(&kept), truth);
        }
    }
}
