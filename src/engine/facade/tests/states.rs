//! Every action in every state: what `model::state` promises is what happens.

use hostel_model::state::{State, Transition, judge};

use super::*;
use crate::testing::{fakes, host, order, started, with_ve};

fn actions() -> Vec<Action> {
    vec![
        start(),
        Action::Stop { timeout: None },
        Action::Kill,
        Action::Restart {
            timeout: None,
            start: StartOptions::default(),
        },
        Action::Pause,
        Action::Unpause,
        Action::Suspend { timeout: None },
        Action::Resume,
        Action::Start(StartOptions {
            discard: true,
            ..StartOptions::default()
        }),
        Action::Destroy { force: false },
        Action::Destroy { force: true },
        Action::Mount,
        Action::Umount,
        Action::Compact,
    ]
}

/// A host whose VE 101 is in this state.
fn in_state(state: State) -> Arc<Host> {
    let host = host().make();
    with_ve(&host, &[]);
    match state {
        State::Stopped => {}
        State::Running => started(&host),
        State::Paused => {
            started(&host);
            act(&host, &Action::Pause).unwrap();
        }
        State::Suspended => {
            started(&host);
            act(&host, &Action::Suspend { timeout: None }).unwrap();
        }
        State::Mounted => drop(act(&host, &Action::Mount).unwrap()),
        State::Broken => edit_by_hand(&host, "id = [\n"),
    }
    assert_eq!(engine(&host).status(&web1()).unwrap().state, state.to_string());
    host
}

/// After a kill the monitor clears up; here we play it.
fn settled(host: &Arc<Host>, action: &Action) {
    if *action == Action::Kill {
        engine(&crate::testing::again(host))
            .settle(id(101), "signal-9", &Silent)
            .unwrap();
    }
}

#[test]
fn a_start_turns_on_forwarding_that_a_boot_of_the_host_turned_off() {
    let host = host().make();
    with_ve(&host, &[]);
    let network = &fakes(&host).network;
    network.forget_forwarding();
    let heard = Heard::default();
    engine(&host).act(id(101), &start(), &heard).unwrap();
    assert!(network.forwards());
    let notes = heard.notes();
    assert!(
        notes.iter().any(|n| n.contains("net.ipv4.ip_forward: 0 -> 1")),
        "{notes:?}"
    );
    // Off again while it runs: the audit says so and mends it, and the next start says nothing.
    network.forget_forwarding();
    let found = engine(&host).audit(true).unwrap();
    assert!(found.iter().any(|o| o.kind == "setting" && o.fixed), "{found:?}");
    assert!(network.forwards());
    act(&host, &Action::Kill).unwrap();
    let heard = Heard::default();
    engine(&host).act(id(101), &start(), &heard).unwrap();
    assert_eq!(heard.notes(), Vec::<String>::new());
}

#[test]
fn a_ve_without_an_interface_leaves_forwarding_alone() {
    let host = host().make();
    with_ve(&host, &[]);
    let alone: Vec<String> = definition(&host).split("[[network]]").map(str::to_owned).collect();
    edit_by_hand(&host, &alone[0]);
    started(&host);
    assert!(!fakes(&host).network.forwards());
    let found = engine(&host).audit(false).unwrap();
    assert!(found.iter().all(|o| o.kind != "setting"), "{found:?}");
}

/// A VE keeps its addresses until a start with others has succeeded, and nobody else gets either meanwhile.
#[test]
fn addresses_changed_by_hand_are_exchanged_when_the_ve_runs() {
    let host = host().make();
    let public = |address: &str| format!("[\"{address}\"]");
    let at = |address: &str| {
        engine(&host).create(
            &order(
                "web2",
                &[
                    ("network.0.network", "public"),
                    ("network.0.addresses", &public(address)),
                ],
            ),
            &Silent,
        )
    };
    let (old, new) = ("203.0.113.5", "203.0.113.6");
    with_ve(
        &host,
        &[("network.0.network", "public"), ("network.0.addresses", &public(old))],
    );
    let has = || -> Vec<String> {
        let state = host.state(id(101)).unwrap();
        state.addresses().map(|a| a.to_string()).collect()
    };
    edit_by_hand(&host, &definition(&host).replace(old, new));
    fakes(&host).guests.fail_call(1);
    act(&host, &start()).unwrap_err();
    assert_eq!(has(), [old]);
    assert_eq!(at(old).unwrap_err().class, Class::Refused);
    // A host that lost its power in the middle: the record has both, and the journal is gone.
    let mut state = host.state(id(101)).unwrap();
    state.former = Some(state.interfaces.clone());
    state.interfaces[0].addresses = vec![new.parse().unwrap()];
    state.write(&host.dirs.ve(id(101))).unwrap();
    for address in [old, new] {
        assert_eq!(at(address).unwrap_err().class, Class::Refused, "{address}");
    }
    act(&host, &Action::Compact).unwrap();
    assert_eq!(has(), [old]);
    act(&host, &start()).unwrap();
    assert_eq!(has(), [new]);
    assert_eq!(fakes(&host).network.links()[0].addresses[0].to_string(), new);
    assert_eq!(at(new).unwrap_err().class, Class::Refused);
    at(old).unwrap();
    // The same while it runs: what it has is in force.
    let mut state = host.state(id(101)).unwrap();
    state.former = Some(Vec::new());
    state.write(&host.dirs.ve(id(101))).unwrap();
    act(&host, &Action::Pause).unwrap();
    assert_eq!(
        (has(), host.state(id(101)).unwrap().former),
        (vec![new.to_owned()], None)
    );
}

/// All that is there, but for what says which addresses were in use a short while ago.
fn besides_aside(host: &Host) -> Vec<String> {
    let mut all = inventory(host);
    all.retain(|line| !line.starts_with("data/aside.json: "));
    all
}

#[test]
fn every_action_in_every_state_does_what_it_should() {
    let nothing = inventory(&host().make());
    for state in State::ALL
        .into_iter()
        .filter(|s| !matches!(s, State::Broken | State::Suspended))
    {
        for action in actions() {
            let what = format!("{action:?} while {state}");
            let host = in_state(state);
            let before = inventory(&host);
            let result = act(&host, &action);
            match judge(state, &action) {
                Err(refusal) => {
                    let error = result.unwrap_err();
                    assert_eq!(error.class, Class::Refused, "{what}: {error:?}");
                    assert!(error.message.contains(&refusal.to_string()), "{what}: {error:?}");
                    assert_eq!(error.hints, [refusal.instead], "{what}");
                    assert_eq!(inventory(&host), before, "{what}");
                }
                Ok(Transition::AlreadyDone(why)) => {
                    let done = result.unwrap();
                    assert_eq!((done.changed, done.done.as_str()), (false, why), "{what}");
                    assert_eq!(inventory(&host), before, "{what}");
                }
                Ok(Transition::Gone) => {
                    assert!(result.unwrap().changed, "{what}");
                    assert_eq!(besides_aside(&host), nothing, "{what}");
                }
                Ok(Transition::To(_) | Transition::Stay) => {
                    let done = result.unwrap();
                    settled(&host, &action);
                    let wanted = match judge(state, &action) {
                        Ok(Transition::To(next)) => next,
                        _ => state,
                    };
                    assert_eq!(host.reality(id(101)).unwrap().state, wanted, "{what}");
                    assert_eq!(done.path.is_some(), action == Action::Mount, "{what}");
                    // However it came to be: it has what every VE in that state has, and nothing else.
                    let mut like = inventory(&in_state(wanted));
                    let mut found = inventory(&host);
                    for lines in [&mut like, &mut found] {
                        lines
                            .iter_mut()
                            .for_each(|l| *l = l.replace("settled_in = true", "settled_in = false"));
                    }
                    assert_eq!(found, like, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_broken_ve_can_be_ended_and_removed_but_not_started() {
    let host = in_state(State::Broken);
    refused(&host, Class::Usage, "start", |e| e.act(id(101), &start(), &Silent));
    let nothing = inventory(&crate::testing::host().make());
    act(&host, &Action::Destroy { force: true }).unwrap();
    assert_eq!(besides_aside(&host), nothing);
    // And one whose definition was broken while it ran.
    for action in [Action::Kill, Action::Stop { timeout: None }] {
        let host = in_state(State::Running);
        edit_by_hand(&host, "nonsense");
        act(&host, &action).unwrap();
        settled(&host, &action);
        assert!(fakes(&host).guests.inventory().is_empty() && fakes(&host).cgroups.inventory().is_empty());
        refused(&host, Class::Usage, "start", |e| e.act(id(101), &start(), &Silent));
    }
}

#[test]
fn what_a_dead_run_left_is_cleared_by_the_next_action() {
    for action in actions() {
        let host = in_state(State::Running);
        fakes(&host).guests.halt(101); // and its monitor did nothing about it
        let _ = act(&host, &action);
        if host.reality(id(101)).unwrap().init.is_none() {
            let f = fakes(&host);
            assert!(
                f.cgroups.inventory().is_empty() && f.network.links().is_empty(),
                "{action:?}"
            );
            assert!(
                f.firewall.inventory().is_empty() && !host.dirs.run(id(101)).join("run.json").exists(),
                "{action:?}"
            );
        }
    }
}

#[test]
fn a_running_ve_without_record_or_monitor_gets_them_back() {
    let host = in_state(State::Running);
    let before = inventory(&host);
    fakes(&host).guests.lose_monitor(101);
    std::fs::remove_file(host.dirs.run(id(101)).join("run.json")).unwrap();
    assert_ne!(inventory(&host), before);
    assert!(!act(&host, &start()).unwrap().changed);
    assert_eq!(inventory(&host), before);
}

#[test]
fn no_ve_no_action() {
    let host = host().make();
    for action in actions() {
        match action {
            Action::Destroy { .. } => assert!(!act(&host, &action).unwrap().changed),
            _ => drop(refused(&host, Class::NotFound, "no VE", |e| {
                e.act(id(101), &action, &Silent)
            })),
        }
    }
}

#[test]
fn a_root_in_use_stays_mounted() {
    let host = in_state(State::Mounted);
    fakes(&host).mounts.set_busy(&host.dirs.mount(id(101)), true);
    for action in [Action::Umount, Action::Destroy { force: true }] {
        refused(&host, Class::Busy, "umount", |e| e.act(id(101), &action, &Silent));
    }
    fakes(&host).mounts.set_busy(&host.dirs.mount(id(101)), false);
    act(&host, &Action::Umount).unwrap();
}

/// Somebody else's interface has the name that the VE's is to have.
#[test]
fn what_is_others_is_left_alone() {
    let host = in_state(State::Stopped);
    fakes(&host).network.add_foreign("hv101.0");
    let error = refused_start(&host);
    assert!(crate::error::chain(&error).contains("hv101.0"), "{error:?}");
}

/// The start fails and what it had made is gone; what can't be taken back is told.
fn refused_start(host: &Arc<Host>) -> Error {
    let error = act(host, &start()).unwrap_err();
    let f = fakes(host);
    assert!(
        f.guests.inventory().is_empty() && f.cgroups.inventory().is_empty(),
        "{error:?}"
    );
    assert!(
        f.network.links().is_empty() && f.firewall.inventory().is_empty(),
        "{error:?}"
    );
    error
}
