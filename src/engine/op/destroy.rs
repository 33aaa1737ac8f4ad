//! Removing a VE for good: `hostel destroy`.

use std::sync::Arc;
use std::time::Duration;

use hostel_model::id::{VeId, VeName};
use hostel_system::file;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::host::Host;
use crate::step::{Home, Operation, Step, nothing};
use crate::ve::record::VeState;

/// How long the kernel may take to let go of the disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// A destruction under way: the VE is gone as soon as its directory has been renamed away, the rest is cleaning.
#[derive(Debug)]
pub struct Destroy {
    host: Arc<Host>,
    id: VeId,
    name: VeName,
    notes: Vec<String>,
}

/// Which VE: its state is gone half way through.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Params {
    /// Its name.
    pub name: VeName,
}

impl Operation for Destroy {
    const VERB: &'static str = "destroy";
    const HOME: Home = Home::Durable;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, params: Params) -> Result<Self> {
        Ok(Self {
            host,
            id,
            name: params.name,
            notes: Vec::new(),
        })
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new("away", "removing the VE", Destroy::rename_away, Destroy::rename_back).point_of_no_return(),
                // As long as its definition and its number are there, nobody else can be called so.
                Step::new("hooks", "putting its scripts aside", Destroy::retire_hooks, nothing),
                Step::new(
                    "definition",
                    "removing the definition",
                    Destroy::remove_definition,
                    nothing,
                ),
                Step::new("disk", "removing the disk", Destroy::remove_disk, nothing),
                // By now there is room to write it down.
                Step::new("aside", "putting its addresses aside", Destroy::put_aside, nothing),
                Step::new("traces", "removing traces", Destroy::remove_traces, nothing),
            ]
        }
    }
}

impl Host {
    /// Puts aside what a VE had that is just being removed. What a record doesn't tell any more can't be.
    pub(crate) fn put_doomed_aside(&self, id: VeId, verb: &str) -> Result<()> {
        match VeState::read(&self.dirs.doomed(id)) {
            Ok(Some(state)) => {
                let had = [state.interfaces, state.former.unwrap_or_default()].concat();
                self.put_aside(&state.name, &had, &[], verb)
            }
            _ => Ok(()),
        }
    }
}

impl Destroy {
    /// Takes all steps, for a disk so full that no journal can be written. A kill on the way leaves a directory under
    /// its last name, which the next operation on that number or an audit removes.
    pub fn without_journal(host: &Arc<Host>, id: VeId, params: Params) -> Result<()> {
        let mut destroy = Self::resume(Arc::clone(host), id, params)?;
        Self::steps().iter().try_for_each(|step| (step.act)(&mut destroy))
    }

    /// Under the lock, as a creation's last rename is.
    fn rename_away(&mut self) -> Result<()> {
        let _lock = self.host.lock_registry(Self::VERB)?;
        let dirs = &self.host.dirs;
        Ok(file::rename(&dirs.ve(self.id), &dirs.doomed(self.id))?)
    }

    fn rename_back(&mut self) -> Result<()> {
        let _lock = self.host.lock_registry(Self::VERB)?;
        let dirs = &self.host.dirs;
        match dirs.doomed(self.id).exists() {
            true => Ok(file::rename(&dirs.doomed(self.id), &dirs.ve(self.id))?),
            false => Ok(()),
        }
    }

    fn retire_hooks(&mut self) -> Result<()> {
        self.notes.extend(self.host.retire_hooks(self.id, &self.name)?);
        Ok(())
    }

    fn remove_definition(&mut self) -> Result<()> {
        let path = self.host.dirs.definition(&self.name);
        file::remove_file(&path)?;
        Ok(file::sync_dir(&self.host.dirs.definitions("ve"))?)
    }

    fn remove_disk(&mut self) -> Result<()> {
        let dir = self.host.dirs.doomed(self.id);
        if dir.exists() {
            self.host.disks.detach(&dir, PATIENCE)?;
            self.host.disks.remove(&dir)?;
        }
        Ok(())
    }

    /// Its record holds them until then.
    fn put_aside(&mut self) -> Result<()> {
        self.host.put_doomed_aside(self.id, Self::VERB)
    }

    fn remove_traces(&mut self) -> Result<()> {
        let doomed = self.host.dirs.doomed(self.id);
        // Counters that stayed because the disk was full are nobody's now.
        if let Ok(Some(state)) = VeState::read(&doomed) {
            self.host.note_gone(&state);
            let names = self.host.interface_names(self.id, &state.numbers());
            self.host.counters.end(&self.host.traffic_table(), &names)?;
        }
        file::remove_tree(&doomed)?;
        self.host.remove_run_dir(self.id)?;
        self.notes.extend(self.host.untell_names(self.id, Self::VERB));
        self.host.refresh_peers(Self::VERB)?;
        Ok(file::sync_dir(&self.host.dirs.ves())?)
    }
}
