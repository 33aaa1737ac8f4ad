//! Files on their way into a VE and out of it, also past a guest that means ill.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use house::{House, end_of, signal};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn files_and_directories_go_in_as_cp_would() {
    let h = House::new();
    h.busybox("web1");
    h.write("site/index.html", "hello\n");
    h.write("site/a/b/deep.txt", "deep\n");
    fs::set_permissions(h.dir.join("site/index.html"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("index.html", h.dir.join("site/link")).unwrap();
    let site = h.dir.join("site");
    // To a name that isn't there, into a directory that is, and over a file.
    h.ok(&["push", "web1", text(&site.join("index.html")), "/root/new.html"]);
    h.ok(&["push", "web1", text(&site.join("index.html")), "/root"]);
    h.ok(&["push", "web1", text(&site.join("index.html")), "/tmp/"]);
    h.sh("web1", "echo old > /root/old");
    h.ok(&["push", "web1", text(&site.join("index.html")), "/root/old"]);
    assert_eq!(
        h.sh("web1", "cat /root/new.html /root/index.html /tmp/index.html /root/old"),
        ["hello"; 4].join("\n")
    );
    assert_eq!(h.sh("web1", "stat -c '%a %u:%g' /root/new.html"), "640 0:0");
    h.ok(&["push", "web1", text(&site), "/var/www"]);
    assert_eq!(
        h.sh("web1", "cat /var/www/a/b/deep.txt; readlink /var/www/link"),
        "deep\nindex.html"
    );
    h.ok(&["push", "web1", text(&site), "/var/www"]);
    assert_eq!(h.sh("web1", "cat /var/www/site/a/b/deep.txt"), "deep");

    let err = h.fails(1, &["push", "web1", text(&site), "/no/such/place"]);
    assert!(err.contains("/no/such"), "{err}");
    h.fails(2, &["push", "web1", text(&site), "relative"]);
    let err = h.run(&["push", "web1", "/no/such/file", "/root"]);
    assert!(err.code != 0 && err.err.contains("/no/such/file"), "{err:?}");
    h.fails(3, &["push", "nobody", text(&site), "/root"]);
    h.ok(&["stop", "web1"]);
    h.fails(4, &["push", "web1", text(&site), "/root"]);
    h.fails(4, &["pull", "web1", "/etc/passwd", text(&h.dir)]);
}

#[test]
fn files_and_directories_come_out_as_cp_would() {
    let h = House::new();
    h.busybox("web1");
    h.sh("web1", "mkdir -p /srv/d/e; echo one > /srv/d/one; echo two > /srv/d/e/two; ln -s one /srv/d/link; chmod 600 /srv/d/one; chown 55:66 /srv/d/one");
    let out = h.dir.join("out");
    fs::create_dir(&out).unwrap();
    h.ok(&["pull", "web1", "/srv/d/one", text(&out)]);
    h.ok(&["pull", "web1", "/srv/d/one", text(&out.join("other"))]);
    h.ok(&["pull", "web1", "/srv/d", text(&out)]);
    h.ok(&["pull", "web1", "/srv/d", text(&out.join("copy"))]);
    for file in ["one", "other", "d/one", "copy/one"] {
        let path = out.join(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n", "{file}");
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, 0, 0o600), "{file}");
    }
    assert_eq!(fs::read_to_string(out.join("d/e/two")).unwrap(), "two\n");
    assert_eq!(fs::read_link(out.join("d/link")).unwrap(), Path::new("one"));
    // Over a file, but never over a directory.
    h.sh("web1", "echo newer > /srv/d/one");
    h.ok(&["pull", "web1", "/srv/d/one", text(&out.join("one"))]);
    assert_eq!(fs::read_to_string(out.join("one")).unwrap(), "newer\n");
    h.fails(1, &["pull", "web1", "/srv/d", text(&out)]);
    let err = h.fails(1, &["pull", "web1", "/no/such", text(&out)]);
    assert!(err.contains("/no/such"), "{err}");
    h.fails(2, &["pull", "web1", "relative", text(&out)]);
    nothing_else_in(&out, &["one", "other", "d", "copy"]);
}

/// What was begun and given up leaves nothing behind.
fn nothing_else_in(dir: &Path, names: &[&str]) {
    let mut found: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut names: Vec<&str> = names.to_vec();
    found.sort();
    names.sort_unstable();
    assert_eq!(found, names);
}

#[test]
fn large_files_go_both_ways_whole() {
    let h = House::new();
    h.busybox("web1");
    let data: Vec<u8> = (0u64..5 << 20)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    let path = h.dir.join("big");
    fs::write(&path, &data).unwrap();
    h.ok(&["push", "web1", text(&path), "/root/big"]);
    let back = h.dir.join("back");
    h.ok(&["pull", "web1", "/root/big", text(&back)]);
    assert!(fs::read(&back).unwrap() == data);
    // A disk that is too small says so, and the VE lives on.
    let huge = h.dir.join("huge");
    fs::write(&huge, vec![7u8; 200 << 20]).unwrap();
    let err = h.run(&["push", "web1", text(&huge), "/root/huge"]);
    assert!(err.code == 6 && err.err.contains("No space left"), "{err:?}");
    h.sh("web1", "rm -f /root/huge; echo fine > /root/f");
}

#[test]
fn links_of_a_hostile_guest_lead_nowhere_on_the_host() {
    let h = House::new();
    h.busybox("web1");
    let outside = h.dir.join("precious");
    fs::create_dir(&outside).unwrap();
    h.write("precious/file", "precious\n");
    h.write("evil", "evil\n");
    let passwd = fs::read("/etc/passwd").unwrap();
    let evil = h.dir.join("evil");
    let target = text(&outside);
    // The destination is a link to a place of the host's: inside it means the guest's own place of that name.
    h.sh("web1", &format!("ln -s {target} /root/d; ln -s {target}/file /root/f; ln -s /etc/passwd /root/p; ln -s /proc/1/root/etc /root/r"));
    h.run(&["push", "web1", text(&evil), "/root/d/file"]);
    h.run(&["push", "web1", text(&evil), "/root/f"]);
    h.run(&["push", "web1", text(&evil), "/root/p"]);
    h.run(&["push", "web1", text(&evil), "/root/r/passwd"]);
    h.run(&["push", "web1", text(&evil), "/root/../../../../../../etc/shadow"]);
    assert_eq!(h.read("precious/file"), "precious\n");
    assert_eq!(fs::read("/etc/passwd").unwrap(), passwd);
    nothing_else_in(&outside, &["file"]);
    // The source is one: what comes out is a link, or the guest's own file; never the host's.
    let out = h.dir.join("out");
    fs::create_dir(&out).unwrap();
    h.run(&["pull", "web1", "/root/f", text(&out.join("f"))]);
    h.run(&["pull", "web1", "/root/d/file", text(&out.join("g"))]);
    for name in ["f", "g"] {
        let read = fs::symlink_metadata(out.join(name)).ok().filter(fs::Metadata::is_file);
        assert!(
            read.is_none_or(|_| fs::read_to_string(out.join(name)).unwrap() != "precious\n"),
            "{name}"
        );
    }
    // A link of ours at the place to pull to is replaced, not followed.
    symlink(outside.join("file"), out.join("link")).unwrap();
    h.sh("web1", "echo pulled > /root/plain");
    h.ok(&["pull", "web1", "/root/plain", text(&out.join("link"))]);
    assert_eq!(h.read("precious/file"), "precious\n");
    assert_eq!(fs::read_to_string(out.join("link")).unwrap(), "pulled\n");
}

/// What the one before has left goes with the next one into the same directory; what another is at work in stays.
#[test]
fn a_pull_that_is_killed_leaves_nothing_for_long() {
    let h = House::new();
    h.busybox("web1");
    h.sh(
        "web1",
        "mkdir -p /srv/big; for i in $(seq 200); do head -c 100000 /dev/zero > /srv/big/$i; done",
    );
    let out = h.dir.join("out");
    fs::create_dir(&out).unwrap();
    let staged = || {
        fs::read_dir(&out)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name() != "file")
            .count()
    };
    // Slow enough to be met under way.
    h.ok(&["set", "web1", "cpu.cap=0.03"]);
    let pull = || h.spawn(&["pull", "web1", "/srv/big", text(&out)]);
    let (mut killed, waiting) = (pull(), pull());
    h.until("both are on their way", 20, || staged() == 2);
    signal(&killed, rustix::process::Signal::KILL);
    killed.wait().unwrap();
    assert_eq!(staged(), 2);
    h.ok(&["set", "web1", "cpu.cap=1"]);
    assert_eq!(end_of(waiting).code, 0);
    h.ok(&["pull", "web1", "/etc/passwd", text(&out.join("file"))]);
    assert_eq!(staged(), 1, "what came, and nothing else");
    assert!(out.join("big/200").exists());
}

#[test]
fn what_has_power_comes_out_harmless() {
    let h = House::new();
    h.busybox("web1");
    h.sh(
        "web1",
        "mkdir -p /srv/t/sub; cd /srv/t; cp /bin/busybox suid; chmod 6755 suid; mkfifo fifo; chmod 7777 sub; \
         ln -s ../../../../etc/passwd up; ln -s /etc/shadow abs; echo x > sub/f; ln sub/f hard",
    );
    let out = h.dir.join("t");
    h.ok(&["pull", "web1", "/srv/t", text(&out)]);
    let mode = |name: &str| fs::symlink_metadata(out.join(name)).unwrap().mode();
    assert_eq!(mode("suid") & 0o7777, 0o755);
    assert_eq!(mode("sub") & 0o7000, 0);
    assert_eq!(fs::symlink_metadata(out.join("suid")).unwrap().uid(), 0);
    assert!(fs::symlink_metadata(out.join("fifo")).map_or(true, |m| !m.file_type().is_fifo()));
    assert_eq!(fs::read_to_string(out.join("hard")).unwrap(), "x\n");
    assert_eq!(fs::read_link(out.join("abs")).unwrap(), Path::new("/etc/shadow"));
    // Capabilities of files don't come along either.
    let path = CString::new(text(&out.join("suid"))).unwrap();
    let mut names = [0u8; 256];
    assert_eq!(rustix::fs::listxattr(path.as_c_str(), &mut names[..]).unwrap(), 0);
    // Single things that are no files are refused, and leave nothing.
    let dir = h.dir.join("out");
    fs::create_dir(&dir).unwrap();
    for source in ["/srv/t/fifo", "/dev/null", "/dev/console"] {
        let err = h.fails(1, &["pull", "web1", source, text(&dir)]);
        assert!(err.contains("neither a file nor a directory"), "{source}: {err}");
    }
    // A tree of devices: there is no way to make one inside but the ones that are there.
    h.run(&["pull", "web1", "/dev", text(&dir.join("dev"))]);
    if dir.join("dev").exists() {
        for entry in fs::read_dir(dir.join("dev")).unwrap() {
            let kind = entry.unwrap().file_type().unwrap();
            assert!(kind.is_file() || kind.is_dir() || kind.is_symlink());
        }
    }
}

#[test]
fn a_pull_that_is_interrupted_leaves_nothing() {
    let h = House::new();
    h.busybox("web1");
    h.sh(
        "web1",
        "mkdir -p /srv/t; for i in $(seq 400); do head -c 100000 /dev/zero > /srv/t/$i; done",
    );
    // Slow enough to be met under way.
    h.ok(&["set", "web1", "cpu.cap=0.03"]);
    let out = h.dir.join("out");
    fs::create_dir(&out).unwrap();
    let child = h.spawn(&["pull", "web1", "/srv/t", text(&out)]);
    h.until("it has begun", 10, || fs::read_dir(&out).unwrap().next().is_some());
    signal(&child, rustix::process::Signal::INT);
    let ran = end_of(child);
    assert!(
        ran.code == 130 && ran.err.contains("interrupted"),
        "{} {}",
        ran.code,
        ran.err
    );
    nothing_else_in(&out, &[]);
}
