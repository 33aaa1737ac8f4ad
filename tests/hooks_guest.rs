//! Scripts of the host's owner that run inside VEs (docs/HOOKS.md): what they run there is the tenant's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // it is all test

mod house;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use house::House;

fn script(h: &House, name: &str, text: &str) {
    let name = format!("etc/hooks/{name}");
    h.write(&name, &format!("#!/bin/sh\n{text}"));
    fs::set_permissions(h.dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn line_of(path: &str, what: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().find(|line| line.contains(what))?.to_owned())
}

/// The process that is, or is to become, the VE's init.
fn init(h: &House) -> Option<u64> {
    let record = fs::read_to_string(h.run.join("101/run.json")).ok()?;
    serde_json::from_str::<serde_json::Value>(&record).ok()?["init"]["pid"].as_u64()
}

/// Its tenant has put a shell of his own in the place of the one that runs the owner's scripts.
const FREEZES_INIT: &str = "#!/bin/busybox sh\ncd /sys/fs/cgroup\nmkdir x\necho 1 > x/cgroup.procs\n\
                            echo 1 > x/cgroup.freeze\nexit 0\n";

#[test]
fn a_tenant_who_keeps_init_from_running_holds_up_nobody() {
    let h = House::new();
    h.busybox("web1");
    h.sh(
        "web1",
        &format!("printf '%s' '{FREEZES_INIT}' > /trap; chmod 755 /trap; mv /trap /bin/sh"),
    );
    h.ok(&["stop", "web1", "--timeout", "0"]);
    script(&h, "all.start", "true\n");
    let cleared = |h: &House| {
        assert_eq!(h.state("web1"), "stopped");
        assert!(h.audit().is_empty(), "{:?}", h.audit());
    };
    // Ctrl-C ends it at once.
    let child = h.spawn(&["start", "web1"]);
    h.until("it is frozen", 30, || {
        init(&h).is_some_and(|pid| line_of(&format!("/proc/{pid}/cgroup"), "/payload/x").is_some())
    });
    house::signal(&child, rustix::process::Signal::INT);
    let ended = house::end_of(child);
    assert_eq!(ended.code, 130, "{}{}", ended.out, ended.err);
    cleared(&h);
    // Nobody at the terminal, as when the host boots: it ends by itself.
    let ended = house::end_of(h.spawn(&["start", "web1"]));
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    assert!(ended.err.contains("init could not be run within 30 s"), "{}", ended.err);
    cleared(&h);
    fs::remove_file(h.dir.join("etc/hooks/all.start")).unwrap();
    h.ok(&["start", "web1"]);
}

/// The disk is in use for a moment, so that the root comes late. Until then the VE's first process has the host's.
#[test]
fn nothing_runs_inside_before_the_root_is_in_place() {
    let h = House::new();
    let place = h.dir.join("late");
    for part in ["disk", "root", "lower"] {
        fs::create_dir_all(place.join(part)).unwrap();
    }
    // In a mount namespace of its own, of which no other has a copy.
    let holds = "mount -n $loop disk && mkdir -p disk/upper disk/work && \
                 mount -n -t overlay -o lowerdir=lower,upperdir=disk/upper,workdir=disk/work overlay root && \
                 touch ready && sleep 1";
    let text = format!(
        "cd {}\nexport loop=$(losetup -nO NAME -j $VE_PRIVATE/disk.img)\n\
         unshare -m sh -c '{holds}' > /dev/null 2>&1 &\nuntil [ -e ready ]; do sleep 0.01; done\n",
        place.display()
    );
    script(&h, "all.mount", &text);
    script(&h, "all.start", "echo here > /started\n");
    house::template("busybox");
    h.ok(&["create", "web1", "--template", "busybox"]);
    h.ok(&["start", "web1"]);
    assert_eq!(h.sh("web1", "cat /started"), "here");
}

/// A group of the test's in the v1 freezer, what is in which can't even be killed.
struct Ice(PathBuf);

impl Ice {
    fn new(h: &House) -> Option<Self> {
        let freezer = Path::new("/sys/fs/cgroup/freezer");
        if !freezer.join("cgroup.procs").exists() {
            println!("skipped because there is no v1 freezer here: what is frozen in v2 can be killed");
            return None;
        }
        let group = freezer.join(format!("{}-ice", h.cgroup_root));
        fs::create_dir(&group).unwrap();
        Some(Self(group))
    }

    fn freeze(&self, process: u32) {
        fs::write(self.0.join("cgroup.procs"), process.to_string()).unwrap();
        fs::write(self.0.join("freezer.state"), "FROZEN").unwrap();
    }
}

impl Drop for Ice {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        house::until("the group is empty", 10, || fs::remove_dir(&self.0).is_ok());
    }
}

/// The process of the host that runs exactly this.
fn process(argv: &[&str]) -> Option<u32> {
    let wanted = argv.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat());
    let wanted: Vec<u8> = wanted.collect();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let mut all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    all.find(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|found| found == wanted))
}

/// Whoever gives up a stop keeps the VE running, also if its script can't be ended.
#[test]
fn ctrl_c_counts_with_a_script_that_hangs_for_good() {
    let h = House::new();
    h.busybox("web1");
    let Some(ice) = Ice::new(&h) else { return };
    let length = (1_000_000 + std::process::id()).to_string();
    script(&h, "all.stop", &format!("exec sleep {length}\n"));
    let child = h.spawn(&["stop", "web1", "--timeout", "2m"]);
    let mut sleeper = None;
    h.until("the script runs", 30, || {
        sleeper = process(&["sleep", &length]);
        sleeper.is_some()
    });
    ice.freeze(sleeper.unwrap());
    house::signal(&child, rustix::process::Signal::INT);
    let ended = house::end_of(child);
    assert_eq!(ended.code, 130, "{}{}", ended.out, ended.err);
    let script_was = |how| ended.err.contains("all.stop") && ended.err.contains(how);
    assert!(
        script_was("it was interrupted") && !script_was("took too long"),
        "{}",
        ended.err
    );
    assert_eq!(h.state("web1"), "running");
    assert_eq!(h.sh("web1", "echo well"), "well");
    drop(ice);
    fs::remove_file(h.dir.join("etc/hooks/all.stop")).unwrap();
}

/// What goes on where it was has the mounts that it had. The owner is told what it has not, and it can be suspended again.
#[test]
fn a_resume_brings_no_new_mounts_and_says_so() {
    let Some(h) = House::with_criu() else { return };
    h.busybox("web1");
    h.ok(&["suspend", "web1"]);
    let data = h.dir.join("shared");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("file"), "here\n").unwrap();
    script(
        &h,
        "all.mount",
        &format!(
            "mkdir -p $VE_ROOT/srv/data && mount -n --bind {} $VE_ROOT/srv/data\n",
            data.display()
        ),
    );
    let resumed = h.run(&["resume", "web1"]);
    assert_eq!(resumed.code, 0, "{}{}", resumed.out, resumed.err);
    let said = [resumed.out, resumed.err].concat();
    assert!(
        said.contains("a script has mounted at /srv/data is not in it"),
        "{said}"
    );
    assert_eq!(h.sh("web1", "! [ -e /srv/data ] && echo absent"), "absent");
    h.ok(&["suspend", "web1"]);
    h.ok(&["resume", "web1"]);
    h.ok(&["restart", "web1"]);
    assert_eq!(h.sh("web1", "cat /srv/data/file"), "here");
    let said = h.fails(4, &["suspend", "web1"]);
    assert!(said.contains("/srv/data"), "{said}");
}
