//! Who reaches VEs behind the host's own addresses, and by what.

use super::*;
use crate::firewall::Nat;

/// A neighbour of the host: 203.0.113.2 and 2001:db8:f::2, where the host is .1. It routes the private pools by the host.
pub(super) fn neighbour(host: &Space) -> Option<Space> {
    let outside = Space::new()?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&outside.fd());
    let netns = format!("/proc/{}/fd/{fd}", std::process::id());
    host.ip(&format!("link add up0 type veth peer name up1 netns {netns}"));
    for (space, name, last) in [(host, "up0", 1), (&outside, "up1", 2)] {
        space.ip(&format!("addr add 203.0.113.{last}/24 dev {name}"));
        space.ip(&format!("addr add 2001:db8:f::{last}/64 dev {name} nodad"));
        space.ip(&format!("link set {name} up"));
    }
    outside.ip("route add 10.9.0.0/24 via 203.0.113.1");
    outside.ip("route add fd09::/64 via 2001:db8:f::1");
    Some(outside)
}

/// The pools 10.9.0.0/24 and fd09::/64 are of kind nat.
pub(super) fn closed() -> Ruleset {
    Ruleset {
        nat: Nat {
            closed: vec!["10.9.0.0/24".parse().unwrap(), "fd09::/64".parse().unwrap()],
            ..Nat::default()
        },
        ..masquerading(&["10.9.0.0/24", "fd09::/64"])
    }
}

fn uninvited(host: &Space) -> u64 {
    parts(host, "counter")
        .iter()
        .find(|c| c["name"] == "uninvited")
        .unwrap()["packets"]
        .as_u64()
        .unwrap()
}

/// How many neighbours the host knows, or asks for, on a bridge.
fn neighbours(host: &Space) -> usize {
    host.ip("neigh show dev brhv-lan nud all").lines().count()
}

#[test]
fn who_scans_a_bridges_pool_does_not_fill_the_hosts_table_of_neighbours() {
    let Some((host, ve)) = host_and_ve(101, &["192.0.2.10"]) else {
        return;
    };
    let Some(on_bridge) = Space::new() else { return };
    let fd = std::os::fd::AsRawFd::as_raw_fd(&on_bridge.fd());
    let netns = format!("/proc/{}/fd/{fd}", std::process::id());
    host.ip("link add brhv-lan type bridge");
    host.ip(&format!(
        "link add hv102.0 master brhv-lan type veth peer name eth0 netns {netns}"
    ));
    for name in ["brhv-lan", "hv102.0"] {
        host.ip(&format!("link set {name} up"));
    }
    host.ip("addr add 10.9.0.1/16 dev brhv-lan");
    on_bridge.ip("link set eth0 up");
    on_bridge.ip("addr add 10.9.0.2/16 dev eth0");
    on_bridge.ip("addr add 10.9.9.9/16 dev eth0");
    on_bridge.ip("route add default via 10.9.0.1");
    let mac = on_bridge.ip_json("link show eth0")[0]["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut bytes = mac.split(':').map(|b| u8::from_str_radix(b, 16).unwrap());
    let port = Member {
        mac: std::array::from_fn(|_| bytes.next().unwrap()),
        port: Some(crate::firewall::PortRules {
            any_ip: true,
            ..Default::default()
        }),
        ..member(102, &["10.9.0.2"])
    };
    let pool: IpNetwork = "10.9.0.0/16".parse().unwrap();
    let rules = Ruleset {
        bridged: true,
        nat: Nat {
            inside: vec!["brhv-lan".into()],
            bridged: vec![("brhv-lan".into(), vec![pool])],
            ..Nat::default()
        },
        ..ruleset(&[member(101, &["192.0.2.10"]), port.clone()])
    };
    host.run(|| firewall().ensure(&rules)).unwrap();
    assert!(ve.ping("10.9.0.2", 5), "one that is known");
    assert!(ve.ping("10.9.9.9", 5), "one that isn't, and answers");
    let before = neighbours(&host);
    ve.run(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        for n in 0..2000_u16 {
            let [high, low] = (n + 512).to_be_bytes();
            let _ = socket.send_to(b"scan", (std::net::Ipv4Addr::new(10, 9, high, low), 7));
        }
    });
    let after = neighbours(&host);
    assert!(before >= 2 && after < before + 200, "{before}, then {after}");
    assert!(ve.reaches("10.9.0.2"), "who is known is reached meanwhile");
    // Its element comes and goes with it.
    let known = || elements(&host, "near4");
    assert_eq!(known(), 1);
    host.run(|| firewall().expel(TABLE, "hv102.0")).unwrap();
    assert_eq!(known(), 0);
    host.run(|| firewall().admit(TABLE, std::slice::from_ref(&port)))
        .unwrap();
    assert_eq!(known(), 1);
    assert!(
        host.run(|| firewall().deviating(TABLE, &rules.members))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn nobody_outside_reaches_a_nat_network_uninvited() {
    let Some((host, ve)) = host_and_ve(101, &["10.9.0.2", "fd09::2"]) else {
        return;
    };
    let (Some(outside), Some(other)) = (neighbour(&host), add_ve(&host, 102, &["192.0.2.7", "2001:db8::7"])) else {
        return;
    };
    let members = [
        member(101, &["10.9.0.2", "fd09::2"]),
        member(102, &["192.0.2.7", "2001:db8::7"]),
    ];
    let with = |rules: Ruleset| Ruleset {
        members: members.to_vec(),
        ..rules
    };
    // A routed network that masquerades is open to whoever has a way there.
    host.run(|| firewall().ensure(&with(masquerading(&["10.9.0.0/24", "fd09::/64"]))))
        .unwrap();
    assert!(outside.ping("10.9.0.2", 5) && outside.ping("fd09::2", 5));
    host.run(|| firewall().ensure(&with(closed()))).unwrap();
    assert_eq!(uninvited(&host), 0);
    assert!(!outside.ping("10.9.0.2", 1) && !outside.ping("fd09::2", 1));
    assert_eq!(uninvited(&host), 2);
    // What it asks for comes back; the host and other VEs reach it.
    for (from, to) in [
        (&ve, ["203.0.113.2", "2001:db8:f::2"]),
        (&host, ["10.9.0.2", "fd09::2"]),
        (&other, ["10.9.0.2", "fd09::2"]),
        (&ve, ["192.0.2.7", "2001:db8::7"]),
    ] {
        for target in to {
            assert!(from.ping(target, 5), "{target}");
        }
    }
    assert_eq!(uninvited(&host), 2);
    // Behind an interface where there are VEs alone, there are no strangers.
    let mut rules = with(closed());
    rules.nat.inside = vec!["up0".to_owned()];
    host.run(|| firewall().ensure(&rules)).unwrap();
    assert!(outside.ping("10.9.0.2", 5) && outside.ping("fd09::2", 5));
}
