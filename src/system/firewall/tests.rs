//! The firewall on the real kernel: `nft`, `ping` and frames of our own making as witnesses.

mod apart;
mod bridge;
mod crowd;
mod dhcp;
mod forward;
mod full;
mod host;
mod nat;
mod spoofing;
mod table;
mod text;

use ipnetwork::IpNetwork;

use super::{Firewall, HostSide, MasqueradePool, Member, Nat, Nftables, Ruleset, Standing};
use crate::net::testing::{Space, add_ve, host_and_ve, link};

const TABLE: &str = "hostel_test";

fn firewall() -> Nftables {
    Nftables::default()
}

fn member(id: u32, addresses: &[&str]) -> Member {
    let link = link(id, 0, addresses);
    Member {
        interface: link.host_name,
        addresses: link.addresses,
        routes: Vec::new(),
        mac: link.mac,
        ..Member::default()
    }
}

fn ruleset(members: &[Member]) -> Ruleset {
    Ruleset {
        table: TABLE.into(),
        prefix: "hv".into(),
        masquerade: Vec::new(),
        nat: Nat::default(),
        host: HostSide::default(),
        bridged: false,
        isolated: Vec::new(),
        members: members.to_vec(),
    }
}

fn masquerading(pools: &[&str]) -> Ruleset {
    let pools: Vec<IpNetwork> = pools.iter().map(|p| p.parse().unwrap()).collect();
    Ruleset {
        masquerade: vec![MasqueradePool {
            network: "private".into(),
            pools,
        }],
        ..ruleset(&[])
    }
}

/// The parts of a kind ("rule", "set", "chain", …) in this namespace's nftables.
fn parts(host: &Space, kind: &str) -> Vec<serde_json::Value> {
    let output = host.output("nft", "-j list ruleset");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    all["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|part| part.get(kind).cloned())
        .collect()
}

/// The elements of a set.
fn elements(host: &Space, set: &str) -> usize {
    let set = parts(host, "set").into_iter().find(|s| s["name"] == set).unwrap();
    set["elem"].as_array().map_or(0, Vec::len)
}

fn packets_spoofed(host: &Space) -> u64 {
    let counters = parts(host, "counter");
    let own = counters
        .iter()
        .find(|c| c["name"] == "spoofed" && c["family"] == "inet");
    own.unwrap()["packets"].as_u64().unwrap()
}

/// A host with the firewall, and two VEs that are members.
fn two_members() -> Option<(Space, Space, Space)> {
    let (host, one) = host_and_ve(101, &["192.0.2.10", "2001:db8::10"])?;
    let two = add_ve(&host, 102, &["198.51.100.7", "2001:db8:2::7"])?;
    host.run(|| {
        firewall().ensure(&ruleset(&[])).unwrap();
        let members = [
            member(101, &["192.0.2.10", "2001:db8::10"]),
            member(102, &["198.51.100.7", "2001:db8:2::7"]),
        ];
        firewall().admit(TABLE, &members).unwrap();
    });
    Some((host, one, two))
}
