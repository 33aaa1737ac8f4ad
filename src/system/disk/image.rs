//! The `image` driver: one sparse ext4 file per VE, `disk.img`, on a loop device with direct I/O. It works on every
//! kernel and host file system, limits bytes and inodes, and gives each VE a journal of its own.
//!
//! Beside `disk.img` there may lie, for as long as a call runs or when one was killed: `.disk.img.new`, a disk that
//! is being made (removed by the next call), and `.disk.img.undo`, what a resize has overwritten (put back by the
//! next call). `disk.img` itself is a whole file system at every moment.
//!
//! A call that changes the file holds flock(2) on it, and so do the tools it starts: if this process is killed and
//! leaves a tool at work, the next call says `Busy` instead of meddling.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::MountAttrFlags;

use super::ext4::{self, PrivateMount, Superblock};
use super::{Attached, DiskSource, DiskSpec, Disks, FsckOutcome, LoopDevice, MountOptions, Usage, loopdev, tools};
use crate::file::{make_dir, open_own, remove_file, sync_dir};
use crate::{Error, Kind, Result};

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

/// An image file that we have opened, and perhaps locked.
struct Image {
    path: PathBuf,
    file: File,
}

impl Drop for Image {
    fn drop(&mut self) {
        // Closing alone would not do: a process that another thread is just forking holds the file, and with it the
        // lock, until it execs. (Without a lock this does nothing.)
        let _ = self.file.unlock();
    }
}

impl Image {
    fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(IMAGE);
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(|e| Error::os("open the disk", path.display(), e))?;
        Ok(Self { path, file })
    }

    fn open_opt(dir: &Path) -> Result<Option<Self>> {
        match Self::open(dir) {
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn fail(&self, act: &'static str, e: impl Into<io::Error>) -> Error {
        Error::os(act, self.path.display(), e)
    }

    fn busy(&self, act: &'static str, why: &'static str, hint: &str) -> Error {
        Error::new(act, self.path.display(), why).kind(Kind::Busy).hint(hint)
    }

    /// Sees to it that no tool of a killed call is at work on the file.
    fn lock(&self) -> Result<()> {
        self.file.try_lock().map_err(|e| match e {
            std::fs::TryLockError::WouldBlock => self.busy(
                "lock the disk",
                "a check or resize of it is still running",
                "try again when it has ended",
            ),
            std::fs::TryLockError::Error(e) => self.fail("lock the disk", e),
        })
    }

    fn superblock(&self) -> Result<Superblock> {
        Superblock::read(&self.file)
            .map_err(|e| self.fail("read the superblock of", e))?
            .ok_or_else(|| {
                Error::new(
                    "read the superblock of",
                    self.path.display(),
                    "there is no ext4 file system in it",
                )
                .hint("restore the disk from a backup, or look at it with e2fsck -b 32768")
            })
    }

    fn length(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|e| self.fail("look at", e))?.len())
    }

    /// Bytes that it takes on the host.
    fn allocated(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|e| self.fail("look at", e))?.blocks() * 512)
    }

    fn set_length(&self, size: u64) -> Result<()> {
        self.file.set_len(size).map_err(|e| self.fail("set the size of", e))?;
        self.file.sync_all().map_err(|e| self.fail("sync", e))
    }

    fn device(&self) -> Result<Option<loopdev::Open>> {
        loopdev::find(&self.file, &self.path)
    }

    /// For what may only be done to a detached disk: locks it, and ends what a killed resize has left.
    fn settle(&self, act: &'static str) -> Result<()> {
        if let Some(device) = self.device()? {
            let error = Error::new(
                act,
                self.path.display(),
                format!("it is attached as {}", device.node().display()),
            );
            return Err(error.kind(Kind::Busy).hint("stop the VE first"));
        }
        self.lock()?;
        self.take_back(act)?;
        let size = self.superblock()?.size();
        if self.length()? > size {
            self.set_length(size)
        } else {
            Ok(())
        }
    }

    /// Brings back what an unfinished resize has overwritten.
    fn take_back(&self, act: &'static str) -> Result<()> {
        let undo = self.path.with_file_name(UNDO);
        let mut head = [0; 40];
        let begun = match File::open(&undo).and_then(|f| f.read_exact_at(&mut head, 0)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => return Err(Error::os("read", undo.display(), e)),
            _ => tools::undo_has_begun(&head),
        };
        if begun {
            tools::undo(&self.file, &self.path, &undo)?;
            check_sound(self, act)?; // e2undo(8) asks for it
            self.file.sync_all().map_err(|e| self.fail("sync", e))?;
        }
        remove_file(&undo)
    }

    /// Attaches it, as [`Disks::attach`].
    fn attach(&self) -> Result<(loopdev::Open, bool)> {
        if let Some(device) = self.device()? {
            return Ok((device, true));
        }
        self.settle("attach")?;
        // The loop device keeps the open file, and with it the lock, if it were given ours.
        let file = File::options()
            .read(true)
            .write(true)
            .open(&self.path)
            .map_err(|e| self.fail("open the disk", e))?;
        Ok((loopdev::configure(&file, &self.path)?, false))
    }

    /// Resizes the detached file system so that a kill at any moment leaves the old one or the new one.
    fn resize(&self, size: u64) -> Result<()> {
        let undo = self.path.with_file_name(UNDO);
        if let Err(mut error) = tools::resize(&self.file, &self.path, size, &undo) {
            if let Err(e) = self.take_back("resize") {
                error.hint = Some(format!(
                    "taking it back failed too ({e}); the next call on the disk tries again"
                ));
            }
            return Err(error);
        }
        self.file.sync_all().map_err(|e| self.fail("sync", e))?;
        remove_file(&undo)?;
        sync_dir(self.path.parent().unwrap_or(Path::new("/")))
    }
}

/// Waits until no loop device stands over the image.
fn wait_released(image: &Image, timeout: Duration) -> Result<()> {
    let end = Instant::now() + timeout;
    let mut pause = Duration::from_micros(200);
    while let Some(device) = image.device()? {
        let node = device.node();
        loopdev::release(device).map_err(|e| image.fail("detach", e))?;
        if Instant::now() >= end && image.device()?.is_some() {
            return Err(Error::new(
                "detach",
                image.path.display(),
                format!("{} is still in use", node.display()),
            )
            .kind(Kind::Busy)
            .hint("something still has it mounted or open: end the VE's processes, then try again"));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}

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

fn check_spec(spec: &DiskSpec, label: &str, path: &Path) -> Result<DiskSpec> {
    let size = check_size(spec.size, path)?;
    // One inode takes 256 bytes; ext4 counts them in 32 bits. Half of the disk for the tables is a mistake.
    if let Some(n) = spec.inodes
        && !(16..=(size / 512).min(u64::from(u32::MAX))).contains(&n)
    {
        let most = (size / 512).min(u64::from(u32::MAX));
        let why = format!("a disk of {size} bytes can have 16 to {most} inodes, not {n}");
        return Err(Error::new("size the disk", path.display(), why).kind(Kind::Invalid));
    }
    if label.len() > 16 || label.starts_with('-') {
        let why = format!("\"{label}\" is no label: at most 16 bytes, no dash first");
        return Err(Error::new("label the disk", path.display(), why).kind(Kind::Invalid));
    }
    Ok(DiskSpec {
        size,
        inodes: spec.inodes,
    })
}

impl Disks for ImageDisks {
    fn name(&self) -> &'static str {
        "image"
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
        Image::open_opt(dir).map(|image| image.is_some())
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
        match Image::open_opt(dir)? {
            Some(image) => image.device()?.map(|d| lend(d, true)).transpose(),
            None => Ok(None),
        }
    }

    fn detach(&self, dir: &Path, timeout: Duration) -> Result<()> {
        match Image::open_opt(dir)? {
            Some(image) => wait_released(&image, timeout),
            None => Ok(()),
        }
    }

    fn check(&self, dir: &Path) -> Result<FsckOutcome> {
        let image = Image::open(dir)?;
        image.settle("check")?;
        if image.superblock()?.clean {
            Ok(FsckOutcome::Clean)
        } else {
            tools::check(&image.file, &image.path, false)
        }
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

    fn usage(&self, dir: &Path) -> Result<Usage> {
        let image = Image::open(dir)?;
        let host_bytes = Some(image.allocated()?);
        if let Some(device) = image.device()?.filter(|d| ext4::is_mounted(d.number)) {
            let mount = PrivateMount::of(&device.node())?;
            let s = mount.statfs().map_err(|e| image.fail("read the usage of", e))?;
            let block = u64::try_from(s.f_frsize).unwrap_or(tools::BLOCK);
            return Ok(Usage {
                host_bytes,
                size: Some(s.f_blocks * block),
                used: Some(s.f_blocks.saturating_sub(s.f_bfree) * block),
                inodes: Some(s.f_files),
                inodes_used: Some(s.f_files.saturating_sub(s.f_ffree)),
            });
        }
        let s = image.superblock()?;
        let size = s.blocks.saturating_sub(s.overhead_blocks);
        Ok(Usage {
            host_bytes,
            size: Some(size * s.block_size),
            used: Some(size.saturating_sub(s.free_blocks) * s.block_size),
            inodes: Some(s.inodes),
            inodes_used: Some(s.inodes.saturating_sub(s.free_inodes)),
        })
    }

    fn compact(&self, dir: &Path) -> Result<u64> {
        let image = Image::open(dir)?;
        let before = image.allocated()?;
        let (device, reused) = image.attach()?;
        let trimmed = PrivateMount::of(&device.node()).and_then(|mount| {
            // What was deleted just now is free only after the journal has been written.
            mount
                .sync()
                .and_then(|()| mount.trim())
                .map_err(|e| image.fail("give back the free blocks of", e))
        });
        drop(device);
        if !reused {
            wait_released(&image, Duration::from_secs(10))?;
        }
        trimmed?;
        Ok(before.saturating_sub(image.allocated()?))
    }

    fn list(&self, under: &Path) -> Result<Vec<LoopDevice>> {
        let real = std::fs::canonicalize(under).unwrap_or_else(|_| under.to_owned());
        let mut devices = loopdev::all()?;
        devices.retain(|d| d.backing.starts_with(&real) || d.backing.starts_with(under));
        Ok(devices)
    }
}

/// Makes a whole image at `path`, on the disk when this returns (mke2fs ends with an fsync).
fn make_image(path: &Path, spec: &DiskSpec, label: &str) -> Result<()> {
    let file = open_own(path)?;
    let fail = |e: io::Error| Error::os("make", path.display(), e);
    file.set_len(spec.size).map_err(fail)?;
    tools::make(&file, path, spec, label)?;
    // A full host makes itself felt here and not in the guest's first hour.
    let made = Superblock::read(&file)
        .map_err(fail)?
        .filter(|s| s.size() == spec.size && s.clean);
    if made.is_none() {
        return Err(Error::new(
            "make a file system on",
            path.display(),
            "mke2fs left something else",
        ));
    }
    let mut last = [0u8; 1];
    file.read_exact_at(&mut last, spec.size - 1).map_err(fail)?;
    file.sync_all().map_err(fail)
}

/// A full check before what could make damage worse.
fn check_sound(image: &Image, act: &'static str) -> Result<()> {
    match tools::check(&image.file, &image.path, true)? {
        FsckOutcome::Clean | FsckOutcome::Corrected(_) => Ok(()),
        FsckOutcome::NeedsHand(report) => Err(Error::new(act, image.path.display(), report)
            .hint(format!("mend it by hand first: e2fsck -f {}", image.path.display()))),
    }
}

fn grow_attached(image: &Image, device: &loopdev::Open, old: u64, size: u64) -> Result<()> {
    image.set_length(size)?;
    let grown = device
        .set_capacity()
        .map_err(|e| image.fail("grow the loop device of", e))
        .and_then(|()| PrivateMount::of(&device.node()))
        .and_then(|mount| {
            mount.resize(size / tools::BLOCK, &image.path)?;
            mount.sync().map_err(|e| image.fail("sync", e))
        });
    if grown.is_err() && image.superblock()?.size() <= old {
        image.set_length(old)?;
        device
            .set_capacity()
            .map_err(|e| image.fail("reset the loop device of", e))?;
    }
    grown
}

fn grow_detached(image: &Image, size: u64) -> Result<()> {
    image.settle("grow")?;
    check_sound(image, "grow")?;
    let old = image.length()?;
    image.set_length(size)?;
    let grown = image.resize(size);
    if grown.is_err() && image.superblock()?.size() <= old {
        image.set_length(old)?;
    }
    grown
}
