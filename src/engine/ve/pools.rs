//! Pools of networks: an address is in one of them.

use hostel_model::definition::{Network, overlap};
use hostel_model::id::NetworkName;

use super::registry::Catalogue;
use crate::error::{Class, Error, Result};
use crate::host::Host;

impl Host {
    /// Refuses to give out addresses of a network whose pools are another one's too: the host would route by one of them,
    /// and rules for one would be the other's. VEs that have addresses there already keep them.
    pub(super) fn judge_pools(&self, network: &Network) -> Result<()> {
        let mut catalogue = Catalogue::default();
        for name in self.names_of("networks") {
            // One that can't be read is no reason to refuse.
            let other = name.parse().ok().map(|name| catalogue.network(self, &name));
            let Some(Ok(other)) = other else { continue };
            if let Some(why) = self.clash(network, other) {
                let message = format!("network {} can't give out addresses", network.name);
                return Err(Error::new(Class::Refused, message)
                    .because(why)
                    .hint("change the pools of one of them"));
            }
        }
        Ok(())
    }

    /// What two networks have in common, with the files that say so.
    fn clash(&self, one: &Network, other: &Network) -> Option<String> {
        if one.name == other.name {
            return None;
        }
        let pairs = one.pools.iter().flat_map(|a| other.pools.iter().map(move |b| (a, b)));
        let (a, b) = pairs.into_iter().find(|(a, b)| overlap(a, b))?;
        let file = |name: &NetworkName| self.dirs.definitions("networks").join(format!("{name}.toml"));
        Some(format!(
            "{a}, a pool of {}, overlaps {b}, a pool of {}",
            file(&one.name).display(),
            file(&other.name).display()
        ))
    }

    /// All such pairs: what they have in common.
    pub fn clashing_pools(&self) -> Vec<String> {
        let mut catalogue = Catalogue::default();
        let names = self
            .names_of("networks")
            .into_iter()
            .filter_map(|name| name.parse().ok());
        let networks: Vec<Network> = names
            .filter_map(|name| catalogue.network(self, &name).ok().cloned())
            .collect();
        let mut found = Vec::new();
        for (n, one) in networks.iter().enumerate() {
            found.extend(networks[n + 1..].iter().filter_map(|other| self.clash(one, other)));
        }
        found
    }
}
