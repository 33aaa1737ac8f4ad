//! The console, and its log.

use hostel_model::id::VeName;
use hostel_model::request::VeRef;
use hostel_system::process::{CONSOLE_LOG, console};

use super::Engine;
use crate::error::Result;

impl Engine {
    /// Joins this terminal to the VE's console until Ctrl-A q is typed. Waits for the VE to start, and for its next
    /// start when it ends. `joining` hears whose it is before it begins.
    pub fn console(&self, ve: &VeRef, joining: impl FnOnce(&VeName)) -> Result<()> {
        let state = self.host.find(ve)?;
        let run_dir = self.host.dirs.run(state.id);
        hostel_system::file::make_dir(&run_dir)?;
        joining(&state.name);
        Ok(console::join(&run_dir)?)
    }

    /// The console log so far: the older part first.
    pub fn log(&self, ve: &VeRef) -> Result<Vec<u8>> {
        let state = self.host.find(ve)?;
        let log = self.host.dirs.run(state.id).join(CONSOLE_LOG);
        let mut text = Vec::new();
        for path in [log.with_extension("log.1"), log] {
            match std::fs::read(&path) {
                Ok(part) => text.extend(part),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(hostel_system::Error::os("read", path.display(), e).into()),
            }
        }
        Ok(text)
    }
}
