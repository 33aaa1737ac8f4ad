//! Memory, what beancounters counted, processors, disk and its bandwidth.

use crate::openvz::key::{Act, Becomes, By, Group, Key};
use crate::openvz::value::Unit;

const KERNEL: &str = "what the kernel keeps for it counts in its memory, which is limited as a whole";
const IN_MEMORY: &str = "these pages count in its memory, which is limited as a whole";
const USER_QUOTA: &str = "quotas of users are not kept inside a VE; its disk is limited as a whole";
const COUNTED: &str = "they cost it memory, which is limited as a whole";

const fn bytes(options: &'static [&'static str], config: &'static [&'static str], why: &'static str) -> Key {
    Key::new(options, config, Group::Memory, Becomes::NoEffect(why)).counting(Unit::Bytes)
}

const fn pages(options: &'static [&'static str], config: &'static [&'static str]) -> Key {
    Key::new(options, config, Group::Memory, Becomes::NoEffect(IN_MEMORY)).counting(Unit::Pages)
}

const fn number(options: &'static [&'static str], config: &'static [&'static str]) -> Key {
    Key::new(options, config, Group::Memory, Becomes::NoEffect(COUNTED)).counting(Unit::Count)
}

const fn noted(
    options: &'static [&'static str],
    config: &'static [&'static str],
    group: Group,
    why: &'static str,
) -> Key {
    Key::new(options, config, group, Becomes::NoEffect(why))
}

const fn set(options: &'static [&'static str], config: &'static [&'static str], group: Group, becomes: Becomes) -> Key {
    Key::new(options, config, group, becomes)
}

pub(super) const KEYS: &[Key] = &[
    set(
        &["ram"],
        &[],
        Group::Memory,
        Becomes::same(&["memory.limit"], By::Limit(Unit::Bytes)),
    ),
    set(
        &["memory"],
        &[],
        Group::Memory,
        Becomes::same(&["memory.limit"], By::Limit(Unit::Bytes)),
    )
    .vz7(),
    set(
        &["swap"],
        &[],
        Group::Memory,
        Becomes::same(&["memory.swap"], By::Limit(Unit::Bytes)),
    ),
    set(
        &["physpages"],
        &["PHYSPAGES"],
        Group::Memory,
        Becomes::near(
            &["memory.limit"],
            By::Limit(Unit::Pages),
            "the limit counts, not the barrier",
        ),
    ),
    set(
        &["swappages"],
        &["SWAPPAGES"],
        Group::Memory,
        Becomes::near(
            &["memory.swap"],
            By::Limit(Unit::Pages),
            "the limit counts, not the barrier",
        ),
    ),
    set(
        &["privvmpages"],
        &["PRIVVMPAGES"],
        Group::Memory,
        Becomes::act(
            Act::PrivateMemory,
            "limits memory in use (memory.limit), not memory asked for, and only where no --ram or --physpages was ever given",
        ),
    ),
    set(
        &["vmguarpages"],
        &["VMGUARPAGES"],
        Group::Memory,
        Becomes::near(
            &["memory.guarantee"],
            By::Barrier(Unit::Pages),
            "memory that is never taken from it; the barrier counts; refused where the host can't hold it (cgroup v1)",
        ),
    ),
    set(
        &["numproc", "p"],
        &["NUMPROC"],
        Group::Memory,
        Becomes::near(
            &["processes"],
            By::Limit(Unit::Count),
            "the limit counts, not the barrier",
        ),
    ),
    noted(
        &["vm_overcommit"],
        &["VM_OVERCOMMIT"],
        Group::Memory,
        "memory is limited when it is used, not when it is asked for",
    ),
    bytes(&["kmemsize", "k"], &["KMEMSIZE"], KERNEL),
    bytes(&["tcpsndbuf"], &["TCPSNDBUF"], KERNEL),
    bytes(&["tcprcvbuf", "b"], &["TCPRCVBUF"], KERNEL),
    bytes(&["othersockbuf"], &["OTHERSOCKBUF"], KERNEL),
    bytes(&["dgramrcvbuf"], &["DGRAMRCVBUF"], KERNEL),
    bytes(&["dcachesize", "x"], &["DCACHESIZE"], KERNEL),
    pages(&["lockedpages", "l"], &["LOCKEDPAGES"]),
    pages(&["shmpages"], &["SHMPAGES"]),
    pages(&["oomguarpages"], &["OOMGUARPAGES"]),
    pages(&[], &["ANONSHPAGES"]).vz7(),
    number(&["numtcpsock"], &["NUMTCPSOCK"]),
    number(&["numothersock"], &["NUMOTHERSOCK"]),
    number(&["numfile", "n"], &["NUMFILE"]),
    number(&["numflock", "f"], &["NUMFLOCK"]),
    number(&["numpty", "t"], &["NUMPTY"]),
    number(&["numsiginfo", "i"], &["NUMSIGINFO"]),
    number(&["numiptent", "e"], &["NUMIPTENT"]),
    number(&["avnumproc"], &["AVNUMPROC"]),
    noted(
        &["meminfo"],
        &["MEMINFO"],
        Group::Memory,
        "a VE sees its own limit as its memory, where the host can show it",
    ),
    set(
        &["memguarantee"],
        &["MEMGUARANTEE"],
        Group::Memory,
        Becomes::act(
            Act::MemoryGuarantee,
            "percent of its memory, made bytes when it is set (memory.guarantee)",
        ),
    )
    .vz7(),
    set(
        &[],
        &["MEMGUARANTEE_BYTES"],
        Group::Memory,
        Becomes::same(&["memory.guarantee"], By::Barrier(Unit::Bytes)),
    )
    .vz7(),
    noted(
        &["pagecache-isolation"],
        &["PAGECACHE_ISOLATION"],
        Group::Memory,
        "the cache of its files counts in its memory as it is",
    )
    .vz7(),
    noted(
        &["num-memory-subgroups"],
        &["NUMMEMORYSUBGROUPS"],
        Group::Memory,
        "the groups that it makes itself cost it memory, which is limited",
    )
    .vz7(),
    noted(
        &[],
        &["SLMMODE", "SLMMEMORYLIMIT", "SLMPATTERN"],
        Group::Memory,
        "the newer generation itself heeds it no more",
    )
    .vz7(),
    set(
        &["cpuunits"],
        &["CPUUNITS", "CPUWEIGHT"],
        Group::Cpu,
        Becomes::near(
            &["cpu.weight"],
            By::CpuUnits,
            "a tenth of it, from 1 to 10000: 1000 units are the usual weight of 100",
        ),
    ),
    set(
        &["cpulimit"],
        &["CPULIMIT"],
        Group::Cpu,
        Becomes::same(&["cpu.cap"], By::CpuLimit),
    ),
    set(
        &[],
        &["CPULIMIT_MHZ"],
        Group::Cpu,
        Becomes::Refused("processor time is limited in percent of a processor: give CPULIMIT"),
    )
    .vz7(),
    set(
        &["cpus"],
        &["CPUS"],
        Group::Cpu,
        Becomes::near(
            &["cpu.count"],
            By::Cpus,
            "it runs on so many, of which Hostel chooses the least taken",
        ),
    ),
    set(
        &["cpumask"],
        &["CPUMASK"],
        Group::Cpu,
        Becomes::same(&["cpu.pin"], By::CpuList),
    ),
    noted(
        &["nodemask"],
        &["NODEMASK"],
        Group::Cpu,
        "memory comes from the node that the processor belongs to; pin processors with --cpumask",
    ),
    noted(
        &["burst_cpulimit"],
        &["BURST_CPULIMIT"],
        Group::Cpu,
        "the cap is the cap at every moment",
    )
    .vz7(),
    noted(
        &["burst_cpu_avg_usage"],
        &["BURST_CPU_AVG_USAGE"],
        Group::Cpu,
        "the cap is the cap at every moment",
    )
    .vz7(),
    set(
        &["diskspace"],
        &["DISKSPACE"],
        Group::Disk,
        Becomes::near(
            &["disk.size"],
            By::Limit(Unit::Kib),
            "the hard limit counts; it grows at once and shrinks only while stopped; it can't be unlimited",
        ),
    ),
    set(
        &["diskinodes"],
        &["DISKINODES"],
        Group::Disk,
        Becomes::act(
            Act::Inodes,
            "the hard limit counts, at create; of a disk that is there it is remembered, and has no effect",
        ),
    ),
    noted(
        &["diskquota"],
        &["DISK_QUOTA"],
        Group::Disk,
        "a VE's disk is always limited",
    ),
    noted(
        &["quotatime"],
        &["QUOTATIME"],
        Group::Disk,
        "there is one limit, and no time to pass it in",
    ),
    noted(&["quotaugidlimit"], &["QUOTAUGIDLIMIT"], Group::Disk, USER_QUOTA),
    noted(&[], &["JOURNALED_QUOTA"], Group::Disk, USER_QUOTA).vz7(),
    noted(
        &["offline-resize"],
        &[],
        Group::Disk,
        "a disk grows at any time, and shrinks only while the VE is stopped",
    )
    .flag(),
    noted(
        &["noatime"],
        &["NOATIME"],
        Group::Disk,
        "Hostel chooses how a disk is mounted",
    )
    .vz7(),
    noted(
        &[],
        &["ROOT_DISK"],
        Group::Disk,
        "a VE has the one disk that Hostel makes",
    )
    .vz7(),
    noted(
        &[],
        &["AUTOCOMPACT"],
        Group::Disk,
        "hostel compact, and vzctl compact, give back freed blocks",
    )
    .vz7(),
    set(
        &["ioprio"],
        &["IOPRIO"],
        Group::Io,
        Becomes::near(
            &["io.weight"],
            By::IoPriority,
            "a weight of 20 to 160: the usual 4 is the usual 100; remembered, without effect, where no disk of the host heeds weights",
        ),
    ),
    set(
        &["iolimit"],
        &[],
        Group::Io,
        Becomes::near(
            &["io.read", "io.write"],
            By::OrNone(Unit::Mib),
            "the most of each of reading and writing, not of both together",
        ),
    ),
    set(
        &[],
        &["IOLIMIT"],
        Group::Io,
        Becomes::near(
            &["io.read", "io.write"],
            By::OrNone(Unit::Bytes),
            "the most of each of reading and writing, not of both together",
        ),
    ),
    set(
        &["iopslimit"],
        &["IOPSLIMIT"],
        Group::Io,
        Becomes::near(
            &["io.read_ops", "io.write_ops"],
            By::OrNone(Unit::Count),
            "the most of each of reading and writing, not of both together",
        ),
    ),
];
