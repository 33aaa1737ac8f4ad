//! The monitor against the real kernel: a busybox VE without network and limits.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::*;

struct Guest {
    dir: tempfile::TempDir,
    init: Option<Init>,
}

fn monitors() -> Monitors {
    let exe = std::env::current_exe().unwrap();
    let program = exe.parent().unwrap().parent().unwrap().join("hostel-monitor");
    assert!(program.exists(), "build it first: cargo build -p hostel-monitor");
    Monitors::new(program)
}

const BASE: u32 = 700 << 16;

impl Guest {
    fn new(inittab: &str) -> Option<Self> {
        let busybox = Path::new("/bin/busybox");
        if !busybox.exists() {
            println!("skipped because busybox-static is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        for d in ["bin", "sbin", "etc", "proc", "sys", "dev", "run", "root", "tmp"] {
            std::fs::create_dir_all(tree.join(d)).unwrap();
        }
        std::fs::copy(busybox, tree.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "sleep", "true", "id", "poweroff", "reboot", "mount", "ls", "grep", "stat",
        ] {
            std::os::unix::fs::symlink("busybox", tree.join("bin").join(applet)).unwrap();
        }
        std::os::unix::fs::symlink("../bin/busybox", tree.join("sbin/init")).unwrap();
        std::fs::write(tree.join("etc/inittab"), inittab).unwrap();
        std::fs::create_dir_all(dir.path().join("disk")).unwrap();
        std::fs::create_dir_all(dir.path().join("run")).unwrap();
        Some(Self { dir, init: None })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn disk(&self) -> Disk {
        Disk::Directory(self.path("disk"))
    }

    fn spec(&self) -> Start {
        Start {
            watch: Watch {
                id: 101,
                run_dir: self.path("run"),
                place: Place::default(),
                view: None,
                sheet: None,
                console_log_size: 1 << 16,
                after: vec![],
            },
            id_base: BASE,
            owner: BASE,
            lower: self.path("tree"),
            payload: Place::default(),
            hostname: "guest".into(),
            init: vec!["/sbin/init".into()],
            env: vec!["PATH=/bin:/sbin".into(), "container=hostel".into()],
            notifies: false,
            identity: vec![],
            switches: Switches::default(),
            tmpfs_size: 1 << 20,
        }
    }

    fn start(&mut self) -> Result<Init> {
        let launching = monitors().launch(self.spec(), monitors().mount(self.disk()), Vec::new())?;
        let init = launching.init();
        self.init = Some(init);
        launching.go()?;
        Ok(init)
    }

    fn console(&self) -> String {
        std::fs::read_to_string(self.path("run/console.log")).unwrap_or_default()
    }

    fn await_console(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.console().contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} in {:?}", self.console());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn ended(&self) -> Ended {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match std::fs::read_to_string(self.path("run/exit.json")).map(|t| serde_json::from_str(&t)) {
                Ok(Ok(ended)) => return ended,
                _ => assert!(Instant::now() < deadline, "no exit record"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(init) = self.init {
            let _ = monitors().end(init, Duration::from_secs(5));
        }
    }
}

const TAB: &str = "::sysinit:/bin/sh -c 'echo up; id; cat /proc/self/uid_map; echo mine > /root/file'\n\
                   ::respawn:/bin/sleep 1000\n";

#[test]
fn a_guest_boots_answers_and_powers_off() {
    let Some(mut guest) = Guest::new(TAB) else { return };
    let init = guest.start().unwrap();
    guest.await_console("uid=0");
    guest.await_console(&BASE.to_string());
    let answer = monitors().ask(&guest.path("run"), &Request::Status).unwrap().unwrap();
    assert_eq!((answer.init, answer.booted, answer.console), (init, None, true));
    use std::os::unix::fs::MetadataExt;
    let deadline = Instant::now() + Duration::from_secs(5);
    let file = guest.path("disk/upper/root/file");
    while !file.exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(file.metadata().unwrap().uid(), 0, "owners on disk are unshifted");
    monitors().shut_down(init).unwrap();
    assert!(monitors().wait(init, Duration::from_secs(10)).unwrap());
    assert_eq!(guest.ended(), Ended::Halt);
    assert!(!monitors().alive(init));
}

#[test]
fn a_reboot_is_told_from_a_kill() {
    let Some(mut guest) = Guest::new("::wait:/bin/reboot -f\n") else {
        return;
    };
    let init = guest.start().unwrap();
    assert!(monitors().wait(init, Duration::from_secs(10)).unwrap());
    assert_eq!(guest.ended(), Ended::Reboot);

    let Some(mut guest) = Guest::new(TAB) else { return };
    let init = guest.start().unwrap();
    assert!(monitors().end(init, Duration::from_secs(10)).unwrap());
    assert_eq!(guest.ended(), Ended::Signal(9));
}

#[test]
fn a_start_that_fails_says_where() {
    let Some(mut guest) = Guest::new(TAB) else { return };
    std::fs::remove_dir(guest.path("tree/proc")).unwrap();
    std::os::unix::fs::symlink("/tmp", guest.path("tree/proc")).unwrap();
    let error = guest.start().unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("/proc") && reason.contains("link"), "{reason}");

    let Some(mut guest) = Guest::new(TAB) else { return };
    std::fs::remove_file(guest.path("tree/sbin/init")).unwrap();
    let error = guest.start().unwrap_err();
    assert_eq!(error.kind, crate::Kind::NotFound);
}

/// The mount is under way while all else is done: who waits for init hears of it, and nobody is left.
#[test]
fn why_a_disk_can_not_be_mounted_is_told() {
    let Some(guest) = Guest::new(TAB) else { return };
    let disk = monitors().mount(Disk::Directory(guest.path("nowhere")));
    let launching = monitors().launch(guest.spec(), disk, Vec::new()).unwrap();
    let init = launching.init();
    let error = launching.go().unwrap_err();
    assert_eq!(error.kind, crate::Kind::NotFound);
    assert!(
        error.to_string().contains("start VE") && format!("{error:?}").contains("nowhere"),
        "{error:?}"
    );
    assert!(monitors().wait(init, Duration::from_secs(5)).unwrap());
}

#[test]
fn a_dropped_launch_leaves_nothing() {
    let Some(guest) = Guest::new(TAB) else { return };
    let disk = monitors().mount(guest.disk());
    let launching = monitors().launch(guest.spec(), disk, Vec::new()).unwrap();
    let init = launching.init();
    assert!(monitors().alive(init));
    drop(launching);
    assert!(monitors().wait(init, Duration::from_secs(5)).unwrap());
}

#[test]
fn an_orphaned_guest_is_adopted() {
    let Some(mut guest) = Guest::new(TAB) else { return };
    let init = guest.start().unwrap();
    guest.await_console("up");
    let answer = monitors().ask(&guest.path("run"), &Request::Status).unwrap().unwrap();
    let monitor = hostel_monitor::identity::identify(answer.monitor).unwrap();
    assert!(monitors().end(monitor, Duration::from_secs(5)).unwrap());
    assert!(monitors().alive(init), "the VE runs on");
    assert!(monitors().ask(&guest.path("run"), &Request::Status).unwrap().is_none());
    monitors()
        .adopt(Adopt {
            watch: guest.spec().watch,
            init,
        })
        .unwrap();
    assert_eq!(
        monitors()
            .ask(&guest.path("run"), &Request::Status)
            .unwrap()
            .unwrap()
            .init,
        init
    );
    monitors().shut_down(init).unwrap();
    assert!(monitors().wait(init, Duration::from_secs(10)).unwrap());
    // Linux 6.15 and later tell even a stranger how a process ended.
    assert!(matches!(guest.ended(), Ended::Halt | Ended::Unknown));
}

#[test]
fn commands_run_inside() {
    let Some(mut guest) = Guest::new(TAB) else { return };
    let init = guest.start().unwrap();
    let enter = |argv: &[&str]| {
        monitors()
            .enter(
                Enter {
                    init,
                    payload: Place::default(),
                    switches: Switches::default(),
                    task: Task::Run(argv.iter().map(|s| s.to_string()).collect()),
                    user: None,
                    env: vec![],
                    cwd: None,
                    pty: None,
                },
                Streams::default(),
            )
            .unwrap()
    };
    assert_eq!(enter(&["true"]), Entered::Code(0));
    assert_eq!(enter(&["sh", "-c", "exit 7"]), Entered::Code(7));
    assert_eq!(enter(&["sh", "-c", "kill -9 $$"]), Entered::Code(137));
    assert_eq!(
        enter(&["sh", "-c", "test $(cat /proc/1/comm) = init && test $(id -u) = 0"]),
        Entered::Code(0)
    );
    assert!(matches!(
        enter(&["no-such-thing"]),
        Entered::NotRun { missing: true, .. }
    ));
    assert!(matches!(
        enter(&["/etc/inittab"]),
        Entered::NotRun { missing: false, .. }
    ));
}
