//! Transcripts of vzctl on the fake: what was typed, what the engine was asked, what was said, and the code.

mod document;

use std::rc::Rc;

use hostel_engine::Detail;
use hostel_model::state::State;
use proptest::prelude::*;

use super::*;
use crate::cli::golden;
use crate::vz::tests::{Fake, Shared};

/// Does what a line says; what it said, and the code. Words in single quotes stay together.
fn typed(fake: &Shared, line: &str) -> (String, u8) {
    let mut words = Vec::new();
    for (n, part) in line.split('\'').enumerate() {
        match n % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    let kept = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let voice = Voice {
        kept: Some(kept.clone()),
        ..Voice::default()
    };
    let code = run(&words, voice, &|_| Ok(Box::new(Rc::clone(fake)) as Box<dyn House>));
    let text = kept.lock().unwrap().clone();
    (text, code)
}

/// Lines of a session, each with all that came of it. `# state N STATE` puts a container into a state,
/// `# ends N` lets the next command inside end so, `# refuse WHY` lets the next request fail, `# no-weights` makes it a host
/// without weights of disk bandwidth, and `# no-template` one whose hostel.toml names none.
fn session(lines: &str) -> String {
    let fake: Shared = Rc::new(Fake::default());
    let mut transcript = String::new();
    for line in lines.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(order) = line.strip_prefix("# ") {
            let words: Vec<&str> = order.split(' ').collect();
            match words.as_slice() {
                ["state", id, state] => {
                    let state = State::ALL.into_iter().find(|s| s.to_string() == *state).unwrap();
                    fake.put(id.parse().unwrap(), state);
                }
                ["ends", code] => *fake.ends_with.borrow_mut() = code.parse().unwrap(),
                ["no-weights"] => *fake.no_io_weight.borrow_mut() = Some("no disk here uses BFQ".into()),
                ["no-template"] => *fake.no_default_template.borrow_mut() = true,
                ["refuse", why] => *fake.refuses.borrow_mut() = Some(refusal(why)),
                _ => transcript.push_str(&format!("\n## {order}\n")),
            }
            continue;
        }
        transcript.push_str(&format!("$ vzctl {line}\n"));
        let (said, code) = typed(&fake, line);
        for asked in fake.asked.take() {
            transcript.push_str(&format!("   asks: {asked}\n"));
        }
        transcript.push_str(&said);
        transcript.push_str(&format!("   code: {code}\n"));
    }
    transcript
}

/// A sort of failure, and more of it.
fn refusal(why: &str) -> (Class, Option<Detail>) {
    match why {
        "busy" => (Class::Busy, None),
        "limit" => (Class::Limit, None),
        "no-room" => (Class::Limit, Some(Detail::NoRoom)),
        "failed" => (Class::Failed, None),
        "boots-on" => (Class::Failed, Some(Detail::BootsOn)),
        "interrupted" => (Class::Interrupted, None),
        "usage" => (Class::Usage, None),
        "missing" => (Class::NotFound, None),
        "script" => (Class::Script, None),
        other => panic!("{other} is no failure"),
    }
}

/// Each code is what some command ends with; those of opening a Hostel are in tests/vzctl.rs.
#[test]
fn every_code_is_in_a_transcript() {
    let files = [
        include_str!("core.txt"),
        include_str!("parameters.txt"),
        include_str!("refusals.txt"),
    ];
    let all: String = files.iter().map(|lines| session(lines)).collect();
    for code in code::CODES {
        let of_opening = [code::NO_HOST_CONFIG, code::PERMISSION].contains(code);
        let line = format!("   code: {}\n", code.number);
        assert!(of_opening || all.contains(&line), "{code:?} is in no transcript");
    }
}

#[test]
fn the_clients_core() {
    let lines = include_str!("core.txt");
    golden("tests/golden/vz/core.txt", &session(lines));
}

#[test]
fn every_parameter() {
    let lines = include_str!("parameters.txt");
    golden("tests/golden/vz/parameters.txt", &session(lines));
}

#[test]
fn every_refusal() {
    let lines = include_str!("refusals.txt");
    golden("tests/golden/vz/refusals.txt", &session(lines));
}

#[test]
fn the_first_line_is_what_clients_look_for() {
    let fake: Shared = Rc::new(Fake::default());
    for line in ["--help", "--version", "--quiet --help", "set --help", "-h", "help"] {
        let (text, code) = typed(&fake, line);
        assert_eq!((text.lines().next(), code), (Some("vzctl version 4.11.1"), 0), "{line}");
    }
    golden("tests/golden/vz/help.txt", &help::text(false));
}

#[test]
fn every_command_is_in_a_transcript() {
    let all = [
        include_str!("core.txt"),
        include_str!("parameters.txt"),
        include_str!("refusals.txt"),
    ]
    .join("\n");
    let words: Vec<&str> = all.split_whitespace().collect();
    for name in verbs::VERBS.iter().flat_map(|verb| verb.names) {
        assert!(words.contains(name), "vzctl {name} is in no transcript");
    }
    for key in hostel_model::openvz::table() {
        for option in key.options {
            let typed = if option.len() == 1 {
                format!("-{option}")
            } else {
                format!("--{option}")
            };
            assert!(words.contains(&typed.as_str()), "{typed} is in no transcript");
        }
    }
    for verb in verbs::VERBS {
        for option in verb.options {
            let typed = if option.name.len() == 1 {
                format!("-{}", option.name)
            } else {
                format!("--{}", option.name)
            };
            assert!(
                words.contains(&typed.as_str()),
                "{} {typed} is in no transcript",
                verb.names[0]
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_command_line_panics(words in prop::collection::vec("[a-z0-9-]{0,10}|--(ram|ipadd|netif_add|save|devnodes|name)|[ -~]{0,8}|.{0,4}", 0..7), verb in 0..verbs::VERBS.len()) {
        let fake: Shared = Rc::new(Fake::default());
        typed(&fake, "create 101");
        let mut line = vec![verbs::VERBS[verb].names[0].to_owned(), "101".to_owned()];
        line.extend(words.clone());
        for words in [words, line] {
            let kept = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
            let voice = Voice { kept: Some(kept), ..Voice::default() };
            let code = run(&words, voice, &|_| Ok(Box::new(Rc::clone(&fake)) as Box<dyn House>));
            prop_assert!(hostel_model::openvz::code::code(code).is_some(), "{words:?}: {code}");
        }
    }
}
