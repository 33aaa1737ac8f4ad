//! `hostel.toml`: where everything is on this host, and the defaults.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::capacity::{self, Beyond, Oversell, Rules};
use super::diagnostic::Diagnostics;
use super::field::{Field, Reading, Record, fields};
use super::kernel_names::{CgroupPath, InterfacePrefix, NftTable, Program};
use super::ledger::LedgerServer;
use super::listen::Listen;
use super::metering::{self, Metering};
use super::path::AbsolutePath;
use super::resources::DriverName;
use super::traffic::{self, TrafficClass};
use super::value::words;
use super::ve::Share;
use crate::id::{NetworkName, PlanName, TemplateRef, TenantName};
use crate::units::{Bytes, Span};

words! {
    /// What to do about a limit that this host can't enforce.
    Unenforceable, "\"refuse\" or \"warn\"",
    /// Refuse to create or start the VE.
    Refuse = "refuse",
    /// Say so and go on without.
    Warn = "warn",
}

/// The whole of `hostel.toml`, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostConfig {
    /// Where files are.
    pub paths: Paths,
    /// The control group that all VEs are below, relative to the root of the hierarchy.
    pub cgroup_root: CgroupPath,
    /// What the names of VEs' interfaces on the host begin with.
    pub interface_prefix: InterfacePrefix,
    /// The nftables table, of family inet.
    pub nft_table: NftTable,
    /// The PostgreSQL that the ledger is forwarded to.
    pub ledger: Option<LedgerServer>,
    /// `net.connections`: how many connections each interface of a VE may have begun; `None`: a share of what the kernel
    /// can track.
    pub connections: Option<u32>,
    /// The ids that VEs' users are mapped to.
    pub idmap: IdRange,
    /// What to do about a limit that this host can't enforce.
    pub unenforceable: Unenforceable,
    /// What new VEs get where nothing else is said.
    pub defaults: Defaults,
    /// What the disks of new VEs are made of where nothing else is said; `None`: the best that the host can.
    pub driver: Option<DriverName>,
    /// The consoles' logs.
    pub console: Console,
    /// How the host goes down.
    pub shutdown: Shutdown,
    /// How long a script of the host's owner may run ([`crate::hook`]).
    pub hook_timeout: Span,
    /// How usage is measured and kept.
    pub metering: Metering,
    /// Where the manager serves metrics; `None`: nowhere.
    pub metrics: Option<Listen>,
    /// How much of the host may be promised.
    pub capacity: Rules,
    /// What VEs see of the host in their /proc.
    pub proc: Proc,
    /// CRIU, which suspends and resumes VEs: a path, or a name in the usual directories.
    pub criu: Program,
    /// `[[traffic]]`: the classes that traffic is counted in. What none names is in one of its own.
    pub traffic: Vec<TrafficClass>,
    /// Where root lacks CAP_SYS_RESOURCE: let root own VEs' user namespaces, without which CRIU can't save them there.
    pub root_owns_namespaces: bool,
    /// The keys that the file sets; all else is built in.
    #[serde(skip)]
    said: BTreeSet<String>,
}

/// Where files are; all absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paths {
    /// Definitions.
    pub config: PathBuf,
    /// Disks, templates, the ledger.
    pub data: PathBuf,
    /// Sockets, locks, logs: gone with a reboot.
    pub run: PathBuf,
    /// Templates' trees.
    pub templates: PathBuf,
    /// Templates' recipes.
    pub images: PathBuf,
}

/// A range of user and group ids, cut into slots of 65 536.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdRange {
    /// The first id.
    pub base: u32,
    /// How many slots.
    pub count: u32,
}

/// What new VEs get where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Defaults {
    /// Whose it is.
    pub tenant: TenantName,
    /// Its plan.
    pub plan: PlanName,
    /// Its template; `None`: it must be named.
    pub template: Option<TemplateRef>,
    /// Its network; `None`: it has no network unless one is named.
    pub network: Option<NetworkName>,
    /// Who shares the template's tree with it.
    pub share: Share,
    /// How long a shutdown may take.
    pub stop_timeout: Span,
    /// How long a boot may take.
    pub start_timeout: Span,
}

/// The consoles' logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Console {
    /// The most that is kept of each.
    pub log_size: Bytes,
}

/// How the host goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shutdown {
    /// How long all its VEs together may take to end.
    pub timeout: Span,
}

words! {
    /// Whose figures a VE finds in its /proc.
    View, "\"none\" or \"lxcfs\"",
    /// The kernel's: those of the whole host.
    None = "none",
    /// The VE's own, as lxcfs makes them up.
    Lxcfs = "lxcfs",
}

/// What VEs see of the host in their /proc.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proc {
    /// Whose figures.
    pub view: View,
    /// Where lxcfs is mounted.
    pub lxcfs: PathBuf,
    /// Have they a file of the form of OpenVZ's /proc/user_beancounters?
    pub beancounters: bool,
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    config: Option<AbsolutePath>,
    data: Option<AbsolutePath>,
    run: Option<AbsolutePath>,
    templates: Option<AbsolutePath>,
    images: Option<AbsolutePath>,
    cgroup_root: Option<CgroupPath>,
    interface_prefix: Option<InterfacePrefix>,
    nft_table: Option<NftTable>,
    ledger: Option<LedgerServer>,
    connections: Option<u32>,
    idmap_base: Option<u32>,
    idmap_count: Option<u32>,
    unenforceable: Option<Unenforceable>,
    tenant: Option<TenantName>,
    plan: Option<PlanName>,
    template: Option<TemplateRef>,
    network: Option<NetworkName>,
    share: Option<Share>,
    stop_timeout: Option<Span>,
    start_timeout: Option<Span>,
    driver: Option<DriverName>,
    log_size: Option<Bytes>,
    shutdown_timeout: Option<Span>,
    hook_timeout: Option<Span>,
    metering: metering::Draft,
    metrics: Option<Listen>,
    capacity: capacity::Draft,
    view: Option<View>,
    lxcfs: Option<AbsolutePath>,
    beancounters: Option<bool>,
    criu: Option<Program>,
    root_owns_namespaces: Option<bool>,
    traffic: Option<Vec<traffic::Draft>>,
}

impl Record for Draft {
    const FIELDS: &'static [Field<Self>] = fields! {
        "cgroup_root": CgroupPath => cgroup_root, "the control group that all VEs are below", "\"hostel\"";
        "interface_prefix": InterfacePrefix => interface_prefix, "what VEs' interfaces on the host begin with", "\"hv\"";
        "nft_table": NftTable => nft_table, "the nftables table, of family inet", "\"hostel\"";
        "unenforceable": Unenforceable => unenforceable,
            "about a limit that this host can't enforce: refuse or warn", "\"refuse\"";
        "ledger": LedgerServer => ledger, "the PostgreSQL that the ledger is forwarded to", "\"postgres://hostel@db/hostel\"";
        "net.connections": u32 => connections,
            "connections an interface of a VE may have begun; 1/8 of the kernel's if not set", "8192";
        "paths.config": AbsolutePath => config, "definitions: plans/, networks/, tenants/, ve/", "\"/etc/hostel\"";
        "paths.data": AbsolutePath => data, "disks, templates, the ledger", "\"/var/lib/hostel\"";
        "paths.run": AbsolutePath => run, "sockets, locks, console logs", "\"/run/hostel\"";
        "paths.templates": AbsolutePath => templates, "templates' trees", "\"/var/lib/hostel/templates\"";
        "paths.images": AbsolutePath => images, "templates' recipes", "\"/usr/share/hostel/images\"";
        "idmap.base": u32 => idmap_base, "first id of the first slot; at least 1048576, a multiple of 65536", "1048576";
        "idmap.count": u32 => idmap_count, "slots of 65536 ids, one for each VE", "16384";
        "defaults.tenant": TenantName => tenant, "whose a new VE is", "\"default\"";
        "defaults.plan": PlanName => plan, "a new VE's plan", "\"small\"";
        "defaults.template": TemplateRef => template, "a new VE's template; must be named if not set", "\"debian-12\"";
        "defaults.network": NetworkName => network, "a new VE's network; none if not set", "\"private\"";
        "defaults.share": Share => share, "who shares a template's page cache: tenant, host or none", "\"tenant\"";
        "defaults.stop_timeout": Span => stop_timeout, "how long a shutdown may take before the VE is killed", "\"1m\"";
        "defaults.start_timeout": Span => start_timeout, "how long a boot may take", "\"2m\"";
        "disk.driver": DriverName => driver,
            "what new VEs' disks are made of; the best that this host can if not set", "\"project\"";
        "criu.program": Program => criu, "the program that suspends and resumes VEs: its path, or its name", "\"criu\"";
        "criu.root_owns_namespaces": bool => root_owns_namespaces,
            "suspend where root lacks CAP_SYS_RESOURCE, with counters shared by VEs", "false";
        "console.log_size": Bytes => log_size, "most that is kept of each VE's console", "\"1MiB\"";
        "shutdown.timeout": Span => shutdown_timeout, "how long all VEs together may take when the host goes down", "\"5m\"";
        "hooks.timeout": Span => hook_timeout, "how long a script of hooks/ may run before it is killed; 1s to 1h", "\"5m\"";
        "metering.interval": Span => metering.interval, "how often the manager measures VEs that run; 1s to 1h", "\"1m\"";
        "metering.samples": Span => metering.samples, "how long each measurement is kept by itself", "\"2d\"";
        "metering.hours": Span => metering.hours, "how long usage is kept by the hour; after that by the day", "\"62d\"";
        "metrics.listen": Listen => metrics, "where the manager serves metrics: unix:PATH or ADDRESS:PORT; nowhere if not set",
            "\"unix:/run/hostel/metrics.sock\"";
        "capacity.cpu.oversell": Oversell => capacity.cpu.oversell,
            "how many times processors may be promised to VEs in all", "4";
        "capacity.cpu.beyond": Beyond => capacity.cpu.beyond, "about a VE that would pass that: off, warn or refuse", "\"refuse\"";
        "capacity.memory.oversell": Oversell => capacity.memory.oversell,
            "how many times memory, by memory.limit may be promised to VEs in all", "1.5";
        "capacity.memory.beyond": Beyond => capacity.memory.beyond, "about a VE that would pass that: off, warn or refuse", "\"refuse\"";
        "capacity.guarantee.oversell": Oversell => capacity.guarantee.oversell,
            "how many times memory, by memory.guarantee may be promised to VEs in all", "1";
        "capacity.guarantee.beyond": Beyond => capacity.guarantee.beyond, "about a VE that would pass that: off, warn or refuse", "\"refuse\"";
        "capacity.swap.oversell": Oversell => capacity.swap.oversell,
            "how many times swap may be promised to VEs in all", "1";
        "capacity.swap.beyond": Beyond => capacity.swap.beyond, "about a VE that would pass that: off, warn or refuse", "\"refuse\"";
        "capacity.disk.oversell": Oversell => capacity.disk.oversell,
            "how many times the disk that VEs lie on may be promised to them in all", "2";
        "capacity.disk.beyond": Beyond => capacity.disk.beyond, "about a VE that would pass that: off, warn or refuse", "\"refuse\"";
        "capacity.processes.oversell": Oversell => capacity.processes.oversell,
            "how many times the kernel's most processes may be promised to VEs in all", "2";
        "capacity.processes.beyond": Beyond => capacity.processes.beyond, "about a VE that would pass that: off, warn or refuse", "\"refuse\"";
        "proc.view": View => view, "whose figures VEs find in /proc: the host's (none) or their own (lxcfs)", "\"none\"";
        "proc.lxcfs": AbsolutePath => lxcfs, "where lxcfs is mounted", "\"/var/lib/lxcfs\"";
        "proc.beancounters": bool => beancounters,
            "give VEs that start their /dev/.hostel/user_beancounters, of OpenVZ's form", "true";
        "traffic": Vec<traffic::Draft> => traffic, "a class that traffic is counted in, a [[traffic]] each", "\"internal\"";
    };
}

/// Ids stay below 2^31: some programs and file formats take them as signed.
const ID_END: u64 = 1 << 31;

impl HostConfig {
    /// Reads `hostel.toml`; an empty text gives all defaults. `file` is what mistakes are reported under.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        let (draft, mut reading) = Reading::file::<Draft>(file, text)?;
        let base = draft.idmap_base.unwrap_or(1 << 20);
        let count = draft.idmap_count.unwrap_or(16_384);
        if base < 1 << 20 || base % 65_536 != 0 || u64::from(base) >= ID_END {
            reading.wrong("idmap.base", "a multiple of 65536 from 1048576 on, below 2147483648");
        } else if count == 0 || u64::from(base) + u64::from(count) * 65_536 > ID_END {
            let most = (ID_END - u64::from(base)) / 65_536;
            let own = reading.has("idmap.count");
            let key = if own { "idmap.count" } else { "idmap.base" };
            reading.wrong(
                key,
                format!("1 to {most} slots of 65536 ids from {base} on (idmap.count is {count})"),
            );
        }
        let sizes = Bytes::kib(4)..=Bytes::gib(1);
        if draft.log_size.is_some_and(|size| !sizes.contains(&size)) {
            reading.wrong("console.log_size", "4KiB to 1GiB");
        }
        let whiles = Span::seconds(1)..=Span::seconds(3600);
        if draft.hook_timeout.is_some_and(|most| !whiles.contains(&most)) {
            reading.wrong("hooks.timeout", "1s to 1h");
        }
        draft.metering.check(&mut reading);
        if draft.connections.is_some_and(|most| !(16..=1_000_000).contains(&most)) {
            reading.wrong("net.connections", "16 to 1000000");
        }
        traffic::check(draft.traffic.as_deref().unwrap_or_default(), &mut reading);
        if !reading.reports.is_empty() {
            return Err(reading.reports.finish());
        }
        let said = reading.keys().map(str::to_owned).collect();
        Ok(draft.fill(IdRange { base, count }, said))
    }

    /// Does the file set this key, or is its value built in?
    pub fn says(&self, key: &str) -> bool {
        self.said.contains(key)
    }
}

impl Default for HostConfig {
    /// What an empty file gives.
    fn default() -> Self {
        Draft::default().fill(
            IdRange {
                base: 1 << 20,
                count: 16_384,
            },
            BTreeSet::new(),
        )
    }
}

impl Draft {
    fn fill(self, idmap: IdRange, said: BTreeSet<String>) -> HostConfig {
        let path = |given: Option<AbsolutePath>, default: &Path| given.map_or_else(|| default.to_owned(), |p| p.0);
        let data = path(self.data, Path::new("/var/lib/hostel"));
        HostConfig {
            paths: Paths {
                config: path(self.config, Path::new("/etc/hostel")),
                run: path(self.run, Path::new("/run/hostel")),
                templates: path(self.templates, &data.join("templates")),
                images: path(self.images, Path::new("/usr/share/hostel/images")),
                data,
            },
            cgroup_root: self.cgroup_root.unwrap_or_else(CgroupPath::usual),
            interface_prefix: self.interface_prefix.unwrap_or_else(InterfacePrefix::usual),
            nft_table: self.nft_table.unwrap_or_else(NftTable::usual),
            connections: self.connections,
            ledger: self.ledger,
            idmap,
            unenforceable: self.unenforceable.unwrap_or(Unenforceable::Refuse),
            defaults: Defaults {
                tenant: self.tenant.unwrap_or_else(default_tenant),
                plan: self.plan.unwrap_or_else(default_plan),
                template: self.template,
                network: self.network,
                share: self.share.unwrap_or(Share::Tenant),
                stop_timeout: self.stop_timeout.unwrap_or(Span::seconds(60)),
                start_timeout: self.start_timeout.unwrap_or(Span::seconds(120)),
            },
            driver: self.driver,
            console: Console {
                log_size: self.log_size.unwrap_or(Bytes::mib(1)),
            },
            shutdown: Shutdown {
                timeout: self.shutdown_timeout.unwrap_or(Span::seconds(300)),
            },
            hook_timeout: self.hook_timeout.unwrap_or(Span::seconds(300)),
            metering: self.metering.fill(),
            metrics: self.metrics,
            capacity: self.capacity.fill(),
            proc: Proc {
                view: self.view.unwrap_or(View::None),
                lxcfs: path(self.lxcfs, Path::new("/var/lib/lxcfs")),
                beancounters: self.beancounters.unwrap_or(false),
            },
            criu: self.criu.unwrap_or_else(Program::usual),
            traffic: traffic::finish(self.traffic.unwrap_or_default()),
            root_owns_namespaces: self.root_owns_namespaces.unwrap_or(false),
            said,
        }
    }
}

#[allow(clippy::expect_used)] // a constant that the tests parse
fn default_tenant() -> TenantName {
    "default".parse().expect("a good name")
}

#[allow(clippy::expect_used)] // a constant that the tests parse
fn default_plan() -> PlanName {
    "small".parse().expect("a good name")
}
