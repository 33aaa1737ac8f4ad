//! The list of system calls that no VE may make, as a BPF program (seccomp(2)).
//!
//! A deny list, because a whole operating system must run: ENOSYS where guests probe for a feature, EPERM where they
//! expect refusal, EAFNOSUPPORT for address families whose kernel code has a record of holes. Programs of another
//! architecture (32-bit) get ENOSYS for every call unless the plan says `compat32`, and then the old multiplexer
//! `socketcall` stays shut, since a filter can't see the family behind its pointer.
//!
//! Nor does it see what is asked of io_uring, which makes sockets (IORING_OP_SOCKET, Linux 5.19): whoever is granted
//! `io_uring` has every address family that the host's kernel has.

use libc::{EAFNOSUPPORT, ENOSYS, EPERM, sock_filter};

use crate::error::{Result, Step};
use crate::spec::Switches;
use crate::sys;

// <linux/bpf_common.h>, <linux/seccomp.h>, <linux/audit.h>
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JEQ: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "x86_64")]
const ARCH32: u32 = 0x4000_0003; // AUDIT_ARCH_I386
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64
#[cfg(target_arch = "aarch64")]
const ARCH32: u32 = 0x4000_0028; // AUDIT_ARCH_ARM

/// Calls that get EPERM.
const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_open_by_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    443, // quotactl_fd
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_perf_event_open,
    libc::SYS_bpf,
    libc::SYS_nfsservctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// lookup_dcookie(2), whose constant has been retired with the call.
const LOOKUP_DCOOKIE: libc::c_long = if cfg!(target_arch = "x86_64") { 212 } else { 18 };

/// Calls that get ENOSYS: absent, as far as the guest can tell.
const ABSENT: &[libc::c_long] = &[
    libc::SYS_userfaultfd,
    LOOKUP_DCOOKIE,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
    #[cfg(target_arch = "x86_64")]
    174, // create_module
    #[cfg(target_arch = "x86_64")]
    177, // get_kernel_syms
    #[cfg(target_arch = "x86_64")]
    178, // query_module
];

const KEYRING: &[libc::c_long] = &[libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key];
const IO_URING: &[libc::c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// The same lists for 32-bit programs: numbers of the i386 table (arch/x86/entry/syscalls/syscall_32.tbl).
#[cfg(target_arch = "x86_64")]
mod i386 {
    /// stime acct settimeofday swapon ioperm socketcall iopl vm86old swapoff init_module delete_module quotactl vm86
    /// nfsservctl clock_settime kexec_load perf_event_open open_by_handle_at finit_module bpf clock_settime64
    /// quotactl_fd
    pub const FORBIDDEN: &[libc::c_long] = &[
        25, 51, 79, 87, 101, 102, 110, 113, 115, 128, 129, 131, 166, 169, 264, 283, 336, 342, 350, 357, 404, 443,
    ];
    /// ustat uselib create_module get_kernel_syms sysfs _sysctl query_module lookup_dcookie userfaultfd
    pub const ABSENT: &[libc::c_long] = &[62, 86, 127, 130, 135, 149, 167, 253, 374];
    pub const KEYRING: &[libc::c_long] = &[286, 287, 288];
    pub const IO_URING: &[libc::c_long] = &[425, 426, 427];
    pub const IOCTL: libc::c_long = 54;
    pub const SOCKET: libc::c_long = 359;
    pub const SOCKETPAIR: libc::c_long = 360;
}

const NETLINK: u32 = libc::AF_NETLINK as u32;
const NETLINK_XFRM: u32 = 6;
const NETLINK_AUDIT: u32 = 9;
const AF_KEY: u32 = 15;

/// Puts the filter in force for this process and all it starts.
///
/// Without SECCOMP_FILTER_FLAG_LOG: a guest makes refused calls as often as it likes, and each would be a record in the
/// host's one audit queue. When that is full, the kernel makes all who write to it wait, or drops what they say, the
/// records of other VEs and of the host among it (kernel/audit.c).
pub fn install(switches: Switches) -> Result<()> {
    sys::seccomp(&program(switches)).step("install the system call filter", "")
}

const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// Goes `yes` or `no` instructions further.
const fn equal(k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter {
        code: JEQ,
        jt: yes,
        jf: no,
        k,
    }
}

/// How far a conditional jump goes, which is a byte. No part here is longer (a test builds every program there is);
/// were one, then rather no VE than one with a hole.
fn jump(length: usize) -> u8 {
    assert!(
        length <= u8::MAX.into(),
        "a part of the system call filter is too long to be jumped over"
    );
    length as u8
}

const fn refuse(errno: i32) -> sock_filter {
    statement(RETURN, ERRNO | errno as u32)
}

/// The whole program.
pub fn program(switches: Switches) -> Vec<sock_filter> {
    let native = native_calls(switches);
    let foreign = foreign_calls(switches);
    let mut program = vec![statement(LOAD, OFFSET_ARCH)];
    // The foreign part comes first and is short, so that its length fits a jump.
    program.push(equal(ARCH, jump(foreign.len()), 0));
    program.extend(foreign);
    program.extend(native);
    program
}

/// One architecture's numbers of what is refused.
struct Table {
    forbidden: &'static [libc::c_long],
    absent: &'static [libc::c_long],
    keyring: &'static [libc::c_long],
    io_uring: &'static [libc::c_long],
    socket: libc::c_long,
    socketpair: libc::c_long,
    ioctl: libc::c_long,
}

const NATIVE: Table = Table {
    forbidden: FORBIDDEN,
    absent: ABSENT,
    keyring: KEYRING,
    io_uring: IO_URING,
    socket: libc::SYS_socket,
    socketpair: libc::SYS_socketpair,
    ioctl: libc::SYS_ioctl,
};

#[cfg(target_arch = "x86_64")]
const I386: Table = Table {
    forbidden: i386::FORBIDDEN,
    absent: i386::ABSENT,
    keyring: i386::KEYRING,
    io_uring: i386::IO_URING,
    socket: i386::SOCKET,
    socketpair: i386::SOCKETPAIR,
    ioctl: i386::IOCTL,
};

/// Ends the program: the verdict on every call of this table, whose number is loaded.
fn calls(table: &Table, switches: Switches) -> Vec<sock_filter> {
    let mut p = Vec::new();
    let mut deny = |calls: &[libc::c_long], errno| {
        for call in calls {
            p.push(equal(*call as u32, 0, 1));
            p.push(refuse(errno));
        }
    };
    deny(table.forbidden, EPERM);
    deny(table.absent, ENOSYS);
    if !switches.keyring {
        deny(table.keyring, ENOSYS);
    }
    if !switches.io_uring {
        deny(table.io_uring, ENOSYS);
    }
    let arguments = [
        (table.socket, socket_rules(switches)),
        (table.socketpair, family_rules(switches)),
        (table.ioctl, ioctl_rules()),
    ];
    for (call, rules) in arguments {
        p.push(equal(call as u32, 0, jump(rules.len())));
        p.extend(rules);
    }
    p.push(statement(RETURN, ALLOW));
    p
}

fn native_calls(switches: Switches) -> Vec<sock_filter> {
    let mut p = vec![statement(LOAD, OFFSET_NR)];
    #[cfg(target_arch = "x86_64")]
    {
        // x32 calls carry bit 30 and would slip past every comparison below.
        const JGE: u16 = 0x35;
        p.push(sock_filter {
            code: JGE,
            jt: 0,
            jf: 1,
            k: 0x4000_0000,
        });
        p.push(refuse(ENOSYS));
    }
    p.extend(calls(&NATIVE, switches));
    p
}

/// The address families a guest may use.
fn families(switches: Switches) -> Vec<u32> {
    let mut list = vec![
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
        libc::AF_PACKET,
    ]
    .into_iter()
    .map(|f| f as u32)
    .collect::<Vec<_>>();
    if switches.ipsec {
        list.push(AF_KEY);
    }
    list
}

/// Ends the program: allowed families pass, others don't exist.
fn family_rules(switches: Switches) -> Vec<sock_filter> {
    let mut p = vec![statement(LOAD, OFFSET_ARGS)];
    for family in families(switches) {
        p.push(equal(family, 0, 1));
        p.push(statement(RETURN, ALLOW));
    }
    p.push(refuse(EAFNOSUPPORT));
    p
}

fn socket_rules(switches: Switches) -> Vec<sock_filter> {
    let mut p = vec![statement(LOAD, OFFSET_ARGS)];
    let protocols: &[u32] = if switches.ipsec {
        &[NETLINK_AUDIT]
    } else {
        &[NETLINK_AUDIT, NETLINK_XFRM]
    };
    p.push(equal(NETLINK, 0, jump(protocols.len() * 2 + 2)));
    p.push(statement(LOAD, OFFSET_ARGS + 16));
    for protocol in protocols {
        p.push(equal(*protocol, 0, 1));
        p.push(refuse(EAFNOSUPPORT));
    }
    p.push(statement(RETURN, ALLOW));
    p.extend(family_rules(switches));
    p
}

/// No typing into other people's terminals, and no btrfs calls: a nested subvolume would leave its quota.
fn ioctl_rules() -> Vec<sock_filter> {
    const TIOCSTI: u32 = 0x5412;
    const TIOCLINUX: u32 = 0x541c;
    const BTRFS: u32 = 0x94 << 8;
    vec![
        statement(LOAD, OFFSET_ARGS + 8),
        equal(TIOCSTI, 1, 0),
        equal(TIOCLINUX, 0, 1),
        refuse(EPERM),
        statement(AND, 0xff00),
        equal(BTRFS, 0, 1),
        refuse(EPERM),
        statement(RETURN, ALLOW),
    ]
}

/// Programs of another architecture.
fn foreign_calls(switches: Switches) -> Vec<sock_filter> {
    let mut p = Vec::new();
    #[cfg(target_arch = "x86_64")]
    if switches.compat32 {
        let mut allowed = vec![statement(LOAD, OFFSET_NR)];
        allowed.extend(calls(&I386, switches));
        p.push(equal(ARCH32, 0, jump(allowed.len())));
        p.extend(allowed);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (switches, ARCH32);
    p.push(refuse(ENOSYS));
    p
}

#[cfg(test)]
mod tests;
