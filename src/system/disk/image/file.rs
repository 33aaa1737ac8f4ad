//! One image file: opened, locked, brought in order, attached, made and resized.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hostel_monitor::root::prepare_disk;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use sha2::{Digest, Sha256};

use super::ahead::read_ahead;
use super::{IMAGE, UNDO};
use crate::disk::ext4::{self, PrivateMount, Superblock};
use crate::disk::{DiskSpec, FsckOutcome, loopdev, tools};
use crate::file::{open_own, remove_file, sync_dir};
use crate::{Error, Kind, Result};

/// An image file that we have opened, and perhaps locked.
pub(super) struct Image {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Drop for Image {
    fn drop(&mut self) {
        // Closing alone would not do: a process that another thread is just forking holds the file, and with it the
        // lock, until it execs. (Without a lock this does nothing.)
        let _ = self.file.unlock();
    }
}

impl Image {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        Self::open_for(dir, true)
    }

    /// For what changes nothing in it, such as detaching it: that has to work on a disk that has turned read-only too.
    pub(super) fn open_to_look(dir: &Path) -> Result<Option<Self>> {
        match Self::open_for(dir, false) {
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    pub(super) fn open_for(dir: &Path, write: bool) -> Result<Self> {
        let path = dir.join(IMAGE);
        let file = open_unmarked(&path, write).map_err(|e| {
            let gone = e.kind() == io::ErrorKind::NotFound;
            let error = Error::os("open the disk", path.display(), e);
            if gone {
                error.hint("put it back there from a backup, or destroy the VE")
            } else {
                error
            }
        })?;
        Ok(Self { path, file })
    }

    pub(super) fn open_opt(dir: &Path) -> Result<Option<Self>> {
        match Self::open(dir) {
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    pub(super) fn fail(&self, act: &'static str, e: impl Into<io::Error>) -> Error {
        Error::os(act, self.path.display(), e)
    }

    fn busy(&self, act: &'static str, why: &'static str, hint: &str) -> Error {
        Error::new(act, self.path.display(), why).kind(Kind::Busy).hint(hint)
    }

    /// Sees to it that no tool of a killed call is at work on the file.
    pub(super) fn lock(&self) -> Result<()> {
        self.file.try_lock().map_err(|e| match e {
            std::fs::TryLockError::WouldBlock => self.busy(
                "lock the disk",
                "a check or resize of it is still running",
                "try again when it has ended",
            ),
            std::fs::TryLockError::Error(e) => self.fail("lock the disk", e),
        })
    }

    pub(super) fn superblock(&self) -> Result<Superblock> {
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

    /// What is another as soon as somebody has mounted the file system for writing, a tool has worked on it, or the
    /// file was written to. The time of its last change of attributes doesn't count: to attach it is one.
    pub(super) fn stamp(&self) -> Result<String> {
        let raw = ext4::read_raw(&self.file).map_err(|e| self.fail("read the superblock of", e))?;
        let file = self.file.metadata().map_err(|e| self.fail("look at", e))?;
        let mut digest = Sha256::new();
        digest.update(raw);
        for number in [file.size().cast_signed(), file.mtime(), file.mtime_nsec()] {
            digest.update(number.to_le_bytes());
        }
        Ok(format!("image {:x}", digest.finalize()))
    }

    fn length(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|e| self.fail("look at", e))?.len())
    }

    /// Bytes that it takes on the host.
    pub(super) fn allocated(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|e| self.fail("look at", e))?.blocks() * 512)
    }

    pub(super) fn set_length(&self, size: u64) -> Result<()> {
        self.file.set_len(size).map_err(|e| self.fail("set the size of", e))?;
        self.file.sync_all().map_err(|e| self.fail("sync", e))
    }

    pub(super) fn device(&self) -> Result<Option<loopdev::Open>> {
        loopdev::find(&self.file, &self.path)
    }

    /// For what may only be done to a detached disk: locks it, and ends what a killed resize has left.
    pub(super) fn settle(&self, act: &'static str) -> Result<()> {
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
    pub(super) fn attach(&self) -> Result<(loopdev::Open, bool)> {
        if let Some(device) = self.device()? {
            return Ok((device, true));
        }
        self.settle("attach")?;
        // The loop device keeps the open file, and with it the lock, if it were given ours.
        let file = open_unmarked(&self.path, true).map_err(|e| self.fail("open the disk", e))?;
        let device = loopdev::configure(&file, &self.path)?;
        read_ahead(&file, &device.file);
        Ok((device, false))
    }

    /// Resizes the detached file system so that a kill at any moment leaves the old one or the new one.
    pub(super) fn resize(&self, size: u64) -> Result<()> {
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

/// Opened so that no read marks the file with its time (O_NOATIME of open(2)): the host's file system would write that out
/// whenever a guest has its own written out, and when the disk is attached.
fn open_unmarked(path: &Path, write: bool) -> io::Result<File> {
    let open = |flags| File::options().read(true).write(write).custom_flags(flags).open(path);
    match open(libc::O_NOATIME) {
        // Somebody else's file, on a host that withholds the right over those (CAP_FOWNER).
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => open(0),
        opened => opened,
    }
}

/// Waits until no loop device stands over the image.
pub(super) fn wait_released(image: &Image, timeout: Duration) -> Result<()> {
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
            .hint(
                "something still has it mounted or open, perhaps in a mount namespace of its own: end that, then try again",
            ));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}

/// A file system in memory, mounted nowhere, with what a disk begins with: the two directories of its overlay. Made there by
/// the tool that makes the disk, they lie beside its first inodes, and take no reading of their own at a start; the kernel
/// puts what is made in a root directory as far from each other as it can (find_group_orlov in fs/ext4/ialloc.c).
fn layers() -> Result<OwnedFd> {
    let fail = |e: Errno| Error::os("make", "the first directories of a disk", e);
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(fail)?;
    fsconfig_set_string(&fs, "mode", "0755").map_err(fail)?;
    fsconfig_create(&fs).map_err(fail)?;
    let made = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(fail)?;
    prepare_disk(made.as_fd()).map_err(|e| Error::new("make", "the first directories of a disk", e))?;
    Ok(made)
}

/// Makes a whole image at `path`, on the disk when this returns (mke2fs ends with an fsync).
pub(super) fn make_image(path: &Path, spec: &DiskSpec, label: &str) -> Result<()> {
    let file = open_own(path)?;
    let fail = |e: io::Error| Error::os("make", path.display(), e);
    file.set_len(spec.size).map_err(fail)?;
    tools::make(&file, path, spec, label, layers()?.as_fd())?;
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
pub(super) fn check_sound(image: &Image, act: &'static str) -> Result<()> {
    match tools::check(&image.file, &image.path, true)? {
        FsckOutcome::Clean | FsckOutcome::Corrected(_) => Ok(()),
        FsckOutcome::NeedsHand(report) => Err(Error::new(act, image.path.display(), report)
            .hint(format!("mend it by hand first: e2fsck -f {}", image.path.display()))),
    }
}

pub(super) fn grow_attached(image: &Image, device: &loopdev::Open, old: u64, size: u64) -> Result<()> {
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

pub(super) fn grow_detached(image: &Image, size: u64) -> Result<()> {
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
