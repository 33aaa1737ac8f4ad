//! The root of a stopped VE on the host: `hostel mount` and `hostel umount`.

use std::sync::Arc;
use std::time::Duration;

use hostel_model::id::VeId;

use super::VeAlone;
use crate::error::Result;
use crate::host::Host;
use crate::step::{Home, Operation, Step};
use crate::ve::record::VeState;

/// How long the kernel may take to let go of the disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mount under way.
#[derive(Debug)]
pub struct Mount {
    host: Arc<Host>,
    id: VeId,
    state: VeState,
    notes: Vec<String>,
}

impl Operation for Mount {
    const VERB: &'static str = "mount";
    const HOME: Home = Home::Volatile;
    type Host = Host;
    type Params = VeAlone;

    fn resume(host: Arc<Host>, id: VeId, _: VeAlone) -> Result<Self> {
        let state = host.state(id)?;
        Ok(Self {
            host,
            id,
            state,
            notes: Vec::new(),
        })
    }

    fn steps() -> &'static [Step<Self>] {
        const { &[Step::new("root", "mounting", Mount::mount, Mount::umount)] }
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

impl Mount {
    fn mount(&mut self) -> Result<()> {
        self.notes.extend(self.host.mount(&self.state)?);
        Ok(())
    }

    fn umount(&mut self) -> Result<()> {
        self.host.umount(self.id)
    }
}

/// An unmount under way.
#[derive(Debug)]
pub struct Umount {
    host: Arc<Host>,
    id: VeId,
    state: VeState,
}

impl Operation for Umount {
    const VERB: &'static str = "umount";
    const HOME: Home = Home::Volatile;
    type Host = Host;
    type Params = VeAlone;

    fn resume(host: Arc<Host>, id: VeId, _: VeAlone) -> Result<Self> {
        let state = host.state(id)?;
        Ok(Self { host, id, state })
    }

    fn steps() -> &'static [Step<Self>] {
        const { &[Step::new("root", "unmounting", Umount::umount, Umount::mount)] }
    }
}

impl Umount {
    fn umount(&mut self) -> Result<()> {
        self.host.umount(self.id)
    }

    fn mount(&mut self) -> Result<()> {
        self.host.mount(&self.state).map(drop)
    }
}

impl Host {
    /// Mounts a root; content if it is mounted. Gives what is worth a line.
    fn mount(&self, state: &VeState) -> Result<Option<String>> {
        let id = state.id;
        let note = self.check_disk(state)?;
        let attached = self.disks.get(state.driver).attach(&self.dirs.ve(id))?;
        let orders = self.disk_orders(state.driver, &attached.source);
        self.mounts.mount(
            &state.lower,
            &orders,
            &self.dirs.run(id).join("disk"),
            &self.dirs.mount(id),
        )?;
        Ok(note)
    }

    /// Unmounts a root and lets go of its disk; content if it isn't mounted.
    pub fn umount(&self, id: VeId) -> Result<()> {
        self.mounts.umount(&self.dirs.disk_mount(id), &self.dirs.mount(id))?;
        Ok(self.disks.detach(&self.dirs.ve(id), PATIENCE)?)
    }
}
