//! The small tools on made-up figures.

use std::collections::{BTreeMap, BTreeSet};

use hostel_engine::facade::{ClassTraffic, Ways};
use hostel_model::stat::{Figure, Figures, HostReading};
use hostel_model::traffic::Amount;

use super::*;
use crate::cli::tests::golden;
use crate::vz::list::house;

#[test]
fn memory_of_the_host_and_of_each() {
    let host = HostReading {
        sizes: Figures::each(|f| match f {
            Figure::Memory => Some(8 << 30),
            Figure::Swap => Some(2 << 30),
            _ => None,
        }),
        ..HostReading::default()
    };
    let mut text = String::new();
    for (each, absolute) in [(false, false), (true, false), (true, true)] {
        text.push_str(&vzmemcheck::report(&house(), &host, each, absolute));
        text.push('\n');
    }
    golden("tests/golden/vz/vzmemcheck.txt", &text);
}

#[test]
fn processors_promised_and_there() {
    let (text, over) = vzcpucheck::report(&house(), Some(4800.5), true);
    golden("tests/golden/vz/vzcpucheck.txt", &text);
    assert!(!over);
    // As they were given, which a weight rounds.
    let mut given = house();
    given.truncate(1);
    given[0].definition.as_mut().unwrap().limits.cpu.weight = Some(123);
    given[0].definition.as_mut().unwrap().openvz = [("CPUUNITS", "1234")].into();
    let (text, _) = vzcpucheck::report(&given, None, true);
    assert!(
        text.contains("1234\n") && text.contains("utilization: 2234\n"),
        "{text}"
    );
    assert!(vzcpucheck::report(&house(), Some(10.0), false).1);
    assert!(
        vzcpucheck::report(&[], None, false)
            .0
            .ends_with("Power of the node: -\n")
    );
}

#[test]
fn traffic_by_class_and_family() {
    let amount = |n: u64| Amount {
        bytes: n * 1000,
        packets: n,
    };
    let ways = |n: u64| Ways {
        ipv4: amount(n),
        ipv6: amount(n + 1),
    };
    let row = |class: &str, n: u64| ClassTraffic {
        id: 101.try_into().unwrap(),
        ve: "web1".parse().unwrap(),
        class: class.into(),
        r#in: ways(n),
        out: ways(n * 10),
    };
    let rows = [row("local", 1), row("external", 1_234_567)];
    let mut text = vznetstat::table(&rows, vznetstat::Family::Both, None);
    text.push_str(&vznetstat::table(&rows, vznetstat::Family::Ipv6, Some("local")));
    golden("tests/golden/vz/vznetstat.txt", &text);
}

#[test]
fn quota_of_a_disk() {
    golden(
        "tests/golden/vz/vzquota.txt",
        &vzquota::table(&crate::vz::list::disk(&house()[0])),
    );
}

#[test]
fn ps_with_a_column_more() {
    let id = 101.try_into().unwrap();
    let owners: BTreeMap<u32, _> = [(42, id)].into();
    let ps = "USER         PID COMMAND\nroot           1 init\n1001          42 httpd -D x\n";
    let all = "      CTID USER         PID COMMAND\n         0 root           1 init\n       101 1001          42 httpd -D x\n";
    assert_eq!(vzps::table(ps, &owners, None).unwrap(), all);
    let only = BTreeSet::from([101]);
    assert_eq!(vzps::table(ps, &owners, Some(&only)).unwrap().lines().count(), 2);
    assert_eq!(vzps::table("COMMAND\ninit\n", &owners, None), None);
}
