//! Addresses on an Ethernet that isn't Hostel's alone: is somebody there who has them?

use std::time::Duration;

use hostel_system::net::{Link, Probe, check};

use super::record::VeState;
use super::registry::Catalogue;
use crate::error::{Class, Error, Result};
use crate::host::Host;

/// How long the LAN is asked, for all addresses together. RFC 5227 takes seconds for one; machines that are up answer
/// within a few milliseconds, and each is asked three times.
const WITHIN: Duration = Duration::from_millis(300);

impl Host {
    /// Refuses addresses that others have. Those of `links` are asked for, which are the VE's interfaces in order.
    pub fn probe(&self, state: &VeState, links: &[Link]) -> Result<()> {
        let mut catalogue = Catalogue::default();
        let mut probes = Vec::new();
        for (interface, link) in state.interfaces.iter().zip(links) {
            let network = catalogue.network(self, &interface.network)?;
            let on = link.port.as_ref().map(|p| &p.bridge).or(link.proxy.as_ref());
            probes.extend(on.filter(|_| network.probe).map(|on| Probe {
                interface: on.clone(),
                addresses: link.addresses.clone(),
                own: link.mac,
            }));
        }
        if probes.iter().all(|p| p.addresses.is_empty()) {
            return Ok(());
        }
        let found = self.network.probe(&probes, WITHIN)?;
        if found.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = found
            .iter()
            .map(|(address, mac)| format!("{address} is at {}", check::mac_text(*mac)))
            .collect();
        Err(Error::new(
            Class::Refused,
            format!("somebody else on the LAN has addresses of {}", state.name),
        )
        .because(list.join("; "))
        .hint("find that machine, or give the VE another address: hostel address add, hostel address remove")
        .hint("or don't ask: probe = false in the network's definition"))
    }
}
