//! One VE can't use up what the kernel has for the connections of all.

use std::net::UdpSocket;
use std::time::Duration;

use super::bridge::{on_side, rules, two_ports_with};
use super::host::{answers, serve};
use super::nat::neighbour;
use super::*;
use crate::firewall::usual_connections;

const LIMIT: u32 = 100;
const FLOOD: u16 = 1500;
/// What others have begun meanwhile.
const REST: u32 = 40;

/// Begins as many connections by UDP as there are ports.
fn flood(space: &Space, to: &str) {
    let any = if to.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = space.run(|| UdpSocket::bind(any).unwrap());
    for port in 0..FLOOD {
        let _ = socket.send_to(b"?", (to, 20_000 + port));
    }
}

fn tracked(host: &Space) -> u32 {
    host.sysctl("netfilter/nf_conntrack_count").parse().unwrap()
}

fn crowded(host: &Space) -> u64 {
    let counters = parts(host, "counter");
    let own = counters.iter().find(|c| c["name"] == "crowded").unwrap();
    own["packets"].as_u64().unwrap()
}

#[test]
fn a_flood_of_one_leaves_connections_for_others() {
    let Some((host, evil)) = host_and_ve(101, &["10.9.0.2", "fd09::2"]) else {
        return;
    };
    let (Some(good), Some(outside)) = (add_ve(&host, 102, &["10.9.0.3", "fd09::3"]), neighbour(&host)) else {
        return;
    };
    let mut limited = ruleset(&[
        member(101, &["10.9.0.2", "fd09::2"]),
        member(102, &["10.9.0.3", "fd09::3"]),
    ]);
    limited.host.connections = LIMIT;
    host.run(|| firewall().ensure(&limited)).unwrap();
    // One that is there goes on.
    let _served = serve(&outside, &["203.0.113.2"]);
    let socket = evil.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    evil.run(|| socket.connect("203.0.113.2:123")).unwrap();
    let goes_on = || {
        socket.send(b"?").unwrap();
        socket.recv(&mut [0; 16]).is_ok()
    };
    assert!(goes_on());
    for to in ["203.0.113.2", "2001:db8:f::2", "169.254.1.1", "10.9.0.3"] {
        flood(&evil, to);
        assert!(tracked(&host) < LIMIT + REST, "{to}: {}", tracked(&host));
    }
    assert!(crowded(&host) > 3000, "{}", crowded(&host));
    assert!(goes_on());
    let server = "203.0.113.2:123".parse().unwrap();
    assert!(!answers(&evil, server, true));
    assert!(answers(&good, server, true) && good.reaches("203.0.113.2") && host.reaches("10.9.0.2"));
    // Without the limit it would have had them all.
    limited.host.connections = usual_connections(None);
    host.run(|| firewall().ensure(&limited)).unwrap();
    flood(&evil, "203.0.113.2");
    assert!(tracked(&host) > u32::from(FLOOD));
}

/// Answers to what nobody has asked.
#[test]
fn what_is_of_no_connection_makes_the_host_look_for_nobody() {
    let Some((host, evil)) = host_and_ve(101, &["10.9.0.2"]) else {
        return;
    };
    let Some(_outside) = neighbour(&host) else { return };
    host.run(|| firewall().ensure(&ruleset(&[member(101, &["10.9.0.2"])])))
        .unwrap();
    let icmp = Some(rustix::net::ipproto::ICMP);
    let raw = evil.run(|| rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::RAW, icmp));
    let socket = UdpSocket::from(raw.unwrap());
    let sought = || {
        host.ip("neigh show")
            .lines()
            .filter(|l| l.starts_with("203.0.113.1"))
            .count()
    };
    let send = |kind: u8, checksum: u8| {
        for n in 100..200 {
            // Type, code, checksum; the rest is zero.
            socket
                .send_to(&[kind, 0, checksum, 0xff, 0, 0, 0, 0], format!("203.0.113.{n}:0"))
                .unwrap();
        }
    };
    send(0, 0xff);
    assert_eq!(sought(), 0);
    // Questions are connections, of which it may have some.
    send(8, 0xf7);
    assert_eq!(sought(), 100);
}

#[test]
fn ports_of_a_bridge_are_told_apart() {
    let mut limited = rules();
    limited.nat.inside = vec!["brhv-lan".into()];
    limited.host.connections = LIMIT;
    let Some((host, evil, good)) = two_ports_with(&limited, on_side(7), on_side(7)) else {
        return;
    };
    let Some(outside) = neighbour(&host) else { return };
    outside.ip("route add 192.0.2.0/24 via 203.0.113.1");
    assert!(good.ping("203.0.113.2", 5) && evil.ping("203.0.113.2", 5));
    flood(&evil, "203.0.113.2");
    flood(&evil, "192.0.2.1");
    assert!(tracked(&host) < LIMIT + REST, "{}", tracked(&host));
    assert!(good.reaches("203.0.113.2") && !evil.ping("203.0.113.2", 1));
}

#[test]
fn a_share_is_left_for_others() {
    for (all, each) in [
        (None, 32_768),
        (Some(262_144), 32_768),
        (Some(65_536), 8192),
        (Some(4), 1),
    ] {
        assert_eq!(usual_connections(all), each);
    }
}
