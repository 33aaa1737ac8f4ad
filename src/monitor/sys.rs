//! The system calls that neither nix nor rustix wrap, and nothing else.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// What a clone gave.
#[derive(Debug)]
pub enum Cloned {
    /// We are the child.
    Child,
    /// We are the parent: the child's process id here and its pidfd.
    Parent(i32, OwnedFd),
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// clone3(2) like fork: with `flags` (CLONE_NEW…), a pidfd, SIGCHLD, and straight into a v2 cgroup if one is given.
/// The child of a caller with threads may do only what allocates nothing and takes no lock, and then execute a program
/// or end (signal-safety(7)).
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain old data for which all zeroes is a valid value.
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP, clone(2)
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no CLONE_VM and no stack given, so the child goes on with a copy of this one thread as after fork. The
    // kernel writes pidfd before it returns.
    match check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, mem::size_of::<libc::clone_args>()) })? {
        0 => Ok(Cloned::Child),
        // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
        pid => Ok(Cloned::Parent(pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) })),
    }
}

/// mount_setattr(2) on the mount behind `mount`: sets attributes, makes it private (what is mounted in the place it was
/// copied from doesn't appear in it, nor the other way round), and with a user namespace idmaps it.
pub fn mount_setattr(mount: BorrowedFd<'_>, set: u64, user_namespace: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut attr = linux_raw_sys::general::mount_attr {
        attr_set: set,
        // One of several kinds of access times can only be set in the place of another.
        attr_clr: match set & u64::from(linux_raw_sys::general::MOUNT_ATTR_NOATIME) {
            0 => 0,
            _ => u64::from(linux_raw_sys::general::MOUNT_ATTR__ATIME),
        },
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    if let Some(ns) = user_namespace {
        attr.attr_set |= u64::from(linux_raw_sys::general::MOUNT_ATTR_IDMAP);
        attr.userns_fd = ns.as_raw_fd() as u64;
    }
    // SAFETY: the path is a valid C string, attr lives through the call and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            mem::size_of_val(&attr),
        )
    })
    .map(drop)
}

/// Sets the effective user and group id, real and saved ones staying root's.
pub fn set_effective(id: u32) -> io::Result<()> {
    let keep = u32::MAX;
    // SAFETY: plain calls without memory arguments.
    unsafe {
        if id == 0 {
            check(libc::syscall(libc::SYS_setresuid, keep, id, keep))?;
            check(libc::syscall(libc::SYS_setresgid, keep, id, keep))?;
        } else {
            check(libc::syscall(libc::SYS_setresgid, keep, id, keep))?;
            check(libc::syscall(libc::SYS_setresuid, keep, id, keep))?;
        }
    }
    Ok(())
}

/// Becomes `uid` and `gid` wholly (real, effective, saved), with these supplementary groups. Raw calls: the C
/// library's wrappers signal other threads, of which there are none.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the group list lives through the call and its length is given.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    Ok(())
}

/// Sets the ids with which files are made (setfsuid(2)); overlayfs remembers them from its mounter.
pub fn set_fs_ids(id: u32) {
    // SAFETY: plain calls without memory arguments; they can't fail in a way that matters: an unprivileged caller
    // is left as it was, and the overlay mount that follows then fails aloud.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, id);
        libc::syscall(libc::SYS_setfsuid, id);
    }
}

/// prctl(2) with up to four arguments.
pub fn prctl(option: libc::c_int, a: u64, b: u64) -> io::Result<i32> {
    // SAFETY: callers pass options whose arguments are numbers, or pointers that live through the call.
    check(unsafe { libc::prctl(option, a, b, 0u64, 0u64) }.into()).map(|n| n as i32)
}

/// Capability sets as bit masks, in capset(2)'s sense.
#[derive(Debug, Clone, Copy)]
pub struct CapSets {
    /// In force.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// Kept over exec by files that allow it.
    pub inheritable: u64,
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

/// _LINUX_CAPABILITY_VERSION_3 of capget(2).
const CAP_VERSION: u32 = 0x2008_0522;

/// This thread's capabilities.
pub fn capget() -> io::Result<CapSets> {
    let mut header = CapHeader {
        version: CAP_VERSION,
        pid: 0,
    };
    let mut data = [[0u32; 3]; 2];
    // SAFETY: header and data have capget(2)'s layout for version 3 (two triples) and live through the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |i: usize| u64::from(data[0][i]) | u64::from(data[1][i]) << 32;
    Ok(CapSets {
        effective: join(0),
        permitted: join(1),
        inheritable: join(2),
    })
}

/// Sets this thread's capabilities.
pub fn capset(sets: CapSets) -> io::Result<()> {
    let mut header = CapHeader {
        version: CAP_VERSION,
        pid: 0,
    };
    let half = |shift: u32| {
        [
            (sets.effective >> shift) as u32,
            (sets.permitted >> shift) as u32,
            (sets.inheritable >> shift) as u32,
        ]
    };
    let data = [half(0), half(32)];
    // SAFETY: header and data have capset(2)'s layout for version 3 and live through the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) }).map(drop)
}

/// Installs a seccomp filter for this thread and all it will start (seccomp(2)).
pub fn seccomp(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    const SET_MODE_FILTER: u64 = 1;
    // SAFETY: the program points at `filter`, which lives through the call; the kernel copies it and doesn't write.
    check(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0u64, &raw const program) }).map(drop)
}

/// Closes every descriptor from `first` on, or with `cloexec` marks them to be closed at exec (close_range(2)).
pub fn close_from(first: RawFd, cloexec: bool) -> io::Result<()> {
    let flags: u32 = if cloexec { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: closes by number. Callers do this right before exec, or first of all in main, when no owned
    // descriptor of this process lies in the range.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) }).map(drop)
}

/// Closes every descriptor above the standard ones but these: what a careless caller left open, or what only our
/// parent needs, must not reach the VE.
pub fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let firsts = std::iter::once(3).chain(keep.iter().map(|fd| fd + 1));
    let lasts = keep.iter().map(|fd| fd - 1).chain([RawFd::MAX]);
    for (first, last) in firsts.zip(lasts).filter(|(first, last)| first <= last) {
        // SAFETY: called first of all in main or in a new child, by functions that own no descriptor in these ranges
        // and never return to the frames that did.
        check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) })?;
    }
    Ok(())
}

/// A new, empty session keyring instead of the one inherited (keyctl(2)). Kernels without keys have nothing to leave.
pub fn new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: u64 = 1;
    // SAFETY: a null name asks for an anonymous keyring; there is no other memory argument.
    match check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0u64) }) {
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other.map(drop),
    }
}

/// Back to what a process has when a system boots: SCHED_OTHER at nice 0 on all processors, no I/O class, default
/// memory policy, default personality and timer slack.
pub fn ordinary_scheduling() -> io::Result<()> {
    let everywhere = [u64::MAX; 128]; // 8192 processors, the most that Linux can be built for
    let parameters: libc::c_int = 0; // struct sched_param is one int
    // SAFETY: `parameters` and `everywhere` live through the calls, which only read them, sizes as given; a null node
    // mask goes with MPOL_DEFAULT (set_mempolicy(2)). The others have no memory arguments.
    unsafe {
        check(libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_OTHER,
            &raw const parameters,
        ))?;
        check(libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, 0))?;
        check(libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(&everywhere),
            everywhere.as_ptr(),
        ))?;
        const WHO_PROCESS: libc::c_int = 1; // ioprio_set(2)
        check(libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, 0))?;
        // Absent on kernels without NUMA.
        let _ = libc::syscall(
            libc::SYS_set_mempolicy,
            libc::MPOL_DEFAULT,
            std::ptr::null::<u64>(),
            0u64,
        );
        check(libc::personality(0).into())?;
    }
    prctl(libc::PR_SET_TIMERSLACK, 50_000, 0).map(drop)
}

/// Joins the namespaces in `flags` of the process behind `pidfd` (setns(2)).
pub fn setns(pidfd: BorrowedFd<'_>, flags: i32) -> io::Result<()> {
    // SAFETY: no memory arguments; the process has one thread, as joining a user or mount namespace demands.
    check(unsafe { libc::setns(pidfd.as_raw_fd(), flags) }.into()).map(drop)
}

/// unshare(2).
pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: no memory arguments, and no other thread shares what is unshared.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Replaces this process by `path` with exactly these arguments and environment; returns only on failure.
pub fn exec(path: &str, argv: &[String], env: &[String]) -> io::Error {
    let strings = |list: &[String]| {
        list.iter()
            .map(|s| CString::new(s.as_str()))
            .collect::<Result<Vec<_>, _>>()
    };
    let (Ok(path), Ok(argv), Ok(env)) = (CString::new(path), strings(argv), strings(env)) else {
        return io::Error::from_raw_os_error(libc::EINVAL); // a NUL inside: refused at the door, so never seen here
    };
    let pointers = |list: &[CString]| {
        list.iter()
            .map(|s| s.as_ptr())
            .chain([std::ptr::null()])
            .collect::<Vec<*const libc::c_char>>()
    };
    let (argv, env) = (pointers(&argv), pointers(&env));
    // SAFETY: both arrays end with a null pointer and all strings live until execve has copied them.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// An integer-argument ioctl(2).
pub fn ioctl_int(fd: BorrowedFd<'_>, request: u64, argument: i32) -> io::Result<i32> {
    // SAFETY: callers use requests whose argument is an integer (TIOCSCTTY, TIOCGPTPEER).
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument) }.into()).map(|n| n as i32)
}

/// Unlocks a pseudo-terminal and opens its other side, without a path lookup (ioctl_tty(2): TIOCSPTLCK, TIOCGPTPEER).
pub fn open_pty_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, which lives through the call.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) }.into())?;
    let fd = ioctl_int(
        master,
        libc::TIOCGPTPEER,
        libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
    )?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes ownership of a descriptor that this process was started with. Call once per number, first of all in main.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl without memory arguments.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    // SAFETY: it is open (fcntl just said so), our parent gave it to us, and nobody else here owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How a process that isn't our child ended, by its pidfd: its wait status (pidfd PIDFD_GET_INFO, Linux 6.15).
pub fn exit_status_of(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    #[repr(C)]
    #[derive(Default)]
    struct PidfdInfo {
        mask: u64,
        cgroupid: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    // _IOWR(0xFF, 11, struct pidfd_info) with the first published size of 64 bytes; later kernels accept it.
    const PIDFD_GET_INFO: u64 = 0xc000_ff0b | (64 << 16);
    let mut info = PidfdInfo {
        mask: PIDFD_INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: info is 64 bytes of plain data, as the request says, and lives through the call.
    check(unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) }.into())?;
    if info.mask & PIDFD_INFO_EXIT == 0 {
        return Err(io::Error::from_raw_os_error(libc::ENODATA));
    }
    Ok(info.exit_code)
}

/// Ends this process without a look at what a parent has left in memory (buffers, exit handlers): for children that
/// were made by clone and run no other program.
pub fn exit_at_once() -> ! {
    // SAFETY: no memory arguments; it doesn't return.
    unsafe { libc::_exit(0) }
}

/// Every signal to its default action, none blocked: what a program expects to be started with.
pub fn restore_signals() -> io::Result<()> {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL runs no code of ours; KILL, STOP and numbers without a signal are refused, harmlessly.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is plain data that sigemptyset fills before it is read.
    unsafe {
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()).into()).map(drop)
    }
}

/// Signals by which a terminal or a login session ends its programs have no effect on a monitor.
pub fn ignore_signals() -> io::Result<()> {
    for signal in [
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGPIPE,
        libc::SIGTSTP,
    ] {
        // SAFETY: SIG_IGN runs no code of ours.
        if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
