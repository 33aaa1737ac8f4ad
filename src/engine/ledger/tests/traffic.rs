//! Traffic in the ledger, whatever becomes of the counters of the kernel.

use std::sync::Arc;

use hostel_model::request::{Action, VeRef};
use hostel_model::traffic::Direction;

use super::life::{STOP, act, pass, running, sample, total};
use crate::facade::Silent;
use crate::host::Host;
use crate::manager::Sampler;
use crate::testing::{again, engine, fakes, id, started};

fn passes(host: &Arc<Host>, bytes: u64) {
    pass(host, 60);
    fakes(host).counters.pass("hv101.0", "external", Direction::Out, bytes);
}

fn sent(host: &Arc<Host>) -> u128 {
    total(host).get("traffic.external.out.ipv4.bytes")
}

/// Of another life of it, written down; and what `hostel traffic` tells.
fn lived(bytes: u64) -> Arc<Host> {
    let host = running();
    passes(&host, bytes);
    act(&host, &STOP);
    started(&host);
    host
}

fn told(host: &Arc<Host>) -> u64 {
    let rows = engine(host).traffic(&VeRef::Id(id(101))).unwrap();
    rows.iter().map(|row| row.out.ipv4.bytes).sum()
}

#[test]
fn traffic_whose_counters_were_flushed_is_entered_once() {
    let host = lived(1_000);
    let mut manager = Sampler::new(&host);
    let mut look = || {
        manager.pass(&Silent, &|| {}).unwrap();
    };
    passes(&host, 500);
    look();
    fakes(&host).counters.flush();
    // Somebody else looks before the manager does.
    act(&host, &Action::Pause);
    act(&host, &Action::Unpause);
    assert_eq!(told(&host), 1_000);
    pass(&host, 60);
    look();
    assert_eq!(
        (sent(&host), told(&host)),
        (1_500, 1_500),
        "the manager remembers what they had"
    );
    host.mend_broken().unwrap();
    passes(&host, 70);
    look();
    passes(&host, 5);
    act(&host, &STOP);
    assert_eq!((sent(&host), told(&host)), (1_575, 1_575));
}

#[test]
fn traffic_whose_counters_were_flushed_is_entered_once_though_nobody_remembers_it() {
    let host = lived(1_000);
    passes(&host, 500);
    sample(&host);
    fakes(&host).counters.flush();
    sample(&again(&host));
    host.mend_broken().unwrap();
    passes(&host, 70);
    sample(&again(&host));
    assert_eq!(sent(&host), 1_500);
    act(&host, &STOP);
    started(&host);
    passes(&host, 8);
    act(&host, &STOP);
    assert_eq!((sent(&host), told(&host)), (1_508, 1_078));
}

#[test]
fn what_passes_a_ve_that_runs_is_written_down() {
    let host = lived(1_000);
    let manager = std::cell::RefCell::new(Sampler::new(&host));
    let look = || {
        manager.borrow_mut().pass(&Silent, &|| {}).unwrap();
    };
    let noter = manager.borrow().noter();
    let noted = || {
        host.noted_traffic(id(101))
            .unwrap()
            .totals()
            .values()
            .map(|a| a.bytes)
            .sum::<u64>()
    };
    passes(&host, 500);
    look();
    assert_eq!(noted(), 1_000);
    // Somebody works on the VE: the next time.
    let held = host.locks.take_free(crate::lock::Subject::Ve(id(101)), "set").unwrap();
    noter.round(&|_| ());
    assert_eq!(noted(), 1_000);
    drop(held);
    for _ in 0..2 {
        noter.round(&|_| ());
        assert_eq!(noted(), 1_500);
    }
    passes(&host, 1);
    // Another run has another counter, and what was remembered of the first is written down.
    act(&host, &STOP);
    started(&host);
    passes(&host, 10);
    noter.round(&|_| ());
    assert_eq!((noted(), told(&host)), (1_501, 1_511));
    look();
    noter.round(&|_| ());
    assert_eq!((noted(), told(&host), sent(&host)), (1_511, 1_511, 1_511));
}
