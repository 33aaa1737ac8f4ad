//! Where Hostel keeps what, from the paths of hostel.toml.

use std::path::PathBuf;

use hostel_model::definition::Paths;
use hostel_model::hook::Event;
use hostel_model::id::{NetworkName, TenantName, VeId, VeName};

/// The places of one Hostel.
#[derive(Debug, Clone)]
pub struct Dirs {
    paths: Paths,
}

impl Dirs {
    /// From hostel.toml.
    pub fn new(paths: Paths) -> Self {
        Self { paths }
    }

    /// Definitions of one kind: `plans`, `networks`, `tenants`, `ve`.
    pub fn definitions(&self, kind: &str) -> PathBuf {
        self.paths.config.join(kind)
    }

    /// A VE's definition.
    pub fn definition(&self, name: &VeName) -> PathBuf {
        self.paths.config.join("ve").join(format!("{name}.toml"))
    }

    /// A tenant's definition.
    pub fn tenant_definition(&self, name: &TenantName) -> PathBuf {
        self.paths.config.join("tenants").join(format!("{name}.toml"))
    }

    /// All VEs' own directories.
    pub fn ves(&self) -> PathBuf {
        self.paths.data.join("ve")
    }

    /// A VE's own directory: its disk and its state.
    pub fn ve(&self, id: VeId) -> PathBuf {
        self.ves().join(id.to_string())
    }

    /// Where a VE's directory is made before it is one.
    pub fn staging(&self, id: VeId) -> PathBuf {
        self.ves().join(format!(".creating-{id}"))
    }

    /// Where a VE's directory goes before it is removed.
    pub fn doomed(&self, id: VeId) -> PathBuf {
        self.ves().join(format!(".destroyed-{id}"))
    }

    /// What ran in a VE when it was suspended.
    pub fn dump(&self, id: VeId) -> PathBuf {
        self.ve(id).join("dump")
    }

    /// Where a VE's new disk is made while its disk moves to another driver.
    pub fn moving(&self, id: VeId) -> PathBuf {
        self.ve(id).join(".moving")
    }

    /// Where its old disk goes while it is made anew from a template.
    pub fn replaced(&self, id: VeId) -> PathBuf {
        self.ve(id).join(".replaced")
    }

    /// Where that is written before it is complete.
    pub fn dump_staging(&self, id: VeId) -> PathBuf {
        self.ve(id).join(".dump")
    }

    /// Where it goes when the VE goes on.
    pub fn dump_resumed(&self, id: VeId) -> PathBuf {
        self.ve(id).join(".resumed")
    }

    /// Space put by.
    pub fn reserve(&self) -> PathBuf {
        self.paths.data.join(".reserve")
    }

    /// What the records of all VEs say is taken, kept at hand.
    pub fn index(&self) -> PathBuf {
        self.paths.run.join("taken.json")
    }

    /// Addresses that VEs gave back a short while ago.
    pub fn aside(&self) -> PathBuf {
        self.paths.data.join("aside.json")
    }

    /// Links that `hostel init --vz` has made, a path on a line.
    pub fn dialect_links(&self) -> PathBuf {
        self.paths.data.join("vz-links")
    }

    /// What all VEs have used.
    pub fn ledger(&self) -> PathBuf {
        self.paths.data.join("ledger.db")
    }

    /// How far that is forwarded.
    pub fn forwarding(&self) -> PathBuf {
        self.paths.run.join("forwarding.json")
    }

    /// Which time of day the ledger is thinned by.
    pub fn steady(&self) -> PathBuf {
        self.paths.run.join("clock.json")
    }

    /// Notes of usage that the ledger couldn't take yet.
    pub fn usage(&self) -> PathBuf {
        self.paths.data.join("usage")
    }

    /// The same of this boot, before it has been asked.
    pub fn run_usage(&self) -> PathBuf {
        self.paths.run.join("usage")
    }

    /// When what a tenant's VEs have passed was entered last on the occasion of a start.
    pub fn caught_up(&self, tenant: &TenantName) -> PathBuf {
        self.run_usage().join(format!("{tenant}.at"))
    }

    /// Definitions of networks and tenants as they were when rules were last made of them.
    pub fn standing(&self) -> PathBuf {
        self.paths.run.join("standing")
    }

    /// Is there as long as access rules are to be in force.
    pub fn rules_due(&self) -> PathBuf {
        self.paths.run.join("rules.due")
    }

    /// What VEs are called, by network.
    pub fn all_names(&self) -> PathBuf {
        self.paths.data.join("names")
    }

    /// What the VEs on a network are called.
    pub fn names(&self, network: &NetworkName) -> PathBuf {
        self.all_names().join(network.as_str())
    }

    /// Name servers of networks, by network.
    pub fn name_servers(&self) -> PathBuf {
        self.paths.run.join("names")
    }

    /// What is known of schedules: up to when each was looked at, and how its last run went.
    pub fn schedules(&self) -> PathBuf {
        self.paths.data.join("schedules")
    }

    /// Kernel locks.
    pub fn locks(&self) -> PathBuf {
        self.paths.run.join("locks")
    }

    /// Space put by in the runtime directory.
    pub fn run_reserve(&self) -> PathBuf {
        self.paths.run.join(".reserve")
    }

    /// A VE's runtime directory: sockets, console log, records.
    pub fn run(&self, id: VeId) -> PathBuf {
        self.paths.run.join(id.to_string())
    }

    /// All runtime directories.
    pub fn runs(&self) -> PathBuf {
        self.paths.run.clone()
    }

    /// Where a stopped VE's root is mounted for repair.
    pub fn mount(&self, id: VeId) -> PathBuf {
        self.run(id).join("root")
    }

    /// Where its disk is mounted then.
    pub fn disk_mount(&self, id: VeId) -> PathBuf {
        self.run(id).join("disk")
    }

    /// What belongs to a tenant: its copies of templates.
    pub fn tenant(&self, tenant: &TenantName) -> PathBuf {
        self.paths.data.join("tenants").join(tenant.as_str())
    }

    /// What scripts of the host's owner are given as VE_ROOT: what they mount below it the VE has.
    pub fn script_root(&self, id: VeId) -> PathBuf {
        self.run(id).join("mounts")
    }

    /// What they are given as VE_CONFFILE.
    pub fn ve_conf(&self, id: VeId) -> PathBuf {
        self.run(id).join("ve.conf")
    }

    /// Is there as long as scripts of this event have begun what those of its opposite have not ended.
    pub fn begun(&self, id: VeId, event: Event) -> PathBuf {
        self.ve(id).join(format!(".begun-{event}"))
    }

    /// Everything that lasts.
    pub fn data(&self) -> PathBuf {
        self.paths.data.clone()
    }

    /// The templates.
    pub fn templates(&self) -> PathBuf {
        self.paths.templates.clone()
    }

    /// The recipes.
    pub fn images(&self) -> PathBuf {
        self.paths.images.clone()
    }

    /// What the OpenVZ tools' clients find at /etc/vz: rendered CTID.conf files and action scripts.
    pub fn openvz(&self) -> PathBuf {
        self.paths.config.join("vz/conf")
    }

    /// Everything below /etc.
    pub fn config(&self) -> PathBuf {
        self.paths.config.clone()
    }
}
