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

/// Every obstacle among these processes, `init` one of them; a line each, with the process's name.
pub fn blockers(init: u32, processes: &[u32]) -> Vec<String> {
    let mut found = BTreeSet::new();
    let own: BTreeMap<&str, Option<std::path::PathBuf>> = ALONE
        .iter()
        .map(|(kind, _)| (*kind, fs::read_link(format!("/proc/{init}/ns/{kind}")).ok()))
        .collect();
    for pid in processes {
        // One that ends while it is looked at stands in nobody's way.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let who = format!("{} (process {pid} of the host)", name.trim());
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

#[cfg(test)]
mod tests {
    #[test]
    fn an_ordinary_process_stands_in_no_way() {
        let own = std::process::id();
        assert_eq!(super::blockers(own, &[own]), Vec::<String>::new());
    }
}
