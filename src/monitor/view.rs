//! What a VE finds in its /proc instead of the whole host's figures: files of lxcfs, a FUSE file system of the host,
//! each mounted over the kernel's own.
//!
//! Whoever touches a FUSE file system whose program hangs may hang with it, and when the program ends, all its files
//! fail (ENOTCONN). So the monitor itself never touches one: children do, for a second at most. It holds lxcfs as a
//! process instead, and when that ends has a child take the mounts away, so that the VE has the kernel's own files
//! again.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat2};
use rustix::mount::{MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::error::{Failure, Result, Step};
use crate::message::{Channel, FromChild};
use crate::spec::Init;
use crate::sys::{self, Cloned};
use crate::{identity, root};

/// The files, by their path in lxcfs and in a VE alike. `slabinfo` is not for guests, and of `sys` only this one file
/// differs from the kernel's.
const FILES: [&str; 8] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "sys/devices/system/cpu/online",
];

/// Where a VE has its /proc and /sys once more, with nothing mounted over any part. Where a user namespace has no such
/// one, the kernel lets nobody in it mount another (mount_too_revealing), so containers inside would get none.
const BARE: [(&str, &str); 2] = [("/proc", "/dev/.hostel/proc"), ("/sys", "/dev/.hostel/sys")];

/// What lxcfs is called in mount tables, and as a process.
const FILE_SYSTEM: &str = "fuse.lxcfs";
const PROGRAM: &str = "lxcfs";

/// Kernel: include/uapi/linux/magic.h.
const PROC_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// How long a child may take. One that does its work needs a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one that was killed may take to end: if it hangs in the kernel, it is left to that.
const DYING: Duration = Duration::from_millis(200);

/// A VE's view, as its monitor looks after it.
#[derive(Debug)]
pub struct View {
    /// Where lxcfs is mounted on the host.
    mount: PathBuf,
    /// lxcfs, as long as its files are in the VE.
    server: Option<OwnedFd>,
    /// The host's mount table, to hear of lxcfs coming back.
    table: Option<File>,
}

impl View {
    /// For a VE that starts. If it can't be put on, why not is told beside it, and it is when lxcfs comes back.
    pub fn new(mount: &Path, init: BorrowedFd<'_>) -> (Self, Result<()>) {
        let mut view = Self {
            mount: mount.to_owned(),
            server: None,
            table: None,
        };
        let done = view.show(init);
        (view, done)
    }

    /// For a VE that runs, whose former monitor may have put one on.
    pub fn adopted(mount: &Path, init: BorrowedFd<'_>) -> Self {
        let (view, done) = Self::new(mount, init);
        if done.is_err() {
            // There is nobody to be told.
            let _ = take_off(init);
        }
        view
    }

    /// Takes the view away, until [`View::show`].
    pub fn hide(&mut self, init: BorrowedFd<'_>) -> Result<()> {
        (self.server, self.table) = (None, None);
        take_off(init)
    }

    /// Puts it on. If lxcfs isn't there, that is done when it comes back.
    pub fn show(&mut self, init: BorrowedFd<'_>) -> Result<()> {
        // Opened before we look, so that lxcfs can't come back unnoticed.
        let opened = File::open("/proc/self/mountinfo").ok();
        let done = find_server(&self.mount).and_then(|server| {
            // Held before its files are, so that its end can't go unnoticed.
            let server = identity::open(server)?;
            put_on(init, &self.mount).inspect_err(|_| drop(take_off(init)))?;
            Ok(server)
        });
        match done {
            Ok(server) => {
                (self.server, self.table) = (Some(server), None);
                Ok(())
            }
            Err(failure) => {
                (self.server, self.table) = (None, opened);
                Err(failure)
            }
        }
    }

    /// Is it on, as far as we have to do with it?
    pub fn is_on(&self) -> bool {
        self.server.is_some()
    }

    /// What to wait for: lxcfs's end, or, without it, a change of the host's mounts.
    pub fn wait_for(&self) -> Option<PollFd<'_>> {
        match (&self.server, &self.table) {
            (Some(server), _) => Some(PollFd::new(server, PollFlags::IN)),
            (None, Some(table)) => Some(PollFd::new(table, PollFlags::PRI)),
            (None, None) => None,
        }
    }

    /// What was waited for has come. A failure leaves the VE with the kernel's files, or, if even that can't be had,
    /// with files that answer nothing; there is nobody to be told.
    pub fn react(&mut self, init: BorrowedFd<'_>) {
        if self.server.take().is_some() {
            let _ = take_off(init);
        }
        let _ = self.show(init);
    }
}

/// The process that serves the lxcfs mounted here. Nothing of the mount itself is touched.
pub fn find_server(mount: &Path) -> Result<Init> {
    let act = "show a VE its own /proc by";
    let absent = |why: &str| Failure::new(act, format!("lxcfs at {}", mount.display()), why);
    let table = std::fs::read_to_string("/proc/self/mountinfo").step("read", "/proc/self/mountinfo")?;
    let place = mount.to_string_lossy();
    if !mounts_in(&table).any(|mounted| mounted == (&*place, FILE_SYSTEM)) {
        return Err(absent("it is not mounted there"));
    }
    let processes = std::fs::read_dir("/proc").step("read", "/proc")?;
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find_map(|pid: u32| serves(pid, &place).then(|| identity::identify(pid).ok()).flatten())
        .ok_or_else(|| absent("its process does not run"))
}

/// Is this process an lxcfs that was told to mount itself here?
fn serves(pid: u32, mount: &str) -> bool {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    if read("comm").trim_ascii_end() != PROGRAM.as_bytes() {
        return false;
    }
    let arguments = read("cmdline");
    let mut arguments = arguments.split(|b| *b == 0).skip(1).map(String::from_utf8_lossy);
    arguments.any(|argument| argument == mount || argument.strip_suffix('/') == Some(mount))
}

/// What is mounted, by place and kind, in a table like /proc/PID/mountinfo (proc_pid_mountinfo(5)). Places of odd names
/// stay as the kernel writes them.
fn mounts_in(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        Some((mount.split(' ').nth(4)?, kind.split(' ').next()?))
    })
}

fn put_on(init: BorrowedFd<'_>, mount: &Path) -> Result<()> {
    by_child(init, "show a VE its own /proc", |init| {
        let files = take_files(mount)?;
        let own = enter(init)?;
        remove_all(&own)?;
        share_mounts()?;
        keep_bare()?;
        for (path, file) in files {
            // What a guest has made of its /proc itself is left alone.
            match mount_point(path) {
                Ok(point) => root::place(file.as_fd(), point.as_fd())?,
                Err(failure) if path.starts_with("proc/") => return Err(failure),
                Err(_) => {}
            }
        }
        Ok(())
    })
}

fn take_off(init: BorrowedFd<'_>) -> Result<()> {
    by_child(init, "give a VE the kernel's /proc", |init| remove_all(&enter(init)?))
}

/// Joins the VE. Returns this process's own directory of the host's /proc: the VE's may be anything.
fn enter(init: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/self", flags, Mode::empty()).step("open", "/proc/self")?;
    sys::setns(init, libc::CLONE_NEWUSER | libc::CLONE_NEWNS).step("join", "the VE's namespaces")?;
    sys::become_user(0, 0, &[]).step("become", "the VE's root")?;
    Ok(own)
}

/// Detached mounts of lxcfs's files, with which nobody can do anything but read. Those that this version of lxcfs
/// doesn't have are left out.
fn take_files(mount: &Path) -> Result<Vec<(&'static str, OwnedFd)>> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let inert = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mut files = Vec::new();
    for path in FILES {
        let from = mount.join(path);
        let file = match rustix::mount::open_tree(CWD, &from, flags) {
            Err(rustix::io::Errno::NOENT) => continue,
            other => other.step("open", from.display())?,
        };
        sys::mount_setattr(file.as_fd(), inert.bits().into(), None).step("make inert", from.display())?;
        files.push((path, file));
    }
    // All that was so far may have come from what the kernel remembers. Only this shows that lxcfs answers.
    let asked = mount.join("proc/uptime");
    std::fs::read(&asked).step("read", asked.display())?;
    Ok(files)
}

/// From now on what is mounted in the VE's /proc and /sys, and unmounted there, is so in the mount namespaces that come
/// of this one as well, such as those of services: else these would keep the files of an lxcfs that has died. systemd
/// leaves it to its container manager to have mounts shared.
fn share_mounts() -> Result<()> {
    for place in ["/proc", "/sys"] {
        mount_change(place, MountPropagationFlags::SHARED).step("share the VE's mounts in", place)?;
    }
    Ok(())
}

fn keep_bare() -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    for (place, again) in BARE {
        let bare = rustix::mount::open_tree(CWD, place, flags).step("copy the VE's", place)?;
        std::fs::create_dir_all(again).step("make directory", again)?;
        rustix::mount::move_mount(bare, "", CWD, again, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .step("attach a mount at", again)?;
        // Or what is mounted over parts of the other would come here as well.
        mount_change(again, MountPropagationFlags::PRIVATE).step("make private", again)?;
    }
    Ok(())
}

/// The kernel's own file in the VE, reached through nothing that a guest can plant.
fn mount_point(path: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let (act, object) = ("open the VE's", format!("/{path}"));
    let point = openat2(CWD, object.as_str(), flags, Mode::empty(), how).step(act, &object)?;
    let kind = fstatfs(&point).step(act, &object)?.f_type as u64;
    match kind {
        PROC_MAGIC | SYSFS_MAGIC => Ok(point),
        _ => Err(Failure::new(act, object, "the guest has put something else there")),
    }
}

/// Unmounts all that we have mounted. Where a guest shares its mounts with namespaces of its
/// own, as systemd does with those of its services, they go there as well.
fn remove_all(own: &OwnedFd) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let act = "read the VE's";
    let table = rustix::fs::openat(own, "mountinfo", flags, Mode::empty()).step(act, "mount table")?;
    let table = std::io::read_to_string(File::from(table)).step(act, "mount table")?;
    let is_ours = |(point, kind): &(&str, &str)| match point.strip_prefix('/') {
        Some(path) if FILES.contains(&path) => *kind == FILE_SYSTEM,
        _ => BARE.iter().any(|(_, again)| again == point),
    };
    for (point, _) in mounts_in(&table).filter(is_ours) {
        // The last lookup of this asks nothing of the file system that is mounted there (path_lookup with
        // LOOKUP_MOUNTPOINT), so it works if that is dead, too.
        rustix::mount::unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).step("unmount", point)?;
    }
    Ok(())
}

/// Has a child do this, in the host's pid namespace, where nobody inside can see it.
fn by_child(init: BorrowedFd<'_>, what: &str, work: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> Result<()> {
    let (ours, theirs) = Channel::pair().step("make", "a channel to the child")?;
    match sys::clone3(0, None).step("start a process to", what)? {
        Cloned::Child => {
            // Nothing of the monitor's must stay open, should it never end. Nor may anybody inside look into it.
            let done = sys::prctl(libc::PR_SET_DUMPABLE, 0, 0)
                .and_then(|_| sys::close_all_but(&[init.as_raw_fd(), theirs.as_fd().as_raw_fd()]))
                .step("shield the process to", what)
                .and_then(|()| work(init));
            let message = match done {
                Ok(()) => FromChild::Ready,
                Err(failure) => FromChild::Failed(failure),
            };
            let _ = theirs.send(&message, &[]);
            sys::exit_at_once()
        }
        Cloned::Parent(_, child) => {
            drop(theirs);
            let heard = hear(&ours, what);
            // It has done its work, or never will.
            let _ = pidfd_send_signal(&child, Signal::KILL);
            if readable(&child, DYING) {
                let _ = waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED);
            }
            heard
        }
    }
}

fn hear(child: &Channel, what: &str) -> Result<()> {
    if !readable(child, PATIENCE) {
        return Err(Failure::new(what, "", "lxcfs or the VE's /proc doesn't answer"));
    }
    match child.receive::<FromChild>().step("hear from the process to", what)? {
        Some((FromChild::Ready, _)) => Ok(()),
        Some((FromChild::Failed(failure), _)) => Err(failure),
        _ => Err(Failure::new(what, "", "the process for it ended without a word")),
    }
}

fn readable(fd: &impl AsFd, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).ok();
    poll(&mut [PollFd::new(fd, PollFlags::IN)], patience.as_ref()).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=/run/l
40 22 0:5 / /proc rw,nosuid - proc proc rw
43 40 0:41 /proc/meminfo /proc/meminfo ro,nosuid shared:7 - fuse.lxcfs lxcfs rw,user_id=0
44 40 0:41 /proc/stat /srv/fuse.lxcfs ro - fuse.lxcfs lxcfs rw
45 22 0:42 / /x rw - tmpfs fuse.lxcfs rw
46 22 0:43 / /y rw - fuse.other lxcfs rw
nonsense
";

    #[test]
    fn lxcfs_is_found_by_its_kind() {
        let lxcfs = mounts_in(TABLE).filter(|(_, kind)| *kind == FILE_SYSTEM);
        assert_eq!(
            lxcfs.map(|(place, _)| place).collect::<Vec<_>>(),
            ["/proc/meminfo", "/srv/fuse.lxcfs"]
        );
    }

    #[test]
    fn where_nothing_is_mounted_is_no_lxcfs() {
        let failure = find_server(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "cannot show a VE its own /proc by lxcfs at /nowhere/at/all: it is not mounted there"
        );
        assert!(!serves(std::process::id(), "/nowhere"));
    }
}
