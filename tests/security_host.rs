//! What of the host shows inside: its /proc, its /sys and its control groups, which the VE's root may not write to, nor
//! read what is secret.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;
mod probe;

use std::fs;
use std::path::Path;

use house::House;
use probe::{armed, armed_with};

/// Whatever the kernel may show there one day: no program of it runs, none gives rights, no device opens.
#[test]
fn proc_sys_and_the_groups_are_mounted_shut() {
    let h = House::new();
    h.busybox("ve");
    let mounts = h.sh("ve", "cat /proc/1/mounts");
    for (point, kind, more) in [
        ("/proc", "proc", &[][..]),
        ("/sys", "sysfs", &["ro"]),
        ("/sys/fs/cgroup", "cgroup2", &[]),
    ] {
        let mut lines = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
        let line = lines.find(|l| (l[1], l[2]) == (point, kind)).unwrap();
        let options: Vec<&str> = line[3].split(',').collect();
        for wanted in ["nosuid", "nodev", "noexec"].iter().chain(more) {
            assert!(options.contains(wanted), "{wanted} of {line:?}");
        }
    }
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
