//! Ending a VE at once: `hostel kill`.

use std::time::Duration;

use hostel_system::process::Init;

use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::ve::outline::Outline;

/// How long the kernel may take to end a killed VE.
const PATIENCE: Duration = Duration::from_secs(60);

impl Host {
    /// Ends a VE that runs, and leaves it to its monitor to clear up, for which nobody has to wait: whatever is done to
    /// the VE next waits for that, or does it itself. False, with nothing done, if no monitor answers.
    ///
    /// There is no journal: there is no way back from a kill, and how far it went is seen from what runs.
    pub fn kill_and_leave(&self, ve: &Outline, init: Init) -> Result<bool> {
        let Some(announced) = self.guests.announce_end(&self.dirs.run(ve.id), init)? else {
            return Ok(false);
        };
        self.note_ending(ve.id);
        self.end_by_force(ve, init)?;
        drop(announced);
        Ok(true)
    }

    /// Kills a VE and waits until all its processes have ended.
    pub fn end_by_force(&self, ve: &Outline, init: Init) -> Result<()> {
        // A frozen process can't die; the group's kill thaws it.
        if self.cgroups.is_frozen(ve.id)? {
            self.cgroups.kill(ve.id)?;
        }
        match self.guests.end(init, PATIENCE)? {
            true => Ok(()),
            false => Err(
                Error::new(Class::Failed, format!("{} was killed but has not ended", ve.name))
                    .because("a process of it hangs in the kernel, most likely on a disk that doesn't answer")
                    .hint(format!(
                        "look at the state of process {} and at the host's kernel log",
                        init.pid
                    )),
            ),
        }
    }
}
