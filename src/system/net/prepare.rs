//! What the host must be before a VE's packets get anywhere: one that forwards.

use super::sysctl::Sysctl;
use crate::Result;

const FORWARD_V4: &str = "ipv4/ip_forward";
const FORWARD_V6: &str = "ipv6/conf/all/forwarding";

/// See [`super::Network::prepare_host`].
pub(super) fn prepare_host(sysctl: &Sysctl) -> Result<Vec<String>> {
    let mut changes = Vec::new();
    for key in missing(sysctl)? {
        if key == FORWARD_V6 {
            keep_router_advertisements(sysctl, &mut changes)?;
        }
        set(sysctl, key, "1", &mut changes)?;
    }
    Ok(changes)
}

/// See [`super::Network::unprepared`].
pub(super) fn unprepared(sysctl: &Sysctl) -> Result<Vec<String>> {
    Ok(missing(sysctl)?.into_iter().map(name).collect())
}

/// The settings that are not as they should be. A kernel without IPv6 has only the first.
fn missing(sysctl: &Sysctl) -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for key in [FORWARD_V4, FORWARD_V6] {
        if sysctl.read(key)?.is_some_and(|value| value != "1") {
            missing.push(key);
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
