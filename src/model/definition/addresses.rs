//! The addresses of an interface: given, or to be chosen.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::field::Shape;
use super::value::{Cell, Read};

/// Addresses on one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addresses {
    /// One free address of each family that the network has.
    Auto,
    /// These. Never empty, none twice.
    Fixed(Vec<IpAddr>),
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Fixed(list) => f.pad(&list.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

impl Serialize for Addresses {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => s.serialize_str("auto"),
            Self::Fixed(list) => list.serialize(s),
        }
    }
}

impl Read for Addresses {
    const SHAPE: Shape = Shape::WordOrList;
    const EXPECTED: &'static str = "\"auto\", or a list of addresses such as [\"10.77.0.10\", \"2001:db8::10\"]";
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        if cell.is_word("auto") {
            return Some(Self::Auto);
        }
        let list = cell.elements::<IpAddr>()?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = list.iter().find(|a| !seen.insert(**a)) {
            cell.wrong(format!("each address once, not {twice} twice"));
            return None;
        }
        if cell.is_empty_list() {
            cell.wrong(Self::EXPECTED);
            return None;
        }
        Some(Self::Fixed(list))
    }
}
