//! A VE's traffic: the kernel's counters while it runs, and `traffic.json` beside its disk for good.
//!
//! Only who holds the VE's lock writes that file. A counter is removed after what it counted was written; who is killed
//! in between, or finds no room to write, leaves it to the next.

use std::path::{Path, PathBuf};

use hostel_model::id::VeId;
use hostel_model::traffic::{Reading, Traffic};
use hostel_system::file;
use hostel_system::firewall::traffic::{Counted, Counting};
use hostel_system::firewall::{Member, Standing};

use crate::error::{Class, Error, Result};
use crate::host::Host;

/// What a file that makes no sense is renamed to.
pub const BROKEN: &str = "traffic.json.broken";

/// The file in a VE's directory.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("traffic.json")
}

/// The interfaces of these members.
pub fn counted(members: &[Member]) -> Vec<Counted> {
    let one = |member: &Member| Counted {
        interface: member.interface.clone(),
        port: member.port.is_some(),
    };
    members.iter().map(one).collect()
}

impl Host {
    /// The name of the tables with counters.
    pub fn traffic_table(&self) -> String {
        format!("{}_traffic", self.config.nft_table)
    }

    /// What is to be counted. `bridged`: are there networks of kind bridge?
    pub fn counting(&self, bridged: bool) -> Counting {
        Counting {
            table: self.traffic_table(),
            prefix: self.config.interface_prefix.as_str().to_owned(),
            classes: self.config.traffic.clone(),
            bridged,
        }
    }

    /// Counts what passes these members from now on, in the classes that hostel.toml names now. Hold the firewall's lock.
    pub(super) fn begin_counting(&self, members: &[Member], bridged: bool) -> Result<()> {
        let counting = self.counting(bridged);
        if self.counters.standing(&counting)? != Standing::Current {
            self.mend_counting(&counting)?;
        }
        Ok(self.counters.begin(&counting, &counted(members))?)
    }

    /// The tables were gone, tampered with, or of other classes: all that runs is to be counted. Hold the firewall's lock.
    pub fn mend_counting(&self, counting: &Counting) -> Result<()> {
        self.counters.load(counting, &counted(&self.members()?))?;
        Ok(self.counters.prune(counting)?)
    }

    /// Writes down what passed these interfaces, which are gone or about to be, and ends their counters.
    pub fn end_counting(&self, id: VeId, interfaces: &[String]) -> Result<()> {
        let table = self.traffic_table();
        let readings = self.counters.read(&table, Some(interfaces))?;
        if readings.is_empty() {
            return Ok(());
        }
        // Once more, as what went wrong may have passed.
        let noted = self
            .note_traffic(id, &readings)
            .or_else(|_| self.note_traffic(id, &readings));
        match noted {
            Ok(()) => Ok(self.counters.end(&table, interfaces)?),
            // On a disk that is full or broken everything must be able to end. Nothing is lost: they stay in the kernel, are
            // part of what "hostel traffic" tells, and go on when the VE starts again.
            Err(_) => Ok(()),
        }
    }

    /// Writes down what these counters have counted, as part of what the VE has had. Hold the VE's lock.
    pub fn note_traffic(&self, id: VeId, readings: &[Reading]) -> Result<()> {
        match self.write_traffic(id, readings) {
            // What ends a VE must work on a full disk.
            Err(e) if e.class == Class::Limit && self.reserve.release()? => self.write_traffic(id, readings),
            other => other,
        }
    }

    /// The same where it can wait for room on the disk.
    pub fn write_traffic(&self, id: VeId, readings: &[Reading]) -> Result<()> {
        let dir = self.dirs.ve(id);
        // One that is no more is nobody's.
        if !dir.is_dir() {
            return Ok(());
        }
        let mut traffic = match read(&dir)? {
            Ok(traffic) => traffic,
            // A person may make sense of it; what comes is counted in any case. The audit tells of it.
            Err(_) => {
                file::rename(&path(&dir), &dir.join(BROKEN))?;
                Traffic::default()
            }
        };
        if !traffic.take_in(readings) {
            return Ok(());
        }
        let fail = || format!("cannot note the traffic of VE {id}");
        let text = serde_json::to_vec(&traffic).map_err(|e| Error::new(Class::Failed, fail()).because(e))?;
        Ok(file::write_atomic(&path(&dir), &text, 0o600)?)
    }

    /// A VE's traffic since it was made, up to now.
    pub fn traffic(&self, id: VeId, interfaces: &[usize]) -> Result<Traffic> {
        let names = self.interface_names(id, interfaces);
        self.traffic_with(id, self.counters.read(&self.traffic_table(), Some(&names))?)
    }

    /// What is written of a VE's traffic: all that has passed interfaces that are no more.
    pub fn noted_traffic(&self, id: VeId) -> Result<Traffic> {
        let dir = self.dirs.ve(id);
        read(&dir)?
            .map_err(|e| Error::new(Class::Failed, format!("{} makes no sense", path(&dir).display())).because(e))
    }

    /// A VE's traffic with its counters as they were read just before.
    pub fn traffic_with(&self, id: VeId, mut readings: Vec<Reading>) -> Result<Traffic> {
        let mut traffic = self.noted_traffic(id)?;
        // No lock is held: what has ended in between is in the file by now.
        readings.retain(|reading| !traffic.has(reading));
        traffic.take_in(&readings);
        Ok(traffic)
    }
}

/// What is written; the inner error if that makes no sense.
fn read(dir: &Path) -> Result<std::result::Result<Traffic, serde_json::Error>> {
    let text = file::read_opt(&path(dir))?;
    Ok(text.map_or_else(|| Ok(Traffic::default()), |text| serde_json::from_str(&text)))
}
