//! The host's boot and shutdown, as far as they are ours: which VEs start, in which order, and how all end.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::time::{Duration, Instant};

use house::{House, template};

/// VEs of busybox that don't run yet.
fn make(house: &House, name: &str, settings: &[&str]) {
    template("busybox");
    let mut args = vec!["create", name, "--template", "busybox"];
    for setting in settings {
        args.extend(["--set", setting]);
    }
    house.ok(&args);
}

/// Seconds since the host's boot at which its init began, in hundredths.
fn began(house: &House, ve: &str) -> u64 {
    let pid = house.status(ve, "pid").as_u64().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(19).unwrap().parse().unwrap()
}

#[test]
fn a_boot_starts_what_is_onboot_and_a_shutdown_ends_all() {
    let house = House::new();
    make(&house, "web", &["onboot=true"]);
    make(&house, "db", &["onboot=true", "priority=100"]);
    make(&house, "spare", &[]);
    let said = house.run(&["boot"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err.contains("web: started") && said.err.contains("db: started"),
        "{}",
        said.err
    );
    assert!(began(&house, "db") <= began(&house, "web"));
    assert_eq!(house.state("spare"), "stopped");
    // Again: all run, and that is no failure.
    let init = house.status("web", "pid");
    let said = house.run(&["boot"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("web: is running already"), "{}", said.err);
    assert_eq!(house.status("web", "pid"), init);

    house.ok(&["start", "spare"]);
    house.ok(&["pause", "spare"]);
    let said = house.run(&["shutdown"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for ve in ["web", "db", "spare"] {
        assert_eq!(house.state(ve), "stopped", "{}", said.err);
    }
    let said = house.run(&["shutdown"]);
    assert_eq!((said.code, said.err.trim()), (0, "no VE runs"));
    // Nothing is remembered of what ran: only what is onboot comes back.
    house.ok(&["boot"]);
    assert_eq!(house.state("spare"), "stopped");
    assert_eq!(house.state("web"), "running");
}

#[test]
fn a_higher_priority_ends_when_all_others_have() {
    let house = House::new();
    make(&house, "web", &[]);
    make(&house, "db", &["priority=100"]);
    house.ok(&["start", "--all"]);
    // Each writes down when it ended, by the clock of the host; the first one is slow.
    let last = "cut -d. -f1 /proc/uptime >/ended; sync";
    house.sh("web", &format!("sed -i 's,^sync$,sleep 2; {last},' /etc/init.d/rcK"));
    house.sh("db", &format!("sed -i 's,^sync$,{last},' /etc/init.d/rcK"));
    house.ok(&["shutdown"]);
    house.ok(&["start", "--all"]);
    let ended = |ve: &str| house.sh(ve, "cat /ended").parse::<u64>().unwrap();
    assert!(ended("web") <= ended("db"), "{} and {}", ended("web"), ended("db"));
}

#[test]
fn one_that_cant_start_stops_no_other() {
    let house = House::new();
    make(&house, "bad", &["onboot=true", "priority=9"]);
    make(&house, "good", &["onboot=true"]);
    // Without an init there is nothing to run.
    house.in_mounted_root("bad", |root| {
        for init in ["sbin/init", "etc/init", "bin/init"] {
            std::fs::remove_file(root.join(init)).ok();
        }
    });
    let said = house.run(&["boot"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("good: started"), "{}", said.err);
    assert_eq!(house.state("bad"), "stopped");
    let json = house.run(&["boot", "--json"]);
    let lines: Vec<serde_json::Value> = json.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{}", json.out);
    let of = |ve: &str| lines.iter().find(|line| line["name"] == ve).unwrap();
    assert_eq!(of("bad")["ok"], false);
    assert_eq!(of("good")["done"], "is running already");
}

#[test]
fn whoever_does_not_shut_down_is_killed_in_time() {
    let house = House::new();
    make(&house, "deaf", &["stop.timeout=10m"]);
    make(&house, "well", &["stop.timeout=10m"]);
    house.ok(&["start", "--all"]);
    // An init that has stopped hears nothing. It can't be stopped from inside, so the host does it.
    let pid = house.status("deaf", "pid").as_u64().unwrap();
    house.host_sh(&format!("kill -STOP {pid}"));
    let begun = Instant::now();
    let said = house.run(&["shutdown", "--timeout", "5s"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    assert!(
        said.err
            .contains("deaf: note: it did not shut down in time and was killed"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("well: note"), "{}", said.err);
    assert_eq!(house.state("deaf"), "stopped");
}

/// On a host without CRIU, a VE that is to be suspended is not killed with it, and runs again afterwards.
#[test]
fn what_cant_be_suspended_is_stopped() {
    let house = House::new();
    let settings = house.read("hostel.toml");
    house.write(
        "hostel.toml",
        &format!("{settings}[criu]\nprogram = \"/nonexistent/criu\"\n"),
    );
    make(&house, "web", &["stop.mode=suspend", "onboot=true"]);
    house.ok(&["boot"]);
    let said = house.run(&["shutdown"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(house.state("web"), "stopped");
    assert!(
        said.err.contains("note: it is stopped instead of suspended"),
        "{}",
        said.err
    );
    house.ok(&["boot"]);
    assert_eq!(house.state("web"), "running");
}

/// However long a dump takes, the host goes down in time, and what could not be saved has shut down.
#[test]
fn what_takes_too_long_to_suspend_is_stopped_in_time() {
    let Some(house) = House::with_criu() else { return };
    make(&house, "web", &["stop.mode=suspend", "stop.timeout=10m"]);
    house.ok(&["start", "web"]);
    house.sh("web", "sed -i 's,^sync$,echo well >/ended; sync,' /etc/init.d/rcK");
    house.slow_down_criu("sleep 600");
    let begun = Instant::now();
    let said = house.run(&["shutdown", "--timeout", "20s"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(
        said.err.contains("note: it is stopped instead of suspended") && said.err.contains("its time is over"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("was killed"), "{}", said.err);
    assert_eq!(house.state("web"), "stopped");
    assert!(house.audit().is_empty(), "{:?}", house.audit());
    house.ok(&["start", "web"]);
    assert_eq!(house.sh("web", "cat /ended"), "well");
}

#[test]
fn what_the_shutdown_suspends_goes_on_with_the_boot() {
    let Some(house) = House::with_criu() else { return };
    // That the shutdown has suspended it is enough to have it run again.
    let both = ["web", "db"];
    for ve in both {
        make(&house, ve, &["stop.mode=suspend"]);
        house.ok(&["start", ve]);
        // In memory alone: a boot of the VE would not bring it back.
        house.sh(ve, "echo kept >/dev/shm/kept");
    }
    for _ in 0..2 {
        let said = house.run(&["shutdown"]);
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(
            both.iter().all(|ve| said.err.contains(&format!("{ve}: suspended"))),
            "{}",
            said.err
        );
        let said = house.run(&["boot"]);
        assert_eq!(said.code, 0, "{}", said.err);
        for ve in both {
            assert_eq!(house.state(ve), "running");
            assert_eq!(house.sh(ve, "cat /dev/shm/kept"), "kept");
        }
    }
}

#[test]
fn a_boot_can_be_interrupted_and_done_again() {
    let house = House::new();
    for n in 0..4 {
        make(&house, &format!("ve{n}"), &["onboot=true", &format!("priority={n}")]);
    }
    let boot = house.spawn(&["boot"]);
    house.until("the first runs", 20, || house.state("ve3") == "running");
    house::signal(&boot, rustix::process::Signal::TERM);
    let code = boot.wait_with_output().unwrap().status.code();
    assert!([Some(0), Some(130)].contains(&code), "{code:?}");
    house.ok(&["boot"]);
    for n in 0..4 {
        assert_eq!(house.state(&format!("ve{n}")), "running");
    }
}

/// After an update of the kernel nothing is given up unasked.
#[test]
fn a_boot_tells_of_what_another_kernel_cannot_go_on_with() {
    let Some(house) = House::with_criu() else { return };
    make(&house, "web", &["stop.mode=suspend"]);
    make(&house, "db", &["onboot=true"]);
    house.ok(&["start", "web"]);
    house.ok(&["shutdown"]);
    assert_eq!(house.state("web"), "suspended");
    let manifest = "data/ve/101/dump/manifest.toml";
    let text = house.read(manifest);
    let line = text.lines().find(|l| l.starts_with("kernel = ")).unwrap();
    house.write(manifest, &text.replace(line, "kernel = \"6.1.0-1-amd64\""));
    let said = house.run(&["boot"]);
    assert_eq!(said.code, 4, "{}", said.err);
    assert!(
        said.err.contains("suspended on Linux 6.1.0-1-amd64") && said.err.contains("hostel start --discard web"),
        "{}",
        said.err
    );
    assert_eq!(
        (house.state("web").as_str(), house.state("db").as_str()),
        ("suspended", "running")
    );
    house.write(manifest, &text);
    house.ok(&["boot"]);
    assert_eq!(house.state("web"), "running");
}
