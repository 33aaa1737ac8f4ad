//! The console of a VE, and its log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;

use std::process::{Child, Stdio};

use house::{House, Talk};

fn console(h: &House, ve: &str) -> Talk {
    let child: Child = h
        .command(&["console", ve])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Talk::new(child)
}

#[test]
fn one_talks_to_the_guest_and_leaves_it_running() {
    let h = House::new();
    h.busybox("web1");
    let mut talk = console(&h, "web1");
    talk.say("\r");
    talk.hear("# ");
    talk.say("echo $((6*7))-$(hostname)\r");
    talk.hear("42-web1");
    // Ctrl-A goes to the guest if another key follows; q after it leaves.
    talk.say("\x01q");
    assert_eq!(talk.end().code, 0);
    assert_eq!(h.state("web1"), "running");
    // Two at once see the same.
    let (mut one, two) = (console(&h, "web1"), console(&h, "web1"));
    h.until("both are there", 10, || {
        one.say("echo s$((1+1))n\r");
        std::thread::sleep(std::time::Duration::from_millis(50));
        two.heard().contains("s2n")
    });
    one.hear("s2n");
}

#[test]
fn on_a_terminal_too() {
    let h = House::new();
    h.busybox("web1");
    let ran = h.on_terminal(
        &["console", "web1"],
        &[("", "\r"), ("# ", "echo 4$((1+1))\r"), ("42", "\x01q")],
    );
    assert_eq!(ran.code, 0, "{}", ran.out);
}

#[test]
fn it_can_be_opened_before_the_ve_and_stays_over_restarts() {
    let h = House::new();
    house::template("busybox");
    h.ok(&["create", "web1", "--template", "busybox"]);
    let mut talk = console(&h, "web1");
    h.ok(&["start", "web1"]);
    talk.hear("activate this console");
    talk.say("\r");
    talk.hear("# ");
    talk.say("echo first-$((1+1))\r");
    talk.hear("first-2");
    h.ok(&["restart", "web1"]);
    h.until("the second boot is seen", 30, || {
        talk.heard().matches("activate this console").count() >= 2
    });
    talk.say("\r");
    talk.say("echo second-$((1+1))\r");
    talk.hear("second-2");
    h.ok(&["stop", "web1"]);
    talk.say("\x01q");
    assert_eq!(talk.end().code, 0);
}

#[test]
fn the_log_keeps_what_was_said_also_after_the_end() {
    let h = House::new();
    h.busybox("web1");
    h.sh("web1", "echo said-$((1+1)) > /dev/console");
    h.until("it is in the log", 10, || h.ok(&["log", "web1"]).contains("said-2"));
    h.ok(&["stop", "web1"]);
    let log = h.ok(&["log", "web1"]);
    assert!(log.contains("said-2"), "{log}");
    h.ok(&["start", "web1"]);
    h.sh(
        "web1",
        "printf '\\033]0;title\\007\\033[31mred\\033[0m plain-$((1+1))\\n' > /dev/console",
    );
    h.until("that too", 10, || h.ok(&["log", "web1"]).contains("red\x1b[0m plain-"));
    assert!(
        h.ok(&["log", "web1"]).contains("said-2"),
        "the first boot's part is gone"
    );
    // A guest can't steer the terminal that its log is shown on, unless that is asked for.
    let shown = h.on_terminal(&["log", "web1"], &[]).out;
    assert!(shown.contains("\x1b[31mred") && !shown.contains("title"), "{shown:?}");
    assert!(
        h.on_terminal(&["log", "--raw", "web1"], &[])
            .out
            .contains("\x1b]0;title")
    );
    h.fails(3, &["log", "nobody"]);
    h.fails(3, &["console", "nobody"]);
}

#[test]
fn a_guest_that_floods_its_console_costs_no_more_than_the_log_size() {
    let h = House::new();
    let settings = h.read("hostel.toml");
    h.write("hostel.toml", &format!("{settings}\n[console]\nlog_size = \"64KiB\"\n"));
    h.busybox("web1");
    h.sh(
        "web1",
        "(head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end-of-flood) > /dev/console",
    );
    h.until("the last line is there", 60, || {
        h.ok(&["log", "web1"]).contains("end-of-flood")
    });
    let bytes: u64 = std::fs::read_dir(h.run.join("101"))
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.file_name().to_string_lossy().contains("log"))
        .map(|e| e.metadata().unwrap().len())
        .sum();
    assert!(bytes <= 64 << 10, "{bytes}");
}
