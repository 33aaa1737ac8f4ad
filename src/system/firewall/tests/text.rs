//! The text of the ruleset.

use proptest::prelude::*;

use super::*;
use crate::error::Kind;

#[test]
fn equal_rulesets_have_equal_texts() {
    let (a, b) = (
        member(101, &["192.0.2.10", "2001:db8::10"]),
        member(102, &["198.51.100.7"]),
    );
    let turned = Member {
        addresses: a.addresses.iter().rev().copied().collect(),
        ..a.clone()
    };
    let text = firewall().text(&ruleset(&[a, b.clone()])).unwrap();
    assert_eq!(text, firewall().text(&ruleset(&[b, turned])).unwrap());
    for line in [
        "\"hv101.0\" . 02:00:00:00:65:00,",
        "\"hv101.0\" . 192.0.2.10,",
        "\"hv101.0\" . 2001:db8::10",
        "\"hv101.0\" . 0x20010db8000000000000000000000010",
        "ip6 daddr != { fe80::1, ff02::1, ff02::1:ff00:1 } drop",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn the_version_is_that_of_the_rules_not_of_the_members() {
    let version = |r: &Ruleset| super::super::ruleset::version(r, super::super::keys::Family::Inet).unwrap();
    let bare = ruleset(&[]);
    assert_eq!(version(&bare), version(&ruleset(&[member(101, &["192.0.2.10"])])));
    assert_ne!(version(&bare), version(&masquerading(&["10.0.0.0/24"])));
    assert_eq!(
        version(&masquerading(&["10.0.0.0/24"])),
        version(&masquerading(&["10.0.0.7/24", "10.0.0.0/24"]))
    );
    assert_ne!(
        version(&bare),
        version(&Ruleset {
            prefix: "hx".into(),
            ..bare.clone()
        })
    );
}

#[test]
fn stages_stand_in_order() {
    let text = firewall().text(&masquerading(&["10.0.0.0/24", "fd00::/64"])).unwrap();
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}"));
    let order = [
        "hook prerouting priority raw",
        "chain anti_spoof",
        "hook input priority filter",
        "ct state established",
        "hook postrouting",
    ];
    assert!(order.windows(2).all(|w| at(w[0]) < at(w[1])));
    // Before connection tracking no packet of a VE gets by but through the sets.
    let stage = &text[at("chain anti_spoof")..at("chain input")];
    for accept in stage.lines().filter(|l| l.ends_with("accept")) {
        assert!(
            ["@sources", "@ve4", "@ve6", "@routes", "@nd_rate"]
                .iter()
                .any(|s| accept.contains(s)),
            "{accept}"
        );
    }
    assert!(!text[..at("chain input")].contains("ct state"));
}

#[test]
fn wrong_names_are_refused() {
    let bare = ruleset(&[]);
    let bad = [
        Ruleset {
            table: "a b".into(),
            ..bare.clone()
        },
        Ruleset {
            table: "t { } table ip x".into(),
            ..bare.clone()
        },
        Ruleset {
            table: String::new(),
            ..bare.clone()
        },
        Ruleset {
            prefix: "h\"v".into(),
            ..bare.clone()
        },
        Ruleset {
            prefix: "*".into(),
            ..bare.clone()
        },
        ruleset(&[Member {
            interface: "hv1\" . 1".into(),
            ..member(101, &[])
        }]),
        ruleset(&[Member {
            interface: "eth0".into(),
            ..member(101, &[])
        }]),
        ruleset(&[Member {
            mac: [0; 6],
            ..member(101, &[])
        }]),
        ruleset(&[member(101, &["0.0.0.0"])]),
        ruleset(&[member(101, &["fe80::1"])]),
        ruleset(&[member(101, &["192.0.2.1"]), member(102, &["192.0.2.1"])]),
        ruleset(&[member(101, &[]), member(101, &[])]),
    ];
    for ruleset in bad {
        assert_eq!(
            firewall().text(&ruleset).unwrap_err().kind,
            Kind::Invalid,
            "{ruleset:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_goes_in_is_one_word_or_refused(table in ".{0,12}", prefix in ".{0,5}", interface in ".{0,8}") {
        let name = format!("{prefix}{interface}");
        let ruleset = Ruleset {
            table: table.clone(),
            prefix: prefix.clone(),
            members: vec![Member { interface: name.clone(), ..member(101, &["192.0.2.1"]) }],
            ..ruleset(&[])
        };
        if firewall().text(&ruleset).is_ok() {
            for word in [table, prefix, name] {
                prop_assert!(word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{word:?}");
            }
        }
    }
}
