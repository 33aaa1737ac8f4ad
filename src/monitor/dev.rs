//! The VE's own /dev: a tmpfs with the few devices a guest may have, its pseudo-terminals and its console.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, makedev};
use rustix::mount::MountAttrFlags;

use crate::error::{Result, Step};
use crate::root;
use crate::spec::Switches;
use crate::sys;

/// Devices of the host that are bound in: name, major, minor (kernel: Documentation/admin-guide/devices.txt).
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Devices that a plan may add. Their nodes are the VE's own, open to all its users: the host's may be root's only.
const ON_DEMAND: [(&str, u32, u32); 2] = [("fuse", 10, 229), ("net/tun", 10, 200)];

const LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// A device that the monitor has made for the guest.
#[derive(Debug)]
pub struct Device {
    /// Its path below /dev.
    pub name: String,
    /// Its numbers.
    pub numbers: (u32, u32),
    /// The node as a detached mount.
    pub mount: OwnedFd,
}

/// The devices that these switches add, by their names below /dev, and where [`make`] puts their nodes.
pub fn nodes(switches: Switches) -> Vec<(String, String)> {
    let node = |(name, major, minor): &(&str, u32, u32)| ((*name).to_owned(), format!("/run/{major}-{minor}"));
    wanted(switches).map(|device| node(&device)).collect()
}

fn wanted(switches: Switches) -> impl Iterator<Item = (&'static str, u32, u32)> {
    ON_DEMAND.into_iter().filter(move |(name, ..)| match *name {
        "fuse" => switches.fuse,
        _ => switches.tun,
    })
}

/// Makes the nodes of the devices that the plan adds, in an empty directory of the monitor's that allows devices.
/// That the host has the same is the sign that its kernel has the driver.
pub fn make(directory: BorrowedFd<'_>, switches: Switches) -> Result<Vec<Device>> {
    wanted(switches)
        .map(|(name, major, minor)| make_one(directory, name, major, minor))
        .collect()
}

fn make_one(directory: BorrowedFd<'_>, name: &str, major: u32, minor: u32) -> Result<Device> {
    let host = format!("/dev/{name}");
    let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let device = rustix::fs::open(&host, path, Mode::empty()).step("find the host's", &host)?;
    root::check_device(device.as_fd(), major, minor, &host)?;
    let act = "make the VE's";
    let node = format!("{major}-{minor}");
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(directory, &node, FileType::CharacterDevice, mode, makedev(major, minor)).step(act, &host)?;
    rustix::fs::chmodat(directory, &node, mode, AtFlags::empty()).step(act, &host)?; // past the umask
    let node = rustix::fs::openat(directory, &node, path, Mode::empty()).step(act, &host)?;
    let mount = root::clone_mount(node.as_fd(), &host)?;
    Ok(Device {
        name: name.to_owned(),
        numbers: (major, minor),
        mount,
    })
}

/// Builds /dev at an opened mount point and returns the console's master.
///
/// Runs before the root is changed, so that the host's devices can be opened by their paths; nothing of the VE's
/// tree is looked at but the mount point.
pub fn populate(point: BorrowedFd<'_>, devices: &[Device], shm_size: u64) -> Result<OwnedFd> {
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options = [("mode", "0755"), ("size", "512k"), ("nr_inodes", "1024")];
    let dev = root::mount_at(point, "tmpfs", &options, quiet)?;
    for (name, major, minor) in DEVICES {
        bind_device(dev.as_fd(), name, &format!("/dev/{name}"), major, minor)?;
    }
    for Device {
        name,
        numbers: (major, minor),
        mount,
    } in devices
    {
        root::check_device(mount.as_fd(), *major, *minor, name)?;
        if let Some((directory, _)) = name.split_once('/') {
            make_dir(dev.as_fd(), directory, 0o755)?;
        }
        root::place(mount.as_fd(), make_file(dev.as_fd(), name)?.as_fd())?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name).step("link", format!("/dev/{name}"))?;
    }
    let shm = make_dir(dev.as_fd(), "shm", 0o1777)?;
    let size = shm_size.to_string();
    let tidy = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    root::mount_at(shm.as_fd(), "tmpfs", &[("mode", "1777"), ("size", &size)], tidy)?;
    let pts = make_dir(dev.as_fd(), "pts", 0o755)?;
    // gid 5 is "tty" in every distribution; the terminals of the host have another instance (devpts.rst).
    let options = [
        ("newinstance", ""),
        ("ptmxmode", "0666"),
        ("mode", "0620"),
        ("gid", "5"),
        ("max", "1024"),
    ];
    let pts = root::mount_at(pts.as_fd(), "devpts", &options, quiet)?;
    console(dev.as_fd(), pts.as_fd())
}

fn make_dir(dev: BorrowedFd<'_>, name: &str, mode: u32) -> Result<OwnedFd> {
    let act = "make directory";
    rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(mode)).step(act, format!("/dev/{name}"))?;
    let dir = rustix::fs::openat(dev, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .step(act, format!("/dev/{name}"))?;
    rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode)).step(act, format!("/dev/{name}"))?; // past the umask
    Ok(dir)
}

/// An empty file to mount a device on.
fn make_file(dev: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(0o600)).step("make", format!("/dev/{name}"))
}

fn bind_device(dev: BorrowedFd<'_>, name: &str, host: &str, major: u32, minor: u32) -> Result<()> {
    let device =
        rustix::fs::open(host, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).step("open", host)?;
    root::check_device(device.as_fd(), major, minor, host)?;
    let mount = root::clone_mount(device.as_fd(), host)?;
    root::place(mount.as_fd(), make_file(dev, name)?.as_fd())
}

/// /dev/console is one side of a pseudo-terminal of the VE's own, made without looking up a single path in it.
fn console(dev: BorrowedFd<'_>, pts: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::openat(pts, "ptmx", flags, Mode::empty()).step("open", "/dev/pts/ptmx")?;
    let slave = sys::open_pty_peer(master.as_fd()).step("open", "the console's terminal")?;
    give_mode(slave.as_fd())?;
    let mount = root::clone_mount(slave.as_fd(), "the console's terminal")?;
    root::place(mount.as_fd(), make_file(dev, "console")?.as_fd())?;
    Ok(master)
}

/// The mode of a console: who is in the group tty may write to it.
pub fn give_mode(console: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fchmod(console, Mode::from_raw_mode(0o620)).step("set the mode of", "the console's terminal")
}

/// A new terminal of the VE's own devpts, by a process inside: its master, non-blocking, and its other side.
pub fn open_terminal() -> Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty()).step("open", "the VE's /dev/pts/ptmx")?;
    root::check_device(master.as_fd(), 5, 2, "/dev/pts/ptmx")?;
    let slave = sys::open_pty_peer(master.as_fd()).step("open", "a terminal in the VE")?;
    Ok((master, slave))
}

/// Opens the console as standard input, output and error, inside the VE.
pub fn take_console() -> Result<()> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let console = rustix::fs::openat(CWD, "/dev/console", flags, Mode::empty()).step("open", "/dev/console")?;
    let act = "attach to";
    rustix::stdio::dup2_stdin(&console).step(act, "/dev/console")?;
    rustix::stdio::dup2_stdout(&console).step(act, "/dev/console")?;
    rustix::stdio::dup2_stderr(&console).step(act, "/dev/console")
}
