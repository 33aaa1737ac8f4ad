//! The trait on a real host: each act goes to every hierarchy, each limit to where its controller is.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hostel_model::id::VeId;
use hostel_model::limits::{CpuSet, Limits};

use super::files;
use super::freeze::{self, Freezer};
use super::inner::{self, Inner};
use super::layout::{Layout, Place};
use super::types::{BlockDevice, Facts, Hits, Limit, Placement, Support, Unenforceable, Usage};
use super::want::Want;
use super::{Cgroups, Told, devices, facts, prepare, read, roots, told, tree, v1, v2};
use crate::error::together;
use crate::{Error, Kind, Result, file};

/// What a delegated group of the v2 tree needs besides itself (cgroup-v2.rst, "Model of Delegation").
const DELEGATED: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];

/// The control groups of this host.
#[derive(Debug)]
pub struct Host {
    pub(super) layout: Layout,
    /// Looked at when first asked for.
    facts: OnceLock<Facts>,
    known: facts::Known,
    pub(super) roots: roots::Last,
}

impl Host {
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            facts: OnceLock::new(),
            known: facts::Known::default(),
            roots: roots::Last::default(),
        }
    }

    /// A VE's group in every hierarchy, that of the v2 tree first.
    fn dirs(&self, id: VeId) -> Vec<PathBuf> {
        let name = id.to_string();
        self.layout.roots().map(|root| root.join(&name)).collect()
    }

    fn freezer<T>(&self, name: &str, act: impl FnOnce(Freezer<'_>) -> Result<T>) -> Result<T> {
        if let Some(u) = &self.layout.v2 {
            return act(Freezer::V2(&u.root.join(name)));
        }
        match self.layout.place("freezer") {
            Some(Place::V1(h)) => act(Freezer::V1(&h.root.join(name))),
            _ => Err(Error::new(
                "freeze",
                name,
                "this host has no freezer: neither a v2 tree nor the v1 controller",
            )
            .kind(Kind::Unsupported)),
        }
    }

    fn place(&self, name: &str) -> Placement {
        Placement {
            join: self.layout.v1.iter().map(|h| h.root.join(name).join("tasks")).collect(),
            unified: self.layout.v2.as_ref().map(|u| u.root.join(name)),
        }
    }

    /// The processors that a VE is to run on, `None` for all. `root` is where the cpuset controller has the VEs. Two that
    /// start at the same moment may get the same ones; those that come after make up for it.
    fn bound_to(&self, root: &Path, id: VeId, limits: &Limits) -> Result<Option<CpuSet>> {
        let Some(all) = facts::processors(&self.layout).filter(|_| limits.cpu.count.is_some()) else {
            return Ok(limits.cpu.pin.clone());
        };
        let set = |id: VeId| files::read(&root.join(id.to_string()), "cpuset.cpus").map(|t| t.trim().parse().ok());
        let now = set(id)?.unwrap_or_default();
        // Others may vanish meanwhile; and an empty set is all.
        let others = self.list()?.into_iter().filter(|other| *other != id);
        let others: Vec<CpuSet> = others.filter_map(|other| set(other).ok().flatten()).collect();
        Ok(limits.cpu.bound_to(&all, &now, &others))
    }

    /// Removes one group of `<root>` in every hierarchy; all are tried, and all failures told.
    fn remove_all(&self, name: &str, deadline: Instant) -> Result<()> {
        let failures: Vec<Error> = self
            .layout
            .roots()
            .filter_map(|root| tree::remove(&root.join(name), deadline).err())
            .collect();
        together(failures)
    }
}

impl Cgroups for Host {
    fn thaw_guest(&self, id: VeId) -> Result<()> {
        let payload = format!("{id}/payload");
        // CRIU stops a guest by version 1's freezer where there is one, also where we don't.
        if let Some(Place::V1(h)) = self.layout.place("freezer") {
            Freezer::V1(&h.root.join(&payload)).thaw()?;
        }
        self.freezer(&payload, |f| f.thaw())
    }

    fn inner(&self, id: VeId) -> Result<Vec<Inner>> {
        match self.placement(id).unified {
            Some(payload) => inner::read(&payload),
            None => Ok(Vec::new()),
        }
    }

    fn make_inner(&self, id: VeId, groups: &[Inner]) -> Result<Vec<String>> {
        match self.placement(id).unified {
            Some(payload) => inner::make(&payload, groups),
            None => Ok(Vec::new()),
        }
    }

    fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| facts::probe(&self.layout))
    }

    fn support(&self, limit: Limit) -> Support {
        self.known.support(&self.layout, limit).clone()
    }

    fn unenforceable(&self, limits: &Limits) -> Vec<Unenforceable> {
        facts::unenforceable(&self.layout, limits, &self.known)
    }

    fn create(&self, id: VeId, owner: u32) -> Result<()> {
        let mut made = tree::Made::default();
        prepare::make(&self.layout, &id.to_string(), Some("payload"), &mut made)?;
        if let Some(u) = &self.layout.v2 {
            tree::give(&u.root.join(id.to_string()).join("payload"), &DELEGATED, owner)?;
        }
        match (self.layout.place("devices"), &self.layout.v2) {
            (Some(Place::V1(h)), _) => devices::confine_v1(&h.root.join(id.to_string()).join("payload"))?,
            (_, Some(u)) => devices::confine_v2(&u.root.join(id.to_string()))?,
            _ => {}
        }
        made.keep();
        Ok(())
    }

    fn delegate_legacy(&self, id: VeId, owner: u32) -> Result<()> {
        let Some(h) = self.layout.v1.iter().find(|h| h.name.as_deref() == Some("systemd")) else {
            return Err(
                Error::new("delegate name=systemd to", id, "this host has no such hierarchy")
                    .kind(Kind::Unsupported)
                    .hint("mount it: mount -t cgroup -o none,name=systemd systemd DIR"),
            );
        };
        tree::give(
            &h.root.join(id.to_string()).join("payload"),
            &["cgroup.procs", "tasks"],
            owner,
        )
    }

    fn apply(&self, id: VeId, limits: &Limits, disks: &[BlockDevice]) -> Result<()> {
        facts::check(id, limits, disks, &self.unenforceable(limits))?;
        let name = id.to_string();
        // Where there is no controller, nothing is limited and nothing is to be lifted; `check` refused the rest.
        match self.layout.place("memory") {
            Some(Place::V1(h)) => v1::memory(&h.root.join(&name), &limits.memory)?,
            Some(Place::V2(u)) => v2::memory(u, &u.root.join(&name), &limits.memory)?,
            None => {}
        }
        match self.layout.place("cpu") {
            Some(Place::V1(h)) => {
                let dir = h.root.join(&name);
                // A group's cap must not be above its parent's; where the VE's own was revealed, it must go first.
                v1::cpu(&dir, &limits.cpu).or_else(|_| {
                    v1::cap_at(&dir.join("payload"), None)?;
                    v1::cpu(&dir, &limits.cpu)
                })?;
            }
            Some(Place::V2(u)) => v2::cpu(&u.root.join(&name), &limits.cpu)?,
            None => {}
        }
        match self.layout.place("cpuset") {
            Some(Place::V1(h)) => v1::pin(
                &h.root,
                &h.root.join(&name),
                self.bound_to(&h.root, id, limits)?.as_ref(),
            )?,
            Some(Place::V2(u)) => v2::pin(
                &u.root,
                &u.root.join(&name),
                self.bound_to(&u.root, id, limits)?.as_ref(),
            )?,
            None => {}
        }
        match self.layout.place("pids") {
            Some(Place::V1(h)) => v1::processes(&h.root.join(&name), limits.processes)?,
            Some(Place::V2(u)) => v2::processes(&u.root.join(&name), limits.processes)?,
            None => {}
        }
        match self.layout.place("io") {
            Some(Place::V1(h)) => v1::io(&h.root.join(&name), &limits.io, disks),
            Some(Place::V2(u)) => v2::io(&u.root.join(&name), &limits.io, disks),
            None => Ok(()),
        }
    }

    fn reveal_cap(&self, id: VeId, cap_milli: Option<u32>) -> Result<()> {
        let payload = |root: &Path| root.join(id.to_string()).join("payload");
        match self.layout.place("cpu") {
            Some(Place::V1(h)) => v1::cap_at(&payload(&h.root), cap_milli),
            Some(Place::V2(u)) => v2::cap_at(&payload(&u.root), cap_milli),
            None => Ok(()),
        }
    }

    fn placement(&self, id: VeId) -> Placement {
        self.place(&format!("{id}/payload"))
    }

    fn attach_placement(&self, id: VeId, init_cgroup: &Path) -> Result<Placement> {
        let mut place = self.placement(id);
        let (Some(u), Some(payload)) = (&self.layout.v2, &place.unified) else {
            return Ok(place);
        };
        let text = file::read(init_cgroup)?;
        // The line of the v2 tree (proc_pid_cgroup(5)); guests can name groups as they like, but not with '/'.
        let path = text
            .lines()
            .find_map(|l| l.strip_prefix("0::/"))
            .map(|p| u.mount.join(p));
        match path {
            Some(p) if p.starts_with(payload) && !p.components().any(|c| c == Component::ParentDir) => {
                place.unified = Some(p);
                Ok(place)
            }
            other => {
                let found = other.map_or_else(|| "in no group".to_owned(), |p| format!("in {}", p.display()));
                Err(Error::new(
                    "attach to VE",
                    id,
                    format!("its init is {found}, not below {}", payload.display()),
                ))
            }
        }
    }

    fn monitor_placement(&self) -> Result<Placement> {
        let mut made = tree::Made::default();
        prepare::make(&self.layout, "monitor", None, &mut made)?;
        made.keep();
        Ok(self.place("monitor"))
    }

    fn usage(&self, id: VeId) -> Result<Usage> {
        self.measure(id, Want::USAGE).map(|(usage, _)| usage)
    }

    fn hits(&self, id: VeId) -> Hits {
        self.measure(id, Want::ALL_HITS)
            .map(|(_, hits)| hits)
            .unwrap_or_default()
    }

    fn measure(&self, id: VeId, want: Want) -> Result<(Usage, Hits)> {
        self.gather(id, want, None)
    }

    fn measure_again(&self, id: VeId, want: Want, last: &(Usage, Hits)) -> Result<(Usage, Hits)> {
        self.gather(id, want, Some(last))
    }

    fn told(&self, id: VeId) -> Told {
        told::told(&self.layout, id)
    }

    fn processes(&self, id: VeId) -> Result<Vec<u32>> {
        // All hierarchies, as a start that was cut short may have put a process into some of them only.
        let dirs = self.dirs(id);
        freeze::all(&dirs.iter().map(PathBuf::as_path).collect::<Vec<_>>())
    }

    fn freeze_unless(&self, id: VeId, timeout: Duration, interrupted: &AtomicBool) -> Result<()> {
        self.freezer(&id.to_string(), |f| f.freeze(timeout, interrupted))
    }

    fn thaw(&self, id: VeId) -> Result<()> {
        self.freezer(&id.to_string(), |f| f.thaw())
    }

    fn is_frozen(&self, id: VeId) -> Result<bool> {
        if let Some(u) = &self.layout.v2
            && let Some(root) = self.roots.get(&self.layout).of(&self.layout, &u.root)
            && let mut text = Vec::with_capacity(64)
            && file::read_into(root, Path::new(&format!("{id}/cgroup.events")), &mut text).is_ok()
        {
            return Ok(freeze::says_frozen(&text));
        }
        self.freezer(&id.to_string(), |f| f.is_frozen())
    }

    fn kill(&self, id: VeId) -> Result<()> {
        let mut dirs = self.dirs(id);
        if self.layout.v2.is_some() {
            let path = dirs[0].join("cgroup.kill");
            match files::try_write(&path, "1") {
                // What is left is what a start that was cut short put into v1 groups only.
                Ok(()) => drop(dirs.remove(0)),
                // No such group, or a kernel before 5.14.
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {}
                Err(e) => return Err(Error::os("kill by", path.display(), e)),
            }
        }
        let groups: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
        if dirs.len() == self.layout.roots().count() && !freeze::all(&groups)?.is_empty() {
            // So that a fork bomb doesn't outrun us. Should it fail, the loop still tries.
            let _ = self.freeze(id, Duration::from_secs(1));
        }
        let killed = freeze::kill_each(&groups);
        // Whoever froze it: v1 delivers the signal only then.
        let thawed = match self.thaw(id) {
            Err(e) if !matches!(e.kind, Kind::NotFound | Kind::Unsupported) => Err(e),
            _ => Ok(()),
        };
        killed.and(thawed)
    }

    fn exists(&self, id: VeId) -> bool {
        let name = id.to_string();
        self.layout.roots().any(|root| root.join(&name).exists())
    }

    fn remove(&self, id: VeId, timeout: Duration) -> Result<()> {
        let name = id.to_string();
        let guaranteed = self.layout.v2.as_ref().filter(|u| {
            files::read(&u.root.join(&name), "memory.min").is_ok_and(|t| read::number(&t).is_some_and(|n| n > 0))
        });
        let removed = self
            .remove_all(&name, Instant::now() + timeout)
            .map_err(|e| self.name_the_living(id, e));
        let settled = guaranteed.map_or(Ok(()), v2::settle_guarantees);
        removed.and(settled)
    }

    fn list(&self) -> Result<Vec<VeId>> {
        let mut ids = Vec::new();
        for root in self.layout.roots() {
            let fail = |e: io::Error| Error::os("list control groups in", root.display(), e);
            let entries = match std::fs::read_dir(root) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(fail)?,
            };
            for entry in entries {
                let entry = entry.map_err(fail)?;
                let id = entry.file_name().to_str().and_then(|n| n.parse::<VeId>().ok());
                // "0101" parses too, but isn't a name that we give.
                if let Some(id) = id.filter(|id| entry.file_name().to_str() == Some(&id.to_string())) {
                    ids.push(id);
                }
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    fn remove_root(&self) -> Result<()> {
        let left = self.list()?;
        if !left.is_empty() {
            let list: Vec<String> = left.iter().map(ToString::to_string).collect();
            let why = format!("VEs have groups in it: {}", list.join(", "));
            return Err(Error::new("remove", "the root of the control groups", why)
                .kind(Kind::Busy)
                .hint("stop and destroy them first"));
        }
        let deadline = Instant::now() + Duration::from_secs(1);
        self.remove_all("monitor", deadline)?;
        let failures = self
            .layout
            .roots()
            .filter_map(|root| match rustix::fs::rmdir(root) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => None,
                Err(e) => Some(Error::os("remove control group", root.display(), e)),
            })
            .collect();
        together(failures)
    }
}
