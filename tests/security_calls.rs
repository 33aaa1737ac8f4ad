//! System calls that no VE may make, tried by its root, each way into the kernel; and what the plan's switches open.
//! The control for every one of them is the same call by root of the host.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;
mod probe;

use house::House;
use probe::{Outcome, armed, armed_with, inside, outside};

/// Calls and what they must come to. Where the host's own kernel has no such call, it can't show the difference.
const REFUSED: [(&str, &str); 33] = [
    ("kexec_load", "EPERM"),
    ("kexec_file_load", "EPERM"),
    ("init_module", "EPERM"),
    ("finit_module", "EPERM"),
    ("delete_module", "EPERM"),
    ("open_by_handle_at", "EPERM"),
    ("swapon", "EPERM"),
    ("swapoff", "EPERM"),
    ("acct", "EPERM"),
    ("quotactl", "EPERM"),
    ("quotactl_fd", "EPERM"),
    ("settimeofday", "EPERM"),
    ("clock_settime", "EPERM"),
    ("perf_event_open", "EPERM"),
    ("bpf", "EPERM"),
    ("nfsservctl", "EPERM"),
    ("iopl", "EPERM"),
    ("ioperm", "EPERM"),
    ("lookup_dcookie", "ENOSYS"),
    ("userfaultfd", "ENOSYS"),
    ("uselib", "ENOSYS"),
    ("ustat", "ENOSYS"),
    ("sysfs", "ENOSYS"),
    ("_sysctl", "ENOSYS"),
    ("create_module", "ENOSYS"),
    ("get_kernel_syms", "ENOSYS"),
    ("query_module", "ENOSYS"),
    ("keyctl", "ENOSYS"),
    ("add_key", "ENOSYS"),
    ("request_key", "ENOSYS"),
    ("io_uring_setup", "ENOSYS"),
    ("io_uring_enter", "ENOSYS"),
    ("io_uring_register", "ENOSYS"),
];

/// Of 32-bit programs only.
const REFUSED32: [(&str, &str); 5] = [
    ("stime", "EPERM"),
    ("vm86old", "EPERM"),
    ("vm86", "EPERM"),
    ("clock_settime64", "EPERM"),
    ("socketcall", "EPERM"),
];

const X86: bool = cfg!(target_arch = "x86_64");

#[track_caller]
fn check_refused(found: &Outcome, host: &Outcome, wanted: &[(&str, &str)]) {
    for (call, error) in wanted.iter().filter(|(call, _)| found.contains_key(*call)) {
        assert_eq!(found[*call], *error, "{call}");
        if host[*call] != "ENOSYS" {
            assert_ne!(
                host[*call], *error,
                "{call} on the host comes to the same: the test proves nothing"
            );
        }
    }
}

#[test]
fn every_call_of_the_list_is_refused() {
    let h = armed();
    let found = inside(&h, "ve", &["calls", "native"]);
    assert!(found.len() >= if X86 { 34 } else { 20 }, "{found:?}");
    assert_eq!(found["getpid"], "ok");
    check_refused(&found, &outside(&["calls", "native"]), &REFUSED);
}

#[test]
fn other_ways_into_the_kernel_are_shut() {
    if !X86 {
        println!("skipped because this processor has one way into its kernel");
        return;
    }
    let h = armed();
    for way in ["x32", "int80"] {
        let found = inside(&h, "ve", &["calls", way]);
        for (call, came) in &found {
            assert_eq!(came, "ENOSYS", "{call} by {way}");
        }
        assert!(found.contains_key("getpid"));
        for (socket, came) in inside(&h, "ve", &["sockets", way]) {
            assert_eq!(came, "ENOSYS", "{socket} by {way}");
        }
    }
}

#[test]
fn compat32_opens_32_bit_programs_with_the_same_list() {
    if !X86 || outside(&["calls", "int80"])["getpid"] != "ok" {
        println!("skipped because this host runs no 32-bit programs");
        return;
    }
    let h = armed_with("compat32 = true");
    let found = inside(&h, "ve", &["calls", "int80"]);
    assert_eq!(found["getpid"], "ok");
    let host = outside(&["calls", "int80"]);
    check_refused(&found, &host, &REFUSED);
    check_refused(&found, &host, &REFUSED32);
    check_sockets(&h, "int80", &[]);
    assert_eq!(
        inside(&h, "ve", &["calls", "x32"])["getpid"],
        "ENOSYS",
        "x32 is something else"
    );
    check_refused(
        &inside(&h, "ve", &["calls", "native"]),
        &outside(&["calls", "native"]),
        &REFUSED,
    );
}

/// Address families that a guest may use: UNIX, INET, INET6, NETLINK, PACKET.
const FAMILIES: [u32; 5] = [1, 2, 10, 16, 17];

#[track_caller]
fn check_sockets(h: &House, way: &str, open: &[&str]) {
    let (found, host) = (inside(h, "ve", &["sockets", way]), outside(&["sockets", way]));
    for family in 0..46 {
        let what = format!("socket:{family}");
        match FAMILIES.contains(&family) {
            true => assert_eq!(found[&what], "ok", "{what}"),
            false => assert_eq!(found[&what], "EAFNOSUPPORT", "{what}"),
        }
    }
    for (what, number) in [("netlink:9", "audit"), ("netlink:6", "xfrm")] {
        match open.contains(&number) {
            true => assert_eq!(found[what], host[what], "{what}"),
            false => assert_eq!(found[what], "EAFNOSUPPORT", "{what}"),
        }
        assert_ne!(host[what], "EAFNOSUPPORT", "{what}: the test proves nothing");
    }
    assert_eq!(found["netlink:0"], "ok", "routes");
    assert_eq!(found["netlink:12"], host["netlink:12"], "the VE's own firewall");
    assert_eq!(found["pair:unix"], "EFAULT", "gets past the filter");
    assert_eq!(found["pair:tipc"], "EAFNOSUPPORT");
    assert_eq!(
        found["socket:key"], "EAFNOSUPPORT",
        "by the filter, or as this kernel has none"
    );
}

#[test]
fn only_ordinary_sockets_can_be_made() {
    check_sockets(&armed(), "native", &[]);
}

#[test]
fn ipsec_opens_its_sockets_only() {
    let h = armed_with("ipsec = true");
    let host = outside(&["sockets", "native"]);
    if host["socket:key"] == "EAFNOSUPPORT" {
        check_sockets(&h, "native", &["xfrm"]);
    } else {
        assert_eq!(
            inside(&h, "ve", &["sockets", "native"])["socket:key"],
            host["socket:key"]
        );
    }
    check_refused(
        &inside(&h, "ve", &["calls", "native"]),
        &outside(&["calls", "native"]),
        &REFUSED,
    );
}

#[test]
fn keyring_and_io_uring_open_what_they_name() {
    for (feature, calls) in [
        ("keyring", ["keyctl", "add_key", "request_key"]),
        ("io_uring", ["io_uring_setup", "io_uring_enter", "io_uring_register"]),
    ] {
        let h = armed_with(&format!("{feature} = true\ncompat32 = true"));
        for way in ["native", "int80"] {
            let (found, host) = (inside(&h, "ve", &["calls", way]), outside(&["calls", way]));
            for call in calls {
                if X86 || way == "native" {
                    assert_eq!(found[call], host[call], "{call} by {way}");
                }
            }
            let others: Vec<_> = REFUSED.into_iter().filter(|(call, _)| !calls.contains(call)).collect();
            check_refused(&found, &host, &others);
        }
    }
}

/// The filter sees calls, and a socket that io_uring makes is none: the switch opens every family that the host's kernel
/// has, as its description says.
#[test]
fn io_uring_makes_sockets_that_no_filter_sees() {
    let host = outside(&["uring"]);
    if host["setup"] != "ok" || host["unix"] != "ok" {
        println!("skipped because this kernel's io_uring makes no sockets: {host:?}");
        return;
    }
    assert_eq!(inside(&armed(), "ve", &["uring"])["setup"], "ENOSYS");
    let h = armed_with("io_uring = true");
    let (found, refused) = (inside(&h, "ve", &["uring"]), inside(&h, "ve", &["sockets", "native"]));
    assert_eq!(found, host);
    for netlink in ["netlink:6", "netlink:9"] {
        assert_eq!(
            (&*host[netlink], &*refused[netlink]),
            ("ok", "EAFNOSUPPORT"),
            "{netlink}"
        );
    }
    for (family, number) in [("alg", 38), ("key", 15), ("vsock", 40)] {
        assert_eq!(refused[&format!("socket:{number}")], "EAFNOSUPPORT", "{family}");
    }
}

#[test]
fn user_namespaces_need_nesting() {
    let h = armed();
    let found = inside(&h, "ve", &["namespaces"]);
    for way in ["clone3:user", "clone:user", "unshare:user"] {
        assert_eq!(found[way], "ENOSPC", "{way}");
    }
    assert_eq!(found["unshare:mnt"], "ok", "services of the guest use it");
    drop(h);
    let h = armed_with("nesting = true");
    let found = inside(&h, "ve", &["namespaces"]);
    assert!(found.values().all(|came| came == "ok"), "{found:?}");
    // What is inside a container in the VE is no freer than the VE.
    let nested = h.sh("ve", "unshare -U -r /usr/bin/probe calls native");
    let nested: Outcome = nested
        .lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(a, b)| (a.into(), b.into()))
        .collect();
    check_refused(&nested, &outside(&["calls", "native"]), &REFUSED);
    assert_eq!(
        h.sh(
            "ve",
            "unshare -U -r sh -c 'echo 9 > /proc/sys/user/max_user_namespaces' 2>/dev/null; \
                           cat /proc/sys/user/max_user_namespaces"
        ),
        "64"
    );
}

#[test]
fn nobody_types_into_a_terminal_and_btrfs_gets_no_orders() {
    let h = armed();
    let (found, host) = (inside(&h, "ve", &["ioctls", "native"]), outside(&["ioctls", "native"]));
    assert_eq!(found["TCGETS"], "ok");
    for call in ["TIOCSTI", "TIOCLINUX", "BTRFS_SUBVOL_CREATE"] {
        assert_eq!(found[call], "EPERM");
        assert_ne!(host[call], "EPERM", "{call}: the test proves nothing");
    }
    assert_eq!(inside(&h, "ve", &["steal-console"])["TIOCCONS"], "EPERM");
}

#[test]
fn a_file_handle_of_the_host_opens_nothing() {
    let h = armed();
    let host = outside(&["handle", "/"]);
    let found = inside(&h, "ve", &["handle", "/"]);
    assert_eq!(found["open"], "EPERM");
    if host["name"] == "ok" {
        assert_eq!(host["open"], "ok", "the control");
    }
}
