//! What a VE may send, and what it may not: each case by frames that its root could make.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::firewall::testing::*;

const OWN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const OTHER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const FOREIGN4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 7);
const FOREIGN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 1);
const GATEWAY: Ipv6Addr = crate::net::GATEWAY_V6;
const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
const UDP: u8 = 17;

/// The MAC addresses of the first VE and of the host's end of its link.
pub(super) fn macs(host: &Space) -> ([u8; 6], [u8; 6]) {
    let shown = host.ip_json("link show hv101.0");
    let text = shown[0]["address"].as_str().unwrap();
    let bytes: Vec<u8> = text.split(':').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    (link(101, 0, &[]).mac, bytes.try_into().unwrap())
}

fn say(from: Ipv4Addr, text: &str) -> Vec<u8> {
    ipv4(from, OTHER4, UDP, &udp(1000, 2000, &marked(text)))
}

fn say6(from: Ipv6Addr, text: &str) -> Vec<u8> {
    udp6(from, OTHER6, 1000, 2000, &marked(text))
}

/// One that is fine.
pub(super) fn honest(mac: [u8; 6], gateway: [u8; 6], text: &str) -> Vec<u8> {
    ethernet(mac, gateway, ETHERTYPE_V4, &say(OWN4, text))
}

/// Frames that must not arrive, by what they are.
pub(super) fn forbidden(mac: [u8; 6], gateway: [u8; 6]) -> Vec<(&'static str, Vec<u8>)> {
    let v4 = |packet: Vec<u8>| ethernet(mac, gateway, ETHERTYPE_V4, &packet);
    let v6 = |packet: Vec<u8>| ethernet(mac, gateway, ETHERTYPE_V6, &packet);
    let stranger = [2, 0, 0, 9, 9, 9];
    let mut fragment = say(FOREIGN4, "first fragment");
    fragment[6] |= 0x20;
    fragment[10..12].copy_from_slice(&[0, 0]);
    let sum: u32 = fragment[..20]
        .chunks(2)
        .map(|c| u32::from(c[0]) << 8 | u32::from(c[1]))
        .sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    fragment[10..12].copy_from_slice(&sum.to_be_bytes());
    let tagged = [&[0, 5][..], &ETHERTYPE_V4.to_be_bytes(), &say(OWN4, "vlan")].concat();
    vec![
        ("foreign source", v4(say(FOREIGN4, "foreign source"))),
        ("another VE's source", v4(say(OTHER4, "another VE's source"))),
        ("gateway's source", v4(say(crate::net::GATEWAY_V4, "gateway's source"))),
        ("loopback source", v4(say(Ipv4Addr::LOCALHOST, "loopback source"))),
        (
            "unspecified source",
            v4(say(Ipv4Addr::UNSPECIFIED, "unspecified source")),
        ),
        ("foreign fragment", v4(fragment)),
        (
            "foreign MAC",
            ethernet(stranger, gateway, ETHERTYPE_V4, &say(OWN4, "foreign MAC")),
        ),
        (
            "foreign MAC, IPv6",
            ethernet(stranger, gateway, ETHERTYPE_V6, &say6(OWN6, "foreign MAC, IPv6")),
        ),
        (
            "DHCP server",
            v4(ipv4(OWN4, OTHER4, UDP, &udp(67, 68, &marked("DHCP server")))),
        ),
        (
            "DHCP from any port",
            v4(ipv4(OWN4, OTHER4, UDP, &udp(1000, 68, &marked("DHCP from any port")))),
        ),
        (
            "ICMP redirect",
            v4(ipv4(
                OWN4,
                OTHER4,
                1,
                &[&[5, 1, 0xfa, 0xfe, 0, 0, 0, 0][..], &marked("redirect")].concat(),
            )),
        ),
        (
            "router advertisement, IPv4",
            v4(ipv4(
                OWN4,
                OTHER4,
                1,
                &[&[9, 0, 0, 0, 1, 2, 0, 30][..], &marked("router advertisement, IPv4")].concat(),
            )),
        ),
        (
            "router solicitation, IPv4",
            v4(ipv4(
                OWN4,
                OTHER4,
                1,
                &[&[10, 0, 0, 0, 0, 0, 0, 0][..], &marked("router solicitation, IPv4")].concat(),
            )),
        ),
        ("VLAN", ethernet(mac, gateway, ETHERTYPE_VLAN, &tagged)),
        ("foreign source, IPv6", v6(say6(FOREIGN6, "foreign source, IPv6"))),
        (
            "another VE's source, IPv6",
            v6(say6(OTHER6, "another VE's source, IPv6")),
        ),
        ("mapped source", v6(say6(OTHER4.to_ipv6_mapped(), "mapped source"))),
        ("link-local source", v6(say6(LOCAL, "link-local source"))),
        (
            "DHCPv6 server",
            v6(udp6(OWN6, OTHER6, 547, 546, &marked("DHCPv6 server"))),
        ),
        (
            "DHCPv6 from any port",
            v6(udp6(OWN6, OTHER6, 1000, 546, &marked("DHCPv6 from any port"))),
        ),
        (
            "router advertisement",
            v6(discovery(OWN6, OTHER6, 134, OWN6, &marked("router advertisement"))),
        ),
        (
            "router advertisement, local",
            v6(discovery(LOCAL, OTHER6, 134, LOCAL, &marked("local advertisement"))),
        ),
        (
            "redirect, IPv6",
            v6(discovery(OWN6, OTHER6, 137, OWN6, &marked("redirect, IPv6"))),
        ),
        (
            "neighbour advertisement",
            v6(discovery(OWN6, OTHER6, 136, OWN6, &marked("neighbour advertisement"))),
        ),
    ]
}

#[test]
fn only_own_packets_reach_others() {
    let Some((host, one, two)) = two_members() else { return };
    let (mac, gateway) = macs(&host);
    let (sender, receiver) = (one.run(|| Wire::new("eth0")), two.run(|| Wire::new("eth0")));
    let honest = |sender: &Wire, text: &str| {
        sender.send(&ethernet(mac, gateway, ETHERTYPE_V4, &say(OWN4, text)));
        sender.send(&ethernet(
            mac,
            gateway,
            ETHERTYPE_V6,
            &say6(OWN6, &format!("{text}, IPv6")),
        ));
    };
    honest(&sender, "before");
    let mut seen = receiver.wait_for("before, IPv6");
    for (_, frame) in forbidden(mac, gateway) {
        sender.send(&frame);
    }
    honest(&sender, "after");
    seen.extend(receiver.wait_for("after, IPv6"));
    assert_eq!(seen, ["before", "before, IPv6", "after", "after, IPv6"]);
    assert!(packets_spoofed(&host) >= 15, "{}", packets_spoofed(&host));

    // The proof that these frames would arrive if nobody dropped them, so that this test can fail.
    host.run(|| firewall().remove(TABLE)).unwrap();
    host.ip("link set hv101.0 down");
    host.run(|| std::fs::write("/proc/sys/net/ipv4/conf/hv101.0/rp_filter", "0"))
        .unwrap();
    host.ip("link set hv101.0 up");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !one.ip("link show eth0").contains("state UP") {
        assert!(std::time::Instant::now() < end, "{}", one.ip("link show eth0"));
    }
    for (_, frame) in forbidden(mac, gateway) {
        sender.send(&frame);
    }
    sender.send(&ethernet(mac, gateway, ETHERTYPE_V6, &say6(FOREIGN6, "end")));
    let through = receiver.wait_for("end");
    for text in [
        "foreign source",
        "foreign MAC",
        "DHCP server",
        "DHCP from any port",
        "redirect",
        "router advertisement, IPv4",
        "router solicitation, IPv4",
        "foreign source, IPv6",
        "DHCPv6 server",
        "DHCPv6 from any port",
    ] {
        assert!(through.iter().any(|t| t == text), "{text} not in {through:?}");
    }
}

#[test]
fn a_ve_that_is_not_admitted_reaches_nothing() {
    let Some((host, one, two)) = two_members() else { return };
    assert!(one.reaches("198.51.100.7") && one.reaches("2001:db8:2::7"));
    host.run(|| firewall().expel(TABLE, "hv101.0")).unwrap();
    for target in ["198.51.100.7", "2001:db8:2::7", "169.254.1.1", "fe80::1%eth0"] {
        assert!(!one.ping(target, 1), "{target}");
    }
    assert!(two.reaches("169.254.1.1"), "the other isn't touched");
    // Not even with a foreign MAC, and not for its questions about neighbours.
    let (mac, gateway) = macs(&host);
    let wire = one.run(|| Wire::new("eth0"));
    wire.send(&ethernet(
        mac,
        gateway,
        ETHERTYPE_V6,
        &discovery(LOCAL, GATEWAY, 135, GATEWAY, &[1, 1, 2, 0, 0, 0, 0x65, 0]),
    ));
    host.run(|| firewall().admit(TABLE, &[member(101, &["192.0.2.10", "2001:db8::10"])]))
        .unwrap();
    assert!(one.reaches("2001:db8:2::7"));
    assert!(!host.ip("-6 neigh show dev hv101.0").contains("fe80::77"));
}

#[test]
fn neighbours_are_found_and_found_again() {
    let Some((host, one, _two)) = two_members() else { return };
    host.ip("addr add 2001:db8:1::1/128 dev lo");
    for _ in 0..3 {
        one.ip("neigh flush dev eth0");
        for target in ["169.254.1.1", "198.51.100.7", "2001:db8:2::7", "2001:db8:1::1"] {
            assert!(one.reaches(target), "{target}");
        }
    }
    // With its link-local address the guest may ask and answer, and no more.
    let (mac, gateway) = macs(&host);
    let wire = one.run(|| Wire::new("eth0"));
    let option = [1, 1, 2, 0, 0, 0, 0x65, 0];
    wire.send(&ethernet(
        mac,
        gateway,
        ETHERTYPE_V6,
        &discovery(LOCAL, GATEWAY, 135, GATEWAY, &option),
    ));
    assert!(one.reaches("2001:db8:1::1"));
    assert!(host.ip("-6 neigh show dev hv101.0").contains("fe80::77"));
}

#[test]
fn a_ve_can_not_fill_the_hosts_neighbour_tables() {
    let Some((host, one, _two)) = two_members() else { return };
    let (mac, gateway) = macs(&host);
    // As hosts may have it: then no reverse path filter looks at what is asked by ARP. A prefix is routed to the VE.
    host.ip("route add default dev hv102.0");
    host.ip("route add 203.0.0.0/16 via 192.0.2.10 dev hv101.0 onlink");
    host.set_sysctl("ipv4/conf/all/rp_filter", "2");
    let mut behind = member(101, &["192.0.2.10", "2001:db8::10"]);
    behind.routes = vec!["203.0.0.0/16".parse().unwrap()];
    host.run(|| firewall().admit(TABLE, &[behind])).unwrap();
    let wire = one.run(|| Wire::new("eth0"));
    for n in 0..500_u16 {
        let local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n);
        let option = [&[1, 1][..], &mac].concat();
        wire.send(&ethernet(
            mac,
            gateway,
            ETHERTYPE_V6,
            &discovery(local, GATEWAY, 135, GATEWAY, &option),
        ));
        let global = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 1, n);
        wire.send(&ethernet(
            mac,
            gateway,
            ETHERTYPE_V6,
            &discovery(global, GATEWAY, 135, GATEWAY, &option),
        ));
        let [high, low] = n.to_be_bytes();
        // An ARP question for the gateway: Ethernet, IPv4, request, from 203.0.h.l.
        let arp = [
            &[0, 1, 8, 0, 6, 4, 0, 1][..],
            &mac,
            &[203, 0, high, low],
            &[0; 6],
            &[169, 254, 1, 1],
        ]
        .concat();
        wire.send(&ethernet(mac, gateway, ETHERTYPE_ARP, &arp));
    }
    assert!(one.reaches("2001:db8:2::7"));
    let (v6, v4) = (
        host.ip("-6 neigh show dev hv101.0"),
        host.ip("-4 neigh show dev hv101.0"),
    );
    assert!(v6.lines().count() < 15, "{}", v6.lines().count());
    assert_eq!(v4.lines().count(), 1, "{v4}");
}

#[test]
fn a_ve_can_not_take_the_gateways_or_anothers_place() {
    let Some((host, one, two)) = two_members() else { return };
    let (mac, gateway) = macs(&host);
    let before = (host.ip("neigh show nud permanent"), two.ip("-6 neigh show"));
    let wire = one.run(|| Wire::new("eth0"));
    let option = [2, 1, 2, 0, 0, 0xee, 0xee, 0xee];
    for target in [GATEWAY, OTHER6, OWN6] {
        for from in [OWN6, LOCAL, GATEWAY] {
            for to in [GATEWAY, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)] {
                wire.send(&ethernet(
                    mac,
                    gateway,
                    ETHERTYPE_V6,
                    &discovery(from, to, 136, target, &option),
                ));
            }
        }
    }
    let reply = |ip: [u8; 4]| {
        [
            &[0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0xee, 0xee, 0xee][..],
            &ip,
            &gateway,
            &[169, 254, 1, 1],
        ]
        .concat()
    };
    for ip in [[192, 0, 2, 10], [198, 51, 100, 7], [169, 254, 1, 1]] {
        wire.send(&ethernet(mac, gateway, ETHERTYPE_ARP, &reply(ip)));
    }
    assert!(one.reaches("198.51.100.7") && one.reaches("2001:db8:2::7"));
    assert_eq!(before.0, host.ip("neigh show nud permanent"));
    assert!(!host.ip("neigh show").contains("ee:ee:ee") && !two.ip("neigh show").contains("ee:ee:ee"));
}

/// With a real tool: what one asks in another's name is neither answered nor noted, whatever the reverse path filter is.
#[test]
fn arp_is_asked_in_the_own_name() {
    let Some((host, one, _two)) = two_members() else { return };
    host.ip("route add default dev hv102.0");
    host.set_sysctl("ipv4/conf/all/rp_filter", "2");
    one.set_sysctl("ipv4/ip_nonlocal_bind", "1");
    let asks = |from: &str| {
        let asked = one.output("busybox", &format!("arping -c 1 -w 1 -I eth0 -s {from} 169.254.1.1"));
        asked.status.success()
    };
    assert!(asks("192.0.2.10"));
    let before = spoofed_in_arp(&host);
    for from in ["198.51.100.7", "203.0.113.66", "169.254.1.1"] {
        assert!(!asks(from), "{from}");
    }
    assert!(spoofed_in_arp(&host) >= before + 3);
    assert_eq!(host.ip("-4 neigh show dev hv101.0").lines().count(), 1);
    // It was the rules.
    host.run(|| firewall().remove(TABLE)).unwrap();
    assert!(asks("203.0.113.66") && host.ip("-4 neigh show dev hv101.0").contains("203.0.113.66"));
}

fn spoofed_in_arp(host: &Space) -> u64 {
    let counters = parts(host, "counter");
    let own = counters.iter().find(|c| c["name"] == "spoofed" && c["family"] == "arp");
    own.unwrap()["packets"].as_u64().unwrap()
}

#[test]
fn nothing_slips_through_while_the_table_is_replaced() {
    let Some((host, one, two)) = two_members() else { return };
    let (mac, gateway) = macs(&host);
    let (sender, receiver) = (one.run(|| Wire::new("eth0")), two.run(|| Wire::new("eth0")));
    let spoofed = ethernet(mac, gateway, ETHERTYPE_V4, &say(FOREIGN4, "spoofed"));
    let rules = ruleset(&[member(101, &["192.0.2.10"]), member(102, &["198.51.100.7"])]);
    // Without strict reverse path filtering, so that only the firewall stands in the way.
    host.run(|| std::fs::write("/proc/sys/net/ipv4/conf/hv101.0/rp_filter", "0"))
        .unwrap();
    let done = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut sent = 0_u64;
            while !done.load(Ordering::Relaxed) {
                sender.send(&spoofed);
                sent += 1;
            }
            sent
        });
        for _ in 0..40 {
            host.run(|| firewall().replace(&rules)).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        flood.join().unwrap()
    });
    sender.send(&ethernet(mac, gateway, ETHERTYPE_V4, &say(OWN4, "end")));
    assert_eq!(receiver.wait_for("end"), ["end"], "of {sent} spoofed packets");
    assert!(sent > 1000);
}

#[test]
fn the_kernels_own_way_to_spoof_is_closed_too() {
    let Some((host, one, two)) = two_members() else { return };
    host.ip("addr add 203.0.113.1/32 dev lo");
    one.ip("addr add 203.0.113.66/32 dev eth0");
    assert!(one.reaches("203.0.113.1") && !one.ping("-I 203.0.113.66 203.0.113.1", 1));
    one.ip("link set eth0 address 02:00:00:00:00:99");
    assert!(!one.ping("203.0.113.1", 1));
    assert!(two.reaches("203.0.113.1"));
}
