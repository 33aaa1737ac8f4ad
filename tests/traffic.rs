//! What VEs send and receive, counted to the byte over all that can happen to them.

#![allow(clippy::unwrap_used)]

mod house;

use house::House;
use serde_json::Value;

const CLASSES: &str = "\n[[traffic]]\nname = \"neighbours\"\nprefixes = [\"10.77.0.0/24\", \"10.88.0.0/24\"]\n";
/// The IPv4 packet of `ping -s 72`.
const PACKET: u64 = 100;

fn house() -> House {
    let h = House::new();
    h.write("hostel.toml", &(h.read("hostel.toml") + CLASSES));
    h
}

/// in, out: bytes of IPv4 of a VE with other ends of a class; 0 where nothing was counted.
fn bytes(h: &House, ve: &str, class: &str) -> [u64; 2] {
    let rows: Value = serde_json::from_str(&h.ok(&["traffic", ve, "--json"])).unwrap();
    let row = rows.as_array().unwrap().iter().find(|r| r["class"] == class);
    let row = row.unwrap_or_else(|| panic!("no {class} in {rows}"));
    ["in", "out"].map(|way| row[way]["ipv4"]["bytes"].as_u64().unwrap())
}

#[track_caller]
fn pings(h: &House, ve: &str, to: &str, count: u64) {
    let out = h.sh(ve, &format!("ping -c {count} -i 0.1 -s 72 -w 20 {to} 2>&1"));
    assert!(out.contains(&format!("{count} packets received")), "{out}");
}

fn address(h: &House, ve: &str) -> String {
    h.status(ve, "addresses")[0].as_str().unwrap().to_owned()
}

#[test]
fn every_byte_is_counted_once_over_a_ves_lives() {
    let h = house();
    h.busybox("a");
    h.busybox("b");
    let (b, mut sent) = (address(&h, "b"), 0);
    let mut exchange = |what: &str| {
        pings(&h, "a", &b, 3);
        sent += 3 * PACKET;
        assert_eq!(bytes(&h, "a", "neighbours"), [sent, sent], "after {what}");
        assert_eq!(bytes(&h, "b", "neighbours"), [sent, sent], "after {what}");
    };
    exchange("the first start");
    h.ok(&["restart", "a"]);
    exchange("a restart");
    let init = h.status("a", "pid");
    h.run(&["exec", "a", "reboot"]);
    h.until("it has rebooted", 30, || {
        let now = h.status("a", "pid");
        now.is_number() && now != init
    });
    exchange("a reboot of its own");
    h.ok(&["kill", "a"]);
    h.ok(&["start", "a"]);
    exchange("a kill");
    // The rules are loaded anew, as they are when a network's definition has changed.
    h.write(
        "etc/networks/other.toml",
        "kind = \"routed\"\npools = [\"10.99.0.0/24\"]\nmasquerade = true\n",
    );
    h.ok(&["create", "c", "--template", "busybox", "--start"]);
    exchange("a reload");
    // A class goes: from the next start on what it named is external, and nothing is lost.
    let text = h.read("hostel.toml").replace(CLASSES, "");
    h.write("hostel.toml", &text);
    assert_eq!(bytes(&h, "a", "neighbours"), [sent, sent]);
    h.ok(&["restart", "c"]);
    pings(&h, "a", &b, 2);
    assert_eq!(bytes(&h, "a", "neighbours"), [sent, sent]);
    assert_eq!(bytes(&h, "a", "external"), [2 * PACKET, 2 * PACKET]);
    h.ok(&["stop", "--all"]);
    assert_eq!(bytes(&h, "a", "neighbours"), [sent, sent]);
    assert_eq!(bytes(&h, "b", "external"), [2 * PACKET, 2 * PACKET]);
    assert_eq!(h.audit(), Vec::<Value>::new());
}

#[test]
fn what_a_guest_may_not_send_is_not_counted_and_a_bridge_is() {
    let h = house();
    h.write(
        "etc/networks/lan.toml",
        "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\ngateway = [\"10.88.0.1\"]\nhost_addresses = [\"10.88.0.1\"]\n",
    );
    h.busybox("a");
    for name in ["x", "y"] {
        h.busybox_with(name, &["network.0.network=lan"]);
    }
    // From an address that isn't its own: dropped, and nobody's bill.
    h.sh(
        "a",
        "ip addr add 192.0.2.9/32 dev eth0; ping -c 2 -w 2 -I 192.0.2.9 169.254.1.1 >/dev/null 2>&1; true",
    );
    assert_eq!(bytes(&h, "a", "external"), [0, 0]);
    pings(&h, "a", "169.254.1.1", 1);
    assert_eq!(bytes(&h, "a", "external"), [PACKET, PACKET]);
    pings(&h, "x", &address(&h, "y"), 2);
    pings(&h, "x", "10.88.0.1", 1);
    // What comes to all, as IGMP does, comes to each.
    for (ve, count) in [("x", 3), ("y", 2)] {
        let [to, from] = bytes(&h, ve, "neighbours");
        assert!(from == count * PACKET && to >= from, "{ve}: {to} in, {from} out");
    }
    // By hand, and mended.
    h.host_sh("nft flush ruleset");
    let found = h.run(&["audit", "--json"]);
    assert!(found.out.contains("\"counter\""), "{}", found.out);
    h.ok(&["audit", "--fix"]);
    let before = bytes(&h, "x", "neighbours")[1];
    pings(&h, "x", "10.88.0.1", 1);
    assert_eq!(bytes(&h, "x", "neighbours")[1], before + PACKET);
    h.ok(&["kill", "--all"]);
    assert_eq!(h.audit(), Vec::<Value>::new());
}

/// A manager that looks each second has them back, what passed, and what passes from then on.
#[test]
fn rules_that_are_flushed_come_back_and_nothing_is_counted_twice() {
    let h = house();
    h.write(
        "hostel.toml",
        &(h.read("hostel.toml") + "\n[metering]\ninterval = \"1s\"\n"),
    );
    h.busybox("a");
    h.busybox("b");
    let b = address(&h, "b");
    pings(&h, "a", &b, 3);
    h.ok(&["restart", "a"]);
    let mut manager = h.manager();
    pings(&h, "a", &b, 4);
    let sent = 7 * PACKET;
    let billed = || {
        let rows: Value =
            serde_json::from_str(&h.ok(&["report", "--last", "1h", "--format", "json", "--ve", "a"])).unwrap();
        rows[0]["usage"]["traffic.neighbours.out.ipv4.bytes"]
            .as_u64()
            .unwrap_or(0)
    };
    h.until("it is entered", 20, || billed() == sent);
    // The manager's own look, after that report's.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    for (more, harm) in ["nft flush ruleset", "nft flush chain inet hostel_traffic prerouting"]
        .into_iter()
        .enumerate()
    {
        h.host_sh(harm);
        h.until("the rules are back", 30, || h.audit().is_empty());
        let had = sent + more as u64 * 2 * PACKET;
        h.until("what had passed is there", 20, || {
            bytes(&h, "a", "neighbours")[1] == had
        });
        pings(&h, "a", &b, 2);
        assert_eq!(bytes(&h, "a", "neighbours")[1], had + 2 * PACKET, "{harm}");
        h.until("it is entered", 20, || billed() == had + 2 * PACKET);
        std::thread::sleep(std::time::Duration::from_millis(1500));
    }
    house::signal(&manager, rustix::process::Signal::TERM);
    h.until("the manager ends", 30, || manager.try_wait().unwrap().is_some());
    h.ok(&["stop", "a"]);
    assert_eq!(billed(), sent + 4 * PACKET);
    assert_eq!(bytes(&h, "a", "neighbours")[1], sent + 4 * PACKET);
}
