//! What a VE is told about itself at each start, from its definition and what was allocated for it.

use std::net::IpAddr;

use hostel_model::id::VeId;
use hostel_model::resolve::Effective;
use hostel_system::net::{GATEWAY_V4, GATEWAY_V6};
use hostel_system::process::Op;
use hostel_system::resolver;

use super::record::VeState;
use super::registry::Catalogue;
use crate::error::Result;
use crate::guest::{GuestFacts, Interface, identity};
use crate::host::Host;

/// The most name servers a resolver reads (resolv.conf(5)).
const NAME_SERVERS: usize = 3;

impl Host {
    /// The changes to the guest's files that a start makes.
    pub fn identity(&self, ve: &Effective, state: &VeState) -> Result<Vec<Op>> {
        let password = ve.guest.password_hash.as_ref().map(|hash| hash.expose().to_owned());
        identity(
            state.family,
            state.init,
            &GuestFacts {
                hostname: ve.hostname.to_string(),
                fqdn: None,
                interfaces: self.guest_interfaces(state)?,
                dns: self.name_servers(ve).into_iter().take(NAME_SERVERS).collect(),
                search: ve.search.iter().map(ToString::to_string).collect(),
                // Set once, so that the customer's own change of it stays.
                password_hash: password.filter(|hash| state.password.as_ref() != Some(hash)),
                ssh_keys: ve.guest.ssh_keys.iter().map(ToString::to_string).collect(),
                timezone: ve.guest.timezone.as_ref().map(ToString::to_string),
                fresh: !state.settled_in,
                reset: false,
                today: u32::try_from((self.clock)() / 86_400).unwrap_or(0),
            },
        )
    }

    fn guest_interfaces(&self, state: &VeState) -> Result<Vec<Interface>> {
        let mut catalogue = Catalogue::default();
        let mut list = Vec::new();
        for i in &state.interfaces {
            let has = |ipv6: bool| i.addresses.iter().any(|a| a.is_ipv6() == ipv6);
            let bridge = &catalogue.network(self, &i.network)?.bridge;
            let gateway = |ipv6: bool| match bridge {
                Some(bridge) => bridge.gateway(ipv6),
                None if ipv6 => Some(GATEWAY_V6.into()),
                None => Some(GATEWAY_V4.into()),
            };
            let gateway = |ipv6: bool| gateway(ipv6).filter(|_| has(ipv6));
            list.push(Interface {
                name: i.guest_name(),
                mac: i.mac.to_string(),
                gateway4: match gateway(false) {
                    Some(IpAddr::V4(a)) => Some(a),
                    _ => None,
                },
                gateway6: match gateway(true) {
                    Some(IpAddr::V6(a)) => Some(a),
                    _ => None,
                },
                addresses: i.addresses.clone(),
            });
        }
        Ok(list)
    }

    /// Its own, or its networks', or else this host's: without any, a guest would find nothing by name.
    fn name_servers(&self, ve: &Effective) -> Vec<IpAddr> {
        if ve.has_hosts_name_servers() {
            resolver::name_servers(&self.resolvers)
        } else {
            ve.dns.clone()
        }
    }
}

impl VeState {
    /// The machine id that systemd writes into an empty /etc/machine-id: stable for a VE, and not to be guessed from
    /// its number alone.
    pub fn machine_id(&self, id: VeId) -> String {
        use sha2::Digest;
        let mut hash = sha2::Sha256::new();
        hash.update(self.seed.as_bytes());
        hash.update(id.get().to_le_bytes());
        let digest = hash.finalize();
        let hex: String = digest.iter().take(16).map(|b| format!("{b:02x}")).collect();
        // The form of a UUID version 4 (RFC 9562), which is what systemd expects of a machine id.
        format!(
            "{}-{}-4{}-8{}-{}",
            &hex[0..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..32]
        )
    }
}
