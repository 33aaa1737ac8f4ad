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

/// Names the step in which a system call failed.
pub trait Step<T> {
    /// "cannot ACT OBJECT: reason".
    fn step(self, act: &str, object: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Step<T> for std::result::Result<T, E> {
    fn step(self, act: &str, object: impl fmt::Display) -> Result<T> {
        self.map_err(|e| {
            let e: std::io::Error = e.into();
            let (errno, reason) = causes(&e);
            Failure {
                act: act.to_owned(),
                object: object.to_string(),
                errno,
                reason,
            }
        })
    }
}

/// The number and the words of an error that may wrap the system's own (as those of an archive do).
pub(crate) fn causes(e: &std::io::Error) -> (Option<i32>, String) {
    let (mut errno, mut reason) = (e.raw_os_error(), e.to_string());
    let mut deeper = std::error::Error::source(e);
    while let Some(cause) = deeper {
        let text = cause.to_string();
        if !reason.ends_with(&text) {
            reason = format!("{reason}: {text}");
        }
        errno = errno.or(cause.downcast_ref().and_then(std::io::Error::raw_os_error));
        deeper = cause.source();
    }
    (errno, reason)
}
