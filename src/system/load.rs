//! What the whole host uses and has: pure parsers of the kernel's files, and a reader of them (proc_stat(5),
//! proc_meminfo(5), proc_loadavg(5); kernel: admin-guide/iostats.rst).

use std::path::Path;

/// The host at a moment. `None`: it can't be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Processor time used since boot, in nanoseconds: steps of a clock tick, interrupts and stolen time included.
    pub cpu_ns: Option<u64>,
    /// Processors that are online.
    pub processors: Option<u64>,
    /// Bytes of memory in use, the page cache included.
    pub memory: Option<u64>,
    /// Bytes of memory in all.
    pub memory_size: Option<u64>,
    /// Bytes of swap in use.
    pub swap: Option<u64>,
    /// Bytes of swap in all.
    pub swap_size: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// The most that there can be.
    pub processes_max: Option<u64>,
    /// Bytes in use of the file system that VEs lie on.
    pub disk: Option<u64>,
    /// Its size.
    pub disk_size: Option<u64>,
    /// What all disks together have done since boot.
    pub io: Option<DiskTotals>,
}

/// Reads and writes of disks since boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DiskTotals {
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub read_ops: u64,
    pub write_ops: u64,
}

/// Reads it. `proc` and `sys` are where those are mounted; `data` is on the file system that VEs lie on.
pub fn read(proc: &Path, sys: &Path, data: &Path) -> Load {
    let text = |name: &str| std::fs::read_to_string(proc.join(name)).ok();
    let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
    let (stat, memory) = (text("stat"), text("meminfo"));
    let value = |key| memory.as_deref().and_then(|t| meminfo(t, key));
    let limits = [number("sys/kernel/threads-max"), number("sys/kernel/pid_max")];
    let disk = rustix::fs::statvfs(data).ok();
    Load {
        cpu_ns: stat.as_deref().and_then(|t| cpu_ns(t, ticks()?)),
        processors: stat.as_deref().map(processors).filter(|n| *n > 0),
        memory: value("MemTotal")
            .zip(value("MemFree"))
            .and_then(|(a, b)| a.checked_sub(b)),
        memory_size: value("MemTotal"),
        swap: value("SwapTotal")
            .zip(value("SwapFree"))
            .and_then(|(a, b)| a.checked_sub(b)),
        swap_size: value("SwapTotal"),
        processes: text("loadavg").as_deref().and_then(tasks),
        processes_max: limits.into_iter().flatten().min(),
        disk: disk
            .as_ref()
            .map(|s| s.f_blocks.saturating_sub(s.f_bfree).saturating_mul(s.f_frsize)),
        disk_size: disk.as_ref().map(|s| s.f_blocks.saturating_mul(s.f_frsize)),
        io: text("diskstats").map(|t| diskstats(&t, |name| is_disk(sys, name))),
    }
}

/// Loop devices never are, and a host of a thousand VEs has as many.
fn is_disk(sys: &Path, name: &str) -> bool {
    !name.starts_with("loop") && sys.join("block").join(name).join("device").exists()
}

fn ticks() -> Option<u64> {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    u64::try_from(ticks).ok()
}

/// All but idle and waiting for disks. The time of guests is in that of `user` and `nice` already.
fn cpu_ns(stat: &str, ticks: u64) -> Option<u64> {
    let line = stat.lines().find_map(|l| l.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7]
        .iter()
        .try_fold(0_u64, |sum, n| sum.checked_add(*fields.get(*n)?))?;
    busy.checked_mul(1_000_000_000_u64.checked_div(ticks)?)
}

fn processors(stat: &str) -> u64 {
    let is = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|l| l.starts_with(|c: char| c.is_ascii_digit()))
    };
    stat.lines().filter(is).count() as u64
}

/// In bytes; the file has KiB.
fn meminfo(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// `0.00 0.01 0.05 RUNNING/ALL LAST`
fn tasks(loadavg: &str) -> Option<u64> {
    loadavg.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

/// The sum over disks of their own: what lies on another one (loop, device mapper, RAID, partitions) would count twice.
fn diskstats(text: &str, is_disk: impl Fn(&str) -> bool) -> DiskTotals {
    let mut sum = DiskTotals::default();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, _, name, reads, _, read, _, writes, _, written, ..] = fields.as_slice() else {
            continue;
        };
        if !is_disk(name) {
            continue;
        }
        let n = |text: &str| text.parse::<u64>().unwrap_or(0);
        // Sectors are of 512 bytes here, whatever the disk's are.
        sum.read_bytes = sum.read_bytes.saturating_add(n(read).saturating_mul(512));
        sum.write_bytes = sum.write_bytes.saturating_add(n(written).saturating_mul(512));
        sum.read_ops = sum.read_ops.saturating_add(n(reads));
        sum.write_ops = sum.write_ops.saturating_add(n(writes));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  100 20 30 4000 500 6 7 8 9 10\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\ncpufreq 1\n";

    #[test]
    fn busy_is_what_is_neither_idle_nor_waiting() {
        assert_eq!(cpu_ns(STAT, 100), Some((100 + 20 + 30 + 6 + 7 + 8) * 10_000_000));
        assert_eq!(cpu_ns("cpu  1 2\n", 100), None, "a field is missing: unknown, not less");
        assert_eq!(cpu_ns(STAT, 0), None);
        assert_eq!(processors(STAT), 2);
    }

    #[test]
    fn memory_and_tasks() {
        let text = "MemTotal:       1024 kB\nMemFree:         24 kB\nSwapTotal:         0 kB\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(1 << 20));
        assert_eq!(meminfo(text, "SwapTotal"), Some(0));
        assert_eq!(meminfo(text, "Mem"), None);
        assert_eq!(tasks("0.1 0.2 0.3 2/345 6789\n"), Some(345));
        assert_eq!(tasks("0.1\n"), None);
    }

    #[test]
    fn disks_that_lie_on_none_other() {
        let text = " 8 0 sda 1 9 2 9 3 9 4 9 0 0 0\n 8 1 sda1 1 9 2 9 3 9 4 9 0 0 0\n 7 0 loop0 1 9 2 9 3 9 4 9 0 0 0\n short\n";
        let want = DiskTotals {
            read_bytes: 1024,
            write_bytes: 2048,
            read_ops: 1,
            write_ops: 3,
        };
        assert_eq!(diskstats(text, |name| name == "sda"), want);
    }

    #[test]
    fn this_host() {
        let load = read(Path::new("/proc"), Path::new("/sys"), Path::new("/"));
        assert!(load.cpu_ns > Some(0) && load.processors > Some(0), "{load:?}");
        assert!(load.memory > Some(0) && load.memory < load.memory_size, "{load:?}");
        assert!(
            load.processes > Some(0) && load.processes < load.processes_max,
            "{load:?}"
        );
        assert!(load.disk > Some(0) && load.disk <= load.disk_size, "{load:?}");
        let nowhere = read(Path::new("/nowhere"), Path::new("/nowhere"), Path::new("/nowhere"));
        assert_eq!(nowhere, Load::default());
    }
}
