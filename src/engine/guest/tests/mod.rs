mod golden;
mod refusal;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use hostel_model::distribution::{Family, InitKind};
use hostel_monitor::guest::{Left, Op, Outcome, apply};

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0Qe1vJ0b5a8fQ2s6y5xk3m1w7u9c4d2r8t6e0b4qL alice@acme";
const HASH: &str = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7";

fn eth0() -> Interface {
    Interface {
        name: "eth0".into(),
        mac: "02:00:5e:10:00:01".into(),
        addresses: vec!["203.0.113.10".parse().unwrap(), "2001:db8::10".parse().unwrap()],
        gateway4: Some(Ipv4Addr::new(169, 254, 1, 1)),
        gateway6: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
    }
}

/// The first start of a VE about which everything is known.
fn facts() -> GuestFacts {
    GuestFacts {
        hostname: "web1".into(),
        fqdn: Some("web1.acme.example".into()),
        interfaces: vec![eth0()],
        dns: vec!["198.51.100.53".parse().unwrap(), "2001:db8::53".parse().unwrap()],
        search: vec!["acme.example".into(), "example".into()],
        password_hash: Some(HASH.into()),
        ssh_keys: vec![KEY.into(), format!("from=\"192.0.2.0/24\",no-pty {KEY}")],
        timezone: Some("Europe/Berlin".into()),
        fresh: true,
        overdue: BTreeSet::new(),
        reset: false,
        today: 20_400,
    }
}

/// Any later start of it.
fn later(facts: GuestFacts) -> GuestFacts {
    GuestFacts {
        fresh: false,
        password_hash: None,
        ..facts
    }
}

fn content<'o>(ops: &'o [Op], wanted: &str) -> Option<&'o str> {
    ops.iter().find_map(|op| match op {
        Op::Write { path, content, .. } | Op::ManagedBlock { path, content, .. } if path == wanted => {
            Some(content.as_str())
        }
        _ => None,
    })
}

fn all_unchanged(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|o| !matches!(o, Outcome::Changed))
}

/// What of the first start is overdue comes with what is usual, and nothing else of the first start does.
#[test]
fn what_is_overdue_is_made_alone() {
    let (usual, mut only_at_first) = (later(facts()), 0);
    for family in Family::ALL {
        for init in InitKind::ALL {
            let of = |facts: &GuestFacts| identity(*family, *init, facts).unwrap();
            let first = of(&GuestFacts {
                fresh: true,
                ..usual.clone()
            });
            let every = of(&usual);
            for overdue in first.iter().filter(|op| !every.contains(op)) {
                only_at_first += 1;
                let ops = of(&GuestFacts {
                    overdue: BTreeSet::from([overdue.path().to_owned()]),
                    ..usual.clone()
                });
                let wanted: Vec<_> = first
                    .iter()
                    .filter(|op| every.contains(op) || op.path() == overdue.path())
                    .collect();
                assert_eq!(ops.iter().collect::<Vec<_>>(), wanted, "{family} {init:?}");
            }
        }
    }
    assert!(only_at_first > 50, "{only_at_first}");
}

/// Every family with every init, in trees that hold nothing and in trees that hold every file that a change asks
/// for: all are done, and a second time nothing happens.
#[test]
fn every_combination_applies_twice() {
    let few = GuestFacts {
        hostname: "bare".into(),
        ..GuestFacts::default()
    };
    for facts in [
        facts(),
        later(facts()),
        GuestFacts {
            reset: true,
            ..later(facts())
        },
        few,
    ] {
        for (family, init) in Family::ALL
            .iter()
            .flat_map(|f| InitKind::ALL.iter().map(move |i| (*f, *i)))
        {
            let ops = identity(family, init, &facts).unwrap();
            for furnished in [false, true] {
                let root = tempfile::tempdir().unwrap();
                if furnished {
                    furnish(root.path());
                }
                for outcome in apply(root.path(), &ops).unwrap() {
                    let about_zone = matches!(&outcome, Outcome::Left(Left { path, .. }) if path == "/etc/localtime");
                    assert!(
                        about_zone || !matches!(outcome, Outcome::Left(_)),
                        "{family} {init} {outcome:?}"
                    );
                }
                assert!(all_unchanged(&apply(root.path(), &ops).unwrap()), "{family} {init}");
            }
        }
    }
}

fn furnish(root: &Path) {
    for dir in [
        "etc/network",
        "etc/default",
        "etc/conf.d",
        "etc/cloud",
        "etc/netplan",
        "etc/NetworkManager",
        "etc/ssh",
    ] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    for file in [
        "default/ssh",
        "default/networking",
        "conf.d/hostname",
        "rc.conf",
        "inittab",
        "timezone",
        "mailname",
    ] {
        std::fs::write(root.join("etc").join(file), "1:\ntty1:\n").unwrap();
    }
}

#[test]
fn every_template_renders() {
    let renderer = render::Renderer::new(&facts()).unwrap();
    for (name, _) in render::TEMPLATES {
        let text = renderer.about(name, &eth0()).unwrap();
        assert!(
            text.ends_with('\n') && !text.contains("\n\n\n") && !text.contains("{{") && !text.contains("{%"),
            "{name}:\n{text}"
        );
    }
}

#[test]
fn without_name_servers_the_resolver_is_left_alone() {
    let facts = GuestFacts {
        dns: Vec::new(),
        ..facts()
    };
    let ops = identity(Family::Debian, InitKind::Systemd, &facts).unwrap();
    assert_eq!(content(&ops, "/etc/resolv.conf"), None);
    assert!(
        !content(&ops, "/etc/NetworkManager/conf.d/90-hostel.conf")
            .unwrap()
            .contains("dns=")
    );
}

#[test]
fn an_interface_without_addresses_is_the_guests_own() {
    let own = Interface {
        name: "eth1".into(),
        addresses: Vec::new(),
        ..eth0()
    };
    let both = GuestFacts {
        interfaces: vec![eth0(), own.clone()],
        ..facts()
    };
    for ops in [Family::Debian, Family::Ubuntu].map(|f| identity(f, InitKind::Systemd, &both).unwrap()) {
        assert!(!format!("{ops:?}").contains("eth1"));
    }
    let only = GuestFacts {
        interfaces: vec![own],
        ..facts()
    };
    let ops = identity(Family::Debian, InitKind::Systemd, &only).unwrap();
    assert!(ops.contains(&Op::Remove {
        path: "/etc/systemd/network/05-hostel.network".into()
    }));
    assert_eq!(content(&ops, "/etc/network/interfaces"), None);
    assert!(
        content(&ops, "/etc/hosts")
            .unwrap()
            .contains("127.0.1.1 web1.acme.example web1\n")
    );
}

#[test]
fn many_interfaces_stand_in_every_list() {
    let net1 = Interface {
        name: "net1".into(),
        addresses: vec![IpAddr::from([198, 51, 100, 7])],
        ..eth0()
    };
    let facts = GuestFacts {
        interfaces: vec![eth0(), net1],
        ..facts()
    };
    let ops = identity(Family::Debian, InitKind::Systemd, &facts).unwrap();
    let has = |path, text: &str| assert!(content(&ops, path).unwrap().contains(text), "{path}: {ops:#?}");
    has("/etc/systemd/network/05-hostel.network", "[Match]\nName=eth0 net1\n");
    has("/etc/default/networking", "EXCLUDE_INTERFACES=\"eth0 net1\"\n");
    has(
        "/etc/NetworkManager/conf.d/90-hostel.conf",
        "+=interface-name:eth0;interface-name:net1;\n",
    );
    has("/etc/network/interfaces", "iface net1 inet manual\n");
    has("/etc/hosts", "198.51.100.7 web1.acme.example web1\n");
}

#[test]
fn a_dotted_hostname_brings_its_short_form() {
    let facts = GuestFacts {
        hostname: "web1.acme.example".into(),
        fqdn: None,
        ..facts()
    };
    let ops = identity(Family::Rhel, InitKind::Systemd, &facts).unwrap();
    assert_eq!(content(&ops, "/etc/hostname"), Some("web1.acme.example\n"));
    assert!(
        content(&ops, "/etc/hosts")
            .unwrap()
            .contains("203.0.113.10 web1.acme.example web1\n")
    );
}
