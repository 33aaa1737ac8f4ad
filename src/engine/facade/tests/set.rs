//! Changing definitions: all or nothing, at once where it can be.

use hostel_model::definition::DriverName;
use hostel_model::request::Selection;

use super::*;
use crate::error::chain;
use crate::facade::SetReport;
use crate::testing::{fakes, host, started, with_ve};

fn set(host: &Arc<Host>, settings: &[(&str, &str)]) -> Result<SetReport> {
    let settings: Vec<_> = settings
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    engine(host).set(&web1(), &settings, false, &Silent)
}

fn running() -> Arc<Host> {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    host
}

fn keys(lines: &[(String, String, String)]) -> Vec<&str> {
    lines.iter().map(|(key, ..)| key.as_str()).collect()
}

#[test]
fn what_can_be_is_applied_at_once_and_the_rest_waits() {
    let host = running();
    edit_by_hand(&host, &format!("# a person's remark\n{}", definition(&host)));
    let report = set(
        &host,
        &[("memory.limit", "300MiB"), ("hostname", "www"), ("disk.size", "2GiB")],
    )
    .unwrap();
    assert_eq!(
        (keys(&report.applied), keys(&report.waiting)),
        (vec!["memory.limit", "disk.size"], vec!["hostname"])
    );
    let limits = fakes(&host).cgroups.ve(id(101)).unwrap().limits.unwrap();
    assert_eq!(limits.memory.limit.unwrap().get(), 300 << 20);
    assert_eq!(host.state(id(101)).unwrap().disk_size, 2 << 30);
    assert_eq!(
        hostel_system::disk::Disks::size(&*fakes(&host).disks, &host.dirs.ve(id(101))).unwrap(),
        2 << 30
    );
    assert!(definition(&host).starts_with("# a person's remark\n"));
    // Once more: nothing is left to do.
    let again = set(&host, &[("memory.limit", "300MiB")]).unwrap();
    assert!(again.applied.is_empty() && again.waiting.is_empty());
}

#[test]
fn a_failure_anywhere_changes_nothing() {
    for (fake, method) in [("cgroups", "apply"), ("disks", "grow")] {
        let host = running();
        let tell = |what: Option<&'static str>| match fake {
            "cgroups" => fakes(&host).cgroups.fail_method(what),
            _ => fakes(&host).disks.fail_method(what),
        };
        let before = inventory(&host);
        let all = [("memory.limit", "300MiB"), ("hostname", "www"), ("disk.size", "2GiB")];
        tell(Some(method));
        let error = set(&host, &all).unwrap_err();
        tell(None);
        assert!(error.message.contains(method), "{error:?}");
        // A limit that can't be set can't be set back either: that is done by the next command.
        engine(&host).lock_ve(id(101), "test", &Silent).unwrap();
        assert_eq!(inventory(&host), before, "{method}");
        set(&host, &all).unwrap();
    }
    // More in use than the new limit: the kernel says no.
    let host = running();
    fakes(&host)
        .cgroups
        .change(id(101), |ve| ve.usage.memory = Some(200 << 20));
    refused(&host, Class::Limit, "memory", |e| {
        e.set(
            &web1(),
            &[
                ("memory.limit".into(), "100MiB".into()),
                ("hostname".into(), "www".into()),
            ],
            false,
            &Silent,
        )
    });
}

#[test]
fn what_is_unsafe_or_wrong_is_refused() {
    let host = running();
    for (class, key, value) in [
        (Class::Refused, "disk.size", "512MiB"), // while it runs
        (Class::Refused, "id", "150"),
        (Class::Usage, "name", "web2"), // as the file is named
        (Class::Refused, "tenant", "acme"),
        (Class::Refused, "share", "host"),
        (Class::NotFound, "plan", "huge"),
        (Class::NotFound, "network.0.network", "nowhere"),
        (Class::Usage, "memory.limit", "1MiB"), // too little to live in
        (Class::Usage, "memory.limit", "-1"),
        (Class::Usage, "no.such.key", "1"),
    ] {
        refused(&host, class, key, |e| {
            e.set(
                &web1(),
                &[("hostname".into(), "www".into()), (key.into(), value.into())],
                false,
                &Silent,
            )
        });
    }
    act(&host, &Action::Stop { timeout: None }).unwrap();
    fakes(&host).disks.fill(&host.dirs.ve(id(101)), 600 << 20);
    refused(&host, Class::Limit, "shrink", |e| {
        e.set(&web1(), &[("disk.size".into(), "512MiB".into())], false, &Silent)
    });
    set(&host, &[("disk.size", "700MiB")]).unwrap();
    assert_eq!(host.state(id(101)).unwrap().disk_size, 700 << 20);
}

#[test]
fn a_dry_run_says_all_and_does_nothing() {
    let host = running();
    let before = inventory(&host);
    let settings = [
        ("memory.limit".to_owned(), "300MiB".to_owned()),
        ("hostname".to_owned(), "www".to_owned()),
    ];
    let dry = engine(&host).set(&web1(), &settings, true, &Silent).unwrap();
    assert_eq!(inventory(&host), before);
    let done = engine(&host).set(&web1(), &settings, false, &Silent).unwrap();
    assert!(dry.dry_run && !done.dry_run);
    assert_eq!((dry.applied, dry.waiting), (done.applied, done.waiting));
}

/// As an editor does that read what there is now.
fn edited(host: &Arc<Host>, text: &str) -> Result<SetReport> {
    engine(host).replace_definition(&web1(), &definition(host), text, &Silent)
}

#[test]
fn an_edited_text_is_a_change_like_any_other() {
    let host = running();
    let text = definition(&host).replace("plan = \"small\"", "plan = \"large\"");
    let report = edited(&host, &text).unwrap();
    assert!(keys(&report.applied).contains(&"memory.limit"), "{report:?}");
    assert_eq!(definition(&host), text);
    assert_eq!(host.state(id(101)).unwrap().disk_size, 8 << 30);
    let error = refused(&host, Class::Usage, "nonsense", |e| {
        e.replace_definition(
            &web1(),
            &text,
            "id = 101\nname = \"web1\"\nplan = 7\nfoo = 1\n",
            &Silent,
        )
    });
    let mistakes = crate::error::chain(&error);
    assert!(mistakes.contains("plan") && mistakes.contains("foo"), "{mistakes}");
}

/// The editor's text was made of what there was before somebody's `set`, for whose lock it has waited.
#[test]
fn an_edited_text_overwrites_nothing_that_came_meanwhile() {
    let host = running();
    let read = definition(&host);
    let edited = read.replace("plan = \"small\"", "plan = \"large\"");
    set(&host, &[("memory.limit", "300MiB")]).unwrap();
    let now = definition(&host);
    let error = refused(&host, Class::Busy, "an old text", |e| {
        e.replace_definition(&web1(), &read, &edited, &Silent)
    });
    assert!(error.message.contains("changed by somebody else"), "{error:?}");
    assert_eq!(definition(&host), now);
    engine(&host)
        .replace_definition(&web1(), &now, &edited, &Silent)
        .unwrap();
    assert_eq!(definition(&host), edited);
}

/// A person's own text is never overwritten unread: neither by the change, nor by its undo.
#[test]
fn what_a_person_saves_in_the_middle_of_a_change_stays() {
    let (writing, moves) = ("writing the definition", ("disk.driver", "project"));
    for (setting, step, class) in [
        (("memory.limit", "300MiB"), writing, Class::Busy),
        (moves, writing, Class::Busy),
        // A later step, which fails.
        (("memory.limit", "300MiB"), "changing limits", Class::Failed),
        (moves, "copying the disk", Class::Failed),
    ] {
        let host = two_drivers();
        if setting != moves {
            started(&host);
        }
        let theirs = format!("# mine\n{}", definition(&host));
        let saves = || {
            edit_by_hand(&host, &theirs);
            let n = usize::from(class == Class::Failed);
            match setting == moves {
                true => fakes(&host).project.fail_call(n),
                false => fakes(&host).cgroups.fail_call(n),
            };
        };
        let settings = [(setting.0.to_owned(), setting.1.to_owned())];
        let error = engine(&host)
            .set(&web1(), &settings, false, &At(step, &saves))
            .unwrap_err();
        assert_eq!(error.class, class, "{setting:?} at {step}: {error:?}");
        assert!(error.also.is_empty(), "{error:?}");
        assert_eq!(definition(&host), theirs, "{setting:?} at {step}");
    }
}

#[test]
fn a_broken_definition_is_still_its_tenants() {
    let host = host().make();
    with_ve(&host, &[]);
    let whole = definition(&host);
    let select = |tenant: &str| {
        let selection = Selection::Tenant(tenant.parse().unwrap());
        let heard = Heard::default();
        let found = engine(&host).select(&selection, &heard).unwrap();
        (found.iter().map(|ve| ve.id).collect::<Vec<_>>(), heard.notes())
    };
    edit_by_hand(&host, "nonsense");
    assert_eq!(select("default"), (vec![id(101)], vec![]));
    assert_eq!(select("acme"), (vec![], vec![]));
    assert_eq!(engine(&host).status(&web1()).unwrap().tenant, "default");
    // And can't be mended into another's.
    let other = whole.replace("tenant = \"default\"", "tenant = \"acme\"");
    let error = refused(&host, Class::Refused, "another's", |e| {
        e.replace_definition(&web1(), "nonsense", &other, &Silent)
    });
    assert!(error.message.contains("tenant of web1 can't be changed"), "{error:?}");
    edited(&host, &whole).unwrap();
    // A record of a time when this wasn't kept: whoever is passed over is named. The next start or change keeps it.
    let forget = || {
        let mut state = host.state(id(101)).unwrap();
        state.tenant = None;
        state.write(&host.dirs.ve(id(101))).unwrap();
    };
    forget();
    edit_by_hand(&host, "nonsense");
    let (found, notes) = select("default");
    assert!(
        found.is_empty() && notes.len() == 1 && notes[0].contains("VE 101 (web1) is passed over"),
        "{notes:?}"
    );
    edit_by_hand(&host, &whole);
    let known = || host.state(id(101)).unwrap().tenant.is_some();
    assert!(!known());
    set(&host, &[("memory.limit", "300MiB")]).unwrap();
    assert!(known());
    forget();
    started(&host);
    assert!(known());
}

/// A host whose file system has project quotas too.
fn two_drivers() -> Arc<Host> {
    let host = host().make();
    with_ve(&host, &[]);
    fakes(&host).project.lack(None);
    host
}

#[test]
fn a_stopped_ves_disk_moves() {
    let host = two_drivers();
    let files = fakes(&host).disks.files(&host.dirs.ve(id(101)));
    std::fs::create_dir_all(files.join("upper")).unwrap();
    std::fs::write(files.join("upper/kept"), "x").unwrap();
    let change = |host: &Arc<Host>| set(host, &[("disk.driver", "project"), ("disk.size", "2GiB")]);
    let report = engine(&host)
        .set(&web1(), &[("disk.driver".into(), "project".into())], true, &Silent)
        .unwrap();
    assert_eq!(keys(&report.applied), ["disk.driver"]);
    assert_eq!(
        host.state(id(101)).unwrap().driver,
        DriverName::Image,
        "that was a dry run"
    );
    let report = change(&host).unwrap();
    assert_eq!(keys(&report.applied), ["disk.size", "disk.driver"]);
    let state = host.state(id(101)).unwrap();
    assert_eq!((state.driver, state.disk_size), (DriverName::Project, 2 << 30));
    let files = fakes(&host).project.files(&host.dirs.ve(id(101)));
    assert_eq!(std::fs::read_to_string(files.join("upper/kept")).unwrap(), "x");
    assert!(engine(&host).audit(false).unwrap().is_empty());
    // Once more: there it is. And what can be done with it now is done by the driver that has it.
    assert!(change(&host).unwrap().applied.is_empty());
    started(&host);
    set(&host, &[("disk.size", "3GiB")]).unwrap();
    assert_eq!(host.state(id(101)).unwrap().disk_size, 3 << 30);
    assert!(fakes(&host).disks.inventory().is_empty());
}

#[test]
fn a_disk_stays_where_a_move_would_be_wrong() {
    let told = |host: &Arc<Host>, class: Class, what: &str| {
        let before = crate::testing::inventory(host);
        let error = set(host, &[("disk.driver", "project")]).unwrap_err();
        assert_eq!(error.class, class, "{error:?}");
        let text = format!("{} {:?}", chain(&error), error.hints);
        assert!(text.contains(what), "{text}");
        assert_eq!(crate::testing::inventory(host), before);
    };
    let host = two_drivers();
    started(&host);
    told(&host, Class::Refused, "hostel stop web1");
    let host = two_drivers();
    fakes(&host).project.lack(Some("no quotas there"));
    told(&host, Class::Refused, "no quotas there");
    let host = two_drivers();
    fakes(&host).disks.fill(&host.dirs.ve(id(101)), (1 << 30) - 4096);
    told(&host, Class::Limit, "raise disk.size");
    // A move reserves no address: the next VE might be given it meanwhile.
    let host = two_drivers();
    let before = crate::testing::inventory(&host);
    let both = [("disk.driver", "project"), ("network.0.addresses", "10.77.0.9")];
    let error = set(&host, &both).unwrap_err();
    assert_eq!(error.class, Class::Refused, "{error:?}");
    assert!(error.message.contains("addresses"), "{error:?}");
    assert_eq!(crate::testing::inventory(&host), before);
    set(&host, &both[..1]).unwrap();
    set(&host, &both[1..]).unwrap();
    let addresses: Vec<_> = host.state(id(101)).unwrap().addresses().collect();
    assert_eq!(addresses, ["10.77.0.9".parse::<std::net::IpAddr>().unwrap()]);
    // A default that has changed concerns new VEs alone.
    let host = two_drivers();
    set(&host, &[("memory.limit", "300MiB")]).unwrap();
    assert_eq!(host.state(id(101)).unwrap().driver, DriverName::Image);
    assert_eq!(host.usual_driver(), DriverName::Project);
}

#[test]
fn limits_that_quotas_of_other_hands_left_are_found() {
    let host = two_drivers();
    fakes(&host).project.leave(1 << 20);
    fakes(&host).project.leave(5);
    let found = engine(&host).audit(true).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].kind == "quota" && found[0].fixed);
    assert!(engine(&host).audit(false).unwrap().is_empty());
}

#[test]
fn a_cap_shows_in_the_payload_where_lxcfs_is_to_see_it() {
    let revealed = |lxcfs: bool| {
        let lines = if lxcfs { "proc.view = \"lxcfs\"\n" } else { "" };
        let host = host().hostel(lines).make();
        with_ve(&host, &[("cpu.cap", "1.5")]);
        started(&host);
        let at_start = fakes(&host).cgroups.ve(id(101)).unwrap().revealed;
        set(&host, &[("cpu.cap", "2")]).unwrap();
        (at_start, fakes(&host).cgroups.ve(id(101)).unwrap().revealed)
    };
    assert_eq!(revealed(true), (Some(1500), Some(2000)));
    assert_eq!(revealed(false), (None, None));
}

#[test]
fn a_suspended_ves_disk_keeps_its_size() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    act(&host, &Action::Suspend { timeout: None }).unwrap();
    let error = set(&host, &[("disk.size", "20GiB")]).unwrap_err();
    assert_eq!(error.class, Class::Refused);
    assert!(error.to_string().contains("suspended"), "{error}");
    set(&host, &[("processes", "50")]).unwrap();
    act(&host, &Action::Resume).unwrap();
    set(&host, &[("disk.size", "20GiB")]).unwrap();
}
