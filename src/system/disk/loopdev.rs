//! Loop devices (loop(4)): found by what backs them, configured in one call, released and waited for.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linux_raw_sys::loop_device as sys;

use crate::{Error, Kind, Result};

/// Logical block size of the devices: that of the file system, so that direct I/O works on any host disk.
const BLOCK: u32 = 4096;
const AUTOCLEAR: u32 = sys::_bindgen_ty_1::LO_FLAGS_AUTOCLEAR as u32;
const DIRECT_IO: u32 = sys::_bindgen_ty_1::LO_FLAGS_DIRECT_IO as u32;
const READ_ONLY: u32 = sys::_bindgen_ty_1::LO_FLAGS_READ_ONLY as u32;
/// How often another process may snatch the free device that the kernel named before we give up.
const TRIES: usize = 64;

/// A loop device in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopDevice {
    /// Its number: 3 of /dev/loop3.
    pub number: u32,
    /// The file behind it, where it is now.
    pub backing: PathBuf,
    /// That file has been deleted.
    pub deleted: bool,
}

impl LoopDevice {
    /// Its node.
    pub fn node(&self) -> PathBuf {
        PathBuf::from(format!("/dev/loop{}", self.number))
    }
}

/// A loop device that we hold open.
#[derive(Debug)]
pub(super) struct Open {
    pub number: u32,
    pub direct_io: bool,
    pub file: File,
}

impl Open {
    pub(super) fn node(&self) -> PathBuf {
        PathBuf::from(format!("/dev/loop{}", self.number))
    }

    /// Major and minor number.
    pub(super) fn device(&self) -> io::Result<(u32, u32)> {
        let rdev = self.file.metadata()?.rdev();
        Ok((rustix::fs::major(rdev), rustix::fs::minor(rdev)))
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.file.into()
    }

    /// Tells the kernel that the backing file's size has changed.
    pub(super) fn set_capacity(&self) -> io::Result<()> {
        ioctl(self.file.as_raw_fd(), sys::LOOP_SET_CAPACITY, 0)
    }
}

/// An ioctl whose argument is a number (or nothing).
fn ioctl(fd: RawFd, request: u32, argument: libc::c_ulong) -> io::Result<()> {
    ioctl_value(fd, request, argument).map(drop)
}

fn ioctl_value(fd: RawFd, request: u32, argument: libc::c_ulong) -> io::Result<i32> {
    // SAFETY: the requests passed here (LOOP_CLR_FD, LOOP_SET_CAPACITY, LOOP_CTL_GET_FREE) take no pointer.
    match unsafe { libc::ioctl(fd, libc::Ioctl::from(request), argument) } {
        -1 => Err(io::Error::last_os_error()),
        n => Ok(n),
    }
}

/// LOOP_GET_STATUS64; `None` if nothing backs the device.
fn status(fd: RawFd) -> io::Result<Option<sys::loop_info64>> {
    let mut info = empty_info();
    // SAFETY: LOOP_GET_STATUS64 writes one loop_info64, which `info` is, and keeps no pointer to it.
    match unsafe { libc::ioctl(fd, libc::Ioctl::from(sys::LOOP_GET_STATUS64), &raw mut info) } {
        -1 => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            e => Err(e),
        },
        _ => Ok(Some(info)),
    }
}

fn empty_info() -> sys::loop_info64 {
    // SAFETY: loop_info64 consists of integers and arrays of integers; all zero bytes are a value of it.
    unsafe { std::mem::zeroed() }
}

/// Opened for writing only to configure it: udev looks anew at each device that a writer has closed.
fn open_node(number: u32, write: bool) -> io::Result<File> {
    let node = format!("/dev/loop{number}");
    // Without devtmpfs it is udev that makes the node, a moment after the kernel has made the device.
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        match File::options()
            .read(true)
            .write(write)
            .custom_flags(libc::O_NONBLOCK)
            .open(&node)
        {
            Ok(file) if file.metadata()?.file_type().is_block_device() => return Ok(file),
            Ok(_) => return Err(io::Error::other(format!("{node} is no block device"))),
            Err(e) if e.kind() == io::ErrorKind::NotFound && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) => return Err(e),
        }
    }
}

/// Puts a free loop device over `backing`: read-write, with direct I/O if the host's file system can, and freed by
/// the kernel when its last user goes.
pub(super) fn configure(backing: &File, path: &Path) -> Result<Open> {
    let fail = |e: io::Error| Error::os("attach a loop device to", path.display(), e);
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/loop-control")
        .map_err(|e| {
            Error::os("open", "/dev/loop-control", e)
                .kind(Kind::Unsupported)
                .hint("load the kernel module: modprobe loop")
        })?;
    for _ in 0..TRIES {
        let number = ioctl_value(control.as_raw_fd(), sys::LOOP_CTL_GET_FREE, 0).map_err(fail)?;
        let number = u32::try_from(number).map_err(|e| Error::new("number a loop device for", path.display(), e))?;
        let file = open_node(number, true).map_err(fail)?;
        let mut info = empty_info();
        info.lo_flags = AUTOCLEAR | DIRECT_IO;
        let name = path.as_os_str().as_encoded_bytes();
        let length = name.len().min(info.lo_file_name.len() - 1);
        info.lo_file_name[..length].copy_from_slice(&name[..length]);
        let config = sys::loop_config {
            fd: backing.as_raw_fd() as u32,
            block_size: BLOCK,
            info,
            __reserved: [0; 8],
        };
        // SAFETY: LOOP_CONFIGURE reads one loop_config, which `config` is; `backing` is open for the whole call, and
        // the kernel takes a reference of its own.
        let done = unsafe {
            libc::ioctl(
                file.as_raw_fd(),
                libc::Ioctl::from(sys::LOOP_CONFIGURE),
                &raw const config,
            )
        };
        if done == 0 {
            note(backing, number);
            read_ahead(&file, backing);
            let direct_io = status(file.as_raw_fd())
                .map_err(fail)?
                .is_some_and(|i| i.lo_flags & DIRECT_IO != 0);
            return Ok(Open {
                number,
                direct_io,
                file,
            });
        }
        match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::EBUSY) => {} // somebody was faster
            e => return Err(fail(e)),
        }
    }
    Err(fail(io::Error::from_raw_os_error(libc::EBUSY)).hint("other programs take every free loop device; try again"))
}

/// Reads ahead on the device twice as far as on the disk below it, so that one half is on its way through the device
/// while the other is through: with the default of loop devices, files inside are read by a fifth more slowly than on
/// the host. Left as it is where that disk can't be told.
fn read_ahead(device: &File, backing: &File) {
    /// BLKRASET of linux/fs.h: the argument is a number of sectors of 512 bytes.
    const SET_READ_AHEAD: libc::Ioctl = 0x1262;
    let Ok(there) = backing.metadata() else { return };
    let (major, minor) = (rustix::fs::major(there.dev()), rustix::fs::minor(there.dev()));
    let file = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
    let kib = std::fs::read_to_string(file)
        .ok()
        .and_then(|t| t.trim().parse::<libc::c_ulong>().ok());
    if let Some(sectors) = kib.and_then(|kib| kib.checked_mul(2 * 2)) {
        // SAFETY: the argument is a number; the descriptor is open for the whole call.
        unsafe { libc::ioctl(device.as_raw_fd(), SET_READ_AHEAD, sectors) };
    }
}

/// The loop device over the file with this device and inode number, if there is one. `backing` is open for writing.
///
/// The kernel can't be asked for it, and to look at all devices takes the longer the more VEs there are. So that is
/// done only where neither of two short ways leads to the answer.
pub(super) fn find(backing: &File, path: &Path) -> Result<Option<Open>> {
    let fail = |e: io::Error| Error::os("look for the loop device of", path.display(), e);
    if is_alone(backing) {
        return Ok(None);
    }
    let wanted = backing.metadata().map_err(fail)?;
    let wanted = (wanted.dev(), wanted.ino());
    if let Some(number) = noted(backing)
        && Path::new(&format!("/sys/block/loop{number}/loop")).exists()
        && let Some(open) = over(number, wanted).map_err(fail)?
    {
        return Ok(Some(open));
    }
    for device in all()? {
        // Most are told apart by their name alone; only those that can't be are opened. A deleted or unreachable
        // path says nothing about the inode.
        if let Ok(other) = std::fs::metadata(&device.backing)
            && !device.deleted
            && (other.dev(), other.ino()) != wanted
        {
            continue;
        }
        if let Some(open) = over(device.number, wanted).map_err(fail)? {
            return Ok(Some(open));
        }
    }
    Ok(None)
}

/// The device of this number, if it lies over the file with this device and inode number and can be written.
fn over(number: u32, wanted: (u64, u64)) -> io::Result<Option<Open>> {
    let Ok(file) = open_node(number, false) else {
        return Ok(None);
    };
    let found = status(file.as_raw_fd())?
        .filter(|info| (info.lo_device, info.lo_inode) == wanted && info.lo_flags & READ_ONLY == 0);
    Ok(found.map(|info| Open {
        number,
        direct_io: info.lo_flags & DIRECT_IO != 0,
        file,
    }))
}

/// Is it certain that nobody else has this file open, a loop device least of all? The kernel grants a write lease only
/// then (fcntl(2), F_SETLEASE); it is given back at once. No answer, on a file system without leases, is no.
fn is_alone(file: &File) -> bool {
    // Of linux/fcntl.h; the libc crate lacks it.
    const F_SETSIG: libc::c_int = 10;
    let fcntl = |command, argument: libc::c_int| {
        // SAFETY: F_SETSIG and F_SETLEASE take a number, no pointer.
        unsafe { libc::fcntl(file.as_raw_fd(), command, argument) }
    };
    // Who opens the file in that moment breaks the lease: we would be told by SIGIO, which kills; SIGURG is ignored.
    if fcntl(F_SETSIG, libc::SIGURG) != 0 || fcntl(libc::F_SETLEASE, libc::F_WRLCK) != 0 {
        return false;
    }
    fcntl(libc::F_SETLEASE, libc::F_UNLCK);
    true
}

/// Where a file's device number is noted. It is a hint: whoever reads it checks the device.
const NOTE: &str = "trusted.hostel.loop";

fn noted(backing: &File) -> Option<u32> {
    let mut text = [0u8; 16];
    let length = rustix::fs::fgetxattr(backing, NOTE, &mut text).ok()?;
    str::from_utf8(text.get(..length)?).ok()?.parse().ok()
}

/// Best effort: without it, [`find`] looks at all devices.
fn note(backing: &File, number: u32) {
    let _ = rustix::fs::fsetxattr(
        backing,
        NOTE,
        number.to_string().as_bytes(),
        rustix::fs::XattrFlags::empty(),
    );
}

/// Releases a device. With other users it goes when the last of them does (loop(4)); gone is fine.
pub(super) fn release(open: Open) -> io::Result<()> {
    match ioctl(open.file.as_raw_fd(), sys::LOOP_CLR_FD, 0) {
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(()),
        other => other,
    }
}

/// Releases a device that [`all`] has shown, and waits until it is free (or somebody else's).
pub(super) fn free(device: &LoopDevice, timeout: Duration) -> Result<()> {
    let fail = |e: io::Error| Error::os("release", device.node().display(), e);
    let end = Instant::now() + timeout;
    while all()?.contains(device) {
        let file = open_node(device.number, false).map_err(fail)?;
        release(Open {
            number: device.number,
            direct_io: false,
            file,
        })
        .map_err(fail)?;
        if Instant::now() >= end && all()?.contains(device) {
            return Err(Error::new("release", device.node().display(), "it is still in use").kind(Kind::Busy).hint(
                "something has it mounted or open, perhaps in a mount namespace of its own: end that, then try again",
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// All loop devices in use.
pub(super) fn all() -> Result<Vec<LoopDevice>> {
    let root = Path::new("/sys/block");
    let fail = |e: io::Error| Error::os("list loop devices in", root.display(), e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let Some(number) = name
            .to_str()
            .and_then(|n| n.strip_prefix("loop"))
            .and_then(|n| n.parse().ok())
        else {
            continue;
        };
        // No such file: the device is free, or was freed just now.
        let Ok(text) = std::fs::read(root.join(&name).join("loop/backing_file")) else {
            continue;
        };
        found.push(parse_backing(number, &text));
    }
    found.sort_by_key(|d| d.number);
    Ok(found)
}

fn parse_backing(number: u32, text: &[u8]) -> LoopDevice {
    use std::os::unix::ffi::OsStrExt;
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let (path, deleted) = match text.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (text, false),
    };
    LoopDevice {
        number,
        backing: std::ffi::OsStr::from_bytes(path).into(),
        deleted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_is_only_who_has_the_file_to_himself() {
        // A child that another test is just making has a copy of what is open here, until it runs its program.
        let soon_alone = |file: &File| {
            let end = std::time::Instant::now() + Duration::from_secs(10);
            while !is_alone(file) {
                assert!(std::time::Instant::now() < end);
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
        let ours = File::options().read(true).write(true).open(file.path()).unwrap();
        assert!(!is_alone(&ours), "the temporary file itself is open");
        let path = file.into_temp_path();
        soon_alone(&ours);
        soon_alone(&ours); // the lease was given back
        let clone = ours.try_clone().unwrap();
        soon_alone(&ours); // the same open file
        let reader = File::open(&path).unwrap();
        assert!(!is_alone(&ours));
        drop((reader, clone));
        soon_alone(&ours);
        drop(File::options().write(true).open(&path).unwrap());
    }

    #[test]
    fn backing_file_lines() {
        let d = parse_backing(3, b"/srv/ve/101/disk.img\n");
        assert_eq!(
            (d.backing.to_str(), d.deleted, d.node()),
            (Some("/srv/ve/101/disk.img"), false, "/dev/loop3".into())
        );
        let d = parse_backing(4, b"/srv/ve/101/disk.img (deleted)\n");
        assert_eq!((d.backing.to_str(), d.deleted), (Some("/srv/ve/101/disk.img"), true));
    }
}
