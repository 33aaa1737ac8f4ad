//! A PostgreSQL of the test's own, from Debian's packages: its own directory, an unprivileged user, a socket that only the
//! test knows. It may be killed as a power cut would end it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The user that it runs as: nobody.
const USER: u32 = 65_534;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A server, with the database "hostel" of the user "hostel".
pub struct Postgres {
    pub dir: PathBuf,
    programs: PathBuf,
    server: Option<Child>,
    options: Vec<String>,
    namespace: Option<String>,
}

/// The newest that is installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    found.retain(|dir| dir.join("initdb").exists() && dir.join("postgres").exists());
    found.sort();
    found.pop()
}

#[track_caller]
fn good(what: &str, output: &Output) -> String {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(
        output.status.success(),
        "{what}: {}{}",
        said(&output.stdout),
        said(&output.stderr)
    );
    said(&output.stdout)
}

impl Postgres {
    /// One that runs; `None`, with a word of it, where it isn't installed.
    pub fn new() -> Option<Self> {
        let Some(programs) = programs() else {
            println!("skipped because PostgreSQL is not installed here (apt-get install postgresql-15)");
            return None;
        };
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/var/tmp/ht-pg-{}-{n}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&dir, Some(USER), Some(USER)).unwrap();
        let mut new = Self {
            dir,
            programs,
            server: None,
            options: Vec::new(),
            namespace: None,
        };
        let data = new.data();
        let mut initdb = new.program("initdb");
        initdb.args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
            "-D",
        ]);
        good("initdb", &initdb.arg(data).output().unwrap());
        new.start();
        new.sql_as("postgres", "CREATE ROLE hostel LOGIN PASSWORD 'a secret'");
        new.sql_as("postgres", "CREATE DATABASE hostel OWNER hostel");
        Some(new)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// One of its programs, as its user.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command
            .uid(USER)
            .gid(USER)
            .current_dir(&self.dir)
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    }

    /// More options from the next start on, `ssl=on` and the like.
    pub fn options(&mut self, options: &[&str]) {
        self.options = options.iter().map(ToString::to_string).collect();
    }

    /// From the next start on in this network namespace, a path in /proc.
    pub fn in_network_of(&mut self, namespace: String) {
        self.namespace = Some(namespace);
    }

    /// Starts it, and waits until it answers.
    pub fn start(&mut self) {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let log = fs::File::options()
                .append(true)
                .create(true)
                .open(self.dir.join("log"))
                .unwrap();
            let mut command = match &self.namespace {
                None => self.program("postgres"),
                Some(namespace) => {
                    let mut command = Command::new("nsenter");
                    command
                        .arg(format!("--net={namespace}"))
                        .args(["-S", "65534", "-G", "65534", "--"]);
                    command
                        .arg(self.programs.join("postgres"))
                        .current_dir(&self.dir)
                        .stdin(Stdio::null());
                    command
                }
            };
            let (data, dir) = (self.data(), self.dir.clone());
            command.arg("-D").arg(data).arg("-k").arg(dir);
            for option in ["listen_addresses=", "max_connections=30", "shared_buffers=16MB"] {
                command.args(["-c", option]);
            }
            for option in &self.options {
                command.args(["-c", option]);
            }
            let mut child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
            while child.try_wait().unwrap().is_none() {
                if self.psql("postgres", "SELECT 1").output().unwrap().status.success() {
                    self.server = Some(child);
                    return;
                }
                assert!(Instant::now() < end, "PostgreSQL doesn't answer: {}", self.log());
                std::thread::sleep(Duration::from_millis(50));
            }
            // What was killed before it may not have gone yet.
            assert!(Instant::now() < end, "PostgreSQL doesn't start: {}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The server and all that it has started end at once, and write nothing more.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let children = format!("/proc/{0}/task/{0}/children", server.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        server.kill().unwrap();
        let mut command = Command::new("kill");
        command
            .arg("-9")
            .args(children.split_whitespace())
            .stderr(Stdio::null());
        let _ = command.status();
        server.wait().unwrap();
    }

    /// It ends in order.
    pub fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let stopped = Command::new("kill").args(["-INT", &server.id().to_string()]).status();
        assert!(stopped.unwrap().success());
        server.wait().unwrap();
    }

    fn psql(&self, user: &str, sql: &str) -> Command {
        let database = if user == "postgres" { "postgres" } else { "hostel" };
        let mut command = self.program("psql");
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            user,
            "-d",
            database,
            "-c",
            sql,
            "-h",
        ]);
        command.arg(&self.dir);
        command
    }

    #[track_caller]
    pub fn sql_as(&self, user: &str, sql: &str) -> String {
        good(sql, &self.psql(user, sql).output().unwrap())
    }

    /// What a query says, as hostel.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.sql_as("hostel", sql)
    }

    /// How it is reached by the socket.
    pub fn url(&self) -> String {
        format!("postgres:///hostel?host={}", self.dir.display())
    }

    /// A file beside it that only its own user may read.
    pub fn private(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&path, Some(USER), Some(USER)).unwrap();
        path
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
