//! Which script runs, in a file that outlives whoever runs it: where he is killed, what the script has begun goes on.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use hostel_monitor::identity::start_time;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::run::LETTING_GO;
use crate::process::boot_id;
use crate::{Error, Result, file};

/// A note that names none. It is written over in place, and so needs no room on a disk that is full by then.
pub const NOTHING: [u8; 512] = [b' '; 512];

/// The most that is kept of /proc/PID/stat: of one that begins it is shorter by far.
const STAT: usize = 400;

/// One that is open.
#[derive(Debug)]
pub(super) struct Note {
    file: File,
    boot: Vec<u8>,
}

impl Note {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::options().write(true).open(path);
        Ok(Self {
            file: file.map_err(|e| Error::os("open", path.display(), e))?,
            boot: format!("{}\n", boot_id(Path::new("/proc"))?).into_bytes(),
        })
    }

    /// In the process that becomes the script, before it does: there is no moment at which it runs and isn't noted.
    /// Allocates nothing and takes no lock.
    pub(super) fn sign(&self) -> io::Result<()> {
        let stat = rustix::fs::open(c"/proc/self/stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut line = [0; STAT];
        let length = rustix::io::read(&stat, &mut line)?;
        rustix::io::pwrite(&self.file, &self.boot, 0)?;
        rustix::io::pwrite(
            &self.file,
            line.get(..length).unwrap_or_default(),
            self.boot.len() as u64,
        )?;
        Ok(())
    }

    /// It has ended.
    pub(super) fn clear(&self) -> io::Result<()> {
        rustix::io::pwrite(&self.file, &NOTHING, 0).map(drop)?;
        Ok(())
    }
}

/// See [`super::Scripts::end_left`].
pub(super) fn end_left(path: &Path) -> Result<()> {
    let Some((pid, began)) = file::read_opt(path)?.and_then(|text| running(&text)) else {
        return Ok(());
    };
    // As long as one of its group is left the number is nobody else's; after that it may be.
    let now = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let is_another = now.is_ok_and(|stat| start_time(&stat) != Some(began));
    if !is_another && kill_process_group(pid, Signal::KILL).is_ok() {
        let end = Instant::now() + LETTING_GO;
        // One that hangs in the kernel is waited for no longer.
        while test_kill_process_group(pid).is_ok() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let cleared = Note::open(path)?.clear();
    cleared.map_err(|e| Error::os("write", path.display(), e))
}

/// The process that a note names, and when it began; `None`: none of this boot.
fn running(note: &str) -> Option<(Pid, u64)> {
    let (boot, stat) = note.split_once('\n')?;
    if boot != boot_id(Path::new("/proc")).ok()? {
        return None;
    }
    // As a group, the number 1 would be all there is.
    let pid = stat.split(' ').next()?.parse().ok().filter(|pid| *pid > 1)?;
    Some((Pid::from_raw(pid)?, start_time(stat)?))
}
