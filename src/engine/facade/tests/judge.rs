//! One policy for every verb, at the moment it commits: no way leads past it.

use hostel_model::request::Exec;
use hostel_system::cgroup::{FakeCgroups, Limit, Support};
use hostel_system::process::Switches;

use super::*;
use crate::error::chain;
use crate::op::create::Create;
use crate::testing::{Builder, fakes, host, order, started, with_ve};
use crate::ve::record::RunRecord;

/// The plan's file, with these lines.
fn plan(lines: &str) -> Builder {
    host().file(
        "plans/small.toml",
        &format!("processes = 100\n[memory]\nlimit = \"256MiB\"\n[disk]\nsize = \"1GiB\"\n{lines}"),
    )
}

/// Every feature that a plan grants or not.
fn features() -> Vec<&'static str> {
    let host = host().make();
    with_ve(&host, &[]);
    let effective = host
        .effective(&"web1".parse().unwrap(), &mut Default::default())
        .unwrap();
    let names: Vec<_> = effective
        .features
        .iter()
        .map(|(key, _)| key.trim_start_matches("features."))
        .collect();
    assert!(names.len() >= 7, "{names:?}");
    names
}

/// Every verb that commits to a definition, each asked to open `feature` on a VE that is fine without.
const VERBS: [&str; 5] = ["create", "create --file", "set", "edit", "start"];

fn ask(host: &Arc<Host>, verb: &str, feature: &str) -> Result<()> {
    let e = engine(host);
    let key = format!("features.{feature}");
    let open = |text: &str| format!("{text}\n[features]\n{feature} = true\n");
    match verb {
        "create" => e.create(&order("web2", &[(&key, "true")]), &Silent).map(drop),
        "create --file" => {
            let file = host.dirs.data().join("ve.toml");
            let text = definition(host).replace("id = 101", "id = 102").replace("web1", "web2");
            std::fs::write(&file, open(&text)).unwrap();
            let made = e.create(
                &hostel_model::request::Create {
                    file: Some(file.clone()),
                    ..order("web2", &[])
                },
                &Silent,
            );
            std::fs::remove_file(file).unwrap();
            made.map(drop)
        }
        "set" => e.set(&web1(), &[(key, "true".into())], false, &Silent).map(drop),
        "edit" => e
            .replace_definition(&web1(), &definition(host), &open(&definition(host)), &Silent)
            .map(drop),
        "start" => {
            let old = definition(host);
            edit_by_hand(host, &open(&old));
            let started = e.act(id(101), &start(), &Silent).map(drop);
            if started.is_err() {
                edit_by_hand(host, &old);
            }
            started
        }
        other => panic!("{other}"),
    }
}

/// Which switch is which.
fn only(feature: &str) -> Switches {
    let on = |name| feature == name;
    Switches {
        nesting: on("nesting"),
        io_uring: on("io_uring"),
        keyring: on("keyring"),
        fuse: on("fuse"),
        tun: on("tun"),
        compat32: on("compat32"),
        ipsec: on("ipsec"),
    }
}

#[test]
fn what_the_plan_does_not_grant_no_verb_gives() {
    for feature in features() {
        for lines in [
            String::new(),
            format!("[features]\n{feature} = false\n"),
            "[features]\n".to_owned(),
        ] {
            let host = plan(&lines).make();
            with_ve(&host, &[]);
            for verb in VERBS {
                let what = format!("{verb} with {feature} under {lines:?}");
                let error = refused(&host, Class::Limit, &what, |_| ask(&host, verb, feature));
                assert!(
                    chain(&error).contains(&format!("features.{feature}")),
                    "{what}: {error:?}"
                );
            }
            // Omitted everywhere: closed.
            started(&host);
            assert_eq!(
                fakes(&host).guests.switches(101),
                Some(Switches::default()),
                "{feature}"
            );
        }
    }
}

/// 1 GiB has room for 2 097 152 files, 64 MiB for 131 072.
#[test]
fn more_files_than_the_disk_has_room_for_are_refused_by_every_verb() {
    let most = "disk.inodes: a disk with the disk.size of 1GiB can't be made for 2097153 files; \
                have at most 2097152, or raise disk.size";
    let told = |e: &Error, what: &str| assert!(chain(e).contains(what), "{e:?}");
    let host = host().make();
    let e = refused(&host, Class::Usage, "create", |e| {
        e.create(&order("web1", &[("disk.inodes", "2097153")]), &Silent)
    });
    told(&e, most);
    let e = refused(&host, Class::Usage, "too few", |e| {
        e.create(&order("web1", &[("disk.inodes", "15")]), &Silent)
    });
    told(&e, "have at least 16");
    let e = refused(&host, Class::Usage, "too large", |e| {
        e.create(&order("web1", &[("disk.size", "17TiB")]), &Silent)
    });
    told(
        &e,
        "disk.size: 17TiB is more than a disk of driver image can have; give at most 16TiB",
    );
    with_ve(&host, &[("disk.inodes", "131073")]);
    let set = |size: &str| vec![("disk.size".to_owned(), size.to_owned())];
    for dry_run in [true, false] {
        let e = refused(&host, Class::Usage, "a smaller disk", |e| {
            e.set(&web1(), &set("64MiB"), dry_run, &Silent)
        });
        told(&e, "have at most 131072, or raise disk.size");
    }
    engine(&host).set(&web1(), &set("65MiB"), false, &Silent).unwrap();
    edit_by_hand(&host, &definition(&host).replace("65MiB", "64MiB"));
    told(
        &refused(&host, Class::Usage, "start", |_| act(&host, &start())),
        "131073 files",
    );
    // By a plan too, under which no VE can be made.
    let host = plan("inodes = 2097153\n").make();
    let e = refused(&host, Class::Usage, "plan", |e| e.create(&order("web1", &[]), &Silent));
    told(&e, most);
}

#[test]
fn what_the_plan_grants_every_verb_gives() {
    for feature in features() {
        for verb in VERBS {
            let host = plan(&format!("[features]\n{feature} = true\n")).make();
            with_ve(&host, &[]);
            ask(&host, verb, feature).unwrap_or_else(|e| panic!("{verb} {feature}: {e:?}"));
        }
        // Omitted by the VE: as the plan has it. Closed by the VE: closed.
        for (settings, open) in [
            (&[][..], only(feature)),
            (&[(format!("features.{feature}"), "false")], Switches::default()),
        ] {
            let host = plan(&format!("[features]\n{feature} = true\n")).make();
            let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), *v)).collect();
            with_ve(&host, &settings);
            started(&host);
            assert_eq!(fakes(&host).guests.switches(101), Some(open), "{feature} {settings:?}");
        }
    }
}

#[test]
fn a_switch_is_spelled_right_or_refused() {
    let host = host().make();
    with_ve(&host, &[]);
    for line in [
        "nesting = \"\"",
        "nesting = \"true\"",
        "Nesting = true",
        "nesting = 1",
        "nestin = true",
    ] {
        let text = format!("{}\n[features]\n{line}\n", definition(&host));
        refused(&host, Class::Usage, line, |e| {
            e.replace_definition(&web1(), &definition(&host), &text, &Silent)
        });
    }
}

fn restart() -> Action {
    Action::Restart {
        timeout: None,
        start: StartOptions::default(),
    }
}

/// With what an entry is made.
fn entered_with(host: &Arc<Host>) -> Option<Switches> {
    let command = Exec {
        argv: vec!["true".into()],
        ..Exec::default()
    };
    engine(host).exec(&web1(), &command).unwrap();
    fakes(host).guests.entered()
}

/// A definition edited while its VE runs opens nothing to those who go in now.
#[test]
fn an_entry_has_no_more_than_the_plan_grants() {
    for feature in features() {
        let host = host().make();
        with_ve(&host, &[]);
        started(&host);
        edit_by_hand(&host, &format!("{}\n[features]\n{feature} = true\n", definition(&host)));
        assert_eq!(entered_with(&host), Some(Switches::default()), "{feature}");
        // Nor does a lost record.
        RunRecord::remove(&host.dirs.run(id(101))).unwrap();
        assert_eq!(entered_with(&host), Some(Switches::default()), "{feature}");
    }
}

/// A switch changes at a restart, for all inside: those who go in have what init has.
#[test]
fn an_entry_has_what_its_ve_runs_with() {
    for feature in features() {
        let (key, closed) = (format!("features.{feature}"), Some(Switches::default()));
        let open = Some(only(feature));
        let change = |host: &Arc<Host>, value: &str| {
            let settings = [(key.clone(), value.to_owned())];
            let report = engine(host).set(&web1(), &settings, false, &Silent).unwrap();
            assert_eq!(report.waiting.len(), 1, "{key}");
        };
        let host = plan(&format!("[features]\n{feature} = true\n")).make();
        with_ve(&host, &[(&key, "false")]);
        started(&host);
        change(&host, "true");
        assert_eq!(
            (fakes(&host).guests.switches(101), entered_with(&host)),
            (closed, closed),
            "{key}"
        );
        act(&host, &restart()).unwrap();
        assert_eq!(
            (fakes(&host).guests.switches(101), entered_with(&host)),
            (open, open),
            "{key}"
        );
        change(&host, "false");
        assert_eq!(
            (fakes(&host).guests.switches(101), entered_with(&host)),
            (open, open),
            "{key}"
        );
        edit_by_hand(&host, "nonsense");
        assert_eq!(
            entered_with(&host),
            open,
            "{key}: as init has it, whatever is in the file"
        );
    }
}

#[test]
fn a_policy_that_changes_between_the_plan_and_the_commit_counts() {
    let host = plan("[features]\nnesting = true\n").make();
    let planned = engine(&host)
        .plan_create(&order("web1", &[("features.nesting", "true")]), &Silent)
        .unwrap();
    let file = host.dirs.definitions("plans").join("small.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("nesting = true", "")).unwrap();
    refused(&host, Class::Limit, "create", |e| {
        e.run::<Create>(id(101), &planned, &Silent)
    });
}

/// Budgets of a tenant that has one VE of 256 MiB and 1 GiB.
const BUDGETS: [(&str, &str); 4] = [
    ("max_ves = 1\n", "tenant"),
    ("memory = \"300MiB\"\n", "memory.limit"),
    ("disk = \"1500MiB\"\n", "disk.size"),
    ("plans = [\"small\"]\n", "plan"),
];

#[test]
fn a_tenants_budget_holds_for_every_verb() {
    for (budget, key) in BUDGETS {
        let host = host().file("tenants/acme.toml", budget).make();
        with_ve(&host, &[("tenant", "acme")]);
        let large = [("tenant", "acme"), ("plan", "large")];
        let error = refused(&host, Class::Limit, budget, |e| {
            e.create(&order("web2", &large), &Silent)
        });
        assert!(chain(&error).contains(&format!(": {key}: ")), "{budget}: {error:?}");
        if key != "tenant" {
            refused(&host, Class::Limit, budget, |e| {
                e.set(&web1(), &[("plan".into(), "large".into())], false, &Silent)
            });
            let text = definition(&host).replace("plan = \"small\"", "plan = \"large\"");
            refused(&host, Class::Limit, budget, |e| {
                e.replace_definition(&web1(), &definition(&host), &text, &Silent)
            });
            let old = definition(&host);
            edit_by_hand(&host, &text);
            refused(&host, Class::Limit, budget, |e| e.act(id(101), &start(), &Silent));
            edit_by_hand(&host, &old);
        }
        // Within it all is well, and another tenant's is another's.
        started(&host);
        engine(&host)
            .create(&order("web3", &[("plan", "large")]), &Silent)
            .unwrap();
    }
}

/// Each fits alone, and not both: by two processes at once.
#[test]
fn a_budget_is_not_passed_together() {
    let host = host().file("tenants/acme.toml", "max_ves = 1\n").make();
    let made = at_once(&host, |e, n| {
        e.create(&order(&format!("web{n}"), &[("tenant", "acme")]), &Silent)
            .map(drop)
    });
    assert_eq!((made, host.states().unwrap().len()), (1, 1));
    let host = crate::testing::host()
        .file("tenants/acme.toml", "memory = \"900MiB\"\n")
        .make();
    for n in 1..=2 {
        engine(&host)
            .create(&order(&format!("web{n}"), &[("tenant", "acme")]), &Silent)
            .unwrap();
    }
    let raised = at_once(&host, |e, n| {
        let ve = VeRef::Name(format!("web{n}").parse().unwrap());
        e.set(&ve, &[("memory.limit".into(), "600MiB".into())], false, &Silent)
            .map(drop)
    });
    assert_eq!(raised, 1);
}

/// How many of two (1 and 2) succeed.
fn at_once(host: &Arc<Host>, act: impl Fn(&Engine, usize) -> Result<()> + Sync) -> usize {
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let one = |n| {
            let (own, act) = (crate::testing::again(host), &act);
            scope.spawn(move || act(&engine(&own), n))
        };
        let running: Vec<_> = (1..=2).map(one).collect();
        running.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for error in results.iter().filter_map(|r| r.as_ref().err()) {
        assert_eq!(error.class, Class::Limit, "{error:?}");
    }
    results.iter().filter(|r| r.is_ok()).count()
}

#[test]
fn a_weight_is_refused_where_the_disk_is_one_that_it_has_no_effect_on() {
    let part = || FakeCgroups::new().with(Limit::IoWeight, &Support::Partly("a test".to_owned()));
    let host = host().cgroups(part()).make();
    let asked = |driver: &str| order("web1", &[("io.weight", "200"), ("disk.driver", driver)]);
    let error = refused(&host, Class::Limit, "create", |e| e.create(&asked("image"), &Silent));
    assert!(error.hints.iter().any(|h| h.contains("io.weight: a test")), "{error:?}");
    fakes(&host).project.lack(None);
    engine(&host).create(&asked("project"), &Silent).unwrap();
}

#[test]
fn a_limit_that_the_host_cannot_hold_is_refused_or_warned_about() {
    let poor = || FakeCgroups::new().without(Limit::Processes, "a test");
    let host = host().cgroups(poor()).make();
    let error = refused(&host, Class::Limit, "create", |e| {
        e.create(&order("web1", &[]), &Silent)
    });
    assert!(
        error
            .hints
            .iter()
            .any(|h| h.contains("processes") && h.contains("a test")),
        "{error:?}"
    );
    let host = crate::testing::host()
        .cgroups(poor())
        .hostel("unenforceable = \"warn\"\n")
        .make();
    with_ve(&host, &[]);
    started(&host);
    let applied = fakes(&host).cgroups.ve(id(101)).unwrap().limits.unwrap();
    assert!(applied.processes.is_none() && applied.memory.limit.is_some());
}
