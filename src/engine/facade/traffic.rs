//! What passed VEs' interfaces: `hostel traffic`.

use std::collections::BTreeMap;

use hostel_model::definition::REST;
use hostel_model::id::{VeId, VeName};
use hostel_model::request::VeRef;
use hostel_model::traffic::{Amount, Direction};
use serde::Serialize;

use super::Engine;
use crate::error::Result;
use crate::ve::registry::unknown_ve;

/// A VE's traffic with other ends of a class, since the VE was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassTraffic {
    /// The VE's number.
    pub id: VeId,
    /// Its name.
    pub ve: VeName,
    /// The class.
    pub class: String,
    /// To the VE.
    pub r#in: Ways,
    /// From the VE.
    pub out: Ways,
}

/// By family of addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ways {
    /// IPv4.
    pub ipv4: Amount,
    /// IPv6.
    pub ipv6: Amount,
}

impl Engine {
    /// The traffic of a VE, in the order of hostel.toml's classes, what none names after them, and last the classes that
    /// are no more. Those of hostel.toml are there also if nothing has passed.
    pub fn traffic(&self, ve: &VeRef) -> Result<Vec<ClassTraffic>> {
        let Some(found) = self.host.locate(ve)? else {
            return Err(unknown_ve(ve));
        };
        let state = self.host.state(found.id)?;
        let totals = self.host.traffic(found.id, state.interfaces.len())?.totals();
        let named = self.host.config.traffic.iter().map(|class| class.name.as_str());
        let mut order: Vec<&str> = named.chain([REST]).collect();
        let mut rows: BTreeMap<&str, (Ways, Ways)> = order.iter().map(|class| (*class, Default::default())).collect();
        for (flow, amount) in &totals {
            let (to, from) = rows.entry(&flow.class).or_insert_with(|| {
                order.push(&flow.class);
                Default::default()
            });
            let ways = if flow.direction == Direction::In { to } else { from };
            *(if flow.ipv6 { &mut ways.ipv6 } else { &mut ways.ipv4 }) = *amount;
        }
        let row = |class: &&str| {
            let (r#in, out) = rows.get(class).copied().unwrap_or_default();
            ClassTraffic {
                id: found.id,
                ve: state.name.clone(),
                class: (*class).to_owned(),
                r#in,
                out,
            }
        };
        Ok(order.iter().map(row).collect())
    }
}
