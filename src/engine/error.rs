//! The error of every request, with what a face needs to choose its exit code and its words.

use std::fmt;

/// What sort of failure it was; each face maps it to its own codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It was tried and failed.
    Failed,
    /// The request or a definition makes no sense.
    Usage,
    /// A VE, plan, template, network or tenant by that name doesn't exist.
    NotFound,
    /// Not in the state it is in.
    Refused,
    /// Another operation holds it.
    Busy,
    /// A limit, quota or budget would be passed.
    Limit,
    /// A script of the host's owner didn't want it, or failed.
    Script,
    /// Ended by the person (Ctrl-C), and undone.
    Interrupted,
}

/// More than the sort of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Only a wait has failed: the VE was started, and boots on.
    BootsOn,
    /// A file system of the host is full.
    NoRoom,
    /// What the VE consists of isn't there: its disk, or the template that it was made from.
    Gone,
}

/// A failed request: a sentence, perhaps hints, and the chain of causes.
#[derive(Debug)]
pub struct Error {
    /// The sort.
    pub class: Class,
    /// What failed, on what.
    pub message: String,
    /// What to do next, a line each.
    pub hints: Vec<String>,
    /// What also went wrong while undoing, a line each.
    pub also: Vec<String>,
    /// What its sort doesn't say, and some faces have to.
    pub detail: Option<Detail>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of every request.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure with no deeper cause.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            hints: Vec::new(),
            also: Vec::new(),
            detail: None,
            source: None,
        }
    }

    /// Says what sort it is.
    #[must_use]
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says what its sort doesn't.
    #[must_use]
    pub fn detail(mut self, detail: Detail) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}

impl From<hostel_system::Kind> for Class {
    fn from(kind: hostel_system::Kind) -> Self {
        match kind {
            hostel_system::Kind::Busy => Self::Busy,
            hostel_system::Kind::NoSpace => Self::Limit,
            hostel_system::Kind::Interrupted => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

impl From<hostel_system::Error> for Error {
    fn from(e: hostel_system::Error) -> Self {
        let class = e.kind.into();
        let hints = e.hint.clone().into_iter().collect();
        let message = e.to_string();
        let source = std::error::Error::source(&e).map(|s| s.to_string());
        let error = Self {
            class,
            message,
            hints,
            also: Vec::new(),
            detail: (e.kind == hostel_system::Kind::NoSpace).then_some(Detail::NoRoom),
            source: None,
        };
        match source {
            Some(_) => Self {
                source: Some(Box::new(SourceOf(e))),
                ..error
            },
            None => error,
        }
    }
}

/// Stands for the source chain of a system error whose own sentence has become ours.
#[derive(Debug)]
struct SourceOf(hostel_system::Error);

impl fmt::Display for SourceOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::error::Error::source(&self.0) {
            Some(source) => fmt::Display::fmt(source, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl std::error::Error for SourceOf {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0).and_then(std::error::Error::source)
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// An error with its causes and what failed beside it, in one line.
pub fn whole(error: &Error) -> String {
    let also = error.also.iter().map(|also| format!("; also: {also}"));
    chain(error) + &also.collect::<String>()
}
