//! File systems of the host that tests make for themselves: the contract of the drivers that are directories, and what
//! is theirs alone.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::disk::directory::Note;

/// A file system on a loop device, mounted in a place of its own; gone when this is dropped.
struct OwnFs {
    dir: tempfile::TempDir,
}

impl OwnFs {
    /// `None`, with the reason said, if this kernel or this machine can't.
    fn make(kind: &str, mib: u64, mkfs: &[&str], options: &str) -> Option<Self> {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let image = dir.path().join("fs.img");
        File::create(&image).unwrap().set_len(mib * MIB).unwrap();
        let run = |program: &str, args: &[&str]| {
            let path = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
            match Command::new(program).args(args).env("PATH", path).output() {
                Ok(out) if out.status.success() => Ok(()),
                Ok(out) => Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()),
                Err(e) => Err(format!("{program}: {e}")),
            }
        };
        let mut args = mkfs.to_vec();
        args.push(image.to_str().unwrap());
        let point = dir.path().join("mnt");
        fs::create_dir(&point).unwrap();
        let made = run(&format!("mkfs.{kind}"), &args).and_then(|()| {
            run(
                "mount",
                &[
                    "-o",
                    &format!("loop,{options}"),
                    image.to_str().unwrap(),
                    point.to_str().unwrap(),
                ],
            )
        });
        match made {
            Ok(()) => Some(Self { dir }),
            Err(why) => {
                println!("skipped because {kind} with {options} can't be had here: {why}");
                None
            }
        }
    }

    fn ext4(options: &str) -> Option<Self> {
        Self::make(
            "ext4",
            512,
            &["-q", "-O", "quota,project", "-E", "quotatype=prjquota"],
            options,
        )
    }

    fn xfs() -> Option<Self> {
        Self::make("xfs", 400, &["-q"], "prjquota")
    }

    fn btrfs() -> Option<Self> {
        Self::make("btrfs", 512, &["-q"], "noatime")
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

impl Drop for OwnFs {
    fn drop(&mut self) {
        // A child that another test is just making has a copy of what is open here, until it runs its program.
        let end = Instant::now() + PATIENCE;
        let unmount = || rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::empty());
        while let Err(e) = unmount() {
            assert!(e == rustix::io::Errno::BUSY && Instant::now() < end, "{e}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().count() == 0
}

#[test]
fn project_on_ext4_keeps_the_contract() {
    let Some(host) = OwnFs::ext4("prjquota") else { return };
    contract(&ProjectDisks::default(), &host.path(), false);
    assert!(is_empty(&host.path().join("101")));
}

#[test]
fn project_on_xfs_keeps_the_contract() {
    let Some(host) = OwnFs::xfs() else { return };
    contract(&ProjectDisks::default(), &host.path(), false);
    assert!(is_empty(&host.path().join("101")));
}

#[test]
fn btrfs_keeps_the_contract() {
    let Some(host) = OwnFs::btrfs() else { return };
    contract(&BtrfsDisks::default(), &host.path(), false);
    assert!(is_empty(&host.path().join("101")));
}

/// Writes until it is refused; how many bytes went.
fn fill(file: &Path) -> u64 {
    // On a full disk there is no room for a name either.
    let Ok(out) = File::create(file) else { return 0 };
    let mut written = 0;
    while out.write_all_at(&noise(written + 1, 1 << 20), written).is_ok() {
        written += 1 << 20;
        assert!(written < 300 * MIB, "nothing holds it");
        if written % (8 * MIB) == 0 {
            out.sync_all().ok();
        }
    }
    written
}

#[test]
fn a_subvolume_is_held_to_its_size() {
    let Some(host) = OwnFs::btrfs() else { return };
    let disks = BtrfsDisks::default();
    assert_eq!(disks.prepare(&host.path()).unwrap().len(), 1);
    assert!(disks.prepare(&host.path()).unwrap().is_empty());
    let ve = host.path().join("101");
    disks.create(&ve, &spec(64), "ve-101").unwrap();
    let disk = ve.join("disk.btrfs");
    assert_eq!(fs::metadata(&disk).unwrap().permissions().mode() & 0o777, 0o700);
    let written = fill(&disk.join("big"));
    assert!((40 * MIB..=64 * MIB).contains(&written), "{written}");
    assert_eq!(disks.shrink(&ve, 32 * MIB).unwrap_err().kind, Kind::NoSpace);
    disks.grow(&ve, 128 * MIB).unwrap();
    assert!(fill(&disk.join("more")) > 32 * MIB);
    // Another program has lifted the limit: it is in force again before the disk is used.
    let lifted = Command::new("btrfs")
        .args(["qgroup", "limit", "none"])
        .arg(&disk)
        .status()
        .unwrap();
    assert!(lifted.success());
    drop(disks.attach(&ve).unwrap());
    assert!(fill(&disk.join("last")) < 64 * MIB);
}

#[test]
fn subvolumes_in_a_disk_go_with_it() {
    let Some(host) = OwnFs::btrfs() else { return };
    let disks = BtrfsDisks::default();
    let ve = host.path().join("101");
    disks.create(&ve, &spec(64), "ve-101").unwrap();
    let make = |args: &[&str]| {
        let made = Command::new("btrfs")
            .args(["-q", "subvolume"])
            .args(args)
            .status()
            .unwrap();
        assert!(made.success(), "{args:?}");
    };
    let disk = ve.join("disk.btrfs").display().to_string();
    make(&["create", &format!("{disk}/a")]);
    make(&["create", &format!("{disk}/a/b")]);
    fs::write(format!("{disk}/a/b/file"), "x").unwrap();
    make(&["snapshot", "-r", &format!("{disk}/a"), &format!("{disk}/frozen")]);
    disks.remove(&ve).unwrap();
    assert!(is_empty(&ve));
    let left = Command::new("btrfs")
        .args(["subvolume", "list"])
        .arg(host.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
fn a_subvolume_has_the_disk_below_for_limits() {
    let Some(host) = OwnFs::btrfs() else { return };
    let disks = BtrfsDisks::default();
    let ve = host.path().join("101");
    disks.create(&ve, &spec(64), "ve-101").unwrap();
    let found = disks.devices(&ve).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].major, 7, "a loop device: {found:?}");
}

#[test]
fn what_a_file_system_lacks_is_named() {
    let probe = |disks: &dyn Disks, dir: &Path| disks.probe(dir).unwrap_err();
    let plain = Path::new("/proc/self");
    assert!(
        probe(&ProjectDisks::default(), plain).contains("no project quotas"),
        "{}",
        probe(&ProjectDisks::default(), plain)
    );
    assert!(probe(&BtrfsDisks::default(), plain).contains("not btrfs"));
    let Some(host) = OwnFs::make("ext4", 64, &["-q"], "noatime") else {
        return;
    };
    let why = probe(&ProjectDisks::default(), &host.path());
    assert!(
        why.contains("tune2fs -O project,quota") || why.contains("CONFIG_QUOTA"),
        "{why}"
    );
    let error = ProjectDisks::default()
        .create(&host.path().join("101"), &spec(32), "a")
        .unwrap_err();
    assert_eq!(error.kind, Kind::Unsupported);
    assert!(is_empty(&host.path().join("101")));
}

#[test]
fn a_project_that_is_only_counted_is_no_driver() {
    let Some(host) = OwnFs::ext4("noatime") else { return };
    let why = ProjectDisks::default().probe(&host.path()).unwrap_err();
    assert!(why.contains("quotaon -P") || why.contains("CONFIG_QUOTA"), "{why}");
}

/// The number that a project disk got.
fn number(ve: &Path) -> u32 {
    Note::read(&ve.join("disk.project")).unwrap().unwrap().key
}

fn projects(host: &OwnFs) {
    let disks = ProjectDisks::default();
    let (one, two) = (host.path().join("101"), host.path().join("102"));
    let small = DiskSpec {
        inodes: Some(100),
        ..spec(32)
    };
    disks.create(&one, &small, "ve-101").unwrap();
    // The same key by another instance: another number.
    disks.create(&two, &spec(64), "ve-102").unwrap();
    assert_eq!((number(&one), number(&two)), (1 << 20, (1 << 20) + 1));
    let disk = one.join("disk.project");
    // This process may pass quotas on ext4 if it has CAP_SYS_RESOURCE; a guest has not.
    let may_pass = caps::has_sys_resource();
    caps::without_sys_resource(|| {
        let written = fill(&disk.join("big"));
        assert!((16 * MIB..=32 * MIB).contains(&written), "{written}");
        fs::remove_file(disk.join("big")).unwrap();
        let made = (0..200)
            .take_while(|n| File::create(disk.join(format!("f{n}"))).is_ok())
            .count();
        assert!((90..100).contains(&made), "{made} files of 100");
    });
    println!("CAP_SYS_RESOURCE here: {may_pass}");
    let usage = disks.usage(&one).unwrap();
    assert_eq!((usage.inodes, usage.inodes_used), (Some(100), Some(100)));
    assert_eq!(usage.size, Some(32 * MIB));
    // statfs of a directory in it shows the limits.
    let s = rustix::fs::statfs(&disk).unwrap();
    assert_eq!(s.f_blocks * u64::try_from(s.f_bsize).unwrap(), 32 * MIB);
    assert_eq!(s.f_files, 100);
    assert_eq!(
        disks.shrink(&one, 16 * MIB).unwrap_err().kind,
        Kind::NoSpace,
        "its files take more inodes"
    );
    disks.grow(&one, 64 * MIB).unwrap();
    assert_eq!(disks.usage(&one).unwrap().inodes, Some(200));
    // What leaves it is refused.
    fs::rename(disk.join("f1"), two.join("disk.project/f1")).unwrap_err();
    fs::hard_link(disk.join("f1"), two.join("disk.project/f1")).unwrap_err();
    // A directory that inherits a project takes no other.
    assert!(disks.probe(&disk).unwrap_err().contains("belongs to project"));
    // Nothing is left by those that the driver removes; what others remove is found.
    let keys = 1 << 20..2 << 20;
    assert!(disks.leftovers(&host.path(), keys.clone()).unwrap().is_empty());
    disks.remove(&one).unwrap();
    assert!(disks.leftovers(&host.path(), keys.clone()).unwrap().is_empty());
    fs::remove_dir_all(&two).unwrap();
    let left = disks.leftovers(&host.path(), keys.clone()).unwrap();
    assert_eq!(left.iter().map(|l| l.number).collect::<Vec<_>>(), [(1 << 20) + 1]);
    assert!(disks.leftovers(&host.path(), 0..1 << 20).unwrap().is_empty());
    disks.clear(&host.path(), &left[0]).unwrap();
    assert!(disks.leftovers(&host.path(), keys).unwrap().is_empty());
}

#[test]
fn projects_are_held_on_ext4() {
    if let Some(host) = OwnFs::ext4("prjquota") {
        projects(&host);
    }
}

#[test]
fn projects_are_held_on_xfs() {
    if let Some(host) = OwnFs::xfs() {
        projects(&host);
    }
}

/// CAP_SYS_RESOURCE of this thread.
mod caps {
    const SYS_RESOURCE: u64 = 1 << 24;

    pub(super) fn has_sys_resource() -> bool {
        hostel_monitor::sys::capget().unwrap().effective & SYS_RESOURCE != 0
    }

    pub(super) fn without_sys_resource(act: impl FnOnce()) {
        let held = hostel_monitor::sys::capget().unwrap();
        let lowered = hostel_monitor::sys::CapSets {
            effective: held.effective & !SYS_RESOURCE,
            ..held
        };
        hostel_monitor::sys::capset(lowered).unwrap();
        act();
        hostel_monitor::sys::capset(held).unwrap();
    }
}

/// A disk as overlayfs leaves it, as far as that can be made by hand.
fn layers(root: &Path) {
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    let device = |path: &Path, nlink: Option<&Path>| match nlink {
        None => rustix::fs::mknodat(
            rustix::fs::CWD,
            path,
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::empty(),
            0,
        )
        .unwrap(),
        Some(other) => fs::hard_link(other, path).unwrap(),
    };
    let (upper, index) = (root.join("upper"), root.join("work/index"));
    fs::create_dir_all(upper.join("dir/inner")).unwrap();
    fs::create_dir_all(&index).unwrap();
    fs::create_dir(root.join("work/work")).unwrap();
    fs::create_dir(index.join("00directory")).unwrap();
    fs::write(index.join("#temporary"), "x").unwrap();
    set(&upper, "trusted.overlay.origin", b"handle");
    set(&upper.join("dir"), "trusted.overlay.opaque", b"y");
    set(&upper.join("dir"), "user.note", b"kept");
    set(&index, "trusted.overlay.upper", b"of the old disk");
    fs::write(upper.join("file"), noise(1, 100_000)).unwrap();
    fs::set_permissions(upper.join("file"), fs::Permissions::from_mode(0o4755)).unwrap();
    std::os::unix::fs::chown(upper.join("file"), Some(1000), Some(4711)).unwrap();
    fs::set_permissions(upper.join("file"), fs::Permissions::from_mode(0o4755)).unwrap();
    set(
        &upper.join("file"),
        "security.capability",
        &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    fs::hard_link(upper.join("file"), upper.join("dir/again")).unwrap();
    fs::hard_link(upper.join("file"), index.join("00fileindex")).unwrap();
    device(&upper.join("deleted"), None);
    device(&upper.join("deleted2"), Some(&upper.join("deleted")));
    device(&index.join("00whiteout"), None);
    symlink("/nowhere", upper.join("link")).unwrap();
    let sparse = File::create(upper.join("sparse")).unwrap();
    sparse.set_len(64 * MIB).unwrap();
    sparse.write_all_at(b"end", 64 * MIB - 3).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        upper.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap();
    let time = rustix::fs::Timespec {
        tv_sec: 1_000_000_000,
        tv_nsec: 123,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(rustix::fs::CWD, upper.join("dir"), &times, rustix::fs::AtFlags::empty()).unwrap();
}

/// All that must be the same on both sides of a move.
fn picture(root: &Path) -> Vec<String> {
    fn look(dir: &Path, top: &Path, first: &mut std::collections::BTreeMap<u64, PathBuf>, lines: &mut Vec<String>) {
        let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let m = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(top).unwrap().to_owned();
            let alias = first.entry(m.ino()).or_insert_with(|| name.clone()).clone();
            let mut list = vec![0u8; 4096];
            let length = rustix::fs::llistxattr(&path, &mut list[..]).unwrap();
            let mut attributes = Vec::new();
            for attribute in list[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
                let mut value = vec![0u8; 4096];
                let length = rustix::fs::lgetxattr(&path, attribute, &mut value[..]).unwrap();
                attributes.push((
                    String::from_utf8_lossy(attribute).into_owned(),
                    value[..length].to_vec(),
                ));
            }
            attributes.sort();
            let content = if m.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            let sum = content
                .iter()
                .fold(0u64, |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(*b)));
            let links = if m.is_dir() { 0 } else { m.nlink() };
            let size = if m.is_dir() { 0 } else { m.size() };
            lines.push(format!(
                "{name:?} = {alias:?} {:o} {}:{} {size} {sum:x} {links} {} {}.{} {attributes:?}",
                m.mode(),
                m.uid(),
                m.gid(),
                m.rdev(),
                m.mtime(),
                m.mtime_nsec(),
            ));
            if m.is_dir() {
                look(&path, top, first, lines);
            }
        }
    }
    let mut lines = Vec::new();
    look(
        &root.join("upper"),
        root,
        &mut std::collections::BTreeMap::new(),
        &mut lines,
    );
    lines
}

fn moved(from: (DriverName, &Path), to: (DriverName, &Path)) {
    let drivers = Drivers::default();
    let wide = spec(128);
    for (name, dir) in [from, to] {
        drivers.get(name).create(dir, &wide, "ve").unwrap();
    }
    let at = |content: &Content| {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            content.root().as_raw_fd()
        ))
    };
    let source = drivers.get(from.0).content(from.1).unwrap();
    layers(&at(&source));
    let before = picture(&at(&source));
    drop(source);
    drivers.detach(from.1, PATIENCE).unwrap();
    drivers.copy(from, to).unwrap();
    let target = drivers.get(to.0).content(to.1).unwrap();
    let root = at(&target);
    assert_eq!(picture(&root), before);
    let sparse = fs::metadata(root.join("upper/sparse")).unwrap();
    assert!(sparse.blocks() * 512 < MIB, "{} blocks", sparse.blocks());
    let index = root.join("work/index");
    assert_eq!(names(&index), ["00fileindex", "00whiteout"]);
    assert_eq!(
        fs::metadata(index.join("00fileindex")).unwrap().ino(),
        fs::metadata(root.join("upper/file")).unwrap().ino()
    );
    assert_eq!(rustix::fs::llistxattr(&index, &mut [0u8; 64][..]).unwrap(), 0);
    drop(target);
    drivers.detach(to.1, PATIENCE).unwrap();
    for (name, dir) in [from, to] {
        drivers.get(name).remove(dir).unwrap();
    }
}

#[test]
fn a_move_loses_nothing() {
    let Some(host) = OwnFs::btrfs() else { return };
    let (one, two) = (host.path().join("1"), host.path().join("2"));
    moved((DriverName::Image, &one), (DriverName::Btrfs, &two));
    moved((DriverName::Btrfs, &one), (DriverName::Image, &two));
    for host in [OwnFs::ext4("prjquota"), OwnFs::xfs()].into_iter().flatten() {
        let (one, two) = (host.path().join("1"), host.path().join("2"));
        moved((DriverName::Image, &one), (DriverName::Project, &two));
        moved((DriverName::Project, &one), (DriverName::Image, &two));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(host) = OwnFs::btrfs() else { return };
    let drivers = Drivers::default();
    let (one, two) = (host.path().join("1"), host.path().join("2"));
    drivers.get(DriverName::Image).create(&one, &spec(128), "ve").unwrap();
    drivers.get(DriverName::Btrfs).create(&two, &spec(32), "ve").unwrap();
    with_mounted(&one, |root| {
        fs::write(root.join("upper/big"), noise(1, 60 << 20)).unwrap();
    });
    let error = drivers
        .copy((DriverName::Image, &one), (DriverName::Btrfs, &two))
        .unwrap_err();
    assert_eq!(error.kind, Kind::NoSpace, "{error:?}");
    assert!(
        ImageDisks.attached(&one).unwrap().is_none(),
        "the old disk was let go of"
    );
}
