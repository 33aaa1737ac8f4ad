//! Finding the hierarchies of a host in its mount table.

use std::path::{Path, PathBuf};

use super::types::Kind;
use crate::{Error, Result, error};

/// What cgroup v1 calls a controller in the mount options (admin-guide/cgroup-v1).
const V1_CONTROLLERS: [&str; 14] = [
    "cpuset",
    "cpu",
    "cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
];

/// A v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its controllers; none for a named hierarchy.
    pub controllers: Vec<String>,
    /// The name of a named hierarchy, such as `systemd`.
    pub name: Option<String>,
    /// `<root>` in it.
    pub root: PathBuf,
    /// The group in which `<root>`'s path begins.
    pub base: PathBuf,
}

/// The v2 tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unified {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The controllers it offers.
    pub controllers: Vec<String>,
    /// Whether a group's memory protection reaches the groups below it (mount option `memory_recursiveprot`).
    pub recursive_protection: bool,
    /// `<root>` in it.
    pub root: PathBuf,
    /// The group in which `<root>`'s path begins.
    pub base: PathBuf,
}

/// Where a controller is.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// In this v1 hierarchy.
    V1(&'a Hierarchy),
    /// In the v2 tree.
    V2(&'a Unified),
}

impl<'a> Place<'a> {
    /// `<root>` there.
    pub fn root(self) -> &'a Path {
        match self {
            Self::V1(h) => &h.root,
            Self::V2(u) => &u.root,
        }
    }
}

/// All hierarchies of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Which kinds there are.
    pub kind: Kind,
    /// Those of v1, in the order of the mount table.
    pub v1: Vec<Hierarchy>,
    /// That of v2.
    pub v2: Option<Unified>,
    /// Where sysfs is mounted.
    pub sysfs: Option<PathBuf>,
    /// The devices that file systems are mounted from, as the mount table names them, but loop devices.
    pub disks: Vec<PathBuf>,
}

impl Layout {
    /// Reads a mount table and the caller's own groups.
    pub fn find(mounts: &str, own: &str, root_name: &str) -> Result<Self> {
        check_root(root_name)?;
        let mut layout = Self {
            kind: Kind::V1,
            v1: Vec::new(),
            v2: None,
            sysfs: None,
            disks: Vec::new(),
        };
        for mount in mounts.lines().filter_map(Mount::parse) {
            layout.add_disk(mount.source);
            match mount.kind {
                "sysfs" if layout.sysfs.is_none() => layout.sysfs = Some(mount.path),
                "cgroup" => layout.add_v1(mount, own, root_name),
                "cgroup2" if layout.v2.is_none() => layout.v2 = Some(unified(mount, own, root_name)),
                _ => {}
            }
        }
        let controllers = layout.v1.iter().any(|h| !h.controllers.is_empty());
        layout.kind = match (&layout.v2, controllers) {
            (Some(_), false) => Kind::V2,
            (Some(_), true) => Kind::Hybrid,
            (None, true) => Kind::V1,
            (None, false) => {
                return Err(Error::new(
                    "find the control groups of",
                    "this host",
                    "no cgroup file system is mounted",
                )
                .kind(error::Kind::Unsupported)
                .hint("mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup"));
            }
        };
        Ok(layout)
    }

    /// Adds the device that something is mounted from, if it is one.
    fn add_disk(&mut self, source: &str) {
        if source.starts_with("/dev/") && !source.starts_with("/dev/loop") {
            let path = PathBuf::from(unescape(source));
            if !self.disks.contains(&path) {
                self.disks.push(path);
            }
        }
    }

    /// Adds a v1 mount, unless its hierarchy is known already (the same one may be mounted twice).
    fn add_v1(&mut self, mount: Mount<'_>, own: &str, root_name: &str) {
        let controllers: Vec<String> = mount
            .options()
            .filter(|o| V1_CONTROLLERS.contains(o))
            .map(str::to_owned)
            .collect();
        let name = mount.options().find_map(|o| o.strip_prefix("name=")).map(str::to_owned);
        let known = |h: &Hierarchy| h.controllers == controllers && h.name == name;
        if (controllers.is_empty() && name.is_none()) || self.v1.iter().any(known) {
            return;
        }
        let named = name.as_ref().map(|n| format!("name={n}"));
        let base = base(&mount.path, own, |list| {
            list.split(',')
                .any(|c| controllers.iter().any(|k| k == c) || named.as_deref() == Some(c))
        });
        self.v1.push(Hierarchy {
            root: base.join(root_name),
            base,
            mount: mount.path,
            controllers,
            name,
        });
    }

    /// Where a controller is; v1 goes by the same names but for `blkio`, which is `io` in v2.
    pub fn place(&self, controller: &str) -> Option<Place<'_>> {
        let v1_name = if controller == "io" { "blkio" } else { controller };
        if let Some(h) = self.v1.iter().find(|h| h.controllers.iter().any(|c| c == v1_name)) {
            return Some(Place::V1(h));
        }
        self.v2
            .as_ref()
            .filter(|u| u.controllers.iter().any(|c| c == controller))
            .map(Place::V2)
    }

    /// `<root>` in every hierarchy, that of the v2 tree first.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        self.v2
            .iter()
            .map(|u| u.root.as_path())
            .chain(self.v1.iter().map(|h| h.root.as_path()))
    }
}

/// The root's name may be a path of plain names; it must not lead out of the hierarchy.
fn check_root(name: &str) -> Result<()> {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.@:\\".contains(&b))
    };
    if name.len() <= 200 && name.split('/').all(plain) {
        return Ok(());
    }
    Err(Error::new(
        "use",
        format_args!("\"{name}\" as the root of the control groups"),
        "it must be a name or names with '/' between them, of letters, digits, '-', '_', '.', '@' and ':'",
    )
    .kind(error::Kind::Invalid))
}

/// The v2 tree at a mount.
fn unified(mount: Mount<'_>, own: &str, root_name: &str) -> Unified {
    let base = base(&mount.path, own, str::is_empty);
    let listed = std::fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    Unified {
        controllers: listed.split_whitespace().map(str::to_owned).collect(),
        recursive_protection: mount.options().any(|o| o == "memory_recursiveprot"),
        root: base.join(root_name),
        base,
        mount: mount.path,
    }
}

/// The group in which the root's path begins: the top, or, where that can't be written but the caller's own group
/// can, that one. `own` has the lines of proc_pid_cgroup(5): `4:memory:/path`.
fn base(mount: &Path, own: &str, ours: impl Fn(&str) -> bool) -> PathBuf {
    let writable = |p: &Path| rustix::fs::access(p, rustix::fs::Access::WRITE_OK).is_ok();
    if writable(mount) {
        return mount.to_owned();
    }
    own.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .find(|(list, _)| ours(list))
        .map(|(_, path)| mount.join(path.trim_start_matches('/')))
        .filter(|p| !p.components().any(|c| c == std::path::Component::ParentDir) && writable(p))
        .unwrap_or_else(|| mount.to_owned())
}

/// A line of the mount table (fstab(5)).
struct Mount<'a> {
    source: &'a str,
    path: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(' ');
        Some(Self {
            source: fields.next()?,
            path: unescape(fields.next()?).into(),
            kind: fields.next()?,
            options: fields.next()?,
        })
    }

    fn options(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.options.split(',')
    }
}

/// Spaces, tabs, newlines and backslashes stand as `\040` and so on.
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |t, (from, to)| t.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
sysfs /sys sysfs rw 0 0
tmpfs /nowhere/cgroup tmpfs rw,mode=755 0 0
cgroup /nowhere/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /nowhere/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /elsewhere/memory cgroup rw,relatime,memory 0 0
cgroup /nowhere/cgroup/systemd cgroup rw,xattr,name=systemd 0 0
cgroup2 /nowhere/cgroup/with\\040space cgroup2 rw 0 0
";

    #[test]
    fn finds_each_hierarchy_once() {
        let l = Layout::find(HYBRID, "", "hostel").unwrap();
        assert_eq!(l.kind, Kind::Hybrid);
        assert_eq!(l.v1.len(), 3);
        assert_eq!(l.v1[0].controllers, ["cpu", "cpuacct"]);
        assert_eq!(l.v1[2].name.as_deref(), Some("systemd"));
        assert_eq!(
            l.v2.as_ref().unwrap().root,
            Path::new("/nowhere/cgroup/with space/hostel")
        );
        assert!(matches!(l.place("cpuacct"), Some(Place::V1(h)) if h.mount.ends_with("cpu,cpuacct")));
        assert!(l.place("io").is_none());
        assert_eq!(l.roots().count(), 4);
    }

    #[test]
    fn kinds() {
        let v2 = "cgroup2 /nowhere cgroup2 rw,nsdelegate,memory_recursiveprot 0 0\n";
        let l = Layout::find(v2, "", "hostel").unwrap();
        assert_eq!(l.kind, Kind::V2);
        assert!(l.v2.unwrap().recursive_protection);
        let named = format!("{v2}cgroup /n/systemd cgroup rw,name=systemd 0 0\n");
        assert_eq!(Layout::find(&named, "", "hostel").unwrap().kind, Kind::V2);
        assert_eq!(
            Layout::find("cgroup /n cgroup rw,cpu 0 0\n", "", "h").unwrap().kind,
            Kind::V1
        );
        let none = Layout::find("proc /proc proc rw 0 0\n", "", "hostel").unwrap_err();
        assert_eq!(none.kind, error::Kind::Unsupported);
    }

    #[test]
    fn below_the_own_group_only_where_the_top_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        // A mount point that can't be written, as it isn't there; its "own group" is, through a way of its own.
        let mount = dir.path().join("ro");
        let own = "4:memory:/a\n0::/docker/x\n";
        assert_eq!(
            base(dir.path(), own, str::is_empty),
            dir.path(),
            "the top where it can be written"
        );
        assert_eq!(base(&mount, own, str::is_empty), mount, "the top where neither can");
        assert_eq!(
            base(&mount, "0::/../../etc\n", str::is_empty),
            mount,
            "never out of the hierarchy"
        );
    }

    #[test]
    fn inside_a_container_the_own_group_is_the_place() {
        use nix::mount::{MsFlags, mount};
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().to_owned();
        // A mount namespace of this thread's own, gone with it.
        let found = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS | nix::sched::CloneFlags::CLONE_FS)?;
            mount(
                None::<&str>,
                "/",
                None::<&str>,
                MsFlags::MS_REC | MsFlags::MS_PRIVATE,
                None::<&str>,
            )?;
            mount(Some("t"), &top, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
            let own = top.join("docker/x");
            std::fs::create_dir_all(&own).unwrap();
            mount(Some("t"), &own, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
            let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(Some("t"), &top, Some("tmpfs"), read_only, None::<&str>)?;
            nix::Result::Ok(base(&top, "4:memory:/a\n0::/docker/x\n", str::is_empty))
        });
        match found.join().unwrap() {
            Ok(found) => assert_eq!(found, dir.path().join("docker/x")),
            Err(e) => println!("skipped because this test can't mount: {e}"),
        }
    }

    #[test]
    fn roots_are_names_or_paths_of_names() {
        for good in ["hostel", "hostel.slice/hostel-ves.service/ve", "hostel-test-1-2"] {
            Layout::find(HYBRID, "", good).unwrap();
        }
        for bad in [
            "",
            "/",
            "/hostel",
            "hostel/",
            "../x",
            "a/../b",
            "a//b",
            "a b",
            ".x",
            &"x".repeat(201),
        ] {
            assert_eq!(
                Layout::find(HYBRID, "", bad).unwrap_err().kind,
                error::Kind::Invalid,
                "{bad}"
            );
        }
    }
}
