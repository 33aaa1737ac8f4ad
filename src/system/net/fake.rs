//! A network without a kernel, for tests of the floors above.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{
    BRIDGE_ALIAS_PREFIX, Bridge, Bridged, Counters, Direction, FoundBridge, FoundLink, FoundProxy, Link, Local, Need,
    Network, Probe, Shape, check,
};
use crate::error::{Error, Kind, Result};
use crate::fake::{Calls, steered};

mod harm;

/// A [`Network`] that remembers what it was told, checks it as the real one does, and fails when told to.
#[derive(Debug, Default)]
pub struct FakeNetwork {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<String, Link>,
    bridges: BTreeMap<String, Bridge>,
    unplugged: BTreeSet<String>,
    shapes: BTreeMap<String, Direction>,
    unable_to_shape: Option<String>,
    foreign: Vec<String>,
    vlans: BTreeSet<String>,
    proxies: BTreeSet<FoundProxy>,
    announced: Vec<IpAddr>,
    neighbours: BTreeMap<IpAddr, [u8; 6]>,
    mtus: BTreeMap<String, u32>,
    counters: BTreeMap<String, Counters>,
    forwarding: bool,
    local: Local,
    calls: Calls,
}

steered!(FakeNetwork);

impl FakeNetwork {
    /// A host without links.
    pub fn new() -> Self {
        Self::default()
    }

    /// The links there are, in order of the host end's name.
    pub fn links(&self) -> Vec<Link> {
        self.state().links.values().cloned().collect()
    }

    /// What the host answers for, in order.
    pub fn proxies(&self) -> Vec<FoundProxy> {
        self.state().proxies.iter().cloned().collect()
    }

    /// The addresses that were announced since this was asked last, in order.
    pub fn announced(&self) -> Vec<IpAddr> {
        std::mem::take(&mut self.state().announced)
    }

    /// An interface of the host's takes frames of no more than this.
    pub fn set_mtu(&self, interface: &str, mtu: u32) {
        self.state().mtus.insert(interface.to_owned(), mtu);
    }

    /// Somebody out there has this address.
    pub fn add_neighbour(&self, address: IpAddr, mac: [u8; 6]) {
        self.state().neighbours.insert(address, mac);
    }

    /// Who had it is gone.
    pub fn remove_neighbour(&self, address: IpAddr) {
        self.state().neighbours.remove(&address);
    }

    /// An interface of the host goes down, and with it what the host answers for on it.
    pub fn lose_proxies(&self) {
        self.state().proxies.clear();
    }

    /// The bridges of ours there are, in order of name.
    pub fn own_bridges(&self) -> Vec<Bridge> {
        let state = self.state();
        state.bridges.values().filter(|b| b.own.is_some()).cloned().collect()
    }

    /// Somebody removes a bridge, whoever is on it.
    pub fn lose_bridge(&self, name: &str) {
        let mut state = self.state();
        state.bridges.remove(name);
        let on = |l: &&Link| l.port.as_ref().is_some_and(|p| p.bridge == name);
        let lost: Vec<String> = state.links.values().filter(on).map(|l| l.host_name.clone()).collect();
        state.unplugged.extend(lost);
    }

    /// The limits in force, by the names of their queues.
    pub fn shapes(&self) -> BTreeMap<String, Direction> {
        self.state().shapes.clone()
    }

    /// This host can't limit traffic.
    pub fn lack_shaping(&self, why: &str) {
        self.state().unable_to_shape = Some(why.to_owned());
    }

    /// Puts a bridge there that isn't ours.
    pub fn add_foreign_bridge(&self, name: &str) {
        let bridge = Bridge {
            name: name.to_owned(),
            own: None,
        };
        self.state().bridges.insert(name.to_owned(), bridge);
    }

    /// Puts an interface there that isn't ours.
    pub fn add_foreign(&self, name: &str) {
        self.state().foreign.push(name.to_owned());
    }

    /// Sets what the host has itself.
    pub fn set_local(&self, local: Local) {
        self.state().local = local;
    }

    /// Turns forwarding off, as a boot of the host does.
    pub fn forget_forwarding(&self) {
        self.state().forwarding = false;
    }

    /// Does the host forward?
    pub fn forwards(&self) -> bool {
        self.state().forwarding
    }

    /// Sets what [`Network::counters`] tells of a link.
    pub fn set_counters(&self, host_name: &str, counters: Counters) {
        self.state().counters.insert(host_name.to_owned(), counters);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, method: &'static str) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.note(method, "the fake network")?;
        Ok(state)
    }
}

impl State {
    fn answer_for(&mut self, link: &Link) {
        let proxy = |uplink: &String, address: &IpAddr| FoundProxy {
            uplink: uplink.clone(),
            address: *address,
            ours: true,
        };
        let uplink = link.proxy.iter();
        let new = uplink.flat_map(|uplink| link.addresses.iter().map(move |a| proxy(uplink, a)));
        self.proxies.extend(new);
    }

    fn bridge_of(&self, link: &Link) -> Result<()> {
        match link.port.as_ref().filter(|p| !self.bridges.contains_key(&p.bridge)) {
            None => Ok(()),
            Some(port) => {
                let none = "there is no bridge of that name";
                Err(Error::new("find bridge", &port.bridge, none).kind(Kind::NotFound))
            }
        }
    }

    fn refuse_foreign(&self, name: &str) -> Result<()> {
        if self.foreign.iter().any(|f| f == name) {
            return Err(Error::new("remove interface", name, "it isn't Hostel's").kind(Kind::Exists));
        }
        Ok(())
    }
}

impl Network for FakeNetwork {
    fn attach(&self, _netns: BorrowedFd<'_>, links: &[Link]) -> Result<()> {
        let mut state = self.call("attach")?;
        check::links(links)?;
        for link in links {
            state.refuse_foreign(&link.host_name)?;
            state.bridge_of(link)?;
            let others = state
                .links
                .values()
                .filter(|l| links.iter().all(|new| new.host_name != l.host_name));
            if let Some(address) = others.flat_map(|l| &l.addresses).find(|a| link.addresses.contains(a)) {
                let object = format!("{address} by {}", link.host_name);
                return Err(Error::new("add route to", object, "it is routed elsewhere").kind(Kind::Exists));
            }
        }
        links.iter().for_each(|l| state.answer_for(l));
        state
            .links
            .extend(links.iter().map(|l| (l.host_name.clone(), l.clone())));
        Ok(())
    }

    fn readdress(&self, _init: u32, old: &[Link], new: &[Link]) -> Result<Vec<String>> {
        let mut state = self.call("readdress")?;
        check::links(new)?;
        let is_in = |link: &Link, list: &[Link]| list.iter().any(|l| l.host_name == link.host_name);
        for going in old.iter().filter(|l| !is_in(l, new)) {
            state.links.remove(&going.host_name);
            state.counters.remove(&going.host_name);
        }
        for coming in new.iter().filter(|l| !is_in(l, old)) {
            let bare = Link {
                addresses: Vec::new(),
                ..coming.clone()
            };
            state.bridge_of(coming)?;
            state.links.entry(coming.host_name.clone()).or_insert(bare);
        }
        let has = |a: &IpAddr| new.iter().any(|l| l.addresses.contains(a));
        let given_up = |a: &IpAddr| old.iter().any(|l| l.addresses.contains(a)) && !has(a);
        state.proxies.retain(|p| !given_up(&p.address));
        for link in new {
            let others = state.links.values().filter(|l| l.host_name != link.host_name);
            if let Some(address) = others.flat_map(|l| &l.addresses).find(|a| link.addresses.contains(a)) {
                let object = format!("the route to {address} by {}", link.host_name);
                return Err(Error::new("add", object, "it is routed elsewhere").kind(Kind::Exists));
            }
            let missing = || Error::new("look up interface", &link.host_name, "it isn't there").kind(Kind::NotFound);
            let there = state.links.get_mut(&link.host_name).ok_or_else(missing)?;
            there.addresses.clone_from(&link.addresses);
            there.routes.clone_from(&link.routes);
            state.answer_for(link);
        }
        Ok(Vec::new())
    }

    fn announce(&self, _init: u32, links: &[Link]) -> Result<()> {
        let mut state = self.call("announce")?;
        let known = links.iter().filter(|l| l.port.is_some() || l.proxy.is_some());
        state.announced.extend(known.flat_map(|l| l.addresses.clone()));
        Ok(())
    }

    fn probe(&self, probes: &[Probe], _within: Duration) -> Result<Vec<(IpAddr, [u8; 6])>> {
        let state = self.call("probe")?;
        let one = |p: &Probe| {
            let has = p.addresses.iter().filter_map(|a| Some((*a, *state.neighbours.get(a)?)));
            has.filter(|(_, mac)| Some(*mac) != p.own).collect::<Vec<_>>()
        };
        Ok(probes.iter().flat_map(one).collect())
    }

    fn proxy(&self, uplink: &str, addresses: &[IpAddr]) -> Result<()> {
        let mut state = self.call("proxy")?;
        check::interface_name(uplink)?;
        state.proxies.extend(addresses.iter().map(|a| FoundProxy {
            uplink: uplink.to_owned(),
            address: *a,
            ours: true,
        }));
        Ok(())
    }

    fn unproxy(&self, addresses: &[IpAddr]) -> Result<()> {
        let mut state = self.call("unproxy")?;
        state.proxies.retain(|p| !addresses.contains(&p.address));
        Ok(())
    }

    fn proxied(&self, prefix: &str) -> Result<Vec<FoundProxy>> {
        let state = self.call("proxied")?;
        check::prefix(prefix)?;
        Ok(state.proxies.iter().cloned().collect())
    }

    fn lay(&self, links: &[Link]) -> Result<Vec<String>> {
        drop(self.call("lay")?);
        let here = std::fs::File::open("/dev/null").map_err(|e| Error::os("open", "/dev/null", e))?;
        self.attach(std::os::fd::AsFd::as_fd(&here), links)?;
        Ok((0..links.len()).map(|n| format!("end{n}")).collect())
    }

    fn settings(&self, _init: u32) -> Result<BTreeMap<String, String>> {
        self.call("settings").map(|_| BTreeMap::new())
    }

    fn set_settings(&self, _init: u32, _settings: &BTreeMap<String, String>) -> Result<Vec<String>> {
        self.call("set_settings").map(|_| Vec::new())
    }

    fn detach(&self, host_names: &[String]) -> Result<()> {
        let mut state = self.call("detach")?;
        host_names.iter().try_for_each(|name| check::interface_name(name))?;
        host_names.iter().try_for_each(|name| state.refuse_foreign(name))?;
        for name in host_names {
            state.unplugged.remove(name);
            state.links.remove(name);
            state.counters.remove(name);
        }
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<FoundLink>> {
        let state = self.call("list")?;
        check::prefix(prefix)?;
        let ours = state.links.values().filter(|l| check::belongs(&l.host_name, prefix));
        let found = |l: &Link| {
            let mut addresses = l.addresses.clone();
            addresses.sort_unstable();
            let port = l.port.as_ref().filter(|_| !state.unplugged.contains(&l.host_name));
            FoundLink {
                name: l.host_name.clone(),
                alias: l.alias.clone(),
                addresses,
                bridge: port.map(|p| p.bridge.clone()),
            }
        };
        Ok(ours.map(found).collect())
    }

    fn bridge(&self, bridge: &Bridge) -> Result<Bridged> {
        let mut state = self.call("bridge")?;
        check::bridge(bridge)?;
        state.refuse_foreign(&bridge.name)?;
        let there = state.bridges.get(&bridge.name).map(|b| b.own.is_some());
        match (&bridge.own, there) {
            (None, Some(_)) => return Ok(Bridged::default()),
            (None, None) => {
                let none = "there is no interface of that name";
                return Err(Error::new("use bridge", &bridge.name, none).kind(Kind::NotFound));
            }
            (Some(_), Some(false)) => {
                let other = "there is another interface of that name";
                return Err(Error::new("make bridge", &bridge.name, other).kind(Kind::Exists));
            }
            (Some(_), _) => {}
        }
        let own = bridge.own.as_ref();
        let uplink = own.and_then(|own| state.mtus.get(&own.uplink.as_ref()?.name).copied());
        let mtu = own.and_then(|own| own.mtu);
        Ok(Bridged {
            made: state.bridges.insert(bridge.name.clone(), bridge.clone()).is_none(),
            narrow: uplink.filter(|uplink| mtu.is_some_and(|mtu| mtu > *uplink)),
        })
    }

    fn rejoin(&self, links: &[Link]) -> Result<usize> {
        let mut state = self.call("rejoin")?;
        check::links(links)?;
        let mut made = 0;
        for link in links {
            state.bridge_of(link)?;
            made += usize::from(state.unplugged.remove(&link.host_name));
        }
        Ok(made)
    }

    fn bridges(&self, prefix: &str) -> Result<Vec<FoundBridge>> {
        let state = self.call("bridges")?;
        check::prefix(prefix)?;
        let begin = format!("br{prefix}-");
        let ports = |name: &str| {
            let plugged = |l: &&Link| !state.unplugged.contains(&l.host_name);
            let on = |l: &&Link| l.port.as_ref().is_some_and(|p| p.bridge == name) && plugged(l);
            state.links.values().filter(on).map(|l| l.host_name.clone()).collect()
        };
        let ours = state.bridges.values().filter(|b| b.name.starts_with(&begin));
        let found = ours.filter_map(|b| {
            let network = b.own.as_ref()?.alias.strip_prefix(BRIDGE_ALIAS_PREFIX)?;
            Some(FoundBridge {
                name: b.name.clone(),
                network: network.to_owned(),
                ports: ports(&b.name),
            })
        });
        Ok(found.collect())
    }

    fn astray(&self, links: &[Link]) -> Result<Vec<(String, String)>> {
        let state = self.call("astray")?;
        let lost = |l: &&Link| {
            state
                .links
                .get(&l.host_name)
                .is_some_and(|has| has.addresses != l.addresses)
        };
        let told = |l: &Link| (l.host_name.clone(), "the host's routes are gone".to_owned());
        Ok(links.iter().filter(lost).map(told).collect())
    }

    fn mend(&self, links: &[Link]) -> Result<()> {
        let mut state = self.call("mend")?;
        for link in links {
            state.links.insert(link.host_name.clone(), link.clone());
        }
        Ok(())
    }

    fn vlans(&self, prefix: &str) -> Result<Vec<String>> {
        let state = self.call("vlans")?;
        let begin = format!("vl{prefix}-");
        Ok(state.vlans.iter().filter(|v| v.starts_with(&begin)).cloned().collect())
    }

    fn unbridge(&self, name: &str) -> Result<()> {
        let mut state = self.call("unbridge")?;
        let on = |l: &Link| l.port.as_ref().is_some_and(|p| p.bridge == name);
        if state.links.values().any(on) {
            return Err(Error::new("remove bridge", name, "VEs are on it").kind(Kind::Busy));
        }
        state.bridges.remove(name);
        state.vlans.remove(name);
        Ok(())
    }

    fn shape(&self, shape: &Shape) -> Result<()> {
        let mut state = self.call("shape")?;
        check::shape(shape)?;
        if let Some(why) = &state.unable_to_shape {
            return Err(Error::new("limit", &shape.alias, why.clone()).kind(Kind::Unsupported));
        }
        for direction in [&shape.inward, &shape.outward] {
            if let Some((gone, _)) = direction.links.iter().find(|(l, _)| !state.links.contains_key(l)) {
                return Err(Error::new("look up interface", gone, "it isn't there").kind(Kind::NotFound));
            }
            match direction.whole.is_some() || direction.links.iter().any(|(_, own)| own.is_some()) {
                true => state.shapes.insert(direction.device.clone(), direction.clone()),
                false => state.shapes.remove(&direction.device),
            };
        }
        Ok(())
    }

    fn unshape(&self, devices: &[String]) -> Result<()> {
        let mut state = self.call("unshape")?;
        for device in devices {
            check::interface_name(device)?;
            state.shapes.remove(device);
        }
        Ok(())
    }

    fn shapers(&self, prefix: &str) -> Result<Vec<String>> {
        let state = self.call("shapers")?;
        check::prefix(prefix)?;
        let names = state.shapes.keys().filter(|n| check::is_shaper(n, prefix));
        Ok(names.cloned().collect())
    }

    fn waits(&self, devices: &[String]) -> Result<Vec<Option<u64>>> {
        let state = self.call("waits")?;
        let waits = devices
            .iter()
            .map(|device| state.shapes.contains_key(device).then_some(0));
        Ok(waits.collect())
    }

    fn unable_to_shape(&self) -> Result<Option<String>> {
        Ok(self.call("unable_to_shape")?.unable_to_shape.clone())
    }

    fn counters(&self, host_name: &str) -> Result<Option<Counters>> {
        let state = self.call("counters")?;
        let there = state.links.contains_key(host_name) || state.shapes.contains_key(host_name);
        Ok(there.then(|| state.counters.get(host_name).copied().unwrap_or_default()))
    }

    fn own(&self, addresses: &[IpAddr]) -> Result<Vec<IpAddr>> {
        let state = self.call("own")?;
        let own = addresses.iter().filter(|a| state.local.addresses.contains(a));
        Ok(own.copied().collect())
    }

    fn local(&self) -> Result<Local> {
        Ok(self.call("local")?.local.clone())
    }

    fn prepare_host(&self) -> Result<Vec<String>> {
        let mut state = self.call("prepare_host")?;
        let changed = !std::mem::replace(&mut state.forwarding, true);
        Ok(if changed {
            vec!["net.ipv4.ip_forward: 0 -> 1".to_owned()]
        } else {
            Vec::new()
        })
    }

    fn unprepared(&self) -> Result<Vec<(Need, String)>> {
        let state = self.call("unprepared")?;
        Ok(if state.forwarding {
            Vec::new()
        } else {
            vec![(Need::Forwarding, "net.ipv4.ip_forward".to_owned())]
        })
    }
}
