//! Addresses that come and go while VEs run, pools, and what is kept aside.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::collections::BTreeSet;
use std::process::Child;

use house::{House, end_of};
use serde_json::Value;

#[track_caller]
fn pings(h: &House, ve: &str, to: &str) {
    let out = h.sh(ve, &format!("ping -c 1 -w 10 {to} 2>&1"));
    assert!(out.contains("1 packets received"), "{ve} does not reach {to}: {out}");
}

fn addresses(h: &House, ve: &str) -> BTreeSet<String> {
    let list = h.status(ve, "addresses");
    list.as_array()
        .unwrap()
        .iter()
        .map(|a| a.as_str().unwrap().to_owned())
        .collect()
}

fn network(h: &House, name: &str) -> Value {
    serde_json::from_str(&h.ok(&["network", "show", name, "--json"])).unwrap()
}

/// used, aside and left of its first pool.
fn census(h: &House, name: &str) -> [u64; 3] {
    let network = network(h, name);
    ["used", "aside", "left"].map(|key| network["pools"][0][key].as_u64().unwrap())
}

/// What lies on the host and in the firewall for a VE: address, routed, admitted.
fn laid(h: &House, name: &str, ve: &str) -> BTreeSet<(String, bool, bool)> {
    let network = network(h, name);
    let all = network["addresses"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|a| a["ve"] == ve && a["state"] == "used");
    all.map(|a| {
        let address = a["address"].as_str().unwrap().to_owned();
        (address, a["routed"] == true, a["admitted"] == true)
    })
    .collect()
}

#[test]
fn an_address_is_added_and_removed_while_the_ve_runs() {
    let h = House::new();
    h.busybox("a");
    h.busybox("b");
    let init = h.status("a", "pid");
    let path = "etc/ve/a.toml";
    h.write(
        path,
        &h.read(path)
            .replace("addresses = \"auto\"", "addresses = \"auto\"  # mine"),
    );
    h.ok(&["address", "add", "a", "10.77.0.90"]);
    h.ok(&["address", "add", "a", "fd77:7c3e:9a51:77::90"]);
    // Inside, on the host, and in the definition; init is the same.
    let inside = h.sh("a", "ip addr show eth0");
    assert!(
        inside.contains("10.77.0.90/32") && inside.contains("fd77:7c3e:9a51:77::90/128"),
        "{inside}"
    );
    for to in ["10.77.0.90", "fd77:7c3e:9a51:77::90"] {
        pings(&h, "b", to);
        h.host_sh(&format!("ping -c 1 -w 10 {to}"));
    }
    // It may send from it, too.
    let from = h.sh("a", "ping -c 1 -w 10 -I 10.77.0.90 169.254.1.1 2>&1");
    assert!(from.contains("1 packets received"), "{from}");
    assert!(h.read(path).contains("# mine"), "{}", h.read(path));
    assert!(laid(&h, "private", "a").contains(&("10.77.0.90".to_owned(), true, true)));
    let rules = h.ok(&["network", "show", "private", "--rules"]);
    assert!(
        rules.contains("table inet") && rules.contains(". 10.77.0.90"),
        "{rules}"
    );
    let table = h.ok(&["network", "show", "private"]);
    let line = table.lines().find(|l| l.starts_with("10.77.0.90 ")).unwrap();
    assert!(
        line.split_whitespace()
            .eq(["10.77.0.90", "used", "a", "hv101.0", "yes"]),
        "{line}"
    );
    assert_eq!(h.status("a", "pid"), init);
    // Twice is once.
    let text = h.read(path);
    let ran = h.run(&["address", "add", "a", "10.77.0.90"]);
    assert!(ran.code == 0 && ran.err.contains("already"), "{}", ran.err);
    assert_eq!(h.read(path), text);

    h.ok(&["address", "remove", "a", "10.77.0.90"]);
    let inside = h.sh("a", "ip addr show eth0");
    assert!(
        !inside.contains("10.77.0.90") && inside.contains("fd77:7c3e:9a51:77::90/128"),
        "{inside}"
    );
    assert!(h.host_sh("ip route").lines().all(|l| !l.contains("10.77.0.90")));
    assert_eq!(h.run(&["address", "remove", "a", "10.77.0.90"]).code, 0);
    // With an address that it hasn't any more it can't send: who has root inside may put it back.
    let spoof = h.run(&[
        "exec", "a", "--", "sh", "-c",
        "ip addr add 10.77.0.90/32 dev eth0; ping -c 1 -w 2 -I 10.77.0.90 10.77.0.3; ip addr del 10.77.0.90/32 dev eth0",
    ]);
    assert!(!spoof.out.contains("1 packets received"), "{}", spoof.out);
    // After a restart it is the same.
    let before = addresses(&h, "a");
    h.ok(&["restart", "a"]);
    assert_eq!(addresses(&h, "a"), before);
    pings(&h, "b", "fd77:7c3e:9a51:77::90");
}

#[test]
fn the_first_address_may_go_and_a_family_come_and_go() {
    let h = House::new();
    house::template("busybox");
    h.write(
        "etc/networks/six.toml",
        "kind = \"routed\"\npools = [\"10.79.0.0/24\", \"2001:db8:79::/64\"]\n",
    );
    h.ok(&[
        "create",
        "a",
        "--template",
        "busybox",
        "--network",
        "six",
        "--address",
        "10.79.0.5",
        "--start",
    ]);
    h.busybox("b");
    h.ok(&["address", "add", "a", "auto6"]);
    let six = addresses(&h, "a").into_iter().find(|a| a.contains(':')).unwrap();
    pings(&h, "b", &six);
    assert!(h.sh("a", "ip -6 route").contains("default via fe80::1"));
    h.ok(&["address", "add", "a", "10.79.0.6"]);
    h.ok(&["address", "remove", "a", "10.79.0.5"]);
    pings(&h, "b", "10.79.0.6");
    let out = h.sh("a", "ip route");
    assert!(out.contains("default via 169.254.1.1"), "{out}");
    h.ok(&["address", "remove", "a", &six]);
    assert!(!h.sh("a", "ip -6 route").contains("default"));
    let err = h.fails(4, &["address", "remove", "a", "10.79.0.6"]);
    assert!(err.contains("last address"), "{err}");
    // On a second interface, which has a table of its own.
    h.ok(&["set", "a", "network+=private"]);
    h.ok(&["restart", "a"]);
    h.ok(&["address", "add", "a", "10.77.0.91", "--interface", "1"]);
    assert!(h.sh("a", "ip addr show eth1").contains("10.77.0.91/32"));
    pings(&h, "b", "10.77.0.91");
    h.ok(&["address", "remove", "a", "10.77.0.91"]);
    assert!(!h.sh("a", "ip rule").contains("10.77.0.91"));
}

#[test]
fn what_is_taken_or_outside_of_the_pool_changes_nothing() {
    let h = House::new();
    h.busybox("a");
    h.busybox("b");
    let theirs = addresses(&h, "b").into_iter().find(|a| a.contains('.')).unwrap();
    // Its link-local address is new, and the kernel asks whether somebody has it.
    h.until("its addresses to be its own", 20, || {
        !h.sh("a", "ip addr").contains("tentative")
    });
    let (text, inside) = (h.read("etc/ve/a.toml"), h.sh("a", "ip addr show eth0"));
    h.fails(4, &["address", "add", "a", &theirs]);
    h.fails(4, &["address", "add", "a", "192.0.2.9"]);
    // Somebody else's route is in the way: that is known only when it is tried.
    h.host_sh("ip route add 10.77.0.92/32 dev lo");
    let said = h.fails(1, &["address", "add", "a", "10.77.0.92"]);
    assert!(said.contains("10.77.0.92"), "{said}");
    h.host_sh("ip route del 10.77.0.92/32 dev lo");
    assert_eq!(h.read("etc/ve/a.toml"), text);
    assert_eq!(h.sh("a", "ip addr show eth0"), inside);
    h.ok(&["address", "add", "a", "10.77.0.92"]);
    pings(&h, "b", "10.77.0.92");
}

#[test]
fn a_stopped_ves_address_is_its_own_at_once() {
    let h = House::new();
    house::template("busybox");
    h.ok(&["create", "a", "--template", "busybox"]);
    let added = h.ok(&["address", "add", "a", "auto4", "--json"]);
    let added: Value = serde_json::from_str(&added).unwrap();
    assert!(added["changed"] == true && added["live"] == false, "{added}");
    let new = added["addresses"][0].as_str().unwrap();
    h.fails(4, &["create", "thief", "--template", "busybox", "--address", new]);
    h.ok(&["start", "a"]);
    assert!(h.sh("a", "ip addr show eth0").contains(new));
    h.host_sh(&format!("ping -c 1 -w 10 {new}"));
}

#[test]
fn addresses_given_back_are_aside_and_counted() {
    let h = House::new();
    house::template("busybox");
    h.write(
        "etc/networks/tight.toml",
        "kind = \"routed\"\npools = [\"203.0.113.0/24\"]\nranges = [\"203.0.113.11-203.0.113.14\"]\n",
    );
    let create = |name: &str| h.run(&["create", name, "--template", "busybox", "--network", "tight"]);
    assert_eq!(census(&h, "tight"), [0, 0, 4]);
    for name in ["a", "b", "c"] {
        assert_eq!(create(name).code, 0);
    }
    h.ok(&["destroy", "a"]);
    assert_eq!(census(&h, "tight"), [2, 1, 1]);
    // Another process, another moment: it is on disk.
    assert_eq!(create("d").code, 0);
    assert_eq!(addresses(&h, "d"), BTreeSet::from(["203.0.113.14".to_owned()]));
    let ran = create("e");
    assert!(
        ran.code == 0 && ran.err.contains("203.0.113.11 was a's until"),
        "{}",
        ran.err
    );
    assert_eq!(census(&h, "tight"), [4, 0, 0]);
    assert_eq!(create("f").code, 6);
    // A network that keeps nothing aside.
    h.write(
        "etc/networks/tight.toml",
        "kind = \"routed\"\npools = [\"203.0.113.0/24\"]\nranges = [\"203.0.113.11-203.0.113.14\"]\nquarantine = \"0s\"\n",
    );
    h.ok(&["destroy", "e"]);
    assert_eq!(census(&h, "tight"), [3, 0, 1]);
    let ran = create("g");
    assert!(ran.code == 0 && !ran.err.contains("was "), "{}", ran.err);
    let list = h.ok(&["network", "list", "-H", "-o", "name,pool,used,left"]);
    assert!(
        list.lines()
            .any(|l| l.split_whitespace().eq(["tight", "203.0.113.0/24", "4", "0"])),
        "{list}"
    );
}

#[test]
fn many_at_once_get_different_ones() {
    let h = House::new();
    h.busybox("a");
    h.busybox("b");
    // More than one at a VE waits for the other.
    let at_once: Vec<Child> = (0..6)
        .map(|n| h.spawn(&["address", "add", ["a", "b"][n % 2], "auto4", "--wait-lock", "1m"]))
        .collect();
    for child in at_once {
        let ran = end_of(child);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let (a, b) = (addresses(&h, "a"), addresses(&h, "b"));
    assert_eq!((a.len(), b.len(), a.intersection(&b).count()), (5, 5, 0), "{a:?} {b:?}");
    for address in a.iter().chain(&b) {
        h.host_sh(&format!("ping -c 1 -w 10 {address}"));
    }
    assert!(
        laid(&h, "private", "a")
            .iter()
            .all(|(_, routed, admitted)| *routed && *admitted)
    );
}

#[test]
fn a_bad_definition_is_refused_where_it_is_wrong() {
    let h = House::new();
    house::template("busybox");
    h.write(
        "etc/networks/bad.toml",
        "kind = \"routed\"\npools = [\"10.80.0.0/24\"]\nranges = [\n  \"10.80.0.5-10.80.0.9\",\n  \"10.80.0.9-10.80.0.12\",\n]\n",
    );
    let err = h.fails(2, &["create", "a", "--template", "busybox", "--network", "bad"]);
    assert!(err.contains("bad.toml:5:3") && err.contains("overlap"), "{err}");
    let err = h.fails(2, &["network", "show", "bad"]);
    assert!(err.contains("bad.toml:5:3"), "{err}");
    // The others are told of all the same.
    let list = h.ok(&["network", "list"]);
    assert!(list.contains("private") && list.contains("broken"), "{list}");
    std::fs::remove_file(h.dir.join("etc/networks/bad.toml")).unwrap();
}
