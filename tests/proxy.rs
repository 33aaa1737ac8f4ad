//! VEs whose addresses belong to the subnet of the host's interface, and what neighbours out there are told of addresses.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;
mod outside;

use house::House;
use outside::Outside;

/// The host's interface on a LAN, and a neighbour there that knows of no route.
fn lan() -> (House, Outside) {
    let h = House::new();
    let outside = Outside::beside(&h, &["198.51.100.2/24", "2001:db8:5::2/64"]);
    h.host_sh("ip addr add 198.51.100.1/24 dev up0; ip addr add 2001:db8:5::1/64 dev up0 nodad; ip link set up0 up");
    h.write(
        "etc/networks/near.toml",
        "kind = \"routed\"\npools = [\"198.51.100.128/26\", \"2001:db8:5::/64\"]\nproxy = \"up0\"\n",
    );
    (h, outside)
}

fn ve(h: &House, name: &str, network: &str, addresses: &str) {
    let (network, addresses) = (
        format!("network.0.network={network}"),
        format!("network.0.addresses={addresses}"),
    );
    h.busybox_with(name, &[&network, &addresses]);
}

fn answered(h: &House) -> String {
    h.host_sh("ip neigh show proxy; ip -6 neigh show proxy")
}

#[test]
fn a_neighbour_reaches_a_ve_without_any_route() {
    let (h, outside) = lan();
    let both = ["198.51.100.130", "2001:db8:5::130"];
    let mac = h.host_sh("ip -o link show up0 | sed 's/.*ether //; s/ .*//'");
    outside.mistakes(&both);
    ve(&h, "a", "near", &both.join(","));
    // It was told at once, and needn't ask.
    outside.hears(&h, &both, &mac);
    outside.sh("ip neigh flush dev eth0");
    for to in both {
        outside.sh(&format!("ping -c 1 -w 10 {to}"));
    }
    let out = h.sh(
        "a",
        "ping -c 1 -w 10 198.51.100.2 2>&1; ping -c 1 -w 10 2001:db8:5::2 2>&1",
    );
    assert_eq!(out.matches("1 packets received").count(), 2, "{out}");
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    // One comes and one goes while it runs.
    outside.mistakes(&["198.51.100.140"]);
    h.ok(&["address", "add", "a", "198.51.100.140"]);
    outside.hears(&h, &["198.51.100.140"], &mac);
    outside.sh("ping -c 1 -w 10 198.51.100.140");
    h.ok(&["address", "remove", "a", "198.51.100.130"]);
    assert!(!answered(&h).contains("198.51.100.130"), "{}", answered(&h));
    // An interface that goes down forgets all; what somebody else has said there is no affair of ours.
    h.host_sh("ip neigh add proxy 198.51.100.77 dev up0; ip link set up0 down");
    h.host_sh("ip link set up0 up; ip neigh replace proxy 198.51.100.77 dev up0; ip addr replace 2001:db8:5::1/64 dev up0 nodad");
    let found = h.audit();
    assert!(
        found.len() == 2 && found.iter().all(|f| f["kind"] == "proxy entry"),
        "{found:?}"
    );
    h.ok(&["audit", "--fix"]);
    outside.sh("ip neigh flush dev eth0; ping -c 1 -w 10 198.51.100.140; ping -c 1 -w 10 2001:db8:5::130");
    h.ok(&["stop", "a"]);
    let left = answered(&h);
    assert!(left.lines().count() == 1 && left.contains("198.51.100.77"), "{left}");
    h.ok(&["start", "a"]);
    h.ok(&["kill", "a"]);
    h.until("its monitor has cleared up", 20, || answered(&h).lines().count() == 1);
    // Without the interface there is no start.
    h.write(
        "etc/networks/near.toml",
        "kind = \"routed\"\npools = [\"198.51.100.128/26\", \"2001:db8:5::/64\"]\nproxy = \"nosuch0\"\n",
    );
    let said = h.fails(1, &["start", "a"]);
    assert!(said.contains("nosuch0"), "{said}");
    assert!(h.audit().is_empty(), "{:?}", h.audit());
}

#[test]
fn neighbours_on_a_bridge_hear_of_a_start_and_of_an_address() {
    let h = House::new();
    h.write(
        "etc/networks/lan.toml",
        "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\nuplink = \"up0\"\n",
    );
    let outside = Outside::beside(&h, &["10.88.0.200/24", "fd88::200/64"]);
    // It makes the bridge.
    ve(&h, "first", "lan", "10.88.0.9,fd88::9");
    outside.sh("ping -c 1 -w 10 10.88.0.9");
    let both = ["10.88.0.10", "fd88::10"];
    outside.mistakes(&both);
    // By the way of all its frames, past our own guards.
    ve(&h, "one", "lan", &both.join(","));
    let mac = h.sh("one", "cat /sys/class/net/eth0/address");
    outside.hears(&h, &both, &mac);
    let more = ["10.88.0.11", "fd88::11"];
    outside.mistakes(&more);
    for address in more {
        h.ok(&["address", "add", "one", address]);
    }
    outside.hears(&h, &more, &mac);
}

#[test]
fn an_address_that_somebody_out_there_has_is_refused() {
    let h = House::new();
    let lan = "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\nuplink = \"up0\"\n";
    h.write("etc/networks/lan.toml", lan);
    let outside = Outside::beside(&h, &["10.88.0.200/24", "fd88::200/64"]);
    ve(&h, "one", "lan", "10.88.0.10,fd88::10");
    outside.sh("ping -c 1 -w 10 10.88.0.10");
    let mac = outside.sh("ip -o link show eth0 | sed 's/.*ether //; s/ .*//'");
    house::template("busybox");
    for address in ["10.88.0.200", "fd88::200"] {
        let said = h.fails(4, &["address", "add", "one", address]);
        assert!(said.contains(&format!("{address} is at {mac}")), "{said}");
    }
    let settings = ["network.0.network=lan", "network.0.addresses=10.88.0.200,fd88::20"];
    h.ok(&[
        "create",
        "two",
        "--template",
        "busybox",
        "--set",
        settings[0],
        "--set",
        settings[1],
    ]);
    let said = h.fails(4, &["start", "two"]);
    assert!(said.contains(&mac), "{said}");
    assert!(h.audit().is_empty(), "{:?}", h.audit());
    // Nor does a VE that runs keep itself from starting again, and who doesn't want to know isn't told.
    h.ok(&["restart", "one"]);
    h.write("etc/networks/lan.toml", &format!("{lan}probe = false\n"));
    h.ok(&["start", "two"]);
}

#[test]
fn auto_passes_over_what_somebody_out_there_has() {
    let h = House::new();
    let lan = "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\nuplink = \"up0\"\n";
    h.write("etc/networks/lan.toml", lan);
    let outside = Outside::beside(&h, &["10.88.0.2/24", "10.88.0.3/24", "10.88.0.6/24", "fd88::2/64"]);
    h.host_sh("ip link set up0 up");
    outside.sh("until ip link show eth0 | grep -q 'state UP'; do sleep 0.1; done");
    // By the uplink before there is a bridge, and by that after.
    for (name, has) in [("one", ["10.88.0.4", "fd88::3"]), ("two", ["10.88.0.5", "fd88::4"])] {
        h.busybox_with(name, &["network.0.network=lan"]);
        assert_eq!(h.status(name, "addresses"), serde_json::json!(has));
    }
    h.ok(&["address", "add", "two", "auto4"]);
    assert!(h.status("two", "addresses").to_string().contains("10.88.0.7"));
    assert!(h.audit().is_empty(), "{:?}", h.audit());
}

#[test]
fn neighbours_hear_of_a_resume() {
    let Some(h) = House::with_criu() else { return };
    h.write(
        "etc/networks/lan.toml",
        "kind = \"bridge\"\npools = [\"10.88.0.0/24\", \"fd88::/64\"]\nuplink = \"up0\"\n",
    );
    let outside = Outside::beside(&h, &["10.88.0.200/24", "fd88::200/64"]);
    let both = ["10.88.0.10", "fd88::10"];
    ve(&h, "one", "lan", &both.join(","));
    let mac = h.sh("one", "cat /sys/class/net/eth0/address");
    h.ok(&["suspend", "one"]);
    // Somebody took its address meanwhile: it stays as it is.
    outside.sh("ip addr add 10.88.0.10/24 dev eth0");
    let said = h.fails(4, &["resume", "one"]);
    assert!(said.contains("one") && said.contains("10.88.0.10 is at "), "{said}");
    assert_eq!(h.state("one"), "suspended");
    outside.sh("ip addr del 10.88.0.10/24 dev eth0");
    outside.mistakes(&both);
    h.ok(&["resume", "one"]);
    outside.hears(&h, &both, &mac);
    assert!(h.audit().is_empty(), "{:?}", h.audit());
}
