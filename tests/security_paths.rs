//! Trees that lead elsewhere: a tenant, or the maker of an image, has put links, files or FIFOs where a start or an
//! entry mounts and writes. It is refused or does no harm, and the host is as it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;
mod probe;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use house::House;

/// What of the host a trap could reach: it has to be the same afterwards.
struct Host {
    marked: PathBuf,
    before: BTreeMap<String, String>,
}

/// Where something mounted by a path that was followed would show.
const PLACES: [&str; 9] = [
    "/", "/proc", "/sys", "/dev", "/dev/shm", "/dev/pts", "/run", "/tmp", "/etc",
];

const KNOBS: [&str; 6] = [
    "kernel/core_pattern",
    "kernel/modprobe",
    "vm/panic_on_oom",
    "kernel/hostname",
    "kernel/sysrq",
    "kernel/domainname",
];

impl Host {
    /// Marks a directory that the traps point to.
    fn mark(h: &House) -> Self {
        let marked = h.dir.join("marked");
        fs::create_dir_all(marked.join("sub")).unwrap();
        fs::write(marked.join("file"), "untouched").unwrap();
        let mut host = Self {
            marked,
            before: BTreeMap::new(),
        };
        host.before = host.look();
        host
    }

    fn look(&self) -> BTreeMap<String, String> {
        let mut seen = BTreeMap::new();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points: Vec<&str> = mounts.lines().filter_map(|l| l.split(' ').nth(4)).collect();
        for place in PLACES {
            seen.insert(place.into(), points.iter().filter(|p| **p == place).count().to_string());
        }
        let marked = self.marked.to_str().unwrap();
        let ours = points.iter().filter(|p| p.starts_with(marked)).count();
        seen.insert("mounts in the marked directory".into(), ours.to_string());
        for knob in KNOBS {
            let value = fs::read_to_string(Path::new("/proc/sys").join(knob)).unwrap_or_default();
            seen.insert(knob.into(), value);
        }
        let list = "find . -printf '%p %y %m %u:%g %s %T@ %l\\n' | sort; find . -type f -exec sha256sum {} +";
        let tree = Command::new("sh")
            .args(["-c", list])
            .current_dir(&self.marked)
            .output()
            .unwrap();
        seen.insert("the marked directory".into(), String::from_utf8(tree.stdout).unwrap());
        let dev = Command::new("sh")
            .args(["-c", "stat -c '%n %t:%T %a %u' /dev/null /dev/zero /dev/tty"])
            .output()
            .unwrap();
        seen.insert("devices".into(), String::from_utf8(dev.stdout).unwrap());
        seen
    }

    #[track_caller]
    fn check(&self, what: &str) {
        assert_eq!(self.look(), self.before, "{what}");
    }
}

/// The traps: shell lines that put something at `$P`, which is not there.
fn traps(marked: &Path) -> Vec<(&'static str, String)> {
    let marked = marked.display();
    vec![
        ("a link to /", "ln -s / $P".into()),
        ("a link upwards", "ln -s ../../.. $P".into()),
        ("a link to /tmp", "ln -s /tmp $P".into()),
        (
            "a link to the host",
            format!("mkdir -p {marked}/sub && ln -s {marked} $P"),
        ),
        ("a link to a process", "ln -s /proc/1/root $P".into()),
        ("a link to itself", "ln -s $P $P".into()),
        ("a link to nowhere", "ln -s /nowhere $P".into()),
        ("a file", "echo x > $P".into()),
        ("a FIFO", "mkfifo $P".into()),
    ]
}

/// Runs it with a time limit: a start may not be made to hang.
#[track_caller]
fn within(seconds: u32, command: Command) -> (i32, String) {
    let mut timed = Command::new("timeout");
    timed
        .arg(seconds.to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    let output = timed.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_ne!(output.status.code(), Some(124), "it hung: {said}");
    (output.status.code().unwrap_or(-1), said)
}

/// As a tenant does it: from inside, by taking away what was mounted there.
#[test]
fn a_mount_point_that_leads_elsewhere_is_refused() {
    let h = House::new();
    h.busybox("ve");
    let host = Host::mark(&h);
    for (what, trap) in traps(&host.marked) {
        for point in ["/proc", "/sys", "/dev", "/run"] {
            // Boot makes directories in /run, and must have ended before one that was taken away can stay away.
            let plant = format!(
                "P={point}; until pidof crond >/dev/null; do sleep 0.02; done
                umount -l $P && rm -rf $P && {trap}; test -L $P -o -f $P -o -p $P"
            );
            h.sh("ve", &plant);
            h.ok(&["kill", "ve"]);
            let (code, said) = within(20, h.command(&["start", "ve"]));
            assert_eq!(code, 1, "{point} is {what}: {said}");
            assert!(said.contains(point), "{point} is {what}: {said}");
            assert_eq!(h.state("ve"), "stopped", "{point} is {what}");
            host.check(&format!("{point} is {what}"));
            // The admin mends it as the message says.
            h.in_mounted_root("ve", |root| {
                let place = root.join(&point[1..]);
                fs::remove_file(&place).unwrap();
                fs::create_dir(&place).unwrap();
            });
            h.ok(&["start", "ve"]);
        }
    }
    assert_eq!(h.sh("ve", "hostname"), "ve");
}

/// As the maker of an image does it.
#[test]
fn an_image_that_leads_elsewhere_does_no_harm() {
    let h = House::new();
    house::template("busybox");
    let store = h.dir.join("store");
    let versions = fs::read_dir(house::templates().join("busybox")).unwrap().flatten();
    let tree = versions.map(|v| v.path().join("root")).find(|p| p.is_dir()).unwrap();
    fs::create_dir(&store).unwrap();
    let config = h.read("hostel.toml");
    let own = config.replace(&house::templates().display().to_string(), &store.display().to_string());
    h.write("hostel.toml", &own);
    let host = Host::mark(&h);
    let evil = h.dir.join("evil");
    for (n, (what, trap)) in traps(&host.marked).into_iter().enumerate() {
        // Each trap at two of the places; from inside each was tried at all of them.
        const POINTS: [&str; 6] = ["proc", "etc", "sys", "sbin/init", "dev", "run"];
        for point in [POINTS[n % 6], POINTS[(n + 3) % 6]] {
            let script = format!(
                "rm -rf {evil} && cp -a {tree} {evil} && cd {evil} && P={point} && rm -rf $P && {trap}",
                evil = evil.display(),
                tree = tree.display(),
            );
            assert!(
                Command::new("sh").args(["-c", &script]).status().unwrap().success(),
                "{script}"
            );
            let name = format!("evil-{n}-{}", point.replace('/', "-"));
            let imported = h.run(&["template", "import", &name, evil.to_str().unwrap()]);
            host.check(&format!("imported: {point} is {what}"));
            if imported.code != 0 {
                continue; // refused is fine as well
            }
            let created = h.run(&["create", &name, "--template", &name]);
            host.check(&format!("created: {point} is {what}"));
            if created.code != 0 {
                continue;
            }
            let (code, said) = within(20, h.command(&["start", &name]));
            host.check(&format!("started: {point} is {what}"));
            if matches!(point, "proc" | "sys" | "dev" | "run") {
                assert_eq!(code, 1, "{point} is {what}: {said}");
            }
            h.ok(&["destroy", &name, "--force"]);
            host.check(&format!("destroyed: {point} is {what}"));
        }
    }
}

/// What lies below a mount point is covered, whatever it is; what a start writes goes where the guest's own links
/// lead, inside.
#[test]
fn links_where_a_start_writes_stay_inside() {
    let h = House::new();
    h.busybox("ve");
    let host = Host::mark(&h);
    let marked = host.marked.display();
    h.sh(
        "ve",
        &format!(
            "umount -l /dev; for d in console null zero tty ptmx pts shm fd core; do ln -s {marked}/$d /dev/$d; done; \
             umount -l /run; ln -s {marked} /run/host; umount -l /sys; mkdir -p /sys/fs; ln -s {marked} /sys/fs/cgroup; test -L /dev/console"
        ),
    );
    h.ok(&["kill", "ve"]);
    h.ok(&["start", "ve"]);
    host.check("links below the mount points");
    assert_eq!(
        h.sh(
            "ve",
            "stat -c %F /dev/null /dev/console; test -d /dev/pts && test -d /dev/shm && echo dirs"
        ),
        "character special file\ncharacter special file\ndirs"
    );
    let files = "hostname hosts resolv.conf machine-id passwd shadow group inittab network/interfaces";
    for trap in [
        format!("ln -s {marked}/file $P"),
        format!("ln -s {marked} $P"),
        "mkfifo $P".into(),
        "mkdir $P".into(),
        "ln -s /proc/sysrq-trigger $P".into(),
    ] {
        h.sh(
            "ve",
            &format!(
                "for f in {files}; do P=/etc/$f; [ $f = inittab ] || (rm -rf $P; mkdir -p /etc/network; {trap}); done"
            ),
        );
        h.ok(&["kill", "ve"]);
        let (code, said) = within(20, h.command(&["start", "ve"]));
        assert_eq!(code, 0, "{trap}: {said}");
        // What can't be replaced is left, and that is told.
        let left = said.contains("not changed inside: ") && said.contains("/etc/hosts");
        assert_eq!(left, trap == "mkdir $P", "{trap}: {said}");
        host.check(&trap);
    }
    // The whole of /etc: a password that is to be set goes nowhere but into the VE.
    let hash = "$5$rounds=5000$saltsalt$dT0Y2kVnCZ1tjTBRIQdKhyMgpHsp6Kq0f0OLSoxZhQA";
    h.ok(&["set", "ve", &format!("guest.password_hash={hash}")]);
    for trap in [
        format!("mkdir -p {marked}; ln -s {marked} /etc"),
        "ln -s ../../.. /etc".into(),
        "ln -s /proc/1/root/etc /etc".into(),
        "mkfifo /etc".into(),
    ] {
        h.sh("ve", &format!("rm -rf /etc; {trap}"));
        h.run(&["kill", "ve"]);
        let (code, said) = within(20, h.command(&["start", "ve"]));
        host.check(&format!("{trap}: {said}"));
        if code == 0 && trap == "mkfifo /etc" {
            assert!(said.contains("not changed inside: "), "{said}");
        }
        h.run(&["kill", "ve"]);
        h.in_mounted_root("ve", |root| {
            let _ = fs::remove_file(root.join("etc"));
            fs::create_dir(root.join("etc")).unwrap();
            fs::write(root.join("etc/inittab"), "::respawn:/bin/sleep 1000\n").unwrap();
        });
        h.ok(&["start", "ve"]);
    }
}
