//! What a face can ask of the engine.

use std::path::{Path, PathBuf};

use hostel_model::id::{TemplateName, TenantName, VeId, VeName};
use hostel_model::request::{Action, Create, Exec, Selection, VeRef};
use serde::Serialize;

use crate::error::{Class, Error, Result};

/// Told of what an operation is doing; a face shows it.
pub trait Progress: Sync {
    /// A step begins: "formatting the disk", "booting".
    fn step(&self, what: &str);
    /// Something worth a line that is no failure: a warning, a device node left out.
    fn note(&self, what: &str);
}

/// One Hostel on one host.
#[derive(Debug)]
pub struct Engine {}

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
    /// Its name.
    pub name: VeName,
    /// Whose it is.
    pub tenant: TenantName,
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

fn unbuilt<T>() -> Result<T> {
    Err(Error::new(Class::Failed, "not built yet"))
}

#[allow(unused_variables)]
impl Engine {
    /// Opens the Hostel that `config` (hostel.toml) describes. `wait_lock`: how long to wait for another operation.
    pub fn open(config: &Path, wait_lock: std::time::Duration) -> Result<Self> {
        unbuilt()
    }
    /// Prepares the host (directories, example definitions, sysctls). Safe to run twice. Lines of what was done.
    pub fn init(config: &Path, progress: &dyn Progress) -> Result<()> {
        unbuilt()
    }
    /// The VEs meant; not found is an error that names all that weren't.
    pub fn select(&self, selection: &Selection) -> Result<Vec<VeHandle>> {
        unbuilt()
    }
    /// Makes a VE.
    pub fn create(&self, request: &Create, progress: &dyn Progress) -> Result<VeHandle> {
        unbuilt()
    }
    /// One action on one VE.
    pub fn act(&self, id: VeId, action: &Action, progress: &dyn Progress) -> Result<Outcome> {
        unbuilt()
    }
    /// Every VE's status, in order of id.
    pub fn list(&self) -> Result<Vec<VeStatus>> {
        unbuilt()
    }
    /// One VE's status.
    pub fn status(&self, ve: &VeRef) -> Result<VeStatus> {
        unbuilt()
    }
    /// Effective settings and where each came from.
    pub fn show(&self, ve: &VeRef) -> Result<Vec<Setting>> {
        unbuilt()
    }
    /// Changes a definition, live where it can; all or nothing.
    pub fn set(&self, ve: &VeRef, settings: &[(String, String)], dry_run: bool, progress: &dyn Progress) -> Result<SetReport> {
        unbuilt()
    }
    /// The text of a VE's definition, for an editor.
    pub fn definition_text(&self, ve: &VeRef) -> Result<String> {
        unbuilt()
    }
    /// Replaces a VE's definition by an edited text if it is right; the error names every mistake with its line.
    pub fn replace_definition(&self, ve: &VeRef, text: &str, progress: &dyn Progress) -> Result<SetReport> {
        unbuilt()
    }
    /// Runs a command inside; stdin, stdout and stderr are this process's own. The command's exit code (128+n: signal n).
    pub fn exec(&self, ve: &VeRef, exec: &Exec) -> Result<u8> {
        unbuilt()
    }
    /// Runs a script file of the host's inside, by the interpreter its first line names.
    pub fn runscript(&self, ve: &VeRef, script: &Path, args: &[String]) -> Result<u8> {
        unbuilt()
    }
    /// Joins this terminal to the VE's console until `escape` is typed (Ctrl-A q). Waits for the VE to start.
    pub fn console(&self, ve: &VeRef) -> Result<()> {
        unbuilt()
    }
    /// The console log so far.
    pub fn log(&self, ve: &VeRef) -> Result<Vec<u8>> {
        unbuilt()
    }
    /// Copies a file or directory from the host into the VE.
    pub fn push(&self, ve: &VeRef, from: &Path, to: &str) -> Result<()> {
        unbuilt()
    }
    /// Copies a file or directory out of the VE.
    pub fn pull(&self, ve: &VeRef, from: &str, to: &Path) -> Result<()> {
        unbuilt()
    }
    /// Facts about this host.
    pub fn info(&self) -> Result<Vec<Fact>> {
        unbuilt()
    }
    /// What shouldn't exist; removes it with `fix`.
    pub fn audit(&self, fix: bool) -> Result<Vec<Orphan>> {
        unbuilt()
    }
    /// Builds a template from a recipe (a name in the recipe directory, or a file).
    pub fn template_build(&self, recipe: &str, progress: &dyn Progress) -> Result<TemplateInfo> {
        unbuilt()
    }
    /// Makes a template from a root tree, an LXD/Incus image or an OCI layout.
    pub fn template_import(&self, name: &TemplateName, from: &Path, progress: &dyn Progress) -> Result<TemplateInfo> {
        unbuilt()
    }
    /// All template versions.
    pub fn template_list(&self) -> Result<Vec<TemplateInfo>> {
        unbuilt()
    }
    /// One template (`name` or `name/version`).
    pub fn template_show(&self, name: &str) -> Result<TemplateInfo> {
        unbuilt()
    }
    /// Removes a template version (`name` with one version, or `name/version`).
    pub fn template_remove(&self, name: &str) -> Result<()> {
        unbuilt()
    }
}
