//! Reports are made of sums of days, and say to the unit what the records say.

use std::path::Path;

use hostel_model::traffic::{Amount, Direction, Flow};
use hostel_model::usage::{Condition, Counter, DAY, HOUR, Hours, Level, Moment, Reading, Run, Sums, Terms, Totals};
use proptest::prelude::*;

use crate::ledger::{Ledger, Piece, Policy, Said};
use crate::testing::in_memory;

const SECOND: i64 = 1_000_000_000;
/// Some time into a day.
const BEGINS: i64 = 1_793_491_200 * SECOND + 5 * HOUR + 1234;

/// A VE that is seen after so many nanoseconds, and has burnt and passed as much.
fn reading(life: &str, after: i64, tenant: &str) -> Reading {
    let at = Moment {
        wall_ns: BEGINS + after,
        boot: "a".into(),
        up_ns: (SECOND + after) as u64,
    };
    let mut reading = Reading::bare(life.into(), 101, at, Condition::Running);
    reading.run = Some(Run {
        pid: 7,
        ticks: 100,
        began_ns: SECOND as u64,
    });
    let terms = Terms {
        name: format!("ve-{life}"),
        tenant: tenant.into(),
        ..Terms::default()
    };
    reading.terms = Some(terms.into());
    reading.counters[Counter::Cpu as usize] = Some(after as u64 / 7);
    reading.levels[Level::Memory as usize] = Some(after as u64 % 1_000_003);
    let flow = |class: &str| Flow {
        class: class.into(),
        direction: Direction::Out,
        ipv6: false,
    };
    let amount = Amount {
        bytes: after as u64 / 13,
        packets: after as u64 / 999_983,
    };
    reading.traffic = Some(vec![(flow("external"), amount), (flow("internal"), amount)]);
    reading
}

/// What is in a report: totals, peaks, and the percentile of what passed in each hour.
type Told = (Sums, [Option<u64>; Level::ALL.len()], Option<[u64; 2]>);

fn by_days(ledger: &mut Ledger, window: (i64, i64), by_hour: bool, tenant: &str) -> Told {
    let (mut totals, mut hours) = (Totals::default(), Hours::default());
    let see = &mut |_: &crate::ledger::Party, piece: Piece<'_>| match piece {
        Piece::Record(interval) => {
            totals.add(&interval.amounts);
            hours.add(interval);
        }
        Piece::Day {
            begins,
            known,
            amounts,
            passed,
        } => {
            totals.add(amounts);
            hours.know(known.0, known.1);
            for (n, bytes) in (0..).zip(passed) {
                hours.pass(begins + n * HOUR, *bytes);
            }
        }
    };
    ledger
        .tally(window, by_hour, &|party| party.tenant == tenant, see)
        .unwrap();
    (totals.sums(), totals.peaks, hours.p95())
}

/// The same from all records, one by one.
fn by_records(ledger: &mut Ledger, window: (i64, i64), tenant: &str) -> Told {
    let (mut totals, mut hours) = (Totals::default(), Hours::default());
    let see = &mut |line: crate::ledger::Line| {
        if let Said::Usage(interval, terms) = &line.said
            && terms.tenant == tenant
            && let Some(piece) = interval.within(window.0, window.1)
        {
            totals.add(&piece.amounts);
            hours.add(&piece);
        }
        Ok(())
    };
    ledger.each(window, false, see).unwrap();
    (totals.sums(), totals.peaks, hours.p95())
}

fn sound(ledger: &mut Ledger) {
    assert_eq!(ledger.verify().unwrap().broken, None);
}

#[track_caller]
fn same(ledger: &mut Ledger, window: (i64, i64)) {
    for tenant in ["acme", "zeta"] {
        // Of records of days nobody can tell any more in which hour what passed; sums of days can.
        let (sums, peaks, p95) = by_records(ledger, window, tenant);
        let (found, highest, _) = by_days(ledger, window, false, tenant);
        assert_eq!((&found, highest), (&sums, peaks), "{tenant} {window:?}");
        let by_hour = by_days(ledger, window, true, tenant);
        assert_eq!(by_hour, (sums, peaks, p95), "{tenant} by hour {window:?}");
    }
}

/// The percentile of what passed in an hour is the same whatever has been put together since.
#[test]
fn hours_are_known_after_they_were_put_together() {
    let dir = in_memory();
    let mut ledger = Ledger::open(&dir.path().join("l.db")).unwrap();
    let mut now = 0;
    for n in 0..200 {
        now += HOUR / 4 + n * n * 1_000_003;
        ledger.enter(&[reading("a", now, "acme")], &mut Vec::new()).unwrap();
    }
    let day = |n: i64| BEGINS - 5 * HOUR - 1234 + n * DAY;
    let window = (day(0), day(2));
    let (.., p95) = by_records(&mut ledger, window, "acme");
    assert!(
        p95.is_some_and(|[inward, outward]| inward == 0 && outward > 0),
        "{p95:?}"
    );
    let policy = Policy {
        samples_ns: HOUR,
        hours_ns: HOUR,
        wait_ns: 0,
    };
    for _ in 0..2 {
        assert_eq!(by_days(&mut ledger, window, false, "acme").2, p95);
        ledger.thin(day(9), policy).unwrap();
    }
    let hours = "SELECT count(*) FROM record WHERE kind IN (3, 4)";
    assert_eq!(
        ledger
            .connection
            .query_row(hours, [], |row| row.get::<_, i64>(0))
            .unwrap(),
        0
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However long records are, whenever they are summed up and put together, and whatever time is asked for.
    #[test]
    fn a_report_says_what_the_records_say(
        steps in prop::collection::vec(
            (prop_oneof![1..HOUR, 1..30 * HOUR, 1..20 * DAY], any::<bool>(), 0..3_u8), 1..25),
        windows in prop::collection::vec((0..400_i64, 0..400_i64, 0..HOUR), 6),
    ) {
        let dir = in_memory();
        let mut ledger = Ledger::open(&dir.path().join("l.db")).unwrap();
        let mut now = 0;
        for (step, (length, acme, act)) in steps.into_iter().enumerate() {
            now += length;
            let tenant = if acme { "acme" } else { "zeta" };
            let life = ["a", "b"][step % 2];
            ledger.enter(&[reading(life, now, tenant)], &mut Vec::new()).unwrap();
            match act {
                0 => drop(ledger.sum_up(BEGINS).unwrap()),
                1 => {
                    let policy = Policy { samples_ns: 6 * HOUR, hours_ns: 3 * DAY, wait_ns: 0 };
                    ledger.thin(BEGINS + now, policy).unwrap();
                }
                _ => {}
            }
        }
        sound(&mut ledger);
        same(&mut ledger, (i64::MIN, i64::MAX));
        let midnight = BEGINS - 5 * HOUR - 1234;
        for (from, length, odd) in windows {
            // What was put together into days can be told by the day.
            let from = midnight + from * DAY / 16;
            let window = (from, from + length * DAY / 16 + odd);
            let days = |ns: i64| ns.div_euclid(DAY) * DAY;
            same(&mut ledger, (days(window.0), days(window.1)));
            same(&mut ledger, window);
        }
    }
}

/// A ledger of the version before, as it was left: nothing of its records changes, and it goes on.
#[test]
fn a_ledger_of_the_first_version_is_taken_over() {
    let dir = in_memory();
    let path = dir.path().join("l.db");
    let mut ledger = Ledger::open(&path).unwrap();
    for n in 0..200 {
        let both = [
            reading("a", n * HOUR / 2, "acme"),
            reading("b", n * HOUR / 2 + 1, "zeta"),
        ];
        ledger.enter(&both, &mut Vec::new()).unwrap();
    }
    let policy = Policy {
        samples_ns: 12 * HOUR,
        hours_ns: DAY,
        wait_ns: 0,
    };
    while ledger.sum_up(BEGINS).unwrap() {}
    // It knew nothing of closing days.
    while ledger.put_some_together(BEGINS + 90 * HOUR, policy).unwrap().is_some() {}
    let last = ledger.verify().unwrap();
    make_first(&ledger, &path);
    let mut ledger = Ledger::open_existing(&path).unwrap().unwrap();
    let now = ledger.verify().unwrap();
    assert_eq!((now.last, &now.hash, now.broken), (last.last, &last.hash, None));
    same(&mut ledger, (i64::MIN, i64::MAX));
    let mut told = Vec::new();
    // It is accounted for as far as it was.
    assert_eq!(ledger.enter(&[reading("a", 99 * HOUR, "acme")], &mut told).unwrap(), 0);
    assert_eq!(ledger.enter(&[reading("a", 110 * HOUR, "acme")], &mut told).unwrap(), 1);
    for _ in 0..2 {
        same(&mut ledger, (i64::MIN, i64::MAX));
        let (sums, ..) = by_days(&mut ledger, (i64::MIN, i64::MAX), false, "acme");
        assert_eq!(sums.get("cpu_ns"), 110 * HOUR as u128 / 7);
        while ledger.sum_up(BEGINS).unwrap() {}
        sound(&mut ledger);
    }
    assert_eq!(told, Vec::<String>::new());
}

/// Makes it as version 1 had it: marks with their terms in them, and no sums.
fn make_first(ledger: &Ledger, path: &Path) {
    let db = rusqlite::Connection::open(path).unwrap();
    assert!(ledger.unsummed().unwrap() >= 0);
    let mut find = db
        .prepare("SELECT life.seq, mark, body FROM life JOIN record ON record.seq = life.terms")
        .unwrap();
    let rows = find.query_map([], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, Vec<u8>>(2)?,
        ))
    });
    for (seq, mark, terms) in rows.unwrap().map(Result::unwrap).collect::<Vec<_>>() {
        let mut mark: serde_json::Value = serde_json::from_str(&mark).unwrap();
        mark["terms"] = serde_json::from_slice(&terms).unwrap();
        db.execute("UPDATE life SET mark = ?2 WHERE seq = ?1", (seq, mark.to_string()))
            .unwrap();
    }
    db.execute_batch("DROP TABLE daily; DROP TABLE summed; DROP TABLE aside; PRAGMA user_version = 1;")
        .unwrap();
}

/// Whoever changes the sums is found out, as with a record.
#[test]
fn sums_that_were_changed_are_found() {
    let dir = in_memory();
    let path = dir.path().join("l.db");
    let mut ledger = Ledger::open(&path).unwrap();
    for n in 0..100 {
        ledger
            .enter(&[reading("a", n * HOUR, "acme")], &mut Vec::new())
            .unwrap();
    }
    ledger.sum_up(BEGINS).unwrap();
    sound(&mut ledger);
    let zeta = "UPDATE daily SET terms = terms + 1 WHERE day = (SELECT min(day) FROM daily)";
    let other = "UPDATE daily SET body = (SELECT body FROM daily ORDER BY day DESC LIMIT 1)";
    for change in [
        zeta,
        other,
        "DELETE FROM daily WHERE day = (SELECT max(day) FROM daily)",
    ] {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(&format!("CREATE TABLE kept AS SELECT * FROM daily; {change}"))
            .unwrap();
        let broken = ledger.verify().unwrap().broken;
        assert!(broken.is_some_and(|b| b.why.contains("the sums of days")), "{change}");
        db.execute_batch("DELETE FROM daily; INSERT INTO daily SELECT * FROM kept; DROP TABLE kept")
            .unwrap();
        sound(&mut ledger);
    }
}

/// One mark that can't be understood is put aside and told of; nothing is counted twice for it, and no other VE is held up.
#[test]
fn a_mark_that_makes_no_sense_is_put_aside() {
    let dir = in_memory();
    let path = dir.path().join("l.db");
    let mut ledger = Ledger::open(&path).unwrap();
    let both = |after| [reading("a", after, "acme"), reading("b", after, "zeta")];
    ledger.enter(&both(HOUR), &mut Vec::new()).unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    let named = "name = 'a'";
    db.execute_batch(&format!("UPDATE life SET mark = '{{\"at\":' WHERE {named}"))
        .unwrap();
    let mut told = Vec::new();
    assert_eq!(ledger.enter(&both(2 * HOUR), &mut told).unwrap(), 2);
    assert!(told.len() == 1 && told[0].contains("VE 101"), "{told:?}");
    assert_eq!(ledger.enter(&both(3 * HOUR), &mut told).unwrap(), 2);
    assert_eq!(told.len(), 1);
    let cpu = |ledger: &mut Ledger, tenant| by_records(ledger, (i64::MIN, i64::MAX), tenant).0.get("cpu_ns");
    // What it used in the second hour is nobody's; the third counts.
    assert_eq!(
        cpu(&mut ledger, "acme"),
        3 * HOUR as u128 / 7 - 2 * HOUR as u128 / 7 + HOUR as u128 / 7
    );
    assert_eq!(cpu(&mut ledger, "zeta"), 3 * HOUR as u128 / 7);
    let kept: String = db.query_row("SELECT mark FROM aside", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, "{\"at\":");
    sound(&mut ledger);
}

/// Of a VE that is no more nothing is kept beside its records; a note of it that comes late changes nothing.
#[test]
fn of_what_is_gone_no_mark_is_kept() {
    let dir = in_memory();
    let mut ledger = Ledger::open(&dir.path().join("l.db")).unwrap();
    let mut gone = reading("a", HOUR, "acme");
    gone.condition = Condition::Gone;
    ledger.enter(&[reading("a", 1, "acme"), gone], &mut Vec::new()).unwrap();
    for mut ledger in [ledger, Ledger::open(&dir.path().join("l.db")).unwrap()] {
        let query = "SELECT sum(length(mark)) FROM life";
        assert_eq!(
            ledger
                .connection
                .query_row(query, [], |row| row.get::<_, i64>(0))
                .unwrap(),
            0
        );
        assert_eq!(
            ledger
                .enter(&[reading("a", 2 * HOUR, "acme")], &mut Vec::new())
                .unwrap(),
            0
        );
    }
}

/// A host that was away for years has records of years. They aren't cut into as many hours, in the file or in memory.
#[test]
fn a_long_record_stays_one() {
    let dir = in_memory();
    let mut ledger = Ledger::open(&dir.path().join("l.db")).unwrap();
    let away = 3000 * DAY;
    ledger
        .enter(&[reading("a", 1, "acme"), reading("a", away, "acme")], &mut Vec::new())
        .unwrap();
    let policy = Policy {
        samples_ns: 2 * DAY,
        hours_ns: 62 * DAY,
        wait_ns: 0,
    };
    ledger.thin(BEGINS + away + 100 * DAY, policy).unwrap();
    let count = "SELECT count(*) FROM record WHERE kind IN (3, 4, 5)";
    let records: i64 = ledger.connection.query_row(count, [], |row| row.get(0)).unwrap();
    assert!(records <= 3, "{records}");
    sound(&mut ledger);
    let first = BEGINS - 5 * HOUR - 1234;
    same(&mut ledger, (first + 1000 * DAY, first + 1031 * DAY));
    same(
        &mut ledger,
        (first + 1000 * DAY + 7 * HOUR, first + 1001 * DAY - 3 * HOUR),
    );
}
