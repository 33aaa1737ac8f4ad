//! The exit codes that `hostel help exit-codes` promises, and the words that come with them: bad input, two at once,
//! Ctrl-C.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::time::{Duration, Instant};

use house::{House, end_of, signal};
use rustix::process::Signal;

/// Nothing is left of a VE that could not be made.
fn nothing_of(h: &House, name: &str) {
    h.fails(3, &["status", name]);
    assert!(!h.dir.join(format!("etc/ve/{name}.toml")).exists());
    assert_eq!(h.audit(), Vec::<serde_json::Value>::new());
}

#[test]
fn what_does_not_exist_is_3_and_the_error_tells_what_there_is() {
    let h = House::new();
    h.busybox("web1");
    let create = |more: &[&str]| {
        let args: Vec<&str> = ["create", "new"].iter().chain(more).copied().collect();
        let err = h.fails(3, &args);
        nothing_of(&h, "new");
        err
    };
    let err = create(&["--template", "no-such"]);
    assert!(err.contains("no-such") && err.contains("busybox"), "{err}");
    assert!(create(&["--template", "busybox/19990101"]).contains("19990101"));
    let err = create(&["--template", "busybox", "--plan", "giant"]);
    assert!(err.contains("giant") && err.contains("small"), "{err}");
    let err = create(&["--template", "busybox", "--network", "moon"]);
    assert!(err.contains("moon") && err.contains("private"), "{err}");
    let err = create(&["--template", "busybox", "--tenant", "nobody"]);
    assert!(err.contains("nobody") && err.contains("default"), "{err}");
    create(&["--file", "/no/such/file.toml"]);
    for verb in [
        "start", "stop", "kill", "restart", "pause", "unpause", "destroy", "mount", "umount", "compact", "status",
    ] {
        let err = h.fails(3, &[verb, "web1", "gone"]);
        assert!(err.contains("gone") && err.contains("hostel list"), "{verb}: {err}");
    }
    assert_eq!(
        h.state("web1"),
        "running",
        "a name that doesn't exist stops all before anything is touched"
    );
    h.fails(3, &["show", "gone"]);
    h.fails(3, &["start", "999"]);
    h.fails(3, &["start", "--tenant", "nobody"]);
    h.fails(3, &["template", "show", "no-such"]);
    h.fails(3, &["template", "build", "no-such"]);
}

#[test]
fn nonsense_is_2() {
    let h = House::new();
    house::template("busybox");
    for name in ["", "UPPER", "-x", "a b", "a/b", "..", "1", "ä", &"x".repeat(64)] {
        h.fails(2, &["create", "--template", "busybox", "--", name]);
    }
    for bad in [
        "id=5",
        "memory.limit=-1",
        "memory.limit=10 potatoes",
        "cpu.cap=0",
        "colour=red",
        "network.0.addresses=300.1.2.3",
        "disk.size=0",
        "processes=none",
    ] {
        let err = h.fails(2, &["create", "new", "--template", "busybox", "--set", bad]);
        assert!(
            err.contains(bad.split('=').next().unwrap().split('.').next().unwrap()),
            "{bad}: {err}"
        );
        nothing_of(&h, "new");
    }
    // Every mistake of a file, each with its line.
    h.write("bad.toml", "id = 300\nname = \"bad\"\ntenant = \"default\"\ntemplate = \"busybox\"\nplan = 7\n[memory]\nlimit = \"x\"\nlimmit = 1\n");
    let file = h.dir.join("bad.toml");
    let err = h.fails(2, &["create", "--file", file.to_str().unwrap()]);
    for place in [":5:", ":7:", ":8:"] {
        assert!(err.contains(place), "{place} is not in\n{err}");
    }
    h.write("bad.toml", "id = \n");
    h.fails(2, &["create", "--file", file.to_str().unwrap()]);
    h.fails(2, &["create"]);
    h.fails(2, &["start"]);
    h.fails(2, &["start", "--all", "web1"]);
    h.fails(2, &["no-such-verb"]);
    h.fails(2, &["start", "x", "--timeout", "2s"]);
    assert_eq!(h.audit(), Vec::<serde_json::Value>::new());
}

#[test]
fn what_is_taken_or_outside_is_refused() {
    let h = House::new();
    h.busybox("web1");
    let make = |more: &[&str]| {
        let args: Vec<&str> = ["create", "new", "--template", "busybox"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        let ran = h.run(&args);
        nothing_of(&h, "new");
        (ran.code, ran.err)
    };
    let err = h.fails(4, &["create", "web1", "--template", "busybox"]);
    assert!(err.contains("web1"), "{err}");
    let (code, err) = make(&["--id", "101"]);
    assert!(code == 4 && err.contains("101"), "{code} {err}");
    let taken = h.status("web1", "addresses")[0].as_str().unwrap().to_owned();
    let (code, err) = make(&["--address", &taken]);
    assert!(
        code == 4 && err.contains(&taken) && err.contains("taken"),
        "{code} {err}"
    );
    let (code, err) = make(&["--address", "192.0.2.77"]);
    assert!(
        code == 2 && err.contains("192.0.2.77") && err.contains("private"),
        "{code} {err}"
    );
}

#[test]
fn a_tree_without_an_init_makes_no_template() {
    let h = House::with_own_templates();
    h.write("tree/etc/os-release", "ID=debian\n");
    h.write("tree/bin/sh", "");
    let tree = h.dir.join("tree");
    let ran = h.run(&["template", "import", "empty", tree.to_str().unwrap()]);
    assert!(ran.code != 0 && ran.err.contains("init"), "{ran:?}");
    assert_eq!(h.ok(&["template", "list", "-H"]), "");
}

#[test]
fn of_two_on_one_ve_the_second_says_who_holds_it() {
    let h = House::new();
    h.busybox("web1");
    h.sh("web1", "printf '#!/bin/sh\\nsleep 1000\\n' > /etc/init.d/rcK");
    let holder = h.spawn(&["stop", "web1", "--timeout", "6s"]);
    let begun = Instant::now();
    h.until("it is held", 10, || {
        h.run(&["--wait-lock", "0s", "unpause", "web1"]).code == 5
    });
    let err = h.fails(5, &["--wait-lock", "0s", "restart", "web1"]);
    assert!(err.contains("stop") && err.contains(&holder.id().to_string()), "{err}");
    // Looking is always possible.
    assert_eq!(h.state("web1"), "running");
    // Who waits long enough gets it.
    h.ok(&["--wait-lock", "60s", "start", "web1"]);
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(end_of(holder).code, 0);
    assert_eq!(h.state("web1"), "running");
}

#[test]
fn ctrl_c_undoes_a_create_and_says_so() {
    let h = House::new();
    house::template("debian-12");
    // A copy of its own takes long enough to be met under way.
    let child = h.spawn(&["create", "new", "--template", "debian-12", "--share", "none"]);
    h.until("it has begun", 20, || {
        std::fs::read_dir(h.dir.join("data/ve")).is_ok_and(|d| d.count() > 0)
    });
    signal(&child, Signal::INT);
    let ran = end_of(child);
    assert!(
        ran.code == 130 && ran.err.contains("interrupted"),
        "{} {}",
        ran.code,
        ran.err
    );
    nothing_of(&h, "new");
    h.ok(&["create", "new", "--template", "busybox"]);
}

#[test]
fn ctrl_c_while_waiting_for_the_boot_leaves_a_ve_that_runs() {
    let h = House::new();
    h.debian("d", "debian-12");
    let unit = "[Service]\\nType=oneshot\\nExecStart=/bin/sleep 1000\\n[Install]\\nWantedBy=multi-user.target\\n";
    h.sh(
        "d",
        &format!("printf '{unit}' > /etc/systemd/system/slow.service; systemctl enable slow.service 2>/dev/null"),
    );
    h.ok(&["stop", "d"]);
    let child = h.spawn(&["start", "d", "--wait"]);
    h.until("it runs", 20, || h.state("d") == "running");
    std::thread::sleep(Duration::from_millis(300)); // into the wait; before it the start is undone, which is right too
    // Twice, as a command gets it below timeout(1) or sudo(8).
    signal(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(1));
    signal(&child, Signal::INT);
    let begun = Instant::now();
    let ran = end_of(child);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(
        ran.code == 130 && ran.err.contains("interrupted"),
        "{} {}",
        ran.code,
        ran.err
    );
    assert!(ran.err.contains("runs"), "it doesn't say what became of d: {}", ran.err);
    assert_eq!(h.state("d"), "running");
    h.ok(&["kill", "d"]);
}

#[test]
fn ctrl_c_ends_a_stop_that_waits() {
    let h = House::new();
    h.busybox("web1");
    h.sh("web1", "printf '#!/bin/sh\\nsleep 1000\\n' > /etc/init.d/rcK");
    let child = h.spawn(&["stop", "web1", "--timeout", "50s"]);
    h.until("it is held", 10, || {
        h.run(&["--wait-lock", "0s", "unpause", "web1"]).code == 5
    });
    std::thread::sleep(Duration::from_millis(300)); // past the lock, into the wait
    signal(&child, Signal::INT);
    let ran = end_of(child);
    assert!(
        ran.code == 130 && ran.err.contains("interrupted"),
        "{} {}",
        ran.code,
        ran.err
    );
    h.ok(&["kill", "web1"]);
}

/// On a terminal Ctrl-C goes to all that runs in the foreground, not to the command alone.
#[test]
fn ctrl_c_typed_on_a_terminal() {
    let h = House::new();
    h.busybox("web1");
    h.sh("web1", "printf '#!/bin/sh\\nsleep 1000\\n' > /etc/init.d/rcK");
    for (verb, more) in [("stop", "--timeout=50s"), ("restart", "--timeout=50s")] {
        let ran = h.on_terminal(&[verb, "web1", more], &[("shutting down", "\x03")]);
        assert!(
            ran.code == 130 && ran.out.contains("interrupted"),
            "{verb}: {} {}",
            ran.code,
            ran.out
        );
        assert_eq!(h.state("web1"), "running");
        assert_eq!(h.audit(), Vec::<serde_json::Value>::new(), "{verb}");
        h.ok(&["kill", "web1"]);
        h.ok(&["start", "web1"]);
    }
}

/// What takes long in a template is done by other programs or in one go; it is given up all the same.
#[test]
fn ctrl_c_gives_up_a_template() {
    let h = House::with_own_templates();
    let nothing_stays = |ran: house::Ran, what: &str| {
        assert!(
            ran.code == 130 && ran.err.contains("interrupted"),
            "{what}: {} {}",
            ran.code,
            ran.err
        );
        assert_eq!(h.ok(&["template", "list", "-H"]), "", "{what}");
        assert_eq!(h.audit(), Vec::<serde_json::Value>::new(), "{what}");
    };
    // A tool that waits, and heeds no Ctrl-C of its own.
    let recipe = std::fs::read_to_string(house::images().join("busybox.toml")).unwrap();
    let waits = "trap '' INT TERM; echo x > /begun; while :; do sleep 1; done";
    h.write(
        "slow.toml",
        &format!("{recipe}\n[[run]]\nargv = [\"/bin/busybox\", \"sh\", \"-c\", \"{waits}\"]\n"),
    );
    let slow = h.dir.join("slow.toml");
    let child = h.spawn(&["template", "build", slow.to_str().unwrap()]);
    h.until("the tool runs", 20, || {
        !h.host_sh(&format!("find {} -name begun", h.dir.display())).is_empty()
    });
    signal(&child, Signal::INT);
    nothing_stays(end_of(child), "build");
    // An archive, in the middle of a file of 8 GiB.
    let large = h.dir.join("large");
    h.host_sh(&format!(
        "mkdir {0} && cd {0} && truncate -s 8G endless && tar -cf - endless 2>/dev/null | head -c 512 > large.tar && \
         truncate -s 8G large.tar",
        large.display()
    ));
    let child = h.spawn(&["template", "import", "large", large.join("large.tar").to_str().unwrap()]);
    h.until("it unpacks", 20, || {
        !h.host_sh(&format!("find {} -path '*.staging-*' -name endless", h.dir.display()))
            .is_empty()
    });
    signal(&child, Signal::INT);
    nothing_stays(end_of(child), "import");
}

#[test]
fn a_limit_is_6() {
    let h = House::new();
    house::template("busybox");
    h.write("etc/tenants/small.toml", "max_ves = 1\n");
    h.ok(&["create", "a", "--template", "busybox", "--tenant", "small"]);
    let err = h.fails(6, &["create", "b", "--template", "busybox", "--tenant", "small"]);
    assert!(err.contains("small") && err.contains("max_ves"), "{err}");
    nothing_of(&h, "b");
}

#[test]
fn for_several_the_worst_counts_and_none_stops_another() {
    let h = House::new();
    h.busybox("a");
    h.busybox("b");
    h.ok(&["stop", "b"]);
    h.ok(&["mount", "b"]);
    let ran = h.run(&["restart", "a", "b", "--json"]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    let rows: Vec<serde_json::Value> = ran.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of = |name: &str| rows.iter().find(|r| r["name"] == name).unwrap();
    assert_eq!((&of("a")["ok"], &of("b")["ok"]), (&true.into(), &false.into()));
    assert_eq!(of("b")["error"]["class"], "refused");
    assert_eq!(h.state("a"), "running");
    h.ok(&["umount", "b"]);
}

#[test]
fn the_table_is_documented() {
    let h = House::new();
    let help = h.ok(&["help", "exit-codes"]);
    for code in [
        "  0 ", "  1 ", "  2 ", "  3 ", "  4 ", "  5 ", "  6 ", "125 ", "126 ", "127 ", "130 ",
    ] {
        assert!(help.contains(code), "{code} is not in\n{help}");
    }
}
