//! Making and removing the links of VEs by netlink.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::guest::{self, Defaults};
use super::inspect;
use super::netlink::{Netlink, Request};
use super::remove::{self, remove_ours};
use super::sysctl::Sysctl;
use super::{
    Bridge, Bridged, Counters, FoundBridge, FoundLink, FoundProxy, Link, Local, Need, Network, Probe, Shape, announce,
    astray, bridge, check, lay, local, message, port, prepare, probe, proxy, readdress, settings, shape,
};
use crate::error::{Error, Kind, Result};

/// How long an interface may take to become able to send.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// Settings of a host end before it comes up: (file, value). Strict reverse path filtering also keeps the VE from
/// filling the host's ARP table; forwarding itself is inherited, and set in case the host's default was changed.
const IPV4_SETTINGS: &[(&str, &str)] = &[("rp_filter", "1"), ("forwarding", "1"), ("accept_redirects", "0")];
const IPV6_SETTINGS: &[(&str, &str)] = &[
    ("accept_ra", "0"),
    ("autoconf", "0"),
    ("forwarding", "1"),
    ("accept_redirects", "0"),
];

/// The network of routed VEs, made by netlink in the calling thread's network namespace.
#[derive(Debug, Clone)]
pub struct RoutedNetwork {
    proc: PathBuf,
    sysctl: Sysctl,
    /// Why it can't limit traffic, once that was found out.
    unable: OnceLock<Option<String>>,
}

impl RoutedNetwork {
    /// `proc_root`: where proc is mounted, usually /proc.
    pub fn new(proc_root: impl Into<PathBuf>) -> Self {
        let proc = proc_root.into();
        Self {
            sysctl: Sysctl::new(&proc),
            proc,
            unable: OnceLock::new(),
        }
    }
}

impl Network for RoutedNetwork {
    fn attach(&self, netns: BorrowedFd<'_>, links: &[Link]) -> Result<()> {
        attach(&self.sysctl, netns, links)
    }

    fn readdress(&self, init: u32, old: &[Link], new: &[Link]) -> Result<Vec<String>> {
        readdress::readdress(&self.sysctl, init, old, new)
    }

    fn announce(&self, init: u32, links: &[Link]) -> Result<()> {
        announce::announce(init, links)
    }

    fn probe(&self, probes: &[Probe], within: Duration) -> Result<Vec<(IpAddr, [u8; 6])>> {
        probe::probe(probes, within)
    }

    fn proxy(&self, uplink: &str, addresses: &[IpAddr]) -> Result<()> {
        proxy::ensure(&self.sysctl, &mut inspect::open()?, uplink, addresses)
    }

    fn unproxy(&self, addresses: &[IpAddr]) -> Result<()> {
        proxy::remove(&mut inspect::open()?, addresses)
    }

    fn proxied(&self, prefix: &str) -> Result<Vec<FoundProxy>> {
        proxy::list(prefix)
    }

    fn lay(&self, links: &[Link]) -> Result<Vec<String>> {
        lay::lay(&self.sysctl, links)
    }

    fn settings(&self, init: u32) -> Result<BTreeMap<String, String>> {
        settings::read(init)
    }

    fn set_settings(&self, init: u32, settings: &BTreeMap<String, String>) -> Result<Vec<String>> {
        settings::write(init, settings)
    }

    fn detach(&self, host_names: &[String]) -> Result<()> {
        remove::detach(host_names)
    }

    fn list(&self, prefix: &str) -> Result<Vec<FoundLink>> {
        inspect::list(prefix)
    }

    fn bridge(&self, bridge: &Bridge) -> Result<Bridged> {
        bridge::ensure(&self.sysctl, bridge)
    }

    fn rejoin(&self, links: &[Link]) -> Result<usize> {
        port::rejoin(links)
    }

    fn bridges(&self, prefix: &str) -> Result<Vec<FoundBridge>> {
        bridge::list(prefix)
    }

    fn astray(&self, links: &[Link]) -> Result<Vec<(String, String)>> {
        astray::list(links)
    }

    fn mend(&self, links: &[Link]) -> Result<()> {
        astray::mend(&self.sysctl, links)
    }

    fn vlans(&self, prefix: &str) -> Result<Vec<String>> {
        bridge::vlans(prefix)
    }

    fn unbridge(&self, name: &str) -> Result<()> {
        bridge::remove(name)
    }

    fn shape(&self, shape: &Shape) -> Result<()> {
        shape::shape(&self.sysctl, shape)
    }

    fn unshape(&self, devices: &[String]) -> Result<()> {
        shape::unshape(devices)
    }

    fn shapers(&self, prefix: &str) -> Result<Vec<String>> {
        shape::list(prefix)
    }

    fn waits(&self, devices: &[String]) -> Result<Vec<Option<u64>>> {
        shape::waits(devices)
    }

    fn unable_to_shape(&self) -> Result<Option<String>> {
        if let Some(known) = self.unable.get() {
            return Ok(known.clone());
        }
        shape::why_unable(&self.proc).map(|why| self.unable.get_or_init(|| why).clone())
    }

    fn counters(&self, host_name: &str) -> Result<Option<Counters>> {
        inspect::counters(host_name)
    }

    fn own(&self, addresses: &[IpAddr]) -> Result<Vec<IpAddr>> {
        local::own(addresses)
    }

    fn local(&self) -> Result<Local> {
        local::local(&self.proc)
    }

    fn prepare_host(&self) -> Result<Vec<String>> {
        prepare::prepare_host(&self.sysctl)
    }

    fn unprepared(&self) -> Result<Vec<(Need, String)>> {
        prepare::unprepared(&self.sysctl)
    }
}

/// See [`Network::attach`].
pub(super) fn attach(sysctl: &Sysctl, netns: BorrowedFd<'_>, links: &[Link]) -> Result<()> {
    check::links(links)?;
    if links.is_empty() {
        return Ok(());
    }
    let guest = crate::namespace::within_network(netns, inspect::open)?;
    let mut attachment = Attachment {
        host: inspect::open()?,
        guest,
        netns: netns.as_raw_fd(),
        ipv6: sysctl.has_ipv6(),
        sysctl,
        made: Vec::new(),
        defaults: Defaults::default(),
    };
    attachment.replace_old(links)?;
    let names = |links: &[Link]| {
        links
            .iter()
            .map(|l| l.host_name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    attachment.make(links).map_err(|e| match attachment.undo(links) {
        Ok(()) => e,
        Err(undo) => e.hint(format!(
            "{undo} either; remove what is left of {} by hand",
            names(links)
        )),
    })
}

/// What one request is for, to be told if it is refused.
pub(super) struct Step {
    pub act: &'static str,
    pub object: String,
    pub request: Request,
}

/// The making of one VE's links.
struct Attachment<'a> {
    host: Netlink,
    guest: Netlink,
    netns: RawFd,
    ipv6: bool,
    sysctl: &'a Sysctl,
    /// The host ends made so far.
    made: Vec<String>,
    defaults: Defaults,
}

impl Attachment<'_> {
    fn replace_old(&mut self, links: &[Link]) -> Result<()> {
        remove_ours(&mut self.host, links.iter().map(|l| l.host_name.as_str()))
    }

    fn make(&mut self, links: &[Link]) -> Result<()> {
        links.iter().try_for_each(|link| self.make_one(link))
    }

    fn undo(&mut self, links: &[Link]) -> Result<()> {
        let made = std::mem::take(&mut self.made);
        proxy::remove(&mut self.host, &proxy::answered(links))?;
        remove_ours(&mut self.host, made.iter().map(String::as_str))
    }

    fn make_one(&mut self, link: &Link) -> Result<()> {
        let name = &link.host_name;
        if !self.ipv6 && link.addresses.iter().any(IpAddr::is_ipv6) {
            let no = "this kernel has no IPv6, or it is turned off";
            return Err(Error::new("give an IPv6 address to", name, no).kind(Kind::Unsupported));
        }
        let link = &port::with_mtu(&mut self.host, link)?;
        let pair = Step {
            act: "create interface",
            object: name.clone(),
            request: message::create_pair(link, self.netns),
        };
        apply(&mut self.host, &[pair]).map_err(|e| taken(e, link))?;
        self.made.push(name.clone());
        let host = existing(&mut self.host, name)?;
        let guest = existing(&mut self.guest, &link.guest_name)?;
        let mark = message::mark_host_end(host, &link.alias, self.ipv6);
        apply(
            &mut self.host,
            &[Step {
                act: "set the alias of",
                object: name.clone(),
                request: mark,
            }],
        )?;
        configure(self.sysctl, self.ipv6, link)?;
        port::join(&mut self.host, link, host)?;
        // The VE's end is up before the host's: so the link is ready when the host's addresses come.
        apply(&mut self.guest, &guest::steps(link, guest))?;
        apply(&mut self.host, &host_steps(link, host))?;
        proxy::of(self.sysctl, &mut self.host, link)?;
        guest::route(&mut self.guest, &mut self.defaults, link, guest)?;
        until_ready(&mut self.guest, &link.guest_name)?;
        until_ready(&mut self.host, name)
    }
}

/// On the host: the interface up, with the gateways that the VE needs, and the routes to its addresses.
pub(super) fn host_steps(link: &Link, host: u32) -> Vec<Step> {
    let mut steps = vec![Step {
        act: "bring up interface",
        object: link.host_name.clone(),
        request: message::up(host),
    }];
    if link.port.is_some() {
        return steps;
    }
    for ipv6 in [false, true] {
        if link.addresses.iter().any(|a| a.is_ipv6() == ipv6) {
            let request = message::add_gateway(host, ipv6);
            steps.push(Step {
                act: "add the gateway's address to",
                object: link.host_name.clone(),
                request,
            });
        }
    }
    for address in &link.addresses {
        let object = format!("{address} by {}", link.host_name);
        let request = message::neighbour(host, *address, link.mac);
        steps.push(Step {
            act: "add neighbour",
            object: object.clone(),
            request,
        });
        steps.push(Step {
            act: "add route to",
            object,
            request: message::route_to_ve(host, *address),
        });
    }
    let behind = link.behind().filter_map(|(prefix, gateway)| {
        let request = message::route_behind(host, prefix, gateway)?;
        Some(Step {
            act: "add route to",
            object: format!("{prefix} by {}", link.host_name),
            request,
        })
    });
    steps.extend(behind);
    steps
}

/// The settings of a host end before it comes up.
pub(super) fn configure(sysctl: &Sysctl, ipv6: bool, link: &Link) -> Result<()> {
    let name = &link.host_name;
    let set = |family: &str, settings: &[(&str, &str)]| {
        settings
            .iter()
            .try_for_each(|(key, value)| sysctl.set(&format!("{family}/conf/{name}/{key}"), value).map(drop))
    };
    if link.port.is_some() {
        return port::silence(sysctl, ipv6, name);
    }
    set("ipv4", IPV4_SETTINGS)?;
    if !ipv6 {
        return Ok(());
    }
    if link.addresses.iter().any(IpAddr::is_ipv6) {
        set("ipv6", &[("disable_ipv6", "0")])?;
    }
    set("ipv6", IPV6_SETTINGS)
}

pub(super) fn existing(netlink: &mut Netlink, name: &str) -> Result<u32> {
    let gone = || Error::new("look up interface", name, "it vanished while it was set up").kind(Kind::NotFound);
    Ok(inspect::find(netlink, name, false)?.ok_or_else(gone)?.index)
}

/// Waits until an interface can send. The end that came up first gets its queue from a work of the kernel's that runs
/// some time later, and drops all until then: a VE that starts at once would lose its first packets. Kernels from 6.8 do
/// that work when they are asked for the interface, so there is nothing to wait for.
pub(super) fn until_ready(netlink: &mut Netlink, name: &str) -> Result<()> {
    let end = Instant::now() + READY_WITHIN;
    while !inspect::find(netlink, name, false)?.is_some_and(|i| i.is_ready()) {
        if Instant::now() > end {
            let why = format!("it isn't up after {} s", READY_WITHIN.as_secs());
            return Err(Error::new("bring up interface", name, why).kind(Kind::TimedOut));
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

/// Sends the steps in one go; the error names the one that was refused.
pub(super) fn apply(netlink: &mut Netlink, steps: &[Step]) -> Result<()> {
    let requests: Vec<Request> = steps.iter().map(|s| s.request.clone()).collect();
    netlink.apply(&requests).map_err(|refusal| {
        let (act, object) = steps
            .get(refusal.index)
            .map_or(("set up", "the link"), |s| (s.act, s.object.as_str()));
        let error = refusal.into_error(act, object);
        match error.kind {
            Kind::Exists if act == "add route to" => error.hint(check::ELSEWHERE),
            _ => error,
        }
    })
}

fn taken(error: Error, link: &Link) -> Error {
    match error.kind {
        Kind::Exists => error.hint(format!(
            "the VE's network namespace has an interface {} already",
            link.guest_name
        )),
        _ => error,
    }
}
