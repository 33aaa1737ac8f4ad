//! A file in the VE whose text is made at the moment in which somebody there opens it: a table of what files of control
//! groups say, which the VE itself can't see.
//!
//! It is a file of the monitor's run directory, shown in the VE by a mount. The kernel has the monitor asked before it
//! lets anybody open it (FAN_OPEN_PERM, fanotify(7)), so nothing is read as long as nobody wants to know, and what is read
//! is what is true then. If the monitor has died, the file opens as it was last; the next monitor goes on with it.

mod ask;
mod mount;
mod text;

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use self::ask::Questions;
use self::text::text;
use crate::error::{Result, Step};
use crate::spec;

/// The file's name in the run directory.
const FILE: &str = "sheet";

/// What was read is told again for as long: a VE that asks all the time must not keep its host busy.
const FRESH: Duration = Duration::from_millis(5);

/// A VE's sheet, as its monitor looks after it.
#[derive(Debug)]
pub struct Sheet {
    spec: spec::Sheet,
    place: PathBuf,
    file: File,
    questions: Questions,
    written: Option<Instant>,
}

impl Sheet {
    /// Makes the file and shows it in the VE.
    pub fn new(spec: &spec::Sheet, run_dir: &Path, init: BorrowedFd<'_>) -> Result<Self> {
        let place = run_dir.join(FILE);
        let act = "make the file for a VE";
        let mut options = File::options();
        // One that a former monitor left is mounted in the VE.
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o444)
            .open(&place);
        let file = file.step(act, place.display())?;
        file.set_permissions(PermissionsExt::from_mode(0o444))
            .step(act, place.display())?;
        let questions = Questions::of(&place).step("have the kernel ask before it opens", place.display())?;
        let sheet = Self {
            spec: spec.clone(),
            place,
            file,
            questions,
            written: None,
        };
        sheet.show(init)?;
        Ok(sheet)
    }

    /// For a VE that runs, whose former monitor may have made one. If it can't be had, there is nobody to be told.
    pub fn adopted(watch: &spec::Watch, init: BorrowedFd<'_>) -> Option<Self> {
        Self::new(watch.sheet.as_ref()?, &watch.run_dir, init).ok()
    }

    /// Shows it in the VE.
    pub fn show(&self, init: BorrowedFd<'_>) -> Result<()> {
        mount::put_on(init, &self.place, &self.spec.path)
    }

    /// Takes it out of the VE, until [`Sheet::show`].
    pub fn hide(&self, init: BorrowedFd<'_>) -> Result<()> {
        mount::take_off(init, &self.spec.path)
    }

    /// What to wait for.
    pub fn wait_for(&self) -> PollFd<'_> {
        PollFd::new(&self.questions, PollFlags::IN)
    }

    /// Somebody is about to open it. Whatever happens here, the answer is yes: who asks would wait for ever.
    pub fn answer(&mut self) {
        let asked = self.questions.hear();
        if !asked.is_empty() && self.written.is_none_or(|at| at.elapsed() >= FRESH) {
            let text = text(&self.spec);
            // It can't be written on a full /run: then the text is the one before.
            let written = self.file.write_all_at(text.as_bytes(), 0);
            let _ = written.and_then(|()| self.file.set_len(text.len() as u64));
            self.written = Some(Instant::now());
        }
        for asked in asked {
            self.questions.allow(&asked);
        }
    }
}
