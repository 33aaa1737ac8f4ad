//! What options and commands of `vzctl` come to on a real VE: in the kernel's files, on the wire, inside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use house::panel::Panel;

/// What the kernel has in one of these files of a VE's control groups, whatever version it has them in.
#[track_caller]
fn group(p: &Panel, ctid: u32, files: &[&str]) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts
        .lines()
        .filter(|line| line.contains(" cgroup"))
        .filter_map(|line| line.split(' ').nth(1));
    let dirs: Vec<PathBuf> = points
        .map(|point| Path::new(point).join(&p.h.cgroup_root).join(ctid.to_string()))
        .collect();
    let all = dirs.iter().flat_map(|dir| files.iter().map(move |file| dir.join(file)));
    let found = all.filter_map(|path| std::fs::read_to_string(path).ok()).next();
    found
        .unwrap_or_else(|| panic!("none of {files:?} is there"))
        .trim()
        .to_owned()
}

/// An executable script of the host's owner.
fn script(p: &Panel, name: &str, text: &str) {
    p.h.write(&format!("etc/{name}"), &format!("#!/bin/sh\n{text}\n"));
    let path = p.h.dir.join("etc").join(name);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

const MIB: u64 = 1 << 20;

/// A line for each option of memory and processors: what the kernel then holds.
#[test]
fn limits_are_what_the_kernel_holds() {
    let p = Panel::new();
    p.ok("create 150 --ostemplate busybox --diskinodes 3000:4000");
    p.ok("start 150 --wait");
    let memory = || group(&p, 150, &["memory.max", "memory.limit_in_bytes"]);
    // Version 1 counts both together, and some kernels count none.
    let swap = || {
        let both = group(&p, 150, &["memory.swap.max", "memory.memsw.limit_in_bytes"]).parse::<u64>();
        let own = std::fs::read_dir("/sys/fs/cgroup/memory").is_err();
        both.map(|both| {
            if own {
                both
            } else {
                both - memory().parse::<u64>().unwrap()
            }
        })
    };
    for (option, bytes) in [
        ("--physpages 0:24576", 96 * MIB),
        ("--ram 80M", 80 * MIB),
        ("--memory 88M", 88 * MIB),
        ("--physpages 20480:22528", 88 * MIB),
    ] {
        p.ok(&format!("set 150 {option} --save"));
        assert_eq!(memory(), bytes.to_string(), "{option}");
    }
    for (option, bytes) in [("--swappages 0:4096", 16 * MIB), ("--swap 24M", 24 * MIB)] {
        p.ok(&format!("set 150 {option} --save"));
        assert_eq!(swap(), Ok(bytes), "{option}");
    }
    p.ok("set 150 --numproc 77:77 --save");
    assert_eq!(group(&p, 150, &["pids.max"]), "77");
    p.ok("set 150 --cpumask 0 --save");
    assert_eq!(group(&p, 150, &["cpuset.cpus"]), "0");
    p.ok("set 150 --cpumask all --save");
    p.ok("set 150 --cpus 1 --cpuunits 2000 --save");
    let shares = group(&p, 150, &["cpu.weight", "cpu.shares"]);
    assert!(["200", "2048"].contains(&shares.as_str()), "{shares}");
    // Of pages that privvmpages allows, once something else limits memory, nothing is taken.
    let told = p.ok("set 150 --privvmpages 65536:69632 --save");
    assert!(
        told.contains("no effect") && memory() == (88 * MIB).to_string(),
        "{told}"
    );
    // How many files its disk can hold was said when it was made.
    let inodes: u64 = p
        .ok("exec2 150 'df -i / | tail -1'")
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!((3000..=8192).contains(&inodes), "{inodes} inodes");
    let vz = p.conf(150);
    for line in [
        "PHYSPAGES=\"0:22528\"",
        "SWAPPAGES=\"0:6144\"",
        "CPUUNITS=\"2000\"",
        "CPUS=\"1\"",
    ] {
        assert!(vz.contains(line), "{line} is not in\n{vz}");
    }
    // Nothing of it gets lost with its end.
    p.ok("restart 150 --fast --wait");
    assert_eq!(memory(), (88 * MIB).to_string());
    assert_eq!(group(&p, 150, &["pids.max"]), "77");
}

/// Interfaces: names, hardware addresses, filters and moves, and what waits for a start is told right afterwards.
#[test]
fn interfaces_are_called_as_they_are_inside() {
    let p = Panel::new();
    for (name, pool) in [("lan", "10.9.0.0/24"), ("dmz", "10.8.0.0/24")] {
        p.h.write(
            &format!("etc/networks/{name}.toml"),
            &format!("kind = \"bridge\"\npools = [\"{pool}\"]\n"),
        );
    }
    // Made by one command: what is on a bridge has the first name.
    p.ok("create 151 --ostemplate busybox --ipadd 10.77.0.70");
    let told = p.run("set 151 --netif_add eth0,02:00:00:00:00:51,,,lan --save");
    assert!(
        told.code == 0 && told.out.contains("its name inside is eth1"),
        "{told:?}"
    );
    p.ends(130, "set 151 --ifname eth0 --mac_filter off --save");
    p.ok("start 151 --wait");
    let mac = |name: &str| p.ok(&format!("exec2 151 cat /sys/class/net/{name}/address"));
    assert_eq!(mac("eth1"), "02:00:00:00:00:51");
    let netif = |part: &str| assert!(p.conf(151).contains(part), "{part} is not in\n{}", p.conf(151));
    netif("NETIF=\"ifname=eth1,bridge=lan,mac=02:00:00:00:00:51");
    // What waits for a start stands in the file after it.
    p.ok("set 151 --ifname eth1 --mac 02:00:00:00:00:52 --setmode restart --save");
    assert_eq!(mac("eth1"), "02:00:00:00:00:52");
    netif("mac=02:00:00:00:00:52");
    p.ok("set 151 --ifname eth1 --mac_filter off --dhcp yes --dhcp6 no --setmode restart --save");
    let shown = p.h.ok(&["show", "ct151"]);
    let spoofing = shown
        .lines()
        .find(|line| line.contains("network.1.allow_mac_spoofing"))
        .unwrap();
    assert!(spoofing.contains("true"), "{spoofing}");
    let shown = p.h.ok(&["show", "ct151"]);
    let open = shown
        .lines()
        .any(|line| line.contains("allow_dhcp_client") && line.contains("true"));
    assert!(open, "{shown}");
    // To the bridge that it is on: nothing. To another: there.
    let before = p.ok("exec2 151 'ip addr show dev eth1 | grep 10.9.0'");
    p.ok("set 151 --ifname eth1 --bridge lan --setmode restart --save");
    assert_eq!(p.ok("exec2 151 'ip addr show dev eth1 | grep 10.9.0'"), before);
    p.ok("set 151 --ifname eth1 --network dmz --setmode restart --save");
    assert!(p.ok("exec2 151 ip addr").contains("10.8.0."));
    netif("bridge=dmz");
    // Another address in the place of one: the rest of its table stays.
    p.h.ok(&["set", "ct151", "network.0.rate_out=2Mbit"]);
    p.ok("set 151 --ipdel all --ipadd 10.77.0.71 --save");
    let text = p.h.read("etc/ve/ct151.toml");
    assert!(text.contains("2Mbit") && text.contains("10.77.0.71"), "{text}");
    let inside = p.ok("exec2 151 ip addr");
    assert!(
        inside.contains("10.77.0.71") && !inside.contains("10.77.0.70"),
        "{inside}"
    );
    p.ok("set 151 --netif_del eth1 --save");
    assert!(!p.ok("exec2 151 ip addr").contains("eth1"));
    assert!(!p.conf(151).contains("NETIF"), "{}", p.conf(151));
}

/// Their exit status counts, and the next container of that number runs nothing of the last one's.
#[test]
fn action_scripts_fail_with_a_code_and_go_with_their_container() {
    let p = Panel::new();
    let log = p.h.dir.join("ran");
    let ran = || std::fs::read_to_string(&log).unwrap_or_default();
    p.ok("create 152 --ostemplate busybox");
    script(&p, "vz/conf/152.mount", "exit 1");
    p.ends(79, "start 152");
    assert_eq!(p.status(152), "exist unmounted down");
    script(&p, "vz/conf/152.mount", &format!("echo mount >> {}", log.display()));
    script(&p, "vz/conf/152.start", "exit 1");
    p.ends(79, "start 152");
    script(&p, "vz/conf/152.start", "echo mine > /run/scripted");
    script(&p, "vz/conf/152.stop", "exit 1");
    script(&p, "hooks/ct152.premount", &format!("echo hook >> {}", log.display()));
    p.ok("start 152");
    assert_eq!(p.ok("exec2 152 cat /run/scripted"), "mine");
    p.ends(79, "stop 152");
    assert_eq!(p.status(152), "exist unmounted down");
    assert!(ran().contains("mount") && ran().contains("hook"), "{}", ran());
    // Made anew it keeps them, as it is the same container.
    p.ok("reinstall 152 --skipbackup");
    p.ok("start 152");
    p.ok("exec2 152 test -e /run/scripted");
    p.ends(79, "stop 152");
    p.ok("destroy 152");
    let conf = p.h.dir.join("etc/vz/conf");
    for event in ["mount", "start", "stop"] {
        let (there, aside) = (
            conf.join(format!("152.{event}")),
            conf.join(format!("152.{event}.destroyed")),
        );
        assert!(!there.exists() && aside.exists(), "{event}");
    }
    assert!(p.h.dir.join("etc/hooks/ct152.premount.destroyed").exists());
    std::fs::remove_file(&log).unwrap();
    p.ok("create 152 --ostemplate busybox");
    p.ok("start 152 --wait");
    p.ends(1, "exec2 152 test -e /run/scripted");
    p.ok("stop 152");
    assert_eq!(ran(), "");
}

/// The same container with another disk: its addresses stay, also those that it drew, and what is refused changes nothing.
#[test]
fn a_reinstalled_container_keeps_what_it_was_given() {
    let p = Panel::new();
    p.h.ok(&["create", "shop", "--set", "id=153", "--template", "busybox"]);
    // Another one after it: whoever draws anew gets another address.
    p.h.ok(&["create", "later", "--template", "busybox"]);
    let addresses = || p.h.status("shop", "addresses");
    let before = addresses();
    p.ok("start 153 --wait");
    p.ok("exec2 153 'echo mine > /root/mine'");
    p.ends(32, "reinstall 153 --skipbackup");
    p.ok("stop 153");
    p.ends(94, "reinstall 153");
    p.ends(91, "reinstall 153 --skipbackup --ostemplate none-such");
    p.ends(91, "reinstall 153 --skipbackup --ostemplate busybox/20200101T000000Z");
    p.ok("mount 153");
    p.ends(41, "reinstall 153 --skipbackup");
    p.ok("umount 153");
    p.ok("start 153 --wait");
    assert_eq!(p.ok("exec2 153 cat /root/mine"), "mine");
    p.ok("stop 153");
    p.ok("reinstall 153 --skipbackup --ostemplate busybox");
    assert_eq!(addresses(), before);
    p.ok("start 153 --wait");
    p.ends(1, "exec2 153 test -e /root/mine");
    assert_eq!(addresses(), before);
    assert!(p.ok("exec2 153 ip addr").contains(before[0].as_str().unwrap()));
}

/// Passwords are part of the change where it can be; what is set inside is told by itself.
#[test]
fn passwords_come_with_the_change() {
    let p = Panel::new();
    p.ok("create 154 --ostemplate busybox --userpasswd root:first --onboot yes");
    p.ends(74, "set 154 --userpasswd root:plain --crypted --onboot no --save");
    assert!(p.conf(154).contains("ONBOOT=\"yes\""));
    p.ok("start 154 --wait");
    let shadow = || p.ok("exec2 154 'grep ^root: /etc/shadow'");
    let first = shadow();
    assert!(first.starts_with("root:$6$"), "{first}");
    const HASH: &str =
        "$6$abcdefgh$0CykFGMl0rPqt9zCEeYTMyiKnsmsaTZ5FHBAv5q7u3Bl7f1uGYcYsk7hMlnV4nBQ.MKp7kQ1W5ZUo5x6hpJbG/";
    p.ok(&format!("set 154 --userpasswd root:{HASH} --crypted"));
    assert!(shadow().starts_with(&format!("root:{HASH}:")), "{}", shadow());
    // What is saved is told before what fails.
    let ran = p.run("set 154 --userpasswd who-is-this:secret --onboot no --save");
    assert!(ran.code == 74 && ran.out.contains("settings are saved"), "{ran:?}");
    assert!(p.conf(154).contains("ONBOOT=\"no\""));
    p.ok("stop 154");
    p.ok("set 154 --userpasswd root:second --cpulimit 70 --save");
    p.ok("start 154 --wait");
    assert!(!shadow().starts_with(&format!("root:{HASH}:")) && shadow() != first);
    assert!(p.conf(154).contains("CPULIMIT=\"70\""));
}

/// What is refused for being out of service has no side effect.
#[test]
fn a_refused_start_does_nothing_before() {
    let p = Panel::new();
    p.ok("create 155 --ostemplate busybox");
    p.ok("start 155 --wait");
    p.ok("pause 155");
    assert_eq!(p.status(155), "exist mounted paused");
    p.ok("set 155 --disabled yes --save");
    p.ends(105, "restart 155");
    assert_eq!(p.status(155), "exist mounted paused");
    p.ok("stop 155 --fast");
    p.ok("mount 155");
    p.ends(105, "start 155");
    assert_eq!(p.status(155), "exist mounted down");
    p.ok("umount 155");
}

/// What was asked for and can't be told is no success; nor may everybody ask.
#[test]
fn an_answer_that_nobody_gets_is_a_failure() {
    let p = Panel::new();
    p.ok("create 156 --ostemplate busybox");
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    for words in [&["status", "156"][..], &["--help"], &["snapshot-list", "156"]] {
        let output = p.command(words).stdout(full()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(3) && err.contains("cannot write"),
            "{words:?}: {output:?}"
        );
    }
    for help in ["-h", "help"] {
        assert!(p.ok(help).starts_with("vzctl version 4.11.1"));
    }
    // By nobody, who may run the program where that lies open.
    let link = std::fs::read_link(p.h.dir.join("vzctl")).unwrap();
    let mut command = std::process::Command::new(&link);
    command
        .arg0("vzctl")
        .args(["status", "156"])
        .env("HOSTEL_CONFIG", p.h.dir.join("hostel.toml"))
        .uid(65_534)
        .gid(65_534);
    match command.output() {
        Ok(output) => assert_eq!(output.status.code(), Some(12), "{output:?}"),
        Err(e) => println!("skipped because nobody can't run {}: {e}", link.display()),
    }
}

/// A shell on a terminal, as `enter` gives a person.
#[test]
fn a_shell_on_a_terminal() {
    let p = Panel::new();
    p.ok("create 157 --ostemplate busybox");
    p.ok("start 157 --wait");
    let vzctl = p.h.dir.join("vzctl").display().to_string();
    let mut command = p.h.on_host("script");
    command
        .args(["-q", "-e", "-c", &format!("'{vzctl}' enter 157"), "/dev/null"])
        .env("HOSTEL_CONFIG", p.h.dir.join("hostel.toml"))
        .env("TERM", "vt100")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut talk = house::Talk::new(command.spawn().unwrap());
    talk.hear("#");
    talk.say("tty; echo on $(hostname)\n");
    talk.hear("on ct157");
    talk.say("exit 7\n");
    let ran = talk.end();
    assert!(ran.code == 7 && ran.out.contains("/dev/pts/"), "{ran:?}");
}

/// Ctrl-C while a container boots that was started for a script only: it is as it was.
#[test]
fn a_boot_for_a_script_that_is_given_up_is_taken_back() {
    let p = Panel::new();
    house::template("debian-12");
    p.ok("create 157 --ostemplate debian-12 --config small");
    let unit = "[Service]\\nType=oneshot\\nExecStart=/bin/sleep 1000\\n[Install]\\nWantedBy=multi-user.target\\n";
    p.ok("start 157 --wait");
    p.ok(&format!(
        "exec2 157 'printf \"{unit}\" >/etc/systemd/system/slow.service; systemctl enable slow.service'"
    ));
    p.ok("stop 157");
    script(&p, "setup.sh", "echo never");
    let path = p.h.dir.join("etc/setup.sh").display().to_string();
    let child = p
        .typed(&format!("runscript 157 {path}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    p.h.until("it boots", 20, || p.status(157) == "exist mounted running");
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ran: house::Ran = child.wait_with_output().unwrap().into();
    assert!(ran.code == 3 && ran.err.contains("interrupted"), "{ran:?}");
    assert!(ran.out.contains("stopped again"), "{ran:?}");
    assert!(!ran.out.contains("never"), "{ran:?}");
    assert_eq!(p.status(157), "exist unmounted down");
}

/// What a container consists of is gone: one code for all that needs it.
#[test]
fn a_container_without_its_disk_has_a_code() {
    let p = Panel::new();
    p.ok("create 158 --ostemplate busybox");
    std::fs::remove_file(p.h.dir.join("data/ve/158/disk.img")).unwrap();
    for line in ["start 158", "mount 158", "runscript 158 /dev/null"] {
        p.ends(43, line);
    }
    p.ok("destroy 158");
}

/// Where there is a bash, lines are its.
#[test]
fn lines_for_debian_are_bashs() {
    let p = Panel::new();
    house::template("debian-12");
    p.ok("create 159 --ostemplate debian-12 --config small");
    p.ok("start 159 --wait");
    let said = p.ok("exec2 159 'x=(a \"b c\"); echo ${#x[@]}; [[ $0 == *bash ]] && echo $0'");
    assert_eq!(said, "2\n/bin/bash");
    let mut lines = p
        .typed("exec 159 -")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut lines.stdin.take().unwrap(), b"echo <(true)\nexit 7\n").unwrap();
    let ran: house::Ran = lines.wait_with_output().unwrap().into();
    assert!(ran.code == 8 && ran.out.starts_with("/dev/fd/"), "{ran:?}");
}
