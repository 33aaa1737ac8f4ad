//! What a root tree needs comes out of an archive as it went in.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::*;
use crate::archive::attributes::{ACL_ACCESS, ACL_DEFAULT, acl_from_text};

#[test]
fn owners_modes_times_links_and_fifos() {
    let place = Place::new();
    let octal = |at: usize, text: &'static [u8]| move |h: &mut [u8; 512]| h[at..at + text.len()].copy_from_slice(text);
    let archive = Maker::default()
        .raw(b'5', b"./", b"", b"", octal(100, b"0000751"))
        .dir("bin/")
        .pax(&[("uid", b"1000"), ("gid", b"2097151"), ("mtime", b"1234567890.25")])
        .raw(b'0', b"./bin/su", b"", b"program", octal(100, b"0004755"))
        .hard_link("bin/su2", "bin/su")
        .symlink("sh", "/bin/su")
        .node(b'6', "fifo")
        .node(b'3', "dev/null")
        .node(b'4', "dev/sda")
        .pax(&[("mtime", b"-1.5")])
        .file("old", b"")
        .pax(&[("path", "name with ü and \n".as_bytes()), ("linkpath", b"x y")])
        .symlink("short", "short")
        .end();
    let report = place.unpack(&archive).unwrap();
    assert_eq!(
        (
            report.files,
            report.directories,
            report.symlinks,
            report.hard_links,
            report.fifos,
            report.bytes
        ),
        (2, 2, 2, 1, 1, 7)
    );
    assert_eq!(
        (report.left_out.as_slice(), report.left_out_count),
        (&["dev/null".to_owned(), "dev/sda".to_owned()][..], 2)
    );
    let su = place.path("bin/su").symlink_metadata().unwrap();
    assert_eq!(
        (su.mode() & 0o7777, su.uid(), su.gid(), su.nlink()),
        (0o4755, 1000, 2_097_151, 2)
    );
    assert_eq!((su.mtime(), su.mtime_nsec()), (1_234_567_890, 250_000_000));
    assert_eq!(place.path("bin/su2").metadata().unwrap().ino(), su.ino());
    assert_eq!(
        place.path("bin").metadata().unwrap().mtime(),
        1_000_000_000,
        "set after what is in it"
    );
    assert_eq!(place.path("").metadata().unwrap().mode() & 0o7777, 0o751);
    assert_eq!(std::fs::read_link(place.path("sh")).unwrap(), Path::new("/bin/su"));
    assert!(place.path("fifo").symlink_metadata().unwrap().file_type().is_fifo());
    assert_eq!(place.path("fifo").symlink_metadata().unwrap().mode() & 0o7777, 0o644);
    let old = place.path("old").metadata().unwrap();
    assert_eq!((old.mtime(), old.mtime_nsec()), (-2, 500_000_000));
    assert_eq!(
        std::fs::read_link(place.path("name with ü and \n")).unwrap(),
        Path::new("x y")
    );
    // The parent of a device that was left out is made on the way; that is where it would be.
    assert_eq!(std::fs::read_dir(place.path("dev")).unwrap().count(), 0);
}

#[test]
fn long_names_of_gnu_tar() {
    let place = Place::new();
    let long = format!("{}/file", "d".repeat(200));
    let target = "t".repeat(300);
    let longlink =
        |m: Maker, kind: u8, text: &str| m.raw(kind, b"././@LongLink", b"", format!("{text}\0").as_bytes(), |_| {});
    let archive = longlink(Maker::default(), b'L', &long).file("cut", b"x");
    let archive = longlink(archive, b'K', &target).symlink("link", "cut").end();
    place.unpack(&archive).unwrap();
    assert_eq!(std::fs::read(place.path(&long)).unwrap(), b"x");
    assert_eq!(std::fs::read_link(place.path("link")).unwrap(), Path::new(&target));
}

#[test]
fn attributes() {
    let place = Place::new();
    // cap_net_raw=ep; a value with a newline, as revisions and masks have.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let archive = Maker::default()
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.note", b"two\nlines=2"),
        ])
        .file("ping", b"x")
        .pax(&[
            (
                "SCHILY.acl.access",
                b"user::rw-,group::r--,group:4:r--,mask::r--,other::---",
            ),
            ("RHT.security.selinux", b"system_u:object_r:etc_t:s0"),
        ])
        .file("log", b"x")
        .pax(&[(
            "SCHILY.acl.default",
            b"user::rwx,group::r-x,group:4:r-x,mask::r-x,other::r-x",
        )])
        .dir("journal")
        .file("journal/x", b"x")
        .pax(&[("SCHILY.xattr.security.selinux", b"label")])
        .symlink("link", "ping")
        .end();
    let report = place.unpack(&archive).unwrap();
    assert_eq!(report.labels_left_out, 2);
    let get = |path: &str, name: &str| xattr::get(place.path(path), name).unwrap();
    assert_eq!(get("ping", "security.capability").as_deref(), Some(&capability[..]));
    assert_eq!(get("ping", "user.note").as_deref(), Some(&b"two\nlines=2"[..]));
    assert_eq!(
        get("log", ACL_ACCESS),
        acl_from_text("u::rw-,g::r--,g:4:r--,m::r--,o::---")
    );
    assert!(get("journal", ACL_DEFAULT).is_some());
    assert_eq!(
        get("journal/x", ACL_ACCESS),
        None,
        "a default ACL is no business of what the archive has below"
    );
}

#[test]
fn holes() {
    let place = Place::new();
    let mut data = vec![0u8; 3 << 20];
    data[1 << 20..(1 << 20) + 5].copy_from_slice(b"data!");
    let old_gnu = |h: &mut [u8; 512]| {
        h[257..265].copy_from_slice(b"ustar  \0");
        h[345..512].fill(0);
        h[386..410].copy_from_slice(b"00004000000\x0000000000005\0");
        h[483..495].copy_from_slice(b"00014000000\0");
    };
    let v1 = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"v1"),
        ("GNU.sparse.realsize", b"3145728"),
    ];
    let mut v1_data = b"1\n1048576\n5\n".to_vec();
    v1_data.resize(512, 0);
    v1_data.extend(b"data!");
    let archive = Maker::default()
        .file("zeros", &data)
        .raw(b'S', b"old", b"", b"data!", old_gnu)
        .pax(&[
            ("GNU.sparse.map", b"1048576,5"),
            ("GNU.sparse.size", b"3145728"),
            ("GNU.sparse.name", b"v01"),
        ])
        .file("GNUSparseFile.1/x", b"data!")
        .pax(&[
            ("GNU.sparse.size", b"3145728"),
            ("GNU.sparse.numblocks", b"1"),
            ("GNU.sparse.offset", b"1048576"),
            ("GNU.sparse.numbytes", b"5"),
        ])
        .file("v00", b"data!")
        .pax(&v1)
        .file("GNUSparseFile.1/y", &v1_data)
        .file("after", b"still in step")
        .end();
    place.unpack(&archive).unwrap();
    for name in ["zeros", "old", "v01", "v00", "v1"] {
        assert!(std::fs::read(place.path(name)).unwrap() == data, "{name}");
        let blocks = place.path(name).metadata().unwrap().blocks();
        assert!(blocks * 512 <= 64 << 10, "{name} takes {blocks} blocks");
    }
    assert_eq!(std::fs::read(place.path("after")).unwrap(), b"still in step");
}

#[test]
fn what_gnu_tar_writes() {
    let from = Place::new();
    let file = from.path("sparse");
    let handle = std::fs::File::create(&file).unwrap();
    use std::os::unix::fs::FileExt;
    for n in 0..40 {
        handle.write_all_at(b"piece", n * 100_000).unwrap();
    }
    handle.set_len(10 << 20).unwrap();
    std::fs::hard_link(&file, from.path("again")).unwrap();
    xattr::set(from.path("sparse"), "user.a", b"b\nc").unwrap();
    for format in ["gnu", "pax", "posix --sparse-version=0.0", "posix --sparse-version=0.1"] {
        let to = Place::new();
        let mut tar = std::process::Command::new("tar");
        tar.arg("-S").arg("-cf-");
        if format != "gnu" {
            tar.args(["--xattrs", "--acls"]);
        }
        tar.arg(format!("--format={}", format.split(' ').next().unwrap()))
            .args(format.split(' ').skip(1));
        let output = tar.arg("-C").arg(from.tree.path()).arg(".").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let report = to
            .unpack(&output.stdout)
            .unwrap_or_else(|e| panic!("{format}: {}", chain(&e)));
        assert_eq!((report.files, report.hard_links), (1, 1));
        assert!(
            std::fs::read(to.path("sparse")).unwrap() == std::fs::read(&file).unwrap(),
            "{format}"
        );
        if format != "gnu" {
            assert_eq!(
                xattr::get(to.path("again"), "user.a").unwrap().as_deref(),
                Some(&b"b\nc"[..])
            );
        }
    }
}

#[test]
fn layers() {
    let place = Place::new();
    let base = Maker::default()
        .dir("etc")
        .file("etc/keep", b"1")
        .file("etc/gone", b"1")
        .file("etc/changed", b"1")
        .dir("opaque")
        .file("opaque/old", b"1")
        .dir("tree/sub")
        .file("tree/sub/old", b"1")
        .symlink("link", "../outside/secret")
        .dir("becomes-file/x")
        .end();
    place.layer(&base).unwrap();
    let top = Maker::default()
        .dir("etc")
        .file("etc/.wh.gone", b"")
        .file("etc/.wh.never-was", b"")
        .file("etc/changed", b"2")
        .file("opaque/new", b"2")
        .file("opaque/.wh..wh..opq", b"")
        .dir("tree/sub")
        .file("tree/sub/new", b"2")
        .file(".wh.tree", b"")
        .file("link", b"now a file")
        .file("becomes-file", b"2")
        .end();
    place.layer(&top).unwrap();
    let read = |name: &str| std::fs::read_to_string(place.path(name)).ok();
    assert_eq!(read("etc/keep").as_deref(), Some("1"));
    assert_eq!(read("etc/gone"), None);
    assert_eq!(read("etc/changed").as_deref(), Some("2"));
    assert_eq!((read("opaque/old"), read("opaque/new").as_deref()), (None, Some("2")));
    assert_eq!(
        (read("tree/sub/old"), read("tree/sub/new").as_deref()),
        (None, Some("2")),
        "a whiteout hides only what was below"
    );
    assert_eq!(read("link").as_deref(), Some("now a file"));
    assert_eq!(read("becomes-file").as_deref(), Some("2"));
    assert!(!place.path("etc/.wh.gone").exists());
    for (bad, why) in [
        ("a/.wh..", "unknown kind"),
        ("a/.wh.", "unknown kind"),
        (".wh..wh.plnk", "unknown kind"),
    ] {
        let error = place.layer(&Maker::default().file(bad, b"").end()).unwrap_err();
        assert!(chain(&error).contains(why), "{bad}: {}", chain(&error));
    }
    let error = place
        .layer(&Maker::default().file("x", b"1").file("x", b"2").end())
        .unwrap_err();
    assert!(chain(&error).contains("another entry"), "twice in one layer");
    let error = place
        .layer(&Maker::default().symlink("s", "../outside").end())
        .and_then(|_| place.layer(&Maker::default().file("s/.wh.secret", b"").end()));
    assert!(chain(&error.unwrap_err()).contains("symbolic link"));
    place.assert_untouched();
}
