//! A failed step of a start or an entry, as it travels from the child to the monitor to the engine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What failed, on what, and why. Crosses process boundaries as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What we were doing: "mount the VE's root".
    pub act: String,
    /// To what; may be empty.
    pub object: String,
    /// The OS error, if that was the reason.
    pub errno: Option<i32>,
    /// The reason in words.
    pub reason: String,
}

/// The result of every step in this crate.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure for a reason of our own.
    pub fn new(act: impl Into<String>, object: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self {
            act: act.into(),
            object: object.to_string(),
            errno: None,
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.object.as_str() {
            "" => write!(f, "cannot {}: {}", self.act, self.reason),
            object => write!(f, "cannot {} {object}: {}", self.act, self.reason),
        }
    }
}

impl std::error::Error for Failure {}

/// An error with all its causes, in one line: a library's own words say what it did, the last cause why it failed.
fn in_words(error: &std::io::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Names the step in which a system call failed.
pub trait Step<T> {
    /// "cannot ACT OBJECT: reason".
    fn step(self, act: &str, object: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Step<T> for std::result::Result<T, E> {
    fn step(self, act: &str, object: impl fmt::Display) -> Result<T> {
        self.map_err(|e| {
            let e: std::io::Error = e.into();
            Failure {
                act: act.to_owned(),
                object: object.to_string(),
                errno: e.raw_os_error(),
                reason: in_words(&e),
            }
        })
    }
}
