//! Making a VE: `hostel create`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hostel_model::definition::{Share, VeDefinition};
use hostel_model::id::VeId;
use hostel_system::archive::Tree;
use hostel_system::disk::DiskSpec;
use hostel_system::{Kind, file};
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};
use crate::facade::Silent;
use crate::host::Host;
use crate::lock::Lock;
use crate::step::{Home, Operation, Step, nothing};
use crate::templates;
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;
use crate::ve::taken::Taken;

/// A creation under way. Everything is made under a staging name; the last rename makes it a VE.
#[derive(Debug)]
pub struct Create {
    host: Arc<Host>,
    id: VeId,
    /// As planned, and once it is reserved: as reserved.
    state: VeState,
    params: Params,
    /// Held from the judgement until others can see the definition that was judged.
    registry: Option<Lock>,
    notes: Vec<String>,
}

/// The whole VE as it will be, so that the next process can undo or finish it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Params {
    /// What is to be allocated for it.
    pub state: VeState,
    /// Its definition's text.
    pub definition: String,
    /// What a person had put in the definition's place, if it is made from that.
    #[serde(default)]
    pub found: Option<String>,
    /// Its disk.
    pub disk_size: u64,
    /// The most files on it.
    pub inodes: Option<u64>,
    /// Who shares its template's tree.
    pub share: Share,
    /// What its disk is filled with, if it brings its own tree.
    #[serde(default)]
    pub tree: Option<PathBuf>,
    /// Addresses that were free, and that others on a LAN answer for.
    #[serde(default)]
    pub heard: BTreeSet<IpAddr>,
}

impl Operation for Create {
    const VERB: &'static str = "create";
    const HOME: Home = Home::Durable;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, params: Params) -> Result<Self> {
        let reserved = VeState::read(&host.dirs.staging(id)).ok().flatten();
        let state = reserved.unwrap_or_else(|| params.state.clone());
        Ok(Self {
            host,
            id,
            state,
            params,
            registry: None,
            notes: Vec::new(),
        })
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new("reserve", "reserving", Create::reserve, Create::release),
                Step::new(
                    "definition",
                    "writing the definition",
                    Create::write_definition,
                    Create::remove_definition,
                ),
                // A tenant's copy stays for its next VE; a VE's own lies in the staging directory and goes with it.
                Step::new("template", "preparing the template", Create::prepare_template, nothing),
                Step::new("disk", "formatting the disk", Create::make_disk, Create::remove_disk),
                Step::new("commit", "committing", Create::commit, Create::uncommit).point_of_no_return(),
            ]
        }
    }
}

impl Create {
    /// From here on the id, the name, the id range, the addresses and the tenant's budget count as taken. They were
    /// chosen before, without a lock; now is the moment at which it is certain that nobody else has them.
    fn reserve(&mut self) -> Result<()> {
        if self.registry.is_none() {
            self.registry = Some(self.host.lock_registry(Self::VERB)?);
        }
        let taken = Taken {
            heard: self.params.heard.clone(),
            ..self.host.taken(Some(self.id))?
        };
        if taken.names.contains(&self.state.name) || self.host.dirs.ve(self.id).exists() {
            return Err(Error::new(
                Class::Busy,
                format!("another VE took the name or id of {}", self.state.name),
            )
            .hint("try again"));
        }
        let effective = self.host.resolve(&self.definition()?, &mut Catalogue::default())?;
        self.host.judge(&effective, self.state.driver)?;
        if taken.slots.contains(&self.state.slot) {
            self.state.slot = self.host.free_slot(&effective, &taken)?;
        }
        if taken.lost(&self.state.interfaces) || taken.clash(&self.state.interfaces).is_some() {
            self.state.interfaces = self.host.interfaces(&effective, &[], &taken)?;
        }
        self.notes = self
            .host
            .given_again(&self.state.name, &[], &self.state.interfaces, &taken);
        let staging = self.host.dirs.staging(self.id);
        file::make_dir(&staging)?;
        self.state.write(&staging)
    }

    fn release(&mut self) -> Result<()> {
        file::remove_tree(&self.host.dirs.staging(self.id))?;
        Ok(file::sync_dir(&self.host.dirs.ves())?)
    }

    fn prepare_template(&mut self) -> Result<()> {
        let store = self.host.templates();
        let template = store.resolve(&self.state.template)?;
        let (staging, place) = (self.host.dirs.staging(self.id), self.host.dirs.ve(self.id));
        let lower = store.lower_for(&template, &self.sharing(&staging)?, &Silent)?;
        // The VE's own copy goes where the commit renames it to.
        let lower = lower
            .strip_prefix(&staging)
            .map_or(lower.clone(), |own| place.join(own));
        if lower != self.state.lower {
            self.state.lower = lower;
            self.state.write(&staging)?;
        }
        Ok(())
    }

    /// Whom the VE shares its template's tree with.
    fn sharing(&self, own: &Path) -> Result<templates::Share> {
        Ok(match self.params.share {
            Share::Tenant => templates::Share::Tenant(self.definition()?.tenant),
            Share::Host => templates::Share::Host,
            Share::None => templates::Share::None(own.to_owned()),
        })
    }

    fn make_disk(&mut self) -> Result<()> {
        let spec = DiskSpec {
            size: self.params.disk_size,
            inodes: self.params.inodes,
            key: self.host.id_base(&self.state)?,
        };
        let staging = self.host.dirs.staging(self.id);
        let disks = self.host.disks.get(self.state.driver);
        if self.params.tree.is_some() {
            // What an earlier try has left there may be half full: it is made anew.
            disks.remove(&staging)?;
        }
        disks.create(&staging, &spec, &format!("ve{}", self.id))?;
        match &self.params.tree {
            Some(tree) => self.fill_disk(&Tree::open(tree)?),
            None => Ok(()),
        }
    }

    fn fill_disk(&mut self, tree: &Tree) -> Result<()> {
        let staging = self.host.dirs.staging(self.id);
        let filled = self.host.disks.fill((self.state.driver, &staging), tree);
        let report = filled.map_err(|e| match e.kind {
            Kind::NoSpace => Error::from(e).hint("give it a larger disk: --set disk.size=SIZE"),
            _ => e.into(),
        })?;
        if report.left_out_count > 0 {
            let some: Vec<&str> = report.left_out.iter().take(8).map(String::as_str).collect();
            let line = format!(
                "left out {} device nodes and sockets: {}",
                report.left_out_count,
                some.join(", ")
            );
            self.notes.push(line);
        }
        if report.labels_left_out > 0 {
            self.notes.push(format!(
                "left out {} labels of security modules",
                report.labels_left_out
            ));
        }
        Ok(())
    }

    fn remove_disk(&mut self) -> Result<()> {
        let staging = self.host.dirs.staging(self.id);
        if staging.exists() {
            self.host.disks.remove(&staging)?;
        }
        Ok(())
    }

    fn definition(&self) -> Result<VeDefinition> {
        let path = self.host.dirs.definition(&self.state.name);
        VeDefinition::parse(&path.display().to_string(), &self.params.definition)
            .map_err(|e| Error::new(Class::Usage, "the new definition has mistakes").because(e))
    }

    fn write_definition(&mut self) -> Result<()> {
        let Params { found, definition, .. } = &self.params;
        self.host
            .put_definition(&self.state.name, found.as_deref(), definition)?;
        self.registry = None;
        Ok(())
    }

    fn remove_definition(&mut self) -> Result<()> {
        let Params { found, definition, .. } = &self.params;
        self.host
            .put_back_definition(&self.state.name, found.as_deref(), definition)
    }

    /// Under the lock: whoever reads what is taken, just when the directory changes its name, may find neither. It is known
    /// by name from then on, also if it never runs.
    fn commit(&mut self) -> Result<()> {
        {
            let _lock = self.host.lock_registry(Self::VERB)?;
            let dirs = &self.host.dirs;
            file::rename(&dirs.staging(self.id), &dirs.ve(self.id))?;
        }
        self.host.note_birth(&self.state);
        self.notes.extend(self.host.tell_names(&self.state, Self::VERB));
        Ok(())
    }

    /// Back to staging, where the other steps' undo looks for it.
    fn uncommit(&mut self) -> Result<()> {
        self.notes.extend(self.host.untell_names(self.id, Self::VERB));
        let _lock = self.host.lock_registry(Self::VERB)?;
        let (staging, place) = (self.host.dirs.staging(self.id), self.host.dirs.ve(self.id));
        match place.exists() {
            true => Ok(file::rename(&place, &staging)?),
            false => Ok(()),
        }
    }
}
