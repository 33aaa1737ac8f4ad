//! How long things take. The bounds are wide, as machines that run tests are busy; the printed numbers are the point
//! (`cargo test -p hostel-system --lib cgroup::tests::speed -- --nocapture --test-threads 1`).

use hostel_model::limits::Limits;
use hostel_model::units::Bytes;

use super::*;
use crate::cgroup::{BlockDevice, Limit};

/// The median time of an act.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn timed<T>(times: &mut Vec<Duration>, act: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = act();
    times.push(begin.elapsed());
    result
}

/// What a plan usually sets.
fn plan(g: &Ground) -> Limits {
    let mut l = Limits {
        processes: Some(500),
        ..Limits::default()
    };
    l.cpu.cap_milli = Some(1500);
    l.cpu.weight = Some(200);
    l.memory.limit = Some(Bytes::gib(1));
    l.memory.swap = g
        .cgroups
        .facts()
        .why_not(Limit::Swap)
        .is_none()
        .then_some(Bytes::mib(256));
    l
}

#[test]
fn the_groups_of_a_start() {
    let Some(g) = Ground::new() else { return };
    let limits = plan(&g);
    if !g.cgroups.unenforceable(&limits).is_empty() {
        println!(
            "skipped because this host can't hold {:?}",
            g.cgroups.unenforceable(&limits)
        );
        return;
    }
    g.cgroups.create(ve(999), 1).unwrap(); // the root is made once, not at every start
    let [mut create, mut apply, mut again, mut remove, mut usage] = [const { Vec::new() }; 5];
    for n in 0..40 {
        let id = ve(101 + n);
        timed(&mut create, || g.cgroups.create(id, 1_000_000)).unwrap();
        timed(&mut apply, || g.cgroups.apply(id, &limits, &[])).unwrap();
        timed(&mut again, || g.cgroups.apply(id, &limits, &[])).unwrap();
    }
    for n in 0..40 {
        timed(&mut usage, || g.cgroups.usage(ve(101 + n))).unwrap();
    }
    for n in 0..40 {
        timed(&mut remove, || g.cgroups.remove(ve(101 + n), Duration::from_secs(1))).unwrap();
    }
    let [create, apply, again, remove, usage] = [create, apply, again, remove, usage].map(median);
    println!("create {create:?}, apply {apply:?}, unchanged {again:?}, usage {usage:?}, remove {remove:?}");
    assert!(
        create + apply < Duration::from_millis(100),
        "create {create:?}, apply {apply:?}"
    );
    assert!(usage < Duration::from_millis(20), "{usage:?}");
}

#[test]
fn joining_by_tasks_and_by_procs() {
    let Some(g) = Ground::new() else { return };
    g.cgroups.create(ve(101), 1).unwrap();
    let place = g.cgroups.placement(ve(101));
    let [mut spawn, mut tasks, mut unified, mut procs] = [const { Vec::new() }; 4];
    let v1_only = Placement {
        unified: None,
        ..place.clone()
    };
    let v2_only = Placement {
        join: Vec::new(),
        ..place.clone()
    };
    // The kernel's lock stays cheap for a while after it was taken; a VE that is started alone finds it cold.
    let cool = || std::thread::sleep(Duration::from_millis(60));
    for _ in 0..5 {
        drop(Guest(timed(&mut spawn, || start(&Placement::default(), "read x"))));
        cool();
        drop(Guest(timed(&mut tasks, || start(&v1_only, "read x"))));
        cool();
        drop(Guest(timed(&mut unified, || start(&v2_only, "read x"))));
        let guest = Guest(start(&Placement::default(), "read x"));
        cool();
        timed(&mut procs, || {
            for file in &place.join {
                std::fs::write(file.with_file_name("cgroup.procs"), guest.0.id().to_string()).unwrap();
            }
        });
        assert_eq!(
            g.cgroups.processes(ve(101)).unwrap().contains(&guest.0.id()),
            !place.join.is_empty()
        );
    }
    let [spawn, tasks, unified, procs] = [spawn, tasks, unified, procs].map(median);
    println!(
        "{} v1 groups; spawn alone {spawn:?}, with 0 to tasks {tasks:?}, with 0 to the v2 cgroup.procs {unified:?}; \
         pid to v1 cgroup.procs from outside {procs:?}",
        place.join.len()
    );
}

#[test]
fn two_hundred_lines_of_a_list() {
    let Some(g) = Ground::new() else { return };
    for n in 0..20 {
        g.cgroups.create(ve(101 + n), 1).unwrap();
    }
    let begin = Instant::now();
    for n in 0..200 {
        let u = g.cgroups.usage(ve(101 + n % 20)).unwrap();
        assert_eq!(
            u.io_on(&[BlockDevice { major: 0, minor: 1 }]).map(|io| io.read_bytes),
            u.io.map(|_| 0)
        );
    }
    let took = begin.elapsed();
    println!("200 usages in {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}
