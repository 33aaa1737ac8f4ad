//! Disks in memory, for tests of what stands on them: they keep state as real ones do, and fail where told.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::{Attached, DiskSource, DiskSpec, Disks, FsckOutcome, LoopDevice, MountOptions, Usage};
use crate::fake::{Calls, steered};
use crate::{Error, Kind, Result};

/// Disks that exist only here. Where the directory of one does exist, a file in it stands for the disk, so that it
/// goes where the directory is renamed to.
#[derive(Debug, Default)]
pub struct FakeDisks {
    state: Mutex<State>,
    holder: OnceLock<Holder>,
}

/// Tells whether something holds a device open.
struct Holder(Box<dyn Fn(&Path) -> bool + Send + Sync>);

impl std::fmt::Debug for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Holder")
    }
}

#[derive(Debug, Default)]
struct State {
    /// By the directory that each was made in.
    disks: BTreeMap<PathBuf, Disk>,
    calls: Calls,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Disk {
    spec: DiskSpec,
    label: String,
    device: Option<u32>,
    mounted: bool,
    used: u64,
    unclean: bool,
    /// How often its content has changed.
    changes: u64,
}

steered!(FakeDisks);

/// The file that stands for a disk; it says which.
const IMAGE: &str = "disk.img";

/// Under which key the disk in a directory is kept.
fn key(dir: &Path) -> PathBuf {
    std::fs::read_to_string(dir.join(IMAGE)).map_or_else(|_| dir.to_owned(), PathBuf::from)
}

impl FakeDisks {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this is asked whether a device is in use, as the kernel knows of itself. Heeded once.
    pub fn ask_for_holders(&self, holds: impl Fn(&Path) -> bool + Send + Sync + 'static) {
        let _ = self.holder.set(Holder(Box::new(holds)));
    }

    /// All that there is, a line each: for comparing before and after.
    pub fn inventory(&self) -> Vec<String> {
        self.state()
            .disks
            .values()
            .map(|disk| format!("disk {disk:?}"))
            .collect()
    }

    /// Plays the guest: fills the disk with this many bytes.
    pub fn fill(&self, dir: &Path, used: u64) {
        if let Some(disk) = self.state().disks.get_mut(&key(dir)) {
            disk.used = used;
            disk.changes += 1;
        }
    }

    /// Plays the one who mounts: a mounted disk can't be detached.
    pub fn set_mounted(&self, dir: &Path, mounted: bool) {
        if let Some(disk) = self.state().disks.get_mut(&key(dir)) {
            disk.mounted = mounted;
            disk.unclean = mounted;
            disk.changes += 1;
        }
    }

    /// Notes the call, and fails if it was told to.
    fn call(&self, name: &'static str, dir: &Path) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.note(name, dir.display())?;
        Ok(state)
    }

    fn held(&self, dir: &Path) -> bool {
        let device = self.state().disks.get(&key(dir)).and_then(|d| d.device);
        device.is_some_and(|n| self.holder.get().is_some_and(|h| (h.0)(&node(n))))
    }
}

impl State {
    fn disk(&mut self, act: &'static str, dir: &Path) -> Result<&mut Disk> {
        self.disks
            .get_mut(&key(dir))
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

fn node(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

fn lend(number: u32, reused: bool) -> Attached {
    Attached {
        source: DiskSource::Device {
            path: node(number),
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

    fn sizes(&self) -> RangeInclusive<u64> {
        1..=1 << 44
    }

    fn inodes(&self, size: u64) -> RangeInclusive<u64> {
        16..=size / 512
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
        match state.disks.get(&key(dir)) {
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
                    changes: 0,
                };
                let name = match dir.is_dir() {
                    // A directory of that name may have held another disk before.
                    true => (1..)
                        .map(|n| dir.join(n.to_string()))
                        .find(|name| !state.disks.contains_key(name)),
                    false => None,
                };
                if let Some(name) = &name {
                    let image = dir.join(IMAGE);
                    std::fs::write(&image, name.as_os_str().as_encoded_bytes())
                        .map_err(|e| Error::os("make a disk at", image.display(), e))?;
                }
                state.disks.insert(name.unwrap_or_else(|| dir.to_owned()), disk);
                Ok(())
            }
        }
    }

    fn exists(&self, dir: &Path) -> Result<bool> {
        Ok(self.call("exists", dir)?.disks.contains_key(&key(dir)))
    }

    fn remove(&self, dir: &Path) -> Result<()> {
        let mut state = self.call("remove", dir)?;
        let key = key(dir);
        if state.disks.contains_key(&key) {
            state.detached("remove", dir)?;
            state.disks.remove(&key);
            let _ = std::fs::remove_file(dir.join(IMAGE)); // there is none where the directory is no real one
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
        Ok(state.disks.get(&key(dir)).and_then(|d| d.device).map(|n| lend(n, true)))
    }

    fn detach(&self, dir: &Path, _timeout: Duration) -> Result<()> {
        let held = self.held(dir);
        let mut state = self.call("detach", dir)?;
        match state.disks.get_mut(&key(dir)) {
            Some(disk) if disk.device.is_some() && (held || disk.mounted) => {
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
            disk.changes += 1;
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
        disk.changes += u64::from(disk.spec.size != size);
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
        disk.changes += u64::from(disk.spec.size != size);
        disk.spec.size = size;
        Ok(())
    }

    fn stamp(&self, dir: &Path) -> Result<String> {
        let mut state = self.call("stamp", dir)?;
        let disk = state.detached("stamp", dir)?;
        Ok(format!("fake {} {}", disk.label, disk.changes))
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

    fn size(&self, dir: &Path) -> Result<u64> {
        Ok(self.call("size", dir)?.disk("read the size of", dir)?.spec.size)
    }

    fn release(&self, device: &LoopDevice, timeout: Duration) -> Result<()> {
        self.detach(device.backing.parent().unwrap_or(&device.backing), timeout)
    }

    fn list(&self, under: &Path) -> Result<Vec<LoopDevice>> {
        let state = self.call("list", under)?;
        let real = std::fs::read_dir(under)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path());
        let dirs: BTreeSet<PathBuf> = real
            .filter(|dir| dir.join(IMAGE).exists())
            .chain(
                state
                    .disks
                    .keys()
                    .filter(|dir| dir.starts_with(under) && !dir.parent().is_some_and(Path::is_dir))
                    .cloned(),
            )
            .collect();
        let attached = |dir: PathBuf| {
            let number = state.disks.get(&key(&dir))?.device?;
            Some(LoopDevice {
                number,
                backing: dir.join(IMAGE),
                deleted: false,
            })
        };
        Ok(dirs.into_iter().filter_map(attached).collect())
    }
}
