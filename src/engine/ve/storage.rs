//! A VE's disk on its way to being mounted.

use hostel_system::cgroup::BlockDevice;
use hostel_system::disk::{DiskSource, FsckOutcome};
use hostel_system::process::Disk;

use super::record::VeState;
use crate::error::{Class, Error, Result};
use crate::host::Host;

impl Host {
    /// Brings a disk's file system in order before it is mounted. Gives what is worth a line.
    pub fn check_disk(&self, state: &VeState) -> Result<Option<String>> {
        let dir = self.dirs.ve(state.id);
        if self.disks.attached(&dir)?.is_some() {
            return Ok(None); // it was checked when it was attached, and is in use perhaps
        }
        match self.disks.check(&dir)? {
            FsckOutcome::Clean => Ok(None),
            FsckOutcome::Corrected(what) => Ok(Some(format!("the disk was repaired: {}", what.trim()))),
            FsckOutcome::NeedsHand(what) => Err(Error::new(
                Class::Failed,
                format!("the disk of {} is damaged", state.name),
            )
            .because(what)
            .hint(format!(
                "check it by hand: e2fsck -f {}",
                dir.join("disk.img").display()
            ))),
        }
    }

    /// The block devices that a VE's input and output is counted on.
    pub fn block_devices(&self, source: Option<&DiskSource>) -> Vec<BlockDevice> {
        match source {
            Some(DiskSource::Device { major, minor, .. }) => vec![BlockDevice {
                major: *major,
                minor: *minor,
            }],
            _ => Vec::new(),
        }
    }

    /// How to mount what the disk driver lent.
    pub fn disk_orders(&self, source: &DiskSource) -> Disk {
        let options = self.disks.mount_options();
        match source {
            DiskSource::Directory(path) => Disk::Directory(path.clone()),
            DiskSource::Device { path, .. } => Disk::Device {
                node: path.clone(),
                fs: options.fs_type.unwrap_or("ext4").to_owned(),
                options: options
                    .options
                    .iter()
                    .map(|(k, v)| {
                        if v.is_empty() {
                            (*k).to_owned()
                        } else {
                            format!("{k}={v}")
                        }
                    })
                    .collect(),
            },
        }
    }
}
