//! What a VE is: its ids, namespaces, capabilities, devices, /proc and /sys, as its root finds them; and what those
//! who are outside find of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;
mod probe;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use house::House;
use probe::{INSIDE, armed, armed_with, init, inside, outside};

fn id_map(h: &House, ve: &str) -> (u32, u32) {
    let uid = h.sh(ve, "cat /proc/1/uid_map");
    assert_eq!(uid, h.sh(ve, "cat /proc/1/gid_map"));
    let numbers: Vec<u32> = uid.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let [0, base, count] = numbers[..] else { panic!("{uid}") };
    (base, count)
}

#[test]
fn every_ve_has_its_own_range_of_ids_and_a_creator_in_it() {
    let h = House::new();
    h.busybox("one");
    h.busybox("two");
    let (one, two) = (id_map(&h, "one"), id_map(&h, "two"));
    assert_eq!((one.1, two.1), (65_536, 65_536));
    assert!(
        one.0 >= 1 << 20 && two.0 >= 1 << 20 && one.0.abs_diff(two.0) >= 65_536,
        "{one:?} {two:?}"
    );
    assert_eq!(h.sh("one", "cat /proc/1/setgroups"), "allow");
    for (ve, (base, count)) in [("one", one), ("two", two)] {
        h.sh(
            ve,
            "su nobody -s /bin/sh -c 'sleep 600' >/dev/null 2>&1 & sleep 600 >/dev/null 2>&1 &",
        );
        h.until("a process of nobody's", 5, || {
            !h.sh(ve, "ps -o user,comm | grep 'nobody.*sleep' || true").is_empty()
        });
        let maker = outside(&["owner", &format!("/proc/{}/ns/user", init(&h, ve))]);
        assert_eq!(
            maker["owner"],
            base.to_string(),
            "the kernel counts what {ve} uses as its own"
        );
        let namespace = fs::read_link(format!("/proc/{}/ns/user", init(&h, ve))).unwrap();
        let mut owners = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(ns) = fs::read_link(entry.path().join("ns/user")) else {
                continue;
            };
            if ns == namespace {
                let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
                let ids = status
                    .lines()
                    .filter(|l| l.starts_with("Uid:") || l.starts_with("Gid:"));
                owners.extend(
                    ids.flat_map(|l| l.split_whitespace().skip(1))
                        .map(|n| n.parse::<u32>().unwrap()),
                );
            }
        }
        assert!(
            owners.contains(&base) && owners.contains(&(base + 65_534)),
            "root and nobody of {ve}: {owners:?}"
        );
        assert!(owners.iter().all(|id| (base..base + count).contains(id)), "{owners:?}");
    }
}

#[test]
fn a_file_made_inside_belongs_to_root_on_disk() {
    let h = House::new();
    h.busybox("ve");
    h.sh(
        "ve",
        "echo x > /root/file; touch /nobody; chown nobody /nobody; mkdir /d",
    );
    h.ok(&["stop", "ve"]);
    let owners = h.in_mounted_root("ve", |root| {
        ["root/file", "nobody", "d"].map(|path| fs::symlink_metadata(root.join(path)).unwrap().uid())
    });
    assert_eq!(owners, [0, 65_534, 0]);
}

#[test]
fn every_namespace_is_its_own() {
    let h = House::new();
    h.busybox("one");
    h.busybox("two");
    for kind in ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup"] {
        let link = format!("/proc/self/ns/{kind}");
        let host = fs::read_link(&link).unwrap().display().to_string();
        let (one, two) = (
            h.sh("one", &format!("readlink {link}")),
            h.sh("two", &format!("readlink {link}")),
        );
        assert!(one != host && two != host && one != two, "{kind}: {host} {one} {two}");
        assert_eq!(
            one,
            h.sh("one", &format!("readlink /proc/1/ns/{kind}")),
            "a command is where init is"
        );
    }
}

#[test]
fn capabilities_are_exactly_those_of_the_list() {
    let dropped = [16, 17, 20, 24, 25, 30, 32, 33, 34, 35, 36, 37, 38, 39, 40];
    let wanted = dropped.iter().fold(0x1ff_ffff_ffff_u64, |mask, bit| mask & !(1 << bit));
    let h = House::new();
    h.busybox("ve");
    let sets = |line: &str| {
        let text = h.sh("ve", line);
        text.lines()
            .map(|l| l.split_once(":\t").unwrap())
            .map(|(k, v)| (k.into(), u64::from_str_radix(v, 16).unwrap()))
            .collect::<Vec<(String, u64)>>()
    };
    for process in ["1", "self"] {
        let found = sets(&format!("grep ^Cap /proc/{process}/status"));
        let want = [
            ("CapInh", 0),
            ("CapPrm", wanted),
            ("CapEff", wanted),
            ("CapBnd", wanted),
            ("CapAmb", 0),
        ];
        assert_eq!(found, want.map(|(k, v)| (k.to_owned(), v)), "{process}");
    }
    let text = h.ok(&[
        "exec",
        "--user",
        "nobody",
        "ve",
        "--",
        "grep",
        "^Cap",
        "/proc/self/status",
    ]);
    for line in text.lines() {
        let none = line.ends_with("\t0000000000000000");
        assert_eq!(none, !line.starts_with("CapBnd"), "{line}");
    }
}

#[test]
fn limits_of_the_user_namespace_cannot_be_raised() {
    let h = House::new();
    h.busybox("ve");
    let names = [
        "max_user_namespaces",
        "max_inotify_instances",
        "max_inotify_watches",
        "max_net_namespaces",
    ];
    for name in names {
        let path = format!("/proc/sys/user/{name}");
        let before = h.sh("ve", &format!("cat {path}"));
        let host: u64 = fs::read_to_string(&path).unwrap().trim().parse().unwrap();
        assert!(
            before.parse::<u64>().unwrap() < host,
            "{name}: {before} inside, {host} outside"
        );
        h.sh(
            "ve",
            &format!("! echo 2000000000 2>/dev/null > {path}; ! chmod 666 {path} 2>/dev/null"),
        );
        assert_eq!(h.sh("ve", &format!("cat {path}")), before, "{name}");
    }
    assert_eq!(h.sh("ve", "cat /proc/sys/user/max_user_namespaces"), "0");
    // The control: with CAP_SYS_RESOURCE, as a bare user namespace has it, the limit is the tenant's to choose.
    let script = "cat /proc/self/uid_map >/dev/null; echo 123456 > /proc/sys/user/max_inotify_watches && cat /proc/sys/user/max_inotify_watches";
    let bare = Command::new("unshare")
        .args(["-U", "-r", "sh", "-c", script])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&bare.stdout).trim(), "123456");
}

const DEVICES: &str = "console core fd full null ptmx pts random shm stderr stdin stdout tty urandom zero";

#[test]
fn dev_holds_what_the_list_says_and_nothing_can_be_added() {
    let h = armed();
    assert_eq!(
        h.sh("ve", "ls -A /dev")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        DEVICES
    );
    assert_eq!(
        h.sh(
            "ve",
            "stat -c %t:%T /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty"
        )
        .replace('\n', " "),
        "1:3 1:5 1:7 1:8 1:9 5:0"
    );
    assert_eq!(
        h.sh("ve", "readlink -f /dev/ptmx; stat -c %t:%T /dev/pts/ptmx"),
        "/dev/pts/ptmx\n5:2"
    );
    let host = outside(&["nodes", h.dir.to_str().unwrap()]);
    assert_eq!(host["mem"], "ok", "the control");
    for place in ["/dev", "/root", "/run", "/dev/shm"] {
        for (node, came) in inside(&h, "ve", &["nodes", place]) {
            assert_eq!(came, "EPERM", "{node} in {place}");
        }
    }
    // The host's own files behind the devices are out of the guest's reach.
    h.sh(
        "ve",
        "for d in null zero tty; do ! chmod 600 /dev/$d 2>/dev/null; ! chown 1 /dev/$d 2>/dev/null; done",
    );
    assert_eq!(fs::metadata("/dev/null").unwrap().mode() & 0o777, 0o666);
}

#[test]
fn fuse_and_tun_come_with_their_switches_only() {
    for (feature, node) in [("fuse", "/dev/fuse"), ("tun", "/dev/net/tun")] {
        if !Path::new(node).exists() {
            println!("skipped because this host has no {node}");
            continue;
        }
        let h = armed_with(&format!("{feature} = true"));
        h.sh("ve", &format!("test -c {node} && exec 3<>{node}"));
        let more: Vec<_> = h
            .sh("ve", "ls -A /dev")
            .split_whitespace()
            .filter(|d| !DEVICES.contains(d))
            .map(String::from)
            .collect();
        assert_eq!(more, [node.split('/').nth(2).unwrap()]);
    }
}

/// A node that came with a disk or a template, however it got there, is none in the VE.
#[test]
fn a_planted_device_node_does_not_open() {
    let h = House::new();
    h.busybox("ve");
    h.ok(&["stop", "ve"]);
    h.in_mounted_root("ve", |root| {
        for node in [["stray", "c", "1", "3"], ["disk", "b", "7", "0"]] {
            assert!(
                Command::new("mknod")
                    .args(["-m", "666"])
                    .args(node)
                    .current_dir(root)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        assert!(fs::File::open(root.join("stray")).is_err(), "nor on the host");
    });
    h.ok(&["start", "ve"]);
    assert_eq!(h.sh("ve", "stat -c %t:%T /stray /disk"), "1:3\n7:0");
    let refused = h.sh("ve", "for n in /stray /disk; do cat $n 2>&1 >/dev/null; done; :");
    assert_eq!(refused.matches("ermission denied").count(), 2, "{refused}");
}

#[test]
fn proc_and_sys_take_no_orders_for_the_host() {
    let h = House::new();
    h.busybox("ve");
    let knobs = [
        "kernel/core_pattern",
        "kernel/modprobe",
        "kernel/panic",
        "vm/panic_on_oom",
        "kernel/sysrq",
        "kernel/hotplug",
        "vm/overcommit_memory",
        "vm/drop_caches",
        "fs/file-max",
        "kernel/randomize_va_space",
        "kernel/dmesg_restrict",
        "fs/suid_dumpable",
        "kernel/yama/ptrace_scope",
        "fs/inotify/max_user_instances",
        "kernel/kptr_restrict",
        "fs/binfmt_misc/register",
        "kernel/unprivileged_bpf_disabled",
        "kernel/poweroff_cmd",
        "vm/swappiness",
    ];
    let mut tried = 0;
    for knob in knobs
        .map(|k| format!("/proc/sys/{k}"))
        .into_iter()
        .chain(["/proc/sysrq-trigger".into()])
    {
        if !Path::new(&knob).exists() {
            continue;
        }
        tried += 1;
        let before = fs::read(&knob).ok();
        let line = format!(
            "if (echo h > {knob}) 2>/dev/null; then echo written; fi; chmod 666 {knob} 2>/dev/null && echo changed; :"
        );
        assert_eq!(h.sh("ve", &line), "", "{knob}");
        assert_eq!(fs::read(&knob).ok(), before, "{knob}");
    }
    assert!(tried >= 8, "only {tried} knobs");
    // A mount of its own doesn't help, nor does another mount of the same.
    h.sh(
        "ve",
        "mkdir /p && mount -t proc proc /p && ! (echo h > /p/sys/kernel/core_pattern) 2>/dev/null",
    );
    // /sys is read-only; made writable, it still belongs to somebody else.
    h.sh(
        "ve",
        "grep -q ' /sys sysfs ro,' /proc/mounts && ! mkdir /sys/x 2>/dev/null",
    );
    h.sh(
        "ve",
        "mount -o remount,rw,bind /sys; for f in /sys/kernel/uevent_helper /sys/kernel/mm/ksm/run \
                /sys/kernel/profiling /sys/power/state /sys/module/*/parameters/*; do \
                [ -e $f ] && (echo 0 > $f) 2>/dev/null && echo $f written; done; :",
    );
    let written = h.sh(
        "ve",
        "find /sys -type f -perm -002 ! -path '/sys/fs/cgroup/*' 2>/dev/null | head -3",
    );
    assert_eq!(written, "", "world-writable in /sys");
    h.sh(
        "ve",
        "! dmesg >/dev/null 2>&1; ! cat /proc/kmsg >/dev/null 2>&1; ! test -e /dev/kmsg",
    );
}

/// What of /proc shows the host is kept by its mode, not by a mount over it: a mount could be taken away by the VE's
/// root, to whom its mount namespace belongs, and would take from it the right to mount /proc in containers.
#[test]
fn what_is_secret_in_proc_cannot_be_read() {
    let h = House::new();
    h.busybox("ve");
    for file in [
        "kcore",
        "kmsg",
        "vmallocinfo",
        "slabinfo",
        "pagetypeinfo",
        "timer_list",
        "kpagecount",
        "kpageflags",
        "kpagecgroup",
    ] {
        if Path::new("/proc").join(file).exists() {
            h.sh("ve", &format!("! head -c 1 /proc/{file} >/dev/null 2>&1"));
        }
    }
    for file in ["kallsyms", "iomem", "ioports"]
        .iter()
        .filter(|f| Path::new("/proc").join(f).exists())
    {
        assert_eq!(
            h.sh(
                "ve",
                &format!("grep -m1 '^ *[0-9a-f-]*[1-9a-f][0-9a-f-]* ' /proc/{file} || true")
            ),
            "",
            "{file}"
        );
    }
    assert_eq!(
        h.sh("ve", "grep -v '_ses: empty' /proc/keys || true"),
        "",
        "keys of others"
    );
    // Only its own processes and mounts.
    let processes: usize = h.sh("ve", "ls /proc | grep -c '^[0-9]'").parse().unwrap();
    assert!(processes < 12, "{processes} processes");
    let mounts = h.sh("ve", "cat /proc/1/mountinfo");
    assert!(
        !mounts.contains(h.dir.to_str().unwrap()) && mounts.lines().count() < 20,
        "{mounts}"
    );
}

#[test]
fn setuid_programs_work_inside() {
    let h = armed();
    h.sh("ve", &format!("cp {INSIDE} /bin/suid && chmod 4755 /bin/suid"));
    let mine = |program: &str| h.ok(&["exec", "--user", "nobody", "ve", "--", program, "ids"]);
    let none = "CapEff \t0000000000000000\nNoNewPrivs \t0\n";
    assert_eq!(mine(INSIDE), format!("uid 65534\neuid 65534\n{none}"));
    let raised = mine("/bin/suid");
    assert!(
        raised.starts_with("uid 65534\neuid 0\n") && !raised.contains("0000000000000000"),
        "{raised}"
    );
}

#[test]
fn sudo_works_in_debian() {
    let h = House::new();
    h.debian("deb", "debian-12");
    let su = h.ok(&[
        "exec",
        "--user",
        "nobody",
        "deb",
        "--",
        "/bin/sh",
        "-c",
        "stat -c %a /usr/bin/su; grep NoNewPrivs /proc/self/status",
    ]);
    assert_eq!(su, "4755\nNoNewPrivs:\t0\n");
    // su from an ordinary user to root, without a password.
    h.sh("deb", "passwd -d root; usermod -s /bin/sh nobody");
    let id = h.ok(&[
        "exec",
        "--user",
        "nobody",
        "deb",
        "--",
        "su",
        "-c",
        "id -u; grep ^CapEff /proc/self/status",
    ]);
    assert!(
        id.starts_with("0\nCapEff:\t0") && !id.contains("0000000000000000"),
        "{id}"
    );
}

#[test]
fn the_guests_control_groups_end_at_its_own() {
    let h = armed();
    assert_eq!(
        h.sh("ve", "cut -d: -f3 /proc/1/cgroup | sort -u"),
        "/",
        "only its own is to be seen"
    );
    h.sh("ve", "grep -q ' /sys/fs/cgroup cgroup2 rw' /proc/mounts");
    // Its own subtree is its to divide, what is above is not there.
    h.sh("ve", "mkdir /sys/fs/cgroup/mine && rmdir /sys/fs/cgroup/mine");
    assert_eq!(h.sh("ve", "ls /sys/fs/cgroup/.. | grep -c hostel || true"), "0");
    for limit in [
        "memory.max",
        "cpu.max",
        "pids.max",
        "cgroup.freeze",
        "cgroup.kill",
        "memory.high",
    ] {
        let line = format!("f=/sys/fs/cgroup/{limit}; [ ! -e $f ] || ! (echo max > $f) 2>/dev/null");
        h.sh("ve", &line);
    }
    // The trees of cgroup v1, where the host has any: to be mounted, but nothing in them is the guest's to write.
    for controllers in [
        "memory",
        "cpu",
        "pids",
        "devices",
        "freezer",
        "none,name=own",
        "none,name=systemd",
    ] {
        let line = format!(
            "mkdir -p /v1 && if mount -t cgroup -o {controllers} v1 /v1 2>/dev/null; then \
             for f in /v1/release_agent /v1/notify_on_release /v1/memory.limit_in_bytes /v1/cpu.cfs_quota_us \
             /v1/pids.max /v1/devices.allow /v1/tasks /v1/cgroup.procs /v1/freezer.state; do \
             [ -e $f ] && (echo 1 > $f) 2>/dev/null && echo $f written; done; \
             mkdir /v1/x 2>/dev/null && echo made; umount /v1; fi; :"
        );
        assert_eq!(h.sh("ve", &line), "", "{controllers}");
    }
    // CVE-2022-0492: a release agent would run on the host.
    h.sh(
        "ve",
        "! mount -t cgroup -o memory,release_agent=/bin/sh v1 /v1 2>/dev/null",
    );
    let nested = armed_with("nesting = true");
    assert_eq!(nested.sh("ve", "mkdir -p /v1; /usr/bin/probe nested sh -c 'for c in memory pids cpu rdma; do \
        mount -t cgroup -o $c v1 /v1 2>/dev/null || continue; [ -e /v1/release_agent ] && (echo /x > /v1/release_agent) 2>/dev/null && echo $c; \
        mkdir /v1/y 2>/dev/null && echo made; umount /v1; done; :'"), "");
}
