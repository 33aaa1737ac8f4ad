//! What a VE is told about itself at each start, from its definition and what was allocated for it.

use std::net::IpAddr;

use hostel_model::id::VeId;
use hostel_model::resolve::Effective;
use hostel_system::net::{GATEWAY_V4, GATEWAY_V6};
use hostel_system::process::Op;
use hostel_system::resolver;

use super::record::VeState;
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
                interfaces: interfaces(state),
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

    /// Its own, or its networks', or else this host's: without any, a guest would find nothing by name.
    fn name_servers(&self, ve: &Effective) -> Vec<IpAddr> {
        if ve.has_hosts_name_servers() {
            resolver::name_servers(&self.resolvers)
        } else {
            ve.dns.clone()
        }
    }
}

fn interfaces(state: &VeState) -> Vec<Interface> {
    let with_gateways = |(n, i): (usize, &super::record::InterfaceState)| Interface {
        name: format!("eth{n}"),
        mac: i.mac.clone(),
        gateway4: i.addresses.iter().any(IpAddr::is_ipv4).then_some(GATEWAY_V4),
        gateway6: i.addresses.iter().any(IpAddr::is_ipv6).then_some(GATEWAY_V6),
        addresses: i.addresses.clone(),
    };
    state.interfaces.iter().enumerate().map(with_gateways).collect()
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
