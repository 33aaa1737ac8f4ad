//! Numbers of things.

use std::fmt;
use std::str::FromStr;

/// A number of things, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Count(u64);

impl Count {
    /// The bare number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Count {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text.parse() {
            // TOML's integers end there.
            Ok(n) if n >= 1 && n <= i64::MAX as u64 => Ok(Self(n)),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
