//! Handing out addresses of a network's pools.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::aside::Aside;
use crate::definition::{AddressRange, Network};
use crate::id::NetworkName;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Family {
    /// IPv4
    #[serde(rename = "ipv4")]
    V4,
    /// IPv6
    #[serde(rename = "ipv6")]
    V6,
}

impl Family {
    /// Whose address it is.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A network has no free address left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no free {family} address is left in network \"{network}\"; add a pool to it, or name an address")]
pub struct Exhausted {
    /// Which network.
    pub network: NetworkName,
    /// Of which family.
    pub family: Family,
}

/// The next free address of each family the network has pools of, IPv4 first: the lowest one, pool after pool, that
/// isn't in `used` nor aside at `now` (seconds since 1970). Where nothing else is left, the one that has been aside for
/// longest: to be aside is no reason to turn a customer away.
pub fn allocate(network: &Network, used: &BTreeSet<IpAddr>, aside: &Aside, now: i64) -> Result<Vec<IpAddr>, Exhausted> {
    families(network)
        .map(|family| allocate_one(network, family, used, aside, now))
        .collect()
}

/// The same of one family.
pub fn allocate_one(
    network: &Network,
    family: Family,
    used: &BTreeSet<IpAddr>,
    aside: &Aside,
    now: i64,
) -> Result<IpAddr, Exhausted> {
    let waiting: Vec<_> = aside.of(network, used, now).collect();
    let kept = with(used, waiting.iter().map(|(a, _)| *a));
    let never_used = free(network, family, &kept).next().map(|run| address(family, run.0));
    let may_be_given = |a: &IpAddr| {
        Family::of(*a) == family && free(network, family, used).any(|run| (run.0..=run.1).contains(&number(*a)))
    };
    let oldest = || {
        waiting
            .iter()
            .filter(|(a, _)| may_be_given(a))
            .min_by_key(|(a, freed)| (freed.since, *a))
            .map(|(a, _)| *a)
    };
    never_used.or_else(oldest).ok_or_else(|| Exhausted {
        network: network.name.clone(),
        family,
    })
}

/// The addresses of a family that [`allocate_one`] would give one after the other, this many at most.
pub fn candidates(
    network: &Network,
    family: Family,
    used: &BTreeSet<IpAddr>,
    aside: &Aside,
    now: i64,
    most: usize,
) -> Vec<IpAddr> {
    let (mut used, mut list) = (used.clone(), Vec::new());
    while list.len() < most
        && let Ok(next) = allocate_one(network, family, &used, aside, now)
    {
        used.insert(next);
        list.push(next);
    }
    list
}

/// How the addresses of one pool stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Census {
    /// The pool.
    pub pool: IpNetwork,
    /// How many are in use.
    pub used: u64,
    /// How many were given back a short while ago.
    pub aside: u64,
    /// How many "auto" can give that never were, or not lately. `u64::MAX` stands for that many or more.
    pub left: u64,
}

/// The census of each pool at `now` (seconds since 1970).
pub fn census(network: &Network, used: &BTreeSet<IpAddr>, aside: &Aside, now: i64) -> Vec<Census> {
    let waiting: BTreeSet<IpAddr> = aside.of(network, used, now).map(|(a, _)| a).collect();
    let kept = with(used, waiting.iter().copied());
    let count = |pool: &IpNetwork| {
        let within = |list: &BTreeSet<IpAddr>| list.iter().filter(|a| pool.contains(**a)).count() as u64;
        let (first, last) = (number(pool.network()), number(pool.broadcast()));
        let inside = |(from, to): Run| {
            let (from, to) = (from.max(first), to.min(last));
            (from <= to).then(|| (to - from).saturating_add(1))
        };
        let left = free(network, Family::of(pool.ip()), &kept)
            .filter_map(inside)
            .fold(0, u128::saturating_add);
        Census {
            pool: *pool,
            used: within(used),
            aside: within(&waiting),
            left: u64::try_from(left).unwrap_or(u64::MAX),
        }
    };
    network.pools.iter().map(count).collect()
}

/// The set with more in it; nothing is copied where there is nothing to add.
fn with(set: &BTreeSet<IpAddr>, more: impl Iterator<Item = IpAddr>) -> Cow<'_, BTreeSet<IpAddr>> {
    let mut more = more.peekable();
    let mut all = Cow::Borrowed(set);
    if more.peek().is_some() {
        all.to_mut().extend(more);
    }
    all
}

/// The families that the network has pools of.
pub fn families(network: &Network) -> impl Iterator<Item = Family> {
    [Family::V4, Family::V6]
        .into_iter()
        .filter(|f| network.pools.iter().any(|p| Family::of(p.ip()) == *f))
}

/// First and last of a run of addresses, as numbers.
type Run = (u128, u128);

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(family: Family, number: u128) -> IpAddr {
    match family {
        // Numbers of this family came from 32 bits.
        Family::V4 => Ipv4Addr::from_bits(number as u32).into(),
        Family::V6 => Ipv6Addr::from_bits(number).into(),
    }
}

/// The free runs of one family, in the order of the pools or ranges and none empty.
fn free<'a>(network: &'a Network, family: Family, used: &'a BTreeSet<IpAddr>) -> impl Iterator<Item = Run> + 'a {
    let wanted = move |range: &Run| range.0 <= range.1;
    let named = network.ranges.iter().filter(move |r| Family::of(r.first()) == family);
    let named: Vec<Run> = named.map(run).collect();
    let whole = network
        .pools
        .iter()
        .filter(move |p| Family::of(p.ip()) == family)
        .map(usable);
    let from: Vec<Run> = if named.is_empty() {
        whole.filter(wanted).collect()
    } else {
        named
    };
    let mut taken: Vec<Run> = network
        .exclude
        .iter()
        .filter(|r| Family::of(r.first()) == family)
        .map(run)
        .collect();
    taken.extend(
        used.iter()
            .filter(|a| Family::of(**a) == family)
            .map(|a| (number(*a), number(*a))),
    );
    taken.sort_unstable();
    from.into_iter().flat_map(move |run| subtract(run, &taken))
}

fn run(range: &AddressRange) -> Run {
    (number(range.first()), number(range.last()))
}

/// What of a pool is handed out when no ranges say so: not its first address (the network's own, or IPv6's routers'
/// anycast), not the second (where people expect a gateway), not IPv4's last (broadcast). Pools of one or two
/// addresses have none of these (RFC 3021, RFC 6164).
fn usable(pool: &IpNetwork) -> Run {
    let (first, last) = (number(pool.network()), number(pool.broadcast()));
    if last - first < 2 {
        return (first, last);
    }
    (first + 2, if pool.is_ipv4() { last - 1 } else { last })
}

/// What is left of `run` without the runs of `taken`, which are in order of their beginnings.
fn subtract(run: Run, taken: &[Run]) -> Vec<Run> {
    let (mut next, last) = run;
    let mut left = Vec::new();
    for &(from, to) in taken {
        if to < next {
            continue;
        }
        if from > last {
            break;
        }
        if from > next {
            left.push((next, from - 1));
        }
        match to.checked_add(1) {
            Some(after) if to < last => next = after,
            _ => return left,
        }
    }
    left.push((next, last));
    left
}

#[cfg(test)]
mod tests;
