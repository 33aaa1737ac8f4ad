//! Counters on the real kernel: pings of a known size as witnesses.

use std::collections::BTreeMap;

use hostel_model::definition::HostConfig;
use hostel_model::traffic::{Direction, Reading, Traffic};

use super::{Counted, Counters, Counting, FakeCounters, NftCounters};
use crate::error::Kind;
use crate::firewall::Standing;
use crate::net::testing::{Space, add_ve, host_and_ve, link, network};
use crate::net::{Bridge, Network, OwnBridge, Port};

const TABLE: &str = "hostel_test_traffic";
/// An IPv4 packet of `ping -s 72`; one of IPv6 has 20 more.
const PACKET: u64 = 100;

fn counting(classes: &[(&str, &str)]) -> Counting {
    let class = |(name, prefixes): &(&str, &str)| format!("[[traffic]]\nname = \"{name}\"\nprefixes = [{prefixes}]\n");
    let text: String = classes.iter().map(class).collect();
    Counting {
        table: TABLE.into(),
        prefix: "hv".into(),
        classes: HostConfig::parse("hostel.toml", &text).unwrap().traffic,
        bridged: false,
    }
}

fn counted(id: u32) -> Counted {
    Counted {
        interface: format!("hv{id}.0"),
        port: false,
    }
}

fn ping(from: &Space, target: &str) {
    let output = from.output("ping", &format!("-n -c 1 -W 5 -s 72 {target}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// `out lan 4` and the bytes of it, where there are any.
fn bytes(readings: &[Reading], interface: &str) -> BTreeMap<String, u64> {
    let own = readings
        .iter()
        .filter(|r| r.interface == interface && r.amount.bytes > 0);
    own.map(|r| {
        let v = if r.flow.ipv6 { 6 } else { 4 };
        (format!("{} {} {v}", r.flow.direction, r.flow.class), r.amount.bytes)
    })
    .collect()
}

fn read(host: &Space) -> Vec<Reading> {
    host.run(|| NftCounters::default().read(TABLE, None)).unwrap()
}

#[test]
fn what_passes_is_counted_by_class_way_and_family() {
    let Some((host, one)) = host_and_ve(101, &["192.0.2.10", "2001:db8::10"]) else {
        return;
    };
    let Some(two) = add_ve(&host, 102, &["198.51.100.7", "2001:db8:2::7"]) else {
        return;
    };
    let counting = counting(&[("lan", "\"198.51.100.0/24\", \"2001:db8:2::/64\"")]);
    host.run(|| NftCounters::default().load(&counting, &[counted(101), counted(102)]))
        .unwrap();
    assert_eq!(
        host.run(|| NftCounters::default().standing(&counting)).unwrap(),
        Standing::Current
    );
    ping(&one, "198.51.100.7");
    ping(&one, "2001:db8:2::7");
    ping(&two, "169.254.1.1");
    let readings = read(&host);
    let mut first = bytes(&readings, "hv101.0");
    assert_eq!(first.remove("out lan 4"), Some(PACKET));
    assert_eq!(first.remove("in lan 4"), Some(PACKET));
    assert_eq!(first.remove("out lan 6"), Some(PACKET + 20));
    assert_eq!(first.remove("in lan 6"), Some(PACKET + 20));
    assert_eq!(first.remove("out external 4"), None);
    let second = bytes(&readings, "hv102.0");
    // The first VE's pings come from outside of the class, as the host does.
    assert_eq!(second.get("in external 4"), Some(&(2 * PACKET)));
    assert_eq!(second.get("out external 4"), Some(&(2 * PACKET)));
    assert_eq!(second.get("in lan 4"), None);
    let some = host.run(|| NftCounters::default().read(TABLE, Some(&["hv102.0".to_owned()])));
    let mut expected: Vec<Reading> = readings.into_iter().filter(|r| r.interface == "hv102.0").collect();
    let order = |r: &Reading| (r.flow.clone(), r.interface.clone());
    expected.sort_by_key(order);
    let mut some = some.unwrap();
    some.sort_by_key(order);
    assert_eq!(some, expected);
}

/// Of IPv4: hosts speak IPv6 without being asked.
fn of(traffic: &Traffic, way: Direction) -> u64 {
    let totals = traffic.totals();
    totals
        .iter()
        .filter(|(f, _)| f.direction == way && !f.ipv6)
        .map(|(_, a)| a.bytes)
        .sum()
}

#[test]
fn no_change_of_classes_loses_a_byte() {
    let Some((host, one)) = host_and_ve(101, &["192.0.2.10"]) else {
        return;
    };
    let Some(_two) = add_ve(&host, 102, &["198.51.100.7"]) else {
        return;
    };
    let kernel = NftCounters::default();
    let mut traffic = Traffic::default();
    let mut sent = 0;
    for classes in [
        &[][..],
        &[("lan", "\"198.51.100.0/24\"")],
        &[("far", "\"203.0.113.0/24\""), ("lan", "\"198.51.100.7/32\"")],
        &[("far", "\"203.0.113.0/24\"")],
        &[],
    ] {
        let counting = counting(classes);
        assert_ne!(
            host.run(|| kernel.standing(&counting)).unwrap(),
            Standing::Current,
            "{classes:?}"
        );
        host.run(|| kernel.load(&counting, &[counted(101)])).unwrap();
        assert_eq!(
            host.run(|| kernel.standing(&counting)).unwrap(),
            Standing::Current,
            "{classes:?}"
        );
        ping(&one, "198.51.100.7");
        sent += PACKET;
        // Whoever reads does so now and then.
        host.run(|| kernel.prune(&counting)).unwrap();
        if classes.len() != 1 {
            traffic.take_in(&read(&host));
            assert_eq!(
                (of(&traffic, Direction::Out), of(&traffic, Direction::In)),
                (sent, sent),
                "{classes:?}"
            );
        }
    }
    let names = ["hv101.0".to_owned()];
    host.run(|| kernel.end(TABLE, &names).and_then(|()| kernel.prune(&counting(&[]))))
        .unwrap();
    let sets = host.output("nft", &format!("list table inet {TABLE}"));
    let text = String::from_utf8(sets.stdout).unwrap();
    assert!(!text.contains("lan") && !text.contains("far"), "{text}");
}

#[test]
fn counters_begin_once_and_end() {
    let Some((host, one)) = host_and_ve(101, &["192.0.2.10"]) else {
        return;
    };
    let counting = counting(&[]);
    let kernel = NftCounters::default();
    let absent = host.run(|| kernel.begin(&counting, &[counted(101)])).unwrap_err();
    assert_eq!(absent.kind, Kind::NotFound);
    host.run(|| kernel.end(TABLE, &["hv101.0".into()])).unwrap();
    host.run(|| kernel.load(&counting, &[])).unwrap();
    ping(&one, "169.254.1.1");
    assert_eq!(read(&host), []);
    host.run(|| kernel.begin(&counting, &[counted(101)])).unwrap();
    ping(&one, "169.254.1.1");
    let mark = read(&host)[0].mark.clone();
    assert_eq!(mark.len(), 32);
    host.run(|| kernel.begin(&counting, &[counted(101), counted(102)]))
        .unwrap();
    let readings = read(&host);
    assert_eq!(bytes(&readings, "hv101.0").get("out external 4"), Some(&PACKET));
    let marks = |name: &str| {
        readings
            .iter()
            .filter(|r| r.interface == name)
            .map(|r| r.mark.clone())
            .collect::<Vec<_>>()
    };
    assert!(marks("hv101.0").iter().all(|m| *m == mark));
    assert!(marks("hv102.0").iter().all(|m| *m != mark && m.len() == 32));
    for _ in 0..2 {
        host.run(|| kernel.end(TABLE, &["hv101.0".into()])).unwrap();
        assert!(read(&host).iter().all(|r| r.interface == "hv102.0"));
    }
    host.run(|| kernel.remove(TABLE)).unwrap();
    assert_eq!(read(&host), []);
    host.run(|| kernel.remove(TABLE)).unwrap();
}

#[test]
fn a_change_by_hand_is_seen() {
    let Some(host) = Space::new() else { return };
    let counting = counting(&[("lan", "\"198.51.100.0/24\"")]);
    let kernel = NftCounters::default();
    for change in [
        format!("delete table inet {TABLE}"),
        format!("flush chain inet {TABLE} prerouting"),
        format!("insert rule inet {TABLE} out4 accept"),
    ] {
        host.run(|| kernel.load(&counting, &[counted(101)])).unwrap();
        assert_eq!(host.run(|| kernel.standing(&counting)).unwrap(), Standing::Current);
        assert!(host.output("nft", &change).status.success(), "{change}");
        assert_eq!(
            host.run(|| kernel.standing(&counting)).unwrap(),
            Standing::Broken,
            "{change}"
        );
    }
}

#[test]
fn what_passes_ports_of_bridges_is_counted() {
    let Some(host) = Space::new() else { return };
    let bridge = Bridge {
        name: "brhv-lan".into(),
        own: Some(OwnBridge {
            alias: "hostel network lan".into(),
            mtu: None,
            big_tcp: false,
            addresses: vec!["192.0.2.1/24".parse().unwrap()],
            uplink: None,
        }),
    };
    host.run(|| network().bridge(&bridge)).unwrap();
    let add = |id: u32, address: &str| {
        let ve = Space::new()?;
        let link = crate::net::Link {
            port: Some(Port {
                bridge: "brhv-lan".into(),
                pools: vec!["192.0.2.0/24".parse().unwrap()],
                gateways: Vec::new(),
                any_mac: false,
            }),
            ..link(id, 0, &[address])
        };
        host.run(|| network().attach(ve.fd(), &[link])).unwrap();
        Some(ve)
    };
    let (Some(one), Some(_two)) = (add(101, "192.0.2.10"), add(102, "192.0.2.20")) else {
        return;
    };
    let counting = Counting {
        bridged: true,
        ..counting(&[("host", "\"192.0.2.1/32\"")])
    };
    let port = |id| Counted {
        port: true,
        ..counted(id)
    };
    host.run(|| NftCounters::default().load(&counting, &[port(101), port(102)]))
        .unwrap();
    ping(&one, "192.0.2.20");
    ping(&one, "192.0.2.1");
    let readings = read(&host);
    let own = bytes(&readings, "hv101.0");
    for flow in ["out external 4", "in external 4", "out host 4"] {
        assert_eq!(own.get(flow), Some(&PACKET), "{flow}: {own:?}");
    }
    // A host whose kernel snoops for multicast tells all ports, once or twice, that it is of the group of snoopers: 40 bytes.
    let snooping = own.get("in host 4").map(|bytes| bytes - PACKET);
    assert!(matches!(snooping, Some(0 | 40 | 80)), "{own:?}");
    let other = bytes(&readings, "hv102.0");
    assert_eq!(other.get("in external 4"), Some(&PACKET));
    assert_eq!(other.get("out host 4"), None);
}

#[test]
fn the_fake_does_as_the_kernel_does() {
    let (fake, counting) = (FakeCounters::new(), counting(&[("lan", "\"198.51.100.0/24\"")]));
    assert_eq!(fake.begin(&counting, &[counted(101)]).unwrap_err().kind, Kind::NotFound);
    assert_eq!(fake.standing(&counting).unwrap(), Standing::Broken);
    fake.load(&counting, &[counted(101)]).unwrap();
    fake.pass("hv101.0", "lan", Direction::Out, PACKET);
    fake.load(&counting, &[counted(101)]).unwrap();
    assert_eq!(
        bytes(&fake.read(TABLE, None).unwrap(), "hv101.0").get("out lan 4"),
        Some(&PACKET)
    );
    let fewer = super::Counting {
        classes: Vec::new(),
        ..counting.clone()
    };
    assert_eq!(fake.standing(&fewer).unwrap(), Standing::Outdated);
    fake.load(&fewer, &[]).unwrap();
    fake.prune(&fewer).unwrap();
    assert_eq!(fake.read(TABLE, None).unwrap().len(), 4);
    fake.end(TABLE, &["hv101.0".into()]).unwrap();
    assert_eq!(fake.read(TABLE, None).unwrap(), []);
}
