use std::sync::Arc;

use hostel_model::request::{Action, StartOptions, VeRef};

use super::said::LINES;
use super::*;
use crate::error::Class;
use crate::facade::Silent;
use crate::facade::tests::Heard;
use crate::op::VeAlone;
use crate::op::mount::{Mount, Umount};
use crate::op::proofs::{made, prove, running};
use crate::op::resume::Resume;
use crate::op::start::Start;
use crate::op::stop::{self, Stop};
use crate::op::suspend::Suspend;
use crate::testing::{again, engine, fakes, host, id, inventory, with_ve};

const ALL: [&str; 6] = ["premount", "mount", "start", "stop", "umount", "postumount"];

fn path(host: &Host, name: &str) -> PathBuf {
    host.dirs.config().join("hooks").join(name)
}

/// With a script of all VEs for each of these events.
fn with(host: Arc<Host>, events: &[&str]) -> Arc<Host> {
    for event in events {
        fakes(&host)
            .scripts
            .put(&path(&host, &format!("all.{event}")), How::Code(0));
    }
    host
}

fn act(host: &Arc<Host>, action: Action) -> Result<()> {
    engine(host).act(id(101), &action, &Silent).map(drop)
}

fn start() -> Action {
    Action::Start(StartOptions::default())
}

const STOP: Action = Action::Stop { timeout: None };

/// The scripts that ran on the host since, in order.
fn ran(host: &Host) -> Vec<String> {
    let calls = fakes(host).scripts.calls();
    calls
        .iter()
        .filter_map(|c| c.strip_prefix("run "))
        .map(str::to_owned)
        .collect()
}

fn inside(host: &Host) -> Vec<String> {
    let calls = fakes(host).guests.calls();
    calls
        .iter()
        .filter_map(|c| c.strip_prefix("script "))
        .map(str::to_owned)
        .collect()
}

fn stopped() -> Arc<Host> {
    let host = with(made(&[]), &ALL);
    host.reserve.refill();
    host
}

fn after(action: &Action) -> Arc<Host> {
    let host = stopped();
    act(&host, action.clone()).unwrap();
    host
}

#[test]
fn a_start_with_scripts() {
    prove::<Start>(stopped, |_| VeAlone {});
}

/// A VE with scripts of its own, by number and by name, in both directories; and one of all VEs.
fn with_own_scripts() -> Arc<Host> {
    let host = with(made(&[]), &["umount"]);
    for own in OWN {
        fakes(&host).scripts.put(&host.dirs.config().join(own), How::Code(0));
    }
    host
}

const OWN: [&str; 4] = [
    "hooks/101.mount",
    "hooks/web1.premount",
    "vz/conf/101.mount",
    "vz/conf/101.umount",
];

#[test]
fn a_destruction_with_scripts() {
    let params = |_: &Host| crate::op::destroy::Params {
        name: "web1".parse().unwrap(),
    };
    prove::<crate::op::destroy::Destroy>(with_own_scripts, params);
}

/// The number and the name of a VE are given again, and its scripts are not.
#[test]
fn the_next_ve_of_that_number_and_name_runs_none_of_its_predecessors_scripts() {
    let host = with_own_scripts();
    let heard = Heard::default();
    let destroy = Action::Destroy { force: false };
    engine(&host).act(id(101), &destroy, &heard).unwrap();
    let notes = heard.notes();
    for own in OWN {
        let path = host.dirs.config().join(own);
        let line = format!("{} is {}.destroyed now", path.display(), file_name(&path));
        assert!(notes.contains(&line), "{line} in {notes:?}");
    }
    with_ve(&host, &[]);
    act(&host, start()).unwrap();
    act(&host, STOP).unwrap();
    assert_eq!(ran(&host), ["all.umount"]);
    // Those of the new one are, and take the place of the others' when it goes.
    fakes(&host).scripts.put(&host.dirs.config().join(OWN[0]), How::Code(0));
    act(&host, start()).unwrap();
    assert!(ran(&host).contains(&"101.mount".to_owned()));
    act(&host, STOP).unwrap();
    act(&host, destroy).unwrap();
}

/// Of a destruction whose journal could not be written, and which was killed as the VE had just gone.
#[test]
fn what_is_left_of_a_destruction_has_no_scripts_either() {
    let host = with_own_scripts();
    std::fs::rename(host.dirs.ve(id(101)), host.dirs.doomed(id(101))).unwrap();
    engine(&host).audit(true).unwrap();
    with_ve(&host, &[]);
    act(&host, start()).unwrap();
    act(&host, STOP).unwrap();
    assert_eq!(ran(&host), ["all.umount"]);
}

#[test]
fn a_stop_with_scripts() {
    prove::<Stop>(|| after(&start()), |_| stop::Params { grace: 1000 });
}

#[test]
fn a_mount_with_scripts() {
    prove::<Mount>(stopped, |_| VeAlone {});
    prove::<Umount>(|| after(&Action::Mount), |_| VeAlone {});
}

#[test]
fn a_suspend_and_a_resume_with_scripts() {
    prove::<Suspend>(|| after(&start()), |_| crate::op::suspend::Params::default());
    let suspended = || {
        let host = after(&start());
        act(&host, Action::Suspend { timeout: None }).unwrap();
        host
    };
    prove::<Resume>(suspended, |_| VeAlone {});
}

/// One that begins nothing still ends what it ends.
#[test]
fn a_start_with_one_that_only_ends() {
    prove::<Start>(|| with(made(&[]), &["umount"]), |_| VeAlone {});
}

#[test]
fn each_runs_once_in_its_turn() {
    let host = with(made(&[]), &ALL);
    for name in ["101.mount", "web1.mount", "101.umount", "102.mount"] {
        fakes(&host).scripts.put(&path(&host, name), How::Code(0));
    }
    let openvz = host.dirs.config().join("vz/conf/vps.premount");
    fakes(&host).scripts.put(&openvz, How::Code(0));
    // The fake takes a second beginning of one event for a mistake: the others only end well.
    let notes = Heard::default();
    let error = engine(&host).act(id(101), &start(), &notes).unwrap_err();
    assert!(error.message.contains("vps.premount"), "{error:?}");
    assert_eq!(ran(&host), ["all.premount", "vps.premount", "all.postumount"]);
}

#[test]
fn a_life_with_a_reboot_from_inside() {
    let host = with(made(&[]), &ALL);
    act(&host, start()).unwrap();
    fakes(&host).guests.halt(101);
    engine(&again(&host)).settle(id(101), "reboot", &Silent).unwrap();
    act(&host, STOP).unwrap();
    let once = ["all.premount", "all.mount", "all.umount", "all.postumount"];
    assert_eq!(ran(&host), [once, once].concat());
    assert_eq!(inside(&host), ["all.start", "all.start", "all.stop"]);
}

#[test]
fn killed_destroyed_suspended_and_mounted_each_is_ended_once() {
    let once = ["all.premount", "all.mount", "all.umount", "all.postumount"];
    for ends in [
        Action::Kill,
        Action::Suspend { timeout: None },
        Action::Destroy { force: true },
    ] {
        let host = with(made(&[]), &ALL);
        act(&host, start()).unwrap();
        act(&host, ends.clone()).unwrap();
        if ends == Action::Kill {
            engine(&again(&host)).settle(id(101), "killed", &Silent).unwrap();
        }
        assert_eq!(ran(&host), once, "{ends:?}");
        assert_eq!(inside(&host), ["all.start"], "{ends:?}");
    }
    let host = with(made(&[]), &ALL);
    act(&host, Action::Mount).unwrap();
    act(&host, Action::Umount).unwrap();
    assert_eq!(ran(&host), once);
    assert!(inside(&host).is_empty());
}

#[test]
fn one_that_fails_aborts_the_start_and_leaves_nothing() {
    for event in ["premount", "mount"] {
        let host = with(made(&[]), &ALL);
        let before = inventory(&host);
        fakes(&host)
            .scripts
            .put(&path(&host, &format!("all.{event}")), How::Code(3));
        let error = act(&host, start()).unwrap_err();
        assert_eq!(error.class, Class::Script);
        assert_eq!(
            crate::error::chain(&error),
            format!(
                "script {} failed for web1: it ended with code 3",
                path(&host, &format!("all.{event}")).display()
            )
        );
        assert_eq!(inventory(&host), before, "{event}");
        // What it may have begun is ended.
        assert_eq!(ran(&host).last().unwrap(), "all.postumount");
    }
    let host = with(made(&[]), &ALL);
    let before = inventory(&host);
    fakes(&host).guests.fail_scripts(true);
    assert_eq!(act(&host, start()).unwrap_err().class, Class::Script);
    assert_eq!(inventory(&host), before);
}

#[test]
fn one_that_others_could_have_written_is_not_run_and_aborts() {
    let host = with(made(&[]), &["mount", "umount"]);
    fakes(&host).scripts.spoil(&path(&host, "all.mount"));
    let error = act(&host, start()).unwrap_err();
    assert_eq!(error.class, Class::Script);
    assert!(crate::error::chain(&error).contains("others than root"));
    assert_eq!(ran(&host), ["all.umount"]);
}

#[test]
fn one_that_fails_at_the_end_keeps_nothing() {
    for (event, how) in [("umount", How::Code(1)), ("postumount", How::TimedOut)] {
        let host = with(made(&[]), &ALL);
        // Its first life leaves a word in its record.
        act(&host, start()).unwrap();
        act(&host, STOP).unwrap();
        let before = inventory(&host);
        act(&host, start()).unwrap();
        fakes(&host).scripts.put(&path(&host, &format!("all.{event}")), how);
        let error = act(&host, STOP).unwrap_err();
        assert_eq!(error.class, Class::Script, "{error:?}");
        assert!(
            error.hints.iter().any(|hint| hint == "web1 stopped all the same"),
            "{error:?}"
        );
        assert_eq!(inventory(&host), before);
        // It isn't told again, nor run.
        act(&host, STOP).unwrap();
        assert_eq!(ran(&host).len(), 8);
    }
}

/// What Hostel lacks for running one is told, and the rest goes on.
#[test]
fn one_that_cannot_be_begun_at_the_end_keeps_nothing() {
    let left = |host: &Host| {
        let all = inventory(host).into_iter();
        all.filter(|line| !line.starts_with("script ")).collect::<Vec<_>>()
    };
    for method in ["find", "judge", "run", "end_left"] {
        let host = with(made(&[]), &ALL);
        // Its first life leaves a word in its record.
        act(&host, start()).unwrap();
        act(&host, STOP).unwrap();
        let before = left(&host);
        act(&host, start()).unwrap();
        fakes(&host).scripts.fail_method(Some(method));
        let notes = Heard::default();
        let done = engine(&host).act(id(101), &STOP, &notes);
        let notes = notes.notes();
        match method {
            "end_left" => {
                done.unwrap();
                assert!(notes.iter().any(|n| n.contains("may still be at work")), "{notes:?}");
            }
            _ => assert_eq!(
                done.unwrap_err().class,
                if method == "find" { Class::Failed } else { Class::Script }
            ),
        }
        assert!(host.reality(id(101)).unwrap().init.is_none() && !host.owes_hooks(id(101)));
        assert_eq!(left(&host), before, "{method}");
        fakes(&host).scripts.fail_method(None);
        let ran_so_far = ran(&host);
        engine(&again(&host)).lock_ve(id(101), "set", &Silent).unwrap();
        assert_eq!(ran(&host), ran_so_far, "{method}: once is enough");
    }
    // Nor does what they are told of the VE, for which there is no room.
    let host = with(made(&[]), &ALL);
    act(&host, start()).unwrap();
    std::fs::create_dir(host.dirs.ve_conf(id(101))).unwrap();
    let notes = Heard::default();
    engine(&host).act(id(101), &STOP, &notes).unwrap();
    assert!(
        notes.notes().iter().any(|n| n.contains("without VE_CONFFILE")),
        "{:?}",
        notes.notes()
    );
    assert_eq!(ran(&host)[2..], ["all.umount", "all.postumount"]);
}

/// The host goes down, and a script fails when its VE is suspended already: it goes on with the host's boot all the same.
#[test]
fn one_that_fails_at_the_hosts_end_does_not_keep_a_suspended_ve_from_its_boot() {
    let host = with(made(&[("stop.mode", "suspend")]), &ALL);
    act(&host, start()).unwrap();
    fakes(&host).scripts.put(&path(&host, "all.umount"), How::Code(1));
    let procession = engine(&host).shutdown(None).unwrap();
    let error = engine(&host).shut_down_one(&procession, 0, &Silent).unwrap_err();
    assert_eq!(error.class, Class::Script);
    assert!(host.is_suspended(id(101)));
    fakes(&host).scripts.put(&path(&host, "all.umount"), How::Code(0));
    let boot = engine(&host).boot(&Silent).unwrap();
    assert_eq!(boot.ves().len(), 1);
}

/// What it runs is the tenant's, who isn't to decide whether it is stopped.
#[test]
fn a_script_that_fails_inside_does_not_keep_it_running() {
    let host = with(made(&[]), &["stop"]);
    act(&host, start()).unwrap();
    fakes(&host).guests.fail_scripts(true);
    assert_eq!(act(&host, STOP).unwrap_err().class, Class::Script);
    assert!(host.reality(id(101)).unwrap().init.is_none());
}

/// Its VE ran when the host went down.
fn after_the_hosts_end() -> Arc<Host> {
    let host = with(made(&[]), &ALL);
    act(&host, start()).unwrap();
    fakes(&host).guests.halt(101);
    host.mounts.unstage(&host.dirs.script_root(id(101))).unwrap();
    std::fs::remove_dir_all(host.dirs.run(id(101))).unwrap();
    host.cgroups.remove(id(101), std::time::Duration::ZERO).unwrap();
    assert!(host.owes_hooks(id(101)));
    host
}

/// Whoever runs it tells that it failed, whatever he came for.
#[test]
fn one_that_fails_after_the_hosts_end_is_told_by_whoever_runs_it() {
    let failed = |host: &Host| fakes(host).scripts.put(&path(host, "all.umount"), How::Code(7));
    let host = after_the_hosts_end();
    failed(&host);
    let notes = Heard::default();
    engine(&again(&host)).lock_ve(id(101), "set", &notes).unwrap();
    let notes = notes.notes();
    assert!(
        notes
            .iter()
            .any(|n| n.contains("all.umount failed for web1: it ended with code 7")),
        "{notes:?}"
    );
    let host = after_the_hosts_end();
    failed(&host);
    let found = engine(&again(&host)).audit(true).unwrap();
    let scripts = found.iter().find(|orphan| orphan.kind == "scripts").unwrap();
    assert!(
        scripts.fixed && scripts.error.as_ref().unwrap().contains("it ended with code 7"),
        "{scripts:?}"
    );
    assert!(!host.owes_hooks(id(101)));
}

/// Nobody is there to be told when it reboots from inside: its status tells, though it runs again.
#[test]
fn one_that_fails_at_a_reboot_from_inside_is_told_by_its_status() {
    let ended = || {
        let host = with(made(&[]), &ALL);
        act(&host, start()).unwrap();
        fakes(&host).guests.halt(101);
        fakes(&host).scripts.put(&path(&host, "all.umount"), How::Code(7));
        host
    };
    let told = |host: &Arc<Host>| {
        let status = engine(host).status(&VeRef::Id(id(101))).unwrap();
        (status.state, status.problem.unwrap_or_default())
    };
    let host = ended();
    engine(&again(&host)).settle(id(101), "reboot", &Silent).unwrap_err();
    let (state, problem) = told(&host);
    assert!(state == "running" && problem.contains("all.umount failed"), "{problem}");
    // Also beside why it doesn't run again.
    let host = ended();
    fakes(&host).scripts.put(&path(&host, "all.premount"), How::Code(3));
    let error = engine(&again(&host)).settle(id(101), "reboot", &Silent).unwrap_err();
    assert!(error.message.contains("all.premount"), "{error:?}");
    let (state, problem) = told(&host);
    assert!(state == "stopped" && problem.contains("all.umount"), "{problem}");
}

#[test]
fn what_is_due_after_the_hosts_end_runs_before_anything_else() {
    let host = after_the_hosts_end();
    let found = engine(&host).audit(false).unwrap();
    assert!(found.iter().any(|orphan| orphan.kind == "scripts"), "{found:?}");
    let staged = || {
        fakes(&host)
            .mounts
            .calls()
            .iter()
            .filter(|call| call.starts_with("stage "))
            .count()
    };
    let before = staged();
    act(&again(&host), start()).unwrap();
    // Its umount found VE_ROOT, though that had gone with the host, and its mount found it anew.
    assert_eq!(staged(), before + 2);
    let once = ["all.premount", "all.mount", "all.umount", "all.postumount"];
    assert_eq!(ran(&host), [&once[..], &once[..2]].concat());
}

#[test]
fn what_it_says_is_told_and_does_no_harm_to_a_terminal() {
    let host = with(host().make(), &["mount", "umount"]);
    with_ve(&host, &[]);
    let notes = Heard::default();
    engine(&host).act(id(101), &start(), &notes).unwrap();
    engine(&host).act(id(101), &STOP, &notes).unwrap();
    assert_eq!(
        notes.notes().iter().filter(|n| n.contains(" ran")).count(),
        2,
        "{:?}",
        notes.notes()
    );
    let said = Ran {
        how: How::Code(0),
        said: b"\x1b[2Jgone\r\n\n".repeat(30),
    };
    let told = lines(Path::new("/x/all.mount"), &said);
    assert_eq!((told.len(), told[0].as_str()), (LINES + 1, "all.mount: ?[2Jgone"));
}

#[test]
fn without_scripts_nothing_is_marked() {
    let host = made(&[]);
    act(&host, start()).unwrap();
    assert!(fakes(&host).scripts.calls().is_empty());
    assert!(!host.dirs.begun(id(101), Event::Mount).exists());
    drop(running(&[]));
}
