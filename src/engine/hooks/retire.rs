//! What becomes of a VE's own scripts when it is no more.

use std::path::PathBuf;

use hostel_model::hook::Event;
use hostel_model::id::{VeId, VeName};
use hostel_system::scripts::RETIRED;

use super::file_name;
use crate::error::Result;
use crate::host::Host;

impl Host {
    /// Puts the scripts aside that are this VE's alone: the next of its number, or of its name, is somebody else's, and
    /// must not run them. Says what was renamed.
    pub fn retire_hooks(&self, id: VeId, name: &VeName) -> Result<Vec<String>> {
        let names = Event::EACH.iter().flat_map(|event| event.own_names(id, name));
        let found = self.scripts.find(&self.places(names))?;
        let retire = |script: PathBuf| {
            self.scripts.retire(&script)?;
            Ok(format!("{} is {}{RETIRED} now", script.display(), file_name(&script)))
        };
        found.into_iter().map(retire).collect()
    }
}
