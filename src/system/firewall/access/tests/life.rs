//! Loaded, changed, looked at, ended, and mended.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use hostel_model::definition::{AccessProtocol, PortRange};

const WEB: &str = "direction = \"in\"\naction = \"allow\"\nprotocol = \"tcp\"\nports = [80]";
const SSH: &str = "direction = \"in\"\naction = \"deny\"\nprotocol = \"tcp\"\nports = [22]";

fn bears_ports(host: &Space) -> bool {
    host.run(|| rules().bears_ports(TABLE)).unwrap()
}

fn change(host: &Space, change: &Change) {
    assert!(host.run(|| rules().change(TABLE, change)).unwrap(), "{change:?}");
}

fn loaded(host: &Space) -> Loaded {
    host.run(|| rules().loaded(TABLE)).unwrap()
}

/// All tables here, without the counts.
fn text(host: &Space) -> String {
    let all = String::from_utf8(host.output("nft", "-s list ruleset").stdout).unwrap();
    all.lines()
        .filter(|l| !l.contains("state_"))
        .map(|l| format!("{l}\n"))
        .collect()
}

fn nft(host: &Space, line: &str) {
    let output = host.run(|| std::process::Command::new("nft").arg(line).output().unwrap());
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn rules_come_change_and_go() {
    let Some(host) = Space::new() else { return };
    assert_eq!(loaded(&host), Loaded::default());
    // The longest name that the other table can have.
    let longest = format!("{}_acl", "a".repeat(31));
    assert!(!host.run(|| rules().exists(&longest)).unwrap());
    assert!(host.run(|| rules().exists("a b")).is_err());
    change(
        &host,
        &Change {
            end: vec![ve(101)],
            ..Change::default()
        },
    );
    assert_eq!(text(&host), "", "nothing costs nothing");
    let (one, two) = (
        routed(101, &rule(WEB)),
        routed(102, &rule(&format!("{SSH}\npeers = [\"tenant:a-b.c\"]"))),
    );
    // On a bridge besides, where the kernel can do that.
    let ports = if bears_ports(&host) {
        vec!["hv101.1".into()]
    } else {
        Vec::new()
    };
    let families = 1 + ports.len();
    let both = Guard { ports, ..one.clone() };
    change(&host, &put(&[both.clone(), two.clone()]));
    let now = loaded(&host);
    assert!(!now.changed_by_hand);
    let wanted = BTreeMap::from([(ve(101), both.marks()), (ve(102), two.marks())]);
    assert_eq!((now.guards, both.marks().len()), (wanted, families));
    assert_eq!(now.peers, Peers::from([(peer("tenant:a-b.c"), BTreeSet::new())]));
    let before = text(&host);
    change(&host, &put(&[both.clone(), two.clone()]));
    assert_eq!(text(&host), before, "the same again changes nothing");
    // Off the bridge, and with other rules.
    let other = routed(101, &format!("out = \"deny\"\n{}{}", rule(SSH), rule(WEB)));
    change(&host, &put(std::slice::from_ref(&other)));
    assert_eq!(loaded(&host).guards[&ve(101)], other.marks());
    assert!(!text(&host).contains("table bridge"));
    change(
        &host,
        &Change {
            end: vec![ve(101)],
            ..Change::default()
        },
    );
    assert!(!text(&host).contains("101"), "{}", text(&host));
    assert!(text(&host).contains("hv102.0"));
    change(
        &host,
        &Change {
            end: vec![ve(102)],
            ..Change::default()
        },
    );
    assert_eq!(text(&host), "");
}

#[test]
fn counters_outlive_a_change_of_other_rules() {
    let Some((host, one)) = host_and_ve(101, &["192.0.2.10"]) else {
        return;
    };
    let _server = serve(&one, "192.0.2.10:80");
    let guard = routed(101, &rule(WEB));
    change(&host, &put(std::slice::from_ref(&guard)));
    drop(reaches(&host, "192.0.2.10:80"));
    let more = routed(101, &format!("{}{}", rule(SSH), rule(WEB)));
    change(&host, &put(&[more.clone(), routed(102, &rule(SSH))]));
    assert_eq!(packets(&host, &more, Direction::In, 1), 1);
    drop(reaches(&host, "192.0.2.10:80"));
    assert_eq!(packets(&host, &more, Direction::In, 1), 2);
    change(
        &host,
        &Change {
            end: vec![ve(102)],
            ..Change::default()
        },
    );
    assert_eq!(packets(&host, &more, Direction::In, 1), 2);
}

#[test]
fn what_was_changed_by_hand_is_seen_and_loaded_anew() {
    let Some(host) = Space::new() else { return };
    let guards = [routed(
        101,
        &format!("{}{}", rule(WEB), rule(&format!("{SSH}\npeers = [\"ve:x\"]"))),
    )];
    let peers = Peers::from([(peer("ve:x"), addresses(&["192.0.2.7", "2001:db8::7"]))]);
    let whole = Change {
        peers: peers.clone(),
        ..put(&guards)
    };
    change(&host, &whole);
    let good = text(&host);
    for by_hand in [
        "flush chain inet hostel_test_acl in_101",
        "insert rule inet hostel_test_acl forward accept",
        "delete element inet hostel_test_acl to_ve { \"hv101.0\" }",
        "add element inet hostel_test_acl v4_ve_x { 192.0.2.8 }",
        "delete element inet hostel_test_acl v6_ve_x { 2001:db8::7 }",
        "add table inet hostel_test_acl { flags dormant; }",
        "flush ruleset; add table inet hostel_test_acl",
    ] {
        nft(&host, by_hand);
        assert!(loaded(&host).changed_by_hand, "{by_hand}");
        assert!(!host.run(|| rules().change(TABLE, &whole)).unwrap(), "{by_hand}");
        host.run(|| rules().replace(TABLE, &guards, &peers)).unwrap();
        assert_eq!(text(&host), good, "{by_hand}");
        assert!(!loaded(&host).changed_by_hand, "{by_hand}");
        change(&host, &whole);
    }
    host.run(|| rules().replace(TABLE, &[], &Peers::new())).unwrap();
    assert_eq!(text(&host), "");
}

#[test]
fn prefixes_of_a_peer_read_back_whatever_they_become() {
    let Some(host) = Space::new() else { return };
    let named = routed(101, &rule(&format!("{SSH}\npeers = [\"tenant:acme\"]")));
    let one = "192.0.2.1/32";
    for list in [
        &["0.0.0.0/8", "255.255.254.0/24", "255.255.255.0/24", one][..],
        &["10.0.0.0/9", "10.128.0.0/9", "::/16", "ffff::/16"],
        &["10.0.0.0/8", "10.1.2.3/32", "ffff::/17", "ffff:8000::/17"],
        &["10.64.0.0/10", "ffff:8000::/18", one],
        &[],
    ] {
        let change_to = Change {
            peers: Peers::from([(peer("tenant:acme"), addresses(list))]),
            ..put(std::slice::from_ref(&named))
        };
        change(&host, &change_to);
        let now = loaded(&host);
        assert!(!now.changed_by_hand, "{list:?}");
        assert_eq!(now.peers, change_to.peers);
    }
}

#[test]
fn what_lies_within_another_prefix_is_left_out() {
    let all = addresses(&[
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.3",
        "2001:db8::/32",
        "2001:db8:1::/48",
    ]);
    assert_eq!(outermost(all), addresses(&["10.0.0.0/8", "10.1.2.3", "2001:db8::/32"]));
}

/// A transaction of a thousand elements, and the look at it.
#[test]
fn a_thousand_ves_need_no_base_rule_more() {
    let Some(host) = Space::new() else { return };
    let many: Vec<Guard> = (101..601).map(|n| routed(n, &rule(WEB))).collect();
    host.run(|| rules().replace(TABLE, &many, &Peers::new())).unwrap();
    let forward = host.output("nft", "list chain inet hostel_test_acl forward");
    let forward = String::from_utf8(forward.stdout).unwrap();
    assert_eq!(forward.matches("vmap").count(), 2, "{forward}");
    assert_eq!(loaded(&host).guards.len(), 500);
    change(&host, &put(&[routed(300, &rule(SSH))]));
    assert_eq!(loaded(&host).guards.len(), 500);
}

fn any_rule() -> impl Strategy<Value = AccessRule> {
    let range = (1_u16.., 0_u16..50).prop_map(|(first, more)| PortRange {
        first,
        last: first.saturating_add(more),
    });
    let v4 = (any::<[u8; 4]>(), 0_u8..=32).prop_map(|(a, p)| (IpAddr::from(a), p));
    let v6 = (any::<[u8; 16]>(), 0_u8..=128).prop_map(|(a, p)| (IpAddr::from(a), p));
    let network = prop_oneof![v4, v6].prop_map(|(a, p)| {
        let any = ipnetwork::IpNetwork::new(a, p).unwrap();
        Peer::Network(ipnetwork::IpNetwork::new(any.network(), p).unwrap())
    });
    let named = "(ve|tenant):[a-z]([a-z0-9-]{0,20}[a-z0-9])?".prop_map(|text| peer(&text));
    let what = (0_usize..2, 0_usize..2, 0_usize..4);
    let lists = (
        prop::collection::vec(range, 0..5),
        prop::collection::vec(prop_oneof![network, named], 0..6),
    );
    (what, lists).prop_map(|((direction, action, protocol), (ports, peers))| {
        let protocol = AccessProtocol::ALL.get(protocol).copied();
        let has_ports = matches!(protocol, Some(AccessProtocol::Tcp | AccessProtocol::Udp));
        AccessRule {
            direction: Direction::ALL[direction],
            action: Verdict::ALL[action],
            protocol,
            ports: if has_ports { ports } else { Vec::new() },
            peers,
            comment: None,
        }
    })
}

#[test]
fn whatever_a_definition_can_say_the_kernel_takes() {
    let Some(host) = Space::new() else { return };
    let ports = if bears_ports(&host) {
        vec!["hv101.1".to_owned()]
    } else {
        Vec::new()
    };
    let mut runner = TestRunner::new(Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    });
    let all = prop::collection::vec(any_rule(), 1..8);
    let outcome = runner.run(&all, |own| {
        let rules_of = AccessRules {
            own,
            ..said("in = \"deny\"\n")
        };
        let guard = Guard {
            ports: ports.clone(),
            rules: rules_of,
            ..routed(101, "")
        };
        prop_assert!(
            host.run(|| rules().change(TABLE, &put(std::slice::from_ref(&guard))))
                .unwrap()
        );
        let now = loaded(&host);
        prop_assert!(!now.changed_by_hand);
        prop_assert_eq!(&now.guards[&guard.ve], &guard.marks());
        Ok(())
    });
    outcome.unwrap();
}
