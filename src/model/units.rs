//! Amounts of memory, disk and rates, as people write them.

use std::fmt;
use std::str::FromStr;

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
#[error("\"{text}\" is not an amount of bytes; write a number with K, M, G, T or P behind it, such as \"512M\" or \"2GiB\"")]
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
            let f: u64 = fraction.get(..fraction.len().min(9)).and_then(|f| f.parse().ok()).ok_or_else(bad)?;
            let scale = 10u128.pow(fraction.len().min(9) as u32);
            let part = (u128::from(f) << shift) / scale;
            total = u64::try_from(part).ok().and_then(|p| total.checked_add(p)).ok_or_else(bad)?;
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
