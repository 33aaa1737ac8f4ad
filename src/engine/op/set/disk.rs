//! Its disk's size.

use super::Set;
use crate::error::Result;

impl Set {
    pub(super) fn resize(&mut self) -> Result<()> {
        let Some(size) = self.params.disk_size else {
            return Ok(());
        };
        let (dir, disks) = (self.host.dirs.ve(self.id), self.host.disks.get(self.state.driver));
        match size.cmp(&self.state.disk_size) {
            std::cmp::Ordering::Greater => Ok(disks.grow(&dir, size)?),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Ok(disks.shrink(&dir, size)?),
        }
    }

    /// Has the disk another size than was recorded? Then it goes on: a disk in use can't be made small again.
    pub(super) fn has_resized(&self) -> Result<bool> {
        /// What drivers round sizes to.
        const BLOCK: u64 = 4096;
        let (dir, disks) = (self.host.dirs.ve(self.id), self.host.disks.get(self.state.driver));
        if self.params.disk_size.is_none() || !disks.exists(&dir)? {
            return Ok(false);
        }
        let size = disks.size(&dir)?;
        Ok(size.abs_diff(self.state.disk_size) >= BLOCK)
    }
}
