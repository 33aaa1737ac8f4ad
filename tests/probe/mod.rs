//! The attacker: a small static program (the C files beside this one), compiled when a test first needs it, and ways to run it.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each test file uses its part of it

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::house::House;

/// Where the probe lies inside a VE that was [`arm`]ed.
pub const INSIDE: &str = "/usr/bin/probe";

/// The probe on this machine.
pub fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| built("probe", &["probe.c", "hunt.c", "sockets.c", "frames.c", "uring.c"]))
}

/// A static program of these sources, kept from run to run.
pub fn built(name: &str, sources: &[&str]) -> PathBuf {
    use sha2::Digest;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe");
    let sources: Vec<PathBuf> = sources.iter().map(|source| dir.join(source)).collect();
    let mut hash = sha2::Sha256::new();
    sources
        .iter()
        .chain([&dir.join("probe.h")])
        .for_each(|file| hash.update(fs::read(file).unwrap()));
    let hash = hash.finalize();
    let key: String = hash.iter().take(6).map(|b| format!("{b:02x}")).collect();
    let store = Path::new("/var/cache/hostel-test");
    fs::create_dir_all(store).unwrap();
    let program = store.join(format!("{name}-{key}"));
    let lock = File::create(store.join(".probe.lock")).unwrap();
    lock.lock().unwrap();
    if !program.exists() {
        let unfinished = program.with_extension("new");
        let built = Command::new("gcc")
            .args(["-static", "-O1", "-o"])
            .arg(&unfinished)
            .args(&sources)
            .output();
        let built = built.expect("gcc is needed to build it: apt-get install gcc libc6-dev");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        fs::rename(&unfinished, &program).unwrap();
    }
    program
}

/// Attempts and what came of them.
pub type Outcome = BTreeMap<String, String>;

fn parse(text: &str) -> Outcome {
    text.lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(what, came)| (what.into(), came.trim().into()))
        .collect()
}

/// Puts the probe into a running VE.
#[track_caller]
pub fn arm(h: &House, ve: &str) {
    h.ok(&["push", ve, probe().to_str().unwrap(), INSIDE]);
}

/// Runs the probe as root of a VE that has it.
#[track_caller]
pub fn inside(h: &House, ve: &str, args: &[&str]) -> Outcome {
    parse(&h.ok(&[&["exec", ve, "--", INSIDE], args].concat()))
}

/// Runs the probe as root of the host: the control, which shows what the attempt would come to if nothing stood in
/// its way.
#[track_caller]
pub fn outside(args: &[&str]) -> Outcome {
    let output = Command::new(probe()).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// A host of one VE, `ve`, with busybox and the probe in it.
#[track_caller]
pub fn armed() -> House {
    let h = House::new();
    h.busybox("ve");
    arm(&h, "ve");
    h
}

/// As [`armed`], with these features in its plan.
#[track_caller]
pub fn armed_with(features: &str) -> House {
    let h = House::new();
    grant(&h, features);
    h.busybox("ve");
    arm(&h, "ve");
    h
}

/// Adds features to the test plan.
pub fn grant(h: &House, features: &str) {
    let plan = h.read("etc/plans/test.toml");
    h.write("etc/plans/test.toml", &format!("{plan}[features]\n{features}\n"));
}

/// The host id of a VE's init.
#[track_caller]
pub fn init(h: &House, ve: &str) -> u32 {
    let uid_map = h.sh(ve, "cat /proc/self/uid_map");
    let base = uid_map.split_whitespace().nth(1).unwrap().to_owned();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let is_init = read("status")
            .lines()
            .any(|l| l.starts_with("NSpid:") && l.ends_with("\t1"));
        if is_init && read("uid_map").split_whitespace().nth(1) == Some(&base) {
            return pid;
        }
    }
    panic!("{ve} has no init");
}

/// The parent of a VE's init: its monitor.
#[track_caller]
pub fn monitor(h: &House, ve: &str) -> u32 {
    let status = fs::read_to_string(format!("/proc/{}/status", init(h, ve))).unwrap();
    status
        .lines()
        .find_map(|l| l.strip_prefix("PPid:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}
