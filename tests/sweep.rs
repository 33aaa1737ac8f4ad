//! Kill sweeps: a command is ended by SIGKILL (or made to fail) at every place of every verb, and afterwards the next
//! command on that VE works without repair, nothing is left over, and other VEs have not noticed.
//!
//! Run with: `cargo test -p hostel --features crash-points --test sweep`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test
#![cfg(feature = "crash-points")]

mod house;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use house::{House, Ran, template};

/// How a VE is before the command under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Absent,
    Stopped,
    Running,
    Mounted,
    Suspended,
}

impl Before {
    fn state(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Mounted => "mounted",
            Self::Suspended => "suspended",
        }
    }
}

/// A command, and what has to hold when it was cut short.
struct Sweep {
    house: House,
    /// The command under test.
    args: Vec<&'static str>,
    before: Before,
    /// What runs beside it, and its init: both must be the same in the end.
    neighbour: u64,
    /// Has it scripts of its own?
    scripts: bool,
    /// What is done to it once it is created.
    also: &'static [&'static [&'static str]],
}

/// The VE under test.
const VE: &str = "web1";
/// The VE that must not notice.
const NEIGHBOUR: &str = "next1";

/// Commands that may come next, tried in turn: each must work whatever the one before was cut short in.
const NEXT: [&[&str]; 5] = [
    &["start", VE],
    &["stop", VE, "--timeout", "10s"],
    &["destroy", VE, "--force"],
    &["kill", VE],
    &["restart", VE, "--timeout", "0s"],
];

const CREATE: &[&str] = &["create", VE, "--template", "busybox"];
const SET: &[&str] = &["set", VE, "memory.limit=80MiB", "processes=50"];

impl Sweep {
    fn new(before: Before, args: &[&'static str]) -> Self {
        Self::within(House::new(), before, args)
    }

    fn within(house: House, before: Before, args: &[&'static str]) -> Self {
        template("busybox");
        house.write("etc/plans/test.toml", SMALL_PLAN);
        house.busybox(NEIGHBOUR);
        let neighbour = house.status(NEIGHBOUR, "pid").as_u64().unwrap();
        Self {
            house,
            args: args.to_vec(),
            before,
            neighbour,
            scripts: false,
            also: &[],
        }
    }

    /// On a bridge with the host's uplink besides, and with a port of the host that leads to it.
    fn laid_out(before: Before, args: &[&'static str]) -> Self {
        let house = House::new();
        house.host_sh("ip link add up0 type veth peer name up1 && ip link set up1 up");
        house.write(
            "etc/networks/lan.toml",
            "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\nhost_addresses = [\"10.88.0.1\"]\n\
             uplink = \"up0\"\nprobe = false\n",
        );
        let also: &[&[&str]] = &[
            &["network", "attach", VE, "lan"],
            &["forward", "add", VE, ":8080", "80"],
        ];
        Self {
            also,
            ..Self::within(house, before, args)
        }
    }

    /// With scripts of the host's owner, the first of which fails if it is run twice and not ended in between.
    fn with_scripts(mut self) -> Self {
        self.scripts = true;
        self
    }

    /// They go with each VE that is destroyed.
    fn write_scripts(&self) {
        use std::os::unix::fs::PermissionsExt;
        let open = self.house.dir.join("open");
        for (begins, ends) in [("premount", "postumount"), ("mount", "umount")] {
            let place = open.with_extension(begins);
            for (event, line) in [(begins, "mkdir"), (ends, "rm -rf")] {
                let name = format!("etc/hooks/{VE}.{event}");
                self.house
                    .write(&name, &format!("#!/bin/sh\n{line} {}\n", place.display()));
                let mode = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(self.house.dir.join(name), mode).unwrap();
            }
        }
    }

    /// Brings the VE to where the command under test begins.
    #[track_caller]
    fn prepare(&self) {
        let h = &self.house;
        h.run(&["destroy", VE, "--force"]);
        if self.scripts {
            self.write_scripts();
        }
        match self.before {
            Before::Absent => return,
            Before::Stopped | Before::Running | Before::Mounted | Before::Suspended => h.ok(CREATE),
        };
        for command in self.also {
            h.ok(command);
        }
        match self.before {
            Before::Running => h.ok(&["start", VE]),
            Before::Mounted => h.ok(&["mount", VE]),
            Before::Suspended => {
                h.ok(&["start", VE]);
                h.ok(&["suspend", VE])
            }
            Before::Absent | Before::Stopped => String::new(),
        };
    }

    /// The command under test, also one of the dialect's.
    fn command(&self) -> Command {
        let h = &self.house;
        match self.args.as_slice() {
            ["vzctl", args @ ..] => {
                let link = h.dir.join("vzctl");
                if !link.exists() {
                    std::os::unix::fs::symlink(house::hostel(), &link).unwrap();
                }
                let mut command = h.on_host(link);
                command.args(args).env("HOSTEL_CONFIG", h.dir.join("hostel.toml"));
                command
            }
            args => h.command(args),
        }
    }

    /// The command under test, with something in its environment.
    fn run(&self, env: &[(&str, &str)]) -> (Option<i32>, Ran) {
        let output = self.command().envs(env.iter().copied()).output().unwrap();
        (output.status.signal(), output.into())
    }

    /// The command under test in a process group of its own, as a shell on a terminal runs it, with Ctrl-C typed when
    /// it comes by a place.
    fn run_interrupted(&self, place: &str) -> (Option<i32>, Ran) {
        let mut command = self.command();
        command.env("HOSTEL_INTERRUPT_AT", place).process_group(0);
        let output = command.output().unwrap();
        (output.status.signal(), output.into())
    }

    /// All places that the command comes by when all goes well (or with `env`, when it doesn't).
    #[track_caller]
    fn places(&self, env: &[(&str, &str)]) -> Vec<String> {
        static NEXT_LOG: AtomicU32 = AtomicU32::new(0);
        let log = self
            .house
            .dir
            .join(format!("points-{}", NEXT_LOG.fetch_add(1, Ordering::Relaxed)));
        self.prepare();
        let mut all = env.to_vec();
        all.push(("HOSTEL_POINTS_LOG", log.to_str().unwrap()));
        let (signal, ran) = self.run(&all);
        assert_eq!(signal, None, "{ran:?}");
        assert_eq!(
            ran.code != 0,
            env.iter().any(|(k, _)| *k == "HOSTEL_FAIL_AT"),
            "{ran:?}"
        );
        let text = std::fs::read_to_string(log).unwrap();
        let mut seen = BTreeSet::new();
        text.lines()
            .filter(|l| seen.insert(l.to_string()))
            .map(str::to_owned)
            .collect()
    }

    /// What has to hold after the next command: nothing is left over, and the neighbour is as it was.
    #[track_caller]
    fn judge(&self, story: &str) {
        let orphans = self.house.audit();
        assert!(orphans.is_empty(), "{story}: audit found {orphans:#?}");
        let pid = self.house.status(NEIGHBOUR, "pid").as_u64();
        assert_eq!(pid, Some(self.neighbour), "{story}: the neighbour was touched");
    }

    /// The next command, whichever comes: it works, or says in the right way that there is no such VE (any more).
    #[track_caller]
    fn next(&self, story: &str, next: &[&str]) -> i32 {
        let h = &self.house;
        let ran = h.run(next);
        let absent_is_fine = self.before == Before::Absent || self.args[0] == "destroy";
        let mounted = self.before == Before::Mounted || self.args[0] == "mount";
        let suspended = ["suspend", "resume"].contains(&self.args[0]);
        let fine = ran.code == 0
            || (ran.code == 3 && absent_is_fine)
            || (ran.code == 4 && mounted && ran.err.contains("umount it"))
            || (ran.code == 4 && suspended && ran.err.contains("it is suspended"));
        assert!(fine, "{story}, then {next:?}: {} {}{}", ran.code, ran.out, ran.err);
        ran.code
    }

    /// The whole life after that: whatever there is now can be made, started, used, stopped and destroyed.
    #[track_caller]
    fn live_on(&self, story: &str) {
        let h = &self.house;
        let ok = |args: &[&str]| {
            let ran = h.run(args);
            assert_eq!(ran.code, 0, "{story}, later {args:?}: {}{}", ran.out, ran.err);
        };
        match h.run(&["status", VE]).code {
            3 => ok(CREATE),
            _ => drop(h.run(&["umount", VE])),
        }
        ok(&["start", VE]);
        assert_eq!(h.sh(VE, "echo alive"), "alive", "{story}");
        ok(&["destroy", VE, "--force"]);
    }

    /// Kills the command at each place that `env` makes it come by.
    #[track_caller]
    fn kill_everywhere(&self, env: &[(&str, &str)]) -> usize {
        let places = self.places(env);
        assert!(!places.is_empty(), "{:?} came by no place", self.args);
        for (n, place) in places.iter().enumerate() {
            let next = NEXT[n % NEXT.len()];
            let story = format!("{:?} {env:?} killed at {place}", self.args);
            self.prepare();
            let mut all = env.to_vec();
            all.push(("HOSTEL_CRASH_AT", place));
            let (signal, ran) = self.run(&all);
            assert_eq!(signal, Some(9), "{story}: {ran:?}");
            // A look is always possible, and changes nothing.
            assert!(
                [0, 3].contains(&self.house.run(&["status", VE]).code),
                "{story}: status"
            );
            self.house.ok(&["list"]);
            self.next(&story, next);
            self.judge(&format!("{story}, then {next:?}"));
            if n % 3 == 0 {
                self.live_on(&story);
            }
        }
        places.len()
    }

    /// Makes the command fail at each place: before the point of no return it is undone, and a retry works at once.
    #[track_caller]
    fn fail_everywhere(&self) -> usize {
        let places = self.places(&[]);
        let was = self.before.state();
        for place in &places {
            let story = format!("{:?} failing at {place}", self.args);
            self.prepare();
            let (_, ran) = self.run(&[("HOSTEL_FAIL_AT", place)]);
            assert_eq!(ran.code, 1, "{story}: {}{}", ran.out, ran.err);
            assert!(ran.err.contains("told to fail"), "{story}: {}", ran.err);
            if ran.err.contains("can't be undone any more") {
                // It stays to be done, and audit says so until somebody goes on with it: after a VE that has ended,
                // that may be its monitor.
                if !self.house.audit().iter().any(|o| o["kind"] == "operation") {
                    self.judge(&format!("{story}: audit is silent"));
                    let then = match self.args[0] {
                        "suspend" => "suspended",
                        "resume" => "running",
                        _ => "stopped",
                    };
                    assert_eq!(self.state(), then, "{story}: audit is silent");
                }
            } else {
                self.judge(&story);
                let state = self.state();
                // What has ended can't be brought back, and a root that is unmounted stays so.
                let ended =
                    state == "stopped" && ["stop", "restart", "kill", "umount", "destroy"].contains(&self.args[0]);
                assert!(state == was || ended, "{story}: it is {state}");
            }
            let (_, again) = self.run(&[]);
            let done = again.code == 0 || (again.code == 3 && self.args[0] == "destroy");
            assert!(done, "{story}, again: {}{}", again.out, again.err);
            self.judge(&format!("{story}, again"));
        }
        places.len()
    }

    /// Ctrl-C at each place: it is undone or, past the point of no return, finished; the command says which, and a retry
    /// works at once.
    #[track_caller]
    fn interrupt_everywhere(&self) -> usize {
        let places = self.places(&[]);
        let was = self.before.state();
        let finished = self.state();
        for place in &places {
            let story = format!("{:?} interrupted at {place}", self.args);
            self.prepare();
            let (signal, ran) = self.run_interrupted(place);
            assert_eq!(signal, None, "{story}: {ran:?}");
            self.judge(&story);
            let state = self.state();
            let told = state == "stopped" && ran.err.contains(&format!("{VE} is stopped"));
            match ran.code {
                0 => assert_eq!(state, finished, "{story}: {ran:?}"),
                130 => {
                    assert!(ran.err.contains("interrupted"), "{story}: {}", ran.err);
                    // What has ended can't be brought back; then it is told.
                    assert!(state == was || told, "{story}: it is {state}; {}", ran.err);
                }
                code => panic!("{story}: {code}: {}{}", ran.out, ran.err),
            }
            let (_, again) = self.run(&[]);
            let done = again.code == 0
                || (again.code == 3 && self.args[0] == "destroy")
                || (again.code == 4 && self.args[0] == "create" && (ran.code == 0 || told));
            assert!(done, "{story}, again: {}{}", again.out, again.err);
            self.judge(&format!("{story}, again"));
        }
        places.len()
    }

    fn state(&self) -> String {
        match self.house.run(&["status", VE]).code {
            3 => "absent".into(),
            _ => self.house.state(VE),
        }
    }

    /// The last place before which everything can be undone: failing there brings the longest way back.
    fn deepest_failure(&self) -> Option<String> {
        let undoes = |place: &String| {
            self.prepare();
            let log = self.house.dir.join("undo-points");
            let _ = std::fs::remove_file(&log);
            self.run(&[("HOSTEL_FAIL_AT", place), ("HOSTEL_POINTS_LOG", log.to_str().unwrap())]);
            std::fs::read_to_string(&log).unwrap_or_default().contains(":undo-")
        };
        self.places(&[]).into_iter().rev().find(undoes)
    }

    /// Everything: killed on the way forward, failing, and killed on the way back.
    #[track_caller]
    fn everything(&self) {
        let forward = self.kill_everywhere(&[]);
        let failing = self.fail_everywhere();
        let interrupted = self.interrupt_everywhere();
        let back = match self.deepest_failure() {
            Some(place) => self.kill_everywhere(&[("HOSTEL_FAIL_AT", &place)]),
            None => 0,
        };
        println!(
            "{:?}: killed at {forward} places, failed at {failing}, interrupted at {interrupted}, killed at {back} on the \
             way back",
            self.args
        );
    }
}

/// The system calls that change something.
const MUTATING: &str = "write,pwrite64,writev,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,mount,umount2,\
    fsmount,fsconfig,move_mount,ioctl,sendto,sendmsg,clone,clone3,vfork,pidfd_send_signal,ftruncate,fallocate,fsync,\
    fdatasync,chmod,fchmod,fchmodat,flock";

/// Those that get something, a descriptor above all, of which the host may have no more. (Memory: tests/scarcity.rs.)
const GETTING: &str = "openat,openat2,open_tree,fsopen,socket,socketpair,pipe2,dup,fcntl,accept4,memfd_create,pidfd_open,\
    epoll_create1,eventfd2,timerfd_create,read,recvmsg,recvfrom,poll,ppoll,wait4,waitid";

/// What a system call may fail with, each in turn.
fn errors_of(name: &str) -> &'static [&'static str] {
    match name {
        "openat" | "openat2" | "open_tree" | "fsopen" | "dup" | "fcntl" => &["EMFILE", "EIO", "ENOMEM", "ENFILE"],
        "socket" | "socketpair" | "pipe2" | "accept4" | "memfd_create" | "pidfd_open" | "epoll_create1"
        | "eventfd2" | "timerfd_create" => &["EMFILE", "ENOMEM"],
        "read" | "recvmsg" | "recvfrom" => &["EIO", "EINTR", "ENOMEM"],
        "poll" | "ppoll" | "wait4" | "waitid" => &["EINTR"],
        "write" | "pwrite64" | "writev" | "flock" | "sendto" | "sendmsg" | "fallocate" => {
            &["EIO", "ENOSPC", "EINTR", "ENOMEM"]
        }
        _ => &["EIO", "ENOSPC", "ENOMEM", "EPERM"],
    }
}

/// How many seconds one verb may take; more with HOSTEL_SWEEP_SECONDS, so that all its calls are tried.
fn budget() -> Duration {
    let asked = std::env::var("HOSTEL_SWEEP_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(asked.unwrap_or(7))
}

impl Sweep {
    /// The command under test below strace, with this; what strace wrote. The programs that it runs are let go.
    fn traced(&self, what: &str) -> (Option<i32>, Ran, String) {
        let log = self.house.dir.join("strace");
        let mut command = self.house.on_host("strace");
        command
            .args(["-f", "-b", "execve", "-qq", "-e", "signal=none", "-e", what, "-o"])
            .arg(&log);
        command
            .arg(house::hostel())
            .arg("--config")
            .arg(self.house.dir.join("hostel.toml"))
            .args(&self.args);
        let output = command.output().unwrap();
        (
            output.status.signal(),
            output.into(),
            std::fs::read_to_string(log).unwrap_or_default(),
        )
    }

    /// All of these system calls of the busiest thread: each by its name and the how-manieth of that name it is, as
    /// strace counts.
    #[track_caller]
    fn system_calls(&self, which: &str) -> Vec<(String, usize)> {
        // The first time makes what all later ones find, such as the ledger, so the second is the one to go by.
        self.prepare();
        let (_, first) = self.run(&[]);
        assert_eq!(first.code, 0, "{}{}", first.out, first.err);
        self.prepare();
        let (_, ran, log) = self.traced(&format!("trace={which}"));
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        let mut threads = BTreeMap::<&str, Vec<&str>>::new();
        for (thread, call) in log.lines().filter_map(|l| l.split_once(' ')) {
            let name = call.trim_start().split_once('(').map_or("", |(name, _)| name);
            if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                threads.entry(thread).or_default().push(name);
            }
        }
        let names = threads
            .into_values()
            .max_by_key(Vec::len)
            .expect("it changes something");
        let mut counts = BTreeMap::<&str, usize>::new();
        let numbered = names.into_iter().map(|name| {
            let count = counts.entry(name).or_default();
            *count += 1;
            (name.to_owned(), *count)
        });
        numbered.collect()
    }

    /// Kills the command right before system calls that change something: as many as there is time for, spread evenly.
    #[track_caller]
    fn kill_at_system_calls(&self) {
        let calls = self.system_calls(MUTATING);
        let end = Instant::now() + budget();
        let (mut tried, mut killed) = (0, 0);
        for n in spread(calls.len()) {
            // On a machine that does few in the time, at least some.
            if Instant::now() > end && killed > 0 {
                break;
            }
            let (name, count) = &calls[n - 1];
            self.prepare();
            let (signal, ran, _) = self.traced(&format!("inject={name}:signal=KILL:when={count}"));
            assert!(signal == Some(9) || ran.code == 0, "{name} {count}: {signal:?} {ran:?}");
            (tried, killed) = (tried + 1, killed + usize::from(signal == Some(9)));
            let story = format!(
                "{:?} killed at call {n} of {}, {name} number {count}",
                self.args,
                calls.len()
            );
            let next = NEXT[n % NEXT.len()];
            self.next(&story, next);
            self.judge(&format!("{story}, then {next:?}"));
            if tried % 4 == 0 {
                self.live_on(&story);
            }
        }
        println!("{:?}: killed at {killed} of {} system calls", self.args, calls.len());
        // Now and then a command has one call less than the time before.
        let missed = tried - killed;
        assert!(
            killed > 0 && missed <= 1 + tried / 5,
            "killed {killed} of {tried} times"
        );
    }

    /// Lets system calls fail, each in turn with another error: the command says so or copes, and what was cut short is
    /// ended by the next.
    #[track_caller]
    fn fail_system_calls(&self) {
        let calls = self.system_calls(&format!("{MUTATING},{GETTING}"));
        let end = Instant::now() + budget();
        let (mut tried, mut failed, mut injected) = (0, 0, 0);
        for n in spread(calls.len()) {
            if Instant::now() > end {
                break;
            }
            let (name, count) = &calls[n - 1];
            let errors = errors_of(name);
            let errno = errors[count % errors.len()];
            self.prepare();
            let (signal, ran, log) = self.traced(&format!("inject={name}:error={errno}:when={count}"));
            let story = format!(
                "{:?} with {errno} at call {n} of {}, {name} number {count}",
                self.args,
                calls.len()
            );
            // What the standard library takes for impossible ends it at once, as does memory that isn't there: no worse
            // than a kill. What fails before it has begun is told by the loader.
            let in_std = ran.err.contains("library/std/src/sys/process");
            let no_memory = errno == "ENOMEM" && (signal == Some(6) || ran.err.contains("memory allocation"));
            let fine = signal.is_none() && (ran.code != 101 || in_std);
            assert!(fine || no_memory, "{story}: {signal:?} {ran:?}");
            assert!(ran.code == 0 || !ran.err.is_empty(), "{story}: it says nothing");
            (tried, failed) = (tried + 1, failed + usize::from(ran.code != 0));
            injected += usize::from(log.contains("(INJECTED)"));
            let next = NEXT[n % NEXT.len()];
            self.next(&story, next);
            self.judge(&format!(
                "{story}, then {next:?}; it had said {}: {}",
                ran.code, ran.err
            ));
        }
        println!(
            "{:?}: {tried} of {} system calls failed, {failed} of them mattered",
            self.args,
            calls.len()
        );
        // Of few, none may matter: much of a command's work is what it can do without, such as noting usage.
        assert!(injected > 0, "none of {tried} calls was made to fail");
    }
}

/// The numbers from 1 to `most`, each once, so that the first few are spread over all: by their bits reversed.
fn spread(most: usize) -> Vec<usize> {
    let bits = usize::BITS - most.leading_zeros();
    let reversed = (0..1usize << bits).map(|n| n.reverse_bits() >> (usize::BITS - bits));
    reversed.filter(|n| (1..=most).contains(n)).collect()
}

fn has_strace() -> bool {
    let found = std::process::Command::new("strace").arg("-V").output().is_ok();
    if !found {
        println!("skipped because there is no strace");
    }
    found
}

#[test]
fn start_at_its_system_calls() {
    if has_strace() {
        Sweep::new(Before::Stopped, &["start", VE]).kill_at_system_calls();
    }
}

#[test]
fn start_with_system_calls_that_fail() {
    if has_strace() {
        Sweep::new(Before::Stopped, &["start", VE]).fail_system_calls();
    }
}

#[test]
fn create_with_system_calls_that_fail() {
    if has_strace() {
        Sweep::new(Before::Absent, CREATE).fail_system_calls();
    }
}

#[test]
fn destroy_with_system_calls_that_fail() {
    if has_strace() {
        Sweep::new(Before::Running, &["destroy", VE, "--force"]).fail_system_calls();
    }
}

#[test]
fn destroy_at_its_system_calls() {
    if has_strace() {
        Sweep::new(Before::Running, &["destroy", VE, "--force"]).kill_at_system_calls();
    }
}

#[test]
fn create_at_its_system_calls() {
    if has_strace() {
        Sweep::new(Before::Absent, CREATE).kill_at_system_calls();
    }
}

#[test]
fn stop_at_its_system_calls() {
    if has_strace() {
        Sweep::new(Before::Running, &["stop", VE, "--timeout", "0s"]).kill_at_system_calls();
    }
}

#[test]
fn stop_with_system_calls_that_fail() {
    if has_strace() {
        Sweep::new(Before::Running, &["stop", VE, "--timeout", "0s"]).fail_system_calls();
    }
}

#[test]
fn set_at_its_system_calls() {
    if has_strace() {
        Sweep::new(Before::Running, SET).kill_at_system_calls();
    }
}

#[test]
fn set_with_system_calls_that_fail() {
    if has_strace() {
        Sweep::new(Before::Running, SET).fail_system_calls();
    }
}

/// Has no journal, and a disk must not suffer by it.
#[test]
fn compact_at_its_system_calls() {
    if has_strace() {
        for before in [Before::Stopped, Before::Running] {
            Sweep::new(before, &["compact", VE]).kill_at_system_calls();
        }
    }
}

#[test]
fn files_at_their_system_calls() {
    if !has_strace() {
        return;
    }
    let push = Sweep::new(Before::Running, &["push", VE, "/bin/busybox", "/root/tool"]);
    push.kill_at_system_calls();
    // Whatever was left of those before: one that ends has brought all of it.
    push.prepare();
    let (_, ran) = push.run(&[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    push.house
        .sh(VE, "cmp /bin/busybox /root/tool && [ $(ls -A /root | wc -l) = 1 ]");
    let to = push.house.dir.join("pulled").display().to_string();
    Sweep::new(Before::Running, &["pull", VE, "/bin/busybox", to.leak()]).kill_at_system_calls();
}

/// A plan with as little to make as possible.
const SMALL_PLAN: &str = "processes = 60\n[cpu]\ncap = 1\n[memory]\nlimit = \"64MiB\"\n[disk]\nsize = \"32MiB\"\n";

#[test]
fn create() {
    Sweep::new(Before::Absent, CREATE).everything();
}

#[test]
fn create_with_a_template_of_its_own() {
    let create: Vec<&str> = [CREATE, &["--set", "share=none"]].concat();
    Sweep::new(Before::Absent, &create).everything();
}

#[test]
fn create_and_start() {
    let create: Vec<&str> = [CREATE, &["--start"]].concat();
    let sweep = Sweep::new(Before::Absent, &create);
    sweep.kill_everywhere(&[]);
    sweep.interrupt_everywhere();
}

#[test]
fn restart() {
    Sweep::new(Before::Running, &["restart", VE, "--timeout", "0s"]).everything();
}

#[test]
fn start() {
    Sweep::new(Before::Stopped, &["start", VE]).everything();
}

#[test]
fn start_with_scripts() {
    Sweep::new(Before::Stopped, &["start", VE]).with_scripts().everything();
}

#[test]
fn stop_with_scripts() {
    Sweep::new(Before::Running, &["stop", VE, "--timeout", "0s"])
        .with_scripts()
        .everything();
}

#[test]
fn stop() {
    Sweep::new(Before::Running, &["stop", VE]).everything();
}

#[test]
fn suspend() {
    let Some(house) = House::with_criu() else { return };
    Sweep::within(house, Before::Running, &["suspend", VE]).everything();
}

#[test]
fn resume() {
    let Some(house) = House::with_criu() else { return };
    Sweep::within(house, Before::Suspended, &["resume", VE]).everything();
}

/// From the moment on that it is cut off, a VE's monitor sees to it that nobody has to come for it to live on, or to end
/// when it has been saved.
#[test]
fn suspend_and_resume_need_no_next_command() {
    let Some(house) = House::with_criu() else { return };
    let mut sweep = Sweep::within(house, Before::Running, &["suspend", VE]);
    // Once it has ended, what is left of it bears the next command as that of any VE that was stopped.
    for (before, verb, from, to) in [
        (Before::Running, "suspend", "suspend.hold:after", "suspend.end:before"),
        (Before::Suspended, "resume", "resume.go:after", "resume.settle:after"),
    ] {
        (sweep.before, sweep.args) = (before, vec![verb, VE]);
        let places = sweep.places(&[]);
        let at = |place: &str| places.iter().position(|p| p == place).unwrap();
        for place in &places[at(from)..=at(to)] {
            sweep.prepare();
            let (signal, ran) = sweep.run(&[("HOSTEL_CRASH_AT", place)]);
            assert_eq!(signal, Some(9), "{place}: {ran:?}");
            let h = &sweep.house;
            // Whoever is at it holds the lock, and is nobody's orphan.
            let lock = h.run.join(format!("locks/{}.lock", h.status(VE, "id")));
            let free = || h.host_sh(&format!("flock -n {} echo free || echo held", lock.display())) == "free";
            h.until(&format!("what was killed at {place} is put in order"), 30, || {
                free() && h.audit().is_empty()
            });
            let state = h.state(VE);
            assert!(["running", "suspended"].contains(&state.as_str()), "{place}: {state}");
            if state == "running" {
                assert_eq!(h.sh(VE, "echo alive"), "alive");
            }
        }
    }
}

#[test]
fn kill() {
    if has_strace() {
        Sweep::new(Before::Running, &["kill", VE]).kill_at_system_calls();
    }
}

#[test]
fn kill_with_system_calls_that_fail() {
    if has_strace() {
        Sweep::new(Before::Running, &["kill", VE]).fail_system_calls();
    }
}

#[test]
fn destroy() {
    Sweep::new(Before::Stopped, &["destroy", VE]).everything();
}

#[test]
fn destroy_of_a_running_ve() {
    Sweep::new(Before::Running, &["destroy", VE, "--force"]).everything();
}

/// What is killed at any place of it leaves a VE with one whole disk. (Its codes are vzctl's.)
#[test]
fn reinstall() {
    let sweep = Sweep::new(Before::Stopped, &["vzctl", "reinstall", VE, "--skipbackup"]);
    let forward = sweep.kill_everywhere(&[]);
    let place = sweep.deepest_failure().unwrap();
    let back = sweep.kill_everywhere(&[("HOSTEL_FAIL_AT", &place)]);
    println!("reinstall: killed at {forward} places, and at {back} on the way back");
}

#[test]
fn mount() {
    Sweep::new(Before::Stopped, &["mount", VE]).everything();
}

#[test]
fn umount() {
    Sweep::new(Before::Mounted, &["umount", VE]).everything();
}

#[test]
fn set_on_a_running_ve() {
    Sweep::new(Before::Running, SET).everything();
}

#[test]
fn addresses_of_a_running_ve() {
    let others = "network.0.addresses=10.77.0.98,fd77:7c3e:9a51:77::98";
    Sweep::new(Before::Running, &["set", VE, others]).everything();
    Sweep::new(Before::Stopped, &["address", "add", VE, "10.77.0.99"]).kill_everywhere(&[]);
}

#[test]
fn networks_of_a_running_ve() {
    let with_another = || {
        let house = House::new();
        house.write(
            "etc/networks/six.toml",
            "kind = \"routed\"\npools = [\"10.79.0.0/24\"]\n",
        );
        house
    };
    Sweep::within(with_another(), Before::Running, &["network", "attach", VE, "six"]).everything();
    Sweep::within(with_another(), Before::Running, &["network", "detach", VE, "private"]).kill_everywhere(&[]);
}

#[test]
fn bridges_and_forwards() {
    let start = Sweep::laid_out(Before::Stopped, &["start", VE]);
    start.kill_everywhere(&[]);
    let place = start.deepest_failure().unwrap();
    start.kill_everywhere(&[("HOSTEL_FAIL_AT", &place)]);
    Sweep::laid_out(Before::Running, &["stop", VE, "--timeout", "0s"]).everything();
    Sweep::laid_out(Before::Running, &["network", "detach", VE, "lan"]).kill_everywhere(&[]);
    Sweep::laid_out(Before::Running, &["forward", "remove", VE, ":8080"]).kill_everywhere(&[]);
    Sweep::laid_out(Before::Running, &["destroy", VE, "--force"]).kill_everywhere(&[]);
}

#[test]
fn move_of_the_disk() {
    for (kind, mkfs, options) in [
        ("btrfs", &["-q"][..], "noatime"),
        (
            "ext4",
            &["-q", "-O", "quota,project", "-E", "quotatype=prjquota"],
            "prjquota",
        ),
    ] {
        if let Some(house) = House::on(kind, mkfs, options) {
            Sweep::within(house, Before::Stopped, &["set", VE, "disk.driver=image"]).everything();
        }
    }
}

#[test]
fn set_of_the_disk() {
    Sweep::new(Before::Stopped, &["set", VE, "disk.size=48MiB"]).everything();
}
