//! How often a limit stood in the way (linux/gen_stats.h).

use super::super::inspect;
use super::super::netlink::Netlink;
use super::message::{self, HEADER};
use super::{check, within};
use crate::error::Result;

/// TCA_STATS2, and in it TCA_STATS_QUEUE: struct gnet_stats_queue.
const STATS: u16 = 7;
const QUEUE: u16 = 3;

/// See [`super::super::Network::waits`].
pub(in super::super) fn waits(devices: &[String]) -> Result<Vec<Option<u64>>> {
    devices.iter().try_for_each(|device| check::interface_name(device))?;
    let mut netlink = inspect::open()?;
    // One that can't be read keeps nobody from the others.
    let waits = devices
        .iter()
        .map(|device| waits_at(&mut netlink, device).ok().flatten());
    Ok(waits.collect())
}

fn waits_at(netlink: &mut Netlink, device: &str) -> Result<Option<u64>> {
    let Some(found) = inspect::find(netlink, device, false)? else {
        return Ok(None);
    };
    match netlink.get(&message::get_bucket(found.index)) {
        Ok(answer) => Ok(read(&answer)),
        Err(refusal) if [libc::ENOENT, libc::ENODEV].contains(&refusal.errno()) => Ok(None),
        Err(refusal) => Err(refusal.into_error("look up the limit of", device)),
    }
}

/// The last of its five words: `overlimits`.
fn read(body: &[u8]) -> Option<u64> {
    let queue = within(within(body.get(HEADER..)?, STATS)?, QUEUE)?;
    Some(u32::from_ne_bytes(queue.get(16..20)?.try_into().ok()?).into())
}
