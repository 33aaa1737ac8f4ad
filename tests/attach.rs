//! Networks that VEs come onto and off while they run.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use house::House;

const LAN: &str = "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\ngateway = [\"10.88.0.1\", \"fd88::1\"]\n\
    host_addresses = [\"10.88.0.1\", \"fd88::1\"]\n";
const SIX: &str = "kind = \"routed\"\npools = [\"10.79.0.0/24\", \"2001:db8:79::/64\"]\n";

fn house() -> House {
    let h = House::new();
    h.write("etc/networks/lan.toml", LAN);
    h.write("etc/networks/six.toml", SIX);
    h
}

#[track_caller]
fn pings(h: &House, ve: &str, to: &str) {
    let out = h.sh(ve, &format!("ping -c 1 -w 10 {to} 2>&1 || true"));
    assert!(out.contains("1 packets received"), "{ve} does not reach {to}: {out}");
}

fn ends(h: &House) -> Vec<String> {
    let list = h.host_sh("ip -br link show type veth");
    let mut names: Vec<String> = list.lines().map(|l| l.split('@').next().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn networks_come_and_go_while_the_ve_runs() {
    let h = house();
    h.busybox("a");
    h.busybox_with(
        "b",
        &["network.0.network=lan", "network.0.addresses=10.88.0.20,fd88::20"],
    );
    let init = h.status("a", "pid");
    h.ok(&["network", "attach", "a", "six", "--address", "10.79.0.9,2001:db8:79::9"]);
    h.ok(&["network", "attach", "a", "lan", "--address", "10.88.0.10,fd88::10"]);
    assert_eq!(ends(&h), ["hv101.0", "hv101.1", "hv101.2", "hv102.0"]);
    let inside = h.sh("a", "ip addr");
    for part in ["10.79.0.9/32", "2001:db8:79::9/128", "10.88.0.10/24", "fd88::10/64"] {
        assert!(inside.contains(part), "{inside}");
    }
    h.host_sh("ping -c 1 -w 10 10.79.0.9 && ping -c 1 -w 10 2001:db8:79::9");
    for to in ["10.88.0.20", "fd88::20", "10.88.0.1"] {
        pings(&h, "a", to);
    }
    pings(&h, "b", "10.88.0.10");
    assert!(h.sh("a", "ip route").contains("default via 169.254.1.1 dev eth0"));
    let ran = h.run(&["network", "attach", "a", "six"]);
    assert!(ran.code == 0 && ran.err.contains("already"), "{}", ran.err);
    // No other is disturbed when the first goes: a connection by the third goes on, and the way out is the next one's.
    let flood = h.spawn(&["exec", "a", "--", "ping", "-c", "30", "-A", "-W", "2", "10.88.0.20"]);
    h.ok(&["network", "detach", "a", "private"]);
    let flood = house::end_of(flood);
    assert!(flood.out.contains(" 0% packet loss"), "{}", flood.out);
    assert_eq!(ends(&h), ["hv101.1", "hv101.2", "hv102.0"]);
    let routes = h.sh("a", "ip route");
    assert!(routes.contains("default via 169.254.1.1 dev eth1"), "{routes}");
    let rules = h.sh("a", "ip rule");
    assert!(!rules.contains("10.79.0.9") && rules.contains("10.88.0.10"), "{rules}");
    h.host_sh("ping -c 1 -w 10 10.79.0.9");
    let rules = h.ok(&["network", "show", "six", "--rules"]);
    assert!(!rules.contains("hv101.0") && rules.contains("hv101.1"), "{rules}");
    assert_eq!(h.run(&["network", "detach", "a", "private"]).code, 0);
    assert_eq!(h.status("a", "pid"), init);
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    // After a restart it is the same.
    let inside = |what: &str| h.sh("a", what);
    let laid = |()| {
        (
            inside("ip -4 -o addr | cut -d: -f2-"),
            inside("ip route"),
            inside("ip rule"),
        )
    };
    let before = laid(());
    h.ok(&["restart", "a"]);
    assert_eq!(laid(()), before);
    pings(&h, "b", "fd88::10");
}

#[test]
fn a_new_one_is_guarded_like_any_other() {
    let h = house();
    h.busybox("a");
    h.ok(&["network", "attach", "a", "six", "--address", "10.79.0.9"]);
    let spoof = "ip addr add 10.79.0.66/32 dev eth1; ping -c 1 -w 2 -I 10.79.0.66 169.254.1.1";
    let ran = h.run(&["exec", "a", "--", "sh", "-c", spoof]);
    assert!(!ran.out.contains("1 packets received"), "{}", ran.out);
    let own = h.sh("a", "ping -c 1 -w 10 -I 10.79.0.9 169.254.1.1 2>&1");
    assert!(own.contains("1 packets received"), "{own}");
}

#[test]
fn what_its_root_does_keeps_no_network_from_going() {
    let h = house();
    h.busybox("a");
    for act in [
        "ip link set eth1 down; ip link set eth1 name mine",
        "ip link del eth1",
        "unshare -n sleep 60 >/dev/null 2>&1 & sleep 0.5; ip link set eth1 netns $!",
    ] {
        h.ok(&["network", "attach", "a", "six", "--address", "10.79.0.9"]);
        h.host_sh("ping -c 1 -w 10 10.79.0.9");
        h.sh("a", act);
        h.ok(&["network", "detach", "a", "six"]);
        assert_eq!(ends(&h), ["hv101.0"], "{act}");
        assert!(!h.host_sh("ip route").contains("10.79.0.9"));
        assert!(h.audit().is_empty(), "{act}: {:?}", h.audit());
    }
    // The last one may go, and one may come to a VE that has none.
    h.ok(&["network", "detach", "a", "private"]);
    assert!(ends(&h).is_empty());
    h.ok(&["network", "attach", "a", "lan"]);
    pings(&h, "a", "10.88.0.1");
    assert_eq!(ends(&h), ["hv101.0"]);
}

#[test]
fn what_fails_changes_nothing() {
    let h = house();
    h.busybox("a");
    // Its link-local address is new, and the kernel asks whether somebody has it.
    h.until("its addresses to be its own", 20, || {
        !h.sh("a", "ip addr").contains("tentative")
    });
    let (text, inside) = (h.read("etc/ve/a.toml"), h.sh("a", "ip addr"));
    h.fails(3, &["network", "attach", "a", "nowhere"]);
    h.fails(2, &["network", "attach", "a", "six", "--address", "192.0.2.9"]);
    // Somebody else's route is in the way: that is known only when it is tried.
    h.host_sh("ip route add 10.79.0.9/32 dev lo");
    h.fails(1, &["network", "attach", "a", "six", "--address", "10.79.0.9"]);
    // Or the guest has an interface of that name.
    h.host_sh("ip route del 10.79.0.9/32 dev lo");
    h.sh("a", "ip link add eth1 type bridge");
    let said = h.fails(1, &["network", "attach", "a", "six"]);
    assert!(said.contains("eth1"), "{said}");
    h.sh("a", "ip link del eth1");
    assert_eq!((h.read("etc/ve/a.toml"), h.sh("a", "ip addr")), (text, inside));
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    h.ok(&["network", "attach", "a", "six", "--address", "10.79.0.9"]);
    h.host_sh("ping -c 1 -w 10 10.79.0.9");
}
