//! Roots as distributions ship them, before and after. `UPDATE_GOLDEN=1` writes the expected files anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;

struct Fixture {
    name: &'static str,
    family: Family,
    init: InitKind,
}

const FIXTURES: &[Fixture] = &[
    Fixture {
        name: "debian-12",
        family: Family::Debian,
        init: InitKind::Systemd,
    },
    Fixture {
        name: "debian-13",
        family: Family::Debian,
        init: InitKind::Systemd,
    },
    Fixture {
        name: "ubuntu-24.04",
        family: Family::Ubuntu,
        init: InitKind::Systemd,
    },
    Fixture {
        name: "alma-9",
        family: Family::Rhel,
        init: InitKind::Systemd,
    },
    Fixture {
        name: "rocky-9",
        family: Family::Rhel,
        init: InitKind::Systemd,
    },
    Fixture {
        name: "fedora-40",
        family: Family::Fedora,
        init: InitKind::Systemd,
    },
    Fixture {
        name: "alpine-3.20",
        family: Family::Alpine,
        init: InitKind::Busybox,
    },
    Fixture {
        name: "devuan-5",
        family: Family::Debian,
        init: InitKind::Sysvinit,
    },
    Fixture {
        name: "busybox",
        family: Family::Busybox,
        init: InitKind::Busybox,
    },
];

impl Fixture {
    fn dir(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/golden/guest")
            .join(self.name)
    }

    /// A copy of the tree to act on.
    fn copy(&self) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        copy_tree(&self.dir().join("root"), root.path());
        root
    }

    fn ops(&self, facts: &GuestFacts) -> Vec<Op> {
        identity(self.family, self.init, facts).unwrap()
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            fs::create_dir(&to).unwrap();
            copy_tree(&path, &to);
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path).unwrap(), &to).unwrap();
        } else {
            fs::copy(&path, &to).unwrap();
            // Git keeps no modes.
            let mode = if to.ends_with("etc/shadow") { 0o640 } else { 0o644 };
            fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// Path → what lies there, as text. Directories only if their mode is not the usual one.
fn snapshot(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let meta = fs::symlink_metadata(&path).unwrap();
            let mode = meta.mode() & 0o7777;
            if meta.is_dir() {
                if mode != 0o755 {
                    all.insert(format!("{name}/"), format!("{mode:04o}\n"));
                }
                dirs.push(path);
            } else if meta.is_symlink() {
                all.insert(name, format!("-> {}\n", fs::read_link(&path).unwrap().display()));
            } else {
                all.insert(name, format!("{mode:04o}\n{}", fs::read_to_string(&path).unwrap()));
            }
        }
    }
    all
}

/// Inodes and change times: equal only if nothing was touched.
fn stamps(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut all = BTreeMap::new();
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        all.insert(path, (meta.ino(), meta.ctime(), meta.ctime_nsec()));
    }
    all
}

fn describe(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>, outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        if let Outcome::Left(Left { path, why }) = outcome {
            writeln!(text, "=== left {path}: {why}").unwrap();
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        writeln!(text, "=== removed {name}").unwrap();
    }
    for (name, what) in after.iter().filter(|(name, what)| before.get(*name) != Some(*what)) {
        write!(text, "=== {name} {what}").unwrap();
        if !what.ends_with('\n') {
            text.push_str("\n(no newline at the end)\n");
        }
    }
    text
}

#[test]
fn first_start_writes_what_is_expected_and_the_second_nothing() {
    for fixture in FIXTURES {
        let root = fixture.copy();
        let before = snapshot(root.path());
        let release = fs::read_to_string(root.path().join("etc/os-release")).unwrap();
        assert_eq!(Family::from_os_release(&release), fixture.family, "{}", fixture.name);

        let outcomes = apply(root.path(), &fixture.ops(&facts())).unwrap();
        let got = describe(&before, &snapshot(root.path()), &outcomes);
        let file = fixture.dir().join("expected.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &got).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            got,
            expected,
            "{}: see {}; UPDATE_GOLDEN=1 writes it anew",
            fixture.name,
            file.display()
        );

        let stamp = stamps(root.path());
        for facts in [facts(), later(facts())] {
            assert!(
                all_unchanged(&apply(root.path(), &fixture.ops(&facts)).unwrap()),
                "{}",
                fixture.name
            );
            assert_eq!(stamps(root.path()), stamp, "{}", fixture.name);
        }
    }
}

#[test]
fn a_new_name_and_address_leave_nothing_of_the_old() {
    let moved = GuestFacts {
        hostname: "shop".into(),
        fqdn: Some("shop.other.example".into()),
        interfaces: vec![Interface {
            addresses: vec!["198.51.100.99".parse().unwrap()],
            ..eth0()
        }],
        ssh_keys: Vec::new(),
        reset: true,
        search: Vec::new(),
        ..later(facts())
    };
    for fixture in FIXTURES {
        let root = fixture.copy();
        apply(root.path(), &fixture.ops(&facts())).unwrap();
        apply(root.path(), &fixture.ops(&moved)).unwrap();
        for (name, what) in snapshot(root.path()).iter().filter(|(name, _)| *name != "etc/mailname") {
            for old in ["web1", "203.0.113.10", "2001:db8::10", "acme", "alice"] {
                assert!(!what.contains(old), "{}: {old} in {name}:\n{what}", fixture.name);
            }
        }
    }
}

#[test]
fn what_the_owner_added_stays_at_the_next_start() {
    let own: &[(&str, &str)] = &[
        ("etc/hosts", "10.1.2.3 db\n"),
        ("root/.ssh/authorized_keys", "ssh-ed25519 AAAA own\n"),
        ("etc/network/interfaces", "auto wg0\niface wg0 inet manual\n"),
        ("etc/default/networking", "VERBOSE=yes\n"),
        ("etc/inittab", "console::respawn:/sbin/mine\n"),
        ("etc/rc.conf", "rc_parallel=\"YES\"\n"),
        ("etc/passwd", "mallory:x:1000:1000::/home/mallory:/bin/sh\n"),
        ("etc/machine-id", "fedcba9876543210fedcba9876543210\n"),
        ("etc/ssh/ssh_host_ed25519_key", "its own\n"),
    ];
    for fixture in FIXTURES {
        let root = fixture.copy();
        apply(root.path(), &fixture.ops(&facts())).unwrap();
        let mut kept = Vec::new();
        for (path, line) in own {
            let file = root.path().join(path);
            if let Ok(old) = fs::read_to_string(&file) {
                fs::write(&file, format!("{line}{old}")).unwrap();
                kept.push((file, format!("{line}{old}")));
            }
        }
        // As passwd(1) does: the next start must not set the password back.
        let shadow = root.path().join("etc/shadow");
        let changed = fs::read_to_string(&shadow).unwrap().replace(HASH, "$y$j9T$own$own");
        fs::write(&shadow, &changed).unwrap();
        kept.push((shadow, changed));

        assert!(
            all_unchanged(&apply(root.path(), &fixture.ops(&later(facts()))).unwrap()),
            "{}",
            fixture.name
        );
        for (file, text) in kept {
            assert_eq!(fs::read_to_string(&file).unwrap(), text, "{}", file.display());
        }
    }
}
