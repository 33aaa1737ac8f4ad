//! Many notes at once: they are entered bit by bit, and all count as if they had been entered together.

use super::life::{STOP, act, pass, running, seconds, total, uses};
use crate::facade::Silent;
use crate::testing::id;

/// Notes before, beside and after a reading of now, in more parts than one, some of them on the disk already.
#[test]
fn many_notes_count_as_few_do() {
    let host = running();
    let state = host.state(id(101)).unwrap();
    let note = |cpu: u64| {
        pass(&host, 1);
        uses(&host, cpu, 1 << 20);
        host.note_change(id(101));
    };
    (1..=300).for_each(|n| note(n * 10));
    host.spool().lay_down(false).unwrap();
    (301..=600).for_each(|n| note(n * 10));
    pass(&host, 1);
    uses(&host, 6_005, 1 << 20);
    let now = host.measure(&state, None, None).unwrap();
    (601..=620).for_each(|n| note(n * 10));
    let notes = |first| host.spool().files(&host.boot_id, first).unwrap();
    let (before, beside) = notes(Some(now.at.up_ns));
    // Two more, of its creation and its start.
    assert_eq!((before.len(), beside.len()), (602, 20));
    let names: Vec<_> = before
        .iter()
        .chain(&beside)
        .map(|path| path.file_name().unwrap().to_owned())
        .collect();
    assert!(names.is_sorted());
    assert_eq!(host.enter_usage("test", vec![now], &Silent).unwrap(), 623);
    assert_eq!((notes(None).0.len(), notes(None).1.len()), (0, 0));
    act(&host, &STOP);
    let sums = total(&host);
    assert_eq!(sums.get("cpu_ns"), 6_200);
    // Each look at the clock takes a millisecond.
    let [running, others @ ..] = seconds(&sums);
    assert!(
        (621..630).contains(&running) && others == [0; 4],
        "{running} {others:?}"
    );
}

/// What can't be entered half way is kept where it outlives the boot; what was entered by then isn't entered again.
#[test]
fn what_fails_half_way_is_kept() {
    let host = running();
    (1..=600).for_each(|n| {
        pass(&host, 1);
        uses(&host, n * 10, 1 << 20);
        host.note_change(id(101));
    });
    // The last of them says nothing that makes sense, but for its time.
    let (_, files) = host.spool().files(&host.boot_id, Some(0)).unwrap();
    std::fs::write(files.last().unwrap(), "{").unwrap();
    std::fs::write(host.dirs.ledger(), "broken").unwrap();
    assert!(host.enter_usage("test", Vec::new(), &Silent).is_err());
    let left = std::fs::read_dir(host.dirs.run_usage()).unwrap().count();
    assert_eq!(left, 1, "all but what makes no sense is on the disk");
    std::fs::remove_file(host.dirs.ledger()).unwrap();
    assert_eq!(host.enter_usage("test", Vec::new(), &Silent).unwrap(), 601);
    act(&host, &STOP);
    assert_eq!(total(&host).get("cpu_ns"), 6_000);
}
