//! Limits on what passes a VE's links. Shaped and not policed: what comes too fast waits its turn for a moment, which TCP
//! takes for a slow line.
//!
//! ```text
//!   hv101.0 ingress ─┐                                        ┌─ comes from the VE as if nothing had been
//!   hv101.1 ingress ─┴→ hv101.o: bucket [class per link] ─────┴─→
//!   hv101.0 egress ──┐                                        ┌─ goes to the VE
//!   hv101.1 egress ──┴→ hv101.i: bucket [class per link] ─────┴─→
//! ```
//!
//! Each direction has an interface of its own (ifb), whose only work is its queue: a token bucket (tbf) with the limit of
//! the VE, or what its links may have together. It cuts the large segments apart that the kernel makes of a stream
//! (up to 64 KiB, half a second at 1 Mbit/s), so that what is too much is lost a frame at a time. Where links have limits
//! of their own, each has a class (htb) in the bucket.
//!
//! A guest can do nothing about it: all is at the host's end, frames of every protocol, size and address go this way, and
//! if the interface were gone, nothing would pass. Lengths are those of Ethernet frames without their checksum.

use super::inspect::{self, Interface};
use super::netlink::{Attributes, Netlink, Refusal, Request};
use super::routed::{Step, apply};
use super::sysctl::Sysctl;
use super::{check, port};
use crate::error::{Error, Kind, Result};
use message::{Bucket, Gate};

mod message;
mod probe;
#[cfg(test)]
mod tests;
mod waits;

pub(super) use probe::why_unable;
pub(super) use waits::waits;

/// How fast something may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bits per second, of Ethernet frames without their checksum.
    pub rate: u64,
    /// Bytes that may pass at once after a pause; `None`: [`BURST_MS`] at this rate. Two frames at least.
    pub burst: Option<u64>,
}

/// One direction of a VE's traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Direction {
    /// The name of the interface that it waits on.
    pub device: String,
    /// What all links may have together; `None`: no limit.
    pub whole: Option<Pace>,
    /// The host's ends of all of the VE's links, each with its own limit.
    pub links: Vec<(String, Option<Pace>)>,
}

/// The limits of a VE's traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Of the interfaces that are made; begins with [`super::ALIAS_PREFIX`].
    pub alias: String,
    /// What goes to the VE.
    pub inward: Direction,
    /// What comes from it.
    pub outward: Direction,
}

/// What may pass at once after a pause if nobody says, in milliseconds at the rate: as long as a busy host may keep a
/// queue waiting for its turn without the VE losing by it.
pub const BURST_MS: u64 = 10;
/// What may wait, in milliseconds at the rate: the latency that a guest can give itself, or be given from outside.
const QUEUE_MS: u64 = 50;
/// The least that may wait, in bytes: twice what TCP sends at first (ten frames).
const QUEUE_MIN: u64 = 32 * 1024;
/// What a frame may have beyond its MTU: the header and two VLAN tags.
const FRAME: u64 = 22;

impl Pace {
    fn bucket(&self, mtu: u32) -> Bucket {
        let bytes = self.rate / 8;
        let of = |ms: u64| (bytes / 1000).saturating_mul(ms);
        let frame = u64::from(mtu) + FRAME;
        let fit = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let burst = self.burst.unwrap_or(of(BURST_MS)).max(2 * frame);
        Bucket {
            rate: bytes.max(1),
            burst: fit(burst),
            queue: fit(of(QUEUE_MS).max(QUEUE_MIN).max(4 * frame).max(burst)),
        }
    }
}

impl Direction {
    /// The links that go through the queue.
    fn limited(&self) -> impl Iterator<Item = &(String, Option<Pace>)> {
        self.links.iter().filter(|(_, own)| own.or(self.whole).is_some())
    }

    /// What passes the queue at most; `None`: there is no limit at all.
    fn sum(&self) -> Option<Pace> {
        let own = self.links.iter().filter_map(|(_, own)| *own);
        let together = own.reduce(|a, b| Pace {
            rate: a.rate.saturating_add(b.rate),
            burst: a.burst.zip(b.burst).map(|(a, b)| a.saturating_add(b)),
        });
        // Of one link the smaller of both limits is the only one.
        match (self.whole, together) {
            (Some(whole), Some(own)) if self.links.len() == 1 && own.rate < whole.rate => Some(own),
            (whole, together) => whole.or(together),
        }
    }

    /// Must links be told apart in the queue?
    fn has_classes(&self) -> bool {
        self.links.len() > 1 && self.links.iter().any(|(_, own)| own.is_some())
    }
}

/// See [`super::Network::shape`].
pub(super) fn shape(sysctl: &Sysctl, shape: &Shape) -> Result<()> {
    check::shape(shape)?;
    let mut shaping = Shaping {
        netlink: inspect::open()?,
        sysctl,
        alias: &shape.alias,
    };
    shaping.direction(&shape.inward, Gate::Egress)?;
    shaping.direction(&shape.outward, Gate::Ingress)?;
    for (link, _) in &shape.inward.links {
        let limited = |d: &Direction| d.limited().any(|(name, _)| name == link);
        if !limited(&shape.inward) && !limited(&shape.outward) {
            let index = shaping.link(link)?.index;
            shaping.tolerate(
                "open the gates of",
                link,
                message::close_gates(index),
                &[libc::ENOENT, libc::EINVAL],
            )?;
        }
    }
    Ok(())
}

/// See [`super::Network::unshape`].
pub(super) fn unshape(devices: &[String]) -> Result<()> {
    devices.iter().try_for_each(|name| check::interface_name(name))?;
    super::remove::remove_ours(&mut inspect::open()?, devices.iter().map(String::as_str))
}

/// See [`super::Network::shapers`].
pub(super) fn list(prefix: &str) -> Result<Vec<String>> {
    check::prefix(prefix)?;
    let mut netlink = inspect::open()?;
    netlink.filter_strictly();
    let all = inspect::all(&mut netlink)?.into_iter();
    let mut names: Vec<String> = all
        .filter(|i| i.is_ours() && i.is_queue() && check::is_shaper(&i.name, prefix))
        .map(|i| i.name)
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// A shape under way. Each act may find its work done already.
struct Shaping<'a> {
    netlink: Netlink,
    sysctl: &'a Sysctl,
    alias: &'a str,
}

impl Shaping<'_> {
    /// The queue is there before anything is sent to it, and stays until nothing is.
    fn direction(&mut self, direction: &Direction, gate: Gate) -> Result<()> {
        let device = match direction.sum() {
            Some(sum) => Some(self.queue(direction, sum)?),
            None => None,
        };
        for (link, own) in &direction.links {
            match device.filter(|_| own.or(direction.whole).is_some()) {
                Some(device) => self.send_to(link, gate, device)?,
                None => self.let_pass(link, gate, None)?,
            }
        }
        match device {
            Some(_) => Ok(()),
            None => super::remove::remove_ours(&mut self.netlink, [direction.device.as_str()].into_iter()),
        }
    }

    /// Makes the interface with its queue, or changes it. Its index.
    fn queue(&mut self, direction: &Direction, sum: Pace) -> Result<u32> {
        let mut mtu = 0;
        for (link, _) in direction.limited() {
            mtu = mtu.max(self.link(link)?.mtu);
        }
        let name = direction.device.as_str();
        let index = self.device(name)?;
        let bucket = sum.bucket(mtu);
        let had = self.burst(name, index)?;
        self.apply("limit what passes", name, vec![message::bucket(index, &bucket)])?;
        if had > u64::from(bucket.burst) {
            // What waits may be larger than what may pass at once by now: it would wait for ever, and all behind it.
            let empty = message::empty_row(index, bucket.queue);
            self.apply("limit what passes", name, vec![empty])?;
        }
        if direction.has_classes() {
            self.classes(direction, index, mtu, &bucket)?;
        } else {
            self.apply("limit what passes", name, vec![message::one_row(index, bucket.queue)])?;
        }
        self.apply("bring up interface", name, vec![super::message::up(index)])?;
        Ok(index)
    }

    /// The burst that the bucket has; 0 if there is none yet.
    fn burst(&mut self, name: &str, index: u32) -> Result<u64> {
        match self.netlink.get(&message::get_bucket(index)) {
            Ok(answer) => Ok(message::read_burst(&answer).unwrap_or(0)),
            Err(refusal) if refusal.errno() == libc::ENOENT => Ok(0),
            Err(refusal) => Err(refusal.into_error("look up the limit of", name)),
        }
    }

    fn device(&mut self, name: &str) -> Result<u32> {
        let found = inspect::find(&mut self.netlink, name, false)?;
        if let Some(other) = found.as_ref().filter(|i| !i.is_ours() || !i.is_queue()) {
            return Err(
                Error::new("make interface", &other.name, "there is another interface of that name")
                    .kind(Kind::Exists)
                    .hint("remove or rename it, or choose another interface prefix in hostel.toml"),
            );
        }
        if found.is_none() {
            self.apply("make interface", name, vec![super::message::create_queue(name)])?;
        }
        let index = self.link(name)?.index;
        let ipv6 = self.sysctl.has_ipv6();
        let mark = super::message::mark_host_end(index, self.alias, ipv6);
        self.apply("set the alias of", name, vec![mark])?;
        port::silence(self.sysctl, ipv6, name)?;
        Ok(index)
    }

    /// A class for each link that goes this way, with its own limit or with that of all, and one for what comes by none.
    fn classes(&mut self, direction: &Direction, index: u32, mtu: u32, all: &Bucket) -> Result<()> {
        let name = direction.device.as_str();
        let made = message::classes(index);
        self.tolerate("limit the links of", name, made, &[libc::EEXIST])?;
        let mut requests = message::class(index, message::REST, all).to_vec();
        for ((_, own), number) in direction.links.iter().zip(1..) {
            let bucket = own.map_or(*all, |own| own.bucket(mtu));
            requests.extend(message::class(index, number, &bucket));
        }
        self.apply("limit the links of", name, requests)?;
        let sorted = self.filters(name, &message::filters_of_classes(index))?;
        let mut requests = Vec::new();
        for ((link, _), number) in direction.links.iter().zip(1_u16..) {
            let has = |f: &&Filter| f.priority == number;
            match sorted.iter().find(|f| has(f) && f.device.is_some()) {
                Some(filter) if filter.device.as_deref() == Some(link) => continue,
                // Of a link that is no more.
                _ if sorted.iter().any(|f| has(&f)) => requests.push(message::unsort(index, number)),
                _ => {}
            }
            requests.push(message::sort(index, link, number));
        }
        self.apply("tell links apart on", name, requests)
    }

    /// Sends what passes a gate to this queue. A filter that sends it elsewhere goes when the right one is there.
    fn send_to(&mut self, link: &str, gate: Gate, device: u32) -> Result<()> {
        let index = self.link(link)?.index;
        let act = "send through its queue what passes";
        self.tolerate(act, link, message::open_gates(index), &[libc::EEXIST])?;
        let there = self.filters(link, &message::filters_at(index, gate))?;
        let right = there.iter().find(|f| f.target == Some(device)).map(|f| f.priority);
        let priority = match right {
            Some(priority) => priority,
            None => {
                let taken = |p: &u16| there.iter().any(|f| f.priority == *p);
                let priority = (1..).find(|p| !taken(p)).unwrap_or(1);
                self.apply(act, link, vec![message::redirect(index, gate, priority, device)])?;
                priority
            }
        };
        self.let_pass(link, gate, Some(priority))
    }

    /// Removes the filters at a gate but that of one priority.
    fn let_pass(&mut self, link: &str, gate: Gate, but: Option<u16>) -> Result<()> {
        let index = self.link(link)?.index;
        let there = self.filters(link, &message::filters_at(index, gate))?;
        let mut gone: Vec<u16> = there.iter().map(|f| f.priority).filter(|p| Some(*p) != but).collect();
        gone.dedup();
        let requests = gone.iter().map(|p| message::let_pass(index, gate, *p)).collect();
        self.apply("end the limits of", link, requests)
    }

    fn link(&mut self, name: &str) -> Result<Interface> {
        let gone = || Error::new("look up interface", name, "it isn't there").kind(Kind::NotFound);
        inspect::find(&mut self.netlink, name, false)?.ok_or_else(gone)
    }

    fn filters(&mut self, of: &str, request: &Request) -> Result<Vec<Filter>> {
        let answers = self
            .netlink
            .dump(request)
            .map_err(|r| r.into_error("list filters of", of))?;
        Ok(answers.iter().filter_map(|a| Filter::read(a)).collect())
    }

    fn apply(&mut self, act: &'static str, object: &str, requests: Vec<Request>) -> Result<()> {
        let step = |request| Step {
            act,
            object: object.to_owned(),
            request,
        };
        let steps: Vec<Step> = requests.into_iter().map(step).collect();
        apply(&mut self.netlink, &steps).map_err(lacking)
    }

    /// A request that may have been fulfilled already, which the kernel says by one of these.
    fn tolerate(&mut self, act: &'static str, object: &str, request: Request, fine: &[i32]) -> Result<()> {
        match self.netlink.apply(&[request]) {
            Err(Refusal { error, .. }) if error.raw_os_error().is_some_and(|e| fine.contains(&e)) => Ok(()),
            Err(refusal) => Err(lacking(refusal.into_error(act, object))),
            Ok(()) => Ok(()),
        }
    }
}

/// A kernel that doesn't know a queue, a filter or an interface of that kind says that there is none.
fn lacking(error: Error) -> Error {
    match error.kind {
        Kind::NotFound | Kind::Unsupported => error.hint(format!("this kernel may lack a part: it takes {PARTS}")),
        _ => error,
    }
}

/// What the kernel must have, by the names of its modules.
const PARTS: &str = "ifb, sch_tbf, sch_htb, sch_ingress, cls_u32 and act_mirred";

/// A filter that is there.
#[derive(Debug, Default)]
struct Filter {
    priority: u16,
    /// The interface that it sends to.
    target: Option<u32>,
    /// The interface that it is about, if that is still there.
    device: Option<String>,
}

impl Filter {
    fn read(body: &[u8]) -> Option<Self> {
        let info = u32::from_ne_bytes(body.get(16..message::HEADER)?.try_into().ok()?);
        let mut filter = Self {
            priority: (info >> 16) as u16,
            ..Self::default()
        };
        let options = within(body.get(message::HEADER..)?, message::OPTIONS).unwrap_or_default();
        for (kind, value) in Attributes::new(options) {
            match kind {
                message::U32_ACTIONS => filter.target = read_target(value),
                message::U32_DEVICE => {
                    filter.device = Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
                }
                _ => {}
            }
        }
        Some(filter)
    }
}

/// Where the first of these actions sends packets to: the last field of its struct tc_mirred.
fn read_target(actions: &[u8]) -> Option<u32> {
    let options = within(within(actions, 1)?, message::OPTIONS)?;
    let mirred = within(options, message::MIRRED)?;
    Some(u32::from_ne_bytes(mirred.get(24..28)?.try_into().ok()?))
}

fn within(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    Attributes::new(bytes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}
