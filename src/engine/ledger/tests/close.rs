//! What was used in a day that is over is bound into the chain, and can't be moved from one to another unseen.

use hostel_model::usage::{Counter, DAY, HOUR, decode, encode};
use rusqlite::{Connection, params};
use std::path::Path;

use super::chain::{MONTH, reading};
use crate::ledger::{Kind, Ledger, Policy, Verified};
use crate::testing::in_memory;

const POLICY: Policy = Policy {
    samples_ns: HOUR,
    hours_ns: DAY,
    wait_ns: 0,
};

/// Two VEs that have run for so many hours, as a manager has summed up and put together.
fn lived(path: &Path, hours: u64) -> Ledger {
    let mut ledger = Ledger::open(path).unwrap();
    for hour in 0..=hours {
        let both = [
            reading("a", hour * 3_600, "acme"),
            reading("b", hour * 3_600 + 1, "zeta"),
        ];
        ledger.enter(&both, &mut Vec::new()).unwrap();
        ledger.thin(MONTH + hour as i64 * HOUR, POLICY).unwrap();
    }
    ledger
}

fn verified(ledger: &mut Ledger) -> Verified {
    let verified = ledger.verify().unwrap();
    assert_eq!(verified.broken, None);
    verified
}

fn days(verified: &Verified) -> (Option<&str>, Vec<&str>) {
    let last = verified.closed.as_ref().map(|closed| closed.day.as_str());
    (
        last,
        verified.closed_late.iter().map(|closed| closed.day.as_str()).collect(),
    )
}

#[test]
fn each_day_is_closed_once_when_it_is_over() {
    let dir = in_memory();
    let mut ledger = lived(&dir.path().join("l.db"), 24);
    assert_eq!(
        days(&verified(&mut ledger)),
        (None, Vec::new()),
        "there is an hour for what comes late"
    );
    let mut ledger = lived(&dir.path().join("m.db"), 80);
    let found = verified(&mut ledger);
    assert_eq!(days(&found), (Some("2026-11-03"), Vec::new()));
    let closings = "SELECT count(*), count(DISTINCT begins), max(seq) FROM record WHERE kind = 7";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (count, days, last): (i64, i64, i64) = ledger.connection.query_row(closings, [], read).unwrap();
    assert_eq!((count, days, last), (3, 3, found.closed.unwrap().seq));
    assert_eq!(found.not_closed, Vec::<String>::new());
}

#[test]
fn what_comes_late_is_bound_too_and_told_of() {
    let dir = in_memory();
    let mut ledger = lived(&dir.path().join("l.db"), 50);
    let before = verified(&mut ledger);
    // A third VE, of which nobody has heard for two days.
    ledger
        .enter(&[reading("c", 30 * 3_600, "acme")], &mut Vec::new())
        .unwrap();
    verified(&mut ledger);
    ledger.sum_up(MONTH + 51 * HOUR).unwrap();
    let after = verified(&mut ledger);
    assert_eq!(days(&after), (Some("2026-11-02"), vec!["2026-11-01", "2026-11-02"]));
    assert_eq!(after.closed, before.closed);
}

/// However much comes late, a day is closed again when all of it is there, and not with a part.
#[test]
fn what_comes_late_is_bound_as_a_whole() {
    let dir = in_memory();
    let mut ledger = lived(&dir.path().join("l.db"), 50);
    let late: Vec<_> = (0..=crate::ledger::BATCH as u64 + 10)
        .map(|second| reading("c", 3_600 + second, "acme"))
        .collect();
    ledger.enter(&late, &mut Vec::new()).unwrap();
    assert!(!ledger.sum_up(MONTH + 51 * HOUR).unwrap());
    let after = verified(&mut ledger);
    assert_eq!(days(&after), (Some("2026-11-02"), vec!["2026-11-01"]));
}

/// After months they are closed few at a time, and others may write in between.
#[test]
fn many_days_are_closed_bit_by_bit() {
    let dir = in_memory();
    let mut ledger = Ledger::open(&dir.path().join("l.db")).unwrap();
    let days = [reading("a", 0, "acme"), reading("a", 20 * 86_400, "acme")];
    ledger.enter(&days, &mut Vec::new()).unwrap();
    let mut times = 0;
    while ledger.thin_some(MONTH + 30 * DAY, POLICY).unwrap().is_some() {
        times += 1;
        verified(&mut ledger);
    }
    assert!(times >= 5, "{times}");
    assert_eq!(verified(&mut ledger).closed.unwrap().day, "2026-11-20");
}

/// Whoever may write the ledger gives what one has used to another, with a record that says that these stand for those.
fn move_usage(ledger: &mut Ledger, close_again: bool) {
    let mut writer = ledger.writer().unwrap();
    let mut found = Vec::new();
    {
        let find = "SELECT seq, life, terms, begins, body, hash FROM record WHERE kind = 5 ORDER BY seq LIMIT 2";
        let mut find = writer.tx.prepare(find).unwrap();
        let mut rows = find.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let amounts = decode(&row.get::<_, Vec<u8>>(4).unwrap()).unwrap();
            let number = |n| row.get::<_, i64>(n).unwrap();
            found.push((
                number(0),
                (number(1), number(2)),
                number(3),
                amounts,
                row.get::<_, [u8; 32]>(5).unwrap(),
            ));
        }
    }
    let [mut one, mut other]: [_; 2] = found.try_into().unwrap();
    assert!(one.2 == other.2 && one.1 != other.1 && one.0 + 1 == other.0);
    let cpu = Counter::Cpu as usize;
    std::mem::swap(&mut one.3.counters[cpu], &mut other.3.counters[cpu]);
    let day = one.2;
    let before = writer.hash_of(one.0 - 1).unwrap().unwrap();
    let first = writer.seq + 1;
    for (_, refers, begins, amounts, _) in [&one, &other] {
        writer
            .append(Kind::Day, *refers, (*begins, begins + DAY), encode(amounts))
            .unwrap();
        writer
            .tx
            .execute(
                "UPDATE daily SET body = ?4 WHERE life = ?1 AND terms = ?2 AND day = ?3",
                params![refers.0, refers.1, day, encode(amounts)],
            )
            .unwrap();
    }
    let hex = crate::ledger::hex;
    let thinning = serde_json::json!({
        "made": "day", "of": "hour", "records": [first, first + 1], "removed": 2, "sums": {},
        "gaps": [{ "first": one.0, "last": other.0, "before": hex(&before), "hash": hex(&other.4) }],
    });
    let body = thinning.to_string().into_bytes();
    writer.append(Kind::Thinned, (0, 0), (day, day), body).unwrap();
    let gone = params![one.0, other.0];
    writer
        .tx
        .execute("DELETE FROM record WHERE seq BETWEEN ?1 AND ?2", gone)
        .unwrap();
    if close_again {
        writer.close_again(&[day].into()).unwrap();
    }
    writer.commit().unwrap();
}

#[test]
fn nobody_can_be_given_anothers_usage_by_putting_records_together() {
    let dir = in_memory();
    let mut ledger = lived(&dir.path().join("l.db"), 80);
    let noted = verified(&mut ledger).closed.unwrap();
    move_usage(&mut ledger, false);
    let broken = ledger.verify().unwrap().broken.unwrap();
    assert!(broken.why.contains("the day that it closes"), "{broken:?}");
    // Whoever closes the day once more can't hide it from who has noted the record that closed it first.
    let mut ledger = lived(&dir.path().join("m.db"), 80);
    move_usage(&mut ledger, true);
    let found = verified(&mut ledger);
    assert_eq!(days(&found), (Some("2026-11-03"), vec!["2026-11-01"]));
    assert!(
        found.closed.as_ref() == Some(&noted) && found.closed_late[0].seq > noted.seq,
        "{found:?}"
    );
}

/// A row of records that are gone must not swallow that a day was closed.
#[test]
fn a_closing_that_is_gone_is_missed() {
    let dir = in_memory();
    let path = dir.path().join("l.db");
    let mut ledger = lived(&path, 80);
    let first = "SELECT min(seq) FROM record WHERE kind = 7";
    let seq: i64 = ledger.connection.query_row(first, [], |row| row.get(0)).unwrap();
    let mut writer = ledger.writer().unwrap();
    let (before, hash) = (
        writer.hash_of(seq - 1).unwrap().unwrap(),
        writer.hash_of(seq).unwrap().unwrap(),
    );
    let hex = crate::ledger::hex;
    let thinning = serde_json::json!({
        "made": "day", "of": "hour", "records": [writer.seq + 1, writer.seq], "removed": 1, "sums": {},
        "gaps": [{ "first": seq, "last": seq, "before": hex(&before), "hash": hex(&hash) }],
    });
    let body = thinning.to_string().into_bytes();
    writer.append(Kind::Thinned, (0, 0), (0, 0), body).unwrap();
    writer.tx.execute("DELETE FROM record WHERE seq = ?1", [seq]).unwrap();
    writer.commit().unwrap();
    assert_eq!(verified(&mut ledger).not_closed, ["2026-11-01"]);
}

/// What reports and budgets are made of beside the amounts: the hours for the percentile, since when something is known,
/// and what has passed in months.
#[test]
fn hours_and_months_that_were_changed_are_found() {
    let dir = in_memory();
    let path = dir.path().join("l.db");
    let mut ledger = lived(&path, 80);
    verified(&mut ledger);
    let first = "WHERE day = (SELECT min(day) FROM daily)";
    let last = "WHERE day = (SELECT max(day) FROM daily)";
    for change in [
        format!("UPDATE daily SET passed = (SELECT passed FROM daily {first}) {last}"),
        // In sum the same: of records of days only who has closed them knows the hours.
        format!(
            "UPDATE daily SET passed = CAST(substr(passed, 5) || substr(passed, 1, 4) AS BLOB) {first} \
             AND life = (SELECT max(life) FROM daily)"
        ),
        format!("UPDATE daily SET passed = x'' {first}"),
        format!("UPDATE daily SET ends = ends - {} {last}", 2 * HOUR),
        format!("UPDATE daily SET begins = begins + {} {first}", 2 * HOUR),
        format!("UPDATE daily SET day = CASE day WHEN {MONTH} THEN {MONTH} + 9 * {DAY} ELSE day END"),
        "UPDATE passed SET bytes = bytes - 1".to_owned(),
        "UPDATE passed SET tenant = 'acme' WHERE tenant = 'zeta'".to_owned(),
        "DELETE FROM passed".to_owned(),
    ] {
        let db = Connection::open(&path).unwrap();
        db.execute_batch("BEGIN").unwrap();
        db.execute_batch(&change).unwrap();
        let broken = super::super::verify::verified(&db).unwrap().broken;
        assert!(broken.is_some(), "{change}");
        db.execute_batch("ROLLBACK").unwrap();
    }
    verified(&mut ledger);
}

/// A record of an hour is of that hour.
#[test]
fn a_record_of_an_hour_that_is_none_is_found() {
    let dir = in_memory();
    let mut ledger = lived(&dir.path().join("l.db"), 5);
    let of = "SELECT life, terms, begins, body FROM record WHERE kind = 4 LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let (life, terms, begins, body): (i64, i64, i64, Vec<u8>) = ledger.connection.query_row(of, [], read).unwrap();
    let mut writer = ledger.writer().unwrap();
    let at = (begins + 1, begins + 1 + HOUR);
    writer.append(Kind::Hour, (life, terms), at, body).unwrap();
    let seq = writer.seq;
    writer.commit().unwrap();
    let broken = ledger.verify().unwrap().broken.unwrap();
    assert!(broken.seq == seq && broken.why.contains("one hour"), "{broken:?}");
}
