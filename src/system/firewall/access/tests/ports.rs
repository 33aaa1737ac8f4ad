//! Ports of bridges: rules, the state of connections, and how many of these a port may have begun.

use std::net::UdpSocket;

use super::*;
use crate::net::testing::network;
use crate::net::{Bridge, Link, Network, OwnBridge, Port};

const LIMIT: u32 = 100;
const FLOOD: u16 = 1000;
/// What others have begun meanwhile.
const REST: u32 = 40;

fn bridged(id: u32, last: u32) -> Link {
    let gateways = ["192.0.2.1", "2001:db8::1"].map(|a| a.parse().unwrap());
    Link {
        port: Some(Port {
            bridge: "brhv-lan".into(),
            pools: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
            gateways: gateways.to_vec(),
            any_mac: false,
        }),
        ..crate::net::testing::link(id, 0, &[&format!("192.0.2.{last}"), &format!("2001:db8::{last}")])
    }
}

/// The rules of a VE with one port.
fn port(n: u32, lines: &str) -> Guard {
    Guard {
        links: Vec::new(),
        ports: vec![format!("hv{n}.0")],
        ..routed(n, lines)
    }
}

/// A host, .1, with a bridge, on which VEs 101 and 102 are, .10 and .11. The one has these rules, loaded by `access`.
fn host_and_ports(access: &NftAccess, guard: &Guard) -> Option<[Space; 3]> {
    let (host, one, two) = (Space::new()?, Space::new()?, Space::new()?);
    if !host.run(|| rules().bears_ports(TABLE)).unwrap() {
        println!("skipped because this kernel has no nf_conntrack_bridge");
        return None;
    }
    let bridge = Bridge {
        name: "brhv-lan".into(),
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
        network().bridge(&bridge).unwrap();
        assert!(access.change(TABLE, &put(std::slice::from_ref(guard))).unwrap());
        network().attach(one.fd(), &[bridged(101, 10)]).unwrap();
        network().attach(two.fd(), &[bridged(102, 11)]).unwrap();
    });
    Some([host, one, two])
}

#[test]
fn ports_of_bridges_have_rules_and_state_too() {
    let web = rule("direction = \"in\"\naction = \"allow\"\nprotocol = \"tcp\"\nports = [80]");
    let guard = port(101, &format!("in = \"deny\"\n{web}"));
    let Some([host, one, two]) = host_and_ports(&rules(), &guard) else {
        return;
    };
    for to in ["192.0.2.11", "2001:db8::11", "192.0.2.1", "2001:db8::1"] {
        assert!(one.ping(to, 5), "{to}: what goes out is answered");
    }
    let servers = [
        "192.0.2.10:80",
        "[2001:db8::10]:80",
        "192.0.2.10:81",
        "[2001:db8::10]:81",
    ];
    let _servers = servers.map(|s| serve(&one, s));
    for from in [&two, &host] {
        drop(reaches(from, servers[0]));
        drop(reaches(from, servers[1]));
        assert!(!connects(from, servers[2]) && !connects(from, servers[3]));
    }
    assert_eq!(packets(&host, &guard, Direction::In, 0), 4);
    assert!(!two.ping("192.0.2.10", 1) && !host.ping("2001:db8::10", 1));
    // The sender's own rules, to a neighbour and to the host.
    let _hosts = serve(&host, "192.0.2.1:80");
    drop(reaches(&two, "192.0.2.1:80"));
    let sender = port(102, "out = \"deny\"");
    assert!(
        host.run(|| rules().change(TABLE, &put(std::slice::from_ref(&sender))))
            .unwrap()
    );
    assert!(!connects(&two, servers[0]) && !connects(&two, servers[1]) && !connects(&two, "192.0.2.1:80"));
    assert!(packets(&host, &sender, Direction::Out, 0) >= 3);
    assert!(one.ping("192.0.2.11", 5), "and answers what it is asked");
}

/// Begins as many connections by UDP as there are ports.
fn flood(space: &Space, to: &str) {
    let any = if to.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = space.run(|| UdpSocket::bind(any).unwrap());
    for port in 0..FLOOD {
        // Some are answered by an error, which the next one tells.
        let _ = socket.send_to(b"?", (to, 20_000 + port));
    }
}

fn tracked(host: &Space) -> u32 {
    host.sysctl("netfilter/nf_conntrack_count").parse().unwrap()
}

fn crowded(host: &Space) -> u64 {
    let told = host.output("nft", &format!("-j list counter bridge {TABLE} crowded"));
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    told["nftables"][1]["counter"]["packets"].as_u64().unwrap()
}

/// Somebody else on the bridge, .20.
fn stranger(host: &Space) -> Option<Space> {
    let space = Space::new()?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&space.fd());
    let netns = format!("/proc/{}/fd/{fd}", std::process::id());
    host.ip(&format!("link add lan0 type veth peer name eth0 netns {netns}"));
    host.ip("link set lan0 master brhv-lan up");
    space.ip("addr add 192.0.2.20/24 dev eth0");
    space.ip("link set eth0 up");
    Some(space)
}

#[test]
fn a_flood_of_one_port_leaves_connections_for_others() {
    let access = NftAccess::new("hv", Some(LIMIT));
    let Some([host, good, evil]) = host_and_ports(&access, &port(101, "in = \"deny\"")) else {
        return;
    };
    host.set_sysctl("netfilter/nf_conntrack_udp_timeout", "600");
    assert!(evil.ping("192.0.2.1", 5) && evil.ping("2001:db8::1", 5));
    // One that is there goes on.
    let server = host.run(|| UdpSocket::bind("192.0.2.1:123").unwrap());
    let socket = evil.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let mut asked = [0; 16];
    for socket in [&server, &socket] {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    let mut goes_on = || {
        socket.send_to(b"?", "192.0.2.1:123").unwrap();
        let (_, from) = server.recv_from(&mut asked).unwrap();
        server.send_to(b"!", from).unwrap();
        socket.recv(&mut asked).unwrap();
    };
    goes_on();
    // What the rules drop takes no place; what goes to the host, to others, and by way of the host does.
    let other = stranger(&host).unwrap();
    assert!(other.ping("192.0.2.1", 5));
    let before = crowded(&host);
    for to in ["192.0.2.1", "2001:db8::1", "192.0.2.20", "192.0.2.10", "203.0.113.1"] {
        flood(&evil, to);
        assert!(tracked(&host) < LIMIT + REST, "{to}: {}", tracked(&host));
    }
    assert!(crowded(&host) > before + 2000, "{}", crowded(&host));
    goes_on();
    assert!(!evil.ping("192.0.2.1", 1));
    // ARP and neighbour discovery are no connections.
    evil.ip("neigh flush dev eth0");
    flood(&evil, "192.0.2.1");
    flood(&evil, "2001:db8::1");
    let known = |to: &str| evil.ip(&format!("neigh show to {to} dev eth0")).contains("lladdr");
    assert!(known("192.0.2.1") && known("2001:db8::1"), "{}", evil.ip("neigh"));
    assert!(good.reaches("192.0.2.20") && host.reaches("192.0.2.20") && other.reaches("192.0.2.11"));
    // Its own counting is no change of somebody's, and stays when there are other rules.
    let sets = host.output("nft", &format!("list set bridge {TABLE} port_connections"));
    assert!(String::from_utf8(sets.stdout).unwrap().contains("hv102.0"));
    assert!(!host.run(|| access.loaded(TABLE)).unwrap().changed_by_hand);
    assert!(
        host.run(|| access.change(TABLE, &put(&[port(102, "in = \"deny\"")])))
            .unwrap()
    );
    assert!(!evil.ping("192.0.2.1", 1));
    // Who is no VE is nobody to count.
    flood(&other, "192.0.2.1");
    assert!(tracked(&host) > u32::from(FLOOD));
}

#[test]
fn another_limit_is_loaded_anew() {
    let (few, many) = (NftAccess::new("hv", Some(LIMIT)), NftAccess::new("hv", Some(100_000)));
    let guard = port(101, "in = \"deny\"");
    let Some([host, _, evil]) = host_and_ports(&few, &guard) else {
        return;
    };
    assert!(evil.ping("192.0.2.1", 5));
    let guards = [guard];
    assert!(!host.run(|| many.change(TABLE, &put(&guards))).unwrap());
    host.run(|| many.replace(TABLE, &guards, &Peers::new())).unwrap();
    assert!(host.run(|| many.change(TABLE, &put(&guards))).unwrap());
    flood(&evil, "192.0.2.1");
    assert!(tracked(&host) > u32::from(FLOOD));
}

/// A transaction of somebody else's.
fn nft(host: &Space, line: &str) {
    let output = host.run(|| std::process::Command::new("nft").arg(line).output().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
}

#[test]
fn each_table_tells_if_the_other_is_gone() {
    let (one, two) = (port(101, "in = \"deny\""), routed(102, "in = \"deny\""));
    let Some([host, ..]) = host_and_ports(&rules(), &one) else {
        return;
    };
    let both = [one, two];
    let change = |change: Change| host.run(|| rules().change(TABLE, &change)).unwrap();
    let by_hand = || host.run(|| rules().loaded(TABLE)).unwrap().changed_by_hand;
    let ends = |n: u32| Change {
        end: vec![ve(n)],
        ..Change::default()
    };
    // Each of them comes and goes by itself, and no mark of before stays.
    for other in [ends(102), ends(101), put(&both[..1]), ends(102), put(&both)] {
        assert!(change(put(&both)) && !by_hand(), "{other:?}");
        assert!(change(other.clone()) && !by_hand(), "{other:?}");
        let chains = String::from_utf8(host.output("nft", "list chains").stdout).unwrap();
        let (tables, marks) = (
            chains.matches("\ntable").count() + 1,
            chains.matches("chain state_").count(),
        );
        assert_eq!(tables, marks, "{other:?}\n{chains}");
    }
    for gone in ["inet", "bridge"] {
        nft(&host, &format!("delete table {gone} {TABLE}"));
        assert!(by_hand() && !change(put(&both)) && !change(ends(101)), "{gone}");
        host.run(|| rules().replace(TABLE, &both, &Peers::new())).unwrap();
        assert!(!by_hand() && change(put(&both)), "{gone}");
    }
    // One that is there, and as it was before the other came.
    assert!(change(ends(102)));
    nft(&host, &format!("add table inet {TABLE}"));
    assert!(by_hand());
    nft(&host, &format!("delete table inet {TABLE}"));
    assert!(!by_hand());
}
