//! Making a stopped VE anew from a template: `vzctl reinstall`. Everything that was given to it stays, and so do its
//! definition, its scripts and what it has used; only its disk is another. The old one goes aside and is removed last, so
//! that a kill at any moment leaves the VE one whole disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hostel_model::definition::{self, VeDefinition};
use hostel_model::id::VeId;
use hostel_system::disk::DiskSpec;
use hostel_system::file;
use serde::{Deserialize, Serialize};

use super::tree::sharing;
use crate::error::{Class, Error, Result};
use crate::facade::Silent;
use crate::host::Host;
use crate::step::{Home, Operation, Step, nothing};
use crate::templates::Share;
use crate::ve::record::VeState;
use crate::ve::registry::Catalogue;

/// How long the kernel may take to let go of a disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reinstallation under way.
#[derive(Debug)]
pub struct Reinstall {
    host: Arc<Host>,
    id: VeId,
    params: Params,
}

/// Both sides, so that the next process can go on or back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Params {
    /// The definition as it was.
    pub old: String,
    /// As it is to be.
    pub new: String,
    /// The record as it was.
    pub was: VeState,
    /// As it is to be.
    pub is: VeState,
    /// The most files on its disk, where the driver can limit them.
    pub inodes: Option<u64>,
    /// Who shares its template's tree.
    pub share: definition::Share,
}

impl Operation for Reinstall {
    const VERB: &'static str = "reinstall";
    const HOME: Home = Home::Durable;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, params: Params) -> Result<Self> {
        Ok(Self { host, id, params })
    }

    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new(
                    "definition",
                    "writing the definition",
                    Reinstall::write_new,
                    Reinstall::write_old,
                ),
                Step::new(
                    "template",
                    "preparing the template",
                    Reinstall::prepare_template,
                    Reinstall::drop_template,
                ),
                Step::new(
                    "disk",
                    "formatting the disk",
                    Reinstall::make_disk,
                    Reinstall::unmake_disk,
                ),
                Step::new(
                    "aside",
                    "putting the old disk aside",
                    Reinstall::put_aside,
                    Reinstall::put_back,
                ),
                Step::new(
                    "place",
                    "putting the new one in place",
                    Reinstall::place,
                    Reinstall::displace,
                ),
                Step::new("record", "recording", Reinstall::record, Reinstall::unrecord).point_of_no_return(),
                Step::new("old", "removing the old disk", Reinstall::remove_old, nothing),
            ]
        }
    }
}

impl Reinstall {
    fn dir(&self) -> PathBuf {
        self.host.dirs.ve(self.id)
    }

    /// Judged under the lock, as every change of a definition.
    fn write_new(&mut self) -> Result<()> {
        let _lock = self.host.lock_registry(Self::VERB)?;
        let path = self.host.dirs.definition(&self.params.was.name);
        let definition = VeDefinition::parse(&path.display().to_string(), &self.params.new)
            .map_err(|e| Error::new(Class::Usage, "the definition has mistakes").because(e))?;
        let effective = self.host.resolve(&definition, &mut Catalogue::default())?;
        self.host.judge(&effective, self.params.is.driver)?;
        let Params { old, new, was, .. } = &self.params;
        self.host.put_definition(&was.name, Some(old), new)
    }

    fn write_old(&mut self) -> Result<()> {
        let Params { old, new, was, .. } = &self.params;
        self.host.put_back_definition(&was.name, Some(old), new)
    }

    /// Whom it shares its template's tree with. A tree of its own lies beside the one that it had.
    fn sharing(&self) -> Result<Share> {
        let nobody = || Error::new(Class::Failed, "nobody knows whose the VE is");
        let tenant = self.params.is.tenant.as_ref().ok_or_else(nobody)?;
        Ok(sharing(self.params.share, tenant, self.dir()))
    }

    /// A tenant's copy stays for its next VE.
    fn prepare_template(&mut self) -> Result<()> {
        let store = self.host.templates();
        let template = store.resolve(&self.params.is.template)?;
        store.lower_for(&template, &self.sharing()?, &Silent).map(drop)
    }

    fn drop_template(&mut self) -> Result<()> {
        self.host.drop_own_copies(&self.params.was)
    }

    /// What an earlier try has left there is made anew.
    fn make_disk(&mut self) -> Result<()> {
        let staging = self.host.dirs.moving(self.id);
        self.unmake_disk()?;
        file::make_dir(&staging)?;
        let spec = DiskSpec {
            size: self.params.is.disk_size,
            inodes: self.params.inodes,
            key: self.host.id_base(&self.params.is)?,
        };
        let disks = self.host.disks.get(self.params.is.driver);
        Ok(disks.create(&staging, &spec, &format!("ve{}", self.id))?)
    }

    fn unmake_disk(&mut self) -> Result<()> {
        self.host.remove_moving(self.id)
    }

    /// With the record that it belongs to: should the journal be lost, that tells whether it is still the VE's.
    fn put_aside(&mut self) -> Result<()> {
        let (dir, aside) = (self.dir(), self.host.dirs.replaced(self.id));
        file::make_dir(&aside)?;
        self.params.was.write(&aside)?;
        let disks = self.host.disks.get(self.params.was.driver);
        disks.detach(&dir, PATIENCE)?;
        Ok(disks.adopt(&dir, &aside)?)
    }

    fn put_back(&mut self) -> Result<()> {
        self.host.restore_replaced(&self.params.was)
    }

    fn place(&mut self) -> Result<()> {
        let disks = self.host.disks.get(self.params.is.driver);
        Ok(disks.adopt(&self.host.dirs.moving(self.id), &self.dir())?)
    }

    /// The disk in place is the new one only as long as the old one lies aside: should this be undone once more when
    /// that is back, it stays.
    fn displace(&mut self) -> Result<()> {
        let (dir, aside, staging) = (
            self.dir(),
            self.host.dirs.replaced(self.id),
            self.host.dirs.moving(self.id),
        );
        let Params { was, is, .. } = &self.params;
        let is_aside = self.host.disks.get(was.driver).exists(&aside)?;
        let disks = self.host.disks.get(is.driver);
        match is_aside && disks.exists(&dir)? {
            true => Ok(disks.adopt(&dir, &staging)?),
            false => Ok(()),
        }
    }

    fn record(&mut self) -> Result<()> {
        self.params.is.write(&self.dir())
    }

    /// It may have been written and the journal not.
    fn unrecord(&mut self) -> Result<()> {
        self.host.write_somehow(&self.params.was)
    }

    /// The VE that it was has used nothing after this, and that is entered as for one that is destroyed.
    fn remove_old(&mut self) -> Result<()> {
        self.host.note_gone(&self.params.was);
        self.host.remove_replaced(self.id)?;
        self.host.remove_moving(self.id)?;
        self.host.drop_own_copies(&self.params.is)
    }
}

impl Host {
    /// Puts a VE's disk back that a reinstallation has put aside; content if it is there.
    fn restore_replaced(&self, was: &VeState) -> Result<()> {
        let (dir, aside) = (self.dirs.ve(was.id), self.dirs.replaced(was.id));
        if !aside.exists() {
            return Ok(());
        }
        let disks = self.disks.get(was.driver);
        if disks.exists(&aside)? {
            disks.adopt(&aside, &dir)?;
        }
        file::remove_tree(&aside)?;
        Ok(file::sync_dir(&dir)?)
    }

    /// Removes the disk that a reinstallation has put aside; content if there is none.
    fn remove_replaced(&self, id: VeId) -> Result<()> {
        let aside = self.dirs.replaced(id);
        if !aside.exists() {
            return Ok(());
        }
        self.disks.detach(&aside, PATIENCE)?;
        self.disks.remove(&aside)?;
        file::remove_tree(&aside)?;
        Ok(file::sync_dir(&self.dirs.ve(id))?)
    }

    /// No reinstallation of this VE is under way: a disk that lies aside is the VE's as long as its record says so. Each
    /// reinstallation draws another seed. Where one of both records can't be read, a person decides; audit tells of it.
    pub(crate) fn settle_replaced(&self, id: VeId) -> Result<()> {
        let aside = self.dirs.replaced(id);
        if !aside.exists() {
            return Ok(());
        }
        match (VeState::read(&aside), self.state_of(id)) {
            (Ok(Some(was)), Ok(Some(is))) if was.seed == is.seed => {
                let disks = self.disks.get(was.driver);
                // The new one was in place, and not yet the VE's.
                if disks.exists(&aside)? {
                    self.disks.detach(&self.dirs.ve(id), PATIENCE)?;
                    self.disks.remove(&self.dirs.ve(id))?;
                }
                self.restore_replaced(&was)
            }
            (Ok(Some(_)), Ok(Some(_))) => self.remove_replaced(id),
            // The record is written before the disk goes aside.
            _ if !self.disks.at(&aside).exists(&aside)? => Ok(file::remove_tree(&aside)?),
            _ => Ok(()),
        }
    }

    /// Removes trees of a VE's own that it doesn't stand on.
    fn drop_own_copies(&self, stands: &VeState) -> Result<()> {
        let store = self.templates();
        let own = self.dirs.ve(stands.id).join("templates");
        let copies = store.copies()?.into_iter();
        for copy in copies.filter(|copy| copy.path.starts_with(&own) && !stands.lower.starts_with(&copy.path)) {
            store.remove_copy(&copy)?;
        }
        // And what the making of those has left: only who holds the VE's lock makes a tree here.
        let lock = own.join(format!(".lock-{}", stands.template.replace('/', "_")));
        prune(
            &own,
            &[stands.lower.parent().unwrap_or(&own), &lock, &own.join(".lock")],
        )?;
        self.drop_own_tree(stands)
    }
}

/// Removes all in a directory but these, and what lies in them.
fn prune(dir: &Path, kept: &[&Path]) -> Result<()> {
    for path in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()) {
        match kept.iter().find(|kept| kept.starts_with(&path)) {
            Some(kept) if **kept != path => prune(&path, &[*kept])?,
            Some(_) => {}
            None if path.is_dir() => file::remove_tree(&path)?,
            None => file::remove_file(&path)?,
        }
    }
    Ok(())
}
