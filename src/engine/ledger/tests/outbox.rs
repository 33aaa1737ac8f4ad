//! Whatever is entered, thinned and forwarded in whatever order, and whoever dies: the other side is at any time what the
//! ledger was at some moment, and in the end what it is.

use std::collections::BTreeMap;

use hostel_model::usage::{DAY, HOUR};
use proptest::prelude::*;

use super::chain::{MONTH, reading};
use crate::ledger::verify::record;
use crate::ledger::{Hash, Ledger, NOTHING, Outgoing, Place, Policy, Record, Walk};
use crate::testing::in_memory;

const POLICY: Policy = Policy {
    samples_ns: 2 * HOUR,
    hours_ns: DAY,
    wait_ns: 0,
};

/// The other side, as PostgreSQL is: a transaction is done or not.
#[derive(Clone)]
struct Other {
    at: Place,
    records: BTreeMap<i64, (Record, Hash)>,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    /// So many minutes pass, and VEs are measured in each.
    Live(u64),
    Thin,
    /// Records are forwarded, from so many on; whether it comes to be.
    Forward(usize, bool),
    /// The same until nothing is left.
    CatchUp(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (1_u64..400).prop_map(Act::Live),
        2 => Just(Act::Thin),
        4 => (1_usize..300, any::<bool>()).prop_map(|(most, done)| Act::Forward(most, done)),
    ];
    proptest::collection::vec(act, 1..25)
}

impl Other {
    fn new() -> Self {
        Self {
            at: (0, NOTHING),
            records: BTreeMap::new(),
        }
    }

    /// What it is once this is done. Nothing is added twice, and nothing removed that isn't there.
    fn after(&self, ledger: &mut Ledger, most: usize) -> Self {
        assert_eq!(
            ledger.hash_at(self.at.0).unwrap(),
            Some(self.at.1),
            "its place is known"
        );
        let mut next = self.clone();
        let records = &mut next.records;
        next.at = ledger
            .send(self.at, most, &mut |what| {
                match what {
                    Outgoing::Records(all) => {
                        for (record, hash) in all {
                            let before = records.insert(record.seq, (record.clone(), *hash));
                            assert!(before.is_none(), "{record:?}");
                        }
                    }
                    Outgoing::Replaced(first, last) => {
                        for seq in first..=last {
                            assert!(records.remove(&seq).is_some(), "{seq}");
                        }
                    }
                }
                Ok(())
            })
            .unwrap();
        next
    }

    /// The same, as whoever forwards goes about it.
    fn forwarded(&self, ledger: &mut Ledger, most: usize) -> Self {
        let next = self.after(ledger, most);
        assert!(ledger.note_sending(self.at.0, next.at.0).unwrap());
        next.is_sound();
        next
    }

    /// Is it a whole ledger?
    fn is_sound(&self) {
        let (mut walk, mut walked) = (Walk::new().unwrap(), Ok(()));
        let all = || self.records.values();
        for (record, _) in all().filter(|(record, _)| record.kind == 6) {
            walked = walked.and_then(|()| walk.expect_gaps(record.seq, &record.body));
        }
        for (record, hash) in all() {
            walked = walked.and_then(|()| walk.step(record, hash));
        }
        assert_eq!(walk.end(walked, self.at).unwrap().broken, None);
    }
}

fn here(ledger: &Ledger) -> BTreeMap<i64, (Record, Hash)> {
    let mut find = ledger
        .connection
        .prepare("SELECT seq, kind, life, terms, begins, ends, body, hash FROM record")
        .unwrap();
    let rows = find.query_map([], |row| {
        let (record, hash) = record(row)?;
        Ok((record.seq, (record, hash)))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn lives(acts: &[Act]) {
    let dir = in_memory();
    let mut ledger = Ledger::open(&dir.path().join("l.db")).unwrap();
    assert_eq!(ledger.fleet_id(&|| Ok("me".into())).unwrap(), "me");
    let (mut other, mut minutes) = (Other::new(), 0_u64);
    for act in acts.iter().copied().chain([Act::Forward(usize::MAX, true)]) {
        match act {
            Act::Live(more) => {
                let all = (minutes..minutes + more).flat_map(|n| {
                    let tenant = if n % 500 < 250 { "acme" } else { "zeta" };
                    [reading("a", n * 60, tenant), reading("b", n * 60 + 1, "acme")]
                });
                ledger.enter(&all.collect::<Vec<_>>(), &mut Vec::new()).unwrap();
                minutes += more;
            }
            Act::Thin => drop(ledger.thin(MONTH + minutes as i64 * HOUR / 60, POLICY).unwrap()),
            Act::Forward(most, done) => {
                let next = other.forwarded(&mut ledger, most);
                other = if done { next } else { other };
            }
            Act::CatchUp(most) => {
                while other.at != ledger.head().unwrap() {
                    other = other.forwarded(&mut ledger, most);
                }
            }
        }
        assert_eq!(ledger.hash_at(other.at.0).unwrap(), Some(other.at.1), "after {act:?}");
    }
    assert_eq!((other.at, &other.records), (ledger.head().unwrap(), &here(&ledger)));
    assert_eq!(ledger.after(other.at.0).unwrap(), (0, None));
}

/// An hour's records and what says what they stand for come together, however few are asked for.
#[test]
fn it_never_stops_where_something_would_count_twice() {
    let (live, thin) = (Act::Live(300), Act::Thin);
    for most in [1, 2, 7, 100] {
        let all = Act::CatchUp(most);
        lives(&[live, Act::Forward(most, true), thin, all, live, all, live, thin, all]);
    }
}

/// For days nothing is forwarded, and what was to be is thinned meanwhile, twice.
#[test]
fn an_outage_longer_than_samples_and_hours_are_kept() {
    let days = [Act::Live(390), Act::Thin].repeat(12);
    for most in [1, 50, usize::MAX] {
        let some = [Act::Live(100), Act::Forward(most, true), Act::Forward(60, false)];
        lives(&[&some, &days[..], &[Act::CatchUp(most)], &days, &[Act::CatchUp(most)]].concat());
    }
}

/// A record that was changed is not forwarded.
#[test]
fn what_was_changed_is_not_forwarded() {
    let dir = in_memory();
    let mut ledger = Ledger::open(&dir.path().join("l.db")).unwrap();
    let all: Vec<_> = (0..20).map(|n| reading("a", n * 60, "acme")).collect();
    ledger.enter(&all, &mut Vec::new()).unwrap();
    ledger
        .connection
        .execute("UPDATE record SET ends = ends + 1 WHERE seq = 7", [])
        .unwrap();
    let sent = ledger.send((0, NOTHING), usize::MAX, &mut |_| Ok(()));
    assert!(sent.unwrap_err().to_string().contains("record 7"));
    ledger
        .connection
        .execute("UPDATE record SET ends = ends - 1 WHERE seq = 7", [])
        .unwrap();
    ledger
        .connection
        .execute("DELETE FROM record WHERE seq = 9", [])
        .unwrap();
    let sent = ledger.send((0, NOTHING), usize::MAX, &mut |_| Ok(()));
    assert!(sent.unwrap_err().to_string().contains("record 9"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_order_of_events_comes_to_the_same(acts in acts()) {
        lives(&acts);
    }
}
