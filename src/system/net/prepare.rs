//! What the host must be before a VE's packets get anywhere: one that forwards, and has room for many neighbours.

use super::Need;
use super::sysctl::Sysctl;
use crate::Result;

const FORWARD_V4: &str = "ipv4/ip_forward";
const FORWARD_V6: &str = "ipv6/conf/all/forwarding";

/// Up to how many neighbours none is thrown out, above how many for long, and how many there may be (arp(7)). The kernel
/// has one table of each family for the host and all VEs; with its own 1024 the gateways of a thousand VEs would fill it,
/// or the neighbours that the root of one VE makes up. Permanent entries, as those of VEs on the host, don't count.
const NEIGHBOURS: [(&str, u32); 3] = [("gc_thresh1", 16_384), ("gc_thresh2", 65_536), ("gc_thresh3", 131_072)];

/// See [`super::Network::prepare_host`].
pub(super) fn prepare_host(sysctl: &Sysctl) -> Result<Vec<String>> {
    let mut changes = Vec::new();
    for (_, key, value) in missing(sysctl)? {
        if key == FORWARD_V6 {
            keep_router_advertisements(sysctl, &mut changes)?;
        }
        set(sysctl, &key, &value, &mut changes)?;
    }
    Ok(changes)
}

/// See [`super::Network::unprepared`].
pub(super) fn unprepared(sysctl: &Sysctl) -> Result<Vec<(Need, String)>> {
    let missing = missing(sysctl)?.into_iter();
    Ok(missing.map(|(need, key, _)| (need, name(&key))).collect())
}

/// The settings that are not as they should be, and how they should. A kernel without IPv6 lacks some, and a network
/// namespace that isn't the first one those of neighbours.
fn missing(sysctl: &Sysctl) -> Result<Vec<(Need, String, String)>> {
    let mut missing = Vec::new();
    for key in [FORWARD_V4, FORWARD_V6] {
        if sysctl.read(key)?.is_some_and(|value| value != "1") {
            missing.push((Need::Forwarding, key.to_owned(), "1".to_owned()));
        }
    }
    for family in ["ipv4", "ipv6"] {
        for (setting, least) in NEIGHBOURS.iter().rev() {
            let key = format!("{family}/neigh/default/{setting}");
            // What somebody has set higher stays.
            let low = |value: String| value.parse::<u32>().is_ok_and(|has| has < *least);
            if sysctl.read(&key)?.is_some_and(low) {
                missing.push((Need::Neighbours, key, least.to_string()));
            }
        }
    }
    Ok(missing)
}

/// A forwarding host ignores router advertisements unless accept_ra is 2, and would lose its default route when that
/// came from one (kernel doc, ip-sysctl).
fn keep_router_advertisements(sysctl: &Sysctl, changes: &mut Vec<String>) -> Result<()> {
    for interface in sysctl.ipv6_interfaces()? {
        if matches!(interface.as_str(), "all" | "default" | "lo") {
            continue;
        }
        let is = |key: &str, value: &str| -> Result<bool> {
            Ok(sysctl.read(&format!("ipv6/conf/{interface}/{key}"))?.as_deref() == Some(value))
        };
        if is("forwarding", "0")? && is("accept_ra", "1")? {
            set(sysctl, &format!("ipv6/conf/{interface}/accept_ra"), "2", changes)?;
        }
    }
    Ok(())
}

fn set(sysctl: &Sysctl, key: &str, value: &str, changes: &mut Vec<String>) -> Result<()> {
    if let Some(old) = sysctl.set(key, value)? {
        changes.push(format!("{}: {old} -> {value}", name(key)));
    }
    Ok(())
}

/// A setting's name as sysctl(8) writes it: dots between the parts, slashes for dots of an interface's name.
fn name(key: &str) -> String {
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        other => other,
    };
    format!("net.{}", key.chars().map(swap).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn room_for_neighbours_is_raised_and_never_lowered() {
        let dir = tempfile::tempdir().unwrap();
        let write = |key: &str, value: &str| {
            let path = dir.path().join("sys/net").join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, value).unwrap();
        };
        let sysctl = Sysctl::new(Path::new(dir.path()));
        // As in a namespace that isn't the host's.
        write("ipv4/ip_forward", "1\n");
        assert_eq!(prepare_host(&sysctl).unwrap(), [""; 0]);
        for (setting, value) in [
            ("gc_thresh1", "128\n"),
            ("gc_thresh2", "512\n"),
            ("gc_thresh3", "1000000\n"),
        ] {
            write(&format!("ipv4/neigh/default/{setting}"), value);
        }
        let low = |setting: &str| (Need::Neighbours, format!("net.ipv4.neigh.default.{setting}"));
        assert_eq!(unprepared(&sysctl).unwrap(), [low("gc_thresh2"), low("gc_thresh1")]);
        assert_eq!(
            prepare_host(&sysctl).unwrap(),
            [
                "net.ipv4.neigh.default.gc_thresh2: 512 -> 65536",
                "net.ipv4.neigh.default.gc_thresh1: 128 -> 16384"
            ]
        );
        assert_eq!(unprepared(&sysctl).unwrap(), []);
    }
}
