//! Definitions: what they come to, changing them, and what happens if they are wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use house::{House, Ran};
use serde_json::Value;

/// (value, source) of a key of `hostel show`.
fn shown(h: &House, ve: &str, key: &str) -> (String, String) {
    let list: Value = serde_json::from_str(&h.ok(&["show", ve, "--json"])).unwrap();
    let row = list
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["key"] == key)
        .unwrap_or_else(|| panic!("no {key} in {list:#}"));
    (
        row["value"].as_str().unwrap().to_owned(),
        row["source"].as_str().unwrap().to_owned(),
    )
}

fn keys(report: &Value, list: &str) -> Vec<String> {
    report[list]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["key"].as_str().unwrap().to_owned())
        .collect()
}

fn set(h: &House, args: &[&str]) -> Value {
    let args: Vec<&str> = ["set"].iter().chain(args).chain(&["--json"]).copied().collect();
    serde_json::from_str(&h.ok(&args)).unwrap()
}

#[test]
fn show_tells_every_setting_and_where_it_comes_from() {
    let h = House::new();
    house::template("busybox");
    h.ok(&[
        "create",
        "web1",
        "--template",
        "busybox",
        "--set",
        "memory.limit=96MiB",
        "--hostname",
        "www.example",
    ]);
    let sourced = |key| shown(&h, "web1", key);
    for (key, value, source) in [
        ("memory.limit", "96MiB", "override in "),
        ("processes", "100", "plan"),
        ("hostname", "www.example", "/"),
        ("plan", "test", "/"),
        ("stop.timeout", "1m", "default"),
    ] {
        let (shown, from) = sourced(key);
        assert!(shown == value && from.starts_with(source), "{key}: {shown} {from}");
    }
    assert!(sourced("memory.limit").1.ends_with("etc/ve/web1.toml"));
    let text = h.ok(&["show", "web1"]);
    assert!(
        text.lines()
            .any(|l| l.contains("memory.limit") && l.contains("96MiB") && l.contains("override")),
        "{text}"
    );
}

#[test]
fn set_changes_what_can_be_changed_at_once_and_keeps_comments() {
    let h = House::new();
    h.busybox("web1");
    let path = "etc/ve/web1.toml";
    h.write(path, &format!("# mine, all mine\n{}", h.read(path)));
    let report = set(
        &h,
        &[
            "web1",
            "memory.limit=80MiB",
            "processes=60",
            "cpu.cap=0.5",
            "hostname=new.example",
        ],
    );
    assert_eq!(keys(&report, "applied"), ["cpu.cap", "memory.limit", "processes"]);
    assert_eq!(keys(&report, "waiting"), ["hostname"]);
    assert!(h.read(path).starts_with("# mine, all mine\n"));
    // In force inside, now.
    let ran = h.run(&[
        "exec",
        "web1",
        "--",
        "sh",
        "-c",
        "for i in $(seq 80); do sleep 5 & done; wait",
    ]);
    assert!(ran.err.contains("fork"), "{ran:?}");
    h.until("the sleepers have gone", 20, || {
        h.run(&["exec", "web1", "pidof", "sleep"]).code == 1
    });
    let ran = h.run(&[
        "exec",
        "web1",
        "--",
        "sh",
        "-c",
        "head -c 100m /dev/zero | tail -c 100m | wc -c",
    ]);
    assert!(ran.out.trim() != "104857600", "100 MiB fit below 80 MiB: {ran:?}");
    assert_eq!(h.sh("web1", "hostname"), "web1");
    h.ok(&["restart", "web1"]);
    assert_eq!(h.sh("web1", "hostname"), "new.example");
    // The same again is no change.
    let report = set(&h, &["web1", "processes=60"]);
    assert!(
        keys(&report, "applied").is_empty() && keys(&report, "waiting").is_empty(),
        "{report}"
    );
}

#[test]
fn a_disk_grows_while_it_is_used() {
    let h = House::new();
    h.busybox("web1");
    let blocks = || h.sh("web1", "df -k / | awk 'NR==2{print $2}'").parse::<u64>().unwrap();
    let (before, text) = (blocks(), h.read("etc/ve/web1.toml"));
    let ran = h.run(&["set", "web1", "disk.size=200MiB", "processes=55"]);
    if ran.err.contains("CAP_SYS_RESOURCE") {
        println!("skipped because this host's root may not grow a mounted ext4");
        // But then nothing of it was done, and the next operation is none the worse.
        assert_eq!(h.read("etc/ve/web1.toml"), text);
        h.ok(&[
            "exec",
            "web1",
            "--",
            "sh",
            "-c",
            "for i in $(seq 60); do sleep 0.1 & done; wait",
        ]);
        h.ok(&["stop", "web1"]);
        assert_eq!(shown(&h, "web1", "disk.size").0, "128MiB");
        h.ok(&["set", "web1", "disk.size=200MiB"]);
        h.ok(&["start", "web1"]);
    } else {
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    assert!(blocks() > before + (60 << 10), "{before} {}", blocks());
    h.ok(&["restart", "web1"]);
    assert!(blocks() > before + (60 << 10), "{before} {}", blocks());
}

#[test]
fn set_is_all_or_nothing() {
    let h = House::new();
    h.busybox("web1");
    let path = "etc/ve/web1.toml";
    let before = h.read(path);
    for (code, bad) in [
        (2, "memory.limit=lots"),
        (2, "no.such.key=1"),
        (3, "plan=nothing"),
        (2, "processes=-1"),
        (4, "id=777"),
        (2, "name=other"),
    ] {
        let ran = h.run(&["set", "web1", "processes=55", bad]);
        assert_eq!(ran.code, code, "{bad}: {}", ran.err);
        assert_eq!(h.read(path), before, "{bad}");
        let key = bad.split('=').next().unwrap();
        assert!(ran.err.contains(key), "{bad}: {}", ran.err);
    }
    assert_eq!(shown(&h, "web1", "processes").0, "100");
    h.ok(&[
        "exec",
        "web1",
        "--",
        "sh",
        "-c",
        "for i in $(seq 60); do sleep 0.1 & done; wait",
    ]);
    // A dry run says and does nothing.
    let report = set(&h, &["web1", "processes=55", "hostname=x.example", "--dry-run"]);
    assert_eq!(
        (&report["dry_run"], keys(&report, "applied"), keys(&report, "waiting")),
        (&true.into(), vec!["processes".into()], vec!["hostname".into()])
    );
    assert_eq!(h.read(path), before);
    h.fails(3, &["set", "nobody", "processes=1"]);
}

#[test]
fn a_disk_never_shrinks_below_what_is_on_it() {
    let h = House::new();
    h.busybox("web1");
    h.sh(
        "web1",
        "head -c 60000000 /dev/urandom > /root/data; md5sum /root/data > /root/sum; sync",
    );
    let err = h.fails(4, &["set", "web1", "disk.size=100MiB"]);
    assert!(err.contains("stop"), "{err}");
    h.ok(&["stop", "web1"]);
    let err = h.fails(6, &["set", "web1", "disk.size=40MiB"]);
    assert!(err.contains("use"), "{err}");
    assert_eq!(shown(&h, "web1", "disk.size").0, "128MiB");
    h.ok(&["set", "web1", "disk.size=100MiB"]);
    h.ok(&["start", "web1"]);
    h.sh("web1", "md5sum -c /root/sum");
    let blocks: u64 = h.sh("web1", "df -k / | awk 'NR==2{print $2}'").parse().unwrap();
    assert!(blocks < 100 << 10, "{blocks}");
}

/// Runs `hostel edit` with a shell script for an editor; `$1` in it is the file.
fn edit(h: &House, script: &str) -> Ran {
    h.write("editor", &format!("#!/bin/sh\n{script}\n"));
    let editor = h.dir.join("editor");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = h.command(&["edit", "web1"]);
    command
        .env_remove("VISUAL")
        .env("EDITOR", &editor)
        .output()
        .unwrap()
        .into()
}

#[test]
fn edit_opens_the_editor_and_takes_only_what_is_right() {
    let h = House::new();
    h.busybox("web1");
    let path = "etc/ve/web1.toml";
    let ran = edit(
        &h,
        "printf 'processes = 70 # fewer\\n' > $1.new; cat $1 >> $1.new; mv $1.new $1",
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(h.read(path).contains("processes = 70 # fewer"));
    assert_eq!(shown(&h, "web1", "processes").0, "70");
    assert_eq!(edit(&h, "true").code, 0);
    let before = h.read(path);
    // Without a person to mend it, a mistake is the end; the text is kept.
    let ran = edit(&h, "sed -i 's/processes = 70/processes = \"many\"/' $1");
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.contains("processes") && ran.err.contains("kept in"),
        "{}",
        ran.err
    );
    assert_eq!(h.read(path), before);
    let kept = ran.err.split("kept in ").nth(1).unwrap().lines().next().unwrap();
    assert!(fs::read_to_string(kept).unwrap().contains("many"));
    fs::remove_dir_all(std::path::Path::new(kept).parent().unwrap()).unwrap();
    assert_eq!(edit(&h, "exit 3").code, 1);
    assert_eq!(h.read(path), before);
}

#[test]
fn edit_opens_again_on_a_mistake() {
    let h = House::new();
    h.busybox("web1");
    // The first time a mistake is made, the second time the editor finds it named at the top, and mends it.
    h.write(
        "editor",
        "#!/bin/sh\nif grep -q '^#! ' $1; then cp $1 ${0%/*}/second; sed -i 's/lots/64MiB/' $1\n\
         else printf '[memory]\\nlimit = \"lots\"\\n' >> $1; fi\n",
    );
    let editor = h.dir.join("editor");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).unwrap();
    let line = format!(
        "EDITOR={} VISUAL= {} --config {}/hostel.toml edit web1",
        editor.display(),
        house::hostel().display(),
        h.dir.display()
    );
    h.write("run", &line);
    let ran: Ran = h
        .on_host("script")
        .args(["-q", "-e", "-c", &format!("sh {}/run", h.dir.display()), "/dev/null"])
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, 0, "{}", ran.out);
    let second = h.read("second");
    assert!(second.starts_with("#! ") && second.contains("memory.limit"), "{second}");
    assert_eq!(shown(&h, "web1", "memory.limit").0, "64MiB");
    assert!(!h.read("etc/ve/web1.toml").contains("#! "));
}

#[test]
fn a_definition_broken_by_hand_hurts_nobody_who_runs() {
    let h = House::new();
    h.busybox("web1");
    h.busybox("web2");
    let path = "etc/ve/web1.toml";
    let good = h.read(path);
    h.write(
        path,
        &format!(
            "{}\nprocesses = \"many\"\ncolour = \"red\"\n",
            good.replace("plan = \"test\"", "plan = 5")
        ),
    );
    let file = h.dir.join(path);
    let ran = h.run(&["show", "web1"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    let at = |what: &str| {
        let text = h.read(path);
        let line = text.lines().position(|l| l.starts_with(what)).unwrap() + 1;
        format!("{}:{line}:", file.display())
    };
    // Every mistake, each with its place.
    for wrong in ["plan = 5", "processes", "colour"] {
        assert!(
            ran.err.contains(&at(wrong)),
            "{wrong} at {} is not told in\n{}",
            at(wrong),
            ran.err
        );
    }
    assert_eq!(h.state("web1"), "running");
    assert!(h.status("web1", "problem").is_string());
    assert!(h.ok(&["list"]).contains("web1"));
    assert_eq!(h.sh("web1", "echo alive"), "alive");
    assert_eq!(h.run(&["start", "web1"]).code, 0, "it runs already");
    h.ok(&["pause", "web1"]);
    h.ok(&["unpause", "web1"]);
    // The other one isn't touched by it.
    h.ok(&["restart", "web2"]);
    h.ok(&["stop", "web1"]);
    assert_eq!(h.state("web1"), "broken");
    let err = h.fails(2, &["start", "web1"]);
    assert!(err.contains(&at("colour")), "{err}");
    assert_eq!(h.run(&["start", "--all"]).code, 2);
    h.ok(&["mount", "web1"]);
    h.ok(&["umount", "web1"]);
    // edit mends it.
    let line = "sed -i -e '/colour/d' -e '/many/d' -e 's/plan = 5/plan = \"test\"/' $1";
    assert_eq!(edit(&h, line).code, 0);
    h.ok(&["start", "web1"]);
    // Gone altogether: it can still be ended and destroyed.
    fs::remove_file(&file).unwrap();
    assert_eq!(h.sh("web1", "echo alive"), "alive");
    h.ok(&["kill", "web1"]);
    h.ok(&["destroy", "web1"]);
    h.ok(&["destroy", "web2", "--force"]);
}

#[test]
fn a_tenants_verbs_go_on_beside_a_broken_definition() {
    let h = House::new();
    h.busybox("web1");
    h.busybox("web2");
    h.write("etc/tenants/other.toml", "");
    h.write("etc/ve/web1.toml", "nonsense");
    let running = || (h.state("web1") == "running", h.state("web2") == "running");
    // Hostel remembers whose it is.
    let others = h.run(&["stop", "--tenant", "other"]);
    assert!(others.code == 0 && !others.err.contains("web1"), "{}", others.err);
    assert_eq!(running(), (true, true));
    assert_eq!(h.status("web1", "tenant"), "default");
    h.ok(&["stop", "--tenant", "default"]);
    assert_eq!(running(), (false, false));
}

#[test]
fn a_ve_of_which_nothing_says_whose_it_is_is_named_when_it_is_passed_over() {
    let h = House::new();
    h.busybox("web1");
    h.busybox("web2");
    h.write("etc/ve/web1.toml", "nonsense");
    // A record of a time when it wasn't kept there. Without the checksum's line it may be changed by hand.
    let id = h.status("web1", "id");
    let record = format!("data/ve/{id}/state.toml");
    let kept = |line: &&str| !line.starts_with("tenant = ") && !line.starts_with("# checksum");
    let old: Vec<String> = h.read(&record).lines().filter(kept).map(str::to_owned).collect();
    h.write(&record, &format!("{}\n", old.join("\n")));
    let ran = h.run(&["stop", "--quiet", "--tenant", "default"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let warning = format!("warning: VE {id} (web1) is passed over, as it can't be told whose it is");
    assert!(
        ran.err.contains(&warning) && ran.err.contains("web1.toml"),
        "{}",
        ran.err
    );
    assert_eq!((h.state("web1"), h.state("web2")), ("running".into(), "stopped".into()));
    h.ok(&["stop", "--all"]);
    assert_ne!(h.state("web1"), "running");
}

/// What runs on it goes on as before, and everybody else doesn't notice.
#[test]
fn one_broken_network_keeps_only_its_own_ves_from_starting() {
    let h = House::new();
    let file = "etc/networks/odd.toml";
    let good = "kind = \"nat\"\npools = [\"10.99.0.0/24\"]\n";
    h.write(file, good);
    h.busybox_with("odd", &["network.0.network=odd", "network.0.addresses=10.99.0.9"]);
    let rules = || h.host_sh("nft -s list table inet hostel | grep -v 'hv102'");
    let before = rules();
    h.write(file, &good.replace("/24", "/33"));
    h.busybox("web1");
    assert!(h.sh("web1", "ping -c 1 -w 10 10.99.0.9").contains("1 packets received"));
    h.ok(&["address", "add", "web1", "auto4"]);
    h.ok(&["restart", "web1"]);
    h.ok(&["stop", "web1"]);
    assert_eq!(rules(), before);
    assert!(
        h.sh("odd", "ping -c 1 -w 10 169.254.1.1")
            .contains("1 packets received")
    );
    let found = h.audit();
    assert!(
        found.len() == 1 && found[0]["why"].as_str().unwrap().contains("odd.toml:2"),
        "{found:?}"
    );
    for told in [&["network", "list", "--json"][..], &["info"], &["list", "--json"]] {
        assert!(h.ok(told).contains("odd.toml:2"), "{told:?}");
    }
    h.ok(&["stop", "odd"]);
    let said = h.fails(2, &["start", "odd"]);
    assert!(said.contains("odd.toml:2"), "{said}");
    h.write(file, good);
    h.ok(&["start", "odd"]);
    assert!(h.audit().is_empty(), "{:?}", h.audit());
}
