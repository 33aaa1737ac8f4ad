//! Prefixes that are routed to a VE.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use house::House;

const OWN: &str = "network.0.routes=2001:db8:5::/64,198.51.100.64/28";

fn house() -> House {
    let h = House::new();
    h.host_sh("ip addr add 203.0.113.1/32 dev lo; ip addr add 2001:db8:1::1/128 dev lo");
    h.write(
        "etc/networks/six.toml",
        "kind = \"routed\"\npools = [\"10.79.0.0/24\", \"2001:db8:79::/64\"]\n",
    );
    h
}

fn sends(h: &House, ve: &str, from: &str, to: &str) -> bool {
    let line = format!("ping -c 1 -w 2 -I {from} {to} 2>&1 || true");
    h.sh(ve, &line).contains("1 packets received")
}

#[test]
fn what_is_routed_to_a_ve_reaches_it_and_it_sends_from_there() {
    let h = house();
    h.busybox_with("a", &["network.0.network=six", OWN]);
    h.busybox("b");
    // What it does with them is its own affair.
    let own = "ip addr add 198.51.100.65/28 dev lo; ip addr add 2001:db8:5::1/64 dev lo";
    h.sh("a", own);
    for to in ["198.51.100.65", "2001:db8:5::1"] {
        h.host_sh(&format!("ping -c 1 -w 10 {to}"));
        let out = h.sh("b", &format!("ping -c 1 -w 10 {to} 2>&1"));
        assert!(out.contains("1 packets received"), "{out}");
    }
    let b = h.status("b", "addresses");
    let b = [b[0].as_str().unwrap(), b[1].as_str().unwrap()];
    assert!(sends(&h, "a", "198.51.100.65", b[0]) && sends(&h, "a", "2001:db8:5::1", b[1]));
    // Next to it is not its own.
    h.sh(
        "a",
        "ip addr add 198.51.100.80/32 dev lo; ip addr add 2001:db8:6::1/128 dev lo",
    );
    assert!(!sends(&h, "a", "198.51.100.80", b[0]) && !sends(&h, "a", "2001:db8:6::1", b[1]));
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    // One goes and one comes while it runs.
    h.ok(&["set", "a", "network.0.routes=198.51.100.80/28,2001:db8:5::/64"]);
    h.host_sh("ping -c 1 -w 10 198.51.100.80");
    assert!(sends(&h, "a", "198.51.100.80", b[0]) && !sends(&h, "a", "198.51.100.65", b[0]));
    assert!(!h.host_sh("ip route").contains("198.51.100.64/28"));
    // By another address, when the one that they went by is taken away.
    h.ok(&["address", "add", "a", "10.79.0.77"]);
    let first = h.status("a", "addresses")[0].as_str().unwrap().to_owned();
    h.ok(&["address", "remove", "a", &first]);
    assert!(h.host_sh("ip route").contains("198.51.100.80/28 via 10.79.0.77"));
    h.host_sh("ping -c 1 -w 10 198.51.100.80");
    h.ok(&["restart", "a"]);
    h.sh("a", "ip addr add 198.51.100.80/32 dev lo");
    h.host_sh("ping -c 1 -w 10 198.51.100.80");
    h.ok(&["stop", "a"]);
    assert!(!h.host_sh("ip route; ip -6 route").contains("198.51.100.80"));
}

#[test]
fn a_prefix_is_one_ves_and_in_no_pool() {
    let h = house();
    house::template("busybox");
    let create = |name: &str, settings: &[&str]| {
        let mut args = vec!["create", name, "--template", "busybox"];
        settings.iter().for_each(|s| args.extend(["--set", s]));
        h.run(&args)
    };
    assert_eq!(create("a", &["network.0.network=six", OWN]).code, 0);
    for (routes, code, why) in [
        ("198.51.100.0/24", 4, "\"a\""),
        ("2001:db8:5::80/121", 4, "\"a\""),
        ("10.79.0.128/25", 4, "six"),
        ("10.77.0.0/16", 4, "private"),
        ("198.51.100.1/24", 2, "198.51.100.0/24"),
    ] {
        let ran = create("b", &["network.0.network=six", &format!("network.0.routes={routes}")]);
        assert!(
            ran.code == code && ran.err.contains(why),
            "{routes}: {} {}",
            ran.code,
            ran.err
        );
    }
    h.write(
        "etc/networks/lan.toml",
        "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\nhost_addresses = [\"10.88.0.1\"]\n",
    );
    let ran = create("b", &["network.0.network=lan", "network.0.routes=192.0.2.0/28"]);
    assert!(ran.code == 2 && ran.err.contains("routed"), "{}", ran.err);
    // Nor an address out of somebody's prefix, should a pool have come over it.
    h.write(
        "etc/networks/over.toml",
        "kind = \"routed\"\npools = [\"198.51.100.0/24\"]\n",
    );
    let ran = create("b", &["network.0.network=over", "network.0.addresses=198.51.100.70"]);
    assert!(ran.code == 4 && ran.err.contains("\"a\""), "{}", ran.err);
    // Without an address of its family there is no way.
    let four = [
        "network.0.network=six",
        "network.0.addresses=10.79.0.9",
        "network.0.routes=2001:db8:6::/64",
    ];
    let ran = create("b", &four);
    assert!(ran.code == 4 && ran.err.contains("family"), "{}", ran.err);
    h.ok(&["destroy", "a"]);
    std::fs::remove_file(h.dir.join("etc/networks/over.toml")).unwrap();
    assert_eq!(create("b", &["network.0.network=six", OWN]).code, 0);
}

#[test]
fn rules_with_a_peer_by_name_mean_its_prefixes_too() {
    let h = house();
    h.busybox_with("a", &["network.0.network=six", OWN]);
    h.busybox("b");
    h.sh(
        "a",
        "ip addr add 198.51.100.65/32 dev lo; ip addr add 2001:db8:5::1/128 dev lo",
    );
    let b = h.status("b", "addresses");
    let b = [b[0].as_str().unwrap(), b[1].as_str().unwrap()];
    let apply = |rules: &str| {
        let text = h.read("etc/ve/b.toml");
        let own = text.split("[firewall]").next().unwrap();
        h.write("etc/ve/b.toml", &format!("{own}\n[firewall]\nin = \"deny\"\n{rules}"));
        h.ok(&["firewall", "apply"]);
    };
    apply("");
    assert!(!sends(&h, "a", "198.51.100.65", b[0]));
    apply("[[firewall.rule]]\ndirection = \"in\"\naction = \"allow\"\npeers = [\"ve:a\"]\n");
    assert!(sends(&h, "a", "198.51.100.65", b[0]) && sends(&h, "a", "2001:db8:5::1", b[1]));
    // It follows them at once.
    h.ok(&["set", "a", "network.0.routes=198.51.100.64/30"]);
    assert!(sends(&h, "a", "198.51.100.65", b[0]) && !sends(&h, "a", "2001:db8:5::1", b[1]));
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    let sets = h.host_sh("nft list table inet hostel_acl");
    assert!(
        sets.contains("198.51.100.64/30") && !sets.contains("2001:db8:5::"),
        "{sets}"
    );
}
