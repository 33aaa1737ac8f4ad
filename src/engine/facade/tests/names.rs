//! What VEs are told of each other's names.

use hostel_model::request::Wanted;
use hostel_system::process::Op;

use super::*;
use crate::testing::{Builder, fakes, host, order};

const HOSTS: &str = "kind = \"nat\"\npools = [\"10.77.0.0/24\", \"fd77::/64\"]\nnames = \"hosts\"\n";

fn telling() -> Builder {
    host().file("networks/private.toml", HOSTS)
}

fn made(host: &Arc<Host>, name: &str, settings: &[(&str, &str)]) -> u32 {
    let made = engine(host).create(&order(name, settings), &Silent).unwrap();
    made.id.get()
}

fn act_on(host: &Arc<Host>, ve: u32, action: &Action) {
    engine(host).act(id(ve), action, &Silent).unwrap();
}

fn destroy() -> Action {
    Action::Destroy { force: true }
}

/// The lines that a VE has been given last.
fn knows(host: &Arc<Host>, ve: u32) -> Vec<String> {
    let files = fakes(host).guests.files(ve);
    let block = files.into_iter().rev().find_map(|op| match op {
        Op::ManagedBlock { begin, content, .. } if begin.contains("Hostel names") => Some(content),
        _ => None,
    });
    block.unwrap().lines().map(str::to_owned).collect()
}

fn audit(host: &Arc<Host>, fix: bool) -> Vec<(String, bool)> {
    let found = engine(host).audit(fix).unwrap();
    let ours = found.iter().filter(|o| o.kind == "names");
    let base = host.dirs.data().display().to_string();
    ours.map(|o| (o.object.replace(&base, ""), o.fixed)).collect()
}

/// Two of acme that run and know of each other, and one of another tenant's beside them.
fn three(builder: Builder) -> Arc<Host> {
    let host = builder.make();
    for (name, tenant) in [("web1", "acme"), ("web2", "acme"), ("other", "default")] {
        let ve = made(
            &host,
            name,
            &[("tenant", tenant), ("hostname", &format!("{name}-host"))],
        );
        act_on(&host, ve, &start());
    }
    host
}

const WEB1: [&str; 2] = ["10.77.0.2 web1 web1-host", "fd77::2 web1 web1-host"];
const WEB2: [&str; 2] = ["10.77.0.3 web2 web2-host", "fd77::3 web2 web2-host"];
const OTHER: [&str; 2] = ["10.77.0.4 other other-host", "fd77::4 other other-host"];

#[test]
fn a_tenant_s_ves_know_of_each_other_and_of_nobody_else() {
    let host = three(telling());
    assert_eq!(knows(&host, 101), [WEB1, WEB2].concat());
    assert_eq!(knows(&host, 102), [WEB1, WEB2].concat());
    assert_eq!(knows(&host, 103), OTHER);
    assert!(audit(&host, false).is_empty());
    let shared = three(host_shared());
    for ve in [101, 102, 103] {
        assert_eq!(knows(&shared, ve), [WEB1, WEB2, OTHER].concat());
    }
    let off = three(crate::testing::host());
    assert!((101..104).all(|ve| knows(&off, ve).is_empty()));
    assert!(!off.dirs.all_names().exists());
}

fn host_shared() -> Builder {
    host().file("networks/private.toml", &format!("{HOSTS}names_shared = true\n"))
}

#[test]
fn who_runs_hears_of_what_changes_and_a_stop_is_no_news() {
    let host = three(telling());
    let edits = |ve: u32| fakes(&host).guests.files(ve).len();
    let before = edits(101);
    act_on(&host, 102, &Action::Stop { timeout: None });
    act_on(&host, 102, &start());
    assert_eq!(edits(101), before);
    // An address comes and goes.
    let nine = "10.77.0.9".parse().unwrap();
    let web2 = VeRef::Name("web2".parse().unwrap());
    engine(&host)
        .add_address(&web2, Wanted::One(nine), None, &Silent)
        .unwrap();
    assert!(knows(&host, 101).contains(&"10.77.0.9 web2 web2-host".to_owned()));
    engine(&host).remove_address(&web2, nine, &Silent).unwrap();
    assert_eq!(knows(&host, 101), [WEB1, WEB2].concat());
    // A host name, at once: whoever asks by it means the VE.
    let hostname = [("hostname".to_owned(), "shop".to_owned())];
    engine(&host).set(&web2, &hostname, false, &Silent).unwrap();
    assert!(knows(&host, 101).contains(&"fd77::3 web2 shop".to_owned()));
    // A new one is known before it runs, and one that is gone isn't.
    let web3 = made(&host, "web3", &[("tenant", "acme")]);
    assert!(knows(&host, 101).contains(&"10.77.0.5 web3".to_owned()));
    assert_eq!(knows(&host, 103), OTHER);
    act_on(&host, web3, &destroy());
    assert!(!knows(&host, 102).concat().contains("web3"));
    // From another network nobody hears.
    engine(&host)
        .detach_network(&web2, &"private".parse().unwrap(), &Silent)
        .unwrap();
    assert_eq!(knows(&host, 101), WEB1);
    assert!(knows(&host, 102).is_empty());
    assert!(audit(&host, false).is_empty());
}

#[test]
fn who_stood_still_hears_of_it_afterwards() {
    let host = three(telling());
    act_on(&host, 101, &Action::Pause);
    act_on(&host, 102, &Action::Suspend { timeout: None });
    made(&host, "web3", &[("tenant", "acme")]);
    assert_eq!(knows(&host, 101), [WEB1, WEB2].concat());
    act_on(&host, 101, &Action::Unpause);
    assert!(knows(&host, 101).contains(&"10.77.0.5 web3".to_owned()));
    act_on(&host, 102, &Action::Resume);
    assert!(knows(&host, 102).contains(&"10.77.0.5 web3".to_owned()));
}

/// A guest may make it impossible: nobody's command fails for that.
#[test]
fn a_guest_that_can_not_be_told_keeps_nobody_from_anything() {
    let host = three(telling());
    fakes(&host).guests.fail_method(Some("edit"));
    let heard = Heard::default();
    engine(&host)
        .create(&order("web3", &[("tenant", "acme")]), &heard)
        .unwrap();
    let about: Vec<_> = heard.notes().into_iter().filter(|n| n.contains("/etc/hosts")).collect();
    assert_eq!(about.len(), 2, "{:?}", heard.notes());
    fakes(&host).guests.fail_method(None);
    // It isn't tried again and again, but when something changes, or at the next start.
    made(&host, "web4", &[("tenant", "acme")]);
    assert!(knows(&host, 101).contains(&"10.77.0.5 web3".to_owned()));
}

#[test]
fn a_network_that_begins_or_ends_to_tell() {
    let host = three(host().file("networks/private.toml", &HOSTS.replace("hosts", "off")));
    let file = host.dirs.definitions("networks").join("private.toml");
    std::fs::write(&file, HOSTS).unwrap();
    // The first operation there makes it known, and an audit too.
    assert_eq!(audit(&host, true).len(), 3);
    assert_eq!(knows(&host, 101), [WEB1, WEB2].concat());
    assert!(audit(&host, false).is_empty());
    std::fs::write(&file, HOSTS.replace("hosts", "off")).unwrap();
    act_on(&host, 102, &Action::Stop { timeout: None });
    act_on(&host, 102, &start());
    assert!(knows(&host, 101).is_empty() && knows(&host, 102).is_empty());
    assert_eq!(audit(&host, true), [("/names/private".to_owned(), true)]);
    assert!(audit(&host, false).is_empty() && !host.dirs.names(&"private".parse().unwrap()).exists());
    assert!(knows(&host, 103).is_empty());
}

#[test]
fn what_is_said_of_nobody_is_found_and_taken_back() {
    let host = three(telling());
    let dir = host.dirs.names(&"private".parse().unwrap());
    std::fs::write(dir.join("150.acme"), "10.77.0.50 ghost ghost\n").unwrap();
    std::fs::write(dir.join("101.acme"), "10.77.0.66 web1 web1\n").unwrap();
    let file = |name: &str| format!("/names/private/{name}");
    let found = audit(&host, false);
    let objects: Vec<String> = found.into_iter().map(|(object, _)| object).collect();
    let known = ["in VE 101", "in VE 102"].map(str::to_owned);
    assert_eq!(objects, [[file("101.acme"), file("150.acme")], known].concat());
    assert!(audit(&host, true).iter().all(|(_, fixed)| *fixed));
    assert!(audit(&host, false).is_empty());
    assert_eq!(knows(&host, 102), [WEB1, WEB2].concat());
    // A file that was lost comes back with the next start as well.
    std::fs::remove_file(dir.join("101.acme")).unwrap();
    act_on(&host, 101, &Action::Kill);
    act_on(&host, 101, &start());
    assert!(audit(&host, false).is_empty());
}

const DNS: &str = "kind = \"nat\"\npools = [\"10.77.0.0/24\", \"fd77::/64\"]\nnames = \"dns\"\nnames_shared = true\n\
                   dns = [\"9.9.9.9\"]\n";

fn served(host: &Arc<Host>) -> Option<Vec<String>> {
    let mut all = fakes(host).name_servers.running();
    let text = all.remove("private")?;
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn a_name_server_says_what_there_is_and_goes_with_the_last_ve() {
    let host = three(host().file("networks/private.toml", DNS));
    let text = served(&host).unwrap();
    for line in [
        "listen-address=10.77.0.1",
        "listen-address=fd77::1",
        "server=9.9.9.9",
        "local=/private.internal/",
        "host-record=web1.private.internal,web1,10.77.0.2",
        "host-record=other-host.private.internal,other-host,fd77::4",
    ] {
        assert!(text.iter().any(|l| l == line), "{line} in {text:#?}");
    }
    assert!((101..104).all(|ve| knows(&host, ve).is_empty()));
    // Its addresses are the host's, and nobody's but those who are on this network.
    let bridges = host.network.bridges("hv").unwrap();
    assert_eq!(
        bridges.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(),
        ["brhv-private"]
    );
    let rules = engine(&host).network_rules().unwrap();
    assert!(
        rules.contains("ip daddr 10.77.0.1 ip saddr != { 10.77.0.0/24 } drop"),
        "{rules}"
    );
    let resolver = fakes(&host).guests.files(101).into_iter().find_map(|op| match op {
        Op::Write { path, content, .. } if path == "/etc/resolv.conf" => Some(content),
        _ => None,
    });
    let resolver = resolver.unwrap();
    assert!(
        resolver.contains("nameserver 10.77.0.1\nnameserver fd77::1\n"),
        "{resolver}"
    );
    assert!(resolver.contains("search private.internal"), "{resolver}");
    assert!(found(&host, false).is_empty());
    // Somebody kills it: an audit finds that, and so does a start.
    fakes(&host).name_servers.die();
    assert_eq!(found(&host, true), ["of network private"]);
    assert!(served(&host).is_some());
    fakes(&host).name_servers.die();
    act_on(&host, 102, &Action::Kill);
    act_on(&host, 102, &start());
    assert!(served(&host).is_some() && found(&host, false).is_empty());
    for ve in [101, 102, 103] {
        act_on(&host, ve, &destroy());
    }
    assert_eq!(served(&host), None);
    assert!(host.network.bridges("hv").unwrap().is_empty() && found(&host, false).is_empty());
}

fn found(host: &Arc<Host>, fix: bool) -> Vec<String> {
    let found = engine(host).audit(fix).unwrap();
    found
        .into_iter()
        .filter(|o| o.kind == "name server")
        .map(|o| o.object)
        .collect()
}

#[test]
fn without_the_program_a_ve_is_refused_there() {
    let host = host().file("networks/private.toml", DNS).make();
    fakes(&host).name_servers.lack(true);
    let error = refused(&host, Class::Limit, "no dnsmasq", |e| {
        e.create(&order("web1", &[]), &Silent)
    });
    assert!(error.hints.iter().any(|h| h.contains("install")), "{error:?}");
}

#[test]
fn a_name_server_that_can_not_be_had_keeps_nobody_from_anything() {
    let host = host().file("networks/private.toml", DNS).make();
    fakes(&host).name_servers.fail_method(Some("serve"));
    let heard = Heard::default();
    engine(&host).create(&order("web1", &[]), &heard).unwrap();
    assert!(
        heard
            .notes()
            .iter()
            .any(|n| n.contains("the name server of network private")),
        "{:?}",
        heard.notes()
    );
    fakes(&host).name_servers.fail_method(None);
    act_on(&host, 101, &start());
    assert!(served(&host).is_some());
}
