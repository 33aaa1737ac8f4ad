//! Against the real kernel, in groups of our own; and against a directory that plays a cgroup2 mount.

mod effects;
mod groups;
mod speed;
mod unified;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hostel_model::id::VeId;

use super::{Cgroups, Placement, open};

/// A root of our own on the real hierarchies; everything in it is killed and removed at the end, also of a test
/// that failed.
struct Ground {
    cgroups: Box<dyn Cgroups>,
    root: String,
}

impl Ground {
    /// All hierarchies of this host; `None`, said aloud, if there are none that we may use.
    fn new() -> Option<Self> {
        Self::on("/proc/self/mounts", |_| true)
    }

    /// Those whose line in the mount table is wanted.
    fn on(mounts: &str, wanted: impl Fn(&str) -> bool) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped because only root can make control groups");
            return None;
        }
        static N: AtomicU32 = AtomicU32::new(0);
        let root = format!(
            "hostel-test-{}-{}",
            std::process::id(),
            N.fetch_add(1, Ordering::Relaxed)
        );
        let table = std::fs::read_to_string(mounts).unwrap_or_else(|_| mounts.to_owned());
        let table: String = table.lines().filter(|l| wanted(l)).map(|l| format!("{l}\n")).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), table).unwrap();
        match open(file.path(), Path::new("/proc/self/cgroup"), &root) {
            Ok(cgroups) => Some(Self { cgroups, root }),
            Err(e) => {
                println!(
                    "skipped because {e}: {:?}",
                    std::error::Error::source(&e).map(ToString::to_string)
                );
                None
            }
        }
    }

    /// `<root>/<id>` of a controller's v1 hierarchy, or of the v2 tree (`""`).
    fn dir(&self, controller: &str, id: VeId) -> Option<PathBuf> {
        let place = self.cgroups.placement(id);
        if controller.is_empty() {
            return Some(place.unified?.parent()?.to_owned());
        }
        let mount = &self
            .cgroups
            .facts()
            .controllers
            .iter()
            .find(|c| c.name == controller)?
            .mount;
        Some(mount.join(&self.root).join(id.to_string()))
    }

    /// Content of a control file of a VE.
    fn read(&self, controller: &str, id: VeId, file: &str) -> String {
        std::fs::read_to_string(self.dir(controller, id).unwrap().join(file))
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Starts a shell in a VE.
    fn shell(&self, id: VeId, script: &str) -> Guest {
        Guest(start(&self.cgroups.placement(id), script))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for id in self.cgroups.list().unwrap_or_default() {
            let _ = self.cgroups.kill(id);
            let removed = self.cgroups.remove(id, Duration::from_secs(5));
            removed.unwrap_or_else(|e| println!("left behind: {e}: {:?}", e.hint));
        }
        self.cgroups
            .remove_root()
            .unwrap_or_else(|e| println!("left behind: {e}: {:?}", e.hint));
    }
}

/// A child that dies with the test.
struct Guest(Child);

impl Guest {
    fn ended(&mut self) -> std::process::ExitStatus {
        until("the guest ends", || self.0.try_wait().unwrap())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell that puts itself where a placement says, between fork and exec, as a starter does.
fn start(place: &Placement, script: &str) -> Child {
    let files: Vec<CString> = place
        .join
        .iter()
        .cloned()
        .chain(place.unified.iter().map(|dir| dir.join("cgroup.procs")))
        .map(|p| CString::new(p.as_os_str().as_bytes()).unwrap())
        .collect();
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: the closure runs in the forked child and makes only async-signal-safe calls (open, write, close).
    unsafe {
        command.pre_exec(move || {
            for file in &files {
                let fd = libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                if fd < 0 || libc::write(fd, c"0".as_ptr().cast(), 1) != 1 {
                    return Err(std::io::Error::last_os_error());
                }
                libc::close(fd);
            }
            Ok(())
        });
    }
    command.spawn().unwrap()
}

/// Waits for a condition, at most ten seconds.
fn until<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(done) = poll() {
            return done;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn ve(n: u32) -> VeId {
    VeId::try_from(n).unwrap()
}
