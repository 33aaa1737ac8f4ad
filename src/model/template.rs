//! What is known of a distribution template: its reference, its version, and the record beside its tree.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::distribution::{Family, InitKind};
use crate::id::{NameError, TemplateName};

/// The version of a template: 1 to 63 characters of `A-Z a-z 0-9 - . _ +`, a letter or digit first and last,
/// never two dots in a row, so it is safe as a file name. Made from the clock it looks like `20261122T190000Z`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TemplateVersion(String);

/// A text that can't be a template's version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a template version; write 1 to 63 letters, digits, '-', '.', '_' or '+', a letter or digit first and last"
)]
pub struct VersionError(String);

impl TemplateVersion {
    /// The version that stands for a moment, in UTC: `20261122T190000Z`.
    pub fn at(when: jiff::Timestamp) -> Self {
        Self(when.strftime("%Y%m%dT%H%M%SZ").to_string())
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TemplateVersion {
    type Error = VersionError;
    fn try_from(text: String) -> Result<Self, VersionError> {
        let bytes = text.as_bytes();
        let ends = [bytes.first(), bytes.last()]
            .iter()
            .all(|b| b.is_some_and(u8::is_ascii_alphanumeric));
        let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-._+".contains(b));
        if ends && inner && bytes.len() <= 63 && !text.contains("..") {
            Ok(Self(text))
        } else {
            Err(VersionError(text))
        }
    }
}

impl FromStr for TemplateVersion {
    type Err = VersionError;
    fn from_str(text: &str) -> Result<Self, VersionError> {
        Self::try_from(text.to_owned())
    }
}

impl From<TemplateVersion> for String {
    fn from(version: TemplateVersion) -> Self {
        version.0
    }
}

impl fmt::Display for TemplateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A template as a person names it: `debian-12` (the newest version) or `debian-12/20261122T190000Z`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TemplateRef {
    /// Which template.
    pub name: TemplateName,
    /// Which version; `None`: the newest.
    pub version: Option<TemplateVersion>,
}

/// A text that names no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefError {
    /// The part before the slash is wrong.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The part behind the slash is wrong.
    #[error(transparent)]
    Version(#[from] VersionError),
}

impl FromStr for TemplateRef {
    type Err = RefError;
    fn from_str(text: &str) -> Result<Self, RefError> {
        let (name, version) = match text.split_once('/') {
            Some((name, version)) => (name, Some(version.parse()?)),
            None => (text, None),
        };
        Ok(Self {
            name: name.parse()?,
            version,
        })
    }
}

impl TryFrom<String> for TemplateRef {
    type Error = RefError;
    fn try_from(text: String) -> Result<Self, RefError> {
        text.parse()
    }
}

impl From<TemplateRef> for String {
    fn from(reference: TemplateRef) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for TemplateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => f.pad(&format!("{}/{version}", self.name)),
            None => f.pad(self.name.as_str()),
        }
    }
}

/// Process 1 of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// What it is.
    pub kind: InitKind,
    /// Its path inside the tree: `/sbin/init`, or where it lies if that doesn't exist.
    pub path: String,
}

/// `template.toml`: what is known of one version of a template. What a later Hostel may have added to it is passed over:
/// its VEs go on when somebody goes back to an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRecord {
    /// Its name.
    pub name: TemplateName,
    /// Its version.
    pub version: TemplateVersion,
    /// Its family of distributions.
    pub family: Family,
    /// What it was made from: "recipe debian-12 by mmdebstrap", "import of rootfs.tar.xz".
    pub source: String,
    /// When it was made, as RFC 3339 text in UTC.
    #[serde(with = "moment")]
    pub created: jiff::Timestamp,
    /// SHA-256 of the file `manifest` beside it, in hexadecimal; the manifest lists every file of the tree.
    pub checksum: String,
    /// Sum of the sizes of its files, in bytes, each hard-linked file counted once.
    pub size: u64,
    /// How many names the tree holds, of whatever type.
    pub files: u64,
    /// How many packages the file `packages` beside it lists, as `name=version` lines; 0 if none could be told.
    #[serde(default)]
    pub packages: u64,
    /// SHA-256 of the recipe's text, in hexadecimal; `None` for an import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Device nodes and sockets that the source had and the tree doesn't (the first thousand).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Its process 1.
    pub init: Init,
}

/// A moment as RFC 3339 text.
mod moment {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(when: &jiff::Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(when)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<jiff::Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        text.parse()
            .map_err(|e| D::Error::custom(format!("\"{text}\" is not a moment such as 2026-11-22T19:00:00Z: {e}")))
    }
}

impl TemplateRecord {
    /// `name/version`.
    pub fn reference(&self) -> TemplateRef {
        TemplateRef {
            name: self.name.clone(),
            version: Some(self.version.clone()),
        }
    }

    /// Reads `template.toml`; the error has toml's own line, column and caret.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The text of `template.toml`.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_safe_file_names() {
        for good in ["20261122T190000Z", "1", "12.4", "v3.22-r1+b1"] {
            assert_eq!(good.parse::<TemplateVersion>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            "-x",
            "x-",
            "a/b",
            "a b",
            "a\n",
            ".staging-1",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<TemplateVersion>().is_err(), "{bad:?}");
        }
        let when: jiff::Timestamp = "2026-11-22T20:00:00+01:00".parse().unwrap();
        assert_eq!(TemplateVersion::at(when).as_str(), "20261122T190000Z");
    }

    #[test]
    fn references() {
        let latest: TemplateRef = "debian-12".parse().unwrap();
        assert_eq!((latest.name.as_str(), latest.version.as_ref()), ("debian-12", None));
        let exact: TemplateRef = "debian-12/20261122T190000Z".parse().unwrap();
        assert_eq!(exact.to_string(), "debian-12/20261122T190000Z");
        for bad in ["", "/", "a/", "/1", "a/../b", "a/1/2", "Debian"] {
            assert!(bad.parse::<TemplateRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn record_round_trips() {
        let record = TemplateRecord {
            name: "debian-12".parse().unwrap(),
            version: "20261122T190000Z".parse().unwrap(),
            family: "debian".parse().unwrap(),
            source: "recipe debian-12 by mmdebstrap".into(),
            created: "2026-11-22T19:00:00Z".parse().unwrap(),
            checksum: "ab".repeat(32),
            size: 1,
            files: 2,
            packages: 3,
            recipe: Some("cd".repeat(32)),
            left_out: vec!["dev/null".into()],
            init: Init {
                kind: InitKind::Systemd,
                path: "/sbin/init".into(),
            },
        };
        let text = record.to_toml().unwrap();
        assert_eq!(TemplateRecord::parse(&text).unwrap(), record);
        // A later version may have more to say.
        assert_eq!(
            TemplateRecord::parse(&format!("colour = 1\n{text}kin = 2\n")).unwrap(),
            record
        );
        let error = TemplateRecord::parse(&text.replace("files = 2", "files = two"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("files = two") && error.contains("line"), "{error}");
    }
}
