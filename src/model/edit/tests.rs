use proptest::prelude::*;

use super::*;
use crate::definition::{Addresses, When};
use crate::resolve::Effective;
use crate::resolve::tests::effective;
use crate::units::Bytes;

const FILE: &str = "ve/web1.toml";
const KEY_A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann@desk";
const KEY_B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAACAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f bob, home";

/// A definition that a person has written in.
const TEXT: &str = r#"# the shop
id = 101
name = "web1"   # never mind the 1
tenant = "acme"
template = 'debian-12'
plan = "small" # was tiny

# ann wants it up always
onboot = true

[memory]   # overrides
limit = "1GiB"   # raised in May
# swap is slow here
swap = 0

[io]
weight = 200

[[network]]
# the outside
network = "public"
addresses = [
    "203.0.113.10", # old
    "2001:db8::10"  # new
]
# end
"#;

fn changed(settings: &[(&str, &str)]) -> String {
    edit(FILE, TEXT, settings).unwrap_or_else(|e| panic!("{e}"))
}

/// TEXT with `from` replaced by `to`, once and surely.
fn with(from: &str, to: &str) -> String {
    assert_eq!(TEXT.matches(from).count(), 1, "{from}");
    TEXT.replace(from, to)
}

#[test]
fn the_choice_of_a_driver_keeps_all_else() {
    let choose = |text: &str| choose_driver("hostel.toml", text, DriverName::Btrfs).unwrap();
    let bare =
        "# Ours.\ncgroup_root = \"a\" # so\n\n[disk]\n# What.\n#driver = \"image\"\n\n[console]\nlog_size = \"1MiB\"\n";
    let chosen = choose(bare);
    assert_eq!(
        chosen,
        bare.replace("[disk]\n", "[disk]\ndriver = \"btrfs\"\n"),
        "{chosen}"
    );
    assert_eq!(choose(&chosen), chosen);
    assert_eq!(choose("[disk]\ndriver = \"image\"\n"), "[disk]\ndriver = \"image\"\n");
    assert_eq!(
        choose("[idmap]\ncount = 3\n"),
        "[idmap]\ncount = 3\n\n[disk]\ndriver = \"btrfs\"\n"
    );
    assert!(choose_driver("hostel.toml", "[disk]\ndriver = \"zfs\"\n", DriverName::Image).is_err());
}

#[test]
fn nothing_to_do_changes_nothing() {
    assert_eq!(changed(&[]), TEXT);
    assert_eq!(changed(&[("processes", ""), ("guest.timezone", "")]), TEXT);
}

#[test]
fn a_value_changes_in_its_place() {
    assert_eq!(
        changed(&[("memory.limit", "2GiB")]),
        with("\"1GiB\"   # raised", "\"2GiB\"   # raised")
    );
    assert_eq!(changed(&[("plan", "medium")]), with("\"small\" #", "\"medium\" #"));
    assert_eq!(changed(&[("onboot", "no")]), with("onboot = true", "onboot = false"));
    assert_eq!(changed(&[("io.weight", "50")]), with("weight = 200", "weight = 50"));
    let auto = with(
        "[\n    \"203.0.113.10\", # old\n    \"2001:db8::10\"  # new\n]",
        "\"auto\"",
    );
    assert_eq!(changed(&[("network.0.addresses", "auto")]), auto);
    assert_eq!(
        edit(FILE, &auto, &[("network.0.addresses", "192.0.2.1, 192.0.2.2")]).unwrap(),
        auto.replace("\"auto\"", "[\"192.0.2.1\", \"192.0.2.2\"]")
    );
}

#[test]
fn a_new_key_goes_into_its_table() {
    assert_eq!(
        changed(&[("hostname", "web1.acme.example")]),
        with("onboot = true\n", "onboot = true\nhostname = \"web1.acme.example\"\n")
    );
    assert_eq!(
        changed(&[("memory.guarantee", "64M")]),
        with("swap = 0\n", "swap = 0\nguarantee = \"64M\"\n")
    );
    let text = changed(&[("cpu.cap", "1.5"), ("cpu.weight", "300"), ("features.nesting", "yes")]);
    assert!(text.contains("\n\n[cpu]\ncap = 1.5\nweight = 300\n"), "{text}");
    assert!(text.contains("\n\n[features]\nnesting = true\n"), "{text}");
    // What was there is there still, in its order.
    let mut rest = text.as_str();
    for line in TEXT.lines() {
        rest = rest
            .split_once(line)
            .unwrap_or_else(|| panic!("{line} is lost in\n{text}"))
            .1;
    }
}

#[test]
fn an_empty_value_removes_the_override() {
    assert_eq!(changed(&[("memory.swap", "")]), with("swap = 0\n", ""));
    assert_eq!(changed(&[("onboot", "")]), with("onboot = true\n\n", "\n"));
    // A table that is empty then goes too, but not if a person wrote into it.
    assert_eq!(changed(&[("io.weight", "")]), with("[io]\nweight = 200\n\n", ""));
    let text = changed(&[("memory.limit", ""), ("memory.swap", "")]);
    assert!(
        text.contains("[memory]   # overrides\n# swap is slow here\n\n[io]"),
        "{text}"
    );
}

#[test]
fn lists() {
    let added = changed(&[("network.0.addresses+", "203.0.113.11,2001:db8::11")]);
    assert_eq!(
        added,
        with(
            "\"2001:db8::10\"  # new\n",
            "\"2001:db8::10\",  # new\n    \"203.0.113.11\",\n    \"2001:db8::11\"\n"
        )
    );
    // There already: nothing to do.
    assert_eq!(changed(&[("network.0.addresses+", "203.0.113.10")]), TEXT);
    let removed = changed(&[("network.0.addresses-", "203.0.113.10")]);
    assert_eq!(removed, with("    \"203.0.113.10\", # old\n", ""));
    // However the address is written.
    let removed = changed(&[("network.0.addresses-", "2001:0db8:0::10")]);
    assert_eq!(removed, with("    \"2001:db8::10\"  # new\n", ""));
    assert!(edit(FILE, TEXT, &[("network.0.addresses-", "203.0.113.10,2001:db8::10")]).is_err());

    let one = changed(&[("dns+", "9.9.9.9")]);
    assert!(one.contains("onboot = true\ndns = [\"9.9.9.9\"]\n"), "{one}");
    let two = edit(FILE, &one, &[("dns+", "2620:fe::fe"), ("dns+", "192.0.2.53")]).unwrap();
    assert!(
        two.contains("dns = [\"9.9.9.9\", \"2620:fe::fe\", \"192.0.2.53\"]\n"),
        "{two}"
    );
    let two = edit(FILE, &two, &[("dns-", "9.9.9.9,192.0.2.53")]).unwrap();
    assert!(two.contains("dns = [\"2620:fe::fe\"]\n"), "{two}");
    assert_eq!(edit(FILE, &two, &[("dns-", "2620:fe::fe")]).unwrap(), TEXT);
}

#[test]
fn list_layouts_survive() {
    let lay = |list: &str| TEXT.replace("# ann wants", &format!("dns = {list}\n# ann wants"));
    for (before, settings, after) in [
        ("[]", ("dns+", "192.0.2.1"), "[\"192.0.2.1\"]"),
        ("[ # none yet\n]", ("dns+", "192.0.2.1"), "[ # none yet\n\"192.0.2.1\"]"),
        (
            "[\"192.0.2.1\",]",
            ("dns+", "192.0.2.2"),
            "[\"192.0.2.1\", \"192.0.2.2\",]",
        ),
        (
            "[\n  \"192.0.2.1\", # a\n]",
            ("dns+", "192.0.2.2"),
            "[\n  \"192.0.2.1\", # a\n  \"192.0.2.2\",\n]",
        ),
        (
            "[\n  \"192.0.2.1\"]",
            ("dns+", "192.0.2.2"),
            "[\n  \"192.0.2.1\",\n  \"192.0.2.2\"]",
        ),
        (
            "[\"192.0.2.1\", \"192.0.2.2\"]",
            ("dns-", "192.0.2.1"),
            "[\"192.0.2.2\"]",
        ),
        (
            "[\"192.0.2.1\", \"192.0.2.2\"]",
            ("dns-", "192.0.2.2"),
            "[\"192.0.2.1\"]",
        ),
        (
            "[\"192.0.2.1\", \"192.0.2.2\",]",
            ("dns-", "192.0.2.2"),
            "[\"192.0.2.1\",]",
        ),
        (
            "[\n  \"192.0.2.1\",\n  \"192.0.2.2\"]",
            ("dns-", "192.0.2.2"),
            "[\n  \"192.0.2.1\"]",
        ),
        (
            "[\n  \"192.0.2.1\", # a\n  # b\n  \"192.0.2.2\",\n]",
            ("dns-", "192.0.2.1"),
            "[\n  # b\n  \"192.0.2.2\",\n]",
        ),
    ] {
        assert_eq!(edit(FILE, &lay(before), &[settings]).unwrap(), lay(after), "{before}");
    }
}

#[test]
fn ssh_keys_may_hold_commas() {
    let text = changed(&[("guest.ssh_keys+", &format!("{KEY_A}\n# a comment\n{KEY_B}\n"))]);
    assert!(
        text.contains(&format!("\n[guest]\nssh_keys = [\"{KEY_A}\", \"{KEY_B}\"]\n")),
        "{text}"
    );
    let text = edit(FILE, &text, &[("guest.ssh_keys-", "ann@desk")]).unwrap();
    assert!(text.contains(&format!("ssh_keys = [\"{KEY_B}\"]\n")), "{text}");
    let error = edit(FILE, &text, &[("guest.ssh_keys-", "ann@desk")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"ann@desk\" is not in it; it has ssh-ed25519"),
        "{error}"
    );
}

#[test]
fn interfaces() {
    let two = changed(&[("network+", "private")]);
    assert_eq!(
        two,
        format!("{TEXT}\n[[network]]\nnetwork = \"private\"\naddresses = \"auto\"\n")
    );
    let fixed = edit(FILE, &two, &[("network.1.addresses", "192.0.2.1")]).unwrap();
    assert!(
        fixed.ends_with("network = \"private\"\naddresses = [\"192.0.2.1\"]\n"),
        "{fixed}"
    );
    for remove in [("network-", "private"), ("network.1", "")] {
        assert_eq!(edit(FILE, &two, &[remove]).unwrap(), TEXT);
    }
    let outside = "[[network]]\n# the outside\nnetwork = \"public\"\naddresses = [\n    \"203.0.113.10\", # old\n    \
                   \"2001:db8::10\"  # new\n]\n";
    assert_eq!(changed(&[("network-", "public")]), with(outside, ""));
    for (key, value) in [
        ("network.1.addresses", "auto"),
        ("network.7", ""),
        ("network-", "x"),
        ("network", "x"),
        ("network.0", "x"),
    ] {
        assert!(
            matches!(edit(FILE, TEXT, &[(key, value)]), Err(EditError::Impossible { .. })),
            "{key}={value}"
        );
    }
}

#[test]
fn tables_in_braces() {
    let text = "id = 101\nname = \"web1\"\ntenant = \"a\"\ntemplate = \"d\"\nplan = \"p\"\nmemory = { limit = \"1GiB\", swap = 0 } # both\n\
                network = [{ network = \"n\" }]\nio.weight = 5\n";
    let set = |settings: &[(&str, &str)]| edit(FILE, text, settings).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(set(&[("memory.limit", "2GiB")]), text.replace("\"1GiB\"", "\"2GiB\""));
    assert!(
        set(&[("memory.guarantee", "1M")])
            .contains("memory = { limit = \"1GiB\", swap = 0, guarantee = \"1M\" } # both")
    );
    assert!(set(&[("memory.swap", "")]).contains("memory = { limit = \"1GiB\""));
    assert!(!set(&[("memory.swap", ""), ("memory.limit", "")]).contains("memory"));
    assert!(set(&[("network.0.addresses", "auto")]).contains("[{ network = \"n\", addresses = \"auto\" }]"));
    assert!(set(&[("network+", "m")]).contains("[{ network = \"n\" }, { network = \"m\", addresses = \"auto\" }]"));
    assert!(!set(&[("network-", "n")]).contains("network"));
    assert_eq!(set(&[("io.weight", "")]), text.replace("io.weight = 5\n", ""));
    assert!(
        set(&[("io.read", "1M")]).contains("io.read = \"1M\""),
        "{}",
        set(&[("io.read", "1M")])
    );
}

/// As some editors of other systems leave it.
#[test]
fn line_ends_and_marks_of_other_systems() {
    let text = format!("\u{feff}{}", TEXT.replace('\n', "\r\n"));
    let new = edit(
        FILE,
        &text,
        &[("memory.limit", "2GiB"), ("network.0.addresses-", "203.0.113.10")],
    )
    .unwrap();
    let old = "    \"203.0.113.10\", # old\r\n";
    assert_eq!(new, text.replace("\"1GiB\"", "\"2GiB\"").replace(old, ""));
    let removed = edit(FILE, &text, &[("memory.swap", "")]).unwrap();
    assert_eq!(removed, text.replace("swap = 0\r\n", ""));
    let added = edit(
        FILE,
        &text,
        &[
            ("hostname", "w"),
            ("dns+", "192.0.2.1"),
            ("network.0.addresses+", "192.0.2.1"),
        ],
    )
    .unwrap();
    assert_eq!(
        VeDefinition::parse(FILE, &added).unwrap().hostname.unwrap().as_str(),
        "w"
    );
    assert_eq!(
        VeDefinition::parse(FILE, &text.replace("= 101", "= 1"))
            .unwrap_err()
            .iter()
            .next()
            .unwrap()
            .line,
        2
    );
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let error = edit(FILE, TEXT, &[("memory.limit", "2 potatoes"), ("onboot", "maybe")]).unwrap_err();
    let EditError::Wrong(diagnostics) = error else {
        panic!("{error}")
    };
    let found: Vec<_> = diagnostics
        .iter()
        .map(|d| (d.line, d.key.as_str(), d.found.as_str()))
        .collect();
    assert_eq!(
        found,
        [(9, "onboot", "\"maybe\""), (12, "memory.limit", "\"2 potatoes\"")]
    );

    let error = edit(FILE, TEXT, &[("memroy.limit", "2GiB")]).unwrap_err().to_string();
    assert!(
        error.starts_with("unknown key \"memroy.limit\"") && error.contains("did you mean \"memory.limit\"?"),
        "{error}"
    );
    for (key, value) in [
        ("network.N.addresses", "auto"),
        ("network.x.addresses", "auto"),
        ("", "x"),
        ("memory", ""),
    ] {
        assert!(
            matches!(edit(FILE, TEXT, &[(key, value)]), Err(EditError::UnknownKey { .. })),
            "{key}"
        );
    }
    for (key, value) in [
        ("memory.limit+", "1G"),
        ("dns+", ""),
        ("dns-", "192.0.2.1"),
        ("description", "a\u{1b}[2J"),
    ] {
        assert!(
            matches!(edit(FILE, TEXT, &[(key, value)]), Err(EditError::Impossible { .. })),
            "{key}"
        );
    }
    assert!(
        edit(FILE, TEXT, &[("plan", "")])
            .unwrap_err()
            .to_string()
            .contains("\"plan\" is missing")
    );
    assert!(
        edit(FILE, "id = = 1", &[("plan", "x")])
            .unwrap_err()
            .to_string()
            .contains("ve/web1.toml:1:6: not TOML")
    );
}

#[test]
fn settings_as_typed() {
    assert_eq!(
        parse_setting("memory.limit=2GiB"),
        Ok(("memory.limit".into(), "2GiB".into()))
    );
    assert_eq!(
        parse_setting("guest.ssh_keys+=ssh-rsa AA== x"),
        Ok(("guest.ssh_keys+".into(), "ssh-rsa AA== x".into()))
    );
    assert_eq!(parse_setting("plan="), Ok(("plan".into(), String::new())));
    for text in ["", "=", "plan", "+=x", "-=x"] {
        assert!(parse_setting(text).is_err(), "{text}");
    }
}

#[test]
fn what_an_interface_may_do_differs() {
    let changes = |old: &Effective, new: &Effective| {
        let lines = diff(old, new).into_iter();
        lines
            .map(|c| format!("{}: {} -> {}", c.key, c.old, c.new))
            .collect::<Vec<_>>()
    };
    let none = effective("", "[[network]]\nnetwork = \"public\"");
    let mut some = none.clone();
    some.interfaces[0].allowed.ra = true;
    assert_eq!(changes(&none, &some), ["network.0.allow_ra: false -> true"]);
    assert_eq!(changes(&some, &none), ["network.0.allow_ra: true -> false"]);
    // One that goes had what it was allowed, and nothing is said of the rest.
    let mut gone = some.clone();
    gone.interfaces.clear();
    let told = changes(&some, &gone);
    assert_eq!(
        told.iter().filter(|line| line.contains("allow_")).count(),
        1,
        "{told:?}"
    );
}

#[test]
fn differences_say_when() {
    let old = effective("", "[[network]]\nnetwork = \"public\"");
    assert_eq!(diff(&old, &old), []);
    // An override that says what the plan says anyway is no change.
    assert_eq!(
        diff(
            &old,
            &effective("", "processes = 500\n[[network]]\nnetwork = \"public\"")
        ),
        []
    );
    let new = effective(
        "",
        "hostname = \"w\"\nonboot = true\n[memory]\nlimit = \"2GiB\"\n[disk]\nsize = \"5GiB\"\n\
         [[network]]\nnetwork = \"public\"\naddresses = [\"203.0.113.9\"]",
    );
    let changes: Vec<_> = diff(&old, &new)
        .into_iter()
        .map(|c| (c.key, c.old, c.new, c.when))
        .collect();
    let change = |key: &str, old: &str, new: &str, when| (key.to_owned(), old.to_owned(), new.to_owned(), when);
    assert_eq!(
        changes,
        [
            change("onboot", "false", "true", When::Live),
            change("hostname", "web1", "w", When::Restart),
            change("memory.limit", "1GiB", "2GiB", When::Live),
            change("disk.size", "10GiB", "5GiB", When::Restart),
            change("network.0.addresses", "auto", "203.0.113.9", When::Restart),
        ]
    );
    assert!(
        diff(&new, &old)
            .iter()
            .any(|c| c.key == "disk.size" && c.when == When::Live)
    );
    let other = effective("", "id = 102\ntemplate = \"debian-13\"\nshare = \"none\"");
    for change in diff(&effective("", ""), &other) {
        assert!(matches!(change.when, When::Never(why) if !why.is_empty()), "{change:?}");
    }
    let hash = |c: &str| effective("", &format!("[guest]\npassword_hash = \"$6$salt${}\"", c.repeat(86)));
    let secret = diff(&hash("a"), &hash("b"));
    assert_eq!(
        (secret.len(), secret[0].new.as_str(), secret[0].when),
        (1, "(changed)", When::Restart)
    );
    let gone = diff(&old, &effective("", ""));
    assert!(
        gone.iter().any(|c| c.key == "network.0.network" && c.new == "none"),
        "{gone:?}"
    );
}

#[test]
fn a_fresh_definition() {
    let ve = NewVe {
        id: "101".parse().unwrap(),
        name: "web1".parse().unwrap(),
        tenant: "acme".parse().unwrap(),
        template: "debian-12".parse().unwrap(),
        plan: "small".parse().unwrap(),
        onboot: true,
        hostname: Some("web1.acme.example".parse().unwrap()),
        share: None,
        description: Some("Ann's \"shop\" \\o/".into()),
        networks: vec![
            ("private".parse().unwrap(), Addresses::Auto),
            (
                "public".parse().unwrap(),
                Addresses::Fixed(vec!["203.0.113.10".parse().unwrap()]),
            ),
        ],
    };
    let text = render_new(&ve);
    assert_eq!(
        text,
        r#"# VE 101. "hostel show web1" tells every setting and where it comes from.
id = 101  # for life
name = "web1"  # as the file is named
tenant = "acme"
template = "debian-12"
plan = "small"  # limits; override them below, such as [memory] limit = "2GiB"
onboot = true  # start it with the host
hostname = "web1.acme.example"
description = 'Ann''s "shop" \o/'

[[network]]
network = "private"
addresses = "auto"

[[network]]
network = "public"
addresses = ["203.0.113.10"]
"#
        .replace("'Ann''s \"shop\" \\o/'", &quote("Ann's \"shop\" \\o/"))
    );
    let read = VeDefinition::parse(FILE, &text).unwrap();
    assert_eq!(
        (read.id, read.onboot, read.description),
        (ve.id, Some(true), ve.description)
    );
    assert_eq!(read.interfaces.len(), 2);
    let bigger = edit(FILE, &text, &[("memory.limit", "2GiB"), ("disk.size", "40GiB")]).unwrap();
    assert_eq!(
        VeDefinition::parse(FILE, &bigger).unwrap().overrides.disk.size,
        Some(Bytes::gib(40))
    );
    assert!(bigger.contains("\n[memory]\nlimit = \"2GiB\"\n"), "{bigger}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any string that is let in comes out again, and every line a person wrote stays.
    #[test]
    fn strings_survive(text in "[ -~äöü\"'\\\\#=\\[\\]]{1,30}") {
        prop_assume!(!text.trim().is_empty());
        let new = edit(FILE, TEXT, &[("description", &text)]).unwrap();
        let read = VeDefinition::parse(FILE, &new).unwrap();
        prop_assert_eq!(read.description.as_deref(), Some(text.trim()));
        prop_assert!(TEXT.lines().all(|l| new.contains(l)));
        // And taking it away again gives the text that was.
        prop_assert_eq!(edit(FILE, &new, &[("description", "")]).unwrap(), TEXT);
    }

    /// Nothing that is typed can break the text or panic.
    #[test]
    fn no_setting_panics(key in prop::sample::select(keys()), op in "[+-]?", value in "[ -~\n]{0,20}") {
        let key = key.key.replace('N', "0") + &op;
        if let Ok(new) = edit(FILE, TEXT, &[(&key, &value)]) {
            prop_assert!(VeDefinition::parse(FILE, &new).is_ok());
        }
    }
}

#[test]
fn every_mistake_is_told() {
    let settings = [
        ("foo", "1"),
        ("memory.limit", "2GG"),
        ("onboot", "maybe"),
        ("memory.limt", "1GiB"),
    ];
    let error = edit(FILE, TEXT, &settings).unwrap_err();
    let EditError::Several(all) = &error else {
        panic!("{error}")
    };
    assert_eq!(all.len(), 3, "two unknown keys, and what is wrong in the text: {error}");
    let told = error.to_string();
    for mistake in [
        "unknown key \"foo\"; expected one of id, name,",
        "unknown key \"memory.limt\"; did you mean \"memory.limit\"?",
        "2GG",
        "maybe",
    ] {
        assert!(told.contains(mistake), "{mistake}: {told}");
    }
}
