//! Kinds of distributions and inits.

use std::fmt;
use std::str::FromStr;

/// A family of distributions that keep their identity in the same files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Debian and what is made from it, except Ubuntu.
    Debian,
    /// Ubuntu and what is made from it: netplan over networkd.
    Ubuntu,
    /// Red Hat Enterprise Linux and its rebuilds: NetworkManager.
    Rhel,
    /// Fedora.
    Fedora,
    /// Alpine.
    Alpine,
    /// A root with little more than BusyBox.
    Busybox,
    /// Everything else.
    Generic,
}

/// The program that runs as process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InitKind {
    /// systemd.
    Systemd,
    /// OpenRC, started by BusyBox's init or its own.
    Openrc,
    /// System V init.
    Sysvinit,
    /// BusyBox's init and nothing more.
    Busybox,
}

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {what}; there are {known}")]
pub struct KindError {
    text: String,
    what: &'static str,
    known: String,
}

macro_rules! words {
    ($type:ident, $what:literal, $($variant:ident = $word:literal),+) => {
        impl $type {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its word, in templates' descriptions and tables.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = KindError;
            fn from_str(text: &str) -> Result<Self, KindError> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(KindError { text: text.to_owned(), what: $what, known: [$($word),+].join(", ") }),
                }
            }
        }
    };
}

words!(
    Family,
    "a family of distributions",
    Debian = "debian",
    Ubuntu = "ubuntu",
    Rhel = "rhel",
    Fedora = "fedora",
    Alpine = "alpine",
    Busybox = "busybox",
    Generic = "generic"
);
words!(
    InitKind,
    "a kind of init",
    Systemd = "systemd",
    Openrc = "openrc",
    Sysvinit = "sysvinit",
    Busybox = "busybox"
);

impl Family {
    /// The family that an os-release(5) text tells: its `ID`, else the first of its `ID_LIKE` that is known.
    pub fn from_os_release(text: &str) -> Self {
        let ids = field(text, "ID").into_iter().chain(field(text, "ID_LIKE"));
        ids.flat_map(str::split_ascii_whitespace)
            .find_map(Self::from_os_id)
            .unwrap_or(Self::Generic)
    }

    fn from_os_id(id: &str) -> Option<Self> {
        Some(match id {
            "debian" | "devuan" | "raspbian" => Self::Debian,
            "ubuntu" => Self::Ubuntu,
            "rhel" | "centos" | "almalinux" | "rocky" | "ol" | "amzn" => Self::Rhel,
            "fedora" => Self::Fedora,
            "alpine" => Self::Alpine,
            "busybox" | "buildroot" => Self::Busybox,
            _ => return None,
        })
    }
}

/// A value of os-release(5): the last assignment counts, as in a shell. Values we look for need no escapes.
fn field<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let mut values = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
    values.next_back().map(|value| value.trim_matches(['"', '\'']))
}
