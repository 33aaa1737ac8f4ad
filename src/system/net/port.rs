//! The host's end of a bridged link: a port of the bridge, and nothing that the host itself listens on.

use super::netlink::Netlink;
use super::routed::{Step, apply};
use super::sysctl::Sysctl;
use super::{Link, check, inspect, message};
use crate::error::{Error, Kind, Result};

/// The same link, with the MTU of its bridge if it has none of its own: a smaller one would lower the bridge's.
pub(super) fn with_mtu(host: &mut Netlink, link: &Link) -> Result<Link> {
    let mut link = link.clone();
    if let (Some(port), None) = (&link.port, link.mtu) {
        let bridge = bridge(host, &port.bridge)?;
        link.mtu = Some(bridge.mtu);
    }
    Ok(link)
}

/// Makes the host's end a port of its bridge, before it comes up. What its guest may do is said to the bridge as well
/// as to the firewall: it forwards frames of the one address only, learns nothing, and lets no bridge answer behind it.
pub(super) fn join(host: &mut Netlink, link: &Link, index: u32) -> Result<()> {
    let Some(port) = &link.port else { return Ok(()) };
    let bridge = bridge(host, &port.bridge)?;
    let step = |act, request| Step {
        act,
        object: format!("{} of bridge {}", link.host_name, port.bridge),
        request,
    };
    apply(host, &[step("make a port", message::enslave(index, bridge.index))])?;
    if link.big_tcp && bridge.is_ours() {
        match apply(
            host,
            &[step("let big pieces of TCP", message::set_big_tcp(bridge.index, true))],
        ) {
            // The bridge takes no larger ones than its other ports, such as an uplink: between VEs they pass all the same.
            Err(error) if error.kind == Kind::Invalid => {}
            set => set?,
        }
    }
    apply(host, &guard(link, index))
}

/// What is said to the bridge of a port's guest.
pub(super) fn guard(link: &Link, index: u32) -> Vec<Step> {
    let Some(port) = &link.port else { return Vec::new() };
    let step = |act, request| Step {
        act,
        object: format!("{} of bridge {}", link.host_name, port.bridge),
        request,
    };
    let mut steps = vec![step("set up port", message::guard_port(index, port.any_mac))];
    if !port.any_mac {
        steps.push(step(
            "name the address behind port",
            message::static_entry(index, link.mac),
        ));
    }
    steps
}

/// See [`super::Network::rejoin`].
pub(super) fn rejoin(links: &[Link]) -> Result<usize> {
    check::links(links)?;
    let (mut host, mut made) = (inspect::open()?, 0);
    for link in links {
        let Some(port) = &link.port else { continue };
        let Some(end) = inspect::find(&mut host, &link.host_name, false)? else {
            continue;
        };
        if !end.is_port_of_ve() {
            let why = "it isn't Hostel's";
            return Err(Error::new("make a port of", &link.host_name, why).kind(Kind::Exists));
        }
        if end.master != bridge(&mut host, &port.bridge)?.index {
            join(&mut host, link, end.index)?;
            made += 1;
        }
    }
    Ok(made)
}

fn bridge(host: &mut Netlink, name: &str) -> Result<inspect::Interface> {
    let found = inspect::find(host, name, false)?;
    found.filter(inspect::Interface::is_bridge).ok_or_else(|| {
        Error::new("find bridge", name, "there is no bridge of that name")
            .kind(Kind::NotFound)
            .hint("start the VE again: Hostel makes its own bridges anew; one of the host's is its owner's to make")
    })
}

/// The host has no addresses there, and hears nothing but through the bridge.
pub(super) fn silence(sysctl: &Sysctl, ipv6: bool, name: &str) -> Result<()> {
    if ipv6 {
        sysctl.set(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
    }
    Ok(())
}
