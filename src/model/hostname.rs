//! Host and domain names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{NameError, VeName};

/// A host name after RFC 1123: labels of letters, digits and hyphens with dots between, at most 64 characters in all,
/// which is what `sethostname(2)` takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

impl Hostname {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&VeName> for Hostname {
    /// The host name of a VE that has no other: its name, with what a host name may not hold left out.
    fn from(name: &VeName) -> Self {
        let text = name.as_str().replace('_', "-");
        let labels: Vec<&str> = text
            .split('.')
            .map(|l| l.trim_matches('-'))
            .filter(|l| !l.is_empty())
            .collect();
        Self(labels.join("."))
    }
}

impl FromStr for Hostname {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Hostname {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        if text.len() > 64 {
            return Err(NameError {
                text,
                what: "host",
                why: "it is longer than 64 characters",
            });
        }
        match check_labels(&text) {
            Some(why) => Err(NameError {
                text,
                what: "host",
                why,
            }),
            None => Ok(Self(text)),
        }
    }
}

impl From<Hostname> for String {
    fn from(h: Hostname) -> Self {
        h.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A domain to search in, as resolv.conf(5) has it: labels as in a host name, at most 253 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

impl FromStr for Domain {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let why = if text.len() > 253 {
            Some("it is longer than 253 characters")
        } else {
            check_labels(text)
        };
        match why {
            Some(why) => Err(NameError {
                text: text.to_owned(),
                what: "domain",
                why,
            }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Domain {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Domain> for String {
    fn from(d: Domain) -> Self {
        d.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What is wrong with a dotted name, by RFC 1123.
fn check_labels(text: &str) -> Option<&'static str> {
    text.split('.').find_map(|label| match label.as_bytes() {
        [] => Some("a part between two dots is empty"),
        l if l.len() > 63 => Some("a part is longer than 63 characters"),
        [b'-', ..] | [.., b'-'] => Some("a part begins or ends with a hyphen"),
        l if !l.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') => {
            Some("only letters, digits, '-' and '.' may stand in it")
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn host_names() {
        for text in [
            "web1",
            "web1.acme.example",
            "WEB",
            "1.2",
            &format!("{}.b", "x".repeat(62)),
        ] {
            assert!(text.parse::<Hostname>().is_ok(), "{text}");
        }
        for text in [
            "",
            ".",
            "a.",
            "-a",
            "a-.b",
            "a_b",
            "a b",
            "ä",
            "a\n",
            &"x".repeat(64),
            &"ab.".repeat(30),
        ] {
            assert!(text.parse::<Hostname>().is_err(), "{text:?}");
        }
        assert_eq!(Hostname::from(&"db_1".parse::<VeName>().unwrap()).as_str(), "db-1");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_ve_name_gives_a_host_name(text in "[a-z0-9._-]{1,63}") {
            if let Ok(name) = text.parse::<VeName>() {
                let host = Hostname::from(&name);
                prop_assert!(host.as_str().parse::<Hostname>().is_ok(), "{host}");
            }
        }
    }
}
