//! The root of a stopped VE on the host: `hostel mount` and `hostel umount`.

use std::sync::Arc;
use std::time::Duration;

use hostel_model::id::VeId;
use hostel_system::mount::{mount_root, umount_root};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::host::Host;
use crate::step::{Home, Operation, Step, nothing};
use crate::ve::record::VeState;

/// How long the kernel may take to let go of the disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mount under way.
#[derive(Debug)]
pub struct Mount {
    host: Arc<Host>,
    id: VeId,
    state: VeState,
}

/// Nothing but the VE is needed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Params {}

impl Operation for Mount {
    const VERB: &'static str = "mount";
    const HOME: Home = Home::Volatile;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, _: Params) -> Result<Self> {
        let state = host.state(id)?;
        Ok(Self { host, id, state })
    }

    fn steps() -> &'static [Step<Self>] {
        const { &[Step::new("root", "mounting", Mount::mount, Mount::umount)] }
    }
}

impl Mount {
    fn mount(&mut self) -> Result<()> {
        let (host, id) = (&self.host, self.id);
        let dir = host.dirs.ve(id);
        host.disks.check(&dir)?;
        let attached = host.disks.attach(&dir)?;
        let orders = host.disk_orders(&attached.source);
        mount_root(
            &self.state.lower,
            &orders,
            &host.dirs.disk_mount(id),
            &host.dirs.mount(id),
        )?;
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
}

impl Operation for Umount {
    const VERB: &'static str = "umount";
    const HOME: Home = Home::Volatile;
    type Host = Host;
    type Params = Params;

    fn resume(host: Arc<Host>, id: VeId, _: Params) -> Result<Self> {
        Ok(Self { host, id })
    }

    fn steps() -> &'static [Step<Self>] {
        const { &[Step::new("root", "unmounting", Umount::umount, nothing)] }
    }
}

impl Umount {
    fn umount(&mut self) -> Result<()> {
        self.host.umount(self.id)
    }
}

impl Host {
    /// Unmounts a root and lets go of its disk; content if it isn't mounted.
    pub fn umount(&self, id: VeId) -> Result<()> {
        umount_root(&self.dirs.disk_mount(id), &self.dirs.mount(id))?;
        Ok(self.disks.detach(&self.dirs.ve(id), PATIENCE)?)
    }
}
