//! Giving addresses to a VE and taking them from it: `hostel address`. Each is a change of its definition like any
//! other, which takes effect at once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hostel_model::definition::{Addresses, Network, VeDefinition};
use hostel_model::edit::edit;
use hostel_model::id::{NetworkName, VeId, VeName};
use hostel_model::ipam;
use hostel_model::request::{VeRef, Wanted};
use hostel_model::state::State;
use serde::Serialize;

use super::{Engine, Progress};
use crate::error::{Class, Error, Result};
use crate::ve::record::{InterfaceState, VeState};
use crate::ve::registry::Catalogue;
use crate::ve::taken::Taken;

/// How often an address that somebody else took first is chosen anew.
pub(super) const DRAWS: usize = 64;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddressReport {
    /// The VE's number.
    pub id: VeId,
    /// Its name.
    pub name: VeName,
    /// The interface inside: "eth0".
    pub interface: Option<String>,
    /// The network that it is on.
    pub network: Option<NetworkName>,
    /// The addresses that were added or removed, or that there is nothing to do about.
    pub addresses: Vec<IpAddr>,
    /// False if nothing had to be done.
    pub changed: bool,
    /// In force in a VE that runs; false: at its next start.
    pub live: bool,
}

/// A VE's addresses as its definition has them, with what was or would be allocated for those that are "auto".
#[derive(Debug)]
pub(super) struct Held {
    pub(super) state: VeState,
    definition: VeDefinition,
    pub(super) networks: Vec<Network>,
    pub(super) interfaces: Vec<InterfaceState>,
    /// What nobody may be given.
    used: BTreeSet<IpAddr>,
    pub(super) running: bool,
}

impl Engine {
    /// Gives a VE one more address, or one of each family; on the first interface that it fits if none is named.
    pub fn add_address(
        &self,
        ve: &VeRef,
        wanted: Wanted,
        interface: Option<usize>,
        progress: &dyn Progress,
    ) -> Result<AddressReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "address", progress)?;
        let mut draw = 0;
        loop {
            draw += 1;
            match self.try_add(ve, wanted, interface, progress) {
                // Somebody else took it between our look and our reservation.
                Err(e) if e.class == Class::Busy && draw < DRAWS => {}
                other => return other,
            }
        }
    }

    fn try_add(
        &self,
        ve: &VeRef,
        wanted: Wanted,
        interface: Option<usize>,
        progress: &dyn Progress,
    ) -> Result<AddressReport> {
        let held = self.held(ve)?;
        if let Wanted::One(address) = wanted
            && let Some(n) = held.interface_of(address).filter(|n| interface.is_none_or(|i| i == *n))
        {
            return Ok(held.report(Some(n), vec![address], false));
        }
        let n = held.interface_for(wanted, interface)?;
        let new = match wanted {
            Wanted::One(address) => vec![address],
            Wanted::Auto(family) => self.choose(&held, n, family)?,
        };
        let (key, list) = match &held.definition.interfaces[n].addresses {
            Some(Addresses::Fixed(_)) => (format!("network.{n}.addresses+"), new.clone()),
            // What was given to it automatically is written down with the new one.
            _ => (
                format!("network.{n}.addresses"),
                [held.interfaces[n].addresses.clone(), new.clone()].concat(),
            ),
        };
        self.set_addresses(&held, &key, &list, progress).map_err(|e| {
            let lost = |t: Taken| new.iter().any(|a| t.addresses.contains(a));
            let draws = matches!(wanted, Wanted::Auto(_));
            match draws && self.host.taken(Some(held.state.id)).is_ok_and(lost) {
                true => e.class(Class::Busy),
                false => e,
            }
        })?;
        Ok(held.report(Some(n), new, true))
    }

    /// Takes an address from a VE.
    pub fn remove_address(&self, ve: &VeRef, address: IpAddr, progress: &dyn Progress) -> Result<AddressReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "address", progress)?;
        let held = self.held(ve)?;
        let Some(n) = held.interface_of(address) else {
            return Ok(held.report(None, vec![address], false));
        };
        let rest: Vec<IpAddr> = held.interfaces[n]
            .addresses
            .iter()
            .copied()
            .filter(|a| *a != address)
            .collect();
        if rest.is_empty() {
            let (name, network) = (&held.state.name, &held.networks[n].name);
            let message = format!("{address} is the last address of {name} on network \"{network}\"");
            return Err(Error::new(Class::Refused, message)
                .hint(format!(
                    "give it another first: hostel address add {name} auto --interface {}",
                    held.interfaces[n].number()
                ))
                .hint(format!(
                    "or take it off the network: hostel network detach {name} {network}"
                )));
        }
        match &held.definition.interfaces[n].addresses {
            Some(Addresses::Fixed(_)) => {
                self.set_addresses(&held, &format!("network.{n}.addresses-"), &[address], progress)?;
            }
            _ => self.set_addresses(&held, &format!("network.{n}.addresses"), &rest, progress)?,
        }
        Ok(held.report(Some(n), vec![address], true))
    }

    fn set_addresses(&self, held: &Held, key: &str, list: &[IpAddr], progress: &dyn Progress) -> Result<()> {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        self.set_keys(held, &[(key.to_owned(), list.join(","))], progress)
    }

    /// Changes its definition, and with it what the VE is.
    pub(super) fn set_keys(&self, held: &Held, settings: &[(String, String)], progress: &dyn Progress) -> Result<()> {
        let old = self.definition_text(&VeRef::Id(held.state.id))?;
        let file = self.host.dirs.definition(&held.state.name).display().to_string();
        let new = edit(&file, &old, settings).map_err(|e| {
            let message = format!("the networks and addresses of {} can't be changed so", held.state.name);
            Error::new(Class::Usage, message).because(e)
        })?;
        self.change(&held.state, &old, &new, false, progress).map(drop)
    }

    /// A VE whose networks and addresses may change now.
    pub(super) fn held(&self, ve: &VeRef) -> Result<Held> {
        let state = self.host.find(ve)?;
        let name = &state.name;
        let reality = self.host.reality(state.id)?;
        if reality.state == State::Suspended {
            let message = format!("the networks and addresses of {name} can't be changed while it is suspended");
            return Err(Error::new(Class::Refused, message)
                .because("they are part of what was saved")
                .hint(format!("resume it first: hostel resume {name}")));
        }
        let definition = self.host.definition(name)?;
        let effective = self.host.resolve(&definition, &mut Catalogue::default())?;
        let networks: Vec<Network> = effective.interfaces.iter().map(|i| i.network.clone()).collect();
        let running = reality.init.is_some();
        let mut taken = self.host.taken(Some(state.id))?;
        taken.heard = self.host.heard_for(&effective, &state.interfaces, &taken)?;
        let interfaces = self.host.interfaces(&effective, &state.interfaces, &taken)?;
        if running && state.interfaces != interfaces {
            let message = format!("{name} runs with other interfaces than its definition has");
            return Err(Error::new(Class::Refused, message)
                .because("the definition was changed by hand, or such a change waits for a start")
                .hint(format!("let it take effect first: hostel restart {name}")));
        }
        let mut used = taken.addresses;
        used.extend(state.addresses());
        used.extend(interfaces.iter().flat_map(|i| i.addresses.iter().copied()));
        Ok(Held {
            state,
            definition,
            networks,
            interfaces,
            used,
            running,
        })
    }

    /// The next free address, of one family or of each.
    fn choose(&self, held: &Held, n: usize, family: Option<ipam::Family>) -> Result<Vec<IpAddr>> {
        let (network, now) = (&held.networks[n], (self.host.clock)());
        let aside = self.host.aside()?;
        let families = family.map_or_else(|| ipam::families(network).collect(), |one| vec![one]);
        let wants: Vec<_> = families.iter().map(|f| (network, *f)).collect();
        let heard = self.host.heard(&wants, &held.used, &aside, now)?;
        let not = held.used.union(&heard).copied().collect();
        let each = families
            .iter()
            .map(|f| ipam::allocate_one(network, *f, &not, &aside, now));
        let chosen: std::result::Result<Vec<IpAddr>, _> = each.collect();
        chosen.map_err(|e| {
            let message = format!("cannot give {} another address", held.state.name);
            Error::new(Class::Limit, message).because(e)
        })
    }
}

impl Held {
    fn interface_of(&self, address: IpAddr) -> Option<usize> {
        self.interfaces.iter().position(|i| i.addresses.contains(&address))
    }

    /// The interface that is asked for, or the first one that fits.
    fn interface_for(&self, wanted: Wanted, asked: Option<usize>) -> Result<usize> {
        let name = &self.state.name;
        let fits = |network: &Network| match wanted {
            Wanted::One(address) => network.contains(address),
            Wanted::Auto(None) => true,
            Wanted::Auto(Some(family)) => ipam::families(network).any(|f| f == family),
        };
        match asked {
            _ if self.networks.is_empty() => Err(Error::new(Class::Refused, format!("{name} is on no network"))
                .hint(format!("put it on one: hostel network attach {name} NETWORK"))
                .hint("see all with: hostel network list")),
            Some(number) => self.numbered(number),
            None => self.networks.iter().position(fits).ok_or_else(|| {
                let of: Vec<&str> = self.networks.iter().map(|n| n.name.as_str()).collect();
                Error::new(Class::Refused, format!("{wanted} is in none of {name}'s networks"))
                    .because(format!("it is on {}", of.join(", ")))
                    .hint("see what they have with: hostel network list")
            }),
        }
    }

    /// Where the interface of this number stands.
    fn numbered(&self, number: usize) -> Result<usize> {
        let found = self.interfaces.iter().position(|i| i.number() == number);
        found.ok_or_else(|| {
            let has: Vec<String> = self.interfaces.iter().map(|i| i.number().to_string()).collect();
            Error::new(Class::Usage, format!("{} has no interface {number}", self.state.name))
                .hint(format!("it has {}", has.join(", ")))
        })
    }

    pub(super) fn report(&self, n: Option<usize>, addresses: Vec<IpAddr>, changed: bool) -> AddressReport {
        AddressReport {
            id: self.state.id,
            name: self.state.name.clone(),
            interface: n.map(|n| self.interfaces[n].guest_name()),
            network: n.map(|n| self.networks[n].name.clone()),
            addresses,
            changed,
            live: self.running,
        }
    }
}
