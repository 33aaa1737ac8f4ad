//! Handing out addresses of a network's pools.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::Serialize;

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
/// isn't in `used`.
pub fn allocate(network: &Network, used: &BTreeSet<IpAddr>) -> Result<Vec<IpAddr>, Exhausted> {
    families(network)
        .map(|family| {
            free(network, family, used)
                .next()
                .map(|span| address(family, span.0))
                .ok_or_else(|| Exhausted {
                    network: network.name.clone(),
                    family,
                })
        })
        .collect()
}

/// How many addresses of each of its families are left to hand out. `u128::MAX` stands for that many or more.
pub fn left(network: &Network, used: &BTreeSet<IpAddr>) -> Vec<(Family, u128)> {
    families(network)
        .map(|family| {
            let count = |(first, last): (u128, u128)| (last - first).saturating_add(1);
            (
                family,
                free(network, family, used).map(count).fold(0, u128::saturating_add),
            )
        })
        .collect()
}

/// The families that the network has pools of.
fn families(network: &Network) -> impl Iterator<Item = Family> {
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
    let named: Vec<Run> = distinct(named.map(run));
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

/// The same addresses in the same order, but none twice.
fn distinct(runs: impl Iterator<Item = Run>) -> Vec<Run> {
    let mut all: Vec<Run> = Vec::new();
    for run in runs {
        let mut before = all.clone();
        before.sort_unstable();
        all.extend(subtract(run, &before));
    }
    all
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        Network::parse("networks/n.toml", &format!("kind = \"routed\"\n{text}")).unwrap()
    }

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|a| a.parse().unwrap()).collect()
    }

    #[test]
    fn one_of_each_family() {
        let n = network("pools = [\"2001:db8::/64\", \"10.77.0.0/24\"]\nexclude = [\"10.77.0.2-10.77.0.9\"]");
        let mut used = BTreeSet::new();
        assert_eq!(allocate(&n, &used).unwrap(), addresses(&["10.77.0.10", "2001:db8::2"]));
        used.extend(addresses(&["10.77.0.10", "10.77.0.12", "2001:db8::2"]));
        assert_eq!(allocate(&n, &used).unwrap(), addresses(&["10.77.0.11", "2001:db8::3"]));
        assert_eq!(
            left(&n, &used),
            [(Family::V4, 253 - 8 - 2), (Family::V6, (1 << 64) - 3)]
        );
    }

    #[test]
    fn small_pools() {
        for (pool, expected) in [
            ("192.0.2.7/32", vec!["192.0.2.7"]),
            ("192.0.2.6/31", vec!["192.0.2.6", "192.0.2.7"]),
            ("192.0.2.4/30", vec!["192.0.2.6"]),
            (
                "192.0.2.8/29",
                vec!["192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14"],
            ),
            ("2001:db8::/127", vec!["2001:db8::", "2001:db8::1"]),
            ("2001:db8::/126", vec!["2001:db8::2", "2001:db8::3"]),
        ] {
            let n = network(&format!("pools = [\"{pool}\"]"));
            let mut used = BTreeSet::new();
            while let Ok(next) = allocate(&n, &used) {
                used.extend(next);
            }
            assert_eq!(used.into_iter().collect::<Vec<_>>(), addresses(&expected), "{pool}");
        }
    }

    #[test]
    fn pools_and_ranges_in_their_order() {
        let n = network("pools = [\"198.51.100.0/30\", \"192.0.2.0/24\"]");
        assert_eq!(allocate(&n, &BTreeSet::new()).unwrap(), addresses(&["198.51.100.2"]));
        assert_eq!(
            allocate(&n, &addresses(&["198.51.100.2"]).into_iter().collect()).unwrap(),
            addresses(&["192.0.2.2"])
        );
        // Ranges are taken as they are: an operator who names .0 may have it.
        let n =
            network("pools = [\"192.0.2.0/24\"]\nranges = [\"192.0.2.100-192.0.2.101\", \"192.0.2.0-192.0.2.100\"]");
        assert_eq!(allocate(&n, &BTreeSet::new()).unwrap(), addresses(&["192.0.2.100"]));
        assert_eq!(left(&n, &BTreeSet::new()), [(Family::V4, 102)]);
        assert_eq!(
            left(
                &network("pools = [\"2001:db8::/16\"]".replace("2001:db8", "2001").as_str()),
                &BTreeSet::new()
            )
            .len(),
            1
        );
    }

    #[test]
    fn exhausted_says_which() {
        let n = network("pools = [\"192.0.2.7/32\", \"2001:db8::/64\"]");
        let error = allocate(&n, &addresses(&["192.0.2.7"]).into_iter().collect()).unwrap_err();
        assert_eq!(
            error,
            Exhausted {
                network: n.name,
                family: Family::V4
            }
        );
        assert!(
            error.to_string().contains("IPv4") && error.to_string().contains("\"n\""),
            "{error}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn free_addresses_are_the_pools_without_the_rest(
            prefix in 26_u8..=32,
            excluded in prop::collection::vec((0_u8..64, 0_u8..8), 0..5),
            used in prop::collection::btree_set(0_u8..64, 0..30),
        ) {
            let size = 1_u32 << (32 - prefix);
            let exclude: Vec<String> = excluded.iter().filter(|(a, n)| u32::from(a + n) < size)
                .map(|(a, n)| format!("\"192.0.2.{a}-192.0.2.{}\"", a + n)).collect();
            let n = network(&format!("pools = [\"192.0.2.0/{prefix}\"]\nexclude = [{}]", exclude.join(",")));
            let mut used: BTreeSet<IpAddr> = used.iter().map(|h| IpAddr::from([192, 0, 2, *h])).collect();
            // The plain way: try each address in turn.
            let (first, last) = usable(&n.pools[0]);
            let expected: Vec<IpAddr> = (first..=last).map(|a| address(Family::V4, a))
                .filter(|a| !n.excludes(*a) && !used.contains(a)).collect();
            prop_assert_eq!(left(&n, &used), [(Family::V4, expected.len() as u128)]);
            for address in expected {
                prop_assert_eq!(allocate(&n, &used).unwrap(), [address]);
                used.insert(address);
            }
            prop_assert!(allocate(&n, &used).is_err());
        }

        #[test]
        fn big_pools_too(prefix in 16_u8..=120, used in prop::collection::btree_set(0_u128..20, 0..20)) {
            let n = network(&format!("pools = [\"2001::/{prefix}\"]"));
            let base = number("2001::".parse().unwrap());
            let used: BTreeSet<IpAddr> = used.into_iter().map(|h| address(Family::V6, base + h)).collect();
            let next = allocate(&n, &used).unwrap();
            prop_assert!(n.contains(next[0]) && !used.contains(&next[0]) && number(next[0]) >= base + 2);
            let lower = (base + 2..number(next[0])).all(|a| used.contains(&address(Family::V6, a)));
            prop_assert!(lower, "{:?} is not the lowest", next);
            let taken = used.iter().filter(|a| number(**a) >= base + 2).count() as u128;
            prop_assert_eq!(left(&n, &used), [(Family::V6, (1_u128 << (128 - prefix)) - 2 - taken)]);
        }
    }
}
