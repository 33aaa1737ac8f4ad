//! What a VE is: its ids, namespaces, capabilities, devices, /proc and /sys, as its root finds them; and what those
//! who are outside find of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;
mod probe;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
    let inside = limits(&h);
    assert!(inside.len() >= 10, "{inside:?}");
    for (name, found) in &inside {
        let known = USER_LIMITS.iter().find(|(known, _)| known == name);
        let Some((_, limit)) = known else {
            panic!("{name} is new in this kernel, and not limited")
        };
        assert_eq!(found, limit, "{name}");
        let path = format!("/proc/sys/user/{name}");
        let host: u64 = fs::read_to_string(&path).unwrap().trim().parse().unwrap();
        assert!(*limit < host, "{name}: {limit} inside, {host} outside");
        h.sh(
            "ve",
            &format!("! echo 2000000000 2>/dev/null > {path}; ! chmod 666 {path} 2>/dev/null"),
        );
    }
    assert_eq!(limits(&h), inside, "after all attempts");
    // The control: with CAP_SYS_RESOURCE, as a bare user namespace has it, each limit is the tenant's to choose.
    let script = "cd /proc/sys/user; for f in max_*; do echo 123456 > $f && cat $f; done";
    let bare = Command::new("unshare")
        .args(["-U", "-r", "sh", "-c", script])
        .output()
        .unwrap();
    let chosen = String::from_utf8_lossy(&bare.stdout).into_owned();
    assert_eq!(chosen, "123456\n".repeat(inside.len()));
}

/// What the kernel counts for each user namespace (proc_sys_user(5)), and how much of it a VE may have.
const USER_LIMITS: [(&str, u64); 12] = [
    ("max_cgroup_namespaces", 256),
    ("max_fanotify_groups", 64),
    ("max_fanotify_marks", 8192),
    ("max_inotify_instances", 1024),
    ("max_inotify_watches", 131_072),
    ("max_ipc_namespaces", 256),
    ("max_mnt_namespaces", 1024),
    ("max_net_namespaces", 256),
    ("max_pid_namespaces", 256),
    ("max_time_namespaces", 64),
    ("max_user_namespaces", 0),
    ("max_uts_namespaces", 256),
];

/// All of them as they are inside.
fn limits(h: &House) -> BTreeMap<String, u64> {
    let text = h.sh("ve", "cd /proc/sys/user; for f in max_*; do echo $f $(cat $f); done");
    let line = |l: &str| l.split_once(' ').map(|(name, n)| (name.to_owned(), n.parse().unwrap()));
    text.lines().filter_map(line).collect()
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

/// The group in which a VE's devices are filtered, as a directory: where its init is.
fn device_group(init: u32) -> PathBuf {
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let (mounts, groups) = (read("/proc/self/mounts"), read(&format!("/proc/{init}/cgroup")));
    let filters = |l: &&str| l.split(':').nth(1).unwrap().split(',').any(|c| c == "devices");
    let v1 = groups.lines().find(filters);
    let tree = mounts
        .lines()
        .map(|l| l.split(' ').collect::<Vec<_>>())
        .find(|l| match v1 {
            Some(_) => l[2] == "cgroup" && l[3].split(',').any(|o| o == "devices"),
            None => l[2] == "cgroup2",
        });
    let group = v1.or_else(|| groups.lines().find(|l| l.starts_with("0::"))).unwrap();
    Path::new(tree.unwrap()[1]).join(group.splitn(3, ':').nth(2).unwrap().trim_start_matches('/'))
}

/// The second lock: nodes that lie where devices open, found by a process that is wholly inside. None can be made or
/// brought there from inside, so the host hands them in.
#[test]
fn a_device_that_is_not_allowed_opens_to_nobody_inside() {
    let h = House::new();
    h.busybox("ve");
    let facts: serde_json::Value = serde_json::from_str(&h.ok(&["info", "--json"])).unwrap();
    let filter = facts.as_array().unwrap().iter().find(|f| f["what"] == "device filter");
    let filter = filter.unwrap();
    if filter["value"] != "enforced" {
        println!("skipped because this host filters no devices: {}", filter["why"]);
        return;
    }
    let nodes = [("zero", "1", "5"), ("loop-control", "10", "237")].map(|(name, major, minor)| {
        let node = h.dir.join(name);
        let mut made = Command::new("mknod");
        made.args(["-m", "666"]).arg(&node).args(["c", major, minor]);
        assert!(made.status().unwrap().success());
        node.display().to_string()
    });
    let init = init(&h, "ve");
    // A descriptor's own path is opened anew: by name nothing of the host's is to be found.
    let script = "exec 8<\"$1\" 9<\"$2\"; [ -z \"$3\" ] || echo $$ >\"$3\" || exit; \
                  exec nsenter --target \"$4\" --all /bin/sh -c \
                  'for n in 8 9; do (: <\"/proc/self/fd/$n\") 2>/dev/null && echo $n; done; cat /proc/self/uid_map'";
    let opens = |group: &str| {
        let [zero, control] = &nodes;
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh", zero, control, group, &init.to_string()]);
        let came = shell.output().unwrap();
        let text = String::from_utf8_lossy(&came.stdout).into_owned();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let map = lines.pop();
        assert!(
            map.is_some_and(|m| m.trim() == h.sh("ve", "cat /proc/self/uid_map")),
            "{came:?}"
        );
        lines
    };
    assert_eq!(
        opens(""),
        ["8", "9"],
        "the control: in its namespaces, but not in its groups"
    );
    let group = device_group(init).join("cgroup.procs");
    assert_eq!(opens(group.to_str().unwrap()), ["8"]);
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
fn a_setuid_program_works_in_debian() {
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
