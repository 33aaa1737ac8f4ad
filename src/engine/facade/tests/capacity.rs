//! What the ledger tells of real use.

use crate::facade::{Silent, Window};
use crate::manager::Sampler;
use crate::testing::{engine, fakes, host, id, started, with_ve};

const ALWAYS: Window = Window {
    from_ns: i64::MIN,
    to_ns: i64::MAX,
};

#[test]
fn a_day_must_be_known_before_anything_is_said_of_use() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let hours = |n: u64, from: u64| {
        for hour in from..from + n {
            fakes(&host).time.pass(3600);
            fakes(&host).cgroups.change(id(101), |ve| {
                // A quarter of a processor all the time.
                ve.usage.cpu.total_ns = Some((hour + 1) * 900_000_000_000);
                ve.usage.memory = Some(64 << 20);
            });
            Sampler::new(&host).pass(&Silent, &|| {}).unwrap();
        }
    };
    let look = || engine(&host).capacity(None, None, ALWAYS, &Silent).unwrap();
    hours(10, 0);
    let few = look();
    assert!((8..=10).contains(&few.history.hours), "{:?}", few.history);
    assert!(
        few.resources
            .iter()
            .all(|r| ["disk", "ids"].contains(&r.resource.as_str()) || r.resource.contains(' ') || r.used.is_none())
    );
    assert!(few.plans.iter().all(|plan| plan.real.fits.is_none()));
    hours(30, 10);
    let many = look();
    assert!(many.history.hours >= 38, "{:?}", many.history);
    let used = |name: &str| {
        many.resources
            .iter()
            .find(|r| r.resource == name)
            .unwrap()
            .used
            .unwrap()
            .n
    };
    // The tick of the fake's clock makes an hour a little longer.
    assert!((249..=250).contains(&used("cpu")), "{}", used("cpu"));
    assert!((60 << 20..=64 << 20).contains(&used("memory")), "{}", used("memory"));
    let plan = many.plans.iter().find(|plan| plan.hours > 0).unwrap();
    let share = plan.resources.iter().find(|r| r.resource == "cpu").unwrap();
    assert!((249..=250).contains(&share.used.unwrap().n), "{share:?}");
    assert!(many.plans.iter().all(|p| p.plan == plan.plan || p.hours == 0));
}
