//! Ports of the host that lead to VEs: who gets there, as whom, and who doesn't.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use super::nat::{closed, neighbour};
use super::*;
use crate::firewall::Offer;
use crate::firewall::testing::*;
use crate::net::testing::add_ve;

const WAIT: Duration = Duration::from_secs(3);

fn to_member(id: u32, addresses: &[&str], forwards: &[&str]) -> Member {
    let member = member(id, addresses);
    Member {
        hairpin: member.addresses.clone(),
        forwards: forwards
            .iter()
            .map(|f| (*f).to_owned().try_into().unwrap_or_else(|e| panic!("{e}")))
            .collect(),
        ..member
    }
}

/// Answers whoever comes with its label and who that is, then says everything again.
fn serve(space: &Space, at: &str, label: &'static str) {
    let listener = space.run(|| TcpListener::bind(at).unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let peer = stream.peer_addr()?.ip();
                writeln!(stream, "{label} {peer}")?;
                let mut again = stream.try_clone()?;
                std::io::copy(&mut again, &mut stream)
            });
        }
    });
}

/// The same by UDP: label and peer for each datagram.
fn serve_udp(space: &Space, at: &str, label: &'static str) {
    let socket = space.run(|| UdpSocket::bind(at).unwrap());
    thread::spawn(move || {
        while let Ok((_, peer)) = socket.recv_from(&mut [0; 64]) {
            let _ = socket.send_to(format!("{label} {}", peer.ip()).as_bytes(), peer);
        }
    });
}

fn connect(space: &Space, to: &str) -> Option<(TcpStream, String)> {
    let to: SocketAddr = to.parse().unwrap();
    let mut stream = space.run(|| TcpStream::connect_timeout(&to, WAIT)).ok()?;
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        line.extend(byte);
    }
    let line = String::from_utf8(line).unwrap().trim().to_owned();
    Some((stream, line))
}

/// Who answers there, and whom they see; nothing if nobody does.
fn ask(space: &Space, to: &str) -> String {
    connect(space, to).map(|(_, line)| line).unwrap_or_default()
}

/// The same by UDP; an answer from elsewhere than was asked is none.
fn ask_udp(space: &Space, to: &str) -> String {
    let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = space.run(|| UdpSocket::bind(any).unwrap());
    space.run(|| socket.connect(to)).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    let mut answer = [0; 64];
    // The first may be lost while neighbours are looked for.
    for _ in 0..3 {
        let _ = socket.send(b"?");
        if let Ok(n) = socket.recv(&mut answer) {
            return String::from_utf8_lossy(&answer[..n]).into_owned();
        }
    }
    String::new()
}

const FORWARDS: &[&str] = &[
    "tcp 203.0.113.1:8080 to 10.9.0.2:80",
    "tcp [2001:db8:f::1]:8080 to [fd09::2]:80",
    "tcp :8000-8010 to 10.9.0.2:9000",
    "tcp :8000-8010 to [fd09::2]:9000",
    "udp :5353 to 10.9.0.2:53",
    "udp :5353 to [fd09::2]:53",
];

/// A host with a neighbour, and two VEs behind it of which the first has those forwards and serves.
fn with_forwards() -> Option<(Space, Space, Space, Space)> {
    let (host, one) = host_and_ve(101, &["10.9.0.2", "fd09::2"])?;
    let two = add_ve(&host, 102, &["10.9.0.3", "fd09::3"])?;
    let outside = neighbour(&host)?;
    host.run(|| {
        let mut rules = closed();
        rules.host.offers = vec![Offer {
            pools: vec!["10.9.0.0/24".parse().unwrap()],
            services: vec!["tcp/8003".parse().unwrap()],
        }];
        firewall().ensure(&rules).unwrap();
        let members = [
            to_member(101, &["10.9.0.2", "fd09::2"], FORWARDS),
            member(102, &["10.9.0.3", "fd09::3"]),
        ];
        firewall().admit(TABLE, &members).unwrap();
    });
    for at in ["10.9.0.2:80", "[fd09::2]:80", "10.9.0.2:9003", "[fd09::2]:9010"] {
        serve(&one, at, "one");
    }
    for at in ["10.9.0.2:53", "[fd09::2]:53"] {
        serve_udp(&one, at, "one");
    }
    Some((host, one, two, outside))
}

#[test]
fn a_port_of_the_host_leads_to_a_ve_from_everywhere() {
    let Some((host, one, two, outside)) = with_forwards() else {
        return;
    };
    // Who asks is seen as himself, but the VE by itself, which is seen as the address that it asked.
    for (from, seen4, seen6) in [
        (&outside, "203.0.113.2", "2001:db8:f::2"),
        (&two, "10.9.0.3", "fd09::3"),
        (&host, "203.0.113.1", "2001:db8:f::1"),
        (&one, "203.0.113.1", "2001:db8:f::1"),
    ] {
        for (to, seen) in [
            ("203.0.113.1:8080", seen4),
            ("203.0.113.1:8003", seen4),
            ("[2001:db8:f::1]:8080", seen6),
            ("[2001:db8:f::1]:8010", seen6),
        ] {
            assert_eq!(ask(from, to), format!("one {seen}"), "{to}");
        }
        for (to, seen) in [("203.0.113.1:5353", seen4), ("[2001:db8:f::1]:5353", seen6)] {
            assert_eq!(ask_udp(from, to), format!("one {seen}"), "udp {to}");
        }
    }
    // Nothing else of it: neither directly, nor by another port or protocol.
    for to in [
        "10.9.0.2:80",
        "[fd09::2]:80",
        "203.0.113.1:80",
        "203.0.113.1:8011",
        "203.0.113.1:5353",
    ] {
        assert_eq!(ask(&outside, to), "", "{to}");
    }
}

#[test]
fn what_is_not_for_the_host_goes_where_it_was_sent() {
    let Some((host, one, two, outside)) = with_forwards() else {
        return;
    };
    // Ports of the world are the world's.
    serve(&outside, "203.0.113.2:8080", "world");
    serve(&outside, "203.0.113.2:8003", "world");
    for from in [&one, &two] {
        assert_eq!(ask(from, "203.0.113.2:8080"), "world 203.0.113.1");
        assert_eq!(ask(from, "203.0.113.2:8003"), "world 203.0.113.1");
    }
    // What the host offers to itself and as a gateway stays its own, under a port of all its addresses.
    serve(&host, "127.0.0.1:8003", "host");
    serve(&host, "169.254.1.1:8003", "host");
    assert_eq!(ask(&host, "127.0.0.1:8003"), "host 127.0.0.1");
    assert_eq!(ask(&two, "169.254.1.1:8003"), "host 10.9.0.3");
}

#[test]
fn forwards_come_and_go_and_connections_stay() {
    let Some((host, one, _two, outside)) = with_forwards() else {
        return;
    };
    let (mut stream, line) = connect(&outside, "203.0.113.1:8080").unwrap();
    assert_eq!(line, "one 203.0.113.2");
    let rest = to_member(101, &["10.9.0.2", "fd09::2"], &FORWARDS[1..2]);
    host.run(|| firewall().admit(TABLE, std::slice::from_ref(&rest)))
        .unwrap();
    assert_eq!(ask(&outside, "203.0.113.1:8080"), "");
    assert_eq!(ask_udp(&outside, "203.0.113.1:5353"), "");
    assert_eq!(ask(&outside, "[2001:db8:f::1]:8080"), "one 2001:db8:f::2");
    // The connection goes on.
    stream.write_all(b"still\n").unwrap();
    let mut said = [0; 6];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"still\n");
    // Another VE's in its place, left of one that is gone: the new one has it.
    let mut orphan = to_member(103, &["10.9.0.2"], &FORWARDS[..1]);
    orphan.forwards[0].to = 9003;
    host.run(|| firewall().admit(TABLE, std::slice::from_ref(&orphan)))
        .unwrap();
    assert_eq!(ask(&outside, "203.0.113.1:8080"), "one 203.0.113.2");
    let all = to_member(101, &["10.9.0.2", "fd09::2"], FORWARDS);
    host.run(|| firewall().admit(TABLE, std::slice::from_ref(&all)))
        .unwrap();
    let members = host.run(|| firewall().members(TABLE)).unwrap();
    let of = |id: u32| members.iter().find(|m| m.interface == format!("hv{id}.0")).unwrap();
    assert!(of(103).forwards.is_empty(), "{:?}", of(103));
    let mut expected: Vec<String> = all
        .forwards
        .iter()
        .flat_map(|f| f.singles())
        .map(|f| f.to_string())
        .collect();
    let mut found: Vec<String> = of(101).forwards.iter().map(ToString::to_string).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    drop(one);
    // Its end.
    host.run(|| firewall().expel(TABLE, "hv101.0")).unwrap();
    host.run(|| firewall().expel(TABLE, "hv103.0")).unwrap();
    for map in ["forward4", "forward6", "forward_any4", "forward_any6"] {
        let map = parts(&host, "map").into_iter().find(|m| m["name"] == map).unwrap();
        assert!(map["elem"].is_null(), "{map}");
    }
    assert_eq!((elements(&host, "hairpin4"), elements(&host, "hairpin6")), (0, 0));
}

/// Without our comment it is nobody's: it is told of, goes when it is in the way, and can be removed.
#[test]
fn ports_that_somebody_has_led_elsewhere_by_hand_are_found() {
    let Some(host) = Space::new() else { return };
    let member = to_member(101, &["10.9.0.2", "fd09::2"], FORWARDS);
    host.run(|| {
        firewall().ensure(&closed()).unwrap();
        firewall().admit(TABLE, std::slice::from_ref(&member)).unwrap();
    });
    let strays = || host.run(|| firewall().stray_forwards(TABLE)).unwrap();
    assert!(strays().is_empty());
    let before = host.run(|| firewall().members(TABLE)).unwrap();
    let by_hand = |map: &str, element: &str| {
        let line = format!("add element inet {TABLE} {map} {{ {element} }}");
        let done = host.run(|| std::process::Command::new("nft").arg(&line).output().unwrap());
        assert!(done.status.success(), "{line}: {done:?}");
    };
    by_hand("forward_any4", "tcp . 2222 : 10.9.0.3 . 22");
    by_hand(
        "forward6",
        "2001:db8:f::1 . udp . 53 comment \"somebody's own\" : fd09::3 . 53",
    );
    let mut found = strays();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "2001:db8:f::1 . udp . 53 : fd09::3 . 53 in forward6",
            "tcp . 2222 : 10.9.0.3 . 22 in forward_any4"
        ]
    );
    assert_eq!(host.run(|| firewall().members(TABLE)).unwrap(), before);
    // In the way of one that a record has.
    let more = to_member(102, &["10.9.0.3"], &["tcp :2222 to 10.9.0.3:2222"]);
    host.run(|| firewall().admit(TABLE, std::slice::from_ref(&more)))
        .unwrap();
    assert_eq!(strays().len(), 1);
    host.run(|| firewall().remove_stray_forwards(TABLE)).unwrap();
    assert!(strays().is_empty());
    assert_eq!(host.run(|| firewall().members(TABLE)).unwrap().len(), 2);
}

/// By nft in the whole table, or one by one by netlink: the kernel tells the same of them, and the rules don't grow.
#[test]
fn the_text_and_the_elements_are_the_same() {
    let Some(host) = Space::new() else { return };
    let wide = ["tcp :1-4000 to 10.9.0.2:1", "udp [2001:db8::1]:1-96 to [fd09::2]:1"];
    let member = to_member(101, &["10.9.0.2", "fd09::2"], &wide);
    host.run(|| {
        firewall().ensure(&closed()).unwrap();
        firewall().admit(TABLE, std::slice::from_ref(&member)).unwrap();
    });
    let (by_netlink, rules) = (
        host.run(|| firewall().members(TABLE)).unwrap(),
        parts(&host, "rule").len(),
    );
    assert_eq!(by_netlink[0].forwards.len(), 4096);
    let whole = Ruleset {
        members: vec![member.clone()],
        ..closed()
    };
    host.run(|| firewall().replace(&whole)).unwrap();
    assert_eq!(host.run(|| firewall().members(TABLE)).unwrap(), by_netlink);
    assert_eq!(parts(&host, "rule").len(), rules);
    // Nothing to be done: it is as it should be.
    assert!(!host.run(|| firewall().ensure(&whole)).unwrap());
    // One that leads to an address of somebody else is a mistake.
    let wrong = to_member(102, &["10.9.0.3"], &["tcp :80 to 10.9.0.2:80"]);
    let said = host.run(|| firewall().admit(TABLE, &[wrong])).unwrap_err();
    assert!(said.to_string().contains("tcp :80 to 10.9.0.2:80"), "{said}");
}

/// With root inside, a VE sends to a port that leads to another: in its own name or not at all.
#[test]
fn nobody_speaks_for_others_by_a_forward() {
    let Some((host, one, two, outside)) = with_forwards() else {
        return;
    };
    assert_eq!(ask_udp(&two, "203.0.113.1:5353"), "one 10.9.0.3");
    let (heard, at_outside) = (one.run(|| Wire::new("eth0")), outside.run(|| Wire::new("up1")));
    let evil = two.run(|| Wire::new("eth0"));
    let gateway = host.ip_json("link show hv102.0")[0]["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut to = [0; 6];
    for (byte, text) in to.iter_mut().zip(gateway.split(':')) {
        *byte = u8::from_str_radix(text, 16).unwrap();
    }
    let target: Ipv4Addr = "203.0.113.1".parse().unwrap();
    let send = |from: &str, to_address: Ipv4Addr, source: u16, port: u16, text: &str| {
        let packet = ipv4(from.parse().unwrap(), to_address, 17, &udp(source, port, &marked(text)));
        evil.send(&ethernet([2, 0, 0, 0, 102, 0], to, ETHERTYPE_V4, &packet));
    };
    let spoofed = packets_spoofed(&host);
    for from in [
        "10.9.0.99",
        "10.9.0.2",
        "203.0.113.2",
        "203.0.113.1",
        "127.0.0.1",
        "169.254.1.1",
    ] {
        send(from, target, 1000, 5353, &format!("as {from}"));
    }
    // As the VE's answer to somebody who asked it by the forward.
    assert_eq!(ask_udp(&outside, "203.0.113.1:5353"), "one 203.0.113.2");
    send("10.9.0.2", "203.0.113.2".parse().unwrap(), 53, 1000, "answer");
    assert_eq!(packets_spoofed(&host), spoofed + 7);
    send("10.9.0.3", target, 1000, 5353, "honest");
    assert_eq!(heard.wait_for("honest"), ["honest"]);
    assert_eq!(at_outside.drain(), Vec::<String>::new());
}

/// On a bridge whose gateway the host is, a neighbour's answer would go past the host.
#[test]
fn neighbours_on_a_bridge_reach_each_other_by_a_forward() {
    let Some((host, one, two)) = super::bridge::two_ports_of_the_host() else {
        return;
    };
    let Some(outside) = neighbour(&host) else { return };
    let forwards = [
        "tcp 203.0.113.1:80 to 192.0.2.10:80",
        "tcp :80 to [2001:db8::10]:80",
        "udp :53 to 192.0.2.10:53",
    ];
    let forwards = forwards[..].iter().map(|f| (*f).to_owned().try_into().unwrap());
    let [first, second] = super::bridge::their_members();
    let first = Member {
        forwards: forwards.collect(),
        ..first
    };
    host.run(|| firewall().admit(TABLE, &[first, second])).unwrap();
    // Until the addresses on the bridge have been found to be nobody else's.
    assert!(one.ping("2001:db8::1", 10) && two.ping("2001:db8::1", 10) && host.ping("2001:db8::10", 10));
    serve(&one, "192.0.2.10:80", "one");
    serve(&one, "[2001:db8::10]:80", "one");
    serve_udp(&one, "192.0.2.10:53", "one");
    for (from, seen4, seen6) in [
        (&outside, "203.0.113.2", "2001:db8:f::2"),
        (&host, "203.0.113.1", "2001:db8:f::1"),
        (&two, "203.0.113.1", "2001:db8:f::1"),
        (&one, "203.0.113.1", "2001:db8:f::1"),
    ] {
        assert_eq!(ask(from, "203.0.113.1:80"), format!("one {seen4}"));
        assert_eq!(ask_udp(from, "203.0.113.1:53"), format!("one {seen4}"));
        assert_eq!(ask(from, "[2001:db8:f::1]:80"), format!("one {seen6}"));
    }
}
