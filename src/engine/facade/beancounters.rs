//! VEs' limits as OpenVZ told of them: `hostel beancounters`.

use hostel_model::beancounters::Beancounter;
use hostel_model::id::VeId;
use hostel_model::request::VeRef;
use serde::Serialize;

use super::{Aspects, Engine, VeLook};
use crate::error::Result;
use crate::ve::registry::unknown_ve;

/// The beancounters of a VE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VeBeancounters {
    /// Its number.
    pub id: VeId,
    /// Its name.
    pub name: String,
    /// A row each.
    pub resources: Vec<Beancounter>,
}

impl Engine {
    /// Those of these VEs, or, as there, of all that run. One whose definition can't be read is left out, unless it was
    /// named.
    pub fn beancounters(&self, ves: &[VeRef]) -> Result<Vec<VeBeancounters>> {
        let named = !ves.is_empty();
        let (looks, missing) = self.look(named.then_some(ves), Aspects::BEANCOUNTERS)?;
        if let Some(ve) = missing.first() {
            return Err(unknown_ve(ve));
        }
        let of = |look: VeLook| {
            let rows = look.beancounters();
            let resources = match (rows, look.pid) {
                (Some(rows), Some(_)) => rows,
                (rows, _) if named => rows.unwrap_or_default(),
                _ => return None,
            };
            Some(VeBeancounters {
                id: look.id,
                name: look.record.map(|r| r.name).unwrap_or_default(),
                resources,
            })
        };
        Ok(looks.into_iter().filter_map(of).collect())
    }
}
