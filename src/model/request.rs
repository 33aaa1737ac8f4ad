//! One request type for all faces: whatever a person, the API or the OpenVZ dialect asks of VEs becomes one of
//! these, and the engine matches it exhaustively.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::id::{TenantName, VeId, VeName};
use crate::ipam::Family;

/// How a person names one VE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VeRef {
    /// By its number.
    Id(VeId),
    /// By its name.
    Name(VeName),
}

impl std::str::FromStr for VeRef {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            text.parse()
                .map(Self::Id)
                .map_err(|e: crate::id::VeIdError| e.to_string())
        } else {
            text.parse()
                .map(Self::Name)
                .map_err(|e: crate::id::NameError| e.to_string())
        }
    }
}

impl std::fmt::Display for VeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => std::fmt::Display::fmt(id, f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Which VEs a verb is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Some(Vec<VeRef>),
    /// Every VE of a tenant.
    Tenant(TenantName),
    /// Every VE of the host.
    All,
}

/// A change of one VE's power state or storage: locked, journalled, undoable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Boot it.
    Start(StartOptions),
    /// Shut it down by the guest's own way, then kill it when `timeout` has passed.
    Stop {
        /// How long the guest has; `None`: as its definition says.
        timeout: Option<Duration>,
    },
    /// End it at once.
    Kill,
    /// Stop, then start.
    Restart {
        /// As for stop.
        timeout: Option<Duration>,
        /// As for start.
        start: StartOptions,
    },
    /// Freeze all its processes.
    Pause,
    /// Let them go on.
    Unpause,
    /// Write all its processes and their memory to the host's disk, and free what they hold.
    Suspend {
        /// How long it may take before it is given up, and the VE runs on; `None`: as long as it takes.
        timeout: Option<Duration>,
    },
    /// Let it go on from there.
    Resume,
    /// Remove it and its disk for good.
    Destroy {
        /// Kill it first if it runs.
        force: bool,
    },
    /// Mount the root of a stopped VE on the host, for repair.
    Mount,
    /// Take that away again.
    Umount,
    /// Give freed blocks of its disk back to the host.
    Compact,
}

/// How to start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// Return only when the guest says that it has booted.
    pub wait: bool,
    /// How long `wait` waits; `None`: two minutes.
    pub timeout: Option<Duration>,
    /// Boot it even if it was suspended; what ran then is given up as soon as init runs.
    pub discard: bool,
    /// Boot it even if its definition says that it is disabled.
    pub disabled_too: bool,
}

/// A VE to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Create {
    /// Its name; from the file if `None`.
    pub name: Option<String>,
    /// A definition to begin with.
    pub file: Option<PathBuf>,
    /// Definition keys to set on top, as for `set`, in order.
    pub settings: Vec<(String, String)>,
    /// Start it at once.
    pub start: Option<StartOptions>,
    /// A tree that it brings along: a copy of it is on its disk, and all that it has.
    pub tree: Option<PathBuf>,
}

/// A command to run inside a VE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// The program and its arguments, as given.
    pub argv: Vec<String>,
    /// Whose user it runs as: a name of the VE's or a number, optionally `:group`; root if `None`.
    pub user: Option<String>,
    /// Environment variables besides the clean default ones.
    pub env: BTreeMap<String, String>,
    /// The working directory; the user's home if `None`.
    pub cwd: Option<String>,
    /// Give it a terminal of its own.
    pub pty: bool,
}

/// The address that a VE is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    One(IpAddr),
    /// A free one: of this family, or of each that the network has.
    Auto(Option<Family>),
}

impl FromStr for Wanted {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto(None)),
            "auto4" => Ok(Self::Auto(Some(Family::V4))),
            "auto6" => Ok(Self::Auto(Some(Family::V6))),
            _ => text.parse().map(Self::One).map_err(|_| {
                format!("\"{text}\" is no address; write one without a prefix length, or auto, auto4 or auto6")
            }),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::Auto(None) => f.pad("an address"),
            Self::Auto(Some(family)) => write!(f, "an {family} address"),
        }
    }
}
