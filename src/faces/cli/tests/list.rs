//! The table of VEs, at every width.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{db1, golden, house, parse, web1};
use crate::cli::args::Command;
use crate::cli::command::list::List;
use crate::cli::field::FIELDS;
use crate::cli::paint::Paint;

fn list(words: &str) -> List {
    match parse(words).unwrap().command {
        Command::List(list) => list,
        other => panic!("{other:?}"),
    }
}

fn names(words: &str) -> String {
    let picked = list(words).pick(house());
    picked
        .iter()
        .take(4)
        .map(|ve| ve.name.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn at_80_and_200_columns() {
    for width in [80, 200] {
        let text = list("list").table(&house()).render(Some(width), Paint::OFF);
        assert!(text.lines().all(|l| l.chars().count() <= width));
        assert_eq!(text.lines().count(), 201);
        golden(&format!("tests/golden/cli/list-{width}.txt"), &text);
    }
}

#[test]
fn without_a_terminal_nothing_is_cut() {
    let text = list("list").table(&house()).render(None, Paint::OFF);
    assert!(!text.contains('…'));
    assert!(text.contains("203.0.113.11 2001:db8:1:2:3:4:5:a"));
}

#[test]
fn all_default_columns_show_at_200() {
    let text = list("list").table(&house()).render(Some(200), Paint::OFF);
    let head = text.lines().next().unwrap();
    for field in FIELDS.iter().filter(|f| f.default.is_some()) {
        assert!(head.contains(field.header), "{} is not in {head}", field.header);
    }
    assert!(
        !text.contains('…') && !text.contains(" +1"),
        "something is cut:\n{text}"
    );
}

#[test]
fn asked_columns_stay_however_narrow() {
    let text = list("list -o id,hostname,name")
        .table(&[web1(), db1()])
        .render(Some(44), Paint::OFF);
    assert_eq!(
        text,
        "\x20ID  HOSTNAME           NAME
101  web1.acme.example  web1
102  db1.acme.example   db1
"
    );
}

#[test]
fn numbers_stand_right_and_unknown_is_a_dash() {
    let text = list("list -o name,memory,uptime,cpu_cap")
        .table(&[web1(), db1()])
        .render(Some(80), Paint::OFF);
    assert_eq!(
        text,
        "\
NAME  MEMORY  UPTIME  CPU CAP
web1    212M   3d03h      1.5
db1        -       -      1.5
"
    );
}

#[test]
fn scripts_get_bare_columns() {
    let text = list("list -H -o name,state")
        .table(&[web1(), db1()])
        .render(None, Paint::OFF);
    assert_eq!(text, "web1  running\ndb1   stopped\n");
}

#[test]
fn sorted_with_the_unknown_last() {
    assert_eq!(names("list -s -memory"), "web199 web197 build-runner-196 web194");
    assert_eq!(names("list --sort memory --state running"), "web1 web4 web5 web8");
    let by_memory = list("list -s -memory").pick(house());
    assert!(by_memory.last().unwrap().memory.is_none());
    let rising = list("list -s memory").pick(house());
    assert!(rising.last().unwrap().memory.is_none());
    assert_eq!(names("list -s=-id"), "web199 web198 web197 build-runner-196");
    assert_eq!(names("list -s tenant,-id"), "web198 web195 web192 build-runner-189");
}

#[test]
fn filtered() {
    assert_eq!(names("list --name web19?"), "web190 web191 web192 web193");
    assert_eq!(
        names("list --name build*0,web1"),
        "build-runner-0 web1 build-runner-70 build-runner-140"
    );
    assert_eq!(names("list --template debian-12 --plan small --name web1"), "web1");
    assert_eq!(names("list --template debian-12/20260101 --name web1"), "web1");
    assert_eq!(names("list --template debian-1"), "");
    assert_eq!(names("list --plan large"), "");
    assert_eq!(names("list --tenant globex --state paused"), "web10 web22 web34 web46");
    assert_eq!(
        list("list --state running,stopped").pick(house()).len(),
        house()
            .iter()
            .filter(|v| v.state != "paused" && v.state != "broken")
            .count()
    );
}

#[test]
fn every_fact_of_a_status_is_a_field() {
    let status = serde_json::to_value(web1()).unwrap();
    let facts: BTreeSet<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    let fields: BTreeSet<&str> = FIELDS.iter().map(|f| f.name).collect();
    assert_eq!(facts, fields);
    for field in FIELDS {
        assert_eq!((field.value)(&web1()), status[field.name], "{}", field.name);
    }
}

#[test]
fn a_guests_text_does_not_steer_the_terminal() {
    let mut ve = web1();
    ve.problem = Some("bad \x1b[2J\u{9b}31m name".into());
    let text = list("list -o problem").table(&[ve]).render(None, Paint::ON);
    assert!(!text.contains("\x1b[2J") && !text.contains('\u{9b}'), "{text:?}");
}

#[test]
fn colours_do_not_count_as_width() {
    let plain = list("list").table(&house()).render(Some(80), Paint::OFF);
    let painted = list("list").table(&house()).render(Some(80), Paint::ON);
    assert_ne!(plain, painted);
    assert_eq!(anstream::adapter::strip_str(&painted).to_string(), plain);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_line_is_wider_than_the_terminal(width in 1usize..260, from in 0usize..190) {
        let text = list("list").table(&house()[from..from + 10]).render(Some(width), Paint::OFF);
        prop_assert!(text.lines().all(|l| l.chars().count() <= width));
        prop_assert_eq!(text.lines().count(), 11);
    }
}
