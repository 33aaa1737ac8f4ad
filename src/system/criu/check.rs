//! What in a VE stands in the way of a dump, as far as it can be seen without one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Namespaces of which a VE can have but its own; of mounts, networks and control groups it may have more.
const ALONE: [(&str, &str); 5] = [
    ("uts", "a host name of its own (UTS namespace)"),
    ("ipc", "an IPC namespace of its own"),
    ("pid", "a pid namespace of its own (a container)"),
    ("user", "a user namespace of its own (a container or a sandbox)"),
    ("time", "a time namespace of its own"),
];

/// Descriptors that CRIU can't save, by what their link in /proc begins with.
const STRANGE: [(&str, &str); 7] = [
    ("anon_inode:[io_uring]", "an io_uring"),
    ("anon_inode:bpf", "a BPF program or map"),
    ("anon_inode:[perf_event]", "a performance counter"),
    ("anon_inode:[userfaultfd]", "a userfaultfd"),
    ("anon_inode:kvm", "a virtual machine"),
    ("/dev/net/tun", "a tunnel (/dev/net/tun)"),
    ("/dev/fuse", "a FUSE file system's other side (/dev/fuse)"),
];

/// Every obstacle among these processes of the VE's groups, `init` one of them; a line each, with the process's name.
pub fn blockers(init: u32, processes: &[u32]) -> Vec<String> {
    let tree = Tree::of(init, processes);
    let mut found = BTreeSet::new();
    let own: BTreeMap<&str, Option<std::path::PathBuf>> = ALONE
        .iter()
        .map(|(kind, _)| (*kind, fs::read_link(format!("/proc/{init}/ns/{kind}")).ok()))
        .collect();
    for pid in tree.below() {
        let who = who(pid);
        for (kind, what) in ALONE {
            let its = fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
            if its.is_some() && its != own[kind] {
                found.insert(format!("{who} has {what}"));
            }
        }
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else {
                continue;
            };
            let target = target.to_string_lossy().into_owned();
            if let Some((_, what)) = STRANGE.iter().find(|(begin, _)| target.starts_with(begin)) {
                found.insert(format!("{who} uses {what}"));
            }
            // A look at what the descriptor is open on, by the magic link: it asks no guest's file system for a path.
            if target.ends_with(" (deleted)")
                && let Ok(file) = fs::metadata(descriptor.path())
                && file.is_file()
                && file.nlink() == 0
                && file.len() > super::options::GHOST_LIMIT
            {
                let size = file.len() >> 20;
                found.insert(format!("{who} has a deleted file of {size} MiB open: {target}"));
            }
        }
    }
    let mounts = fs::read_to_string(format!("/proc/{init}/mountinfo")).unwrap_or_default();
    for line in mounts.lines() {
        let (Some(point), Some(kind)) = (
            line.split(' ').nth(4),
            line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next()),
        ) else {
            continue;
        };
        if kind == "fuse" || kind.starts_with("fuse.") || kind.starts_with("nfs") {
            found.insert(format!("a file system of kind {kind} is mounted at {point}"));
        }
    }
    found.into_iter().collect()
}

/// What among these processes of the VE's groups isn't below its init, and so ends with a suspension: what `exec` and
/// `enter` run. Our own, which wait for those outside of the VE, aren't told.
pub fn visitors(init: u32, processes: &[u32]) -> Vec<String> {
    let tree = Tree::of(init, processes);
    let inside = |pid: &u32| tree.inside.contains(pid) && !tree.is_below(*pid);
    processes.iter().copied().filter(|pid| inside(pid)).map(who).collect()
}

fn who(pid: u32) -> String {
    // One that ends while it is looked at stands in nobody's way.
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} (process {pid} of the host)", name.trim())
}

/// Who descends from whom.
struct Tree {
    init: u32,
    parents: BTreeMap<u32, u32>,
    /// Those with pids in the VE.
    inside: BTreeSet<u32>,
}

impl Tree {
    fn of(init: u32, processes: &[u32]) -> Self {
        // The pid in each namespace from ours inwards (proc_pid_status(5)).
        let levels = |status: &str| field(status, "NSpid:").map_or(0, |pids| pids.split_whitespace().count());
        let status = |pid: u32| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let deep = levels(&status(init));
        let (mut parents, mut inside) = (BTreeMap::new(), BTreeSet::new());
        for pid in processes {
            let status = status(*pid);
            if levels(&status) >= deep {
                inside.insert(*pid);
            }
            if let Some(Ok(parent)) = field(&status, "PPid:").map(str::parse) {
                parents.insert(*pid, parent);
            }
        }
        Self { init, parents, inside }
    }

    fn is_below(&self, pid: u32) -> bool {
        // A process can't be its own ancestor, but what was read one by one may say so.
        let line = std::iter::successors(Some(pid), |pid| self.parents.get(pid).copied());
        line.take(self.parents.len() + 1).any(|pid| pid == self.init)
    }

    fn below(&self) -> impl Iterator<Item = u32> {
        self.parents.keys().copied().filter(|pid| self.is_below(*pid))
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_ordinary_process_stands_in_no_way() {
        let own = std::process::id();
        assert_eq!(super::blockers(own, &[own]), Vec::<String>::new());
        assert_eq!(super::visitors(own, &[own]), Vec::<String>::new());
    }

    #[test]
    fn who_is_not_below_the_first_is_a_visitor() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (own, pid) = (std::process::id(), child.id());
        assert_eq!(super::visitors(own, &[own, pid]), Vec::<String>::new());
        assert_eq!(super::visitors(pid, &[own, pid]).len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
