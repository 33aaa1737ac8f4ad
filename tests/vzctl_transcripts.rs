//! The sessions of which `hostel-faces` keeps transcripts on fakes, typed on real VEs: what was said, and the code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use house::House;
use house::panel::Panel;

/// A host as the fakes play it.
fn host() -> Option<Panel> {
    let h = House::with_criu()?;
    h.host_sh("ip link add br0 type bridge && ip link set br0 up");
    for (name, text) in [
        (
            "networks/public",
            "kind = \"routed\"\npools = [\"203.0.113.0/24\", \"2001:db8::/64\"]\n",
        ),
        (
            "networks/lan",
            "kind = \"bridge\"\nbridge = \"br0\"\npools = [\"10.1.0.0/24\"]\n",
        ),
        ("plans/small", &plan("512MiB")),
        ("plans/large", &plan("4GiB")),
        ("tenants/acme", ""),
    ] {
        h.write(&format!("etc/{name}.toml"), text);
    }
    let settings = h
        .read("hostel.toml")
        .replace(
            "network = \"private\"",
            "network = \"public\"\ntenant = \"acme\"\ntemplate = \"busybox\"",
        )
        .replace("plan = \"test\"", "plan = \"small\"");
    h.write("hostel.toml", &format!("unenforceable = \"warn\"\n{settings}"));
    h.write("setup.sh", "#!/bin/sh\necho \"set up: $*\"\n");
    Some(Panel::of(h))
}

fn plan(memory: &str) -> String {
    format!("memory.limit = \"{memory}\"\nprocesses = 500\ndisk.size = \"10GiB\"\nfeatures.tun = true\n")
}

/// A line of a session, done on this host.
fn typed(p: &Panel, line: &str) -> String {
    let line = line
        .replace("tiny", "busybox")
        .replace("/tmp/setup.sh", &p.h.dir.join("setup.sh").display().to_string());
    let mut child = p
        .typed(&line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Most read nothing of it. At a console the guest's terminal would say it again, if it comes to that in time.
    let input: &[u8] = match line.starts_with("console ") {
        true => b"\x01q",
        false => b"echo \"read: $0\"; exit 4\n",
    };
    let _ = child.stdin.take().unwrap().write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let out = String::from_utf8_lossy(&stdout);
    let err = String::from_utf8_lossy(&stderr);
    let lines = out
        .lines()
        .map(str::to_owned)
        .chain(err.lines().map(|line| format!("2> {line}")));
    let mut said: String = lines.filter_map(|line| everywhere(p, line)).collect();
    said.push_str(&format!("   code: {}\n", status.code().unwrap()));
    said
}

/// What is said on every host, without what is this one's: its directories and kernel, templates of other tests, and
/// limits that only some kernels enforce (tests/vzctl_effects.rs has them).
fn everywhere(p: &Panel, line: String) -> Option<String> {
    if ["memory.guarantee", "io.weight", "--ioprio has no effect here"]
        .iter()
        .any(|of| line.contains(of))
    {
        return None;
    }
    let mut line = line
        .replace(&p.h.dir.display().to_string(), "DIR")
        .replace(&p.h.run.display().to_string(), "RUN");
    for before in ["Linux web1.example.org ", "there are: ", "compacted, "] {
        if let Some(at) = line.find(before) {
            line.truncate(at + before.len());
            line.push('…');
        }
    }
    Some(line + "\n")
}

/// Types a session. Orders to the fakes are passed over, and so is what they are given for: a failure or a state that no
/// command makes here.
fn session(p: &Panel, name: &str) -> String {
    let file = root().join("src/faces/vz/ctl/tests").join(name);
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    let mut transcript = String::new();
    while let Some(line) = lines.next() {
        let order = line.strip_prefix("# ").map(|order| order.split(' ').next().unwrap());
        match order {
            Some("refuse") => drop(lines.next()),
            Some("state") => lines
                .by_ref()
                .take_while(|line| !line.starts_with("# state"))
                .for_each(drop),
            Some("no-weights" | "no-template") => {
                lines.by_ref().take_while(|line| !line.starts_with("# ")).for_each(drop)
            }
            Some("ends") => {}
            Some(_) => transcript.push_str(&format!("\n{}{line}\n", "#")),
            None => transcript.push_str(&format!("$ vzctl {line}\n{}", typed(p, line))),
        }
    }
    transcript
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// What was said is what this file has; UPDATE_GOLDEN=1 writes it.
fn golden(name: &str, said: &str) {
    let file = root().join("tests/golden/vz").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, said).unwrap();
        return;
    }
    let expected = fs::read_to_string(&file).unwrap();
    if let Some((was, is)) = expected.lines().zip(said.lines()).find(|(was, is)| was != is) {
        panic!("{name} differs first where it has\n{was}\nand it was said\n{is}\nin\n{said}");
    }
    assert_eq!(expected.lines().count(), said.lines().count(), "{said}");
}

#[test]
fn the_clients_core() {
    let Some(p) = host() else { return };
    golden("host-core.txt", &session(&p, "core.txt"));
}

#[test]
fn every_parameter() {
    let Some(p) = host() else { return };
    golden("host-parameters.txt", &session(&p, "parameters.txt"));
}

#[test]
fn every_refusal() {
    let Some(p) = host() else { return };
    golden("host-refusals.txt", &session(&p, "refusals.txt"));
}
