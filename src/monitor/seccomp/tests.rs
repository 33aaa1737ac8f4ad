use super::*;

/// Runs a program as the kernel would: the call's number, architecture and arguments in, the verdict out.
fn run(program: &[sock_filter], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    let mut data = [0u8; 64];
    data[0..4].copy_from_slice(&nr.to_le_bytes());
    data[4..8].copy_from_slice(&arch.to_le_bytes());
    for (i, a) in args.iter().enumerate() {
        data[16 + 8 * i..24 + 8 * i].copy_from_slice(&a.to_le_bytes());
    }
    let (mut at, mut acc) = (0usize, 0u32);
    loop {
        let i = program[at];
        at += 1;
        match i.code {
            LOAD => acc = u32::from_le_bytes(data[i.k as usize..i.k as usize + 4].try_into().unwrap()),
            AND => acc &= i.k,
            JEQ => at += usize::from(if acc == i.k { i.jt } else { i.jf }),
            0x35 => at += usize::from(if acc >= i.k { i.jt } else { i.jf }),
            RETURN => return i.k,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

fn verdict(switches: Switches, nr: libc::c_long, args: [u64; 6]) -> u32 {
    run(&program(switches), ARCH, nr as u32, args)
}

const NONE: [u64; 6] = [0; 6];
const E: fn(i32) -> u32 = |errno| ERRNO | errno as u32;

#[test]
fn listed_calls_are_refused_and_others_pass() {
    let off = Switches::default();
    for call in FORBIDDEN {
        assert_eq!(verdict(off, *call, NONE), E(EPERM), "{call}");
    }
    for call in ABSENT.iter().chain(KEYRING).chain(IO_URING) {
        assert_eq!(verdict(off, *call, NONE), E(ENOSYS), "{call}");
    }
    for call in [
        libc::SYS_read,
        libc::SYS_mount,
        libc::SYS_clone3,
        libc::SYS_unshare,
        libc::SYS_reboot,
    ] {
        assert_eq!(verdict(off, call, NONE), ALLOW, "{call}");
    }
}

#[test]
fn switches_open_what_they_name() {
    let on = Switches {
        keyring: true,
        io_uring: true,
        ..Switches::default()
    };
    for call in KEYRING.iter().chain(IO_URING) {
        assert_eq!(verdict(on, *call, NONE), ALLOW, "{call}");
    }
    let socket = |s, family: u64, protocol| verdict(s, libc::SYS_socket, [family, 3, protocol, 0, 0, 0]);
    let off = Switches::default();
    let ipsec = Switches { ipsec: true, ..off };
    assert_eq!(socket(off, 16, 6), E(EAFNOSUPPORT));
    assert_eq!(socket(ipsec, 16, 6), ALLOW);
    assert_eq!(socket(ipsec, 16, 9), E(EAFNOSUPPORT));
    assert_eq!(socket(off, 15, 2), E(EAFNOSUPPORT));
    assert_eq!(socket(ipsec, 15, 2), ALLOW);
}

#[test]
fn only_ordinary_address_families_exist() {
    let off = Switches::default();
    for family in 0..46u64 {
        let want = if [1, 2, 10, 16, 17].contains(&family) {
            ALLOW
        } else {
            E(EAFNOSUPPORT)
        };
        assert_eq!(
            verdict(off, libc::SYS_socket, [family, 1, 0, 0, 0, 0]),
            want,
            "socket {family}"
        );
        assert_eq!(
            verdict(off, libc::SYS_socketpair, [family, 1, 0, 0, 0, 0]),
            want,
            "socketpair {family}"
        );
    }
}

#[test]
fn terminals_and_btrfs_are_out_of_reach() {
    let ioctl = |request: u64| verdict(Switches::default(), libc::SYS_ioctl, [0, request, 0, 0, 0, 0]);
    assert_eq!(ioctl(0x5412), E(EPERM));
    assert_eq!(ioctl(0x541c), E(EPERM));
    assert_eq!(ioctl(0x5000_940e), E(EPERM));
    assert_eq!(ioctl(0x5401), ALLOW);
    assert_eq!(
        ioctl(0xffff_ffff_0000_5412),
        E(EPERM),
        "the upper half is the kernel's to ignore"
    );
}

#[test]
#[cfg(target_arch = "x86_64")]
fn other_architectures_are_shut_or_filtered() {
    let off = program(Switches::default());
    assert_eq!(run(&off, ARCH32, 4, NONE), E(ENOSYS));
    assert_eq!(run(&off, ARCH, 0x4000_0001, NONE), E(ENOSYS), "x32");
    let on = program(Switches {
        compat32: true,
        ..Switches::default()
    });
    assert_eq!(run(&on, ARCH32, 4, NONE), ALLOW, "write");
    assert_eq!(run(&on, ARCH32, 102, NONE), E(EPERM), "socketcall hides its family");
    assert_eq!(run(&on, ARCH32, 359, [38, 5, 0, 0, 0, 0]), E(EAFNOSUPPORT), "AF_ALG");
    assert_eq!(run(&on, ARCH32, 359, [2, 1, 0, 0, 0, 0]), ALLOW);
    assert_eq!(run(&on, ARCH32, 425, NONE), E(ENOSYS), "io_uring_setup");
    assert_eq!(
        run(&on, ARCH32, 359, [16, 3, 6, 0, 0, 0]),
        E(EAFNOSUPPORT),
        "NETLINK_XFRM"
    );
    assert_eq!(
        run(&on, ARCH32, 360, [30, 5, 0, 0, 0, 0]),
        E(EAFNOSUPPORT),
        "a pair of AF_TIPC"
    );
    assert_eq!(run(&on, ARCH32, 54, [0, 0x5412, 0, 0, 0, 0]), E(EPERM), "TIOCSTI");
    for (number, open) in [
        (
            288,
            Switches {
                keyring: true,
                ..all32()
            },
        ),
        (
            425,
            Switches {
                io_uring: true,
                ..all32()
            },
        ),
    ] {
        assert_eq!(run(&on, ARCH32, number, NONE), E(ENOSYS), "{number}");
        assert_eq!(run(&program(open), ARCH32, number, NONE), ALLOW, "{number}");
    }
    assert_eq!(run(&on, 0xc000_00b7, 4, NONE), E(ENOSYS), "no architecture at all");
}

fn all32() -> Switches {
    Switches {
        compat32: true,
        ..Switches::default()
    }
}

#[test]
fn every_jump_stays_inside() {
    for bits in 0..16u8 {
        let bit = |n: u8| bits >> n & 1 == 1;
        let switches = Switches {
            compat32: bit(0),
            ipsec: bit(1),
            keyring: bit(2),
            io_uring: bit(3),
            ..Switches::default()
        };
        assert!(foreign_calls(switches).len() < 256, "fits a jump");
        let p = program(switches);
        assert!(p.len() < 4096, "BPF_MAXINSNS");
        for (at, i) in p.iter().enumerate() {
            if i.code & 7 == 5 {
                assert!(at + 1 + usize::from(i.jt.max(i.jf)) < p.len(), "instruction {at}");
            }
        }
    }
}
