//! What an operation has done so far, written before it does it, so that the next process can end what a killed one
//! began.
//!
//! A journal is a file of lines, one operation each: `CHECKSUM JSON`. It is removed when its operation has ended;
//! a journal that is there is an operation to be recovered. There are two homes: the durable one, where a line is
//! on the disk before the step is taken (create, destroy), and the volatile one in /run (start, stop), for what
//! dies with the host anyway.

mod line;
mod writer;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hostel_model::id::VeId;
use hostel_system::file::{make_dir, remove_file, sync_dir};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};
use line::{Parsed, parse};

pub use line::Line;
pub(crate) use line::checksum;
pub use writer::Journal;

/// Where an operation's journal lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Home {
    /// On the disk, each line synced: what it makes outlives the host's restart.
    Durable,
    /// In /run: what it makes dies with the host.
    Volatile,
}

/// How an operation begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The verb: "create".
    pub verb: String,
    /// The VE.
    pub id: VeId,
    /// All that the next process needs to take the same steps or undo them.
    pub params: serde_json::Value,
    /// /proc/sys/kernel/random/boot_id then.
    pub boot_id: String,
    /// Who.
    pub pid: u32,
    /// When, in seconds since 1970.
    pub time: i64,
}

/// How far one step has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Taken as a whole.
    pub done: bool,
    /// Undone as a whole.
    pub undone: bool,
}

/// The journals of one Hostel.
#[derive(Debug, Clone)]
pub struct Journals {
    durable: PathBuf,
    volatile: PathBuf,
    boot_id: String,
}

/// An operation that has not ended.
#[derive(Debug)]
pub struct Unfinished {
    /// How it began.
    pub begin: Begin,
    /// The steps that were begun.
    pub steps: BTreeMap<String, Mark>,
    /// Undoing had begun.
    pub undoing: bool,
    /// The journal, to be written on.
    pub journal: Journal,
}

/// What lies in a journal's place.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// An operation to be recovered.
    Unfinished(Unfinished),
    /// A journal that can't be read: now renamed aside, so that it blocks nothing.
    Corrupt {
        /// Where it is now.
        moved_to: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// What a journal looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// There is none, or none that matters.
    Nothing,
    /// An operation that is under way, or to be recovered: nobody knows but the holder of the VE's lock.
    Unfinished(Begin),
    /// It can't be read; why.
    Corrupt(String),
}

fn fail(act: &str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |e| {
        let full = matches!(
            e.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        );
        let class = if full { Class::Limit } else { Class::Failed };
        Error::new(class, format!("cannot {act} the journal {}", path.display())).because(e)
    }
}

impl Journals {
    /// The journals in two directories, which are made if need be. `boot_id`: of the running kernel.
    pub fn at(durable: &Path, volatile: &Path, boot_id: &str) -> Result<Self> {
        make_dir(durable)?;
        make_dir(volatile)?;
        Ok(Self {
            durable: durable.to_owned(),
            volatile: volatile.to_owned(),
            boot_id: boot_id.trim().to_owned(),
        })
    }

    fn path(&self, home: Home, id: VeId) -> PathBuf {
        let dir = if home == Home::Durable {
            &self.durable
        } else {
            &self.volatile
        };
        dir.join(format!("{id}.journal"))
    }

    /// Begins a journal. The VE's lock must be held, and no other operation on it be unfinished.
    pub fn begin(&self, home: Home, verb: &str, id: VeId, params: serde_json::Value) -> Result<Journal> {
        for other in [Home::Durable, Home::Volatile] {
            let path = self.path(other, id);
            if path.exists() {
                let message = format!("VE {id} has an unfinished operation: {}", path.display());
                return Err(Error::new(Class::Refused, message).hint("it must be recovered first"));
            }
        }
        let path = self.path(home, id);
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(fail("begin", &path))?;
        let mut journal = Journal::new(file, path, home);
        let time = Timestamp::now().as_second();
        let (verb, boot_id) = (verb.to_owned(), self.boot_id.clone());
        let pid = std::process::id();
        let begin = Begin {
            verb,
            id,
            params,
            boot_id,
            pid,
            time,
        };
        let begun = journal.write(&Line::Begin(begin), true).and_then(|()| match home {
            Home::Durable => Ok(sync_dir(&self.durable)?),
            Home::Volatile => Ok(()),
        });
        match begun {
            Ok(()) => Ok(journal),
            Err(e) => {
                // Nothing was done yet, so nothing has to be remembered. Should it stay, it is found to be empty.
                let _ = remove_file(journal.path());
                Err(e)
            }
        }
    }

    /// What lies in a journal's place, only looked at: no lock is needed, and nothing is put right.
    pub fn look(&self, id: VeId) -> Look {
        for home in [Home::Durable, Home::Volatile] {
            let Ok(Some(text)) = read_bytes(&self.path(home, id)) else {
                continue;
            };
            let lines = match parse(&text) {
                Ok(parsed) => parsed.lines,
                Err(why) => return Look::Corrupt(why),
            };
            if lines.last() == Some(&Line::End) {
                continue;
            }
            match lines.into_iter().next() {
                Some(Line::Begin(begin)) if home == Home::Durable || begin.boot_id == self.boot_id => {
                    return Look::Unfinished(begin);
                }
                Some(Line::Begin(_)) | None => {}
                Some(_) => return Look::Corrupt("it has no beginning".into()),
            }
        }
        Look::Nothing
    }

    /// Journals that could not be read and were put aside.
    pub fn corrupt(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for dir in [&self.durable, &self.volatile] {
            let list = fail("list the directory of", dir);
            for entry in fs::read_dir(dir).map_err(&list)? {
                let path = entry.map_err(&list)?.path();
                if path.file_name().is_some_and(|n| n.to_string_lossy().contains(CORRUPT)) {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Looks for an unfinished operation on a VE. Its lock must be held.
    ///
    /// A volatile one from before the host's last start is discarded: what it made has died with the host.
    pub fn find(&self, id: VeId) -> Result<Found> {
        for home in [Home::Durable, Home::Volatile] {
            let path = self.path(home, id);
            let Some(text) = read_bytes(&path)? else { continue };
            match parse(&text) {
                Ok(Parsed { lines, .. }) if lines.is_empty() || lines.last() == Some(&Line::End) => {
                    // Killed before it had begun, or when it had ended.
                    remove_file(&path)?;
                }
                Ok(Parsed { lines, whole }) => {
                    let count = lines.len() as u64;
                    let story = match story(lines, id) {
                        Ok(story) => story,
                        Err(why) => return quarantine(&path, why),
                    };
                    if home == Home::Volatile && story.0.boot_id != self.boot_id {
                        remove_file(&path)?;
                        continue;
                    }
                    let (begin, steps, undoing) = story;
                    let journal = Journal::reopen(path, home, whole, count)?;
                    return Ok(Found::Unfinished(Unfinished {
                        begin,
                        steps,
                        undoing,
                        journal,
                    }));
                }
                Err(why) => return quarantine(&path, why),
            }
        }
        Ok(Found::Nothing)
    }

    /// The VEs that have a journal: for the manager at its start, and for an audit.
    pub fn pending(&self) -> Result<Vec<VeId>> {
        let mut ids = Vec::new();
        for dir in [&self.durable, &self.volatile] {
            let list = fail("list the directory of", dir);
            for entry in fs::read_dir(dir).map_err(&list)? {
                let name = entry.map_err(&list)?.file_name();
                ids.extend(
                    name.to_str()
                        .and_then(|n| n.strip_suffix(".journal"))
                        .and_then(|n| n.parse::<VeId>().ok()),
                );
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Puts a journal aside that can't be followed.
    pub fn quarantine(&self, unfinished: Unfinished, why: String) -> Result<Found> {
        quarantine(unfinished.journal.path(), why)
    }
}

fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(fail("read", path)(e)),
    }
}

/// What the names of journals that were put aside have in them.
const CORRUPT: &str = ".journal.corrupt-";

fn quarantine(path: &Path, why: String) -> Result<Found> {
    let now = Timestamp::now().as_nanosecond();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let moved_to = path.with_file_name(format!("{stem}{CORRUPT}{now}"));
    fs::rename(path, &moved_to).map_err(fail("put aside", path))?;
    Ok(Found::Corrupt { moved_to, why })
}

/// Begin, steps begun, and whether undoing had begun.
type Story = (Begin, BTreeMap<String, Mark>, bool);

/// What the lines tell.
fn story(lines: Vec<Line>, id: VeId) -> std::result::Result<Story, String> {
    let mut lines = lines.into_iter();
    let begin = match lines.next() {
        Some(Line::Begin(begin)) if begin.id == id => begin,
        Some(Line::Begin(begin)) => return Err(format!("it is of VE {}", begin.id)),
        _ => return Err("it has no beginning".into()),
    };
    let (mut steps, mut undoing) = (BTreeMap::<String, Mark>::new(), false);
    for line in lines {
        match line {
            Line::Begin(_) => return Err("it begins twice".into()),
            Line::Step(name) => *steps.entry(name).or_default() = Mark::default(),
            Line::Done(name) => steps.get_mut(&name).ok_or("a step ends before it begins")?.done = true,
            Line::Undoing(name) => {
                steps.get(&name).ok_or("a step is undone before it begins")?;
                undoing = true;
            }
            Line::Undone(name) => steps.get_mut(&name).ok_or("a step is undone before it begins")?.undone = true,
            Line::End => return Err("it goes on after its end".into()),
        }
    }
    Ok((begin, steps, undoing))
}

#[cfg(test)]
mod tests;
