//! Disks of all drivers in one house: native quotas of the host's file system, and moves between them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;
mod probe;

use std::fs;
use std::path::PathBuf;

use house::pace::{READ, WRITE, is_free, takes};
use house::{House, template};

const MIB: u64 = 1 << 20;

fn btrfs() -> Option<House> {
    House::on("btrfs", &["-q"], "noatime")
}

fn ext4() -> Option<House> {
    House::on(
        "ext4",
        &["-q", "-O", "quota,project", "-E", "quotatype=prjquota"],
        "prjquota",
    )
}

fn xfs() -> Option<House> {
    House::on("xfs", &["-q"], "prjquota")
}

/// Each house that this host can have whose best driver is not the image's.
fn houses() -> Vec<(&'static str, House)> {
    let all = [("btrfs", btrfs()), ("project", ext4()), ("project", xfs())];
    all.into_iter().filter_map(|(driver, h)| Some((driver, h?))).collect()
}

fn dir(h: &House, name: &str) -> PathBuf {
    h.dir.join(format!("data/ve/{}", h.status(name, "id")))
}

fn driver(h: &House, name: &str) -> String {
    let text = h.ok(&["show", name, "--json"]);
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let row = all.as_array().unwrap().iter().find(|row| row["key"] == "disk.driver");
    row.unwrap()["value"].as_str().unwrap().to_owned()
}

/// What `df` says inside, in KiB or inodes: all.
fn df(h: &House, name: &str, flag: &str) -> u64 {
    let line = h.sh(name, &format!("df {flag} / | tail -n1"));
    line.split_whitespace().find_map(|w| w.parse().ok()).unwrap()
}

/// Writes until it is refused; why, and how many bytes went.
fn fill(h: &House, name: &str, file: &str) -> (String, u64) {
    let said = h.sh(
        name,
        &format!("dd if=/dev/urandom of={file} bs=64k count=8000 2>&1 | grep -v records; sync; wc -c <{file}"),
    );
    let (why, bytes) = said.rsplit_once('\n').unwrap_or(("", said.as_str()));
    (why.to_owned(), bytes.trim().parse().unwrap())
}

#[test]
fn init_chooses_the_best_and_info_says_why() {
    for (driver, h) in houses() {
        assert!(
            h.read("hostel.toml").contains(&format!("driver = \"{driver}\"")),
            "{}",
            h.read("hostel.toml")
        );
        let info = h.ok(&["info"]);
        let line = |what: &str| {
            info.lines()
                .find(|l| l.starts_with(what))
                .unwrap_or_default()
                .to_owned()
        };
        assert!(line("disk driver ").contains(driver), "{info}");
        assert!(line(&format!("disk driver {driver}")).contains("works"), "{info}");
        let before = h.read("hostel.toml");
        h.ok(&["init"]);
        assert_eq!(h.read("hostel.toml"), before);
    }
    let h = House::new();
    let info = h.ok(&["info"]);
    assert!(info.contains("disk driver btrfs"), "{info}");
}

#[test]
fn a_ve_is_held_to_its_disk() {
    template("busybox");
    for (driver_name, h) in houses() {
        h.busybox_with("one", &["disk.size=64MiB"]);
        h.busybox_with("other", &["disk.size=64MiB"]);
        assert_eq!(driver(&h, "one"), driver_name);
        assert!(dir(&h, "one").join(format!("disk.{driver_name}")).is_dir());
        let (why, written) = fill(&h, "one", "/big");
        assert!(why.contains("quota exceeded") || why.contains("No space left"), "{why}");
        assert!((40 * MIB..=64 * MIB).contains(&written), "{written} bytes in 64 MiB");
        let used = h.status("one", "disk").as_u64().unwrap();
        assert!((written..=64 * MIB).contains(&used), "{used}");
        assert_eq!(h.status("one", "disk_limit"), 64 * MIB);
        // Another has its own.
        h.sh("other", "dd if=/dev/urandom of=/mine bs=1M count=20 && sync");
        if driver_name == "project" {
            assert_eq!(df(&h, "one", "-k"), 64 << 10);
            assert_eq!(df(&h, "one", "-i"), 64 * 64);
        }
        // Larger at once, smaller too if it fits.
        h.ok(&["set", "one", "disk.size=128MiB"]);
        let (_, more) = fill(&h, "one", "/more");
        assert!(more > 32 * MIB, "{more}");
        h.sh("one", "rm /big /more && sync");
        h.ok(&["stop", "one"]);
        h.ok(&["set", "one", "disk.size=32MiB"]);
        h.ok(&["start", "one"]);
        let (_, least) = fill(&h, "one", "/again");
        assert!(least <= 32 * MIB, "{least}");
        h.ok(&["compact", "one"]);
        h.ok(&["restart", "one"]);
        h.ok(&["destroy", "one", "--force"]);
        assert!(!dir_of(&h, 101).exists());
    }
}

/// Limits of I/O are set on the devices below the host's file system, whose own threads may do the writing.
#[test]
fn a_ve_is_held_to_its_pace() {
    template("busybox");
    for (driver_name, h) in houses() {
        h.busybox_with("io", &["io.write=2MiB", "io.read=4MiB"]);
        assert_eq!(driver(&h, "io"), driver_name);
        takes(&h, "io", WRITE, 2.0);
        takes(&h, "io", READ, 1.0);
        h.ok(&["set", "io", "io.write=unlimited", "io.read=2MiB"]);
        is_free(&h, "io", WRITE);
        takes(&h, "io", READ, 2.0);
        h.busybox_with("other", &[]);
        is_free(&h, "other", WRITE);
    }
}

fn dir_of(h: &House, id: u32) -> PathBuf {
    h.dir.join(format!("data/ve/{id}"))
}

#[test]
fn root_inside_gets_no_further() {
    template("busybox");
    for (driver_name, h) in houses() {
        h.busybox_with("evil", &["disk.size=64MiB"]);
        if driver_name == "project" {
            h.sh(
                "evil",
                "(i=0; while [ $i -lt 5000 ]; do : >/f$i; i=$((i+1)); done) 2>/dev/null; true",
            );
            let made: u64 = h.sh("evil", "ls / | grep -c ^f").parse().unwrap();
            assert!(made < 64 * 64, "{made} files where {} may be", 64 * 64);
            h.sh("evil", "rm -f /f*");
        }
        h.feed(
            &[
                "exec",
                "evil",
                "--",
                "/bin/sh",
                "-c",
                "cat >/bin/quota; chmod 755 /bin/quota",
            ],
            &fs::read(probe::built("quota", &["quota.c"])).unwrap(),
        );
        let came = h.sh("evil", "/bin/quota");
        for what in [
            "project-of-root",
            "project-of-file",
            "inherit-of-root",
            "flags-of-root",
            "flags-of-file",
            "subvolume",
        ] {
            // Nothing is changed by taking away what isn't there.
            if what == "inherit-of-root" && driver_name != "project" {
                continue;
            }
            let line = came.lines().find(|l| l.starts_with(&format!("{what} "))).unwrap();
            assert!(!line.ends_with("done"), "{driver_name}: {came}");
        }
        let mapped: u64 = came
            .lines()
            .find_map(|l| l.strip_prefix("mapped "))
            .unwrap()
            .parse()
            .unwrap();
        assert!(mapped <= 64, "{came}");
        h.sh("evil", "rm -f /quota-map; sync");
        // By holes that are filled, by names that are removed while open.
        h.sh(
            "evil",
            "exec 3>/gone; rm /gone; dd if=/dev/urandom bs=1M count=200 >&3 2>/dev/null; true",
        );
        let used = h.status("evil", "disk").as_u64().unwrap();
        assert!(used <= 64 * MIB, "{used}");
    }
}

#[test]
fn a_btrfs_limit_of_files_is_refused_by_name() {
    let Some(h) = btrfs() else { return };
    template("busybox");
    let said = h.fails(
        6,
        &["create", "files", "--template", "busybox", "--set", "disk.inodes=3000"],
    );
    assert!(said.contains("disk.inodes") && said.contains("btrfs"), "{said}");
    h.ok(&[
        "create",
        "files",
        "--template",
        "busybox",
        "--set",
        "disk.inodes=3000",
        "--set",
        "disk.driver=image",
    ]);
    assert_eq!(driver(&h, "files"), "image");
}

#[test]
fn a_mounted_root_is_the_ves() {
    template("busybox");
    for (_, h) in houses() {
        h.busybox_with("repair", &["disk.size=64MiB"]);
        h.sh("repair", "echo inside >/note");
        h.ok(&["stop", "repair"]);
        h.in_mounted_root("repair", |root| {
            assert_eq!(fs::read_to_string(root.join("note")).unwrap(), "inside\n");
            fs::write(root.join("note"), "outside").unwrap();
            let said = h.fails(4, &["set", "repair", "disk.driver=image"]);
            assert!(said.contains("umount"), "{said}");
        });
        h.ok(&["start", "repair"]);
        assert_eq!(h.sh("repair", "cat /note"), "outside");
    }
}

/// What a guest makes of its root: files of its own, changed, renamed and deleted ones of the template, several names.
const LIFE: &str = "mkdir -p /srv/a /srv/b && echo own >/srv/a/file && ln /srv/a/file /srv/b/again && \
    chown 1000:2000 /srv/a/file && chmod 4750 /srv/a/file && mkfifo /srv/fifo && ln -s /etc/passwd /srv/link && touch -r /srv/fifo /srv/a/file && \
    truncate -s 50M /srv/sparse && echo end >>/srv/sparse && \
    mv /etc/profile /etc/profile.old 2>/dev/null; rm -f /etc/inittab.sample; rm -rf /usr/share/udhcpc; \
    mv /usr/share /usr/shared 2>/dev/null; mkdir -p /usr/share; echo x >>/etc/hosts; sync";
/// All that can be seen of it. Sizes and link counts of directories are their file system's affair.
const LOOK: &str = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o \
    -path '/var/log*' \\) -prune -o -type d -exec stat -c '%n %f %u %g' {} + -o -exec stat -c '%n %f %u %g %h %s %Y' {} + \
    | grep -v '^/etc/\\(hosts\\|hostname\\|resolv.conf\\) ' | sort; stat -c '%n %Y' /srv /srv/a /srv/b /usr; \
    cat /srv/b/again; tail -c 4 /srv/sparse; [ $(stat -c %b /srv/sparse) -lt 256 ] && echo sparse; test -e /usr/share/udhcpc || echo deleted";

/// The attributes of its files, which nothing inside can tell.
fn attributes(h: &House, name: &str) -> String {
    h.in_mounted_root(name, |root| {
        let list = "getfattr -R -h -d -m '^user' . | sed '/^$/d' | paste - - | sort";
        h.host_sh(&format!("cd {}/srv && {list}", root.display()))
    })
}

/// The lines that are in one of two texts alone.
fn difference(one: &str, other: &str) -> Vec<String> {
    let only = |a: &str, b: &str, sign: &str| {
        let others: Vec<&str> = b.lines().collect();
        let lines = a.lines().filter(|l| !others.contains(l)).map(|l| format!("{sign} {l}"));
        lines.collect::<Vec<_>>()
    };
    [only(one, other, "-"), only(other, one, "+")].concat()
}

#[test]
fn a_disk_moves_between_drivers_and_loses_nothing() {
    template("busybox");
    for (native, h) in houses() {
        h.busybox_with("mover", &["disk.size=64MiB"]);
        h.sh("mover", LIFE);
        let running = h.fails(4, &["set", "mover", "disk.driver=image"]);
        assert!(running.contains("stop it first"), "{running}");
        h.ok(&["stop", "mover"]);
        h.in_mounted_root("mover", |root| {
            let set = "setfattr -n user.note -v kept a/file && setfattr -n user.note -v 'of a directory' b";
            h.host_sh(&format!("cd {}/srv && {set}", root.display()));
        });
        let noted = attributes(&h, "mover");
        assert!(
            noted.matches("user.note").count() == 3,
            "two names of one file, and b: {noted}"
        );
        h.ok(&["start", "mover"]);
        let before = h.sh("mover", LOOK);
        assert!(
            before.contains("/srv/b/again") && before.contains("\nsparse\n") && before.ends_with("deleted"),
            "{before}"
        );
        for to in ["image", native, "image", native] {
            h.ok(&["stop", "mover"]);
            h.ok(&["set", "mover", &format!("disk.driver={to}")]);
            assert_eq!(attributes(&h, "mover"), noted, "after the move to {to}");
            h.ok(&["start", "mover"]);
            assert_eq!(driver(&h, "mover"), to);
            let difference = difference(&before, &h.sh("mover", LOOK));
            assert!(difference.is_empty(), "after the move to {to}: {difference:#?}");
            let left: Vec<_> = fs::read_dir(dir(&h, "mover"))
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .filter(|n| n.contains("disk") || n.contains("moving"))
                .collect();
            assert_eq!(left.len(), 1, "{left:?}");
            // The two names are one file still, for the guest too.
            let one = "echo more >>/srv/a/file && cmp /srv/a/file /srv/b/again && printf 'own\\n' >/srv/b/again && \
                cat /srv/a/file && touch -r /srv/fifo /srv/a/file && chmod 4750 /srv/a/file";
            assert_eq!(h.sh("mover", one), "own");
            if to == "image" {
                let kib: u64 = df(&h, "mover", "-k");
                assert!(kib <= 64 << 10, "{kib}");
            }
        }
    }
}
