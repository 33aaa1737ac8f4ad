//! The limits of what a VE's network carries: `net.in`, `net.out`, and those of each interface.

use hostel_model::bandwidth::{Bandwidth, Burst};
use hostel_model::definition::Unenforceable;
use hostel_model::id::VeId;
use hostel_model::resolve::{Effective, Interface};
use hostel_system::net::{ALIAS_PREFIX, Direction, Pace, Shape};

use super::record::VeState;
use crate::error::Result;
use crate::host::Host;

/// The keys of the limits that are set.
fn keys(ve: &Effective) -> Vec<String> {
    let set = |key: &str, rate: Option<Bandwidth>| rate.map(|_| key.to_owned());
    let of_all = [set("net.in", ve.traffic.inward), set("net.out", ve.traffic.outward)];
    let own = ve.interfaces.iter().enumerate().flat_map(|(i, interface)| {
        let key = |name: &str| format!("network.{i}.{name}");
        [
            set(&key("rate_in"), interface.rate_in),
            set(&key("rate_out"), interface.rate_out),
        ]
    });
    of_all.into_iter().chain(own).flatten().collect()
}

impl Host {
    /// The limits of traffic that this host can't hold, each with the reason.
    pub(super) fn unshapeable(&self, ve: &Effective) -> Result<Vec<(String, String)>> {
        let keys = keys(ve);
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let why = self.network.unable_to_shape()?;
        let each = |why: String| keys.into_iter().map(|key| (key, why.clone())).collect();
        Ok(why.map(each).unwrap_or_default())
    }

    /// The names of the interfaces that a VE's limits are held by.
    pub fn shaper_names(&self, id: VeId) -> [String; 2] {
        let prefix = self.config.interface_prefix.as_str();
        ["i", "o"].map(|end| format!("{prefix}{id}.{end}"))
    }

    /// Has the VE limits that this host is to hold?
    fn is_shaped(&self, ve: &Effective) -> Result<bool> {
        match self.config.unenforceable {
            _ if keys(ve).is_empty() => Ok(false),
            // What can't be held has been warned of; elsewhere it was refused, or fails now.
            Unenforceable::Warn => Ok(self.network.unable_to_shape()?.is_none()),
            _ => Ok(true),
        }
    }

    /// The interfaces that must be there for a VE's limits to be held.
    pub fn shapers_of(&self, id: VeId, state: &VeState, ve: &Effective) -> Result<Vec<String>> {
        if !self.is_shaped(ve)? {
            return Ok(Vec::new());
        }
        let Shape { inward, outward, .. } = self.shape(id, state, ve);
        let limited = |d: &Direction| d.whole.is_some() || d.links.iter().any(|(_, own)| own.is_some());
        Ok([inward, outward]
            .into_iter()
            .filter(limited)
            .map(|d| d.device)
            .collect())
    }

    /// Limits the traffic of links that were just made, before anything may pass them.
    pub fn shape_new(&self, id: VeId, state: &VeState, ve: &Effective) -> Result<()> {
        match self.is_shaped(ve)? {
            true => Ok(self.network.shape(&self.shape(id, state, ve))?),
            false => Ok(()),
        }
    }

    /// Changes the limits of a VE that runs, or ends them.
    pub fn reshape(&self, id: VeId, state: &VeState, ve: &Effective) -> Result<()> {
        let mut has = self.is_shaped(ve)?;
        for name in self.shaper_names(id) {
            has = has || self.network.counters(&name)?.is_some();
        }
        match has {
            true => Ok(self.network.shape(&self.shape(id, state, ve))?),
            false => Ok(()),
        }
    }

    /// What is to be in force on the links that a VE has. Which network a link is on says which of the definition's
    /// interfaces it is: that may have others by now, which wait for the next start.
    pub fn shape(&self, id: VeId, state: &VeState, ve: &Effective) -> Shape {
        let names = state
            .interfaces
            .iter()
            .map(|i| self.interface_name(id, i))
            .collect::<Vec<_>>();
        let burst = ve.traffic.burst.map(Burst::get);
        let pace = |rate: Bandwidth, burst| Pace {
            rate: rate.bits(),
            burst,
        };
        let direction = |device: String, whole: Option<Bandwidth>, own: fn(&Interface) -> Option<Bandwidth>| {
            let own = |i: &super::record::InterfaceState| {
                let defined = ve.interfaces.iter().find(|defined| defined.network.name == i.network)?;
                own(defined).map(|rate| pace(rate, defined.burst.map(Burst::get)))
            };
            Direction {
                device,
                whole: whole.map(|rate| pace(rate, burst)),
                links: names.iter().cloned().zip(state.interfaces.iter().map(own)).collect(),
            }
        };
        let [inward, outward] = self.shaper_names(id);
        Shape {
            alias: format!("{ALIAS_PREFIX}{id}"),
            inward: direction(inward, ve.traffic.inward, |i| i.rate_in),
            outward: direction(outward, ve.traffic.outward, |i| i.rate_out),
        }
    }
}
