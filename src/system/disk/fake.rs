//! Disks in memory, for tests of what stands on them: they keep state as real ones do, and fail where told.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hostel_model::definition::DriverName;
use tempfile::TempDir;

use super::{
    Attached, Content, DiskSource, DiskSpec, Disks, FsckOutcome, Leftover, LeftoverKind, LoopDevice, MountOptions,
    Root, Usage,
};
use crate::cgroup::BlockDevice;
use crate::fake::{Calls, steered};
use crate::{Error, Kind, Result};

/// Disks that exist only here. Where the directory of one does exist, a file in it stands for the disk, so that it
/// goes where the directory is renamed to.
#[derive(Debug)]
pub struct FakeDisks {
    name: DriverName,
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
    /// Why the host can't have such disks.
    lacks: Option<String>,
    /// What was left behind, by number.
    leftovers: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
struct Disk {
    spec: DiskSpec,
    label: String,
    device: Option<u32>,
    mounted: bool,
    used: u64,
    unclean: bool,
    /// How often its content has changed.
    changes: u64,
    /// What is on it.
    files: Option<Arc<TempDir>>,
}

steered!(FakeDisks);

impl Default for FakeDisks {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeDisks {
    /// None yet, of the image driver.
    pub fn new() -> Self {
        Self::called(DriverName::Image)
    }

    /// None yet, of this driver.
    pub fn called(name: DriverName) -> Self {
        Self {
            name,
            state: Mutex::default(),
            holder: OnceLock::new(),
        }
    }

    /// The file that stands for a disk; it says which.
    fn file(&self, dir: &Path) -> PathBuf {
        dir.join(match self.name {
            DriverName::Image => "disk.img",
            DriverName::Project => "disk.project",
            DriverName::Btrfs => "disk.btrfs",
        })
    }

    /// Under which key the disk in a directory is kept.
    fn key(&self, dir: &Path) -> PathBuf {
        std::fs::read_to_string(self.file(dir)).map_or_else(|_| dir.to_owned(), PathBuf::from)
    }

    /// Plays a host that can't have such disks, and says why; or that can.
    pub fn lack(&self, why: Option<&str>) {
        self.state().lacks = why.map(str::to_owned);
    }

    /// Plays other hands that removed a disk and left this.
    pub fn leave(&self, number: u64) {
        self.state().leftovers.insert(number);
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
            .map(|disk| {
                let (spec, label, device, used) = (disk.spec, &disk.label, disk.device, disk.used);
                let (mounted, unclean) = (disk.mounted, disk.unclean);
                let files = disk.files.as_ref().map(|f| names(f.path())).unwrap_or_default();
                format!("disk {spec:?} {label} {device:?} {used} {mounted} {unclean} {files:?}")
            })
            .collect()
    }

    /// Plays the guest: fills the disk with this many bytes.
    pub fn fill(&self, dir: &Path, used: u64) {
        if let Some(disk) = self.state().disks.get_mut(&self.key(dir)) {
            disk.used = used;
            disk.changes += 1;
        }
    }

    /// Plays the one who mounts: a mounted disk can't be detached.
    pub fn set_mounted(&self, dir: &Path, mounted: bool) {
        if let Some(disk) = self.state().disks.get_mut(&self.key(dir)) {
            disk.mounted = mounted;
            disk.unclean = mounted;
            disk.changes += 1;
        }
    }

    /// The directory that stands for what is on a disk, for a test to put something there.
    pub fn files(&self, dir: &Path) -> PathBuf {
        let _ = self.content(dir);
        let state = self.state();
        let disk = state.disks.get(&self.key(dir));
        disk.and_then(|d| d.files.as_ref())
            .map(|f| f.path().to_owned())
            .unwrap_or_default()
    }

    /// Notes the call, and fails if it was told to.
    fn call(&self, name: &'static str, dir: &Path) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.note(name, dir.display())?;
        Ok(state)
    }

    fn held(&self, dir: &Path) -> bool {
        let device = self.state().disks.get(&self.key(dir)).and_then(|d| d.device);
        device.is_some_and(|n| self.holder.get().is_some_and(|h| (h.0)(&node(n))))
    }
}

impl State {
    fn disk(&mut self, act: &'static str, dir: &Path, key: &Path) -> Result<&mut Disk> {
        self.disks
            .get_mut(key)
            .ok_or_else(|| Error::os(act, dir.display(), std::io::Error::from_raw_os_error(libc::ENOENT)))
    }

    fn detached(&mut self, act: &'static str, dir: &Path, key: &Path) -> Result<&mut Disk> {
        match self.disk(act, dir, key)? {
            Disk { device: Some(n), .. } => {
                Err(Error::new(act, dir.display(), format!("it is attached as loop{n}")).kind(Kind::Busy))
            }
            disk => Ok(disk),
        }
    }
}

/// The names of all that is below a directory.
fn names(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()) {
        if path.is_dir() && !path.is_symlink() {
            found.extend(names(&path));
        }
        found.push(path.file_name().unwrap_or_default().into());
    }
    found.sort();
    found
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
    fn name(&self) -> DriverName {
        self.name
    }

    fn prepare(&self, dir: &Path) -> Result<Vec<String>> {
        self.call("prepare", dir).map(|_| Vec::new())
    }

    fn sizes(&self) -> RangeInclusive<u64> {
        1..=1 << 44
    }

    fn inodes(&self, size: u64) -> Option<RangeInclusive<u64>> {
        (self.name != DriverName::Btrfs).then_some(16..=size / 512)
    }

    fn probe(&self, _dir: &Path) -> std::result::Result<(), String> {
        self.state().lacks.clone().map_or(Ok(()), Err)
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
        match state.disks.get(&self.key(dir)) {
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
                    files: None,
                };
                let name = match dir.is_dir() {
                    // A directory of that name may have held another disk before.
                    true => (1..)
                        .map(|n| dir.join(n.to_string()))
                        .find(|name| !state.disks.contains_key(name)),
                    false => None,
                };
                if let Some(name) = &name {
                    let image = self.file(dir);
                    std::fs::write(&image, name.as_os_str().as_encoded_bytes())
                        .map_err(|e| Error::os("make a disk at", image.display(), e))?;
                }
                state.disks.insert(name.unwrap_or_else(|| dir.to_owned()), disk);
                Ok(())
            }
        }
    }

    fn exists(&self, dir: &Path) -> Result<bool> {
        Ok(self.call("exists", dir)?.disks.contains_key(&self.key(dir)))
    }

    fn remove(&self, dir: &Path) -> Result<()> {
        let mut state = self.call("remove", dir)?;
        let key = self.key(dir);
        if state.disks.contains_key(&key) {
            state.detached("remove", dir, &key)?;
            state.disks.remove(&key);
            let _ = std::fs::remove_file(self.file(dir)); // there is none where the directory is no real one
        }
        Ok(())
    }

    fn attach(&self, dir: &Path) -> Result<Attached> {
        let mut state = self.call("attach", dir)?;
        let free = (0..)
            .find(|n| state.disks.values().all(|d| d.device != Some(*n)))
            .unwrap_or(u32::MAX);
        let disk = state.disk("attach", dir, &self.key(dir))?;
        let reused = disk.device.is_some();
        Ok(lend(*disk.device.get_or_insert(free), reused))
    }

    fn attached(&self, dir: &Path) -> Result<Option<Attached>> {
        let state = self.call("attached", dir)?;
        Ok(state
            .disks
            .get(&self.key(dir))
            .and_then(|d| d.device)
            .map(|n| lend(n, true)))
    }

    fn detach(&self, dir: &Path, _timeout: Duration) -> Result<()> {
        let held = self.held(dir);
        let mut state = self.call("detach", dir)?;
        match state.disks.get_mut(&self.key(dir)) {
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
        let disk = state.detached("check", dir, &self.key(dir))?;
        Ok(if std::mem::take(&mut disk.unclean) {
            disk.changes += 1;
            FsckOutcome::Corrected("recovering journal".into())
        } else {
            FsckOutcome::Clean
        })
    }

    fn grow(&self, dir: &Path, size: u64) -> Result<()> {
        let mut state = self.call("grow", dir)?;
        let disk = state.disk("grow", dir, &self.key(dir))?;
        if size < disk.spec.size {
            return Err(Error::new("grow", dir.display(), "that would be less").kind(Kind::Invalid));
        }
        disk.changes += u64::from(disk.spec.size != size);
        disk.spec.size = size;
        Ok(())
    }

    fn shrink(&self, dir: &Path, size: u64) -> Result<()> {
        let mut state = self.call("shrink", dir)?;
        let disk = state.detached("shrink", dir, &self.key(dir))?;
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
        let disk = state.detached("stamp", dir, &self.key(dir))?;
        Ok(format!("fake {} {}", disk.label, disk.changes))
    }

    fn glance(&self, dir: &Path, _: Option<&Root>) -> Option<u64> {
        self.usage(dir).ok()?.used
    }

    fn look(&self, dir: &Path, _: Option<&Root>) -> Usage {
        self.usage(dir).unwrap_or_default()
    }

    fn usage(&self, dir: &Path) -> Result<Usage> {
        let mut state = self.call("usage", dir)?;
        let disk = state.disk("read the usage of", dir, &self.key(dir))?;
        let inodes = disk.spec.inodes.or(Some(disk.spec.size / 16384));
        Ok(Usage {
            host_bytes: Some(disk.used),
            size: Some(disk.spec.size),
            used: Some(disk.used),
            free: Some(disk.spec.size.saturating_sub(disk.used)),
            inodes,
            inodes_used: Some(11),
        })
    }

    fn compact(&self, dir: &Path) -> Result<u64> {
        self.call("compact", dir)?.disk("compact", dir, &self.key(dir))?;
        Ok(0)
    }

    fn size(&self, dir: &Path) -> Result<u64> {
        Ok(self
            .call("size", dir)?
            .disk("read the size of", dir, &self.key(dir))?
            .spec
            .size)
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
            .filter(|dir| self.file(dir).exists())
            .chain(
                state
                    .disks
                    .keys()
                    .filter(|dir| dir.starts_with(under) && !dir.parent().is_some_and(Path::is_dir))
                    .cloned(),
            )
            .collect();
        let attached = |dir: PathBuf| {
            let number = state.disks.get(&self.key(&dir))?.device?;
            Some(LoopDevice {
                number,
                backing: self.file(&dir),
                deleted: false,
            })
        };
        Ok(dirs.into_iter().filter_map(attached).collect())
    }

    fn devices(&self, dir: &Path) -> Result<Vec<BlockDevice>> {
        let attached = self.attached(dir)?.map(|a| a.source);
        Ok(attached.iter().filter_map(DiskSource::device).collect())
    }

    fn content(&self, dir: &Path) -> Result<Content> {
        let mut state = self.call("open", dir)?;
        let disk = state.detached("open", dir, &self.key(dir))?;
        let fail = |e: std::io::Error| Error::os("open", dir.display(), e);
        let files = match &disk.files {
            Some(files) => Arc::clone(files),
            None => Arc::new(tempfile::tempdir().map_err(fail)?),
        };
        disk.files = Some(Arc::clone(&files));
        let root = std::fs::File::open(files.path()).map_err(fail)?;
        Ok(Content::new(root.into(), files))
    }

    fn adopt(&self, from: &Path, to: &Path) -> Result<()> {
        drop(self.call("adopt", to)?);
        super::adopt(&self.file(from), &self.file(to))
    }

    fn leftovers(&self, under: &Path, keys: Range<u32>) -> Result<Vec<Leftover>> {
        let state = self.call("leftovers", under)?;
        let its = |n: &&u64| (u64::from(keys.start)..u64::from(keys.end)).contains(*n);
        let leftover = |number: &u64| Leftover {
            kind: LeftoverKind::ProjectQuota,
            number: *number,
        };
        Ok(state.leftovers.iter().filter(its).map(leftover).collect())
    }

    fn clear(&self, under: &Path, leftover: &Leftover) -> Result<()> {
        self.call("clear", under)?.leftovers.remove(&leftover.number);
        Ok(())
    }
}
