//! What a port's guest may send, and what reaches it: each case by frames that its root could make.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;
use crate::firewall::testing::*;
use crate::firewall::{Apart, IsolatedNetwork, PortRules};
use crate::net::testing::network;
use crate::net::{Bridge, Link, Network, OwnBridge, Port};

const NAME: &str = "brhv-lan";
const OWN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const OTHER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const GATEWAY4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const STRANGER: [u8; 6] = [2, 0, 0, 9, 9, 9];
const ALL: [u8; 6] = [0xff; 6];
const UDP: u8 = 17;

fn bridged(id: u32, any_mac: bool) -> Link {
    let last = id - 91;
    Link {
        port: Some(Port {
            bridge: NAME.into(),
            pools: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
            gateways: vec![GATEWAY4.into(), GATEWAY6.into()],
            any_mac,
        }),
        ..link(id, 0, &[&format!("192.0.2.{last}"), &format!("2001:db8::{last}")])
    }
}

pub(super) fn port(id: u32, rules: PortRules) -> Member {
    let link = bridged(id, false);
    Member {
        interface: link.host_name,
        addresses: link.addresses,
        routes: Vec::new(),
        mac: link.mac,
        port: Some(rules),
        ..Member::default()
    }
}

pub(super) fn on_side(side: u32) -> PortRules {
    PortRules {
        side,
        ..PortRules::default()
    }
}

pub(super) fn rules() -> Ruleset {
    let pools: Vec<IpNetwork> = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()];
    Ruleset {
        bridged: true,
        isolated: vec![IsolatedNetwork {
            pools: pools.clone(),
            host: vec![GATEWAY4.into(), GATEWAY6.into()],
        }],
        host: HostSide {
            apart: vec![Apart {
                bridge: NAME.into(),
                pools,
                others: vec![IpAddr::from(GATEWAY4).into(), IpAddr::from(GATEWAY6).into()],
                own: true,
            }],
            ..HostSide::default()
        },
        ..ruleset(&[])
    }
}

/// A host that is the gateway on its bridge, with VEs 101 and 102 on it; the rules are there before any port.
pub(super) fn two_ports(first: PortRules, second: PortRules) -> Option<(Space, Space, Space)> {
    two_ports_with(&rules(), first, second)
}

/// The same with other rules.
pub(super) fn two_ports_with(rules: &Ruleset, first: PortRules, second: PortRules) -> Option<(Space, Space, Space)> {
    let (host, one, two) = (Space::new()?, Space::new()?, Space::new()?);
    let bridge = Bridge {
        name: NAME.into(),
        own: Some(OwnBridge {
            alias: "hostel network lan".into(),
            mtu: None,
            big_tcp: false,
            addresses: vec!["192.0.2.1/24".parse().unwrap(), "2001:db8::1/64".parse().unwrap()],
            uplink: None,
        }),
    };
    host.run(|| {
        network().prepare_host().unwrap();
        firewall().ensure(rules).unwrap();
        network().bridge(&bridge).unwrap();
        network().attach(one.fd(), &[bridged(101, first.any_mac)]).unwrap();
        network().attach(two.fd(), &[bridged(102, second.any_mac)]).unwrap();
        firewall().admit(TABLE, &[port(101, first), port(102, second)]).unwrap();
    });
    Some((host, one, two))
}

/// The same for tests of forwards: the host is known as the gateway, and the VEs don't reach each other directly.
pub(super) fn two_ports_of_the_host() -> Option<(Space, Space, Space)> {
    let (host, one, two) = two_ports(on_side(1), on_side(2))?;
    let mut known = rules();
    known.nat.bridged = vec![(NAME.to_owned(), known.isolated[0].pools.clone())];
    host.run(|| {
        // With it, what a bridge's VE sends back to the bridge isn't routed.
        let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
        let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0");
        firewall().ensure(&known)
    })
    .unwrap();
    Some((host, one, two))
}

/// What they are in the firewall.
pub(super) fn their_members() -> [Member; 2] {
    [port(101, on_side(1)), port(102, on_side(2))]
}

fn arp(sender: [u8; 6], from: Ipv4Addr, operation: u8, target: Ipv4Addr, text: &str) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [
        &head[..],
        &sender,
        &from.octets(),
        &[0; 6],
        &target.octets(),
        &marked(text),
    ]
    .concat()
}

/// A neighbour discovery message with the option of a hardware address. Nothing can be hidden in it, so it is known by
/// its kind and what it is about.
fn nd(from: Ipv6Addr, to: Ipv6Addr, kind: u8, target: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let option = [&[if kind == 135 { 1 } else { 2 }, 1][..], &mac].concat();
    discovery(from, to, kind, target, &option)
}

fn say(from: Ipv4Addr, text: &str) -> Vec<u8> {
    ipv4(from, OTHER4, UDP, &udp(1000, 2000, &marked(text)))
}

fn say6(from: Ipv6Addr, text: &str) -> Vec<u8> {
    udp6(from, OTHER6, 1000, 2000, &marked(text))
}

/// One that is fine.
pub(super) fn honest(mac: [u8; 6], to: [u8; 6], text: &str) -> Vec<u8> {
    ethernet(mac, to, ETHERTYPE_V4, &say(OWN4, text))
}

/// Frames that must not arrive, by what each has behind its mark.
pub(super) fn forbidden(mac: [u8; 6], to: [u8; 6]) -> Vec<(&'static str, Vec<u8>)> {
    let local = crate::firewall::keys::link_local(STRANGER);
    let frame = |ethertype, packet: &[u8]| ethernet(mac, to, ethertype, packet);
    let v4 = |packet: Vec<u8>| frame(ETHERTYPE_V4, &packet);
    let v6 = |packet: Vec<u8>| frame(ETHERTYPE_V6, &packet);
    let tagged = |text| [&[0, 5][..], &ETHERTYPE_V4.to_be_bytes(), &say(OWN4, text)].concat();
    let twice = [&[0, 5][..], &ETHERTYPE_VLAN.to_be_bytes(), &tagged("two vlans")].concat();
    let hidden = [
        &[58, 0, 1, 4, 0, 0, 0, 0][..],
        &discovery(OWN6, OTHER6, 134, OWN6, &marked("hidden ra"))[40..],
    ]
    .concat();
    // In two parts, of which no first has the UDP header in it.
    let fragment = |offset: u16, more: bool, payload: &[u8]| {
        let [high, low] = (offset | u16::from(more)).to_be_bytes();
        v6(ipv6(
            OWN6,
            OTHER6,
            44,
            64,
            &[&[60, 0, high, low, 0, 0, 0, 7][..], payload].concat(),
        ))
    };
    let options = [&[UDP, 1, 1, 4, 0, 0, 0, 0][..], &marked("first fragment")].concat();
    let redirect = [&[5, 1, 0xfa, 0xfe, 0, 0, 0, 0][..], &marked("redirect")].concat();
    let router = [&[9, 0, 0, 0, 1, 2, 0, 30][..], &marked("ra 4")].concat();
    let stp = [&[0x42, 0x42, 3, 0, 0, 0, 0][..], &marked("bpdu")].concat();
    vec![
        (
            "foreign mac",
            ethernet(STRANGER, to, ETHERTYPE_V4, &say(OWN4, "foreign mac")),
        ),
        (
            "foreign mac 6",
            ethernet(STRANGER, to, ETHERTYPE_V6, &say6(OWN6, "foreign mac 6")),
        ),
        (
            "foreign source",
            v4(say(Ipv4Addr::new(203, 0, 113, 66), "foreign source")),
        ),
        ("neighbour's source", v4(say(OTHER4, "neighbour's source"))),
        ("gateway's source", v4(say(GATEWAY4, "gateway's source"))),
        ("no source", v4(say(Ipv4Addr::UNSPECIFIED, "no source"))),
        (
            "arp for the gateway",
            frame(ETHERTYPE_ARP, &arp(mac, GATEWAY4, 2, OTHER4, "arp for the gateway")),
        ),
        (
            "arp question as another",
            frame(ETHERTYPE_ARP, &arp(mac, OTHER4, 1, OTHER4, "arp question as another")),
        ),
        (
            "arp of another mac",
            frame(ETHERTYPE_ARP, &arp(STRANGER, OWN4, 2, OTHER4, "arp of another mac")),
        ),
        (
            "arp probe for another's",
            frame(
                ETHERTYPE_ARP,
                &arp(mac, Ipv4Addr::UNSPECIFIED, 1, OTHER4, "arp probe for another's"),
            ),
        ),
        (
            "dhcp server",
            v4(ipv4(OWN4, OTHER4, UDP, &udp(67, 68, &marked("dhcp server")))),
        ),
        (
            "dhcp from any port",
            v4(ipv4(OWN4, OTHER4, UDP, &udp(1000, 68, &marked("dhcp from any port")))),
        ),
        (
            "dhcp question",
            v4(ipv4(
                Ipv4Addr::UNSPECIFIED,
                OTHER4,
                UDP,
                &udp(68, 67, &marked("dhcp question")),
            )),
        ),
        ("redirect", v4(ipv4(OWN4, OTHER4, 1, &redirect))),
        ("ra 4", v4(ipv4(OWN4, OTHER4, 1, &router))),
        (
            "group query",
            v4(ipv4(
                OWN4,
                OTHER4,
                2,
                &[&[0x11, 0, 0, 0, 0, 0, 0, 0][..], &marked("group query")].concat(),
            )),
        ),
        (
            "router of groups",
            v4(ipv4(
                OWN4,
                OTHER4,
                2,
                &[&[0x30, 20, 0, 0, 0, 0, 0, 0][..], &marked("router of groups")].concat(),
            )),
        ),
        (
            "pim",
            v4(ipv4(
                OWN4,
                OTHER4,
                103,
                &[&[0x20, 0, 0, 0][..], &marked("pim")].concat(),
            )),
        ),
        ("vlan", frame(ETHERTYPE_VLAN, &tagged("vlan"))),
        ("two vlans", frame(0x88a8, &twice)),
        ("other protocol", frame(0x88cc, &marked("other protocol"))),
        ("bpdu", ethernet(mac, [1, 0x80, 0xc2, 0, 0, 0], 40, &stp)),
        (
            "foreign source 6",
            v6(say6(
                Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 1),
                "foreign source 6",
            )),
        ),
        ("neighbour's source 6", v6(say6(OTHER6, "neighbour's source 6"))),
        ("gateway's source 6", v6(say6(GATEWAY6, "gateway's source 6"))),
        ("another link-local", v6(say6(local, "another link-local"))),
        ("mapped source", v6(say6(OTHER4.to_ipv6_mapped(), "mapped source"))),
        (
            "dhcp server 6",
            v6(udp6(OWN6, OTHER6, 547, 546, &marked("dhcp server 6"))),
        ),
        (
            "dhcp 6 from any port",
            v6(udp6(OWN6, OTHER6, 1000, 546, &marked("dhcp 6 from any port"))),
        ),
        ("ra", v6(discovery(OWN6, OTHER6, 134, OWN6, &marked("ra")))),
        ("hidden ra", v6(ipv6(OWN6, OTHER6, 0, 255, &hidden))),
        ("first fragment", fragment(0, true, &options)),
        ("later fragment", fragment(64, false, &marked("later fragment"))),
        (
            "redirect 6",
            v6(discovery(OWN6, OTHER6, 137, OWN6, &marked("redirect 6"))),
        ),
        (
            "listener query",
            v6(discovery(OWN6, OTHER6, 130, OWN6, &marked("listener query"))),
        ),
        (
            "router of groups 6",
            v6(discovery(OWN6, OTHER6, 151, OWN6, &marked("router of groups 6"))),
        ),
        (
            "pim 6",
            v6(ipv6(
                OWN6,
                OTHER6,
                103,
                1,
                &[&[0x20, 0, 0, 0][..], &marked("pim 6")].concat(),
            )),
        ),
        (
            "answer for the gateway",
            v6(discovery(
                OWN6,
                OTHER6,
                136,
                GATEWAY6,
                &marked("answer for the gateway"),
            )),
        ),
        (
            "answer with much in it",
            v6(discovery(OWN6, OTHER6, 136, OWN6, &marked("answer with much in it"))),
        ),
        (
            "probe for another's",
            v6(discovery(
                Ipv6Addr::UNSPECIFIED,
                OTHER6,
                135,
                OTHER6,
                &marked("probe for another's"),
            )),
        ),
    ]
}

pub(super) fn macs() -> ([u8; 6], [u8; 6]) {
    (bridged(101, false).mac, bridged(102, false).mac)
}

#[test]
fn only_own_frames_reach_a_neighbour() {
    let Some((host, one, two)) = two_ports(on_side(7), on_side(7)) else {
        return;
    };
    let (mac, to) = macs();
    let (sender, receiver) = (one.run(|| Wire::new("eth0")), two.run(|| Wire::new("eth0")));
    let honest = |text: &str| {
        sender.send(&ethernet(
            mac,
            ALL,
            ETHERTYPE_ARP,
            &arp(mac, OWN4, 1, OTHER4, &format!("{text}, arp")),
        ));
        sender.send(&ethernet(mac, to, ETHERTYPE_V4, &say(OWN4, text)));
        // Joining a group.
        let join = [&[0x16, 0, 0, 0, 239, 1, 1, 1][..], &marked(&format!("{text}, join"))].concat();
        sender.send(&ethernet(mac, to, ETHERTYPE_V4, &ipv4(OWN4, OTHER4, 2, &join)));
        sender.send(&ethernet(mac, to, ETHERTYPE_V6, &say6(OWN6, &format!("{text}, v6"))));
    };
    honest("before");
    let mut seen = receiver.wait_for("before, v6");
    let attempts = forbidden(mac, to);
    let before = spoofed(&host);
    for (_, frame) in &attempts {
        sender.send(frame);
    }
    honest("after");
    seen.extend(receiver.wait_for("after, v6"));
    let mut expected = Vec::new();
    for text in ["before", "after"] {
        let more = |what: &str| format!("{text}, {what}");
        expected.extend([more("arp"), text.to_owned(), more("join"), more("v6")]);
    }
    assert_eq!(seen, expected);
    // "no source", "dhcp question" and "probe for another's" are normal, and so not counted.
    let counted = spoofed(&host) - before;
    assert_eq!(counted, attempts.len() as u64 - 3);

    // The proof that these frames would arrive if nobody dropped them, so that this test can fail.
    host.run(|| firewall().remove(TABLE)).unwrap();
    let slave = host.output("bridge", "link set dev hv101.0 locked off flood on learning on");
    assert!(slave.status.success());
    host.output("bridge", "link set dev hv101.0 guard off");
    for (_, frame) in &attempts {
        sender.send(frame);
    }
    sender.send(&ethernet(mac, to, ETHERTYPE_V6, &say6(OWN6, "end")));
    let through = receiver.wait_for("end");
    for (text, _) in attempts {
        assert!(through.iter().any(|s| s == text), "{text}: {through:?}");
    }
}

pub(super) fn spoofed(host: &Space) -> u64 {
    let counters = parts(host, "counter");
    let own = counters
        .iter()
        .find(|c| c["name"] == "spoofed" && c["family"] == "bridge");
    own.unwrap()["packets"].as_u64().unwrap()
}

/// Has the VE noted this hardware address for that one?
fn learns(two: &Space, target: &str, mac: &str) -> bool {
    two.ip("-6 neigh show")
        .lines()
        .any(|l| l.starts_with(target) && l.contains(mac))
}

#[test]
fn a_hardware_address_in_neighbour_discovery_is_the_own() {
    let Some((host, one, two)) = two_ports(on_side(7), on_side(7)) else {
        return;
    };
    let (mac, to) = macs();
    let sender = one.run(|| Wire::new("eth0"));
    two.set_sysctl("ipv6/conf/eth0/drop_unsolicited_na", "0");
    let lie = |from, kind, target, inside| {
        sender.send(&ethernet(
            mac,
            to,
            ETHERTYPE_V6,
            &nd(from, OTHER6, kind, target, inside),
        ))
    };
    let before = spoofed(&host);
    lie(OWN6, 135, OTHER6, STRANGER);
    lie(OWN6, 136, OWN6, STRANGER);
    lie(OWN6, 136, GATEWAY6, mac);
    lie(GATEWAY6, 135, OTHER6, mac);
    lie(GATEWAY6, 136, GATEWAY6, mac);
    // The honest question, after which the neighbour knows us: all before it has been seen.
    lie(OWN6, 135, OTHER6, mac);
    let own = "02:00:00:00:65:00";
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !learns(&two, "2001:db8::10", own) {
        assert!(std::time::Instant::now() < end, "{}", two.ip("-6 neigh show"));
    }
    assert_eq!(spoofed(&host) - before, 5);
    assert!(!learns(&two, "2001:db8::10", "02:00:00:09:09:09") && !learns(&two, "2001:db8::1 ", own));
    // What an honest guest does works, also with addresses that its kernel makes by itself.
    while [&one, &two]
        .iter()
        .any(|ve| ve.ip("-6 addr show dev eth0").contains("tentative"))
    {
        assert!(std::time::Instant::now() < end, "{}", one.ip("addr"));
    }
    let own_local = crate::firewall::keys::link_local(to).to_string();
    for target in ["2001:db8::11", "2001:db8::1", &format!("{own_local}%eth0")] {
        assert!(one.ping(target, 5), "{target}");
    }
}

#[test]
fn tenants_do_not_reach_each_other() {
    let Some((host, one, two)) = two_ports(on_side(7), on_side(8)) else {
        return;
    };
    let Some(third) = Space::new() else { return };
    host.run(|| {
        network().attach(third.fd(), &[bridged(103, false)]).unwrap();
        firewall().admit(TABLE, &[port(103, on_side(7))]).unwrap();
    });
    let (mac, to) = macs();
    let (sender, receiver, friend) = (
        one.run(|| Wire::new("eth0")),
        two.run(|| Wire::new("eth0")),
        third.run(|| Wire::new("eth0")),
    );
    let gateway: Vec<u8> = host.ip_json(&format!("link show {NAME}"))[0]["address"]
        .as_str()
        .unwrap()
        .split(':')
        .map(|b| u8::from_str_radix(b, 16).unwrap())
        .collect();
    let gateway: [u8; 6] = gateway.try_into().unwrap();
    // Straight, to all, to a group, and by way of the host.
    sender.send(&ethernet(mac, to, ETHERTYPE_V4, &say(OWN4, "straight")));
    sender.send(&ethernet(mac, ALL, ETHERTYPE_V4, &say(OWN4, "broadcast")));
    sender.send(&ethernet(
        mac,
        [0x33, 0x33, 0, 0, 0, 1],
        ETHERTYPE_V6,
        &say6(OWN6, "group"),
    ));
    sender.send(&ethernet(mac, gateway, ETHERTYPE_V4, &say(OWN4, "by the host")));
    sender.send(&ethernet(mac, gateway, ETHERTYPE_V6, &say6(OWN6, "by the host, v6")));
    sender.send(&ethernet(mac, ALL, ETHERTYPE_V4, &say(OWN4, "end")));
    assert_eq!(friend.wait_for("end"), ["broadcast", "group", "end"]);
    let host_says = host.run(|| Wire::new(NAME));
    host_says.send(&ethernet(
        gateway,
        to,
        ETHERTYPE_V4,
        &ipv4(GATEWAY4, OTHER4, UDP, &udp(1, 2, &marked("host"))),
    ));
    assert_eq!(receiver.wait_for("host"), ["host"]);
    assert!(one.ping("192.0.2.12", 5) && !one.ping("192.0.2.11", 1) && !one.ping("2001:db8::11", 1));
    assert!(one.ping("192.0.2.1", 5) && two.ping("2001:db8::1", 5));

    // On the same side they do: it was the rules.
    host.run(|| firewall().admit(TABLE, &[port(102, on_side(7))])).unwrap();
    assert!(one.ping("192.0.2.11", 5));
    sender.send(&ethernet(mac, to, ETHERTYPE_V4, &say(OWN4, "straight")));
    receiver.wait_for("straight");
}

#[test]
fn each_allowance_allows_one_thing() {
    let cases: [(PortRules, &[&str]); 6] = [
        (
            PortRules {
                any_mac: true,
                ..on_side(7)
            },
            &[
                "foreign mac",
                "foreign mac 6",
                "arp of another mac",
                "answer with much in it",
            ],
        ),
        (
            PortRules {
                any_ip: true,
                ..on_side(7)
            },
            &[
                "foreign source",
                "neighbour's source",
                "gateway's source",
                "no source",
                "arp for the gateway",
                "arp question as another",
                "arp probe for another's",
                "dhcp question",
                "foreign source 6",
                "neighbour's source 6",
                "gateway's source 6",
                "another link-local",
                "mapped source",
            ],
        ),
        (
            PortRules {
                dhcp_server: true,
                ..on_side(7)
            },
            &[
                "dhcp server",
                "dhcp from any port",
                "dhcp server 6",
                "dhcp 6 from any port",
            ],
        ),
        (
            PortRules {
                dhcp_client: true,
                ..on_side(7)
            },
            &["dhcp question"],
        ),
        (
            PortRules {
                router: true,
                ..on_side(7)
            },
            &["ra 4", "ra", "hidden ra"],
        ),
        (on_side(7), &[]),
    ];
    for (rules, allowed) in cases {
        let hears = PortRules {
            hears_ra: true,
            ..on_side(7)
        };
        let Some((_host, one, two)) = two_ports(rules.clone(), hears) else {
            return;
        };
        let (mac, to) = macs();
        let (sender, receiver) = (one.run(|| Wire::new("eth0")), two.run(|| Wire::new("eth0")));
        for (_, frame) in forbidden(mac, to) {
            sender.send(&frame);
        }
        sender.send(&ethernet(mac, to, ETHERTYPE_V4, &say(OWN4, "end")));
        let seen = receiver.wait_for("end");
        assert_eq!(seen[..seen.len() - 1], *allowed, "{rules:?}");
    }
}

#[test]
fn router_advertisements_reach_who_is_to_hear_them() {
    let deaf = on_side(7);
    let Some((host, one, two)) = two_ports(
        PortRules {
            router: true,
            ..on_side(7)
        },
        deaf,
    ) else {
        return;
    };
    let (mac, to) = macs();
    let (sender, receiver) = (one.run(|| Wire::new("eth0")), two.run(|| Wire::new("eth0")));
    let announce = |text: &str| {
        sender.send(&ethernet(
            mac,
            to,
            ETHERTYPE_V6,
            &discovery(OWN6, OTHER6, 134, OWN6, &marked(text)),
        ));
        let four = [&[9, 0, 0, 0, 1, 2, 0, 30][..], &marked(&format!("{text}, IPv4"))].concat();
        sender.send(&ethernet(mac, to, ETHERTYPE_V4, &ipv4(OWN4, OTHER4, 1, &four)));
        sender.send(&ethernet(mac, to, ETHERTYPE_V4, &say(OWN4, &format!("after {text}"))));
    };
    announce("one");
    assert_eq!(receiver.wait_for("after one"), ["after one"]);
    let hears = PortRules {
        hears_ra: true,
        ..on_side(7)
    };
    host.run(|| firewall().admit(TABLE, &[port(102, hears)])).unwrap();
    announce("two");
    assert_eq!(receiver.wait_for("after two"), ["two", "two, IPv4", "after two"]);
}

#[test]
fn a_port_that_is_no_member_sends_nothing_and_learns_nothing() {
    let Some((host, one, two)) = two_ports(on_side(7), on_side(7)) else {
        return;
    };
    assert!(one.ping("192.0.2.11", 5));
    host.run(|| firewall().expel(TABLE, "hv101.0")).unwrap();
    assert!(!one.ping("192.0.2.11", 1) && !one.ping("192.0.2.1", 1) && !two.ping("192.0.2.10", 1));
    // Thousands of addresses leave the bridge's table as it is, with the rules and without.
    let sender = one.run(|| Wire::new("eth0"));
    let entries = || {
        host.output("bridge", "fdb show")
            .stdout
            .iter()
            .filter(|b| **b == b'\n')
            .count()
    };
    let flood = || {
        for n in 0..10_000_u32 {
            let [_, _, a, b] = n.to_be_bytes();
            sender.send(&ethernet([2, 1, 1, 1, a, b], ALL, ETHERTYPE_V4, &say(OWN4, "flood")));
        }
    };
    let before = entries();
    flood();
    assert_eq!(entries(), before);
    host.run(|| firewall().remove(TABLE)).unwrap();
    flood();
    assert_eq!(entries(), before);
}

#[test]
fn held_ports_are_silent_both_ways() {
    let Some((host, one, two)) = two_ports(on_side(7), on_side(7)) else {
        return;
    };
    let names = ["hv101.0".to_owned()];
    assert!(one.ping("192.0.2.11", 5));
    host.run(|| firewall().hold("hostel_test_held", &names, true)).unwrap();
    let (receiver, mac) = (one.run(|| Wire::new("eth0")), macs().0);
    let sender = two.run(|| Wire::new("eth0"));
    sender.send(&ethernet(
        macs().1,
        mac,
        ETHERTYPE_V4,
        &ipv4(OTHER4, OWN4, UDP, &udp(1, 2, &marked("held"))),
    ));
    assert!(!one.ping("192.0.2.11", 1) && !two.ping("192.0.2.10", 1) && !host.ping("192.0.2.10", 1));
    assert!(host.ping("192.0.2.11", 5));
    host.run(|| firewall().release("hostel_test_held")).unwrap();
    host.run(|| firewall().release("hostel_test_held")).unwrap();
    sender.send(&ethernet(
        macs().1,
        mac,
        ETHERTYPE_V4,
        &ipv4(OTHER4, OWN4, UDP, &udp(1, 2, &marked("free"))),
    ));
    assert_eq!(receiver.wait_for("free"), ["free"]);
    assert!(one.ping("192.0.2.11", 5));
}

#[test]
fn members_of_both_tables_come_and_go() {
    let Some(host) = Space::new() else { return };
    let all = PortRules {
        side: 0xfedc_ba98,
        any_mac: true,
        any_ip: true,
        dhcp_server: true,
        dhcp_client: true,
        router: true,
        hears_ra: true,
    };
    let members = [port(101, all), port(102, on_side(3)), member(103, &["198.51.100.7"])];
    // Loaded by nft, read by us; then added by us, and the same again.
    let loaded = Ruleset {
        members: members.to_vec(),
        ..rules()
    };
    host.run(|| {
        firewall().replace(&loaded).unwrap();
        assert_eq!(firewall().members(TABLE).unwrap(), members);
        assert!(!firewall().ensure(&rules()).unwrap());
        firewall().replace(&rules()).unwrap();
        firewall().admit(TABLE, &members).unwrap();
        assert_eq!(firewall().members(TABLE).unwrap(), members);
        firewall().admit(TABLE, &[port(101, on_side(4))]).unwrap();
        assert_eq!(firewall().members(TABLE).unwrap()[0], port(101, on_side(4)));
        firewall().expel(TABLE, "hv101.0").unwrap();
        firewall().expel(TABLE, "hv102.0").unwrap();
        assert_eq!(firewall().members(TABLE).unwrap(), [member(103, &["198.51.100.7"])]);
    });
    let members = ["links", "ve4", "ve6", "nd6", "nd_mac", "any_mac", "sides", "peers"];
    for set in parts(&host, "set").into_iter().chain(parts(&host, "map")) {
        let empty = set.get("elem").is_none();
        assert!(
            empty || set["family"] == "inet" || !members.contains(&set["name"].as_str().unwrap()),
            "{set}"
        );
    }
}

#[test]
fn the_table_of_ports_is_mended_by_itself() {
    let Some(host) = Space::new() else { return };
    let without = Ruleset {
        bridged: false,
        members: vec![member(103, &["198.51.100.7"])],
        ..rules()
    };
    host.run(|| firewall().ensure(&without)).unwrap();
    assert!(
        parts(&host, "table").iter().all(|t| t["family"] != "bridge"),
        "only where there are bridges"
    );
    let refused = host
        .run(|| firewall().admit(TABLE, &[port(101, on_side(1))]))
        .unwrap_err();
    assert_eq!(refused.kind, crate::error::Kind::NotFound);
    // With the first bridge comes its table; the other stays, with its members.
    assert!(host.run(|| firewall().ensure(&rules())).unwrap());
    host.run(|| firewall().admit(TABLE, &[port(101, on_side(1))])).unwrap();
    assert_eq!(host.run(|| firewall().members(TABLE)).unwrap().len(), 2);
    for change in [
        format!("delete table bridge {TABLE}"),
        format!("insert rule bridge {TABLE} anti_spoof accept"),
        format!("flush chain bridge {TABLE} postrouting"),
    ] {
        let output = host.run(|| std::process::Command::new("nft").arg(&change).output().unwrap());
        assert!(output.status.success(), "{change}");
        assert!(host.run(|| firewall().ensure(&rules())).unwrap(), "{change}");
        assert!(!host.run(|| firewall().ensure(&rules())).unwrap(), "{change}");
        // The table that was whole keeps its members.
        assert_eq!(
            host.run(|| firewall().members(TABLE)).unwrap(),
            [member(103, &["198.51.100.7"])]
        );
    }
    host.run(|| firewall().remove(TABLE)).unwrap();
    assert!(parts(&host, "table").is_empty());
}

#[test]
fn rules_do_not_grow_with_the_number_of_ports() {
    let many: Vec<Member> = (101..601)
        .map(|id| Member {
            interface: format!("hv{id}.0"),
            addresses: vec![Ipv4Addr::from_bits(0x0a00_0000 + id).into()],
            ..port(101, on_side(id))
        })
        .collect();
    let Some(host) = Space::new() else { return };
    host.run(|| firewall().replace(&rules())).unwrap();
    let before = parts(&host, "rule").len();
    host.run(|| firewall().admit(TABLE, &many)).unwrap();
    assert_eq!(parts(&host, "rule").len(), before);
    assert_eq!(host.run(|| firewall().members(TABLE)).unwrap().len(), 500);
}
