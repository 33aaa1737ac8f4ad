//! Tenants who are kept from each other on their bridge, by way of the host.

use std::str::FromStr;

use hostel_model::mac::Mac;

use super::bridge::{on_side, rules, two_ports_with};
use super::host::shared_bridge;
use super::nat::neighbour;
use super::*;
use crate::firewall::testing::*;

fn isolated(host: &Space) -> u64 {
    let counters = parts(host, "counter");
    let own = counters
        .iter()
        .find(|c| c["name"] == "isolated" && c["family"] == "inet");
    own.unwrap()["packets"].as_u64().unwrap()
}

#[test]
fn ves_elsewhere_on_the_host_do_not_reach_an_isolated_bridge() {
    let Some((host, one, _two)) = two_ports_with(&rules(), on_side(7), on_side(8)) else {
        return;
    };
    let (Some(routed), Some(behind)) = (add_ve(&host, 103, &["10.9.0.2", "fd09::2"]), neighbour(&host)) else {
        return;
    };
    behind.ip("route add 192.0.2.0/24 via 203.0.113.1");
    behind.ip("route add 2001:db8::/64 via 2001:db8:f::1");
    let others = [member(103, &["10.9.0.2", "fd09::2"])];
    host.run(|| firewall().admit(TABLE, &others)).unwrap();
    let theirs = ["192.0.2.10", "2001:db8::10"];
    // Until the addresses there have been found to be nobody else's.
    assert!(host.ping(theirs[1], 10));
    let reached = |from: &Space| theirs.map(|to| from.ping(to, 1));
    assert_eq!(reached(&routed), [false; 2]);
    assert!(isolated(&host) >= 2);
    // The host there is theirs too; and who is there reaches them, as any host on the Internet.
    assert!(routed.ping("192.0.2.1", 2) && routed.ping("2001:db8::1", 2));
    assert!(one.ping("10.9.0.2", 2) && one.ping("fd09::2", 2));
    // The world reaches the bridge, but where there are VEs behind that interface, as on another bridge, they don't.
    assert_eq!(reached(&behind), [true; 2]);
    let mut with_ves = rules();
    with_ves.nat.inside = vec!["up0".into()];
    with_ves.members = [super::bridge::their_members().to_vec(), others.to_vec()].concat();
    host.run(|| firewall().ensure(&with_ves)).unwrap();
    assert_eq!(reached(&behind), [false; 2]);
    // One that isn't isolated they all reach.
    with_ves.host.apart.clear();
    host.run(|| firewall().ensure(&with_ves)).unwrap();
    assert_eq!((reached(&behind), reached(&routed)), ([true; 2], [true; 2]));
}

/// By the host's hardware address and back, on a bridge of the host's owner that has no rules about it.
#[test]
fn the_hosts_own_bridge_is_no_way_round() {
    let Some((host, ves, machine)) = shared_bridge(&[on_side(7), on_side(8)]) else {
        return;
    };
    let mac = |id: u32| Mac::guest(id.try_into().unwrap(), 0).bytes();
    let bridge = host.ip_json("link show br0")[0]["address"].as_str().unwrap().to_owned();
    let to = Mac::from_str(&bridge).unwrap().bytes();
    let (sender, receiver) = (ves[0].run(|| Wire::new("eth0")), ves[1].run(|| Wire::new("eth0")));
    let at_machine = machine.run(|| Wire::new("eth0"));
    let say = |target: &str, text: &str| {
        let packet = ipv4(
            "192.0.2.10".parse().unwrap(),
            target.parse().unwrap(),
            17,
            &udp(1, 2, &marked(text)),
        );
        sender.send(&ethernet(mac(101), to, ETHERTYPE_V4, &packet));
    };
    let honest = |text: &str| {
        let packet = ipv4(
            "192.0.2.1".parse().unwrap(),
            "192.0.2.11".parse().unwrap(),
            17,
            &udp(1, 2, &marked(text)),
        );
        host.run(|| Wire::new("br0"))
            .send(&ethernet(to, mac(102), ETHERTYPE_V4, &packet));
    };
    assert!(host.ping("192.0.2.11", 5) && host.ping("192.0.2.99", 5));
    say("192.0.2.11", "by the host");
    say("192.0.2.99", "to a machine");
    assert_eq!(
        at_machine.wait_for("to a machine"),
        ["to a machine"],
        "the host may be the router there"
    );
    honest("end");
    assert_eq!(receiver.wait_for("end"), ["end"]);
    assert_eq!(isolated(&host), 1);
    // It was the rules.
    let mut open = Ruleset {
        bridged: true,
        ..ruleset(&[])
    };
    open.host.shared = vec!["br0".into()];
    open.members = super::host::shared_members(&[on_side(7), on_side(8)]);
    host.run(|| firewall().ensure(&open)).unwrap();
    say("192.0.2.11", "by the host");
    receiver.wait_for("by the host");
}
