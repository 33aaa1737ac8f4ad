//! The small pure parts.

use std::path::PathBuf;
use std::time::Duration;

use hostel_engine::Class;
use hostel_engine::facade::{Orphan, SetReport, Setting};
use proptest::prelude::*;

use crate::cli::command::{audit, log, set, show};
use crate::cli::paint::Paint;
use crate::cli::{glob, human, secret, values};

#[test]
fn bytes_in_three_digits() {
    let table = [
        (0, "0B"),
        (999, "999B"),
        (1000, "1.0K"),
        (1024, "1.0K"),
        (10 << 10, "10K"),
        (222_298_112, "212M"),
        (1 << 30, "1.0G"),
        (1_610_612_736, "1.5G"),
        (10 << 30, "10G"),
        (1023 << 20, "1.0G"),
        (u64::MAX, "16E"),
    ];
    for (n, expected) in table {
        assert_eq!(human::bytes(n), expected, "{n}");
    }
}

#[test]
fn seconds_in_two_units() {
    let table = [
        (0, "0s"),
        (59, "59s"),
        (184, "3m04s"),
        (18_120, "5h02m"),
        (1_047_600, "12d03h"),
    ];
    for (n, expected) in table {
        assert_eq!(human::seconds(n), expected);
    }
    assert_eq!([1500, 2000, 50, 10_000].map(human::milli), ["1.5", "2", "0.05", "10"]);
}

#[test]
fn durations_as_people_write_them() {
    let table = [
        ("90", 90),
        ("90s", 90),
        ("2m", 120),
        ("1m30s", 90),
        ("1h", 3600),
        ("0", 0),
    ];
    for (text, seconds) in table {
        assert_eq!(values::duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    assert_eq!(values::duration("500ms"), Ok(Duration::from_millis(500)));
    for text in ["", "soon", "-5s", "5 parsecs", "99999999999999999999"] {
        assert!(values::duration(text).is_err(), "{text}");
    }
}

#[test]
fn patterns() {
    let table = [
        ("*", "", true),
        ("web*", "web1", true),
        ("web?", "web1", true),
        ("web?", "web", false),
        ("*b*1", "web-b-21", true),
        ("web", "web1", false),
        ("", "", true),
        ("**a", "ba", true),
    ];
    for (pattern, text, expected) in table {
        assert_eq!(glob::matches(pattern, text), expected, "{pattern} {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_name_matches_itself_with_stars_anywhere(name in "[a-z0-9-]{1,12}", at in 0usize..12) {
        let at = at.min(name.len());
        let pattern = format!("{}*{}", &name[..at], &name[at..]);
        prop_assert!(glob::matches(&name, &name) && glob::matches(&pattern, &name));
    }

    #[test]
    fn a_tamed_log_holds_no_control_but_colours(text in "(\\PC|\x1b\\[[0-9;]*[A-Za-z]|\x1b[\\]P(]|\x07|\x1b|\r|\n|\u{9b}){0,40}") {
        let tame = log::tame(&text);
        let plain = anstream::adapter::strip_str(&tame).to_string();
        let rest: String = tame.split("\x1b[").enumerate().map(|(n, part)| match part.split_once('m') {
            Some((parameters, rest)) if n > 0 && parameters.chars().all(|c| c.is_ascii_digit() || c == ';') => rest.to_owned(),
            _ if n > 0 => format!("ESC{part}"),
            _ => part.to_owned(),
        }).collect();
        prop_assert!(!rest.contains("ESC"), "{:?} became {:?}", text, tame);
        prop_assert!(rest.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "{:?}", tame);
        prop_assert!(plain.len() <= text.len());
    }
}

#[test]
fn a_log_keeps_its_text_and_colours() {
    let log = "\x1b[0;32m[  OK  ]\x1b[0m Started cron\r\n\x1b]0;title\x07\x1b[2J\x1b[10;1Hlogin: \x1b(B\x1bc";
    assert_eq!(log::tame(log), "\x1b[0;32m[  OK  ]\x1b[0m Started cron\nlogin: \x1b[0m");
}

#[test]
fn passwords_are_hashed_as_crypt_does() {
    // The first vector of the SHA-crypt specification; `openssl passwd -6` says the same.
    let hash = secret::sha512_crypt("Hello world!", "saltstring").unwrap();
    let expected =
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
    assert_eq!(hash, expected);
}

#[test]
fn a_password_file_is_its_first_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pw");
    std::fs::write(&file, "s3cret\nrest\n").unwrap();
    let hash = secret::hash_file(&file).unwrap();
    let salt = hash.split('$').nth(2).unwrap();
    assert_eq!(salt.len(), 16);
    assert_eq!(secret::sha512_crypt("s3cret", salt).unwrap(), hash);
    assert_ne!(secret::hash_file(&file).unwrap(), hash, "every salt is new");
    std::fs::write(&file, "\n").unwrap();
    assert_eq!(secret::hash_file(&file).unwrap_err().class, Class::Usage);
    assert_eq!(
        secret::hash_file(&dir.path().join("none")).unwrap_err().class,
        Class::Failed
    );
}

#[test]
fn private_keys_are_not_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let file: PathBuf = dir.path().join("id_ed25519");
    std::fs::write(&file, "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n").unwrap();
    let error = secret::keys(std::slice::from_ref(&file)).unwrap_err();
    assert!(error.hints[0].ends_with("id_ed25519.pub"));
    std::fs::write(&file, "# nothing\n").unwrap();
    assert_eq!(secret::keys(&[file]).unwrap_err().class, Class::Usage);
}

#[test]
fn a_report_of_changes() {
    let change = |key: &str, old: &str, new: &str| (key.to_owned(), old.to_owned(), new.to_owned());
    let report = SetReport {
        applied: vec![change("memory.limit", "1GiB", "2GiB")],
        waiting: vec![change("hostname", "", "web1.example")],
        dry_run: false,
    };
    assert_eq!(
        set::table(&report).render(Some(80), Paint::OFF),
        "\
KEY           OLD   NEW           TAKES EFFECT
memory.limit  1GiB  2GiB          now
hostname      -     web1.example  at restart
"
    );
    assert_eq!(
        set::object(&report).to_string(),
        r#"{"applied":[{"key":"memory.limit","new":"2GiB","old":"1GiB"}],"dry_run":false,"waiting":[{"key":"hostname","new":"web1.example","old":""}]}"#
    );
}

#[test]
fn long_values_wrap_in_their_column() {
    let setting = |key: &str, value: &str| Setting {
        key: key.into(),
        value: value.into(),
        source: "plan".into(),
    };
    let settings = vec![
        setting("memory.limit", "1GiB"),
        setting("guest.ssh_keys", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me"),
    ];
    assert_eq!(
        show::table(settings).render(Some(48), Paint::OFF),
        "\
KEY             VALUE                     SOURCE
memory.limit    1GiB                      plan
guest.ssh_keys  ssh-ed25519               plan
                AAAAC3NzaC1lZDI1NTE5 me
"
    );
}

#[test]
fn orphans_say_what_became_of_them() {
    let orphan = Orphan {
        kind: "cgroup".into(),
        object: "/sys/fs/cgroup/hostel/999".into(),
        why: "no VE has id 999".into(),
        fixed: false,
        error: Some("Device or resource busy".into()),
    };
    let text = audit::table(&[orphan], true).render(None, Paint::OFF);
    assert!(
        text.ends_with("no VE has id 999  kept: Device or resource busy\n"),
        "{text}"
    );
}
