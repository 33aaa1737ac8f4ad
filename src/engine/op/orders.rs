//! What the monitor is told to start a VE.

use std::collections::BTreeMap;

use hostel_model::distribution::InitKind;
use hostel_model::id::VeId;
use hostel_model::resolve::Effective;
use hostel_system::cgroup::Placement;
use hostel_system::process::{Place, Start as Orders, Switches};

use crate::error::Result;
use crate::guest::neighbours;
use crate::host::Host;
use crate::ve::names::Board;
use crate::ve::record::{Told, VeState};

/// Programs that may be a guest's init, in the order they are tried.
const INITS: [&str; 6] = [
    "/sbin/init",
    "/usr/sbin/init",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/etc/init",
    "/bin/init",
];

impl Host {
    /// All that the monitor of a start has to know.
    pub(super) fn start_orders(&self, state: &VeState, effective: &Effective) -> Result<Orders> {
        let notifies = state.init == InitKind::Systemd;
        let memory = effective
            .limits
            .memory
            .limit
            .map_or(1 << 30, hostel_model::units::Bytes::get);
        let place = |p: Placement| Place {
            tasks: p.join,
            unified: p.unified,
        };
        let mut identity = self.identity(effective, state)?;
        let names = self.known_names(state, &effective.tenant, &mut Board::default());
        self.note_names(state.id, &names)?;
        identity.push(neighbours(names));
        Ok(Orders {
            watch: self.watch(state.id)?,
            id_base: self.id_base(state)?,
            owner: self.owner(state)?,
            lower: state.lower.clone(),
            payload: place(self.cgroups.placement(state.id)),
            hostname: effective.hostname.to_string(),
            init: INITS.map(String::from).to_vec(),
            env: init_environment(state.id, state),
            notifies,
            identity,
            switches: switches(effective),
            tmpfs_size: memory / 2,
        })
    }
}

/// What is open, in the monitor's words: what the VE has and its plan grants, whoever wrote the definition since it
/// was judged.
pub fn switches(effective: &Effective) -> Switches {
    let (asked, granted) = (&effective.features, &effective.granted);
    Switches {
        nesting: asked.nesting && granted.nesting,
        io_uring: asked.io_uring && granted.io_uring,
        keyring: asked.keyring && granted.keyring,
        fuse: asked.fuse && granted.fuse,
        tun: asked.tun && granted.tun,
        compat32: asked.compat32 && granted.compat32,
        ipsec: asked.ipsec && granted.ipsec,
    }
}

/// What of the orders is recorded once the VE has it.
pub fn told(effective: &Effective) -> Told {
    let password = effective.guest.password_hash.as_ref();
    Told {
        password: password.map(|hash| hash.expose().to_owned()),
    }
}

/// Init's environment. `container_uuid` gives systemd a machine id to write into an empty /etc/machine-id.
fn init_environment(id: VeId, state: &VeState) -> Vec<String> {
    let mut env: BTreeMap<&str, String> = BTreeMap::new();
    env.insert(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
    );
    env.insert("container", "hostel".into());
    env.insert("container_uuid", state.machine_id(id));
    env.insert("TERM", "vt220".into());
    env.into_iter().map(|(k, v)| format!("{k}={v}")).collect()
}
