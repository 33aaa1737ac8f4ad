//! Totals over many VEs and any time, wide enough never to be full: what must be the same before and after records are
//! thinned.

use std::collections::BTreeMap;

use super::amounts::Amounts;
use super::meter::{Counter, Level, Time};
use crate::traffic::Flow;

/// Totals by the names of exports. Peaks are no totals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums(pub BTreeMap<String, u128>);

/// The same on the way, without a name for each, and with peaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    times: [u128; Time::ALL.len()],
    counters: [u128; Counter::ALL.len()],
    /// Each level times nanoseconds, and the nanoseconds in which it was known.
    levels: [[u128; 2]; Level::ALL.len()],
    /// The most of each level that one VE had.
    pub peaks: [Option<u64>; Level::ALL.len()],
    /// Bytes and packets.
    traffic: BTreeMap<Flow, [u128; 2]>,
}

fn more(sum: &mut u128, more: impl Into<u128>) {
    *sum = sum.saturating_add(more.into());
}

impl Totals {
    /// Adds what was used.
    pub fn add(&mut self, amounts: &Amounts) {
        for (sum, time) in self.times.iter_mut().zip(amounts.times) {
            more(sum, time);
        }
        for (sum, counter) in self.counters.iter_mut().zip(amounts.counters) {
            more(sum, counter.unwrap_or(0));
        }
        for (n, held) in amounts.levels.iter().enumerate() {
            more(&mut self.levels[n][0], held.integral);
            more(&mut self.levels[n][1], held.time);
            self.peaks[n] = self.peaks[n].max(held.peak);
        }
        for (flow, amount) in &amounts.traffic {
            let sums = match self.traffic.get_mut(flow) {
                Some(sums) => sums,
                None => self.traffic.entry(flow.clone()).or_default(),
            };
            more(&mut sums[0], amount.bytes);
            more(&mut sums[1], amount.packets);
        }
    }

    /// By name.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for (time, sum) in Time::ALL.into_iter().zip(self.times) {
            sums.put(time.name(), sum);
        }
        for (counter, sum) in Counter::ALL.into_iter().zip(self.counters) {
            sums.put(counter.name(), sum);
        }
        for (level, [integral, time]) in Level::ALL.into_iter().zip(self.levels) {
            sums.put(level.name(), integral);
            sums.put(&format!("{}.time", level.name()), time);
        }
        for (flow, [bytes, packets]) in &self.traffic {
            let family = if flow.ipv6 { "ipv6" } else { "ipv4" };
            let name = format!("traffic.{}.{}.{family}", flow.class, flow.direction);
            sums.put(&format!("{name}.bytes"), *bytes);
            sums.put(&format!("{name}.packets"), *packets);
        }
        sums
    }
}

impl Sums {
    /// Adds what was used.
    pub fn add(&mut self, amounts: &Amounts) {
        let mut totals = Totals::default();
        totals.add(amounts);
        self.add_all(&totals.sums());
    }

    /// Adds other totals.
    pub fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, sum)| self.put(name, *sum));
    }

    /// One of them; zero if there is none.
    pub fn get(&self, name: &str) -> u128 {
        self.0.get(name).copied().unwrap_or(0)
    }

    fn put(&mut self, name: &str, more: u128) {
        if more == 0 {
            return;
        }
        match self.0.get_mut(name) {
            Some(sum) => *sum = sum.saturating_add(more),
            None => drop(self.0.insert(name.to_owned(), more)),
        }
    }
}
