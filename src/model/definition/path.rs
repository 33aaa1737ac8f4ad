//! Paths in definitions.

use std::path::PathBuf;
use std::str::FromStr;

use super::value::read_text;

/// An absolute path without `.` and `..`.
#[derive(Debug, Clone)]
pub(super) struct AbsolutePath(pub PathBuf);

impl FromStr for AbsolutePath {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let plain = |part: &str| part != "." && part != "..";
        if text.starts_with('/') && text.split('/').all(plain) {
            Ok(Self(PathBuf::from(text)))
        } else {
            Err(())
        }
    }
}

read_text! { AbsolutePath, "an absolute path, without \"..\""; }
