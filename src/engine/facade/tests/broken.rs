//! Definitions of networks, tenants and plans that can't be read: whose VEs they keep from starting, and what those are
//! held by that run.

use hostel_model::request::{Selection, Wanted};

use super::*;
use crate::testing::{fakes, host, order, started, with_ve};

const LAN: &str =
    "kind = \"bridge\"\npools = [\"10.88.0.0/24\"]\ngateway = [\"10.88.0.1\"]\nhost_addresses = [\"10.88.0.1\"]\n";
const DENY: &str = "[firewall]\nin = \"deny\"\n";

/// VE 101 is of tenant default, on network private; VE 102 of tenant acme, with plan large, on network lan, and runs.
fn two() -> Arc<Host> {
    let host = host()
        .file("networks/lan.toml", LAN)
        .file("tenants/acme.toml", DENY)
        .make();
    with_ve(&host, &[]);
    let settings = [("tenant", "acme"), ("plan", "large"), ("network.0.network", "lan")];
    engine(&host).create(&order("web2", &settings), &Silent).unwrap();
    act_on(&host, 102, &start()).unwrap();
    host
}

fn act_on(host: &Arc<Host>, n: u32, action: &Action) -> Result<Outcome> {
    engine(host).act(id(n), action, &Silent)
}

fn spoil(host: &Host, file: &str) {
    std::fs::write(host.dirs.config().join(file), "# nonsense\nkind = \n").unwrap();
}

/// What an audit finds, but for disks, which the fakes take for those of others.
fn audit(host: &Arc<Host>) -> Vec<(String, String)> {
    let found = engine(host).audit(false).unwrap().into_iter();
    let found = found.filter(|o| o.kind != "loop device");
    found.map(|o| (o.kind, format!("{} {}", o.object, o.why))).collect()
}

/// VE 101 can do everything, and VE 102 is refused with the place of the mistake.
#[track_caller]
fn only_102_is_kept(host: &Arc<Host>, file: &str) {
    started(host);
    let nine = Wanted::One("10.77.0.9".parse().unwrap());
    engine(host).add_address(&web1(), nine, None, &Silent).unwrap();
    act(host, &Action::Stop { timeout: None }).unwrap();
    let list = engine(host).list().unwrap();
    assert!(list[0].problem.is_none() && list[1].state == "running", "{list:?}");
    assert!(list[1].problem.as_ref().unwrap().contains(file), "{list:?}");
    let found = audit(host);
    assert!(
        found.len() == 1 && found[0].0 == "definition" && found[0].1.contains(&format!("{file}:2")),
        "{found:?}"
    );
    let facts = engine(host).info().unwrap();
    assert!(facts.iter().any(|f| f.value == "can't be read" && f.why.contains(file)));
    act_on(host, 102, &Action::Stop { timeout: None }).unwrap();
    let error = act_on(host, 102, &start()).unwrap_err();
    assert!(crate::error::chain(&error).contains(&format!("{file}:2")), "{error:?}");
    started(host);
}

#[test]
fn a_broken_network_keeps_only_its_own_ves_from_starting() {
    let host = two();
    let (rules, members) = (host.ruleset().unwrap(), host.members().unwrap());
    spoil(&host, "networks/lan.toml");
    assert_eq!((host.ruleset().unwrap(), host.members().unwrap()), (rules, members));
    let list = engine(&host).networks().unwrap();
    let lan = list.iter().find(|n| n.name == "lan").unwrap();
    assert!(lan.problem.as_ref().unwrap().contains("lan.toml:2"), "{lan:?}");
    only_102_is_kept(&host, "networks/lan.toml");
}

#[test]
fn a_broken_tenant_or_plan_keeps_only_its_own_ves_from_starting() {
    for file in ["tenants/acme.toml", "plans/large.toml"] {
        let host = two();
        spoil(&host, file);
        only_102_is_kept(&host, file);
    }
    let host = two();
    spoil(&host, "tenants/acme.toml");
    let heard = Heard::default();
    let acme = Selection::Tenant("acme".parse().unwrap());
    assert_eq!(engine(&host).select(&acme, &heard).unwrap()[0].id, id(102));
    assert!(heard.notes()[0].contains("acme.toml"), "{:?}", heard.notes());
}

#[test]
fn who_runs_on_a_broken_network_is_held_as_before_or_cut_off() {
    let host = two();
    let interfaces = || -> Vec<String> {
        let members = host.firewall.members("hostel").unwrap();
        members.into_iter().map(|m| m.interface).collect()
    };
    spoil(&host, "networks/lan.toml");
    fakes(&host).firewall.flush();
    started(&host);
    assert_eq!(interfaces(), ["hv101.0", "hv102.0"]);
    assert!(host.ruleset().unwrap().bridged);
    // Nothing tells any more what it was held by.
    std::fs::remove_dir_all(host.dirs.standing()).unwrap();
    fakes(&host).firewall.flush();
    act(&host, &Action::Stop { timeout: None }).unwrap();
    started(&host);
    assert_eq!(interfaces(), ["hv101.0"]);
    // A file that is mended is all it takes.
    std::fs::write(host.dirs.config().join("networks/lan.toml"), LAN).unwrap();
    engine(&host).audit(true).unwrap();
    assert_eq!(interfaces(), ["hv101.0", "hv102.0"]);
    assert!(audit(&host).is_empty());
}

#[test]
fn access_rules_of_who_runs_stay_whatever_is_broken() {
    for file in ["tenants/acme.toml", "plans/large.toml", "networks/lan.toml"] {
        let host = two();
        let guards = || host.access.loaded("hostel_acl").unwrap().guards;
        let before = guards();
        assert_eq!(before.len(), 1);
        spoil(&host, file);
        fakes(&host).access.tamper();
        // Its start loads all anew.
        edit_by_hand(&host, &format!("{}\n{DENY}", definition(&host)));
        started(&host);
        assert_eq!(
            (guards().len(), guards().get(&id(102))),
            (2, before.get(&id(102))),
            "{file}"
        );
    }
}
