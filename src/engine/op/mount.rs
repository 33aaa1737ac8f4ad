//! The root of a stopped VE on the host: `hostel mount` and `hostel umount`.

use std::sync::Arc;
use std::time::Duration;

use hostel_model::hook::Event;
use hostel_model::id::VeId;

use super::VeAlone;
use crate::error::Result;
use crate::host::Host;
use crate::step::{Home, Operation, Step, nothing};
use crate::ve::outline::Outline;
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
        const {
            &[
                Step::new("premount", "preparing", Mount::premount, Mount::postumount),
                Step::new("scripts", "running scripts", Mount::begin, Mount::end),
                Step::new("root", "mounting", Mount::mount, Mount::umount),
            ]
        }
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

impl Mount {
    fn hooks(&mut self, event: Event) -> Result<()> {
        let ve = Outline::from(&self.state);
        let found = self.host.look_for_hooks(&ve)?;
        self.host.begin_hooks(&ve, event, &found, &mut self.notes)
    }

    fn premount(&mut self) -> Result<()> {
        self.hooks(Event::Premount)
    }

    fn postumount(&mut self) -> Result<()> {
        self.host.end_hooks(&Outline::from(&self.state), Event::Premount)
    }

    /// Before the root is there: what they have mounted goes into it.
    fn begin(&mut self) -> Result<()> {
        self.hooks(Event::Mount)
    }

    fn end(&mut self) -> Result<()> {
        self.host.end_hooks(&Outline::from(&self.state), Event::Mount)
    }

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

    /// Scripts see only what they have mounted themselves, so the root may go first, and come back if a program works
    /// in it. What they have begun is ended once: from there on there is no way back.
    fn steps() -> &'static [Step<Self>] {
        const {
            &[
                Step::new("root", "unmounting", Umount::umount, Umount::mount),
                Step::new("gone", "unmounting", nothing, nothing).point_of_no_return(),
                Step::new("scripts", "running scripts", Umount::end, nothing),
                Step::new("postumount", "finishing", Umount::postumount, nothing),
            ]
        }
    }
}

impl Umount {
    fn end(&mut self) -> Result<()> {
        self.host.end_hooks(&Outline::from(&self.state), Event::Mount)
    }

    fn umount(&mut self) -> Result<()> {
        self.host.umount(self.id)
    }

    fn mount(&mut self) -> Result<()> {
        self.host.mount(&self.state).map(drop)
    }

    fn postumount(&mut self) -> Result<()> {
        self.host.end_hooks(&Outline::from(&self.state), Event::Premount)
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
