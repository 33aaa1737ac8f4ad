//! A VE's disk on its way to being mounted.

use hostel_model::definition::DriverName;
use hostel_system::cgroup::{BlockDevice, DeviceIo, Usage};
use hostel_system::disk::{DiskSource, FsckOutcome};
use hostel_system::process::{Disk, Mounting};

use super::record::VeState;
use crate::error::{Class, Detail, Error, Result};
use crate::host::Host;

/// A disk that is a file is the VE's one loop device; on what that lies the same is counted once more.
pub fn loops(usage: &Usage) -> Option<DeviceIo> {
    let devices: Vec<BlockDevice> = usage.io.as_ref()?.iter().map(|io| io.device).collect();
    let loops: Vec<BlockDevice> = devices.into_iter().filter(|d| d.is_loop()).collect();
    usage.io_on(&loops)
}

impl Host {
    /// Brings a disk's file system in order before it is mounted. Gives what is worth a line.
    pub fn check_disk(&self, state: &VeState) -> Result<Option<String>> {
        let (dir, disks) = (self.dirs.ve(state.id), self.disks.get(state.driver));
        if disks.attached(&dir)?.is_some() {
            return Ok(None); // it was checked when it was attached, and is in use perhaps
        }
        let checked = disks.check(&dir).map_err(|e| match disks.exists(&dir) {
            Ok(false) => Error::from(e).detail(Detail::Gone),
            _ => e.into(),
        });
        match checked? {
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

    /// What a new VE's disk is made of, where its definition doesn't say.
    pub fn usual_driver(&self) -> DriverName {
        self.config.driver.unwrap_or_else(|| self.disks.best(&self.dirs.ves()))
    }

    /// Can disks of this driver be made? The image driver isn't tried beforehand: that takes as long as to make one.
    pub fn check_driver(&self, driver: DriverName) -> Result<()> {
        if driver == DriverName::Image {
            return Ok(());
        }
        self.disks.get(driver).probe(&self.dirs.ves()).map_err(|why| {
            Error::new(Class::Refused, format!("this host can't have disks of driver {driver}"))
                .because(why)
                .hint("see which it can: hostel info")
                .hint("name one in the VE or its plan (disk.driver), or in hostel.toml ([disk] driver)")
        })
    }

    /// The devices that limits of I/O are set for. `source`: what the disk was lent as, if it was just now.
    pub fn io_devices(&self, state: &VeState, source: Option<&DiskSource>) -> Result<Vec<BlockDevice>> {
        match source.and_then(DiskSource::device) {
            Some(device) => Ok(vec![device]),
            None => Ok(self.disks.get(state.driver).devices(&self.dirs.ve(state.id))?),
        }
    }

    /// What was read from a VE's disk and written to it, of all that its control group tells.
    pub fn io_of(&self, state: &VeState, usage: &Usage) -> Option<DeviceIo> {
        match state.driver {
            DriverName::Image => loops(usage),
            _ => usage.io_on(&self.io_devices(state, None).ok()?),
        }
    }

    /// Begins to mount one that is attached.
    pub fn mount_disk(&self, driver: DriverName, source: &DiskSource) -> Mounting {
        self.guests.mount(self.disk_orders(driver, source))
    }

    /// How to mount what the disk driver lent.
    pub fn disk_orders(&self, driver: DriverName, source: &DiskSource) -> Disk {
        let options = self.disks.get(driver).mount_options();
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
