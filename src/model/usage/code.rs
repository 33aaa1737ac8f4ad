//! The bytes of a record: one way to write each amount, so that a hash of it means something.
//!
//! A number is written in groups of seven bits, the lowest first, each but the last with the highest bit set (LEB128). What
//! may be unknown is 0 for that, or else the number and one. Then: the version (1); each time; how many counters, and
//! each; how many levels, and of each the integral, the time, the peak; how many flows, and of each the length of the
//! class and the class, the direction (0 in, 1 out) plus 2 for IPv6, bytes, packets.
//!
//! Of both lists the first [`FIRST`] are always there, and more only as far as anything is known of them: so what was written
//! before there were more, and days that were closed then, are the same bytes when they are written anew.
//!
//! Versions of Hostel may measure more, or fewer: what a record hasn't got is unknown, and what is more in it is passed over
//! by who reads ([`decode`]), but not by who puts records together ([`decode_whole`]).

use super::amounts::{Amounts, Held};
use crate::traffic::{Amount, Direction, Flow};

const VERSION: u128 = 1;

/// How many counters and levels the first version had.
const FIRST: (usize, usize) = (19, 5);

/// How many of a list are written: up to the last that says something.
fn said<T>(list: &[T], first: usize, says: impl Fn(&T) -> bool) -> usize {
    list.iter().rposition(says).map_or(0, |last| last + 1).max(first)
}

/// The bytes of what was used.
pub fn encode(amounts: &Amounts) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    number(&mut out, VERSION);
    amounts.times.iter().for_each(|time| number(&mut out, (*time).into()));
    let counters = said(&amounts.counters, FIRST.0, Option::is_some);
    number(&mut out, counters as u128);
    amounts.counters[..counters].iter().for_each(|c| perhaps(&mut out, *c));
    let levels = said(&amounts.levels, FIRST.1, |level| *level != Held::default());
    number(&mut out, levels as u128);
    for level in &amounts.levels[..levels] {
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

/// The bytes of a row of numbers.
pub fn encode_numbers(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut out = Vec::new();
    numbers.into_iter().for_each(|n| number(&mut out, n.into()));
    out
}

/// The numbers that these bytes say; `None` if they are none of ours.
pub fn decode_numbers(bytes: &[u8]) -> Option<Vec<u64>> {
    let (mut rest, mut numbers) = (Rest(bytes), Vec::new());
    while !rest.0.is_empty() {
        numbers.push(rest.small()?);
    }
    Some(numbers)
}

/// What these bytes say, as far as we know what it is; `None` if they are none of ours.
pub fn decode(bytes: &[u8]) -> Option<Amounts> {
    read(bytes).map(|(amounts, _)| amounts)
}

/// The same; `None` too if they say more than we know.
pub fn decode_whole(bytes: &[u8]) -> Option<Amounts> {
    read(bytes).filter(|(_, whole)| *whole).map(|(amounts, _)| amounts)
}

fn read(bytes: &[u8]) -> Option<(Amounts, bool)> {
    let mut rest = Rest(bytes);
    if rest.number()? != VERSION {
        return None;
    }
    let mut amounts = Amounts::default();
    for time in &mut amounts.times {
        *time = rest.small()?;
    }
    let mut whole = true;
    for n in 0..rest.small()? {
        let counted = rest.perhaps()?;
        match usize::try_from(n).ok().and_then(|n| amounts.counters.get_mut(n)) {
            Some(counter) => *counter = counted,
            None => whole = false,
        }
    }
    for n in 0..rest.small()? {
        let held = Held {
            integral: rest.number()?,
            time: rest.small()?,
            peak: rest.perhaps()?,
        };
        match usize::try_from(n).ok().and_then(|n| amounts.levels.get_mut(n)) {
            Some(level) => *level = held,
            None => whole = false,
        }
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
    Some((amounts, whole && rest.0.is_empty()))
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

    fn byte(&mut self) -> Option<u8> {
        let (first, left) = self.0.split_first()?;
        self.0 = left;
        Some(*first)
    }

    fn number(&mut self) -> Option<u128> {
        // Most are small: of 63 bits at most, which are cheaper to put together.
        let mut low = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            low |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(low.into());
            }
        }
        let mut n = u128::from(low);
        for shift in (63..128).step_by(7) {
            let byte = self.byte()?;
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
