//! Networks: addresses, and which packets get through.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;
mod outside;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Child, Stdio};

use house::{House, end_of};
use outside::Outside;

fn addresses(h: &House, ve: &str) -> (String, String) {
    let list = h.status(ve, "addresses");
    let of = |v6: bool| {
        let mut all = list.as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned());
        all.find(|a| a.contains(':') == v6).unwrap_or_default()
    };
    (of(false), of(true))
}

#[track_caller]
fn pings(h: &House, ve: &str, to: &str) {
    let out = h.sh(ve, &format!("ping -c 1 -w 10 {to} 2>&1"));
    assert!(out.contains("1 packets received"), "{ve} does not reach {to}: {out}");
}

/// How many echo requests a VE has received, of both families.
fn echoes(h: &House, ve: &str) -> u64 {
    let v4 = "awk '/^Icmp:/{if(n++)print $(c); else for(i=1;i<=NF;i++) if($i==\"InEchos\") c=i}' /proc/net/snmp";
    let v6 = "awk '$1==\"Icmp6InEchos\"{print $2}' /proc/net/snmp6";
    h.sh(ve, &format!("{v4}; {v6}"))
        .lines()
        .map(|n| n.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn addresses_are_given_or_taken_from_the_pool() {
    let h = House::new();
    house::template("busybox");
    h.ok(&[
        "create",
        "given",
        "--template",
        "busybox",
        "--address",
        "10.77.0.50,fd77:7c3e:9a51:77::50",
        "--start",
    ]);
    h.ok(&[
        "create",
        "auto",
        "--template",
        "busybox",
        "--address",
        "auto",
        "--start",
    ]);
    let inside = h.sh("given", "ip addr show eth0");
    assert!(
        inside.contains("10.77.0.50/32") && inside.contains("fd77:7c3e:9a51:77::50/128"),
        "{inside}"
    );
    let (v4, v6) = addresses(&h, "auto");
    let inside = h.sh("auto", "ip addr show eth0");
    assert!(
        inside.contains(&format!("{v4}/32")) && inside.contains(&format!("{v6}/128")),
        "{inside}"
    );
    assert!(
        v4.starts_with("10.77.0.") && v6.starts_with("fd77:7c3e:9a51:77:"),
        "{v4} {v6}"
    );
    // They are the VE's for life.
    h.ok(&["restart", "auto"]);
    assert_eq!(addresses(&h, "auto"), (v4.clone(), v6));
    // A stopped VE's are still its own; a destroyed one's are free.
    h.ok(&["stop", "auto"]);
    h.fails(4, &["create", "thief", "--template", "busybox", "--address", &v4]);
    h.ok(&["destroy", "auto"]);
    h.ok(&["create", "heir", "--template", "busybox", "--address", &v4]);
}

#[test]
fn no_address_is_given_twice() {
    let h = House::new();
    house::template("busybox");
    // Room for exactly eight.
    h.write(
        "etc/networks/tight.toml",
        "kind = \"routed\"\npools = [\"203.0.113.0/24\"]\nranges = [\"203.0.113.11-203.0.113.18\"]\n",
    );
    let names: Vec<String> = (0..8).map(|n| format!("c{n}")).collect();
    let at_once: Vec<Child> = names
        .iter()
        .map(|name| h.spawn(&["create", name, "--template", "busybox", "--network", "tight", "--start"]))
        .collect();
    for child in at_once {
        let ran = end_of(child);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let given: BTreeSet<String> = names.iter().map(|name| addresses(&h, name).0).collect();
    let ids: BTreeSet<u64> = names
        .iter()
        .map(|name| h.status(name, "id").as_u64().unwrap())
        .collect();
    assert_eq!((given.len(), ids.len()), (8, 8), "{given:?} {ids:?}");
    let err = h.fails(6, &["create", "c9", "--template", "busybox", "--network", "tight"]);
    assert!(err.contains("tight"), "{err}");
}

#[test]
fn ves_the_host_and_the_outside_reach_each_other() {
    let h = House::new();
    let outside = Outside::in_subnet(&h);
    h.busybox("a");
    h.busybox("b");
    let ((_, a6), (b4, b6)) = (addresses(&h, "a"), addresses(&h, "b"));
    pings(&h, "a", &b4);
    pings(&h, "a", &b6);
    pings(&h, "b", &a6);
    // The host by its own addresses, and the other way.
    pings(&h, "a", "198.51.100.1");
    pings(&h, "a", "2001:db8:5::1");
    h.host_sh(&format!("ping -c 1 -w 10 {b4} && ping -c 1 -w 10 {b6}"));
    // Outside by the host's address, since it knows no way back to the pool.
    pings(&h, "a", "198.51.100.2");
    pings(&h, "a", "2001:db8:5::2");
    // And connections, with their data.
    let mut server = outside
        .command("exec busybox nc -l -p 7000")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    server.stdin.take().unwrap().write_all(b"from outside\n").unwrap();
    h.until("it listens", 10, || {
        outside.sh("busybox netstat -ltn").contains(":7000")
    });
    assert_eq!(h.sh("a", "nc -w 5 198.51.100.2 7000 </dev/null"), "from outside");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_public_ve_has_its_own_address_outside() {
    let h = House::new();
    let outside = Outside::in_subnet(&h);
    house::template("busybox");
    h.write(
        "etc/networks/public.toml",
        "kind = \"routed\"\npools = [\"203.0.113.0/24\", \"2001:db8:9::/64\"]\n",
    );
    h.ok(&[
        "create",
        "web1",
        "--template",
        "busybox",
        "--network",
        "public",
        "--address",
        "203.0.113.10,2001:db8:9::10",
        "--start",
    ]);
    outside.sh("ip route add 203.0.113.0/24 via 198.51.100.1; ip route add 2001:db8:9::/64 via 2001:db8:5::1");
    outside.sh("ping -c 1 -w 10 203.0.113.10 && ping -c 1 -w 10 2001:db8:9::10");
    pings(&h, "web1", "198.51.100.2");
    pings(&h, "web1", "2001:db8:5::2");
    // Without the route back there is no answer: nothing hides its address.
    outside.sh("ip route del 203.0.113.0/24");
    assert_ne!(
        h.run(&["exec", "web1", "--", "ping", "-c", "1", "-w", "2", "198.51.100.2"])
            .code,
        0
    );
}

#[test]
fn nobody_speaks_with_anothers_address() {
    let h = House::new();
    h.busybox("evil");
    h.busybox("victim");
    h.busybox("third");
    let (victim4, victim6) = addresses(&h, "victim");
    let (third4, third6) = addresses(&h, "third");
    pings(&h, "evil", &third4);
    let before = echoes(&h, "third");
    assert!(before > 0);
    spoof_fails(&h, &victim4, &third4);
    spoof_fails(&h, "192.0.2.7", &third4);
    // The same in IPv6, once the address is settled.
    h.sh("evil", &format!("ip -6 addr add {victim6}/128 dev eth0"));
    h.until("the address is settled", 20, || {
        !h.sh("evil", "ip -6 addr show eth0").contains("tentative")
    });
    h.run(&[
        "exec", "evil", "--", "ping6", "-c", "2", "-w", "2", "-I", &victim6, &third6,
    ]);
    h.sh("evil", &format!("ip -6 addr del {victim6}/128 dev eth0"));
    assert_eq!(echoes(&h, "third"), before);
    pings(&h, "evil", &third4);
    pings(&h, "evil", &third6);
    assert_eq!(echoes(&h, "third"), before + 2, "the counting itself works");
    // Not by another hardware address either: what is checked is the interface it comes from.
    let (own, mac) = (addresses(&h, "evil").0, h.sh("evil", "cat /sys/class/net/eth0/address"));
    let wear = |mac: &str| {
        let line = format!(
            "ip link set eth0 down; ip link set eth0 address {mac}; ip link set eth0 up
             ip route add 169.254.1.1 dev eth0; ip route add default via 169.254.1.1 dev eth0; ip route"
        );
        assert!(
            h.sh("evil", &line).contains("default via 169.254.1.1"),
            "it has a way to send by"
        );
    };
    wear("02:00:00:00:00:99");
    h.run(&["exec", "evil", "--", "ping", "-c", "2", "-w", "2", "-I", &own, &third4]);
    spoof_fails(&h, &victim4, &third4);
    assert_eq!(echoes(&h, "third"), before + 2);
    wear(&mac);
    pings(&h, "evil", &third4);
    assert_eq!(echoes(&h, "third"), before + 3, "with its own it is heard");
    pings(&h, "victim", &third4);
}

fn spoof_fails(h: &House, source: &str, to: &str) {
    let line = format!(
        "ip addr add {source}/32 dev eth0 2>/dev/null; ping -c 2 -w 2 -I {source} {to} >/dev/null 2>&1; ip addr del {source}/32 dev eth0"
    );
    h.run(&["exec", "evil", "--", "sh", "-c", &line]);
}

#[test]
fn a_firewall_flushed_by_hand_is_whole_again_after_the_next_start() {
    let h = House::new();
    let _outside = Outside::in_subnet(&h);
    h.busybox("evil");
    h.busybox("third");
    let third4 = addresses(&h, "third").0;
    // The host here is this test's own namespace.
    h.host_sh("nft flush ruleset");
    h.busybox("next");
    let before = echoes(&h, "third");
    spoof_fails(&h, "192.0.2.7", &third4);
    assert_eq!(echoes(&h, "third"), before);
    for ve in ["evil", "third", "next"] {
        pings(&h, ve, "198.51.100.2");
    }
    pings(&h, "evil", &third4);
}

#[test]
fn addresses_changed_by_hand_are_the_ves_when_a_start_with_them_succeeds() {
    let h = House::new();
    house::template("busybox");
    let create = |name: &str, address: &str| h.run(&["create", name, "--template", "busybox", "--address", address]);
    let (old, new) = ("10.77.0.50", "10.77.0.60");
    assert_eq!(create("a", old).code, 0);
    h.write("etc/ve/a.toml", &h.read("etc/ve/a.toml").replace(old, new));
    // Somebody else's route is in the way.
    h.host_sh(&format!("ip route add {new}/32 dev lo"));
    let said = h.fails(1, &["start", "a"]);
    assert!(said.contains(new), "{said}");
    assert_eq!(addresses(&h, "a").0, old);
    assert_eq!(create("thief", old).code, 4);
    h.host_sh(&format!("ip route del {new}/32 dev lo"));
    h.ok(&["start", "a"]);
    assert_eq!(addresses(&h, "a").0, new);
    h.host_sh(&format!("ping -c 1 -w 10 {new}"));
    assert_eq!(create("thief", new).code, 4);
    assert_eq!(create("heir", old).code, 0);
    h.ok(&["start", "heir"]);
    pings(&h, "a", old);
}

/// A boot of the host takes away all that lies in the kernel and in /run.
#[test]
fn after_a_boot_of_the_host_a_start_is_enough() {
    let h = House::new();
    let _outside = Outside::in_subnet(&h);
    h.busybox("a");
    h.busybox("b");
    h.ok(&["kill", "--all"]);
    h.until("their monitors have cleared up", 10, || h.audit().is_empty());
    std::fs::remove_dir_all(&h.run).unwrap();
    house::remove_cgroups(&h.cgroup_root);
    // The host here is this test's own namespace.
    h.host_sh("nft flush ruleset; sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
    let ran = h.run(&["start", "a"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for setting in ["net.ipv4.ip_forward: 0 -> 1", "net.ipv6.conf.all.forwarding: 0 -> 1"] {
        assert!(ran.err.contains(setting), "{}", ran.err);
    }
    let ran = h.run(&["start", "b"]);
    assert!(ran.code == 0 && !ran.err.contains("forward"), "{}", ran.err);
    let (b4, b6) = addresses(&h, "b");
    for to in [b4.as_str(), b6.as_str(), "198.51.100.2", "2001:db8:5::2"] {
        pings(&h, "a", to);
    }
}

#[test]
fn forwarding_that_was_turned_off_is_told_and_turned_on_again() {
    let h = House::new();
    let _outside = Outside::in_subnet(&h);
    h.busybox("a");
    let forwarding = || {
        let facts: serde_json::Value = serde_json::from_str(&h.ok(&["info", "--json"])).unwrap();
        let mut facts = facts.as_array().unwrap().iter();
        facts.find(|f| f["what"] == "forwarding").unwrap()["value"].clone()
    };
    assert_eq!(forwarding(), "on");
    h.host_sh("sysctl -qw net.ipv4.ip_forward=0");
    assert_eq!(forwarding(), "off");
    let once = ["exec", "a", "--", "ping", "-c", "1", "-w", "1", "198.51.100.2"];
    assert_ne!(h.run(&once).code, 0);
    let found = h.audit();
    assert_eq!(
        (found.len(), &found[0]["object"]),
        (1, &"net.ipv4.ip_forward".into()),
        "{found:?}"
    );
    h.ok(&["audit", "--fix"]);
    pings(&h, "a", "198.51.100.2");
    h.host_sh("sysctl -qw net.ipv4.ip_forward=0");
    h.busybox("b");
    pings(&h, "a", "198.51.100.2");
}

#[test]
fn a_ve_without_a_network_is_alone() {
    let h = House::new();
    house::template("busybox");
    h.write(
        "lone.toml",
        "name = \"lone\"\ntenant = \"default\"\ntemplate = \"busybox\"\nplan = \"test\"\n",
    );
    h.ok(&["create", "--file", h.dir.join("lone.toml").to_str().unwrap(), "--start"]);
    assert_eq!(h.sh("lone", "ls /sys/class/net"), "lo");
    pings(&h, "lone", "127.0.0.1");
    assert_eq!(h.status("lone", "addresses").as_array().map(Vec::len), Some(0));
}

#[test]
fn a_ve_can_be_on_two_networks() {
    let h = House::new();
    house::template("busybox");
    h.write(
        "etc/networks/back.toml",
        "kind = \"routed\"\npools = [\"10.78.0.0/24\"]\n",
    );
    h.ok(&[
        "create",
        "w",
        "--template",
        "busybox",
        "--set",
        "network.0.network=private",
        "--set",
        "network.1.network=back",
        "--start",
    ]);
    let inside = h.sh("w", "ip -4 addr show eth0; ip -4 addr show eth1");
    assert!(inside.contains("10.77.0.") && inside.contains("10.78.0."), "{inside}");
    for address in h.status("w", "addresses").as_array().unwrap() {
        h.host_sh(&format!("ping -c 1 -w 10 {}", address.as_str().unwrap()));
    }
    // Its definition says so too, and a change of it takes effect at the next start.
    h.ok(&["set", "w", "network.1.addresses=10.78.0.99"]);
    h.ok(&["restart", "w"]);
    assert!(h.sh("w", "ip -4 addr show eth1").contains("10.78.0.99/32"));
    h.host_sh("ping -c 1 -w 10 10.78.0.99");
}
