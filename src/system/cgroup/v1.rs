//! Limits in v1 hierarchies, written with the setters of cgroups-rs (whose readers turn "unreadable" into 0, so the
//! reading is ours). Its types stay in this file.

use std::fmt::Display;
use std::io;
use std::path::Path;

use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::blkio::BlkIoController;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use hostel_model::limits::{CpuLimits, CpuSet, IoLimits, MemoryLimits};
use hostel_model::units::Bytes;

use super::types::BlockDevice;
use super::{files, read};
use crate::{Error, Kind, Result};

/// The length of a period of the processor cap, in microseconds.
pub const PERIOD_US: u64 = 100_000;

/// A cap in thousandths of a processor as quota and period in microseconds. The kernel takes no quota below 1 ms, so
/// the smallest caps get the longest period, 1 s.
pub fn cap(milli: u32) -> (u64, u64) {
    let milli = u64::from(milli);
    if milli < 10 {
        (milli * 1000, 1_000_000)
    } else {
        (milli * PERIOD_US / 1000, PERIOD_US)
    }
}

/// A weight of 1 to 10 000 with default 100, as shares with default 1024 and at least 2.
pub fn shares(weight: u16) -> u64 {
    (u64::from(weight) * 1024 / 100).max(2)
}

/// The most that BFQ takes (block/bfq-iosched.h, BFQ_MAX_WEIGHT).
const BFQ_MOST: u16 = 1000;

/// A weight of 1 to 10 000 as BFQ's of 1 to 1000, whose default is 100 as well: the same, so that shares are what they are
/// said to be. Above 1000 they are alike.
pub fn bfq_weight(weight: u16) -> u64 {
    u64::from(weight.min(BFQ_MOST))
}

/// Turns an error of cgroups-rs, which holds the OS error somewhere in its chain, into ours.
fn set(dir: &Path, file: &str, value: impl Display, done: cgroups_rs::fs::error::Result<()>) -> Result<()> {
    done.map_err(|e| {
        let path = dir.join(file);
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&e);
        while let Some(s) = source {
            if let Some(errno) = s.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
                return files::failed(&path, &value.to_string(), io::Error::from_raw_os_error(errno));
            }
            source = s.source();
        }
        Error::new(
            "write",
            format_args!("\"{value}\" to {}", path.display()),
            e.to_string(),
        )
    })
}

/// A number in a file of a group; `None` if it can't be read or isn't a number.
fn number(dir: &Path, file: &str) -> Option<u64> {
    files::try_read(&dir.join(file)).ok().as_deref().and_then(read::number)
}

/// Cap and weight.
pub fn cpu(dir: &Path, limits: &CpuLimits) -> Result<()> {
    cap_at(dir, limits.cap_milli)?;
    let shares = shares(limits.weight.unwrap_or(100));
    if number(dir, "cpu.shares") != Some(shares) {
        let controller = CpuController::new(dir.into(), dir.into(), false);
        set(dir, "cpu.shares", shares, controller.set_shares(shares))?;
    }
    Ok(())
}

/// A cap in thousandths of a processor.
pub fn cap_at(dir: &Path, cap_milli: Option<u32>) -> Result<()> {
    let controller = CpuController::new(dir.into(), dir.into(), false);
    let (quota, period) = cap_milli.map_or((-1, PERIOD_US), |milli| {
        let (quota, period) = cap(milli);
        (quota.cast_signed(), period)
    });
    if number(dir, "cpu.cfs_period_us") != Some(period) {
        set(dir, "cpu.cfs_period_us", period, controller.set_cfs_period(period))?;
    }
    let now = files::try_read(&dir.join("cpu.cfs_quota_us"))
        .ok()
        .and_then(|t| t.trim_end().parse::<i64>().ok());
    if now != Some(quota) {
        set(dir, "cpu.cfs_quota_us", quota, controller.set_cfs_quota(quota))?;
    }
    Ok(())
}

/// Makes sure that a group of the cpuset hierarchy has processors and memory nodes, taken from its parent; without,
/// no task can enter it.
pub fn fill_cpuset(parent: &Path, dir: &Path) -> Result<()> {
    let controller = CpuSetController::new(dir.into(), dir.into(), false);
    type Setter = fn(&CpuSetController, &str) -> cgroups_rs::fs::error::Result<()>;
    let both: [(&str, Setter); 2] = [
        ("cpuset.cpus", |c, v| c.set_cpus(v)),
        ("cpuset.mems", |c, v| c.set_mems(v)),
    ];
    for (file, setter) in both {
        if files::read(dir, file)?.trim().is_empty() {
            let from = files::read(parent, file)?;
            set(dir, file, from.trim(), setter(&controller, from.trim()))?;
        }
    }
    Ok(())
}

/// Pins a VE's group and its payload. A child's set must always lie within its parent's, so where the new set isn't
/// wider than the old one, the parent has both for a moment.
pub fn pin(root: &Path, dir: &Path, pin: Option<&CpuSet>) -> Result<()> {
    let parse = |text: &str| text.trim().parse::<CpuSet>().unwrap_or_default();
    let new = match pin {
        Some(pin) => pin.clone(),
        None => parse(&files::read(root, "cpuset.cpus")?),
    };
    let payload = dir.join("payload");
    let (outer, inner) = (
        parse(&files::read(dir, "cpuset.cpus")?),
        parse(&files::read(&payload, "cpuset.cpus")?),
    );
    let write = |group: &Path, cpus: &str| {
        let controller = CpuSetController::new(group.into(), group.into(), false);
        set(group, "cpuset.cpus", cpus, controller.set_cpus(cpus))
    };
    let text = new.to_string();
    if new != inner {
        if !new.is_within(&outer) {
            // The kernel takes overlapping lists as their union.
            write(
                dir,
                &if outer.is_empty() {
                    text.clone()
                } else {
                    format!("{outer},{text}")
                },
            )?;
        }
        write(&payload, &text)?;
    }
    if outer != new && !(outer.is_within(&new) && inner != new) {
        write(dir, &text)
    } else {
        Ok(())
    }
}

/// Memory, and memory with swap (`memsw`) where the kernel counts swap.
///
/// `memsw` can never be below the limit, so the one that moves away from the other goes first; if the second is
/// refused, the first is put back.
pub fn memory(dir: &Path, limits: &MemoryLimits) -> Result<()> {
    let controller = MemController::new(dir.into(), dir.into(), false);
    let limit = limits.limit.map(Bytes::get);
    let both = limit
        .zip(limits.swap)
        .map(|(memory, swap)| memory.saturating_add(swap.get()));
    let write_limit = |to| {
        let to = signed(to);
        set(dir, "memory.limit_in_bytes", to, controller.set_limit(to))
    };
    let write_both = |to| {
        let to = signed(to);
        set(dir, "memory.memsw.limit_in_bytes", to, controller.set_memswap_limit(to))
    };
    let old = current(dir, "memory.limit_in_bytes")?;
    let new = paged(limit);
    let step = if dir.join("memory.memsw.limit_in_bytes").exists() {
        let (old_both, new_both) = (current(dir, "memory.memsw.limit_in_bytes")?, paged(both));
        let both_first = new_both >= old;
        let set_limit = |to: u64| if to == old { Ok(()) } else { write_limit(to) };
        let set_both = |to: u64| if to == old_both { Ok(()) } else { write_both(to) };
        if both_first {
            set_both(new_both).and_then(|()| {
                set_limit(new).inspect_err(|_| {
                    drop(if new_both == old_both {
                        Ok(())
                    } else {
                        write_both(old_both)
                    })
                })
            })
        } else {
            set_limit(new).and_then(|()| {
                set_both(new_both).inspect_err(|_| drop(if new == old { Ok(()) } else { write_limit(old) }))
            })
        }
    } else if new == old {
        Ok(())
    } else {
        write_limit(new)
    };
    step.map_err(|e| if e.kind == Kind::Busy { in_use(dir, limit, e) } else { e })
}

/// The kernel can't take memory away that is in use.
fn in_use(dir: &Path, limit: Option<u64>, error: Error) -> Error {
    let used = number(dir, "memory.usage_in_bytes").map_or_else(|| "more".to_owned(), mib);
    let limit = limit.map_or_else(|| "the new limit".to_owned(), mib);
    error.hint(format!(
        "in use: {used}, and the kernel could not free enough for {limit}; lower it when less is used"
    ))
}

/// For people: whole mebibytes.
pub fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// No limit, as v1 shows it: the largest signed number, rounded down to a page.
fn unlimited() -> u64 {
    let page = files::page_size();
    i64::MAX.cast_unsigned() / page * page
}

/// A limit as the kernel will show it: whole pages.
fn paged(limit: Option<u64>) -> u64 {
    let page = files::page_size();
    limit.map_or(unlimited(), |l| (l / page * page).min(unlimited()))
}

/// A limit as the kernel takes it.
fn signed(limit: u64) -> i64 {
    if limit >= unlimited() { -1 } else { limit.cast_signed() }
}

fn current(dir: &Path, file: &str) -> Result<u64> {
    let text = files::read(dir, file)?;
    read::number(&text).ok_or_else(|| Error::new("understand", dir.join(file).display(), text.trim_end().to_owned()))
}

/// The most processes and threads.
pub fn processes(dir: &Path, limit: Option<u64>) -> Result<()> {
    let text = limit.map_or_else(|| "max".to_owned(), |n| n.to_string());
    if files::read(dir, "pids.max")?.trim_end() == text {
        return Ok(());
    }
    let value = limit.map_or(MaxValue::Max, |n| MaxValue::Value(i64::try_from(n).unwrap_or(i64::MAX)));
    set(
        dir,
        "pids.max",
        text,
        PidController::new(dir.into(), dir.into(), false).set_pid_max(value),
    )
}

type Throttle = fn(&BlkIoController, u64, u64, u64) -> cgroups_rs::fs::error::Result<()>;

/// Bandwidth on the given disks; limits on any other disk are lifted. And the weight, where the kernel has one.
///
/// In v1 a bandwidth binds the processes of that very group and not those of groups in it
/// (blkio-controller.rst, "Hierarchical Cgroups"). So it goes to the payload, which on v1 has no groups in it.
pub fn io(dir: &Path, limits: &IoLimits, disks: &[BlockDevice]) -> Result<()> {
    throttle(&dir.join("payload"), limits, disks)?;
    io_weight(dir, limits.weight)
}

fn throttle(dir: &Path, limits: &IoLimits, disks: &[BlockDevice]) -> Result<()> {
    let controller = BlkIoController::new(dir.into(), dir.into(), false);
    let all: [(&str, Option<u64>, Throttle); 4] = [
        (
            "blkio.throttle.read_bps_device",
            limits.read_bytes.map(Bytes::get),
            |c, major, minor, n| c.throttle_read_bps_for_device(major, minor, n),
        ),
        (
            "blkio.throttle.write_bps_device",
            limits.write_bytes.map(Bytes::get),
            |c, major, minor, n| c.throttle_write_bps_for_device(major, minor, n),
        ),
        (
            "blkio.throttle.read_iops_device",
            limits.read_ops,
            |c, major, minor, n| c.throttle_read_iops_for_device(major, minor, n),
        ),
        (
            "blkio.throttle.write_iops_device",
            limits.write_ops,
            |c, major, minor, n| c.throttle_write_iops_for_device(major, minor, n),
        ),
    ];
    for (file, limit, setter) in all {
        let now = match files::try_read(&dir.join(file)) {
            Ok(text) => throttles(&text),
            Err(_) if limit.is_none() => continue, // nothing to lift where nothing can be set
            Err(e) => return Err(files::failed(&dir.join(file), "a limit", e)),
        };
        let lift = now
            .iter()
            .filter(|(d, _)| limit.is_none() || !disks.contains(d))
            .map(|(d, _)| (*d, 0));
        let wanted = limit.into_iter().flat_map(|n| disks.iter().map(move |d| (*d, n)));
        for (disk, n) in lift.chain(wanted.filter(|w| !now.contains(w))) {
            let done = setter(&controller, disk.major.into(), disk.minor.into(), n);
            set(dir, file, format_args!("{disk} {n}"), done)?;
        }
    }
    Ok(())
}

/// Lines of `8:0 1048576`.
fn throttles(text: &str) -> Vec<(BlockDevice, u64)> {
    text.lines()
        .filter_map(|l| {
            let (device, n) = l.split_once(' ')?;
            Some((read::device(device)?, n.trim().parse().ok()?))
        })
        .collect()
}

fn io_weight(dir: &Path, weight: Option<u16>) -> Result<()> {
    let bfq = bfq_weight(weight.unwrap_or(100));
    if dir.join("blkio.bfq.weight").exists() {
        // cgroups-rs knows only CFQ's file, which left the kernel with 5.0.
        return files::write_if_new(dir, "blkio.bfq.weight", &bfq.to_string());
    }
    // CFQ's weights go from 10 to 1000 with 500 as the default.
    let cfq = (bfq * 5).clamp(10, 1000);
    match number(dir, "blkio.weight") {
        Some(now) if now != cfq => set(
            dir,
            "blkio.weight",
            cfq,
            BlkIoController::new(dir.into(), dir.into(), false).set_weight(cfq),
        ),
        None if weight.is_some() => Err(files::failed(
            &dir.join("blkio.bfq.weight"),
            &bfq.to_string(),
            io::Error::from_raw_os_error(libc::ENOENT),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_and_weights() {
        assert_eq!(cap(1500), (150_000, 100_000));
        assert_eq!(cap(10), (1000, 100_000));
        assert_eq!(cap(9), (9000, 1_000_000));
        assert_eq!(cap(1), (1000, 1_000_000));
        assert_eq!(cap(u32::MAX).1, 100_000);
        assert_eq!([1, 100, 200, 10_000].map(shares), [10, 1024, 2048, 102_400]);
        assert_eq!(shares(0), 2);
        assert_eq!([1, 100, 400, 10_000].map(bfq_weight), [1, 100, 400, 1000]);
    }

    #[test]
    fn memory_as_v1_writes_it() {
        assert_eq!(signed(paged(None)), -1);
        assert_eq!(signed(paged(Some(u64::MAX))), -1);
        let page = files::page_size();
        assert_eq!(paged(Some(3 * page + 1)), 3 * page);
    }

    #[test]
    fn throttle_lines() {
        let d = BlockDevice { major: 8, minor: 0 };
        assert_eq!(throttles("8:0 1048576\n\nx\n"), [(d, 1_048_576)]);
    }
}
