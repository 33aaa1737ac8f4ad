//! What Hostel itself remembers of a VE: facts that were allocated, and which processes are its.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hostel_model::definition::{Allowances, DriverName};
use hostel_model::distribution::{Family, InitKind};
use hostel_model::forward::PortForward;
use hostel_model::id::{NetworkName, TenantName, VeId, VeName};
use hostel_model::mac::Mac;
use hostel_system::file;
use hostel_system::process::{Init, LEFT_INSIDE, ROOT_DEVICE, Switches};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};
use crate::journal::checksum;

/// The record's file in a VE's directory.
pub const STATE: &str = "state.toml";
/// The same once more, for when that file is damaged: what was given to a VE must not be given to another.
pub const COPY: &str = ".state.toml.copy";
/// The version of a record that every Hostel understands, and the newest: of one with an interface whose number doesn't
/// stand in its hardware address, which earlier ones would take for another. Each is written where it is needed.
const VERSION: u32 = 1;
const NEWEST: u32 = 2;

/// `state.toml` in the VE's directory: what was allocated for it, for life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VeState {
    /// The version of this file's form.
    pub version: u32,
    /// The VE.
    pub id: VeId,
    /// Its name.
    pub name: VeName,
    /// Whose it is, for when its definition can't be read; `None` in a record of a time when this wasn't kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// Its range of ids: the slot's number.
    pub slot: u32,
    /// The template it was made from, with its version: `debian-12/20261122T190000Z`.
    pub template: String,
    /// That template's tree, as this VE shares it.
    pub lower: PathBuf,
    /// The distribution family of the template.
    pub family: Family,
    /// What kind of init it has.
    pub init: InitKind,
    /// What its disk is made of.
    pub driver: DriverName,
    /// The size of its disk in bytes as last made or changed.
    pub disk_size: u64,
    /// Drawn at random once: what its machine id is made from.
    pub seed: String,
    /// Has its identity been written for the first time?
    #[serde(default)]
    pub settled_in: bool,
    /// The password hash that was set last, so that it is set once and not at every start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Paths of what its first start was to make or remove in it, and could not yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub overdue: BTreeSet<String>,
    /// Settings that were changed and wait for its next start; also those that have been put back since.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub waiting: BTreeSet<String>,
    /// Its interfaces, in the order of its definition.
    #[serde(default, rename = "interface")]
    pub interfaces: Vec<InterfaceState>,
    /// What its interfaces were, while a start that gives it others is under way: still the VE's, should that fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Vec<InterfaceState>>,
    /// Why this was read from the copy, if it was.
    #[serde(skip)]
    pub damaged: Option<String>,
}

/// What was allocated for one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceState {
    /// On which network.
    pub network: NetworkName,
    /// Its MAC address inside. If it was made of the VE's id, the number in it is the interface's for as long as it is there:
    /// others may go.
    pub mac: Mac,
    /// That number, if its definition names another address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u8>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Ports of the host that lead to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<PortForward>,
    /// Prefixes that are routed to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<IpNetwork>,
    /// It is on a bridge, and may do this there. (A table, and so the last.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridged: Option<Allowances>,
}

impl InterfaceState {
    /// Its number: 0 for what is eth0 inside.
    pub fn number(&self) -> usize {
        self.index().into()
    }

    /// The same as a byte.
    pub fn index(&self) -> u8 {
        self.index.unwrap_or(self.mac.index())
    }

    /// What it is called inside.
    pub fn guest_name(&self) -> String {
        format!("eth{}", self.number())
    }
}

impl VeState {
    /// The numbers of all its interfaces, also of those that it may have yet from before.
    pub fn numbers(&self) -> Vec<usize> {
        let all = self.interfaces.iter().chain(self.former.iter().flatten());
        let numbers: BTreeSet<usize> = all.map(InterfaceState::number).collect();
        numbers.into_iter().collect()
    }

    /// All addresses that nobody else may have.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let former = self.former.iter().flatten();
        self.interfaces
            .iter()
            .chain(former)
            .flat_map(|i| i.addresses.iter().copied())
    }

    /// All hardware addresses that nobody else may have.
    pub fn macs(&self) -> impl Iterator<Item = Mac> {
        let former = self.former.iter().flatten();
        self.interfaces.iter().chain(former).map(|i| i.mac)
    }

    /// All prefixes that overlap nobody else's.
    pub fn routes(&self) -> impl Iterator<Item = IpNetwork> {
        let former = self.former.iter().flatten();
        self.interfaces
            .iter()
            .chain(former)
            .flat_map(|i| i.routes.iter().copied())
    }

    /// A new one.
    pub fn version() -> u32 {
        VERSION
    }

    /// Reads the state in a VE's directory, from its copy if need be. `None`: there is none.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let read = Self::read_file(&dir.join(STATE));
        if let Ok(Some(_)) = read {
            return read;
        }
        let damage = |e: &Error| e.source().map_or_else(|| e.to_string(), ToString::to_string);
        match Self::read_file(&dir.join(COPY)) {
            Ok(Some(copy)) => {
                let why = read
                    .as_ref()
                    .err()
                    .map_or_else(|| format!("there is no {STATE}"), damage);
                Ok(Some(Self {
                    damaged: Some(why),
                    ..copy
                }))
            }
            _ => read,
        }
    }

    fn read_file(path: &Path) -> Result<Option<Self>> {
        let Some(text) = file::read_opt(path)? else {
            return Ok(None);
        };
        let bad = |reason: String| {
            Error::new(Class::Failed, format!("cannot understand {}", path.display()))
                .because(reason)
                .hint("it is Hostel's own; restore it from a backup, or destroy the VE with --force")
        };
        if let Some((sum, below)) = split_checksum(&text)
            && sum != checksum(below.as_bytes())
        {
            return Err(bad("its checksum is wrong: it was damaged, or changed by hand".into()));
        }
        let state: Self = toml::from_str(&text).map_err(|e| bad(e.to_string()))?;
        if state.version > NEWEST {
            return Err(bad(format!(
                "its version {} is newer than this hostel's {NEWEST}",
                state.version
            )));
        }
        Ok(Some(state))
    }

    /// Writes it, whole or not at all, and its copy.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let all = || self.interfaces.iter().chain(self.former.iter().flatten());
        let version = if all().any(|i| i.index.is_some()) {
            NEWEST
        } else {
            VERSION
        };
        let text = toml::to_string(&Self {
            version,
            ..self.clone()
        })
        .map_err(|e| Error::new(Class::Failed, "cannot write state.toml").because(e.to_string()))?;
        let whole = format!("{HEAD}{CHECKSUM}{}\n{text}", checksum(text.as_bytes()));
        let written = file::write_atomic(&dir.join(STATE), whole.as_bytes(), 0o600);
        // A write that failed may have come as far as the new text. The copy follows what is there.
        let there = std::fs::read(dir.join(STATE)).unwrap_or_default();
        // Not waited for: it is only for the day when the first can't be read.
        if !there.is_empty() && file::replace(&dir.join(COPY), &there).is_err() {
            // An outdated one would be worse than none.
            file::remove_file(&dir.join(COPY))?;
        }
        Ok(written?)
    }
}

const HEAD: &str = "# Hostel's own record of what was allocated for this VE; its definition is what people edit.\n\
    # Whoever must change it all the same removes the next line.\n";
/// A flipped bit in a number would give the VE another's files; so it is told from what was written.
const CHECKSUM: &str = "# checksum of what follows: ";

/// The checksum and what it is of. `None`: somebody has removed it.
fn split_checksum(text: &str) -> Option<(&str, &str)> {
    text.split_once(CHECKSUM)?.1.split_once('\n')
}

/// `run.json` in the runtime directory: which process is the VE's init. It lies on a tmpfs and is believed only as
/// far as the process itself agrees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The init.
    pub init: Init,
    /// The boot of the host that this was in.
    pub boot_id: String,
    /// When, in seconds since 1970: a label for people. What is decided is decided by init's own start time.
    pub started: i64,
    /// What was open when it was started; `None` in a record that was lost and made anew.
    #[serde(default)]
    pub switches: Option<Switches>,
    /// What its start was to write into it; `None` if it was not started but went on, or the record was lost.
    #[serde(default)]
    pub told: Option<Told>,
}

/// What a start was to write into a VE, of what its definition may say otherwise by the time that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Root's password hash by its definition.
    pub password: Option<String>,
}

impl RunRecord {
    /// Reads it; `None` if there is none or it makes no sense (reality is looked at then).
    pub fn read(run_dir: &Path) -> Option<Self> {
        serde_json::from_str(&file::read_small(&run_dir.join("run.json")).ok()?).ok()
    }

    /// Writes it. Nothing is synced: it means nothing after a reboot.
    pub fn write(&self, run_dir: &Path) -> Result<()> {
        let fail =
            |e: String| Error::new(Class::Failed, format!("cannot write {}/run.json", run_dir.display())).because(e);
        let text = serde_json::to_string(self).map_err(|e| fail(e.to_string()))?;
        let temporary = run_dir.join(".run.json");
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, run_dir.join("run.json")))
            .map_err(|e| fail(e.to_string()))
    }

    /// Forgets it, and what that start has left.
    pub fn remove(run_dir: &Path) -> Result<()> {
        for of_start in [LEFT_INSIDE, ROOT_DEVICE] {
            file::remove_file(&run_dir.join(of_start))?;
        }
        Ok(file::remove_file(&run_dir.join("run.json"))?)
    }
}
