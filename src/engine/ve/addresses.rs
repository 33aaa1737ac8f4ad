//! Addresses on their way from one VE to another: what was given back is kept aside for a while, in a file that lasts.
//!
//! An address is put aside before the record that held it lets go of it. Who is killed in between leaves one that is
//! both in use and aside, and what is in use comes first: there is no moment at which it is neither.

use std::net::IpAddr;

use hostel_model::aside::{Aside, Freed};
use hostel_model::id::VeName;
use hostel_system::file;

use super::record::{InterfaceState, VeState};
use super::registry::Catalogue;
use super::taken::Taken;
use crate::error::{Class, Error, Result};
use crate::host::Host;

impl Host {
    /// What is aside. A file that makes no sense keeps nobody from anything: then nothing is.
    pub fn aside(&self) -> Result<Aside> {
        let text = file::read_opt(&self.dirs.aside())?.unwrap_or_default();
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Puts aside what a VE had and doesn't keep.
    pub fn put_aside(&self, ve: &VeName, had: &[InterfaceState], keeps: &[InterfaceState], verb: &str) -> Result<()> {
        let kept = |address: &IpAddr| keeps.iter().any(|i| i.addresses.contains(address));
        let each = had.iter().flat_map(|i| i.addresses.iter().map(move |a| (i, *a)));
        let gone: Vec<_> = each.filter(|(_, address)| !kept(address)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let _lock = self.lock_registry(verb)?;
        let (mut aside, now) = (self.aside()?, (self.clock)());
        for (interface, address) in gone {
            let freed = Freed {
                network: interface.network.clone(),
                ve: ve.clone(),
                since: now,
            };
            aside.put(address, freed);
        }
        let mut catalogue = Catalogue::default();
        aside.forget(now, |name| catalogue.network(self, name).ok().map(|n| n.quarantine));
        let text = serde_json::to_vec(&aside)
            .map_err(|e| Error::new(Class::Failed, "cannot note which addresses are aside").because(e))?;
        let write = || file::write_atomic(&self.dirs.aside(), &text, 0o600).map_err(Error::from);
        match write() {
            // What frees addresses is what makes room: it must work on a full disk.
            Err(e) if e.class == Class::Limit && self.reserve.release()? => write(),
            other => other,
        }
    }

    /// A word about each address that is new to a VE and was somebody else's a short while ago.
    pub fn given_again(
        &self,
        ve: &VeName,
        had: &[InterfaceState],
        has: &[InterfaceState],
        taken: &Taken,
    ) -> Vec<String> {
        let new = |address: &&IpAddr| !had.iter().any(|i| i.addresses.contains(address));
        let (mut catalogue, mut notes) = (Catalogue::default(), Vec::new());
        for interface in has {
            let Ok(network) = catalogue.network(self, &interface.network) else {
                continue;
            };
            for address in interface.addresses.iter().filter(new) {
                match taken.aside.get(network, *address, taken.now) {
                    Some(freed) if freed.ve != *ve => notes.push(format!(
                        "{address} was {}'s until {} ago; who knew it may not have noticed yet",
                        freed.ve,
                        hostel_model::units::Span::seconds(freed.age(taken.now))
                    )),
                    _ => {}
                }
            }
        }
        notes
    }

    /// What its interfaces were is given up: put aside, but for what it has still.
    pub fn put_former_aside(&self, state: &VeState) -> Result<()> {
        match &state.former {
            Some(former) => self.put_aside(&state.name, former, &state.interfaces, "start"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{again, host, id, with_ve};

    fn state(host: &Host) -> VeState {
        host.state(id(101)).unwrap()
    }

    #[test]
    fn what_is_aside_is_kept_from_others_and_told_of() {
        let host = host().make();
        with_ve(&host, &[]);
        let state = state(&host);
        let address = state.interfaces[0].addresses[0];
        host.put_aside(&state.name, &state.interfaces, &state.interfaces, "test")
            .unwrap();
        assert!(!host.dirs.aside().exists());
        host.put_aside(&state.name, &state.interfaces, &[], "test").unwrap();
        // Another process knows it too.
        let taken = again(&host).taken(Some(id(101))).unwrap();
        let network = Catalogue::default()
            .network(&host, &state.interfaces[0].network)
            .unwrap()
            .clone();
        assert!(taken.aside.get(&network, address, taken.now).is_some());
        let told = host.given_again(&"web2".parse().unwrap(), &[], &state.interfaces, &taken);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains(&address.to_string()) && told[0].contains("web1's"),
            "{told:?}"
        );
        // To have one's own again is nothing to tell of, nor to keep what one has.
        let has = &state.interfaces;
        assert!(host.given_again(&"web2".parse().unwrap(), has, has, &taken).is_empty());
        assert!(host.given_again(&state.name, &[], &state.interfaces, &taken).is_empty());
        // A damaged file keeps nobody from anything.
        std::fs::write(host.dirs.aside(), "nonsense").unwrap();
        assert_eq!(host.aside().unwrap(), Aside::default());
        host.put_aside(&state.name, &state.interfaces, &[], "test").unwrap();
        assert_ne!(host.aside().unwrap(), Aside::default());
    }
}
