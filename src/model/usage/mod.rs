//! What VEs use: from counters that come and go and levels that rise and fall to intervals that can be billed.
//!
//! A [`Reading`] is what was seen at a moment: counters as they stand, never what has come since. Two readings make
//! [`Interval`]s ([`Mark::advance`]), and the second one becomes the mark that the next is measured from. So a reading may
//! be taken by whoever likes, written down twice, or come late: nothing is lost, and nothing is there twice. What every
//! unit and rule means is written in docs/METERING.md.

mod amounts;
mod availability;
mod bandwidth;
mod code;
mod interval;
mod listed;
mod mark;
mod meter;
mod reading;
mod stretch;
mod sums;
#[cfg(test)]
mod tests;

pub use amounts::{Amounts, Held};
pub use availability::availability;
pub use bandwidth::{Hours, passed};
pub use code::{decode, decode_numbers, decode_whole, encode, encode_numbers};
pub use interval::{DAY, HOUR, Interval, floor};
pub use mark::{CLOCK_SET_NS, Mark};
pub use meter::{Counter, Counters, Level, Levels, Time};
pub use reading::{Condition, Moment, Owner, Reading, Run, Terms};
pub use sums::{Sums, Totals};
