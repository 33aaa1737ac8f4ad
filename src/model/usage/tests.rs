//! No unit lost and none repeated, whatever happens on the way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::traffic::{Amount, Direction, Flow};

const SECOND: u64 = 1_000_000_000;
/// 2026-10-31T23:00:00Z
const WALL: i64 = 1_793_487_600 * SECOND as i64;

fn terms(tenant: &str) -> Terms {
    Terms {
        name: "web1".into(),
        tenant: tenant.into(),
        plan: "small".into(),
        limits: BTreeMap::from([("memory.limit".into(), "256MiB".into())]),
    }
}

fn at(seconds: u64) -> Moment {
    Moment {
        wall_ns: WALL + (seconds * SECOND) as i64,
        boot: "a".into(),
        up_ns: 100 * SECOND + seconds * SECOND,
    }
}

fn run(pid: u32, began: u64) -> Run {
    Run {
        pid,
        ticks: began,
        began_ns: 100 * SECOND + began * SECOND,
    }
}

fn external() -> Flow {
    Flow {
        class: "external".into(),
        direction: Direction::Out,
        ipv6: false,
    }
}

fn stopped(seconds: u64) -> Reading {
    Reading {
        terms: Some(terms("acme").into()),
        traffic: Some(Vec::new()),
        ..Reading::bare("l".into(), 101, at(seconds), Condition::Stopped)
    }
}

/// It runs, has used so many nanoseconds, and has so many bytes in memory and as traffic.
fn running(seconds: u64, run: &Run, cpu: u64, memory: u64) -> Reading {
    let mut reading = Reading::bare("l".into(), 101, at(seconds), Condition::Running);
    reading.run = Some(run.clone());
    reading.counters[Counter::Cpu as usize] = Some(cpu);
    reading.levels[Level::Memory as usize] = Some(memory);
    reading.traffic = Some(vec![(external(), Amount { bytes: cpu, packets: 1 })]);
    reading
}

/// All that comes of these readings.
fn account(readings: &[Reading]) -> (Mark, Amounts) {
    let (mut mark, intervals) = Mark::begin(&readings[0]);
    let mut sum = Amounts::default();
    intervals.iter().for_each(|i| sum.add(&i.amounts));
    for reading in &readings[1..] {
        if let Some((next, intervals)) = mark.advance(reading) {
            for interval in &intervals {
                assert_eq!(interval.length(), interval.amounts.times.iter().sum::<u64>());
                sum.add(&interval.amounts);
            }
            mark = next;
        }
    }
    (mark, sum)
}

fn seconds(sum: &Amounts) -> [u64; 5] {
    sum.times.map(|t| t / SECOND)
}

#[test]
fn a_run_is_counted_from_its_start_though_nobody_saw_it() {
    let one = run(7, 10);
    let mut end = running(30, &one, 500, 4096);
    end.condition = Condition::Stopped;
    end.levels = Levels::default();
    let (mark, sum) = account(&[stopped(0), end.clone(), stopped(40)]);
    assert_eq!(seconds(&sum), [20, 0, 0, 20, 0]);
    assert_eq!(sum.counter(Counter::Cpu), Some(500));
    assert_eq!(sum.traffic[&external()].bytes, 500);
    assert_eq!(mark.condition, Condition::Stopped);
    // It comes late, and again.
    assert_eq!(mark.advance(&end), None);
}

#[test]
fn levels_go_in_a_straight_line() {
    let one = run(7, 0);
    let (_, sum) = account(&[stopped(0), running(10, &one, 1, 100), running(20, &one, 2, 300)]);
    let memory = sum.level(Level::Memory);
    // Of the first stretch only the end is known.
    assert_eq!(memory.integral, u128::from(SECOND) * (10 * 100 + 10 * 200));
    assert_eq!((memory.time, memory.peak), (20 * SECOND, Some(300)));
}

#[test]
fn what_the_kernel_saw_in_between_is_the_peak() {
    let one = run(7, 0);
    let mut readings = [1, 2, 3].map(|n| running(n, &one, n, 100));
    readings[1].memory_peak = Some(900);
    readings[2].memory_peak = Some(900);
    let (mark, _) = Mark::begin(&readings[0]);
    let (mark, grown) = mark.advance(&readings[1]).unwrap();
    assert_eq!(grown[0].amounts.level(Level::Memory).peak, Some(900));
    let (_, same) = mark.advance(&readings[2]).unwrap();
    assert_eq!(same[0].amounts.level(Level::Memory).peak, Some(100));
}

#[test]
fn unreadable_is_not_zero_and_is_made_up_for() {
    let one = run(7, 0);
    let mut blind = running(20, &one, 0, 0);
    blind.counters = Counters::default();
    blind.levels = Levels::default();
    blind.traffic = None;
    let readings = [
        stopped(0),
        running(10, &one, 100, 50),
        blind.clone(),
        running(30, &one, 170, 50),
    ];
    let (mark, _) = account(&readings[..2]);
    let (mark, nothing) = mark.advance(&blind).unwrap();
    assert_eq!(nothing[0].amounts.counter(Counter::Cpu), None);
    assert_eq!(
        nothing[0].amounts.level(Level::Memory).time,
        10 * SECOND,
        "as it was last seen"
    );
    assert_eq!(mark.counters[Counter::Cpu as usize], Some(100));
    let (_, sum) = account(&readings);
    assert_eq!(sum.counter(Counter::Cpu), Some(170));
    assert_eq!(sum.traffic[&external()].bytes, 170);
}

#[test]
fn a_counter_that_was_set_back_is_never_less() {
    let one = run(7, 0);
    let (_, sum) = account(&[stopped(0), running(10, &one, 100, 1), running(20, &one, 30, 1)]);
    assert_eq!(sum.counter(Counter::Cpu), Some(130));
}

/// What has passed, as the sums say: some of it is written down, the rest stands in counters that may be lost.
fn passed(mut reading: Reading, bytes: u64, of: &str) -> Reading {
    reading.traffic = Some(vec![(external(), Amount { bytes, packets: bytes })]);
    reading.traffic_of = of.into();
    reading
}

#[test]
fn traffic_whose_counters_are_lost_is_not_entered_again() {
    let (one, two) = (run(7, 0), run(8, 60));
    let runs = |seconds, bytes| passed(running(seconds, &one, 1, 1), bytes, "a");
    let ended = |seconds, bytes| passed(stopped(seconds), bytes, "a");
    let again = |seconds, bytes| passed(running(seconds, &two, 1, 1), bytes, "a");
    let sum = |readings: &[Reading]| account(readings).1.traffic[&external()].bytes;
    // 1000 were written down, and 500 were in counters.
    let before = [stopped(0), runs(10, 1_500)];
    let then = |more: &[Reading]| sum(&[&before, more].concat());
    assert_eq!(then(&[runs(20, 1_000), runs(30, 1_100)]), 1_500);
    // Who remembers them writes them down after all.
    assert_eq!(then(&[runs(20, 1_000), runs(30, 1_530)]), 1_530);
    // Nobody does once the run is over.
    assert_eq!(then(&[runs(20, 1_000), ended(30, 1_100), again(70, 1_130)]), 1_530);
    // Nor when nothing was written down at all.
    let mut none = runs(20, 0);
    none.traffic = Some(Vec::new());
    let mut end = none.clone();
    (end.at, end.traffic_ns, end.condition) = (at(30), at(30).up_ns, Condition::Stopped);
    assert_eq!(then(&[none, end, again(70, 30)]), 1_530);
}

#[test]
fn a_boot_takes_counters_along_and_sums_that_are_begun_anew_are_others() {
    let one = run(7, 0);
    let before = [stopped(0), passed(running(10, &one, 1, 1), 1_500, "a")];
    let then = |more: &[Reading]| account(&[&before, more].concat()).1.traffic[&external()].bytes;
    let booted = |mut reading: Reading| {
        reading.at.boot = "b".into();
        reading
    };
    let two = run(9, 500);
    let later = |seconds, bytes| booted(passed(running(seconds, &two, 1, 1), bytes, "a"));
    assert_eq!(then(&[later(600, 1_020), later(610, 1_050)]), 1_530);
    let off = booted(passed(stopped(550), 1_000, "a"));
    assert_eq!(then(&[off, later(600, 1_020), later(610, 1_050)]), 1_550);
    // What was written down made no sense any more.
    let anew = |seconds, bytes| passed(running(seconds, &one, 1, 1), bytes, "b");
    assert_eq!(then(&[anew(20, 500), anew(30, 530)]), 1_530);
    // Whose name nobody knew goes on when it has one.
    let (nameless, named) = (
        passed(running(10, &one, 1, 1), 40, ""),
        passed(running(20, &one, 1, 1), 70, "a"),
    );
    assert_eq!(account(&[stopped(0), nameless, named]).1.traffic[&external()].bytes, 70);
}

#[test]
fn the_clock_on_the_wall_changes_no_usage() {
    let one = run(7, 0);
    let set = |seconds: u64, by: i64| {
        let mut reading = running(seconds, &one, seconds, 100);
        reading.at.wall_ns += by * SECOND as i64;
        reading
    };
    let straight = account(&[stopped(0), set(10, 0), set(20, 0), set(30, 0)]).1;
    for jump in [86_400, -86_400, 1, -1] {
        assert_eq!(
            account(&[stopped(0), set(10, 0), set(20, jump), set(30, 0)]).1,
            straight
        );
    }
}

#[test]
fn what_a_host_took_with_it_is_unknown_and_what_was_down_stays_down() {
    let one = run(7, 0);
    let reboot = |reading: Reading| Reading {
        at: Moment {
            wall_ns: WALL + 100 * SECOND as i64,
            boot: "b".into(),
            up_ns: 30 * SECOND,
        },
        ..reading
    };
    let again = Run {
        pid: 7,
        ticks: 20,
        began_ns: 20 * SECOND,
    };
    // It ran to second 40 at least; the host came up at 70; it ran from 90 on, and now it is 100.
    let (_, sum) = account(&[stopped(0), running(40, &one, 5, 1), reboot(running(0, &again, 3, 1))]);
    assert_eq!(seconds(&sum), [40 + 10, 0, 0, 20, 30]);
    assert_eq!(sum.counter(Counter::Cpu), Some(8));
    let (_, sum) = account(&[stopped(0), reboot(stopped(0))]);
    assert_eq!(seconds(&sum), [0, 0, 0, 100, 0]);
}

/// A clock that is wrong when its host boots, and set later: the time for which the host was down is that of the right one.
#[test]
fn a_clock_that_is_set_after_a_boot_tells_how_long_the_host_was_down() {
    const YEAR: i64 = 365 * 86_400;
    let boot = |reading: Reading, up: u64, wrong: i64| Reading {
        at: Moment {
            wall_ns: WALL + (1_000 + up as i64 + wrong) * SECOND as i64,
            boot: "b".into(),
            up_ns: up * SECOND,
        },
        unsure: wrong != 0,
        ..reading
    };
    let again = Run {
        pid: 7,
        ticks: 20,
        began_ns: 20 * SECOND,
    };
    let one = run(7, 0);
    for wrong in [0, YEAR, -YEAR, 3_600, -3_600] {
        // It ran for 40 s; it was seen in the boot after that at 10 s, 30 s, and 700 s, when the clock was right.
        let mut full = stopped(0);
        full.levels[Level::Disk as usize] = Some(1 << 20);
        let seen = [
            full,
            running(40, &one, 5, 1),
            boot(stopped(0), 10, wrong),
            boot(running(0, &again, 3, 1), 30, wrong),
            boot(running(0, &again, 9, 1), 700, 0),
        ];
        let (mark, sum) = account(&seen);
        assert_eq!(seconds(&sum), [40 + 680, 0, 0, 20, 960], "{wrong}");
        let disk = sum.level(Level::Disk);
        assert_eq!(disk.integral, (u128::from(SECOND) * (40 + 960 + 700)) << 20, "{wrong}");
        assert_eq!((sum.counter(Counter::Cpu), mark.away), (Some(5 + 9), None));
        // Whatever ends the wait for the clock is under the terms of before.
        let mut other = boot(running(0, &again, 9, 1), 60, wrong);
        other.terms = Some(terms("globex").into());
        let before = account(&seen[..4]).0;
        assert_eq!(before.away.is_some(), wrong != 0);
        let (next, intervals) = before.advance(&other).unwrap();
        assert_eq!((next.away, intervals.len()), (None, if wrong > 0 { 2 } else { 1 }));
    }
    // It may go down once more before anybody has set it.
    let twice = [
        stopped(0),
        boot(stopped(0), 10, -100),
        Reading {
            at: Moment {
                wall_ns: WALL + 5_000 * SECOND as i64,
                boot: "c".into(),
                up_ns: SECOND,
            },
            ..stopped(0)
        },
    ];
    let mut sum = Amounts::default();
    let (mut mark, _) = Mark::begin(&twice[0]);
    for reading in &twice[1..] {
        let (next, intervals) = mark.advance(reading).unwrap();
        intervals.iter().for_each(|i| sum.add(&i.amounts));
        mark = next;
    }
    assert_eq!(seconds(&sum)[3], 5_000);
}

#[test]
fn another_run_after_an_end_that_nobody_saw() {
    let (one, two) = (run(7, 0), run(8, 25));
    let (_, sum) = account(&[stopped(0), running(20, &one, 5, 1), running(30, &two, 9, 1)]);
    assert_eq!(seconds(&sum), [25, 0, 0, 0, 5]);
    assert_eq!(sum.counter(Counter::Cpu), Some(14));
}

#[test]
fn nothing_comes_after_the_end() {
    let gone = Reading::bare("l".into(), 101, at(10), Condition::Gone);
    let (mark, _) = account(&[stopped(0), gone]);
    assert_eq!(mark.advance(&running(20, &run(7, 15), 9, 9)), None);
}

#[test]
fn an_hour_begins_at_the_hour() {
    let one = run(7, 0);
    let (mark, _) = Mark::begin(&running(3590, &one, 0, 10));
    let (_, intervals) = mark.advance(&running(3610, &one, 7, 10)).unwrap();
    let pieces = intervals[0].by_period(HOUR);
    let cpu: Vec<_> = pieces
        .iter()
        .map(|(begins, a)| (*begins, a.counter(Counter::Cpu)))
        .collect();
    assert_eq!(cpu, [(WALL, Some(3)), (WALL + HOUR, Some(4))]);
    // 2026-11-01 is a day of its own.
    assert_eq!(intervals[0].by_period(DAY)[1].0, WALL + HOUR);
}

/// All days are of UTC and as long as each other: those on which clocks change somewhere, leap days, and those that end with a
/// leap second, by which a clock only steps back.
#[test]
fn all_days_are_as_long_as_each_other() {
    // 2026-03-29 and 2026-10-25 in Europe, 2028-02-29, 2016-12-31.
    for midnight in [1_774_742_400, 1_792_886_400, 1_835_395_200, 1_483_142_400] {
        let from_ns = midnight * SECOND as i64;
        assert_eq!(floor(from_ns, DAY), from_ns);
        let amounts = Amounts {
            times: [3 * DAY as u64, 0, 0, 0, 0],
            ..Amounts::default()
        };
        let three = Interval {
            from_ns: from_ns - DAY,
            to_ns: from_ns + 2 * DAY,
            amounts,
        };
        let days: Vec<_> = three.by_period(DAY).iter().map(|(at, a)| (*at, a.times[0])).collect();
        let day = |n: i64| (from_ns + n * DAY, DAY as u64);
        assert_eq!(days, [day(-1), day(0), day(1)]);
        assert_eq!(three.by_period(HOUR).len(), 72);
    }
}

fn amounts() -> impl Strategy<Value = Amounts> {
    let level = (any::<u64>(), 0..u64::MAX, any::<Option<u64>>());
    let flow = ("[a-z]{1,8}", any::<bool>(), any::<u64>(), 0..1_000_u64);
    (
        any::<[u64; 5]>(),
        prop::collection::vec(any::<Option<u64>>(), Counter::ALL.len()),
        prop::collection::vec(level, Level::ALL.len()),
        prop::collection::vec(flow, 0..4),
    )
        .prop_map(|(times, counters, levels, flows)| {
            let level = |n: usize| {
                let (value, time, peak) = levels[n];
                Held {
                    integral: u128::from(value) * u128::from(time),
                    time,
                    peak,
                }
            };
            let flow = |(class, ipv6, bytes, packets): &(String, bool, u64, u64)| {
                let flow = Flow {
                    class: class.clone(),
                    direction: Direction::In,
                    ipv6: *ipv6,
                };
                let (bytes, packets) = (*bytes, packets + 1);
                (flow, Amount { bytes, packets })
            };
            Amounts {
                times,
                counters: std::array::from_fn(|n| counters[n]),
                levels: std::array::from_fn(level),
                traffic: flows.iter().map(flow).collect(),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_back(amounts in amounts()) {
        let bytes = encode(&amounts);
        prop_assert_eq!(decode(&bytes), Some(amounts));
        prop_assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
    }

    /// Another version measures more, or fewer: what both know is the same.
    #[test]
    fn records_of_other_versions_are_read(amounts in amounts(), known in 0..19_usize, more in 1..9_u8) {
        let bytes = encode(&amounts);
        // The version and the five times stand before the number of counters.
        let at = length_of(&bytes, 6);
        let count = usize::from(bytes[at]);
        let (mut without, mut with) = (amounts.clone(), bytes.clone());
        without.counters[known..].fill(None);
        // It says of all that we know that it doesn't know, and then more.
        let unknown = Counter::ALL.len() - count;
        with[at] = Counter::ALL.len() as u8 + more;
        let end = at + 1 + length_of(&bytes[at + 1..], count);
        with.splice(end..end, std::iter::repeat_n(0, unknown).chain(std::iter::repeat_n(7, more.into())));
        prop_assert_eq!(decode(&with), Some(amounts.clone()));
        prop_assert_eq!(decode_whole(&with), None, "who puts records together must not lose what it doesn't know");
        let mut older = bytes[..at].to_vec();
        older.push(known as u8);
        older.extend_from_slice(&bytes[at + 1..at + 1 + length_of(&bytes[at + 1..], known)]);
        older.extend_from_slice(&bytes[end..]);
        prop_assert_eq!(decode(&older), Some(without.clone()));
        prop_assert_eq!(decode_whole(&older), Some(without));
        let mut longer = bytes;
        longer.extend_from_slice(b"what comes after");
        prop_assert_eq!((decode(&longer), decode_whole(&longer)), (Some(amounts), None));
    }

    /// What was written, and closed by its hash, before there were more: the same bytes by this version.
    #[test]
    fn what_says_nothing_new_is_written_as_ever(amounts in amounts()) {
        let mut old = amounts;
        old.counters[19..].fill(None);
        old.levels[5..].fill(Held::default());
        let bytes = encode(&old);
        let at = length_of(&bytes, 6);
        let levels = at + 1 + length_of(&bytes[at + 1..], 19);
        prop_assert_eq!((bytes[at], bytes[levels]), (19, 5));
        prop_assert_eq!(decode_whole(&bytes), Some(old));
    }

    #[test]
    fn no_record_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    /// Cut at hours and then put together to days: the same as before, to the unit.
    #[test]
    fn nothing_is_lost_by_thinning(
        whole in prop::collection::vec((amounts(), 0..10 * DAY, 0..3 * DAY), 1..6)
    ) {
        let (mut before, mut hours, mut days) = (Sums::default(), Sums::default(), Sums::default());
        for (amounts, from_ns, length) in whole {
            let interval = Interval { from_ns, to_ns: from_ns + length, amounts };
            before.add(&interval.amounts);
            for (begins, amounts) in interval.by_period(HOUR) {
                prop_assert!(begins % HOUR == 0 && begins <= interval.to_ns && begins + HOUR > interval.from_ns);
                hours.add(&amounts);
                for (day, amounts) in (Interval { from_ns: begins, to_ns: begins + HOUR, amounts }).by_period(DAY) {
                    prop_assert_eq!(day, begins.div_euclid(DAY) * DAY);
                    days.add(&amounts);
                }
            }
        }
        prop_assert_eq!(&hours, &before);
        prop_assert_eq!(&days, &before);
    }

    /// Readings come twice, late, and some are lost; every run's last one is there. The truth comes out.
    #[test]
    fn nothing_is_lost_or_repeated(
        runs in prop::collection::vec(prop::collection::vec((0..1_000_u64, any::<bool>(), any::<bool>()), 1..8), 1..5)
    ) {
        let (mut now, mut truth, mut passed, mut ran) = (0, 0, 0, 0);
        let mut readings = vec![stopped(0)];
        for (pid, steps) in runs.iter().enumerate() {
            now += 5;
            let own = run(pid as u32 + 1, now);
            let mut cpu = 0;
            for (n, (more, seen, late)) in steps.iter().enumerate() {
                now += 1 + more;
                ran += 1 + more;
                cpu += more;
                passed += more;
                let last = n + 1 == steps.len();
                let mut reading = running(now, &own, cpu, 1);
                reading.traffic = Some(vec![(external(), Amount { bytes: passed, packets: 1 })]);
                if last {
                    reading.condition = Condition::Stopped;
                }
                if *seen || last {
                    readings.push(reading.clone());
                }
                if *late {
                    readings.push(readings[readings.len() / 2].clone());
                }
            }
            truth += cpu;
        }
        let (_, sum) = account(&readings);
        prop_assert_eq!(sum.counter(Counter::Cpu), Some(truth));
        prop_assert_eq!(sum.traffic.get(&external()).map_or(0, |a| a.bytes), passed);
        prop_assert_eq!(sum.time(Time::Running) / SECOND, ran);
    }
}

/// How many bytes the first of these numbers take.
fn length_of(bytes: &[u8], numbers: usize) -> usize {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte & 0x80 == 0);
    numbers
        .checked_sub(1)
        .map_or(0, |last| ends.map(|(at, _)| at + 1).nth(last).unwrap())
}

/// Readings and marks that another version has written, with more counters than ours, or fewer.
#[test]
fn notes_of_other_versions_are_read() {
    let reading = running(10, &run(7, 0), 100, 1);
    let (mark, _) = Mark::begin(&reading);
    for counters in [3, 19, 25] {
        let mut text = serde_json::to_value(&reading).unwrap();
        let mut had = serde_json::to_value(&mark).unwrap();
        for written in [&mut text, &mut had] {
            let list = written["counters"].as_array_mut().unwrap();
            list.resize(counters, serde_json::json!(5));
            written["more"] = "what we don't know".into();
        }
        let (text, had): (Reading, Mark) = (
            serde_json::from_value(text).unwrap(),
            serde_json::from_value(had).unwrap(),
        );
        assert_eq!(text.counters[Counter::Cpu as usize], Some(100));
        assert_eq!(had.counters[Counter::Cpu as usize], Some(100));
        let full = counters >= 19;
        assert_eq!(text.counters[18].is_some(), full && reading.counters[18].is_some());
        assert_eq!(text.terms, reading.terms);
    }
}

/// Whoever reads while another does may have begun before him, and read after him.
#[test]
fn what_two_have_read_at_once_counts_once() {
    let one = run(7, 0);
    let mut slow = running(10, &one, 101, 1);
    slow.until_ns = at(21).up_ns;
    let quick = running(20, &one, 100, 1);
    let (mark, sum) = account(&[stopped(0), slow.clone(), quick.clone(), running(30, &one, 130, 1)]);
    assert_eq!(sum.counter(Counter::Cpu), Some(130));
    assert_eq!(sum.traffic[&external()].bytes, 130);
    assert_eq!(mark.counters[Counter::Cpu as usize], Some(130));
    // Traffic is read of all VEs at once, long before the rest of one.
    let mut early = running(20, &one, 100, 1);
    early.counters = Default::default();
    early.traffic_ns = at(9).up_ns;
    let (_, sum) = account(&[stopped(0), running(10, &one, 101, 1), early, running(30, &one, 130, 1)]);
    assert_eq!(sum.traffic[&external()].bytes, 130);
}

#[test]
fn what_is_first_heard_of_at_its_end_is_its_owners() {
    let mut last = running(10, &run(7, 0), 100, 1);
    last.owner = Owner {
        name: "web1".into(),
        tenant: "acme".into(),
    };
    let (mark, intervals) = Mark::begin(&last);
    assert_eq!((mark.terms.name.as_str(), mark.terms.tenant.as_str()), ("web1", "acme"));
    assert_eq!(intervals.last().unwrap().amounts.counter(Counter::Cpu), Some(100));
}
