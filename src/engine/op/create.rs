//! Making a VE: `hostel create`.

use std::sync::Arc;

use hostel_model::definition::{Share, VeDefinition};
use hostel_model::id::VeId;
use hostel_system::disk::DiskSpec;
use hostel_system::file;
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};
use crate::facade::Silent;
use crate::host::Host;
use crate::step::{Home, Operation, Step};
use crate::ve::record::VeState;

/// A creation under way. Everything is made under a staging name; the last rename makes it a VE.
#[derive(Debug)]
pub struct Create {
    host: Arc<Host>,
    id: VeId,
    params: Params,
    notes: Vec<String>,
}

/// The whole VE as it will be, so that the next process can undo or finish it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Params {
    /// What is allocated for it.
    pub state: VeState,
    /// Its definition's text.
    pub definition: String,
    /// Its disk.
    pub disk_size: u64,
    /// The most files on it.
    pub inodes: Option<u64>,
    /// Who shares its template's tree.
    pub share: Share,
}

impl Operation for Create {
    const VERB: &'static str = "create";
    const HOME: Home = Home::Durable;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, params: Params) -> Result<Self> {
        Ok(Self {
            host,
            id,
            params,
            notes: Vec::new(),
        })
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new("reserve", "reserving", Create::reserve, Create::release),
                Step::new(
                    "template",
                    "preparing the template",
                    Create::prepare_template,
                    Create::drop_template,
                ),
                Step::new("disk", "formatting the disk", Create::make_disk, Create::remove_disk),
                Step::new(
                    "definition",
                    "writing the definition",
                    Create::write_definition,
                    Create::remove_definition,
                ),
                Step::new("commit", "committing", Create::commit, Create::uncommit).point_of_no_return(),
            ]
        }
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

impl Create {
    /// From here on the id, the id range and the addresses count as taken. They were drawn before, without a lock;
    /// now is the moment at which it is certain that nobody else has them.
    fn reserve(&mut self) -> Result<()> {
        let _lock = self.host.lock_registry(Self::VERB)?;
        let state = &self.params.state;
        let taken = self.host.taken(Some(self.id))?;
        let addresses = state.interfaces.iter().flat_map(|i| &i.addresses);
        let clash = taken.names.contains(&state.name)
            || taken.slots.contains(&state.slot)
            || addresses.into_iter().any(|a| taken.addresses.contains(a))
            || self.host.dirs.ve(self.id).exists();
        if clash {
            return Err(
                Error::new(Class::Busy, format!("another VE took what {} was to have", state.name)).hint("try again"),
            );
        }
        let staging = self.host.dirs.staging(self.id);
        file::make_dir(&staging)?;
        state.write(&staging)
    }

    fn release(&mut self) -> Result<()> {
        file::remove_tree(&self.host.dirs.staging(self.id))?;
        Ok(file::sync_dir(&self.host.dirs.ves())?)
    }

    fn prepare_template(&mut self) -> Result<()> {
        let store = self.host.templates();
        let template = store.resolve(&self.params.state.template)?;
        let lower = store.lower_for(&template, &self.sharing()?, &Silent)?;
        // A copy of its own lies beside its disk, and goes where that goes.
        let (from, to) = (self.host.dirs.staging(self.id), self.host.dirs.ve(self.id));
        let lower = lower.strip_prefix(from).map(|rest| to.join(rest)).unwrap_or(lower);
        if lower != self.params.state.lower {
            self.params.state.lower = lower;
            self.params.state.write(&self.host.dirs.staging(self.id))?;
        }
        Ok(())
    }

    /// A tenant's copy stays for its next VE; a VE's own goes with it.
    fn drop_template(&mut self) -> Result<()> {
        match self.params.share {
            Share::None => self
                .host
                .drop_private_template(self.host.dirs.staging(self.id), &self.params.state.template),
            Share::Tenant | Share::Host => Ok(()),
        }
    }

    fn sharing(&self) -> Result<crate::templates::Share> {
        let staging = self.host.dirs.staging(self.id);
        Ok(crate::facade::sharing(
            self.params.share,
            &self.definition()?.tenant,
            staging,
        ))
    }

    fn make_disk(&mut self) -> Result<()> {
        let spec = DiskSpec {
            size: self.params.disk_size,
            inodes: self.params.inodes,
        };
        let staging = self.host.dirs.staging(self.id);
        Ok(self.host.disks.create(&staging, &spec, &format!("ve{}", self.id))?)
    }

    fn remove_disk(&mut self) -> Result<()> {
        let staging = self.host.dirs.staging(self.id);
        if staging.exists() {
            self.host.disks.remove(&staging)?;
        }
        Ok(())
    }

    fn definition(&self) -> Result<VeDefinition> {
        let path = self.host.dirs.definition(&self.params.state.name);
        VeDefinition::parse(&path.display().to_string(), &self.params.definition)
            .map_err(|e| Error::new(Class::Usage, "the new definition has mistakes").because(e))
    }

    fn write_definition(&mut self) -> Result<()> {
        let path = self.host.dirs.definition(&self.params.state.name);
        Ok(file::write_atomic(&path, self.params.definition.as_bytes(), 0o600)?)
    }

    fn remove_definition(&mut self) -> Result<()> {
        file::remove_file(&self.host.dirs.definition(&self.params.state.name))?;
        Ok(file::sync_dir(&self.host.dirs.definitions("ve"))?)
    }

    fn commit(&mut self) -> Result<()> {
        let dirs = &self.host.dirs;
        Ok(file::rename(&dirs.staging(self.id), &dirs.ve(self.id))?)
    }

    /// Back to staging, where the other steps' undo looks for it.
    fn uncommit(&mut self) -> Result<()> {
        let dirs = &self.host.dirs;
        match dirs.ve(self.id).exists() {
            true => Ok(file::rename(&dirs.ve(self.id), &dirs.staging(self.id))?),
            false => Ok(()),
        }
    }
}
