//! Access rules: in force while the VE runs, changed at once, mended, and told of.

use hostel_model::request::Action;
use hostel_system::firewall::FakeAccess;

use super::*;
use crate::testing::{fakes, host, order, started, with_ve};

const TABLE: &str = "hostel_acl";
const RULES: &str = "[firewall]\nin = \"deny\"\n[[firewall.rule]]\ndirection = \"in\"\naction = \"allow\"\npeers = [\"ve:web2\", \"tenant:acme\"]\n";

fn with_rules(host: &Arc<Host>) {
    let text = format!("{}\n{RULES}", definition(host));
    edit_by_hand(host, &text);
}

fn guarded(host: &Host) -> usize {
    host.access.loaded(TABLE).unwrap().guards.len()
}

/// What an audit finds of access rules.
fn findings(host: &Arc<Host>, fix: bool) -> Vec<crate::facade::Orphan> {
    let found = engine(host).audit(fix).unwrap();
    found.into_iter().filter(|o| o.kind == "access rules").collect()
}

fn peers(host: &Host, peer: &str) -> Vec<String> {
    let all = fakes(host).access.peers(TABLE);
    let text = |p: &ipnetwork::IpNetwork| p.to_string().trim_end_matches("/32").to_owned();
    all[&peer.parse().unwrap()].iter().map(text).collect()
}

fn guarded_host() -> Arc<Host> {
    let host = host().make();
    with_ve(&host, &[]);
    with_rules(&host);
    started(&host);
    host
}

#[test]
fn they_live_as_long_as_its_interfaces() {
    let host = guarded_host();
    assert_eq!(guarded(&host), 1);
    assert!(findings(&host, false).is_empty());
    act(&host, &Action::Stop { timeout: None }).unwrap();
    assert_eq!(guarded(&host), 0);
    assert!(findings(&host, false).is_empty());
}

#[test]
fn peers_follow_the_records() {
    let host = guarded_host();
    assert!(peers(&host, "ve:web2").is_empty());
    let settings = [
        ("tenant", "acme"),
        ("network.0.network", "private"),
        ("network.0.addresses", "10.77.0.9"),
    ];
    let made = engine(&host).create(&order("web2", &settings), &Silent).unwrap();
    engine(&host).act(made.id, &start(), &Silent).unwrap();
    assert_eq!(peers(&host, "ve:web2"), ["10.77.0.9"]);
    assert_eq!(peers(&host, "tenant:acme"), ["10.77.0.9"]);
    let web2 = VeRef::Id(made.id);
    let change = |key: &str, value: &str| (format!("network.0.addresses{key}"), value.to_owned());
    let set = |settings: &[(String, String)]| engine(&host).set(&web2, settings, false, &Silent).unwrap();
    set(&[change("+", "10.77.0.10")]);
    assert_eq!(peers(&host, "ve:web2"), ["10.77.0.9", "10.77.0.10"]);
    set(&[change("-", "10.77.0.9")]);
    assert_eq!(peers(&host, "ve:web2"), ["10.77.0.10"]);
    engine(&host)
        .act(made.id, &Action::Stop { timeout: None }, &Silent)
        .unwrap();
    engine(&host)
        .act(made.id, &Action::Destroy { force: false }, &Silent)
        .unwrap();
    assert!(peers(&host, "tenant:acme").is_empty());
    assert!(findings(&host, false).is_empty());
}

#[test]
fn a_change_is_in_force_at_once_and_told_as_such() {
    let host = guarded_host();
    let before = host.access.loaded(TABLE).unwrap();
    let out = [("firewall.out".to_owned(), "deny".to_owned())];
    let report = engine(&host).set(&web1(), &out, false, &Silent).unwrap();
    assert_eq!((report.applied.len(), report.waiting.len()), (1, 0));
    assert_ne!(host.access.loaded(TABLE).unwrap().guards, before.guards);
    engine(&host)
        .replace_definition(
            &web1(),
            &definition(&host),
            definition(&host).split("[firewall]").next().unwrap(),
            &Silent,
        )
        .unwrap();
    assert_eq!(guarded(&host), 0);
}

#[test]
fn what_was_changed_by_hand_is_mended_at_a_start_and_by_an_audit() {
    let host = guarded_host();
    engine(&host).create(&order("web2", &[]), &Silent).unwrap();
    fakes(&host).access.tamper();
    let heard = Heard::default();
    engine(&host).act(id(102), &start(), &heard).unwrap();
    assert!(
        heard.notes().iter().any(|n| n.contains("by hand")),
        "{:?}",
        heard.notes()
    );
    assert!(findings(&host, false).is_empty() && guarded(&host) == 1);
    for harm in [FakeAccess::tamper, FakeAccess::flush] {
        harm(&fakes(&host).access);
        assert_eq!(findings(&host, true).len(), 1);
        assert!(findings(&host, false).is_empty() && guarded(&host) == 1);
    }
}

#[test]
fn a_table_that_was_changed_costs_another_none_of_its_counters() {
    let host = guarded_host();
    let loads = || {
        let calls = fakes(&host).access.calls();
        calls.iter().filter(|call| call.starts_with("replace")).count()
    };
    let before = loads();
    fakes(&host).firewall.tamper();
    assert_eq!(host.mend_broken().unwrap(), ["hostel"]);
    assert_eq!(loads(), before, "those were untouched");
    fakes(&host).firewall.tamper();
    fakes(&host).access.tamper();
    assert_eq!(host.mend_broken().unwrap(), ["hostel", TABLE]);
    assert!(loads() > before && findings(&host, false).is_empty());
    fakes(&host).access.tamper();
    assert_eq!(host.mend_broken().unwrap(), [TABLE]);
    assert!(findings(&host, false).is_empty());
    fakes(&host).access.flush();
    assert_eq!(host.mend_broken().unwrap(), [TABLE]);
    assert_eq!(guarded(&host), 1);
}

#[test]
fn a_start_without_rules_mends_what_was_removed_by_hand() {
    let host = guarded_host();
    engine(&host).create(&order("web2", &[]), &Silent).unwrap();
    fakes(&host).access.flush();
    let heard = Heard::default();
    engine(&host).act(id(102), &start(), &heard).unwrap();
    assert!(
        heard.notes().iter().any(|n| n.contains("by hand")),
        "{:?}",
        heard.notes()
    );
    assert_eq!(guarded(&host), 1);
    // As does an end; and when nobody has rules any more, nothing is looked for.
    fakes(&host).access.flush();
    engine(&host)
        .act(id(102), &Action::Stop { timeout: None }, &Silent)
        .unwrap();
    assert_eq!(guarded(&host), 1);
    fakes(&host).access.flush();
    act(&host, &Action::Stop { timeout: None }).unwrap();
    assert!(!host.dirs.rules_due().exists() && findings(&host, false).is_empty());
}

#[test]
fn a_tenants_rules_wait_for_apply() {
    let host = guarded_host();
    let file = host.dirs.definitions("tenants").join("default.toml");
    std::fs::write(file, "[firewall]\nout = \"deny\"\n").unwrap();
    let report = engine(&host).access(&web1()).unwrap();
    assert_eq!(report.state, "differs");
    let told = engine(&host).apply_access(true).unwrap();
    assert_eq!((told.ves.len(), told.ves[0].state), (1, "changed"));
    assert_eq!(told.rules[0].ves, ["web1".parse().unwrap()]);
    assert_eq!(engine(&host).access(&web1()).unwrap().state, "differs");
    engine(&host).apply_access(false).unwrap();
    let report = engine(&host).access(&web1()).unwrap();
    assert_eq!(report.state, "in force");
    assert_eq!(report.rules.last().unwrap().from, "tenant default");
    // A definition that can't be read keeps what is in force, and is told of.
    edit_by_hand(&host, "nonsense");
    let told = engine(&host).apply_access(false).unwrap();
    assert!(told.failure().is_some() && guarded(&host) == 1);
}

#[test]
fn rules_that_cant_be_held_are_refused_by_name() {
    let host = host()
        .file("networks/lan.toml", "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\n")
        .make();
    fakes(&host).access.lack_ports();
    with_ve(&host, &[("network.0.network", "lan")]);
    let deny = [("firewall.in".to_owned(), "deny".to_owned())];
    let refused = engine(&host).set(&web1(), &deny, false, &Silent).unwrap_err();
    assert_eq!(refused.class, Class::Limit);
    with_rules(&host);
    assert_eq!(act(&host, &start()).unwrap_err().class, Class::Limit);
}

#[test]
fn a_peer_that_isnt_there_is_told_of() {
    let host = host().make();
    with_ve(&host, &[]);
    with_rules(&host);
    let heard = Heard::default();
    engine(&host).act(id(101), &start(), &heard).unwrap();
    let told: Vec<String> = heard
        .notes()
        .into_iter()
        .filter(|n| n.contains("doesn't exist"))
        .collect();
    assert!(told.len() == 1 && told[0].contains("ve:web2"), "{told:?}");
}
