//! The error of every adapter: what we were doing, to what, why it failed, and what to do next.

use std::fmt;

/// What sort of failure it was, for callers that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The object isn't there.
    NotFound,
    /// The object is there already.
    Exists,
    /// Something else holds the object; trying again later may help.
    Busy,
    /// No space, or no room below a limit.
    NoSpace,
    /// This host can't do it.
    Unsupported,
    /// The input is wrong.
    Invalid,
    /// Time ran out.
    TimedOut,
    /// A person gave up waiting: Ctrl-C.
    Interrupted,
    /// Everything else.
    Failed,
}

/// A failed act on one object. Displays as "cannot ACT OBJECT"; the reason is the source, and is printed by
/// whoever prints the chain.
#[derive(Debug)]
pub struct Error {
    /// What we were doing, as a verb phrase: "open", "attach loop device to".
    pub act: &'static str,
    /// To what: a path, a name, an interface.
    pub object: String,
    /// The sort of failure.
    pub kind: Kind,
    /// What the person can do about it.
    pub hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of every adapter.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure with its cause. The kind comes from the cause if that is an OS error.
    pub fn new(
        act: &'static str,
        object: impl fmt::Display,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        let kind = source.downcast_ref::<std::io::Error>().map_or(Kind::Failed, kind_of);
        Self {
            act,
            object: object.to_string(),
            kind,
            hint: None,
            source: Some(source),
        }
    }

    /// A failure of a system call.
    pub fn os(act: &'static str, object: impl fmt::Display, errno: impl Into<std::io::Error>) -> Self {
        Self::new(act, object, errno.into())
    }

    /// Says what sort it was.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

fn kind_of(error: &std::io::Error) -> Kind {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH | libc::ENODEV | libc::ENXIO) => Kind::NotFound,
        Some(libc::EEXIST) => Kind::Exists,
        Some(libc::EBUSY | libc::EAGAIN | libc::ETXTBSY) => Kind::Busy,
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => Kind::NoSpace,
        Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => Kind::Unsupported,
        Some(libc::EINVAL) => Kind::Invalid,
        Some(libc::ETIMEDOUT) => Kind::TimedOut,
        _ => match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::AlreadyExists => Kind::Exists,
            std::io::ErrorKind::TimedOut => Kind::TimedOut,
            // An error that a library has wrapped has lost its number.
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::NoSpace,
            _ => Kind::Failed,
        },
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.act, self.object)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}

/// One error out of many: the first, with the others in its reason.
pub(crate) fn together(failures: Vec<Error>) -> Result<()> {
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(()) };
    let more: Vec<String> = failures
        .map(|e| match std::error::Error::source(&e) {
            Some(source) => format!("{e}: {source}"),
            None => e.to_string(),
        })
        .collect();
    if more.is_empty() {
        return Err(first);
    }
    let hint = first
        .hint
        .iter()
        .cloned()
        .chain([format!("also: {}", more.join("; "))])
        .collect::<Vec<_>>()
        .join("; ");
    Err(first.hint(hint))
}
