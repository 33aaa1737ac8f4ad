//! Amounts as programs are given them: processors, bytes, bytes per second and seconds as plain numbers, however they are
//! counted inside.

use serde::{Serialize, Serializer};

/// What an amount is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Thousandths of a processor; told in processors.
    Millis,
    /// Millionths of a processor; told in processors.
    Micros,
    /// Bits per second; told in bytes per second.
    Bits,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    Rate,
    /// Operations per second.
    Operations,
    /// Processes and threads.
    Processes,
    /// Files.
    Files,
    /// VEs.
    Ves,
    /// Addresses.
    Addresses,
    /// Ranges of user ids, one for each VE.
    Ranges,
}

impl Unit {
    /// As JSON names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Millis | Self::Micros => "processors",
            Self::Bits | Self::Rate => "bytes/s",
            Self::Bytes => "bytes",
            Self::Operations => "operations/s",
            Self::Processes => "processes",
            Self::Files => "files",
            Self::Ves => "VEs",
            Self::Addresses => "addresses",
            Self::Ranges => "ranges",
        }
    }

    /// An amount of it.
    pub const fn of(self, n: u64) -> Quantity {
        Quantity { n, unit: self }
    }
}

impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

/// An amount of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    /// As it is counted inside.
    pub n: u64,
    /// In this.
    pub unit: Unit,
}

impl Serialize for Quantity {
    /// Processors have digits behind the point, all else is whole.
    #[allow(clippy::cast_precision_loss)] // there are no 2^53 millionths of a processor
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.unit {
            Unit::Millis => s.serialize_f64(self.n as f64 / 1e3),
            Unit::Micros => s.serialize_f64(self.n as f64 / 1e6),
            Unit::Bits => s.serialize_u64(self.n / 8),
            _ => s.serialize_u64(self.n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_plain_numbers() {
        let json = |q: Quantity| serde_json::to_string(&q).unwrap();
        assert_eq!(json(Unit::Millis.of(1500)), "1.5");
        assert_eq!(json(Unit::Micros.of(250_000)), "0.25");
        assert_eq!(json(Unit::Bits.of(80_000_007)), "10000000");
        assert_eq!(json(Unit::Bytes.of(u64::MAX)), u64::MAX.to_string());
        assert_eq!(serde_json::to_string(&Unit::Bits).unwrap(), "\"bytes/s\"");
    }
}
