//! Addresses and interfaces: what is wished for, and the settings that make it so.

mod bridge;
mod name;

use std::net::{IpAddr, Ipv4Addr};

use bridge::{New, find};
use name::{note_names, place};

use super::{Given, Held, Refused, Surroundings};
use crate::definition::{Network, NetworkKind};
use crate::id::NetworkName;
use crate::mac::Mac;
use crate::openvz::code::{self, Code};
use crate::openvz::key::Act;
use crate::openvz::value::{list, truth};

/// What is wished for, in the order in which it is done: taking away comes first.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    remove: Vec<IpAddr>,
    remove_all: bool,
    add: Vec<IpAddr>,
    remove_interfaces: Vec<String>,
    add_interfaces: Vec<New>,
    changes: Vec<(String, Change)>,
    /// The interface that `--ifname` has named.
    named: Option<String>,
    touched: bool,
}

/// A change of the interface that was named.
#[derive(Debug)]
enum Change {
    Mac(Mac),
    Bridge(String),
    Filter(bool),
    Dhcp(bool),
    Add(IpAddr),
    Remove(Option<IpAddr>),
}

/// An interface as it is to be.
#[derive(Debug, Clone)]
struct Planned {
    network: NetworkName,
    /// What it has that is known; `None`: one of each family that is free.
    addresses: Option<Vec<IpAddr>>,
    /// Its place so far.
    was: Option<usize>,
    /// What it is called inside; `None`: that comes with it.
    name: Option<String>,
    /// What it was to be called.
    asked: Option<String>,
    /// Keys of its table, with their values.
    keys: Vec<(&'static str, String)>,
    changed: bool,
}

fn refuse(code: Code, why: impl Into<String>) -> Refused {
    let message = why.into();
    Refused { code, message }
}

/// An address; a mask behind it, as bits or as 255.255.255.0, is not heeded, as each is routed by itself.
fn address(text: &str) -> Result<IpAddr, Refused> {
    let wrong = || refuse(code::ADDRESS, format!("\"{text}\" is not an address"));
    let (bare, mask) = text
        .split_once('/')
        .map_or((text, None), |(bare, mask)| (bare, Some(mask)));
    let address: IpAddr = bare.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let is_mask = |mask: &str| {
        let dotted = || {
            address.is_ipv4()
                && mask
                    .parse::<Ipv4Addr>()
                    .is_ok_and(|m| (!m.to_bits()).wrapping_add(1).is_power_of_two())
        };
        mask.parse::<u8>().is_ok_and(|bits| bits <= most) || dotted()
    };
    match mask {
        Some(mask) if !is_mask(mask) => Err(wrong()),
        _ => Ok(address),
    }
}

fn mac(text: &str) -> Result<Mac, Refused> {
    text.parse()
        .map_err(|e: crate::mac::MacError| refuse(code::VALUE, e.to_string()))
}

fn on(text: &str) -> Result<bool, Refused> {
    truth(text).map_err(|e| refuse(code::VALUE, e.to_string()))
}

/// The rate of `dev:class:kbit`.
pub(super) fn kbit(text: &str) -> Result<u64, Refused> {
    let parts: Vec<&str> = text.split_whitespace().next().unwrap_or_default().split(':').collect();
    let number = match parts.as_slice() {
        [_, number] | [_, _, number] => number.parse().ok(),
        _ => None,
    };
    number.filter(|n| *n >= 64).ok_or_else(|| {
        refuse(
            code::VALUE,
            format!("\"{text}\" is not DEVICE:CLASS:KBIT, of 64 at least"),
        )
    })
}

impl Wishes {
    pub(super) fn take(&mut self, given: &Given<'_>, act: Act, networks: &[Network]) -> Result<(), Refused> {
        self.touched = true;
        let value = given.value.trim();
        match act {
            Act::NameInterface => self.named = Some(value.to_owned()),
            Act::AddAddress => {
                for text in list(value) {
                    let address = address(text)?;
                    match self.named.clone() {
                        Some(name) => self.changes.push((name, Change::Add(address))),
                        None => self.add.push(address),
                    }
                }
            }
            Act::RemoveAddress => {
                for text in list(value) {
                    let which = if text == "all" { None } else { Some(address(text)?) };
                    match (self.named.clone(), which) {
                        (Some(name), which) => self.changes.push((name, Change::Remove(which))),
                        (None, None) => self.remove_all = true,
                        (None, Some(address)) => self.remove.push(address),
                    }
                }
            }
            Act::AddInterface => self.add_interfaces.push(New::of_option(value)?),
            Act::RemoveInterface => self.remove_interfaces.extend(list(value).map(str::to_owned)),
            Act::Interfaces => {
                for text in value.split(';').map(str::trim).filter(|t| !t.is_empty()) {
                    self.add_interfaces.push(New::of_file(text)?);
                }
            }
            Act::Mac => self.change(given, Change::Mac(mac(value)?))?,
            Act::Bridge => self.change(given, Change::Bridge(value.to_owned()))?,
            Act::Network => {
                find(networks, value)?;
                self.change(given, Change::Bridge(value.to_owned()))?;
            }
            Act::MacFilter => self.change(given, Change::Filter(on(value)?))?,
            _ => self.change(given, Change::Dhcp(on(value)?))?,
        }
        Ok(())
    }

    fn change(&mut self, given: &Given<'_>, change: Change) -> Result<(), Refused> {
        let name = self.named.clone().ok_or_else(|| {
            refuse(
                code::VALUE,
                format!("{}: say of which interface first, with --ifname", given.named),
            )
        })?;
        // One that is added by the same command is not there yet.
        match (self.add_interfaces.iter_mut().find(|new| new.name == name), change) {
            (Some(new), Change::Mac(mac)) => new.mac = Some(mac),
            (Some(new), Change::Bridge(bridge)) => new.bridge = Some(bridge),
            (Some(new), Change::Filter(filter)) => new.filter = Some(filter),
            // Of either family: Hostel has one switch for both.
            (Some(new), Change::Dhcp(dhcp)) => new.dhcp |= dhcp,
            (None, Change::Dhcp(dhcp)) => {
                let of_it = |(of, change): &&mut (String, Change)| *of == name && matches!(change, Change::Dhcp(_));
                match self.changes.iter_mut().find(of_it) {
                    Some((_, Change::Dhcp(before))) => *before |= dhcp,
                    _ => self.changes.push((name, Change::Dhcp(dhcp))),
                }
            }
            (_, change) => self.changes.push((name, change)),
        }
        Ok(())
    }

    /// The settings that make it so.
    pub(super) fn settings(
        self,
        around: &Surroundings<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<(String, String)>, Refused> {
        let mut plan: Vec<Planned> = around.interfaces.iter().enumerate().map(Planned::of).collect();
        let bridged = |network: &NetworkName| {
            let known = around.networks.iter().find(|n| n.name == *network);
            known.is_some_and(|n| n.kind == NetworkKind::Bridge)
        };
        self.take_away(&mut plan, &bridged)?;
        // Before those of addresses: what is called eth0 here is not to become eth1 for one beside it.
        for new in self.add_interfaces {
            plan.push(new.planned(around, &plan)?);
        }
        for address in &self.add {
            add(&mut plan, around.networks, *address)?;
        }
        for (name, change) in &self.changes {
            let at = place(&plan, &bridged, name)?;
            change.apply(&mut plan[at], around.networks)?;
        }
        drop_empty(&mut plan, &bridged)?;
        note_names(&plan, notes);
        let touched = self.touched || around.creating;
        Ok(if touched {
            settings_of(&plan, around)
        } else {
            Vec::new()
        })
    }

    /// First the addresses, then the interfaces on bridges. One that has no address left may be given another.
    fn take_away(&self, plan: &mut Vec<Planned>, bridged: &dyn Fn(&NetworkName) -> bool) -> Result<(), Refused> {
        for planned in plan.iter_mut().filter(|p| self.remove_all && !bridged(&p.network)) {
            planned.addresses = Some(Vec::new());
            planned.changed = true;
        }
        for address in &self.remove {
            for planned in plan.iter_mut() {
                planned.drop_address(*address);
            }
        }
        for name in &self.remove_interfaces {
            if name == "all" {
                plan.retain(|p| !bridged(&p.network));
            } else {
                let at = place(plan, bridged, name)?;
                plan.remove(at);
            }
        }
        Ok(())
    }
}

/// With its last address a VE leaves a routed network. A bridge without any would be given a free one: its last one stays.
fn drop_empty(plan: &mut Vec<Planned>, bridged: &dyn Fn(&NetworkName) -> bool) -> Result<(), Refused> {
    let is_empty = |p: &Planned| p.addresses.as_ref().is_some_and(Vec::is_empty);
    plan.retain(|p| !is_empty(p) || bridged(&p.network));
    match plan.iter().find(|p| is_empty(p)) {
        None => Ok(()),
        Some(last) => {
            let why = format!(
                "its last address on the bridge network \"{}\" goes with --netif_del",
                last.network
            );
            Err(refuse(code::ADDRESS, why))
        }
    }
}

impl Planned {
    fn of((at, held): (usize, &Held)) -> Self {
        Self {
            network: held.network.clone(),
            addresses: Some(held.addresses.clone()).filter(|list| !list.is_empty()),
            was: Some(at),
            name: Some(held.name.clone()),
            asked: None,
            keys: Vec::new(),
            changed: false,
        }
    }

    fn add_address(&mut self, address: IpAddr) {
        let list = self.addresses.get_or_insert_default();
        if !list.contains(&address) {
            list.push(address);
            self.changed = true;
        }
    }

    fn drop_address(&mut self, address: IpAddr) {
        if let Some(list) = &mut self.addresses {
            let before = list.len();
            list.retain(|a| *a != address);
            self.changed |= list.len() != before;
        }
    }
}

impl Change {
    fn apply(&self, planned: &mut Planned, networks: &[Network]) -> Result<(), Refused> {
        match self {
            Self::Mac(mac) => planned.keys.push(("mac", mac.to_string())),
            Self::Filter(filter) => planned.keys.push(("allow_mac_spoofing", (!filter).to_string())),
            Self::Dhcp(dhcp) => planned.keys.push(("allow_dhcp_client", dhcp.to_string())),
            Self::Add(address) => planned.add_address(*address),
            Self::Remove(Some(address)) => planned.drop_address(*address),
            Self::Remove(None) => {
                planned.addresses = None;
                planned.changed = true;
            }
            Self::Bridge(bridge) => {
                let network = &find(networks, bridge)?.name;
                if *network == planned.network {
                    return Ok(());
                }
                planned.network = network.clone();
                planned.keys.push(("network", planned.network.to_string()));
                // Addresses are of a network's pools.
                planned.addresses = None;
                planned.changed = true;
            }
        }
        Ok(())
    }
}

/// Puts an address on the network that has it in a pool: on one that the VE is on, if there is such.
fn add(plan: &mut Vec<Planned>, networks: &[Network], address: IpAddr) -> Result<(), Refused> {
    let has = |n: &&Network| n.pools.iter().any(|pool| pool.contains(address));
    let joined = plan
        .iter_mut()
        .find(|p| networks.iter().any(|n| n.name == p.network && has(&n)));
    if let Some(planned) = joined {
        planned.add_address(address);
        return Ok(());
    }
    let routed = |n: &&Network| n.kind != NetworkKind::Bridge && has(n);
    let network = networks
        .iter()
        .find(routed)
        .or_else(|| networks.iter().find(has))
        .ok_or_else(|| {
            let why = format!("{address} is of no pool of a network of Hostel's; see them with: hostel network list");
            refuse(code::NO_ADDRESS, why)
        })?;
    plan.push(Planned {
        network: network.name.clone(),
        addresses: Some(vec![address]),
        was: None,
        name: None,
        asked: None,
        keys: Vec::new(),
        changed: true,
    });
    Ok(())
}

fn settings_of(plan: &[Planned], around: &Surroundings<'_>) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    for (at, held) in around.interfaces.iter().enumerate() {
        if !plan.iter().any(|p| p.was == Some(at)) {
            settings.push(("network-".to_owned(), held.network.to_string()));
        }
    }
    if around.creating && plan.is_empty() {
        // Without this it would be put on the network that all are put on, with an address that nobody asked for.
        settings.extend(
            around
                .default_network
                .iter()
                .map(|n| ("network-".to_owned(), n.to_string())),
        );
    }
    for (at, planned) in plan.iter().enumerate() {
        let mut put = |key: &str, value: String| settings.push((format!("network.{at}.{key}"), value));
        if planned.was.is_none() {
            match around.creating {
                true => put("network", planned.network.to_string()),
                false => settings.push(("network+".to_owned(), planned.network.to_string())),
            }
        }
        let mut put = |key: &str, value: String| settings.push((format!("network.{at}.{key}"), value));
        for (key, value) in &planned.keys {
            put(key, value.clone());
        }
        if planned.changed {
            let all = |list: &Vec<IpAddr>| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            put(
                "addresses",
                planned.addresses.as_ref().map_or_else(|| "auto".to_owned(), all),
            );
        }
    }
    settings
}
