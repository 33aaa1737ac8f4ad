//! Totals over many VEs and any time, wide enough never to be full: what must be the same before and after records are
//! thinned.

use std::collections::BTreeMap;

use super::amounts::Amounts;
use super::meter::{Counter, Level, Time};

/// Totals by the names of exports. Peaks are no totals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums(pub BTreeMap<String, u128>);

impl Sums {
    /// Adds what was used.
    pub fn add(&mut self, amounts: &Amounts) {
        for time in Time::ALL {
            self.put(time.name(), amounts.time(time).into());
        }
        for counter in Counter::ALL {
            self.put(counter.name(), amounts.counter(counter).unwrap_or(0).into());
        }
        for level in Level::ALL {
            let held = amounts.level(level);
            self.put(level.name(), held.integral);
            self.put(&format!("{}.time", level.name()), held.time.into());
        }
        for (flow, amount) in &amounts.traffic {
            let family = if flow.ipv6 { "ipv6" } else { "ipv4" };
            let name = format!("traffic.{}.{}.{family}", flow.class, flow.direction);
            self.put(&format!("{name}.bytes"), amount.bytes.into());
            self.put(&format!("{name}.packets"), amount.packets.into());
        }
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
