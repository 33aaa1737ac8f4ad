//! How fast a network may be, as people write it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// Bits per second of a network. Written as `100Mbit`, `1.5Gbit` or `256kbit`, powers of 1000, with or without `/s`. A
/// bare number is none: whoever writes one may mean bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bandwidth(u64);

/// A text that is no bandwidth.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a bandwidth; write kbit, Mbit or Gbit per second such as \"100Mbit\", from 64kbit to 1000Gbit")]
pub struct BandwidthError(String);

impl Bandwidth {
    /// The least: below it a single frame takes longer than programs wait for an answer.
    pub const MIN: Self = Self(64_000);
    /// The most: above any interface that a host can have.
    pub const MAX: Self = Self(1_000_000_000_000);

    /// Bits per second, a multiple of 1000.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

const UNITS: [(&str, u64); 3] = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000)];
/// Digits behind the point: so many that no rounding hides what was written.
const DIGITS: usize = 9;

impl FromStr for Bandwidth {
    type Err = BandwidthError;

    fn from_str(text: &str) -> Result<Self, BandwidthError> {
        let bad = || BandwidthError(text.to_owned());
        let lower = text.trim().to_ascii_lowercase();
        let amount = lower.strip_suffix("/s").unwrap_or(&lower).trim_end();
        let with = |(unit, scale): &(&str, u64)| Some((amount.strip_suffix(unit)?.trim_end(), u128::from(*scale)));
        let (number, scale) = UNITS.iter().find_map(with).ok_or_else(bad)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |d: &str| !d.is_empty() && d.len() <= DIGITS && d.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(bad());
        }
        let parts: u128 = format!("{whole}{fraction:0<DIGITS$}").parse().map_err(|_| bad())?;
        // In billionths of a bit, of which a thousand bits are a whole number.
        let parts = parts * scale;
        let bits = u64::try_from(parts / 1_000_000_000).map_err(|_| bad())?;
        let exact = parts.is_multiple_of(1_000_000_000_000);
        match exact && (Self::MIN.0..=Self::MAX.0).contains(&bits) {
            true => Ok(Self(bits)),
            false => Err(bad()),
        }
    }
}

impl TryFrom<String> for Bandwidth {
    type Error = BandwidthError;
    fn try_from(text: String) -> Result<Self, BandwidthError> {
        text.parse()
    }
}

impl From<Bandwidth> for String {
    fn from(b: Bandwidth) -> Self {
        b.to_string()
    }
}

impl fmt::Display for Bandwidth {
    /// The shortest exact form: `1Gbit`, `1500Mbit`, `256kbit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, scale) in [("Gbit", 1_000_000_000), ("Mbit", 1_000_000)] {
            if self.0.is_multiple_of(scale) {
                return f.pad(&format!("{}{unit}", self.0 / scale));
            }
        }
        f.pad(&format!("{}kbit", self.0 / 1000))
    }
}

/// What may pass a limit of bandwidth at once after a pause: bytes, from 4 KiB to 64 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Burst(Bytes);

/// A text that is no burst.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a burst; write an amount from \"4KiB\" to \"64MiB\"")]
pub struct BurstError(String);

impl Burst {
    /// Bytes.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for Burst {
    type Err = BurstError;
    fn from_str(text: &str) -> Result<Self, BurstError> {
        let possible = Bytes::kib(4)..=Bytes::mib(64);
        let bytes = text.parse().ok().filter(|bytes| possible.contains(bytes));
        bytes.map(Self).ok_or_else(|| BurstError(text.to_owned()))
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bandwidths() {
        for (text, bits, shown) in [
            ("100Mbit", 100_000_000, "100Mbit"),
            ("64kbit", 64_000, "64kbit"),
            ("1Gbit/s", 1_000_000_000, "1Gbit"),
            (" 1.5 gbit ", 1_500_000_000, "1500Mbit"),
            ("0.256Mbit", 256_000, "256kbit"),
            ("1000Gbit", 1_000_000_000_000, "1000Gbit"),
        ] {
            let read: Bandwidth = text.parse().unwrap();
            assert_eq!((read.bits(), read.to_string().as_str()), (bits, shown), "{text}");
        }
        for text in [
            "",
            "100",
            "0Mbit",
            "Mbit",
            "100MB",
            "100MiB",
            "100M",
            "63kbit",
            "1001Gbit",
            "64000bit",
            "-1Mbit",
            "1.Mbit",
            ".5Mbit",
            "1.0001Mbit",
            "1e3kbit",
            "9999999999kbit",
            "½Mbit",
        ] {
            assert!(text.parse::<Bandwidth>().is_err(), "{text}");
        }
        assert_eq!("64K".parse::<Burst>().unwrap().get(), 65_536);
        for text in ["", "0", "4095", "65MiB", "10ms"] {
            assert!(text.parse::<Burst>().is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_printed_is_read_back(thousands in 64_u64..=1_000_000_000, shift in 0_u32..30) {
            let bandwidth = Bandwidth((thousands >> shift).max(64) * 1000);
            prop_assert_eq!(bandwidth.to_string().parse(), Ok(bandwidth));
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = (text.parse::<Bandwidth>(), text.parse::<Burst>());
        }
    }
}
