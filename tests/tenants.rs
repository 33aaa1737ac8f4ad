//! Tenants of the whole: budgets that hold side by side, suspension that outlives a kill, and VEs that change hands.

#![allow(clippy::unwrap_used)]

mod house;

use std::time::Duration;

use house::{House, end_of, signal, until};
use serde_json::Value;

/// Busybox's own init doesn't answer a shutdown in less than this.
const GRACE: &str = "3s";

fn house(tenant: &str) -> House {
    let h = House::new();
    house::template("busybox");
    h.write("etc/tenants/acme.toml", tenant);
    h
}

fn json(h: &House, args: &[&str]) -> Value {
    serde_json::from_str(&h.ok(args)).unwrap()
}

fn make(h: &House, name: &str) {
    h.ok(&["create", name, "--template", "busybox", "--tenant", "acme"]);
}

#[test]
fn a_budget_is_not_passed_by_many_at_once() {
    // The tests' plan has 128 MiB of memory, 128 MiB of disk and one processor.
    let h = house("# ours\nmemory = \"400MiB\"\nmax_ves = 8\n");
    let names: Vec<String> = (1..=7).map(|n| format!("web{n}")).collect();
    let args = |name| {
        [
            "create",
            name,
            "--template",
            "busybox",
            "--tenant",
            "acme",
            "--wait-lock",
            "60s",
        ]
    };
    let all: Vec<_> = names.iter().map(|name| h.spawn(&args(name.as_str()))).collect();
    let ends: Vec<_> = all.into_iter().map(end_of).collect();
    let codes: Vec<i32> = ends.iter().map(|end| end.code).collect();
    assert_eq!(codes.iter().filter(|c| **c == 0).count(), 3, "{codes:?}");
    let refused: Vec<_> = ends.iter().filter(|end| end.code == 6).collect();
    assert_eq!(refused.len(), 4, "{codes:?}");
    let made: Vec<String> = json(&h, &["list", "--json"])
        .as_array()
        .unwrap()
        .iter()
        .map(|ve| ve["name"].as_str().unwrap().to_owned())
        .collect();
    for end in &refused {
        assert!(
            end.err
                .contains("it takes 128MiB of memory, and tenant \"acme\" has 16MiB left of 400MiB"),
            "{}",
            end.err
        );
        assert!(
            made.iter().all(|name| end.err.contains(&format!("{name} has 128MiB"))),
            "{}",
            end.err
        );
    }
    let shown = json(&h, &["tenant", "show", "acme", "--json"]);
    let memory = shown["budgets"]
        .as_array()
        .unwrap()
        .iter()
        .find(|b| b["budget"] == "memory")
        .unwrap()
        .clone();
    assert_eq!(
        (&memory["used"], &memory["limit"]),
        (&Value::from(384 << 20), &Value::from(400 << 20))
    );
    assert_eq!(shown["shares"].as_array().unwrap().len(), 3);
    // Lowered below what is in use: told, and what runs is held to it.
    let said = h.run(&["tenant", "set", "acme", "memory=256MiB", "addresses.ipv4=3"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err.contains("memory is 256MiB, and 384MiB is in use"),
        "{}",
        said.err
    );
    assert!(
        h.read("etc/tenants/acme.toml")
            .starts_with("# ours\nmemory = \"256MiB\"\n")
    );
    let starts: Vec<_> = made.iter().map(|name| h.spawn(&["start", name])).collect();
    let mut codes: Vec<i32> = starts.into_iter().map(|child| end_of(child).code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 0, 6]);
    let idle = made.iter().find(|name| h.state(name) == "stopped").unwrap();
    let error = h.fails(6, &["start", idle]);
    assert!(error.contains("by what runs, has 0 left of 256MiB"), "{error}");
    let error = h.fails(6, &["address", "add", idle, "auto"]);
    assert!(error.contains("has 1 left of 3 (addresses.ipv4)"), "{error}");
    h.fails(4, &["tenant", "remove", "acme"]);
    let table = h.ok(&["tenant", "list"]);
    assert!(
        table
            .lines()
            .any(|l| l.starts_with("acme ") && l.contains("384M of 256M")),
        "{table}"
    );
}

#[test]
fn a_suspension_outlives_whoever_is_killed_at_it() {
    let h = house("");
    for name in ["web1", "web2", "web3"] {
        make(&h, name);
    }
    h.ok(&["start", "web1", "web2"]);
    h.ok(&["set", "web3", "onboot=true"]);
    let args = [
        "tenant",
        "suspend",
        "acme",
        "--reason",
        "unpaid since May",
        "--timeout",
        GRACE,
    ];
    // Killed at several moments; each time what doesn't run can't start any more once the word is written.
    for millis in [1, 5, 20, 60] {
        let mut child = h.spawn(&args);
        std::thread::sleep(Duration::from_millis(millis));
        signal(&child, rustix::process::Signal::KILL);
        child.wait().unwrap();
        if h.read("etc/tenants/acme.toml").contains("unpaid") {
            let error = h.fails(4, &["start", "web3"]);
            assert!(
                error.contains("its tenant \"acme\" is suspended") && error.contains("unpaid since May"),
                "{error}"
            );
        }
    }
    h.ok(&args);
    let why = h.ok(&["why", "web1"]);
    assert!(why.lines().next().unwrap().contains("is suspended"), "{why}");
    for name in ["web1", "web2", "web3"] {
        assert_eq!(h.state(name), "stopped");
        assert!(h.status(name, "problem").as_str().unwrap().contains("unpaid since May"));
    }
    assert!(h.ok(&["tenant", "list"]).contains("unpaid since May"));
    assert!(h.ok(&["tenant", "show", "acme"]).contains("unpaid since May"));
    // The host comes up: none of them does.
    assert_eq!(h.run(&["boot"]).code, 0);
    assert_eq!(h.state("web3"), "stopped");
    // Its end is killed too, and done again.
    let mut child = h.spawn(&["tenant", "unsuspend", "acme"]);
    until("it is written", 30, || {
        !h.read("etc/tenants/acme.toml").contains("suspended")
    });
    signal(&child, rustix::process::Signal::KILL);
    child.wait().unwrap();
    h.ok(&["tenant", "unsuspend", "acme"]);
    for (name, state) in [("web1", "running"), ("web2", "running"), ("web3", "stopped")] {
        assert_eq!(h.state(name), state, "{name}");
    }
    assert_eq!(h.read("etc/tenants/acme.toml"), "");
    h.ok(&["tenant", "suspend", "acme", "--timeout", GRACE]);
    h.ok(&["tenant", "unsuspend", "acme", "--no-start"]);
    assert_eq!(h.state("web1"), "stopped");
    h.ok(&["tenant", "unsuspend", "acme"]);
    assert_eq!(h.state("web1"), "stopped");
}

/// All that a guest has done to its files stays when it goes to another tenant's copy of the template, with what it
/// hasn't touched around it.
#[test]
fn a_ve_changes_hands_with_all_that_is_in_it() {
    let h = house("");
    h.ok(&["tenant", "create", "globex", "max_ves=1", "contact=gus"]);
    h.ok(&[
        "create",
        "web1",
        "--template",
        "busybox",
        "--tenant",
        "acme",
        "--share",
        "tenant",
        "--start",
    ]);
    let tree = "cd / && find etc bin sbin usr root srv -xdev 2>/dev/null | sort | while read f; do \
                [ -f \"$f\" ] && [ ! -L \"$f\" ] && set -- $(sha256sum \"$f\") || set -- none; echo \"$f $1\"; done";
    let work = "cd / && echo mine > etc/motd && mkdir -p etc/deep/er && echo x > etc/deep/er/file && \
                rm -f etc/passwd- && mv etc/deep etc/moved && chmod 0711 usr && rm -rf srv && mkdir srv && \
                echo new > srv/only && ln etc/motd root/again";
    h.sh("web1", work);
    let links = h.sh(
        "web1",
        "find / -xdev -type f -links +1 | grep -v '^/proc\\|^/sys' | head -3",
    );
    for link in links.lines() {
        h.sh("web1", &format!("chmod u+w '{link}' && touch '{link}'"));
    }
    let before = h.sh("web1", tree);
    assert!(before.lines().count() > 20, "{before}");
    h.ok(&["restart", "web1"]);
    assert_eq!(h.sh("web1", tree), before);
    let error = h.fails(4, &["set", "web1", "tenant=globex"]);
    assert!(error.contains("hostel stop web1"), "{error}");
    h.ok(&["stop", "web1", "--timeout", GRACE]);
    let said = h.ok(&["set", "web1", "tenant=globex"]);
    assert!(said.contains("tenant") && said.contains("globex"), "{said}");
    let lower = h.read("data/ve/101/state.toml");
    assert!(lower.contains("/data/tenants/globex/templates/busybox/"), "{lower}");
    // The tree that it stood on can go: nothing of it is used any more.
    h.ok(&["tenant", "remove", "acme"]);
    h.ok(&["start", "web1"]);
    assert_eq!(h.sh("web1", tree), before);
    assert_eq!(
        h.sh("web1", "cat /root/again; echo more >> /etc/motd; cat /root/again"),
        "mine\nmine\nmore"
    );
    h.ok(&["restart", "web1"]);
    assert_eq!(
        h.sh("web1", "cat /etc/moved/er/file /srv/only /root/again"),
        "x\nnew\nmine\nmore"
    );
    let error = h.fails(6, &["create", "web2", "--template", "busybox", "--tenant", "globex"]);
    assert!(
        error.contains("tenant \"globex\" has 1 of the 1 VEs that it may have: web1"),
        "{error}"
    );
}

/// A file of several names is one file still, whichever of them the guest changes it by.
#[test]
fn a_file_of_several_names_stays_one_when_its_ve_changes_hands() {
    let h = House::with_own_templates();
    h.write("etc/tenants/acme.toml", "");
    h.write("etc/tenants/globex.toml", "");
    h.ok(&["template", "build", "busybox"]);
    h.host_sh(&format!(
        "cd {dir} && cp -a data/templates/busybox/*/root linked && mkdir linked/opt && cd linked/opt && \
         echo one > first && ln first second && ln first ../third && \
         echo calm > quiet && ln quiet still && ln quiet ../silent",
        dir = h.dir.display(),
    ));
    h.ok(&["template", "import", "linked", h.dir.join("linked").to_str().unwrap()]);
    h.ok(&[
        "create",
        "web1",
        "--template",
        "linked",
        "--tenant",
        "acme",
        "--share",
        "tenant",
        "--start",
    ]);
    // One is changed before the move, the other after it.
    let names = "/opt/first /opt/second /third";
    h.sh("web1", "echo two >> /opt/second");
    let is_one = |names: &str, text: &str| {
        let asked = format!(
            "stat -c %h {names}; stat -c %i {names} | sort -u | wc -l; sha256sum {names} | cut -c1-64 | sort -u | wc -l"
        );
        assert_eq!(h.sh("web1", &asked), "3\n3\n3\n1\n1");
        assert_eq!(h.sh("web1", &format!("cat {}", names.split(' ').next().unwrap())), text);
    };
    is_one(names, "one\ntwo");
    h.ok(&["stop", "web1", "--timeout", GRACE]);
    h.ok(&["set", "web1", "tenant=globex"]);
    h.ok(&["tenant", "remove", "acme"]);
    h.ok(&["start", "web1"]);
    is_one(names, "one\ntwo");
    h.sh("web1", "echo three >> /third; echo loud >> /silent");
    is_one(names, "one\ntwo\nthree");
    is_one("/opt/quiet /opt/still /silent", "calm\nloud");
    // Names come and go.
    h.sh("web1", "rm /opt/first && ln /third /opt/fourth");
    h.ok(&["restart", "web1", "--timeout", GRACE]);
    is_one("/opt/second /third /opt/fourth", "one\ntwo\nthree");
}
