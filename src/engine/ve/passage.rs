//! What the firewall is to know of VEs: whose packets may pass.

use hostel_model::id::VeId;
use hostel_system::firewall::{MasqueradePool, Member, Ruleset};
use hostel_system::net::{ALIAS_PREFIX, Link};

use super::record::VeState;
use super::registry::Catalogue;
use crate::error::Result;
use crate::host::Host;

impl Host {
    /// The links of a VE.
    pub fn links(&self, id: VeId, state: &VeState) -> Result<Vec<Link>> {
        let names = self.interface_names(id, state.interfaces.len());
        let mut catalogue = Catalogue::default();
        let mut links = Vec::new();
        for (n, (host_name, interface)) in names.into_iter().zip(&state.interfaces).enumerate() {
            let network = catalogue.network(self, &interface.network)?;
            links.push(Link {
                host_name,
                guest_name: format!("eth{n}"),
                mac: hostel_model::mac::Mac::guest(id, n as u8).bytes(),
                mtu: network.mtu.map(u32::from),
                addresses: interface.addresses.clone(),
                alias: format!("{ALIAS_PREFIX}{id}"),
            });
        }
        Ok(links)
    }

    /// Lets packets of these links pass: the table is there, then each link's addresses are.
    pub fn admit(&self, links: &[Link]) -> Result<()> {
        let members: Vec<Member> = links
            .iter()
            .map(|l| Member {
                interface: l.host_name.clone(),
                addresses: l.addresses.clone(),
                mac: l.mac,
            })
            .collect();
        let _lock = self.lock_firewall("start")?;
        let table = self.config.nft_table.as_str();
        if self.firewall.ensure(&self.ruleset()?)? {
            // The table was gone or had been tampered with: every VE that runs is to pass again.
            self.firewall.admit(table, &self.members()?)?;
        }
        Ok(self.firewall.admit(table, &members)?)
    }

    /// What the firewall should know of the VEs that run.
    pub fn members(&self) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for (id, state) in self.states()? {
            let (Ok(state), Ok(reality)) = (state, self.reality(id)) else {
                continue;
            };
            if reality.init.is_none() {
                continue;
            }
            let names = self.interface_names(id, state.interfaces.len());
            for (n, (interface, i)) in names.into_iter().zip(state.interfaces).enumerate() {
                let mac = hostel_model::mac::Mac::guest(id, n as u8).bytes();
                members.push(Member {
                    interface,
                    addresses: i.addresses,
                    mac,
                });
            }
        }
        Ok(members)
    }

    /// The firewall's rules as the networks' definitions want them; the members come and go one by one.
    pub fn ruleset(&self) -> Result<Ruleset> {
        let mut catalogue = Catalogue::default();
        let mut masquerade = Vec::new();
        for name in self.names_of("networks") {
            let Ok(name) = name.parse() else { continue };
            let network = catalogue.network(self, &name)?;
            if network.masquerade {
                masquerade.push(MasqueradePool {
                    network: name.to_string(),
                    pools: network.pools.clone(),
                });
            }
        }
        Ok(Ruleset {
            table: self.config.nft_table.as_str().to_owned(),
            prefix: self.config.interface_prefix.as_str().to_owned(),
            masquerade,
            members: Vec::new(),
        })
    }
}
