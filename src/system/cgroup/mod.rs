//! Control groups of both kinds behind one trait: limits, readings, freezing, killing, removing.
//!
//! A VE's group is `<root>/<id>/`, which carries the limits, and `<root>/<id>/payload/` inside it, which holds the
//! processes and is the guest's cgroup namespace root. On the v2 tree the payload is delegated to the guest; in v1
//! hierarchies it isn't. `<root>/monitor` holds the monitors, outside all limits of VEs.
//!
//! A host's controllers may lie in v1 hierarchies, in the v2 tree, or some here and some there; each limit goes
//! where its controller is. Facts about files are from the kernel's admin-guide/cgroup-v2.rst and
//! admin-guide/cgroup-v1/*.rst.

mod device_program;
mod devices;
mod facts;
mod fake;
mod files;
mod freeze;
mod gather;
mod host;
mod inner;
mod layout;
mod look;
mod prepare;
mod read;
mod roots;
#[cfg(test)]
mod tests;
mod told;
mod tree;
mod types;
mod v1;
mod v2;
mod want;
mod weight;

use std::fmt::Debug;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hostel_model::id::VeId;
use hostel_model::limits::Limits;

pub use fake::{FakeCgroups, FakeVe};
pub use inner::Inner;
pub use told::{Spots, Told};
pub use types::{
    BlockDevice, Controller, CpuTime, DeviceIo, Facts, Hits, Kind, Limit, Placement, Pressure, Support, Throttled,
    Unenforceable, Usage, Version,
};

pub use want::Want;

use crate::{Result, file};

/// Everything Hostel does with control groups. Every act is safe to repeat.
pub trait Cgroups: Send + Sync + Debug {
    /// What this host has and can hold, as found when first asked for.
    fn facts(&self) -> &Facts;

    /// Whether one limit can be held here. Only that one is looked into.
    fn support(&self, limit: Limit) -> Support;

    /// Which of these limits this host can't hold, and why. [`Cgroups::apply`] refuses them.
    fn unenforceable(&self, limits: &Limits) -> Vec<Unenforceable>;

    /// Makes the groups of a VE in every hierarchy. `owner` is the host uid and gid of the VE's root, who gets the
    /// payload group of the v2 tree. On failure the groups made by this call are removed again.
    fn create(&self, id: VeId, owner: u32) -> Result<()>;

    /// Gives the payload group of the v1 hierarchy `name=systemd` to the guest too: for guests whose systemd is too
    /// old (before 230) to run on the v2 tree. That hierarchy carries no controller. The VE must have been created.
    fn delegate_legacy(&self, id: VeId, owner: u32) -> Result<()>;

    /// Sets all limits of a VE: those that are `None` are lifted. `disks` are the block devices that the io limits
    /// are for. Safe on a running VE. Memory comes first, as lowering it is what a busy VE may refuse
    /// ([`crate::Kind::Busy`]); then nothing has changed.
    fn apply(&self, id: VeId, limits: &Limits, disks: &[BlockDevice]) -> Result<()>;

    /// Gives the payload group the VE's own cap on processors, in thousandths of one, or takes it away there. It limits
    /// nothing further, but shows those who look only at the group that a VE's processes are in (lxcfs). The cap itself
    /// must have been applied.
    fn reveal_cap(&self, id: VeId, cap_milli: Option<u32>) -> Result<()>;

    /// Where a starter puts a VE's first process.
    fn placement(&self, id: VeId) -> Placement;

    /// Where to put a process that joins a running VE. `init_cgroup` is `/proc/PID/cgroup` of its init, whose v2 group
    /// it joins: the guest's systemd moves itself down and hands controllers on, and then the kernel lets nobody into
    /// the payload group itself any more (`EBUSY`; cgroup-v2.rst, "No Internal Process Constraint").
    fn attach_placement(&self, id: VeId, init_cgroup: &Path) -> Result<Placement>;

    /// Where monitors live, outside all limits of VEs; made if missing.
    fn monitor_placement(&self) -> Result<Placement>;

    /// What a VE uses and has used. What can't be read is `None`. Fails only if the VE has no group at all.
    fn usage(&self, id: VeId) -> Result<Usage>;

    /// How often it has run into its limits, and how far it has come. All `None` if it has no group.
    fn hits(&self, id: VeId) -> Hits;

    /// Where the kernel tells the most of these. Nothing is read.
    fn told(&self, id: VeId) -> Told;

    /// Of both only what is wanted, for what looks at many VEs: each file is read once. Fails as [`Cgroups::usage`] does.
    fn measure(&self, id: VeId, want: Want) -> Result<(Usage, Hits)>;

    /// The same of a VE that was measured before, in the same run, and of which as much was wanted: what can't have changed,
    /// as no process of it has run since, is not read again.
    fn measure_again(&self, id: VeId, want: Want, last: &(Usage, Hits)) -> Result<(Usage, Hits)>;

    /// The process ids in a VE, as the host sees them, rising. Empty if there is no group.
    fn processes(&self, id: VeId) -> Result<Vec<u32>>;

    /// Stops all processes of a VE in their tracks and waits until they are. If that takes longer than `timeout`,
    /// they run on and the error is [`crate::Kind::TimedOut`].
    fn freeze(&self, id: VeId, timeout: Duration) -> Result<()> {
        self.freeze_unless(id, timeout, &AtomicBool::new(false))
    }

    /// The same; they run on as well if `interrupted` is raised meanwhile, and the error is [`crate::Kind::Interrupted`].
    fn freeze_unless(&self, id: VeId, timeout: Duration, interrupted: &AtomicBool) -> Result<()>;

    /// Lets them run again.
    fn thaw(&self, id: VeId) -> Result<()>;

    /// Lets those run again that stand still in the guest's own group, where CRIU stops them; fine if none do.
    fn thaw_guest(&self, id: VeId) -> Result<()>;

    /// Whether all processes of a VE are stopped.
    fn is_frozen(&self, id: VeId) -> Result<bool>;

    /// Sends SIGKILL to every process of a VE, frozen ones too, and leaves it thawed. Doesn't wait for their end.
    fn kill(&self, id: VeId) -> Result<()>;

    /// The groups that the guest has made in the v2 tree, its own first; empty if there is none.
    fn inner(&self, id: VeId) -> Result<Vec<Inner>>;

    /// Makes them again in a VE that has been created. Answers the settings that this kernel doesn't take back.
    fn make_inner(&self, id: VeId, groups: &[Inner]) -> Result<Vec<String>>;

    /// Whether a VE has a group in any hierarchy.
    fn exists(&self, id: VeId) -> bool;

    /// Removes a VE's groups in every hierarchy with all that the guest made below. Tasks that are still dying are
    /// waited for, up to `timeout`; then the error is [`crate::Kind::Busy`] and names them. A hierarchy that fails
    /// doesn't keep the others from being cleaned.
    fn remove(&self, id: VeId, timeout: Duration) -> Result<()>;

    /// The VEs that have a group in any hierarchy, rising.
    fn list(&self) -> Result<Vec<VeId>>;

    /// Removes `<root>` and the monitors' group in every hierarchy, if no VE has a group.
    fn remove_root(&self) -> Result<()>;
}

/// Opens the control groups of a host. `mounts` is `/proc/self/mounts`, `self_cgroup` is `/proc/self/cgroup`.
///
/// `root_name` is the group under which all VEs live, the same in every hierarchy: a name such as `hostel`, or a path
/// such as `hostel.slice/hostel-ves.service/ve` where systemd has delegated a unit (`Delegate=yes`). It is looked for
/// at the top of each hierarchy, so that every process of Hostel finds the same one wherever it was started from.
/// Only where the top can't be written (inside a container) it lies below the caller's own group.
pub fn open(mounts: &Path, self_cgroup: &Path, root_name: &str) -> Result<Box<dyn Cgroups>> {
    let own = file::read_opt(self_cgroup)?.unwrap_or_default();
    let layout = layout::Layout::find(&file::read(mounts)?, &own, root_name)?;
    Ok(Box::new(host::Host::new(layout)))
}
