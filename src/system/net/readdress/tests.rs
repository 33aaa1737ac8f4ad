//! On the real kernel.

use std::path::Path;

use super::*;
use crate::net::Network;
use crate::net::testing::{Space, add_ve, host_and_ve, link, network};

/// What a VE may have on its two interfaces, one after the other, there and back: families come and go, the default
/// route moves from one interface to the other, all at once.
const LIVES: &[[&[&str]; 2]] = &[
    [&["192.0.2.10"], &[]],
    [&["192.0.2.10", "192.0.2.11", "2001:db8::10"], &[]],
    [&["192.0.2.11"], &["198.51.100.8", "2001:db8:8::8"]],
    [&["192.0.2.12", "2001:db8::10"], &["198.51.100.8", "2001:db8:8::9"]],
    [&[], &["192.0.2.10", "2001:db8:8::9"]],
    [&[], &[]],
    [&["2001:db8::10"], &["198.51.100.9"]],
];

fn links(life: &[&[&str]; 2]) -> [Link; 2] {
    [link(101, 0, life[0]), link(101, 1, life[1])]
}

/// The same in a VE of which links come and go: one without addresses isn't there.
fn some_links(life: &[&[&str]; 2]) -> Vec<Link> {
    links(life).into_iter().filter(|l| !l.addresses.is_empty()).collect()
}

/// All that the kernel has of it, in an order of our own.
fn laid(host: &Space, ve: &Space) -> Vec<String> {
    let mut all = Vec::new();
    for (space, args) in [
        (host, "addr show"),
        (host, "neigh show nud permanent"),
        (host, "route show proto 104"),
        (host, "-6 route show proto 104"),
        (ve, "addr show"),
        (ve, "-4 route show table all proto static"),
        (ve, "-4 route show table all proto boot"),
        (ve, "-6 route show table all proto static"),
        (ve, "-6 route show table all proto boot"),
        (ve, "-4 rule"),
        (ve, "-6 rule"),
    ] {
        let text = space.ip(&format!("-o {args}"));
        let mut lines: Vec<String> = text
            .lines()
            // Interfaces are numbered in each namespace anew, and a link-local address of the kernel's comes late.
            .map(|l| l.split_once(": ").map_or(l, |(_, rest)| rest).trim().to_owned())
            .filter(|l| !l.contains("scope link") || l.contains("hv101"))
            .collect();
        lines.sort();
        all.extend(lines.into_iter().map(|l| format!("{args}: {l}")));
    }
    all
}

fn change(host: &Space, ve: &Space, old: &[Link], new: &[Link]) -> Result<Vec<String>> {
    host.run(|| readdress_in(&Sysctl::new(Path::new("/proc")), ve.fd(), old, new))
}

#[test]
fn each_change_leaves_what_a_start_would_have_laid() {
    lives(|life| links(life).to_vec());
}

#[test]
fn links_come_and_go_and_leave_what_a_start_would_have_laid() {
    lives(some_links);
}

fn lives(links: impl Fn(&[&[&str]; 2]) -> Vec<Link> + Sync) {
    let Some(probe) = Space::new() else { return };
    drop(probe);
    let fresh = |life: &[&[&str]; 2]| {
        let (host, ve) = (Space::new().unwrap(), Space::new().unwrap());
        host.run(|| network().prepare_host()).unwrap();
        ve.ip("link set lo up");
        host.run(|| network().attach(ve.fd(), &links(life))).unwrap();
        (host, ve)
    };
    let expected: Vec<_> = LIVES.iter().map(fresh).map(|(h, v)| laid(&h, &v)).collect();
    let (host, ve) = fresh(&LIVES[0]);
    for (n, m) in (0..LIVES.len() - 1)
        .map(|n| (n, n + 1))
        .chain((1..LIVES.len()).rev().map(|n| (n, n - 1)))
    {
        let (old, new) = (links(&LIVES[n]), links(&LIVES[m]));
        for round in ["once", "again"] {
            change(&host, &ve, &old, &new).unwrap();
            assert_eq!(laid(&host, &ve), expected[m], "from {n} to {m}, {round}");
        }
        for address in new.iter().flat_map(|l| &l.addresses) {
            assert!(host.ping(&address.to_string(), 5), "from {n} to {m}: {address}");
        }
    }
}

#[test]
fn what_is_routed_elsewhere_is_refused_and_taken_back() {
    let Some((host, ve)) = host_and_ve(101, &["192.0.2.10"]) else {
        return;
    };
    let Some(_other) = add_ve(&host, 102, &["192.0.2.20"]) else {
        return;
    };
    let before = laid(&host, &ve);
    let (old, new) = (
        [link(101, 0, &["192.0.2.10"])],
        [link(101, 0, &["2001:db8::10", "192.0.2.20"])],
    );
    let refused = change(&host, &ve, &old, &new).unwrap_err();
    assert_eq!(refused.kind, Kind::Exists, "{refused}");
    change(&host, &ve, &new, &old).unwrap();
    assert_eq!(laid(&host, &ve), before);
    assert!(host.ping("192.0.2.10", 5) && host.ping("192.0.2.20", 5));
    // Nor does a link become another.
    let others = [Link {
        guest_name: "eth7".into(),
        ..link(101, 0, &[])
    }];
    assert_eq!(change(&host, &ve, &old, &others).unwrap_err().kind, Kind::Invalid);
}

/// Renamed, removed, or in a namespace of its own.
#[test]
fn a_link_goes_wherever_its_guest_has_put_it() {
    for act in ["link set eth0 name mine", "link del eth0", "link set eth0 netns"] {
        let (Some(host), Some(ve), Some(own)) = (Space::new(), Space::new(), Space::new()) else {
            return;
        };
        host.run(|| network().prepare_host()).unwrap();
        let both = [link(101, 0, &["192.0.2.10"]), link(101, 1, &["198.51.100.8"])];
        host.run(|| network().attach(ve.fd(), &both)).unwrap();
        let place = std::os::fd::AsRawFd::as_raw_fd(&own.fd());
        ve.ip("link set eth0 down");
        ve.ip(&match act.ends_with("netns") {
            true => format!("{act} /proc/{}/fd/{place}", std::process::id()),
            false => act.to_owned(),
        });
        let told = change(&host, &ve, &both, &both[1..]).unwrap();
        assert!(told.is_empty(), "{told:?}");
        assert_eq!(
            (host.interfaces(), ve.interfaces()),
            (vec!["hv101.1".to_owned()], vec!["eth1".to_owned()])
        );
        assert!(own.interfaces().is_empty() && host.ping("198.51.100.8", 5));
        assert!(
            ve.ip("route").contains("default via 169.254.1.1 dev eth1"),
            "{}",
            ve.ip("route")
        );
    }
}

#[test]
fn what_its_guest_has_renamed_is_set_up_on_the_host_and_told_of() {
    let Some((host, ve)) = host_and_ve(101, &["192.0.2.10"]) else {
        return;
    };
    ve.ip("link set eth0 down");
    ve.ip("link set eth0 name mine");
    let (old, new) = ([link(101, 0, &["192.0.2.10"])], [link(101, 0, &["192.0.2.11"])]);
    let told = change(&host, &ve, &old, &new).unwrap();
    assert!(told.len() == 1 && told[0].contains("eth0"), "{told:?}");
    assert!(host.ip("route show proto 104").contains("192.0.2.11"));
    change(&host, &ve, &new, &old).unwrap();
    assert!(host.ip("route show proto 104").contains("192.0.2.10"));
}

#[test]
fn what_the_guests_root_has_done_is_no_obstacle() {
    let Some((host, ve)) = host_and_ve(101, &["192.0.2.10", "192.0.2.11"]) else {
        return;
    };
    ve.ip("addr del 192.0.2.11/32 dev eth0");
    ve.ip("addr add 192.0.2.12/32 dev eth0");
    let (old, new) = (
        [link(101, 0, &["192.0.2.10", "192.0.2.11"])],
        [link(101, 0, &["192.0.2.10", "192.0.2.12"])],
    );
    change(&host, &ve, &old, &new).unwrap();
    assert!(host.ping("192.0.2.12", 5) && host.ping("192.0.2.10", 5) && !host.ping("192.0.2.11", 1));
}

/// By the first address of the family; another one when that goes.
#[test]
fn prefixes_are_routed_by_an_address_and_stay_with_the_next() {
    let Some((host, ve)) = host_and_ve(101, &[]) else {
        return;
    };
    let with = |routes: &[&str], addresses: &[&str]| {
        [Link {
            routes: routes.iter().map(|p| p.parse().unwrap()).collect(),
            ..link(101, 0, addresses)
        }]
    };
    let lives = [
        with(&[], &[]),
        with(
            &["198.51.100.64/28", "2001:db8:5::/64"],
            &["192.0.2.10", "2001:db8::10"],
        ),
        with(&["198.51.100.64/28"], &["192.0.2.11", "2001:db8::10"]),
        with(&["198.51.100.80/28"], &["192.0.2.12", "192.0.2.11"]),
        with(&[], &["192.0.2.12"]),
    ];
    let routes = || host.ip("route show proto 104") + &host.ip("-6 route show proto 104");
    let says = |n: usize| {
        let all = routes();
        let expected: &[&str] = match n {
            1 => &[
                "198.51.100.64/28 via 192.0.2.10 dev hv101.0",
                "2001:db8:5::/64 via 2001:db8::10 dev hv101.0",
            ],
            2 => &["198.51.100.64/28 via 192.0.2.11 dev hv101.0"],
            3 => &["198.51.100.80/28 via 192.0.2.12 dev hv101.0"],
            _ => &[],
        };
        assert_eq!(all.matches(" via ").count(), expected.len(), "{n}: {all}");
        assert!(expected.iter().all(|e| all.contains(e)), "{n}: {all}");
    };
    for (n, m) in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 3), (3, 2), (2, 1), (1, 0)] {
        for _ in 0..2 {
            change(&host, &ve, &lives[n], &lives[m]).unwrap();
            says(m);
        }
    }
    // A start lays the same, and what is listed are addresses.
    host.run(|| network().attach(ve.fd(), &lives[1])).unwrap();
    says(1);
    // What is routed by another is sent from an address of the host's that isn't the gateway's.
    host.ip("addr add 203.0.113.1/32 dev lo");
    host.ip("addr add 2001:db8:1::1/128 dev lo");
    ve.ip("addr add 198.51.100.65/28 dev lo");
    ve.ip("addr add 2001:db8:5::1/64 dev lo nodad");
    assert!(host.ping("198.51.100.65", 5) && host.ping("2001:db8:5::1", 5));
    assert_eq!(
        host.run(|| network().list("hv")).unwrap()[0].addresses,
        lives[1][0].addresses
    );
    // Somebody else's way to it is no business of ours.
    host.ip("route add 198.51.100.128/28 dev lo");
    let refused = change(&host, &ve, &lives[1], &with(&["198.51.100.128/28"], &["192.0.2.10"])).unwrap_err();
    assert_eq!(refused.kind, Kind::Exists, "{refused}");
    change(&host, &ve, &with(&["198.51.100.128/28"], &["192.0.2.10"]), &lives[1]).unwrap();
    says(1);
}
