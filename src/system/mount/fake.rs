//! Mounted roots that exist only in a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hostel_monitor::bind::Bind;
use hostel_monitor::spec::Disk;

use super::RootMounts;
use crate::fake::{Calls, steered};
use crate::{Error, Kind, Result};

/// A [`RootMounts`] that remembers what is mounted, and fails when told to.
#[derive(Debug, Default)]
pub struct FakeMounts {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is mounted where.
    mounts: BTreeMap<PathBuf, Mount>,
    calls: Calls,
}

#[derive(Debug)]
struct Mount {
    device: Option<PathBuf>,
    busy: bool,
}

steered!(FakeMounts);

impl FakeMounts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that there is, a line each.
    pub fn inventory(&self) -> Vec<String> {
        self.state()
            .mounts
            .keys()
            .map(|point| format!("mount {}", point.display()))
            .collect()
    }

    /// Plays a program that works in a mounted root.
    pub fn set_busy(&self, point: &Path, busy: bool) {
        if let Some(mount) = self.state().mounts.get_mut(point) {
            mount.busy = busy;
        }
    }

    /// Is this device mounted?
    pub fn holds(&self, node: &Path) -> bool {
        self.state().mounts.values().any(|m| m.device.as_deref() == Some(node))
    }
}

impl State {
    fn detach(&mut self, point: &Path) -> Result<()> {
        self.calls.note("detach", point.display())?;
        if self.mounts.get(point).is_some_and(|m| m.busy) {
            return Err(Error::new("unmount", point.display(), "a program works in it").kind(Kind::Busy));
        }
        self.mounts.remove(point);
        Ok(())
    }
}

impl RootMounts for FakeMounts {
    fn mount(&self, lower: &Path, disk: &Disk, disk_point: &Path, root: &Path) -> Result<()> {
        let mut state = self.state();
        state.calls.note("mount", root.display())?;
        if !lower.is_dir() {
            return Err(Error::new("mount the VE's root at", root.display(), "no lower tree").kind(Kind::NotFound));
        }
        let device = match disk {
            Disk::Device { node, .. } => Some(node.clone()),
            Disk::Directory(_) => None,
        };
        state
            .mounts
            .entry(disk_point.to_owned())
            .or_insert(Mount { device, busy: false });
        state.mounts.entry(root.to_owned()).or_insert(Mount {
            device: None,
            busy: false,
        });
        Ok(())
    }

    fn umount(&self, disk_point: &Path, root: &Path) -> Result<()> {
        let mut state = self.state();
        // Each of the two may fail by itself.
        state.detach(root)?;
        state.detach(disk_point)
    }

    fn is_mounted(&self, path: &Path) -> bool {
        self.state().mounts.contains_key(path)
    }

    fn below(&self, dir: &Path) -> Result<Vec<PathBuf>> {
        let mut state = self.state();
        state.calls.note("below", dir.display())?;
        Ok(state
            .mounts
            .keys()
            .rev()
            .filter(|point| point.starts_with(dir))
            .cloned()
            .collect())
    }

    fn seen_by(&self, process: u32, _: &[PathBuf]) -> Result<Vec<PathBuf>> {
        self.state().calls.note("seen by", process)?;
        Ok(Vec::new())
    }

    fn detach(&self, point: &Path) -> Result<()> {
        self.state().detach(point)
    }

    fn stage(&self, point: &Path) -> Result<()> {
        let mut state = self.state();
        state.calls.note("stage", point.display())?;
        state.mounts.entry(point.to_owned()).or_insert(Mount {
            device: None,
            busy: false,
        });
        Ok(())
    }

    fn staged(&self, point: &Path) -> Result<Vec<Bind>> {
        self.state().calls.note("staged", point.display())?;
        Ok(Vec::new())
    }

    fn unstage(&self, point: &Path) -> Result<()> {
        let mut state = self.state();
        state.calls.note("unstage", point.display())?;
        state.mounts.remove(point);
        Ok(())
    }
}
