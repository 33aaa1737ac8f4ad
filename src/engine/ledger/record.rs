//! A record, and the hash that binds it to the one before.

use sha2::{Digest, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// What stands before the first record.
pub const NOTHING: Hash = [0; 32];

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A VE appears.
    Life,
    /// What holds for a VE from now on: whose it is, its plan, its limits.
    Terms,
    /// What was used between two readings.
    Sample,
    /// What was used in an hour.
    Hour,
    /// What was used in a day of UTC.
    Day,
    /// Records were replaced by fewer.
    Thinned,
    /// What was used in a day is bound into the chain.
    Closed,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Life,
        Self::Terms,
        Self::Sample,
        Self::Hour,
        Self::Day,
        Self::Thinned,
        Self::Closed,
    ];

    /// Its number in the file.
    pub const fn number(self) -> i64 {
        self as i64 + 1
    }

    /// The kind with this number.
    pub fn of(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Its name in exports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Life => "life",
            Self::Terms => "terms",
            Self::Sample => "sample",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Thinned => "thinned",
            Self::Closed => "closed",
        }
    }

    /// Does it say what was used?
    pub const fn is_usage(self) -> bool {
        matches!(self, Self::Sample | Self::Hour | Self::Day)
    }
}

/// A record as it lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number: they begin at 1, and each has the next.
    pub seq: i64,
    /// What it is.
    pub kind: i64,
    /// The record that the VE appeared in; 0: of no VE.
    pub life: i64,
    /// The record with the terms in force; 0: none.
    pub terms: i64,
    /// When it begins, in nanoseconds since 1970.
    pub from_ns: i64,
    /// When it ends.
    pub to_ns: i64,
    /// What it says.
    pub body: Vec<u8>,
}

impl Record {
    /// SHA-256 of the hash before it, its six numbers in eight bytes each with the highest first, and its body.
    pub fn hash(&self, before: &Hash) -> Hash {
        let mut hash = Sha256::new();
        hash.update(before);
        for number in [self.seq, self.kind, self.life, self.terms, self.from_ns, self.to_ns] {
            hash.update(number.to_be_bytes());
        }
        hash.update(&self.body);
        hash.finalize().into()
    }
}

/// As people and programs read a hash.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash that a text says.
pub fn unhex(text: &str) -> Option<Hash> {
    let byte = |n: usize| u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    bytes.filter(|_| text.len() == 64)?.try_into().ok()
}
