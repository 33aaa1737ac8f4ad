//! Tests of the command line.

mod board;
mod editor;
mod errors;
mod firewall;
mod forward;
mod golden;
mod list;
mod markdown;
mod network;
mod requests;
mod small;
mod tenant;

use std::ffi::OsString;
use std::path::PathBuf;

use hostel_engine::facade::VeStatus;

use super::args::{self, Cli};

/// What `hostel WORDS` parses to; the words are split at blanks.
fn parse(words: &str) -> Result<Cli, clap::Error> {
    parse_list(&words.split_whitespace().collect::<Vec<_>>())
}

fn parse_list(words: &[&str]) -> Result<Cli, clap::Error> {
    let typed: Vec<OsString> = std::iter::once("hostel")
        .chain(words.iter().copied())
        .map(OsString::from)
        .collect();
    args::parse(&typed)
}

/// Compares with a file of the repository; with UPDATE_GOLDEN=1 the file is written instead.
pub(crate) fn golden(path: &str, actual: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        expected == actual,
        "{path} differs; UPDATE_GOLDEN=1 rewrites it. It would be:\n{actual}"
    );
}

/// A running VE with everything known.
fn web1() -> VeStatus {
    VeStatus {
        id: 101.try_into().unwrap(),
        name: "web1".parse().unwrap(),
        tenant: "acme".parse().unwrap(),
        state: "running".into(),
        problem: None,
        plan: "small".into(),
        template: "debian-12/20260101".into(),
        hostname: "web1.acme.example".into(),
        addresses: vec!["203.0.113.10".parse().unwrap(), "2001:db8::10".parse().unwrap()],
        memory: Some(222_298_112),
        memory_limit: Some(1 << 30),
        cpu_ns: Some(754_000_000_000),
        cpu_cap_milli: Some(1500),
        processes: Some(31),
        process_limit: Some(512),
        disk: Some(1_610_612_736),
        disk_limit: Some(10 << 30),
        uptime: Some(271_000),
        booted: Some(true),
        pid: Some(4242),
        onboot: true,
    }
}

/// A stopped VE, of which little is known.
fn db1() -> VeStatus {
    VeStatus {
        id: 102.try_into().unwrap(),
        name: "db1".parse().unwrap(),
        state: "stopped".into(),
        hostname: "db1.acme.example".into(),
        addresses: Vec::new(),
        memory: None,
        cpu_ns: None,
        processes: None,
        disk: None,
        uptime: None,
        booted: None,
        pid: None,
        onboot: false,
        ..web1()
    }
}

/// A house of two hundred, with long names and every state among them.
fn house() -> Vec<VeStatus> {
    (0..200u32)
        .map(|n| {
            let mut ve = if n % 3 == 0 { db1() } else { web1() };
            ve.id = (101 + n * 37).try_into().unwrap();
            ve.name = match n % 7 {
                0 => format!("build-runner-{n}").parse().unwrap(),
                _ => format!("web{n}").parse().unwrap(),
            };
            ve.tenant = ["acme", "globex", "initech-hosting"][n as usize % 3].parse().unwrap();
            if n % 3 != 0 {
                ve.state = ["running", "running", "paused", "broken"][n as usize % 4].into();
                ve.addresses = vec![format!("203.0.113.{}", n % 250 + 1).parse().unwrap()];
                if n % 5 == 0 {
                    ve.addresses.push(format!("2001:db8:1:2:3:4:5:{n:x}").parse().unwrap());
                }
                ve.memory = Some(u64::from(n) * 7_654_321);
                ve.disk = Some(u64::from(n) * 987_654_321);
            }
            ve.hostname = format!("{}.example", ve.name);
            ve
        })
        .collect()
}
