use proptest::prelude::*;

use super::*;
use crate::definition::{HostConfig, Rule};
use crate::resolve::tests::effective;
use crate::usage::{Amounts, Counter, HOUR, Held, Interval, Level, Time};

const GIB: u64 = 1 << 30;

fn rules(text: &str) -> Rules {
    HostConfig::parse("hostel.toml", text).unwrap().capacity
}

fn has() -> Each<Option<u64>> {
    Each::of(|r| match r {
        Resource::Cpu => Some(4000),
        Resource::Memory | Resource::Guarantee => Some(16 * GIB),
        Resource::Swap => None,
        Resource::Disk => Some(100 * GIB),
        Resource::Processes => Some(30_000),
    })
}

fn promise(ve: &str) -> Promise {
    Promise::of(&effective("", ve), 4)
}

#[test]
fn what_a_ve_is_promised() {
    let of = |ve: &str| promise(ve);
    let bare = of("");
    assert_eq!(bare[Resource::Cpu], Max::At(4000));
    assert_eq!(bare[Resource::Memory], Max::At(GIB));
    assert_eq!(bare[Resource::Guarantee], Max::At(0));
    assert_eq!(bare[Resource::Disk], Max::At(10 * GIB));
    assert_eq!(bare[Resource::Processes], Max::At(500));
    assert_eq!(of("[memory]\nlimit = \"unlimited\"")[Resource::Memory], Max::Unlimited);
    assert_eq!(
        of("[memory]\nguarantee = \"512MiB\"")[Resource::Guarantee],
        Max::At(GIB / 2)
    );
    for (cpu, milli) in [
        ("cap = 1.5", 1500),
        ("cap = 16", 4000),
        ("count = 2", 2000),
        ("pin = \"0,2\"\ncap = 3", 2000),
    ] {
        assert_eq!(of(&format!("[cpu]\n{cpu}"))[Resource::Cpu], Max::At(milli), "{cpu}");
    }
}

#[test]
fn a_sum_counts_those_without_a_limit_as_all_there_is() {
    let all = [
        promise(""),
        promise("[memory]\nlimit = \"unlimited\""),
        Promise::of_disk(5 * GIB),
    ];
    let sums = sum(&all);
    assert_eq!(
        sums[Resource::Memory],
        Sum {
            limited: GIB,
            unlimited: 1
        }
    );
    assert_eq!(sums[Resource::Memory].of(16 * GIB), 17 * GIB);
    assert_eq!(sums[Resource::Disk].of(1), 25 * GIB);
    let endless = Sum {
        limited: 1,
        unlimited: u64::MAX,
    };
    assert_eq!(endless.of(u64::MAX), u64::MAX);
}

#[test]
fn what_would_be_promised_beyond_the_bound_is_told() {
    let rules = rules("[capacity.memory]\noversell = 1.5\nbeyond = \"refuse\"\n[capacity.cpu]\noversell = 2");
    let others = sum(&[
        promise("[memory]\nlimit = \"20GiB\"\n[cpu]\ncap = 3"),
        promise("[cpu]\ncap = 4"),
    ]);
    let told = |ve: &str, had: Option<&Promise>| {
        let found = judge(&rules, &has(), (&promise(ve), had), &others, "this host");
        let line = |(beyond, v): (Beyond, Violation)| format!("{beyond}: {v}");
        found.into_iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(told("[memory]\nlimit = \"3GiB\"\n[cpu]\ncap = 1", None), [""; 0]);
    assert_eq!(
        told("[memory]\nlimit = \"4GiB\"\n[cpu]\ncap = 1.5", None),
        [
            "warn: cpu.cap: it is promised 1.5 processors, and this host has 1 left to promise of 8 \
             (capacity.cpu.oversell is 2); take less, or raise capacity.cpu.oversell in hostel.toml",
            "refuse: memory.limit: it is promised 4GiB of memory, and this host has 3GiB left to promise of 24GiB \
             (capacity.memory.oversell is 1.5); take less, or raise capacity.memory.oversell in hostel.toml",
        ]
    );
    let unlimited = told("[memory]\nlimit = \"unlimited\"\n[cpu]\ncap = 1", None);
    assert!(unlimited[0].contains("it is promised all memory, and"), "{unlimited:?}");
    // What doesn't grow is never too much, and what shrinks still less.
    let had = promise("[memory]\nlimit = \"5GiB\"\n[cpu]\ncap = 1.5");
    assert_eq!(
        told("[memory]\nlimit = \"5GiB\"\n[cpu]\ncap = 1.5", Some(&had)),
        [""; 0]
    );
    assert_eq!(told("[memory]\nlimit = \"4GiB\"\n[cpu]\ncap = 1", Some(&had)), [""; 0]);
    assert_eq!(told("[memory]\nlimit = \"6GiB\"\n[cpu]\ncap = 1", Some(&had)).len(), 1);
}

#[test]
fn nobody_looks_where_nothing_is_bounded_or_grows() {
    let (bare, guaranteed) = (promise(""), promise("[memory]\nguarantee = \"1GiB\""));
    let usual = rules("");
    assert!(!concerns(&usual, &bare, None, false), "no bound");
    assert!(concerns(&usual, &guaranteed, None, false));
    assert!(!concerns(&usual, &guaranteed, None, true), "it only warns");
    assert!(!concerns(&usual, &guaranteed, Some(&guaranteed), false), "it stays");
    assert!(concerns(&usual, &guaranteed, Some(&bare), false));
    assert!(concerns(
        &rules("[capacity.disk]\nbeyond = \"refuse\""),
        &bare,
        None,
        true
    ));
}

#[test]
fn what_cannot_be_told_is_not_judged() {
    let rules = rules("[capacity.swap]\nbeyond = \"refuse\"\n[capacity.disk]\nbeyond = \"refuse\"");
    let large = promise("[memory]\nswap = \"1PiB\"\n[disk]\nsize = \"1TiB\"");
    let found = judge(&rules, &has(), (&large, None), &Each::default(), "this host");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1.key, "disk.size");
}

#[test]
fn the_first_that_runs_out() {
    assert_eq!(fits(Some(10), Some(3), Some(2)), Fit::At(3));
    assert_eq!(fits(Some(10), Some(12), Some(2)), Fit::At(0));
    assert_eq!(fits(None, None, Some(0)), Fit::Any);
    assert_eq!(fits(Some(10), None, Some(2)), Fit::Unknown);
    let all = [
        ("cpu", Fit::At(3)),
        ("swap", Fit::Unknown),
        ("disk", Fit::At(2)),
        ("ids", Fit::At(2)),
        ("io", Fit::Any),
    ];
    assert_eq!(first(all), Some(("disk", 2)));
    assert_eq!(first([("swap", Fit::Unknown)]), None);
    assert_eq!((oversold(3, 2), oversold(3, 0)), (Some(1500), None));
}

/// A VE that runs all the time, takes so many thousandths of a processor, and has so much memory.
fn used(from_ns: i64, to_ns: i64, milli: u64, memory: u64) -> Interval {
    let ns = u64::try_from(to_ns - from_ns).unwrap();
    let mut amounts = Amounts::default();
    amounts.times[Time::Running as usize] = ns;
    amounts.counters[Counter::Cpu as usize] = Some(ns / 1000 * milli);
    amounts.levels[Level::Memory as usize] = Held {
        integral: u128::from(ns) * u128::from(memory),
        time: ns,
        peak: Some(memory),
    };
    Interval {
        from_ns,
        to_ns,
        amounts,
    }
}

#[test]
fn what_was_really_used() {
    let mut history = History::default();
    assert_eq!((history.hours(), history.of_all()[Resource::Cpu]), (0, Some(0)));
    // A hundred whole hours, and a piece at each end that is left out. web1 uses more from hour to hour; web2 runs in the
    // first half of each, web3 never for half an hour.
    history.add("web1", "small", &used(-1000, 0, 100_000, 1 << 40));
    for hour in 0..100 {
        let (at, n) = (hour * HOUR, hour as u64 + 1);
        history.add("web1", "small", &used(at, at + HOUR, 10 * n, n << 20));
        history.add("web2", "large", &used(at, at + HOUR / 2, 1000, 2 << 20));
        history.add("web3", "small", &used(at, at + HOUR / 4, 4000, 0));
    }
    history.add("web1", "small", &used(100 * HOUR, 100 * HOUR + 5, 100_000, 1 << 40));
    assert_eq!(history.hours(), 100);
    let all = history.of_all();
    assert_eq!(all[Resource::Cpu], Some(950 + 500 + 1000));
    assert_eq!(all[Resource::Memory], Some((95 << 20) + (1 << 20)));
    assert_eq!(all[Resource::Guarantee], None);
    let (small, hours) = history.of_plan("small");
    assert_eq!(
        (small[Resource::Cpu], small[Resource::Memory], hours),
        (Some(950), Some(95 << 20), 100)
    );
    let (large, hours) = history.of_plan("large");
    assert_eq!(
        (large[Resource::Cpu], large[Resource::Memory], hours),
        (Some(1000), Some(2 << 20), 100)
    );
    assert_eq!(history.of_plan("huge").1, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// As many as are said to fit do, and one more doesn't; and that is what is judged at each creation.
    #[test]
    fn that_many_fit_and_no_more(
        have in 1_u64..1 << 40, milli in 10_u32..20_000, promised in 0_u64..1 << 41, one in 1_u64..1 << 36,
    ) {
        let rule = Rule { oversell: format!("{}.{:03}", milli / 1000, milli % 1000).parse().unwrap(), beyond: Beyond::Refuse };
        let most = rule.oversell.of(have);
        let Fit::At(n) = fits(Some(most), Some(promised), Some(one)) else { panic!() };
        prop_assert!(n == 0 || promised + n * one <= most);
        prop_assert!(promised + (n + 1) * one > most);
        // The same by what is asked at a creation.
        let rules = Each::of(|_| rule);
        let ve = Promise(Each::of(|r| Max::At(if r == Resource::Disk { one } else { 0 })));
        let beside = |made: u64| {
            let mut sums = Each::<Sum>::default();
            sums[Resource::Disk] = Sum { limited: promised + made * one, unlimited: 0 };
            judge(&rules, &Each::of(|_| Some(have)), (&ve, None), &sums, "this host").is_empty()
        };
        prop_assert!(n == 0 || beside(n - 1));
        prop_assert!(!beside(n));
    }

    #[test]
    fn more_of_anything_never_lets_fewer_fit(most in 0_u64..1000, used in 0_u64..1000, one in 0_u64..50, more in 0_u64..100) {
        let number = |fit: Fit| match fit { Fit::At(n) => n, Fit::Any => u64::MAX, Fit::Unknown => 0 };
        let fit = |most, used, one| number(fits(Some(most), Some(used), Some(one)));
        prop_assert!(fit(most + more, used, one) >= fit(most, used, one));
        prop_assert!(fit(most, used + more, one) <= fit(most, used, one));
        prop_assert!(fit(most, used, one + more) <= fit(most, used, one));
    }
}
