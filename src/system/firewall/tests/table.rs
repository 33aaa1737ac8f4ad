//! The table's life: loaded, checked, mended, filled, emptied, removed.

use std::net::UdpSocket;
use std::time::Duration;

use super::*;
use crate::error::Kind;
use crate::firewall::FakeFirewall;
use crate::net::Network;
use crate::net::testing::network;

#[test]
fn ensuring_loads_once() {
    let Some(host) = Space::new() else { return };
    host.run(|| {
        assert!(firewall().ensure(&ruleset(&[])).unwrap());
        assert!(!firewall().ensure(&ruleset(&[])).unwrap());
        assert!(!firewall().ensure(&ruleset(&[member(101, &["192.0.2.10"])])).unwrap());
        assert_eq!(firewall().members(TABLE).unwrap(), [member(101, &["192.0.2.10"])]);
        assert!(firewall().ensure(&masquerading(&["10.0.0.0/24"])).unwrap());
        assert!(!firewall().ensure(&masquerading(&["10.0.0.0/24"])).unwrap());
    });
}

#[test]
fn ensuring_mends_what_was_changed_by_hand() {
    let Some(host) = Space::new() else { return };
    let rules = ruleset(&[member(101, &["192.0.2.10"])]);
    host.run(|| firewall().replace(&rules)).unwrap();
    let whole = parts(&host, "rule").len();
    for change in [
        "flush ruleset".to_owned(),
        format!("delete table inet {TABLE}"),
        format!("flush table inet {TABLE}"),
        format!("flush chain inet {TABLE} prerouting"),
        format!("insert rule inet {TABLE} anti_spoof accept"),
        format!("add rule inet {TABLE} forward drop"),
        format!("add table inet {TABLE} {{ flags dormant; }}"),
    ] {
        // A change by text, so that the braces reach nft as they are.
        let output = host.run(|| std::process::Command::new("nft").arg(&change).output().unwrap());
        assert!(
            output.status.success(),
            "{change}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(host.run(|| firewall().ensure(&rules)).unwrap(), "{change}");
        assert!(!host.run(|| firewall().ensure(&rules)).unwrap(), "{change}");
        assert_eq!(
            (parts(&host, "rule").len(), elements(&host, "ve4")),
            (whole, 1),
            "{change}"
        );
    }
    host.output("nft", &format!("flush set inet {TABLE} ve4"));
    assert_eq!(elements(&host, "ve4"), 0);
    assert!(!host.run(|| firewall().ensure(&rules)).unwrap());
    assert_eq!(elements(&host, "ve4"), 1);
}

#[test]
fn a_table_tells_how_it_stands_and_whose_it_is() {
    let Some(host) = Space::new() else { return };
    let standing = |rules: &Ruleset| host.run(|| firewall().standing(rules)).unwrap();
    assert_eq!(standing(&ruleset(&[])), Standing::Broken);
    host.run(|| firewall().replace(&ruleset(&[]))).unwrap();
    assert_eq!(standing(&ruleset(&[])), Standing::Current);
    assert_eq!(standing(&masquerading(&["10.0.0.0/24"])), Standing::Outdated);
    // A table that is wanted beside it, and isn't there.
    let bridged = Ruleset {
        bridged: true,
        ..ruleset(&[])
    };
    assert_eq!(standing(&bridged), Standing::Broken);
    let done = host.output("nft", &format!("flush chain inet {TABLE} source4"));
    assert!(done.status.success());
    assert_eq!(standing(&masquerading(&["10.0.0.0/24"])), Standing::Broken);
    let strays = |table: &str, prefix: &str| host.run(|| firewall().strays(table, prefix)).unwrap();
    assert_eq!((strays(TABLE, "hv").len(), strays("other", "hw").len()), (0, 0));
    assert_eq!(strays("other", "hv"), [TABLE]);
}

#[test]
fn elements_that_were_changed_by_hand_are_seen() {
    let Some(host) = Space::new() else { return };
    let port = Member {
        port: Some(crate::firewall::PortRules::default()),
        ..member(103, &["192.0.2.12"])
    };
    let all = [
        member(101, &["192.0.2.10", "2001:db8::10"]),
        member(102, &["198.51.100.7"]),
        port,
    ];
    let rules = Ruleset {
        bridged: true,
        ..ruleset(&all)
    };
    let deviating = || {
        host.run(|| firewall().deviating(TABLE, &all))
            .unwrap()
            .into_iter()
            .collect::<Vec<_>>()
    };
    for (harm, of) in [
        (
            format!("add element inet {TABLE} ve4 {{ \"hv101.0\" . 192.0.2.99 }}"),
            "hv101.0",
        ),
        (format!("flush set inet {TABLE} nd6"), "hv101.0"),
        (
            format!("add element inet {TABLE} links {{ \"hv102.0\" . 02:00:00:00:00:99 }}"),
            "hv102.0",
        ),
        (
            format!("add element bridge {TABLE} any_mac {{ \"hv103.0\" }}"),
            "hv103.0",
        ),
        (
            format!("add element bridge {TABLE} ve6 {{ \"hv103.0\" . fe80::99 }}"),
            "hv103.0",
        ),
        (format!("flush map bridge {TABLE} sides"), "hv103.0"),
        (
            format!("add element inet {TABLE} ve4 {{ \"hv999.0\" . 192.0.2.99 }}"),
            "hv999.0",
        ),
    ] {
        host.run(|| firewall().replace(&rules)).unwrap();
        assert_eq!(deviating(), [""; 0]);
        let output = host.run(|| std::process::Command::new("nft").arg(&harm).output().unwrap());
        assert!(
            output.status.success(),
            "{harm}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(deviating(), [of], "{harm}");
    }
}

#[test]
fn members_come_and_go() {
    let Some(host) = Space::new() else { return };
    let (one, two) = (routed_to(101), member(102, &["198.51.100.7"]));
    host.run(|| {
        let absent = firewall().admit(TABLE, std::slice::from_ref(&one)).unwrap_err();
        assert_eq!(absent.kind, Kind::NotFound);
        assert!(firewall().members(TABLE).unwrap().is_empty());
        firewall().expel(TABLE, "hv101.0").unwrap();

        firewall().ensure(&ruleset(&[])).unwrap();
        firewall().admit(TABLE, &[one.clone(), two.clone()]).unwrap();
        firewall().admit(TABLE, std::slice::from_ref(&one)).unwrap();
        assert_eq!(firewall().members(TABLE).unwrap(), [one.clone(), two.clone()]);

        let changed = Member {
            mac: [2, 0, 0, 0, 9, 9],
            ..member(101, &["192.0.2.11"])
        };
        firewall().admit(TABLE, std::slice::from_ref(&changed)).unwrap();
        assert_eq!(
            firewall().members(TABLE).unwrap(),
            [changed, two.clone()],
            "nothing of the old membership is left"
        );

        firewall().expel(TABLE, "hv101.0").unwrap();
        firewall().expel(TABLE, "hv101.0").unwrap();
        assert_eq!(firewall().members(TABLE).unwrap(), [two]);
        firewall().expel(TABLE, "hv102.0").unwrap();
    });
    for set in ["links", "ve4", "ve6", "nd6", "routes4", "routes6"] {
        assert_eq!(elements(&host, set), 0, "{set}");
    }
}

/// One to which prefixes are routed.
fn routed_to(id: u32) -> Member {
    let routes = ["203.0.113.0/28", "203.0.113.77/32", "2001:db8:5::/64"];
    Member {
        routes: routes.iter().map(|p| p.parse().unwrap()).collect(),
        ..member(id, &["192.0.2.10", "2001:db8::10"])
    }
}

/// Whichever of its tables is left of a name that was given up: each would keep VEs from something.
#[test]
fn a_table_of_a_former_name_is_found_by_any_part() {
    let Some(host) = Space::new() else { return };
    let rules = ruleset(&[member(101, &["192.0.2.10"])]);
    let strays = || host.run(|| firewall().strays("hostel_new", &rules.prefix)).unwrap();
    for left in ["inet", "arp"] {
        host.run(|| firewall().replace(&rules)).unwrap();
        for family in ["inet", "arp"].iter().filter(|f| **f != left) {
            host.output("nft", &format!("delete table {family} {TABLE}"));
        }
        assert_eq!(strays(), [TABLE], "{left}");
        host.run(|| firewall().remove(TABLE)).unwrap();
        assert!(strays().is_empty(), "{left}");
    }
}

#[test]
fn nft_and_netlink_agree_on_members() {
    let Some(host) = Space::new() else { return };
    let members = [routed_to(101), member(999_999, &["198.51.100.7"])];
    // Loaded by nft, read by us.
    host.run(|| firewall().replace(&ruleset(&members))).unwrap();
    assert_eq!(host.run(|| firewall().members(TABLE)).unwrap(), members);
    let loaded = host.output("nft", &format!("list table inet {TABLE}"));
    // Added by us, read by nft.
    host.run(|| firewall().replace(&ruleset(&[]))).unwrap();
    host.run(|| firewall().admit(TABLE, &members)).unwrap();
    let sorted = |output: &std::process::Output| {
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words: Vec<String> = text.replace(',', " ").split_whitespace().map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    assert_eq!(
        sorted(&loaded),
        sorted(&host.output("nft", &format!("list table inet {TABLE}")))
    );
}

#[test]
fn five_hundred_members_need_no_rule_more() {
    let Some(host) = Space::new() else { return };
    let many: Vec<Member> = (0..500_u32)
        .map(|n| {
            member(
                101 + n,
                &[
                    &format!("198.51.{}.{}", n / 250, n % 250 + 1),
                    &format!("2001:db8::{n:x}"),
                ],
            )
        })
        .map(|m| Member {
            addresses: m.addresses.into_iter().filter(|a| !a.is_unspecified()).collect(),
            ..m
        })
        .collect();
    host.run(|| firewall().replace(&ruleset(&[]))).unwrap();
    let rules = parts(&host, "rule").len();
    host.run(|| firewall().replace(&ruleset(&many))).unwrap();
    assert_eq!(parts(&host, "rule").len(), rules);
    assert_eq!(elements(&host, "links"), 500);
    assert_eq!(host.run(|| firewall().members(TABLE)).unwrap().len(), 500);
    host.run(|| firewall().replace(&ruleset(&[]))).unwrap();
    host.run(|| firewall().admit(TABLE, &many)).unwrap();
    assert_eq!(
        (elements(&host, "links"), elements(&host, "ve4"), elements(&host, "ve6")),
        (500, 500, 500)
    );
    host.run(|| firewall().expel(TABLE, "hv300.0")).unwrap();
    assert_eq!(
        (elements(&host, "links"), elements(&host, "ve4"), elements(&host, "ve6")),
        (499, 499, 499)
    );
}

#[test]
fn removing_leaves_what_is_not_ours() {
    let Some(host) = Space::new() else { return };
    host.output("nft", "add table inet other");
    host.run(|| {
        firewall().remove(TABLE).unwrap();
        firewall()
            .replace(&masquerading(&["10.0.0.0/24", "fd00::/64"]))
            .unwrap();
        firewall().remove(TABLE).unwrap();
        firewall().remove(TABLE).unwrap();
    });
    let left = host.output("nft", "list ruleset");
    assert_eq!(
        String::from_utf8_lossy(&left.stdout)
            .split_whitespace()
            .collect::<String>(),
        "tableinetother{}"
    );
}

#[test]
fn a_missing_nft_is_told() {
    let Some(host) = Space::new() else { return };
    let broken = Nftables::with_program("/nonexistent/nft");
    let refused = host.run(|| broken.ensure(&ruleset(&[]))).unwrap_err();
    assert_eq!(
        (refused.kind, refused.hint.as_deref()),
        (Kind::NotFound, Some("install the package nftables"))
    );
    let said = host
        .run(|| Nftables::with_program("false").replace(&ruleset(&[])))
        .unwrap_err();
    assert_eq!(said.to_string(), format!("cannot load firewall table {TABLE}"));
}

#[test]
fn private_addresses_leave_under_the_hosts() {
    let Some((host, ve)) = host_and_ve(101, &["10.9.0.2", "fd09::2"]) else {
        return;
    };
    let Some(outside) = Space::new() else { return };
    let fd = std::os::fd::AsRawFd::as_raw_fd(&outside.fd());
    let netns = format!("/proc/{}/fd/{fd}", std::process::id());
    host.ip(&format!("link add up0 type veth peer name up1 netns {netns}"));
    for (space, name, last) in [(&host, "up0", 1), (&outside, "up1", 2)] {
        space.ip(&format!("addr add 203.0.113.{last}/24 dev {name}"));
        space.ip(&format!("addr add 2001:db8:f::{last}/64 dev {name} nodad"));
        space.ip(&format!("link set {name} up"));
    }
    let members = vec![member(101, &["10.9.0.2", "fd09::2"])];
    let rules = Ruleset {
        members,
        ..masquerading(&["10.9.0.0/24", "fd09::/64"])
    };
    host.run(|| firewall().ensure(&rules)).unwrap();
    assert!(ve.ping("203.0.113.2", 5) && ve.ping("2001:db8:f::2", 5));
    for (own, target, seen) in [
        ("0.0.0.0:0", "203.0.113.2:4444", "203.0.113.1"),
        ("[::]:0", "[2001:db8:f::2]:4444", "2001:db8:f::1"),
    ] {
        let receiver = outside.run(|| UdpSocket::bind(target).unwrap());
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        ve.run(|| UdpSocket::bind(own).unwrap().send_to(b"hello", target).unwrap());
        let (_, from) = receiver.recv_from(&mut [0; 16]).unwrap();
        assert_eq!(from.ip().to_string(), seen);
    }
    // Towards the host and other VEs the address stays.
    let Some(other) = crate::net::testing::add_ve(&host, 102, &["10.9.0.3"]) else {
        return;
    };
    let receiver = other.run(|| UdpSocket::bind("10.9.0.3:4444").unwrap());
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    ve.run(|| {
        UdpSocket::bind("0.0.0.0:0")
            .unwrap()
            .send_to(b"hello", "10.9.0.3:4444")
            .unwrap()
    });
    assert_eq!(receiver.recv_from(&mut [0; 16]).unwrap().1.ip().to_string(), "10.9.0.2");
}

#[test]
fn a_links_life_with_the_firewall() {
    let (Some(host), Some(ve)) = (Space::new(), Space::new()) else {
        return;
    };
    let addresses = ["192.0.2.10", "2001:db8::10"];
    host.run(|| network().prepare_host()).unwrap();
    for _ in 0..2 {
        host.run(|| firewall().ensure(&ruleset(&[]))).unwrap();
        host.run(|| network().attach(ve.fd(), &[link(101, 0, &addresses)]))
            .unwrap();
        host.run(|| firewall().admit(TABLE, &[member(101, &addresses)]))
            .unwrap();
        assert!(ve.reaches("169.254.1.1") && host.reaches("2001:db8::10"));
        host.run(|| firewall().expel(TABLE, "hv101.0")).unwrap();
        assert!(!ve.ping("169.254.1.1", 1));
        host.run(|| network().detach(&["hv101.0".to_owned()])).unwrap();
    }
    assert!(host.run(|| firewall().members(TABLE)).unwrap().is_empty());
}

#[test]
fn the_fake_behaves() {
    let fake = FakeFirewall::new();
    let one = member(101, &["192.0.2.10"]);
    assert_eq!(
        fake.admit(TABLE, std::slice::from_ref(&one)).unwrap_err().kind,
        Kind::NotFound
    );
    assert!(fake.ensure(&ruleset(&[])).unwrap() && !fake.ensure(&ruleset(&[])).unwrap());
    fake.admit(TABLE, std::slice::from_ref(&one)).unwrap();
    assert_eq!(fake.members(TABLE).unwrap(), [one]);
    assert!(fake.ensure(&masquerading(&["10.0.0.0/24"])).unwrap());
    assert!(fake.members(TABLE).unwrap().is_empty());
    fake.fail_method(Some("expel"));
    assert!(fake.expel(TABLE, "hv101.0").is_err());
    fake.fail_method(None);
    fake.fail_call(1);
    assert!(fake.remove(TABLE).is_err() && fake.has_table(TABLE));
    fake.flush();
    assert!(!fake.has_table(TABLE));
}
