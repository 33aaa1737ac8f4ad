//! A VE made anew from a template.

use super::*;
use crate::ledger::Ledger;
use crate::op::reinstall::Reinstall;
use crate::step::Operation;
use crate::testing::{add_template, fakes, host, order, started, with_ve};

const FILED: &str = "upper/root/mine";

/// A VE with an address that nobody named, and a file of its own; another has taken an address after it.
fn with_file(host: &Arc<Host>) {
    with_ve(host, &[]);
    engine(host).create(&order("web2", &[]), &Silent).unwrap();
    let file = fakes(host).disks.files(&host.dirs.ve(id(101))).join(FILED);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "mine").unwrap();
}

fn has_file(host: &Host) -> bool {
    fakes(host).disks.files(&host.dirs.ve(id(101))).join(FILED).exists()
}

fn reinstall(host: &Arc<Host>, template: Option<&str>) -> Result<()> {
    let template = template.map(|text| text.parse().unwrap());
    engine(host).reinstall(&web1(), template.as_ref(), &Silent)
}

/// Its disk is another; all that was given to it stays, an address that was drawn too.
#[test]
fn all_that_was_given_to_it_stays() {
    let host = host().make();
    add_template(&host, "other/20260202T000000Z");
    with_file(&host);
    started(&host);
    act(&host, &Action::Stop { timeout: None }).unwrap();
    let before = host.state(id(101)).unwrap();
    assert!(has_file(&host) && before.settled_in);
    reinstall(&host, None).unwrap();
    assert!(!has_file(&host));
    let after = host.state(id(101)).unwrap();
    assert_eq!((&after.interfaces, after.slot), (&before.interfaces, before.slot));
    assert!(!after.settled_in && after.seed != before.seed);
    reinstall(&host, Some("other")).unwrap();
    let after = host.state(id(101)).unwrap();
    assert_eq!(after.template, "other/20260202T000000Z");
    assert_eq!(after.interfaces, before.interfaces);
    assert!(
        definition(&host).contains("template = \"other\""),
        "{}",
        definition(&host)
    );
    started(&host);
    assert_eq!(host.state(id(101)).unwrap().interfaces, before.interfaces);
}

/// What can't be made anew is as it was: judged before anything is touched.
#[test]
fn what_is_refused_is_as_it_was() {
    let host = host().make();
    with_file(&host);
    let state = |host: &Arc<Host>, class, what: &str| {
        refused(host, class, what, |e| e.reinstall(&web1(), None, &Silent));
        assert!(has_file(host), "{what}");
    };
    for template in ["none-such", "tiny/20200101T000000Z"] {
        let template = template.parse().unwrap();
        refused(&host, Class::NotFound, "a template that isn't there", |e| {
            e.reinstall(&web1(), Some(&template), &Silent)
        });
    }
    let text = definition(&host);
    edit_by_hand(&host, &text.replace("plan = \"small\"", "plan = \"gone\""));
    state(&host, Class::NotFound, "a plan that isn't there");
    edit_by_hand(&host, &text.replace("tenant = \"default\"", "tenant = \"acme\""));
    state(&host, Class::Refused, "another tenant");
    edit_by_hand(&host, &text);
    started(&host);
    state(&host, Class::Refused, "it runs");
    act(&host, &Action::Suspend { timeout: None }).unwrap();
    state(&host, Class::Refused, "it is suspended");
    let discard = StartOptions {
        discard: true,
        ..StartOptions::default()
    };
    act(&host, &Action::Start(discard)).unwrap();
    act(&host, &Action::Stop { timeout: None }).unwrap();
    act(&host, &Action::Mount).unwrap();
    state(&host, Class::Refused, "it is mounted");
}

/// Of a reinstallation whose journal was lost: the record says which of the two disks is the VE's.
#[test]
fn without_a_journal_the_record_decides() {
    let host = host().make();
    with_file(&host);
    let (dir, aside) = (host.dirs.ve(id(101)), host.dirs.replaced(id(101)));
    let old = host.state(id(101)).unwrap();
    let disk = |from: &std::path::Path, to: &std::path::Path| {
        std::fs::create_dir_all(to).unwrap();
        std::fs::rename(from.join("disk.img"), to.join("disk.img")).unwrap();
    };
    disk(&dir, &aside);
    old.write(&aside).unwrap();
    started(&host);
    assert!(has_file(&host) && !aside.exists());
    act(&host, &Action::Stop { timeout: None }).unwrap();
    // Also where the record had to be read from its copy.
    disk(&dir, &aside);
    old.write(&aside).unwrap();
    for place in [&dir, &aside] {
        std::fs::write(place.join("state.toml"), "damaged").unwrap();
    }
    started(&host);
    assert!(has_file(&host) && !aside.exists());
    act(&host, &Action::Stop { timeout: None }).unwrap();
    // An audit puts it in order as well as the next command.
    disk(&dir, &aside);
    old.write(&aside).unwrap();
    assert!(engine(&host).audit(true).unwrap().iter().all(|orphan| orphan.fixed));
    assert!(has_file(&host) && !aside.exists());
    // And once the record is the new one, what lies aside is nobody's.
    let old = host.state(id(101)).unwrap();
    reinstall(&host, None).unwrap();
    std::fs::create_dir(&aside).unwrap();
    old.write(&aside).unwrap();
    started(&host);
    assert!(!has_file(&host) && !aside.exists());
}

/// Where whose it is can't be told, a disk is left for a person, who hears of it.
#[test]
fn a_disk_that_nobody_knows_is_left() {
    let host = host().make();
    with_file(&host);
    let aside = host.dirs.replaced(id(101));
    std::fs::create_dir_all(&aside).unwrap();
    let old = host.state(id(101)).unwrap();
    // One that has not come there yet is none.
    old.write(&aside).unwrap();
    started(&host);
    act(&host, &Action::Stop { timeout: None }).unwrap();
    assert!(!aside.exists());
    std::fs::create_dir_all(&aside).unwrap();
    std::fs::rename(host.dirs.ve(id(101)).join("disk.img"), aside.join("disk.img")).unwrap();
    act(&host, &Action::Mount).unwrap_err();
    assert!(aside.join("disk.img").exists());
    let told = engine(&host).audit(true).unwrap();
    let its = |orphan: &&crate::facade::Orphan| orphan.object.contains(&aside.display().to_string());
    let orphan = told.iter().find(its).unwrap();
    let why = orphan.error.clone().unwrap_or_default();
    assert!(!orphan.fixed && why.contains("can't be told"), "{told:?}");
    assert!(aside.join("disk.img").exists());
}

/// Going back leaves alone what a person has written meanwhile.
#[test]
fn a_definition_that_was_edited_meanwhile_stays() {
    let host = host().make();
    with_file(&host);
    let was = host.state(id(101)).unwrap();
    let params = engine(&host).plan_reinstall(was, None, &Silent).unwrap();
    let mut op = Reinstall::resume(Arc::clone(&host), id(101), params).unwrap();
    let written = &Reinstall::steps()[0];
    (written.act)(&mut op).unwrap();
    let path = host.dirs.definition(&"web1".parse().unwrap());
    let edited = format!("# mine\n{}", definition(&host));
    std::fs::write(&path, &edited).unwrap();
    (written.undo)(&mut op).unwrap();
    assert_eq!(definition(&host), edited);
}

/// What it has used until then is entered, and nobody waits for more of what it was.
#[test]
fn what_it_was_is_gone_for_the_ledger() {
    let host = host().make();
    with_file(&host);
    started(&host);
    act(&host, &Action::Stop { timeout: None }).unwrap();
    let lives = || {
        let ledger = Ledger::open(&host.dirs.ledger()).unwrap();
        let followed = ledger.followed(&|party| party.name == "web1").unwrap();
        followed.into_iter().map(|one| one.life).collect::<Vec<_>>()
    };
    let before = lives();
    assert_eq!(before.len(), 1);
    reinstall(&host, None).unwrap();
    let after = lives();
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
}
