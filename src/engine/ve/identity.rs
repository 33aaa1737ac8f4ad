//! What a VE is told about itself at each start, from its definition and what was allocated for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hostel_model::id::VeId;
use hostel_model::resolve::Effective;
use hostel_system::net::{GATEWAY_V4, GATEWAY_V6};
use hostel_system::process::{LEFT_INSIDE, Left, Op, SHADOW};
use hostel_system::{file, resolver};

use super::record::{Told, VeState};
use super::registry::Catalogue;
use crate::error::Result;
use crate::guest::{GuestFacts, Interface, identity};
use crate::host::Host;

/// The setting that a start writes once.
const PASSWORD: &str = "guest.password_hash";
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
                overdue: state.overdue.clone(),
                reset: false,
                today: u32::try_from((self.clock)() / 86_400).unwrap_or(0),
            },
        )
    }

    /// What a VE that was started just now has of its identity, with a line for each that it hasn't.
    pub fn given(&self, state: &VeState) -> Result<(Given, Vec<String>)> {
        let told = self.run_record(state.id).and_then(|record| record.told);
        let path = self.dirs.run(state.id).join(LEFT_INSIDE);
        let text = file::read_opt(&path)?;
        let left: Vec<Left> = match text.map_or_else(|| Ok(Vec::new()), |text| serde_json::from_str(&text)) {
            Ok(left) => left,
            // Somebody's hand was in it. The VE runs all the same.
            Err(e) => {
                let note = format!("it is not known what could be written into it: {}: {e}", path.display());
                let given = Given {
                    waiting: BTreeSet::new(),
                    password: state.password.clone(),
                    overdue: state.overdue.clone(),
                };
                return Ok((given, vec![note]));
            }
        };
        let hindered = left.iter().any(|l| l.path == SHADOW);
        let is_new = |told: &Told| told.password.is_some() && told.password != state.password;
        let unset = hindered && told.as_ref().is_some_and(is_new);
        let notes = notes_of(&left, unset);
        let due = |path: &String| !state.settled_in || state.overdue.contains(path);
        let given = Given {
            waiting: unset.then(|| PASSWORD.to_owned()).into_iter().collect(),
            password: match told {
                Some(told) if !hindered => told.password,
                // Or the record was lost: the next start gives the password once more.
                _ => state.password.clone(),
            },
            overdue: left.into_iter().map(|l| l.path).filter(due).collect(),
        };
        Ok((given, notes))
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

/// What a VE has of its identity after a start.
#[derive(Debug)]
pub struct Given {
    /// Settings that go on waiting.
    pub waiting: BTreeSet<String>,
    /// The password hash that was set last.
    pub password: Option<String>,
    /// What of its first start is still to be done, by the paths of the files.
    pub overdue: BTreeSet<String>,
}

impl Given {
    /// Makes it what the record says; true if that said something else.
    pub fn enter(self, state: &mut VeState) -> bool {
        let Self {
            waiting,
            password,
            overdue,
        } = self;
        let same = (&waiting, &password, &overdue) == (&state.waiting, &state.password, &state.overdue);
        let changed = !state.settled_in || !same;
        state.settled_in = true;
        (state.waiting, state.password, state.overdue) = (waiting, password, overdue);
        changed
    }
}

/// A line for a password that isn't set, and one for each other reason, with all files that it kept from being changed.
fn notes_of(left: &[Left], password: bool) -> Vec<String> {
    const AGAIN: &str = "the next start tries again";
    let mut lines = Vec::new();
    let mut others: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for Left { path, why } in left {
        match password && path == SHADOW {
            true => lines.push(format!("{PASSWORD} is not set inside: {SHADOW}: {why}; {AGAIN}")),
            false => drop(others.entry(why).or_default().insert(path)),
        }
    }
    lines.extend(others.into_iter().map(|(why, paths)| {
        let paths: Vec<&str> = paths.into_iter().collect();
        format!("not changed inside: {}: {why}; {AGAIN}", paths.join(", "))
    }));
    lines
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
