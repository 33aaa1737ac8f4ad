//! No fact can become a second line or a second key.

use proptest::prelude::*;

use super::*;
use crate::Class;

type Set = fn(&mut GuestFacts, String);
type Spoil = fn(&mut GuestFacts);

/// Every fact that is a text, with a plain value for it.
const TEXTS: &[(&str, &str, Set)] = &[
    ("hostname", "plainvalue", |f, t| f.hostname = t),
    ("fqdn", "plainvalue", |f, t| f.fqdn = Some(t)),
    ("search", "plainvalue", |f, t| f.search = vec![t]),
    ("timezone", "plainvalue", |f, t| f.timezone = Some(t)),
    ("interface", "plainvalue", |f, t| {
        f.interfaces = vec![Interface { name: t, ..eth0() }]
    }),
    ("mac", "02:00:00:00:00:99", |f, t| {
        f.interfaces = vec![Interface { mac: t, ..eth0() }]
    }),
    (
        "ssh key",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0Qe1vJ0b5a8fQ plain",
        |f, t| f.ssh_keys = vec![t],
    ),
    ("password", "$y$plain$value", |f, t| f.password_hash = Some(t)),
];

/// Every text that the changes hold, in order.
fn texts(ops: &[Op]) -> Vec<String> {
    ops.iter()
        .map(|op| match op {
            Op::Write { path, content, .. } | Op::ManagedBlock { path, content, .. } => format!("{path}\n{content}"),
            Op::Password { user, hash, day } => format!("{user}:{hash}:{day}"),
            Op::Copy { from, path, .. } => format!("{from} {path}"),
            other => format!("{other:?}"),
        })
        .collect()
}

fn families() -> impl Iterator<Item = (Family, InitKind)> {
    [
        (Family::Debian, InitKind::Systemd),
        (Family::Ubuntu, InitKind::Systemd),
        (Family::Rhel, InitKind::Systemd),
        (Family::Alpine, InitKind::Busybox),
        (Family::Generic, InitKind::Openrc),
        (Family::Busybox, InitKind::Busybox),
    ]
    .into_iter()
}

/// Refused as a mistake of the person, or every text is the plain one with only the value exchanged.
fn refused_or_one_value(what: usize, odd: &str) -> Result<(), TestCaseError> {
    let (name, plain, set) = TEXTS[what];
    let with = |text: &str| {
        // A fixed name, so that the short form of an odd one is the only other place where it can show up.
        let mut facts = GuestFacts { fqdn: None, ..facts() };
        set(&mut facts, text.to_owned());
        facts
    };
    for (family, init) in families() {
        let ops = match identity(family, init, &with(odd)) {
            Ok(ops) => ops,
            Err(e) => {
                prop_assert_eq!(e.class, Class::Usage);
                prop_assert!(!e.message.chars().any(char::is_control), "{}", e.message);
                continue;
            }
        };
        let baseline = identity(family, init, &with(plain)).unwrap();
        prop_assert_eq!(ops.len(), baseline.len());
        for (got, base) in texts(&ops).iter().zip(texts(&baseline)) {
            if name == "hostname" || name == "fqdn" {
                prop_assert_eq!(got.lines().count(), base.lines().count());
                prop_assert!(!odd.contains(char::is_whitespace) && odd.is_ascii());
            } else {
                prop_assert_eq!(got, &base.replace(plain, odd), "{}", name);
                prop_assert_eq!(got.lines().count(), base.lines().count());
            }
        }
    }
    Ok(())
}

fn odd_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9]{1,6}",
        2 => prop::sample::select(vec![".", "-", "_", "/", "+", "@", "=", ":", ";", ",", "$"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            "\n", "\r", "\0", "\t", "\u{b}", "\u{85}", "\u{2028}", " ", "#", "\"", "'", "\\", "[Match]", "%n", "*",
            "$(id)", "`id`", "{{ dns }}", "{% raw %}", "..", "../", "ssh-rsa ", "é", "\u{202e}", "\u{1b}[2J",
            "# END Hostel", "\nroot2::0:0::/:/bin/sh\n", "ExecStart=/x",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn odd_facts_are_refused_or_stay_one_value(what in 0..TEXTS.len(), odd in odd_text(), lead: bool) {
        // With a right beginning, more of them pass the first checks.
        let odd = if lead { format!("{}{odd}", TEXTS[what].1) } else { odd };
        refused_or_one_value(what, &odd)?;
    }

    #[test]
    fn any_os_release_has_a_family(text in "(?s).{0,60}", id in "[ -~]{0,8}") {
        Family::from_os_release(&text);
        Family::from_os_release(&format!("ID={id}\nID_LIKE=\"{id}\n"));
    }
}

#[test]
fn control_characters_are_refused_everywhere() {
    for (name, plain, set) in TEXTS {
        for c in (0..32)
            .chain(127..160)
            .filter_map(char::from_u32)
            .chain(['\u{2028}', '\u{2029}'])
        {
            for odd in [
                format!("{plain}{c}"),
                format!("{c}{plain}"),
                plain.replacen('l', &format!("l{c}"), 1),
            ] {
                if odd == *plain || (*name == "ssh key" && c > '\u{2000}') {
                    continue;
                }
                let mut facts = facts();
                set(&mut facts, odd.clone());
                let error = identity(Family::Debian, InitKind::Systemd, &facts).unwrap_err();
                assert_eq!(error.class, Class::Usage, "{name} {odd:?}");
            }
        }
    }
}

#[test]
fn wrong_facts_are_refused_with_words() {
    let refused = |change: Spoil| {
        let mut facts = facts();
        change(&mut facts);
        identity(Family::Debian, InitKind::Systemd, &facts).unwrap_err().message
    };
    let cases: &[(Spoil, &str)] = &[
        (|f| f.hostname = String::new(), "1 to 64"),
        (|f| f.hostname = "a".repeat(65), "1 to 64"),
        (|f| f.hostname = "-a".into(), "labels"),
        (|f| f.hostname = "a..b".into(), "labels"),
        (|f| f.fqdn = Some("a b".into()), "labels"),
        (|f| f.dns = vec![IpAddr::from([192, 0, 2, 1]); 4], "more than three"),
        (|f| f.dns = vec![IpAddr::from([0, 0, 0, 0])], "one host"),
        (|f| f.search = vec!["a".repeat(60); 6], "255"),
        (|f| f.interfaces = vec![eth0(), eth0()], "two of this name"),
        (|f| f.interfaces[0].name = "lo".into(), "interface name"),
        (|f| f.interfaces[0].name = "eth*".into(), "interface name"),
        (|f| f.interfaces[0].name = "sixteen-letters0".into(), "interface name"),
        (
            |f| f.interfaces[0].addresses = vec![IpAddr::from([127, 0, 0, 1])],
            "one host",
        ),
        (
            |f| f.interfaces[0].addresses = vec!["ff02::1".parse().unwrap()],
            "one host",
        ),
        (|f| f.interfaces[0].mac = "02:00".into(), "hexadecimal"),
        (|f| f.ssh_keys = vec!["hello world".into()], "key type"),
        (|f| f.ssh_keys = vec![format!("# {KEY}")], "'#'"),
        (
            |f| f.ssh_keys = vec!["-----BEGIN OPENSSH PRIVATE KEY-----".into()],
            "key type",
        ),
        (|f| f.password_hash = Some("secret".into()), "crypt(5)"),
        (|f| f.password_hash = Some("$6$a:b".into()), "crypt(5)"),
        (|f| f.today = 0, "1970"),
        (|f| f.timezone = Some("../../etc/shadow".into()), "Europe/Berlin"),
        (|f| f.timezone = Some("/etc/shadow".into()), "Europe/Berlin"),
    ];
    for (change, words) in cases {
        let message = refused(*change);
        assert!(message.contains(words), "{message:?} lacks {words:?}");
        assert!(!message.contains("secret"), "a secret in {message:?}");
    }
}
