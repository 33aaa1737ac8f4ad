//! What a neighbour knew of another machine is wrong from now on, and it hears of that at once.

use std::time::Duration;

use super::super::announce::announce_in;
use super::super::testing::{Space, link};
use super::super::{Link, Network, Probe};
use super::bridge::{NAME, behind, bridged, make, outside};
use super::network;
use super::proxy::{V4, V6, lan, proxied};

/// The neighbour takes each address for another machine's; then it knows that it is at `mac`.
fn hears(neighbour: &Space, addresses: [&str; 2], mac: &str, announce: impl FnOnce()) {
    for address in addresses {
        neighbour.ip(&format!(
            "neigh replace {address} lladdr 02:00:00:00:00:99 dev up1 nud reachable"
        ));
    }
    announce();
    for address in addresses {
        let knows = || neighbour.ip(&format!("neigh show {address}")).contains(mac);
        let soon = |_| {
            knows() || {
                std::thread::sleep(Duration::from_millis(20));
                false
            }
        };
        assert!((0..100).any(soon), "{address}: {}", neighbour.ip("neigh"));
    }
}

#[test]
fn of_an_address_that_the_host_answers_for() {
    let Some((host, neighbour)) = lan() else { return };
    let Some(ve) = Space::new() else { return };
    let links = [proxied(&[V4, V6])];
    host.run(|| network().attach(ve.fd(), &links)).unwrap();
    let mac = host.ip_json("link show up0")[0]["address"].as_str().unwrap().to_owned();
    hears(&neighbour, [V4, V6], &mac, || {
        host.run(|| announce_in(ve.fd(), &links)).unwrap();
    });
}

#[test]
fn of_a_port_behind_an_uplink() {
    let Some(host) = Space::new() else { return };
    let Some(neighbour) = outside(&host) else { return };
    neighbour.ip("addr add 192.0.2.200/24 dev up1");
    neighbour.ip("addr add 2001:db8::200/64 dev up1 nodad");
    make(&host, &behind("up0", None)).unwrap();
    let Some(ve) = Space::new() else { return };
    let links = [bridged(101, 0, NAME, &["192.0.2.10", "2001:db8::10"])];
    host.run(|| network().attach(ve.fd(), &links)).unwrap();
    // A bridge that was just made takes a moment until its uplink forwards.
    assert!(ve.ping("192.0.2.200", 5));
    hears(&neighbour, ["192.0.2.10", "2001:db8::10"], "02:00:00:00:65:00", || {
        host.run(|| announce_in(ve.fd(), &links)).unwrap();
    });
    // An end that its guest has renamed says nothing, nor does a routed one: there is nobody.
    ve.ip("link set eth0 down");
    ve.ip("link set eth0 name mine");
    let routed: Link = link(101, 1, &["192.0.2.11"]);
    host.run(|| announce_in(ve.fd(), &[links[0].clone(), routed])).unwrap();
}

/// Somebody on the LAN has two of four addresses; all are asked for at once.
#[test]
fn who_has_an_address_already_is_heard() {
    let Some((host, neighbour)) = lan() else { return };
    let ask = |own: Option<[u8; 6]>, addresses: &[&str]| {
        let probe = Probe {
            interface: "up0".into(),
            instead: None,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            own,
            rivals: true,
        };
        let nowhere = Probe {
            interface: "nosuch0".into(),
            ..probe.clone()
        };
        let begin = std::time::Instant::now();
        let heard = host.run(|| network().probe(&[nowhere, probe], Duration::from_millis(600)).unwrap());
        (heard, begin.elapsed())
    };
    // The cable is just plugged in.
    assert!(host.ping("198.51.100.2", 5));
    let all = ["198.51.100.2", V4, "2001:db8:5::2", V6];
    let (mut heard, took) = ask(None, &all);
    heard.sort_unstable();
    let mac = neighbour.ip_json("link show up1")[0]["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let text =
        |(address, mac): &(std::net::IpAddr, [u8; 6])| (address.to_string(), super::super::check::mac_text(*mac));
    let heard: Vec<_> = heard.iter().map(text).collect();
    assert_eq!(
        heard,
        [
            ("198.51.100.2".to_owned(), mac.clone()),
            ("2001:db8:5::2".to_owned(), mac.clone())
        ]
    );
    assert!(took >= Duration::from_millis(600), "{took:?}");
    // A bridge that isn't made yet is asked for by its uplink.
    let early = Probe {
        interface: "brhv-lan".into(),
        instead: Some("up0".into()),
        addresses: vec!["198.51.100.2".parse().unwrap()],
        own: None,
        rivals: true,
    };
    let heard = host.run(|| network().probe(&[early], Duration::from_secs(3)).unwrap());
    assert_eq!(heard.len(), 1, "{heard:?}");
    // Who has answered for all needn't be waited for; and the VE itself isn't somebody else.
    assert!(ask(None, &["198.51.100.2"]).1 < Duration::from_millis(600));
    let own: Vec<u8> = mac.split(':').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    assert!(ask(Some(own.try_into().unwrap()), &all).0.is_empty());
}

/// Two hosts of one LAN that are about to use the same addresses hear each other ask, whoever was first.
#[test]
fn who_asks_for_an_address_as_well_is_heard() {
    let Some((host, neighbour)) = lan() else { return };
    assert!(host.ping("198.51.100.2", 5));
    let ask = |space: &Space, interface: &str, rivals: bool| {
        let probe = Probe {
            interface: interface.into(),
            instead: None,
            addresses: [V4, V6].map(|a| a.parse().unwrap()).to_vec(),
            own: None,
            rivals,
        };
        let mut heard = space.run(|| network().probe(&[probe], Duration::from_millis(900)).unwrap());
        heard.sort_unstable();
        heard
            .into_iter()
            .map(|(address, _)| address.to_string())
            .collect::<Vec<_>>()
    };
    let both = |rivals: bool| {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| ask(&neighbour, "up1", rivals));
            [ask(&host, "up0", rivals), other.join().unwrap()]
        })
    };
    assert_eq!(both(true), [[V4, V6], [V4, V6]]);
    assert_eq!(both(false), [[""; 0]; 2], "who chooses among many");
}
