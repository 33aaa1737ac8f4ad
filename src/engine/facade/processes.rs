//! The processes of a VE, as the host sees them.

use std::path::Path;

use hostel_model::id::VeId;
use hostel_system::process::{Listed, list};

use super::Engine;
use crate::error::Result;

/// A process of a VE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VeProcess {
    /// What the kernel tells of it.
    pub seen: Listed,
    /// Its user inside; `None`: one of the host's, who has entered the VE.
    pub user: Option<u32>,
}

impl Engine {
    /// Those that run in a VE now; none if it doesn't run.
    pub fn processes(&self, id: VeId) -> Result<Vec<VeProcess>> {
        let host = &self.host;
        if !host.cgroups.exists(id) {
            return Ok(Vec::new());
        }
        let base = host.state(id).and_then(|state| host.id_base(&state)).ok();
        let proc = host.proc_sys.parent().unwrap_or(Path::new("/proc"));
        let seen = list(proc, &host.cgroups.processes(id)?).into_iter();
        Ok(seen
            .map(|seen| VeProcess {
                user: base
                    .and_then(|base| seen.uid.checked_sub(base))
                    .filter(|uid| *uid < 65_536),
                seen,
            })
            .collect())
    }
}
