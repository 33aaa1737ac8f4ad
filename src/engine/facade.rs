//! What a face can ask of the engine.

mod access;
mod act;
mod address;
mod attach;
mod audit;
mod beancounters;
mod capacity;
mod console;
mod create;
mod dialect;
mod edit;
mod fleet;
mod forward;
mod halt;
mod host_life;
mod import;
mod info;
mod init;
mod inside;
mod limits;
mod look;
mod manager;
mod metrics;
mod network;
mod openvz;
mod owner;
mod pace;
mod processes;
mod query;
mod reinstall;
mod report;
mod report_groups;
mod report_until;
mod set;
mod settle;
mod stat;
mod template;
mod tenant;
mod tenant_json;
mod tenant_status;
#[cfg(test)]
pub(crate) mod tests;
mod traffic;
mod transfer;
mod units;
mod why;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hostel_model::id::{TemplateName, VeId, VeName};
use serde::Serialize;

pub use access::{AccessLine, AccessReport, Applied, Touch, VeChange};
pub use address::AddressReport;
pub use beancounters::VeBeancounters;
pub use capacity::{Capacity, Known, PlanCapacity, Room, Share, Stock};
pub(crate) use create::random_seed;
pub use fleet::{Books, VerifiedHost};
pub(crate) use fleet::{moment, some_moment};
pub use forward::{ForwardReport, ForwardState, PortForwardParts};
pub use host_life::Procession;
pub use hostel_system::cgroup::{DeviceIo, Hits, Pressure, Throttled, Usage};
pub use hostel_system::disk::Usage as DiskUsage;
pub use hostel_system::process::Listed;
pub use import::{Fate, ImportLine, ImportOrder, Imported, ImportedPlan, plan_of};
pub use limits::LimitUse;
pub use look::{Allocated, Aspects, Port, VeLook};
pub use metrics::{Family, FamilyKind, Sample};
pub use network::{AddressState, NetworkStatus};
pub use owner::Owned;
pub use processes::VeProcess;
pub use report::{By, Exported, Report, Row, Whole, Whose, Window};
pub(crate) use settle::TROUBLE;
pub use stat::Meter;
pub use tenant::{BudgetStatus, TenantStatus, TenantVe, TrafficStatus};
pub use traffic::{ClassTraffic, Ways};
pub use why::Why;

pub use crate::schedule::{LastRun, ScheduleStatus};

use crate::error::{Class, Result};
use crate::host::Host;
use crate::interrupt;
use crate::lock::{Lock, Patience, Subject};
use crate::step::{Runner, points};

/// Told of what an operation is doing; a face shows it.
pub trait Progress: Sync {
    /// A step begins: "formatting the disk", "booting".
    fn step(&self, what: &str);
    /// Something worth a line that is no failure: a warning, a device node left out.
    fn note(&self, what: &str);
}

/// One Hostel on one host: what a face calls. Its methods lie in the files of this folder, by what they are about.
#[derive(Debug)]
pub struct Engine {
    pub(crate) host: Arc<Host>,
    /// What was seen of VEs, for who looks again.
    pub(crate) seen: stat::Seen,
}

/// A VE as named in answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VeHandle {
    /// Its number.
    pub id: VeId,
    /// Its name.
    pub name: VeName,
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// In past tense, for the VE's line: "started", "was running already".
    pub done: String,
    /// False if nothing had to be done.
    pub changed: bool,
    /// What `mount` gives: where the root is.
    pub path: Option<PathBuf>,
}

/// A row of `hostel list`, and with all fields the answer of `hostel status`. `None`: unknown or not running.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VeStatus {
    /// Its number.
    pub id: VeId,
    /// Its name; empty if its record can't be read.
    pub name: String,
    /// Whose it is; empty if neither its definition nor its record says so.
    pub tenant: String,
    /// running, stopped, paused, mounted, broken.
    pub state: String,
    /// Why it is broken, or what was left half done.
    pub problem: Option<String>,
    /// Its plan.
    pub plan: String,
    /// template/version.
    pub template: String,
    /// Hostname inside.
    pub hostname: String,
    /// Its addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// Bytes of memory in use.
    pub memory: Option<u64>,
    /// Its limit.
    pub memory_limit: Option<u64>,
    /// Nanoseconds of processor time since start.
    pub cpu_ns: Option<u64>,
    /// Cap in thousandths of a processor.
    pub cpu_cap_milli: Option<u32>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Their limit.
    pub process_limit: Option<u64>,
    /// Bytes of the disk that the guest uses (file system view when running, else blocks on the host).
    pub disk: Option<u64>,
    /// The disk's size in bytes.
    pub disk_limit: Option<u64>,
    /// Seconds since start.
    pub uptime: Option<u64>,
    /// Has the guest said that it has booted?
    pub booted: Option<bool>,
    /// Init's process id on the host.
    pub pid: Option<u32>,
    /// Started at host boot?
    pub onboot: bool,
}

impl VeStatus {
    /// A row of which nothing is known but the number.
    pub(crate) fn nameless(id: VeId) -> Self {
        Self {
            id,
            name: String::new(),
            tenant: String::new(),
            state: String::new(),
            problem: None,
            plan: String::new(),
            template: String::new(),
            hostname: String::new(),
            addresses: Vec::new(),
            memory: None,
            memory_limit: None,
            cpu_ns: None,
            cpu_cap_milli: None,
            processes: None,
            process_limit: None,
            disk: None,
            disk_limit: None,
            uptime: None,
            booted: None,
            pid: None,
            onboot: false,
        }
    }
}

/// How a command inside a VE ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandEnd {
    /// Its exit code (128 + n: by signal n; 126 and 127: it can't be run, there is none).
    pub code: u8,
    /// What belongs on the command's standard error, since it never came to say anything itself.
    pub said: Option<String>,
}

/// A line of `hostel show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Dotted key: `memory.limit`.
    pub key: String,
    /// The value as a person writes it; "unlimited" for none.
    pub value: String,
    /// plan, override, default, definition.
    pub source: String,
}

/// What `set` did or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SetReport {
    /// key, old, new, applied now.
    pub applied: Vec<(String, String, String)>,
    /// The same for what waits for a restart.
    pub waiting: Vec<(String, String, String)>,
    /// Nothing was written.
    pub dry_run: bool,
}

/// A template version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TemplateInfo {
    /// Its name.
    pub name: TemplateName,
    /// Its version.
    pub version: String,
    /// Distribution family: debian, alpine, …
    pub family: String,
    /// Bytes of the tree.
    pub size: u64,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The VEs that stand on it.
    pub used_by: Vec<VeName>,
    /// What it was made from.
    pub source: String,
    /// Hash of the tree's manifest.
    pub checksum: String,
    /// What kind of init it has.
    pub init: String,
}

/// What the comparison of a template's tree with what is on record of it has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// template/version.
    pub template: String,
    /// Which tree: "the store", "tenant acme", "VE 101".
    pub place: String,
    /// Where it lies.
    pub path: PathBuf,
    /// A line for each difference; none if it is as it was made.
    pub differences: Vec<String>,
}

/// Something that shouldn't exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// cgroup, interface, mount, loop, firewall, idmap, address, staging, …
    pub kind: String,
    /// Which.
    pub object: String,
    /// Why it is one.
    pub why: String,
    /// Removed now?
    pub fixed: bool,
    /// Why it could not be removed.
    pub error: Option<String>,
}

/// A fact about this host, for `hostel info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// "cgroups", "disk driver", "memory limit", …
    pub what: String,
    /// "version 1, hybrid", "image", "yes", "no".
    pub value: String,
    /// Why, or what follows.
    pub why: String,
}

/// What ends a VE, so that how its start went matters no more.
const ENDS: [&str; 3] = ["stop", "kill", "destroy"];

impl Engine {
    /// Opens the Hostel that `config` (hostel.toml) describes. `wait_lock`: how long to wait for another operation on
    /// the same VE.
    pub fn open(config: &Path, wait_lock: Duration) -> Result<Self> {
        let host = Host::open(config, wait_lock)?;
        host.reserve.refill();
        Ok(Self {
            host,
            seen: stat::Seen::default(),
        })
    }

    /// What operations run with.
    pub(crate) fn runner<'a>(&'a self, progress: &'a dyn Progress) -> Runner<'a> {
        Runner {
            journals: &self.host.journals,
            progress,
            interrupted: interrupt::flag(),
            points: points(),
        }
    }

    /// Takes a VE's lock and puts the VE in order. What scripts said and which failed as something was ended that had been
    /// cut short is told, whatever the command is about: it is told once.
    pub(crate) fn lock_ve(&self, id: VeId, verb: &str, progress: &dyn Progress) -> Result<Lock> {
        let lock = self.lock_and_recover(id, verb, progress);
        self.tell_of_hooks(id, progress);
        lock
    }

    fn lock_and_recover(&self, id: VeId, verb: &str, progress: &dyn Progress) -> Result<Lock> {
        let patience = Patience {
            wait: self.host.patience,
            progress,
            interrupted: interrupt::flag(),
        };
        let lock = self.host.locks.take(Subject::Ve(id), verb, &patience)?;
        let recover = || self.host.recover(id, &self.runner(progress));
        match self.making_room(recover) {
            // A start that can't be recorded as finished for want of space must not keep its VE from being ended.
            Err(e) if e.class == Class::Limit && ENDS.contains(&verb) && self.host.abandon_start(id)? => recover()?,
            other => other?,
        }
        Ok(lock)
    }

    /// Does what must work on a full disk too: if it doesn't for want of space, it gets what was put by for that.
    pub(crate) fn making_room(&self, act: impl Fn() -> Result<()>) -> Result<()> {
        match act() {
            Err(e) if e.class == Class::Limit && self.host.reserve.release()? => {
                let done = act();
                // At once, before anything else takes what has become free.
                self.host.reserve.refill();
                done
            }
            other => other,
        }
    }
}

impl Host {
    /// How long the locks that all VEs share may be waited for: they are held for moments.
    const SHARED_PATIENCE: Duration = Duration::from_secs(30);

    fn lock_shared(&self, name: &'static str, verb: &str) -> Result<Lock> {
        let patience = Patience {
            wait: Self::SHARED_PATIENCE.max(self.patience),
            progress: &Silent,
            interrupted: interrupt::flag(),
        };
        self.locks.take(Subject::Host(name), verb, &patience)
    }

    /// Nothing is allocated by others while this is held.
    pub(crate) fn lock_registry(&self, verb: &str) -> Result<Lock> {
        self.lock_shared("registry", verb)
    }

    /// Nobody else tells VEs names while this is held.
    pub(crate) fn lock_names(&self, verb: &str) -> Result<Lock> {
        self.lock_shared("names", verb)
    }

    /// The packet rules are changed by nobody else while this is held.
    pub(crate) fn lock_firewall(&self, verb: &str) -> Result<Lock> {
        self.lock_shared("firewall", verb)
    }
}

/// Shows nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: &str) {}
    fn note(&self, _: &str) {}
}
