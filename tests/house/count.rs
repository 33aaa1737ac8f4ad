//! What a host has of Hostel, counted, so that what stays can be told from what was left.

use std::path::{Path, PathBuf};

use super::House;

/// What is there of one house.
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    mounts: usize,
    loops: usize,
    groups: usize,
    links: usize,
    rules: usize,
    run_files: usize,
    data_files: usize,
    monitor_fds: usize,
}

impl Counts {
    /// Of this house, with the descriptors of one monitor.
    pub fn of(h: &House, monitor: u64) -> Self {
        let ours = |l: &&str| l.contains(h.dir.to_str().unwrap()) || l.contains(h.run.to_str().unwrap());
        Self {
            mounts: h.host_sh("cat /proc/self/mountinfo").lines().filter(ours).count(),
            loops: h.host_sh("losetup -a").lines().filter(ours).count(),
            groups: groups_below(h),
            links: h.host_sh("ip -o link").lines().count(),
            rules: h.host_sh("nft list ruleset").lines().count(),
            run_files: files_below(&h.run),
            data_files: files_below(&h.dir),
            monitor_fds: std::fs::read_dir(format!("/proc/{monitor}/fd")).unwrap().count(),
        }
    }
}

/// All files and directories below one.
pub fn files_below(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|e| {
            1 + if e.file_type().unwrap().is_dir() {
                files_below(&e.path())
            } else {
                0
            }
        })
        .sum()
}

/// Where this host's trees of groups are mounted.
fn trees() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let trees = mounts.lines().filter(|l| l.contains(" cgroup"));
    trees.filter_map(|l| Some(l.split(' ').nth(1)?.into())).collect()
}

fn groups_below(h: &House) -> usize {
    let dirs = |dir: PathBuf| -> usize {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().unwrap().is_dir()).count()
    };
    trees().into_iter().map(|t| dirs(t.join(&h.cgroup_root))).sum()
}

/// What the kernel has of everybody, in whose objects a leak would show that no list names.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Each by its name.
    pub objects: Vec<(&'static str, u64)>,
    /// Bytes that the kernel uses for itself and can't give back: slabs, memory by processor, stacks.
    pub memory: u64,
}

/// The caches of /proc/slabinfo in which namespaces and mounts are.
const CACHES: [&str; 6] = [
    "net_namespace",
    "pid_namespace",
    "user_namespace",
    "uts_namespace",
    "nsproxy",
    "mnt_cache",
];

impl Kernel {
    /// As it is now.
    pub fn now() -> Self {
        let number = |text: Option<&str>| text.and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
        let slabs = std::fs::read_to_string("/proc/slabinfo").unwrap();
        let cache = |name: &'static str| {
            let line = slabs.lines().find(|l| l.split_ascii_whitespace().next() == Some(name));
            let active = line.and_then(|l| l.split_ascii_whitespace().nth(1));
            (name, number(active)) // a cache that was merged with others has no line
        };
        let groups = std::fs::read_to_string("/proc/cgroups").unwrap();
        let most = groups
            .lines()
            .map(|l| number(l.split_ascii_whitespace().nth(2)))
            .max()
            .unwrap_or(0);
        let dying = trees().into_iter().map(|t| {
            let stat = std::fs::read_to_string(t.join("cgroup.stat")).unwrap_or_default();
            number(stat.lines().find_map(|l| l.strip_prefix("nr_dying_descendants ")))
        });
        let mut objects: Vec<_> = CACHES.into_iter().map(cache).collect();
        objects.push(("groups, with dying ones", most));
        objects.push(("dying groups of version 2", dying.sum()));
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
        let kib = |name: &str| {
            let line = memory.lines().find(|l| l.starts_with(name));
            number(line.and_then(|l| l.split_ascii_whitespace().nth(1)))
        };
        Self {
            objects,
            memory: (kib("SUnreclaim:") + kib("Percpu:") + kib("KernelStack:")) << 10,
        }
    }
}
