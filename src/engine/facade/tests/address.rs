//! Addresses: given and taken at once, all or nothing, and kept aside afterwards.

use std::net::IpAddr;

use hostel_model::ipam::Family;
use hostel_model::request::Wanted;
use hostel_system::net::Local;

use super::*;
use crate::facade::AddressReport;
use crate::testing::{fakes, host, order, started, with_ve};

const AUTO: Wanted = Wanted::Auto(None);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn one(text: &str) -> Wanted {
    Wanted::One(ip(text))
}

fn add(host: &Arc<Host>, wanted: Wanted) -> Result<AddressReport> {
    engine(host).add_address(&web1(), wanted, None, &Silent)
}

fn remove(host: &Arc<Host>, address: &str) -> Result<AddressReport> {
    engine(host).remove_address(&web1(), ip(address), &Silent)
}

fn has(host: &Arc<Host>) -> Vec<String> {
    let state = host.state(id(101)).unwrap();
    assert_eq!(state.former, None);
    state.addresses().map(|a| a.to_string()).collect()
}

/// What the network and the firewall have of VE 101.
fn laid(host: &Arc<Host>) -> (Vec<String>, Vec<String>) {
    let text = |list: Vec<IpAddr>| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let links = fakes(host)
        .network
        .links()
        .into_iter()
        .flat_map(|l| l.addresses)
        .collect();
    let members = host.firewall.members(host.config.nft_table.as_str()).unwrap();
    let (mut links, mut admitted): (Vec<_>, Vec<_>) = (links, members.into_iter().flat_map(|m| m.addresses).collect());
    links.sort();
    admitted.sort();
    (text(links), text(admitted))
}

#[test]
fn an_address_comes_and_goes_in_a_ve_that_runs() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    edit_by_hand(&host, &definition(&host).replace("\"auto\"", "\"auto\" # given"));
    let done = add(&host, one("10.77.0.9")).unwrap();
    assert!(
        done.changed && done.live && done.interface.as_deref() == Some("eth0"),
        "{done:?}"
    );
    let both = vec!["10.77.0.2".to_owned(), "10.77.0.9".to_owned()];
    assert_eq!(has(&host), both);
    assert_eq!(laid(&host), (both.clone(), both.clone()));
    let text = definition(&host);
    assert!(
        text.contains("addresses = [\"10.77.0.2\", \"10.77.0.9\"] # given"),
        "{text}"
    );
    // Twice is once.
    let before = inventory(&host);
    assert!(!add(&host, one("10.77.0.9")).unwrap().changed);
    assert_eq!(inventory(&host), before);

    assert!(remove(&host, "10.77.0.2").unwrap().changed);
    let rest = vec!["10.77.0.9".to_owned()];
    assert_eq!((has(&host), laid(&host)), (rest.clone(), (rest.clone(), rest)));
    assert!(!remove(&host, "10.77.0.2").unwrap().changed);
    // What it was given first is aside now, and nobody is given it.
    let other = engine(&host).create(&order("web2", &[]), &Silent).unwrap();
    assert_eq!(host.state(other.id).unwrap().interfaces[0].addresses, [ip("10.77.0.3")]);
    // At its next start it is as it is now.
    act(&host, &Action::Stop { timeout: None }).unwrap();
    started(&host);
    assert_eq!(has(&host), ["10.77.0.9"]);
}

#[test]
fn a_stopped_ves_is_reserved_at_once() {
    let host = host().make();
    with_ve(&host, &[]);
    let done = add(&host, AUTO).unwrap();
    assert!(
        done.changed && !done.live && done.addresses == [ip("10.77.0.3")],
        "{done:?}"
    );
    assert_eq!(has(&host), ["10.77.0.2", "10.77.0.3"]);
    let thief = order("web2", &[("network.0.addresses", "10.77.0.3")]);
    refused(&host, Class::Refused, "a thief", |e| e.create(&thief, &Silent));
    started(&host);
    assert_eq!(laid(&host).0, ["10.77.0.2", "10.77.0.3"]);
}

#[test]
fn of_each_family_or_of_one_and_on_the_interface_that_fits() {
    let host = host().make();
    with_ve(
        &host,
        &[("network.0.network", "private"), ("network.1.network", "public")],
    );
    started(&host);
    let six = add(&host, Wanted::Auto(Some(Family::V6))).unwrap();
    assert_eq!(
        (six.interface.as_deref(), six.addresses),
        (Some("eth1"), vec![ip("2001:db8::3")])
    );
    let both = engine(&host).add_address(&web1(), AUTO, Some(1), &Silent).unwrap();
    assert_eq!(both.addresses, [ip("203.0.113.3"), ip("2001:db8::4")]);
    let named = add(&host, one("203.0.113.9")).unwrap();
    assert_eq!(
        (named.interface.as_deref(), named.network.unwrap().as_str()),
        (Some("eth1"), "public")
    );
}

#[test]
fn what_can_not_be_is_refused_and_changes_nothing() {
    let host = host()
        .file(
            "networks/private.toml",
            "kind = \"routed\"\npools = [\"10.77.0.0/24\"]\nexclude = [\"10.77.0.7\"]\nranges = [\"10.77.0.2-10.77.0.3\"]\n",
        )
        .make();
    with_ve(&host, &[]);
    engine(&host).create(&order("web2", &[]), &Silent).unwrap();
    started(&host);
    for (class, wanted, interface) in [
        (Class::Refused, one("10.77.0.3"), None),  // web2's
        (Class::Refused, one("192.0.2.1"), None),  // in none of its networks
        (Class::Usage, one("192.0.2.1"), Some(0)), // not in this one
        (Class::Usage, one("10.77.0.7"), None),    // excluded
        (Class::Usage, one("10.77.0.8"), Some(1)), // no such interface
        (Class::Limit, AUTO, None),                // nothing left
    ] {
        refused(&host, class, &format!("{wanted}"), |e| {
            e.add_address(&web1(), wanted, interface, &Silent)
        });
    }
    refused(&host, Class::Refused, "the last one", |e| {
        e.remove_address(&web1(), ip("10.77.0.2"), &Silent)
    });
    act(&host, &Action::Suspend { timeout: None }).unwrap();
    refused(&host, Class::Refused, "suspended", |e| {
        e.add_address(&web1(), one("10.77.0.8"), None, &Silent)
    });
    act(&host, &Action::Resume).unwrap();
    // Other interfaces wait for a start.
    let text = definition(&host) + "\n[[network]]\nnetwork = \"public\"\n";
    edit_by_hand(&host, &text);
    refused(&host, Class::Refused, "other interfaces", |e| {
        e.add_address(&web1(), one("10.77.0.8"), None, &Silent)
    });
}

#[test]
fn a_failure_anywhere_changes_nothing() {
    for (fake, method) in [("network", "readdress"), ("firewall", "admit")] {
        let host = host().make();
        with_ve(&host, &[]);
        started(&host);
        let tell = |what: Option<&'static str>| match fake {
            "network" => fakes(&host).network.fail_method(what),
            _ => fakes(&host).firewall.fail_method(what),
        };
        let before = inventory(&host);
        tell(Some(method));
        let error = add(&host, AUTO).unwrap_err();
        tell(None);
        assert!(error.message.contains(method), "{error:?}");
        engine(&host).lock_ve(id(101), "test", &Silent).unwrap();
        assert_eq!(inventory(&host), before, "{method}");
        add(&host, AUTO).unwrap();
    }
}

#[test]
fn set_changes_addresses_at_once_too() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let set = |settings: &[(&str, &str)]| {
        let settings: Vec<_> = settings
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        engine(&host).set(&web1(), &settings, false, &Silent).unwrap()
    };
    let report = set(&[("network.0.addresses", "10.77.0.50,10.77.0.51")]);
    assert!(report.waiting.is_empty() && report.applied.len() == 1, "{report:?}");
    assert_eq!(laid(&host).0, ["10.77.0.50", "10.77.0.51"]);
    // To another network takes a start; what it had is its own until then, and aside afterwards.
    let report = set(&[("network.0.network", "public"), ("network.0.addresses", "auto")]);
    assert!(report.applied.is_empty() && report.waiting.len() == 2, "{report:?}");
    assert_eq!(laid(&host).0, ["10.77.0.50", "10.77.0.51"]);
    act(&host, &Action::Stop { timeout: None }).unwrap();
    started(&host);
    let (network, all) = engine(&host).network(&"private".parse().unwrap()).unwrap();
    // The first one too, which went while it ran.
    assert_eq!((network.pools[0].used, network.pools[0].aside), (0, 3), "{all:?}");
}

/// A pool of three.
fn tight() -> crate::testing::Builder {
    let tight = "kind = \"routed\"\npools = [\"10.77.0.0/24\"]\nranges = [\"10.77.0.2-10.77.0.4\"]\n";
    host().file("networks/private.toml", tight)
}

#[test]
fn a_destroyed_ves_addresses_are_given_last_and_with_a_word() {
    let host = tight().make();
    let create = |name: &str, settings: &[(&str, &str)]| {
        let heard = Heard::default();
        let made = engine(&host).create(&order(name, settings), &heard).unwrap();
        (
            host.state(made.id).unwrap().interfaces[0].addresses[0].to_string(),
            heard.notes(),
        )
    };
    with_ve(&host, &[]);
    act(&host, &Action::Destroy { force: false }).unwrap();
    for expected in ["10.77.0.3", "10.77.0.4"] {
        let (given, told) = create(&format!("a{expected}").replace('.', "-"), &[]);
        assert_eq!((given.as_str(), told.len()), (expected, 0), "{told:?}");
    }
    let (network, all) = engine(&host).network(&"private".parse().unwrap()).unwrap();
    let pool = &network.pools[0];
    assert_eq!((pool.used, pool.aside, pool.left, network.ves), (2, 1, 0, 2));
    let of: Vec<_> = all.iter().map(|a| (a.address.to_string(), a.state, a.left)).collect();
    assert_eq!(of[0], ("10.77.0.2".to_owned(), "aside", Some(3600)));
    assert_eq!(all[0].ve, "web1");
    let (given, told) = create("last", &[]);
    assert_eq!(given, "10.77.0.2");
    assert!(
        told.iter().any(|t| t.contains("10.77.0.2 was web1's until 0s ago")),
        "{told:?}"
    );
    let full = order("none", &[]);
    refused(&host, Class::Limit, "a full pool", |e| e.create(&full, &Silent));
}

#[test]
fn by_hand_what_is_aside_may_be_given_with_a_word() {
    let host = host().make();
    with_ve(&host, &[]);
    act(&host, &Action::Destroy { force: false }).unwrap();
    with_ve(&host, &[]);
    assert_eq!(has(&host), ["10.77.0.3"]);
    let heard = Heard::default();
    let wanted = order("web2", &[("network.0.addresses", "10.77.0.2")]);
    engine(&host).create(&wanted, &heard).unwrap();
    assert!(
        heard.notes().iter().any(|n| n.contains("10.77.0.2 was web1's")),
        "{:?}",
        heard.notes()
    );
}

#[test]
fn one_that_a_start_or_a_change_takes_away_is_aside() {
    for running in [false, true] {
        let host = host().make();
        with_ve(&host, &[]);
        if running {
            started(&host);
            act(&host, &Action::Stop { timeout: None }).unwrap();
        }
        // By hand, to another network.
        edit_by_hand(
            &host,
            &definition(&host).replace("network = \"private\"", "network = \"public\""),
        );
        started(&host);
        assert_eq!(has(&host), ["203.0.113.2", "2001:db8::2"]);
        let (network, all) = engine(&host).network(&"private".parse().unwrap()).unwrap();
        assert_eq!((network.pools[0].used, network.pools[0].aside), (0, 1), "{all:?}");
    }
}

#[test]
fn at_once_no_address_is_given_twice() {
    let host = host().make();
    for n in 1..=4 {
        engine(&host).create(&order(&format!("web{n}"), &[]), &Silent).unwrap();
    }
    let given: Vec<IpAddr> = std::thread::scope(|scope| {
        let add = |n: u32| {
            let host = crate::testing::again(&host);
            let ve = VeRef::Id(id(100 + n));
            scope.spawn(move || {
                let engine = engine(&host);
                (0..5)
                    .flat_map(|_| engine.add_address(&ve, AUTO, None, &Silent).unwrap().addresses)
                    .collect::<Vec<_>>()
            })
        };
        let all: Vec<_> = (1..=4).map(add).collect();
        all.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let distinct: std::collections::BTreeSet<_> = given.iter().collect();
    assert_eq!((given.len(), distinct.len()), (20, 20));
    let (network, all) = engine(&host).network(&"private".parse().unwrap()).unwrap();
    assert_eq!((network.pools[0].used, network.pools[0].aside, all.len()), (24, 0, 24));
}

#[test]
fn networks_are_told_of_also_when_one_is_broken() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let old = host.dirs.definitions("networks").join("old.toml");
    std::fs::write(old, "kind = \"routed\"\npools = \"all\"\n").unwrap();
    let all = engine(&host).networks().unwrap();
    let names: Vec<_> = all
        .iter()
        .map(|n| (n.name.as_str(), n.kind.as_deref(), n.ves))
        .collect();
    assert_eq!(
        names,
        [
            ("old", None, 0),
            ("private", Some("routed"), 1),
            ("public", Some("routed"), 0)
        ]
    );
    assert!(all[0].problem.as_ref().unwrap().contains("pools"), "{:?}", all[0]);
    let (_, held) = engine(&host).network(&"private".parse().unwrap()).unwrap();
    assert!(held[0].routed && held[0].admitted && held[0].interface.as_deref() == Some("hv101.0"));
    // One that was never in force has no part in the rules.
    let without = engine(&host).network_rules().unwrap();
    std::fs::remove_file(host.dirs.definitions("networks").join("old.toml")).unwrap();
    let rules = engine(&host).network_rules().unwrap();
    assert!(rules == without && rules.contains("\"hv101.0\" . 10.77.0.2"), "{rules}");
    let nowhere = engine(&host).network(&"nowhere".parse().unwrap()).unwrap_err();
    assert_eq!(nowhere.class, Class::NotFound);
}

/// On a bridge of somebody else's, or an uplink, and not named by "exclude".
#[test]
fn what_the_host_itself_has_is_nobodys() {
    let host = host().make();
    let of_host = |list: &[&str]| {
        let addresses = list.iter().map(|a| ip(a)).collect();
        fakes(&host).network.set_local(Local {
            addresses,
            ..Local::default()
        });
    };
    of_host(&["10.77.0.2", "10.77.0.3"]);
    with_ve(&host, &[]);
    assert_eq!(has(&host), ["10.77.0.4"]);
    started(&host);
    let error = add(&host, one("10.77.0.3")).unwrap_err();
    let said = crate::error::chain(&error);
    assert!(
        error.class == Class::Refused && said.contains("the host itself has it"),
        "{said}"
    );
    of_host(&["10.77.0.2", "10.77.0.3", "10.77.0.5"]);
    assert_eq!(add(&host, AUTO).unwrap().addresses, [ip("10.77.0.6")]);
    // It came to the host afterwards: the VE can't start with it, and can with another.
    act(&host, &Action::Stop { timeout: None }).unwrap();
    of_host(&["10.77.0.4"]);
    let error = act(&host, &start()).unwrap_err();
    assert!(
        crate::error::chain(&error).contains("10.77.0.4 can't be web1's"),
        "{error:?}"
    );
    remove(&host, "10.77.0.4").unwrap();
    started(&host);
}
