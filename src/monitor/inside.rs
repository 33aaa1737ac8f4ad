//! The child of an entry: joins the VE, becomes the wanted user, does its task.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;

use crate::enter::Stdio;
use crate::error::{Failure, Result, Step};
use crate::message::{Channel, FromMonitor};
use crate::spec::{Enter, Task};
use crate::user::{self, User};
use crate::{dev, guest, pack, privilege, seccomp, sys};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Never returns.
pub fn run(spec: &Enter, init: OwnedFd, stdio: Stdio, outside: &Channel) -> ! {
    match work(spec, init, stdio, outside) {
        Ok(()) => std::process::exit(0),
        Err(failure) => {
            let _ = outside.send(&FromMonitor::Failed(failure), &[]);
            std::process::exit(1);
        }
    }
}

fn work(spec: &Enter, init: OwnedFd, stdio: Stdio, outside: &Channel) -> Result<()> {
    // All else of the host's stays outside: its frames, which own it, are never returned to.
    let ours = [Some(init.as_fd()), Some(outside.as_fd())]
        .into_iter()
        .chain(stdio.iter().map(|fd| fd.as_ref().map(AsFd::as_fd)));
    let ours: Vec<_> = ours.flatten().map(|fd| fd.as_raw_fd()).collect();
    sys::close_all_but(&ours).step("close", "the host's descriptors")?;
    // The others were joined before our birth.
    sys::setns(init.as_fd(), libc::CLONE_NEWUSER | libc::CLONE_NEWCGROUP).step("join", "the VE's namespaces")?;
    drop(init);
    rustix::process::setsid().step("make", "a session")?;
    sys::become_user(0, 0, &[]).step("become", "the VE's root")?;
    sys::restore_signals().step("reset", "signals")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let user = user::find("/etc", spec.user.as_deref())?;
    attach_stdio(spec, stdio, outside)?;
    privilege::drop_capabilities()?;
    seccomp::install(spec.switches)?;
    sys::become_user(user.uid, user.gid, &user.groups).step("become user", &user.name)?;
    enter_directory(spec, &user)?;
    match &spec.task {
        Task::Run(argv) => not_run(outside, execute(spec, &user, argv)),
        Task::Script { content, argv } => not_run(outside, execute_script(spec, &user, content, argv)),
        Task::Test { directory } => std::process::exit(i32::from(!Path::new(directory).is_dir())),
        Task::Unpack(directory) => unpack(directory, outside),
        Task::Pack { path, name } => send_out(path, name, outside),
        Task::Edit(changes) => edit(changes),
    }
}

/// An exec that came back: the VE was entered, only the program can't be run.
fn not_run(outside: &Channel, failed: Result<()>) -> Result<()> {
    match failed {
        Err(failure) => {
            outside
                .send(&FromMonitor::NotRun(failure), &[])
                .step("report to", "the host")?;
            std::process::exit(1)
        }
        Ok(()) => Ok(()),
    }
}

fn attach_stdio(spec: &Enter, stdio: Stdio, outside: &Channel) -> Result<()> {
    if spec.pty.is_some() {
        return open_terminal(outside);
    }
    let act = "attach";
    let [input, output, error] = stdio;
    if let Some(fd) = input {
        rustix::stdio::dup2_stdin(fd).step(act, "standard input")?;
    }
    if let Some(fd) = output {
        rustix::stdio::dup2_stdout(fd).step(act, "standard output")?;
    }
    if let Some(fd) = error {
        rustix::stdio::dup2_stderr(fd).step(act, "standard error")?;
    }
    Ok(())
}

/// A terminal of the VE's own devpts; the host's terminal never goes inside (TIOCSTI).
fn open_terminal(outside: &Channel) -> Result<()> {
    let (master, slave) = dev::open_terminal()?;
    sys::ioctl_int(slave.as_fd(), libc::TIOCSCTTY, 0).step("take", "the terminal")?;
    outside
        .send(&FromMonitor::Terminal, &[master.as_fd()])
        .step("hand over", "the terminal")?;
    let act = "attach to";
    rustix::stdio::dup2_stdin(&slave).step(act, "the terminal")?;
    rustix::stdio::dup2_stdout(&slave).step(act, "the terminal")?;
    rustix::stdio::dup2_stderr(&slave).step(act, "the terminal")
}

fn enter_directory(spec: &Enter, user: &User) -> Result<()> {
    match &spec.cwd {
        Some(cwd) => rustix::process::chdir(cwd.as_str()).step("enter directory", cwd)?,
        None if rustix::process::chdir(user.home.as_str()).is_ok() => {}
        None => rustix::process::chdir("/").step("enter directory", "/")?,
    }
    // A directory outside of our root would show as "(unreachable)" (CVE-2024-21626).
    let here = rustix::process::getcwd(Vec::new()).step("name", "the working directory")?;
    match here.as_bytes().first() {
        Some(b'/') => Ok(()),
        _ => Err(Failure::new(
            "enter directory",
            spec.cwd.as_deref().unwrap_or("/"),
            "it is not inside the VE",
        )),
    }
}

fn environment(spec: &Enter, user: &User) -> Vec<String> {
    let mut env: Vec<(String, String)> = vec![
        ("PATH".into(), DEFAULT_PATH.into()),
        ("HOME".into(), user.home.clone()),
        ("USER".into(), user.name.clone()),
        ("LOGNAME".into(), user.name.clone()),
        ("SHELL".into(), user.shell.clone()),
        ("container".into(), "hostel".into()),
    ];
    for pair in &spec.env {
        if let Some((key, value)) = pair.split_once('=') {
            env.retain(|(k, _)| k != key);
            env.push((key.to_owned(), value.to_owned()));
        }
    }
    env.into_iter().map(|(k, v)| format!("{k}={v}")).collect()
}

/// Returns only on failure.
fn execute(spec: &Enter, user: &User, argv: &[String]) -> Result<()> {
    let env = environment(spec, user);
    let login = [format!("-{}", user.shell.rsplit('/').next().unwrap_or("sh"))];
    let (program, argv): (&str, &[String]) = match argv.first() {
        None => (&user.shell, &login),
        Some(program) => (program, argv),
    };
    sys::close_from(3, true).step("mark to be closed", "all descriptors")?;
    if program.contains('/') {
        return Err(sys::exec(program, argv, &env)).step("run", program);
    }
    let path = env
        .iter()
        .find_map(|pair| pair.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    let mut failure = std::io::Error::from_raw_os_error(libc::ENOENT);
    for directory in path.split(':').filter(|d| !d.is_empty()) {
        let error = sys::exec(&format!("{directory}/{program}"), argv, &env);
        // As execvp(3): what can't be run here may be found further on, but is remembered.
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::EACCES) => failure = error,
            _ => return Err(error).step("run", program),
        }
    }
    Err(failure).step("run", program)
}

/// Runs a script from memory: it never lies in the VE's tree, where others could change it.
fn execute_script(spec: &Enter, user: &User, content: &[u8], argv: &[String]) -> Result<()> {
    let act = "hold in memory";
    let memory = rustix::fs::memfd_create("script", rustix::fs::MemfdFlags::empty()).step(act, "the script")?;
    let mut memory = File::from(memory);
    memory
        .write_all(content)
        .and_then(|()| memory.rewind())
        .step(act, "the script")?;
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let env = environment(spec, user);
    sys::close_from(3, true).step("mark to be closed", "all descriptors")?;
    // The interpreter opens the script by its number, so that one stays open.
    rustix::io::fcntl_setfd(&memory, rustix::io::FdFlags::empty()).step(act, "the script")?;
    let error = sys::exec(&path, argv, &env);
    if error.raw_os_error() != Some(libc::ENOEXEC) {
        return Err(error).step("run", argv.first().map_or("the script", String::as_str));
    }
    let mut shell = vec!["sh".to_owned(), path];
    shell.extend(argv.iter().skip(1).cloned());
    Err(sys::exec("/bin/sh", &shell, &env)).step("run", "/bin/sh")
}

/// Tells the one outside that the work begins, as an exec would.
fn begun(outside: &Channel) -> Result<()> {
    rustix::net::shutdown(outside, rustix::net::Shutdown::Write).step("report to", "the host")
}

/// Unpacks a stream of the host's own making. We are inside and have the user's rights: what links lead to is the
/// VE's own affair.
fn unpack(directory: &str, outside: &Channel) -> Result<()> {
    if !Path::new(directory).is_dir() {
        return Err(std::io::Error::from_raw_os_error(libc::ENOENT)).step("copy into", directory);
    }
    let mut input = std::io::stdin().lock();
    let mut archive = tar::Archive::new(&mut input);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(false);
    archive.set_overwrite(true);
    let done = archive.unpack(directory).step("copy into", directory);
    // The rest of the stream is read, so that the writer sees our failure and not a broken pipe.
    let _ = std::io::copy(&mut input.take(1 << 20), &mut std::io::sink());
    done.and_then(|()| begun(outside))
}

/// Never returns but with a failure.
fn edit(changes: &[guest::Op]) -> Result<()> {
    let outcomes = guest::apply(Path::new("/"), changes)?;
    let in_the_way = outcomes.iter().any(|o| matches!(o, guest::Outcome::Left(_)));
    std::process::exit(i32::from(in_the_way))
}

fn send_out(path: &str, name: &str, outside: &Channel) -> Result<()> {
    let meta = std::fs::symlink_metadata(path).step("read", path)?;
    if !(meta.is_file() || meta.is_dir() || meta.is_symlink()) {
        return Err(Failure::new("copy", path, "it is neither a file nor a directory"));
    }
    begun(outside)?;
    pack::pack(std::io::stdout().lock(), Path::new(path), name).step("copy", path)
}
