//! Networks that a VE comes onto and off: at once, all or nothing, and none of its other interfaces is disturbed.

use std::net::IpAddr;

use super::*;
use crate::facade::AddressReport;
use crate::testing::{fakes, host, started, with_ve};

fn attach(host: &Arc<Host>, network: &str, addresses: &[&str]) -> Result<AddressReport> {
    let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
    engine(host).attach_network(&web1(), &network.parse().unwrap(), &addresses, &Silent)
}

fn detach(host: &Arc<Host>, network: &str) -> Result<AddressReport> {
    engine(host).detach_network(&web1(), &network.parse().unwrap(), &Silent)
}

/// Host's end, end inside and addresses of what VE 101 has, and the interfaces that the firewall lets pass.
fn laid(host: &Arc<Host>) -> (Vec<String>, Vec<String>) {
    let links = fakes(host).network.links().into_iter();
    let text = |l: hostel_system::net::Link| {
        let addresses: Vec<String> = l.addresses.iter().map(ToString::to_string).collect();
        format!("{} {} {}", l.host_name, l.guest_name, addresses.join(","))
    };
    let members = host.firewall.members(host.config.nft_table.as_str()).unwrap();
    let admitted = members.into_iter().map(|m| m.interface);
    (links.map(text).collect(), admitted.collect())
}

fn numbers(host: &Arc<Host>) -> Vec<(String, usize)> {
    let state = host.state(id(101)).unwrap();
    assert_eq!(state.former, None);
    let of = |i: &crate::ve::record::InterfaceState| (i.network.to_string(), i.number());
    state.interfaces.iter().map(of).collect()
}

#[test]
fn a_network_comes_and_the_first_one_goes_in_a_ve_that_runs() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let done = attach(&host, "public", &["203.0.113.9", "2001:db8::9"]).unwrap();
    assert!(done.changed && done.live, "{done:?}");
    assert_eq!((done.interface.as_deref(), done.addresses.len()), (Some("eth1"), 2));
    let both = ["hv101.0 eth0 10.77.0.2", "hv101.1 eth1 203.0.113.9,2001:db8::9"];
    assert_eq!(laid(&host).0, both);
    assert_eq!(laid(&host).1, ["hv101.0", "hv101.1"]);
    assert!(
        definition(&host).contains("network = \"public\""),
        "{}",
        definition(&host)
    );
    // Twice is once; with an address that it hasn't there it is a mistake.
    let before = inventory(&host);
    assert!(!attach(&host, "public", &["203.0.113.9"]).unwrap().changed);
    assert_eq!(inventory(&host), before);
    refused(&host, Class::Refused, "another address", |e| {
        e.attach_network(
            &web1(),
            &"public".parse().unwrap(),
            &["203.0.113.10".parse().unwrap()],
            &Silent,
        )
    });

    let done = detach(&host, "private").unwrap();
    assert_eq!((done.interface.as_deref(), done.changed), (Some("eth0"), true));
    assert_eq!(laid(&host), (vec![both[1].to_owned()], vec!["hv101.1".to_owned()]));
    assert!(!detach(&host, "private").unwrap().changed);
    // Its address is aside, and its number free; that of the other stays, also after a start.
    act(&host, &Action::Stop { timeout: None }).unwrap();
    assert_eq!(laid(&host), (vec![], vec![]));
    started(&host);
    assert_eq!(laid(&host).0, [both[1]]);
    let done = attach(&host, "private", &[]).unwrap();
    assert_eq!(done.addresses, ["10.77.0.3".parse::<IpAddr>().unwrap()]);
    assert_eq!(numbers(&host), [("public".to_owned(), 1), ("private".to_owned(), 0)]);
    // A new one on an address by its number.
    let wanted = "10.77.0.9".parse().unwrap();
    let done = engine(&host).add_address(&web1(), wanted, Some(0), &Silent).unwrap();
    assert_eq!(done.network.unwrap().as_str(), "private");
    // The last one may go, too.
    detach(&host, "public").unwrap();
    detach(&host, "private").unwrap();
    assert_eq!(laid(&host), (vec![], vec![]));
    act(&host, &Action::Stop { timeout: None }).unwrap();
}

#[test]
fn a_stopped_ves_networks_change_and_wait_for_its_start() {
    let host = host().make();
    with_ve(&host, &[]);
    let done = attach(&host, "public", &[]).unwrap();
    assert!(done.changed && !done.live && done.addresses.len() == 2, "{done:?}");
    detach(&host, "private").unwrap();
    started(&host);
    assert_eq!(laid(&host).0, ["hv101.1 eth1 203.0.113.2,2001:db8::2"]);
}

#[test]
fn what_can_not_be_is_refused_and_changes_nothing() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    for (class, network, address) in [
        (Class::NotFound, "nowhere", "203.0.113.9"),
        (Class::Usage, "public", "192.0.2.1"),
    ] {
        refused(&host, class, network, |e| {
            e.attach_network(&web1(), &network.parse().unwrap(), &[address.parse().unwrap()], &Silent)
        });
    }
    act(&host, &Action::Suspend { timeout: None }).unwrap();
    for attaches in [true, false] {
        refused(&host, Class::Refused, "suspended", |e| match attaches {
            true => e.attach_network(&web1(), &"public".parse().unwrap(), &[], &Silent),
            false => e.detach_network(&web1(), &"private".parse().unwrap(), &Silent),
        });
    }
    act(&host, &Action::Resume).unwrap();
    // What was changed by hand waits for a start, and nothing is built upon it.
    edit_by_hand(&host, &(definition(&host) + "\n[[network]]\nnetwork = \"public\"\n"));
    refused(&host, Class::Refused, "changed by hand", |e| {
        e.detach_network(&web1(), &"private".parse().unwrap(), &Silent)
    });
}

#[test]
fn a_failure_anywhere_changes_nothing() {
    for (fake, method) in [("network", "readdress"), ("firewall", "admit"), ("firewall", "expel")] {
        let host = host().make();
        with_ve(&host, &[]);
        started(&host);
        let tell = |what: Option<&'static str>| match fake {
            "network" => fakes(&host).network.fail_method(what),
            _ => fakes(&host).firewall.fail_method(what),
        };
        let before = inventory(&host);
        tell(Some(method));
        let error = match method {
            "expel" => detach(&host, "private").unwrap_err(),
            _ => attach(&host, "public", &[]).unwrap_err(),
        };
        tell(None);
        assert!(error.message.contains(method), "{error:?}");
        engine(&host).lock_ve(id(101), "test", &Silent).unwrap();
        assert_eq!(inventory(&host), before, "{method}");
        attach(&host, "public", &[]).unwrap();
        detach(&host, "private").unwrap();
    }
}

#[test]
fn set_does_the_same() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let set = |key: &str, value: &str| {
        let settings = [(key.to_owned(), value.to_owned())];
        engine(&host).set(&web1(), &settings, false, &Silent).unwrap()
    };
    let report = set("network+", "public");
    assert!(report.waiting.is_empty(), "{report:?}");
    assert_eq!(laid(&host).0.len(), 2);
    let report = set("network-", "private");
    assert!(report.waiting.is_empty(), "{report:?}");
    assert_eq!(laid(&host).0, ["hv101.1 eth1 203.0.113.2,2001:db8::2"]);
}

/// What the definition names is broken between a failure and the next command, which takes it back.
#[test]
fn a_plan_that_is_broken_meanwhile_keeps_no_failure_from_being_undone() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let before = (laid(&host), definition(&host));
    fakes(&host).firewall.fail_method(Some("admit"));
    attach(&host, "public", &[]).unwrap_err();
    fakes(&host).firewall.fail_method(None);
    assert!(!host.journals.pending().unwrap().is_empty());
    let plan = host
        .state(id(101))
        .map(|state| host.terms_of(&state).unwrap().plan.clone())
        .unwrap();
    let file = host.dirs.definitions("plans").join(format!("{plan}.toml"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "nonsense").unwrap();
    engine(&host).lock_ve(id(101), "test", &Silent).unwrap();
    assert!(host.journals.pending().unwrap().is_empty());
    assert_eq!((laid(&host), definition(&host)), before);
    std::fs::write(&file, text).unwrap();
    attach(&host, "public", &[]).unwrap();
}
