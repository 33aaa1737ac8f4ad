//! Removing interfaces of ours, and never others.

use super::inspect::{self, Interface};
use super::message;
use super::netlink::Netlink;
use crate::error::{Error, Kind, Result};

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
