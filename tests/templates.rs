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

/// A copy of the busybox tree with one of each thing that a tree may hold and a careless unpacker loses.
fn rich(h: &House) -> PathBuf {
    let rich = h.dir.join("rich");
    h.host_sh(&format!(
        "cp -a {tree} {rich} && mkdir {rich}/opt && cd {rich}/opt
        echo owned > owned && chown 1234:60000 owned && chmod 2640 owned
        mkdir -m 1777 sticky && chown 0:1234 sticky
        echo one > first && ln first second && ln first ../third
        mkfifo -m 620 pipe && chown 7:8 pipe
        ln -s ../opt/first link && chown -h 9:9 link
        truncate -s 4M holes && printf end | dd of=holes bs=1 seek=4M conv=notrunc status=none
        echo odd > 'ä b' && echo text > labelled && setfattr -n user.colour -v blue labelled
        cp ../bin/busybox ../opt/chown && setcap cap_chown+ep chown
        cp ../bin/busybox setuid && chmod 4755 setuid
        mknod device b 8 0 && mknod ../null c 1 3
        touch -h -d '2001-02-03 04:05:06 UTC' owned pipe link sticky",
        tree = tree().display(),
        rich = rich.display(),
    ));
    rich
}

/// What is in the rich tree is in a VE made of it, and works there.
#[track_caller]
fn is_whole(h: &House, template: &str) {
    let ve = format!("of-{template}");
    h.ok(&["create", &ve, "--template", template, "--start"]);
    let sh = |line: &str| h.sh(&ve, line);
    assert_eq!(sh("hostname; id -u; ls /sbin/init"), format!("{ve}\n0\n/sbin/init"));
    assert_eq!(
        sh("cd /opt; stat -c '%n %F %a %u:%g %Y' owned sticky pipe link; readlink link; cat owned"),
        "owned regular file 2640 1234:60000 981173106\nsticky directory 1777 0:1234 981173106\n\
         pipe fifo 620 7:8 981173106\nlink symbolic link 777 9:9 981173106\n../opt/first\nowned",
        "{template}"
    );
    assert_eq!(
        sh("cd /opt; stat -c %h first; stat -c %i first second ../third | sort -u | wc -l"),
        "3\n1"
    );
    assert_eq!(sh("cd /opt; echo more >> first; cat /third 'ä b'"), "one\nmore\nodd");
    let (size, blocks) = (sh("stat -c %s /opt/holes"), sh("stat -c %b /opt/holes"));
    assert!(
        size == "4194307" && blocks.parse::<u64>().unwrap() <= 64,
        "{template}: {size} {blocks}"
    );
    assert_eq!(
        sh("tail -c 3 /opt/holes; (echo through > /opt/pipe &); cat /opt/pipe"),
        "endthrough"
    );
    // A file capability and a setuid bit are what they do, for a user who has nothing else.
    let as_user = |line: &str| {
        h.run(&["exec", &ve, "--user", "1000", "--", "/bin/sh", "-c", line])
            .code
    };
    sh("adduser -D -H -u 1000 user 2>/dev/null; touch /tmp/mine /tmp/his; chown 1000 /tmp/mine /tmp/his");
    assert_eq!(
        as_user("/opt/chown 7 /tmp/his 2>/dev/null"),
        0,
        "{template}: the file capability is lost"
    );
    assert_ne!(as_user("/bin/chown 7 /tmp/mine 2>/dev/null"), 0, "{template}");
    assert_eq!(sh("stat -c %u /tmp/his /tmp/mine"), "7\n1000");
    assert_eq!(
        sh("ls /null /opt/device 2>/dev/null | wc -l; stat -c %a /opt/setuid"),
        "0\n4755"
    );
    h.ok(&["stop", &ve]);
    let colour = h.in_mounted_root(&ve, |root| {
        h.host_sh(&format!(
            "getfattr --only-values -n user.colour {}",
            root.join("opt/labelled").display()
        ))
    });
    assert_eq!(colour, "blue", "{template}");
    h.ok(&["destroy", &ve]);
}

#[test]
fn a_root_tree_comes_in_every_wrapping() {
    let h = House::with_own_templates();
    let tree = rich(&h);
    let tar = "tar --numeric-owner --xattrs --xattrs-include='*' -S";
    let made = |name: &str, line: &str| {
        let path = h.dir.join(name);
        let line = line.replace("OUT", path.to_str().unwrap()).replace("TAR", tar);
        h.host_sh(&format!("cd {} && {line}", tree.display()));
        path.display().to_string()
    };
    // What images of LXD and Incus have beside the tree; only that it is there matters.
    h.write(
        "meta/metadata.yaml",
        "architecture: x86_64\ncreation_date: 1700000000\n",
    );
    h.write("meta/templates/hostname.tpl", "{{ container.name }}\n");
    let meta = h.dir.join("meta").display().to_string();
    let split = |name: &str, metadata: &str, root: &str| {
        let path = h.dir.join(name);
        fs::create_dir(&path).unwrap();
        made(&format!("{name}/{metadata}"), &format!("tar -cJf OUT -C {meta} ."));
        let rootfs = if root.ends_with(".squashfs") {
            "mksquashfs . OUT -quiet -no-progress"
        } else {
            "TAR -cJf OUT ."
        };
        made(&format!("{name}/{root}"), rootfs);
        path.display().to_string()
    };
    for (name, path, form) in [
        ("dir", tree.display().to_string(), "directory"),
        ("tar", made("r.tar", "TAR -cf OUT ."), "tarball"),
        ("gz", made("r.tar.gz", "TAR -czf OUT ."), "tarball"),
        ("xz", made("r.tar.xz", "TAR -cf - . | xz -0 > OUT"), "tarball"),
        ("zst", made("r.tar.zst", "TAR -cf - . | zstd -q -1 > OUT"), "tarball"),
        ("pax", made("p.tar", "TAR --format=pax -cf OUT ."), "tarball"),
        (
            "squashfs",
            made("r.squashfs", "mksquashfs . OUT -quiet -no-progress"),
            "squashfs image",
        ),
        (
            "unified",
            made(
                "u.tar.xz",
                &format!("TAR -cJf OUT --transform 's,^\\.,rootfs,S;s,^rootfs/meta,meta,' . -C {meta} ./metadata.yaml"),
            ),
            "LXD image",
        ),
        (
            "split-tar",
            split("incus", "incus.tar.xz", "rootfs.tar.xz"),
            "LXD image in two files",
        ),
        (
            "split-squashfs",
            split("lxd", "meta-0123abcd.tar.xz", "0123abcd.squashfs"),
            "LXD image in two files",
        ),
        ("oci", oci(&h, &tree), "OCI image layout"),
    ] {
        let ran = h.run(&["template", "import", name, &path]);
        assert_eq!(ran.code, 0, "{name}: {}", ran.err);
        let shown = shown(&h, name);
        assert!(shown["source"].as_str().unwrap().contains(form), "{name}: {shown}");
        // Device nodes are for nobody, and told.
        assert!(ran.err.contains("left out 2 device nodes"), "{name}: {}", ran.err);
        assert!(
            ["opt/device", "null"].iter().all(|d| ran.err.contains(d)),
            "{name}: {}",
            ran.err
        );
        is_whole(&h, name);
    }
    let sums: Vec<Value> = listed(&h).into_iter().map(|t| t["checksum"].clone()).collect();
    assert_eq!(sums.len(), 11);
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
        tar --numeric-owner --xattrs --xattrs-include='*' -S -czf l1 -C ../with .; blob l1; d1=$s n1=$n
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

/// One bit of busybox, whose size and times stay.
fn flip_a_bit(tree: &Path) {
    use std::os::unix::fs::FileExt;
    let file = tree.join("bin/busybox");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0u8];
    file.read_exact_at(&mut byte, 5000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 5000).unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn what_has_changed_since_it_was_made_is_told_and_no_ve_is_made_of_it() {
    let h = House::with_own_templates();
    h.ok(&["template", "build", "busybox"]);
    h.write("etc/tenants/acme.toml", "");
    h.ok(&["create", "a", "--template", "busybox", "--share", "tenant"]);
    let verify = || -> (i32, Vec<(String, usize)>) {
        let ran = h.run(&["template", "verify", "busybox", "--json"]);
        let found: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
        let line = |v: &Value| {
            let place = v["place"].as_str().unwrap().to_owned();
            (place, v["differences"].as_array().unwrap().len())
        };
        (ran.code, found.iter().map(line).collect())
    };
    let places = |store, tenant| vec![("the store".to_owned(), store), ("tenant default".to_owned(), tenant)];
    assert_eq!(verify(), (0, places(0, 0)));

    let version = shown(&h, "busybox")["version"].as_str().unwrap().to_owned();
    let below = |top: &str| h.dir.join(top).join("busybox").join(&version);
    let copy = below("data/tenants/default/templates");
    flip_a_bit(&copy.join("root"));
    assert_eq!(verify(), (1, places(0, 1)));
    let told = h.run(&["template", "verify"]);
    assert_eq!(told.code, 1);
    assert!(told.out.contains("./bin/busybox: was sha256digest="), "{told:?}");
    h.fails(3, &["template", "verify", "nosuch"]);

    flip_a_bit(&below("data/templates").join("root"));
    assert_eq!(verify(), (1, places(1, 1)));
    let said = h.fails(
        1,
        &[
            "create",
            "b",
            "--template",
            "busybox",
            "--tenant",
            "acme",
            "--share",
            "tenant",
        ],
    );
    assert!(
        said.contains("is not what it was when it was made") && said.contains("hostel template verify busybox/"),
        "{said}"
    );
    assert!(!below("data/tenants/acme/templates").exists());
    h.fails(3, &["status", "b"]);
    // Where there is a copy, nothing is read of it: that VE is as quickly made as any.
    h.ok(&["create", "b", "--template", "busybox", "--share", "tenant"]);
}

#[test]
fn copies_of_a_template_go_with_it() {
    let h = House::with_own_templates();
    h.ok(&["template", "build", "busybox"]);
    let version = shown(&h, "busybox")["version"].as_str().unwrap().to_owned();
    let below = |top: &str| h.dir.join(top).join("busybox").join(&version);
    let copy = below("data/tenants/acme/templates");
    let acme = |name: &str| {
        h.write("etc/tenants/acme.toml", "");
        h.ok(&[
            "create",
            name,
            "--template",
            "busybox",
            "--tenant",
            "acme",
            "--share",
            "tenant",
        ]);
    };
    // The tenant's file may be gone by then.
    acme("a");
    h.ok(&["destroy", "a"]);
    fs::remove_file(h.dir.join("etc/tenants/acme.toml")).unwrap();
    assert!(copy.is_dir());
    let said = h.ok(&["template", "remove", "busybox", "--json"]);
    let object: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(object, serde_json::json!({ "template": "busybox", "ok": true }));
    assert!(!copy.exists());
    let ran = h.run(&["template", "remove", "busybox", "--json"]);
    let object: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (ran.code, &object["error"]["class"]),
        (3, &"not_found".into()),
        "{ran:?}"
    );

    // One that was taken away by hand leaves its copy for the audit, as soon as no VE stands on it.
    h.ok(&["template", "build", "busybox"]);
    let version = shown(&h, "busybox")["version"].as_str().unwrap().to_owned();
    let copy = h.dir.join("data/tenants/acme/templates/busybox").join(&version);
    acme("a");
    fs::remove_dir_all(h.dir.join("data/templates/busybox")).unwrap();
    assert_eq!(h.audit(), Vec::<Value>::new());
    h.ok(&["destroy", "a"]);
    let found = h.audit();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["kind"], "template copy");
    h.ok(&["audit", "--fix"]);
    assert!(!copy.exists());
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
