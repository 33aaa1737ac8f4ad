//! Running the distributions' own tools: argument lists and no shell, a clean environment, their own mount and
//! process namespaces, and everything they say in a log file. If this process dies, so does all they started.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::confine::Confinement;
use super::devices::Devices;
use super::{Tree, shown};
use crate::process::interrupt;
use crate::{Error, Kind, Result, file};

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What passes through from our own environment: the way to a package archive.
const PASSED: [&str; 4] = ["http_proxy", "https_proxy", "no_proxy", "APT_CONFIG"];
/// How many of the log's last lines an error shows.
const LAST_LINES: usize = 15;

/// Finds a program in the fixed list of directories.
pub fn find_program(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}

/// Is it a program for this machine that needs no other file to run: an ELF file without an interpreter (elf(5))?
pub fn is_static_program(path: &Path) -> bool {
    const PT_INTERP: u32 = 3;
    let Ok(data) = std::fs::read(path) else { return false };
    let bytes = |at: usize, n: usize| data.get(at..at.checked_add(n)?);
    let number =
        |at: usize, n: usize| bytes(at, n).map(|b| b.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)));
    // 64 bits, little-endian: what Hostel's hosts are.
    if bytes(0, 6) != Some(b"\x7fELF\x02\x01") {
        return false;
    }
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return false;
    };
    let kind = |n: u64| number(usize::try_from(table.checked_add(n * size)?).ok()?, 4);
    count > 0 && (0..count).all(|n| kind(n).is_some_and(|k| k != u64::from(PT_INTERP)))
}

/// One run of a tool.
pub struct Job<'a> {
    /// Program (a name to look for, or a path) and arguments.
    pub argv: Vec<OsString>,
    /// The package to install if the program is missing.
    pub package: &'a str,
    /// A directory for the tool's temporary files and its working directory.
    pub temp: &'a Path,
    /// The log file; what the tool says is appended to it.
    pub log: &'a Path,
    /// Told of every line the tool says.
    pub line: &'a (dyn Fn(&str) + Sync),
    /// A tree to run inside of, with fresh /proc and /dev.
    pub inside: Option<&'a Tree>,
    /// The only tree the tool may change.
    pub confine_to: Option<&'a Tree>,
}

impl<'a> Job<'a> {
    /// A tool that is confined to no tree and runs inside of none.
    pub fn new(
        argv: Vec<OsString>,
        package: &'a str,
        temp: &'a Path,
        log: &'a Path,
        line: &'a (dyn Fn(&str) + Sync),
    ) -> Self {
        Self {
            argv,
            package,
            temp,
            log,
            line,
            inside: None,
            confine_to: None,
        }
    }
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("argv", &self.argv)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl Job<'_> {
    /// Runs the tool; what it writes to its standard output goes to the log too.
    pub fn run(&self) -> Result<()> {
        let say = |text: &str| self.note(text);
        self.start(|out| {
            lines(out, &say);
            Ok(())
        })
    }

    /// Runs the tool with its standard output piped into `consume`. If both fail, the one that failed first is
    /// told: the consumer if it gave up while the tool still wrote, else the tool.
    pub fn start<T>(&self, consume: impl FnOnce(Output) -> Result<T>) -> Result<T> {
        let shown_argv: Vec<String> = self.argv.iter().map(|a| shown(a.as_encoded_bytes())).collect();
        self.note(&format!("+ {}", shown_argv.join(" ")));
        let mut child = self.spawn()?;
        let name = self.name();
        let taken = (child.0.stdout.take(), child.0.stderr.take());
        let (Some(out), Some(err)) = taken else {
            return Err(Error::new("run", name, "it has no output"));
        };
        let ended = Arc::new(AtomicBool::new(false));
        let out = Output {
            inner: out,
            ended: Arc::clone(&ended),
        };
        let pid = Pid::from_child(&child.0);
        let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| Error::os("watch", &name, e))?;
        let (result, status) = std::thread::scope(|scope| {
            scope.spawn(|| lines(err, &|text| self.note(text)));
            scope.spawn(|| end_when_interrupted(pid, &process));
            let result = consume(out);
            if result.is_err() && !ended.load(Ordering::Relaxed) {
                child.give_up();
            }
            let status = child.0.wait().map_err(|e| Error::os("wait for", &name, e))?;
            Ok::<_, Error>((result, status))
        })?;
        match result {
            _ if interrupt::raised() && !status.success() => Err(interrupt::given_up("finish", name)),
            Err(e) if status.success() || !ended.load(Ordering::Relaxed) => Err(e),
            Ok(done) if status.success() => Ok(done),
            _ => Err(self.failed(status)),
        }
    }

    fn name(&self) -> String {
        self.argv
            .first()
            .map(|a| shown(a.as_encoded_bytes()))
            .unwrap_or_default()
    }

    fn failed(&self, status: ExitStatus) -> Error {
        let log = file::read_opt(self.log).ok().flatten().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines
            .get(lines.len().saturating_sub(LAST_LINES)..)
            .unwrap_or_default()
            .join("\n");
        Error::new(
            "finish",
            self.name(),
            format!("it failed ({status}); its last words:\n{last}"),
        )
    }

    /// Appends a line to the log and tells it on.
    fn note(&self, text: &str) {
        let appended = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.log)
            .and_then(|mut f| writeln!(f, "{text}"));
        if let Err(e) = appended {
            (self.line)(&format!("the log {} can't be written: {e}", self.log.display()));
        }
        (self.line)(text);
    }

    fn spawn(&self) -> Result<Guard> {
        let name = self.name();
        let mut command = Command::new(self.unshare()?);
        // Own mount and process namespaces: mounts vanish and processes die with the tool, whatever becomes of it.
        // Landlock forbids to mount, so a confined tool has no mounts to lose.
        command.args(["--pid", "--fork", "--kill-child"]);
        if self.confine_to.is_none() {
            command.args(["--mount", "--mount-proc"]);
        }
        let devices = match self.inside {
            Some(tree) => {
                let mut root = OsString::from("--root=");
                root.push(tree.path());
                command.arg(root).arg("--").args(&self.argv);
                Some(Devices::prepare(tree)?)
            }
            None => {
                let program = self.argv.first().map(OsString::as_os_str).unwrap_or_default();
                command
                    .arg("--")
                    .arg(self.find(program)?)
                    .args(self.argv.iter().skip(1));
                None
            }
        };
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("LANG", "C")
            .env("LC_ALL", "C")
            .process_group(0);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command.env(
            "TMPDIR",
            if self.inside.is_some() {
                Path::new("/tmp")
            } else {
                self.temp
            },
        );
        command.envs(PASSED.iter().filter_map(|key| Some((key, std::env::var_os(key)?))));
        command
            .current_dir(self.temp)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let confinement = self
            .confine_to
            .map(|tree| Confinement::changes_only(tree.fd()))
            .transpose()?
            .flatten();
        // SAFETY: the closure runs between fork and exec and makes system calls only; what it needs was allocated
        // before.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
                if let Some(devices) = &devices {
                    devices.attach()?;
                }
                match &confinement {
                    Some(confinement) => confinement.apply(),
                    None => Ok(()),
                }
            });
        }
        command.spawn().map(Guard).map_err(|e| Error::os("run", name, e))
    }

    fn unshare(&self) -> Result<PathBuf> {
        find_program("unshare").ok_or_else(|| missing("unshare", "util-linux"))
    }

    fn find(&self, program: &OsStr) -> Result<PathBuf> {
        match program.to_str() {
            Some(name) if !name.contains('/') => find_program(name).ok_or_else(|| missing(name, self.package)),
            _ => Ok(PathBuf::from(program)),
        }
    }
}

fn missing(program: &str, package: &str) -> Error {
    Error::new("run", program, "it isn't installed on this host")
        .kind(Kind::NotFound)
        .hint(format!("install the package {package}"))
}

/// A tool's standard output.
#[derive(Debug)]
pub struct Output {
    inner: ChildStdout,
    /// Has the tool closed it?
    ended: Arc<AtomicBool>,
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if n == 0 && !buffer.is_empty() {
            self.ended.store(true, Ordering::Relaxed);
        }
        Ok(n)
    }
}

fn lines(from: impl Read, say: &dyn Fn(&str)) {
    for line in BufReader::new(from).split(b'\n') {
        // A read error ends the tool's words, not the tool; how it ended tells the rest.
        let Ok(line) = line else { return };
        let text = shown(line.strip_suffix(b"\r").unwrap_or(&line));
        if !text.is_empty() {
            say(&text);
        }
    }
}

/// Waits for the end of a tool, and brings it about if the work is given up. Ctrl-C itself doesn't reach the tool, which
/// is in a process group of its own: half of them take it for a failure, and half of them don't heed it.
fn end_when_interrupted(pid: Pid, process: &OwnedFd) {
    let pause = Timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&pause)) {
            Ok(0) | Err(Errno::INTR) if interrupt::raised() => {
                end(pid);
                return;
            }
            Ok(0) | Err(Errno::INTR) => {}
            _ => return,
        }
    }
}

/// Kills a tool that has not been waited for, with its whole group: unshare(1) has the kernel kill what it starts when it
/// dies itself, but asks for that a moment after it has started it.
fn end(pid: Pid) {
    // It may have ended already.
    let _ = kill_process_group(pid, Signal::KILL);
}

/// A running tool that is killed and waited for when it is let go.
#[derive(Debug)]
struct Guard(Child);

impl Guard {
    fn give_up(&mut self) {
        end(Pid::from_child(&self.0));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.give_up();
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_tool_that_is_given_up_ends_whole_however_soon() {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["/bin/sh", "-c", "sleep 60 || :"].map(Into::into).to_vec();
        let log = dir.path().join("log");
        let job = Job::new(argv, "dash", dir.path(), &log, &|_| {});
        for n in 0..60 {
            let mut tool = job.spawn().unwrap();
            // From before it has started anything to when all of it runs.
            std::thread::sleep(Duration::from_micros(n * 200));
            let begun = Instant::now();
            tool.give_up();
            // Whoever holds the other end of this still runs.
            let mut said = tool.0.stdout.take().unwrap();
            said.read_to_end(&mut Vec::new()).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(30), "a part of it ran on");
        }
    }
}
