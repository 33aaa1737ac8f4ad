use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const BEGIN: &str = "# BEGIN hostel";
const END: &str = "# END hostel";
const HASH: &str = "$y$j9T$abc$def";

fn write_op(path: &str, content: &str) -> Op {
    Op::Write {
        path: path.into(),
        content: content.into(),
        mode: 0o644,
        when: When::Always,
    }
}

fn block_op(path: &str, content: &str) -> Op {
    Op::ManagedBlock {
        path: path.into(),
        begin: BEGIN.into(),
        end: END.into(),
        content: content.into(),
        mode: 0o644,
        comment_out: Vec::new(),
        when: When::Always,
    }
}

fn password_op() -> Op {
    Op::Password {
        user: "root".into(),
        hash: HASH.into(),
        day: 20_000,
    }
}

/// A directory to act in, with `root/` for the VE and `outside/` for the host.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/etc")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "host\n").unwrap();
        Self { dir }
    }
    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }
    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }
    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }
    /// Applies in a thread, so that a hang is a failed test.
    fn apply(&self, ops: Vec<Op>) -> Vec<Outcome> {
        let (root, (send, receive)) = (self.root(), mpsc::channel());
        std::thread::spawn(move || send.send(apply(&root, &ops).map_err(|e| format!("{e}: {}", e.source))));
        receive
            .recv_timeout(Duration::from_secs(20))
            .expect("apply hangs")
            .unwrap()
    }
    fn one(&self, op: Op) -> Outcome {
        self.apply(vec![op]).remove(0)
    }
    fn assert_outside_untouched(&self) {
        assert_eq!(files(&self.dir.path().join("outside")), ["secret"]);
        assert_eq!(
            fs::read_to_string(self.dir.path().join("outside/secret")).unwrap(),
            "host\n"
        );
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn is_left(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Left(_))
}

#[test]
fn every_change_twice_touches_nothing_the_second_time() {
    let place = Place::new();
    fs::write(place.at("etc/zone"), b"TZif\0\xff").unwrap();
    fs::write(place.at("etc/ssh_host_a"), "").unwrap();
    fs::write(place.at("etc/shadow"), "daemon:*:1::::::\nroot::10:1:2:3:4:5:\n").unwrap();
    fs::write(place.at("etc/passwd"), "root::0:0:root:/root:/bin/sh\n").unwrap();
    let ops = vec![
        write_op("/etc/hostname", "web1\n"),
        write_op("/etc/new/deep/file", "x\n"),
        block_op("/etc/hosts", "127.0.0.1 localhost\n"),
        Op::Copy {
            from: "/etc/zone".into(),
            path: "/etc/localtime".into(),
            mode: 0o644,
        },
        Op::Truncate {
            path: "/etc/machine-id".into(),
            mode: 0o444,
        },
        Op::Symlink {
            path: "/etc/systemd/x.mount".into(),
            target: "/dev/null".into(),
        },
        Op::MakeDir {
            path: "/root/.ssh".into(),
            mode: 0o700,
        },
        Op::Remove {
            path: "/etc/zone2".into(),
        },
        Op::RemovePrefixed {
            dir: "/etc".into(),
            prefix: "ssh_host_".into(),
        },
        password_op(),
    ];
    let first = place.apply(ops.clone());
    assert_eq!(first.iter().filter(|o| **o == Outcome::Changed).count(), 9, "{first:?}");
    let times = |place: &Place| -> Vec<_> {
        [
            "etc",
            "etc/hostname",
            "etc/new/deep",
            "etc/hosts",
            "etc/localtime",
            "etc/machine-id",
            "etc/systemd",
        ]
        .iter()
        .chain(&["root/.ssh", "etc/shadow", "etc/passwd"])
        .map(|p| {
            fs::symlink_metadata(place.at(p))
                .map(|m| (m.ino(), m.mtime(), m.mtime_nsec(), m.ctime_nsec()))
                .unwrap()
        })
        .collect()
    };
    let before = times(&place);
    assert!(place.apply(ops).iter().all(|o| *o == Outcome::Unchanged));
    assert_eq!(times(&place), before);

    assert_eq!(
        place.text("etc/hosts"),
        format!("{BEGIN}\n127.0.0.1 localhost\n{END}\n")
    );
    assert_eq!(fs::read(place.at("etc/localtime")).unwrap(), b"TZif\0\xff");
    assert_eq!(
        place.text("etc/shadow"),
        format!("daemon:*:1::::::\nroot:{HASH}:20000:1:2:3:4:5:\n")
    );
    assert_eq!(place.text("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
    assert_eq!(
        fs::read_link(place.at("etc/systemd/x.mount")).unwrap(),
        Path::new("/dev/null")
    );
    assert_eq!(fs::metadata(place.at("root/.ssh")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(place.at("root")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(place.at("etc/machine-id")).unwrap().mode() & 0o7777, 0o444);
    assert!(
        !files(&place.at("etc"))
            .iter()
            .any(|n| n.starts_with(".hostel-new") || n.starts_with("ssh_host"))
    );
}

#[test]
fn fifo_socket_device_and_links_are_replaced_and_never_opened() {
    let place = Place::new();
    for (n, op) in [write_op("/etc/f", "new\n"), block_op("/etc/f", "new\n")]
        .into_iter()
        .enumerate()
    {
        let path = place.at("etc/f");
        let make: [(&str, &dyn Fn()); 5] = [
            ("fifo", &|| {
                nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap()
            }),
            ("socket", &|| {
                drop(std::os::unix::net::UnixListener::bind(&path).unwrap())
            }),
            ("dangling link", &|| symlink("/nowhere/at/all", &path).unwrap()),
            ("looping link", &|| symlink("f", &path).unwrap()),
            ("device", &|| {
                let full = nix::sys::stat::makedev(1, 7);
                nix::sys::stat::mknod(
                    &path,
                    nix::sys::stat::SFlag::S_IFCHR,
                    nix::sys::stat::Mode::S_IRWXU,
                    full,
                )
                .unwrap();
            }),
        ];
        for (what, make) in make {
            if what == "device" && !nix::unistd::geteuid().is_root() {
                println!("device: skipped because only root can make one");
                continue;
            }
            make();
            assert_eq!(place.one(op.clone()), Outcome::Changed, "{what} {n}");
            assert!(place.text("etc/f").contains("new\n"), "{what} {n}");
            assert!(fs::symlink_metadata(&path).unwrap().is_file(), "{what} {n}");
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn what_is_in_the_way_is_left_with_a_reason_and_the_rest_is_done() {
    let place = Place::new();
    fs::create_dir_all(place.at("etc/hostname/full")).unwrap();
    fs::write(place.at("file"), "").unwrap();
    let outcomes = place.apply(vec![
        write_op("/etc/hostname", "web1\n"),
        write_op("/file/below", "x\n"),
        Op::Remove {
            path: "/etc/hostname".into(),
        },
        Op::MakeDir {
            path: "/file".into(),
            mode: 0o700,
        },
        Op::Symlink {
            path: "/etc/hostname".into(),
            target: "x".into(),
        },
        Op::Copy {
            from: "/usr/share/zoneinfo/UTC".into(),
            path: "/etc/localtime".into(),
            mode: 0o644,
        },
        Op::Copy {
            from: "/etc/hostname".into(),
            path: "/etc/localtime".into(),
            mode: 0o644,
        },
        write_op("/etc/after", "x\n"),
    ]);
    assert!(outcomes[..7].iter().all(is_left), "{outcomes:?}");
    assert_eq!(outcomes[7], Outcome::Changed);
    assert_eq!(files(&place.at("etc")), ["after", "hostname"]);
    let Outcome::Left(Left { path, why }) = &outcomes[0] else {
        panic!()
    };
    assert_eq!(path, "/etc/hostname");
    assert!(why.contains("directory"), "{why}");
}

#[test]
fn huge_files_are_replaced_by_writes_and_left_by_edits() {
    let place = Place::new();
    for name in ["hostname", "hosts", "shadow"] {
        fs::File::create(place.at("etc").join(name))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
    }
    assert_eq!(place.one(write_op("/etc/hostname", "web1\n")), Outcome::Changed);
    assert!(is_left(&place.one(block_op("/etc/hosts", "x\n"))));
    assert!(is_left(&place.one(password_op())));
    assert_eq!(place.text("etc/hostname"), "web1\n");
    assert_eq!(fs::metadata(place.at("etc/hosts")).unwrap().len(), 1 << 40);
}

#[test]
fn an_immutable_file_is_left() {
    use rustix::fs::{IFlags, ioctl_setflags};
    let place = Place::new();
    let file = fs::File::create(place.at("etc/resolv.conf")).unwrap();
    if let Err(e) = ioctl_setflags(&file, IFlags::IMMUTABLE) {
        println!("skipped because the file system knows no immutable files: {e}");
        return;
    }
    let outcomes = place.apply(vec![
        write_op("/etc/resolv.conf", "x\n"),
        block_op("/etc/resolv.conf", "x\n"),
    ]);
    ioctl_setflags(&file, IFlags::empty()).unwrap();
    assert!(outcomes.iter().all(is_left), "{outcomes:?}");
    assert_eq!(files(&place.at("etc")), ["resolv.conf"]);
}

#[test]
fn a_read_only_directory_is_left() {
    use nix::mount::{MsFlags, mount};
    let place = Place::new();
    let (root, etc) = (place.root(), place.at("etc"));
    fs::write(etc.join("hosts"), "keep\n").unwrap();
    // The thread gets a mount namespace of its own, which ends with it.
    let result = std::thread::spawn(move || -> Result<_, nix::Error> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )?;
        mount(Some(&etc), &etc, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        mount(
            None::<&str>,
            &etc,
            None::<&str>,
            MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
            None::<&str>,
        )?;
        Ok(apply(
            &root,
            &[write_op("/etc/hostname", "x\n"), block_op("/etc/hosts", "x\n")],
        )
        .unwrap())
    });
    match result.join().unwrap() {
        Ok(outcomes) => assert!(outcomes.iter().all(is_left), "{outcomes:?}"),
        Err(e) => println!("skipped because this process can't mount: {e}"),
    }
    assert_eq!(place.text("etc/hosts"), "keep\n");
}

#[test]
fn links_never_lead_out_of_the_root() {
    let place = Place::new();
    let outside = place.dir.path().join("outside");
    let ops = |dir: &str| {
        vec![
            write_op(&format!("{dir}/secret"), "owned\n"),
            block_op(&format!("{dir}/secret2"), "owned\n"),
            write_op(&format!("{dir}/planted"), "owned\n"),
            Op::Remove {
                path: format!("{dir}/secret"),
            },
            Op::RemovePrefixed {
                dir: dir.to_owned(),
                prefix: "sec".into(),
            },
            Op::MakeDir {
                path: format!("{dir}/made"),
                mode: 0o700,
            },
            Op::Symlink {
                path: format!("{dir}/link"),
                target: "/dev/null".into(),
            },
        ]
    };
    for (name, target) in [
        ("abs", outside.clone()),
        ("rel", PathBuf::from("../outside")),
        (
            "up",
            PathBuf::from("../../../../../../../../").join(outside.strip_prefix("/").unwrap()),
        ),
        (
            "magic",
            PathBuf::from(format!("/proc/{}/root/{}", std::process::id(), outside.display())),
        ),
    ] {
        symlink(target, place.at(name)).unwrap();
        place.apply(ops(&format!("/{name}")));
        place.assert_outside_untouched();
    }
}

#[test]
fn a_link_to_a_host_file_gives_neither_its_content_nor_its_place() {
    let place = Place::new();
    let secret = place.dir.path().join("outside/secret");
    for name in ["hosts", "shadow", "hostname", "localtime", "copy"] {
        symlink(&secret, place.at("etc").join(name)).unwrap();
    }
    let copy = |path: &str| Op::Copy {
        from: "/etc/localtime".into(),
        path: path.into(),
        mode: 0o644,
    };
    place.apply(vec![
        block_op("/etc/hosts", "x\n"),
        password_op(),
        write_op("/etc/hostname", "x\n"),
        copy("/etc/localtime"),
        copy("/etc/copied"),
    ]);
    place.assert_outside_untouched();
    for name in ["hosts", "shadow", "hostname"] {
        assert!(!place.text(&format!("etc/{name}")).contains("host\n"), "{name}");
    }
    assert!(!place.at("etc/copied").exists());
}

#[test]
fn links_inside_the_root_keep_the_tenants_lines() {
    let place = Place::new();
    fs::create_dir(place.at("data")).unwrap();
    fs::write(place.at("data/hosts"), "10.0.0.1 mine").unwrap();
    fs::write(place.at("data/zone"), "TZif").unwrap();
    symlink("/data/hosts", place.at("etc/hosts")).unwrap();
    symlink("../data/zone", place.at("etc/localtime")).unwrap();
    let localtime = || Op::Copy {
        from: "/etc/localtime".into(),
        path: "/etc/localtime".into(),
        mode: 0o644,
    };
    assert_eq!(
        place.apply(vec![block_op("/etc/hosts", "x\n"), localtime()]),
        [Outcome::Changed, Outcome::Changed]
    );
    assert_eq!(place.text("etc/hosts"), format!("10.0.0.1 mine\n{BEGIN}\nx\n{END}\n"));
    assert!(fs::symlink_metadata(place.at("etc/localtime")).unwrap().is_file());
    assert_eq!(
        place.apply(vec![block_op("/etc/hosts", "x\n"), localtime()]),
        [Outcome::Unchanged, Outcome::Unchanged]
    );
}

#[test]
fn files_of_proc_are_not_read() {
    let root = Root::open(Path::new("/")).unwrap();
    assert!(matches!(root.read("/proc/version", true).unwrap(), Found::Other));
}

#[test]
fn mode_and_owner_of_a_replaced_file_are_kept() {
    let place = Place::new();
    let path = place.at("etc/shadow");
    fs::write(&path, "root:*:1:0:99999:7:::\n").unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(7), Some(42)).unwrap();
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4640)).unwrap();
    let owner = fs::metadata(&path).map(|m| (m.uid(), m.gid())).unwrap();
    assert_eq!(place.one(password_op()), Outcome::Changed);
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.uid(), after.gid()), owner);
    assert_eq!(after.mode() & 0o7777, 0o640);
}

#[test]
fn conditions_decide() {
    let place = Place::new();
    fs::write(place.at("etc/there"), "old\n").unwrap();
    let op = |path: &str, when| Op::Write {
        path: path.into(),
        content: "new\n".into(),
        mode: 0o600,
        when,
    };
    let outcomes = place.apply(vec![
        op("/etc/there", When::IfMissing),
        op("/etc/gone", When::IfExists),
        op("/etc/net/conf", When::IfDir("/etc/net".into())),
        op("/etc/a", When::IfDir("/etc/there".into())),
        op("/etc/b", When::IfMissing),
        op("/etc/there", When::IfExists),
        op("/etc/c", When::IfDir("/etc".into())),
    ]);
    use Outcome::{Changed, Unchanged};
    assert_eq!(
        outcomes,
        [Unchanged, Unchanged, Unchanged, Unchanged, Changed, Changed, Changed]
    );
    assert_eq!(files(&place.at("etc")), ["b", "c", "there"]);
}

#[test]
fn temporary_names_left_by_a_crash_or_planted_do_no_harm() {
    let place = Place::new();
    fs::write(place.at("etc/.hostel-new.0"), "half").unwrap();
    assert_eq!(place.one(write_op("/etc/a", "x\n")), Outcome::Changed);
    assert_eq!(files(&place.at("etc")), ["a"]);
    symlink(place.dir.path().join("outside/secret"), place.at("etc/.hostel-new.0")).unwrap();
    assert_eq!(place.one(write_op("/etc/a", "y\n")), Outcome::Changed);
    place.assert_outside_untouched();
    for n in 0..15 {
        fs::create_dir_all(place.at(&format!("etc/.hostel-new.{n}"))).unwrap();
    }
    assert_eq!(place.one(write_op("/etc/a", "z\n")), Outcome::Changed);
    fs::create_dir_all(place.at("etc/.hostel-new.15")).unwrap();
    assert!(is_left(&place.one(write_op("/etc/a", "0\n"))));
    assert_eq!(place.text("etc/a"), "z\n");
}

#[test]
fn a_password_for_a_user_without_shadow_line_is_added() {
    let place = Place::new();
    fs::write(place.at("etc/passwd"), "root:*:0:0::/root:/bin/sh").unwrap();
    assert_eq!(place.one(password_op()), Outcome::Changed);
    assert_eq!(place.text("etc/shadow"), format!("root:{HASH}:20000:0:99999:7:::\n"));
    assert_eq!(place.text("etc/passwd"), "root:x:0:0::/root:/bin/sh\n");
    assert_eq!(fs::metadata(place.at("etc/shadow")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn senseless_changes_fail_before_anything_is_touched() {
    let place = Place::new();
    let mut block = block_op("/etc/hosts", "x\n");
    if let Op::ManagedBlock { end, .. } = &mut block {
        *end = BEGIN.into();
    }
    let password = |user: &str, hash: &str| Op::Password {
        user: user.into(),
        hash: hash.into(),
        day: 1,
    };
    for bad in [
        write_op("etc/hostname", ""),
        write_op("/etc/../../x", ""),
        write_op("/etc//x", ""),
        write_op("/", ""),
        write_op("/a\0b", ""),
        block,
        block_op("/etc/hosts", "no newline"),
        block_op("/etc/hosts", &format!("{END}\n")),
        password("root", "$1$a:b"),
        password("root", "$1$a\nroot2::0:0::::"),
        password("root", "plain"),
        password("ro:ot", HASH),
        password("", HASH),
        Op::Symlink {
            path: "/x".into(),
            target: String::new(),
        },
        Op::RemovePrefixed {
            dir: "/etc".into(),
            prefix: String::new(),
        },
    ] {
        let failure = apply(&place.root(), &[write_op("/etc/first", "x\n"), bad.clone()]).unwrap_err();
        assert_eq!(failure.source.kind(), io::ErrorKind::InvalidInput, "{bad:?}");
        assert!(files(&place.at("etc")).is_empty(), "{bad:?}");
    }
    assert!(apply(&place.at("no/root"), &[]).is_err());
}

#[test]
fn blocks_replace_merge_and_vanish() {
    let merge = |old: &str, content: &str, out: &[&str]| {
        let out: Vec<String> = out.iter().map(|s| (*s).to_owned()).collect();
        String::from_utf8(text::merge_block(old.as_bytes(), BEGIN, END, content, &out)).unwrap()
    };
    assert_eq!(
        merge("a\n# BEGIN hostel  \r\nold\n# END hostel\nz", "new\n", &[]),
        "a\n# BEGIN hostel\nnew\n# END hostel\nz"
    );
    assert_eq!(merge("a\n# BEGIN hostel\nold\n# END hostel\nz\n", "", &[]), "a\nz\n");
    // A begin without its end: its lines may be the tenant's.
    assert_eq!(
        merge("# BEGIN hostel\nmine\n", "n\n", &[]),
        "mine\n# BEGIN hostel\nn\n# END hostel\n"
    );
    assert_eq!(merge("mine\n# END hostel\n", "", &[]), "mine\n");
    let two = "# BEGIN hostel\n1\n# END hostel\nmine\n# BEGIN hostel\n2\n# END hostel\n";
    assert_eq!(merge(two, "n\n", &[]), "# BEGIN hostel\nn\n# END hostel\nmine\n");
    let tab = merge("tty1::respawn:x\n#tty2:\n", "console::y\n", &["tty1:", "console:"]);
    assert_eq!(
        tab,
        "#tty1::respawn:x\n#tty2:\n# BEGIN hostel\nconsole::y\n# END hostel\n"
    );
    assert_eq!(merge(&tab, "console::y\n", &["tty1:", "console:"]), tab);
    assert_eq!(text::merge_block(b"\xff\xfe", BEGIN, END, "", &[]), b"\xff\xfe");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_block_is_stable_and_keeps_other_lines(
        lines in prop::collection::vec(prop_oneof![
            Just(BEGIN.to_owned()), Just(END.to_owned()), "[a-z #:\\r\\t]{0,8}",
        ], 0..12),
        newline: bool,
        content in prop_oneof![Just(""), Just("ours 1\n"), Just("ours 1\nours 2\n")],
    ) {
        let mut old = lines.join("\n");
        if newline { old.push('\n'); }
        let merge = |old: &[u8]| text::merge_block(old, BEGIN, END, content, &[]);
        let once = merge(old.as_bytes());
        prop_assert_eq!(&merge(&once), &once);
        let text = String::from_utf8(once).unwrap();
        prop_assert_eq!(text.matches(BEGIN).count(), usize::from(!content.is_empty()));
        prop_assert_eq!(text.lines().filter(|l| l.starts_with("ours")).count(), content.lines().count());
        if !lines.iter().any(|l| [BEGIN, END].contains(&l.trim_end())) {
            prop_assert!(text.starts_with(&old));
        }
    }

    #[test]
    fn a_password_changes_its_field_only(
        before in "([a-z]{1,4}:[^\\n]{0,12}\\n){0,3}",
        rest in "(:[0-9]{0,5}){0,7}",
        after in "([a-z]{1,4}:[^\\n]{0,12}\\n){0,3}",
    ) {
        prop_assume!(!before.lines().any(|l| l.starts_with("root:")));
        let old = format!("{before}root:!{rest}\n{after}");
        let new = text::set_shadow(old.as_bytes(), "root", HASH, 5);
        let new_text = String::from_utf8(new.clone()).unwrap();
        let line = new_text.strip_prefix(&before).and_then(|t| t.strip_suffix(&after)).unwrap();
        let fields: Vec<_> = line.trim_end().split(':').collect();
        let old_fields: Vec<_> = rest.split(':').collect();
        prop_assert_eq!(&fields[..3], &["root", HASH, "5"][..]);
        prop_assert_eq!(fields.len(), 9);
        for (n, field) in old_fields.iter().enumerate().skip(2) {
            prop_assert_eq!(fields[n + 1], *field);
        }
        prop_assert_eq!(&text::set_shadow(&new, "root", HASH, 6), &new);
    }
}

#[test]
fn a_full_disk_is_told_as_one() {
    let failure = crate::error::Failure::from(Failure {
        op: "write",
        path: "/etc/hostname".into(),
        source: io::Error::from_raw_os_error(libc::ENOSPC),
    });
    assert_eq!(failure.errno, Some(libc::ENOSPC));
    let told = failure.to_string();
    assert!(
        told.contains("write /etc/hostname inside the VE") && told.contains("No space left"),
        "{told}"
    );
}
