use proptest::prelude::*;

use super::line::encode;
use super::*;

fn id() -> VeId {
    VeId::try_from(101).unwrap()
}

struct Bench {
    dir: tempfile::TempDir,
    journals: Journals,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let journals = Journals::at(&dir.path().join("data"), &dir.path().join("run"), "boot-1\n").unwrap();
    Bench { dir, journals }
}

impl Bench {
    fn begin(&self, home: Home) -> Journal {
        self.journals
            .begin(home, "create", id(), serde_json::json!({"name": "web1"}))
            .unwrap()
    }
    fn unfinished(&self) -> Unfinished {
        match self.journals.find(id()).unwrap() {
            Found::Unfinished(u) => u,
            other => panic!("{other:?}"),
        }
    }
    fn is_free(&self) -> bool {
        matches!(self.journals.find(id()), Ok(Found::Nothing)) && self.journals.pending().unwrap().is_empty()
    }
}

#[test]
fn it_tells_what_was_begun_done_and_undone() {
    for home in [Home::Durable, Home::Volatile] {
        let bench = bench();
        let mut journal = bench.begin(home);
        for name in ["claim", "disk", "attach"] {
            journal.step(name).unwrap();
            if name != "attach" {
                journal.done(name, false).unwrap();
            }
        }
        drop(journal);
        assert_eq!(bench.journals.pending().unwrap(), [id()]);
        let mut found = bench.unfinished();
        assert_eq!(
            (found.begin.verb.as_str(), &found.begin.params["name"]),
            ("create", &"web1".into())
        );
        assert_eq!(
            (found.begin.pid, found.begin.boot_id.as_str()),
            (std::process::id(), "boot-1")
        );
        assert!(!found.undoing && found.steps["disk"].done && !found.steps["attach"].done);
        // It can be written on, and found once more.
        found.journal.undoing("attach").unwrap();
        found.journal.undone("attach").unwrap();
        drop(found);
        let found = bench.unfinished();
        assert!(found.undoing && found.steps["attach"].undone && !found.steps["claim"].undone);
        found.journal.end().unwrap();
        assert!(bench.is_free());
    }
}

#[test]
fn one_operation_at_a_time() {
    let bench = bench();
    let journal = bench.begin(Home::Durable);
    let error = bench
        .journals
        .begin(Home::Volatile, "start", id(), serde_json::Value::Null)
        .unwrap_err();
    assert_eq!(error.class, Class::Refused);
    journal.end().unwrap();
    bench.begin(Home::Volatile).end().unwrap();
}

#[test]
fn a_volatile_journal_does_not_outlive_the_boot() {
    let bench = bench();
    for home in [Home::Durable, Home::Volatile] {
        bench.begin(home).step("claim").unwrap();
        let data = bench.dir.path();
        let next = Journals::at(&data.join("data"), &data.join("run"), "boot-2").unwrap();
        let found = next.find(id()).unwrap();
        assert_eq!(
            matches!(found, Found::Unfinished(_)),
            home == Home::Durable,
            "{found:?}"
        );
        if let Found::Unfinished(u) = found {
            u.journal.end().unwrap();
        }
        assert!(bench.is_free());
    }
}

/// A journal of some lines, as bytes.
fn sample() -> Vec<u8> {
    let bench = bench();
    let mut journal = bench.begin(Home::Volatile);
    for name in ["claim", "disk"] {
        journal.step(name).unwrap();
        journal.done(name, true).unwrap();
    }
    fs::read(journal.path()).unwrap()
}

fn plant(bench: &Bench, bytes: &[u8]) -> PathBuf {
    let path = bench.dir.path().join("data/101.journal");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn cut_anywhere_it_tells_what_is_whole() {
    let whole = sample();
    let bench = bench();
    for length in 0..=whole.len() {
        for tail in [&b""[..], &[0; 100]] {
            plant(&bench, &[&whole[..length], tail].concat());
            let lines = whole[..length].iter().filter(|b| **b == b'\n').count();
            match bench.journals.find(id()).unwrap() {
                Found::Nothing => assert!(lines == 0 && bench.is_free(), "at {length}"),
                Found::Unfinished(mut u) => {
                    assert_eq!(u.steps.len(), lines / 2, "at {length}");
                    assert_eq!(u.steps.values().filter(|m| m.done).count(), (lines - 1) / 2);
                    // What is written next stands where the torn line was.
                    u.journal.step("next").unwrap();
                    assert!(bench.unfinished().steps.contains_key("next"), "at {length}");
                }
                Found::Corrupt { why, .. } => panic!("{why} at {length}"),
            }
        }
    }
}

#[test]
fn a_corrupt_one_is_put_aside_and_blocks_nothing() {
    let whole = sample();
    let lines: Vec<&[u8]> = whole.split_inclusive(|b| *b == b'\n').collect();
    let flip = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let without = |n: usize| {
        lines
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != n)
            .map(|(_, l)| *l)
            .collect::<Vec<_>>()
            .concat()
    };
    let other = String::from_utf8(whole.clone())
        .unwrap()
        .replace("101", "102")
        .into_bytes();
    for bad in [
        flip(3),
        flip(60),
        flip(whole.len() - 10),
        without(0),
        without(2),
        [&whole[..], &whole].concat(),
        other,
    ] {
        let bench = bench();
        plant(&bench, &bad);
        match bench.journals.find(id()).unwrap() {
            Found::Corrupt { moved_to, why } => {
                assert!(!why.is_empty());
                assert_eq!(fs::read(moved_to).unwrap(), bad);
            }
            found => panic!("{found:?}"),
        }
        assert!(bench.is_free());
        bench.begin(Home::Durable).end().unwrap();
    }
}

#[test]
fn an_ended_one_that_was_not_removed_is_removed() {
    let bench = bench();
    let end = encode(5, &Line::End).unwrap();
    let path = plant(&bench, &[&sample()[..], end.as_bytes()].concat());
    assert!(matches!(bench.journals.find(id()).unwrap(), Found::Nothing));
    assert!(!path.exists());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
    #[test]
    fn no_bytes_are_read_wrong_or_stop_anything(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..600) {
        let bench = bench();
        let mut damaged = sample();
        let at = at.min(damaged.len());
        damaged.splice(at..(at + bytes.len()).min(damaged.len()), bytes);
        plant(&bench, &damaged);
        if let Found::Unfinished(u) = bench.journals.find(id()).unwrap() {
            // Whatever it tells is a beginning of the truth.
            prop_assert!(u.steps.keys().all(|k| k == "claim" || k == "disk"));
            u.journal.end().unwrap();
        }
        prop_assert!(bench.is_free());
    }
}
