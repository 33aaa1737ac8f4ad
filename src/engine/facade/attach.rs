//! Putting a VE on a network and taking it off: `hostel network attach` and `detach`. Each is a change of its definition
//! like any other, which takes effect at once.

use std::net::IpAddr;

use hostel_model::id::NetworkName;
use hostel_model::request::VeRef;

use super::address::DRAWS;
use super::{AddressReport, Engine, Progress};
use crate::error::{Class, Error, Result};
use crate::ve::record::InterfaceState;

impl Engine {
    /// Puts a VE on one more network, with these addresses, or if there are none with a free one of each family.
    pub fn attach_network(
        &self,
        ve: &VeRef,
        network: &NetworkName,
        addresses: &[IpAddr],
        progress: &dyn Progress,
    ) -> Result<AddressReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "network", progress)?;
        let mut draw = 0;
        loop {
            draw += 1;
            match self.try_attach(ve, network, addresses, progress) {
                // Somebody else took what was chosen between our look and our reservation.
                Err(e) if e.class == Class::Busy && addresses.is_empty() && draw < DRAWS => {}
                other => return other,
            }
        }
    }

    fn try_attach(
        &self,
        ve: &VeRef,
        network: &NetworkName,
        addresses: &[IpAddr],
        progress: &dyn Progress,
    ) -> Result<AddressReport> {
        let held = self.held(ve)?;
        let name = &held.state.name;
        if let Some(n) = held.networks.iter().position(|other| other.name == *network) {
            let has = &held.interfaces[n].addresses;
            return match addresses.iter().find(|a| !has.contains(a)) {
                None => Ok(held.report(Some(n), has.clone(), false)),
                Some(missing) => Err(Error::new(
                    Class::Refused,
                    format!("{name} is on network \"{network}\" already, without {missing}"),
                )
                .hint(format!("give it that address: hostel address add {name} {missing}"))),
            };
        }
        let mut settings = vec![("network+".to_owned(), network.to_string())];
        if !addresses.is_empty() {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let key = format!("network.{}.addresses", held.networks.len());
            settings.push((key, list.join(",")));
        }
        self.set_keys(&held, &settings, progress)?;
        let made = self.host.state(held.state.id)?.interfaces;
        let made = made.into_iter().find(|i| i.network == *network);
        let addresses = made.as_ref().map(|i| i.addresses.clone()).unwrap_or_default();
        Ok(AddressReport {
            interface: made.as_ref().map(InterfaceState::guest_name),
            network: Some(network.clone()),
            ..held.report(None, addresses, true)
        })
    }

    /// Takes a VE off a network, with all addresses that it has there.
    pub fn detach_network(&self, ve: &VeRef, network: &NetworkName, progress: &dyn Progress) -> Result<AddressReport> {
        let state = self.host.find(ve)?;
        let _lock = self.lock_ve(state.id, "network", progress)?;
        let held = self.held(ve)?;
        let Some(n) = held.networks.iter().position(|other| other.name == *network) else {
            return Ok(AddressReport {
                network: Some(network.clone()),
                ..held.report(None, Vec::new(), false)
            });
        };
        self.set_keys(&held, &[("network-".to_owned(), network.to_string())], progress)?;
        Ok(held.report(Some(n), held.interfaces[n].addresses.clone(), true))
    }
}
