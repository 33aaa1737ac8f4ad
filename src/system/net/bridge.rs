//! The bridges of networks. A bridge of Hostel's belongs to its network and not to a VE: the first start that needs it
//! makes it, each start mends it, and it stays until its network is no more.
//!
//! ```text
//!   VE              host
//!   eth0 ───────── hv101.0 ┐
//!   eth0 ───────── hv102.0 ┼ brhv-lan ─ vlhv-lan (VLAN 20 of eth1), eth1 itself, or nothing
//!                          │    host_addresses, if any
//! ```

use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::address::AddressScope;
use sha2::{Digest, Sha256};

use super::inspect::{self, Interface};
use super::netlink::Netlink;
use super::routed::{Step, apply, existing};
use super::sysctl::Sysctl;
use super::{BRIDGE_ALIAS_PREFIX, Bridge, Bridged, FoundBridge, OwnBridge, Uplink, check, message};
use crate::error::{Error, Kind, Result};

/// Settings of a bridge before it comes up: the host takes no address and no route from what VEs or strangers announce.
const IPV4_SETTINGS: &[(&str, &str)] = &[("rp_filter", "1"), ("accept_redirects", "0")];
const IPV6_SETTINGS: &[(&str, &str)] = &[("accept_ra", "0"), ("autoconf", "0"), ("accept_redirects", "0")];

/// What tells this machine from others (machine-id(5)).
const MACHINE: &str = "/etc/machine-id";
/// Between the alias of a bridge and its uplink.
const UPLINK: &str = " on ";

impl OwnBridge {
    /// The alias that a bridge gets when it is whole: whether its uplink has changed since is seen without looking for
    /// its ports, which may be a thousand.
    fn whole_alias(&self) -> String {
        match &self.uplink {
            None => self.alias.clone(),
            Some(Uplink { name, vlan: None }) => format!("{}{UPLINK}{name}", self.alias),
            Some(Uplink { name, vlan: Some(vlan) }) => format!("{}{UPLINK}{name}, VLAN {}", self.alias, vlan.id),
        }
    }
}

impl Interface {
    /// Was it made for this bridge (or is it half made, by us)?
    fn is_of(&self, own: &OwnBridge) -> bool {
        self.plain_alias() == own.alias || (self.alias.is_empty() && self.is_ours())
    }

    /// The alias without the uplink.
    fn plain_alias(&self) -> &str {
        self.alias.split(UPLINK).next().unwrap_or_default()
    }
}

/// See [`super::Network::bridge`].
pub(super) fn ensure(sysctl: &Sysctl, bridge: &Bridge) -> Result<Bridged> {
    check::bridge(bridge)?;
    let mut netlink = inspect::open()?;
    let name = bridge.name.as_str();
    let found = inspect::find(&mut netlink, name, false)?;
    let Some(own) = &bridge.own else {
        let why = match found {
            Some(found) if found.is_bridge() => return Ok(Bridged::default()),
            Some(_) => "it is no bridge",
            None => "there is no interface of that name",
        };
        return Err(Error::new("use bridge", name, why)
            .kind(Kind::NotFound)
            .hint("make it, or leave \"bridge\" out of the network's definition: Hostel makes one then"));
    };
    if found.as_ref().is_some_and(|f| !f.is_of(own) || !f.is_bridge()) {
        return Err(
            Error::new("make bridge", name, "there is another interface of that name")
                .kind(Kind::Exists)
                .hint("remove or rename it, or choose another interface prefix in hostel.toml"),
        );
    }
    let is_new = found.is_none();
    let made = Making {
        sysctl,
        name,
        own,
        netlink: &mut netlink,
    }
    .make(found);
    let narrow = made.map_err(|e| match is_new.then(|| remove(name)) {
        None | Some(Ok(())) => e,
        Some(Err(undo)) => e.hint(format!("{undo} either; remove it by hand: ip link delete {name}")),
    })?;
    Ok(Bridged { made: is_new, narrow })
}

struct Making<'a> {
    sysctl: &'a Sysctl,
    name: &'a str,
    own: &'a OwnBridge,
    netlink: &'a mut Netlink,
}

impl Making<'_> {
    fn step(&mut self, act: &'static str, request: super::netlink::Request) -> Result<()> {
        let object = self.name.to_owned();
        apply(self.netlink, &[Step { act, object, request }])
    }

    /// Gives the MTU of the uplink if it is smaller than the bridge's.
    fn make(&mut self, found: Option<Interface>) -> Result<Option<u32>> {
        if found.is_none() {
            let address = self.hardware_address()?;
            self.step("make bridge", message::create_bridge(self.name, address))?;
        }
        let ipv6 = self.sysctl.has_ipv6();
        let index = existing(self.netlink, self.name)?;
        let alias = found.as_ref().map(|f| f.alias.clone()).unwrap_or_default();
        if alias.is_empty() {
            self.step("set the alias of", message::mark_host_end(index, &self.own.alias, ipv6))?;
        }
        self.configure(ipv6)?;
        if let Some(mtu) = self.own.mtu.filter(|mtu| found.is_none_or(|f| f.mtu != *mtu)) {
            self.step("set the MTU of", message::set_mtu(index, mtu))?;
        }
        // Big ones come with the first port (`port::join`): a bridge without any takes none.
        if !self.own.big_tcp {
            self.step("set the pieces of TCP of", message::set_big_tcp(index, false))?;
        }
        self.set_addresses(index)?;
        let port = match &self.own.uplink {
            Some(uplink) => Some(self.uplink(index, uplink)?),
            None => None,
        };
        // First out, then in: two uplinks at once could be a loop.
        let whole = self.own.whole_alias();
        if alias != whole {
            self.expel_others(index, port.as_ref().map(|p| p.index))?;
        }
        let narrow = port.as_ref().map(|p| p.mtu);
        let narrow = narrow.filter(|mtu| self.own.mtu.is_some_and(|own| own > *mtu));
        if let Some(port) = port.filter(|p| p.master != index) {
            self.step("take the uplink into", message::enslave(port.index, index))?;
            self.step("bring up the uplink of", message::up(port.index))?;
        }
        if alias != whole {
            self.step("set the alias of", message::mark_host_end(index, &whole, ipv6))?;
        }
        self.step("bring up bridge", message::up(index))?;
        Ok(narrow)
    }

    /// Local, of one interface, and the same whenever the bridge is made anew: guests that run know it already. Left to
    /// itself a bridge takes the least of its ports' addresses, another one whenever a VE comes or goes.
    fn hardware_address(&mut self) -> Result<[u8; 6]> {
        let machine = crate::file::read_opt(Path::new(MACHINE))?.unwrap_or_default();
        // Machines that were copied may have one id, but no two on an Ethernet have one address there.
        let uplink = match &self.own.uplink {
            Some(uplink) => inspect::find(self.netlink, &uplink.name, false)?.and_then(|found| found.mac),
            None => None,
        };
        let stable = format!("{}\n{}\n{uplink:?}", machine.trim(), self.name);
        let mut address = [0; 6];
        address
            .iter_mut()
            .zip(Sha256::digest(stable))
            .for_each(|(to, byte)| *to = byte);
        // Not 02:68, which VEs' addresses begin with.
        address[0] = 0x0a;
        Ok(address)
    }

    fn configure(&self, ipv6: bool) -> Result<()> {
        let (sysctl, name) = (self.sysctl, self.name);
        let set = |family: &str, settings: &[(&str, &str)]| {
            let key = |key: &str| format!("{family}/conf/{name}/{key}");
            settings
                .iter()
                .try_for_each(|(k, value)| sysctl.set(&key(k), value).map(drop))
        };
        set("ipv4", IPV4_SETTINGS)?;
        if !ipv6 {
            return Ok(());
        }
        // Without an address of its own there the host is nobody's neighbour.
        let has = self.own.addresses.iter().any(IpNetwork::is_ipv6);
        set("ipv6", &[("disable_ipv6", if has { "0" } else { "1" })])?;
        set("ipv6", IPV6_SETTINGS)
    }

    /// The host has these addresses there and no others.
    fn set_addresses(&mut self, index: u32) -> Result<()> {
        let has = inspect::addresses(self.netlink, index)?;
        let wanted = &self.own.addresses;
        for old in has.iter().filter(|a| !wanted.contains(a)) {
            self.step("remove an address of", message::delete_address(index, *old))?;
        }
        for new in wanted.iter().filter(|a| !has.contains(a)) {
            let request = message::add_address(index, new.ip(), new.prefix(), AddressScope::Universe);
            self.step("add an address to", request)?;
        }
        Ok(())
    }

    /// What is to become a port: the host's interface, or a VLAN of it. Refused if somebody else has it.
    fn uplink(&mut self, bridge: u32, uplink: &Uplink) -> Result<Interface> {
        let refuse = |why: &str| Error::new("use uplink", &uplink.name, why.to_owned()).kind(Kind::NotFound);
        let base = inspect::find(self.netlink, &uplink.name, false)?
            .ok_or_else(|| refuse("there is no interface of that name"))?;
        self.step("bring up the uplink of", message::up(base.index))?;
        let port = match &uplink.vlan {
            Some(vlan) => self.vlan(base.index, vlan.id, &vlan.device)?,
            None => base,
        };
        if port.master == bridge {
            return Ok(port);
        }
        if port.master != 0 {
            return Err(refuse("it is a port of another bridge or bond").kind(Kind::Exists));
        }
        // Of a port the host hears nothing any more: whoever logs in by that address would be cut off.
        let addresses = inspect::addresses(self.netlink, port.index)?;
        if let Some(address) = addresses
            .iter()
            .find(|a| !matches!(a.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local()))
        {
            return Err(refuse(&format!("the host has the address {address} on it"))
                .kind(Kind::Busy)
                .hint("move that address: to the network's host_addresses, or to a bridge of your own (\"bridge\")"));
        }
        Ok(port)
    }

    fn vlan(&mut self, base: u32, id: u16, device: &str) -> Result<Interface> {
        let mut found = inspect::find(self.netlink, device, false)?;
        if let Some(old) = &found {
            if !old.is_of(self.own) {
                return Err(
                    Error::new("make VLAN interface", device, "there is another interface of that name")
                        .kind(Kind::Exists)
                        .hint("remove or rename it, or choose another interface prefix in hostel.toml"),
                );
            }
            if (old.link, old.vlan) != (base, Some(id)) {
                self.step("remove the VLAN interface of", message::delete(old.index))?;
                found = None;
            }
        }
        if found.is_none() {
            let made = self.step("make the VLAN interface of", message::create_vlan(device, base, id));
            made.map_err(|e| match e.kind {
                Kind::Unsupported => e.hint("this kernel has no VLANs (8021q); load the module, or leave \"vlan\" out"),
                _ => e,
            })?;
        }
        let index = existing(self.netlink, device)?;
        let ipv6 = self.sysctl.has_ipv6();
        self.step(
            "set the alias of the VLAN of",
            message::mark_host_end(index, &self.own.alias, ipv6),
        )?;
        let gone = || Error::new("look up interface", device, "it vanished while it was set up").kind(Kind::NotFound);
        inspect::find(self.netlink, device, false)?.ok_or_else(gone)
    }

    /// An uplink that the definition names no more would join two Ethernets that are to be apart.
    fn expel_others(&mut self, bridge: u32, uplink: Option<u32>) -> Result<()> {
        let all = inspect::all(self.netlink)?;
        for other in all
            .iter()
            .filter(|i| i.master == bridge && Some(i.index) != uplink && !i.is_port_of_ve())
        {
            let request = match other.is_of(self.own) {
                true => message::delete(other.index),
                false => message::release(other.index),
            };
            self.step("take out what doesn't belong in", request)?;
        }
        Ok(())
    }
}

/// See [`super::Network::bridges`].
pub(super) fn list(prefix: &str) -> Result<Vec<FoundBridge>> {
    check::prefix(prefix)?;
    let mut netlink = inspect::open()?;
    let all = inspect::all(&mut netlink)?;
    let begin = format!("br{prefix}-");
    let ours = all
        .iter()
        .filter(|i| i.is_bridge() && i.is_ours() && i.name.starts_with(&begin));
    let ports = |bridge: &Interface| {
        all.iter()
            .filter(|i| i.master == bridge.index)
            .map(|i| i.name.clone())
            .collect()
    };
    let found = |i: &Interface| FoundBridge {
        name: i.name.clone(),
        network: i
            .plain_alias()
            .strip_prefix(BRIDGE_ALIAS_PREFIX)
            .unwrap_or_default()
            .to_owned(),
        ports: ports(i),
    };
    let mut found: Vec<FoundBridge> = ours.map(found).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// See [`super::Network::vlans`].
pub(super) fn vlans(prefix: &str) -> Result<Vec<String>> {
    check::prefix(prefix)?;
    let begin = format!("vl{prefix}-");
    let all = inspect::all(&mut inspect::open()?)?.into_iter();
    let alone = all.filter(|i| i.vlan.is_some() && i.master == 0 && i.is_ours() && i.name.starts_with(&begin));
    let mut names: Vec<String> = alone.map(|i| i.name).collect();
    names.sort_unstable();
    Ok(names)
}

/// See [`super::Network::unbridge`].
pub(super) fn remove(name: &str) -> Result<()> {
    check::interface_name(name)?;
    let mut netlink = inspect::open()?;
    let all = inspect::all(&mut netlink)?;
    let Some(bridge) = all.iter().find(|i| i.name == name) else {
        return Ok(());
    };
    if !bridge.is_ours() || !(bridge.is_bridge() || bridge.vlan.is_some()) {
        return Err(Error::new("remove bridge", name, "it isn't Hostel's").kind(Kind::Exists));
    }
    let ports = || all.iter().filter(|i| i.master == bridge.index);
    if let Some(port) = ports().find(|p| p.is_port_of_ve()) {
        return Err(
            Error::new("remove bridge", name, format!("{} is a port of it", port.name))
                .kind(Kind::Busy)
                .hint("stop the VEs on it first"),
        );
    }
    // The uplink is let go with the bridge; a VLAN of it was made for the bridge alone, and may not be its port yet.
    let made_for = |i: &&Interface| {
        i.vlan.is_some() && i.is_ours() && (i.master == bridge.index || i.alias == bridge.plain_alias())
    };
    let vlans = all.iter().filter(made_for);
    for interface in vlans.chain([bridge]) {
        match netlink.apply(&[message::delete(interface.index)]) {
            Err(refusal) if refusal.errno() != libc::ENODEV => {
                return Err(refusal.into_error("remove interface", &interface.name));
            }
            _ => {}
        }
    }
    Ok(())
}
