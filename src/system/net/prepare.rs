//! What the host needs from boot to boot: forwarding.

use super::sysctl::Sysctl;
use crate::Result;

/// Forwards the host what VEs send and get? It does not after a reboot.
pub(super) fn is_prepared(sysctl: &Sysctl) -> Result<bool> {
    let on = |key: &str| Ok(sysctl.read(key)?.as_deref() == Some("1"));
    Ok(on("ipv4/ip_forward")? && (!sysctl.has_ipv6() || on("ipv6/conf/all/forwarding")?))
}

/// See [`super::Network::prepare_host`].
pub(super) fn prepare_host(sysctl: &Sysctl) -> Result<Vec<String>> {
    let mut changes = Vec::new();
    let mut set = |key: &str, value: &str| -> Result<()> {
        if let Some(old) = sysctl.set(key, value)? {
            changes.push(format!("net.{}: {old} -> {value}", name(key)));
        }
        Ok(())
    };
    set("ipv4/ip_forward", "1")?;
    if sysctl.has_ipv6() {
        // A forwarding host ignores router advertisements unless accept_ra is 2, and would lose its default route
        // when that came from one (kernel doc, ip-sysctl).
        for interface in sysctl.ipv6_interfaces()? {
            if matches!(interface.as_str(), "all" | "default" | "lo") {
                continue;
            }
            let is = |key: &str, value: &str| -> Result<bool> {
                Ok(sysctl.read(&format!("ipv6/conf/{interface}/{key}"))?.as_deref() == Some(value))
            };
            if is("forwarding", "0")? && is("accept_ra", "1")? {
                set(&format!("ipv6/conf/{interface}/accept_ra"), "2")?;
            }
        }
        set("ipv6/conf/all/forwarding", "1")?;
    }
    Ok(changes)
}

/// A setting's name as sysctl(8) writes it: dots between the parts, slashes for dots of an interface's name.
fn name(key: &str) -> String {
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        other => other,
    };
    key.chars().map(swap).collect()
}
