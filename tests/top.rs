//! `hostel top` on a real terminal, by what is on its screen, with real VEs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // it is all test

mod house;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use house::House;
use rustix::process::Signal;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// A program on a terminal whose screen is kept.
struct Screen {
    child: Child,
    /// Our end of the terminal, and the program's, which is kept open so that it can be looked at.
    ours: File,
    theirs: OwnedFd,
    shown: Arc<Mutex<vt100::Parser>>,
}

impl Screen {
    fn new(h: &House, args: &[&str], (width, height): (u16, u16)) -> Self {
        let nix::pty::OpenptyResult {
            master: ours,
            slave: theirs,
        } = nix::pty::openpty(None, None).unwrap();
        let open = || theirs.try_clone().unwrap();
        size(&theirs, width, height);
        let inner = h.command(&[&["top"], args].concat());
        // The terminal is its controlling one, as it is of a shell's.
        let mut command = std::process::Command::new("setsid");
        command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
        let child = command
            .env("TERM", "xterm")
            .env("LC_ALL", "C")
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .unwrap();
        let shown = Arc::new(Mutex::new(vt100::Parser::new(height, width, 0)));
        let (parser, mut from) = (Arc::clone(&shown), File::from(ours.try_clone().unwrap()));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                parser.lock().unwrap().process(&buffer[..n]);
            }
        });
        Self {
            child,
            ours: File::from(ours),
            theirs,
            shown,
        }
    }

    fn text(&self) -> String {
        self.shown.lock().unwrap().screen().contents()
    }

    #[track_caller]
    fn until(&self, what: &str, condition: impl Fn(&str) -> bool) {
        let end = std::time::Instant::now() + Duration::from_secs(30 * house::slowness());
        while !condition(&self.text()) {
            assert!(std::time::Instant::now() < end, "not {what}:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn shows(&self, text: &str) {
        self.until(&format!("{text:?} is shown"), |screen| screen.contains(text));
    }

    fn hit(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&self, width: u16, height: u16) {
        self.shown.lock().unwrap().screen_mut().set_size(height, width);
        size(&self.theirs, width, height);
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.theirs)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON)
    }

    /// It ends soon, with this code, and the terminal is as it was: lines, echo, the cursor, the first screen.
    #[track_caller]
    fn ends(mut self, code: i32) -> String {
        let mut end = None;
        house::until("it ends", 30, || {
            end = self.child.try_wait().unwrap();
            end.is_some()
        });
        assert_eq!(end.unwrap().code(), Some(code), "{}", self.text());
        assert!(!self.is_raw(), "the terminal is raw");
        assert!(tcgetattr(&self.theirs).unwrap().local_modes.contains(LocalModes::ECHO));
        self.until("the first screen is back, with a cursor", |_| {
            let parser = self.shown.lock().unwrap();
            !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
        });
        self.text()
    }

    /// setsid and nsenter have become it.
    fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(terminal: impl AsFd, width: u16, height: u16) {
    let size = Winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}

fn used_cpu(line: &str) -> f64 {
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn who_uses_what_is_on_the_screen_and_keys_change_it() {
    let h = House::new();
    h.write("etc/tenants/acme.toml", "");
    h.busybox_with("burner", &["cpu.cap=0.3", "tenant=acme"]);
    h.busybox("idle");
    h.sh("burner", "(while :; do :; done) >/dev/null 2>&1 </dev/null &");
    let mut top = Screen::new(&h, &["1s"], (80, 24));
    top.until("the burner burns", |text| {
        text.lines()
            .any(|l| l.starts_with("burner ") && (0.1..0.4).contains(&used_cpu(l)))
    });
    println!("at 80 columns:\n{}", top.text());
    let text = top.text();
    let order: Vec<&str> = text
        .lines()
        .skip(3)
        .take(4)
        .map(|l| l.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(order, ["[total]", "[system]", "burner", "idle"], "{text}");
    assert!(text.lines().last().unwrap().starts_with("q leave  ? keys"), "{text}");
    // By memory the other one is first, as soon as it has a file in it.
    h.sh(
        "idle",
        "mount -t tmpfs none /mnt && dd if=/dev/zero of=/mnt/file bs=1M count=30 2>/dev/null",
    );
    top.hit("M");
    top.until("the largest memory is first", |text| {
        let first = text.lines().nth(5).unwrap_or_default();
        let megabytes = first
            .split_whitespace()
            .nth(5)
            .and_then(|m| m.strip_suffix('M')?.parse::<f64>().ok());
        first.starts_with("idle") && megabytes > Some(29.0) && text.contains("sorted by memory")
    });
    // Wider, and back: all of it is drawn for the new size.
    top.resize(200, 40);
    top.until("it is 200 wide", |text| {
        text.contains("%HOST") && text.lines().count() == 40
    });
    println!("at 200 columns:\n{}", top.text());
    top.hit("\t");
    top.shows("WEIGHT");
    top.hit("\x1b[Z");
    top.resize(80, 12);
    top.until("it is 12 high", |text| {
        text.lines().count() == 12 && text.lines().last().unwrap().starts_with("q leave")
    });
    // Only those of a tenant.
    top.hit("tacme\r");
    top.until("the other's is gone", |text| {
        text.contains("tenants: acme") && !text.contains("idle")
    });
    // Its processes: what burns is first.
    top.hit("\r");
    top.shows("Processes of burner");
    top.until("the shell burns", |text| {
        let first = text
            .lines()
            .nth(3)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        first.len() >= 9 && first[5].parse::<f64>().is_ok_and(|p| p > 5.0)
    });
    println!("processes:\n{}", top.text());
    let inside = h.sh("burner", "echo $$");
    assert!(inside.parse::<u32>().is_ok());
    top.hit("\x1b");
    top.shows("tenants: acme");
    top.resize(80, 24);
    top.hit("?");
    top.shows("stop the VE, after a question");
    top.hit(" ");
    top.until("the list is back", |text| text.contains("[total]"));
    top.hit("q");
    top.ends(0);
}

#[test]
fn a_ve_is_paused_goes_on_and_is_stopped_after_a_yes() {
    let h = House::new();
    h.busybox("web1");
    let mut top = Screen::new(&h, &["500ms"], (80, 24));
    top.until("it is there", |text| text.lines().any(|l| l.starts_with("web1 ")));
    top.hit("p");
    top.shows("web1 (paused)");
    assert_eq!(h.state("web1"), "paused");
    // One that stands still hangs nobody: its figures and processes are shown all the same.
    top.hit("\r");
    top.until("its processes are shown", |text| {
        text.contains("Processes of web1") && text.contains("INSIDE")
    });
    top.hit("\x1b");
    top.shows("web1 (paused)");
    top.hit("p");
    top.until("it goes on", |text| {
        text.lines().any(|l| l.starts_with("web1 ") && !l.contains("paused"))
    });
    assert_eq!(h.state("web1"), "running");
    top.hit("x");
    top.shows("Stop web1? y stops it");
    top.hit("n");
    top.shows("web1 runs on");
    assert_eq!(h.state("web1"), "running");
    top.hit("xy");
    top.until("it is gone", |text| text.contains("web1: stopped"));
    assert_eq!(h.state("web1"), "stopped");
    top.hit("\x03");
    top.ends(0);
}

#[test]
fn the_terminal_is_as_it_was_however_it_ends() {
    let h = House::new();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let top = Screen::new(&h, &[], (80, 24));
        top.shows("[total]");
        assert!(top.is_raw());
        rustix::process::kill_process(top.pid(), signal).unwrap();
        top.ends(0);
    }
}

#[test]
fn what_was_begun_is_finished_though_one_leaves() {
    let h = House::new();
    h.busybox("web1");
    let mut top = Screen::new(&h, &[], (80, 24));
    top.until("it is there", |text| text.lines().any(|l| l.starts_with("web1 ")));
    top.hit("xyq");
    let text = top.ends(0);
    assert!(text.contains("web1: stopped"), "{text}");
    assert_eq!(h.state("web1"), "stopped");
}

#[test]
fn without_a_terminal_there_is_a_hint() {
    let h = House::new();
    let said = h.fails(2, &["top"]);
    assert!(
        said.contains("hostel top needs a terminal") && said.contains("hostel stat"),
        "{said}"
    );
}
