//! What a neighbour knew of another machine is wrong from now on, and it hears of that at once.

use std::time::Duration;

use super::super::announce::announce_in;
use super::super::testing::{Space, link};
use super::super::{Link, Network};
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
