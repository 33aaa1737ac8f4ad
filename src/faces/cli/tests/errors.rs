//! How errors are printed, and the exit codes.

use hostel_engine::{Class, Error};

use super::{golden, parse};
use crate::cli::exit::{CODES, Exit};
use crate::cli::failure::{Failure, causes, class_name, json, text};
use crate::cli::paint::Paint;

const CLASSES: [Class; 7] = [
    Class::Failed,
    Class::Usage,
    Class::NotFound,
    Class::Refused,
    Class::Busy,
    Class::Limit,
    Class::Interrupted,
];

/// A cause with a cause.
#[derive(Debug)]
struct Link(&'static str, Option<Box<Link>>);

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Link {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|l| l as _)
    }
}

fn link(texts: &[&'static str]) -> Link {
    let (first, rest) = texts.split_first().unwrap();
    Link(first, (!rest.is_empty()).then(|| Box::new(link(rest))))
}

fn sample() -> Error {
    let chain = link(&[
        "cannot attach loop device to /var/lib/hostel/ve/101/disk.img",
        "no free loop device: Too many open files",
        "Too many open files",
    ]);
    let mut error = Error::new(Class::Failed, "cannot start web1")
        .because(chain)
        .hint("`hostel audit` lists what is left over\nand --fix removes it")
        .hint("`losetup -a` lists loop devices");
    error
        .also
        .push("cannot remove cgroup /sys/fs/cgroup/hostel/101: Device or resource busy".into());
    error
}

#[test]
fn printed_for_a_person() {
    let plain = text(&sample(), None, Paint::OFF);
    let painted = text(&sample(), None, Paint::ON);
    assert_eq!(anstream::adapter::strip_str(&painted).to_string(), plain);
    golden("tests/golden/cli/error.txt", &plain);
    golden("tests/golden/cli/error-colour.txt", &painted.replace('\x1b', "ESC"));
}

#[test]
fn no_cause_is_said_twice() {
    assert_eq!(causes(&sample()).len(), 2);
    let error = Error::new(Class::Failed, "cannot open x: denied").because(link(&["denied", "", "denied"]));
    assert!(causes(&error).is_empty());
}

#[test]
fn the_subject_is_named_once() {
    let named = |message: &str| text(&Error::new(Class::Busy, message), Some("web1"), Paint::OFF);
    assert_eq!(named("web1 is being stopped"), "error: web1 is being stopped\n");
    assert_eq!(named("cannot start \"web1\""), "error: cannot start \"web1\"\n");
    assert_eq!(named("out of memory"), "error: web1: out of memory\n");
    assert_eq!(named("web10 is in the way"), "error: web1: web10 is in the way\n");
}

#[test]
fn long_messages_keep_their_lines() {
    let error = Error::new(Class::Usage, "web1.toml:3: unknown key\n  |\n3 | memry = 1\n  | ^^^^^");
    assert_eq!(
        text(&error, None, Paint::OFF),
        "error: web1.toml:3: unknown key\n    |\n  3 | memry = 1\n    | ^^^^^\n"
    );
}

#[test]
fn control_characters_are_made_visible() {
    let error = Error::new(Class::Failed, "cannot open a\x1b[31mb\tc");
    assert_eq!(text(&error, None, Paint::OFF), "error: cannot open a\\u{1b}[31mb\\tc\n");
}

#[test]
fn every_class_has_its_code() {
    let codes = CLASSES.map(|class| Exit::of(&Error::new(class, "x")).code());
    assert_eq!(codes, [1, 2, 3, 4, 5, 6, 130]);
    for code in codes {
        assert!(
            CODES.iter().any(|(exit, _)| exit.code() == code),
            "{code} is not documented"
        );
    }
}

#[test]
fn classes_in_json_are_distinct_and_documented() {
    for class in CLASSES {
        assert!(crate::cli::reference::JSON.contains(class_name(class)), "{class:?}");
        assert_eq!(json(&Error::new(class, "x"))["class"], class_name(class));
    }
}

#[test]
fn the_worst_code_counts() {
    use Exit::{Busy, Failed, Interrupted, Limit, NotFound, Ok, Refused, Usage};
    let rising = [Ok, Refused, Busy, Limit, NotFound, Usage, Failed, Interrupted];
    for (n, worse) in rising.iter().enumerate() {
        for better in &rising[..=n] {
            assert_eq!(better.worse(*worse), *worse);
            assert_eq!(worse.worse(*better), *worse);
        }
    }
}

#[test]
fn what_runs_inside_keeps_its_own_codes() {
    let code = |words: &str, class| parse(words).unwrap().command.exit_of(&Error::new(class, "x")).code();
    for words in ["exec web1 -- ls", "enter web1", "runscript web1 x.sh"] {
        assert_eq!(code(words, Class::NotFound), 125, "{words}");
        assert_eq!(code(words, Class::Interrupted), 130, "{words}");
    }
    assert_eq!(code("log web1", Class::NotFound), 3);
    assert_eq!(Exit::Command(42).code(), 42);
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    assert!(matches!(Failure::from(pipe), Failure::BrokenPipe));
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert!(matches!(Failure::from(full), Failure::Engine(_)));
}

#[test]
fn an_unknown_subcommand_is_pointed_to_the_one_that_was_meant() {
    let tip = |words: &str| {
        let text = parse(words).unwrap_err().to_string();
        let tips: Vec<&str> = text.lines().filter_map(|l| l.trim().strip_prefix("tip: ")).collect();
        assert!(tips.len() < 2, "{text}");
        tips.first().map(|t| (*t).to_owned())
    };
    let to = |name: &str| Some(format!("a similar subcommand exists: '{name}'"));
    assert_eq!(tip("strat web1"), to("start"));
    assert_eq!(tip("sta web1"), to("stat"));
    assert_eq!(tip("stats"), to("stat"));
    assert_eq!(tip("rm web1"), to("destroy"));
    assert_eq!(tip("shell web1"), to("enter"));
    assert_eq!(tip("template delete debian-12"), to("remove"));
    assert_eq!(tip("template biuld debian-12"), to("build"));
    for (typed, meant) in [
        ("forward ad web1", "add"),
        ("forward del web1", "remove"),
        ("address ad web1 auto", "add"),
        ("address remvoe web1 10.0.0.1", "remove"),
        ("network attac web1 lan", "attach"),
        ("network del web1 lan", "detach"),
        ("network lsit", "list"),
        ("firewall aply", "apply"),
        ("--quiet network shwo", "show"),
    ] {
        assert_eq!(tip(typed), to(meant), "{typed}");
    }
    assert_eq!(tip("address ls"), None, "there is none there");
    assert_eq!(tip("network start"), None);
    assert_ne!(tip("settel 101"), to("settle"), "a hidden one");
    assert_eq!(tip("qqq"), None);
}

#[test]
fn the_numbers_of_kernel_errors_are_left_out() {
    let error = Error::new(
        Class::Failed,
        "cannot read x: No such file or directory (os error 2) at path \"y\"",
    )
    .because(link(&[
        "a: Permission denied (os error 13)",
        "odd (os error x) and (os error ",
    ]));
    assert_eq!(
        text(&error, None, Paint::OFF),
        "error: cannot read x: No such file or directory at path \"y\"\n  because: a: Permission denied\n  \
         because: odd (os error x) and (os error\n"
    );
}
