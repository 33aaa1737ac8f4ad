//! CRIU is ended by SIGKILL at every stage of a dump and of a restore: at each word that it says to us, and at system
//! calls spread over all that it makes. Nothing hangs, nothing stays frozen or held, no half dump is taken for a whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // it is all test

mod house;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use house::{House, Ran, Talk, end_of};

const VE: &str = "ve";
/// Keeps what it counts in its memory.
const COUNTER: &str = "(i=0; while true; do i=$((i+1)); echo $i > /dev/shm/new; mv /dev/shm/new /dev/shm/count; \
                       sleep 0.05; done) </dev/null >/dev/null 2>&1 &";
/// Answers each line on a connection with itself. It polls, as servers do; a program that stands in read(2) may be told
/// of an error if CRIU dies while the connection is being saved.
const ECHO: &str = "rm -f /dev/shm/echo; mkfifo /dev/shm/echo; (nc -l -p 7000 </dev/shm/echo | cat >/dev/shm/echo) \
                    </dev/null >/dev/null 2>&1 &";

/// A VE that counts and has a connection, and a CRIU below strace.
struct Sweep {
    house: House,
    talk: Option<Talk>,
    said: u32,
}

/// The system calls of a CRIU, in order: each by its name and the how-manieth of that name it is, as strace counts.
type Calls = Vec<(String, usize)>;

impl Sweep {
    fn new() -> Option<Self> {
        if std::process::Command::new("strace").arg("-V").output().is_err() {
            println!("skipped because there is no strace");
            return None;
        }
        let house = House::with_criu()?;
        let settings = house.read("hostel.toml");
        let line = settings.lines().find(|l| l.starts_with("program = ")).unwrap();
        let criu = line.split('"').nth(1).unwrap().to_owned();
        let dir = house.dir.display();
        // Below it CRIU stays the child that it would be without (-D).
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = swrk ] && [ -e {dir}/strace.what ] || exec {criu} \"$@\"\nexec </dev/null >/dev/null \
             2>&1\nexec strace -D -qq -e signal=none -e \"$(cat {dir}/strace.what)\" -o {dir}/strace.log {criu} \"$@\"\n"
        );
        house.write("criu", &script);
        std::fs::set_permissions(house.dir.join("criu"), std::fs::Permissions::from_mode(0o755)).unwrap();
        house.write(
            "hostel.toml",
            &settings.replace(line, &format!("program = \"{dir}/criu\"")),
        );
        house.busybox(VE);
        let mut sweep = Self {
            house,
            talk: None,
            said: 0,
        };
        sweep.begin();
        Some(sweep)
    }

    /// Has the guest do what is watched.
    fn begin(&mut self) {
        let h = &self.house;
        h.sh(VE, COUNTER);
        h.sh(VE, ECHO);
        h.until("it listens", 10, || h.sh(VE, "netstat -tln").contains(":7000"));
        let address = h.status(VE, "addresses")[0].as_str().unwrap().to_owned();
        let line = "exec 3<>/dev/tcp/$0/7000; while read l; do echo $l >&3; read -u 3 a; echo \"=$a\"; done";
        let mut client = h.on_host("bash");
        client.args(["-c", line, &address]);
        let piped = std::process::Stdio::piped;
        self.talk = Some(Talk::new(client.stdin(piped()).stdout(piped()).spawn().unwrap()));
    }

    fn count(&self) -> u32 {
        self.house.sh(VE, "cat /dev/shm/count").parse().unwrap()
    }

    /// A command with CRIU below strace, which is told this. It ends, whatever happens.
    #[track_caller]
    fn below_strace(&self, verb: &str, what: &str) -> (Ran, String) {
        self.house.write("strace.what", what);
        let ran = end_of(self.house.spawn(&[verb, VE]));
        std::fs::remove_file(self.house.dir.join("strace.what")).unwrap();
        (ran, self.house.read("strace.log"))
    }

    /// All calls of one; first the one at which the guest's groups are frozen and its first process is to be held.
    #[track_caller]
    fn calls(&self, verb: &str) -> Calls {
        let (ran, log) = self.below_strace(verb, "trace=all");
        assert_eq!(ran.code, 0, "{ran:?}");
        let mut counts = BTreeMap::<&str, usize>::new();
        let (mut all, mut freezes, mut held) = (Vec::new(), false, None);
        for line in log.lines() {
            let Some((name, arguments)) = line.split_once('(') else {
                continue;
            };
            if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                continue;
            }
            let count = counts.entry(name).or_default();
            *count += 1;
            let call = (name.to_owned(), *count);
            freezes |= verb == "suspend"
                && name == "openat"
                && ["freezer.state", "cgroup.freeze"].iter().any(|f| arguments.contains(f));
            if freezes && held.is_none() && arguments.starts_with("PTRACE_SEIZE") {
                held = Some(call.clone());
            }
            all.push(call);
        }
        assert_eq!(held.is_some(), verb == "suspend", "{log}");
        held.into_iter().chain(all).collect()
    }

    /// The VE runs as if nothing had happened.
    #[track_caller]
    fn lives(&mut self, story: &str) {
        let h = &self.house;
        assert_eq!(h.state(VE), "running", "{story}");
        let count = self.count();
        h.until(&format!("{story}: it counts on"), 10, || self.count() > count);
        self.said += 1;
        let said = self.said;
        let talk = self.talk.as_mut().unwrap();
        talk.say(&format!("{said}\n"));
        h.until(&format!("{story}: its connection goes on"), 20, || {
            talk.heard().contains(&format!("={said}\n"))
        });
        h.sh(VE, &format!("echo said-{said} > /dev/console"));
        h.until(&format!("{story}: its console works"), 10, || {
            h.ok(&["log", VE]).contains(&format!("said-{said}"))
        });
        let orphans = h.audit();
        assert!(orphans.is_empty(), "{story}: audit found {orphans:#?}");
    }
}

/// In turn one of its words, one of its holds on a process, and one of all the others, each spread over the whole; as
/// many as there is time for are tried. How often it writes to its log depends on how much there is to wait for.
fn chosen(calls: &Calls) -> Calls {
    let class = |name: &str| match name {
        "sendto" | "sendmsg" | "recvfrom" | "recvmsg" => 0,
        _ if is_hold(name) => 1,
        _ => 2,
    };
    let of = |n: usize| {
        let all: Vec<_> = calls
            .iter()
            .filter(|(name, _)| class(name) == n && name != "write")
            .collect();
        spread(all.len()).into_iter().map(move |n| all[n - 1].clone())
    };
    let (mut words, mut holds, mut others) = (of(0), of(1), of(2));
    let mut chosen: Calls = calls.first().cloned().into_iter().collect();
    loop {
        let next: Vec<_> = [words.next(), holds.next(), others.next()]
            .into_iter()
            .flatten()
            .collect();
        if next.is_empty() {
            return chosen;
        }
        chosen.extend(next);
    }
}

/// Calls by which it steers a process of the guest's.
const HOLDS: [&str; 4] = ["ptrace", "wait4", "kill", "tgkill"];

fn is_hold(name: &str) -> bool {
    HOLDS.contains(&name)
}

/// The numbers from 1 to `most`, each once, so that the first few are spread over all: by their bits reversed.
fn spread(most: usize) -> Vec<usize> {
    let bits = usize::BITS - most.leading_zeros();
    let reversed = (0..1usize << bits).map(|n| n.reverse_bits() >> (usize::BITS - bits));
    reversed.filter(|n| (1..=most).contains(n)).collect()
}

/// How long one verb may take; more with HOSTEL_SWEEP_SECONDS, so that all calls are tried.
fn budget() -> Duration {
    let asked = std::env::var("HOSTEL_SWEEP_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(asked.unwrap_or(30 * house::slowness()))
}

/// What came of it, in numbers.
#[derive(Debug, Default)]
struct Came {
    to_nothing: usize,
    through: usize,
    lost: usize,
    harmed: usize,
}

impl Sweep {
    /// Does one of the guest's programs lack?
    fn is_harmed(&self) -> bool {
        let there = self.house.run(&["exec", VE, "--", "ps"]).out;
        let programs = [
            " init",
            "sleep 0.05; done) </dev/null >/dev/null 2>&1 &",
            " nc -l -p 7000",
            " cat",
        ];
        programs
            .iter()
            .any(|program| !there.lines().any(|line| line.ends_with(program)))
    }

    /// Kills CRIU in each of these calls in turn, for as long as there is time, and looks at what comes of it.
    #[track_caller]
    fn kill_at(&mut self, verb: &str, calls: &Calls, mut look: impl FnMut(&mut Self, &str, &Ran, &mut Came)) {
        let end = Instant::now() + budget();
        let mut came = Came::default();
        for (name, n) in chosen(calls) {
            if Instant::now() > end {
                break;
            }
            if verb == "resume" {
                self.house.ok(&["suspend", VE]);
            }
            let story = format!("{verb} with CRIU killed at {name} number {n}");
            println!("{story}"); // seen if it doesn't end
            let (ran, _) = self.below_strace(verb, &format!("inject={name}:signal=KILL:when={n}"));
            look(self, &story, &ran, &mut came);
            // A process that CRIU is just making take a system call for it can't be saved from what its end leaves. If it
            // is the first one, the VE ends.
            if verb == "suspend" && is_hold(&name) && self.is_harmed() {
                match self.house.state(VE).as_str() {
                    "running" => self.house.ok(&["restart", VE, "--timeout", "0s"]),
                    _ => self.house.ok(&["start", VE]),
                };
                self.begin();
                came.harmed += 1;
            }
            self.lives(&story);
        }
        println!(
            "{verb}: {} system calls of CRIU's; it was killed, and that came {came:?}",
            calls.len()
        );
        assert!(came.to_nothing > 0);
    }
}

#[test]
fn of_a_dump() {
    let Some(mut sweep) = Sweep::new() else { return };
    sweep.lives("before");
    let calls = sweep.calls("suspend");
    sweep.house.ok(&["resume", VE]);
    sweep.lives("after one below strace");
    sweep.kill_at("suspend", &calls, |sweep, story, ran, came| {
        let h = &sweep.house;
        let state = h.state(VE);
        match (ran.code, state.as_str()) {
            // It was killed when all was saved, or not at all.
            (0, "suspended") => {
                h.ok(&["resume", VE]);
                came.through += 1;
            }
            (1, "running") | (1, "stopped") if state == "running" || HOLDS.iter().any(|h| story.contains(h)) => {
                assert!(ran.err.contains("runs on as before"), "{story}: {}", ran.err);
                assert!(!h.dir.join("data/ve/101/.dump").exists(), "{story}");
                came.to_nothing += 1;
            }
            (_, state) => panic!("{story}: it is {state}: {ran:?}"),
        }
    });
}

#[test]
fn of_a_restore() {
    let Some(mut sweep) = Sweep::new() else { return };
    sweep.lives("before");
    sweep.house.ok(&["suspend", VE]);
    let calls = sweep.calls("resume");
    sweep.lives("after one below strace");
    sweep.kill_at("resume", &calls, |sweep, story, ran, came| {
        let state = sweep.house.state(VE);
        match (ran.code, state.as_str()) {
            (0, "running") => came.through += 1,
            (1, "suspended") => {
                let orphans = sweep.house.audit();
                assert!(orphans.is_empty(), "{story}: audit found {orphans:#?}");
                sweep.house.ok(&["resume", VE]);
                came.to_nothing += 1;
            }
            // Only where its processes may have run, and then its dump is never used again.
            (1, "stopped") => {
                assert!(ran.err.contains("may have run for a moment"), "{story}: {}", ran.err);
                sweep.house.ok(&["start", VE]);
                sweep.begin();
                came.lost += 1;
            }
            (_, state) => panic!("{story}: it is {state}: {ran:?}"),
        }
    });
}
