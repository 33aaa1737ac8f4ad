//! The bytes of a record: one way to write each amount, so that a hash of it means something.
//!
//! A number is written in groups of seven bits, the lowest first, each but the last with the highest bit set (LEB128). What
//! may be unknown is 0 for that, or else the number and one. Then: the version (1); each time; how many counters, and
//! each; how many levels, and of each the integral, the time, the peak; how many flows, and of each the length of the
//! class and the class, the direction (0 in, 1 out) plus 2 for IPv6, bytes, packets.

use super::amounts::{Amounts, Held};
use crate::traffic::{Amount, Direction, Flow};

const VERSION: u128 = 1;

/// The bytes of what was used.
pub fn encode(amounts: &Amounts) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    number(&mut out, VERSION);
    amounts.times.iter().for_each(|time| number(&mut out, (*time).into()));
    number(&mut out, amounts.counters.len() as u128);
    amounts.counters.iter().for_each(|c| perhaps(&mut out, *c));
    number(&mut out, amounts.levels.len() as u128);
    for level in &amounts.levels {
        number(&mut out, level.integral);
        number(&mut out, level.time.into());
        perhaps(&mut out, level.peak);
    }
    number(&mut out, amounts.traffic.len() as u128);
    for (flow, amount) in &amounts.traffic {
        number(&mut out, flow.class.len() as u128);
        out.extend_from_slice(flow.class.as_bytes());
        number(
            &mut out,
            u128::from(flow.direction == Direction::Out) + 2 * u128::from(flow.ipv6),
        );
        number(&mut out, amount.bytes.into());
        number(&mut out, amount.packets.into());
    }
    out
}

/// What these bytes say; `None` if they are none of ours.
pub fn decode(bytes: &[u8]) -> Option<Amounts> {
    let mut rest = Rest(bytes);
    if rest.number()? != VERSION {
        return None;
    }
    let mut amounts = Amounts::default();
    for time in &mut amounts.times {
        *time = rest.small()?;
    }
    if rest.number()? != amounts.counters.len() as u128 {
        return None;
    }
    for counter in &mut amounts.counters {
        *counter = rest.perhaps()?;
    }
    if rest.number()? != amounts.levels.len() as u128 {
        return None;
    }
    for level in &mut amounts.levels {
        *level = Held {
            integral: rest.number()?,
            time: rest.small()?,
            peak: rest.perhaps()?,
        };
    }
    for _ in 0..rest.small()? {
        let length = usize::try_from(rest.number()?).ok()?;
        let class = std::str::from_utf8(rest.bytes(length)?).ok()?.to_owned();
        let which = rest.small()?;
        let direction = if which & 1 == 1 { Direction::Out } else { Direction::In };
        let flow = Flow {
            class,
            direction,
            ipv6: which >= 2,
        };
        let amount = Amount {
            bytes: rest.small()?,
            packets: rest.small()?,
        };
        amounts.traffic.insert(flow, amount);
    }
    rest.0.is_empty().then_some(amounts)
}

fn number(out: &mut Vec<u8>, mut n: u128) {
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn perhaps(out: &mut Vec<u8>, n: Option<u64>) {
    number(out, n.map_or(0, |n| u128::from(n) + 1));
}

/// What is left to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(count)?;
        self.0 = left;
        Some(taken)
    }

    fn number(&mut self) -> Option<u128> {
        let mut n = 0;
        for shift in (0..128).step_by(7) {
            let byte = *self.bytes(1)?.first()?;
            n |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u64> {
        self.number()?.try_into().ok()
    }

    fn perhaps(&mut self) -> Option<Option<u64>> {
        match self.number()? {
            0 => Some(None),
            more => Some(Some(u64::try_from(more - 1).ok()?)),
        }
    }
}
