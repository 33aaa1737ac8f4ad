//! Making VEs: nothing is given twice, also when many are made at once.

use std::collections::BTreeSet;

use super::*;
use crate::op::create::Create;
use crate::testing::{again, host, order, with_ve};

/// Twelve at once, by processes that know nothing of each other.
#[test]
fn many_at_once_get_what_is_theirs_alone() {
    let host = host().make();
    std::thread::scope(|scope| {
        for n in 0..12 {
            let host = &host;
            scope.spawn(move || {
                let own = again(host);
                engine(&own).create(&order(&format!("web{n}"), &[]), &Silent).unwrap();
            });
        }
    });
    let states: Vec<_> = host.states().unwrap().into_iter().map(|(_, s)| s.unwrap()).collect();
    assert_eq!(states.len(), 12);
    let count = |set: BTreeSet<String>| set.len();
    assert_eq!(count(states.iter().map(|s| s.slot.to_string()).collect()), 12);
    assert_eq!(count(states.iter().map(|s| s.name.to_string()).collect()), 12);
    assert_eq!(
        count(
            states
                .iter()
                .flat_map(|s| &s.interfaces[0].addresses)
                .map(ToString::to_string)
                .collect()
        ),
        12
    );
    // No holes: who lost a race drew again.
    assert_eq!(
        states.iter().map(|s| s.id.get()).collect::<Vec<_>>(),
        (101..113).collect::<Vec<_>>()
    );
}

#[test]
fn of_two_with_one_name_one_wins() {
    for settings in [&[][..], &[("id", "150")]] {
        let host = host().make();
        let results: Vec<_> = std::thread::scope(|scope| {
            let make = |_| {
                let own = again(&host);
                scope.spawn(move || engine(&own).create(&order("web1", settings), &Silent))
            };
            let running: Vec<_> = (0..4).map(make).collect();
            running.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
        for error in results.into_iter().filter_map(Result::err) {
            assert!(matches!(error.class, Class::Refused | Class::Busy), "{error:?}");
        }
        assert_eq!(host.states().unwrap().len(), 1);
        assert_eq!(host.journals.pending().unwrap(), []);
    }
}

#[test]
fn what_was_drawn_and_taken_meanwhile_is_drawn_again() {
    let host = host().make();
    let slow = again(&host);
    let mut planned = engine(&slow)
        .plan_create(&order("late", &[("id", "150")]), &Silent)
        .unwrap();
    with_ve(&host, &[]);
    let first = host.state(id(101)).unwrap();
    assert_eq!(
        (first.slot, &first.interfaces[0].addresses),
        (planned.state.slot, &planned.state.interfaces[0].addresses)
    );
    engine(&slow).run::<Create>(id(150), &planned, &Silent).unwrap();
    let late = host.state(id(150)).unwrap();
    assert_ne!(late.slot, first.slot);
    assert_ne!(late.interfaces[0].addresses, first.interfaces[0].addresses);
    // A name or an id can't be drawn again.
    planned.state.id = id(151);
    refused(&host, Class::Busy, "name", |e| {
        e.run::<Create>(id(151), &planned, &Silent)
    });
    refused(&host, Class::Busy, "id", |e| {
        e.run::<Create>(id(150), &planned, &Silent)
    });
}

#[test]
fn what_is_taken_unknown_or_wrong_is_refused_and_nothing_is_left() {
    let host = host().make();
    with_ve(
        &host,
        &[
            ("network.0.network", "public"),
            ("network.0.addresses", "[\"203.0.113.5\"]"),
        ],
    );
    let public = |address: &'static str| vec![("network.0.network", "public"), ("network.0.addresses", address)];
    for (class, name, settings) in [
        (Class::Refused, "web1", vec![]),
        (Class::Refused, "web2", vec![("id", "101")]),
        (Class::Refused, "web2", public("[\"203.0.113.5\"]")),
        (Class::Usage, "web2", public("[\"198.51.100.5\"]")),
        (Class::NotFound, "web2", vec![("plan", "huge")]),
        (Class::NotFound, "web2", vec![("tenant", "nobody")]),
        (Class::NotFound, "web2", vec![("template", "debian-99")]),
        (Class::NotFound, "web2", vec![("network.0.network", "nowhere")]),
        (Class::Usage, "web2", vec![("memory.limit", "much")]),
        (Class::Usage, "web2", vec![("no.such.key", "1")]),
        (Class::Usage, "Web 2", vec![]),
        (Class::Usage, "../web2", vec![]),
        (Class::Usage, "", vec![]),
        (Class::Usage, "web2", vec![("id", "7")]),
    ] {
        refused(&host, class, &format!("{name} {settings:?}"), |e| {
            e.create(&order(name, &settings), &Silent)
        });
    }
}

#[test]
fn pools_and_ranges_run_out_with_a_word() {
    let host = host()
        .hostel("")
        .file(
            "networks/private.toml",
            "kind = \"routed\"\npools = [\"192.0.2.0/30\"]\n",
        )
        .make();
    let mut made = 0;
    let error = loop {
        match engine(&host).create(&order(&format!("web{made}"), &[]), &Silent) {
            Ok(_) => made += 1,
            Err(e) => break e,
        }
    };
    assert!(
        (1..4).contains(&made) && error.class == Class::Limit,
        "{made}: {error:?}"
    );
    let host = crate::testing::host().hostel("idmap.count = 1\n").make();
    with_ve(&host, &[]);
    let error = refused(&host, Class::Limit, "slots", |e| e.create(&order("web2", &[]), &Silent));
    assert!(error.message.contains("range of user ids"), "{error:?}");
}

/// A destroyed VE's things are free again, and a template goes when nobody stands on it.
#[test]
fn what_a_ve_had_is_free_when_it_is_gone() {
    let host = host().make();
    with_ve(&host, &[]);
    let first = host.state(id(101)).unwrap();
    let used = refused(&host, Class::Refused, "template", |e| e.template_remove("tiny"));
    assert!(used.message.contains("web1"), "{used:?}");
    act(&host, &Action::Destroy { force: false }).unwrap();
    with_ve(&host, &[]);
    let second = host.state(id(101)).unwrap();
    assert_eq!(
        (first.slot, &first.interfaces[0].mac),
        (second.slot, &second.interfaces[0].mac)
    );
    // But for its address, which those who knew it have to forget first.
    assert_ne!(first.interfaces[0].addresses, second.interfaces[0].addresses);
    assert_ne!(first.seed, second.seed, "another VE is another machine");
}

/// A VE that is being made stands on its template already.
#[test]
fn a_template_under_a_ve_in_the_making_stays() {
    let host = host().make();
    let planned = engine(&host).plan_create(&order("web1", &[]), &Silent).unwrap();
    let staging = host.dirs.staging(id(101));
    std::fs::create_dir(&staging).unwrap();
    planned.state.write(&staging).unwrap();
    refused(&host, Class::Refused, "template", |e| e.template_remove("tiny"));
}

/// Nor does it go from under one whose record is damaged.
#[test]
fn a_template_under_a_damaged_ve_stays() {
    let host = host().make();
    with_ve(&host, &[]);
    for copy in ["state.toml", ".state.toml.copy"] {
        let record = host.dirs.ve(id(101)).join(copy);
        let text = std::fs::read_to_string(&record).unwrap();
        std::fs::write(&record, text.replace("disk_size", "disk-size")).unwrap();
    }
    assert!(host.state(id(101)).is_err());
    let used = refused(&host, Class::Refused, "template", |e| e.template_remove("tiny"));
    assert!(used.message.contains("web1"), "{used:?}");
}

#[test]
fn each_way_of_sharing_has_its_tree() {
    for (share, tree) in [
        ("tenant", "data/tenants/acme/templates/tiny/20260101T000000Z/root"),
        ("host", "templates/tiny/20260101T000000Z/root"),
        ("none", "data/ve/101/templates/tiny/20260101T000000Z/root"),
    ] {
        let host = host().make();
        with_ve(&host, &[("share", share), ("tenant", "acme")]);
        let lower = host.state(id(101)).unwrap().lower;
        assert!(lower.ends_with(tree), "{share}: {}", lower.display());
        assert!(lower.join("sbin/init").is_file(), "{share}");
        act(&host, &start()).unwrap();
    }
}

/// A person put a definition where Hostel keeps them.
const DROPPED: &str = "# by hand\ntenant = \"acme\"\ntemplate = \"tiny\" # small\nplan = \"small\"\n";

fn dropped(host: &Arc<Host>) -> hostel_model::request::Create {
    edit_by_hand(host, DROPPED);
    hostel_model::request::Create {
        file: Some(host.dirs.definition(&"web1".parse().unwrap())),
        ..Default::default()
    }
}

#[test]
fn a_definition_that_is_in_its_place_already_becomes_a_ve() {
    let host = host().make();
    let request = dropped(&host);
    let error = refused(&host, Class::Refused, "by another way", |e| {
        e.create(&order("web1", &[]), &Silent)
    });
    assert!(error.hints[0].contains("create --file"), "{error:?}");
    assert_eq!(engine(&host).create(&request, &Silent).unwrap().id, id(101));
    let text = definition(&host);
    assert!(text.contains("# by hand") && text.contains("id = 101"), "{text}");
    assert_eq!(engine(&host).status(&web1()).unwrap().tenant, "acme");
    refused(&host, Class::Refused, "again", |e| e.create(&request, &Silent));
}

#[test]
fn a_file_that_is_changed_while_a_ve_is_made_of_it_is_never_lost() {
    let host = host().make();
    let request = dropped(&host);
    let planned = engine(&host).plan_create(&request, &Silent).unwrap();
    edit_by_hand(&host, "# better\n");
    refused(&host, Class::Busy, "changed", |e| {
        e.run::<Create>(id(101), &planned, &Silent)
    });
    // Nor one that comes to be there only then.
    std::fs::remove_file(request.file.unwrap()).unwrap();
    let planned = engine(&host).plan_create(&order("web1", &[]), &Silent).unwrap();
    edit_by_hand(&host, DROPPED);
    refused(&host, Class::Busy, "new", |e| {
        e.run::<Create>(id(101), &planned, &Silent)
    });
}
