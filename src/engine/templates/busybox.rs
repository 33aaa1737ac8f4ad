//! A tree from one static busybox: the program, a link for each of its applets, and the directories that a system
//! has. The smallest whole system there is; its files come from the recipe.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hostel_system::archive::{Job, Tree, find_program, is_static_program};

use crate::error::{Class, Error, Result};

/// The largest busybox that is believed.
const MAX_SIZE: u64 = 16 << 20;
/// Directories with their modes.
const DIRECTORIES: [&str; 15] = [
    "/bin",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/mnt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr/bin",
    "/usr/sbin",
    "/var/log",
    "/var/spool/cron/crontabs",
];

/// Makes the tree in `root`. The program is the host's own if that is static, else that of Debian's package
/// `busybox-static`, fetched by apt-get and unpacked without being installed.
pub(super) fn lay_out(root: &Tree, temp: &Path, log: &Path, line: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let job = |argv: Vec<OsString>, package| Job::new(argv, package, temp, log, line);
    let program = match find_program("busybox").filter(|p| is_static_program(p)) {
        Some(program) => program,
        None => fetch(temp, &job)?,
    };
    let directory = program.parent().unwrap_or(Path::new("/"));
    let name = program.file_name().unwrap_or_default();
    let binary = Tree::open(directory)?
        .read(&name.to_string_lossy(), MAX_SIZE)?
        .ok_or_else(|| Error::new(Class::Failed, format!("{} is no regular file", program.display())))?;
    for path in DIRECTORIES {
        root.make_dir(path)?;
    }
    root.set_mode("/root", 0o700)?;
    root.make_dir("/tmp")?;
    root.set_mode("/tmp", 0o1777)?;
    root.write("/bin/busybox", 0o755, &binary)?;
    let mut applets = Vec::new();
    job(vec![program.into(), "--list-full".into()], "busybox-static").start(|mut out| {
        use std::io::Read;
        out.by_ref()
            .take(1 << 20)
            .read_to_end(&mut applets)
            .map_err(|e| hostel_system::Error::os("read", "the list of applets", e))
    })?;
    let applets = String::from_utf8_lossy(&applets).into_owned();
    for applet in applets.lines().filter(|a| is_applet(a)) {
        root.symlink(&format!("/{applet}"), "/bin/busybox")?;
    }
    // The kernel's and login's names for the shell.
    match root.resolve("/bin/sh")? {
        Some(_) => Ok(()),
        None => Err(Error::new(Class::Failed, "this busybox has no shell").hint("install the package busybox-static")),
    }
}

/// `bin/ash`, `usr/sbin/crond`: nothing else is made a link.
fn is_applet(path: &str) -> bool {
    let right = |b: u8| b.is_ascii_alphanumeric() || b"-_+.[".contains(&b);
    path != "bin/busybox"
        && path.rsplit_once('/').is_some_and(|(dir, name)| {
            matches!(dir, "bin" | "sbin" | "usr/bin" | "usr/sbin")
                && !matches!(name, "" | "." | "..")
                && name.bytes().all(right)
        })
}

/// Fetches Debian's package and takes the program out of it.
fn fetch<'a>(temp: &Path, job: &dyn Fn(Vec<OsString>, &'a str) -> Job<'a>) -> Result<PathBuf> {
    // apt's sandbox user couldn't write here; as root apt-get downloads itself.
    let argv = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "busybox-static"];
    job(argv.map(OsString::from).to_vec(), "apt").run().map_err(|e| {
        Error::from(e).hint("install a static busybox on this host, or check that apt-get can reach its archive")
    })?;
    let package = std::fs::read_dir(temp)
        .map_err(|e| hostel_system::Error::os("list", temp.display(), e))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .ok_or_else(|| Error::new(Class::Failed, "apt-get downloaded no package busybox-static"))?;
    let unpacked = temp.join("package");
    job(
        vec!["dpkg-deb".into(), "-x".into(), package.into(), unpacked.clone().into()],
        "dpkg",
    )
    .run()?;
    let found = ["usr/bin/busybox", "bin/busybox"]
        .iter()
        .map(|p| unpacked.join(p))
        .find(|p| is_static_program(p));
    found.ok_or_else(|| Error::new(Class::Failed, "the package busybox-static holds no static busybox"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applets_are_checked() {
        for good in ["bin/ash", "usr/bin/[", "usr/bin/[[", "sbin/init", "usr/sbin/crond"] {
            assert!(is_applet(good), "{good}");
        }
        for bad in [
            "",
            "ash",
            "/bin/ash",
            "../bin/x",
            "bin/..",
            "bin/",
            "etc/passwd",
            "bin/a/b",
            "bin/a b",
            "bin/busybox",
        ] {
            assert!(!is_applet(bad), "{bad}");
        }
    }

    #[test]
    fn fetched_without_being_installed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let quiet = |_: &str| {};
        let (temp, log): (&Path, &Path) = (dir.path(), &log);
        let job = |argv, package| Job::new(argv, package, temp, log, &quiet);
        match fetch(temp, &job) {
            Ok(program) => assert!(program.starts_with(temp) && is_static_program(&program)),
            Err(e) => println!("skipped because apt-get can't download here: {e}"),
        }
    }
}
