//! VEs and plans from the files of a host with OpenVZ, on real VEs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use house::House;

const CONF: &str = "\
# This is a sample of what stood in /etc/vz/conf
#UUID: 5b2c
ONBOOT=\"yes\"
BOOTORDER=\"7\"
PHYSPAGES=\"0:24576\"
SWAPPAGES=\"0:8192\"
NUMPROC=\"70:70\"
CPUUNITS=\"2000\"
CPULIMIT=\"50\"
DISKSPACE=\"65536:98304\"
KMEMSIZE=\"14372700:14790164\"
VE_ROOT=\"/vz/root/$VEID\"
VE_PRIVATE=\"/vz/private/$VEID\"
OSTEMPLATE=\"centos-6-x86\"
ORIGIN_SAMPLE=\"basic\"
HOSTNAME=\"shop.example.com\"
NAME=\"My Shop\"
DESCRIPTION=\"the shop\"
CAPABILITY=\"SYS_TIME:on\"
COLOUR=\"red\"
HOSTNAME this is no line
";

/// A private area with all that a copy may lose: owners, modes, links, attributes, holes, devices, and a trap.
fn private(h: &House) -> PathBuf {
    house::template("busybox");
    let versions = fs::read_dir(house::templates().join("busybox")).unwrap();
    let template = versions
        .map(|v| v.unwrap().path().join("root"))
        .find(|root| root.is_dir())
        .unwrap();
    let area = h.dir.join("vz/private/133");
    fs::create_dir_all(area.parent().unwrap()).unwrap();
    h.host_sh(&format!("cp -a {} {}", template.display(), area.display()));
    let at = |path: &str| area.join(path);
    fs::create_dir_all(at("srv")).unwrap();
    fs::write(at("srv/mine"), "of user 1000\n").unwrap();
    chown(at("srv/mine"), Some(1000), Some(100)).unwrap();
    fs::write(at("srv/suid"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(at("srv/suid"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(at("srv/suid"), at("srv/other")).unwrap();
    h.host_sh(&format!("setfattr -n user.note -v kept {}", at("srv/mine").display()));
    fs::File::create(at("srv/hole")).unwrap().set_len(32 << 20).unwrap();
    h.host_sh(&format!("mknod {} b 8 0", at("srv/disk").display()));
    symlink("/etc/shadow", at("srv/trap")).unwrap();
    symlink("../../../../../../../../etc", at("srv/up")).unwrap();
    fs::write(at("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    area
}

fn conf(h: &House, name: &str, text: &str) -> PathBuf {
    h.write(&format!("vz/conf/{name}"), text);
    h.dir.join("vz/conf").join(name)
}

fn import<'a>(conf: &'a Path, private: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "import",
        "openvz",
        conf.to_str().unwrap(),
        "--private",
        private.to_str().unwrap(),
    ];
    args.extend(more);
    args
}

/// All that it says; it must succeed.
#[track_caller]
fn told_by(h: &House, args: &[&str]) -> String {
    let ran = h.run(args);
    assert_eq!(ran.code, 0, "{args:?}\n{}{}", ran.out, ran.err);
    format!("{}{}", ran.out, ran.err)
}

#[test]
fn a_container_becomes_a_ve() {
    let h = House::new();
    let (conf, area) = (conf(&h, "133.conf", CONF), private(&h));
    let told = h.ok(&import(&conf, &area, &["--dry-run", "--json"]));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["ve"]["id"], &told["ve"]["name"]),
        (&133.into(), &"ct133".into()),
        "{told}"
    );
    let line = |key: &str| {
        let all = told["lines"].as_array().unwrap();
        let found = all
            .iter()
            .find(|l| l["key"] == key)
            .unwrap_or_else(|| panic!("{key}: {told}"));
        (
            found["fate"].as_str().unwrap().to_owned(),
            found["what"].as_str().unwrap().to_owned(),
        )
    };
    for (key, what) in [
        ("ONBOOT", "onboot=true"),
        ("BOOTORDER", "priority=7"),
        ("PHYSPAGES", "memory.limit="),
        ("SWAPPAGES", "memory.swap="),
        ("NUMPROC", "processes=70"),
        ("CPULIMIT", "cpu.cap="),
        ("DISKSPACE", "disk.size="),
        ("HOSTNAME", "hostname=shop.example.com"),
    ] {
        let (fate, became) = line(key);
        assert!(fate == "became" && became.contains(what), "{key}: {fate} {became}");
    }
    for key in ["KMEMSIZE", "VE_ROOT", "VE_PRIVATE", "OSTEMPLATE", "ORIGIN_SAMPLE"] {
        assert_eq!(line(key).0, "kept", "{key}");
    }
    for key in ["CAPABILITY", "COLOUR", ""] {
        assert_eq!(line(key).0, "lost", "{key}");
    }
    assert!(told["files"].as_u64().unwrap() > 10 && told["bytes"].as_u64().unwrap() > 0);
    // Nothing was made.
    assert_eq!(h.ok(&["list", "--json"]).trim(), "[]");
    let told = told_by(&h, &import(&conf, &area, &["--set", "disk.size=160MiB"]));
    assert!(
        told.contains("memory.limit") && told.contains("imported as VE 133"),
        "{told}"
    );
    // The original is as it was.
    assert_eq!(fs::metadata(area.join("srv/mine")).unwrap().uid(), 1000);
    h.ok(&["start", "ct133"]);
    assert_eq!(h.sh("ct133", "hostname"), "shop.example.com");
    assert_eq!(
        h.sh("ct133", "cat /srv/mine; stat -c '%u %g' /srv/mine"),
        "of user 1000\n1000 100"
    );
    assert_eq!(
        h.sh(
            "ct133",
            "stat -c '%a %h' /srv/suid; stat -c %i /srv/suid > /a; stat -c %i /srv/other | cmp - /a"
        ),
        "4755 2"
    );
    assert_eq!(
        h.sh(
            "ct133",
            "stat -c %s /srv/hole; test $(stat -c %b /srv/hole) -lt 64; test -e /srv/disk || echo none"
        ),
        format!("{}\nnone", 32 << 20)
    );
    assert_eq!(
        h.sh("ct133", "readlink /srv/trap; readlink /srv/up; cat /etc/machine-id"),
        "/etc/shadow\n../../../../../../../../etc\n0123456789abcdef0123456789abcdef"
    );
    // What it may is in force: 96 MiB, and half a processor.
    let show = h.ok(&["show", "ct133", "--json"]);
    assert!(show.contains("96MiB"), "{show}");
    assert_eq!(h.status("ct133", "memory_limit"), 96 << 20);
    assert_eq!(h.status("ct133", "process_limit"), 70);
    assert_eq!(h.status("ct133", "cpu_cap_milli"), 500);
    let definition = h.read("etc/ve/ct133.toml");
    assert!(
        definition.contains("centos-6-x86") && definition.contains("My Shop"),
        "{definition}"
    );
    // The attribute, as the host sees it.
    h.ok(&["stop", "ct133"]);
    let kept = h.in_mounted_root("ct133", |root| {
        h.host_sh(&format!(
            "getfattr --only-values -n user.note {}",
            root.join("srv/mine").display()
        ))
    });
    assert_eq!(kept, "kept");
    // All of it counts as its own, and goes with it.
    h.ok(&["destroy", "ct133"]);
    let left = h.ok(&["template", "list", "--json"]);
    assert!(left.contains("imported-busybox-busybox"), "{left}");
    h.ok(&["template", "remove", "imported-busybox-busybox"]);
}

#[test]
fn what_cannot_be_taken_in_leaves_nothing() {
    let h = House::with_own_templates();
    let area = private(&h);
    let file = conf(&h, "133.conf", "HOSTNAME=\"a\"\nDISKSPACE=\"4096:8192\"\n");
    // Too small, by its own measure.
    h.host_sh(&format!("head -c 41943040 /dev/urandom > {}/srv/big", area.display()));
    let said = h.fails(6, &import(&file, &area, &["--set", "disk.size=36MiB"]));
    assert!(said.contains("disk.size"), "{said}");
    let plain = conf(&h, "134.conf", "HOSTNAME=\"a\"\n");
    let empty = h.dir.join("empty");
    fs::create_dir_all(&empty).unwrap();
    h.fails(2, &import(&plain, &empty, &[]));
    fs::write(empty.join("root.hdd"), "").unwrap();
    let said = h.fails(2, &import(&plain, &empty, &[]));
    assert!(said.contains("ploop mount"), "{said}");
    let said = h.fails(3, &import(&h.dir.join("none.conf"), &area, &[]));
    assert!(said.contains("none.conf"), "{said}");
    chown(&area, Some(100_000), None).unwrap();
    let said = h.fails(2, &import(&plain, &area, &[]));
    assert!(said.contains("shifted"), "{said}");
    chown(&area, Some(0), None).unwrap();
    // Of somebody whom no VE has.
    chown(area.join("srv/mine"), None, Some(100_000)).unwrap();
    let said = h.fails(2, &import(&plain, &area, &[]));
    assert!(said.contains("\"srv/mine\", with 100000"), "{said}");
    chown(area.join("srv/mine"), None, Some(100)).unwrap();
    // What steers the host's overlay is a trap.
    h.host_sh(&format!(
        "setfattr -n trusted.overlay.opaque -v y {}",
        area.join("srv").display()
    ));
    let said = h.fails(1, &import(&plain, &area, &[]));
    assert!(said.contains("overlay"), "{said}");
    h.host_sh(&format!(
        "setfattr -x trusted.overlay.opaque {}",
        area.join("srv").display()
    ));
    assert_eq!(h.ok(&["list", "--json"]).trim(), "[]");
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    h.ok(&import(&plain, &area, &["--name", "web1"]));
    h.ok(&["start", "web1"]);
    let said = h.fails(4, &import(&plain, &area, &["--name", "web1"]));
    assert!(said.contains("web1"), "{said}");
    // Its old number is taken: it gets another, and that is told.
    let told = told_by(&h, &import(&plain, &area, &["--name", "web2"]));
    assert!(told.contains("gets another"), "{told}");
}

/// Ctrl-C in the midst of it: nothing is left.
#[test]
fn one_that_is_interrupted_is_undone() {
    let h = House::with_own_templates();
    let area = private(&h);
    let many = area.join("srv/many");
    fs::create_dir(&many).unwrap();
    for n in 0..20_000 {
        fs::write(many.join(n.to_string()), "x").unwrap();
    }
    let file = conf(&h, "133.conf", "HOSTNAME=\"a\"\n");
    let child = h.spawn(&import(&file, &area, &["--set", "disk.size=1GiB"]));
    // Its disk is being made, and the directory is open: it was measured before, so now it is copied.
    let journal = h.dir.join("data/journal/133.journal");
    let at_the_disk = || {
        let journal = fs::read_to_string(&journal).unwrap_or_default();
        let last = journal.lines().last().unwrap_or_default();
        last.contains("\"step\":\"disk\"")
    };
    let open = format!("/proc/{}/fd", child.id());
    let copying = || {
        let links = fs::read_dir(&open).unwrap().flatten();
        links.flat_map(|fd| fs::read_link(fd.path())).any(|to| to == many)
    };
    h.until("it copies", 30, || at_the_disk() && copying());
    house::signal(&child, rustix::process::Signal::INT);
    let ended = house::end_of(child);
    assert_eq!(ended.code, 130, "{}{}", ended.out, ended.err);
    assert!(ended.err.contains("copy"), "{}", ended.err);
    assert_eq!(h.ok(&["list", "--json"]).trim(), "[]");
    assert!(!h.dir.join("etc/ve/ct133.toml").exists());
    assert!(h.audit().is_empty(), "{:?}", h.audit());
}

#[test]
fn a_sample_becomes_a_plan() {
    let h = House::new();
    let sample = conf(
        &h,
        "ve-Basic.conf-sample",
        "ONBOOT=\"no\"\nPRIVVMPAGES=\"65536:69632\"\nNUMPROC=\"240:240\"\nDISKSPACE=\"2G:2.2G\"\nCPUUNITS=\"1000\"\n",
    );
    let path = sample.to_str().unwrap();
    let told = told_by(&h, &["import", "openvz", path, "--dry-run"]);
    assert!(told.contains("would be made"), "{told}");
    let said = told_by(&h, &["import", "openvz", path]);
    assert!(
        said.contains("plan basic: made") && said.contains("each VE does"),
        "{said}"
    );
    let plan = h.read("etc/plans/basic.toml");
    for part in ["limit = 285212672", "processes = 240", "size = "] {
        assert!(plan.contains(part), "{plan}");
    }
    h.fails(4, &["import", "openvz", path]);
    house::template("busybox");
    h.ok(&["create", "web1", "--template", "busybox", "--plan", "basic"]);
    let vswap = conf(&h, "ve-vswap.conf-sample", "PHYSPAGES=\"0:64M\"\n");
    h.fails(2, &["import", "openvz", vswap.to_str().unwrap()]);
    h.ok(&["import", "openvz", vswap.to_str().unwrap(), "--set", "disk.size=1GiB"]);
    let said = h.fails(2, &["import", "openvz", "/etc/hostname"]);
    assert!(said.contains("--private"), "{said}");
}
