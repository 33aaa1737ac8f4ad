//! One Hostel on one host: its settings and the adapters through which it acts. The engine never calls Linux but
//! through these, so that the tests can put fakes with state in their place.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hostel_model::definition::HostConfig;
use hostel_system::cgroup::Cgroups;
use hostel_system::criu::Criu;
use hostel_system::disk::Drivers;
use hostel_system::firewall::traffic::{Counters, NftCounters};
use hostel_system::firewall::{Access, Firewall};
use hostel_system::mount::RootMounts;
use hostel_system::nameserver::{Dnsmasq, NameServers};
use hostel_system::net::Network;
use hostel_system::process::{Guests, boot_id};
use hostel_system::scripts::{HostScripts, Scripts};
use hostel_system::{cgroup, criu, file, firewall, mount, net, process, resolver};

use crate::dirs::Dirs;
use crate::error::{Class, Error, Result};
use crate::journal::Journals;
use crate::lock::Locks;
use crate::reserve::Reserve;

/// The clock: seconds since 1970.
pub type Clock = fn() -> i64;
/// Two clocks at once ([`hostel_system::clock::moment`]).
pub type Moments = Arc<dyn Fn() -> (i64, u64) + Send + Sync>;

/// A Hostel.
pub struct Host {
    /// hostel.toml, defaults filled in.
    pub config: HostConfig,
    /// Where it lies.
    pub config_file: PathBuf,
    /// Where everything else lies.
    pub dirs: Dirs,
    /// The kernel locks.
    pub locks: Locks,
    /// The journals.
    pub journals: Journals,
    /// Space for what must work on a full disk.
    pub reserve: Reserve,
    /// Where the kernel's settings are.
    pub proc_sys: PathBuf,
    /// Where the kernel tells how long tasks wait for what they need.
    pub pressure: PathBuf,
    /// Which boot of the host this is.
    pub boot_id: String,
    /// How long to wait for another operation on the same VE.
    pub patience: Duration,
    /// The hostel command itself: what a monitor becomes when its VE has ended.
    pub program: PathBuf,
    /// The time.
    pub clock: Clock,
    /// The time, and how long the host has been up.
    pub moments: Moments,
    /// Whether the time is known to be right ([`hostel_system::clock::is_set`]).
    pub clock_is_set: fn() -> bool,
    /// Where this host's own name servers are looked for.
    pub resolvers: Vec<PathBuf>,
    /// Limits.
    pub cgroups: Arc<dyn Cgroups>,
    /// Storage.
    pub disks: Drivers,
    /// Interfaces.
    pub network: Arc<dyn Network>,
    /// Packet rules.
    pub firewall: Arc<dyn Firewall>,
    /// Access rules.
    pub access: Arc<dyn Access>,
    /// Counters of traffic.
    pub counters: Arc<dyn Counters>,
    /// Name servers of networks.
    pub name_servers: Arc<dyn NameServers>,
    /// Processes.
    pub guests: Arc<dyn Guests>,
    /// Saving them.
    pub criu: Arc<dyn Criu>,
    /// Roots of stopped VEs.
    pub mounts: Arc<dyn RootMounts>,
    /// Scripts of the host's owner.
    pub scripts: Arc<dyn Scripts>,
    /// What these have said.
    pub hooks: crate::hooks::Told,
    /// What the adapters are in a test.
    #[cfg(test)]
    pub(crate) fakes: Option<Arc<crate::testing::Fakes>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("config", &self.config_file)
            .finish_non_exhaustive()
    }
}

/// Reads hostel.toml.
pub fn read_config(path: &Path) -> Result<HostConfig> {
    let Some(text) = file::read_opt(path)? else {
        return Err(Error::new(Class::NotFound, format!("there is no {}", path.display()))
            .hint("prepare this host with: hostel init"));
    };
    HostConfig::parse(&path.display().to_string(), &text)
        .map_err(|e| Error::new(Class::Usage, format!("{} has mistakes", path.display())).because(e))
}

impl Host {
    /// The one that this hostel.toml describes, with the real adapters.
    pub fn open(config_file: &Path, patience: Duration) -> Result<Arc<Self>> {
        need_root()?;
        let config_file = std::path::absolute(config_file)
            .map_err(|e| Error::new(Class::Usage, format!("{} is no path", config_file.display())).because(e))?;
        let config = read_config(&config_file)?;
        let dirs = Dirs::new(config.paths.clone());
        let proc = Path::new("/proc");
        let boot_id = boot_id(proc)?;
        let root = config.cgroup_root.as_str();
        Ok(Arc::new(Self {
            cgroups: Arc::from(cgroup::open(
                &proc.join("self/mounts"),
                &proc.join("self/cgroup"),
                root,
            )?),
            disks: Drivers::default(),
            network: Arc::new(net::RoutedNetwork::new(proc.to_owned())),
            firewall: Arc::new(firewall::Nftables::default()),
            access: Arc::new(firewall::NftAccess::new(
                config.interface_prefix.as_str(),
                config.connections,
            )),
            counters: Arc::new(NftCounters::default()),
            name_servers: Arc::new(Dnsmasq),
            guests: Arc::new(process::Monitors::new(monitor_program()?)),
            criu: Arc::new(criu::Swrk::new(PathBuf::from(config.criu.as_str()))),
            mounts: Arc::new(mount::KernelMounts),
            scripts: Arc::new(HostScripts),
            hooks: crate::hooks::Told::default(),
            #[cfg(test)]
            fakes: None,
            locks: Locks::at(&dirs.locks())?,
            journals: Journals::at(&dirs.data().join("journal"), &dirs.runs().join("journal"), &boot_id)?,
            reserve: Reserve::at(dirs.reserve(), dirs.run_reserve()),
            program: own_program()?,
            clock: || jiff::Timestamp::now().as_second(),
            moments: Arc::new(hostel_system::clock::moment),
            clock_is_set: hostel_system::clock::is_set,
            resolvers: resolver::files(Path::new("/")),
            patience,
            proc_sys: proc.join("sys"),
            pressure: proc.join("pressure"),
            boot_id,
            dirs,
            config,
            config_file,
        }))
    }
}

/// Namespaces, mounts and the definitions are root's: better one word of it than what fails first.
pub fn need_root() -> Result<()> {
    if process::is_root() {
        return Ok(());
    }
    Err(Error::new(Class::Failed, "hostel needs root").hint("run it with sudo"))
}

/// This program's own file.
fn own_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| Error::new(Class::Failed, "cannot find the hostel command itself").because(e))
}

/// hostel-monitor lies beside hostel, or in the library directory of the same installation.
fn monitor_program() -> Result<PathBuf> {
    let own = own_program()?;
    let beside = own.with_file_name("hostel-monitor");
    if beside.exists() {
        return Ok(beside);
    }
    let prefix = own.parent().and_then(Path::parent).unwrap_or(Path::new("/usr/local"));
    Ok(prefix.join("lib/hostel/hostel-monitor"))
}
