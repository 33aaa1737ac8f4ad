//! VEs find each other by name: by lines in /etc/hosts of each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod house;

use house::House;

const NETWORK: &str = "kind = \"nat\"\npools = [\"10.77.0.0/24\", \"fd77::/64\"]\n";

/// A house whose private network tells names, with these keys beside.
fn house(keys: &str) -> House {
    let h = House::new();
    h.write("etc/tenants/acme.toml", "");
    h.write("etc/networks/private.toml", &format!("{NETWORK}{keys}\n"));
    h
}

fn busybox(h: &House, name: &str, tenant: &str) {
    house::template("busybox");
    let tenant = format!("tenant={tenant}");
    h.ok(&["create", name, "--template", "busybox", "--start", "--set", &tenant]);
}

/// Does this answer by the name, over this version of IP?
#[track_caller]
fn answers(h: &House, ve: &str, name: &str) {
    for version in ["-4", "-6"] {
        let out = h.sh(ve, &format!("ping {version} -c 1 -w 10 {name} 2>&1"));
        assert!(out.contains("1 packets received"), "{ve} {version} {name}: {out}");
    }
}

/// The lines of its /etc/hosts that hold the word.
fn lines(h: &House, ve: &str, word: &str) -> Vec<String> {
    let out = h.sh(ve, &format!("grep -w {word} /etc/hosts || true"));
    out.lines().map(str::to_owned).collect()
}

#[test]
fn ves_of_one_tenant_find_each_other_by_name_and_hear_of_changes_while_they_run() {
    let h = house("names = \"hosts\"");
    busybox(&h, "web1", "acme");
    busybox(&h, "other", "default");
    h.sh("web1", "echo 192.0.2.7 mine >>/etc/hosts");
    busybox(&h, "web2", "acme");
    answers(&h, "web1", "web2");
    answers(&h, "web2", "web1");
    assert!(lines(&h, "other", "web1").is_empty() && lines(&h, "web1", "other").is_empty());
    // Another address in the place of the first.
    let old = h.status("web2", "addresses")[0].as_str().unwrap().to_owned();
    h.ok(&["address", "add", "web2", "10.77.0.99"]);
    h.ok(&["address", "remove", "web2", &old]);
    assert!(lines(&h, "web1", &old.replace('.', "\\.")).is_empty());
    answers(&h, "web1", "web2");
    h.ok(&[
        "create",
        "web3",
        "--template",
        "busybox",
        "--set",
        "tenant=acme",
        "--hostname",
        "www.acme.example",
    ]);
    assert_eq!(lines(&h, "web1", "web3").len(), 2);
    assert!(lines(&h, "web2", "web3")[0].ends_with(" web3 www.acme.example"));
    h.ok(&["destroy", "web3", "--force"]);
    assert!(lines(&h, "web1", "web3").is_empty());
    // What the guest has written stays; what is Hostel's comes back when it starts.
    h.sh("web1", "sed -i '/Hostel names/,/END/d' /etc/hosts");
    assert!(lines(&h, "web1", "web2").is_empty());
    h.ok(&["restart", "web1"]);
    answers(&h, "web1", "web2");
    assert_eq!(lines(&h, "web1", "mine"), ["192.0.2.7 mine"]);
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    // Nobody is told any more.
    h.write("etc/networks/private.toml", NETWORK);
    h.ok(&["restart", "web2"]);
    assert!(lines(&h, "web1", "web2").is_empty());
    assert!(!h.sh("web1", "cat /etc/hosts").contains("Hostel names"));
    h.run(&["audit", "--fix"]);
}

/// A guest's root may do what it likes with its files, and with the child that writes there: others don't wait for it.
#[test]
fn a_guest_that_hinders_it_is_left_alone() {
    let h = house("names = \"hosts\"\nnames_shared = true");
    for (name, tenant) in [("a", "acme"), ("b", "default"), ("c", "acme")] {
        busybox(&h, name, tenant);
    }
    answers(&h, "a", "b");
    h.sh("b", "rm /etc/hosts; mkdir /etc/hosts");
    let mut hog = h.spawn(&[
        "exec",
        "c",
        "--",
        "sh",
        "-c",
        "while :; do kill -STOP -1 2>/dev/null; done",
    ]);
    let mut n = 0;
    h.until("c stops whoever comes in", 60, || {
        n += 1;
        let ran = h.run(&["create", &format!("x{n}"), "--template", "busybox"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(
            ran.err
                .contains("/etc/hosts of b stay as they were: something is in the way"),
            "{}",
            ran.err
        );
        assert_eq!(lines(&h, "a", &format!("x{n}")).len(), 2);
        ran.err.contains("/etc/hosts of c stay as they were")
    });
    h.ok(&["kill", "c"]);
    hog.wait().unwrap();
    assert_eq!(h.sh("b", "ls /etc/hosts"), "");
    h.sh("b", "rmdir /etc/hosts");
    h.ok(&["restart", "b"]);
    answers(&h, "b", "a");
    assert!(h.audit().is_empty(), "{:?}", h.audit());
}

/// What a VE is told when it asks for a name.
fn asks(h: &House, ve: &str, name: &str) -> String {
    h.sh(ve, &format!("timeout 3 nslookup {name} 2>&1 || true"))
}

#[test]
fn a_name_server_of_the_network_s_own_tells_names() {
    if !["/usr/sbin/dnsmasq", "/usr/local/sbin/dnsmasq"]
        .iter()
        .any(|p| std::path::Path::new(p).exists())
    {
        println!("skipped because dnsmasq is not installed");
        return;
    }
    let h = house("names = \"dns\"\nnames_shared = true\ndns = [\"203.0.113.1\"]");
    h.write(
        "etc/networks/other.toml",
        "kind = \"routed\"\npools = [\"10.79.0.0/24\"]\n",
    );
    busybox(&h, "web1", "acme");
    busybox(&h, "web2", "default");
    h.busybox_with("stranger", &["network.0.network=other"]);
    answers(&h, "web1", "web2");
    answers(&h, "web2", "web1.private.internal");
    let address = h.status("web2", "addresses")[0].as_str().unwrap().to_owned();
    assert!(asks(&h, "web1", &address).contains("web2.private.internal"));
    // To others it doesn't speak.
    assert!(asks(&h, "web1", "web2.private.internal 10.77.0.1").contains(&address));
    assert!(!asks(&h, "stranger", "web2.private.internal 10.77.0.1").contains(&address));
    // Its names follow.
    h.ok(&["address", "add", "web2", "10.77.0.99"]);
    assert!(asks(&h, "web1", "web2").contains("10.77.0.99"));
    // Whoever kills it: the next start has it again, and an audit finds it missing.
    let pid = || {
        std::fs::read_to_string(h.run.join("names/private/pid"))
            .unwrap()
            .trim()
            .to_owned()
    };
    let killed = pid();
    h.host_sh(&format!("kill -9 {killed}"));
    h.until("it is missed", 10, || {
        h.audit().iter().any(|o| o["kind"] == "name server")
    });
    h.ok(&["restart", "web1"]);
    assert!(killed != pid() && h.audit().is_empty(), "{:?}", h.audit());
    answers(&h, "web1", "web2");
    // It goes with the last who is on the network.
    let last = pid();
    h.ok(&["destroy", "web1", "web2", "--force"]);
    assert!(!h.run.join("names/private").exists());
    // One that has ended has no command line, though it may wait to be taken note of.
    let line = std::fs::read(format!("/proc/{last}/cmdline")).unwrap_or_default();
    assert!(line.is_empty(), "{}", String::from_utf8_lossy(&line));
    assert!(!h.host_sh("ip -o link").contains("brhv-private"));
}

#[test]
fn a_network_that_makes_no_sense_is_refused_with_its_line() {
    let h = house("names_shared = true");
    let said = h.fails(2, &["network", "show", "private"]);
    assert!(
        said.contains("private.toml:3:16") && said.contains("only beside names"),
        "{said}"
    );
    h.write("etc/networks/private.toml", &format!("{NETWORK}names = \"hosts\"\n"));
    assert!(
        h.ok(&["network", "show", "private"])
            .contains("in /etc/hosts, of VEs of one tenant")
    );
}
