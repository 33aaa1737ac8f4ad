//! The 95th percentile of bandwidth, by the hour.

use std::collections::BTreeMap;

use super::amounts::Amounts;
use super::interval::{HOUR, Interval, floor};
use crate::definition::REST;
use crate::traffic::Direction;

/// Seconds of an hour.
const SECONDS: u128 = 3600;

/// What has passed in each hour, but for the classes that hostel.toml names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hours {
    /// Bytes to VEs and from them, by the beginning of the hour.
    passed: BTreeMap<i64, [u64; 2]>,
    /// The first and the last hour of which anything is known.
    span: Option<(i64, i64)>,
}

impl Hours {
    /// Adds what a VE has passed.
    pub fn add(&mut self, interval: &Interval) {
        self.know(interval.from_ns, interval.to_ns);
        if !interval.amounts.traffic.is_empty() {
            interval.each_period(HOUR, &mut |begins, piece| self.pass(begins, passed(&piece.amounts)));
        }
    }

    /// Something is known of this time, if only that nothing has passed.
    pub fn know(&mut self, from_ns: i64, to_ns: i64) {
        let first = floor(from_ns, HOUR);
        // What ends with an hour is not in the next.
        let last = floor(to_ns.saturating_sub(1).max(from_ns), HOUR);
        self.span = Some(match self.span {
            None => (first, last),
            Some((a, b)) => (a.min(first), b.max(last)),
        });
    }

    /// In the hour that begins then, so many bytes have passed to VEs and from them.
    pub fn pass(&mut self, hour: i64, bytes: [u64; 2]) {
        if bytes == [0, 0] {
            return;
        }
        let sums = self.passed.entry(hour).or_default();
        for (sum, more) in sums.iter_mut().zip(bytes) {
            *sum = sum.saturating_add(more);
        }
    }

    /// Bits per second to VEs, and from them, that 95 of 100 hours did not pass: hours are put in the order of what they
    /// carried, and of n hours the one at 95 × n ÷ 100, rounded up, counts. `None`: nothing is known of any hour.
    pub fn p95(&self) -> Option<[u64; 2]> {
        let (first, last) = self.span?;
        let hours = usize::try_from((last - first) / HOUR + 1).ok()?;
        let place = (hours * 95).div_ceil(100);
        let way = |n: usize| {
            let mut sums: Vec<u64> = self.passed.values().map(|sums| sums[n]).collect();
            sums.sort_unstable();
            // Hours in which nothing passed come first.
            let idle = hours.saturating_sub(sums.len());
            let bytes = place.checked_sub(idle + 1).and_then(|at| sums.get(at)).copied();
            let bits = u128::from(bytes.unwrap_or(0)) * 8 / SECONDS;
            u64::try_from(bits).unwrap_or(u64::MAX)
        };
        Some([way(0), way(1)])
    }
}

/// Bytes to a VE and from it, but for the classes that hostel.toml names.
pub fn passed(amounts: &Amounts) -> [u64; 2] {
    let mut bytes = [0_u64; 2];
    for (flow, amount) in amounts.traffic.iter().filter(|(flow, _)| flow.class == REST) {
        let way = &mut bytes[usize::from(flow.direction == Direction::Out)];
        *way = way.saturating_add(amount.bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Amount, Flow};

    fn passes(hours: &mut Hours, from_ns: i64, to_ns: i64, out: u64) {
        let flow = |class: &str| Flow {
            class: class.to_owned(),
            direction: Direction::Out,
            ipv6: false,
        };
        let mut amounts = Amounts::default();
        for class in [REST, "internal"] {
            amounts.traffic.insert(flow(class), Amount { bytes: out, packets: 1 });
        }
        hours.add(&Interval {
            from_ns,
            to_ns,
            amounts,
        });
    }

    #[test]
    fn of_a_hundred_hours_the_five_busiest_are_left_out() {
        let mut hours = Hours::default();
        assert_eq!(hours.p95(), None);
        for hour in 0..100 {
            let bytes = 450 * (hour + 1) as u64;
            passes(&mut hours, hour * HOUR, (hour + 1) * HOUR, bytes);
        }
        // 450 bytes an hour are one bit a second.
        assert_eq!(hours.p95(), Some([0, 95]));
    }

    #[test]
    fn hours_without_traffic_count_and_minutes_are_put_together() {
        let mut hours = Hours::default();
        passes(&mut hours, 0, HOUR / 60, 900);
        passes(&mut hours, HOUR / 2, HOUR, 900);
        assert_eq!(hours.p95(), Some([0, 4]));
        hours.add(&Interval {
            from_ns: HOUR,
            to_ns: 19 * HOUR,
            amounts: Amounts::default(),
        });
        // One hour of 19 is more than five of a hundred, and one of 20 isn't.
        assert_eq!(hours.p95(), Some([0, 4]));
        passes(&mut hours, 19 * HOUR, 20 * HOUR, 0);
        assert_eq!(hours.p95(), Some([0, 0]));
    }
}
