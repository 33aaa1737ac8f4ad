//! Disks in memory, for tests of what stands on them: they keep state as real ones do, and fail where told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Attached, DiskSource, DiskSpec, Disks, FsckOutcome, LoopDevice, MountOptions, Usage};
use crate::{Error, Kind, Result};

/// Disks that exist only here.
#[derive(Debug, Default)]
pub struct FakeDisks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    disks: BTreeMap<PathBuf, Disk>,
    calls: Vec<&'static str>,
    fail_call: Option<usize>,
    fail_method: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Disk {
    spec: DiskSpec,
    label: String,
    device: Option<u32>,
    mounted: bool,
    used: u64,
    unclean: bool,
}

impl FakeDisks {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `n`th call from now on (from 1) fails, once; 0: none does. True if the failure that was asked for before
    /// has not come up.
    pub fn fail_call(&self, n: usize) -> bool {
        let mut state = self.state();
        let next = (n > 0).then_some(state.calls.len() + n);
        std::mem::replace(&mut state.fail_call, next).is_some()
    }

    /// Each call of this method fails, until `None` is said.
    pub fn fail_method(&self, name: Option<&'static str>) {
        self.state().fail_method = name;
    }

    /// The methods called so far.
    pub fn calls(&self) -> Vec<&'static str> {
        self.state().calls.clone()
    }

    /// All that there is, a line each: for comparing before and after.
    pub fn inventory(&self) -> Vec<String> {
        self.state()
            .disks
            .iter()
            .map(|(dir, disk)| format!("disk {} {disk:?}", dir.display()))
            .collect()
    }

    /// Plays the guest: fills the disk with this many bytes.
    pub fn fill(&self, dir: &Path, used: u64) {
        if let Some(disk) = self.state().disks.get_mut(dir) {
            disk.used = used;
        }
    }

    /// Plays the one who mounts: a mounted disk can't be detached.
    pub fn set_mounted(&self, dir: &Path, mounted: bool) {
        if let Some(disk) = self.state().disks.get_mut(dir) {
            disk.mounted = mounted;
            disk.unclean = mounted;
        }
    }

    /// Notes the call, and fails if it was told to.
    fn call(&self, name: &'static str, dir: &Path) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.push(name);
        let by_number = state.fail_call == Some(state.calls.len());
        if by_number {
            state.fail_call = None;
        }
        if by_number || state.fail_method == Some(name) {
            return Err(Error::new("fake", format!("{name} {}", dir.display()), "told to fail"));
        }
        Ok(state)
    }
}

impl State {
    fn disk(&mut self, act: &'static str, dir: &Path) -> Result<&mut Disk> {
        self.disks
            .get_mut(dir)
            .ok_or_else(|| Error::os(act, dir.display(), std::io::Error::from_raw_os_error(libc::ENOENT)))
    }

    fn detached(&mut self, act: &'static str, dir: &Path) -> Result<&mut Disk> {
        match self.disk(act, dir)? {
            Disk { device: Some(n), .. } => {
                Err(Error::new(act, dir.display(), format!("it is attached as loop{n}")).kind(Kind::Busy))
            }
            disk => Ok(disk),
        }
    }
}

fn lend(number: u32, reused: bool) -> Attached {
    let path = PathBuf::from(format!("/dev/loop{number}"));
    Attached {
        source: DiskSource::Device {
            path,
            major: 7,
            minor: number,
        },
        direct_io: true,
        reused,
        keep: None,
    }
}

impl Disks for FakeDisks {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn probe(&self, _dir: &Path) -> std::result::Result<(), String> {
        Ok(())
    }

    fn mount_options(&self) -> MountOptions {
        MountOptions {
            fs_type: Some("ext4"),
            options: &[],
            attributes: 0,
        }
    }

    fn create(&self, dir: &Path, spec: &DiskSpec, label: &str) -> Result<()> {
        let mut state = self.call("create", dir)?;
        match state.disks.get(dir) {
            Some(disk) if disk.spec.size != spec.size => {
                Err(Error::new("make a disk at", dir.display(), "there is another already").kind(Kind::Exists))
            }
            Some(_) => Ok(()),
            None => {
                let label = label.to_owned();
                let disk = Disk {
                    spec: *spec,
                    label,
                    device: None,
                    mounted: false,
                    used: 0,
                    unclean: false,
                };
                state.disks.insert(dir.to_owned(), disk);
                Ok(())
            }
        }
    }

    fn exists(&self, dir: &Path) -> Result<bool> {
        Ok(self.call("exists", dir)?.disks.contains_key(dir))
    }

    fn remove(&self, dir: &Path) -> Result<()> {
        let mut state = self.call("remove", dir)?;
        if state.disks.contains_key(dir) {
            state.detached("remove", dir)?;
            state.disks.remove(dir);
        }
        Ok(())
    }

    fn attach(&self, dir: &Path) -> Result<Attached> {
        let mut state = self.call("attach", dir)?;
        let free = (0..)
            .find(|n| state.disks.values().all(|d| d.device != Some(*n)))
            .unwrap_or(u32::MAX);
        let disk = state.disk("attach", dir)?;
        let reused = disk.device.is_some();
        Ok(lend(*disk.device.get_or_insert(free), reused))
    }

    fn attached(&self, dir: &Path) -> Result<Option<Attached>> {
        let state = self.call("attached", dir)?;
        Ok(state.disks.get(dir).and_then(|d| d.device).map(|n| lend(n, true)))
    }

    fn detach(&self, dir: &Path, _timeout: Duration) -> Result<()> {
        let mut state = self.call("detach", dir)?;
        match state.disks.get_mut(dir) {
            Some(Disk { mounted: true, .. }) => {
                Err(Error::new("detach", dir.display(), "it is still in use").kind(Kind::Busy))
            }
            Some(disk) => {
                disk.device = None;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn check(&self, dir: &Path) -> Result<FsckOutcome> {
        let mut state = self.call("check", dir)?;
        let disk = state.detached("check", dir)?;
        Ok(if std::mem::take(&mut disk.unclean) {
            FsckOutcome::Corrected("recovering journal".into())
        } else {
            FsckOutcome::Clean
        })
    }

    fn grow(&self, dir: &Path, size: u64) -> Result<()> {
        let mut state = self.call("grow", dir)?;
        let disk = state.disk("grow", dir)?;
        if size < disk.spec.size {
            return Err(Error::new("grow", dir.display(), "that would be less").kind(Kind::Invalid));
        }
        disk.spec.size = size;
        Ok(())
    }

    fn shrink(&self, dir: &Path, size: u64) -> Result<()> {
        let mut state = self.call("shrink", dir)?;
        let disk = state.detached("shrink", dir)?;
        if size > disk.spec.size {
            return Err(Error::new("shrink", dir.display(), "that would be more").kind(Kind::Invalid));
        }
        if size < disk.used {
            let why = format!("{} bytes are in use", disk.used);
            return Err(Error::new("shrink", dir.display(), why).kind(Kind::NoSpace));
        }
        disk.spec.size = size;
        Ok(())
    }

    fn glance(&self, dir: &Path, _: Option<&Path>) -> Option<u64> {
        self.usage(dir).ok()?.used
    }

    fn usage(&self, dir: &Path) -> Result<Usage> {
        let mut state = self.call("usage", dir)?;
        let disk = state.disk("read the usage of", dir)?;
        let inodes = disk.spec.inodes.or(Some(disk.spec.size / 16384));
        Ok(Usage {
            host_bytes: Some(disk.used),
            size: Some(disk.spec.size),
            used: Some(disk.used),
            inodes,
            inodes_used: Some(11),
        })
    }

    fn compact(&self, dir: &Path) -> Result<u64> {
        self.call("compact", dir)?.disk("compact", dir)?;
        Ok(0)
    }

    fn release(&self, device: &LoopDevice, timeout: Duration) -> Result<()> {
        self.detach(&device.backing, timeout)
    }

    fn list(&self, under: &Path) -> Result<Vec<LoopDevice>> {
        let state = self.call("list", under)?;
        let below = state.disks.iter().filter(|(dir, _)| dir.starts_with(under));
        Ok(below
            .filter_map(|(dir, d)| {
                d.device.map(|number| LoopDevice {
                    number,
                    backing: dir.clone(),
                    deleted: false,
                })
            })
            .collect())
    }
}
