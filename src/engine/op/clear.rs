//! Clearing up after a VE that has ended: the one teardown that every path uses. Each part is safe to repeat, all are
//! attempted, and what failed is told together.

use std::time::Duration;

use hostel_model::hook::Event;
use hostel_model::id::VeId;
use hostel_system::file;
use hostel_system::process::{LEFT_INSIDE, ROOT_DEVICE, SOCKET};

use crate::error::{Class, Error, Result};
use crate::facade::TROUBLE;
use crate::host::Host;
use crate::op::stop::ASKED;
use crate::ve::outline::Outline;
use crate::ve::record::{InterfaceState, RunRecord};

/// How long the kernel may take to let go of a dead VE's disk and processes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gathers failures, so that one doesn't keep the rest from being cleared.
#[derive(Debug, Default)]
pub struct Failures(Vec<Error>);

impl Failures {
    /// Keeps what went wrong.
    pub fn keep<E: Into<Error>>(&mut self, result: std::result::Result<(), E>) {
        if let Err(e) = result {
            self.0.push(e.into());
        }
    }

    /// The first failure, with the others beside it.
    pub fn finish(self) -> Result<()> {
        let mut all = self.0.into_iter();
        match all.next() {
            None => Ok(()),
            Some(mut first) => {
                first.also.extend(all.map(|e| crate::error::chain(&e)));
                Err(first)
            }
        }
    }
}

impl Host {
    /// Takes away everything that a run of this VE made in the kernel and below /run. Its init must have ended.
    pub fn clear(&self, ve: &Outline) -> Result<()> {
        let id = ve.id;
        let mut failures = Failures::default();
        // Init's end was the end of all in its pid namespace; a stray that we put into the group ourselves (an
        // entry cut short) goes now.
        if self.cgroups.exists(id) {
            failures.keep(self.cgroups.kill(id));
        }
        let ended = self.note_last(id);
        failures.keep(self.cgroups.remove(id, PATIENCE));
        failures.keep(self.end_hooks(ve, Event::Mount));
        failures.keep(self.disks.detach(&self.dirs.ve(id), PATIENCE));
        // Last, as its interfaces are going meanwhile.
        failures.keep(self.clear_network(ve));
        failures.keep(self.firewall.release(&self.held(id)));
        failures.keep(self.end_hooks(ve, Event::Premount));
        // Its monitor has gone, or is about to. To remove a socket takes the kernel longer than all else that a start
        // does there.
        failures.keep(file::remove_file(&self.dirs.run(id).join(SOCKET)));
        failures.keep(RunRecord::remove(&self.dirs.run(id)));
        // In a /run that is full each page counts.
        failures.keep(file::remove_file(&self.dirs.run(id).join(ASKED)));
        if let Some(ended) = ended {
            self.note_after(ended);
        }
        failures.finish()
    }

    /// Removes the VE's interfaces, what the firewall knows of them, and what the host says on its behalf.
    pub fn clear_network(&self, ve: &Outline) -> Result<()> {
        let names = self.interface_names(ve.id, &ve.interfaces);
        let mut failures = Failures::default();
        failures.keep(self.network.unproxy(&ve.addresses));
        failures.keep(self.network.detach(&names));
        failures.keep(self.network.unshape(&self.shaper_names(ve.id)));
        // Nothing passes them any more.
        failures.keep(self.end_counting(ve.id, &names));
        for name in &names {
            failures.keep(self.firewall.expel(self.config.nft_table.as_str(), name));
        }
        // Last: no moment at which it could be reached without them.
        failures.keep(self.unguard(ve.id));
        failures.finish()
    }

    /// The names of a VE's interfaces of these numbers on the host.
    pub fn interface_names(&self, id: VeId, numbers: &[usize]) -> Vec<String> {
        let name = |n: &usize| self.config.interface_prefix.interface(id, *n);
        numbers.iter().map(name).collect()
    }

    /// The name of one of its interfaces on the host.
    pub fn interface_name(&self, id: VeId, interface: &InterfaceState) -> String {
        self.config.interface_prefix.interface(id, interface.number())
    }

    /// Removes the runtime directory of a VE that is no more. Never through a mount in it: that would empty what is
    /// mounted there.
    pub fn remove_run_dir(&self, id: VeId) -> Result<()> {
        let dir = self.dirs.run(id);
        self.mounts.umount(&self.dirs.disk_mount(id), &self.dirs.mount(id))?;
        if let Some(point) = self.mounts.below(&dir)?.first() {
            return Err(Error::new(Class::Busy, format!("cannot remove {}", dir.display()))
                .because(format!("something is mounted at {}", point.display()))
                .hint(format!("unmount it: umount {}", point.display())));
        }
        Ok(file::remove_tree(&dir)?)
    }

    /// The runtime directory, empty of sockets of the past.
    pub fn fresh_run_dir(&self, id: VeId) -> Result<()> {
        let dir = self.dirs.run(id);
        file::make_dir(&dir)?;
        for stale in [
            SOCKET,
            "exit.json",
            "run.json",
            LEFT_INSIDE,
            ROOT_DEVICE,
            TROUBLE,
            ASKED,
        ] {
            file::remove_file(&dir.join(stale))?;
        }
        Ok(())
    }
}
