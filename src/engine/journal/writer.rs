//! A journal that is being written: a line before each step and one after it.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hostel_system::file::{append, remove_file};

use super::line::{Line, encode};
use super::{Home, fail};
use crate::error::Result;

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    home: Home,
    lines: u64,
    /// The length of its whole lines.
    whole: u64,
}

impl Journal {
    /// A new one, in a file that is empty.
    pub(super) fn new(file: File, path: PathBuf, home: Home) -> Self {
        Self {
            file,
            path,
            home,
            lines: 0,
            whole: 0,
        }
    }

    /// One that was begun by another process, and has so many lines and bytes that are whole.
    pub(super) fn reopen(path: PathBuf, home: Home, whole: u64, lines: u64) -> Result<Self> {
        let mut file = File::options().write(true).open(&path).map_err(fail("open", &path))?;
        // A line that was torn by the kill goes before ours come.
        file.set_len(whole)
            .and_then(|()| file.seek(SeekFrom::Start(whole)))
            .map_err(fail("mend", &path))?;
        Ok(Self {
            file,
            path,
            home,
            lines,
            whole,
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&mut self, line: &Line, sync: bool) -> Result<()> {
        let fail = fail("write", &self.path);
        let text = encode(self.lines, line).map_err(|e| fail(e.into()))?;
        let written = append(
            &mut self.file,
            &self.path,
            text.as_bytes(),
            sync && self.home == Home::Durable,
        );
        if let Err(e) = written {
            // Half a line (a full disk) must not stand before the next one.
            let cut = self
                .file
                .set_len(self.whole)
                .and_then(|()| self.file.seek(SeekFrom::Start(self.whole)));
            cut.map_err(&fail)?;
            return Err(e.into());
        }
        self.whole += text.len() as u64;
        self.lines += 1;
        Ok(())
    }

    /// A step is about to be taken.
    pub fn step(&mut self, name: &str) -> Result<()> {
        self.write(&Line::Step(name.to_owned()), true)
    }

    /// It has been taken. `sync`: this must be known before the next step is taken. Otherwise losing the line does no
    /// harm, because steps can be taken and undone twice.
    pub fn done(&mut self, name: &str, sync: bool) -> Result<()> {
        self.write(&Line::Done(name.to_owned()), sync)
    }

    /// It is about to be undone.
    pub fn undoing(&mut self, name: &str) -> Result<()> {
        self.write(&Line::Undoing(name.to_owned()), true)
    }

    /// It has been undone.
    pub fn undone(&mut self, name: &str) -> Result<()> {
        self.write(&Line::Undone(name.to_owned()), false)
    }

    /// Nothing remains to be done: the journal goes.
    pub fn end(mut self) -> Result<()> {
        // The line is for a power cut that brings the removed file back. On a full disk it can't be written, and
        // then the removal alone must do.
        let _ = self.write(&Line::End, true);
        Ok(remove_file(&self.path)?)
    }
}
