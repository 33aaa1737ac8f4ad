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
