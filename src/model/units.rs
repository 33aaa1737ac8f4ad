//! Amounts of memory, disk, rates and time, as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A number of bytes. Written as `2GiB`, `512M`, `100k` or a plain number; the letters K, M, G, T, P mean
/// powers of 1024 with or without `iB`/`B` behind them, as the OpenVZ tools had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "BytesText", into = "String")]
pub struct Bytes(pub u64);

/// The forms in which TOML can hold an amount.
#[derive(Deserialize)]
#[serde(untagged)]
enum BytesText {
    Number(u64),
    Text(String),
}

/// A text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{text}\" is not an amount of bytes; write a number with K, M, G, T or P behind it, such as \"512M\" or \"2GiB\""
)]
pub struct BytesError {
    text: String,
}

impl Bytes {
    /// `n` KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }
    /// `n` MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
    /// `n` GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }
    /// The bare number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<BytesText> for Bytes {
    type Error = BytesError;
    fn try_from(text: BytesText) -> Result<Self, BytesError> {
        match text {
            BytesText::Number(n) => Ok(Self(n)),
            BytesText::Text(t) => t.parse(),
        }
    }
}

impl From<Bytes> for String {
    fn from(b: Bytes) -> Self {
        b.to_string()
    }
}

impl FromStr for Bytes {
    type Err = BytesError;

    fn from_str(text: &str) -> Result<Self, BytesError> {
        let bad = || BytesError { text: text.to_owned() };
        let t = text.trim();
        let digits = t.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(t.len());
        let (number, unit) = t.split_at(digits);
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            "p" | "pb" | "pib" => 50,
            _ => return Err(bad()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.is_empty() || whole.is_empty() || (number.contains('.') && (fraction.is_empty() || shift == 0)) {
            return Err(bad());
        }
        let whole: u64 = whole.parse().map_err(|_| bad())?;
        let mut total = whole.checked_mul(1 << shift).ok_or_else(bad)?;
        if !fraction.is_empty() {
            let f: u64 = fraction
                .get(..fraction.len().min(9))
                .and_then(|f| f.parse().ok())
                .ok_or_else(bad)?;
            let scale = 10u128.pow(fraction.len().min(9) as u32);
            let part = (u128::from(f) << shift) / scale;
            total = u64::try_from(part)
                .ok()
                .and_then(|p| total.checked_add(p))
                .ok_or_else(bad)?;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Bytes {
    /// The shortest exact form: `2GiB`, `1536MiB`, `1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return f.pad(&format!("{}{unit}", self.0 >> shift));
            }
        }
        f.pad(&self.0.to_string())
    }
}

/// An amount for a table: at most one digit after the point, `1.5 GiB`, `512 MiB`, `900 B`. Rounded; for an exact
/// text use [`Bytes`]' own.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut text = String::new();
    for (i, unit) in UNITS.iter().enumerate() {
        let scale = 1u128 << (10 * (i + 1));
        let tenths = (u128::from(bytes) * 10 + scale / 2) / scale;
        text = match (tenths / 10, tenths % 10) {
            (whole, tenth) if whole < 100 && tenth != 0 => format!("{whole}.{tenth} {unit}"),
            (whole, _) => format!("{} {unit}", if whole < 100 { whole } else { (tenths + 5) / 10 }),
        };
        if tenths + 5 < 10_240 {
            break;
        }
    }
    text
}

/// Bytes per second. Written like [`Bytes`], with or without `/s`; also in bits (`100Mbit`, powers of 1000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(pub u64);

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a rate; write bytes per second such as \"50MiB\", or bits such as \"100Mbit\"")]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let bad = || RateError(text.to_owned());
        let lower = text.trim().to_ascii_lowercase();
        let amount = lower.strip_suffix("/s").unwrap_or(&lower).trim_end();
        let Some(bits) = amount.strip_suffix("bit") else {
            return amount.parse::<Bytes>().map(|b| Self(b.get())).map_err(|_| bad());
        };
        let (number, scale) = match bits.char_indices().next_back() {
            Some((i, 'k')) => (&bits[..i], 1_000),
            Some((i, 'm')) => (&bits[..i], 1_000_000),
            Some((i, 'g')) => (&bits[..i], 1_000_000_000),
            _ => (bits, 1_u64),
        };
        let number: u64 = number.trim_end().parse().map_err(|_| bad())?;
        number.checked_mul(scale).map(|bits| Self(bits / 8)).ok_or_else(bad)
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;
    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(r: Rate) -> Self {
        r.to_string()
    }
}

impl fmt::Display for Rate {
    /// The shortest exact form in bytes: `50MiB/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/s", Bytes(self.0)))
    }
}

/// A length of time in whole seconds. Written as `90s`, `2m`, `1h30m`, `1d`, or a plain number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a length of time; write seconds, minutes, hours or days, such as \"90s\" or \"1h30m\"")]
pub struct SpanError(String);

impl Span {
    /// The longest: a year. What is longer is a slip of the pen, and sums of spans can't overflow.
    pub const MAX: Self = Self(365 * 86_400);

    /// `n` seconds, at most [`Self::MAX`].
    pub const fn seconds(n: u64) -> Self {
        if n < Self::MAX.0 { Self(n) } else { Self::MAX }
    }
    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl From<Span> for Duration {
    fn from(s: Span) -> Self {
        s.duration()
    }
}

const SPAN_UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let bad = || SpanError(text.to_owned());
        let mut rest = text.trim();
        if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
            let n: u64 = rest.parse().map_err(|_| bad())?;
            return if n <= Self::MAX.0 { Ok(Self(n)) } else { Err(bad()) };
        }
        let mut total = 0_u64;
        // Each unit at most once, from the largest down.
        let mut units = SPAN_UNITS.iter();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
            rest = &rest[digits..];
            let (unit, seconds) = units.find(|(unit, _)| rest.starts_with(unit)).ok_or_else(bad)?;
            rest = rest[unit.len()..].trim_start();
            total = number
                .checked_mul(*seconds)
                .and_then(|n| total.checked_add(n))
                .ok_or_else(bad)?;
        }
        if text.trim().is_empty() || total > Self::MAX.0 {
            Err(bad())
        } else {
            Ok(Self(total))
        }
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;
    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(s: Span) -> Self {
        s.to_string()
    }
}

impl fmt::Display for Span {
    /// The shortest exact form: `1h30m`, `90s` becomes `1m30s`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut rest = self.0;
        let mut text = String::new();
        for (unit, seconds) in SPAN_UNITS {
            if rest >= seconds {
                text.push_str(&format!("{}{unit}", rest / seconds));
                rest %= seconds;
            }
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("512M", 512 << 20),
            ("2GiB", 2 << 30),
            ("1.5g", 3 << 29),
            ("100 kb", 100 << 10),
            (" 7b ", 7),
            ("0.5T", 1 << 39),
            ("15PiB", 15 << 50),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in [
            "",
            "G",
            "1.G",
            ".5G",
            "1.5",
            "1.2.3G",
            "-1",
            "+1",
            "2 potatoes",
            "99999999P",
            "1e3",
            "0x10",
            "½G",
        ] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_for_tables() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536 << 20, "1.5 GiB"),
            (512 << 20, "512 MiB"),
            (5 << 30, "5 GiB"),
            ((1 << 30) - 1, "1 GiB"),
            (1_048_524, "1 MiB"),
            (153 << 29, "76.5 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!("50MiB".parse(), Ok(Rate(50 << 20)));
        assert_eq!("50MiB/s".parse(), Ok(Rate(50 << 20)));
        assert_eq!("100Mbit".parse(), Ok(Rate(12_500_000)));
        assert_eq!("100 mbit/s".parse(), Ok(Rate(12_500_000)));
        assert_eq!("8bit".parse(), Ok(Rate(1)));
        assert_eq!(Rate(50 << 20).to_string(), "50MiB/s");
        for text in ["", "bit", "kbit", "Mbit/s", "/s", "fast", "-5M"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn spans() {
        for (text, seconds) in [
            ("90s", 90),
            ("2m", 120),
            ("1h30m", 5400),
            ("45", 45),
            ("1d", 86_400),
            ("1h 5s", 3605),
        ] {
            assert_eq!(text.parse(), Ok(Span(seconds)), "{text}");
        }
        for text in [
            "",
            " ",
            "m",
            "5x",
            "1m1h",
            "1s1s",
            "-5s",
            "1.5h",
            "1h30",
            "9999d",
            "99999999999999999999s",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert_eq!(Span(0).to_string(), "0s");
        assert_eq!(Span(5400).to_string(), "1h30m");
        assert_eq!(Span::seconds(u64::MAX), Span::MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_printed_is_read_back(n: u64, shift in 0_u32..50, seconds in 0..=Span::MAX.0) {
            let n = (n >> shift) << (shift / 2);
            prop_assert_eq!(Bytes(n).to_string().parse(), Ok(Bytes(n)));
            prop_assert_eq!(Rate(n).to_string().parse(), Ok(Rate(n)));
            prop_assert_eq!(Span(seconds).to_string().parse(), Ok(Span(seconds)));
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = (text.parse::<Bytes>(), text.parse::<Rate>(), text.parse::<Span>());
        }

        #[test]
        fn tables_stay_narrow(n: u64) {
            prop_assert!(human(n).len() <= 8, "{}", human(n));
        }
    }
}
