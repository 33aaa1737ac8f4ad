//! Help, reference and JSON as files, so that a change is seen.

use hostel_engine::facade::{Outcome, VeHandle};
use hostel_engine::{Class, Error};

use super::{db1, golden, parse, web1};
use crate::cli::args;
use crate::cli::command::list::List;
use crate::cli::command::{completions, help, status, verb};
use crate::cli::paint::Paint;
use crate::cli::reference;

/// The names of all subcommands, as typed.
fn subcommands(command: &clap::Command, path: &[String], out: &mut Vec<Vec<String>>) {
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        let path = [path, &[sub.get_name().to_owned()]].concat();
        subcommands(sub, &path, out);
        out.push(path);
    }
}

#[test]
fn help_of_every_subcommand() {
    let mut paths = vec![Vec::new()];
    subcommands(&args::command(), &[], &mut paths);
    assert!(paths.len() > 30);
    for path in paths {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let text = help::page(&words, Some(80)).unwrap().to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "hostel {} --help: {line}", words.join(" "));
        }
        let name = [&["hostel"], &words[..]].concat().join("-");
        golden(&format!("tests/golden/cli/{name}.txt"), &text);
    }
}

#[test]
fn help_is_one_however_it_is_asked_for() {
    let printed = |words: &str| parse(words).unwrap_err().to_string();
    for words in ["", "list ", "create ", "template ", "template build "] {
        assert_eq!(
            printed(&format!("{words}-h")),
            printed(&format!("{words}--help")),
            "{words}"
        );
        let path: Vec<&str> = words.split_whitespace().collect();
        assert_eq!(
            printed(&format!("{words}-h")),
            help::page(&path, None).unwrap().to_string(),
            "{words}"
        );
    }
    assert_eq!(
        printed("--version"),
        concat!("hostel ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(printed("-V"), printed("--version"));
}

#[test]
fn help_is_complete() {
    fn check(command: &clap::Command) {
        let name = command.get_display_name().unwrap_or_default().to_owned();
        let about = command
            .get_about()
            .unwrap_or_else(|| panic!("{name} has no sentence"))
            .to_string();
        assert!(!about.ends_with('.'), "{name}: {about}");
        for arg in command.get_arguments() {
            let help = arg
                .get_help()
                .unwrap_or_else(|| panic!("{name} {arg} has no help"))
                .to_string();
            assert!(!help.ends_with('.') && !help.is_empty(), "{name} {arg}: {help}");
        }
        if command.get_subcommands().next().is_none() {
            let more = command
                .get_after_long_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let examples = more.lines().filter(|l| l.contains("hostel ")).count();
            assert!((1..=3).contains(&examples), "{name} has {examples} examples");
        }
        command.get_subcommands().filter(|c| !c.is_hide_set()).for_each(check);
    }
    check(&args::definitions());
}

#[test]
fn examples_parse() {
    fn check(command: &clap::Command) {
        let text = command
            .get_after_long_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        for line in text.lines().filter(|l| l.starts_with("  hostel ")) {
            let line = line.split('>').next().unwrap().split('|').next().unwrap();
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            super::parse_list(&words).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        command.get_subcommands().filter(|c| !c.is_hide_set()).for_each(check);
    }
    check(&args::definitions());
}

#[test]
fn reference_document() {
    golden("docs/CLI.md", &super::markdown::markdown());
}

#[test]
fn topics() {
    golden("tests/golden/cli/topic-exit-codes.txt", &crate::cli::exit::table());
    golden(
        "tests/golden/cli/topic-fields.txt",
        &reference::fields().render(Some(80), Paint::OFF),
    );
    assert!(reference::JSON.lines().all(|l| l.len() <= 80));
}

#[test]
fn json_of_list() {
    let json = serde_json::to_string_pretty(&List::default().json(&[web1(), db1()])).unwrap();
    golden("tests/golden/cli/list.json", &format!("{json}\n"));
}

#[test]
fn json_of_verbs() {
    let ve = VeHandle {
        id: 101.try_into().unwrap(),
        name: "web1".parse().unwrap(),
    };
    let cause = std::io::Error::other("disk full");
    let mut failed = Error::new(Class::Limit, "cannot start web1")
        .because(cause)
        .hint("make room");
    failed.also.push("cannot remove the veth".into());
    let results = [
        Ok(Outcome {
            done: "started".into(),
            changed: true,
            path: None,
        }),
        Ok(Outcome {
            done: "mounted".into(),
            changed: true,
            path: Some("/run/hostel/101/root".into()),
        }),
        Err(failed),
    ];
    let lines: String = results.iter().map(|r| format!("{}\n", verb::object(&ve, r))).collect();
    golden("tests/golden/cli/verbs.jsonl", &lines);
}

#[test]
fn status_for_a_person() {
    let text = [web1(), db1()]
        .map(|ve| status::block(&ve).render(Some(80), Paint::OFF))
        .join("\n");
    golden("tests/golden/cli/status.txt", &text);
}

#[test]
fn manual_pages_are_one_for_each_subcommand() {
    let pages = reference::man_pages().unwrap();
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["hostel.8", "hostel-start.8", "hostel-template-build.8", "hostel-help.8"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for (name, page) in &pages {
        let page = String::from_utf8_lossy(page);
        assert!(
            page.contains(".TH") && page.contains(".SH NAME") && page.contains(".SH \"SYNOPSIS\""),
            "{name}"
        );
    }
}

#[test]
fn completions_know_every_subcommand() {
    for shell in [
        clap_complete::Shell::Bash,
        clap_complete::Shell::Zsh,
        clap_complete::Shell::Fish,
    ] {
        let script = String::from_utf8(completions::script(shell)).unwrap();
        for sub in args::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            assert!(script.contains(sub.get_name()), "{shell}: {}", sub.get_name());
        }
    }
}
