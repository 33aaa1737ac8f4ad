//! Names and numbers of things: parsed once, right ever after.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use crate::hostname::{Domain, Hostname};

/// The stable number of a VE: 101 … 999 999 (below 101 is left to the host, as OpenVZ did).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct VeId(u32);

/// A number that can't be a VE's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a VE id; ids go from {min} to {max}", min = VeId::MIN, max = VeId::MAX)]
pub struct VeIdError(String);

impl VeId {
    /// The lowest id.
    pub const MIN: u32 = 101;
    /// The highest id: six digits, so that interface names fit.
    pub const MAX: u32 = 999_999;

    /// The bare number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for VeId {
    type Error = VeIdError;
    fn try_from(n: u32) -> Result<Self, VeIdError> {
        if (Self::MIN..=Self::MAX).contains(&n) {
            Ok(Self(n))
        } else {
            Err(VeIdError(n.to_string()))
        }
    }
}

impl From<VeId> for u32 {
    fn from(id: VeId) -> Self {
        id.0
    }
}

impl FromStr for VeId {
    type Err = VeIdError;
    fn from_str(text: &str) -> Result<Self, VeIdError> {
        let bad = || VeIdError(format!("\"{text}\""));
        if text.starts_with('+') {
            return Err(bad());
        }
        text.parse::<u32>().map_err(|_| bad())?.try_into()
    }
}

impl fmt::Display for VeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

/// A text that can't be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a {what} name: {why}")]
pub struct NameError {
    pub(crate) text: String,
    pub(crate) what: &'static str,
    pub(crate) why: &'static str,
}

/// Checks the rule all names share: 1 to 63 characters of `a-z 0-9 - . _`, a letter or digit first and last,
/// never two dots in a row. So a name is safe as a file name and in a table.
fn check_name(text: &str, what: &'static str) -> Result<(), NameError> {
    let bad = |why| {
        Err(NameError {
            text: text.to_owned(),
            what,
            why,
        })
    };
    let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (None, _) | (_, None) => return bad("it is empty"),
        _ if !bytes.iter().all(|b| alnum(b) || matches!(b, b'-' | b'.' | b'_')) => {
            return bad("only lower-case letters, digits, '-', '.' and '_' may stand in it");
        }
        (Some(first), Some(last)) if !alnum(first) || !alnum(last) => {
            return bad("it must begin and end with a lower-case letter or a digit");
        }
        _ => {}
    }
    if bytes.len() > 63 {
        return bad("it is longer than 63 characters");
    }
    if text.contains("..") {
        return bad("two dots in a row may not stand in it");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $extra:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                check_name(&text, $what)?;
                let extra: fn(&str) -> Option<&'static str> = $extra;
                match extra(&text) {
                    Some(why) => Err(NameError { text, what: $what, why }),
                    None => Ok(Self(text)),
                }
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(n: $type) -> Self {
                n.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The unique name of a VE. It can't be all digits, so that `hostel start 101` always means the id.
    VeName, "VE", |t| t.bytes().all(|b| b.is_ascii_digit()).then_some("it is all digits, which would be an id")
);
name!(/** The name of a tenant. */ TenantName, "tenant", |_| None);
name!(/** A word that tenants are sorted by. */ Tag, "tag", |_| None);
name!(/** The name of a plan. */ PlanName, "plan", |_| None);
name!(/** The name of a template. */ TemplateName, "template", |_| None);
name!(/** The name of a network. */ NetworkName, "network", |_| None);
name!(/** The name of a schedule. */ ScheduleName, "schedule", |_| None);
pub use crate::template::{TemplateRef, TemplateVersion};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids() {
        assert_eq!("101".parse::<VeId>().unwrap().get(), 101);
        assert_eq!(format!("{:>5}", VeId(101)), "  101");
        for text in ["100", "1000000", "", "-101", "1e3", "web1", "101 ", "+101"] {
            let error = text.parse::<VeId>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("101"), "{error}");
        }
    }

    #[test]
    fn names() {
        for text in ["web1", "a", "a-b_c.d", "1a", &"x".repeat(63)] {
            assert!(text.parse::<VeName>().is_ok(), "{text}");
        }
        let long = "x".repeat(64);
        for text in [
            "", "-a", "a-", ".a", "a..b", "a/b", "../a", "A", "a b", "a\n", "a\0", "é", "101", &long,
        ] {
            assert!(text.parse::<VeName>().is_err(), "{text:?}");
        }
        assert!("101".parse::<PlanName>().is_ok());
    }

    #[test]
    fn template_references() {
        let newest: TemplateRef = "debian-12".parse().unwrap();
        assert_eq!((newest.version.clone(), newest.to_string()), (None, "debian-12".into()));
        let exact: TemplateRef = "debian-12/20260115".parse().unwrap();
        assert_eq!(exact.version.as_ref().unwrap().as_str(), "20260115");
        assert_eq!(exact.to_string(), "debian-12/20260115");
        for text in ["", "/", "a/", "/b", "a/b/c", "a/..", "../a"] {
            assert!(text.parse::<TemplateRef>().is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_name_is_one_plain_path_component(text in "[a-zA-Z0-9._/ -]{0,12}") {
            if let Ok(name) = text.parse::<VeName>() {
                prop_assert!(!name.as_str().contains(['/', ' ']) && name.as_str() != "." && name.as_str() != "..");
            }
        }
    }
}
