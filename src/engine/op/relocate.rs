//! Moving a stopped VE's disk to another driver: `hostel set NAME disk.driver=DRIVER`. The new disk is made and filled
//! under a staging name; the record says which of the two is the VE's, so that a kill at any moment leaves it one whole
//! disk, the old one or the new one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hostel_model::definition::{DriverName, VeDefinition};
use hostel_model::id::VeId;
use hostel_system::disk::DiskSpec;
use hostel_system::file;
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};
use crate::host::Host;
use crate::step::{Home, Operation, Step, nothing};
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;

/// How long the kernel may take to let go of a disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// A move under way.
#[derive(Debug)]
pub struct Relocate {
    host: Arc<Host>,
    id: VeId,
    state: VeState,
    params: Params,
}

/// Both sides, so that the next process can go on or back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Params {
    /// The definition as it was.
    pub old: String,
    /// As it is to be.
    pub new: String,
    /// What the disk is made of.
    pub from: DriverName,
    /// What it is to be made of.
    pub to: DriverName,
    /// The size that it is to have.
    pub disk_size: u64,
    /// The most files on it, where the new driver can limit them.
    pub inodes: Option<u64>,
}

impl Operation for Relocate {
    const VERB: &'static str = "move-disk";
    const HOME: Home = Home::Durable;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, params: Params) -> Result<Self> {
        let state = host.state(id)?;
        Ok(Self {
            host,
            id,
            state,
            params,
        })
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new(
                    "definition",
                    "writing the definition",
                    Relocate::write_new,
                    Relocate::write_old,
                ),
                Step::new("copy", "copying the disk", Relocate::copy, Relocate::uncopy),
                Step::new("place", "putting it in place", Relocate::place, Relocate::displace),
                Step::new("record", "recording", Relocate::record, Relocate::unrecord).point_of_no_return(),
                Step::new("old", "removing the old disk", Relocate::remove_old, nothing),
            ]
        }
    }
}

impl Relocate {
    fn staging(&self) -> PathBuf {
        self.host.dirs.moving(self.id)
    }

    /// Judged under the lock, as every change of a definition.
    fn write_new(&mut self) -> Result<()> {
        let _lock = self.host.lock_registry(Self::VERB)?;
        let path = self.host.dirs.definition(&self.state.name);
        let definition = VeDefinition::parse(&path.display().to_string(), &self.params.new)
            .map_err(|e| Error::new(Class::Usage, "the definition has mistakes").because(e))?;
        let effective = self.host.resolve(&definition, &mut Catalogue::default())?;
        self.host.judge(&effective, self.params.to)?;
        let Params { old, new, .. } = &self.params;
        self.host.put_definition(&self.state.name, Some(old), new)
    }

    fn write_old(&mut self) -> Result<()> {
        let Params { old, new, .. } = &self.params;
        self.host.put_back_definition(&self.state.name, Some(old), new)
    }

    /// What an earlier try has left there may be half full: it is made anew.
    fn copy(&mut self) -> Result<()> {
        let (dir, staging) = (self.host.dirs.ve(self.id), self.staging());
        self.uncopy()?;
        file::make_dir(&staging)?;
        let spec = DiskSpec {
            size: self.params.disk_size,
            inodes: self.params.inodes,
            key: self.host.id_base(&self.state)?,
        };
        let disks = self.host.disks.get(self.params.to);
        disks.create(&staging, &spec, &format!("ve{}", self.id))?;
        // In order before it is read: what a crash left in its journal belongs to it.
        self.host.check_disk(&self.state)?;
        let disks = &self.host.disks;
        Ok(disks.copy((self.params.from, &dir), (self.params.to, &staging))?)
    }

    fn uncopy(&mut self) -> Result<()> {
        self.host.remove_moving(self.id)
    }

    /// Beside the old one: their names differ, and the record still means that.
    fn place(&mut self) -> Result<()> {
        let disks = self.host.disks.get(self.params.to);
        disks.adopt(&self.staging(), &self.host.dirs.ve(self.id))?;
        self.host.remove_moving(self.id)
    }

    fn displace(&mut self) -> Result<()> {
        let dir = self.host.dirs.ve(self.id);
        let disks = self.host.disks.get(self.params.to);
        disks.detach(&dir, PATIENCE)?;
        Ok(disks.remove(&dir)?)
    }

    fn record(&mut self) -> Result<()> {
        self.state.driver = self.params.to;
        self.state.disk_size = self.params.disk_size;
        self.state.write(&self.host.dirs.ve(self.id))
    }

    /// The record may have been written and the journal not: then the old disk, which is still there, is meant again.
    fn unrecord(&mut self) -> Result<()> {
        if self.state.driver == self.params.from {
            return Ok(());
        }
        let size = self
            .host
            .disks
            .get(self.params.from)
            .size(&self.host.dirs.ve(self.id))?;
        self.state.driver = self.params.from;
        self.state.disk_size = size;
        self.host.write_somehow(&self.state)
    }

    fn remove_old(&mut self) -> Result<()> {
        let dir = self.host.dirs.ve(self.id);
        let disks = self.host.disks.get(self.params.from);
        disks.detach(&dir, PATIENCE)?;
        Ok(disks.remove(&dir)?)
    }
}

impl Host {
    /// Removes what a move has made and not put in place; content if there is nothing.
    pub(crate) fn remove_moving(&self, id: VeId) -> Result<()> {
        let dir = self.dirs.moving(id);
        if !dir.exists() {
            return Ok(());
        }
        self.disks.detach(&dir, PATIENCE)?;
        self.disks.remove(&dir)?;
        file::remove_tree(&dir)?;
        Ok(file::sync_dir(&self.dirs.ve(id))?)
    }
}
