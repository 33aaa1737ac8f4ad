//! What VEs have really used, hour by hour, as the ledger tells.

use std::collections::BTreeMap;

use super::{Each, Resource};
use crate::usage::{Amounts, Counter, HOUR, Held, Interval, Level, Time};

/// So many hours must be known before anything is said: less than a day knows no night.
pub const NEEDED_HOURS: usize = 24;

/// In how much of an hour a VE must have run for that hour to say what it uses.
const RUNS: u64 = HOUR.unsigned_abs() / 2;

/// What was used, by hour and VE.
#[derive(Debug, Clone, Default)]
pub struct History {
    hours: BTreeMap<i64, BTreeMap<String, (String, Amounts)>>,
    /// From when to when anything is known.
    span: Option<(i64, i64)>,
}

/// The one of `all` that 95 of 100 don't pass; 0 of none.
fn p95(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    let place = (all.len() * 95).div_ceil(100);
    place.checked_sub(1).and_then(|at| all.get(at)).copied().unwrap_or(0)
}

fn small(n: u128) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn level(amounts: &Amounts, resource: Resource) -> Option<Held> {
    Some(amounts.level(match resource {
        Resource::Memory => Level::Memory,
        Resource::Swap => Level::Swap,
        Resource::Disk => Level::Disk,
        Resource::Processes => Level::Processes,
        // Time is a counter, and nobody uses a guarantee.
        Resource::Cpu | Resource::Guarantee => return None,
    }))
}

/// What a VE has used on an average of the time in which it ran.
fn of_one(amounts: &Amounts, resource: Resource) -> Option<u64> {
    match resource {
        Resource::Cpu => {
            let ran = amounts.time(Time::Running);
            let used = u128::from(amounts.counter(Counter::Cpu)?) * 1000;
            used.checked_div(u128::from(ran)).map(small)
        }
        _ => {
            let held = level(amounts, resource)?;
            held.integral.checked_div(u128::from(held.time)).map(small)
        }
    }
}

/// What it has used on an average of the whole hour.
fn of_hour(amounts: &Amounts, resource: Resource) -> u128 {
    match resource {
        Resource::Cpu => u128::from(amounts.counter(Counter::Cpu).unwrap_or(0)) * 1000,
        _ => level(amounts, resource).map_or(0, |held| held.integral),
    }
}

impl History {
    /// Adds what a VE has used while it was of this plan.
    pub fn add(&mut self, life: &str, plan: &str, interval: &Interval) {
        let (from, to) = (interval.from_ns, interval.to_ns);
        self.span = Some(self.span.map_or((from, to), |(a, b)| (a.min(from), b.max(to))));
        for (hour, amounts) in interval.by_period(HOUR) {
            let ves = self.hours.entry(hour).or_default();
            match ves.get_mut(life) {
                // Of a VE that changed its plan the hour is that of the one it had then.
                Some((of, sum)) => {
                    plan.clone_into(of);
                    sum.add(&amounts);
                }
                None => drop(ves.insert(life.to_owned(), (plan.to_owned(), amounts))),
            }
        }
    }

    /// The hours of which all is known: the first and the last are begun in their midst.
    fn whole(&self) -> impl Iterator<Item = &BTreeMap<String, (String, Amounts)>> {
        let (from, to) = self.span.unwrap_or((0, 0));
        self.hours
            .iter()
            .filter(move |(hour, _)| **hour >= from && hour.saturating_add(HOUR) <= to)
            .map(|(_, ves)| ves)
    }

    /// Hours of which all is known.
    pub fn hours(&self) -> usize {
        let (from, to) = self.span.unwrap_or((0, 0));
        let first = from.div_euclid(HOUR) + i64::from(from.rem_euclid(HOUR) != 0);
        usize::try_from(to.div_euclid(HOUR) - first).unwrap_or(0)
    }

    /// What all VEs together did not pass in 95 of 100 hours.
    pub fn of_all(&self) -> Each<Option<u64>> {
        // Hours without a record are hours in which nothing was used.
        let idle = self.hours().saturating_sub(self.whole().count());
        Each::of(|resource| {
            if resource == Resource::Guarantee {
                return None;
            }
            let sum = |ves: &BTreeMap<String, (String, Amounts)>| {
                let all = ves.values().map(|(_, amounts)| of_hour(amounts, resource));
                small(all.sum::<u128>() / u128::from(HOUR.unsigned_abs()))
            };
            let mut sums: Vec<u64> = self.whole().map(sum).collect();
            sums.extend(std::iter::repeat_n(0, idle));
            Some(p95(sums))
        })
    }

    /// What one VE of a plan did not pass in 95 of 100 hours in which it ran, of all VEs of the plan; and in how many
    /// hours one did.
    pub fn of_plan(&self, plan: &str) -> (Each<Option<u64>>, usize) {
        let ran = |amounts: &&Amounts| amounts.time(Time::Running) >= RUNS;
        let all: Vec<&Amounts> = self
            .whole()
            .flat_map(BTreeMap::values)
            .filter(|(of, _)| of == plan)
            .map(|(_, amounts)| amounts)
            .filter(ran)
            .collect();
        let used = Each::of(|resource| {
            let known: Vec<u64> = all.iter().filter_map(|a| of_one(a, resource)).collect();
            (!known.is_empty()).then(|| p95(known))
        });
        (used, all.len())
    }
}
