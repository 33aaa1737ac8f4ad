//! What this host can hold, and why not.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hostel_model::id::VeId;
use hostel_model::limits::{CpuSet, Limits};

use super::layout::{Layout, Place};
use super::types::{BlockDevice, Controller, Facts, Limit, Support, Unenforceable, Version};
use super::{devices, files, v2};
use crate::{Error, Kind, Result};

/// Looks at the host once.
pub fn probe(layout: &Layout) -> Facts {
    let mut controllers: Vec<Controller> = Vec::new();
    for h in &layout.v1 {
        let of = |name: &String| Controller {
            name: name.clone(),
            version: Version::V1,
            mount: h.mount.clone(),
        };
        controllers.extend(h.controllers.iter().map(of));
    }
    if let Some(u) = &layout.v2 {
        let used = u.controllers.iter().filter(|c| v2::CONTROLLERS.contains(&c.as_str()));
        let of = |name: &String| Controller {
            name: name.clone(),
            version: Version::V2,
            mount: u.mount.clone(),
        };
        controllers.extend(used.map(of));
    }
    controllers.sort_by(|a, b| a.name.cmp(&b.name));
    let limits = Limit::ALL.map(|l| (l, support(layout, l))).to_vec();
    Facts {
        kind: layout.kind,
        controllers,
        limits,
        devices: devices::support(layout),
    }
}

/// What has been looked into so far: every command asks several times.
#[derive(Debug, Default)]
pub struct Known([OnceLock<Support>; Limit::ALL.len()]);

impl Known {
    pub fn support(&self, layout: &Layout, limit: Limit) -> &Support {
        self.0[limit as usize].get_or_init(|| support(layout, limit))
    }
}

/// Which of the given limits can't be held. Only what is asked for is looked into: a start must not cost more the more
/// block devices there are.
pub fn unenforceable(layout: &Layout, limits: &Limits, known: &Known) -> Vec<Unenforceable> {
    let why_not = |limit: Limit| match known.support(layout, limit) {
        Support::No(why) => Some(why.clone()),
        Support::Full | Support::Partly(_) => None,
    };
    let mut out: Vec<Unenforceable> = asked(limits)
        .filter_map(|limit| why_not(limit).map(|why| Unenforceable { limit, why }))
        .collect();
    let mut also = |limit: Limit, why: String| {
        if out.iter().all(|u| u.limit != limit) {
            out.push(Unenforceable { limit, why });
        }
    };
    let v1_memory = matches!(layout.place("memory"), Some(Place::V1(_)));
    if limits.memory.swap.is_some() && limits.memory.limit.is_none() && v1_memory {
        also(
            Limit::Swap,
            "cgroup v1 limits memory and swap together, so it needs memory.limit beside it".into(),
        );
    }
    if let Some((pin, here)) = limits.cpu.pin.as_ref().zip(processors(layout))
        && !pin.is_within(&here)
    {
        also(
            Limit::CpuPin,
            format!("this host has the processors {here}, not all of {pin}"),
        );
    }
    out
}

/// Refuses limits that can't be held or make no sense, before anything is touched.
pub fn check(id: VeId, limits: &Limits, disks: &[BlockDevice], cannot: &[Unenforceable]) -> Result<()> {
    let refuse = |kind, why: String| Err(Error::new("limit VE", id, why).kind(kind));
    if !cannot.is_empty() {
        let list: Vec<String> = cannot.iter().map(ToString::to_string).collect();
        return refuse(Kind::Unsupported, format!("this host can't hold {}", list.join("; ")));
    }
    if limits.cpu.cap_milli == Some(0) {
        return refuse(Kind::Invalid, "a cap of no processor time at all".into());
    }
    if limits.cpu.count == Some(0) {
        return refuse(Kind::Invalid, "no processor at all".into());
    }
    let weights = [("cpu.weight", limits.cpu.weight), ("io.weight", limits.io.weight)];
    for (key, weight) in weights.iter().filter_map(|(k, w)| Some((k, (*w)?))) {
        if !(1..=10_000).contains(&weight) {
            return refuse(Kind::Invalid, format!("{key} is {weight}; weights go from 1 to 10000"));
        }
    }
    let io = &limits.io;
    let zero = io.read_bytes.is_some_and(|b| b.get() == 0)
        || io.write_bytes.is_some_and(|b| b.get() == 0)
        || io.read_ops == Some(0)
        || io.write_ops == Some(0);
    if zero {
        return refuse(Kind::Invalid, "an io limit of 0 (which v1 takes for none)".into());
    }
    let bandwidth = io.read_bytes.is_some() || io.write_bytes.is_some() || io.read_ops.or(io.write_ops).is_some();
    if bandwidth && disks.is_empty() {
        return refuse(
            Kind::Unsupported,
            "its disk is on no block device that io limits could be set for".into(),
        );
    }
    Ok(())
}

/// The limits that aren't `None`.
pub(super) fn asked(limits: &Limits) -> impl Iterator<Item = Limit> {
    Limit::ALL.into_iter().filter(|l| l.is_set(limits))
}

/// The processors that VEs may be given.
pub(super) fn processors(layout: &Layout) -> Option<CpuSet> {
    let text = match layout.place("cpuset")? {
        Place::V1(h) => files::read(&h.base, "cpuset.cpus"),
        Place::V2(u) => files::read(&u.base, "cpuset.cpus.effective"),
    };
    text.ok()?.trim().parse().ok()
}

fn support(layout: &Layout, limit: Limit) -> Support {
    match limit {
        Limit::CpuCap => file(layout, "cpu", "cpu.cfs_quota_us", "CONFIG_CFS_BANDWIDTH"),
        Limit::CpuWeight => file(layout, "cpu", "cpu.shares", "CONFIG_FAIR_GROUP_SCHED"),
        Limit::CpuPin | Limit::CpuCount => file(layout, "cpuset", "cpuset.cpus", "CONFIG_CPUSETS"),
        Limit::Memory => file(layout, "memory", "memory.limit_in_bytes", "CONFIG_MEMCG"),
        Limit::Swap => swap(layout),
        Limit::Guarantee => guarantee(layout),
        Limit::Processes => controller(layout, "pids"),
        Limit::ReadBytes => file(
            layout,
            "io",
            "blkio.throttle.read_bps_device",
            "CONFIG_BLK_DEV_THROTTLING",
        ),
        Limit::ReadOps => file(
            layout,
            "io",
            "blkio.throttle.read_iops_device",
            "CONFIG_BLK_DEV_THROTTLING",
        ),
        Limit::WriteBytes => cached(layout, "blkio.throttle.write_bps_device"),
        Limit::WriteOps => cached(layout, "blkio.throttle.write_iops_device"),
        Limit::IoWeight => io_weight(layout),
    }
}

fn controller(layout: &Layout, name: &str) -> Support {
    match layout.place(name) {
        Some(_) => Support::Full,
        None => Support::No(format!(
            "the controller \"{name}\" is neither in a v1 hierarchy nor in the v2 tree; the kernel lacks it or was \
             started with cgroup_disable={name}"
        )),
    }
}

/// In v1, the top group shows what the kernel was built with. In v2 it doesn't; a missing file is an error on use.
fn file(layout: &Layout, name: &str, v1_file: &str, option: &str) -> Support {
    match layout.place(name) {
        Some(Place::V1(h)) if !h.mount.join(v1_file).exists() => {
            Support::No(format!("the kernel has no {v1_file}; it was built without {option}"))
        }
        _ => controller(layout, name),
    }
}

fn swap(layout: &Layout) -> Support {
    const OFF: &str = "the kernel doesn't count swap by group; start it with swapaccount=1";
    match layout.place("memory") {
        Some(Place::V1(h)) if !h.mount.join("memory.memsw.limit_in_bytes").exists() => Support::No(OFF.into()),
        Some(Place::V2(u)) => {
            // Only groups below the top have the file: look at one that has the controller, before and after. One that has
            // gone meanwhile tells nothing.
            let counts = |group: PathBuf| {
                let has = |file: &str| group.join(file).exists();
                let told = |counts: bool| has("memory.max").then_some(counts);
                told(true).and_then(|_| told(has("memory.swap.max")))
            };
            match groups(&u.base).find_map(counts) {
                Some(false) => Support::No(OFF.into()),
                _ => Support::Full,
            }
        }
        _ => controller(layout, "memory"),
    }
}

fn guarantee(layout: &Layout) -> Support {
    match layout.place("memory") {
        Some(Place::V1(_)) => {
            Support::No("cgroup v1 can't guarantee memory (its soft limit only says whom to take from first)".into())
        }
        Some(Place::V2(u)) if !u.recursive_protection => Support::No(format!(
            "the v2 tree doesn't pass guarantees on to the groups inside a VE; run: mount -o \
             remount,nsdelegate,memory_recursiveprot {}",
            u.mount.display()
        )),
        _ => controller(layout, "memory"),
    }
}

/// Writes through the page cache are the kernel's own on v1.
fn cached(layout: &Layout, v1_file: &str) -> Support {
    match (
        file(layout, "io", v1_file, "CONFIG_BLK_DEV_THROTTLING"),
        layout.place("io"),
    ) {
        (Support::Full, Some(Place::V1(_))) => Support::Partly(
            "cgroup v1 holds direct and synchronous writes to it, not those that go through the page cache".into(),
        ),
        (other, _) => other,
    }
}

/// BFQ weighs the queues of tasks, and a loop device's work is done by the kernel's, as measured (docs/HOSTS.md).
const EQUAL: &str =
    "BFQ gives equal shares to VEs whose disks have the driver image; other drivers' VEs get them by weight";

/// A weight needs someone who obeys it: the BFQ scheduler, or the cost model of v2.
fn io_weight(layout: &Layout) -> Support {
    let Some(place) = layout.place("io") else {
        return controller(layout, "io");
    };
    let bfq = || layout.sysfs.as_deref().is_some_and(|sysfs| bfq_in_use(layout, sysfs));
    let why = "no disk uses the BFQ scheduler; choose it with: echo bfq > /sys/block/DISK/queue/scheduler";
    match place {
        Place::V1(h) => {
            let file = |name: &str| h.mount.join(name).exists();
            // The weight itself isn't shown at the top, but BFQ's statistics are; CFQ had `leaf_weight` there.
            if file("blkio.leaf_weight") {
                Support::Full
            } else if file("blkio.bfq.io_service_bytes") && bfq() {
                Support::Partly(EQUAL.into())
            } else if !file("blkio.bfq.io_service_bytes") {
                Support::No("the kernel has no weights for disks; it was built without CONFIG_BFQ_GROUP_IOSCHED".into())
            } else {
                Support::No(why.into())
            }
        }
        Place::V2(u) => {
            let cost = files::read(&u.mount, "io.cost.qos").is_ok_and(|t| t.contains("enable=1"));
            if cost {
                Support::Full
            } else if bfq() {
                Support::Partly(EQUAL.into())
            } else {
                Support::No(format!("{why}, or switch the cost model on in io.cost.qos"))
            }
        }
    }
}

/// Does a disk use BFQ? Of those that something is mounted from, and of all if none of these is known to sysfs. To look at
/// all takes the longer the more VEs there are, as each has a loop device.
fn bfq_in_use(layout: &Layout, sysfs: &Path) -> bool {
    let known = sysfs.join("class/block");
    let mounted: Vec<PathBuf> = layout
        .disks
        .iter()
        // Volumes are links to a device of another name.
        .filter_map(|disk| Some(known.join(disk.canonicalize().as_ref().unwrap_or(disk).file_name()?)))
        .filter(|disk| disk.exists())
        .collect();
    if mounted.is_empty() {
        return groups(&sysfs.join("block"))
            .filter(|disk| is_disk(disk))
            .any(|disk| has_bfq(&disk));
    }
    mounted.iter().any(|disk| has_bfq(disk))
}

fn is_disk(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !["loop", "ram", "zram"].iter().any(|prefix| name.starts_with(prefix))
}

/// The scheduler in use stands in brackets: `none mq-deadline [bfq]`. A partition has that of its disk, and a volume those of
/// the disks that it is of.
fn has_bfq(disk: &Path) -> bool {
    let is = |file: &str| files::try_read(&disk.join(file)).is_ok_and(|text| text.contains("[bfq]"));
    is("queue/scheduler")
        || (disk.join("partition").exists() && is("../queue/scheduler"))
        || groups(&disk.join("slaves")).any(|below| has_bfq(&below))
}

/// The entries of a directory; none if it can't be read.
fn groups(dir: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|e| Some(e.ok()?.path()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A disk with a partition, and a volume of that, as sysfs shows them; another disk that nothing is mounted from.
    fn sysfs(scheduler: &str) -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let at = |path: &str| sys.path().join(path);
        for dir in ["sda/queue", "sda/sda1", "dm-0/queue", "dm-0/slaves", "sdb/queue"] {
            fs::create_dir_all(at("devices").join(dir)).unwrap();
        }
        fs::write(at("devices/sda/queue/scheduler"), scheduler).unwrap();
        fs::write(at("devices/sda/sda1/partition"), "1\n").unwrap();
        fs::write(at("devices/dm-0/queue/scheduler"), "none\n").unwrap();
        fs::write(at("devices/sdb/queue/scheduler"), "none mq-deadline [bfq]\n").unwrap();
        symlink("../../sda/sda1", at("devices/dm-0/slaves/sda1")).unwrap();
        for (dir, names) in [
            ("class/block", ["sda", "sda/sda1", "dm-0", "sdb"].as_slice()),
            ("block", &["sda", "sdb"]),
        ] {
            fs::create_dir_all(at(dir)).unwrap();
            for name in names {
                let link = at(dir).join(Path::new(name).file_name().unwrap());
                symlink(at("devices").join(name), link).unwrap();
            }
        }
        sys
    }

    fn in_use(scheduler: &str, sources: &[&str]) -> bool {
        let sys = sysfs(scheduler);
        let mounts: String = sources.iter().map(|s| format!("{s} /mnt ext4 rw 0 0\n")).collect();
        let mounts = format!("cgroup2 /nowhere/cgroup cgroup2 rw 0 0\n{mounts}");
        bfq_in_use(&Layout::find(&mounts, "", "hostel").unwrap(), sys.path())
    }

    #[test]
    fn a_scheduler_is_that_of_the_disks_which_something_is_mounted_from() {
        for source in ["/dev/sda", "/dev/sda1", "/dev/dm-0"] {
            assert!(in_use("mq-deadline [bfq]\n", &["tmpfs", source]), "{source}");
            assert!(
                !in_use("[mq-deadline] bfq\n", &["/dev/loop3", source, source]),
                "{source}"
            );
        }
        // A name that sysfs doesn't know says nothing: all disks are looked at.
        assert!(in_use("[mq-deadline] bfq\n", &["/dev/root"]));
        assert!(in_use("[mq-deadline] bfq\n", &["overlay"]));
        assert!(in_use("[mq-deadline] bfq\n", &["/dev/sda1", "/dev/sdb"]));
    }
}
