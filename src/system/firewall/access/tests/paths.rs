//! Which connections are made, on every path, and what is counted.

use super::*;
use crate::net::testing::{link, network};
use crate::net::{Link, Network};

const ONE: [&str; 2] = ["192.0.2.10", "2001:db8::10"];
const TWO: [&str; 2] = ["198.51.100.7", "2001:db8:2::7"];

/// A host with VEs 101 and 102.
fn two_ves() -> Option<(Space, Space, Space)> {
    let (host, one) = host_and_ve(101, &ONE)?;
    let two = add_ve(&host, 102, &TWO)?;
    assert!(one.ping(TWO[0], 5) && one.ping(TWO[1], 5));
    Some((host, one, two))
}

#[test]
fn what_may_come_in() {
    let Some((host, one, two)) = two_ves() else { return };
    let servers = [
        "192.0.2.10:80",
        "192.0.2.10:81",
        "[2001:db8::10]:80",
        "[2001:db8::10]:81",
    ];
    let _servers = servers.map(|s| serve(&one, s));
    let web =
        rule("direction = \"in\"\naction = \"allow\"\nprotocol = \"tcp\"\nports = [\"80\"]\npeers = [\"ve:two\"]");
    let guard = routed(101, &format!("in = \"deny\"\n{web}"));
    let mut change = put(std::slice::from_ref(&guard));
    change.peers.insert(peer("ve:two"), addresses(&TWO));
    assert!(host.run(|| rules().change(TABLE, &change)).unwrap());
    for to in [servers[0], servers[2]] {
        drop(reaches(&two, to));
    }
    assert_eq!(packets(&host, &guard, Direction::In, 0), 2);
    for to in [servers[1], servers[3]] {
        assert!(!connects(&two, to), "{to}");
    }
    assert!(packets(&host, &guard, Direction::In, 1) >= 2);
    // The host is somebody like others, and is no neighbour that isn't heard.
    assert!(!connects(&host, servers[0]) && !connects(&host, servers[2]));
    assert!(!two.ping(ONE[0], 1) && !two.ping(ONE[1], 1));
    assert!(one.ping(TWO[0], 5) && one.ping(TWO[1], 5), "answers come in");
    assert!(one.ping("169.254.1.1", 5) && one.ping("fe80::1%eth0", 5));
    // The peer has other addresses from now on.
    let moved = Change {
        peers: Peers::from([(peer("ve:two"), addresses(&["203.0.113.1"]))]),
        ..Change::default()
    };
    assert!(host.run(|| rules().change(TABLE, &moved)).unwrap());
    assert!(!connects(&two, servers[0]));
    assert_eq!(host.run(|| rules().loaded(TABLE)).unwrap().peers, moved.peers);
}

#[test]
fn what_may_go_out() {
    let Some((host, one, two)) = two_ves() else { return };
    let servers = [
        "198.51.100.7:80",
        "[2001:db8:2::7]:80",
        "198.51.100.7:7000",
        "[2001:db8:2::7]:7000",
    ];
    let _servers = servers.map(|s| serve(&two, s));
    let _own = ["192.0.2.10:80", "[2001:db8::10]:80"].map(|s| serve(&one, s));
    let _hosts = ["0.0.0.0:9000"].map(|s| serve(&host, s));
    let lines = [
        rule("direction = \"out\"\naction = \"deny\"\nprotocol = \"tcp\"\nports = [\"7000-7100\", \"7050\", \"7101\"]"),
        rule("direction = \"out\"\naction = \"deny\"\npeers = [\"169.254.0.0/16\", \"169.254.1.1\"]"),
        rule("direction = \"out\"\naction = \"deny\"\nprotocol = \"icmp\"\npeers = [\"::/0\"]"),
    ];
    let guard = routed(101, &lines.concat());
    let held = reaches(&one, servers[2]);
    assert!(
        host.run(|| rules().change(TABLE, &put(std::slice::from_ref(&guard))))
            .unwrap()
    );
    drop(reaches(&one, servers[0]));
    drop(reaches(&one, servers[1]));
    assert!(!connects(&one, servers[2]) && !connects(&one, servers[3]));
    assert!(packets(&host, &guard, Direction::Out, 0) >= 2);
    // A connection of before goes on.
    use std::io::Write;
    (&held).write_all(b"still here").unwrap();
    assert!(!connects(&one, "169.254.1.1:9000"), "to the host");
    assert!(one.ping(TWO[0], 5) && !one.ping(TWO[1], 1));
    drop(reaches(&two, "192.0.2.10:80"));
    drop(reaches(&host, "[2001:db8::10]:80"));
}

#[test]
fn both_ends_have_a_say() {
    let Some((host, one, two)) = two_ves() else { return };
    let _server = ["192.0.2.10:80", "192.0.2.10:81"].map(|s| serve(&one, s));
    let only = |n: u32, direction: &str, port: u16| {
        routed(
            n,
            &format!(
                "{direction} = \"deny\"\n{}",
                rule(&format!(
                    "direction = \"{direction}\"\naction = \"allow\"\nprotocol = \"tcp\"\nports = [{port}]"
                ))
            ),
        )
    };
    let (receiver, sender) = (only(101, "in", 80), only(102, "out", 81));
    assert!(
        host.run(|| rules().change(TABLE, &put(&[receiver.clone(), sender])))
            .unwrap()
    );
    assert!(!connects(&two, "192.0.2.10:80") && !connects(&two, "192.0.2.10:81"));
    assert!(
        host.run(|| rules().change(TABLE, &put(&[only(102, "out", 80)])))
            .unwrap()
    );
    drop(reaches(&two, "192.0.2.10:80"));
    assert_eq!(packets(&host, &receiver, Direction::In, 0), 1);
}

/// Does an echo request from this address of a namespace's own come back?
fn pings_from(space: &Space, from: &str, to: &str, tries: u32) -> bool {
    let ask = || space.output("ping", &format!("-n -c 1 -W 1 -I {from} {to}"));
    (0..tries).any(|_| ask().status.success())
}

#[test]
fn a_peer_is_met_in_the_prefixes_that_are_routed_to_it() {
    let (Some((host, one)), Some(two)) = (host_and_ve(101, &ONE), Space::new()) else {
        return;
    };
    let prefixes = ["203.0.113.64/28", "2001:db8:5::/64"];
    let behind = Link {
        routes: prefixes.iter().map(|p| p.parse().unwrap()).collect(),
        ..link(102, 0, &TWO)
    };
    host.run(|| network().attach(two.fd(), &[behind])).unwrap();
    let (near, far, six) = ("203.0.113.65", "203.0.113.78", "2001:db8:5::1");
    for own in [near, far, six] {
        two.ip(&format!("addr add {own} dev lo nodad"));
    }
    assert!(one.ping(near, 5) && one.ping(far, 5) && one.ping(six, 5));
    let guard = routed(
        101,
        &format!(
            "in = \"deny\"\n{}",
            rule("direction = \"in\"\naction = \"allow\"\npeers = [\"ve:two\"]")
        ),
    );
    let mut change = put(std::slice::from_ref(&guard));
    let mut is = |list: &[&str]| {
        change.peers = Peers::from([(peer("ve:two"), addresses(list))]);
        assert!(host.run(|| rules().change(TABLE, &change)).unwrap(), "{list:?}");
        assert_eq!(host.run(|| rules().loaded(TABLE)).unwrap().peers, change.peers);
    };
    is(&TWO);
    assert!(pings_from(&two, TWO[0], ONE[0], 5) && !pings_from(&two, near, ONE[0], 1));
    is(&[TWO[0], prefixes[0], prefixes[1]]);
    assert!(pings_from(&two, TWO[0], ONE[0], 5) && pings_from(&two, near, ONE[0], 5));
    assert!(pings_from(&two, far, ONE[0], 5) && pings_from(&two, six, ONE[1], 5));
    // What it has now lies within what it had, and the other way round.
    is(&["203.0.113.64/29"]);
    assert!(pings_from(&two, near, ONE[0], 5) && !pings_from(&two, far, ONE[0], 1));
    assert!(!pings_from(&two, TWO[0], ONE[0], 1) && !pings_from(&two, six, ONE[1], 1));
    is(&["203.0.113.64/27"]);
    assert!(pings_from(&two, far, ONE[0], 5));
    is(&[]);
    assert!(!pings_from(&two, near, ONE[0], 1));
}
