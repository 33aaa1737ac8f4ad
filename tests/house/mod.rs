//! A Hostel of its own for every test: own configuration, directories, cgroup root, id ranges, and a network
//! namespace that plays the host. It cleans up after itself also when the test fails, and a test that passes ends
//! with a clean `hostel audit`.

#![allow(dead_code, clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)] // each test file uses its part of it

pub mod count;
pub mod pace;
pub mod panel;
pub mod postgres;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sha2::Digest;

/// A host with Hostel on it.
pub struct House {
    pub dir: PathBuf,
    pub run: PathBuf,
    pub cgroup_root: String,
    netns: OwnedFd,
    check: bool,
    /// Its hostel.toml as it was at first.
    settings: String,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl House {
    /// A fresh one, prepared by `hostel init`.
    pub fn new() -> Self {
        Self::with("")
    }

    /// A fresh one with these lines at the top of its hostel.toml.
    pub fn with(settings: &str) -> Self {
        // The same everywhere, whatever this host's file system can; all tests can be tried with another.
        let driver = std::env::var("HOSTEL_TEST_DRIVER").unwrap_or_else(|_| "image".to_owned());
        Self::at(settings, &format!("[disk]\ndriver = {driver:?}\n"), |_| Ok(())).unwrap()
    }

    /// A fresh one whose data lie on a file system of its own, on a loop device. `None`, with the reason said, where
    /// that can't be had.
    pub fn on(kind: &str, mkfs: &[&str], options: &str) -> Option<Self> {
        let made = Self::at("", "", |dir| mount_own(dir, None, kind, mkfs, options));
        made.map_err(|why| println!("skipped because {kind} with {options} can't be had here: {why}"))
            .ok()
    }

    /// A fresh one whose data lie on this block device, which is the test's to write to.
    pub fn on_disk(device: &Path, kind: &str, mkfs: &[&str], options: &str) -> Self {
        Self::at("", "", |dir| mount_own(dir, Some(device), kind, mkfs, options)).unwrap()
    }

    fn at(settings: &str, disk: &str, prepare: impl FnOnce(&Path) -> Result<(), String>) -> Result<Self, String> {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let name = format!("ht-{pid}-{n}");
        let dir = PathBuf::from("/var/tmp").join(&name);
        let run = PathBuf::from("/run").join(&name);
        fs::create_dir_all(&dir).unwrap();
        if let Err(why) = prepare(&dir) {
            let _ = fs::remove_dir_all(&dir);
            return Err(why);
        }
        // Ranges of ids that instances side by side don't share: what the kernel counts per user stays apart.
        let base = (1 << 20) + (pid.wrapping_mul(31).wrapping_add(n) % 400) * 64 * 65_536;
        let text = format!(
            "{settings}\ncgroup_root = \"hostel-{name}\"\n{disk}[paths]\nconfig = \"{dir}/etc\"\ndata = \"{dir}/data\"\n\
             run = \"{run}\"\ntemplates = \"{templates}\"\nimages = \"{images}\"\n\
             [idmap]\nbase = {base}\ncount = 64\n[defaults]\nnetwork = \"private\"\nshare = \"host\"\nplan = \"test\"\n",
            dir = dir.display(),
            run = run.display(),
            templates = templates().display(),
            images = images().display(),
        );
        fs::write(dir.join("hostel.toml"), &text).unwrap();
        let house = Self {
            settings: text,
            dir,
            run,
            cgroup_root: format!("hostel-{name}"),
            netns: host_namespace(),
            check: true,
        };
        house.ok(&["init"]);
        house.write("etc/plans/test.toml", TEST_PLAN);
        Ok(house)
    }

    /// A fresh one with a CRIU that does for this kernel; `None`, with a word of it, if there is none to be had.
    pub fn with_criu() -> Option<Self> {
        Self::with_criu_from("0")
    }

    /// With no earlier CRIU than this version.
    pub fn with_criu_from(version: &str) -> Option<Self> {
        // One is enough to fetch it, and tests beside this one wait for it.
        static FETCHING: Mutex<()> = Mutex::new(());
        let found = {
            let _alone = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fetch-criu");
            let output = Command::new(script).arg(version).output().unwrap();
            let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            match output.status.success() {
                true => Ok(said(&output.stdout)),
                false => Err(said(&output.stderr)),
            }
        };
        match found {
            Ok(program) => {
                let house = Self::new();
                let settings = house.read("hostel.toml");
                house.write(
                    "hostel.toml",
                    &format!("{settings}[criu]\nprogram = \"{program}\"\nroot_owns_namespaces = true\n"),
                );
                Some(house)
            }
            Err(why) => {
                println!("skipped because no CRIU for this kernel can be had: {why}");
                None
            }
        }
    }

    /// From now on its CRIU does `first`, a line of sh(1), before it saves or restores anything.
    pub fn slow_down_criu(&self, first: &str) {
        let settings = self.read("hostel.toml");
        let line = settings.lines().find(|l| l.starts_with("program = ")).unwrap();
        let criu = line.split('"').nth(1).unwrap();
        self.write(
            "slow",
            &format!("#!/bin/sh\n[ \"$1\" = swrk ] && {first}\nexec {criu} \"$@\"\n"),
        );
        let slow = self.dir.join("slow");
        std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        self.write("hostel.toml", &settings.replace(criu, slow.to_str().unwrap()));
    }

    /// A fresh one with a store of templates of its own, which is empty.
    pub fn with_own_templates() -> Self {
        let house = Self::new();
        let settings = house.read("hostel.toml");
        let lines: Vec<&str> = settings.lines().filter(|l| !l.starts_with("templates =")).collect();
        house.write("hostel.toml", &format!("{}\n", lines.join("\n")));
        house
    }

    /// This house ends dirty on purpose.
    pub fn unchecked(&mut self) {
        self.check = false;
    }

    /// Writes a file below the house's directory.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.join(path)).unwrap()
    }

    /// The hostel command, to be run in the namespace that plays the host.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.on_host(hostel());
        command.arg("--config").arg(self.dir.join("hostel.toml")).args(args);
        command
    }

    /// The network namespace that plays the host, as long as this process lives.
    pub fn namespace(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.netns.as_raw_fd())
    }

    /// Any program, run in the namespace that plays the host.
    pub fn on_host(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let namespace = format!("--net={}", self.namespace());
        let mut command = Command::new("nsenter");
        command.arg(namespace).arg("--").arg(program);
        command
            .stdin(Stdio::null())
            .env("LC_ALL", "C")
            .env_remove("HOSTEL_CONFIG");
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Runs it; it must succeed. Its standard output.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "hostel {args:?}\n{}{}", ran.out, ran.err);
        ran.out
    }

    /// Runs it; it must fail with this code. Its standard error.
    #[track_caller]
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "hostel {args:?}\n{}{}", ran.out, ran.err);
        ran.err
    }

    /// Starts it and goes on; for commands that are to be watched, held up or interrupted.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs it with these bytes on its standard input. Both sides may be larger than any buffer between.
    pub fn feed(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = stdin.write_all(input); // the command may not want all of it
            });
            end_of_raw(child)
        })
    }

    /// Runs it on a terminal of its own (a real pty pair). Each step waits for a text to be shown, then types.
    #[track_caller]
    pub fn on_terminal(&self, args: &[&str], steps: &[(&str, &str)]) -> Ran {
        self.terminal(args).steps(steps)
    }

    /// Starts it on a terminal of its own.
    pub fn terminal(&self, args: &[&str]) -> Talk {
        let line: Vec<String> = std::iter::once(hostel().display().to_string())
            .chain(["--config".into(), self.dir.join("hostel.toml").display().to_string()])
            .chain(args.iter().map(ToString::to_string))
            .map(|a| format!("'{}'", a.replace('\'', "'\\''")))
            .collect();
        let mut command = self.on_host("script");
        command
            .args(["-q", "-e", "-c", &line.join(" "), "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Talk::new(command.env("TERM", "vt100").spawn().unwrap())
    }

    /// A manager of this house that is at work.
    #[track_caller]
    pub fn manager(&self) -> Child {
        let child = self.spawn(&["manager"]);
        self.until("the manager works", 20, || {
            self.run
                .join("locks/manager.lock")
                .metadata()
                .is_ok_and(|m| m.len() > 0)
        });
        child
    }

    /// A shell line run on the host's side; it must succeed. Its output, trimmed.
    #[track_caller]
    pub fn host_sh(&self, line: &str) -> String {
        let ran: Ran = self.on_host("sh").args(["-c", line]).output().unwrap().into();
        assert_eq!(ran.code, 0, "{line}\n{}{}", ran.out, ran.err);
        ran.out.trim().to_owned()
    }

    /// Runs a shell line inside a VE; it must succeed. Its output, trimmed.
    #[track_caller]
    pub fn sh(&self, ve: &str, line: &str) -> String {
        self.ok(&["exec", ve, "--", "/bin/sh", "-c", line]).trim().to_owned()
    }

    /// One key of `hostel status --json`.
    #[track_caller]
    pub fn status(&self, ve: &str, key: &str) -> serde_json::Value {
        let text = self.ok(&["status", ve, "--json"]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let row = if value.is_array() { value[0].clone() } else { value };
        row.get(key).unwrap_or_else(|| panic!("no {key} in {row}")).clone()
    }

    #[track_caller]
    pub fn state(&self, ve: &str) -> String {
        self.status(ve, "state").as_str().unwrap().to_owned()
    }

    /// A busybox VE that runs.
    #[track_caller]
    pub fn busybox(&self, name: &str) {
        self.busybox_with(name, &[]);
    }

    /// One with these settings on top of the tests' plan.
    #[track_caller]
    pub fn busybox_with(&self, name: &str, settings: &[&str]) {
        template("busybox");
        let mut args = vec!["create", name, "--template", "busybox", "--start"];
        for setting in settings {
            args.extend(["--set", setting]);
        }
        self.ok(&args);
    }

    /// A Debian VE that has booted.
    #[track_caller]
    pub fn debian(&self, name: &str, template_name: &str) {
        template(template_name);
        self.ok(&[
            "create",
            name,
            "--template",
            template_name,
            "--plan",
            "small",
            "--start",
            "--wait",
        ]);
    }

    /// Mounts the root of a stopped VE, does something there, and unmounts it.
    #[track_caller]
    pub fn in_mounted_root<T>(&self, ve: &str, act: impl FnOnce(&Path) -> T) -> T {
        let said = self.ok(&["mount", ve]);
        let root = said.trim().rsplit(' ').next().unwrap().to_owned();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(Path::new(&root))));
        self.ok(&["umount", ve]);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// What `hostel audit` finds.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        let ran = self.run(&["audit", "--json"]);
        serde_json::from_str::<serde_json::Value>(&ran.out)
            .unwrap_or_else(|e| panic!("audit: {e}\n{}{}", ran.out, ran.err))
            .as_array()
            .unwrap()
            .clone()
    }

    /// Waits for a condition, looking often.
    #[track_caller]
    pub fn until(&self, what: &str, seconds: u64, condition: impl FnMut() -> bool) {
        until(what, seconds, condition);
    }
}

/// Sends a signal to a process that a test started.
pub fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

/// A conversation with a program that reads and writes.
pub struct Talk {
    child: Child,
    heard: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Talk {
    /// With a child whose standard input and output are pipes.
    pub fn new(mut child: Child) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (ours, mut out) = (Arc::clone(&heard), child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            while let Ok(n @ 1..) = out.read(&mut buffer) {
                ours.lock().unwrap().extend(&buffer[..n]);
            }
        });
        Self {
            child,
            heard,
            reader: Some(reader),
        }
    }

    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    /// Waits for a text; long, as who has been cut off for half a minute asks again only after another.
    #[track_caller]
    pub fn hear(&self, text: &str) {
        let end = Instant::now() + Duration::from_secs(120);
        while !self.heard().contains(text) {
            assert!(Instant::now() < end, "{text:?} was not shown, only:\n{}", self.heard());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    pub fn steps(mut self, steps: &[(&str, &str)]) -> Ran {
        for (shown, typed) in steps {
            self.hear(shown);
            self.say(typed);
        }
        self.end()
    }

    /// Waits for its end, with the input left open.
    #[track_caller]
    pub fn end(mut self) -> Ran {
        let end = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end; shown:\n{}", self.heard());
            std::thread::sleep(Duration::from_millis(10));
        };
        self.reader.take().unwrap().join().unwrap();
        Ran {
            code: status.code().unwrap_or(-1),
            out: self.heard(),
            err: String::new(),
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of a command that was started by [`House::spawn`]; it must come soon.
#[track_caller]
pub fn end_of(child: Child) -> Ran {
    end_of_raw(child).into()
}

#[track_caller]
fn end_of_raw(child: Child) -> Output {
    let pid = rustix::process::Pid::from_child(&child);
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match ended.recv_timeout(Duration::from_secs(60 * slowness())) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            panic!("the command does not end");
        }
    }
}

/// How many times as long as a real machine this one takes, at most: an emulated one does, with its load beside it.
pub fn slowness() -> u64 {
    match std::env::var_os("HOSTEL_VM_BOOT") {
        Some(_) => 6,
        None => 1,
    }
}

/// Waits for a condition, looking often.
#[track_caller]
pub fn until(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let seconds = seconds * slowness();
    let end = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < end, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let mut destroyed = self.run(&["destroy", "--all", "--force"]);
        if std::thread::panicking() && destroyed.code != 0 {
            // A test that failed over settings that are wrong leaves no VE behind all the same.
            self.write("hostel.toml", &self.settings);
            destroyed = self.run(&["destroy", "--all", "--force"]);
        }
        let orphans = if self.check && !std::thread::panicking() {
            self.audit()
        } else {
            Vec::new()
        };
        self.run(&["audit", "--fix"]);
        remove_cgroups(&self.cgroup_root);
        let _ = fs::remove_dir_all(&self.run);
        let own = Path::new(&self.dir).join("data.img").exists();
        let unmounted =
            !own || rustix::mount::unmount(self.dir.join("data"), rustix::mount::UnmountFlags::empty()).is_ok();
        if unmounted {
            let _ = fs::remove_dir_all(&self.dir);
        }
        if self.check && !std::thread::panicking() {
            assert_eq!(destroyed.code, 0, "destroy --all: {}", destroyed.err);
            assert!(orphans.is_empty(), "audit found {orphans:#?}");
            assert!(unmounted, "its file system is still in use");
        }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Makes a file system in a file, or on a device, and mounts it for the house's data.
fn mount_own(dir: &Path, device: Option<&Path>, kind: &str, mkfs: &[&str], options: &str) -> Result<(), String> {
    let (image, data) = (dir.join("data.img"), dir.join("data"));
    match device {
        Some(device) => std::os::unix::fs::symlink(device, &image).unwrap(),
        None => File::create(&image).unwrap().set_len(1 << 30).unwrap(),
    }
    fs::create_dir(&data).unwrap();
    let run = |program: &str, args: &[&std::ffi::OsStr]| {
        let path = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
        match Command::new(program).args(args).env("PATH", path).output() {
            Ok(out) if out.status.success() => Ok(()),
            Ok(out) => Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()),
            Err(e) => Err(format!("{program}: {e}")),
        }
    };
    let mut args: Vec<&std::ffi::OsStr> = mkfs.iter().map(|a| a.as_ref()).collect();
    args.push(image.as_ref());
    run(&format!("mkfs.{kind}"), &args)?;
    let options = if device.is_some() {
        options.to_owned()
    } else {
        format!("loop,{options}")
    };
    run(
        "mount",
        &["-o".as_ref(), options.as_ref(), image.as_ref(), data.as_ref()],
    )
}

/// A small plan, so that tests can hit its limits quickly.
const TEST_PLAN: &str = "processes = 100\n[cpu]\ncap = 1\n[memory]\nlimit = \"128MiB\"\n[disk]\nsize = \"128MiB\"\n";

/// The command under test, with the monitor beside it.
pub fn hostel() -> PathBuf {
    std::env::var_os("HOSTEL_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_hostel")), PathBuf::from)
}

pub fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("images")
}

/// The store of templates that all tests share: outside the project, made anew when a recipe changes.
pub fn templates() -> PathBuf {
    static STORE: OnceLock<PathBuf> = OnceLock::new();
    STORE
        .get_or_init(|| {
            let mut recipes: Vec<PathBuf> = fs::read_dir(images()).unwrap().map(|e| e.unwrap().path()).collect();
            recipes.sort();
            let mut hash = sha2::Sha256::new();
            recipes.iter().for_each(|r| hash.update(fs::read(r).unwrap()));
            let key: String = hash.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect();
            let store = PathBuf::from("/var/cache/hostel-test").join(format!("templates-{key}"));
            fs::create_dir_all(&store).unwrap();
            store
        })
        .clone()
}

/// Makes sure that a template is in the shared store; the first test that needs it builds it, others wait.
#[track_caller]
pub fn template(name: &str) {
    template_by(name, |_| name.to_owned());
}

/// The template "debian-12-web": debian-12 with nginx and PostgreSQL. scripts/vm knows it too.
#[track_caller]
pub fn web_template() -> &'static str {
    let name = "debian-12-web";
    template_by(name, |house| {
        let recipe = fs::read_to_string(images().join("debian-12.toml")).unwrap();
        let recipe = recipe
            .replace("name = \"debian-12\"", "name = \"debian-12-web\"")
            .replace("packages = [", "packages = [\"nginx-light\", \"postgresql\",");
        house.write("web.toml", &recipe);
        house.dir.join("web.toml").display().to_string()
    });
    name
}

#[track_caller]
fn template_by(name: &str, recipe: impl FnOnce(&House) -> String) {
    let store = templates();
    let lock = File::create(store.join(format!(".test-{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let built = || {
        fs::read_dir(store.join(name))
            .is_ok_and(|mut d| d.any(|v| v.is_ok_and(|v| v.path().join("template.toml").exists())))
    };
    if !built() {
        let house = House::new();
        // On the real host's network: the bootstrap tools fetch packages.
        let mut build = Command::new(hostel());
        build.arg("--config").arg(house.dir.join("hostel.toml"));
        let recipe = recipe(&house);
        let built: Ran = build.args(["template", "build", &recipe]).output().unwrap().into();
        assert_eq!(built.code, 0, "building {name}\n{}{}", built.out, built.err);
    }
}

/// A network namespace of its own, with the loopback up.
fn host_namespace() -> OwnedFd {
    let mut maker = Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && echo up && read end"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0u8; 3];
    maker.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    let namespace = File::open(format!("/proc/{}/ns/net", maker.id())).unwrap();
    drop(maker.stdin.take());
    maker.wait().unwrap();
    namespace.into()
}

/// Removes the groups that this house made. Nothing is in them but monitors at their end.
pub fn remove_cgroups(root: &str) {
    let Ok(mounts) = fs::read_to_string("/proc/self/mounts") else {
        return;
    };
    for line in mounts.lines().filter(|l| l.contains(" cgroup")) {
        let Some(point) = line.split(' ').nth(1) else { continue };
        let top = Path::new(point).join(root);
        for group in [top.join("monitor"), top] {
            remove_group(&group);
        }
    }
}

/// Waits for the processes in it, and in the end kills them: a test that failed may have stopped them.
fn remove_group(group: &Path) {
    let begun = Instant::now();
    while let Err(e) = fs::remove_dir(group)
        && e.kind() == std::io::ErrorKind::ResourceBusy
        && begun.elapsed() < Duration::from_secs(10)
    {
        if begun.elapsed() > Duration::from_secs(5) {
            let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for pid in pids
                .lines()
                .filter_map(|l| rustix::process::Pid::from_raw(l.parse().ok()?))
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The namespace as a descriptor, for tests that put more machines beside the host.
impl AsFd for House {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.netns.as_fd()
    }
}
