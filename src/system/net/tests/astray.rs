//! What somebody changes at the host's ends of links, on the real kernel.

use super::super::testing::{Space, host_and_ve, link, network};
use super::super::{Bridge, Link, Network, OwnBridge};
use super::bridge::{NAME, behind, bridged, make};

/// What is told of a link, once this was done on the host; and that it is mended.
#[track_caller]
fn is_mended(host: &Space, link: &Link, harm: &str, told: &str) {
    let (program, args) = harm.split_once(' ').unwrap();
    let done = host.output(program, args);
    assert!(
        done.status.success(),
        "{harm}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    let links = std::slice::from_ref(link);
    let look = || host.run(|| network().astray(links)).unwrap();
    assert_eq!(look(), [("hv101.0".to_owned(), told.to_owned())], "{harm}");
    host.run(|| network().mend(links)).unwrap();
    assert_eq!(look(), [], "{harm}");
}

#[test]
fn routes_to_a_ve() {
    let addresses = ["192.0.2.10", "2001:db8::10"];
    let Some((host, _ve)) = host_and_ve(101, &addresses) else {
        return;
    };
    let link = link(101, 0, &addresses);
    assert_eq!(host.run(|| network().astray(std::slice::from_ref(&link))).unwrap(), []);
    for (harm, told) in [
        (
            "ip route del 192.0.2.10/32 dev hv101.0",
            "the host's route to 192.0.2.10/32 is gone",
        ),
        (
            "ip -6 route del 2001:db8::10/128 dev hv101.0",
            "the host's route to 2001:db8::10/128 is gone",
        ),
        ("ip link set hv101.0 down", "it is down"),
    ] {
        is_mended(&host, &link, harm, told);
        assert!(host.ping("192.0.2.10", 5) && host.ping("2001:db8::10", 5), "{harm}");
    }
    // One that isn't there is told of elsewhere.
    host.ip("link del hv101.0");
    assert_eq!(host.run(|| network().astray(std::slice::from_ref(&link))).unwrap(), []);
}

#[test]
fn flags_of_a_port() {
    let (Some(host), Some(ve)) = (Space::new(), Space::new()) else {
        return;
    };
    let own = OwnBridge {
        alias: "hostel network lan".into(),
        mtu: None,
        big_tcp: false,
        addresses: Vec::new(),
        uplink: None,
    };
    let bridge = Bridge {
        name: NAME.into(),
        own: Some(own),
    };
    make(&host, &bridge).unwrap();
    let port = bridged(101, 0, NAME, &["192.0.2.10"]);
    host.run(|| network().attach(ve.fd(), std::slice::from_ref(&port)))
        .unwrap();
    assert_eq!(host.run(|| network().astray(std::slice::from_ref(&port))).unwrap(), []);
    for (flag, by_hand, told) in [
        ("locked", "off", "off"),
        ("learning", "on", "on"),
        ("hairpin", "on", "on"),
        ("guard", "off", "off"),
        ("root_block", "off", "off"),
        ("flood", "on", "on"),
    ] {
        let harm = format!("bridge link set dev hv101.0 {flag} {by_hand}");
        is_mended(&host, &port, &harm, &format!("\"{flag}\" of the port is {told}"));
    }
    // Locked, it lets nothing pass without that.
    let harm = "bridge fdb del 02:00:00:00:65:00 dev hv101.0 master";
    is_mended(&host, &port, harm, "its bridge doesn't know what is behind it");
}

#[test]
fn a_vlan_whose_bridge_somebody_removed() {
    let Some(host) = Space::new() else { return };
    host.ip("link add eth1 type veth peer name eth2");
    if let Err(e) = make(&host, &behind("eth1", Some(20))) {
        println!("skipped because this kernel has no VLANs: {e:?}");
        return;
    }
    let vlans = || host.run(|| network().vlans("hv")).unwrap();
    assert_eq!(vlans(), [""; 0]);
    host.ip(&format!("link del {NAME}"));
    assert_eq!(vlans(), ["vlhv-lan"]);
    host.run(|| network().unbridge("vlhv-lan")).unwrap();
    assert_eq!(vlans(), [""; 0]);
    assert!(!host.interfaces().contains(&"vlhv-lan".to_owned()));
}
