//! The VE's first process, from its birth in new namespaces to the exec of init.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use crate::dev::Device;
use crate::error::{Failure, Result, Step};
use crate::message::{Channel, FromChild, ToChild};
use crate::spec::Start;
use crate::{bind, dev, guest, privilege, root, seccomp, sys};

/// Where init finds the socket on which it says that it has booted (sd_notify(3)).
pub const NOTIFY_SOCKET: &str = "/run/host/notify";

/// Never returns: becomes init, or tells why not and ends.
pub fn run(start: &Start, monitor: &Channel) -> ! {
    let failure = match become_init(start, monitor) {
        Err(failure) => failure,
        Ok(never) => match never {},
    };
    // If the monitor is gone as well, nobody is left to be told.
    let _ = monitor.send(&FromChild::Failed(failure), &[]);
    std::process::exit(1);
}

fn become_init(start: &Start, monitor: &Channel) -> Result<std::convert::Infallible> {
    // The monitor's own (its sockets, the group in the v2 tree) are not for us. Its frames, which own them, are never
    // returned to.
    sys::close_all_but(&[monitor.as_fd().as_raw_fd()]).step("close", "the monitor's descriptors")?;
    let Received { root, devices, binds } = receive_root(monitor)?;
    rustix::process::setsid().step("make", "a session")?;
    sys::become_user(0, 0, &[]).step("become", "the VE's root")?;
    // Not the one that the monitor keeps. It is empty too, should the VE have no room for another.
    let _ = sys::new_session_keyring();
    // Only now: the group we were born in is to be the root of what the guest sees.
    sys::unshare(libc::CLONE_NEWCGROUP).step("make", "the cgroup namespace")?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .step("make private", "the mounts")?;
    root::attach_root(root.as_fd())?;
    let console = furnish(root.as_fd(), &devices, start)?;
    monitor
        .send(&FromChild::Console, &[console.as_fd()])
        .step("hand over", "the console")?;
    for (path, directory, mount) in &binds {
        bind::attach(root.as_fd(), path, *directory, mount.as_fd())?;
    }
    drop((console, devices, binds));
    root::pivot(root.as_fd())?;
    drop(root);
    rustix::system::sethostname(start.hostname.as_bytes()).step("set the host name to", &start.hostname)?;
    privilege::limit_namespace(start.switches)?;
    if start.notifies {
        offer_notify_socket(monitor)?;
    }
    write_identity(start, monitor)?;
    let init = find_init(&start.init)?;
    // Nothing of the tree is opened after this but init: who runs inside may have put there what never answers.
    dev::take_console()?;
    // Scripts of the host's owner may run the guest's programs beside us before we become one: none of them may look in.
    sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).step("shield", "this process")?;
    monitor.send(&FromChild::Ready, &[]).step("report to", "the monitor")?;
    match monitor.receive::<ToChild>().step("hear from", "the monitor")? {
        Some((ToChild::Go, _)) => {}
        _ => return Err(Failure::new("run", "init", "the monitor gave the start up")),
    }
    let mut env = start.env.clone();
    if start.notifies {
        env.push(format!("NOTIFY_SOCKET={NOTIFY_SOCKET}"));
    }
    leave_privileges(start)?;
    Err(sys::exec(&init, std::slice::from_ref(&init), &env)).step("run", init)
}

/// What the monitor has made for the VE.
struct Received {
    root: OwnedFd,
    devices: Vec<Device>,
    /// Where in the VE, whether it is a directory, and what.
    binds: Vec<(String, bool, OwnedFd)>,
}

fn receive_root(monitor: &Channel) -> Result<Received> {
    let (mut devices, mut binds) = (Vec::new(), Vec::new());
    loop {
        match monitor.receive::<ToChild>().step("hear from", "the monitor")? {
            Some((ToChild::Device(name, major, minor), Some(mount))) => {
                devices.push(Device {
                    name,
                    numbers: (major, minor),
                    mount,
                });
            }
            Some((ToChild::Bind(path, directory), Some(mount))) => binds.push((path, directory, mount)),
            Some((ToChild::Root, Some(root))) => return Ok(Received { root, devices, binds }),
            _ => {
                return Err(Failure::new(
                    "receive",
                    "the VE's root",
                    "the monitor gave the start up",
                ));
            }
        }
    }
}

/// Mounts what every guest finds in place: /proc, /sys, its cgroup tree, /dev, /run. Returns the console's master.
///
/// No part of /proc or /sys is covered up, as some container managers do. The mount namespace belongs to the VE's
/// root, who could take such covers away; and where a part is covered, the kernel lets nobody mount another /proc
/// (mount_too_revealing), so containers and chroots inside would lose theirs. What must stay secret there is kept by
/// its mode, since its owner, root of the host, is nobody inside.
fn furnish(tree: BorrowedFd<'_>, devices: &[Device], start: &Start) -> Result<OwnedFd> {
    let shut = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    root::mount_at(root::mount_point(tree, "proc")?.as_fd(), "proc", &[], shut)?;
    // Read-only, or udevd would start and fight the host's.
    let read_only = shut | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let sys = root::mount_at(root::mount_point(tree, "sys")?.as_fd(), "sysfs", &[], read_only)?;
    let point = root::mount_point(sys.as_fd(), "fs/cgroup")?;
    root::mount_at(point.as_fd(), "cgroup2", &[("nsdelegate", "")], shut)
        .or_else(|_| root::mount_at(point.as_fd(), "cgroup2", &[], shut))?;
    let console = dev::populate(root::mount_point(tree, "dev")?.as_fd(), devices, start.tmpfs_size)?;
    let size = start.tmpfs_size.to_string();
    let tidy = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    root::mount_at(
        root::mount_point(tree, "run")?.as_fd(),
        "tmpfs",
        &[("mode", "0755"), ("size", &size)],
        tidy,
    )?;
    Ok(console)
}

fn offer_notify_socket(monitor: &Channel) -> Result<()> {
    std::fs::create_dir_all("/run/host").step("make directory", "/run/host")?;
    let socket = UnixDatagram::bind(NOTIFY_SOCKET).step("make", NOTIFY_SOCKET)?;
    monitor
        .send(&FromChild::Notify, &[socket.as_fd()])
        .step("hand over", NOTIFY_SOCKET)
}

/// What the VE's own files hinder is told and left: it starts all the same.
fn write_identity(start: &Start, monitor: &Channel) -> Result<()> {
    let outcomes = guest::apply(std::path::Path::new("/"), &start.identity)?;
    for outcome in outcomes {
        if let guest::Outcome::Left(left) = outcome {
            monitor
                .send(&FromChild::Left(left), &[])
                .step("report to", "the monitor")?;
        }
    }
    Ok(())
}

/// The first of these that is there and executable, all inside the VE.
fn find_init(candidates: &[String]) -> Result<String> {
    use std::os::unix::fs::PermissionsExt;
    let runs =
        |path: &&String| std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    candidates.iter().find(runs).cloned().ok_or_else(|| {
        let mut failure = Failure::new(
            "find",
            "an init",
            format!("none of {} is a program", candidates.join(", ")),
        );
        failure.errno = Some(libc::ENOENT);
        failure
    })
}

/// The last steps before the guest's own code runs: nothing of ours may remain.
fn leave_privileges(start: &Start) -> Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    sys::close_from(3, true).step("mark to be closed", "all descriptors")?;
    sys::restore_signals().step("reset", "signals")?;
    privilege::drop_capabilities()?;
    seccomp::install(start.switches)
}
