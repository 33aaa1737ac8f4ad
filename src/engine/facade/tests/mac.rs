//! Hardware addresses that a definition names.

use super::*;
use crate::testing::{again, fakes, host, order, started, with_ve};

const OWN: &str = "0a:00:00:00:00:05";
const OTHER: &str = "0a:00:00:00:00:06";

fn with(mac: &str) -> [(&str, &str); 2] {
    [("network.0.network", "private"), ("network.0.mac", mac)]
}

/// Host's end, end inside and hardware address of each link there is.
fn links(host: &Host) -> Vec<String> {
    let text = |l: hostel_system::net::Link| {
        let mac = hostel_system::net::check::mac_text(l.mac);
        format!("{} {} {mac}", l.host_name, l.guest_name)
    };
    fakes(host).network.links().into_iter().map(text).collect()
}

/// Value and source of a setting.
fn shown(host: &Arc<Host>, key: &str) -> Option<(String, String)> {
    let mut all = engine(host).show(&web1()).unwrap().into_iter();
    all.find(|s| s.key == key).map(|s| (s.value, s.source))
}

#[test]
fn it_is_the_interfaces_own_and_its_number_stays() {
    let host = host().make();
    with_ve(&host, &with(OWN));
    started(&host);
    let lan = "public".parse().unwrap();
    engine(&host).attach_network(&web1(), &lan, &[], &Silent).unwrap();
    let both = ["hv101.0 eth0 0a:00:00:00:00:05", "hv101.1 eth1 02:68:00:00:65:01"];
    assert_eq!(links(&host), both);
    assert_eq!(host.members().unwrap()[0].mac, [10, 0, 0, 0, 0, 5]);
    let (value, source) = shown(&host, "network.0.mac").unwrap();
    assert!(value == OWN && source.ends_with("web1.toml"), "{value} {source}");
    assert_eq!(shown(&host, "network.1.mac").unwrap().1, "allocated");
    // An earlier Hostel would take the last byte for its number: it is told that it can't read this.
    let record = std::fs::read_to_string(host.dirs.ve(id(101)).join("state.toml")).unwrap();
    assert!(record.contains("version = 2"), "{record}");
    assert_eq!(again(&host).state(id(101)).unwrap().numbers(), [0, 1]);
    act(&host, &Action::Stop { timeout: None }).unwrap();
    assert!(links(&host).is_empty());
    engine(&host)
        .set(&web1(), &[("network.0.mac".into(), String::new())], false, &Silent)
        .unwrap();
    started(&host);
    assert_eq!(links(&host)[0], "hv101.0 eth0 02:68:00:00:65:00");
    let record = std::fs::read_to_string(host.dirs.ve(id(101)).join("state.toml")).unwrap();
    assert!(record.contains("version = 1"), "{record}");
}

#[test]
fn in_a_ve_that_runs_it_waits_for_a_start() {
    let host = host().make();
    with_ve(&host, &with(OWN));
    started(&host);
    let change = [("network.0.mac".to_owned(), OTHER.to_owned())];
    let report = engine(&host).set(&web1(), &change, false, &Silent).unwrap();
    assert_eq!((report.applied.len(), report.waiting.len()), (0, 1), "{report:?}");
    assert_eq!(links(&host), ["hv101.0 eth0 0a:00:00:00:00:05"]);
    assert_eq!(shown(&host, "network.0.mac.now").unwrap().0, OWN);
    act(&host, &Action::Stop { timeout: None }).unwrap();
    started(&host);
    assert_eq!(links(&host), ["hv101.0 eth0 0a:00:00:00:00:06"]);
    assert_eq!(shown(&host, "network.0.mac.now"), None);
}

#[test]
fn it_is_nobody_elses_and_of_no_group() {
    let host = host().make();
    with_ve(&host, &with(OWN));
    refused(&host, Class::Refused, "taken", |e| {
        e.create(&order("web2", &with(OWN)), &Silent)
    });
    // Nor by hand.
    engine(&host).create(&order("web2", &with(OTHER)), &Silent).unwrap();
    let file = host.dirs.definition(&"web2".parse().unwrap());
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(OTHER, OWN)).unwrap();
    let error = refused(&host, Class::Refused, "taken", |e| e.act(id(102), &start(), &Silent));
    assert!(crate::error::chain(&error).contains("\"web1\" has it"), "{error:?}");
    engine(&host)
        .act(id(102), &Action::Destroy { force: false }, &Silent)
        .unwrap();
    // The one that comes from another VE's id.
    engine(&host).create(&order("web2", &[]), &Silent).unwrap();
    refused(&host, Class::Refused, "derived", |e| {
        e.create(&order("web3", &with("02:68:00:00:66:00")), &Silent)
    });
    for bad in [
        "01:00:5e:00:00:01",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        "02:68:10:00:65:00",
        "0a:00:00:00:00",
    ] {
        refused(&host, Class::Usage, bad, |e| {
            e.create(&order("web3", &with(bad)), &Silent)
        });
    }
}
