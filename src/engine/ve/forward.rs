//! Ports of the host that lead to VEs: to which address of a VE, and that no two want the same.

use std::net::IpAddr;

use hostel_model::definition::{ForwardKeys, Network, Protocol};
use hostel_model::forward::{PortForward, Ports};
use hostel_model::id::VeName;
use hostel_model::resolve::{Effective, Interface};

use super::record::{InterfaceState, VeState};
use super::taken::Taken;
use crate::error::{Class, Error, Result};
use crate::host::Host;

/// Why there is nothing to lead to.
enum Nowhere {
    /// The VE has no address of the family there.
    NoAddress,
    /// It has, on a bridge whose VEs send their answers elsewhere.
    PastTheHost(String),
}

impl VeState {
    /// All ports of the host that nobody else may have.
    pub fn forwards(&self) -> impl Iterator<Item = PortForward> {
        let former = self.former.iter().flatten();
        self.interfaces
            .iter()
            .chain(former)
            .flat_map(|i| i.forwards.iter().copied())
    }
}

impl Taken {
    /// A forward among these that another VE's stands in the way of, with that.
    pub fn clash(&self, interfaces: &[InterfaceState]) -> Option<(PortForward, &VeName, PortForward)> {
        let mut all = interfaces.iter().flat_map(|i| &i.forwards);
        all.find_map(|one| {
            let (owner, other) = self.forwards.iter().find(|(_, other)| other.clashes(one))?;
            Some((*one, owner, *other))
        })
    }
}

/// Leads a VE's forwards to its interfaces, which have their addresses.
pub(super) fn lead(ve: &Effective, interfaces: &mut [InterfaceState], taken: &Taken) -> Result<()> {
    for forward in &ve.forwards {
        for (n, one) in targets(ve, forward, interfaces)? {
            interfaces[n].forwards.push(one);
        }
    }
    match taken.clash(interfaces) {
        None => Ok(()),
        Some((one, owner, other)) => {
            let message = format!("{} {} leads to {owner} already", one.protocol, one.listen);
            Err(Error::new(Class::Refused, message)
                .because(format!("{owner} has {other}"))
                .hint("see all with: hostel forward list"))
        }
    }
}

/// By which interfaces a forward reaches the VE: one of each family that it is of.
fn targets(ve: &Effective, forward: &ForwardKeys, has: &[InterfaceState]) -> Result<Vec<(usize, PortForward)>> {
    let families = match forward.listen.address {
        Some(address) => vec![address.is_ipv6()],
        None => vec![false, true],
    };
    let (mut found, mut nowhere) = (Vec::new(), Nowhere::NoAddress);
    for ipv6 in families {
        match target(ve, forward, has, ipv6) {
            Ok((n, target)) => found.push((
                n,
                PortForward {
                    protocol: forward.protocol,
                    listen: forward.listen,
                    target,
                    to: forward.to,
                },
            )),
            Err(Nowhere::NoAddress) => {}
            Err(past) => nowhere = past,
        }
    }
    if found.is_empty() {
        return Err(refused(ve, forward, &nowhere));
    }
    Ok(found)
}

/// The first interface that has an address of the family and sends its answers by way of the host.
fn target(
    ve: &Effective,
    forward: &ForwardKeys,
    has: &[InterfaceState],
    ipv6: bool,
) -> std::result::Result<(usize, IpAddr), Nowhere> {
    let mut nowhere = Nowhere::NoAddress;
    let both = ve.interfaces.iter().map(|i| &i.network).zip(has).enumerate();
    for (n, (network, interface)) in both {
        if forward.network.as_ref().is_some_and(|wanted| *wanted != network.name) {
            continue;
        }
        match interface.addresses.iter().find(|a| a.is_ipv6() == ipv6) {
            Some(address) if answers_by_host(network, ipv6) => return Ok((n, *address)),
            Some(_) => nowhere = Nowhere::PastTheHost(network.name.to_string()),
            None => {}
        }
    }
    Err(nowhere)
}

fn answers_by_host(network: &Network, ipv6: bool) -> bool {
    match &network.bridge {
        None => true,
        Some(bridge) => bridge.gateway(ipv6).is_some_and(|g| bridge.host.contains(&g)),
    }
}

fn refused(ve: &Effective, forward: &ForwardKeys, nowhere: &Nowhere) -> Error {
    let message = format!("{forward} can't lead to {}", ve.name);
    let on = match &forward.network {
        Some(network) => format!(" on network \"{network}\""),
        None => String::new(),
    };
    match nowhere {
        Nowhere::NoAddress => {
            let family = match forward.listen.address {
                Some(IpAddr::V4(_)) => "IPv4 ",
                Some(IpAddr::V6(_)) => "IPv6 ",
                None => "",
            };
            Error::new(Class::Usage, message)
                .because(format!("it has no {family}address{on}"))
                .hint(format!("give it one: hostel address add {} auto", ve.name))
        }
        Nowhere::PastTheHost(network) => Error::new(Class::Refused, message)
            .because(format!(
                "the host isn't the gateway of network \"{network}\": the answers would not come back through it, and so \
                 from another address than was asked"
            ))
            .hint(format!(
                "make it the gateway (gateway and host_addresses in networks/{network}.toml), or put the VE on a network \
                 of kind \"nat\" or \"routed\" too"
            )),
    }
}

impl Host {
    /// A word about each forward that doesn't do what one would think.
    pub(super) fn odd_forwards(&self, ve: &Effective) -> Result<Vec<String>> {
        if ve.forwards.is_empty() {
            return Ok(Vec::new());
        }
        let (mut notes, local) = (Vec::new(), self.network.local()?);
        let on_bridge = |i: &&Interface| i.network.bridge.as_ref().is_some_and(|b| !b.host.is_empty());
        if let Some(interface) = ve.interfaces.iter().find(on_bridge).filter(|_| local.bridges_filtered) {
            notes.push(format!(
                "this host gives bridged packets to its other rules (net.bridge.bridge-nf-call-iptables): VEs on network \
                 \"{}\" don't reach themselves by a forward, and each other's as far as they reach each other",
                interface.network.name
            ));
        }
        for ForwardKeys { protocol, listen, .. } in &ve.forwards {
            if let Some(address) = listen.address.filter(|a| !local.addresses.contains(a)) {
                notes.push(format!(
                    "no interface of this host has {address} now: {protocol} {listen} leads to {} once one has",
                    ve.name
                ));
            }
            let tcp = *protocol == Protocol::Tcp;
            let taken = |socket: &&std::net::SocketAddr| {
                let meant = listen
                    .address
                    .is_none_or(|a| socket.ip().is_unspecified() || socket.ip() == a);
                let port = socket.port();
                let on_port = Ports::one(port).is_some_and(|p| p.overlap(listen.ports));
                meant && on_port && !socket.ip().is_loopback()
            };
            let services = if tcp { &local.tcp } else { &local.udp };
            if let Some(socket) = services.iter().find(taken) {
                notes.push(format!(
                    "a service of this host itself listens on {protocol} {socket}: what comes from elsewhere by {listen} \
                     goes to {} instead",
                    ve.name
                ));
            }
        }
        Ok(notes)
    }
}
