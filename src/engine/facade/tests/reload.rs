//! Rules that are loaded anew beside VEs that run.

use hostel_system::firewall::FakeAccess;

use super::*;
use crate::testing::{fakes, host, order, started, with_ve};

/// A network whose rules the table hasn't yet.
fn define_another(host: &Arc<Host>) {
    let file = host.dirs.definitions("networks").join("other.toml");
    std::fs::write(
        file,
        "kind = \"routed\"\npools = [\"10.79.0.0/24\"]\nmasquerade = true\n",
    )
    .unwrap();
}

#[test]
fn all_who_run_are_in_the_rules_from_the_first_moment() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let table = host.config.nft_table.as_str();
    let before = host.firewall.members(table).unwrap();
    engine(&host).create(&order("web2", &[]), &Silent).unwrap();
    let firewall = &fakes(&host).firewall;
    let flush: fn(&Arc<Host>) = |host| fakes(host).firewall.flush();
    for harm in [define_another, flush] {
        harm(&host);
        // Whatever comes after the load.
        firewall.fail_method(Some("admit"));
        engine(&host).act(id(102), &start(), &Silent).unwrap_err();
        firewall.fail_method(None);
        assert_eq!(host.firewall.members(table).unwrap(), before);
    }
}

#[test]
fn one_that_was_admitted_before_its_init_came_stays() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let table = host.config.nft_table.as_str();
    let before = host.firewall.members(table).unwrap();
    // As a resume does; and as one whose links have gone again doesn't.
    act(&host, &Action::Stop { timeout: None }).unwrap();
    std::fs::write(host.dirs.data().join("journal/101.journal"), "a resume\n").unwrap();
    define_another(&host);
    host.mend_firewall().unwrap();
    assert_eq!(host.firewall.members(table).unwrap(), []);
    host.firewall.admit(table, &before).unwrap();
    std::fs::remove_file(host.dirs.definitions("networks").join("other.toml")).unwrap();
    host.mend_firewall().unwrap();
    assert_eq!(host.firewall.members(table).unwrap(), before);
}

#[test]
fn access_rules_are_loaded_anew_only_if_somebody_may_have_removed_them() {
    let host = host().make();
    with_ve(&host, &[]);
    let text = definition(&host);
    let text = format!("{text}[firewall]\nin = \"deny\"\n");
    engine(&host)
        .replace_definition(&web1(), &definition(&host), &text, &Silent)
        .unwrap();
    started(&host);
    let replaced = || {
        let calls = fakes(&host).access.calls();
        calls.iter().filter(|c| c.starts_with("replace")).count()
    };
    let before = replaced();
    define_another(&host);
    host.mend_firewall().unwrap();
    assert_eq!(replaced(), before);
    // They stand: loaded anew they would count from nothing.
    fakes(&host).firewall.flush();
    host.mend_firewall().unwrap();
    assert_eq!(replaced(), before);
    for harm in [FakeAccess::flush, FakeAccess::tamper] {
        let before = replaced();
        fakes(&host).firewall.flush();
        harm(&fakes(&host).access);
        host.mend_firewall().unwrap();
        assert_eq!(replaced(), before + 1);
    }
}
