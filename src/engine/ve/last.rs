//! What was done with a VE last, and how its last run ended: for `hostel why`. Nothing is decided by it, so nothing
//! depends on its being written. It lies in the runtime directory; what somebody asks about after the host's boot, too, an end
//! or a failure, beside the VE's disk as well, until it runs again.

use std::path::{Path, PathBuf};

use hostel_model::id::{VeId, VeName};
use hostel_model::why::{End, Operation};
use hostel_system::file;
use serde::{Deserialize, Serialize};

use crate::error::{Error, chain};
use crate::host::Host;

/// The file in a VE's runtime directory, and in that of its disk.
pub const LAST: &str = "last.json";

/// Verbs that bring a VE to run.
const STARTS: [&str; 3] = ["start", "restart", "resume"];

/// Verbs that are worth a note when they went well too.
const ENDS: [&str; 3] = ["stop", "kill", "suspend"];

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// The VE's name: a number may have been another's before.
    name: String,
    /// What was done.
    pub operation: Option<Operation>,
    /// How its last run ended; `None` once it runs again.
    pub end: Option<End>,
}

fn path(run_dir: &Path) -> PathBuf {
    run_dir.join(LAST)
}

impl Host {
    /// What is remembered of a VE.
    pub fn last(&self, id: VeId, name: &VeName) -> Last {
        let read = |dir: PathBuf| {
            let text = std::fs::read_to_string(path(&dir)).ok()?;
            let last = serde_json::from_str::<Last>(&text).ok()?;
            (last.name == name.as_str()).then_some(last)
        };
        [self.dirs.run(id), self.dirs.ve(id)]
            .into_iter()
            .find_map(read)
            .unwrap_or_default()
    }

    /// Remembers how a command went.
    pub fn note_operation(&self, id: VeId, name: &VeName, verb: &str, error: Option<&Error>) {
        let starts = STARTS.contains(&verb);
        // What ends the VE's record ends this with it.
        if verb == "destroy" || (error.is_none() && !starts && !ENDS.contains(&verb)) {
            return;
        }
        let mut last = self.last(id, name);
        if starts && (error.is_none() || self.runs(id)) {
            last.end = None;
        }
        last.operation = Some(Operation {
            verb: verb.to_owned(),
            time: (self.clock)(),
            error: error.map(|e| chain(e)),
            hints: error.map(|e| e.hints.clone()).unwrap_or_default(),
        });
        self.remember(id, name, last);
    }

    /// Remembers how a VE ended, while its control group is still there to tell.
    pub fn note_end(&self, id: VeId, name: &VeName, how: &str) {
        let mut last = self.last(id, name);
        last.end = Some(End {
            how: how.to_owned(),
            time: (self.clock)(),
            oom_kills: self.cgroups.hits(id).oom_kills,
        });
        self.remember(id, name, last);
    }

    /// Remembers that it runs again though nobody has started it: its guest wanted a reboot.
    pub fn note_reboot(&self, id: VeId, name: &VeName) {
        let last = Last {
            end: None,
            ..self.last(id, name)
        };
        self.remember(id, name, last);
    }

    fn runs(&self, id: VeId) -> bool {
        self.reality(id).is_ok_and(|reality| reality.init.is_some())
    }

    /// Whole or not at all; without it people are told less.
    fn remember(&self, id: VeId, name: &VeName, last: Last) {
        let run_dir = self.dirs.run(id);
        let last = Last {
            name: name.to_string(),
            ..last
        };
        let Ok(text) = serde_json::to_vec(&last) else {
            return;
        };
        if file::make_dir(&run_dir).is_ok() {
            let _ = file::replace(&path(&run_dir), &text);
        }
        let kept = path(&self.dirs.ve(id));
        let failed = last.operation.is_some_and(|operation| operation.error.is_some());
        let _ = match last.end.is_some() || failed && !self.runs(id) {
            true => file::replace(&kept, &text),
            false => file::remove_file(&kept),
        };
    }
}
