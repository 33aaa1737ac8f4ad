//! Copies of trees, and their manifests.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::archive::{copy_tree, manifest, measure, verify};

fn sample() -> Place {
    let place = Place::new();
    let mut holes = vec![0u8; 1 << 20];
    holes[500_000] = 1;
    let archive = Maker::default()
        .pax(&[("uid", b"1000"), ("gid", b"1001"), ("SCHILY.xattr.user.a", b"1")])
        .raw(b'0', b"bin/su", b"", b"program", |h| {
            h[100..107].copy_from_slice(b"0006755")
        })
        .hard_link("z/su", "bin/su")
        .file("holes", &holes)
        .file("empty", b"")
        .symlink("link", "/nowhere")
        .node(b'6', "fifo")
        .pax(&[(
            "SCHILY.acl.default",
            b"user::rwx,group::r-x,group:4:r-x,mask::r-x,other::r-x",
        )])
        .dir("acl")
        .file("acl/x", b"x")
        .pax(&[("path", "sp ace=\\ü\n#".as_bytes())])
        .file("x", b"")
        .end();
    place.unpack(&archive).unwrap();
    place
}

#[test]
fn a_copy_has_the_same_manifest() {
    let from = sample();
    let to = Place::new();
    let report = copy_tree(&from.tree, &to.tree).unwrap();
    assert_eq!(
        (report.files, report.hard_links, report.symlinks, report.fifos),
        (5, 1, 1, 1)
    );
    let (before, after) = (manifest(&from.tree).unwrap(), manifest(&to.tree).unwrap());
    assert_eq!(before.text, after.text);
    assert_eq!((before.files, before.size), (11, (1 << 20) + 8));
    for name in ["bin/su", "holes", "acl", "link", "fifo", "bin"] {
        let (a, b) = (
            from.path(name).symlink_metadata().unwrap(),
            to.path(name).symlink_metadata().unwrap(),
        );
        assert_eq!(
            (a.mtime(), a.mtime_nsec(), a.mode()),
            (b.mtime(), b.mtime_nsec(), b.mode()),
            "{name}"
        );
    }
    assert!(to.path("holes").metadata().unwrap().blocks() * 512 < 64 << 10);
    assert_eq!(
        to.path("bin/su").metadata().unwrap().ino(),
        to.path("z/su").metadata().unwrap().ino()
    );
}

#[test]
fn devices_and_sockets_are_left_out_and_mounts_refused() {
    let from = sample();
    let _socket = std::os::unix::net::UnixListener::bind(from.path("socket")).unwrap();
    let device = rustix::fs::makedev(1, 3);
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        from.path("null"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::RUSR,
        device,
    );
    let to = Place::new();
    let report = copy_tree(&from.tree, &to.tree).unwrap();
    let expected: &[&str] = if made.is_ok() { &["null", "socket"] } else { &["socket"] };
    assert_eq!(report.left_out, expected);
    assert!(!to.path("socket").exists() && !to.path("null").exists());
    let procfs = Tree::open(Path::new("/")).and_then(|root| copy_tree(&root.subtree("proc")?, &Place::new().tree));
    assert!(
        procfs.is_err(),
        "a tree of another file system's making is no root tree"
    );
}

#[test]
fn owners_that_no_ve_has_are_found() {
    use std::os::unix::fs::lchown;
    let place = sample();
    let look = || measure(&place.tree).unwrap();
    let plain = look();
    assert_eq!((plain.files, plain.strangers, plain.stranger), (10, 0, None));
    lchown(place.path("empty"), Some(65_535), Some(65_535)).unwrap();
    assert_eq!(look().strangers, 0);
    // A link by itself; a file with two names is one.
    lchown(place.path("link"), Some(65_536), None).unwrap();
    lchown(place.path("z/su"), None, Some(u32::MAX - 1)).unwrap();
    let found = look();
    assert_eq!(
        (found.strangers, found.stranger),
        (2, Some(("bin/su".into(), u32::MAX - 1)))
    );
    lchown(place.path("link"), Some(0), None).unwrap();
    lchown(place.path("z/su"), None, Some(0)).unwrap();
    // Those whom an ACL names; of a directory, also for what will be made in it.
    for (name, attribute) in [
        ("holes", "system.posix_acl_access"),
        ("acl", "system.posix_acl_default"),
    ] {
        let acl =
            crate::archive::attributes::acl_from_text("user::rwx,user:100000:r--,group::r-x,mask::r-x,other::r-x")
                .unwrap();
        xattr::set(place.path(name), attribute, &acl).unwrap();
        let found = look();
        assert_eq!((found.strangers, found.stranger), (1, Some((name.into(), 100_000))));
        xattr::remove(place.path(name), attribute).unwrap();
    }
    // The top of the tree, too; what isn't copied doesn't matter.
    let socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    lchown(place.path("socket"), Some(100_000), None).unwrap();
    assert_eq!(look().strangers, 0);
    drop(socket);
    lchown(place.tree.path(), None, Some(100_000)).unwrap();
    assert_eq!(look().stranger, Some((".".into(), 100_000)));
}

#[test]
fn attributes_that_steer_the_host_are_refused() {
    let from = sample();
    xattr::set(from.path("bin"), "trusted.overlay.opaque", b"y").unwrap();
    let error = copy_tree(&from.tree, &Place::new().tree).unwrap_err();
    assert!(chain(&error).contains("\"bin\"") && chain(&error).contains("trusted.overlay.opaque"));
}

#[test]
fn every_change_is_named() {
    let place = sample();
    let recorded = manifest(&place.tree).unwrap().text;
    assert_eq!(verify(&place.tree, &recorded).unwrap(), Vec::<String>::new());
    let changed = |act: &dyn Fn(), expected: &str| {
        act();
        let found = verify(&place.tree, &recorded).unwrap();
        assert!(found.iter().any(|l| l.contains(expected)), "{found:?} lacks {expected}");
    };
    changed(
        &|| std::fs::write(place.path("acl/x"), "y").unwrap(),
        "./acl/x: was sha256digest=",
    );
    changed(
        &|| std::os::unix::fs::lchown(place.path("link"), Some(5), None).unwrap(),
        "./link: was uid=0, is uid=5",
    );
    changed(
        &|| xattr::set(place.path("bin/su"), "user.a", b"2").unwrap(),
        "./bin/su: was xattr.user.a=31, is xattr.user.a=32",
    );
    changed(&|| std::fs::remove_file(place.path("fifo")).unwrap(), "./fifo: is gone");
    changed(
        &|| std::fs::copy(place.path("z/su"), place.path("z/s")).map(drop).unwrap(),
        "./z/s: is new",
    );
    let unlinked = || {
        std::fs::remove_file(place.path("z/su")).unwrap();
        std::fs::copy(place.path("bin/su"), place.path("z/su")).unwrap();
    };
    changed(&unlinked, "./z/su: was");
}
