//! Limits in the v2 tree.
//!
//! `memory.high` is left alone: it slows a VE down without end where `memory.max` lets its own OOM killer decide,
//! and a customer can't tell the first from a broken host. It is used only while a limit is lowered. The guarantee is
//! `memory.min`; `memory.low` would hold only while nobody is short, and is left alone too.

use std::io;
use std::path::Path;

use hostel_model::limits::{CpuLimits, CpuSet, IoLimits, MemoryLimits};
use hostel_model::units::Bytes;

use super::layout::Unified;
use super::types::BlockDevice;
use super::v1::{PERIOD_US, bfq_weight, cap, mib};
use super::{files, read};
use crate::{Error, Kind, Result};

/// The controllers that Hostel has limits or readings for.
pub const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The most groups a guest may make below its payload, and how deep. A group costs the host kernel memory that no
/// limit of the VE counts; a large systemd guest has some hundreds.
const MAX_DESCENDANTS: &str = "10000";
const MAX_DEPTH: &str = "32";

/// Hands the controllers of a group on to the groups in it, those that it has and that aren't handed on yet.
pub fn enable(dir: &Path) -> Result<()> {
    let listed = |file| files::read(dir, file);
    let (have, on) = (listed("cgroup.controllers")?, listed("cgroup.subtree_control")?);
    let missing: Vec<String> = CONTROLLERS
        .iter()
        .filter(|c| have.split_whitespace().any(|h| h == **c) && !on.split_whitespace().any(|o| o == **c))
        .map(|c| format!("+{c}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    files::write(dir, "cgroup.subtree_control", &missing.join(" ")).map_err(|e| match e.kind {
        Kind::Busy => e.hint(
            "processes are in this very group, and the v2 tree has them in leaves only: move them into a group of \
             their own (a unit with Delegate=yes needs DelegateSubgroup=)",
        ),
        _ => e,
    })
}

/// Bounds what a guest can build below.
pub fn bound(dir: &Path) -> Result<()> {
    files::write_if_new(dir, "cgroup.max.descendants", MAX_DESCENDANTS)?;
    files::write_if_new(dir, "cgroup.max.depth", MAX_DEPTH)
}

/// Cap and weight.
pub fn cpu(dir: &Path, limits: &CpuLimits) -> Result<()> {
    cap_at(dir, limits.cap_milli)?;
    files::write_if_new(dir, "cpu.weight", &limits.weight.unwrap_or(100).to_string())
}

/// A cap in thousandths of a processor.
pub fn cap_at(dir: &Path, cap_milli: Option<u32>) -> Result<()> {
    let max = cap_milli.map_or_else(
        || format!("max {PERIOD_US}"),
        |milli| {
            let (quota, period) = cap(milli);
            format!("{quota} {period}")
        },
    );
    files::write_if_new(dir, "cpu.max", &max)
}

/// Pins a VE. An empty set means that of the parent (the kernel wants a line end at least); but some kernels (6.1,
/// for one) refuse to empty the set of a group in use with ENOSPC, and then it gets all that the root has.
pub fn pin(root: &Path, dir: &Path, pin: Option<&CpuSet>) -> Result<()> {
    let text = pin.map(CpuSet::to_string).unwrap_or_default();
    let now = files::read(dir, "cpuset.cpus")?;
    if now.trim() == text {
        return Ok(());
    }
    if pin.is_some() {
        return files::write(dir, "cpuset.cpus", &text);
    }
    match files::write(dir, "cpuset.cpus", "\n") {
        Err(e) if e.kind == Kind::NoSpace => {
            files::write_if_new(dir, "cpuset.cpus", files::read(root, "cpuset.cpus.effective")?.trim())
        }
        other => other,
    }
}

/// Memory, swap and the guarantee.
pub fn memory(tree: &Unified, dir: &Path, limits: &MemoryLimits) -> Result<()> {
    let limit = limits.limit.map(Bytes::get);
    let max = amount(limits.limit);
    if files::read(dir, "memory.max")?.trim_end() != max {
        if let Some(limit) = limit {
            make_room(dir, limit)?;
        }
        files::write(dir, "memory.max", &max)?;
    }
    // One that was killed while it made room has left it lowered.
    files::write_if_new(dir, "memory.high", "max")?;
    // Where swap accounting is off the file is missing; then there is nothing to lift.
    if limits.swap.is_some() || dir.join("memory.swap.max").exists() {
        files::write_if_new(dir, "memory.swap.max", &amount(limits.swap))?;
    }
    let guarantee = limits.guarantee.map_or(0, Bytes::get);
    let page = files::page_size();
    if guarantee_of(dir) != Some(guarantee / page * page) {
        files::write(dir, "memory.min", &guarantee.to_string())?;
        settle_guarantees(tree)?;
    }
    Ok(())
}

fn amount(bytes: Option<Bytes>) -> String {
    let page = files::page_size();
    bytes.map_or_else(|| "max".to_owned(), |b| (b.get() / page * page).to_string())
}

/// Lowering `memory.max` below what is in use kills processes (cgroup-v2.rst); people who lower a limit don't expect
/// that, and v1 refuses. So first ask for the memory by `memory.high`, and refuse too if not enough comes back.
fn make_room(dir: &Path, limit: u64) -> Result<()> {
    let used = || {
        files::read(dir, "memory.current")
            .ok()
            .as_deref()
            .and_then(read::number)
            .unwrap_or(0)
    };
    if used() <= limit {
        return Ok(());
    }
    files::write(dir, "memory.high", &limit.to_string())?;
    let left = used();
    files::write(dir, "memory.high", "max")?;
    if left <= limit {
        return Ok(());
    }
    let path = dir.join("memory.max");
    Err(
        files::failed(&path, &limit.to_string(), io::Error::from_raw_os_error(libc::EBUSY)).hint(format!(
            "in use: {}, and the kernel could not free enough for {}; lower it when less is used",
            mib(left),
            mib(limit)
        )),
    )
}

fn guarantee_of(dir: &Path) -> Option<u64> {
    files::try_read(&dir.join("memory.min"))
        .ok()
        .as_deref()
        .and_then(read::number)
}

/// A guarantee counts only within that of the group above, and what the group above has over is shared out among all
/// in it. So `<root>`, and the groups above it, guarantee exactly the sum of their VEs.
///
/// The lock keeps two of us from writing sums that each miss the other's change.
pub fn settle_guarantees(tree: &Unified) -> Result<()> {
    let fail = |e: io::Error| Error::os("sum the guarantees in", tree.root.display(), e);
    let root = match std::fs::File::open(&tree.root) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(fail)?,
    };
    root.lock().map_err(fail)?;
    for dir in tree
        .root
        .ancestors()
        .take_while(|d| *d != tree.base && *d != tree.mount)
    {
        let mut sum = 0u64;
        for entry in std::fs::read_dir(dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_type().map_err(fail)?.is_dir() {
                sum = sum.saturating_add(guarantee_of(&entry.path()).unwrap_or(0));
            }
        }
        if dir == tree.root || guarantee_of(dir).is_some_and(|now| now < sum) {
            files::write_if_new(dir, "memory.min", &sum.to_string())?;
        }
    }
    Ok(())
}

/// The most processes and threads.
pub fn processes(dir: &Path, limit: Option<u64>) -> Result<()> {
    files::write_if_new(
        dir,
        "pids.max",
        &limit.map_or_else(|| "max".to_owned(), |n| n.to_string()),
    )
}

/// Bandwidth on the given disks; limits on any other disk are lifted. And the weight, where the kernel has one.
pub fn io(dir: &Path, limits: &IoLimits, disks: &[BlockDevice]) -> Result<()> {
    let max = |n: Option<u64>| n.map_or_else(|| "max".to_owned(), |n| n.to_string());
    let bytes = |b: Option<Bytes>| max(b.map(Bytes::get));
    let wanted = format!(
        "rbps={} wbps={} riops={} wiops={}",
        bytes(limits.read_bytes),
        bytes(limits.write_bytes),
        max(limits.read_ops),
        max(limits.write_ops)
    );
    const NONE: &str = "rbps=max wbps=max riops=max wiops=max";
    let text = files::read(dir, "io.max")?;
    let now: Vec<(BlockDevice, &str)> = text
        .lines()
        .filter_map(|l| l.split_once(' '))
        .filter_map(|(device, rest)| Some((read::device(device)?, rest.trim_end())))
        .collect();
    for (disk, _) in now.iter().filter(|(d, rest)| !disks.contains(d) && *rest != NONE) {
        files::write(dir, "io.max", &format!("{disk} {NONE}"))?;
    }
    for disk in disks {
        let present = now.iter().find(|(d, _)| d == disk).map_or(NONE, |(_, rest)| rest);
        if present != wanted {
            files::write(dir, "io.max", &format!("{disk} {wanted}"))?;
        }
    }
    io_weight(dir, limits.weight)
}

/// The cost model reads `io.weight`, the BFQ scheduler `io.bfq.weight`; which of them is at work may differ by disk.
fn io_weight(dir: &Path, weight: Option<u16>) -> Result<()> {
    let default = weight.unwrap_or(100);
    let mut any = false;
    for (file, value) in [
        ("io.weight", u64::from(default)),
        ("io.bfq.weight", bfq_weight(default)),
    ] {
        let Ok(now) = files::try_read(&dir.join(file)) else {
            continue;
        };
        any = true;
        let line = now.lines().next().unwrap_or_default();
        if line.strip_prefix("default ").unwrap_or(line).trim() != value.to_string() {
            files::write(dir, file, &format!("default {value}"))?;
        }
    }
    if any || weight.is_none() {
        return Ok(());
    }
    Err(files::failed(
        &dir.join("io.weight"),
        &default.to_string(),
        io::Error::from_raw_os_error(libc::ENOENT),
    ))
}
