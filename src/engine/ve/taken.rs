//! What is in use, so that nothing is given twice.
//!
//! The records of all VEs say it. To read a thousand of them takes longer than all else of a creation, so what they say
//! is kept at hand in one file of the runtime directory, with the stamp of the record that said it. The records stay the
//! truth: each is looked at, and one whose stamp differs is read. Without that file, or with a useless one, all are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use hostel_model::aside::Aside;
use hostel_model::forward::PortForward;
use hostel_model::id::{VeId, VeName};
use hostel_model::mac::Mac;
use hostel_system::file;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::record::{COPY, STATE, VeState};
use crate::error::{Class, Error, Result};
use crate::host::Host;

/// How many records may be read anew each time before what they say is worth writing down.
const WORTH: usize = 16;
/// A record that was written this shortly (in nanoseconds) before it was read is read again: the kernel's clock for
/// files ticks slowly, and another one could have its stamp.
const SETTLED: i128 = 1_000_000_000;

/// What is in use.
#[derive(Debug, Default)]
pub struct Taken {
    /// VEs' ids.
    pub ids: BTreeSet<VeId>,
    /// VEs' names.
    pub names: BTreeSet<VeName>,
    /// Slots of the id range.
    pub slots: BTreeSet<u32>,
    /// Addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Hardware addresses, and whose each is.
    pub macs: BTreeMap<Mac, VeName>,
    /// Ports of the host that lead to VEs.
    pub forwards: Vec<(VeName, PortForward)>,
    /// Prefixes that are routed to VEs, and to which.
    pub routes: Vec<(IpNetwork, VeName)>,
    /// Addresses that were in use a short while ago.
    pub aside: Aside,
    /// Addresses that others on a LAN answer for, or that the host has: "auto" passes them over.
    pub heard: BTreeSet<IpAddr>,
    /// When that was looked up, in seconds since 1970.
    pub now: i64,
}

/// What tells a record from its successor, which is another file with that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp(u64, i64, i64, u64);

impl Stamp {
    fn of(dir: &Path) -> Option<Self> {
        let m = std::fs::metadata(dir.join(STATE)).ok()?;
        Some(Self(m.ino(), m.ctime(), m.ctime_nsec(), m.size()))
    }

    fn is_older_than(self, now: i128) -> bool {
        now - (i128::from(self.1) * 1_000_000_000 + i128::from(self.2)) > SETTLED
    }
}

/// What one record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// `None`: it was read from its copy, and is no record to rely on.
    stamp: Option<Stamp>,
    id: VeId,
    name: VeName,
    slot: u32,
    addresses: Vec<IpAddr>,
    /// Not known to an earlier Hostel, whose index is of no use.
    macs: Vec<Mac>,
    #[serde(default)]
    forwards: Vec<PortForward>,
    #[serde(default)]
    routes: Vec<IpNetwork>,
}

/// By the name of the VE's directory.
type Index = BTreeMap<String, Entry>;

impl Host {
    /// The ids, id ranges and addresses that are in use or being taken, other than those of `except`.
    pub fn taken(&self, except: Option<VeId>) -> Result<Taken> {
        let ves = self.dirs.ves();
        let dirs = std::fs::read_dir(&ves)
            .map_err(|e| Error::new(Class::Failed, format!("cannot read {}", ves.display())).because(e))?;
        let (mut known, mut index, mut read) = (self.index(), Index::new(), 0);
        let now = UNIX_EPOCH.elapsed().map_or(0, |t| t.as_nanos().cast_signed());
        let mut taken = Taken {
            aside: self.aside()?,
            now: (self.clock)(),
            ..Taken::default()
        };
        // Also those that are just being made or removed: theirs is not free yet.
        for entry in dirs.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Before it is read: should it be replaced now, the stamp is wrong, and not what is kept with it.
            let stamp = Stamp::of(&entry.path());
            let entry = match known.remove(&name).filter(|e| e.stamp.is_some() && e.stamp == stamp) {
                Some(entry) => Some(entry),
                None => {
                    read += 1;
                    self.look(&entry.path(), &name, &mut taken)
                        .map(|state| Entry::new(state, stamp))
                }
            };
            let Some(entry) = entry else { continue };
            if Some(entry.id) != except {
                taken.add(&entry);
            }
            if entry.stamp.is_some_and(|s| s.is_older_than(now)) {
                index.insert(name, entry);
            }
        }
        if read.max(known.len()) > WORTH {
            self.keep_index(&index);
        }
        Ok(taken)
    }

    /// The record in a VE's directory. Where there is none that is whole, what a damaged one still tells is taken.
    fn look(&self, dir: &Path, name: &str, taken: &mut Taken) -> Option<VeState> {
        if let Ok(Some(state)) = VeState::read(dir) {
            return Some(state);
        }
        let id = name.parse::<VeId>().ok();
        taken.ids.extend(id);
        taken.names.extend(id.and_then(|id| self.outline(id)).map(|o| o.name));
        taken.add_damaged(dir);
        None
    }

    fn index(&self) -> Index {
        let text = file::read_opt(&self.dirs.index()).ok().flatten().unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// If it can't be written, the next one reads all records again.
    fn keep_index(&self, index: &Index) {
        if let Ok(text) = serde_json::to_vec(index) {
            let _ = file::replace(&self.dirs.index(), &text);
        }
    }
}

impl Entry {
    fn new(state: VeState, stamp: Option<Stamp>) -> Self {
        Self {
            stamp: stamp.filter(|_| state.damaged.is_none()),
            addresses: state.addresses().collect(),
            macs: state.macs().collect(),
            forwards: state.forwards().collect(),
            routes: state.routes().collect(),
            id: state.id,
            name: state.name,
            slot: state.slot,
        }
    }
}

impl Taken {
    fn add(&mut self, entry: &Entry) {
        self.ids.insert(entry.id);
        self.names.insert(entry.name.clone());
        self.slots.insert(entry.slot);
        self.addresses.extend(&entry.addresses);
        self.macs
            .extend(entry.macs.iter().map(|mac| (*mac, entry.name.clone())));
        let forwards = entry.forwards.iter().map(|f| (entry.name.clone(), *f));
        self.forwards.extend(forwards);
        self.routes
            .extend(entry.routes.iter().map(|p| (*p, entry.name.clone())));
    }

    fn add_damaged(&mut self, dir: &Path) {
        let text = [STATE, COPY]
            .map(|file| std::fs::read(dir.join(file)).unwrap_or_default())
            .concat();
        for line in String::from_utf8_lossy(&text).lines() {
            let value = |key: &str| line.strip_prefix(key)?.trim_start().strip_prefix('=').map(str::trim);
            self.slots.extend(value("slot").and_then(|v| v.parse::<u32>().ok()));
            let quoted = value("addresses").unwrap_or_default().split('"');
            self.addresses
                .extend(quoted.filter_map(|part| part.parse::<IpAddr>().ok()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::{host, id, with_ve};

    fn slots(host: &Host) -> Vec<u32> {
        host.taken(None).unwrap().slots.into_iter().collect()
    }

    /// Records enough to be worth an index, and old enough to be relied on.
    fn full() -> std::sync::Arc<Host> {
        let host = host().make();
        with_ve(&host, &[]);
        let state = host.state(id(101)).unwrap();
        for n in 102..130 {
            let other = VeState {
                id: id(n),
                name: format!("web{n}").parse().unwrap(),
                slot: n,
                ..state.clone()
            };
            std::fs::create_dir(host.dirs.ve(id(n))).unwrap();
            other.write(&host.dirs.ve(id(n))).unwrap();
        }
        let expected: Vec<u32> = std::iter::once(0).chain(102..130).collect();
        assert_eq!(slots(&host), expected);
        // Where files are written slowly, some were old enough by then: those that are left aren't worth an index.
        while host.index().len() < 29 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let _ = std::fs::remove_file(host.dirs.index());
            assert_eq!(slots(&host), expected);
        }
        host
    }

    #[test]
    fn what_is_kept_at_hand_is_believed_only_with_its_record() {
        let host = full();
        let slot_of = |n: u32, slot: u32| {
            let mut state = host.state(id(n)).unwrap();
            state.slot = slot;
            state.write(&host.dirs.ve(id(n))).unwrap();
        };
        // It is believed at all: a lie in it is told.
        let mut index = host.index();
        index.get_mut("120").unwrap().slot = 320;
        host.keep_index(&index);
        assert!(slots(&host).contains(&320) && !slots(&host).contains(&120));
        slot_of(110, 310);
        assert!(slots(&host).contains(&310) && !slots(&host).contains(&110));
        // A VE that is gone, one that is renamed away, and one that is new.
        std::fs::remove_dir_all(host.dirs.ve(id(111))).unwrap();
        std::fs::rename(host.dirs.ve(id(112)), host.dirs.doomed(id(112))).unwrap();
        assert!(!slots(&host).contains(&111) && slots(&host).contains(&112));
        assert!(!host.taken(Some(id(112))).unwrap().slots.contains(&112));
        // Changed in its place by hand, without a change of size or of the time that a person can set.
        let record = host.dirs.ve(id(113)).join(STATE);
        let (text, old) = (
            std::fs::read_to_string(&record).unwrap(),
            std::fs::metadata(&record).unwrap(),
        );
        let below = text.split_once("# checksum").unwrap().1.split_once('\n').unwrap().1;
        let padded = format!(
            "#{}\n{}",
            " ".repeat(text.len() - below.len() - 2),
            below.replace("slot = 113", "slot = 313")
        );
        std::fs::write(&record, &padded).unwrap();
        std::fs::File::open(&record)
            .unwrap()
            .set_modified(old.modified().unwrap())
            .unwrap();
        assert_eq!(std::fs::metadata(&record).unwrap().len(), old.len());
        assert!(slots(&host).contains(&313));
        // A damaged record is read from its copy as ever.
        std::fs::write(host.dirs.ve(id(114)).join(STATE), "nonsense").unwrap();
        assert!(slots(&host).contains(&114));
    }

    #[test]
    fn without_it_or_with_a_useless_one_all_records_are_read() {
        let host = full();
        let all = slots(&host);
        for useless in ["", "nonsense", "{\"101\": 7}", "[]"] {
            std::fs::write(host.dirs.index(), useless).unwrap();
            assert_eq!(slots(&host), all, "{useless}");
        }
        std::fs::remove_file(host.dirs.index()).unwrap();
        assert_eq!(slots(&host), all);
        // Nor does one that can't be written keep anybody from anything.
        std::fs::remove_file(host.dirs.index()).unwrap();
        symlink("/nowhere/at/all", host.dirs.index()).unwrap();
        assert_eq!(slots(&host), all);
    }
}
