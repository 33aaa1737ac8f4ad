//! What of the usage of VEs outlives the host's power, and its shutdown in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hostel_model::request::Action;

use super::life::{STOP, act, pass, running, sample, seconds, total, uses};
use crate::facade::Silent;
use crate::host::Host;
use crate::testing::{again, engine, fakes, id, started};

/// The power goes, and with it all that runs and all that lay in /run; so many seconds later the host is up again.
pub(super) fn lose_power(host: Arc<Host>, away: u64) -> Arc<Host> {
    fakes(&host).guests.halt(101);
    host.clear(&host.outline(id(101)).unwrap()).unwrap();
    std::fs::remove_dir_all(host.dirs.runs()).unwrap();
    std::fs::create_dir(host.dirs.runs()).unwrap();
    fakes(&host).time.reboot(away);
    let mut next = Arc::into_inner(again(&host)).unwrap();
    next.boot_id = "another".into();
    Arc::new(next)
}

#[test]
fn a_host_that_loses_its_power_costs_no_more_than_an_interval() {
    let host = running();
    pass(&host, 60);
    uses(&host, 600, 1);
    sample(&host);
    pass(&host, 59);
    uses(&host, 1_190, 1);
    let host = lose_power(host, 300);
    pass(&host, 30);
    started(&host);
    pass(&host, 10);
    uses(&host, 100, 1);
    act(&host, &STOP);
    let sums = total(&host);
    assert_eq!(sums.get("cpu_ns"), 600 + 100);
    assert_eq!(seconds(&sums), [60 + 10, 0, 0, 31, 59 + 300]);
}

/// Where no manager ever ran: what a command did is in the ledger, though nobody knows how much was used since.
#[test]
fn the_ledger_knows_what_was_done_though_no_manager_ran_and_the_power_went() {
    for (action, times) in [
        // The host is looked at when it is up for a second.
        (None, [0, 0, 1, 100 + 300]),
        (Some(Action::Pause), [100, 0, 1, 50 + 300]),
        (Some(STOP), [100, 0, 50 + 300 + 1, 0]),
    ] {
        let host = running();
        pass(&host, 100);
        let notes = std::fs::read_dir(host.dirs.run_usage()).unwrap();
        assert!(
            notes
                .flatten()
                .all(|note| note.path().extension().is_none_or(|e| e != "json"))
        );
        if let Some(action) = &action {
            act(&host, action);
            pass(&host, 50);
        }
        let host = lose_power(host, 300);
        sample(&host);
        let sums = total(&host);
        let found = seconds(&sums);
        assert_eq!([found[0], found[1], found[3], found[4]], times, "{action:?}");
    }
}

/// In a shutdown in order nothing is unknown, whoever was to enter what lies in /run.
#[test]
fn a_shutdown_in_order_leaves_nothing_to_the_memory_of_the_host() {
    let host = running();
    pass(&host, 60);
    sample(&host);
    let lock = manager_lock(&host);
    pass(&host, 30);
    uses(&host, 900, 1);
    let procession = engine(&host).shutdown(None).unwrap();
    engine(&host).shut_down_one(&procession, 0, &Silent).unwrap();
    assert!(!host.spool().is_empty().unwrap(), "it was left to the manager");
    engine(&host).end_shutdown(&Silent);
    drop(lock);
    let host = lose_power(host, 300);
    sample(&host);
    let sums = total(&host);
    assert_eq!((sums.get("cpu_ns"), seconds(&sums)), (900, [90, 0, 0, 301, 0]));
}

pub(super) fn manager_lock(host: &Arc<Host>) -> crate::lock::Lock {
    let patience = crate::lock::Patience {
        wait: std::time::Duration::ZERO,
        progress: &Silent,
        interrupted: crate::interrupt::flag(),
    };
    host.locks.take(crate::ledger::MANAGER, "manager", &patience).unwrap()
}

/// A host whose clock is wrong when it boots, and that somebody sets: nobody pays for what never was.
#[test]
fn a_clock_that_is_set_after_the_boot_makes_no_downtime() {
    for wrong in [86_400, -86_400] {
        let host = running();
        pass(&host, 60);
        sample(&host);
        let mut host = Arc::into_inner(lose_power(host, 300)).unwrap();
        host.clock_is_set = || false;
        let host = Arc::new(host);
        fakes(&host).time.set_clock(wrong);
        pass(&host, 10);
        sample(&host);
        fakes(&host).time.set_clock(-wrong);
        pass(&host, 690);
        sample(&host);
        assert_eq!(seconds(&total(&host)), [60, 0, 0, 701, 300]);
    }
}

/// That it has ended is known though nothing could be read of it any more.
#[test]
fn an_end_is_noted_though_its_counters_can_not_be_read() {
    let host = running();
    pass(&host, 60);
    sample(&host);
    fakes(&host).cgroups.fail_method(Some("usage"));
    act(&host, &STOP);
    fakes(&host).cgroups.fail_method(None);
    pass(&host, 600);
    assert_eq!(seconds(&total(&host)), [60, 0, 0, 600, 0]);
}

/// The kinds of records in a host's ledger that are made of others, or close a day.
fn made(host: &Host) -> Vec<i64> {
    let ledger = crate::ledger::Ledger::open(&host.dirs.ledger()).unwrap();
    let kinds = "SELECT DISTINCT kind FROM record WHERE kind > 3 ORDER BY kind";
    let mut find = ledger.connection.prepare(kinds).unwrap();
    let kinds = find.query_map([], |row| row.get(0)).unwrap();
    kinds.collect::<rusqlite::Result<_>>().unwrap()
}

/// A host whose clock is months ahead when it boots: what is of yesterday stays as fine as it is.
#[test]
fn by_a_clock_that_is_wrong_nothing_is_put_together() {
    const AHEAD: i64 = 200 * 86_400;
    // Whoever looks at VEs may hold the host a moment longer than the look takes.
    static SET: AtomicBool = AtomicBool::new(false);
    let host = running();
    pass(&host, 60);
    sample(&host);
    let mut host = Arc::into_inner(lose_power(host, 300)).unwrap();
    host.clock_is_set = || SET.load(Ordering::Relaxed);
    fakes(&host).time.set_clock(AHEAD);
    let host = Arc::new(host);
    for _ in 0..20 {
        pass(&host, 120);
        sample(&host);
    }
    assert_eq!(made(&host), Vec::<i64>::new());
    fakes(&host).time.set_clock(-AHEAD);
    SET.store(true, Ordering::Relaxed);
    pass(&host, 60);
    sample(&host);
    // Somebody sets it once more, and the kernel believes him.
    fakes(&host).time.set_clock(AHEAD);
    for _ in 0..2 {
        pass(&host, 1_700);
        sample(&host);
        assert_eq!(made(&host), Vec::<i64>::new());
    }
    pass(&host, 2_000);
    sample(&host);
    assert!(
        made(&host).contains(&7),
        "it has stayed so for an hour: {:?}",
        made(&host)
    );
}
