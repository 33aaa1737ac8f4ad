//! Templates: where they come from, their versions, and who shares them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::fs;
use std::path::{Path, PathBuf};

use house::House;
use serde_json::Value;

fn shown(h: &House, name: &str) -> Value {
    serde_json::from_str(&h.ok(&["template", "show", name, "--json"])).unwrap()
}

fn listed(h: &House) -> Vec<Value> {
    serde_json::from_str(&h.ok(&["template", "list", "--json"])).unwrap()
}

/// The tree of the busybox template, to be wrapped in every form there is.
fn tree() -> PathBuf {
    house::template("busybox");
    let versions = fs::read_dir(house::templates().join("busybox")).unwrap();
    let built = versions
        .map(|v| v.unwrap().path())
        .find(|v| v.join("template.toml").exists());
    let root = built.unwrap().join("root");
    assert!(root.is_dir(), "{}", root.display());
    root
}

/// A VE made from it boots and is itself.
#[track_caller]
fn boots(h: &House, template: &str) {
    h.ok(&["create", "probe", "--template", template, "--start"]);
    assert_eq!(h.sh("probe", "hostname; id -u; ls /sbin/init"), "probe\n0\n/sbin/init");
    h.ok(&["destroy", "probe", "--force"]);
}

#[test]
fn a_template_is_built_listed_used_and_removed() {
    let h = House::with_own_templates();
    assert!(listed(&h).is_empty());
    h.ok(&["template", "build", "busybox"]);
    let first = shown(&h, "busybox");
    assert_eq!((&first["name"], &first["init"]), (&"busybox".into(), &"busybox".into()));
    assert!(
        first["size"].as_u64().unwrap() > 100_000 && !first["checksum"].as_str().unwrap().is_empty(),
        "{first}"
    );
    let version = first["version"].as_str().unwrap().to_owned();
    let reference = format!("busybox/{version}");
    h.ok(&["create", "old", "--template", "busybox", "--start"]);
    let err = h.fails(4, &["template", "remove", "busybox"]);
    assert!(err.contains("old"), "{err}");
    assert_eq!(shown(&h, "busybox")["used_by"], serde_json::json!(["old"]));

    // Built again, be it in the same second: a new version, and the VE stays on its own.
    let recipe = fs::read_to_string(house::images().join("busybox.toml")).unwrap();
    h.write(
        "busybox.toml",
        &format!("{recipe}\n[[file]]\npath = \"/etc/second\"\ncontent = \"yes\"\n"),
    );
    h.ok(&["template", "build", h.dir.join("busybox.toml").to_str().unwrap()]);
    assert_eq!(listed(&h).len(), 2);
    let second = shown(&h, "busybox")["version"].as_str().unwrap().to_owned();
    assert!(second != version, "the newest is the new one");
    h.ok(&["create", "new", "--template", "busybox", "--start"]);
    h.ok(&["create", "exact", "--template", &reference, "--start"]);
    h.ok(&["restart", "old"]);
    for (ve, has) in [("old", false), ("new", true), ("exact", false)] {
        assert_eq!(h.run(&["exec", ve, "test", "-e", "/etc/second"]).code == 0, has, "{ve}");
    }
    assert_eq!(h.status("old", "template"), reference.as_str());
    let err = h.fails(2, &["template", "remove", "busybox"]);
    assert!(err.contains(&reference) && err.contains(&second), "{err}");
    h.ok(&["destroy", "old", "exact", "--force"]);
    h.ok(&["template", "remove", &reference]);
    assert_eq!(listed(&h).len(), 1);
    assert_eq!(h.sh("new", "cat /etc/second"), "yes");
    h.fails(3, &["template", "show", &reference]);
    let table = h.ok(&["template", "list"]);
    assert!(table.contains("busybox") && table.contains(&second), "{table}");
}

#[test]
fn a_root_tree_comes_in_every_wrapping() {
    let h = House::with_own_templates();
    let tree = tree();
    let made = |name: &str, line: &str| {
        let path = h.dir.join(name);
        h.host_sh(&format!(
            "cd {} && {}",
            tree.display(),
            line.replace("OUT", path.to_str().unwrap())
        ));
        path.display().to_string()
    };
    for (name, path) in [
        ("dir", tree.display().to_string()),
        ("tar", made("r.tar", "tar --numeric-owner --xattrs -cf OUT .")),
        ("gz", made("r.tar.gz", "tar -czf OUT .")),
        ("xz", made("r.tar.xz", "tar -cf - . | xz -0 > OUT")),
        ("zst", made("r.tar.zst", "tar -cf - . | zstd -q -1 > OUT")),
        ("oci", oci(&h, &tree)),
    ] {
        h.ok(&["template", "import", name, &path]);
        boots(&h, name);
    }
    let sums: Vec<Value> = listed(&h).into_iter().map(|t| t["checksum"].clone()).collect();
    assert_eq!(sums.len(), 6);
    assert!(
        sums.iter().all(|s| *s == sums[0]),
        "the same tree in other words: {sums:?}"
    );
}

/// An OCI image layout of two layers: the tree, and one that removes a file and adds another and takes it away again.
fn oci(h: &House, tree: &Path) -> String {
    let dir = h.dir.join("oci");
    let script = format!(
        r#"set -e
        mkdir -p {dir}/blobs/sha256; cd {dir}
        blob() {{ s=$(sha256sum < $1 | cut -d' ' -f1); n=$(stat -c %s $1); mv $1 blobs/sha256/$s; }}
        cp -a {tree} ../with; echo x > ../with/gone
        tar -czf l1 -C ../with .; blob l1; d1=$s n1=$n
        mkdir ../whiteout; : > ../whiteout/.wh.gone; chmod 755 ../whiteout
        touch -r {tree} ../whiteout; tar -czf l2 -C ../whiteout .; blob l2; d2=$s n2=$n
        printf '{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}}}}' > c; blob c; dc=$s nc=$n
        printf '{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%s","size":%s}},{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%s","size":%s}}]}}' $dc $nc $d1 $n1 $d2 $n2 > m; blob m
        printf '{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s}}]}}' $s $n > index.json
        printf '{{"imageLayoutVersion":"1.0.0"}}' > oci-layout"#,
        dir = dir.display(),
        tree = tree.display(),
    );
    h.host_sh(&script);
    dir.display().to_string()
}

#[test]
fn what_is_no_tree_leaves_no_template() {
    let h = House::with_own_templates();
    h.write("text.tar", "this is no archive at all, however it is called\n");
    let tar = h.dir.join("text.tar");
    assert_ne!(h.run(&["template", "import", "bad", tar.to_str().unwrap()]).code, 0);
    let ran = h.run(&["template", "import", "bad", "/no/such/file"]);
    assert!(ran.code != 0 && ran.err.contains("/no/such/file"), "{ran:?}");
    // Half an archive.
    let tree = tree();
    let cut = h.dir.join("cut.tar");
    h.host_sh(&format!(
        "cd {} && tar -cf - . | head -c 700000 > {}",
        tree.display(),
        cut.display()
    ));
    assert_ne!(h.run(&["template", "import", "bad", cut.to_str().unwrap()]).code, 0);
    assert!(listed(&h).is_empty());
    // A path out of the tree.
    let evil = h.dir.join("evil.tar");
    h.host_sh(&format!(
        "cd {} && tar -cPf {} --transform 's,^etc/hosts$,../../../../../../{}/escaped,' .",
        tree.display(),
        evil.display(),
        h.dir.display()
    ));
    h.host_sh(&format!(
        "cd {} && tar -rPf {} --transform 's,^,../../../../../..{}/,' etc/hosts",
        tree.display(),
        evil.display(),
        h.dir.display()
    ));
    let ran = h.run(&["template", "import", "bad", evil.to_str().unwrap()]);
    assert!(ran.code != 0 && ran.err.contains(".."), "{ran:?}");
    assert!(listed(&h).is_empty());
    assert!(!h.dir.join("etc/hosts").exists());
}

#[test]
fn who_shares_a_tree_is_as_was_chosen() {
    let h = House::new();
    house::template("busybox");
    h.write("etc/tenants/acme.toml", "");
    h.write("etc/tenants/other.toml", "");
    for (name, tenant, share) in [
        ("a1", "acme", "tenant"),
        ("a2", "acme", "tenant"),
        ("o1", "other", "tenant"),
        ("n1", "acme", "none"),
        ("h1", "acme", "host"),
        ("h2", "other", "host"),
    ] {
        h.ok(&[
            "create",
            name,
            "--template",
            "busybox",
            "--tenant",
            tenant,
            "--share",
            share,
            "--start",
        ]);
    }
    // The same page cache, or not: the file below is the same one, or not.
    let lower = |ve: &str| -> String {
        let state = fs::read_to_string(h.dir.join(format!("data/ve/{}/state.toml", h.status(ve, "id")))).unwrap();
        let line = state.lines().find(|l| l.starts_with("lower = ")).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let file = |ve: &str| {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(Path::new(&lower(ve)).join("bin/busybox")).unwrap();
        (meta.dev(), meta.ino())
    };
    assert_eq!(file("a1"), file("a2"));
    assert_eq!(file("h1"), file("h2"));
    let apart = ["a1", "o1", "n1", "h1"];
    for (i, one) in apart.iter().enumerate() {
        for other in &apart[i + 1..] {
            assert_ne!(file(one), file(other), "{one} {other}");
        }
    }
    // A VE's own copy goes with it.
    let own = lower("n1");
    h.ok(&["destroy", "n1", "--force"]);
    assert!(!Path::new(&own).exists(), "{own}");
    for ve in ["a1", "a2", "o1", "h1", "h2"] {
        assert_eq!(h.sh(ve, "hostname"), ve);
    }
}

#[test]
fn a_ve_changes_nothing_of_its_template() {
    let h = House::new();
    h.busybox("a");
    h.busybox("b");
    h.sh(
        "a",
        "echo changed > /etc/passwd; rm -rf /etc/init.d; chmod 700 /bin; echo x > /new",
    );
    assert_eq!(
        h.sh(
            "b",
            "head -n1 /etc/passwd; ls -d /etc/init.d; stat -c %a /bin; ls /new 2>/dev/null || echo none"
        ),
        "root:x:0:0:root:/root:/bin/sh\n/etc/init.d\n755\nnone"
    );
}

/// Its tools hear Ctrl-C too and say so at length: none of that is told.
#[test]
fn an_interrupted_build_is_undone_and_says_so() {
    let h = House::with_own_templates();
    let recipe = fs::read_to_string(house::images().join("busybox.toml")).unwrap();
    let nap = "[[run]]\nargv = [\"/bin/sh\", \"-c\", \"echo I: napping; sleep 60 || exit 9\"]\n";
    h.write("slow.toml", &format!("{recipe}\n{nap}"));
    let path = h.dir.join("slow.toml");
    let ran = h.on_terminal(
        &["-v", "template", "build", path.to_str().unwrap()],
        &[("napping", "\x03")],
    );
    assert_eq!(ran.code, 130, "{}", ran.out);
    assert!(
        ran.out.contains("template busybox was interrupted, and is undone") && !ran.out.contains("last words"),
        "{}",
        ran.out
    );
    assert_eq!(listed(&h), Vec::<Value>::new());
    let left: Vec<_> = fs::read_dir(h.dir.join("data/templates/busybox"))
        .map(|all| all.flatten().map(|e| e.file_name()).collect())
        .unwrap_or_default();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
}
