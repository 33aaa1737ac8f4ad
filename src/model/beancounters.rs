//! The table of a VE's limits that OpenVZ showed in /proc/user_beancounters: for each resource what is held, the most
//! that ever was, a barrier, a limit, and how often something was refused.
//!
//! Of the twenty-one resources there, control groups know six. The others have no limit here, and of most nobody counts
//! what is held; they keep their rows, as scripts look for them by name.

use std::fmt::Write as _;

use serde::Serialize;

use crate::id::VeId;
pub use crate::openvz::{PAGE, UNLIMITED};

/// Rows of the file that stand for nothing.
pub const DUMMY: &str = "dummy";

/// The rows of the file, in its order. `dummy` is what the kernel left free between them.
pub const ROWS: [&str; 25] = [
    "kmemsize",
    "lockedpages",
    "privvmpages",
    "shmpages",
    DUMMY,
    "numproc",
    "physpages",
    "vmguarpages",
    "oomguarpages",
    "numtcpsock",
    "numflock",
    "numpty",
    "numsiginfo",
    "tcpsndbuf",
    "tcprcvbuf",
    "othersockbuf",
    "dgramrcvbuf",
    "numothersock",
    "dcachesize",
    "numfile",
    DUMMY,
    DUMMY,
    DUMMY,
    "numiptent",
    "swappages",
];

/// What a control group tells of one of its limits. `None`: unknown; for `limit`: there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// In use now.
    pub held: Option<u64>,
    /// The most since the VE's start.
    pub most: Option<u64>,
    /// The limit.
    pub limit: Option<u64>,
    /// How often it stood in the way.
    pub hits: Option<u64>,
}

impl Level {
    fn pages(self) -> Self {
        let pages = |n: Option<u64>| n.map(|n| n.div_ceil(PAGE));
        Self {
            held: pages(self.held),
            most: pages(self.most),
            // A limit is never shown as more than it is.
            limit: self.limit.map(|n| n / PAGE),
            hits: self.hits,
        }
    }
}

/// What control groups tell of a VE. Memory is in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Groups {
    /// Memory, with the page cache.
    pub memory: Level,
    /// Swap.
    pub swap: Level,
    /// Processes and threads.
    pub processes: Level,
    /// Memory that is never taken from it.
    pub guarantee: Option<u64>,
    /// How many processes were killed for want of memory.
    pub oom_kills: Option<u64>,
}

/// A row. Amounts are in pages, bytes or pieces, as the resource's name says. `None`: unknown; of `barrier` and `limit`:
/// there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Beancounter {
    /// Its name.
    pub resource: &'static str,
    /// In use now.
    pub held: Option<u64>,
    /// The most since the VE's start.
    pub maxheld: Option<u64>,
    /// What is guaranteed, or where it begins to be refused.
    pub barrier: Option<u64>,
    /// The most that may be.
    pub limit: Option<u64>,
    /// How often something was refused.
    pub failcnt: Option<u64>,
}

impl Beancounter {
    /// One of which nothing is known and which nothing limits.
    const fn free(resource: &'static str) -> Self {
        Self {
            resource,
            held: None,
            maxheld: None,
            barrier: None,
            limit: None,
            failcnt: None,
        }
    }

    fn of(self, level: Level) -> Self {
        Self {
            held: level.held,
            maxheld: level.most.max(level.held),
            limit: level.limit,
            failcnt: level.hits,
            ..self
        }
    }

    fn barrier(self, barrier: Option<u64>) -> Self {
        Self { barrier, ..self }
    }
}

/// The rows of a VE that stand for something, in the order of the file.
pub fn beancounters(groups: &Groups) -> Vec<Beancounter> {
    let names = ROWS.iter().filter(|name| **name != DUMMY);
    names.map(|name| row(name, groups)).collect()
}

fn row(resource: &'static str, groups: &Groups) -> Beancounter {
    let free = Beancounter::free(resource);
    let (memory, swap) = (groups.memory.pages(), groups.swap.pages());
    let guarantee = Some(groups.guarantee.unwrap_or(0) / PAGE);
    match resource {
        "numproc" => free.of(groups.processes).barrier(groups.processes.limit),
        // With RAM and swap, barriers were 0: nothing is guaranteed by these two.
        "physpages" => free.of(memory).barrier(Some(0)),
        "swappages" => free.of(swap).barrier(Some(0)),
        // Locked memory is part of the memory, and so of its limit.
        "lockedpages" => Beancounter {
            limit: memory.limit,
            ..free.barrier(memory.limit)
        },
        "vmguarpages" => free.barrier(guarantee),
        // Its failures were processes killed for want of memory.
        "oomguarpages" => Beancounter {
            held: memory.held.zip(swap.held).map(|(ram, swap)| ram.saturating_add(swap)),
            failcnt: groups.oom_kills,
            ..free.barrier(guarantee)
        },
        _ => free,
    }
}

/// The file: these VEs, in order. What is unknown is 0 there, as it has no other word.
pub fn text(ves: &[(VeId, Vec<Beancounter>)]) -> String {
    let mut out = head();
    for (id, counters) in ves {
        for (n, name) in ROWS.into_iter().enumerate() {
            let free = Beancounter::free(name);
            let row = counters.iter().find(|row| row.resource == name).unwrap_or(&free);
            out.push_str(&begin((n == 0).then_some(*id), name));
            let cells = [
                row.held.unwrap_or(0),
                row.maxheld.max(row.held).unwrap_or(0),
                row.barrier.unwrap_or(UNLIMITED),
                row.limit.unwrap_or(UNLIMITED),
                row.failcnt.unwrap_or(0),
            ];
            // Writing to a text doesn't fail.
            let _ = cells.iter().try_for_each(|n| write!(out, " {n:>20}"));
            out.push('\n');
        }
    }
    out
}

/// What stands above the rows: the version of the file's form, and the headings.
pub fn head() -> String {
    let headings = ["held", "maxheld", "barrier", "limit", "failcnt"].map(|heading| format!(" {heading:>20}"));
    format!("Version: 2.5\n{:>10}  {:<12}{}\n", "uid", "resource", headings.concat())
}

/// How a row begins: the first of a VE with its number. Five numbers follow, in twenty characters each with a blank before.
pub fn begin(ve: Option<VeId>, resource: &str) -> String {
    let uid = ve.map(|id| format!("{id}:")).unwrap_or_default();
    format!("{uid:>10}  {resource:<12}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn groups() -> Groups {
        Groups {
            memory: Level {
                held: Some(10 * MIB + 1),
                most: Some(64 * MIB),
                limit: Some(64 * MIB),
                hits: Some(7),
            },
            swap: Level {
                held: Some(MIB),
                most: None,
                limit: Some(0),
                hits: None,
            },
            processes: Level {
                held: Some(5),
                most: Some(9),
                limit: Some(100),
                hits: Some(0),
            },
            guarantee: Some(8 * MIB),
            oom_kills: Some(2),
        }
    }

    fn of(name: &str, groups: &Groups) -> Beancounter {
        let rows = beancounters(groups);
        *rows.iter().find(|row| row.resource == name).unwrap()
    }

    #[test]
    fn memory_is_counted_in_pages() {
        let ram = of("physpages", &groups());
        assert_eq!((ram.held, ram.maxheld), (Some(2561), Some(16384)));
        assert_eq!((ram.barrier, ram.limit, ram.failcnt), (Some(0), Some(16384), Some(7)));
        let swap = of("swappages", &groups());
        assert_eq!((swap.held, swap.maxheld, swap.limit), (Some(256), Some(256), Some(0)));
        assert_eq!(of("oomguarpages", &groups()).failcnt, Some(2));
        assert_eq!(of("oomguarpages", &groups()).held, Some(2817));
        assert_eq!(of("vmguarpages", &groups()).barrier, Some(2048));
        assert_eq!(of("lockedpages", &groups()).limit, Some(16384));
    }

    #[test]
    fn what_nothing_limits_is_unlimited_and_what_nobody_counts_unknown() {
        let none = Groups::default();
        for row in beancounters(&none) {
            assert_eq!(row.limit, None, "{row:?}");
            assert_eq!((row.held, row.failcnt), (None, None), "{row:?}");
        }
        assert_eq!(beancounters(&none).len(), 21);
        assert_eq!(of("kmemsize", &groups()), Beancounter::free("kmemsize"));
    }

    #[test]
    fn the_file_has_the_kernels_form() {
        let id = VeId::try_from(101).unwrap();
        let text = text(&[(id, beancounters(&groups()))]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + ROWS.len());
        assert_eq!(lines[0], "Version: 2.5");
        assert_eq!(
            lines[1],
            "       uid  resource                     held              maxheld              barrier                limit              failcnt"
        );
        assert_eq!(
            lines[2],
            "      101:  kmemsize                        0                    0  9223372036854775807  9223372036854775807                    0"
        );
        assert_eq!(
            lines[8],
            "            physpages                    2561                16384                    0                16384                    7"
        );
        assert_eq!(lines.iter().filter(|l| l.contains(DUMMY)).count(), 4);
        // Every line is as long as the others: what reads by position finds the same column in each.
        assert!(lines[1..].iter().all(|l| l.len() == lines[1].len()));
    }
}
