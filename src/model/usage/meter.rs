//! What is measured. The order of each list is that of the ledger's records: new ones go to the end.

/// Lists what there is of a kind, with its name in exports.
macro_rules! meters {
    ($(#[$doc:meta])* $kind:ident, $count:literal, $($(#[$of:meta])* $name:ident = $text:literal;)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind { $($(#[$of])* $name,)+ }

        impl $kind {
            /// All of them, in the order of the records.
            pub const ALL: [Self; $count] = [$(Self::$name,)+];

            /// Its name in exports and reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

meters! {
    /// What only grows while a VE runs, and begins at zero with each run.
    Counter, 20,
    /// Processor time, nanoseconds.
    Cpu = "cpu_ns";
    /// Of it in user mode.
    CpuUser = "cpu_user_ns";
    /// Of it in the kernel.
    CpuSystem = "cpu_system_ns";
    /// Time stopped by the cap, nanoseconds in sum over processors.
    Throttled = "throttled_ns";
    /// Periods of the cap in which it wanted to run.
    CapPeriods = "cap_periods";
    /// Those of them in which the cap stopped it.
    CapHits = "cap_hits";
    /// Bytes read from its disk's device.
    ReadBytes = "disk_read_bytes";
    /// Bytes written to it.
    WriteBytes = "disk_write_bytes";
    /// Requests to read.
    ReadOps = "disk_read_ops";
    /// Requests to write.
    WriteOps = "disk_write_ops";
    /// Processes killed for want of memory.
    OomKills = "oom_kills";
    /// Processes that could not be begun for the limit of them.
    ForksRefused = "forks_refused";
    /// How often memory was at its limit, and something had to be given back first.
    MemoryHits = "memory_limit_hits";
    /// Microseconds in which something waited for a processor.
    CpuSome = "cpu_some_us";
    /// In which all waited.
    CpuFull = "cpu_full_us";
    /// Microseconds in which something waited for memory.
    MemorySome = "memory_some_us";
    /// In which all waited.
    MemoryFull = "memory_full_us";
    /// Microseconds in which something waited for a disk.
    IoSome = "io_some_us";
    /// In which all waited.
    IoFull = "io_full_us";
    /// How often its disk was found full when it hadn't been before: of looks, as no kernel counts it.
    DiskHits = "disk_full_hits";
}

meters! {
    /// What rises and falls; it is taken times time.
    Level, 6,
    /// Memory, bytes.
    Memory = "memory";
    /// Swap, bytes.
    Swap = "swap";
    /// Processes and threads.
    Processes = "processes";
    /// Bytes in use on its disk.
    Disk = "disk";
    /// Files in use on its disk.
    Inodes = "inodes";
    /// 1 while its disk is full, of bytes or of files, and 0 while it isn't: times time, how long it was.
    DiskFull = "disk_full";
}

meters! {
    /// The states that time is spent in.
    Time, 5,
    /// It runs.
    Running = "running_ns";
    /// It runs, and stands still.
    Paused = "paused_ns";
    /// It lies in a dump.
    Suspended = "suspended_ns";
    /// It doesn't run.
    Stopped = "stopped_ns";
    /// Nobody knows: the host ended without a word.
    Unknown = "unknown_ns";
}

impl Level {
    /// There is some of it also while the VE doesn't run.
    pub const fn lasts(self) -> bool {
        matches!(self, Self::Disk | Self::Inodes | Self::DiskFull)
    }
}

/// Counters as they stand; what can't be read is `None`, never zero.
pub type Counters = [Option<u64>; Counter::ALL.len()];

/// Levels as they are.
pub type Levels = [Option<u64>; Level::ALL.len()];
