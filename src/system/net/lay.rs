//! The links of a VE that CRIU is to restore: both ends on this host, until CRIU moves one of them inside.

use std::sync::atomic::{AtomicU32, Ordering};

use super::netlink::Netlink;
use super::remove::remove_ours;
use super::routed::{Step, apply, configure, existing, host_steps, until_ready};
use super::sysctl::Sysctl;
use super::{Link, check, inspect, message, port, proxy};
use crate::error::Result;

/// The number of the next end.
static NEXT: AtomicU32 = AtomicU32::new(0);
/// More than this are never there at once; a name has 15 letters.
const MOST: u32 = 10_000;

/// As [`super::Network::lay`].
pub(super) fn lay(sysctl: &Sysctl, links: &[Link]) -> Result<Vec<String>> {
    check::links(links)?;
    let mut host = inspect::open()?;
    remove_ours(&mut host, links.iter().map(|l| l.host_name.as_str()))?;
    // No other process of this host makes such names, and this one may lay for several VEs at once: the ends leave it,
    // or go with their pairs.
    let end = |_| {
        format!(
            "he{}.{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed) % MOST
        )
    };
    let ends: Vec<String> = links.iter().map(end).collect();
    let laid = links
        .iter()
        .zip(&ends)
        .try_for_each(|(link, end)| lay_one(sysctl, &mut host, link, end));
    if let Err(e) = laid {
        // What isn't ours has been looked for before.
        let unproxied = proxy::remove(&mut host, &proxy::answered(links));
        let removed = remove_ours(&mut host, links.iter().map(|l| l.host_name.as_str()));
        return Err(match unproxied.and(removed) {
            Ok(()) => e,
            Err(undo) => e.hint(format!("{undo} either; remove it by hand")),
        });
    }
    Ok(ends)
}

fn lay_one(sysctl: &Sysctl, host: &mut Netlink, link: &Link, end: &str) -> Result<()> {
    let name = &link.host_name;
    let step = |act, object: &str, request| Step {
        act,
        object: object.to_owned(),
        request,
    };
    let link = &port::with_mtu(host, link)?;
    let pair = step("create interface", name, message::create_pair_here(link, end));
    apply(host, &[pair])?;
    let (index, peer) = (existing(host, name)?, existing(host, end)?);
    let ipv6 = sysctl.has_ipv6();
    let mark = message::mark_host_end(index, &link.alias, ipv6);
    apply(host, &[step("set the alias of", name, mark)])?;
    configure(sysctl, ipv6, link)?;
    port::join(host, link, index)?;
    apply(host, &[step("bring up interface", end, message::up(peer))])?;
    apply(host, &host_steps(link, index))?;
    proxy::of(sysctl, host, link)?;
    until_ready(host, name)
}
