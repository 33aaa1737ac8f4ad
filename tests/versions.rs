//! Hostel is brought up to date, or back, while VEs run: no VE notices, and what one version has written the other reads,
//! or refuses by name. The records of the first version are golden files (`tests/golden/records`). With the program of
//! another version at hand, the two are tried with each other:
//!
//! ```text
//! git worktree add /tmp/other COMMIT && (cd /tmp/other && cargo build --workspace)
//! HOSTEL_OTHER=/tmp/other/target/debug/hostel cargo test --test versions -- --ignored
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod house;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use house::{House, Ran, Talk};
use serde_json::Value;
use sha2::Digest;

/// The first VE's number.
const ID: u32 = 101;

fn golden(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/records");
    std::fs::read_to_string(dir.join(name)).unwrap()
}

/// The golden text with each `{key}` replaced by what `value` gives for it.
fn filled(text: &str, value: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    for (n, part) in text.split('{').enumerate() {
        match part.split_once('}') {
            Some((key, rest))
                if n > 0 && !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') =>
            {
                out += &value(key);
                out += rest;
            }
            _ if n > 0 => {
                out.push('{');
                out += part;
            }
            _ => out += part,
        }
    }
    out
}

/// The value of a key in a file of TOML, as it is written there.
fn written(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|l| l.strip_prefix(&format!("{key} = ")));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).to_owned()
}

/// A record, as every version has written it.
fn with_checksum(text: &str) -> String {
    format!(
        "# Hostel's own record.\n# Whoever must change it removes the next line.\n# checksum of what follows: {}\n{text}",
        checksum(text)
    )
}

fn checksum(text: &str) -> String {
    sha2::Sha256::digest(text)
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn state_file(h: &House) -> PathBuf {
    h.dir.join(format!("data/ve/{ID}/state.toml"))
}

/// What is below the checksum.
fn body(text: &str) -> String {
    let below = text.split_once("# checksum of what follows: ").unwrap().1;
    below.split_once('\n').unwrap().1.to_owned()
}

/// Gives the VE this record, and no copy of another.
fn put_record(h: &House, text: &str) {
    std::fs::write(state_file(h), with_checksum(text)).unwrap();
    let _ = std::fs::remove_file(state_file(h).with_file_name(".state.toml.copy"));
}

/// All that is done to a VE that runs, and what it is then.
#[track_caller]
fn used_on(h: &House, ve: &str, pid: u64) {
    assert_eq!(h.ok(&["list", "-H", "-o", "state", "--name", ve]).trim(), "running");
    assert_eq!(
        (h.status(ve, "pid").as_u64(), h.audit()),
        (Some(pid), Vec::<Value>::new())
    );
    assert_eq!(h.sh(ve, "hostname"), ve);
    h.ok(&["set", ve, "memory.limit=96MiB"]);
    assert_eq!(h.status(ve, "pid").as_u64(), Some(pid), "a setting has restarted it");
    let address = h.status(ve, "addresses")[0].clone();
    h.run(&["exec", ve, "--", "/bin/sh", "-c", "reboot -f"]);
    h.until("it has rebooted", 30, || {
        h.status(ve, "pid").as_u64().is_some_and(|new| new != pid)
    });
    assert_eq!(
        (h.sh(ve, "hostname").as_str(), &h.status(ve, "addresses")[0]),
        (ve, &address)
    );
    h.ok(&["stop", ve]);
    assert_eq!((h.state(ve).as_str(), h.audit()), ("stopped", Vec::new()));
    h.ok(&["start", ve]);
    assert_eq!(h.sh(ve, "hostname"), ve);
}

#[test]
fn a_ve_of_the_first_version_is_used_on() {
    let h = House::new();
    h.busybox("web1");
    let now = body(&std::fs::read_to_string(state_file(&h)).unwrap());
    put_record(&h, &filled(&golden("first.state.toml"), |key| written(&now, key)));
    let run = h.run.join(format!("{ID}/run.json"));
    let record: Value = serde_json::from_slice(&std::fs::read(&run).unwrap()).unwrap();
    let first = filled(&golden("first.run.json"), |key| match key {
        "pid" | "start_time" => record["init"][key].to_string(),
        "started" => record[key].to_string(),
        _ => record[key].as_str().unwrap().to_owned(),
    });
    std::fs::write(&run, first).unwrap();
    used_on(&h, "web1", record["init"]["pid"].as_u64().unwrap());
}

/// A later version may note more. What this one doesn't know of it, it passes over.
#[test]
fn more_than_this_version_knows_is_passed_over() {
    let h = House::new();
    h.busybox("web1");
    let pid = h.status("web1", "pid").as_u64().unwrap();
    let now = body(&std::fs::read_to_string(state_file(&h)).unwrap());
    put_record(&h, &now.replacen("id = ", "colour = \"blue\"\nid = ", 1));
    let run = h.run.join(format!("{ID}"));
    for name in ["run.json", "last.json"] {
        let Ok(text) = std::fs::read(run.join(name)) else {
            continue;
        };
        let mut more: Value = serde_json::from_slice(&text).unwrap();
        more["colour"] = "blue".into();
        std::fs::write(run.join(name), more.to_string()).unwrap();
    }
    used_on(&h, "web1", pid);
}

/// What would be misunderstood bears a version that this one doesn't know: then nothing is done to it, it is told, and
/// nobody else is touched. Its VE can be ended.
#[test]
fn what_this_version_would_misunderstand_is_refused_by_name() {
    let h = House::new();
    for ve in ["web1", "web2"] {
        h.busybox(ve);
    }
    let pid = h.status("web1", "pid").as_u64();
    let whole = std::fs::read(state_file(&h)).unwrap();
    let now = body(std::str::from_utf8(&whole).unwrap());
    put_record(&h, &now.replacen("version = 1", "version = 99", 1));
    let list = h.ok(&["list", "-H", "-o", "name,state"]);
    assert!(list.contains("web2") && list.contains("running"), "{list}");
    let problem = h.status("web1", "problem").as_str().unwrap().to_owned();
    assert!(
        problem.contains("its version 99 is newer than this hostel's"),
        "{problem}"
    );
    let refused = h.fails(1, &["restart", "web1"]);
    assert!(
        refused.contains("version 99") && refused.contains("runs on"),
        "{refused}"
    );
    assert_eq!(h.status("web1", "pid").as_u64(), pid, "it runs on");
    // The version that knows it is back.
    std::fs::write(state_file(&h), &whole).unwrap();
    assert_eq!(
        (h.status("web1", "pid").as_u64(), h.sh("web1", "echo alive").as_str()),
        (pid, "alive")
    );

    // An operation that this version doesn't know was cut short: whoever began it has to end it.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let begin = serde_json::json!({"n": 0, "line": {"begin": {
        "verb": "transmute", "id": ID, "params": {}, "boot_id": boot.trim(), "pid": 1, "time": 1,
    }}});
    let journal = h.run.join(format!("journal/{ID}.journal"));
    let line = begin.to_string();
    std::fs::write(&journal, format!("{} {line}\n", checksum(&line))).unwrap();
    let refused = h.fails(1, &["stop", "web1"]);
    assert!(
        refused.contains("unfinished transmute") && refused.contains("the version of hostel that began it"),
        "{refused}"
    );
    assert_eq!(h.status("web1", "pid").as_u64(), pid, "it runs on");
    assert_eq!(h.sh("web2", "echo alive"), "alive");
    std::fs::remove_file(&journal).unwrap();
    assert!(h.audit().is_empty(), "{:#?}", h.audit());
}

/// A monitor lives as long as its VE, and so hears words that a later command has learnt.
#[test]
fn a_monitor_takes_no_harm_from_words_that_it_does_not_know() {
    use std::io::{Read, Write};
    let h = House::new();
    h.busybox("web1");
    let pid = h.status("web1", "pid").as_u64().unwrap();
    for words in ["\"transmute\"\n", "{\"transmute\":{\"into\":1}}\n", "what?\n"] {
        let mut stream = std::os::unix::net::UnixStream::connect(h.run.join(format!("{ID}/monitor.sock"))).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "", "{words}");
    }
    used_on(&h, "web1", pid);
}

/// A command of another version, on the same house.
fn other(h: &House, program: &Path, args: &[&str]) -> Ran {
    let mut command = h.on_host(program);
    command.arg("--config").arg(h.dir.join("hostel.toml")).args(args);
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.code, 0, "{} {args:?}\n{}{}", program.display(), ran.out, ran.err);
    ran
}

/// A conversation with a VE that goes on for as long as nobody touches it.
fn talk_to(h: &House, ve: &str) -> Talk {
    h.sh(ve, "(nc -l -p 7 -e cat) </dev/null >/dev/null 2>&1 &");
    let address = h.status(ve, "addresses")[0].as_str().unwrap().to_owned();
    h.until("it listens", 20, || h.sh(ve, "netstat -ltn").contains(":7 "));
    let mut nc: Command = h.on_host("busybox");
    nc.args(["nc", &address, "7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Talk::new(nc.spawn().unwrap())
}

#[test]
#[ignore = "needs the program of another version, named by HOSTEL_OTHER"]
fn two_versions_take_turns_at_ves_that_run() {
    let program =
        PathBuf::from(std::env::var_os("HOSTEL_OTHER").expect("HOSTEL_OTHER names the other version's hostel"));
    let this = house::hostel();
    for (first, second) in [(&program, &this), (&this, &program)] {
        println!("{}, then {}", first.display(), second.display());
        let h = House::new();
        let names: Vec<String> = (0..10).map(|n| format!("web{n}")).collect();
        for name in &names {
            other(&h, first, &["create", name, "--template", "busybox", "--start"]);
        }
        let pids = || -> Vec<Option<u64>> { names.iter().map(|n| h.status(n, "pid").as_u64()).collect() };
        let before = pids();
        let mut talk = talk_to(&h, "web9");
        // All that looks, and what changes them while they run.
        for args in [
            &["init"][..],
            &["list"],
            &["exec", "web0", "--", "hostname"],
            &["set", "web0", "memory.limit=96MiB", "processes=50"],
            &["pause", "web1"],
            &["unpause", "web1"],
            &["create", "late", "--template", "busybox", "--start"],
            &["stat"],
            // Its rules may be others; they are loaded with the next start, or now.
            &["audit", "--fix"],
            &["audit"],
        ] {
            other(&h, second, args);
        }
        assert_eq!(pids(), before, "a VE was restarted");
        talk.say("still here\n");
        talk.hear("still here");
        // Back again, with the firewall as the other has left it.
        for args in [
            &["audit", "--fix"][..],
            &["audit"],
            &["exec", "late", "--", "hostname"],
            &["set", "web0", "processes=60"],
        ] {
            other(&h, first, args);
        }
        talk.say("and here\n");
        talk.hear("and here");
        assert_eq!(pids(), before, "a VE was restarted");
        // The other ends, begins anew, and gives a new monitor; a guest reboots under the first one's monitor.
        let old = before[2].unwrap();
        h.run(&["exec", "web2", "--", "/bin/sh", "-c", "reboot -f"]);
        h.until("it has rebooted", 30, || {
            h.status("web2", "pid").as_u64().is_some_and(|p| p != old)
        });
        for args in [
            &["stop", "web3"][..],
            &["start", "web3"],
            &["restart", "web4"],
            &["kill", "web5"],
            &["start", "web5"],
            &["destroy", "web6", "--force"],
            &["audit", "--fix"],
            &["audit"],
        ] {
            other(&h, second, args);
        }
        for args in [
            &["stop", "web3"][..],
            &["start", "web3"],
            &["restart", "late"],
            &["destroy", "late", "--force"],
            &["audit", "--fix"],
            &["audit"],
        ] {
            other(&h, first, args);
        }
    }
}
