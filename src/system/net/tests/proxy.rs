//! Addresses of VEs in the subnet of the host's interface: a neighbour there reaches them and knows of no route.

use super::super::testing::{Space, link, network};
use super::super::{FoundProxy, Link, Network, Probe};
use super::bridge::outside;
use crate::error::Kind;

pub(super) const V4: &str = "198.51.100.130";
pub(super) const V6: &str = "2001:db8:5::130";

pub(super) fn proxied(addresses: &[&str]) -> Link {
    Link {
        proxy: Some("up0".into()),
        ..link(101, 0, addresses)
    }
}

/// A host on a LAN, and a neighbour of its there.
pub(super) fn lan() -> Option<(Space, Space)> {
    let host = Space::new()?;
    host.run(|| network().prepare_host()).unwrap();
    let neighbour = outside(&host)?;
    for (space, device, n) in [(&host, "up0", 1), (&neighbour, "up1", 2)] {
        space.ip(&format!("addr add 198.51.100.{n}/24 dev {device}"));
        space.ip(&format!("addr add 2001:db8:5::{n}/64 dev {device} nodad"));
        space.ip(&format!("link set {device} up"));
    }
    Some((host, neighbour))
}

fn entries(host: &Space) -> Vec<String> {
    let found = host.run(|| network().proxied("hv")).unwrap();
    let text = |p: FoundProxy| format!("{} {} {}", p.uplink, p.address, if p.ours { "ours" } else { "foreign" });
    found.into_iter().map(text).collect()
}

#[test]
fn a_neighbour_reaches_a_ve_without_any_route() {
    let Some((host, neighbour)) = lan() else { return };
    let Some(ve) = Space::new() else { return };
    host.run(|| network().attach(ve.fd(), &[proxied(&[V4, V6])])).unwrap();
    for target in [V4, V6] {
        assert!(neighbour.ping(target, 5), "{target}");
    }
    for target in ["198.51.100.2", "2001:db8:5::2"] {
        assert!(ve.ping(target, 5), "{target}");
    }
    let both = [format!("up0 {V4} ours"), format!("up0 {V6} ours")];
    assert_eq!(entries(&host), both);
    // Other addresses of the subnet are no affair of the host's.
    assert!(!neighbour.ping("198.51.100.131", 1));
    // One goes, another comes, twice as well as once.
    let (old, new) = ([proxied(&[V4, V6])], [proxied(&["198.51.100.131", V6])]);
    for _ in 0..2 {
        host.run(|| {
            super::super::readdress::readdress_in(
                &super::super::sysctl::Sysctl::new("/proc".as_ref()),
                ve.fd(),
                &old,
                &new,
            )
        })
        .unwrap();
        assert_eq!(entries(&host), ["up0 198.51.100.131 ours".to_owned(), both[1].clone()]);
    }
    assert!(neighbour.ping("198.51.100.131", 5));
    let all = new[0].addresses.clone();
    for _ in 0..2 {
        host.run(|| network().unproxy(&all)).unwrap();
        assert!(entries(&host).is_empty());
    }
    host.run(|| network().proxy("up0", &all)).unwrap();
    assert_eq!(entries(&host).len(), 2);
}

#[test]
fn what_somebody_else_answers_for_stays_his() {
    let Some((host, neighbour)) = lan() else { return };
    let Some(ve) = Space::new() else { return };
    host.ip(&format!("neigh add proxy {V4} dev up0"));
    host.run(|| network().attach(ve.fd(), &[proxied(&[V4])])).unwrap();
    assert!(neighbour.ping(V4, 5));
    host.run(|| network().unproxy(&[V4.parse().unwrap()])).unwrap();
    assert_eq!(entries(&host), [format!("up0 {V4} foreign")]);
    // What another Hostel of this host answers for isn't an orphan of this one.
    let other = Link {
        host_name: "ho7.0".into(),
        guest_name: "eth1".into(),
        ..proxied(&[V6])
    };
    host.run(|| network().attach(ve.fd(), &[other])).unwrap();
    assert_eq!(entries(&host), [format!("up0 {V4} foreign")]);
    assert_eq!(host.run(|| network().proxied("ho")).unwrap().len(), 2);
}

#[test]
fn a_failure_leaves_nothing() {
    let Some((host, _neighbour)) = lan() else { return };
    let Some(ve) = Space::new() else { return };
    host.ip("route add 198.51.100.131/32 dev lo");
    let links = [
        proxied(&[V4, V6]),
        Link {
            proxy: Some("up0".into()),
            ..link(101, 1, &["198.51.100.131"])
        },
    ];
    host.run(|| network().attach(ve.fd(), &links)).unwrap_err();
    assert!(entries(&host).is_empty());
    let nowhere = Link {
        proxy: Some("nosuch0".into()),
        ..link(101, 0, &[V4])
    };
    let refused = host.run(|| network().attach(ve.fd(), &[nowhere])).unwrap_err();
    assert_eq!(refused.kind, Kind::NotFound);
    assert_eq!(host.interfaces(), ["up0"]);
    // For a VE that CRIU is to restore, the same.
    host.run(|| network().lay(&links)).unwrap_err();
    assert!(entries(&host).is_empty());
    host.run(|| network().lay(&links[..1])).unwrap();
    assert_eq!(entries(&host).len(), 2);
}

/// A router that asks for many at once, and whoever waits for the first answer.
#[test]
fn the_host_answers_at_once_and_for_all() {
    let Some((host, neighbour)) = lan() else { return };
    let Some(ve) = Space::new() else { return };
    let link = proxied(&[V4, V6]);
    // Somebody has set it back.
    for family in ["ipv4", "ipv6"] {
        let path = format!("/proc/sys/net/{family}/neigh/up0/proxy_delay");
        host.run(|| std::fs::write(&path, "80")).unwrap();
    }
    host.run(|| network().attach(ve.fd(), &[link])).unwrap();
    // More than the kernel would have wait; all are behind the same link.
    host.ip("route add 198.51.100.128/25 dev hv101.0");
    host.ip("route add 2001:db8:5::100/120 dev hv101.0");
    let four = (131..231).map(|n| format!("198.51.100.{n}"));
    let six = (131..199).map(|n| format!("2001:db8:5::{n}"));
    let all: Vec<std::net::IpAddr> = four.chain(six).map(|a| a.parse().unwrap()).collect();
    host.run(|| network().proxy("up0", &all)).unwrap();
    assert!(neighbour.ping("198.51.100.1", 5) && neighbour.ping("2001:db8:5::1", 5));
    let probe = Probe {
        interface: "up1".into(),
        instead: None,
        addresses: all.clone(),
        own: None,
        rivals: false,
    };
    let heard = neighbour.run(|| {
        network()
            .probe(&[probe], std::time::Duration::from_millis(300))
            .unwrap()
    });
    assert_eq!(heard.len(), all.len());
    for target in [V4, V6] {
        neighbour.ip("neigh flush dev up1");
        let asked = std::time::Instant::now();
        assert!(neighbour.reaches(target), "{target}");
        assert!(
            asked.elapsed() < std::time::Duration::from_millis(300),
            "{target}: {:?}",
            asked.elapsed()
        );
    }
}
