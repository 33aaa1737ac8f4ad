//! `vzctl` as panels, libvirt and scripts call it, on real VEs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;

use house::panel::Panel;
use house::{House, Ran, end_of};

/// Create, limit, address, start, status, suspend for not paying, terminate.
#[test]
fn a_panel_sells_a_container_and_ends_it() {
    let p = Panel::new();
    assert_eq!(p.status(101), "deleted unmounted down");
    p.ok("create 101 --ostemplate busybox --config test --hostname web1.example.org");
    assert_eq!(p.status(101), "exist unmounted down");
    p.ends(44, "create 101 --ostemplate busybox");
    // Nobody has asked for an address.
    assert_eq!(p.h.status("101", "addresses"), serde_json::json!([]));
    p.ok("set 101 --ram 96M --swap 32M --numproc 60 --cpuunits 500 --cpulimit 50 --save");
    p.ok("set 101 --diskspace 140M:150M --save");
    p.ok("set 101 --ipadd 10.77.0.55 --save");
    p.ok("set 101 --nameserver 9.9.9.9 --searchdomain example.org --save");
    p.ok("set 101 --onboot yes --save");
    p.ok("start 101 --wait");
    assert_eq!(p.status(101), "exist mounted running");
    // The effects, as the guest sees them.
    assert_eq!(p.ok("exec2 101 hostname"), "web1.example.org");
    assert!(p.ok("exec2 101 ip addr show dev eth0").contains("10.77.0.55"));
    assert!(p.ok("exec2 101 cat /etc/resolv.conf").contains("9.9.9.9"));
    let kib: u64 = p
        .ok("exec2 101 'df -k / | tail -1'")
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!((120 << 10..151 << 10).contains(&kib), "{kib} KiB");
    p.ok("exec2 101 'dd if=/dev/zero of=/dev/null bs=20M count=1'");
    let greedy = p.run("exec2 101 'dd if=/dev/zero of=/dev/null bs=250M count=1'");
    assert_ne!(greedy.code, 0, "250 MB fit into 96 and 32: {greedy:?}");
    let files = p.conf(101);
    for line in [
        "ONBOOT=\"yes\"",
        "PHYSPAGES=\"0:24576\"",
        "SWAPPAGES=\"0:8192\"",
        "NUMPROC=\"60:60\"",
        "CPUUNITS=\"500\"",
        "CPULIMIT=\"50\"",
        "DISKSPACE=\"143360:153600\"",
        "IP_ADDRESS=\"10.77.0.55\"",
        "OSTEMPLATE=\"busybox\"",
        "ORIGIN_SAMPLE=\"test\"",
    ] {
        assert!(files.contains(line), "{line} is not in\n{files}");
    }
    // A process too many.
    let fork = "exec2 101 'i=0; while [ $i -lt 80 ]; do sleep 2 & i=$((i+1)); done; echo all'";
    let ran = p.run(fork);
    assert!(ran.err.contains("fork") && !ran.out.contains("all"), "{ran:?}");
    p.ok("set 101 --numproc 100 --save");
    // Does not pay: disabled and stopped, whoever tries to start it.
    p.ok("set 101 --disabled yes --save");
    p.ok("stop 101 --fast");
    assert_eq!(p.status(101), "exist unmounted down");
    for start in ["start 101", "restart 101", "restart 101 --wait"] {
        p.ends(105, start);
    }
    p.h.fails(4, &["start", "101"]);
    p.h.fails(4, &["restart", "101"]);
    let boot = p.h.run(&["boot"]);
    assert!(boot.err.contains("disabled"), "{boot:?}");
    assert_eq!(p.h.state("101"), "stopped");
    p.ok("start 101 --force");
    p.ends(32, "destroy 101");
    // What couldn't be started again is not stopped.
    p.ends(105, "restart 101");
    assert_eq!(p.status(101), "exist mounted running");
    p.ok("stop 101");
    p.ok("set 101 --disabled no --save");
    p.ok("start 101");
    p.ok("stop 101");
    p.ok("destroy 101");
    assert_eq!(p.status(101), "deleted unmounted down");
    assert!(!p.h.dir.join("etc/vz/conf/101.conf").exists());
    p.ends(14, "start 101");
}

/// Codes and output of what runs inside.
#[test]
fn commands_inside_end_as_scripts_expect() {
    let p = Panel::new();
    p.ok("create 101 --ostemplate busybox");
    for verb in ["exec", "exec2", "exec3"] {
        p.ends(31, &format!("{verb} 101 true"));
    }
    p.ends(31, "enter 101");
    p.ok("start 101 --wait");
    p.ends(8, "exec 101 exit 3");
    p.ends(3, "exec2 101 exit 3");
    p.ends(1, "exec3 101 false");
    assert_eq!(p.ok("exec 101 echo $HOME $TERM"), "/ linux");
    assert_eq!(p.ok("exec3 101 echo '$HOME  x'"), "$HOME  x");
    let mut child = p.command(&["exec2", "101", "-"]);
    let fed = {
        use std::io::Write;
        let mut child = child
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"echo one\necho two\nexit 5\n")
            .unwrap();
        child.wait_with_output().unwrap()
    };
    assert_eq!(
        (fed.status.code(), fed.stdout.as_slice()),
        (Some(5), &b"one\ntwo\n"[..])
    );
    assert!(p.ok("enter 101 --exec echo within").contains("within"));
    p.h.write("setup.sh", "#!/bin/sh\necho \"I am $(hostname) $1\"\nexit 4\n");
    let script = p.h.dir.join("setup.sh").display().to_string();
    assert_eq!(p.ends(4, &format!("runscript 101 {script} x")), "I am ct101 x");
    p.ok("stop 101");
    // Also of one that is stopped, and it is stopped again.
    assert!(p.ends(4, &format!("runscript 101 {script} y")).contains("I am ct101 y"));
    assert_eq!(p.status(101), "exist unmounted down");
    p.ok("mount 101");
    p.ends(4, &format!("runscript 101 {script} z"));
    p.ok("mount 101");
    p.ok("set 101 --userpasswd daemon:secret");
    p.ends(21, "set 101 --userpasswd root:");
    p.ok("start 101");
    p.ok("exec2 101 'grep ^daemon:.6 /etc/shadow'");
}

/// What libvirt's driver asks, in its order.
#[test]
fn libvirt_finds_its_way() {
    let p = Panel::new();
    assert_eq!(p.ok("--help").lines().next(), Some("vzctl version 4.11.1"));
    p.h.write(
        "etc/networks/lan.toml",
        "kind = \"bridge\"\npools = [\"10.9.0.0/24\"]\n",
    );
    p.ok("--quiet create 110 --name vm1 --ostemplate busybox");
    assert_eq!(
        p.ok("--quiet set 110 --netif_add eth0,02:00:00:00:00:10,veth110.0,02:00:00:00:00:11,lan --save"),
        ""
    );
    p.ok("--quiet set 110 --cpus 1 --save");
    p.ok("--quiet start 110");
    assert!(
        p.ok("exec2 vm1 cat /sys/class/net/eth0/address")
            .contains("02:00:00:00:00:10")
    );
    p.ok("--quiet chkpnt 110 --suspend");
    assert_eq!(p.status(110), "exist mounted paused");
    p.ok("--quiet chkpnt 110 --resume");
    assert_eq!(p.status(110), "exist mounted running");
    p.ok("--quiet restart 110");
    assert!(
        p.conf(110)
            .contains("NETIF=\"ifname=eth0,bridge=lan,mac=02:00:00:00:00:10"),
        "{}",
        p.conf(110)
    );
    p.ok("--quiet stop 110");
    p.ok("--quiet destroy vm1");
    p.ends(21, "status vm1");
}

/// One `set` for each option, names, and what needs a restart.
#[test]
fn an_option_at_a_time() {
    let p = Panel::new();
    p.ok("create 120 --ostemplate busybox");
    p.ok("create 121 --ostemplate busybox --ipadd 10.77.0.61");
    for option in [
        "--name Owp_1",
        "--description 'made by a panel'",
        "--ipdel all",
        "--ipadd 10.77.0.60",
        "--diskspace 153600:163840",
        "--cpuunits 1000",
        "--cpulimit 50",
        "--netfilter full",
        "--numfile 9312",
    ] {
        p.ok(&format!("set 120 {option} --save"));
    }
    p.ok("start Owp_1 --wait");
    assert_eq!(p.status(120), "exist mounted running");
    // Live: another address, and another than before.
    p.ok("set 120 --ipadd 10.77.0.62 --save");
    assert!(p.ok("exec2 120 ip addr").contains("10.77.0.62"));
    p.ok("set 120 --ipdel all --ipadd 10.77.0.63 --save");
    let addresses = p.ok("exec2 120 ip addr");
    assert!(
        addresses.contains("10.77.0.63") && !addresses.contains("10.77.0.62"),
        "{addresses}"
    );
    p.ends(78, "set 120 --ipadd 10.77.0.61 --save");
    p.ends(89, "set 120 --ipadd 192.0.2.1 --save");
    p.ends(131, "set 121 --name Owp_1 --save");
    p.ends(109, "set 121 --applyconfig none-such --save");
    // Its plan grants no tun.
    p.ends(86, "set 121 --devnodes net/tun:rw --save");
    // Nothing of a change that is refused in part.
    p.ends(13, "set 120 --onboot yes --capability sys_time:on --save");
    assert!(p.conf(120).contains("ONBOOT=\"no\""));
    // What waits is saved and told, or done at once.
    let told = p.ok("set 120 --hostname other --save");
    assert!(told.contains("hostname") && told.contains("next start"), "{told}");
    p.ok("set 120 --hostname third --setmode restart --save");
    assert_eq!(p.ok("exec2 120 hostname"), "third");
    // Also what an earlier command has left waiting; and only then.
    p.ok("set 120 --hostname fourth --save");
    p.ok("set 120 --onboot yes --setmode restart --save");
    assert_eq!(p.ok("exec2 120 hostname"), "fourth");
    p.ok("exec2 120 touch /run/mark");
    p.ok("set 120 --onboot no --setmode restart --save");
    p.ok("exec2 120 test -e /run/mark");
    p.ok("set 120 --userpasswd root:first");
    let shadow = || p.ok("exec2 120 'grep ^root: /etc/shadow'");
    let first = shadow();
    assert!(first.starts_with("root:$6$"), "{first}");
    let without = p.ok("set 120 --cpulimit 60");
    assert!(without.contains("without --save"), "{without}");
    let conf = p.conf(120);
    for line in [
        "NAME=\"Owp_1\"",
        "NETFILTER=\"full\"",
        "NUMFILE=\"9312\"",
        "CPULIMIT=\"60\"",
    ] {
        assert!(conf.contains(line), "{line} is not in\n{conf}");
    }
    p.ok("stop 120");
    p.ok("set 120 --userpasswd root:second");
    p.ok("start 120");
    assert_ne!(shadow(), first);
}

/// A panel's way to a VPN: capability, device node, and a node made inside; where the plan grants it.
#[test]
fn a_tunnel_is_granted_by_the_plan() {
    let p = Panel::new();
    if !std::path::Path::new("/dev/net/tun").exists() {
        println!("skipped because this host has no /dev/net/tun");
        return;
    }
    let plan = p.h.read("etc/plans/test.toml");
    p.h.write("etc/plans/vpn.toml", &format!("{plan}[features]\ntun = true\n"));
    p.ok("create 125 --ostemplate busybox --config vpn");
    p.ok("set 125 --devnodes net/tun:none --save");
    p.ok("start 125 --wait");
    p.ends(1, "exec2 125 test -c /dev/net/tun");
    p.ok("set 125 --capability net_admin:on --devnodes net/tun:rw --setmode restart --save");
    p.ok("exec2 125 test -c /dev/net/tun");
    let conf = p.conf(125);
    assert!(
        conf.contains("DEVNODES=\"net/tun:rw\"") && conf.contains("FEATURES=\"tun:on\""),
        "{conf}"
    );
}

/// Panels call at once, and try again where they are told that somebody else is at work: nothing gets lost.
#[test]
fn addresses_that_are_added_at_once_are_all_there() {
    let p = Panel::new();
    p.ok("create 126 --ostemplate busybox");
    std::thread::scope(|scope| {
        for n in 71..75 {
            let add = format!("set 126 --ipadd 10.77.0.{n} --save");
            let p = &p;
            scope.spawn(move || {
                p.h.until("it is its turn", 30, || match p.run(&add) {
                    Ran { code: 9, .. } => false,
                    Ran { code: 0, .. } => true,
                    ran => panic!("{add}: {ran:?}"),
                });
            });
        }
    });
    let conf = p.conf(126);
    assert!((71..75).all(|n| conf.contains(&format!("10.77.0.{n}"))), "{conf}");
}

/// Addresses that were saved by others and wait for a start are kept by who adds one, and can be taken away.
#[test]
fn addresses_that_wait_are_not_lost() {
    let p = Panel::new();
    p.ok("create 127 --ostemplate busybox --ipadd 10.77.0.80");
    p.ok("start 127");
    let file = "etc/ve/ct127.toml";
    let by_hand =
        p.h.read(file)
            .replace("10.77.0.80\"", "10.77.0.80\", \"10.77.0.81\", \"10.77.0.82\"");
    p.h.write(file, &by_hand);
    p.ok("set 127 --ipadd 10.77.0.83 --ipdel 10.77.0.82");
    let inside = p.ok("exec2 127 ip addr");
    let told = p.conf(127);
    for n in [80, 81, 83] {
        let address = format!("10.77.0.{n}");
        assert!(
            inside.contains(&address) && told.contains(&address),
            "{n}: {inside}\n{told}"
        );
    }
    assert!(
        !inside.contains("10.77.0.82") && !told.contains("10.77.0.82"),
        "{inside}\n{told}"
    );
}

/// A switch that is closed for the next start does not keep what runs from being suspended and going on.
#[test]
fn what_was_open_when_it_was_suspended_is_open_when_it_goes_on() {
    let Some(h) = House::with_criu() else { return };
    let p = Panel::of(h);
    if !std::path::Path::new("/dev/net/tun").exists() {
        println!("skipped because this host has no /dev/net/tun");
        return;
    }
    let plan = p.h.read("etc/plans/test.toml");
    p.h.write("etc/plans/vpn.toml", &format!("{plan}[features]\ntun = true\n"));
    p.ok("create 141 --ostemplate busybox --config vpn");
    p.ok("start 141 --wait");
    p.ok("exec2 141 touch /run/mark");
    // While it runs, and while it is suspended; after a resume as after a start.
    p.ok("set 141 --devnodes net/tun:none --save");
    for _ in 0..2 {
        p.ok("suspend 141");
        p.ok("set 141 --devnodes net/tun:none --save");
        p.ok("resume 141");
        p.ok("exec2 141 'test -e /run/mark && test -c /dev/net/tun'");
    }
    p.ok("set 141 --onboot no --setmode restart --save");
    p.ends(1, "exec2 141 test -c /dev/net/tun");
}

#[test]
fn a_host_without_hostel_is_code_10() {
    let p = Panel::new();
    let mut command = p.command(&["start", "101"]);
    let ran: Ran = command
        .env("HOSTEL_CONFIG", "/nowhere/hostel.toml")
        .output()
        .unwrap()
        .into();
    assert!(ran.code == 10 && ran.err.contains("hostel init"), "{ran:?}");
}

/// Checks that a wrapper of migrations makes, and the states in between.
#[test]
fn states_are_told_by_code() {
    let p = Panel::new();
    p.ok("create 130 --ostemplate busybox");
    p.ok("stop 130");
    p.ends(40, "umount 130");
    let told = p.ok("mount 130");
    let root = told.rsplit(' ').next().unwrap();
    assert!(std::path::Path::new(root).join("bin").exists(), "{told}");
    assert_eq!(p.status(130), "exist mounted down");
    p.ok("mount 130");
    p.ends(41, "destroy 130");
    p.ok("umount 130");
    p.ok("mount 130");
    // A start puts away what is mounted.
    p.ok("start 130 --wait");
    p.ends(32, "start 130");
    p.ends(32, "mount 130");
    p.ends(32, "umount 130");
    p.ok("compact 130");
    p.ends(156, "snapshot 130");
    p.ok("snapshot-list 130 -H");
    // Somebody else is at work on it; looking is always possible.
    p.h.sh("130", "printf '#!/bin/sh\\nsleep 1000\\n' > /etc/init.d/rcK");
    let holder = p.h.spawn(&["stop", "130", "--timeout", "4s"]);
    p.h.until("it is held", 10, || p.run("resume 130 --resume").code == 9);
    for busy in ["stop 130", "set 130 --onboot yes --save", "chkpnt 130 --suspend"] {
        p.ends(9, busy);
    }
    assert_eq!(p.status(130), "exist mounted running");
    assert_eq!(end_of(holder).code, 0);
    p.ends(94, "reinstall 130");
    p.ok("start 130");
    p.ok("exec2 130 'touch /root/mine; rm /etc/init.d/rcK'");
    p.ok("stop 130");
    p.ok("reinstall 130 --skipbackup");
    p.ok("start 130");
    p.ends(1, "exec2 130 'test -e /root/mine'");
    p.ok("stop 130");
}

/// Suspended to disk and back, as a live migration does.
#[test]
fn what_runs_is_saved_and_goes_on() {
    let Some(h) = House::with_criu() else { return };
    let p = Panel::of(h);
    p.ok("create 140 --ostemplate busybox --ipadd 10.77.0.90");
    p.ok("start 140 --wait");
    p.ok("exec2 140 'echo kept > /run/mark'");
    p.ok("chkpnt 140");
    assert_eq!(p.status(140), "exist unmounted down suspended");
    p.ends(31, "exec 140 true");
    p.ok("restore 140");
    assert_eq!(p.ok("exec2 140 cat /run/mark"), "kept");
    p.ok("suspend 140");
    p.ok("start 140");
    assert_eq!(p.ok("exec2 140 cat /run/mark"), "kept");
    p.ends(21, "suspend 140 --dumpfile /tmp/x");
    // Nothing is done in it while it is suspended that would end what was saved.
    p.ok("suspend 140");
    p.h.write("setup.sh", "true\n");
    let script = p.h.dir.join("setup.sh").display().to_string();
    p.ends(31, &format!("runscript 140 {script}"));
    p.ends(31, "set 140 --userpasswd daemon:secret --onboot yes");
    p.ok("set 140 --userpasswd root:secret");
    assert!(p.conf(140).contains("ONBOOT=\"no\""));
    // An address that was given to it meanwhile is not lost by the next one.
    let told = p.ok("set 140 --ipadd 10.77.0.91 --save");
    assert!(told.contains("a resume is not enough"), "{told}");
    p.ok("resume 140");
    assert_eq!(p.ok("exec2 140 cat /run/mark"), "kept");
    p.ok("set 140 --ipadd 10.77.0.92 --save");
    let inside = p.ok("exec2 140 ip addr");
    assert!((90..93).all(|n| inside.contains(&format!("10.77.0.{n}"))), "{inside}");
}
