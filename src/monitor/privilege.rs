//! What the guest's processes may never do: dropped capabilities, and the limits of its user namespace.

use crate::error::{Result, Step};
use crate::spec::Switches;
use crate::sys::{self, CapSets};

/// Capabilities that no VE has (numbers of capabilities(7)). The rest are powers over the VE's own namespaces.
const DROPPED: [(u32, &str); 15] = [
    (16, "SYS_MODULE"),
    (17, "SYS_RAWIO"),
    (20, "SYS_PACCT"),
    (24, "SYS_RESOURCE"), // else the limits of the user namespace could be raised from inside
    (25, "SYS_TIME"),
    (30, "AUDIT_CONTROL"),
    (32, "MAC_OVERRIDE"),
    (33, "MAC_ADMIN"),
    (34, "SYSLOG"),
    (35, "WAKE_ALARM"),
    (36, "BLOCK_SUSPEND"),
    (37, "AUDIT_READ"),
    (38, "PERFMON"),
    (39, "BPF"),
    (40, "CHECKPOINT_RESTORE"),
];

/// The highest capability this crate knows; a kernel may know more, and those are dropped as well.
const LAST_KNOWN: u32 = 40;

/// The mask of capabilities that a VE's processes may have.
pub fn allowed() -> u64 {
    let known = (1u64 << (LAST_KNOWN + 1)) - 1;
    DROPPED.iter().fold(known, |mask, (n, _)| mask & !(1 << n))
}

/// Gives up everything outside [`allowed`] for good: bounding set, then the three sets of this thread, all explicit
/// (CVE-2022-29162 was a forgotten inheritable set). For a process that is root in the VE's user namespace.
pub fn drop_capabilities() -> Result<()> {
    let mask = allowed();
    for cap in 0..64u32 {
        if mask & (1 << cap) == 0 {
            match sys::prctl(libc::PR_CAPBSET_DROP, cap.into(), 0) {
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => break, // beyond the kernel's last one
                other => other.step("drop capability", cap)?,
            };
        }
    }
    sys::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)
        .step("clear ambient capabilities", "")?;
    let held = sys::capget().step("read capabilities", "")?;
    let keep = held.permitted & mask;
    sys::capset(CapSets {
        effective: keep,
        permitted: keep,
        inheritable: 0,
    })
    .step("set capabilities", "")
}

/// Limits of the VE's own user namespace, written from inside before init runs; they hold because CAP_SYS_RESOURCE
/// is dropped afterwards (kernel: Documentation/admin-guide/sysctl/user.rst).
///
/// They keep a guest from taking without end what no limit of its plan counts. Instances and watches of inotify are
/// counted: the kernel charges their memory to the VE's group (SLAB_ACCOUNT in inotify_user.c), and to nobody else's
/// user. So there is room for more than one system with systemd, which has some thirty instances, and for the watches
/// of a development server.
pub fn limit_namespace(switches: Switches) -> Result<()> {
    let user_namespaces = if switches.nesting { "64" } else { "0" };
    for (name, value) in [
        ("max_user_namespaces", user_namespaces),
        ("max_inotify_instances", "1024"),
        ("max_inotify_watches", "131072"),
        ("max_fanotify_groups", "64"),
        ("max_fanotify_marks", "8192"),
        ("max_mnt_namespaces", "1024"),
        ("max_net_namespaces", "256"),
        ("max_pid_namespaces", "256"),
        ("max_ipc_namespaces", "256"),
        ("max_uts_namespaces", "256"),
        ("max_cgroup_namespaces", "256"),
        ("max_time_namespaces", "64"),
    ] {
        let path = format!("/proc/sys/user/{name}");
        match std::fs::write(&path, value) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {} // a kernel built without that facility
            other => other.step("limit the VE's user namespace by", &path)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dangerous_ones_are_out_and_init_keeps_what_it_needs() {
        for (number, name) in DROPPED {
            assert_eq!(allowed() & (1 << number), 0, "{name}");
        }
        const SYS_ADMIN: u32 = 21;
        const NET_ADMIN: u32 = 12;
        const SYS_BOOT: u32 = 22;
        const MKNOD: u32 = 27;
        for kept in [SYS_ADMIN, NET_ADMIN, SYS_BOOT, MKNOD] {
            assert_ne!(allowed() & (1 << kept), 0, "{kept}");
        }
    }
}
