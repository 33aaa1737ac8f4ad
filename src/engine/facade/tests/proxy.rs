//! What the host answers for on behalf of VEs, and what their neighbours are told.

use std::net::IpAddr;

use hostel_model::request::Wanted;

use super::*;
use crate::testing::{Builder, fakes, host, order, started, with_ve};

/// Its addresses belong to the subnet of the host's eth0.
fn on_the_lan() -> Builder {
    let near = "kind = \"routed\"\npools = [\"10.77.0.0/24\", \"fd77::/64\"]\nproxy = \"eth0\"\n";
    host().file("networks/private.toml", near)
}

fn answered(host: &Arc<Host>) -> Vec<String> {
    let all = fakes(host).network.proxies().into_iter();
    all.map(|p| format!("{} {}", p.uplink, p.address)).collect()
}

fn announced(host: &Arc<Host>) -> Vec<String> {
    let all = fakes(host).network.announced().into_iter();
    all.map(|a| a.to_string()).collect()
}

#[test]
fn it_comes_and_goes_with_the_addresses_of_a_ve_that_runs() {
    let host = on_the_lan().make();
    with_ve(&host, &[]);
    assert!(answered(&host).is_empty());
    started(&host);
    assert_eq!(answered(&host), ["eth0 10.77.0.2", "eth0 fd77::2"]);
    assert_eq!(announced(&host), ["10.77.0.2", "fd77::2"]);
    let nine: IpAddr = "10.77.0.9".parse().unwrap();
    engine(&host)
        .add_address(&web1(), Wanted::One(nine), None, &Silent)
        .unwrap();
    assert_eq!(answered(&host).len(), 3);
    // Only what is new is told.
    assert_eq!(announced(&host), ["10.77.0.9"]);
    engine(&host)
        .remove_address(&web1(), "10.77.0.2".parse().unwrap(), &Silent)
        .unwrap();
    assert_eq!(answered(&host), ["eth0 10.77.0.9", "eth0 fd77::2"]);
    act(&host, &Action::Suspend { timeout: None }).unwrap();
    assert!(answered(&host).is_empty() && announced(&host).is_empty());
    act(&host, &Action::Resume).unwrap();
    assert_eq!(answered(&host), ["eth0 10.77.0.9", "eth0 fd77::2"]);
    assert_eq!(announced(&host), ["fd77::2", "10.77.0.9"]);
    engine(&host)
        .detach_network(&web1(), &"private".parse().unwrap(), &Silent)
        .unwrap();
    assert!(answered(&host).is_empty());
    engine(&host)
        .attach_network(&web1(), &"private".parse().unwrap(), &[nine], &Silent)
        .unwrap();
    assert_eq!(
        (answered(&host), announced(&host)),
        (vec!["eth0 10.77.0.9".to_owned()], vec!["10.77.0.9".to_owned()])
    );
    act(&host, &Action::Stop { timeout: None }).unwrap();
    assert!(answered(&host).is_empty());
}

#[test]
fn what_somebody_else_on_the_lan_has_is_refused() {
    let host = on_the_lan().make();
    with_ve(&host, &[]);
    let lan = &fakes(&host).network;
    lan.add_neighbour("10.77.0.2".parse().unwrap(), [2, 0, 0, 0, 0, 7]);
    lan.add_neighbour("10.77.0.9".parse().unwrap(), [2, 0, 0, 0, 0, 9]);
    let error = act(&host, &start()).unwrap_err();
    assert_eq!(error.class, Class::Refused, "{error:?}");
    assert!(
        crate::error::chain(&error).contains("10.77.0.2 is at 02:00:00:00:00:07"),
        "{error:?}"
    );
    // With another address it starts; and none comes to it that is another's.
    let ten: IpAddr = "10.77.0.10".parse().unwrap();
    engine(&host)
        .add_address(&web1(), Wanted::One(ten), None, &Silent)
        .unwrap();
    engine(&host)
        .remove_address(&web1(), "10.77.0.2".parse().unwrap(), &Silent)
        .unwrap();
    started(&host);
    refused(&host, Class::Refused, "another's", |e| {
        e.add_address(&web1(), Wanted::One("10.77.0.9".parse().unwrap()), None, &Silent)
    });
    // What it has itself is no reason, and nobody is asked who isn't to be.
    act(&host, &Action::Stop { timeout: None }).unwrap();
    started(&host);
    let silent = "kind = \"routed\"\npools = [\"10.77.0.0/24\", \"fd77::/64\"]\nproxy = \"eth0\"\nprobe = false\n";
    std::fs::write(host.dirs.definitions("networks").join("private.toml"), silent).unwrap();
    engine(&host)
        .add_address(&web1(), Wanted::One("10.77.0.9".parse().unwrap()), None, &Silent)
        .unwrap();
}

/// Another host's VE of the same id has the same hardware address.
#[test]
fn who_has_the_hardware_address_as_well_is_somebody_else_until_the_ve_is_there() {
    let host = host().make();
    let lan = "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\nbridge = \"br0\"\n";
    std::fs::write(host.dirs.definitions("networks").join("lan.toml"), lan).unwrap();
    fakes(&host).network.add_foreign_bridge("br0");
    with_ve(
        &host,
        &[("network.0.network", "lan"), ("network.0.addresses", "10.88.0.2")],
    );
    let two: IpAddr = "10.88.0.2".parse().unwrap();
    let mac = host.state(id(101)).unwrap().interfaces[0].mac.bytes();
    fakes(&host).network.add_neighbour(two, mac);
    let error = act(&host, &start()).unwrap_err();
    let said = crate::error::chain(&error);
    assert!(
        error.class == Class::Refused && said.contains("the hardware address of this VE, too"),
        "{said}"
    );
    assert!(error.hints[0].contains("same id"), "{error:?}");
    fakes(&host).network.remove_neighbour(two);
    started(&host);
    // What answers by it now is the VE itself.
    let three: IpAddr = "10.88.0.3".parse().unwrap();
    fakes(&host).network.add_neighbour(three, mac);
    engine(&host)
        .add_address(&web1(), Wanted::One(three), None, &Silent)
        .unwrap();
}

#[test]
fn auto_passes_over_what_somebody_on_the_lan_has() {
    let host = on_the_lan().make();
    let lan = &fakes(&host).network;
    let taken = |last: std::ops::RangeInclusive<u8>| {
        for n in last {
            lan.add_neighbour(IpAddr::from([10, 77, 0, n]), [2, 0, 0, 0, 0, n]);
        }
    };
    taken(2..=20);
    lan.add_neighbour("fd77::2".parse().unwrap(), [2, 0, 0, 0, 0, 7]);
    with_ve(&host, &[]);
    let has = |n: u32| -> Vec<String> {
        let state = host.state(id(n)).unwrap();
        state.addresses().map(|a| a.to_string()).collect()
    };
    assert_eq!(has(101), ["10.77.0.21", "fd77::3"]);
    let asked = lan.calls().iter().filter(|c| c.starts_with("probe")).count();
    assert_eq!(asked, 2, "16 at once");
    started(&host);
    taken(22..=30);
    let auto = Wanted::Auto(Some(hostel_model::ipam::Family::V4));
    engine(&host).add_address(&web1(), auto, None, &Silent).unwrap();
    assert!(has(101).contains(&"10.77.0.31".to_owned()), "{:?}", has(101));
    // A router that answers for all.
    taken(2..=254);
    let error = refused(&host, Class::Limit, "all are taken", |e| {
        e.create(&order("web2", &[]), &Silent)
    });
    assert!(
        crate::error::chain(&error).contains("64 that are free here"),
        "{error:?}"
    );
    let silent = "kind = \"routed\"\npools = [\"10.77.0.0/24\", \"fd77::/64\"]\nproxy = \"eth0\"\nprobe = false\n";
    std::fs::write(host.dirs.definitions("networks").join("private.toml"), silent).unwrap();
    engine(&host).create(&order("web2", &[]), &Silent).unwrap();
    assert_eq!(has(102)[0], "10.77.0.2");
}

#[test]
fn a_suspended_ve_whose_address_is_anothers_by_now_is_refused_and_kept() {
    let host = on_the_lan().make();
    with_ve(&host, &[]);
    started(&host);
    act(&host, &Action::Suspend { timeout: None }).unwrap();
    let two: IpAddr = "10.77.0.2".parse().unwrap();
    fakes(&host).network.add_neighbour(two, [2, 0, 0, 0, 0, 7]);
    let error = refused(&host, Class::Refused, "another's", |e| {
        e.act(id(101), &Action::Resume, &Silent)
    });
    let said = crate::error::chain(&error);
    assert!(
        said.contains("web1") && said.contains("10.77.0.2 is at 02:00:00:00:00:07"),
        "{said}"
    );
    assert!(error.hints[0].contains("stays suspended"), "{error:?}");
    fakes(&host).network.remove_neighbour(two);
    act(&host, &Action::Resume).unwrap();
    assert_eq!(engine(&host).status(&web1()).unwrap().state, "running");
}

/// It is a help to others, and nothing that a start should fail for.
#[test]
fn neighbours_that_can_not_be_told_keep_nobody_from_starting() {
    let host = on_the_lan().make();
    with_ve(&host, &[]);
    fakes(&host).network.fail_method(Some("announce"));
    let heard = Heard::default();
    let start = start();
    engine(&host).act(id(101), &start, &heard).unwrap();
    assert!(
        heard.notes().iter().any(|n| n.contains("neighbours")),
        "{:?}",
        heard.notes()
    );
}

#[test]
fn what_is_left_over_and_what_is_missing_is_found_and_mended() {
    let host = on_the_lan().make();
    with_ve(&host, &[]);
    started(&host);
    let right = answered(&host);
    let audit = |fix: bool| {
        let found = engine(&host).audit(fix).unwrap();
        let text = |o: &super::super::Orphan| (o.kind.clone(), o.object.clone(), o.fixed);
        found
            .iter()
            .filter(|o| o.kind == "proxy entry")
            .map(text)
            .collect::<Vec<_>>()
    };
    assert!(audit(false).is_empty());
    host.network.proxy("eth0", &["10.77.0.99".parse().unwrap()]).unwrap();
    let entry = |object: &str, fixed| ("proxy entry".to_owned(), object.to_owned(), fixed);
    assert_eq!(audit(false), [entry("10.77.0.99 on eth0", false)]);
    assert_eq!(audit(true), [entry("10.77.0.99 on eth0", true)]);
    // eth0 was down for a moment.
    fakes(&host).network.lose_proxies();
    assert_eq!(
        audit(true),
        [entry("10.77.0.2 on eth0", true), entry("fd77::2 on eth0", true)]
    );
    assert_eq!(answered(&host), right);
    assert!(audit(false).is_empty());
}
