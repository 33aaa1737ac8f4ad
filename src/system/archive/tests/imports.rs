//! Imports of every form.

use std::io::Write;
use std::process::Command;

use super::*;
use crate::archive::{Form, Import, find_program, manifest, sha256};

fn root_tree() -> Maker {
    Maker::default()
        .dir("etc")
        .file("etc/hostname", b"x\n")
        .dir("sbin")
        .symlink("sbin/init", "../bin/busybox")
}

fn import(staging: &Path, from: &Path) -> Result<(Tree, Form, Report)> {
    let log = staging.join("log");
    Import {
        staging,
        log: &log,
        line: &|_| {},
        limits: Limits::default(),
    }
    .run(from)
}

/// A directory for what is imported, and one for staging.
fn places() -> (tempfile::TempDir, tempfile::TempDir) {
    (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap())
}

fn check(from: &Path, staging: &Path, form: Form) -> Tree {
    let (tree, got, _) = import(staging, from).unwrap_or_else(|e| panic!("{}", chain(&e)));
    assert_eq!(got, form);
    assert_eq!(tree.read("etc/hostname", 10).unwrap().as_deref(), Some(&b"x\n"[..]));
    let left: Vec<_> = std::fs::read_dir(staging)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .filter(|n| n != "log")
        .collect();
    assert_eq!(left, ["root"]);
    tree
}

#[test]
fn tarballs_of_every_compression() {
    let tar = root_tree().end();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&tar).unwrap();
    let zst = zstd::encode_all(tar.as_slice(), 1).unwrap();
    for data in [tar.clone(), gz.finish().unwrap(), xz.finish().unwrap(), zst] {
        let (dir, staging) = places();
        // The name tells nothing.
        let file = dir.path().join("image.zip");
        std::fs::write(&file, data).unwrap();
        check(&file, staging.path(), Form::Tarball);
    }
}

#[test]
fn lxd_images() {
    let (dir, staging) = places();
    let unified = dir.path().join("image.tar");
    let inner = Maker::default()
        .file("metadata.yaml", b"architecture: x86_64\n")
        .dir("rootfs/etc")
        .file("rootfs/etc/hostname", b"x\n")
        .symlink("rootfs/sbin", "usr/bin")
        .end();
    std::fs::write(&unified, inner).unwrap();
    check(&unified, staging.path(), Form::LxdUnified);

    let (dir, staging) = places();
    std::fs::write(
        dir.path().join("lxd.tar.xz"),
        Maker::default().file("metadata.yaml", b"x: y\n").end(),
    )
    .unwrap();
    std::fs::write(dir.path().join("rootfs.tar.xz"), root_tree().end()).unwrap();
    check(dir.path(), staging.path(), Form::LxdSplit);
    // Whoever packed the directory may mean a file of the host's.
    let (elsewhere, staging) = places();
    let (part, tree) = (dir.path().join("rootfs.tar.xz"), elsewhere.path().join("host.tar"));
    std::fs::rename(&part, &tree).unwrap();
    std::os::unix::fs::symlink(&tree, &part).unwrap();
    assert!(chain(&import(staging.path(), dir.path()).unwrap_err()).contains("no root tree"));

    // CVE-2026-48749's aim: a rootfs that is a link.
    let (dir, staging) = places();
    let file = dir.path().join("image.tar");
    std::fs::write(
        &file,
        Maker::default().file("metadata.yaml", b"").symlink("rootfs", "/").end(),
    )
    .unwrap();
    assert!(import(staging.path(), &file).is_err());
    let (dir, staging) = places();
    std::fs::write(dir.path().join("meta.tar"), root_tree().end()).unwrap();
    std::fs::write(dir.path().join("rootfs.tar"), root_tree().end()).unwrap();
    assert!(chain(&import(staging.path(), dir.path()).unwrap_err()).contains("no metadata.yaml"));
}

#[test]
fn directories_and_what_is_nothing() {
    let (_, staging) = places();
    let place = Place::new();
    place.unpack(&root_tree().end()).unwrap();
    check(place.tree.path(), staging.path(), Form::Directory);

    let (dir, staging) = places();
    assert!(chain(&import(staging.path(), dir.path()).unwrap_err()).contains("no root tree"));
    let qcow = dir.path().join("disk.qcow2");
    std::fs::write(&qcow, b"QFI\xfb\0\0\0\x03").unwrap();
    assert!(chain(&import(staging.path(), &qcow).unwrap_err()).contains("virtual machine"));
    assert!(chain(&import(staging.path(), Path::new("/dev/null")).unwrap_err()).contains("neither a file"));
    assert!(import(staging.path(), &dir.path().join("missing")).is_err());
}

/// A tree, and a squashfs image of it.
fn squashfs(dir: &Path) -> Option<(Place, PathBuf)> {
    if find_program("mksquashfs").is_none() {
        println!("skipped because mksquashfs isn't installed");
        return None;
    }
    let place = Place::new();
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let archive = root_tree()
        .pax(&[("SCHILY.xattr.security.capability", &capability), ("uid", b"70000")])
        .raw(b'0', b"bin/busybox", b"", b"program", |h| {
            h[100..107].copy_from_slice(b"0004755")
        })
        .hard_link("bin/sh", "bin/busybox")
        .node(b'6', "fifo");
    place.unpack(&archive.end()).unwrap();
    let image = dir.join("rootfs.img");
    let mut command = Command::new("mksquashfs");
    let made = command
        .arg(place.tree.path())
        .arg(&image)
        .args(["-quiet", "-no-progress"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    Some((place, image))
}

#[test]
fn squashfs_images() {
    let (dir, staging) = places();
    let Some((place, image)) = squashfs(dir.path()) else {
        return;
    };
    let tree = check(&image, staging.path(), Form::Squashfs);
    assert_eq!(manifest(&tree).unwrap().text, manifest(&place.tree).unwrap().text);

    let few = Limits {
        entries: 3,
        ..Limits::default()
    };
    let (_, staging) = places();
    let log = staging.path().join("log");
    let limited = Import {
        staging: staging.path(),
        log: &log,
        line: &|_| {},
        limits: few,
    };
    assert!(chain(&limited.run(&image).unwrap_err()).contains("entries"));
}

#[test]
fn squashfs_images_by_sqfs2tar() {
    let program = std::env::var_os("HOSTEL_TEST_SQFS2TAR")
        .map(PathBuf::from)
        .or_else(|| find_program("sqfs2tar"));
    let Some(program) = program else {
        println!("skipped because sqfs2tar isn't installed; HOSTEL_TEST_SQFS2TAR may name it");
        return;
    };
    let (dir, staging) = places();
    let Some((place, image)) = squashfs(dir.path()) else {
        return;
    };
    let log = staging.path().join("log");
    let import = Import {
        staging: staging.path(),
        log: &log,
        line: &|_| {},
        limits: Limits::default(),
    };
    let (root, scratch) = (Place::new(), Place::new());
    import
        .by_sqfs2tar(&program, &image, &scratch.tree, &root.tree)
        .unwrap_or_else(|e| panic!("{}", chain(&e)));
    assert_eq!(manifest(&root.tree).unwrap().text, manifest(&place.tree).unwrap().text);
    // A damaged image is the tool's failure, with its words.
    std::fs::write(&image, b"hsqs and no more").unwrap();
    let error = import
        .by_sqfs2tar(&program, &image, &scratch.tree, &Place::new().tree)
        .unwrap_err();
    assert!(chain(&error).contains("its last words"), "{}", chain(&error));
}

#[test]
fn squashfs_images_by_unsquashfs() {
    let (dir, staging) = places();
    let Some((place, image)) = squashfs(dir.path()) else {
        return;
    };
    let log = staging.path().join("log");
    let import = |entries| Import {
        staging: staging.path(),
        log: &log,
        line: &|_| {},
        limits: Limits {
            entries,
            ..Limits::default()
        },
    };
    let (root, scratch) = (Place::new(), Place::new());
    import(1000)
        .by_unsquashfs(&image, &scratch.tree, &root.tree)
        .unwrap_or_else(|e| panic!("{}", chain(&e)));
    assert_eq!(manifest(&root.tree).unwrap().text, manifest(&place.tree).unwrap().text);
    let error = import(3)
        .by_unsquashfs(&image, &Place::new().tree, &Place::new().tree)
        .unwrap_err();
    assert!(chain(&error).contains("entries"), "{}", chain(&error));
    std::fs::write(&image, b"hsqs and no more").unwrap();
    let error = import(1000)
        .by_unsquashfs(&image, &Place::new().tree, &Place::new().tree)
        .unwrap_err();
    assert!(chain(&error).contains("its last words"), "{}", chain(&error));
}

/// An OCI layout with these layers, each with its media type.
fn oci(dir: &Path, layers: &[(&str, Vec<u8>)]) {
    std::fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    let blob = |data: &[u8]| {
        let sum = sha256(data);
        std::fs::write(dir.join("blobs/sha256").join(&sum), data).unwrap();
        format!("\"digest\":\"sha256:{sum}\",\"size\":{}", data.len())
    };
    let layers: Vec<String> = layers
        .iter()
        .map(|(kind, data)| format!("{{\"mediaType\":\"{kind}\",{}}}", blob(data)))
        .collect();
    let manifest = format!("{{\"schemaVersion\":2,\"layers\":[{}]}}", layers.join(","));
    let other = "{\"mediaType\":\"x\",\"digest\":\"sha256:00\",\"size\":1,\"platform\":{\"architecture\":\"unknown\",\"os\":\"unknown\"}}";
    let index = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{other},{{\"mediaType\":\"y\",{}}}]}}",
        blob(manifest.as_bytes())
    );
    std::fs::write(dir.join("index.json"), index).unwrap();
    std::fs::write(dir.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
}

const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

#[test]
fn oci_layouts() {
    let base = Maker::default().dir("etc").file("etc/old", b"1").end();
    let top = root_tree().file("etc/.wh.old", b"").end();
    let (dir, staging) = places();
    let zst = zstd::encode_all(top.as_slice(), 1).unwrap();
    oci(
        dir.path(),
        &[
            (PLAIN, base.clone()),
            ("application/vnd.oci.image.layer.v1.tar+zstd", zst),
        ],
    );
    let tree = check(dir.path(), staging.path(), Form::OciLayout);
    assert!(tree.read("etc/old", 10).unwrap().is_none());

    let refused = |change: &dyn Fn(&Path), expected: &str| {
        let (dir, staging) = places();
        oci(dir.path(), &[(PLAIN, base.clone())]);
        change(dir.path());
        let text = chain(&import(staging.path(), dir.path()).unwrap_err());
        assert!(text.contains(expected), "{text} lacks {expected}");
    };
    let layer = sha256(&base);
    let other = Maker::default().dir("etc").file("etc/old", b"2").end();
    refused(
        &|d| std::fs::write(d.join("blobs/sha256").join(&layer), &other).unwrap(),
        "its SHA-256 is",
    );
    let longer = [base.clone(), vec![0; 512]].concat();
    refused(
        &|d| std::fs::write(d.join("blobs/sha256").join(&layer), &longer).unwrap(),
        "longer than",
    );
    refused(
        &|d| std::fs::remove_file(d.join("blobs/sha256").join(&layer)).unwrap(),
        "cannot open",
    );
    let edit = |d: &Path, from: &str, to: &str| {
        let text = std::fs::read_to_string(d.join("index.json")).unwrap();
        std::fs::write(d.join("index.json"), text.replace(from, to)).unwrap();
    };
    refused(&|d| edit(d, "\"size\":", "\"size\":1"), "should have");
    refused(&|d| edit(d, "sha256:", "sha256:../"), "no SHA-256 digest");
    refused(&|d| edit(d, "sha256:", "sha512:"), "no SHA-256 digest");
    refused(
        &|d| {
            edit(
                d,
                "\"mediaType\":\"y\"",
                "\"mediaType\":\"y\",\"platform\":{\"architecture\":\"s390x\",\"os\":\"linux\"}",
            )
        },
        "no image for linux",
    );
    refused(
        &|d| std::fs::write(d.join("index.json"), vec![b' '; (1 << 20) + 1]).unwrap(),
        "larger than",
    );
    refused(&|d| std::fs::write(d.join("index.json"), b"{").unwrap(), "EOF");
    let (dir, staging) = places();
    oci(
        dir.path(),
        &[("application/vnd.cncf.helm.chart.content.v1.tar+gzip", base.clone())],
    );
    assert!(chain(&import(staging.path(), dir.path()).unwrap_err()).contains("media type"));
}

#[test]
fn the_layers_of_an_image_have_one_limit_of_entries() {
    let layer = |name: &str| (PLAIN, Maker::default().file(name, b"1").file("twice", b"1").end());
    let (dir, _) = places();
    oci(dir.path(), &[layer("one"), layer("two"), layer("three")]);
    let with = |entries| {
        let limits = Limits {
            entries,
            ..Limits::default()
        };
        crate::archive::oci::import(dir.path(), &Place::new().tree, &limits)
    };
    assert_eq!(with(6).unwrap().entries, 6);
    assert!(chain(&with(5).unwrap_err()).contains("entries"));
}
