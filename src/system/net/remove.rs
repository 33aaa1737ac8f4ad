//! Removing interfaces of ours, and never others.

use std::time::{Duration, Instant};

use super::inspect::{self, Interface};
use super::netlink::Netlink;
use super::{check, message};
use crate::error::{Error, Kind, Result};

/// How long a VE's interfaces may take to go by themselves. The kernel removes them with the namespace of a VE that has
/// ended, many at once; who removes them one by one has all wait for the lock on all interfaces (40 ms each).
const GOING: Duration = Duration::from_secs(1);

/// See [`super::Network::detach`].
pub(super) fn detach(host_names: &[String]) -> Result<()> {
    host_names.iter().try_for_each(|name| check::interface_name(name))?;
    let mut netlink = inspect::open()?;
    let (end, mut pause) = (Instant::now() + GOING, Duration::from_millis(1));
    loop {
        let found = find_ours(&mut netlink, host_names.iter().map(String::as_str))?;
        if found.is_empty() || Instant::now() >= end {
            return found.iter().try_for_each(|interface| remove(&mut netlink, interface));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Removes those of the named interfaces that exist, if all of them are ours.
pub(super) fn remove_ours<'a>(netlink: &mut Netlink, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let found = find_ours(netlink, names)?;
    found.iter().try_for_each(|interface| remove(netlink, interface))
}

/// Those of the named interfaces that exist; an error if one of them isn't ours.
pub(super) fn find_ours<'a>(netlink: &mut Netlink, names: impl Iterator<Item = &'a str>) -> Result<Vec<Interface>> {
    let mut found = Vec::new();
    for name in names {
        match inspect::find(netlink, name, false)? {
            Some(interface) if interface.is_ours() => found.push(interface),
            Some(_) => {
                return Err(
                    Error::new("remove interface", name, "it isn't Hostel's: it has another alias")
                        .kind(Kind::Exists)
                        .hint("remove or rename it, or choose another interface prefix in hostel.toml"),
                );
            }
            None => {}
        }
    }
    Ok(found)
}

/// Removes one; fine if it is gone.
pub(super) fn remove(netlink: &mut Netlink, interface: &Interface) -> Result<()> {
    match netlink.apply(&[message::delete(interface.index)]) {
        // Gone meanwhile: the kernel removes the pair when the VE's namespace ends.
        Err(refusal) if refusal.errno() != libc::ENODEV => Err(refusal.into_error("remove interface", &interface.name)),
        _ => Ok(()),
    }
}
