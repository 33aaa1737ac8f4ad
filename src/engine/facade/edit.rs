//! Changing a VE's definition in an editor.

use hostel_model::request::VeRef;
use hostel_system::file;

use super::{Engine, Progress, SetReport};
use crate::error::Result;

impl Engine {
    /// The text of a VE's definition, for an editor.
    pub fn definition_text(&self, ve: &VeRef) -> Result<String> {
        let state = self.host.find(ve)?;
        Ok(file::read(&self.host.dirs.definition(&state.name))?)
    }

    /// Replaces a VE's definition by what was made of its text `before`, if that is right and nobody has changed it since;
    /// the error names every mistake with its line.
    pub fn replace_definition(
        &self,
        ve: &VeRef,
        before: &str,
        text: &str,
        progress: &dyn Progress,
    ) -> Result<SetReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "edit", progress)?;
        if self.definition_text(ve)? != before {
            return Err(self.host.changed_meanwhile(&state.name));
        }
        self.change(&state, before, text, false, progress)
    }
}
