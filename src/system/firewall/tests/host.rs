//! What VEs reach of the host: ping, names, and what is offered to them.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use hostel_model::definition::AddressRange;
use hostel_model::mac::Mac;

use super::bridge::{on_side, rules, two_ports_with};
use super::nat::neighbour;
use super::*;
use crate::firewall::{Apart, Offer, PortRules};
use crate::net::testing::network;
use crate::net::{Link, Network, Port};

/// Ports that the host listens on, of both protocols.
const LISTENS: [u16; 5] = [22, 53, 123, 8003, 8020];

/// Listens on all of them at these addresses until the test ends. A datagram is answered.
pub(super) fn serve(host: &Space, addresses: &[&str]) -> Vec<TcpListener> {
    let listen = |(address, port): (&str, u16)| {
        let at = SocketAddr::new(address.parse().unwrap(), port);
        let udp = host.run(|| UdpSocket::bind(at).unwrap());
        std::thread::spawn(move || {
            while let Ok((_, peer)) = udp.recv_from(&mut [0; 16]) {
                let _ = udp.send_to(b"!", peer);
            }
        });
        host.run(|| TcpListener::bind(at).unwrap())
    };
    let all = addresses.iter().flat_map(|a| LISTENS.map(|port| (*a, port)));
    all.map(listen).collect()
}

pub(super) fn answers(space: &Space, at: SocketAddr, udp: bool) -> bool {
    let wait = Duration::from_millis(300);
    if !udp {
        return space.run(|| TcpStream::connect_timeout(&at, wait)).is_ok();
    }
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = space.run(|| UdpSocket::bind(any).unwrap());
    socket.set_read_timeout(Some(wait)).unwrap();
    space.run(|| socket.connect(at)).unwrap();
    let _ = socket.send(b"?");
    socket.recv(&mut [0; 16]).is_ok()
}

/// A scan: what answers at one of the host's addresses, all at once.
fn found(space: &Space, at: &str) -> Vec<String> {
    let asks = LISTENS.into_iter().flat_map(|port| [("tcp", port), ("udp", port)]);
    let mut open: Vec<String> = std::thread::scope(|scope| {
        let asks = asks.map(|(word, port)| {
            let address: std::net::IpAddr = at.parse().unwrap();
            let ask = move || answers(space, SocketAddr::new(address, port), word == "udp");
            (format!("{word}/{port}"), scope.spawn(ask))
        });
        let asked: Vec<_> = asks.collect();
        let open = asked
            .into_iter()
            .filter_map(|(what, ask)| ask.join().unwrap().then_some(what));
        open.collect()
    });
    open.sort_unstable();
    open
}

fn offer(pools: &[&str], services: &[&str]) -> Offer {
    Offer {
        pools: pools.iter().map(|p| p.parse().unwrap()).collect(),
        services: services.iter().map(|s| s.parse().unwrap()).collect(),
    }
}

fn unoffered(host: &Space) -> u64 {
    let counters = parts(host, "counter");
    let own = counters.iter().find(|c| c["name"] == "unoffered").unwrap();
    own["packets"].as_u64().unwrap()
}

const NAMES: [&str; 2] = ["tcp/53", "udp/53"];
const OFFERED: [&str; 5] = ["tcp/22", "tcp/53", "tcp/8003", "udp/123", "udp/53"];

#[test]
fn a_scan_of_the_host_finds_what_is_offered() {
    let Some((host, one)) = host_and_ve(101, &["10.9.0.2", "fd09::2"]) else {
        return;
    };
    let (Some(two), Some(outside)) = (add_ve(&host, 102, &["192.0.2.7", "2001:db8::7"]), neighbour(&host)) else {
        return;
    };
    let members = vec![
        member(101, &["10.9.0.2", "fd09::2"]),
        member(102, &["192.0.2.7", "2001:db8::7"]),
    ];
    let mut rules = Ruleset {
        members,
        ..ruleset(&[])
    };
    rules.host.offers = vec![
        offer(
            &["10.9.0.0/24", "fd09::/64"],
            &["tcp/22", "udp/123", "tcp/8000-8010", "tcp/8003"],
        ),
        offer(&["203.0.113.0/24", "2001:db8:f::/64"], &["all"]),
    ];
    host.run(|| firewall().ensure(&rules)).unwrap();
    let addresses = ["169.254.1.1", "203.0.113.1", "2001:db8:f::1"];
    let _listeners = serve(&host, &addresses);
    for at in addresses {
        assert_eq!(found(&one, at), OFFERED, "{at}");
        assert_eq!(found(&two, at), NAMES, "{at}");
        assert!(two.ping(at, 2), "{at}");
    }
    assert!(unoffered(&host) > 0);
    // It isn't the host's own firewall: others are none of its business, and the host reaches VEs.
    assert_eq!(found(&outside, "203.0.113.1").len(), 2 * LISTENS.len());
    let listener = two.run(|| TcpListener::bind("192.0.2.7:7000").unwrap());
    assert!(answers(&host, listener.local_addr().unwrap(), false));
    // All of it, to the networks that it is offered to.
    rules.host.offers = vec![offer(&["192.0.2.0/24", "2001:db8::/64"], &["all", "tcp/1"])];
    host.run(|| firewall().ensure(&rules)).unwrap();
    for at in ["169.254.1.1", "2001:db8:f::1"] {
        assert_eq!(found(&two, at).len(), 2 * LISTENS.len(), "{at}");
        assert_eq!(found(&one, at), NAMES, "{at}");
    }
}

#[test]
fn the_same_on_a_bridge_of_ours() {
    let mut offering = rules();
    offering.nat.inside = vec!["brhv-lan".into()];
    offering.host.offers = vec![offer(
        &["192.0.2.10/32", "2001:db8::10/128"],
        &["tcp/22", "udp/123", "tcp/8000-8010"],
    )];
    let Some((host, one, two)) = two_ports_with(&offering, on_side(7), on_side(7)) else {
        return;
    };
    assert!(one.ping("2001:db8::1", 10) && two.ping("2001:db8::1", 10));
    let _listeners = serve(&host, &["192.0.2.1", "2001:db8::1"]);
    for at in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(found(&one, at), OFFERED, "{at}");
        assert_eq!(found(&two, at), NAMES, "{at}");
    }
}

/// VE 101 + n at 192.0.2.10 + n on the bridge br0, by the hardware address that VEs have.
fn shared_link(n: u32) -> Link {
    let port = Port {
        bridge: "br0".into(),
        pools: vec!["192.0.2.0/24".parse().unwrap()],
        gateways: Vec::new(),
        any_mac: false,
    };
    Link {
        mac: Mac::guest((101 + n).try_into().unwrap(), 0).bytes(),
        port: Some(port),
        ..link(101 + n, 0, &[&format!("192.0.2.{}", 10 + n)])
    }
}

/// What they are in the firewall.
pub(super) fn shared_members(ves: &[PortRules]) -> Vec<Member> {
    let one = |(n, rules): (u32, &PortRules)| Member {
        mac: shared_link(n).mac,
        port: Some(rules.clone()),
        ..member(101 + n, &[&format!("192.0.2.{}", 10 + n)])
    };
    (0..).zip(ves).map(one).collect()
}

/// A bridge of the host's owner, br0 and 192.0.2.1, with VEs and a machine of the LAN, 192.0.2.99. Its tenants are kept
/// apart.
pub(super) fn shared_bridge(rules: &[PortRules]) -> Option<(Space, Vec<Space>, Space)> {
    let (host, machine) = (Space::new()?, Space::new()?);
    host.ip("link add br0 type bridge");
    host.ip("addr add 192.0.2.1/24 dev br0");
    host.ip("link set br0 up");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&machine.fd());
    let netns = format!("/proc/{}/fd/{fd}", std::process::id());
    host.ip(&format!("link add lan0 type veth peer name eth0 netns {netns}"));
    host.ip("link set lan0 master br0 up");
    machine.ip("addr add 192.0.2.99/24 dev eth0");
    machine.ip("link set eth0 up");
    let ves: Vec<Space> = rules.iter().map(|_| Space::new()).collect::<Option<_>>()?;
    let shared = shared_rules();
    host.run(|| {
        network().prepare_host().unwrap();
        firewall().ensure(&shared).unwrap();
        for (n, ve) in (0..).zip(&ves) {
            network().attach(ve.fd(), &[shared_link(n)]).unwrap();
        }
        firewall().admit(TABLE, &shared_members(rules)).unwrap();
    });
    Some((host, ves, machine))
}

/// Of such a bridge, whose tenants are kept apart.
fn shared_rules() -> Ruleset {
    Ruleset {
        bridged: true,
        host: HostSide {
            shared: vec!["br0".into()],
            apart: vec![Apart {
                bridge: "br0".into(),
                pools: vec!["192.0.2.0/24".parse().unwrap()],
                others: ["192.0.2.1", "192.0.2.90-192.0.2.99"]
                    .map(|r| r.parse::<AddressRange>().unwrap())
                    .into(),
                own: false,
            }],
            ..HostSide::default()
        },
        ..ruleset(&[])
    }
}

/// One that its owner has given another hardware address than Hostel makes is known by that.
#[test]
fn a_ve_with_a_hardware_address_of_its_own_is_judged_too() {
    let Some((host, ves, machine)) = shared_bridge(&[on_side(7), on_side(7)]) else {
        return;
    };
    let own = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    let other = Link {
        mac: own,
        ..shared_link(0)
    };
    host.run(|| network().detach(&["hv101.0".into()])).unwrap();
    host.run(|| network().attach(ves[0].fd(), &[other])).unwrap();
    let mut members = shared_members(&[on_side(7), on_side(7)]);
    members[0].mac = own;
    host.run(|| firewall().admit(TABLE, &members)).unwrap();
    assert_eq!(
        host.run(|| firewall().deviating(TABLE, &members)).unwrap(),
        Default::default()
    );
    let _listeners = serve(&host, &["192.0.2.1"]);
    assert!(ves[0].ping("192.0.2.1", 10) && machine.ping("192.0.2.1", 10));
    assert_eq!(found(&ves[0], "192.0.2.1"), NAMES);
    assert_eq!(found(&machine, "192.0.2.1").len(), 2 * LISTENS.len());
    // By way of the host, too: to a bridge whose tenants are kept apart.
    let (far, mut rules) = (Space::new().unwrap(), shared_rules());
    let fd = std::os::fd::AsRawFd::as_raw_fd(&far.fd());
    let netns = format!("/proc/{}/fd/{fd}", std::process::id());
    host.ip("link add br1 type bridge");
    host.ip("addr add 198.51.100.1/24 dev br1");
    host.ip("link set br1 up");
    host.ip(&format!("link add far0 type veth peer name eth0 netns {netns}"));
    host.ip("link set far0 master br1 up");
    far.ip("addr add 198.51.100.10/24 dev eth0");
    far.ip("link set eth0 up");
    far.ip("route add default via 198.51.100.1");
    rules.host.apart[0] = Apart {
        bridge: "br1".into(),
        pools: vec!["198.51.100.0/24".parse().unwrap()],
        others: Vec::new(),
        own: false,
    };
    rules.members = members;
    host.run(|| firewall().ensure(&rules)).unwrap();
    for space in [&ves[0], &ves[1], &machine] {
        space.ip("route replace 198.51.100.0/24 via 192.0.2.1");
    }
    let reach = |space: &Space| space.ping("198.51.100.10", 2);
    assert!(reach(&machine));
    assert_eq!([reach(&ves[0]), reach(&ves[1])], [false; 2]);
    // Somebody takes it away by hand: it is seen, and mended.
    let gone = format!("delete element inet {TABLE} ve_macs {{ 52:54:00:12:34:56 }}");
    assert!(host.output("nft", &gone).status.success());
    let deviating = host.run(|| firewall().deviating(TABLE, &rules.members)).unwrap();
    assert_eq!(Vec::from_iter(deviating), ["hv101.0"]);
    host.run(|| firewall().admit(TABLE, &rules.members)).unwrap();
    assert!(!reach(&ves[0]));
    host.run(|| firewall().expel(TABLE, "hv101.0")).unwrap();
    let left = host.run(|| firewall().deviating(TABLE, &rules.members[1..])).unwrap();
    assert_eq!(left, Default::default());
}

/// Hardware addresses tell one from the other.
#[test]
fn on_a_bridge_with_others_only_ves_are_judged() {
    let Some((host, ves, machine)) = shared_bridge(&[on_side(7)]) else {
        return;
    };
    let _listeners = serve(&host, &["192.0.2.1"]);
    assert!(ves[0].ping("192.0.2.1", 10) && machine.ping("192.0.2.1", 10));
    assert_eq!(found(&machine, "192.0.2.1").len(), 2 * LISTENS.len());
    assert_eq!(found(&ves[0], "192.0.2.1"), NAMES);
}
