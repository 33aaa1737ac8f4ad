//! All drivers side by side: each VE's disk is the affair of the one that made it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hostel_model::definition::DriverName;

use super::{BtrfsDisks, Disks, ImageDisks, Leftover, LoopDevice, ProjectDisks};
use crate::{Error, Kind, Result, archive};

/// The drivers.
#[derive(Debug, Clone)]
pub struct Drivers {
    project: Arc<dyn Disks>,
    btrfs: Arc<dyn Disks>,
    image: Arc<dyn Disks>,
}

impl Default for Drivers {
    /// The real ones.
    fn default() -> Self {
        Self::of(
            Arc::new(ProjectDisks::default()),
            Arc::new(BtrfsDisks::default()),
            Arc::new(ImageDisks),
        )
    }
}

impl Drivers {
    /// These.
    pub fn of(project: Arc<dyn Disks>, btrfs: Arc<dyn Disks>, image: Arc<dyn Disks>) -> Self {
        Self { project, btrfs, image }
    }

    /// The one of this name.
    pub fn get(&self, name: DriverName) -> &dyn Disks {
        match name {
            DriverName::Project => &*self.project,
            DriverName::Btrfs => &*self.btrfs,
            DriverName::Image => &*self.image,
        }
    }

    /// All, the best first.
    pub fn all(&self) -> impl Iterator<Item = &dyn Disks> {
        DriverName::ALL.iter().map(|name| self.get(*name))
    }

    /// The best that works below `dir`. The image driver isn't tried: where it can't make disks either, its own words
    /// say why.
    pub fn best(&self, dir: &Path) -> DriverName {
        let mut others = DriverName::ALL.iter().filter(|name| **name != DriverName::Image);
        others
            .find(|name| self.get(**name).probe(dir).is_ok())
            .copied()
            .unwrap_or(DriverName::Image)
    }

    /// The one whose disk lies in a directory, where no record says it; the image driver if there is none.
    pub fn at(&self, dir: &Path) -> &dyn Disks {
        let has = |disks: &&dyn Disks| disks.exists(dir).unwrap_or(false);
        self.all().find(has).unwrap_or(&*self.image)
    }

    /// Lets go of the disk in a directory, whosever it is; content if there is none.
    pub fn detach(&self, dir: &Path, timeout: Duration) -> Result<()> {
        self.all().try_for_each(|disks| disks.detach(dir, timeout))
    }

    /// Removes the disk in a directory, whosever it is, and what killed calls left; content if there is none.
    pub fn remove(&self, dir: &Path) -> Result<()> {
        self.all().try_for_each(|disks| disks.remove(dir))
    }

    /// What is attached of all that lies below `under`.
    pub fn list(&self, under: &Path) -> Result<Vec<LoopDevice>> {
        let mut found = Vec::new();
        for disks in self.all() {
            found.extend(disks.list(under)?);
        }
        Ok(found)
    }

    /// What is left in file systems of disks that are gone, as [`Disks::leftovers`], and whose it is to clear.
    pub fn leftovers(&self, under: &Path, keys: Range<u32>) -> Result<Vec<(DriverName, Leftover)>> {
        let mut found = Vec::new();
        for disks in self.all() {
            let its = disks.leftovers(under, keys.clone())?;
            found.extend(its.into_iter().map(|leftover| (disks.name(), leftover)));
        }
        Ok(found)
    }

    /// Lets what is on a detached disk stand on another copy of the tree below it: see [`archive::rebase`].
    pub fn rebase(&self, (driver, dir): (DriverName, &Path), old: &Path, new: &Path) -> Result<()> {
        let disks = self.get(driver);
        let (old, new) = (archive::Tree::open(old)?, archive::Tree::open(new)?);
        let done = disks
            .content(dir)
            .and_then(|disk| archive::rebase(disk.root(), &old, &new));
        // However it went, whoever comes next finds it let go of.
        done.and(disks.detach(dir, PATIENCE))
    }

    /// Copies all that is on one detached disk to another, which is new: with owners, modes, times, attributes, hard
    /// links, holes, and what overlayfs has noted there. It is on the disk when this returns. `NoSpace`: it didn't fit.
    pub fn copy(&self, (from, from_dir): (DriverName, &Path), (to, to_dir): (DriverName, &Path)) -> Result<()> {
        let (source, target) = (self.get(from), self.get(to));
        let copied = source.content(from_dir).and_then(|from| {
            let to = target.content(to_dir)?;
            archive::copy_layers(from.root(), to.root())
        });
        // However it went, whoever comes next finds both let go of.
        let released = target.detach(to_dir, PATIENCE).and(source.detach(from_dir, PATIENCE));
        copied?;
        released?;
        holds(target, to_dir)
    }

    /// Puts a tree on an empty detached disk, as what a VE has written over an empty template: see
    /// [`archive::copy_tree`], whose refusals are these. It is on the disk when this returns. `NoSpace`: it didn't fit.
    pub fn fill(&self, (driver, dir): (DriverName, &Path), from: &archive::Tree) -> Result<archive::Report> {
        let disks = self.get(driver);
        let filled = disks.content(dir).and_then(|disk| archive::fill(disk.root(), from));
        // However it went, whoever comes next finds it let go of.
        let released = disks.detach(dir, PATIENCE);
        let report = filled?;
        released?;
        holds(disks, dir)?;
        Ok(report)
    }
}

/// On ext4, the quota of a project doesn't bind who has CAP_SYS_RESOURCE: it may hold more than it should.
fn holds(target: &dyn Disks, to_dir: &Path) -> Result<()> {
    let usage = target.usage(to_dir)?;
    if usage.used > usage.size || usage.inodes.is_some() && usage.inodes_used > usage.inodes {
        let why = "what is on it takes more room there than the disk has";
        return Err(Error::new("copy the disk to", to_dir.display(), why)
            .kind(Kind::NoSpace)
            .hint("remove files inside first, or raise disk.size"));
    }
    Ok(())
}

/// How long the kernel may take to let go of a disk that was mounted to be copied.
const PATIENCE: Duration = Duration::from_secs(30);
