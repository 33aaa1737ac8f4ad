//! What in a VE stands in the way of a dump, as far as it can be seen without one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use hostel_monitor::table::each_line;
use hostel_monitor::view::is_of_view;
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};

use super::Version;

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

/// What begins the links of descriptors that have no file.
const ANONYMOUS: &str = "anon_inode:";
/// Those of them that CRIU can save (criu/files.c), besides pidfds.
const SAVED: [&str; 6] = [
    "[eventfd]",
    "[eventpoll]",
    "inotify",
    "[fanotify]",
    "[signalfd]",
    "[timerfd]",
];
const PIDFD: &str = "[pidfd]";
/// The first CRIU that saves pidfds. A systemd of 254 or later holds some.
const SAVES_PIDFDS: Version = Version(4, 1);

/// What keeps a VE with this init from going on as it was. A systemd of 254 or later holds what it has started by
/// descriptors (pidfds), and was seen to hear of no process's end any more when it went on with those that CRIU 4.2 had
/// made again: it answers, and starts nothing.
pub fn unheard(init: u32) -> Option<String> {
    let descriptors = fs::read_dir(format!("/proc/{init}/fd")).into_iter().flatten().flatten();
    let pidfd = |path: PathBuf| fs::read_link(path).is_ok_and(|link| link.to_str() == Some("anon_inode:[pidfd]"));
    let mut held = descriptors.map(|descriptor| pidfd(descriptor.path()));
    held.any(|is| is).then(|| {
        format!("{} holds its services by descriptors (pidfds, as systemd does from 254 on), and would start no more when it goes on", who(init))
    })
}

/// Every obstacle among these processes of the VE's groups, `init` one of them; a line each, with the process's name. Of
/// what only some versions of CRIU save, this one's are told.
pub fn blockers(init: u32, processes: &[u32], criu: Option<Version>) -> Vec<String> {
    let tree = Tree::of(init, processes);
    let own: BTreeMap<&str, Option<PathBuf>> = ALONE.iter().map(|(kind, _)| (*kind, namespace(init, kind))).collect();
    let mounts = Mounts::of(init, tree.below());
    let mut found: BTreeSet<String> = mounts.obstacles().chain(unheard(init)).collect();
    for pid in tree.below() {
        let who = who(pid);
        for (kind, what) in ALONE {
            let its = namespace(pid, kind);
            if its.is_some() && its != own[kind] {
                found.insert(format!("{who} has {what}"));
            }
        }
        if field(&status(pid), "TracerPid:").is_some_and(|tracer| tracer != "0") {
            found.insert(format!("{who} is being traced, as by gdb or strace"));
        }
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let obstacles = descriptors.filter_map(|descriptor| obstacle(&descriptor.path(), &mounts, criu));
        found.extend(obstacles.map(|what| format!("{who} {what}")));
    }
    found.into_iter().collect()
}

/// Why this descriptor of a process, by its link in /proc, can't be saved; as what the process does.
fn obstacle(descriptor: &Path, mounts: &Mounts, criu: Option<Version>) -> Option<String> {
    let target = fs::read_link(descriptor).ok()?.to_string_lossy().into_owned();
    if let Some((_, what)) = STRANGE.iter().find(|(begin, _)| target.starts_with(begin)) {
        return Some(format!("uses {what}"));
    }
    match target.strip_prefix(ANONYMOUS) {
        Some(PIDFD) => {
            let criu = criu.filter(|criu| *criu < SAVES_PIDFDS)?;
            return Some(format!(
                "holds another process by descriptor (a pidfd), which CRIU {criu} can't save; {SAVES_PIDFDS} or later can"
            ));
        }
        Some(kind) => return (!SAVED.contains(&kind)).then(|| format!("uses {kind}, which CRIU doesn't know")),
        // Sockets and pipes; and memory by descriptor, which is saved as such, however large.
        None if !target.starts_with('/') || target.starts_with("/memfd:") => return None,
        None => {}
    }
    let number = mount_of(descriptor)?;
    let on = mounts.all.get(&number);
    if let Some(Mounted { kind, .. }) = on.filter(|on| is_foreign(&on.kind)) {
        return Some(format!("has {target} open, a file of a file system of kind {kind}"));
    }
    // By the magic link, so no guest's file system is asked for a path; nor is one asked how the file is by now.
    let file = statx(CWD, descriptor, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS).ok()?;
    let kind = FileType::from_raw_mode(file.stx_mode.into());
    if kind == FileType::RegularFile && file.stx_nlink == 0 && file.stx_size > super::options::GHOST_LIMIT {
        return Some(format!(
            "has a deleted file of {} MiB open: {target}",
            file.stx_size >> 20
        ));
    }
    let is_elsewhere = on.is_none() && matches!(kind, FileType::RegularFile | FileType::Directory);
    (is_elsewhere && !is_there(descriptor, &number)?)
        .then(|| format!("has {target} open, on a file system that isn't mounted in the VE"))
}

/// What no CRIU saves: what is behind it is elsewhere.
fn is_foreign(kind: &str) -> bool {
    ["fuse", "fuseblk"].contains(&kind) || ["fuse.", "nfs"].iter().any(|begin| kind.starts_with(begin))
}

/// So many mounts of a VE are looked at, in all its mount namespaces together; more are an obstacle.
const MOST_MOUNTS: usize = 50_000;

/// What is mounted in a VE, in all its mount namespaces.
#[derive(Default)]
struct Mounts {
    all: BTreeMap<String, Mounted>,
    /// There are more.
    more: bool,
}

/// One of them; the kernel's number of it is its key.
struct Mounted {
    point: String,
    kind: String,
    /// For whom, unless it is where the VE's init is.
    whose: Option<u32>,
}

impl Mounts {
    fn of(init: u32, processes: impl Iterator<Item = u32>) -> Self {
        let (mut mounts, mut seen) = (Self::default(), BTreeSet::new());
        for pid in std::iter::once(init).chain(processes) {
            if seen.insert(namespace(pid, "mnt")) {
                let whose = Some(pid).filter(|pid| *pid != init);
                // One that ends while it is looked at stands in nobody's way.
                if let Ok(table) = fs::File::open(format!("/proc/{pid}/mountinfo")) {
                    let _ = each_line(table, |line| mounts.add(line, whose));
                }
            }
        }
        mounts
    }

    /// False if there is room for no more.
    fn add(&mut self, line: &str, whose: Option<u32>) -> bool {
        self.all.extend(mounted(line, whose));
        self.more = self.all.len() > MOST_MOUNTS;
        !self.more
    }

    /// The VE's own figures are taken off before a dump.
    fn obstacles(&self) -> impl Iterator<Item = String> {
        let foreign = |m: &&Mounted| is_foreign(&m.kind) && !is_of_view(&m.point, &m.kind);
        let foreign = self.all.values().filter(foreign).map(|Mounted { point, kind, whose }| {
            let whose = whose.map(|pid| format!(" for {}", who(pid))).unwrap_or_default();
            format!("a file system of kind {kind} is mounted at {point}{whose}")
        });
        let more = || format!("there are more than {MOST_MOUNTS} mounts in it, which are not looked through");
        foreign.chain(self.more.then(more))
    }
}

/// A line of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
fn mounted(line: &str, whose: Option<u32>) -> Option<(String, Mounted)> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut fields = mount.split(' ');
    let (number, point) = (fields.next()?.to_owned(), fields.nth(3)?.to_owned());
    let kind = kind.split(' ').next()?.to_owned();
    Some((number, Mounted { point, kind, whose }))
}

/// The kernel's number of the mount that a descriptor's file is on.
fn mount_of(descriptor: &Path) -> Option<String> {
    let information = descriptor
        .parent()?
        .with_file_name("fdinfo")
        .join(descriptor.file_name()?);
    let information = fs::read_to_string(information).ok()?;
    field(&information, "mnt_id:").map(str::to_owned)
}

/// Is this mount there by now, for a process that came or went elsewhere meanwhile?
fn is_there(descriptor: &Path, number: &str) -> Option<bool> {
    let table = fs::read_to_string(descriptor.parent()?.with_file_name("mountinfo")).ok()?;
    Some(table.lines().any(|line| line.split(' ').next() == Some(number)))
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

fn status(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

/// Which namespace of this kind it is in.
fn namespace(pid: u32, kind: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()
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
    use std::fs::File;
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    use super::*;

    /// What stands in the way of a process with this for its input.
    fn holding(input: impl Into<Stdio>, criu: Option<Version>) -> Vec<String> {
        let mut child = Command::new("sleep").arg("60").stdin(input).spawn().unwrap();
        let found = blockers(child.id(), &[child.id()], criu);
        child.kill().unwrap();
        child.wait().unwrap();
        found
    }

    fn long(file: OwnedFd) -> File {
        let file = File::from(file);
        file.set_len(super::super::options::GHOST_LIMIT + 1).unwrap();
        file
    }

    #[test]
    fn an_ordinary_process_stands_in_no_way() {
        assert_eq!(holding(Stdio::null(), Some(Version(3, 14))), Vec::<String>::new());
        let own = std::process::id();
        assert_eq!(visitors(own, &[own]), Vec::<String>::new());
    }

    #[test]
    fn a_deleted_file_is_one_and_memory_by_descriptor_is_not() {
        let file = tempfile::tempfile().unwrap();
        let found = holding(long(file.into()), None);
        assert!(
            found.len() == 1 && found[0].contains("a deleted file of 256 MiB"),
            "{found:?}"
        );
        let memory = rustix::fs::memfd_create("large", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(holding(long(memory), None), Vec::<String>::new());
    }

    #[test]
    fn so_many_mounts_are_not_looked_through() {
        let mut mounts = Mounts::default();
        let line = |n| format!("{n} 1 0:40 / /x rw,relatime - tmpfs tmpfs rw");
        assert!((0..MOST_MOUNTS).all(|n| mounts.add(&line(n), None)));
        assert_eq!(mounts.obstacles().count(), 0);
        assert!(!mounts.add(&line(MOST_MOUNTS), None));
        assert!(mounts.obstacles().all(|told| told.contains("more than 50000 mounts")));
        assert_eq!(mounts.obstacles().count(), 1);
    }

    #[test]
    fn what_only_some_versions_save() {
        use rustix::process::{PidfdFlags, getpid, pidfd_open};
        let pidfd = || pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        // The process is its own init here, so that is told of it in any version.
        let told = |criu, what: &str| {
            let found = holding(pidfd(), Some(criu));
            found.iter().filter(|line| line.contains(what)).count()
        };
        assert_eq!(told(Version(3, 17), "which CRIU 3.17 can't save"), 1);
        assert_eq!(told(Version(4, 1), "can't save"), 0);
        assert_eq!(told(Version(4, 1), "would start no more"), 1);
        let found = holding(
            rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC).unwrap(),
            None,
        );
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn what_is_behind_a_program_or_another_host_is_foreign() {
        for (kind, foreign) in [
            ("fuse", true),
            ("fuse.sshfs", true),
            ("fusectl", false),
            ("nfs4", true),
            ("ext4", false),
        ] {
            assert_eq!(is_foreign(kind), foreign, "{kind}");
        }
    }

    #[test]
    fn who_is_not_below_the_first_is_a_visitor() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let (own, pid) = (std::process::id(), child.id());
        assert_eq!(visitors(own, &[own, pid]), Vec::<String>::new());
        assert_eq!(visitors(pid, &[own, pid]).len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
