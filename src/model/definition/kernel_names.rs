//! Names in hostel.toml that the kernel takes as text, each with its rule.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::value::read_text;
use crate::id::VeId;

/// Names that kernel interfaces take as text, each with its rule.
macro_rules! checked {
    ($($(#[$doc:meta])* $type:ident, $usual:literal, $expected:literal, $rule:expr;)+) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Where hostel.toml says nothing.
            pub(super) fn usual() -> Self {
                Self($usual.to_owned())
            }
        }

        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let rule: fn(&[u8]) -> bool = $rule;
                if rule(text.as_bytes()) { Ok(Self(text.to_owned())) } else { Err(format!("\"{text}\" is not {}", $expected)) }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        read_text! { $type, $expected; }
    )+ };
}

checked! {
    /// What the names of VEs' interfaces on the host begin with.
    InterfacePrefix, "hv", "1 to 6 lower-case letters and digits, a letter first, such as \"hv\"", |t| {
        // IFNAMSIZ is 16 with the final NUL: prefix, six digits of id, a dot and two digits of index make 15.
        (1..=6).contains(&t.len())
            && t[0].is_ascii_lowercase()
            && t.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    /// A control group's path relative to the root of its hierarchy.
    CgroupPath, "hostel", "a path of plain names without a leading slash, such as \"hostel\" or \"hostel.slice\"", |t| {
        t.len() <= 200 && t.split(|b| *b == b'/').all(|part| {
            part.first().is_some_and(u8::is_ascii_alphanumeric)
                && part.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
                // cgroup v2's own files have such names.
                && !part.starts_with(b"cgroup.")
        })
    };
    /// A program.
    Program, "criu", "an absolute path or a plain name, such as \"criu\"", |t| {
        !t.is_empty() && t.len() <= 4000 && (t[0] == b'/' || !t.contains(&b'/')) && !t.contains(&0)
    };
    /// A name of an nftables table.
    NftTable, "hostel", "1 to 31 letters, digits and underscores, a letter first, such as \"hostel\"", |t| {
        (1..=31).contains(&t.len())
            && t[0].is_ascii_alphabetic()
            && t.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
    };
}

impl InterfacePrefix {
    /// The name of a VE's interface on the host: `hv101.0`.
    pub fn interface(&self, id: VeId, index: usize) -> String {
        format!("{}{id}.{index}", self.0)
    }

    /// Whose interface that is, by its name.
    pub fn id_of(&self, interface: &str) -> Option<VeId> {
        interface.strip_prefix(&self.0)?.split_once('.')?.0.parse().ok()
    }
}
