//! Scripts of the host's owner: finding them, seeing that nobody else could have written them, running them on the host.

mod fake;
mod note;
mod run;
#[cfg(test)]
mod tests;

use std::fmt::{self, Debug};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::{Error, Kind, Result};

pub use fake::FakeScripts;
pub use note::NOTHING;
pub(crate) use run::{LETTING_GO, Listening, ends_within, left};

/// The most that is kept of what a script says; the rest of it is passed over.
pub const MOST_SAID: usize = 16 << 10;

/// What ends the name of a script whose VE is no more.
pub const RETIRED: &str = ".destroyed";

/// How a script ended, and what it said on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// How.
    pub how: How,
    /// The first of what it wrote to its standard output and error, as it came.
    pub said: Vec<u8>,
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It took too long and was killed, with all of its process group.
    TimedOut,
    /// The person gave up, and so it was killed.
    Interrupted,
    /// There was no running it.
    NotRun(String),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "it ended with code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal} ended it"),
            Self::TimedOut => f.write_str("it took too long and was killed"),
            Self::Interrupted => f.write_str("it was interrupted"),
            Self::NotRun(why) => f.write_str(why),
        }
    }
}

/// How long a script may run, and who may give it up before.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    /// After this it is killed.
    pub patience: Duration,
    /// Raised when nobody wants it any more; `None`: it isn't to be given up.
    pub interrupted: Option<&'a AtomicBool>,
}

/// Finds and runs scripts.
pub trait Scripts: Send + Sync + Debug {
    /// Those of these files that are there, in this order; the names of each directory in one look.
    fn find(&self, places: &[(PathBuf, Vec<String>)]) -> Result<Vec<PathBuf>>;
    /// By which path a script is to be run, with no link in it that could lead elsewhere by then; or why it may not be:
    /// who else could have written it, or that it isn't meant to be.
    fn judge(&self, script: &Path) -> Result<std::result::Result<PathBuf, String>>;
    /// What it holds.
    fn read(&self, script: &Path) -> Result<Vec<u8>>;
    /// Renames it, so that nobody runs it any more: [`RETIRED`] is added to its name, in the place of an older one. Content if
    /// that is done.
    fn retire(&self, script: &Path) -> Result<()>;
    /// Runs it on the host, with this environment and no other, in a session of its own, whose first process group is
    /// killed at the end of the patience. It inherits no descriptor but its standard streams. As long as it runs `note`,
    /// a file that held [`NOTHING`], says which process it is; where that can't be written it runs all the same.
    fn run(&self, script: &Path, env: &[(String, String)], note: &Path, bounds: Bounds<'_>) -> Result<Ran>;
    /// Kills what is left of the script that a note names, with its process group: whoever ran it was killed meanwhile.
    fn end_left(&self, note: &Path) -> Result<()>;
}

/// Real ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostScripts;

impl Scripts for HostScripts {
    fn find(&self, places: &[(PathBuf, Vec<String>)]) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for (directory, names) in places {
            let fail = |e: rustix::io::Errno| Error::os("look for scripts in", directory.display(), e);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = match rustix::fs::openat(CWD, directory, flags, Mode::empty()) {
                Err(rustix::io::Errno::NOENT) => continue,
                other => other.map_err(fail)?,
            };
            for name in names {
                match rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(_) => found.push(directory.join(name)),
                    Err(rustix::io::Errno::NOENT) => {}
                    Err(e) => return Err(fail(e)),
                }
            }
        }
        Ok(found)
    }

    fn judge(&self, script: &Path) -> Result<std::result::Result<PathBuf, String>> {
        let look = |path: &Path| std::fs::symlink_metadata(path).map_err(|e| Error::os("look at", path.display(), e));
        let file = look(script)?;
        if !file.is_file() {
            return Ok(Err("it is not a plain file".into()));
        }
        if let Some(who) = open_to_others(&file) {
            return Ok(Err(who.to_owned()));
        }
        if file.mode() & 0o100 == 0 {
            return Ok(Err("it is not executable".into()));
        }
        let real = std::fs::canonicalize(script).map_err(|e| Error::os("find", script.display(), e))?;
        // Whoever may rename in a directory may put another file in this one's place, or another link in a link's.
        for directory in script
            .ancestors()
            .chain(real.ancestors())
            .filter(|p| *p != script && *p != real)
        {
            let held = std::fs::metadata(directory).map_err(|e| Error::os("look at", directory.display(), e))?;
            let sticky = held.mode() & 0o1000 != 0 && held.uid() == 0;
            if let Some(who) = open_to_others(&held).filter(|_| !sticky) {
                return Ok(Err(format!("of its directory {}: {who}", directory.display())));
            }
        }
        Ok(Ok(real))
    }

    fn read(&self, script: &Path) -> Result<Vec<u8>> {
        std::fs::read(script).map_err(|e| Error::os("read", script.display(), e))
    }

    fn retire(&self, script: &Path) -> Result<()> {
        crate::file::rename(script, &retired(script))
    }

    fn run(&self, script: &Path, env: &[(String, String)], note: &Path, bounds: Bounds<'_>) -> Result<Ran> {
        run::on_host(script, env, note, bounds)
    }

    fn end_left(&self, note: &Path) -> Result<()> {
        note::end_left(note)
    }
}

/// What it is called then.
fn retired(script: &Path) -> PathBuf {
    let mut name = script.as_os_str().to_owned();
    name.push(RETIRED);
    name.into()
}

/// Can anybody but root write it?
fn open_to_others(held: &std::fs::Metadata) -> Option<&'static str> {
    match (held.uid(), held.mode() & 0o022) {
        (0, 0) => None,
        (0, _) => Some("others than root may write it"),
        _ => Some("it does not belong to root"),
    }
}

/// What keeps this host from making any process, and passes.
fn is_want(e: &std::io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE)
    )
}

/// A script that can't be run for what it is, or for what this host lacks at the moment.
pub(crate) fn not_run(script: impl fmt::Display, e: std::io::Error) -> Result<Ran> {
    match is_want(&e) {
        true => Err(Error::os("run", script, e).kind(Kind::Failed)),
        false => Ok(Ran {
            how: How::NotRun(e.to_string()),
            said: Vec::new(),
        }),
    }
}
