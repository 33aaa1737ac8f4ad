//! A VE's root: its idmapped disk over its idmapped template, as one detached mount.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::dev::{self, Device};
use crate::error::{Result, Step};
use crate::spec::{Disk, Resume, Start};
use crate::sys;

/// Overlay options: `redirect_dir` and `index` keep renames and hard links right, `nfs_export` gives file handles,
/// without which inotify inside could not be suspended to disk (kernel: Documentation/filesystems/overlayfs.rst).
pub const OVERLAY: [(&str, &str); 3] = [("redirect_dir", "on"), ("index", "on"), ("nfs_export", "on")];

/// CAP_SYS_RESOURCE, which lets a process pass a disk quota on ext4.
const SYS_RESOURCE: u64 = 1 << 24;

/// How long the kernel may take to let go of a disk.
const LETTING_GO: Duration = Duration::from_secs(5);

/// Where the layers stand in the monitor's private mount namespace; a tmpfs goes over it first.
const WORKSHOP: &str = "/run";

/// Puts the root together, with the devices that the plan adds, and returns them as detached mounts that only the
/// caller can see.
///
/// `user_namespace` is the VE's. The process needs a private mount namespace for
/// this, makes one, and comes back to the one it was in, so that nothing of the host stays pinned.
pub fn assemble(start: &Start, disk: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> Result<(OwnedFd, Vec<Device>)> {
    let home = std::fs::File::open("/proc/self/ns/mnt").step("open", "the host's mount namespace")?;
    sys::unshare(libc::CLONE_NEWNS).step("make", "a private mount namespace")?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .step("make private", "the mounts")?;
    let made = open_workshop().and_then(|workshop| {
        let root = overlay(&start.lower, disk, user_namespace, start.id_base)?;
        Ok((root, dev::make(workshop.as_fd(), start.switches)?))
    });
    sys::setns(home.as_fd(), libc::CLONE_NEWNS).step("return to", "the host's mount namespace")?;
    made
}

/// The file in the VE's run directory with the number (st_dev) of the file system that is its root: what else stands
/// there some day, the guest has put in its place.
pub const DEVICE: &str = "root.device";

/// Notes it before anything of the guest's runs. A /run that is full keeps no VE from running.
pub fn note_device(root: BorrowedFd<'_>, run_dir: &Path) -> Result<()> {
    let stat = rustix::fs::fstat(root).step("look at", "the VE's root")?;
    let _ = std::fs::write(run_dir.join(DEVICE), stat.st_dev.to_string());
    Ok(())
}

/// Where a VE's root stands for CRIU, in the mount namespace that [`lay_out`] makes.
pub const RESTORED: &str = "/run/root";

/// Puts the root together for CRIU and mounts it at [`RESTORED`], with the nodes of the devices that the plan adds at
/// [`dev::nodes`], in a private mount namespace in which this process stays. The namespace that it was in comes back.
pub fn lay_out(resume: &Resume, disk: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> Result<std::fs::File> {
    let home = std::fs::File::open("/proc/self/ns/mnt").step("open", "the host's mount namespace")?;
    sys::unshare(libc::CLONE_NEWNS).step("make", "a private mount namespace")?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .step("make private", "the mounts")?;
    let workshop = open_workshop()?;
    let root = overlay(&resume.lower, disk, user_namespace, resume.id_base)?;
    note_device(root.as_fd(), &resume.watch.run_dir)?;
    attach(root.as_fd(), "root")?;
    dev::make(workshop.as_fd(), resume.switches)?;
    Ok(home)
}

fn open_workshop() -> Result<OwnedFd> {
    rustix::mount::mount("hostel", WORKSHOP, "tmpfs", rustix::mount::MountFlags::empty(), None)
        .step("mount a tmpfs on", WORKSHOP)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(WORKSHOP, flags, Mode::empty()).step("open", WORKSHOP)
}

fn overlay(lower: &Path, upper: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, base: u32) -> Result<OwnedFd> {
    let template = open_layer(lower)?;
    idmap(template.as_fd(), user_namespace, lower)?;
    attach(template.as_fd(), "l")?;
    prepare_disk(upper)?;
    idmap(upper, user_namespace, Path::new("the VE's disk"))?;
    attach(upper, "u")?;
    mount_as(base, "lowerdir=/run/l,upperdir=/run/u/upper,workdir=/run/u/work")
}

/// Makes the overlay's two directories on a disk that has never been used. The upper one is what the guest's users
/// see as `/`, so it must be open to all, whatever our umask is.
pub fn prepare_disk(disk: BorrowedFd<'_>) -> Result<()> {
    for directory in ["upper", "work"] {
        let act = "make on the VE's disk";
        match rustix::fs::mkdirat(disk, directory, Mode::from_raw_mode(0o755)) {
            Ok(()) => rustix::fs::chmodat(disk, directory, Mode::from_raw_mode(0o755), AtFlags::empty())
                .step(act, directory)?,
            Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(e).step(act, directory),
        }
    }
    Ok(())
}

fn attach(mount: BorrowedFd<'_>, name: &str) -> Result<()> {
    let target = format!("{WORKSHOP}/{name}");
    rustix::fs::mkdirat(CWD, &target, Mode::from_raw_mode(0o755)).step("make directory", &target)?;
    rustix::mount::move_mount(mount, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step("attach a layer at", &target)
}

fn idmap(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, what: &Path) -> Result<()> {
    sys::mount_setattr(mount, 0, Some(user_namespace)).step("map the ids of", what.display())
}

fn open_layer(path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    rustix::mount::open_tree(CWD, path, flags).step("open", path.display())
}

/// The disk as a detached mount, ids not mapped yet. Nothing on it runs, has set-id bits or is a device: for the guest
/// it is a layer, whose own attributes don't count, and for the host it must be inert.
pub fn open_disk(disk: &Disk) -> Result<OwnedFd> {
    let mount = open_storage(disk)?;
    let inert = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    sys::mount_setattr(mount.as_fd(), u64::from(inert.bits()), None).step("make inert", "the VE's disk")?;
    Ok(mount)
}

fn open_storage(disk: &Disk) -> Result<OwnedFd> {
    match disk {
        Disk::Directory(path) => open_layer(path),
        Disk::Device { node, fs, options } => {
            let context =
                rustix::mount::fsopen(fs.as_str(), FsOpenFlags::FSOPEN_CLOEXEC).step("use file system", fs)?;
            let act = "mount the VE's disk";
            rustix::mount::fsconfig_set_string(&context, "source", node.as_path()).step(act, node.display())?;
            for option in options {
                match option.split_once('=') {
                    Some((key, value)) => rustix::mount::fsconfig_set_string(&context, key, value),
                    None => rustix::mount::fsconfig_set_flag(&context, option.as_str()),
                }
                .step("set mount option", option)?;
            }
            rustix::mount::fsconfig_create(&context).step(act, node.display())?;
            let attributes = MountAttrFlags::MOUNT_ATTR_NOATIME;
            rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).step(act, node.display())
        }
    }
}

/// Mounts the overlay with the VE's root as its mounter: overlayfs writes with the credentials it was mounted with,
/// and the host's root has no id on idmapped layers (EOVERFLOW on the work directory, then silently read-only).
fn mount_as(base: u32, layers: &str) -> Result<OwnedFd> {
    let held = sys::capget().step("read capabilities", "")?;
    sys::set_fs_ids(base);
    // Changing the file system ids took the file capabilities away; all come back but the one that passes quotas.
    let lowered = sys::CapSets {
        effective: held.permitted & !SYS_RESOURCE,
        ..held
    };
    let mounted = sys::capset(lowered)
        .step("set capabilities", "")
        .and_then(|()| mount_when_free(layers));
    sys::set_fs_ids(0);
    sys::capset(held).step("restore capabilities", "")?;
    mounted
}

/// The kernel takes an upper layer for one overlay only, and lets go of it a moment after the VE that had it has ended.
/// On a device that was waited for already; a directory of the host is always there.
fn mount_when_free(layers: &str) -> Result<OwnedFd> {
    let end = Instant::now() + LETTING_GO;
    loop {
        match mount(layers) {
            Err(e) if e.errno == Some(libc::EBUSY) && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(mut e) if e.errno == Some(libc::EBUSY) => {
                e.reason = "its disk is in use by a mount of it elsewhere: find and end what has it".into();
                return Err(e);
            }
            other => return other,
        }
    }
}

fn mount(layers: &str) -> Result<OwnedFd> {
    let act = "mount the VE's root";
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).step("use file system", "overlay")?;
    // What df calls it.
    let source = [("source", "overlay")];
    let layers = layers.split(',').filter_map(|pair| pair.split_once('='));
    for (key, value) in source.into_iter().chain(layers).chain(OVERLAY) {
        rustix::mount::fsconfig_set_string(&context, key, value).step("set overlay option", key)?;
    }
    rustix::mount::fsconfig_create(&context).step(act, "")?;
    // A device node on a disk or in a template, however it came there, is none in the VE.
    rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NODEV,
    )
    .step(act, "")
}

/// Attaches `root` (a detached mount) in this process's mount namespace, over what is its root still: paths go on to lead
/// to the host's. Before Linux 6.15 nothing can be mounted in a tree that isn't attached (EINVAL).
pub fn attach_root(root: BorrowedFd<'_>) -> Result<()> {
    rustix::mount::move_mount(root, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step("attach", "the VE's root")
}

/// Makes `root`, which [`attach_root`] has attached, the root of this process, with nothing of the old one left.
pub fn pivot(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root).step("enter", "the VE's root")?;
    rustix::process::pivot_root(".", ".").step("change to", "the VE's root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).step("leave", "the host's root")?;
    rustix::process::chdir("/").step("enter", "/")
}

/// Opens a directory of the VE's tree on which something is to be mounted, making it if it isn't there. A symlink or
/// a file in its place is refused: a tenant may have put it there to lead us elsewhere.
pub fn mount_point(root: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};
    let open = || {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(
            root,
            name,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            how,
        )
    };
    let opened = match open() {
        Err(rustix::io::Errno::NOENT) => {
            rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755)).step("make in the VE's root", name)?;
            open()
        }
        other => other,
    };
    opened.map_err(|e| {
        let mut failure = crate::Failure::new("use as a mount point in the VE's root", format!("/{name}"), e);
        failure.errno = Some(e.raw_os_error());
        if matches!(e, rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) {
            failure.reason = "it is not a directory but a link or a file; put a plain directory there".into();
        }
        failure
    })
}

/// Mounts a new file system of this kind at an opened directory; returns it for work inside.
pub fn mount_at(
    point: BorrowedFd<'_>,
    fs: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(fs, FsOpenFlags::FSOPEN_CLOEXEC).step("use file system", fs)?;
    // As mount(8) has it: df and mount show a name instead of "none".
    for (key, value) in [("source", fs)].iter().chain(options) {
        match *value {
            "" => rustix::mount::fsconfig_set_flag(&context, *key),
            value => rustix::mount::fsconfig_set_string(&context, *key, value),
        }
        .step("set mount option", format!("{key} of {fs}"))?;
    }
    rustix::mount::fsconfig_create(&context).step("mount", fs)?;
    let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).step("mount", fs)?;
    place(mount.as_fd(), point)?;
    Ok(mount)
}

/// Attaches a detached mount on an opened file or directory.
pub fn place(mount: BorrowedFd<'_>, point: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", point, "", flags).step("attach a mount", "")
}

/// A private copy of the mount (or of the file) behind `fd`.
pub fn clone_mount(fd: BorrowedFd<'_>, what: &str) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(fd, "", flags).step("copy the mount of", what)
}

/// Refuses a descriptor that isn't the character device it should be.
pub fn check_device(fd: BorrowedFd<'_>, major: u32, minor: u32, what: &str) -> Result<()> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH).step("look at", what)?;
    let is_char = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice;
    if is_char && stat.st_rdev == rustix::fs::makedev(major, minor) {
        return Ok(());
    }
    Err(crate::Failure::new(
        "use the host's",
        what,
        format!("descriptor {} is not that device", fd.as_raw_fd()),
    ))
}
