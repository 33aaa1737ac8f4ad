use proptest::prelude::*;

use super::*;
use crate::aside::Freed;

/// With nothing aside.
fn next(network: &Network, used: &BTreeSet<IpAddr>) -> Result<Vec<IpAddr>, Exhausted> {
    allocate(network, used, &Aside::default(), 0)
}

/// How many are left in each pool, with nothing aside.
fn left(network: &Network, used: &BTreeSet<IpAddr>) -> Vec<u64> {
    let all = census(network, used, &Aside::default(), 0);
    all.into_iter().map(|c| c.left).collect()
}

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
    assert_eq!(next(&n, &used).unwrap(), addresses(&["10.77.0.10", "2001:db8::2"]));
    used.extend(addresses(&["10.77.0.10", "10.77.0.12", "2001:db8::2"]));
    assert_eq!(next(&n, &used).unwrap(), addresses(&["10.77.0.11", "2001:db8::3"]));
    assert_eq!(left(&n, &used), [u64::MAX - 2, 253 - 8 - 2]);
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
        while let Ok(given) = next(&n, &used) {
            used.extend(given);
        }
        assert_eq!(used.into_iter().collect::<Vec<_>>(), addresses(&expected), "{pool}");
    }
}

#[test]
fn pools_and_ranges_in_their_order() {
    let n = network("pools = [\"198.51.100.0/30\", \"192.0.2.0/24\"]");
    assert_eq!(next(&n, &BTreeSet::new()).unwrap(), addresses(&["198.51.100.2"]));
    assert_eq!(
        next(&n, &addresses(&["198.51.100.2"]).into_iter().collect()).unwrap(),
        addresses(&["192.0.2.2"])
    );
    // Ranges are taken as they are: an operator who names .0 may have it.
    let n = network("pools = [\"192.0.2.0/24\"]\nranges = [\"192.0.2.100-192.0.2.101\", \"192.0.2.0-192.0.2.99\"]");
    assert_eq!(next(&n, &BTreeSet::new()).unwrap(), addresses(&["192.0.2.100"]));
    assert_eq!(left(&n, &BTreeSet::new()), [102]);
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
    let error = next(&n, &addresses(&["192.0.2.7"]).into_iter().collect()).unwrap_err();
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

fn freed(since: i64) -> Freed {
    Freed {
        network: "n".parse().unwrap(),
        ve: "web1".parse().unwrap(),
        since,
    }
}

#[test]
fn what_is_aside_comes_last_and_the_oldest_first() {
    let n = network("pools = [\"192.0.2.0/24\"]\nranges = [\"192.0.2.1-192.0.2.4\"]\nquarantine = \"1h\"");
    let (mut used, mut aside) = (BTreeSet::new(), Aside::default());
    for (address, since) in [
        ("192.0.2.1", 100),
        ("192.0.2.2", 50),
        ("192.0.2.4", 70),
        ("192.0.2.9", 1),
    ] {
        aside.put(address.parse().unwrap(), freed(since));
    }
    assert_eq!(
        census(&n, &used, &aside, 200),
        [Census {
            pool: n.pools[0],
            used: 0,
            aside: 4,
            left: 1
        }]
    );
    // .9 was given by hand: "auto" never gives it.
    for expected in ["192.0.2.3", "192.0.2.2", "192.0.2.4", "192.0.2.1"] {
        let given = allocate(&n, &used, &aside, 200).unwrap();
        assert_eq!(given, addresses(&[expected]));
        used.extend(given);
    }
    assert!(allocate(&n, &used, &aside, 200).is_err());
    // When their time is over, they are as any other.
    assert_eq!(
        allocate(&n, &BTreeSet::new(), &aside, 3700).unwrap(),
        addresses(&["192.0.2.1"])
    );
}

#[test]
fn one_family_alone() {
    let n = network("pools = [\"192.0.2.7/32\", \"2001:db8::/64\"]");
    let used = addresses(&["192.0.2.7"]).into_iter().collect();
    let given = |family| allocate_one(&n, family, &used, &Aside::default(), 0);
    assert_eq!(given(Family::V6).unwrap(), addresses(&["2001:db8::2"])[0]);
    assert_eq!(given(Family::V4).unwrap_err().family, Family::V4);
}

/// What may happen to the addresses of a small pool.
#[derive(Debug, Clone)]
enum Event {
    Auto,
    ByHand(u8),
    GiveBack(u8),
    Pass(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Auto),
        1 => (0_u8..8).prop_map(Event::ByHand),
        3 => (0_u8..8).prop_map(Event::GiveBack),
        2 => (0_i64..40).prop_map(Event::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The plain way beside ours: for each address whether it is in use, and when it was given back last.
    #[test]
    fn addresses_come_and_go(events in prop::collection::vec(event(), 1..80)) {
        const LAST: i64 = 60;
        let n = network("pools = [\"192.0.2.0/29\"]\nranges = [\"192.0.2.0-192.0.2.7\"]\nquarantine = \"60s\"");
        let ip = |n: usize| IpAddr::from([192, 0, 2, n as u8]);
        let (mut used, mut aside, mut now) = (BTreeSet::new(), Aside::default(), 1000_i64);
        let (mut in_use, mut back) = ([false; 8], [None::<i64>; 8]);
        for event in events {
            let waits = |i: usize, back: &[Option<i64>; 8]| back[i].is_some_and(|since| now - since < LAST);
            match event {
                Event::Auto => {
                    let fresh = (0..8).find(|i| !in_use[*i] && !waits(*i, &back));
                    let oldest = (0..8).filter(|i| !in_use[*i]).min_by_key(|i| back[*i]);
                    let given = allocate(&n, &used, &aside, now).ok();
                    prop_assert_eq!(given.clone(), fresh.or(oldest).map(|i| vec![ip(i)]));
                    if let (Some(given), Some(i)) = (given, fresh.or(oldest)) {
                        used.extend(given);
                        in_use[i] = true;
                    }
                }
                Event::ByHand(i) => {
                    used.insert(ip(i.into()));
                    in_use[usize::from(i)] = true;
                }
                Event::GiveBack(i) if in_use[usize::from(i)] => {
                    used.remove(&ip(i.into()));
                    aside.put(ip(i.into()), freed(now));
                    (in_use[usize::from(i)], back[usize::from(i)]) = (false, Some(now));
                }
                Event::GiveBack(_) => {}
                Event::Pass(seconds) => {
                    now += seconds;
                    aside.forget(now, |_| Some(n.quarantine));
                }
            }
            let waits = |i: &usize| !in_use[*i] && back[*i].is_some_and(|since| now - since < LAST);
            let all = &census(&n, &used, &aside, now)[0];
            let expected = (in_use.iter().filter(|u| **u).count() as u64, (0..8).filter(waits).count() as u64);
            prop_assert_eq!((all.used, all.aside), expected);
            prop_assert_eq!(all.used + all.aside + all.left, 8);
        }
    }
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
        prop_assert_eq!(left(&n, &used), [expected.len() as u64]);
        for address in expected {
            prop_assert_eq!(next(&n, &used).unwrap(), [address]);
            used.insert(address);
        }
        prop_assert!(next(&n, &used).is_err());
    }

    #[test]
    fn big_pools_too(prefix in 16_u8..=120, used in prop::collection::btree_set(0_u128..20, 0..20)) {
        let n = network(&format!("pools = [\"2001::/{prefix}\"]"));
        let base = number("2001::".parse().unwrap());
        let used: BTreeSet<IpAddr> = used.into_iter().map(|h| address(Family::V6, base + h)).collect();
        let given = next(&n, &used).unwrap();
        prop_assert!(n.contains(given[0]) && !used.contains(&given[0]) && number(given[0]) >= base + 2);
        let lower = (base + 2..number(given[0])).all(|a| used.contains(&address(Family::V6, a)));
        prop_assert!(lower, "{:?} is not the lowest", given);
        let taken = used.iter().filter(|a| number(**a) >= base + 2).count() as u128;
        let expected = (1_u128 << (128 - prefix)) - 2 - taken;
        prop_assert_eq!(left(&n, &used), [u64::try_from(expected).unwrap_or(u64::MAX)]);
    }
}
