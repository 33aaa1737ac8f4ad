//! Bridges, ours and others', on the real kernel.

use super::super::testing::{Space, link, network};
use super::super::{Bridge, Bridged, FakeNetwork, FoundBridge, Link, Network, OwnBridge, Port, Uplink, Vlan};
use crate::error::Kind;

pub(super) const NAME: &str = "brhv-lan";

fn own() -> OwnBridge {
    OwnBridge {
        alias: "hostel network lan".into(),
        mtu: None,
        big_tcp: false,
        addresses: vec!["192.0.2.1/24".parse().unwrap(), "2001:db8::1/64".parse().unwrap()],
        uplink: None,
    }
}

fn of(own: OwnBridge) -> Bridge {
    Bridge {
        name: NAME.into(),
        own: Some(own),
    }
}

pub(super) fn ours(big_tcp: bool) -> Bridge {
    of(OwnBridge { big_tcp, ..own() })
}

pub(super) fn behind(uplink: &str, vlan: Option<u16>) -> Bridge {
    of(OwnBridge {
        uplink: Some(Uplink {
            name: uplink.into(),
            vlan: vlan.map(|id| Vlan {
                id,
                device: "vlhv-lan".into(),
            }),
        }),
        ..own()
    })
}

/// A link of VE `id` that is a port of `bridge`.
pub(super) fn bridged(id: u32, n: u32, bridge: &str, addresses: &[&str]) -> Link {
    Link {
        port: Some(Port {
            bridge: bridge.into(),
            pools: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
            gateways: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            any_mac: false,
        }),
        ..link(id, n, addresses)
    }
}

pub(super) fn make(host: &Space, bridge: &Bridge) -> crate::Result<Bridged> {
    host.run(|| network().bridge(bridge))
}

fn add(host: &Space, id: u32, addresses: &[&str]) -> Option<Space> {
    let ve = Space::new()?;
    host.run(|| network().attach(ve.fd(), &[bridged(id, 0, NAME, addresses)]))
        .unwrap();
    Some(ve)
}

fn master(host: &Space, name: &str) -> serde_json::Value {
    host.ip_json(&format!("link show {name}"))[0]["master"].clone()
}

/// Another machine at the end of a cable that is plugged into `up0` of the host.
pub(super) fn outside(host: &Space) -> Option<Space> {
    let outside = Space::new()?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&outside.fd());
    let netns = format!("/proc/{}/fd/{fd}", std::process::id());
    host.ip(&format!("link add up0 type veth peer name up1 netns {netns}"));
    outside.ip("link set up1 up");
    Some(outside)
}

#[test]
fn ves_and_host_reach_each_other_on_our_bridge() {
    let Some(host) = Space::new() else { return };
    make(&host, &of(own())).unwrap();
    let (Some(one), Some(two)) = (
        add(&host, 101, &["192.0.2.10", "2001:db8::10"]),
        add(&host, 102, &["192.0.2.11", "2001:db8::11"]),
    ) else {
        return;
    };
    // The first packet comes through: there is nothing to wait for.
    for target in ["192.0.2.11", "2001:db8::11", "192.0.2.1", "2001:db8::1"] {
        assert!(one.ping(target, 5), "{target}");
    }
    assert!(two.ping("192.0.2.10", 5) && host.ping("2001:db8::11", 5));
    // By way of the gateway, too.
    host.ip("addr add 203.0.113.1/32 dev lo");
    assert!(one.ping("203.0.113.1", 5));
    assert!(one.ip("route").contains("default via 192.0.2.1"), "{}", one.ip("route"));
    assert!(one.ip("-6 route").contains("default via 2001:db8::1"));
    assert!(one.ip("route").contains("192.0.2.0/24 dev eth0"));
}

/// It has the lowest of its ports' addresses, as long as nobody has given it one.
#[test]
fn a_bridge_of_others_keeps_its_address_when_ves_come_and_go() {
    let Some(host) = Space::new() else { return };
    host.ip("link add br0 type bridge");
    host.ip("link add up0 address 02:ff:ff:ff:ff:ff type veth peer name up1");
    host.ip("link set up0 master br0");
    let address = || host.ip_json("link show br0")[0]["address"].as_str().unwrap().to_owned();
    assert_eq!(address(), "02:ff:ff:ff:ff:ff");
    let mut ves = Vec::new();
    for id in 101..111 {
        let Some(ve) = Space::new() else { return };
        host.run(|| network().attach(ve.fd(), &[bridged(id, 0, "br0", &["192.0.2.10"])]))
            .unwrap();
        assert_eq!(address(), "02:ff:ff:ff:ff:ff");
        ves.push(ve);
    }
    drop(ves);
    assert_eq!(address(), "02:ff:ff:ff:ff:ff");
}

/// Under VEs that run: their ends come back to a new one as they were.
#[test]
fn a_bridge_that_somebody_has_removed_gets_its_ports_back() {
    let Some(host) = Space::new() else { return };
    assert!(host.run(|| network().bridge(&of(own()))).unwrap().made);
    assert!(!host.run(|| network().bridge(&of(own()))).unwrap().made);
    let addresses = [["192.0.2.10", "2001:db8::10"], ["192.0.2.11", "2001:db8::11"]];
    let (Some(one), Some(two)) = (add(&host, 101, &addresses[0]), add(&host, 102, &addresses[1])) else {
        return;
    };
    let links = [(101, addresses[0]), (102, addresses[1])].map(|(id, a)| bridged(id, 0, NAME, &a));
    let slave = || {
        let mut data = host.ip_json("-d link show hv101.0")[0]["linkinfo"]["info_slave_data"].clone();
        for varies in [
            "id",
            "no",
            "bridge_id",
            "root_id",
            "designated_bridge",
            "designated_root",
        ] {
            data.as_object_mut().unwrap().remove(varies);
        }
        data.as_object_mut().unwrap().retain(|key, _| !key.ends_with("_timer"));
        let fdb = host.output("bridge", "fdb show dev hv101.0");
        let fdb = String::from_utf8(fdb.stdout).unwrap();
        let ours = fdb.lines().filter(|l| l.contains("02:00:00:00:65:00")).count();
        (data, ours)
    };
    assert!(one.ping("192.0.2.11", 5) && one.ping("2001:db8::11", 5));
    let before = slave();
    assert!(before.1 >= 1, "one for each VLAN, where the kernel has them");
    host.ip(&format!("link delete {NAME}"));
    assert!(!one.ping("192.0.2.11", 1));
    let found = host.run(|| network().list("hv")).unwrap();
    assert!(found.iter().all(|l| l.bridge.is_none()), "{found:?}");
    assert!(host.run(|| network().bridge(&of(own()))).unwrap().made);
    let rejoin = |link: &Link| host.run(|| network().rejoin(std::slice::from_ref(link))).unwrap();
    assert_eq!(links.each_ref().map(rejoin), [1, 1]);
    // One that is in its place stays there, and one that has gone is in nobody's way.
    assert_eq!(
        [rejoin(&links[0]), rejoin(&bridged(103, 0, NAME, &["192.0.2.12"]))],
        [0, 0]
    );
    let found = host.run(|| network().list("hv")).unwrap();
    assert!(found.iter().all(|l| l.bridge.as_deref() == Some(NAME)), "{found:?}");
    assert!(one.ping("192.0.2.11", 5) && two.ping("2001:db8::10", 5) && two.ping("192.0.2.1", 5));
    assert_eq!(slave(), before);
}

#[test]
fn the_bridge_and_its_ports_are_as_described() {
    let Some(host) = Space::new() else { return };
    make(&host, &of(own())).unwrap();
    let Some(_ve) = add(&host, 101, &["192.0.2.10"]) else {
        return;
    };
    let shown = host.ip_json(&format!("-d link show {NAME}"));
    let bridge = &shown[0];
    assert_eq!(bridge["ifalias"], "hostel network lan");
    assert_eq!(bridge["group"], super::super::GROUP.to_string());
    let data = &bridge["linkinfo"]["info_data"];
    assert_eq!(
        (&data["stp_state"], &data["mcast_snooping"]),
        (&0.into(), &1.into()),
        "{data}"
    );
    for (key, value) in [("accept_ra", "0"), ("autoconf", "0")] {
        assert_eq!(host.sysctl(&format!("ipv6/conf/{NAME}/{key}")), value, "{key}");
    }
    assert_eq!(host.sysctl(&format!("ipv4/conf/{NAME}/rp_filter")), "1");
    let shown = host.ip_json("-d link show hv101.0");
    let port = &shown[0]["linkinfo"]["info_slave_data"];
    for (key, value) in [
        ("learning", false),
        ("flood", false),
        ("locked", true),
        ("guard", true),
        ("root_block", true),
        ("hairpin", false),
    ] {
        assert_eq!(port[key], value, "{key}: {port}");
    }
    assert_eq!(port["multicast_router"], 0, "{port}");
    // The host hears nothing on the port itself.
    assert_eq!(host.sysctl("ipv6/conf/hv101.0/disable_ipv6"), "1");
    assert_eq!(host.ip_json("addr show hv101.0")[0]["addr_info"], serde_json::json!([]));
    let entries = String::from_utf8(host.output("bridge", "fdb show dev hv101.0").stdout).unwrap();
    let is_entry = |line: &str| {
        ["02:00:00:00:65:00 ", "master brhv-lan", "sticky", "static"]
            .iter()
            .all(|word| line.contains(word))
    };
    assert!(entries.lines().any(is_entry), "{entries}");
    // Its hardware address stays while ports come and go.
    let address = bridge["address"].clone();
    let Some(_other) = add(&host, 102, &["192.0.2.11"]) else {
        return;
    };
    host.run(|| network().detach(&["hv101.0".to_owned()])).unwrap();
    assert_eq!(host.ip_json(&format!("link show {NAME}"))[0]["address"], address);
    // And when it is made anew.
    host.ip(&format!("link delete {NAME}"));
    make(&host, &of(own())).unwrap();
    assert_eq!(host.ip_json(&format!("link show {NAME}"))[0]["address"], address);
}

/// Somebody on the LAN sends from a VE's hardware address: what is for the VE goes on to it.
#[test]
fn nobody_takes_a_ves_place_on_the_bridge() {
    let Some(host) = Space::new() else { return };
    let Some(outside) = outside(&host) else { return };
    make(&host, &behind("up0", None)).unwrap();
    let Some(ve) = add(&host, 101, &["192.0.2.10"]) else {
        return;
    };
    assert!(host.ping("192.0.2.10", 5));
    outside.ip("link set up1 address 02:00:00:00:65:00");
    outside.ip("addr add 192.0.2.99/24 dev up1");
    // Asks all for somebody who isn't there.
    assert!(!outside.ping("192.0.2.77", 2));
    let entries = String::from_utf8(host.output("bridge", "fdb show").stdout).unwrap();
    let its = entries
        .lines()
        .filter(|line| line.contains("02:00:00:00:65:00") && line.contains("master"));
    assert!(
        its.clone().count() >= 1 && its.clone().all(|line| line.contains("dev hv101.0")),
        "{entries}"
    );
    assert!(host.ping("192.0.2.10", 5) && ve.ping("192.0.2.1", 5));
}

#[test]
fn making_it_again_mends_it() {
    let Some(host) = Space::new() else { return };
    make(&host, &of(own())).unwrap();
    let Some(ve) = add(&host, 101, &["192.0.2.10"]) else {
        return;
    };
    host.ip(&format!("addr del 192.0.2.1/24 dev {NAME}"));
    host.ip(&format!("addr add 198.51.100.9/24 dev {NAME}"));
    host.ip(&format!("link set {NAME} down"));
    let changed = OwnBridge {
        mtu: Some(1400),
        ..own()
    };
    make(&host, &of(changed)).unwrap();
    assert!(ve.ping("192.0.2.1", 5));
    let addresses = host.ip(&format!("addr show {NAME}"));
    assert!(
        !addresses.contains("198.51.100.9") && addresses.contains("mtu 1400"),
        "{addresses}"
    );
    assert_eq!(master(&host, "hv101.0"), NAME);
    let alone = OwnBridge {
        addresses: vec![],
        ..own()
    };
    make(&host, &of(alone)).unwrap();
    assert_eq!(
        host.ip_json(&format!("addr show {NAME}"))[0]["addr_info"],
        serde_json::json!([])
    );
}

#[test]
fn the_uplink_is_taken_in_and_given_back() {
    let Some(host) = Space::new() else { return };
    let Some(outside) = outside(&host) else { return };
    outside.ip("addr add 192.0.2.200/24 dev up1");
    make(&host, &behind("up0", None)).unwrap();
    make(&host, &behind("up0", None)).unwrap();
    let Some(ve) = add(&host, 101, &["192.0.2.10"]) else {
        return;
    };
    assert!(ve.ping("192.0.2.200", 3) && outside.ping("192.0.2.10", 3));
    let busy = host.run(|| network().unbridge(NAME)).unwrap_err();
    assert_eq!(busy.kind, Kind::Busy);
    // A definition without it: the host's interface is the host's again.
    make(&host, &of(own())).unwrap();
    assert!(master(&host, "up0").is_null() && !ve.ping("192.0.2.200", 1));
    make(&host, &behind("up0", None)).unwrap();
    let found = host.run(|| network().bridges("hv")).unwrap();
    let expected = FoundBridge {
        name: NAME.into(),
        network: "lan".into(),
        ports: vec!["up0".into(), "hv101.0".into()],
    };
    assert_eq!(found, [expected]);
    assert!(host.run(|| network().bridges("hx")).unwrap().is_empty());
    host.run(|| network().detach(&["hv101.0".to_owned()])).unwrap();
    host.run(|| network().unbridge(NAME)).unwrap();
    host.run(|| network().unbridge(NAME)).unwrap();
    assert_eq!(host.interfaces(), ["up0"]);
    assert!(master(&host, "up0").is_null());
}

#[test]
fn an_uplink_that_the_host_needs_is_left_alone() {
    let Some(host) = Space::new() else { return };
    let Some(_outside) = outside(&host) else { return };
    host.ip("addr add 198.51.100.5/24 dev up0");
    let refused = make(&host, &behind("up0", None)).unwrap_err();
    assert_eq!(refused.kind, Kind::Busy);
    assert!(refused.hint.unwrap().contains("host_addresses"));
    assert_eq!(
        host.interfaces(),
        ["up0"],
        "the bridge that was just made is gone again"
    );
    host.ip("addr flush dev up0");
    host.ip("link add br9 type bridge");
    host.ip("link set up0 master br9");
    assert_eq!(make(&host, &behind("up0", None)).unwrap_err().kind, Kind::Exists);
    assert_eq!(make(&host, &behind("none0", None)).unwrap_err().kind, Kind::NotFound);
    assert_eq!(master(&host, "up0"), "br9");
    assert!(!host.interfaces().contains(&NAME.to_owned()));
}

#[test]
fn a_vlan_of_the_uplink() {
    let Some(host) = Space::new() else { return };
    let Some(outside) = outside(&host) else { return };
    if !outside
        .output("ip", "link add link up1 name up1.20 type vlan id 20")
        .status
        .success()
    {
        println!("skipped because this kernel has no VLANs (8021q)");
        let refused = make(&host, &behind("up0", Some(20))).unwrap_err();
        assert!(refused.hint.unwrap().contains("8021q"));
        assert_eq!(host.interfaces(), ["up0"]);
        return;
    }
    outside.ip("addr add 192.0.2.200/24 dev up1.20");
    outside.ip("link set up1.20 up");
    make(&host, &behind("up0", Some(20))).unwrap();
    make(&host, &behind("up0", Some(20))).unwrap();
    let Some(ve) = add(&host, 101, &["192.0.2.10"]) else {
        return;
    };
    assert!(ve.ping("192.0.2.200", 3));
    assert!(master(&host, "up0").is_null() && master(&host, "vlhv-lan") == NAME);
    make(&host, &behind("up0", Some(21))).unwrap();
    assert!(!ve.ping("192.0.2.200", 1), "another VLAN is another Ethernet");
    make(&host, &of(own())).unwrap();
    assert!(!host.interfaces().contains(&"vlhv-lan".to_owned()));
    make(&host, &behind("up0", Some(20))).unwrap();
    host.run(|| network().detach(&["hv101.0".to_owned()])).unwrap();
    host.run(|| network().unbridge(NAME)).unwrap();
    assert_eq!(host.interfaces(), ["up0"]);
}

#[test]
fn somebody_elses_bridge_is_used_and_no_more() {
    let Some(host) = Space::new() else { return };
    let theirs = Bridge {
        name: "br0".into(),
        own: None,
    };
    assert_eq!(make(&host, &theirs).unwrap_err().kind, Kind::NotFound);
    host.ip("link add br0 type veth peer name x0");
    assert_eq!(
        make(&host, &theirs).unwrap_err().kind,
        Kind::NotFound,
        "a cable is no bridge"
    );
    host.ip("link del br0");
    host.ip("link add br0 mtu 9000 type bridge");
    host.ip("link set br0 up");
    host.ip("addr add 192.0.2.1/24 dev br0");
    make(&host, &theirs).unwrap();
    let Some(ve) = Space::new() else { return };
    host.run(|| network().attach(ve.fd(), &[bridged(101, 0, "br0", &["192.0.2.10"])]))
        .unwrap();
    assert!(ve.ping("192.0.2.1", 5));
    assert_eq!(
        ve.ip_json("link show eth0")[0]["mtu"],
        9000,
        "a smaller one would lower the bridge's"
    );
    assert!(host.run(|| network().bridges("hv")).unwrap().is_empty());
    assert_eq!(host.run(|| network().unbridge("br0")).unwrap_err().kind, Kind::Exists);
    host.run(|| network().detach(&["hv101.0".to_owned()])).unwrap();
    assert_eq!(host.interfaces(), ["br0"]);
}

#[test]
fn what_is_not_ours_is_not_taken_for_ours() {
    let Some(host) = Space::new() else { return };
    host.ip(&format!("link add {NAME} type bridge"));
    assert_eq!(make(&host, &of(own())).unwrap_err().kind, Kind::Exists);
    assert_eq!(host.run(|| network().unbridge(NAME)).unwrap_err().kind, Kind::Exists);
    assert_eq!(host.interfaces(), [NAME]);
    host.ip(&format!("link del {NAME}"));
    // One whose making was cut off before it had its alias is finished.
    host.ip(&format!("link add {NAME} group {} type bridge", super::super::GROUP));
    make(&host, &of(own())).unwrap();
    let other = OwnBridge {
        alias: "hostel network other".into(),
        ..own()
    };
    assert_eq!(
        make(&host, &of(other)).unwrap_err().kind,
        Kind::Exists,
        "it is another network's"
    );
}

#[test]
fn without_its_bridge_no_link_is_made() {
    let (Some(host), Some(ve)) = (Space::new(), Space::new()) else {
        return;
    };
    let links = [link(101, 0, &["198.51.100.7"]), bridged(101, 1, NAME, &["192.0.2.10"])];
    let refused = host.run(|| network().attach(ve.fd(), &links)).unwrap_err();
    assert_eq!((refused.kind, refused.object.as_str()), (Kind::NotFound, NAME));
    assert!(host.interfaces().is_empty() && ve.interfaces().is_empty());
}

#[test]
fn a_second_interface_on_a_bridge_answers_by_itself() {
    let (Some(host), Some(ve)) = (Space::new(), Space::new()) else {
        return;
    };
    host.run(|| network().prepare_host()).unwrap();
    make(&host, &of(own())).unwrap();
    host.ip("addr add 203.0.113.1/32 dev lo");
    let links = [link(101, 0, &["198.51.100.7"]), bridged(101, 1, NAME, &["192.0.2.10"])];
    host.run(|| network().attach(ve.fd(), &links)).unwrap();
    let Some(other) = add(&host, 102, &["192.0.2.11"]) else {
        return;
    };
    assert!(host.ping("198.51.100.7", 5) && other.ping("192.0.2.10", 5));
    assert!(ve.ping("-I 192.0.2.10 203.0.113.1", 5) && ve.ping("-I 192.0.2.10 192.0.2.11", 5));
}

#[test]
fn both_ends_of_a_port_that_is_laid_are_here() {
    let Some(host) = Space::new() else { return };
    make(&host, &of(own())).unwrap();
    let ends = host
        .run(|| network().lay(&[bridged(101, 0, NAME, &["192.0.2.10"])]))
        .unwrap();
    assert_eq!(master(&host, "hv101.0"), NAME);
    assert!(master(&host, &ends[0]).is_null());
    host.run(|| network().detach(&["hv101.0".to_owned()])).unwrap();
    assert_eq!(host.interfaces(), [NAME]);
}

#[test]
fn the_fake_knows_bridges() {
    let fake = FakeNetwork::new();
    let file = std::fs::File::open("/dev/null").unwrap();
    let netns = std::os::fd::AsFd::as_fd(&file);
    let links = [bridged(101, 0, NAME, &["192.0.2.10"])];
    assert_eq!(fake.attach(netns, &links).unwrap_err().kind, Kind::NotFound);
    fake.bridge(&of(own())).unwrap();
    fake.attach(netns, &links).unwrap();
    assert_eq!(fake.bridges("hv").unwrap()[0].ports, ["hv101.0"]);
    assert_eq!(fake.unbridge(NAME).unwrap_err().kind, Kind::Busy);
    fake.detach(&["hv101.0".into()]).unwrap();
    fake.unbridge(NAME).unwrap();
    assert!(fake.own_bridges().is_empty());
    fake.add_foreign_bridge(NAME);
    assert_eq!(fake.bridge(&of(own())).unwrap_err().kind, Kind::Exists);
    let theirs = Bridge {
        name: NAME.into(),
        own: None,
    };
    fake.bridge(&theirs).unwrap();
}

#[test]
fn an_uplink_that_takes_smaller_frames_is_told_of() {
    let Some(host) = Space::new() else { return };
    let Some(_outside) = outside(&host) else { return };
    let with = |mtu| {
        let Bridge { own: Some(own), .. } = behind("up0", None) else {
            panic!("it is ours")
        };
        make(&host, &of(OwnBridge { mtu, ..own })).unwrap()
    };
    assert_eq!(with(Some(9000)).narrow, Some(1500));
    // As long as it is so.
    assert_eq!(
        with(Some(9000)),
        Bridged {
            made: false,
            narrow: Some(1500)
        }
    );
    assert_eq!(with(Some(1400)).narrow, None);
    assert_eq!(with(None).narrow, None);
    host.ip("link set up0 mtu 9000");
    assert_eq!(with(Some(9000)).narrow, None);
}
