//! What a suspended VE leaves in its directory: CRIU's images, and what they need to go on.
//!
//! ```text
//! .dump/         a dump that is being made; it is never gone on from
//! dump/          a complete one: the VE is suspended, or about to be ended or to go on
//!   manifest.toml    what it is, with the checksum of every file
//!   disk.stamp       the state of the disk that it belongs to; not there while the disk is in Hostel's own hands
//!   by-shutdown      it was the host's shutdown that suspended the VE
//! .resumed/      one whose VE has gone on; on its way out
//! ```
//!
//! No process may run both before and after a dump is taken for the VE's state: it would send and write things twice.
//! So a dump gets its name `dump`, and loses it, only while the VE is frozen and whole on the disk:
//!
//! - Suspend: `.dump` with its manifest is on the disk, and so is all that the VE has written to its own; the VE is
//!   frozen; CRIU, which would let it go when it misses us, is ended; then the name changes; then the processes are
//!   ended. If the command, CRIU or the host's power goes before the change, the VE runs on (or has ended with the host)
//!   and `.dump` is thrown away. After it, what is left of the processes stands still until somebody ends it.
//! - Resume: CRIU has restored all and holds it; the VE is frozen; its monitor stays with it; then the name changes;
//!   then CRIU lets go and the VE is thawed. Whatever goes before the change ends what was restored, and the dump is as
//!   it was. After it, the VE stands still until somebody thaws it.
//!
//! Two moments remain in which what ran is lost rather than doubled: the host's power goes between the change of a
//! resume and the thaw after it; or CRIU dies after it has let connections go and before it holds each process at the end of
//! its restorer (some ten milliseconds), for then the processes may have run a little.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hostel_model::id::VeId;
use hostel_model::limits::MemoryLimits;
use hostel_model::units::human;
use hostel_system::cgroup::Inner;
use hostel_system::criu::{LOCK, Machine, Version};
use hostel_system::file;
use hostel_system::process::Switches;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::record::{InterfaceState, VeState};
use crate::error::{Class, Error, Result};
use crate::host::Host;

/// The file that says what a dump is and where it may go on. It is renamed into place with the whole directory, so
/// where it is, the dump is complete.
pub const MANIFEST: &str = "manifest.toml";
/// The file that says which state of the disk it belongs to.
const STAMP: &str = "disk.stamp";
/// The file that says that it was the host's shutdown that suspended the VE, and so its boot lets it go on. It goes with
/// the dump, so it can't outlive what it is about.
pub const BY_SHUTDOWN: &str = "by-shutdown";
/// Files of ours among CRIU's.
const OURS: [&str; 4] = [MANIFEST, STAMP, BY_SHUTDOWN, LOCK];
/// The version that this program writes, and the only one it reads.
const VERSION: u32 = 1;

/// What a dump is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this file's form.
    pub version: u32,
    /// The CRIU that made it.
    pub criu: String,
    /// The kernel's release then.
    pub kernel: String,
    /// The processor's features then.
    pub cpu: BTreeSet<String>,
    /// The first id of the VE's range.
    pub id_base: u32,
    /// The template's tree below the disk.
    pub lower: PathBuf,
    /// Had init told that it has booted? `None`: it is not one that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booted: Option<bool>,
    /// What was open when it was started, and so is mounted in it; `None`: what its definition says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switches: Option<Switches>,
    /// The control groups that its guest had made.
    #[serde(default, rename = "group")]
    pub groups: Vec<Inner>,
    /// Its interfaces.
    #[serde(default, rename = "interface")]
    pub interfaces: Vec<InterfaceState>,
    /// The kernel settings of its network.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The SHA-256 of each file.
    pub files: BTreeMap<String, String>,
}

impl Manifest {
    /// Of a VE on this machine, for images that are to come.
    pub fn of(criu: String, machine: Machine, id_base: u32, state: &VeState) -> Self {
        Self {
            version: VERSION,
            criu,
            kernel: machine.kernel,
            cpu: machine.features,
            id_base,
            lower: state.lower.clone(),
            booted: None,
            switches: None,
            groups: Vec::new(),
            interfaces: state.interfaces.clone(),
            settings: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    /// Writes it for the images in `dir`, which are on the disk then. `go_on` is asked now and then, and gives it up by an
    /// error.
    pub fn write(mut self, dir: &Path, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        for path in images(dir)?.values() {
            let fail = |e: std::io::Error| hostel_system::Error::os("write", path.display(), e);
            File::open(path).and_then(|f| file::begin_sync(&f)).map_err(fail)?;
        }
        self.files = checksums(dir, go_on)?;
        let text = toml::to_string(&self)
            .map_err(|e| Error::new(Class::Failed, "cannot write the dump's manifest").because(e.to_string()))?;
        for name in self.files.keys() {
            go_on()?;
            let path = dir.join(name);
            let fail = |e: std::io::Error| hostel_system::Error::os("write", path.display(), e);
            File::open(&path).and_then(|f| f.sync_all()).map_err(fail)?;
        }
        Ok(file::write_atomic(&dir.join(MANIFEST), text.as_bytes(), 0o600)?)
    }

    /// Reads it.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        let text = file::read(&path)?;
        let bad = |why: String| Error::new(Class::Failed, format!("cannot understand {}", path.display())).because(why);
        let manifest: Self = toml::from_str(&text).map_err(|e| bad(e.to_string()))?;
        match manifest.version {
            VERSION => Ok(manifest),
            other => Err(bad(format!("it has version {other}, and this hostel knows {VERSION}"))),
        }
    }

    /// Why its VE can't go on here, if it can't.
    pub fn misfit(
        &self,
        dir: &Path,
        criu: Version,
        machine: &Machine,
        id_base: u32,
        state: &VeState,
    ) -> Result<Option<String>> {
        let missing: Vec<&str> = self.cpu.difference(&machine.features).map(String::as_str).collect();
        Ok(if self.kernel != machine.kernel {
            // What the kernel tells CRIU of a socket or a mapping may differ.
            Some(format!(
                "it was suspended on Linux {}, and this is {}",
                self.kernel, machine.kernel
            ))
        } else if self.criu.parse().is_ok_and(|made_by: Version| made_by > criu) {
            // Images of a later one may say what this one doesn't know.
            Some(format!(
                "CRIU {} has saved it, and CRIU {criu} is here, which is older",
                self.criu
            ))
        } else if !missing.is_empty() {
            Some(format!("this processor lacks {}", missing.join(", ")))
        } else if self.id_base != id_base {
            Some(format!("its ids began at {} and begin at {id_base} now", self.id_base))
        } else if self.lower != state.lower || self.interfaces != state.interfaces {
            Some("its template or its addresses have been changed since".to_owned())
        } else if checksums(dir, &|| Ok(()))? != self.files {
            Some("its dump has been damaged or changed".to_owned())
        } else {
            None
        })
    }
}

/// The files of CRIU's in a dump, by their names.
fn images(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let fail = |e: std::io::Error| hostel_system::Error::os("read", dir.display(), e);
    let mut images = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.file_type().map_err(fail)?.is_dir() {
            continue; // what a CRIU that was killed had mounted on; see remove_strays
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        // Logs are written by every attempt.
        if name.ends_with(".log") || name.starts_with("stats-") || OURS.contains(&name.as_str()) {
            continue;
        }
        images.insert(name, entry.path());
    }
    Ok(images)
}

/// Name and SHA-256 of every file of CRIU's in a dump.
fn checksums(dir: &Path, go_on: &dyn Fn() -> Result<()>) -> Result<BTreeMap<String, String>> {
    let mut buffer = vec![0u8; 1 << 20];
    let sum = |(name, path): (String, PathBuf)| {
        let fail = |e: std::io::Error| hostel_system::Error::os("read", path.display(), e);
        let (mut file, mut hash) = (File::open(&path).map_err(fail)?, Sha256::new());
        loop {
            go_on()?;
            match file.read(&mut buffer).map_err(fail)? {
                0 => break,
                n => hash.update(&buffer[..n]),
            }
        }
        let sum = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        Ok((name, sum))
    };
    images(dir)?.into_iter().map(sum).collect()
}

impl Host {
    /// Is there a complete dump?
    pub fn is_suspended(&self, id: VeId) -> bool {
        self.dirs.dump(id).join(MANIFEST).exists()
    }

    /// Notes the state that the disk of a suspended VE is in.
    pub fn stamp_dump(&self, id: VeId) -> Result<()> {
        let stamp = self.disk_stamp(id)?;
        Ok(file::write_atomic(
            &self.dirs.dump(id).join(STAMP),
            stamp.as_bytes(),
            0o600,
        )?)
    }

    fn disk_stamp(&self, id: VeId) -> Result<String> {
        let dir = self.dirs.ve(id);
        Ok(self.disks.at(&dir).stamp(&dir)?)
    }

    /// From here on it is Hostel that changes the disk, by mounting it: what state it is in is noted anew afterwards.
    pub fn unstamp_dump(&self, id: VeId) -> Result<()> {
        file::remove_file(&self.dirs.dump(id).join(STAMP))?;
        Ok(file::sync_dir(&self.dirs.dump(id))?)
    }

    /// Is the disk as it was when the VE was suspended?
    pub fn disk_is_as_dumped(&self, id: VeId) -> Result<bool> {
        match file::read_opt(&self.dirs.dump(id).join(STAMP))? {
            Some(stamp) => Ok(stamp == self.disk_stamp(id)?),
            None => Ok(true),
        }
    }

    /// What to do if the limits of a suspended VE have been lowered below what it held: the kernel would end what is
    /// brought back.
    pub fn lacks_memory(&self, ve: &VeState, limits: &MemoryLimits) -> Option<String> {
        let most = limits.limit?.get().saturating_add(limits.swap?.get());
        let images = images(&self.dirs.dump(ve.id)).ok()?;
        let pages = images.iter().filter(|(name, _)| name.starts_with("pages-"));
        let held = pages
            .filter_map(|(_, path)| path.metadata().ok())
            .map(|m| m.len())
            .sum();
        (held > most).then(|| {
            format!(
                "it held {} of memory and may have {} now: give it more, then resume it: hostel set {} memory.limit=SIZE",
                human(held),
                human(most),
                ve.name
            )
        })
    }

    /// Removes what a restore that was killed has left in the dump: empty directories that it had mounted on.
    pub fn remove_strays(&self, id: VeId) -> Result<()> {
        let dir = self.dirs.dump(id);
        let fail = |e: std::io::Error| hostel_system::Error::os("tidy up", dir.display(), e);
        for entry in std::fs::read_dir(&dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_type().map_err(fail)?.is_dir() {
                std::fs::remove_dir(entry.path()).map_err(fail)?;
            }
        }
        Ok(())
    }

    /// Removes dumps that are of no use any more: one that was not finished, and those of a VE that has gone on.
    pub fn remove_stale_dumps(&self, id: VeId, runs: bool) -> Result<()> {
        for stale in [self.dirs.dump_staging(id), self.dirs.dump_resumed(id)] {
            if stale.exists() {
                file::remove_tree(&stale)?;
            }
        }
        if self.is_suspended(id) {
            if runs {
                return self.give_up_dump(id);
            }
            if !self.dirs.dump(id).join(STAMP).exists() {
                self.stamp_dump(id)?;
            }
        }
        Ok(())
    }

    /// The VE has gone on, or begins anew: its dump must never be used again.
    pub fn give_up_dump(&self, id: VeId) -> Result<()> {
        let (dump, away) = (self.dirs.dump(id), self.dirs.dump_resumed(id));
        if dump.exists() {
            file::remove_tree(&away)?;
            file::rename(&dump, &away)?;
        }
        Ok(file::remove_tree(&away)?)
    }
}
