//! The plain data that goes in and out of the adapter.

use std::fmt;
use std::path::PathBuf;

use hostel_model::limits::Limits;

/// Which kinds of hierarchies a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One v2 tree with all controllers.
    V2,
    /// v1 hierarchies with controllers, and a v2 tree beside them.
    Hybrid,
    /// v1 hierarchies only.
    V1,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
            Self::V1 => "v1",
        })
    }
}

/// The cgroup version that a controller is used through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy of its own, or shared with a few others.
    V1,
    /// The unified tree.
    V2,
}

/// A controller and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// The kernel's name: `cpu`, `memory`, ….
    pub name: String,
    /// Through which version it is used.
    pub version: Version,
    /// Where its hierarchy is mounted.
    pub mount: PathBuf,
}

/// One kind of limit, as in [`hostel_model::limits::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // each is the field of `Limits` that its key names
pub enum Limit {
    CpuCap,
    CpuWeight,
    CpuPin,
    CpuCount,
    Memory,
    Swap,
    Guarantee,
    Processes,
    ReadBytes,
    WriteBytes,
    ReadOps,
    WriteOps,
    IoWeight,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::CpuCap,
        Self::CpuWeight,
        Self::CpuPin,
        Self::CpuCount,
        Self::Memory,
        Self::Swap,
        Self::Guarantee,
        Self::Processes,
        Self::ReadBytes,
        Self::WriteBytes,
        Self::ReadOps,
        Self::WriteOps,
        Self::IoWeight,
    ];

    /// The key in a definition.
    pub const fn key(self) -> &'static str {
        match self {
            Self::CpuCap => "cpu.cap",
            Self::CpuWeight => "cpu.weight",
            Self::CpuPin => "cpu.pin",
            Self::CpuCount => "cpu.count",
            Self::Memory => "memory.limit",
            Self::Swap => "memory.swap",
            Self::Guarantee => "memory.guarantee",
            Self::Processes => "processes",
            Self::ReadBytes => "io.read",
            Self::WriteBytes => "io.write",
            Self::ReadOps => "io.read_ops",
            Self::WriteOps => "io.write_ops",
            Self::IoWeight => "io.weight",
        }
    }

    /// Whether it is set in these limits.
    pub const fn is_set(self, limits: &Limits) -> bool {
        let Limits {
            cpu,
            memory,
            processes,
            io,
        } = limits;
        match self {
            Self::CpuCap => cpu.cap_milli.is_some(),
            Self::CpuWeight => cpu.weight.is_some(),
            Self::CpuPin => cpu.pin.is_some(),
            Self::CpuCount => cpu.count.is_some(),
            Self::Memory => memory.limit.is_some(),
            Self::Swap => memory.swap.is_some(),
            Self::Guarantee => memory.guarantee.is_some(),
            Self::Processes => processes.is_some(),
            Self::ReadBytes => io.read_bytes.is_some(),
            Self::WriteBytes => io.write_bytes.is_some(),
            Self::ReadOps => io.read_ops.is_some(),
            Self::WriteOps => io.write_ops.is_some(),
            Self::IoWeight => io.weight.is_some(),
        }
    }

    /// Takes it out of these limits.
    pub fn lift(self, limits: &mut Limits) {
        let Limits {
            cpu,
            memory,
            processes,
            io,
        } = limits;
        match self {
            Self::CpuCap => cpu.cap_milli = None,
            Self::CpuWeight => cpu.weight = None,
            Self::CpuPin => cpu.pin = None,
            Self::CpuCount => cpu.count = None,
            Self::Memory => memory.limit = None,
            Self::Swap => memory.swap = None,
            Self::Guarantee => memory.guarantee = None,
            Self::Processes => *processes = None,
            Self::ReadBytes => io.read_bytes = None,
            Self::WriteBytes => io.write_bytes = None,
            Self::ReadOps => io.read_ops = None,
            Self::WriteOps => io.write_ops = None,
            Self::IoWeight => io.weight = None,
        }
    }
}

/// How well a host holds a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Full,
    /// It does, but for the cases named.
    Partly(String),
    /// It can't, for the reason named.
    No(String),
}

/// What a host has and can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Which hierarchies.
    pub kind: Kind,
    /// The controllers in use, by name.
    pub controllers: Vec<Controller>,
    /// Is what a VE may open of devices held by its control group too?
    pub devices: Support,
    /// Each kind of limit, in the order of [`Limit::ALL`].
    pub limits: Vec<(Limit, Support)>,
}

impl Facts {
    /// How well one limit is held.
    pub fn support(&self, limit: Limit) -> &Support {
        const FULL: &Support = &Support::Full;
        self.limits.iter().find(|(l, _)| *l == limit).map_or(FULL, |(_, s)| s)
    }

    /// Why a limit can't be held; `None` if it can.
    pub fn why_not(&self, limit: Limit) -> Option<&str> {
        match self.support(limit) {
            Support::No(why) => Some(why),
            Support::Full | Support::Partly(_) => None,
        }
    }
}

/// A limit that was asked for and that the host can't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unenforceable {
    /// Which.
    pub limit: Limit,
    /// Why.
    pub why: String,
}

impl fmt::Display for Unenforceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.limit.key(), self.why)
    }
}

/// How often a VE has run into its limits since its group was made, and how far it has come. `None` means that the kernel
/// doesn't tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hits {
    /// Allocations of memory that the limit stood in the way of (reclaimed for, or refused).
    pub memory: Option<u64>,
    /// Times that the VE was out of memory.
    pub out_of_memory: Option<u64>,
    /// Processes killed for want of memory.
    pub oom_kills: Option<u64>,
    /// The most memory at any time, in bytes.
    pub memory_peak: Option<u64>,
    /// Allocations of swap that the limit refused; on v1, of memory and swap together.
    pub swap: Option<u64>,
    /// The most swap at any time, in bytes.
    pub swap_peak: Option<u64>,
    /// Processes that could not be made.
    pub processes: Option<u64>,
    /// The most processes and threads at any time.
    pub processes_peak: Option<u64>,
    /// How the cap bit.
    pub throttled: Option<Throttled>,
}

/// A disk, as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct BlockDevice {
    pub major: u32,
    pub minor: u32,
}

impl BlockDevice {
    /// Is it a loop device (kernel: admin-guide/devices.txt)?
    pub const fn is_loop(self) -> bool {
        self.major == 7
    }
}

impl fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// Where a process is to be put, in all hierarchies: first `join`, then `CLONE_INTO_CGROUP` with `unified`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The `tasks` files of the v1 groups. A **single-threaded** process writes `0` into each for itself; its
    /// children follow. (A write to `cgroup.procs`, of either version and also of `0`, takes a lock that waits for
    /// an RCU grace period unless one was taken just before: 5 to 15 ms. `0` to `tasks` doesn't.)
    pub join: Vec<PathBuf>,
    /// The group in the v2 tree: a directory to open for `CLONE_INTO_CGROUP`.
    pub unified: Option<PathBuf>,
}

/// Processor time used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// All of it, in nanoseconds.
    pub total_ns: Option<u64>,
    /// In user mode, in nanoseconds.
    pub user_ns: Option<u64>,
    /// In the kernel, in nanoseconds.
    pub system_ns: Option<u64>,
}

/// How often a VE ran into its cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// Enforcement periods in which it wanted to run.
    pub periods: u64,
    /// Those of them in which it was stopped.
    pub throttled: u64,
    /// For how long in sum over its processors, in nanoseconds.
    pub ns: u64,
}

/// Traffic with one disk since the group was made.
///
/// A request to a stacked device (loop, device-mapper, md) is counted there and on the disk below: never add devices
/// that lie on each other. On v1, what is written through the page cache isn't counted at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DeviceIo {
    pub device: BlockDevice,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub read_ops: u64,
    pub write_ops: u64,
}

/// Pressure stall information of one resource (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    /// Share of the last 10 s in which some task waited, in percent.
    pub some_avg10: f32,
    /// Time in which some task waited, in microseconds.
    pub some_us: u64,
    /// Share of the last 10 s in which all waited; `None` where the kernel doesn't tell (cpu before 5.13).
    pub full_avg10: Option<f32>,
    /// Time in which all waited, in microseconds.
    pub full_us: Option<u64>,
}

/// What a VE uses and has used since its group was made. `None` means that it couldn't be read, never zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Memory, in bytes, with the page cache of its files.
    pub memory: Option<u64>,
    /// The most memory at any time, in bytes.
    pub memory_peak: Option<u64>,
    /// Swap, in bytes.
    pub swap: Option<u64>,
    /// Processor time.
    pub cpu: CpuTime,
    /// How the cap bit.
    pub throttled: Option<Throttled>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Disk traffic, a line per device.
    pub io: Option<Vec<DeviceIo>>,
    /// Processes killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Waiting for a processor.
    pub cpu_pressure: Option<Pressure>,
    /// Waiting for memory.
    pub memory_pressure: Option<Pressure>,
    /// Waiting for disks.
    pub io_pressure: Option<Pressure>,
}

impl Usage {
    /// Disk traffic in sum over the named devices; `None` if it couldn't be read.
    pub fn io_on(&self, disks: &[BlockDevice]) -> Option<DeviceIo> {
        let io = self.io.as_ref()?;
        let device = disks.first().copied().unwrap_or(BlockDevice { major: 0, minor: 0 });
        let zero = DeviceIo {
            device,
            read_bytes: 0,
            write_bytes: 0,
            read_ops: 0,
            write_ops: 0,
        };
        Some(
            io.iter()
                .filter(|d| disks.contains(&d.device))
                .fold(zero, |sum, d| DeviceIo {
                    device,
                    read_bytes: sum.read_bytes.saturating_add(d.read_bytes),
                    write_bytes: sum.write_bytes.saturating_add(d.write_bytes),
                    read_ops: sum.read_ops.saturating_add(d.read_ops),
                    write_ops: sum.write_ops.saturating_add(d.write_ops),
                }),
        )
    }
}

#[cfg(test)]
mod tests {
    use hostel_model::limits::CpuSet;
    use hostel_model::units::Bytes;

    use super::*;

    #[test]
    fn every_limit_has_the_key_of_the_definitions() {
        for limit in Limit::ALL {
            assert!(
                hostel_model::definition::key(limit.key()).is_some(),
                "{limit:?}: {}",
                limit.key()
            );
        }
    }

    #[test]
    fn each_limit_is_lifted_alone() {
        let mut limits = Limits::default();
        limits.cpu.cap_milli = Some(1);
        limits.cpu.weight = Some(1);
        limits.cpu.pin = "0".parse::<CpuSet>().ok();
        limits.cpu.count = Some(1);
        limits.memory.limit = Some(Bytes(1));
        limits.memory.swap = Some(Bytes(1));
        limits.memory.guarantee = Some(Bytes(1));
        limits.processes = Some(1);
        limits.io.read_bytes = Some(Bytes(1));
        limits.io.write_bytes = Some(Bytes(1));
        limits.io.read_ops = Some(1);
        limits.io.write_ops = Some(1);
        limits.io.weight = Some(1);
        for lifted in Limit::ALL {
            let mut left = limits.clone();
            lifted.lift(&mut left);
            for limit in Limit::ALL {
                assert_eq!(
                    limit.is_set(&left),
                    limit != lifted,
                    "{limit:?} after lifting {lifted:?}"
                );
            }
        }
    }
}
