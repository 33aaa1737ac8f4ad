//! Access rules on the real kernel: connections between network namespaces as witnesses.

mod life;
mod paths;
mod ports;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use hostel_model::definition::{AccessRule, Tenant, Verdict};

use super::*;
use crate::net::testing::{Space, add_ve, host_and_ve};

const TABLE: &str = "hostel_test_acl";

fn rules() -> NftAccess {
    NftAccess::new("hv", None)
}

fn ve(n: u32) -> VeId {
    VeId::try_from(n).unwrap()
}

/// The rules that a `[firewall]` with these lines has.
fn said(lines: &str) -> AccessRules {
    let access = Tenant::parse("tenants/t.toml", &format!("[firewall]\n{lines}"))
        .unwrap()
        .access;
    AccessRules {
        tenant: Vec::new(),
        own: access.rules,
        input: access.input.unwrap_or(Verdict::Allow),
        output: access.output.unwrap_or(Verdict::Allow),
    }
}

fn rule(lines: &str) -> String {
    format!("[[firewall.rule]]\n{lines}\n")
}

/// The rules of a VE with one routed link.
fn routed(n: u32, lines: &str) -> Guard {
    Guard {
        ve: ve(n),
        links: vec![format!("hv{n}.0")],
        ports: Vec::new(),
        rules: said(lines),
    }
}

fn put(guards: &[Guard]) -> Change {
    Change {
        put: guards.to_vec(),
        ..Change::default()
    }
}

/// Addresses and prefixes.
fn addresses(list: &[&str]) -> BTreeSet<IpNetwork> {
    list.iter().map(|a| a.parse().unwrap()).collect()
}

fn peer(text: &str) -> Peer {
    text.parse().unwrap()
}

/// A server in a namespace, for as long as it is kept.
fn serve(space: &Space, address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().unwrap();
    space.run(|| TcpListener::bind(address).unwrap())
}

/// Is a connection made from this namespace? What isn't made is given up soon.
fn connects(space: &Space, to: &str) -> bool {
    let to: SocketAddr = to.parse().unwrap();
    space.run(|| TcpStream::connect_timeout(&to, Duration::from_millis(400)).is_ok())
}

/// The same for one that is to be made, however busy the machine is.
#[track_caller]
fn reaches(space: &Space, to: &str) -> TcpStream {
    let address: SocketAddr = to.parse().unwrap();
    let made = space.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(10)));
    made.unwrap_or_else(|e| panic!("{to}: {e}"))
}

/// The packets that the rule of a VE in this place has seen; the last is that of the rest.
fn packets(space: &Space, guard: &Guard, direction: Direction, place: usize) -> u64 {
    let names = counters(guard.ve, direction, guard.rules.of(direction));
    let counts = space.run(|| rules().counts(TABLE, guard.ve)).unwrap();
    counts[&names[place]].packets
}
