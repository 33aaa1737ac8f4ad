//! What is said of networks and addresses.

use clap::{Args as _, FromArgMatches as _};
use hostel_engine::facade::{AddressReport, AddressState, NetworkStatus};
use hostel_model::ipam::Census;

use super::{golden, parse};
use crate::cli::command::address;
use crate::cli::command::network::{attach, count, detach, list::List, show};
use crate::cli::paint::Paint;

fn census(pool: &str, used: u64, aside: u64, left: u64) -> Census {
    Census {
        pool: pool.parse().unwrap(),
        used,
        aside,
        left,
    }
}

fn private() -> NetworkStatus {
    NetworkStatus {
        name: "private".into(),
        problem: None,
        description: Some("private addresses behind the host".into()),
        kind: Some("routed".into()),
        pools: vec![
            census("10.77.0.0/24", 17, 2, 234),
            census("fd77:7c3e:9a51:77::/64", 17, 2, u64::MAX - 20),
        ],
        dns: vec!["9.9.9.9".parse().unwrap(), "2620:fe::fe".parse().unwrap()],
        search: vec!["acme.example".into()],
        masquerade: true,
        mtu: None,
        big_tcp: false,
        proxy: None,
        probe: false,
        host_services: vec!["tcp/22".into(), "udp/123".into()],
        connections: 32768,
        names: Some(hostel_model::definition::Naming::Hosts),
        names_shared: false,
        quarantine: 3600,
        ves: 17,
    }
}

fn broken() -> NetworkStatus {
    NetworkStatus {
        name: "public".into(),
        problem: Some("/etc/hostel/networks/public.toml has mistakes".into()),
        description: None,
        kind: None,
        pools: Vec::new(),
        dns: Vec::new(),
        search: Vec::new(),
        masquerade: false,
        mtu: None,
        big_tcp: false,
        proxy: None,
        probe: false,
        host_services: Vec::new(),
        connections: 32768,
        names: None,
        names_shared: false,
        quarantine: 0,
        ves: 3,
    }
}

fn addresses() -> Vec<AddressState> {
    let used = AddressState {
        address: "10.77.0.2".parse().unwrap(),
        state: "used",
        ve: "web1".into(),
        id: Some(101.try_into().unwrap()),
        interface: Some("hv101.0".into()),
        routed: true,
        admitted: true,
        left: None,
    };
    let stopped = AddressState {
        address: "10.77.0.3".parse().unwrap(),
        ve: "build-runner-of-acme".into(),
        id: Some(102.try_into().unwrap()),
        interface: Some("hv102.0".into()),
        routed: false,
        admitted: false,
        ..used.clone()
    };
    let aside = AddressState {
        address: "fd77:7c3e:9a51:77:aaaa:bbbb:cccc:dddd".parse().unwrap(),
        state: "aside",
        id: None,
        interface: None,
        left: Some(2712),
        ..stopped.clone()
    };
    vec![used, stopped, aside]
}

#[test]
fn tables_at_80_and_200_columns() {
    for width in [80, 200] {
        let all = [private(), broken()];
        let parts = [
            List::default().table(&all),
            show::block(&private()),
            show::pools(&private()),
            show::addresses(&addresses()),
        ];
        let text = parts.map(|t| t.render(Some(width), Paint::OFF)).join("\n");
        assert!(text.lines().all(|l| l.chars().count() <= width), "{text}");
        golden(&format!("tests/golden/cli/network-{width}.txt"), &text);
    }
}

#[test]
fn the_columns_asked_for() {
    let words = ["list", "-H", "-o", "name,pool,left"];
    let command = List::augment_args(clap::Command::new("list"));
    let asked = List::from_arg_matches(&command.get_matches_from(words)).unwrap();
    let text = asked.table(&[private(), broken()]).render(None, Paint::OFF);
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(
        lines,
        [
            ["private", "10.77.0.0/24", "234"],
            ["private", "fd77:7c3e:9a51:77::/64", "~2^64"],
            ["public", "-", "-"]
        ]
    );
    assert!(parse("network list -o nosuch").is_err());
}

#[test]
fn json_of_show() {
    let json = serde_json::to_string_pretty(&show::object(&private(), &addresses())).unwrap();
    golden("tests/golden/cli/network.json", &format!("{json}\n"));
}

#[test]
fn numbers_of_addresses() {
    assert_eq!((count(0).as_str(), count(65_000).as_str()), ("0", "65000"));
    assert_eq!(count(u64::MAX), "~2^64");
}

#[test]
fn what_became_of_an_address() {
    let mut report = AddressReport {
        id: 101.try_into().unwrap(),
        name: "web1".parse().unwrap(),
        interface: Some("eth0".into()),
        network: Some("private".parse().unwrap()),
        addresses: vec!["10.77.0.9".parse().unwrap(), "2001:db8::9".parse().unwrap()],
        changed: true,
        live: true,
    };
    let line = |report: &AddressReport| address::line(report, "added to", address::Nothing::HasIt);
    assert_eq!(line(&report), "web1: 10.77.0.9 and 2001:db8::9 added to eth0");
    report.live = false;
    assert_eq!(
        line(&report),
        "web1: 10.77.0.9 and 2001:db8::9 added to eth0; in force at its next start"
    );
    report.changed = false;
    assert_eq!(line(&report), "web1: has 10.77.0.9 and 2001:db8::9 already");
}

#[test]
fn what_became_of_a_network() {
    let mut report = AddressReport {
        id: 101.try_into().unwrap(),
        name: "web1".parse().unwrap(),
        interface: Some("eth1".into()),
        network: Some("public".parse().unwrap()),
        addresses: vec!["203.0.113.9".parse().unwrap(), "2001:db8::9".parse().unwrap()],
        changed: true,
        live: true,
    };
    let lines = |report: &AddressReport| (attach::line(report), detach::line(report));
    let (on, off) = lines(&report);
    assert_eq!(on, "web1: eth1 is on public with 203.0.113.9 and 2001:db8::9");
    assert_eq!(off, "web1: eth1 with 203.0.113.9 and 2001:db8::9 is off public");
    report.live = false;
    assert!(lines(&report).0.ends_with("; in force at its next start"));
    report.changed = false;
    let (on, off) = lines(&report);
    assert_eq!(
        (on.as_str(), off.as_str()),
        ("web1: is on public already", "web1: is not on public")
    );
    for words in [
        "network attach web1",
        "network attach web1 public --address auto",
        "network detach web1",
    ] {
        assert_eq!(parse(words).expect_err(words).exit_code(), 2, "{words}");
    }
    parse("network attach web1 public --address 203.0.113.9,2001:db8::9 --address 203.0.113.10").unwrap();
}

#[test]
fn addresses_are_checked_at_the_door() {
    for words in [
        "address add web1",
        "address add web1 10.77.0.0/24",
        "address add web1 auto5",
        "address remove web1 auto",
        "address add web1 auto --interface eth0",
    ] {
        assert_eq!(parse(words).expect_err(words).exit_code(), 2, "{words}");
    }
    for words in ["address add web1 auto4", "address rm web1 2001:db8::1", "network ls"] {
        parse(words).unwrap();
    }
}
