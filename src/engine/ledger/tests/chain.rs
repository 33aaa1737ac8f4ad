//! Nothing in the ledger can be changed unseen, and thinning changes no total.

use std::path::Path;

use hostel_model::traffic::{Amount, Direction, Flow};
use hostel_model::usage::{Condition, Counter, DAY, HOUR, Level, Moment, Reading, Run, Sums, Terms};
use proptest::prelude::*;
use rusqlite::Connection;

use crate::ledger::{Ledger, Policy, Said, Verified};
use crate::testing::in_memory;

const SECOND: u64 = 1_000_000_000;
pub(crate) const MONTH: i64 = 1_793_491_200 * SECOND as i64; // 2026-11-01

/// A VE that runs, as it is seen after so many seconds.
pub(crate) fn reading(life: &str, seconds: u64, tenant: &str) -> Reading {
    let at = Moment {
        wall_ns: MONTH + (seconds * SECOND) as i64,
        boot: "a".into(),
        up_ns: (seconds + 1) * SECOND,
    };
    let mut reading = Reading::bare(life.into(), 101, at, Condition::Running);
    reading.run = Some(Run {
        pid: 7,
        ticks: 100,
        began_ns: SECOND,
    });
    let terms = Terms {
        name: format!("ve-{life}"),
        tenant: tenant.into(),
        ..Terms::default()
    };
    reading.terms = Some(terms.into());
    reading.counters[Counter::Cpu as usize] = Some(seconds * seconds * 1001);
    reading.counters[Counter::WriteBytes as usize] = Some(seconds * 7);
    reading.levels[Level::Memory as usize] = Some(1 << 28 | seconds);
    let flow = Flow {
        class: "external".into(),
        direction: Direction::In,
        ipv6: false,
    };
    reading.traffic = Some(vec![(
        flow,
        Amount {
            bytes: seconds * 13,
            packets: seconds,
        },
    )]);
    reading
}

/// So many minutes of two VEs, one of which is given to another tenant half way.
fn lived(path: &Path, minutes: u64) -> Ledger {
    let mut ledger = Ledger::open(path).unwrap();
    let all: Vec<Reading> = (0..=minutes)
        .flat_map(|n| {
            let tenant = if n < minutes / 2 { "acme" } else { "zeta" };
            [reading("a", n * 60, tenant), reading("b", n * 60 + 1, "acme")]
        })
        .collect();
    assert_eq!(ledger.enter(&all, &mut Vec::new()).unwrap(), all.len());
    ledger
}

fn sums(ledger: &mut Ledger, tenant: Option<&str>) -> (usize, Sums) {
    let (mut records, mut sums) = (0, Sums::default());
    let mut see = |line: crate::ledger::Line| {
        if let Said::Usage(interval, terms) = line.said
            && tenant.is_none_or(|t| t == terms.tenant)
        {
            records += 1;
            sums.add(&interval.amounts);
        }
        Ok(())
    };
    ledger.each((i64::MIN, i64::MAX), false, &mut see).unwrap();
    (records, sums)
}

fn sound(ledger: &mut Ledger) -> Verified {
    let verified = ledger.verify().unwrap();
    assert_eq!(verified.broken, None);
    verified
}

#[test]
fn readings_are_entered_once() {
    let dir = in_memory();
    let mut ledger = lived(&dir.path().join("l.db"), 10);
    let before = (sums(&mut ledger, None), sound(&mut ledger).last);
    let late = [
        reading("a", 0, "acme"),
        reading("a", 120, "other"),
        reading("b", 601, "acme"),
    ];
    assert_eq!(ledger.enter(&late, &mut Vec::new()).unwrap(), 0);
    let mut ledger = lived_again(dir.path());
    assert_eq!((sums(&mut ledger, None), sound(&mut ledger).last), before);
    let sum = before.0.1.get("cpu_ns");
    assert_eq!(sum, u128::from(600_u64 * 600 * 1001 + 601 * 601 * 1001));
}

fn lived_again(dir: &Path) -> Ledger {
    Ledger::open_existing(&dir.join("l.db")).unwrap().unwrap()
}

/// A reading of a former boot that lay in the spool is passed over once the ledger has gone on from it.
#[test]
fn former_boots_come_first() {
    let dir = in_memory();
    let mut ledger = lived(&dir.path().join("l.db"), 2);
    let mut next = reading("a", 300, "acme");
    next.at.boot = "b".into();
    next.at.up_ns = 10 * SECOND;
    next.run = None;
    next.condition = Condition::Stopped;
    assert_eq!(ledger.enter(&[next], &mut Vec::new()).unwrap(), 1);
    assert_eq!(ledger.enter(&[reading("a", 400, "acme")], &mut Vec::new()).unwrap(), 0);
    sound(&mut ledger);
}

#[test]
fn thinning_changes_no_total_and_what_is_left_can_be_proved() {
    let dir = in_memory();
    let path = dir.path().join("l.db");
    let minutes = 3 * 24 * 60;
    let mut ledger = lived(&path, minutes);
    let tenants = [None, Some("acme"), Some("zeta")];
    let before = tenants.map(|t| sums(&mut ledger, t).1);
    let policy = Policy {
        samples_ns: 12 * HOUR,
        hours_ns: DAY,
        wait_ns: 0,
    };
    let now = MONTH + 3 * DAY;
    let all = sums(&mut ledger, None).0;
    let mut left = all;
    // Bit by bit, as a manager does, and then once more.
    for hours in [5, 30, 31, 54, 72, 72] {
        ledger.thin(MONTH + hours * HOUR, policy).unwrap();
        assert_eq!(tenants.map(|t| sums(&mut ledger, t).1), before, "after {hours} hours");
        sound(&mut ledger);
        let (records, _) = sums(&mut ledger, None);
        assert!(records <= left);
        left = records;
    }
    assert_eq!(ledger.thin(now, policy).unwrap(), 0);
    // Half a day as it was measured, half a day by the hour, and two days.
    assert!(
        left < all / 2 && sound(&mut ledger).thinned > all as u64 / 2,
        "{left} of {all}"
    );
    // It goes on.
    ledger
        .enter(&[reading("a", minutes * 60 + 60, "zeta")], &mut Vec::new())
        .unwrap();
    sound(&mut ledger);
}

/// Any byte of any column, any record removed, any two that change places: it is seen, and where.
#[test]
fn whatever_is_changed_is_found() {
    let dir = in_memory();
    let path = dir.path().join("l.db");
    let mut ledger = lived(&path, 150);
    let policy = Policy {
        samples_ns: HOUR,
        hours_ns: DAY,
        wait_ns: 0,
    };
    ledger.thin(MONTH + 3 * HOUR, policy).unwrap();
    let last = sound(&mut ledger).last;
    drop(ledger);
    let db = Connection::open(&path).unwrap();
    let mut find = db.prepare("SELECT seq, length(body) FROM record ORDER BY seq").unwrap();
    let rows = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let records: Vec<(i64, i64)> = rows.map(Result::unwrap).collect();
    let thinning: i64 = db
        .query_row("SELECT seq FROM record WHERE kind = 6", [], |row| row.get(0))
        .unwrap();
    let mut changed = 0;
    let mut tried = |change: &str, first: i64| {
        let ledger = lived_again(dir.path());
        ledger.connection.execute_batch("SAVEPOINT before").unwrap();
        ledger.connection.execute_batch(change).unwrap();
        let broken = broken_in(&ledger.connection);
        assert!(
            broken.is_some_and(|seq| seq == first || seq == 0),
            "{change}: {broken:?}"
        );
        ledger.connection.execute_batch("ROLLBACK TO before").unwrap();
        changed += 1;
    };
    for (n, (seq, length)) in records.iter().enumerate() {
        for column in ["kind", "life", "terms", "begins", "ends"] {
            // A thinning that is no more has left a gap where the records were that it had replaced.
            let unsaid = column == "kind" && *seq == thinning;
            let first = if unsaid { first_gap(&records) } else { *seq };
            tried(
                &format!("UPDATE record SET {column} = {column} + 1 WHERE seq = {seq}"),
                first,
            );
        }
        for at in [0, length / 2, length - 1] {
            let other = format!("CASE substr(body, {at} + 1, 1) WHEN x'ff' THEN x'fe' ELSE x'ff' END");
            let body = format!("substr(body, 1, {at}) || {other} || substr(body, {at} + 2)");
            tried(
                &format!("UPDATE record SET body = CAST({body} AS BLOB) WHERE seq = {seq}"),
                *seq,
            );
        }
        tried(
            &format!("UPDATE record SET hash = zeroblob(32) WHERE seq = {seq}"),
            *seq,
        );
        let gone = format!("DELETE FROM record WHERE seq = {seq}");
        tried(&gone, if *seq == thinning { first_gap(&records) } else { *seq });
        if let Some((next, _)) = records.get(n + 1).filter(|(next, _)| *next == seq + 1) {
            let swap = format!(
                "UPDATE record SET seq = -1 WHERE seq = {seq}; UPDATE record SET seq = {seq} WHERE seq = {next}; \
                 UPDATE record SET seq = {next} WHERE seq = -1"
            );
            tried(&swap, *seq);
        }
    }
    tried("UPDATE head SET hash = zeroblob(32)", last);
    assert!(changed > 10 * records.len());
}

/// What was changed is not put together with others, and so not washed clean: not before it is summed up, nor after.
#[test]
fn what_was_changed_is_neither_summed_up_nor_put_together() {
    let policy = Policy {
        samples_ns: HOUR,
        hours_ns: DAY,
        wait_ns: 0,
    };
    for summed in [false, true] {
        for change in [
            "body = (SELECT body FROM record WHERE kind = 3 ORDER BY seq DESC LIMIT 1)",
            "terms = (SELECT max(seq) FROM record WHERE kind = 2)",
            "ends = ends - 1",
            "hash = zeroblob(32)",
        ] {
            let dir = in_memory();
            let mut ledger = lived(&dir.path().join("l.db"), 150);
            if summed {
                assert!(!ledger.sum_up(MONTH).unwrap());
            }
            let middle = "SELECT seq FROM record WHERE kind = 3 LIMIT 1 OFFSET 40";
            let seq: i64 = ledger.connection.query_row(middle, [], |row| row.get(0)).unwrap();
            let update = format!("UPDATE record SET {change} WHERE seq = {seq}");
            assert_eq!(ledger.connection.execute(&update, []).unwrap(), 1);
            let before = sums(&mut ledger, None);
            let error = ledger.thin(MONTH + 3 * HOUR, policy).unwrap_err();
            let named = format!("record {seq} of the ledger is not as it was written");
            assert_eq!(error.message, named, "{change}, summed up: {summed}");
            assert_eq!(sums(&mut ledger, None), before);
            assert_eq!(ledger.verify().unwrap().broken.map(|b| b.seq), Some(seq));
        }
    }
}

fn first_gap(records: &[(i64, i64)]) -> i64 {
    let mut expected = 1..;
    records
        .iter()
        .find_map(|(seq, _)| expected.next().filter(|e| e != seq))
        .unwrap()
}

/// The same as [`Ledger::verify`], within a transaction that is under way.
fn broken_in(db: &Connection) -> Option<i64> {
    crate::ledger::verify::verified(db).unwrap().broken.map(|b| b.seq)
}

#[test]
fn a_file_that_is_damaged_or_of_the_future_is_refused() {
    let dir = in_memory();
    let path = dir.path().join("l.db");
    drop(lived(&path, 3));
    Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA user_version = 9")
        .unwrap();
    let error = Ledger::open(&path).unwrap_err();
    assert!(crate::error::chain(&error).contains("version 9 is newer"), "{error:?}");
    std::fs::write(
        &path,
        "no database at all, but long enough to be taken for one by its length alone\n".repeat(60),
    )
    .unwrap();
    let error = Ledger::open(&path).unwrap_err();
    assert!(error.hints.iter().any(|h| h.contains("move it away")), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However readings come, and wherever whoever enters them is killed: with what is in the ledger the next goes on.
    #[test]
    fn nothing_is_lost_by_who_is_killed(order in prop::collection::vec((0..30_u64, any::<bool>()), 1..40)) {
        let dir = in_memory();
        let path = dir.path().join("l.db");
        let mut ledger = Ledger::open(&path).unwrap();
        let mut last = 0;
        for (minute, killed) in order {
            let one = [reading("a", minute * 60, "acme")];
            if killed {
                // Before the commit.
                let mut writer = ledger.writer().unwrap();
                writer.append(crate::ledger::Kind::Terms, (0, 0), (0, 0), Vec::new()).unwrap();
                drop(writer);
                ledger = Ledger::open(&path).unwrap();
            }
            ledger.enter(&one, &mut Vec::new()).unwrap();
            last = last.max(minute);
        }
        let (_, sums) = sums(&mut ledger, None);
        prop_assert_eq!(sums.get("cpu_ns"), u128::from(last * 60 * last * 60 * 1001));
        prop_assert_eq!(sums.get("running_ns"), u128::from(last * 60 * SECOND));
        prop_assert_eq!(ledger.verify().unwrap().broken, None);
    }
}

/// What the ledger of a VE grows by in a month, when what is old enough has been put together: less than a mebibyte.
#[test]
fn a_month_is_small() {
    let dir = in_memory();
    let path = dir.path().join("l.db");
    let mut ledger = Ledger::open(&path).unwrap();
    let policy = Policy {
        samples_ns: 2 * DAY,
        hours_ns: 62 * DAY,
        wait_ns: DAY,
    };
    let size = |ledger: &Ledger| -> i64 {
        let pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
        ledger.connection.query_row(pages, [], |row| row.get(0)).unwrap()
    };
    let mut live = |days: std::ops::Range<u64>| {
        for day in days {
            let busy = |n: u64| {
                // Never at the full hour, so that of each hour a piece is cut off with a later one.
                let mut busy = reading("a", day * 86_400 + n * 900 + 7, "acme");
                // Everything is measured, and much of it.
                for (meter, counter) in busy.counters.iter_mut().enumerate() {
                    *counter = Some(busy.at.up_ns / 7 * (meter as u64 + 1));
                }
                busy.levels = busy.levels.map(|_| Some(1 << 34 | n));
                busy
            };
            ledger
                .enter(&(0..96).map(busy).collect::<Vec<_>>(), &mut Vec::new())
                .unwrap();
            let now = MONTH + DAY * (day as i64 + 1);
            ledger.thin(now, policy).unwrap();
        }
        size(&ledger)
    };
    let first = live(0..10);
    let grown = live(10..40) - first;
    assert!(grown > 0 && grown <= 1 << 20, "{grown} bytes");
    let hours = "SELECT count(*) FROM record WHERE kind = 4";
    let hours: i64 = ledger.connection.query_row(hours, [], |row| row.get(0)).unwrap();
    assert!(hours <= 40 * 24, "a record of each hour, and not {hours}");
    assert!(
        grown <= 450 << 10,
        "docs/METERING.md says 0.45 MiB, and it is {grown} bytes"
    );
}
