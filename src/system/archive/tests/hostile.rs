//! Hostile archives: each is refused with the entry's name, and nothing outside the tree changes.

use proptest::prelude::*;

use super::*;

fn refuse(archive: Vec<u8>, expected: &[&str]) {
    let place = Place::new();
    let error = place
        .unpack(&archive)
        .expect_err(&format!("accepted; expected {expected:?}"));
    let text = chain(&error);
    for part in expected {
        assert!(text.contains(part), "{text}\nlacks {part:?}");
    }
    place.assert_untouched();
}

#[test]
fn paths_out_of_the_tree() {
    refuse(
        Maker::default().file("/etc/cron.d/x", b"x").end(),
        &["/etc/cron.d/x", "absolute"],
    );
    refuse(
        Maker::default().file("../outside/x", b"x").end(),
        &["../outside/x", "\"..\""],
    );
    refuse(
        Maker::default().dir("a").file("a/../../outside/x", b"x").end(),
        &["a/../../outside/x"],
    );
    refuse(Maker::default().dir("..").end(), &["\"..\""]);
    refuse(
        Maker::default().pax(&[("path", b"/abs")]).file("x", b"x").end(),
        &["/abs", "absolute"],
    );
    refuse(
        Maker::default().pax(&[("path", b"a\0b")]).file("x", b"x").end(),
        &["NUL"],
    );
    let name = Maker::default()
        .raw(b'L', b"././@LongLink", b"", b"../outside/long\0", |_| {})
        .file("x", b"x")
        .end();
    refuse(name, &["../outside/long"]);
}

#[test]
fn through_a_symbolic_link() {
    for target in ["../outside", "/etc", ".", "dir"] {
        let archive = Maker::default().dir("dir").symlink("link", target);
        refuse(archive.file("link/x", b"x").end(), &["link", "symbolic link"]);
    }
    refuse(
        Maker::default().symlink("l", "../outside").file("l/a/b/c", b"x").end(),
        &["symbolic link"],
    );
    // The same name again, as a file or a directory.
    refuse(
        Maker::default().symlink("l", "../outside/secret").file("l", b"x").end(),
        &["\"l\"", "another entry"],
    );
    refuse(
        Maker::default().symlink("l", "../outside").dir("l").end(),
        &["\"l\"", "another entry"],
    );
    refuse(
        Maker::default().symlink("a", "../outside").symlink("a", "x").end(),
        &["another entry"],
    );
    refuse(
        Maker::default().file("f", b"").file("f/x", b"").end(),
        &["\"f\"", "no directory"],
    );
}

#[test]
fn a_long_chain_of_links_and_directories_stays_inside() {
    let mut archive = Maker::default().dir("d");
    for n in 0..50 {
        archive = archive.symlink(&format!("d/l{n}"), if n == 0 { "../../outside" } else { "l0" });
    }
    refuse(archive.file("d/l49/x", b"x").end(), &["symbolic link"]);
}

#[test]
fn hard_links_to_what_is_not_in_the_tree() {
    let link = |target: &str| {
        Maker::default()
            .file("f", b"x")
            .symlink("l", "../outside")
            .hard_link("h", target)
            .end()
    };
    refuse(link("/etc/shadow"), &["\"h\"", "/etc/shadow", "outside"]);
    refuse(link("../outside/secret"), &["\"h\"", "outside"]);
    refuse(link("l/secret"), &["\"h\"", "symbolic link"]);
    refuse(link("missing"), &["\"h\"", "isn't there"]);
    refuse(link("missing/x"), &["\"h\"", "isn't there"]);
    refuse(link(""), &["\"h\""]);
    refuse(
        Maker::default().dir("d").hard_link("h", "d").end(),
        &["\"h\"", "directory"],
    );
    refuse(
        Maker::default().file("f", b"").file("h", b"").hard_link("h", "f").end(),
        &["another entry"],
    );
    // A link to a link is that link, not what it points to.
    let place = Place::new();
    place
        .unpack(
            &Maker::default()
                .symlink("l", "../outside/secret")
                .hard_link("h", "l")
                .end(),
        )
        .unwrap();
    assert_eq!(
        std::fs::read_link(place.path("h")).unwrap(),
        Path::new("../outside/secret")
    );
    place.assert_untouched();
}

#[test]
fn duplicates() {
    refuse(
        Maker::default().file("f", b"1").file("f", b"2").end(),
        &["\"f\"", "another entry"],
    );
    refuse(
        Maker::default().file("f", b"1").file("./f", b"2").end(),
        &["another entry"],
    );
    refuse(Maker::default().dir("d").file("d", b"").end(), &["another entry"]);
    refuse(Maker::default().file("d", b"").dir("d").end(), &["another entry"]);
    refuse(Maker::default().file(".", b"").end(), &["root of the tree"]);
    // The class of CVE-2026-48749: a directory that is checked, then a link of its name.
    refuse(
        Maker::default().dir("rootfs").symlink("rootfs", "/").end(),
        &["rootfs", "another entry"],
    );
    // A directory may be told twice; what is said last counts.
    let place = Place::new();
    let twice = Maker::default()
        .dir("d")
        .file("d/x", b"")
        .raw(b'5', b"d/", b"", b"", |h| h[100..107].copy_from_slice(b"0000700"));
    place.unpack(&twice.end()).unwrap();
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(place.path("d").metadata().unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn sizes_that_lie() {
    let smuggled = Maker::default().file("smuggled", b"x").end();
    refuse(
        Maker::default().pax(&[("size", b"1")]).file("f", &smuggled).end(),
        &["\"f\"", "another 1"],
    );
    refuse(
        Maker::default().pax(&[("size", b"4096")]).file("f", b"").end(),
        &["\"f\"", "4096"],
    );
    refuse(Maker::default().pax(&[("size", b"-1")]).file("f", b"").end(), &["size"]);
    refuse(
        Maker::default()
            .pax(&[("size", b"1"), ("size", b"0")])
            .file("f", b"")
            .end(),
        &["\"f\"", "twice"],
    );
    for kind in [b'1', b'2', b'3', b'4', b'5', b'6'] {
        refuse(
            Maker::default()
                .file("f", b"")
                .raw(kind, b"x", b"f", &[0; 512], |_| {})
                .end(),
            &["\"x\"", "has data"],
        );
    }
    let mut cut = Maker::default().file("f", &[1; 5000]).end();
    cut.truncate(3000);
    refuse(cut, &["middle of a file"]);
    let mut endless = Maker::default().file("f", b"x").end();
    endless.truncate(1024);
    refuse(endless, &["end mark"]);
    refuse(
        [Maker::default().end(), Maker::default().file("late", b"").end()].concat(),
        &["behind its end mark"],
    );
}

#[test]
fn headers_that_contradict_or_overflow() {
    let file = |m: Maker| m.file("f", b"").end();
    let long = |kind| Maker::default().raw(kind, b"././@LongLink", b"", b"x\0", |_| {});
    refuse(
        file(long(b'L').raw(b'L', b"././@LongLink", b"", b"y\0", |_| {})),
        &["two extended headers"],
    );
    refuse(file(long(b'L').pax(&[("path", b"y")])), &["told twice"]);
    refuse(
        file(Maker::default().raw(b'g', b"g", b"", &pax_record("path", b"x"), |_| {})),
        &["global", "path"],
    );
    refuse(long(b'L').end(), &["no member behind"]);
    refuse(
        file(Maker::default().raw(b'x', b"pax", b"", b"99999 a=b\n", |_| {})),
        &["malformed"],
    );
    refuse(
        file(Maker::default().pax(&[("uid", b"4294967295")])),
        &["\"f\"", "owner"],
    );
    refuse(
        file(Maker::default().pax(&[("gid", b"99999999999")])),
        &["\"f\"", "group"],
    );
    refuse(
        file(Maker::default().raw(b'V', b"label", b"", b"", |_| {})),
        &["label", "type"],
    );
    let mut wrong_sum = Maker::default().file("f", b"").end();
    wrong_sum[0] = b'g';
    refuse(wrong_sum, &["checksum"]);
    refuse(b"this is no archive at all".repeat(100), &["archive"]);
    refuse(Vec::new(), &["end mark"]);
    let huge_extension = Maker::default().raw(b'L', b"l", b"", b"", |h| h[124..135].copy_from_slice(b"77777777777"));
    refuse(huge_extension.end(), &["extended header has 8589934591 bytes"]);
}

#[test]
fn attributes_that_steer_the_host() {
    for name in [
        "trusted.overlay.redirect",
        "trusted.overlay.opaque",
        "trusted.x",
        "system.nfs4_acl",
    ] {
        let key = format!("SCHILY.xattr.{name}");
        refuse(Maker::default().pax(&[(&key, b"y")]).dir("d").end(), &["\"d\"", name]);
    }
    let twice = [("SCHILY.xattr.user.a", &b"1"[..]), ("SCHILY.xattr.user.a", b"2")];
    refuse(Maker::default().pax(&twice).file("f", b"").end(), &["\"f\"", "twice"]);
    refuse(
        Maker::default()
            .pax(&[("LIBARCHIVE.xattr.user.a", b"MQ")])
            .file("f", b"")
            .end(),
        &["libarchive"],
    );
    refuse(
        Maker::default()
            .pax(&[("SCHILY.acl.access", b"user:eve:rwx")])
            .file("f", b"")
            .end(),
        &["\"f\"", "ACL"],
    );
}

#[test]
fn maps_of_holes_that_lie() {
    let sparse = |records: &[(&str, &[u8])], data: &[u8]| Maker::default().pax(records).file("f", data).end();
    refuse(
        sparse(&[("GNU.sparse.map", b"0,1,0,1"), ("GNU.sparse.size", b"10")], b"xx"),
        &["\"f\"", "holes"],
    );
    refuse(
        sparse(&[("GNU.sparse.map", b"0,99"), ("GNU.sparse.size", b"10")], b"xx"),
        &["\"f\"", "holes"],
    );
    refuse(sparse(&[("GNU.sparse.map", b"0,2")], b"xx"), &["\"f\"", "holes"]);
    let v1 = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.realsize", b"10"),
    ];
    refuse(sparse(&v1, b"999999999\n"), &["\"f\"", "holes"]);
    refuse(sparse(&v1, b"1\n0\nx\n"), &["\"f\"", "holes"]);
    refuse(sparse(&v1, b""), &["\"f\"", "holes"]);
    let v9 = [("GNU.sparse.major", &b"9"[..]), ("GNU.sparse.realsize", b"10")];
    refuse(sparse(&v9, b""), &["\"f\"", "version"]);
    // A file that claims a petabyte of holes is held against the limit.
    refuse(
        sparse(
            &[("GNU.sparse.map", b"0,0"), ("GNU.sparse.size", b"1125899906842624")],
            b"",
        ),
        &["\"f\"", "bytes allowed"],
    );
}

#[test]
fn too_much_of_anything() {
    let place = Place::new();
    let few = Limits {
        bytes: 10,
        entries: 3,
        path_len: 20,
        depth: 3,
    };
    let refuse = |archive: Vec<u8>, expected: &str| {
        let text = chain(&unpack(archive.as_slice(), &Place::new().tree, &few).unwrap_err());
        assert!(text.contains(expected), "{text}");
    };
    refuse(
        Maker::default().file("a", b"123456").file("b", b"123456").end(),
        "10 bytes allowed",
    );
    refuse(
        Maker::default().dir("a").dir("b").dir("c").dir("d").end(),
        "3 entries allowed",
    );
    // Those too that are made on the way to one.
    refuse(
        Maker::default().file("a/b/c", b"").file("d/e/f", b"").end(),
        "3 entries allowed",
    );
    refuse(
        Maker::default().dir("aaaaaaaaaaaaaaaaaaaaaaaaa").end(),
        "20 are allowed",
    );
    refuse(Maker::default().dir("a/b/c/d").end(), "3 directories deep");
    unpack(
        Maker::default().file("a", b"1234567890").end().as_slice(),
        &place.tree,
        &few,
    )
    .unwrap();

    let long = vec![b'x'; 65_000];
    super::hostile::refuse(
        Maker::default().pax(&[("path", &long)]).file("f", b"").end(),
        &["65000 bytes"],
    );
    super::hostile::refuse(
        Maker::default().pax(&[("path", &long[..300])]).file("f", b"").end(),
        &["255 bytes"],
    );
    let deep = b"d/".repeat(2000);
    super::hostile::refuse(Maker::default().pax(&[("path", &deep)]).file("f", b"").end(), &["deep"]);
}

/// Neither of a member nor of all directories together more attributes are kept than a distribution has.
#[test]
fn attributes_without_end() {
    let value = vec![b'x'; 40 << 10];
    let with = |archive: Maker, name: &str, count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("SCHILY.xattr.user.{n}")).collect();
        let all: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &value[..])).collect();
        archive.pax(&all).dir(name)
    };
    refuse(with(Maker::default(), "d", 2).end(), &["\"d\"", "64 KiB"]);
    let mut archive = Maker::default();
    for _ in 0..6_600 {
        archive = with(archive, "d", 1);
    }
    refuse(archive.end(), &["\"d\"", "256 MiB"]);
}

#[test]
fn a_bomb_of_zeros_stops_at_the_limit() {
    // 1 GiB of zeros in a few kilobytes.
    let mut header = tar::Header::new_ustar();
    header.set_size(1 << 30);
    header.set_path("bomb").unwrap();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    use std::io::Write;
    encoder.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0u8; 1 << 20];
    for _ in 0..32 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let limits = Limits {
        bytes: 1 << 20,
        ..Limits::default()
    };
    let text = chain(&unpack(bomb.as_slice(), &Place::new().tree, &limits).unwrap_err());
    assert!(
        text.contains("bomb") && text.contains("1048576 bytes allowed"),
        "{text}"
    );
}

#[test]
fn whiteouts_are_plain_names_outside_of_layers() {
    let place = Place::new();
    place
        .unpack(&Maker::default().file("x", b"x").file(".wh.x", b"").end())
        .unwrap();
    assert!(place.path("x").exists() && place.path(".wh.x").exists());
}

/// A member out of a small set of names and types that collide as often as they can.
fn member() -> impl Strategy<Value = (u8, String, String)> {
    let name =
        || prop::collection::vec(prop::sample::select(vec!["a", "b", "..", ".", ""]), 1..4).prop_map(|p| p.join("/"));
    let target = prop_oneof![name(), Just("/etc".to_owned()), Just("../../outside".to_owned())];
    (
        prop::sample::select(vec![b'0', b'1', b'2', b'5', b'6', b'3']),
        name(),
        target,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_comes_nothing_outside_is_touched(members in prop::collection::vec(member(), 1..12), layer: bool) {
        let archive = members.iter().fold(Maker::default(), |m, (kind, path, target)| {
            let link: &[u8] = if matches!(kind, b'1' | b'2') { target.as_bytes() } else { b"" };
            m.raw(*kind, path.as_bytes(), link, if *kind == b'0' { b"data" } else { b"" }, |_| {})
        }).end();
        let place = Place::new();
        let _ = if layer { place.layer(&archive) } else { place.unpack(&archive) };
        place.assert_untouched();
    }

    #[test]
    fn noise_is_refused_and_never_panics(noise in prop::collection::vec(any::<u8>(), 0..2000), at in 0usize..3000, byte: u8) {
        let place = Place::new();
        prop_assert!(place.unpack(&noise).is_err());
        let mut archive = Maker::default().dir("d").pax(&[("mtime", b"1.5")]).file("d/f", &[7; 600]).symlink("l", "d").end();
        let at = at % archive.len();
        archive[at] = byte;
        let _ = place.unpack(&archive);
        place.assert_untouched();
    }
}
