//! Saving a VE's processes to files and bringing them back, by CRIU (criu.org).
//!
//! CRIU runs as `criu swrk` with a socket, on which it is asked and says what it is at. A dump is run by this process.
//! A restore is run by the VE's monitor, whose child the restored init becomes, and steered from here (see
//! `process::Guests::relaunch`).

mod blocker;
mod check;
mod fake;
mod ipc;
mod mend;
pub(crate) mod options;
pub(crate) mod session;
mod swrk;
mod timers;
mod version;
pub mod wire;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hostel_monitor::spec::Init;

use crate::Result;

use blocker::passes;
pub use blocker::reason;
pub use check::{blockers, unheard, visitors};
pub use fake::FakeCriu;
pub use ipc::{loses_ipc, unkept_ipc};
pub use swrk::Swrk;
pub use version::{Machine, Version};

/// CRIU's log of a dump, beside the images.
pub const DUMP_LOG: &str = "dump.log";
/// Locked in the images' directory for as long as a dump is under way.
pub const LOCK: &str = "criu.lock";
/// CRIU's log of a restore.
pub const RESTORE_LOG: &str = "restore.log";

/// What is to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    /// The VE's init.
    pub init: Init,
    /// An empty directory for the images.
    pub images: PathBuf,
    /// The control group that stops the VE's processes.
    pub freezer: Option<PathBuf>,
    /// When it is given up; `None`: it may take as long as it takes.
    pub until: Option<Instant>,
}

/// CRIU.
pub trait Criu: Send + Sync + Debug {
    /// The program, as it is found now. [`crate::Kind::NotFound`] if there is none, [`crate::Kind::Unsupported`] if it
    /// doesn't do for this kernel; both say what to do.
    fn usable(&self) -> Result<(PathBuf, Version)>;
    /// Saves a VE. When this returns, the images are complete and all processes stand still; what becomes of them is
    /// decided by the answer. On failure they run on, and the error names what stands in the way; it is of kind
    /// [`crate::Kind::TimedOut`] or [`crate::Kind::Interrupted`] if the dump was given up. `gone` is called as soon as
    /// CRIU is seen to have died, which may be before the kernel lets its processes go.
    fn dump(&self, dump: &Dump, gone: &dyn Fn()) -> Result<Box<dyn Dumped>>;
    /// Waits until no dump to this directory is under way any more: that of a command that was killed goes on until CRIU
    /// misses it. An error if that takes too long.
    fn await_end(&self, images: &Path) -> Result<()>;
    /// Takes back what a CRIU that was killed has left in a VE with these processes: connections that neither send nor
    /// hear, and rules that hold its network.
    fn mend(&self, init: u32, processes: &[u32]) -> Result<()>;
    /// Sets timers going that a restore has left standing in these processes, of which none runs yet.
    fn wind_up(&self, processes: &[u32]) -> Result<()>;
}

/// A VE that is saved and stands still. Dropping this lets it run on.
pub trait Dumped: Debug {
    /// Ends CRIU on the spot: it neither lets the processes go on in order nor ends them. Whoever wants this has
    /// stopped them by other means. What the dump needs besides its images (names for files that have lost theirs)
    /// stays.
    fn leave(self: Box<Self>) -> Result<()>;
}
