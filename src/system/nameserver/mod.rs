//! Name servers of networks: one dnsmasq each. What belongs to one lies in a directory of its own, and a process is one
//! of ours only if it was started with the configuration there.

mod dnsmasq;
mod fake;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

pub use dnsmasq::Dnsmasq;
pub use fake::FakeNameServers;

use crate::Result;

/// Runs name servers.
pub trait NameServers: Send + Sync + Debug {
    /// The program; an error says why there is none, and what to do.
    fn usable(&self) -> Result<PathBuf>;
    /// Does one run with this configuration, dnsmasq.conf(5), from this directory?
    fn serves(&self, dir: &Path, config: &str) -> Result<bool>;
    /// Has one run so, in the place of one with another configuration; `home`: files of control groups that its number
    /// is written to. False if it did already. When this returns, it answers.
    fn serve(&self, dir: &Path, config: &str, home: &[PathBuf]) -> Result<bool>;
    /// Ends the one of this directory, if it runs, and removes the directory.
    fn end(&self, dir: &Path) -> Result<()>;
}
