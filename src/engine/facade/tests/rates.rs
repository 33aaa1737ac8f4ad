//! Limits of what VEs' networks carry.

use hostel_model::request::Action;

use super::{act, start, web1};
use crate::error::Class;
use crate::facade::Silent;
use crate::testing::{again, engine, fakes, host, id, order, started, with_ve};

const LIMITS: &[(&str, &str)] = &[
    ("network.0.network", "private"),
    ("network.1.network", "public"),
    ("net.in", "100Mbit"),
    ("net.burst", "64KiB"),
    ("network.1.rate_in", "2Mbit"),
];

#[test]
fn they_come_and_go_with_the_ve_and_change_at_once() {
    let host = host().make();
    with_ve(&host, LIMITS);
    assert!(fakes(&host).network.shapes().is_empty());
    started(&host);
    let shapes = fakes(&host).network.shapes();
    assert_eq!(shapes.keys().collect::<Vec<_>>(), ["hv101.i"]);
    let inward = &shapes["hv101.i"];
    let whole = inward.whole.unwrap();
    assert_eq!((whole.rate, whole.burst), (100_000_000, Some(65_536)));
    let own: Vec<_> = inward
        .links
        .iter()
        .map(|(name, own)| (name.as_str(), own.map(|p| p.rate)))
        .collect();
    assert_eq!(own, [("hv101.0", None), ("hv101.1", Some(2_000_000))]);
    let set = |key: &str, value: &str| {
        let settings = [(key.to_owned(), value.to_owned())];
        let report = engine(&again(&host)).set(&web1(), &settings, false, &Silent).unwrap();
        assert!(report.waiting.is_empty() && report.applied.len() == 1, "{report:?}");
        fakes(&host).network.shapes()
    };
    assert_eq!(set("net.in", "50Mbit")["hv101.i"].whole.unwrap().rate, 50_000_000);
    assert!(set("network.0.rate_out", "1Mbit").contains_key("hv101.o"));
    assert!(!set("network.0.rate_out", "unlimited").contains_key("hv101.o"));
    act(&host, &Action::Kill).unwrap();
    host.clear(&host.outline(id(101)).unwrap()).unwrap();
    assert!(fakes(&host).network.shapes().is_empty());
}

#[test]
fn a_host_that_cannot_hold_them_refuses_or_warns() {
    let poor = |settings: &str| {
        let host = host().hostel(settings).make();
        fakes(&host).network.lack_shaping("no ifb");
        host
    };
    let strict = poor("");
    let error = engine(&strict).create(&order("web1", LIMITS), &Silent).unwrap_err();
    assert_eq!(error.class, Class::Limit);
    for key in ["net.in", "network.1.rate_in"] {
        let told = error
            .hints
            .iter()
            .any(|h| h.contains(&format!("enforce {key}: no ifb")));
        assert!(told, "{error:?}");
    }
    // One without is none the worse.
    with_ve(&strict, &[]);
    started(&strict);
    let lenient = poor("unenforceable = \"warn\"\n");
    with_ve(&lenient, LIMITS);
    act(&lenient, &start()).unwrap();
    assert!(fakes(&lenient).network.shapes().is_empty());
}
