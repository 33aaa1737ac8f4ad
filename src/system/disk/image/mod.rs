//! The `image` driver: one sparse ext4 file per VE, `disk.img`, on a loop device with direct I/O. It works on every
//! kernel and host file system, limits bytes and inodes, and gives each VE a journal of its own.
//!
//! Beside `disk.img` there may lie, for as long as a call runs or when one was killed: `.disk.img.new`, a disk that
//! is being made (removed by the next call), and `.disk.img.undo`, what a resize has overwritten (put back by the
//! next call). `disk.img` itself is a whole file system at every moment.
//!
//! A call that changes the file holds flock(2) on it, and so do the tools it starts: if this process is killed and
//! leaves a tool at work, the next call says `Busy` instead of meddling.

mod ahead;
mod file;

use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::Duration;

use hostel_model::definition::DriverName;
use rustix::mount::MountAttrFlags;

use super::ext4::{self, PrivateMount};
use super::{
    Attached, Content, DiskSource, DiskSpec, Disks, FsckOutcome, Leftover, LoopDevice, MountOptions, Root, Usage,
    loopdev, tools,
};
use crate::cgroup::BlockDevice;
use crate::file::{make_dir, remove_file, sync_dir};
use crate::{Error, Kind, Result};
use file::{Image, check_sound, grow_attached, grow_detached, make_image, wait_released};

const IMAGE: &str = "disk.img";
const STAGING: &str = ".disk.img.new";
const UNDO: &str = ".disk.img.undo";
/// The smallest disk: below this an ext4 with a journal holds next to nothing.
pub const MIN_SIZE: u64 = 16 << 20;
/// The largest file that ext4, the most common host file system, can hold.
pub const MAX_SIZE: u64 = 16 << 40;

/// Disks as image files. It has no state: everything is in the VE's directory and in the kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImageDisks;

fn lend(device: loopdev::Open, reused: bool) -> Result<Attached> {
    let path = device.node();
    let (major, minor) = device.device().map_err(|e| Error::os("look at", path.display(), e))?;
    let direct_io = device.direct_io;
    let source = DiskSource::Device { path, major, minor };
    Ok(Attached {
        source,
        direct_io,
        reused,
        keep: Some(device.into_fd()),
    })
}

/// Rounds a size down to whole blocks, and refuses what can't be.
fn check_size(size: u64, path: &Path) -> Result<u64> {
    if (MIN_SIZE..=MAX_SIZE).contains(&size) {
        return Ok(size / tools::BLOCK * tools::BLOCK);
    }
    let why = format!("a disk has between 16 MiB and 16 TiB, not {size} bytes");
    Err(Error::new("size the disk", path.display(), why).kind(Kind::Invalid))
}

/// One inode takes 256 bytes; ext4 counts them in 32 bits. More than half of the disk for the tables is a mistake.
fn inodes(size: u64) -> RangeInclusive<u64> {
    16..=(size / 512).min(u64::from(u32::MAX))
}

fn check_spec(spec: &DiskSpec, label: &str, path: &Path) -> Result<DiskSpec> {
    let size = check_size(spec.size, path)?;
    if let Some(n) = spec.inodes
        && !inodes(size).contains(&n)
    {
        let (least, most) = inodes(size).into_inner();
        let why = format!("a disk of {size} bytes can have {least} to {most} inodes, not {n}");
        return Err(Error::new("size the disk", path.display(), why).kind(Kind::Invalid));
    }
    if label.len() > 16 || label.starts_with('-') {
        let why = format!("\"{label}\" is no label: at most 16 bytes, no dash first");
        return Err(Error::new("label the disk", path.display(), why).kind(Kind::Invalid));
    }
    Ok(DiskSpec { size, ..*spec })
}

impl Disks for ImageDisks {
    fn name(&self) -> DriverName {
        DriverName::Image
    }

    fn prepare(&self, _dir: &Path) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn sizes(&self) -> RangeInclusive<u64> {
        MIN_SIZE..=MAX_SIZE
    }

    fn inodes(&self, size: u64) -> Option<RangeInclusive<u64>> {
        Some(inodes(size))
    }

    fn probe(&self, dir: &Path) -> std::result::Result<(), String> {
        if let Some(missing) = tools::ALL.into_iter().find(|t| tools::find(t).is_none()) {
            return Err(format!("{missing} is missing: install the package e2fsprogs"));
        }
        if !Path::new("/dev/loop-control").exists() {
            return Err("there are no loop devices: load the kernel module (modprobe loop)".into());
        }
        let filesystems =
            std::fs::read_to_string("/proc/filesystems").map_err(|e| format!("/proc/filesystems: {e}"))?;
        if !filesystems.lines().any(|l| l.trim() == "ext4") {
            return Err("the kernel has no ext4: load it (modprobe ext4)".into());
        }
        let scratch = tempfile::Builder::new()
            .prefix(".probe-")
            .tempdir_in(dir)
            .map_err(|e| e.to_string())?;
        let tried = (|| {
            self.create(
                scratch.path(),
                &DiskSpec {
                    size: MIN_SIZE,
                    inodes: None,
                    key: 0,
                },
                "probe",
            )?;
            drop(self.attach(scratch.path())?);
            self.detach(scratch.path(), Duration::from_secs(5))
        })();
        tried.map_err(|e| {
            format!(
                "{e}: {}",
                std::error::Error::source(&e)
                    .map(ToString::to_string)
                    .unwrap_or_default()
            )
        })
    }

    fn mount_options(&self) -> MountOptions {
        MountOptions {
            fs_type: Some("ext4"),
            // A damaged file system stops taking writes; it must not stop the host (panic) nor go on.
            options: &[("errors", "remount-ro")],
            // The mount itself is only the layer of an overlay; nothing is run or opened through it.
            attributes: u64::from(
                (MountAttrFlags::MOUNT_ATTR_NODEV
                    | MountAttrFlags::MOUNT_ATTR_NOSUID
                    | MountAttrFlags::MOUNT_ATTR_NOATIME)
                    .bits(),
            ),
        }
    }

    fn create(&self, dir: &Path, spec: &DiskSpec, label: &str) -> Result<()> {
        let path = dir.join(IMAGE);
        let spec = check_spec(spec, label, &path)?;
        make_dir(dir)?;
        if let Some(image) = Image::open_opt(dir)? {
            let size = image.superblock()?.size();
            if size == spec.size {
                return remove_file(&dir.join(STAGING));
            }
            let why = format!("there is a disk of {size} bytes already");
            return Err(Error::new("make a disk at", path.display(), why).kind(Kind::Exists));
        }
        let staging = dir.join(STAGING);
        remove_file(&staging)?;
        let made = make_image(&staging, &spec, label)
            .and_then(|()| std::fs::rename(&staging, &path).map_err(|e| Error::os("make", path.display(), e)));
        if made.is_err() {
            remove_file(&staging)?;
        }
        made?;
        sync_dir(dir)
    }

    fn exists(&self, dir: &Path) -> Result<bool> {
        Image::open_to_look(dir).map(|image| image.is_some())
    }

    fn remove(&self, dir: &Path) -> Result<()> {
        if let Some(image) = Image::open_opt(dir)? {
            if let Some(device) = image.device()? {
                let why = format!("it is attached as {}", device.node().display());
                return Err(Error::new("remove", image.path.display(), why)
                    .kind(Kind::Busy)
                    .hint("stop the VE first"));
            }
            image.lock()?;
        }
        for name in [IMAGE, STAGING, UNDO] {
            remove_file(&dir.join(name))?;
        }
        if dir.exists() { sync_dir(dir) } else { Ok(()) }
    }

    fn attach(&self, dir: &Path) -> Result<Attached> {
        let (device, reused) = Image::open(dir)?.attach()?;
        lend(device, reused)
    }

    fn attached(&self, dir: &Path) -> Result<Option<Attached>> {
        match Image::open_to_look(dir)? {
            Some(image) => image.device()?.map(|d| lend(d, true)).transpose(),
            None => Ok(None),
        }
    }

    fn detach(&self, dir: &Path, timeout: Duration) -> Result<()> {
        match Image::open_to_look(dir)? {
            Some(image) => wait_released(&image, timeout),
            None => Ok(()),
        }
    }

    fn check(&self, dir: &Path) -> Result<FsckOutcome> {
        let image = Image::open(dir)?;
        image.settle("check")?;
        if image.superblock()?.clean {
            return Ok(FsckOutcome::Clean);
        }
        Ok(match tools::check(&image.file, &image.path, false)? {
            // To e2fsck, a file system that only needed its journal is clean.
            FsckOutcome::Clean => FsckOutcome::Corrected("its journal was replayed".into()),
            other => other,
        })
    }

    fn grow(&self, dir: &Path, size: u64) -> Result<()> {
        let image = Image::open(dir)?;
        let size = check_size(size, &image.path)?;
        let old = image.superblock()?.size();
        if size < old {
            let why = format!("it has {old} bytes; {size} would be less");
            return Err(Error::new("grow", image.path.display(), why)
                .kind(Kind::Invalid)
                .hint("shrink it instead"));
        }
        if size == old {
            return Ok(());
        }
        match image.device()? {
            Some(device) => grow_attached(&image, &device, old, size),
            None => grow_detached(&image, size),
        }
    }

    fn shrink(&self, dir: &Path, size: u64) -> Result<()> {
        let image = Image::open(dir)?;
        let size = check_size(size, &image.path)?;
        image.settle("shrink")?;
        let old = image.superblock()?;
        if size > old.size() {
            let why = format!("it has {} bytes; {size} would be more", old.size());
            return Err(Error::new("shrink", image.path.display(), why)
                .kind(Kind::Invalid)
                .hint("grow it instead"));
        }
        if size == old.size() {
            return Ok(());
        }
        check_sound(&image, "shrink")?;
        let least = tools::least_size(&image.file, &image.path)?;
        if size < least {
            let used = (old.blocks - old.free_blocks.min(old.blocks)) * old.block_size;
            let why = format!("{used} bytes are in use, and it needs at least {least}; {size} were asked for");
            return Err(Error::new("shrink", image.path.display(), why)
                .kind(Kind::NoSpace)
                .hint(format!(
                    "free some space inside, or ask for {} MiB",
                    least.div_ceil(1 << 20)
                )));
        }
        // The file system first, then the file: a kill in between leaves a tail that nothing uses.
        image.resize(size)?;
        image.set_length(size)
    }

    fn size(&self, dir: &Path) -> Result<u64> {
        Ok(Image::open_for(dir, false)?.superblock()?.size())
    }

    fn usage(&self, dir: &Path) -> Result<Usage> {
        let image = Image::open_for(dir, false)?;
        let host_bytes = Some(image.allocated()?);
        if let Some(device) = image.device()?.filter(|d| ext4::is_mounted(d.number)) {
            let mount = PrivateMount::of(&device.node())?;
            let s = mount.statfs().map_err(|e| image.fail("read the usage of", e))?;
            let block = u64::try_from(s.f_frsize).unwrap_or(tools::BLOCK);
            return Ok(Usage {
                host_bytes,
                size: Some(s.f_blocks * block),
                used: Some(s.f_blocks.saturating_sub(s.f_bfree) * block),
                free: Some(s.f_bavail * block),
                inodes: Some(s.f_files),
                inodes_used: Some(s.f_files.saturating_sub(s.f_ffree)),
            });
        }
        Ok(Usage {
            host_bytes,
            ..image.superblock()?.usage()
        })
    }

    fn stamp(&self, dir: &Path) -> Result<String> {
        let image = Image::open_for(dir, false)?;
        if let Some(device) = image.device()? {
            let why = format!("it is attached as {}", device.node().display());
            return Err(Error::new("stamp", image.path.display(), why)
                .kind(Kind::Busy)
                .hint("stop the VE first"));
        }
        image.stamp()
    }

    fn glance(&self, dir: &Path, root: Option<&Root>) -> Option<u64> {
        self.look(dir, root).used
    }

    fn look(&self, dir: &Path, root: Option<&Root>) -> Usage {
        if let Some(root) = root {
            let overlay = super::look_at_overlay(root);
            return overlay.unwrap_or_else(|| self.usage(dir).unwrap_or_default());
        }
        let image = std::fs::File::open(dir.join(IMAGE));
        let superblock = image
            .ok()
            .and_then(|image| ext4::Superblock::read(&image).ok().flatten());
        superblock.map_or_else(Usage::default, |s| s.usage())
    }

    fn devices(&self, dir: &Path) -> Result<Vec<BlockDevice>> {
        let attached = self.attached(dir)?.map(|a| a.source);
        Ok(attached.iter().filter_map(DiskSource::device).collect())
    }

    fn content(&self, dir: &Path) -> Result<Content> {
        let (device, _) = Image::open(dir)?.attach()?;
        let mount = PrivateMount::of(&device.node())?;
        let root = rustix::io::fcntl_dupfd_cloexec(mount.root(), 0)
            .map_err(|e| Error::os("open the disk", dir.display(), e))?;
        Ok(Content::new(root, device))
    }

    fn adopt(&self, from: &Path, to: &Path) -> Result<()> {
        super::adopt(&from.join(IMAGE), &to.join(IMAGE))
    }

    fn compact(&self, dir: &Path) -> Result<u64> {
        let image = Image::open(dir)?;
        let before = image.allocated()?;
        let (device, reused) = image.attach()?;
        let trimmed = PrivateMount::of(&device.node()).and_then(|mount| {
            // What was deleted just now is free only after the journal has been written; and a moment after that, which
            // a second round waits for (ext4 frees blocks in a callback that nobody who syncs waits for). What was
            // given back in the first costs nothing then.
            let round = |_| mount.sync().and_then(|()| mount.trim());
            (0..2)
                .try_for_each(round)
                .map_err(|e| image.fail("give back the free blocks of", e))
        });
        drop(device);
        if !reused {
            wait_released(&image, Duration::from_secs(10))?;
        }
        trimmed?;
        Ok(before.saturating_sub(image.allocated()?))
    }

    fn release(&self, device: &LoopDevice, timeout: Duration) -> Result<()> {
        loopdev::free(device, timeout)
    }

    fn list(&self, under: &Path) -> Result<Vec<LoopDevice>> {
        let real = std::fs::canonicalize(under).unwrap_or_else(|_| under.to_owned());
        let below = |d: &LoopDevice| d.backing.starts_with(&real) || d.backing.starts_with(under);
        Ok(loopdev::all()?.into_iter().filter(below).collect())
    }

    fn leftovers(&self, _under: &Path, _keys: Range<u32>) -> Result<Vec<Leftover>> {
        Ok(Vec::new())
    }

    fn clear(&self, _under: &Path, leftover: &Leftover) -> Result<()> {
        Err(Error::new("clear", leftover, "it is none of this driver's").kind(Kind::Invalid))
    }
}
