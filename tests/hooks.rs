//! Scripts of the host's owner (docs/HOOKS.md), on real VEs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use house::House;

/// A script of this house: `hooks/all.mount`, `vz/conf/vps.mount`.
fn script(h: &House, name: &str, text: &str) -> PathBuf {
    h.write(&format!("etc/{name}"), &format!("#!/bin/sh\n{text}"));
    let path = h.dir.join("etc").join(name);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Each writes its own name and what it is told to the house's log.
fn logging(h: &House, names: &[&str]) {
    for name in names {
        let short = name.rsplit('/').next().unwrap();
        let text = format!(
            "echo {short} $HOSTEL_EVENT $VEID $HOSTEL_VE >> {}\n",
            log_path(h).display()
        );
        script(h, name, &text);
    }
}

fn log_path(h: &House) -> PathBuf {
    h.dir.join("log")
}

fn log(h: &House) -> Vec<String> {
    let text = fs::read_to_string(log_path(h)).unwrap_or_default();
    text.lines()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

const HOST: [&str; 4] = [
    "hooks/all.premount",
    "hooks/all.mount",
    "hooks/all.umount",
    "hooks/all.postumount",
];
const ONCE: [&str; 4] = ["all.premount", "all.mount", "all.umount", "all.postumount"];

#[test]
fn they_run_in_order_with_their_environment() {
    let h = House::new();
    logging(&h, &HOST);
    logging(
        &h,
        &[
            "vz/conf/vps.mount",
            "vz/conf/101.mount",
            "vz/conf/101.umount",
            "vz/conf/vps.umount",
            "hooks/web1.mount",
        ],
    );
    let out = h.dir.join("environment");
    script(
        &h,
        "hooks/101.mount",
        &format!(
            ". $VE_CONFFILE\necho \"$VE_ROOT|$VE_PRIVATE|$NAME|$IP_ADDRESS\" > {out}\nenv >> {out}\nls /proc/self/fd >> {out}\n\
             readlink /proc/self/ns/mnt >> {out}\necho heard\n",
            out = out.display()
        ),
    );
    script(
        &h,
        "hooks/all.start",
        "echo $VEID $HOSTEL_EVENT $VE_CONFFILE > /started; id -u >> /started; ps | grep -c . >> /started; cat /proc/1/comm >> /started\n\
         (cat /proc/1/environ /proc/1/maps /proc/1/mem; ls /proc/1/fd; readlink /proc/1/exe) > /peek 2>/dev/null\n\
         grep -E 'Seccomp:|CapEff|CapBnd' /proc/self/status > /rights\n",
    );
    script(&h, "hooks/all.stop", "echo stopping $HOSTEL_VE > /stopped\n");
    house::template("busybox");
    h.ok(&["create", "web1", "--template", "busybox"]);
    let started = h.run(&["start", "web1"]);
    assert_eq!(started.code, 0, "{}", started.err);
    assert!(
        started.err.contains("101.mount: heard") || started.out.contains("101.mount: heard"),
        "{started:?}"
    );
    let written = fs::read_to_string(&out).unwrap();
    let first = written.lines().next().unwrap();
    let address = h.status("web1", "addresses");
    let address = address.as_array().unwrap().iter().map(|a| a.as_str().unwrap());
    let address = address.collect::<Vec<_>>().join(" ");
    let (root, private) = (h.run.join("101/mounts"), h.dir.join("data/ve/101"));
    assert_eq!(
        first,
        format!("{}|{}|web1|{address}", root.display(), private.display())
    );
    for wanted in [
        "VEID=101",
        "HOSTEL_VE=web1",
        "HOSTEL_EVENT=mount",
        "HOSTEL_TENANT=default",
    ] {
        assert!(written.lines().any(|line| line == wanted), "{written}");
    }
    assert!(
        written.contains(&fs::read_link("/proc/self/ns/mnt").unwrap().display().to_string()),
        "{written}"
    );
    assert!(
        !written.lines().any(|line| line.parse::<u32>().is_ok_and(|fd| fd > 3)),
        "{written}"
    );
    // Inside: before init, as root of the VE, without paths of the host.
    assert_eq!(h.sh("web1", "head -2 /started"), "101 start\n0");
    assert_eq!(h.sh("web1", "tail -1 /started"), "hostel-monitor");
    // It sees nothing of the process that becomes init, and has the rights of any command inside.
    assert_eq!(h.sh("web1", "cat /peek"), "");
    let rights = "grep -E 'Seccomp:|CapEff|CapBnd' /proc/self/status";
    assert_eq!(h.sh("web1", "cat /rights"), h.sh("web1", rights));
    assert!(h.sh("web1", "cat /rights").contains("Seccomp:\t2"));
    h.ok(&["stop", "web1"]);
    let text = h.in_mounted_root("web1", |root| fs::read_to_string(root.join("stopped")).unwrap());
    assert_eq!(text, "stopping web1\n");
    let life = [
        "all.premount",
        "all.mount",
        "web1.mount",
        "vps.mount",
        "101.mount",
        "101.umount",
        "vps.umount",
        "all.umount",
        "all.postumount",
    ];
    // The life, and the mount that looked into it.
    assert_eq!(log(&h), [life, life].concat());
    assert!(!h.run.join("101/ve.conf").exists());
}

#[test]
fn one_that_fails_aborts_and_leaves_nothing() {
    let h = House::new();
    logging(&h, &HOST);
    house::template("busybox");
    h.ok(&["create", "web1", "--template", "busybox"]);
    for (name, begun) in [
        ("hooks/101.premount", &["all.premount", "all.postumount"][..]),
        ("hooks/101.mount", &ONCE[..]),
        ("hooks/101.start", &ONCE[..]),
    ] {
        let _ = fs::remove_file(log_path(&h));
        let path = script(&h, name, "echo no room here; exit 3\n");
        let said = h.fails(1, &["start", "web1"]);
        assert!(
            said.contains("ended with code 3") && said.contains("no room here"),
            "{said}"
        );
        assert_eq!(log(&h), begun, "{name}");
        assert_eq!(h.state("web1"), "stopped");
        assert!(h.audit().is_empty(), "{:?}", h.audit());
        fs::remove_file(path).unwrap();
    }
    let ran = h.run(&["start", "web1", "--json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[test]
fn only_roots_own_scripts_run() {
    let h = House::new();
    house::template("busybox");
    h.ok(&["create", "web1", "--template", "busybox"]);
    let path = script(&h, "hooks/all.mount", "true\n");
    let refused = |why: &str| {
        let said = h.fails(1, &["start", "web1"]);
        assert!(said.contains(why), "{said}");
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    refused("others than root may write it");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    refused("not executable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&path, Some(1000), None).unwrap();
    refused("does not belong to root");
    fs::remove_file(&path).unwrap();
    symlink("/bin/true", &path).unwrap();
    refused("not a plain file");
    fs::remove_file(&path).unwrap();
    let path = script(&h, "hooks/all.mount", "true\n");
    let dir = path.parent().unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    refused("directory");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    h.ok(&["start", "web1"]);
}

#[test]
fn one_that_hangs_is_ended_and_ctrl_c_ends_it() {
    let h = House::with("hooks.timeout = \"1s\"\n");
    house::template("busybox");
    h.ok(&["create", "web1", "--template", "busybox"]);
    for (name, hangs) in [
        ("hooks/all.mount", "sleep 300 & wait\n"),
        ("hooks/all.start", "sleep 300; true\n"),
    ] {
        let path = script(&h, name, hangs);
        let begun = Instant::now();
        let said = h.fails(1, &["start", "web1"]);
        assert!(
            said.contains("took too long") && said.contains("hooks.timeout"),
            "{said}"
        );
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        assert!(h.audit().is_empty(), "{:?}", h.audit());
        fs::remove_file(path).unwrap();
    }
    let settings = h.read("hostel.toml").replace("timeout = \"1s\"", "timeout = \"5m\"");
    h.write("hostel.toml", &settings);
    let mark = h.dir.join("mark");
    script(
        &h,
        "hooks/all.mount",
        &format!("echo > {}; sleep 300\n", mark.display()),
    );
    let child = h.spawn(&["start", "web1"]);
    h.until("the script runs", 30, || mark.exists());
    house::signal(&child, rustix::process::Signal::INT);
    let ended = house::end_of(child);
    assert_eq!(ended.code, 130, "{}{}", ended.out, ended.err);
    fs::remove_file(h.dir.join("etc/hooks/all.mount")).unwrap();
    // One that hangs when it is stopped doesn't keep it.
    h.ok(&["start", "web1"]);
    h.write("hostel.toml", &settings.replace("timeout = \"5m\"", "timeout = \"1s\""));
    script(&h, "hooks/all.stop", "sleep 300\n");
    script(&h, "hooks/all.umount", "echo gone; exit 7\n");
    let said = h.fails(1, &["stop", "web1"]);
    assert!(said.contains("took too long"), "{said}");
    assert_eq!(h.state("web1"), "stopped");
    fs::remove_dir_all(h.dir.join("etc/hooks")).unwrap();
}

/// However it ends, what was begun is ended once.
#[test]
fn each_mount_has_one_umount() {
    let h = House::new();
    logging(&h, &HOST);
    h.busybox("web1");
    let cleared = |times: usize| {
        h.until("it is cleared up", 60, || log(&h).len() >= 4 * times);
        assert_eq!(log(&h), vec![ONCE; times].concat());
    };
    h.ok(&["kill", "web1"]);
    cleared(1);
    h.ok(&["start", "web1"]);
    h.sh("web1", "(sleep 0.1; poweroff -f) > /dev/null 2>&1 &");
    cleared(2);
    h.until("it is stopped", 30, || h.state("web1") == "stopped");
    h.ok(&["start", "web1"]);
    // A reboot from inside is another mount.
    h.sh("web1", "(sleep 0.1; reboot -f) > /dev/null 2>&1 &");
    h.until("it has rebooted", 60, || log(&h).len() == 14);
    h.until("it runs", 60, || h.state("web1") == "running");
    h.ok(&["restart", "web1"]);
    assert_eq!(log(&h).len(), 18);
    h.ok(&["destroy", "web1", "--force"]);
    assert_eq!(log(&h), vec![ONCE; 5].concat());
}

/// A command is killed while its script runs; the next one ends what that began.
#[test]
fn a_command_that_is_killed_leaves_it_to_the_next() {
    let h = House::new();
    logging(&h, &["hooks/all.umount", "hooks/all.postumount"]);
    let mark = h.dir.join("mark");
    script(
        &h,
        "hooks/all.mount",
        &format!("sleep 300 & echo $! > {0}.new; mv {0}.new {0}; wait\n", mark.display()),
    );
    house::template("busybox");
    h.ok(&["create", "web1", "--template", "busybox"]);
    let child = h.spawn(&["start", "web1"]);
    h.until("the script runs", 30, || mark.exists());
    house::signal(&child, rustix::process::Signal::KILL);
    house::end_of(child);
    // What it had begun lives on, until its opposite is to run.
    let sleeps = PathBuf::from(format!("/proc/{}", fs::read_to_string(&mark).unwrap().trim()));
    assert!(sleeps.exists());
    script(&h, "hooks/all.mount", "true\n");
    let text = fs::read_to_string(h.dir.join("etc/hooks/all.umount")).unwrap();
    let beside = format!(
        "[ ! -e {} ] || echo beside >> {}\n",
        sleeps.display(),
        log_path(&h).display()
    );
    let text = text.strip_prefix("#!/bin/sh\n").unwrap().to_owned();
    script(&h, "hooks/all.umount", &format!("{beside}{text}"));
    h.ok(&["start", "web1"]);
    assert_eq!(log(&h), ["all.umount", "all.postumount"]);
    h.ok(&["stop", "web1"]);
    assert_eq!(log(&h).len(), 4);
}

/// What a mount script mounts below VE_ROOT the VE has, wherever a tenant's links lead.
#[test]
fn mounts_of_scripts_are_the_ves() {
    let h = House::new();
    let data = h.dir.join("shared");
    for part in ["data/sub", "ro", "trap"] {
        fs::create_dir_all(data.join(part)).unwrap();
    }
    fs::write(data.join("data/hello"), "from the host\n").unwrap();
    fs::write(data.join("ro/file"), "look only\n").unwrap();
    fs::write(data.join("ro/open"), "anybody's\n").unwrap();
    fs::set_permissions(data.join("ro/open"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::write(data.join("one"), "a file\n").unwrap();
    let text = format!(
        "set -e\ncd {}\nmkdir -p $VE_ROOT/srv/data $VE_ROOT/ro\nmount -n --bind data $VE_ROOT/srv/data\n\
         mount --bind ro $VE_ROOT/ro\nmount -o remount,bind,ro $VE_ROOT/ro\ntouch $VE_ROOT/one\nmount --bind one $VE_ROOT/one\n",
        data.display()
    );
    script(&h, "vz/conf/101.mount", &text);
    script(&h, "vz/conf/101.umount", "umount $VE_ROOT/srv/data\n");
    house::template("busybox");
    h.ok(&["create", "web1", "--template", "busybox"]);
    h.ok(&["start", "web1"]);
    assert_eq!(
        h.sh("web1", "cat /srv/data/hello /ro/file /one"),
        "from the host\nlook only\na file"
    );
    // Its root is root there, and what it writes is on the host.
    assert_eq!(
        h.sh("web1", "echo back > /srv/data/answer; stat -c %u /srv/data/hello"),
        "0"
    );
    assert_eq!(fs::read_to_string(data.join("data/answer")).unwrap(), "back\n");
    h.sh("web1", "! (echo x > /ro/open) 2>/dev/null");
    // The guest can mount it anew, and then is nobody there: it writes what anybody may.
    h.sh(
        "web1",
        "mount -o remount,bind,rw /ro && ! (echo x > /ro/file) 2>/dev/null && ! (echo x > /ro/new) 2>/dev/null",
    );
    h.sh("web1", "echo x > /ro/open");
    let held = |name| fs::read_to_string(data.join("ro").join(name)).unwrap();
    assert_eq!([held("file"), held("open")], ["look only\n", "x\n"]);
    // Nothing else of the host sees them but the place where the script put them.
    let seen = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let places: Vec<_> = seen.lines().filter(|l| l.contains("shared/data")).collect();
    assert_eq!(places.len(), 1, "{places:?}");
    let said = h.fails(4, &["suspend", "web1"]);
    assert!(said.contains("/srv/data") || said.contains("criu"), "{said}");
    let told = h.run(&["suspend", "--check", "web1"]);
    assert_eq!(told.code, 4, "{told:?}");
    assert!(told.out.contains("a script has mounted /srv/data into it"), "{told:?}");
    // A tenant's link in the way of a mount is refused.
    h.sh("web1", "umount /srv/data; rm -r /srv; ln -s /etc /srv");
    h.ok(&["stop", "web1"]);
    let said = h.fails(1, &["start", "web1"]);
    assert!(said.contains("/srv/data") && said.contains("link"), "{said}");
    assert!(
        !fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains("shared/data")
    );
    fs::remove_file(h.dir.join("etc/vz/conf/101.mount")).unwrap();
    fs::remove_file(h.dir.join("etc/vz/conf/101.umount")).unwrap();
    h.ok(&["start", "web1"]);
}

/// A few looks at directories are all that a VE without scripts costs.
#[test]
fn without_scripts_there_is_next_to_nothing_to_do() {
    let h = House::new();
    house::template("busybox");
    h.ok(&["create", "web1", "--template", "busybox"]);
    let trace = h.dir.join("trace");
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        println!("skipped because there is no strace here");
        return;
    }
    let events = ["premount", "mount", "start", "stop", "umount", "postumount"];
    let of_hooks = |l: &&str| {
        // With O_PATH: a start writes its VE's CTID.conf too, which is nothing of theirs.
        let places = [
            "etc/hooks",
            "etc/vz/conf\", O_RDONLY|O_LARGEFILE|O_CLOEXEC|O_PATH",
            ".begun-",
            "/101/mounts\"",
        ];
        // Names below the directories are looked up without them.
        let named = |event: &str| l.contains(&format!(".{event}\""));
        places.iter().any(|what| l.contains(what)) || events.iter().any(|event| named(event))
    };
    for (place, looks) in [("", 0), ("vz/conf", 12), ("hooks", 30)] {
        fs::create_dir_all(h.dir.join("etc").join(place)).unwrap();
        for verb in ["start", "stop"] {
            let text = traced(&h, &trace, verb);
            let calls: Vec<_> = text.lines().filter(of_hooks).collect();
            assert!(
                (1 + looks..=6 + looks).contains(&calls.len()),
                "{place}, {verb}: {calls:#?}"
            );
        }
    }
}

/// What was ended stays so, whatever becomes of the host next.
#[test]
fn that_it_has_ended_is_on_the_disk() {
    let h = House::new();
    let trace = h.dir.join("trace");
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        println!("skipped because there is no strace here");
        return;
    }
    script(&h, "hooks/all.umount", "true\n");
    h.busybox("web1");
    let text = traced(&h, &trace, "stop");
    let mut after = text
        .lines()
        .skip_while(|line| !(line.contains("unlink") && line.contains(".begun-mount")));
    let directory = format!("\"{}\"", h.dir.join("data/ve/101").display());
    let synced = after.find(|line| line.contains(" fsync(") || line.contains("/journal"));
    let opened = text.lines().take_while(|line| Some(*line) != synced).last();
    assert!(
        synced.is_some_and(|line| line.contains(" fsync(")) && opened.is_some_and(|line| line.contains(&directory)),
        "{opened:?} {synced:?}"
    );
}

/// What of files the command asked the kernel for.
fn traced(h: &House, trace: &Path, verb: &str) -> String {
    let _ = fs::remove_file(trace);
    // The monitor goes on, and so does what traces it.
    let mut command = h.on_host("strace");
    command.args(["-f", "-D", "-e", "trace=%file,fsync", "-o"]).arg(trace);
    command
        .arg(house::hostel())
        .arg("--config")
        .arg(h.dir.join("hostel.toml"));
    let ran = command
        .args([verb, "web1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(ran.unwrap().success());
    let text = || fs::read_to_string(trace).unwrap_or_default();
    // Short numbers have more than one space behind them.
    let process = |line: &str| line.split_whitespace().next().map(str::to_owned);
    h.until("all is written", 30, || {
        let text = text();
        let first = process(&text);
        text.lines()
            .any(|line| line.contains(" +++ exited") && process(line) == first)
    });
    text()
}
