//! One contract for every driver, then what is the image driver's own, on the real kernel.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::ext4::{PrivateMount, Superblock};
use super::*;

use crate::Kind;

mod hosts;

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

fn spec(mib: u64) -> DiskSpec {
    DiskSpec {
        size: mib * MIB,
        inodes: None,
        key: 1 << 20,
    }
}

/// Says why image disks can't be tried here.
fn skipped() -> bool {
    static WHY: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let why = WHY.get_or_init(|| ImageDisks.probe(&std::env::temp_dir()).err());
    if let Some(why) = why {
        println!("skipped because {why}");
    }
    why.is_some()
}

/// A directory that lets go of its disks before it goes.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = ImageDisks.detach(self.path(), PATIENCE) {
            println!("{e}");
        }
    }
}

/// Where a private mount can be reached by path.
fn reach(mount: &PrivateMount) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), mount.as_raw_fd()).into()
}

fn node(attached: &Attached) -> PathBuf {
    match &attached.source {
        DiskSource::Device { path, .. } => path.clone(),
        DiskSource::Directory(d) => panic!("a device, not {}", d.display()),
    }
}

/// Mounts the disk, lets `inside` act on its root, and takes all away again.
fn with_mounted<T>(dir: &Path, inside: impl FnOnce(&Path) -> T) -> T {
    let attached = ImageDisks.attach(dir).unwrap();
    let mount = PrivateMount::of(&node(&attached)).unwrap();
    drop(attached);
    let result = inside(&reach(&mount));
    drop(mount);
    ImageDisks.detach(dir, PATIENCE).unwrap();
    result
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut x = seed | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    (0..bytes / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// What every driver promises; `attaches`: its disks have to be attached.
fn contract(disks: &dyn Disks, dir: &Path, attaches: bool) {
    disks.probe(dir).unwrap();
    let ve = dir.join("101");
    // Nothing there.
    assert!(!disks.exists(&ve).unwrap());
    assert!(disks.attached(&ve).unwrap().is_none());
    disks.remove(&ve).unwrap();
    disks.detach(&ve, PATIENCE).unwrap();
    assert_eq!(disks.attach(&ve).unwrap_err().kind, Kind::NotFound);
    assert_eq!(disks.usage(&ve).unwrap_err().kind, Kind::NotFound);
    assert_eq!(disks.grow(&ve, 64 * MIB).unwrap_err().kind, Kind::NotFound);
    // Made, twice, and not over another.
    disks.create(&ve, &spec(64), "ve-101").unwrap();
    disks.create(&ve, &spec(64), "ve-101").unwrap();
    assert_eq!(disks.create(&ve, &spec(128), "ve-101").unwrap_err().kind, Kind::Exists);
    assert!(disks.exists(&ve).unwrap());
    assert_eq!(disks.check(&ve).unwrap(), FsckOutcome::Clean);
    let stamp = disks.stamp(&ve).unwrap();
    // Attached, twice: the same device.
    let first = disks.attach(&ve).unwrap();
    assert!(!first.reused);
    let second = disks.attach(&ve).unwrap();
    assert_eq!(second.reused, attaches);
    assert_eq!(first.source, second.source);
    assert!(disks.list(&dir.join("102")).unwrap().is_empty());
    assert!(!disks.devices(&ve).unwrap().is_empty());
    if attaches {
        assert_eq!(disks.attached(&ve).unwrap().unwrap().source, first.source);
        assert_eq!(disks.list(dir).unwrap().len(), 1);
        // Attached: what must not be done now.
        assert_eq!(disks.stamp(&ve).unwrap_err().kind, Kind::Busy);
        assert_eq!(disks.remove(&ve).unwrap_err().kind, Kind::Busy);
        assert_eq!(disks.shrink(&ve, 32 * MIB).unwrap_err().kind, Kind::Busy);
        assert_eq!(disks.check(&ve).unwrap_err().kind, Kind::Busy);
    }
    drop((first, second));
    disks.detach(&ve, PATIENCE).unwrap();
    disks.detach(&ve, PATIENCE).unwrap();
    assert!(disks.attached(&ve).unwrap().is_none());
    assert!(disks.list(dir).unwrap().is_empty());
    // Nobody has mounted it: nothing has changed, nor does it by being looked at.
    disks.usage(&ve).unwrap();
    assert_eq!(disks.check(&ve).unwrap(), FsckOutcome::Clean);
    assert_eq!(disks.stamp(&ve).unwrap(), stamp);
    // Sizes.
    let size = |disks: &dyn Disks| disks.usage(&ve).unwrap().size.unwrap();
    let inodes = disks.usage(&ve).unwrap().inodes;
    assert_eq!(inodes.is_some(), disks.inodes(64 * MIB).is_some());
    let old = size(disks);
    assert_eq!(disks.size(&ve).unwrap(), 64 * MIB);
    disks.grow(&ve, 256 * MIB).unwrap();
    disks.grow(&ve, 256 * MIB).unwrap();
    assert_eq!(disks.size(&ve).unwrap(), 256 * MIB);
    assert!(!attaches || disks.stamp(&ve).unwrap() != stamp);
    assert!(size(disks) > 3 * old, "{} after {old}", size(disks));
    assert!(inodes.is_none() || disks.usage(&ve).unwrap().inodes > inodes);
    assert_eq!(disks.grow(&ve, 64 * MIB).unwrap_err().kind, Kind::Invalid);
    assert_eq!(disks.shrink(&ve, 512 * MIB).unwrap_err().kind, Kind::Invalid);
    disks.shrink(&ve, 128 * MIB).unwrap();
    disks.shrink(&ve, 128 * MIB).unwrap();
    assert_eq!(disks.size(&ve).unwrap(), 128 * MIB);
    assert!(size(disks) <= 128 * MIB);
    disks.compact(&ve).unwrap();
    // Content is seen, counts, stays where the disk is moved, and changes the stamp.
    let stamp = disks.stamp(&ve).unwrap();
    let seen = |dir: &Path, act: &dyn Fn(&Path)| {
        let content = disks.content(dir).unwrap();
        act(Path::new(&format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            content.root().as_raw_fd()
        )));
        rustix::fs::syncfs(content.root()).unwrap();
        drop(content);
        disks.detach(dir, PATIENCE).unwrap();
    };
    seen(&ve, &|root| fs::write(root.join("kept"), noise(3, 4 << 20)).unwrap());
    assert!(is_fake(disks) || disks.stamp(&ve).unwrap() != stamp);
    let used = disks.usage(&ve).unwrap().used.unwrap();
    assert!(is_fake(disks) || (4 * MIB..16 * MIB).contains(&used), "{used}");
    assert!(is_fake(disks) || disks.glance(&ve, None).unwrap() >= 4 * MIB);
    let elsewhere = dir.join("102");
    fs::create_dir_all(&elsewhere).unwrap();
    disks.adopt(&ve, &elsewhere).unwrap();
    disks.adopt(&ve, &elsewhere).unwrap();
    assert!(!disks.exists(&ve).unwrap() && disks.exists(&elsewhere).unwrap());
    seen(&elsewhere, &|root| {
        assert!(fs::read(root.join("kept")).unwrap() == noise(3, 4 << 20))
    });
    disks.adopt(&elsewhere, &ve).unwrap();
    fs::remove_dir(&elsewhere).unwrap();
    assert_eq!(disks.size(&ve).unwrap(), 128 * MIB);
    // Gone.
    disks.remove(&ve).unwrap();
    disks.remove(&ve).unwrap();
    assert!(!disks.exists(&ve).unwrap());
}

fn is_fake(disks: &dyn Disks) -> bool {
    format!("{disks:?}").starts_with("FakeDisks")
}

#[test]
fn fake_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("101")).unwrap();
    contract(&FakeDisks::new(), dir.path(), true);
}

#[test]
fn image_keeps_the_contract() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    contract(&ImageDisks, dir.path(), true);
    assert_eq!(
        fs::read_dir(dir.path().join("101")).unwrap().count(),
        0,
        "something was left"
    );
}

#[test]
fn fake_fails_where_told() {
    let disks = FakeDisks::new();
    let dir = Path::new("/fake/1");
    assert!(!disks.fail_call(2));
    assert!(disks.fail_call(2));
    disks.create(dir, &spec(64), "a").unwrap();
    let before = disks.inventory();
    disks.attach(dir).unwrap_err();
    assert!(!disks.fail_call(0));
    assert_eq!(disks.inventory(), before);
    disks.attach(dir).unwrap();
    disks.fail_method(Some("detach"));
    disks.detach(dir, PATIENCE).unwrap_err();
    disks.fail_method(None);
    disks.set_mounted(dir, true);
    assert_eq!(disks.detach(dir, PATIENCE).unwrap_err().kind, Kind::Busy);
    disks.set_mounted(dir, false);
    disks.detach(dir, PATIENCE).unwrap();
    disks.fill(dir, 40 * MIB);
    assert_eq!(disks.shrink(dir, 32 * MIB).unwrap_err().kind, Kind::NoSpace);
    assert_eq!(disks.calls().last(), Some(&"shrink /fake/1".to_owned()));
}

#[test]
fn the_guest_sees_what_it_paid_for_and_the_host_stores_little() {
    if skipped() {
        return;
    }
    for (mib, inodes, most_lost) in [(256, None, 6), (1024, Some(40_000), 4), (10_240, None, 3)] {
        let dir = Scratch::new();
        ImageDisks
            .create(
                dir.path(),
                &DiskSpec {
                    size: mib * MIB,
                    inodes,
                    key: 0,
                },
                "ve-101",
            )
            .unwrap();
        let stopped = ImageDisks.usage(dir.path()).unwrap();
        let attached = ImageDisks.attach(dir.path()).unwrap();
        let mount = PrivateMount::of(&node(&attached)).unwrap();
        mount.sync().unwrap();
        let running = ImageDisks.usage(dir.path()).unwrap();
        let lost = 100 - 100 * running.size.unwrap() / (mib * MIB);
        assert!(lost <= most_lost, "{lost} % of {mib} MiB lost to tables");
        assert_eq!(
            (stopped.size, stopped.used, stopped.inodes),
            (running.size, running.used, running.inodes)
        );
        assert_eq!(stopped.inodes_used, running.inodes_used);
        let wanted = inodes.unwrap_or(mib * 64);
        let got = running.inodes.unwrap();
        assert!(
            got >= wanted && got <= wanted + wanted / 20 + 512,
            "{got} inodes for {wanted}"
        );
        // Nothing is left for the kernel to zero in the background.
        let groups = dumpe2fs(&dir.path().join("disk.img"));
        let all = groups
            .lines()
            .filter(|l| l.starts_with("Group ") && l.contains("(Blocks "))
            .count();
        assert!(all > 0 && groups.matches("ITABLE_ZEROED").count() == all, "{groups}");
        assert!(running.host_bytes.unwrap() < 6 * MIB, "{:?}", running.host_bytes);
        assert!(
            attached.direct_io,
            "direct I/O works on the file systems that tests run on"
        );
    }
}

fn dumpe2fs(image: &Path) -> String {
    let out = Command::new("dumpe2fs")
        .arg(image)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn a_full_host_is_a_typed_error_and_leaves_nothing() {
    if skipped() {
        return;
    }
    // A host file system of 16 MiB with 200 KiB left, itself on a loop device.
    let outer = Scratch::new();
    ImageDisks.create(outer.path(), &spec(16), "host").unwrap();
    with_mounted(outer.path(), |host| {
        let filler = File::create(host.join("filler")).unwrap();
        let mut written = 0;
        while filler.write_all_at(&[1; 65536], written).is_ok() {
            written += 65536;
        }
        filler.set_len(written - 200 * 1024).unwrap();
        filler.sync_all().unwrap();
        let ve = host.join("101");
        let error = ImageDisks.create(&ve, &spec(4096), "ve-101").unwrap_err();
        assert_eq!(error.kind, Kind::NoSpace, "{error:?}");
        assert!(error.hint.is_some());
        assert_eq!(fs::read_dir(&ve).unwrap().count(), 0);
        ImageDisks.remove(&ve).unwrap();
        drop(filler);
        fs::remove_file(host.join("filler")).unwrap();
        // Blocks can be had again when the journal has been written.
        rustix::fs::syncfs(File::open(host).unwrap()).unwrap();
        ImageDisks.create(&ve, &spec(64), "ve-101").unwrap();
        with_mounted(&ve, |inner| fs::write(inner.join("works"), "in two floors").unwrap());
    });
}

#[test]
fn what_a_killed_create_left_is_replaced() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    fs::write(dir.path().join(".disk.img.new"), noise(1, 1 << 20)).unwrap();
    assert!(!ImageDisks.exists(dir.path()).unwrap());
    ImageDisks.create(dir.path(), &spec(64), "ve-101").unwrap();
    assert_eq!(names(dir.path()), ["disk.img"]);
    // Killed before create could remove what an older one had left.
    fs::write(dir.path().join(".disk.img.new"), "half").unwrap();
    ImageDisks.create(dir.path(), &spec(64), "ve-101").unwrap();
    assert_eq!(names(dir.path()), ["disk.img"]);
    fs::write(dir.path().join(".disk.img.new"), "half").unwrap();
    ImageDisks.remove(dir.path()).unwrap();
    assert!(names(dir.path()).is_empty());
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn wrong_sizes_and_labels_are_refused_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let ve = dir.path().join("101");
    let refuse = |spec, label| {
        let error = ImageDisks.create(&ve, &spec, label).unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
        assert!(!ve.exists());
    };
    refuse(spec(15), "a");
    refuse(
        DiskSpec {
            size: u64::MAX,
            inodes: None,
            key: 0,
        },
        "a",
    );
    refuse(
        DiskSpec {
            size: 64 * MIB,
            inodes: Some(3),
            key: 0,
        },
        "a",
    );
    refuse(
        DiskSpec {
            size: 64 * MIB,
            inodes: Some(64 * MIB),
            key: 0,
        },
        "a",
    );
    refuse(spec(64), "seventeen letters");
    refuse(spec(64), "-O");
}

#[test]
fn resizing_keeps_the_data() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    let data = noise(7, 40 << 20);
    ImageDisks.create(dir.path(), &spec(96), "ve-101").unwrap();
    with_mounted(dir.path(), |root| fs::write(root.join("data"), &data).unwrap());
    ImageDisks.grow(dir.path(), 300 * MIB).unwrap();
    with_mounted(dir.path(), |root| assert!(fs::read(root.join("data")).unwrap() == data));
    ImageDisks.shrink(dir.path(), 80 * MIB).unwrap();
    assert_eq!(fs::metadata(dir.path().join("disk.img")).unwrap().len(), 80 * MIB);
    with_mounted(dir.path(), |root| assert!(fs::read(root.join("data")).unwrap() == data));
    // Less than what is in it: refused with the numbers, nothing changed.
    let before = fs::read(dir.path().join("disk.img")).unwrap();
    let error = ImageDisks.shrink(dir.path(), 32 * MIB).unwrap_err();
    assert_eq!(error.kind, Kind::NoSpace);
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("are in use") && why.contains("at least"), "{why}");
    assert_eq!(fs::metadata(dir.path().join("disk.img")).unwrap().len(), 80 * MIB);
    with_mounted(dir.path(), |root| assert!(fs::read(root.join("data")).unwrap() == data));
    assert!(before.len() as u64 == 80 * MIB && names(dir.path()) == ["disk.img"]);
}

#[test]
fn growing_while_mounted() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    ImageDisks.create(dir.path(), &spec(64), "ve-101").unwrap();
    let attached = ImageDisks.attach(dir.path()).unwrap();
    let mount = PrivateMount::of(&node(&attached)).unwrap();
    let old = mount.statfs().unwrap().f_blocks;
    match ImageDisks.grow(dir.path(), 256 * MIB) {
        Ok(()) => assert!(mount.statfs().unwrap().f_blocks > 3 * old),
        Err(e) if e.kind == Kind::Unsupported => {
            println!("skipped because {}", e.hint.unwrap());
            // Refused, and as before.
            assert_eq!(mount.statfs().unwrap().f_blocks, old);
            assert_eq!(fs::metadata(dir.path().join("disk.img")).unwrap().len(), 64 * MIB);
            let device = File::open(node(&attached)).unwrap();
            assert_eq!(device_size(&device), 64 * MIB);
        }
        Err(e) => panic!("{e:?}"),
    }
}

fn device_size(device: &File) -> u64 {
    let mut size = 0u64;
    // SAFETY: BLKGETSIZE64 writes one u64, which `size` is.
    let done = unsafe {
        libc::ioctl(
            device.as_raw_fd(),
            libc::Ioctl::from(linux_raw_sys::ioctl::BLKGETSIZE64),
            &raw mut size,
        )
    };
    assert_eq!(done, 0);
    size
}

#[test]
fn a_disk_that_turned_read_only_can_still_be_looked_at() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    ImageDisks.create(dir.path(), &spec(64), "ve-101").unwrap();
    let attached = ImageDisks.attach(dir.path()).unwrap();
    let mount = PrivateMount::new(&node(&attached), true).unwrap();
    assert!(
        PrivateMount::new(&node(&attached), false).is_err(),
        "the kernel shares it only read-only"
    );
    let seen = mount.statfs().unwrap();
    assert_eq!(
        ImageDisks.usage(dir.path()).unwrap().used,
        Some((seen.f_blocks - seen.f_bfree) * 4096)
    );
}

#[test]
fn compacting_gives_blocks_back() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    ImageDisks.create(dir.path(), &spec(128), "ve-101").unwrap();
    let fill = |root: &Path| {
        let file = File::create(root.join("big")).unwrap();
        file.write_all_at(&noise(3, 32 << 20), 0).unwrap();
        file.sync_all().unwrap();
        drop(file);
        fs::remove_file(root.join("big")).unwrap();
    };
    with_mounted(dir.path(), |root| {
        fill(root);
        let back = ImageDisks.compact(dir.path()).unwrap();
        assert!(back >= 30 * MIB, "{back} while mounted");
        fill(root);
    });
    let back = ImageDisks.compact(dir.path()).unwrap();
    assert!(back >= 30 * MIB, "{back} while stopped");
    assert!(ImageDisks.attached(dir.path()).unwrap().is_none());
    assert!(ImageDisks.usage(dir.path()).unwrap().host_bytes.unwrap() < 6 * MIB);
}

/// Copies the image of a mounted disk: as after a power cut.
fn crashed_copy(to: &Path, inside: impl FnOnce(&Path)) {
    let dir = Scratch::new();
    ImageDisks.create(dir.path(), &spec(64), "ve-101").unwrap();
    with_mounted(dir.path(), |root| {
        inside(root);
        File::open(root.join(".")).unwrap().sync_all().unwrap();
        fs::copy(dir.path().join("disk.img"), to.join("disk.img")).unwrap();
    });
}

#[test]
fn an_unclean_disk_is_brought_in_order() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    crashed_copy(dir.path(), |root| {
        let file = File::create(root.join("kept")).unwrap();
        file.write_all_at(b"synced", 0).unwrap();
        file.sync_all().unwrap();
    });
    let outcome = ImageDisks.check(dir.path()).unwrap();
    assert!(matches!(&outcome, FsckOutcome::Corrected(_)), "{outcome:?}");
    let image = File::open(dir.path().join("disk.img")).unwrap();
    assert!(Superblock::read(&image).unwrap().unwrap().clean);
    assert_eq!(ImageDisks.check(dir.path()).unwrap(), FsckOutcome::Clean);
    with_mounted(dir.path(), |root| {
        assert_eq!(fs::read(root.join("kept")).unwrap(), b"synced")
    });
}

#[test]
fn a_damaged_disk_asks_for_a_person() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    crashed_copy(dir.path(), |root| fs::create_dir_all(root.join("a/b/c")).unwrap());
    let image = File::options()
        .read(true)
        .write(true)
        .open(dir.path().join("disk.img"))
        .unwrap();
    let text = dumpe2fs(&dir.path().join("disk.img"));
    let table = text.split("Inode table at ").nth(1).unwrap();
    let block: u64 = table[..table.find(|c: char| !c.is_ascii_digit()).unwrap()]
        .parse()
        .unwrap();
    image.write_all_at(&noise(9, 8192), block * 4096).unwrap();
    let outcome = ImageDisks.check(dir.path());
    assert!(
        matches!(&outcome, Ok(FsckOutcome::NeedsHand(text)) if !text.is_empty()),
        "{outcome:?}"
    );
    // No superblock at all.
    image.write_all_at(&[0; 1024], 1024).unwrap();
    let error = ImageDisks.attach(dir.path()).unwrap_err();
    assert!(error.hint.is_some(), "{error:?}");
    assert!(ImageDisks.attached(dir.path()).unwrap().is_none());
}

#[test]
fn a_resize_that_is_killed_is_taken_back() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    let image = dir.path().join("disk.img");
    let undo = dir.path().join(".disk.img.undo");
    let kept = noise(11, 60 << 20);
    ImageDisks.create(dir.path(), &spec(256), "ve-101").unwrap();
    with_mounted(dir.path(), |root| {
        fs::write(root.join("early"), noise(5, 60 << 20)).unwrap();
        fs::write(root.join("kept"), &kept).unwrap();
        fs::remove_file(root.join("early")).unwrap();
    });
    let mut taken_back = 0;
    const GRACES: [u64; 5] = [0, 200, 1000, 4000, 10_000];
    // Beside other work it may have done before the kill comes: once more, then.
    for (n, grace) in GRACES.into_iter().cycle().take(30).enumerate() {
        if n >= GRACES.len() && taken_back > 0 {
            break;
        }
        // As the driver does it, but killed when it has begun to overwrite.
        let mut tool = Command::new(super::tools::find("resize2fs").unwrap())
            .args(["-z".as_ref(), undo.as_os_str(), image.as_os_str(), "100M".as_ref()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + PATIENCE;
        while fs::metadata(&undo).map_or(0, |m| m.len()) == 0 && tool.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end);
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(grace)); // where in its work it dies, not a wait for anything
        tool.kill().unwrap();
        tool.wait().unwrap();
        taken_back += usize::from(undo.exists());
        // The next call, whatever it is, finds the old file system.
        assert!(!matches!(
            ImageDisks.check(dir.path()).unwrap(),
            FsckOutcome::NeedsHand(_)
        ));
        assert_eq!(names(dir.path()), ["disk.img"]);
        assert_eq!(fs::metadata(&image).unwrap().len(), 256 * MIB);
        let file = File::open(&image).unwrap();
        assert_eq!(super::tools::check(&file, &image, true).unwrap(), FsckOutcome::Clean);
        with_mounted(dir.path(), |root| assert!(fs::read(root.join("kept")).unwrap() == kept));
    }
    assert!(taken_back > 0, "no kill came in time");
}

#[test]
fn a_tail_that_a_killed_grow_left_is_cut() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    ImageDisks.create(dir.path(), &spec(64), "ve-101").unwrap();
    let image = File::options().write(true).open(dir.path().join("disk.img")).unwrap();
    image.set_len(200 * MIB).unwrap();
    drop(ImageDisks.attach(dir.path()).unwrap());
    assert_eq!(image.metadata().unwrap().len(), 64 * MIB);
}

#[test]
fn a_tool_left_at_work_is_not_disturbed() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    ImageDisks.create(dir.path(), &spec(64), "ve-101").unwrap();
    let held = File::open(dir.path().join("disk.img")).unwrap();
    held.lock().unwrap();
    // A tool that inherited the lock, whose parent is gone.
    let mut tool = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::from(held))
        .spawn()
        .unwrap();
    for busy in [
        ImageDisks.check(dir.path()).map(drop),
        ImageDisks.attach(dir.path()).map(drop),
        ImageDisks.grow(dir.path(), 128 * MIB),
        ImageDisks.shrink(dir.path(), 32 * MIB),
        ImageDisks.remove(dir.path()),
    ] {
        assert_eq!(busy.unwrap_err().kind, Kind::Busy);
    }
    tool.kill().unwrap();
    tool.wait().unwrap();
    drop(ImageDisks.attach(dir.path()).unwrap());
}

#[test]
fn a_device_in_use_stays_and_says_so() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    ImageDisks.create(dir.path(), &spec(64), "ve-101").unwrap();
    let attached = ImageDisks.attach(dir.path()).unwrap();
    let mount = PrivateMount::of(&node(&attached)).unwrap();
    let name = node(&attached);
    drop(attached);
    let error = ImageDisks.detach(dir.path(), Duration::from_millis(30)).unwrap_err();
    assert_eq!(error.kind, Kind::Busy);
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains(name.to_str().unwrap())
    );
    drop(mount);
    // With its last user it goes by itself.
    let end = Instant::now() + PATIENCE;
    while !ImageDisks.list(dir.path()).unwrap().is_empty() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_renamed_or_deleted_image_is_still_found() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    let (old, new) = (dir.path().join("101"), dir.path().join(".gone-101"));
    ImageDisks.create(&old, &spec(64), "ve-101").unwrap();
    let attached = ImageDisks.attach(&old).unwrap();
    fs::rename(&old, &new).unwrap();
    assert_eq!(ImageDisks.attached(&new).unwrap().unwrap().source, attached.source);
    fs::remove_file(new.join("disk.img")).unwrap();
    let listed = ImageDisks.list(dir.path()).unwrap();
    assert_eq!(listed.len(), 1);
    assert!(
        listed[0].deleted && listed[0].backing.ends_with(".gone-101/disk.img"),
        "{listed:?}"
    );
    assert_eq!(listed[0].node(), node(&attached));
}

#[test]
fn many_disks_at_once_get_a_device_each() {
    if skipped() {
        return;
    }
    let dirs: Vec<_> = (0..12).map(|_| Scratch::new()).collect();
    let nodes = std::thread::scope(|scope| {
        let threads: Vec<_> = dirs
            .iter()
            .map(|dir| {
                scope.spawn(|| {
                    ImageDisks.create(dir.path(), &spec(16), "ve").unwrap();
                    ImageDisks.attach(dir.path()).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
    });
    let distinct: std::collections::BTreeSet<_> = nodes.iter().map(node).collect();
    assert_eq!(distinct.len(), 12);
}

#[test]
fn a_stamp_tells_each_change() {
    if skipped() {
        return;
    }
    let dir = Scratch::new();
    ImageDisks.create(dir.path(), &spec(64), "ve-101").unwrap();
    let mut seen = vec![ImageDisks.stamp(dir.path()).unwrap()];
    let mut changed = |how: &str| {
        let stamp = ImageDisks.stamp(dir.path()).unwrap();
        assert!(!seen.contains(&stamp), "{how} left the stamp as it was");
        seen.push(stamp);
    };
    with_mounted(dir.path(), |root| fs::write(root.join("a"), "one").unwrap());
    changed("a new file");
    with_mounted(dir.path(), |root| fs::write(root.join("a"), "two").unwrap());
    changed("a file of the same length");
    with_mounted(dir.path(), |_| ());
    changed("a mount for writing");
    let image = File::options().write(true).open(dir.path().join("disk.img")).unwrap();
    image.write_all_at(b"x", 40 * MIB).unwrap();
    changed("a byte written past the file system");
    // Read-only by another's hand: nothing is written.
    let before = ImageDisks.stamp(dir.path()).unwrap();
    let attached = ImageDisks.attach(dir.path()).unwrap();
    let mount = PrivateMount::new(&node(&attached), true).unwrap();
    assert_eq!(fs::read(reach(&mount).join("a")).unwrap(), b"two");
    drop((mount, attached));
    ImageDisks.detach(dir.path(), PATIENCE).unwrap();
    assert_eq!(ImageDisks.stamp(dir.path()).unwrap(), before);
}
