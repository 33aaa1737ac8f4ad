//! Tenants: budgets, what their VEs may use, suspending them, and VEs that go from one to another.

use hostel_model::id::TenantName;
use hostel_model::request::Wanted;

use super::*;
use crate::error::chain;
use crate::testing::{again, host, order, started, with_ve};

pub(super) fn acme() -> TenantName {
    "acme".parse().unwrap()
}

pub(super) fn ve(name: &str) -> VeRef {
    VeRef::Name(name.parse().unwrap())
}

fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    settings.iter().map(own).collect()
}

/// Makes a VE of acme.
#[track_caller]
pub(super) fn make(host: &Arc<Host>, name: &str, settings: &[(&str, &str)]) {
    let settings = [&[("tenant", "acme")], settings].concat();
    engine(host).create(&order(name, &settings), &Silent).unwrap();
}

/// What is said when acme is changed.
#[track_caller]
fn change(host: &Arc<Host>, settings: &[(&str, &str)]) -> Vec<String> {
    let heard = Heard::default();
    engine(host)
        .set_tenant(&acme(), &pairs(settings), false, &heard)
        .unwrap();
    heard.notes()
}

pub(super) fn start_ve(host: &Arc<Host>, n: u32) -> Result<Outcome> {
    engine(host).act(id(n), &start(), &Silent)
}

#[track_caller]
pub(super) fn told(error: &Error, what: &str) {
    let text = format!("{} {:?}", chain(error), error.hints);
    assert!(text.contains(what), "{what}\n{text}");
}

#[test]
fn a_refusal_says_which_budget_and_who_has_it() {
    let host = host()
        .file("tenants/acme.toml", "memory = \"600MiB\"\n[addresses]\nipv4 = 2\n")
        .make();
    make(&host, "web1", &[]);
    make(&host, "web2", &[]);
    let error = refused(&host, Class::Limit, "create", |e| {
        e.create(&order("web3", &[("tenant", "acme")]), &Silent)
    });
    told(
        &error,
        "memory.limit: it takes 256MiB of memory, and tenant \"acme\" has 88MiB left of 600MiB (memory): \
         web1 has 256MiB, web2 has 256MiB; take less, or raise memory of the tenant",
    );
    told(
        &error,
        "it takes 1 IPv4 addresses, and tenant \"acme\" has 0 left of 2 (addresses.ipv4)",
    );
    // An address more, and a network more.
    let error = refused(&host, Class::Limit, "address", |e| {
        let wanted = Wanted::One("10.77.0.99".parse().unwrap());
        e.add_address(&ve("web1"), wanted, None, &Silent)
    });
    told(&error, "addresses.ipv4");
    let error = refused(&host, Class::Limit, "network", |e| {
        e.attach_network(&ve("web1"), &"public".parse().unwrap(), &[], &Silent)
    });
    told(&error, "addresses.ipv4");
    // IPv6 is another budget.
    let engine = engine(&host);
    engine
        .set(
            &ve("web1"),
            &pairs(&[("network+", "public"), ("network.1.addresses", "2001:db8::9")]),
            false,
            &Silent,
        )
        .unwrap();
    change(&host, &[("addresses.ipv6", "1")]);
    let six = pairs(&[("network+", "public"), ("network.1.addresses", "2001:db8::8")]);
    told(
        &engine.set(&ve("web2"), &six, false, &Silent).unwrap_err(),
        "addresses.ipv6",
    );
}

#[test]
fn a_lowered_budget_stops_only_what_grows() {
    let host = host().make();
    make(&host, "web1", &[("memory.limit", "400MiB"), ("cpu.cap", "2")]);
    make(&host, "web2", &[("memory.limit", "400MiB"), ("cpu.cap", "2")]);
    start_ve(&host, 101).unwrap();
    let heard = change(
        &host,
        &[("memory", "500MiB"), ("disk", "1GiB"), ("max_ves", "1"), ("cpu", "3")],
    );
    for line in [
        "memory is 500MiB, and 800MiB is in use (web1 has 400MiB",
        "disk is 1GiB, and 2GiB",
        "max_ves is 1, and 2",
    ] {
        assert!(heard.iter().any(|l| l.contains(line)), "{line}\n{heard:?}");
    }
    let set = |name: &str, settings: &[(&str, &str)]| engine(&host).set(&ve(name), &pairs(settings), false, &Silent);
    set("web1", &[("processes", "50")]).unwrap();
    set("web1", &[("memory.limit", "390MiB")]).unwrap();
    told(
        &set("web1", &[("memory.limit", "391MiB")]).unwrap_err(),
        "memory.limit: it takes 391MiB",
    );
    told(
        &set("web1", &[("disk.size", "1100MiB")]).unwrap_err(),
        "disk.size: it takes 1100MiB",
    );
    told(
        &set("web1", &[("cpu.cap", "2.5")]).unwrap_err(),
        "cpu.cap: it takes 2.5 processors",
    );
    set("web1", &[("cpu.cap", "1.5")]).unwrap();
    // A start is judged by what runs: web1 has 390 MiB and 1.5 processors.
    let error = refused(&host, Class::Limit, "start", |_| start_ve(&host, 102));
    told(
        &error,
        "tenant \"acme\", by what runs, has 110MiB left of 500MiB (memory): web1 has 390MiB",
    );
    told(&error, "has 1.5 left of 3 (cpu): web1 has 1.5");
    engine(&host).act(id(101), &Action::Kill, &Silent).unwrap();
    start_ve(&host, 102).unwrap();
    told(&start_ve(&host, 101).unwrap_err(), "memory.limit");
    // Suspended to disk it gives back what it had, and is judged as at a start when it goes on.
    engine(&host)
        .act(id(102), &Action::Suspend { timeout: None }, &Silent)
        .unwrap();
    start_ve(&host, 101).unwrap();
    let error = refused(&host, Class::Limit, "resume", |e| {
        e.act(id(102), &Action::Resume, &Silent)
    });
    told(&error, "web1 has 390MiB");
}

#[test]
fn two_starts_do_not_pass_a_budget_together() {
    for _ in 0..8 {
        let host = host().file("tenants/acme.toml", "memory = \"900MiB\"\n").make();
        for n in 1..=4 {
            make(&host, &format!("web{n}"), &[("memory.limit", "100MiB")]);
        }
        change(&host, &[("memory", "250MiB")]);
        let results: Vec<Result<Outcome>> = std::thread::scope(|scope| {
            let one = |n| {
                let own = again(&host);
                scope.spawn(move || start_ve(&own, n))
            };
            let running: Vec<_> = (101..=104).map(one).collect();
            running.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let started = results.iter().filter(|r| r.is_ok()).count();
        assert_eq!(started, 2, "{results:?}");
        for error in results.iter().filter_map(|r| r.as_ref().err()) {
            assert_eq!(error.class, Class::Limit);
        }
    }
}

/// A start that was cut short, and whose journal is lost, counts until its VE is next looked at, and no longer.
#[test]
fn a_start_that_nobody_finishes_takes_nothing_for_good() {
    let host = host().file("tenants/acme.toml", "memory = \"900MiB\"\n").make();
    for name in ["web1", "web2"] {
        make(&host, name, &[("memory.limit", "200MiB")]);
    }
    change(&host, &[("memory", "250MiB")]);
    let admission = host.dirs.run(id(101)).join("admitted");
    std::fs::create_dir_all(admission.parent().unwrap()).unwrap();
    std::fs::write(&admission, "").unwrap();
    told(&start_ve(&host, 102).unwrap_err(), "web1 has 200MiB");
    engine(&host)
        .act(id(101), &Action::Stop { timeout: None }, &Silent)
        .unwrap();
    start_ve(&host, 102).unwrap();
    assert!(!admission.exists());
}

#[test]
fn what_a_tenant_may_use_is_judged() {
    let host = host().make();
    make(&host, "web1", &[]);
    let heard = change(
        &host,
        &[
            ("networks", "public,other"),
            ("templates", "debian-12"),
            ("plans", "large"),
        ],
    );
    for line in [
        "there is no network \"other\" yet",
        "web1 has plan \"small\", which the tenant may not use: it can't start until that is changed",
    ] {
        assert!(heard.iter().any(|l| l == line), "{line}\n{heard:?}");
    }
    let error = refused(&host, Class::Limit, "create", |e| {
        e.create(&order("web2", &[("tenant", "acme")]), &Silent)
    });
    for part in [
        "may not use plan \"small\"",
        "may not use network \"private\"",
        "may not use template \"tiny\"",
    ] {
        told(&error, part);
    }
    // What it was made from can't be changed, so it isn't asked again.
    let error = refused(&host, Class::Limit, "start", |_| start_ve(&host, 101));
    assert!(!chain(&error).contains("template"), "{error:?}");
    engine(&host)
        .set(
            &ve("web1"),
            &pairs(&[("plan", "large"), ("network.0.network", "public")]),
            false,
            &Silent,
        )
        .unwrap();
    start_ve(&host, 101).unwrap();
}

#[test]
fn tenants_are_made_changed_and_removed() {
    let host = host().make();
    let e = engine(&host);
    let new: TenantName = "globex".parse().unwrap();
    let file = host.dirs.tenant_definition(&new);
    let error = e
        .create_tenant(&new, None, &pairs(&[("memory", "much"), ("cpus", "1")]), &Silent)
        .unwrap_err();
    told(&error, "memory");
    told(&error, "cpus");
    assert!(!file.exists());
    let mine = host.dirs.data().join("mine.toml");
    std::fs::write(&mine, "# theirs\nmax_ves = 3\n").unwrap();
    e.create_tenant(&new, Some(&mine), &pairs(&[("tags", "a,b")]), &Silent)
        .unwrap();
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "# theirs\nmax_ves = 3\ntags = [\"a\", \"b\"]\n"
    );
    assert_eq!(
        e.create_tenant(&new, None, &[], &Silent).unwrap_err().class,
        Class::Refused
    );
    let before = std::fs::read_to_string(&file).unwrap();
    let report = e
        .set_tenant(&new, &pairs(&[("max_ves", ""), ("cpu", "4")]), true, &Silent)
        .unwrap();
    let line = |key: &str, old: &str, new: &str| (key.to_owned(), old.to_owned(), new.to_owned());
    assert_eq!(
        report.applied,
        [line("max_ves", "3", "unlimited"), line("cpu", "unlimited", "4")]
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    e.set_tenant(&new, &pairs(&[("max_ves", "2")]), false, &Silent).unwrap();
    let no = e
        .set_tenant(&"none".parse().unwrap(), &pairs(&[("cpu", "1")]), false, &Silent)
        .unwrap_err();
    assert_eq!(no.class, Class::NotFound);
    e.create(&order("g1", &[("tenant", "globex")]), &Silent).unwrap();
    let (status, ves) = e.tenant(&new).unwrap();
    assert_eq!(
        (status.ves, status.running, ves[0].name.as_str(), ves[0].memory),
        (1, 0, "g1", Some(256 << 20))
    );
    assert_eq!((status.budgets[0].used, status.budgets[0].limit), (Some(1), Some(2)));
    assert_eq!(e.tenants().unwrap().len(), 3);
    told(&e.remove_tenant(&new).unwrap_err(), "it has the VEs g1");
    // Nor if nothing but its definition can be read of it.
    let record = host.dirs.ve(id(101)).join("state.toml");
    let whole = std::fs::read(&record).unwrap();
    let _ = std::fs::remove_file(record.with_file_name(".state.toml.copy"));
    std::fs::write(&record, "nonsense").unwrap();
    told(&e.remove_tenant(&new).unwrap_err(), "it has the VEs g1");
    std::fs::write(&record, whole).unwrap();
    e.act(id(101), &Action::Destroy { force: false }, &Silent).unwrap();
    let copies = host.dirs.tenant(&new);
    assert!(copies.exists());
    e.remove_tenant(&new).unwrap();
    assert!(!copies.exists() && !file.exists());
    assert_eq!(e.remove_tenant(&new).unwrap_err().class, Class::NotFound);
    told(
        &e.remove_tenant(&"default".parse().unwrap()).unwrap_err(),
        "defaults.tenant",
    );
    // One whose definition has mistakes is told of, and keeps no other from being shown.
    std::fs::write(&file, "memory = 1.5.2\n").unwrap();
    let all = e.tenants().unwrap();
    assert_eq!(
        all.iter().map(|t| t.state).collect::<Vec<_>>(),
        ["active", "active", "broken"]
    );
}

#[test]
fn a_ve_goes_to_another_tenant_with_the_tree_of_that() {
    let host = host().file("tenants/globex.toml", "max_ves = 1\n").make();
    make(&host, "web1", &[("share", "tenant")]);
    let lower = || host.state(id(101)).unwrap().lower;
    let of = |tenant: &str| host.dirs.tenant(&tenant.parse().unwrap());
    assert!(lower().starts_with(of("acme")));
    let go = |to: &str, dry_run: bool| engine(&host).set(&ve("web1"), &pairs(&[("tenant", to)]), dry_run, &Silent);
    // Not while it runs.
    started(&host);
    let error = refused(&host, Class::Refused, "running", |_| go("globex", false));
    told(&error, "hostel stop web1");
    engine(&host).act(id(101), &Action::Kill, &Silent).unwrap();
    assert_eq!(go("globex", true).unwrap().applied[0].0, "tenant");
    assert!(lower().starts_with(of("acme")));
    go("globex", false).unwrap();
    assert!(lower().starts_with(of("globex")) && lower().is_dir());
    assert_eq!(host.state(id(101)).unwrap().tenant, Some("globex".parse().unwrap()));
    started(&host);
    // The budgets of the new one are judged.
    make(&host, "web2", &[]);
    let error = refused(&host, Class::Limit, "full", |e| {
        e.set(&ve("web2"), &pairs(&[("tenant", "globex")]), false, &Silent)
    });
    told(&error, "tenant \"globex\" has 1 of the 1 VEs that it may have: web1");
    engine(&host).act(id(101), &Action::Kill, &Silent).unwrap();
    engine(&host).remove_tenant(&acme()).unwrap_err();
}

#[test]
fn a_tenant_that_was_changed_by_hand_waits_for_hostel() {
    let host = host().make();
    with_ve(&host, &[("share", "tenant")]);
    edit_by_hand(&host, &definition(&host).replace("\"default\"", "\"acme\""));
    let error = refused(&host, Class::Refused, "start", |_| act(&host, &start()));
    told(&error, "hostel set web1 tenant=acme");
    let report = engine(&host)
        .set(&web1(), &pairs(&[("tenant", "acme")]), false, &Silent)
        .unwrap();
    assert_eq!(
        report.applied,
        [("tenant".to_owned(), "default".to_owned(), "acme".to_owned())]
    );
    assert!(
        host.state(id(101))
            .unwrap()
            .lower
            .starts_with(host.dirs.tenant(&acme()))
    );
    started(&host);
    // A copy of its own goes when it shares another's.
    let host = crate::testing::host()
        .file("tenants/acme.toml", "share = \"none\"\n")
        .make();
    make(&host, "web1", &[]);
    let own = host.dirs.ve(id(101)).join("templates");
    assert!(own.exists());
    engine(&host)
        .set(&web1(), &pairs(&[("tenant", "default")]), false, &Silent)
        .unwrap();
    assert!(!own.exists());
    engine(&host)
        .set(&web1(), &pairs(&[("tenant", "acme")]), false, &Silent)
        .unwrap();
    assert!(own.exists() && host.state(id(101)).unwrap().lower.starts_with(&own));
}

#[test]
fn nothing_is_told_of_a_tenant_within_its_budgets() {
    let host = host().make();
    make(&host, "web1", &[]);
    let heard = Heard::default();
    let settings = pairs(&[("memory", "1GiB"), ("firewall.in", "deny")]);
    engine(&host).set_tenant(&acme(), &settings, false, &heard).unwrap();
    assert_eq!(
        heard.notes(),
        ["VEs that run get its access rules with: hostel firewall apply"]
    );
}
