//! Traffic: counted over every life of a VE, once.

use hostel_model::traffic::Direction;

use super::*;
use crate::testing::{again, fakes, host, started, with_ve};

const CLASSES: &str = "[[traffic]]\nname = \"lan\"\nprefixes = [\"10.0.0.0/8\"]\n";
const STOP: Action = Action::Stop { timeout: None };

/// `class: bytes in, bytes out` of VE 101, of IPv4.
fn seen(host: &Arc<Host>) -> Vec<String> {
    let rows = engine(host).traffic(&web1()).unwrap();
    rows.iter()
        .map(|r| format!("{}: {}, {}", r.class, r.r#in.ipv4.bytes, r.out.ipv4.bytes))
        .collect()
}

fn pass(host: &Arc<Host>, class: &str, direction: Direction, bytes: u64) {
    fakes(host).counters.pass("hv101.0", class, direction, bytes);
}

#[test]
fn it_is_kept_over_every_end() {
    let host = host().hostel(CLASSES).make();
    with_ve(&host, &[]);
    assert_eq!(seen(&host), ["lan: 0, 0", "external: 0, 0"]);
    started(&host);
    pass(&host, "lan", Direction::Out, 100);
    pass(&host, "external", Direction::In, 7);
    assert_eq!(seen(&host), ["lan: 0, 100", "external: 7, 0"]);
    act(&host, &STOP).unwrap();
    assert_eq!(seen(&host), ["lan: 0, 100", "external: 7, 0"]);
    started(&host);
    pass(&host, "lan", Direction::Out, 1);
    act(&host, &Action::Kill).unwrap();
    started(&host);
    pass(&host, "lan", Direction::Out, 1);
    assert_eq!(seen(&host), ["lan: 0, 102", "external: 7, 0"]);
    // Another process counts the same.
    assert_eq!(seen(&again(&host)), ["lan: 0, 102", "external: 7, 0"]);
}

#[test]
fn a_class_that_goes_keeps_what_it_had() {
    let host = host().hostel(CLASSES).make();
    with_ve(&host, &[]);
    started(&host);
    pass(&host, "lan", Direction::Out, 100);
    let file = &host.config_file;
    let text = std::fs::read_to_string(file).unwrap().replace(CLASSES, "");
    std::fs::write(file, text).unwrap();
    let host = again(&host);
    let order = crate::testing::order("web2", &[]);
    engine(&host).create(&order, &Silent).unwrap();
    engine(&host)
        .act(id(102), &Action::Start(StartOptions::default()), &Silent)
        .unwrap();
    pass(&host, "external", Direction::Out, 5);
    assert_eq!(seen(&host), ["external: 0, 5", "lan: 0, 100"]);
    act(&host, &STOP).unwrap();
    assert_eq!(seen(&host), ["external: 0, 5", "lan: 0, 100"]);
}

#[test]
fn where_it_cant_be_written_the_counters_stay() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    pass(&host, "external", Direction::In, 9);
    let names = ["hv101.0".to_owned()];
    // A place that can be neither read nor written.
    let place = host.dirs.ve(id(101)).join("traffic.json");
    std::fs::create_dir(&place).unwrap();
    host.end_counting(id(101), &names).unwrap();
    assert!(
        fakes(&host)
            .counters
            .inventory()
            .contains(&"counters of hv101.0".to_owned())
    );
    std::fs::remove_dir(&place).unwrap();
    pass(&host, "external", Direction::In, 1);
    for _ in 0..2 {
        host.end_counting(id(101), &names).unwrap();
    }
    assert_eq!(seen(&host), ["external: 10, 0"]);
}

#[test]
fn the_audit_finds_counters_of_nobody_and_what_isnt_counted() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let audit = |fix| {
        let found = engine(&host).audit(fix).unwrap();
        let counters = found.into_iter().filter(|o| o.kind == "counter");
        counters.map(|o| format!("{} {}", o.kind, o.object)).collect::<Vec<_>>()
    };
    fakes(&host).counters.flush();
    assert_eq!(audit(true), ["counter hv101.0"]);
    pass(&host, "external", Direction::In, 3);
    assert_eq!(seen(&host), ["external: 3, 0"]);
    act(&host, &STOP).unwrap();
    // Left by whoever found no room to write it down: it is counted, and goes on with the next start.
    let left = |name: &str| hostel_system::firewall::traffic::Counted {
        interface: name.into(),
        port: false,
    };
    let counting = host.counting(false);
    host.counters.begin(&counting, &[left("hv101.0")]).unwrap();
    pass(&host, "external", Direction::In, 4);
    assert_eq!(audit(false), Vec::<String>::new());
    assert_eq!(seen(&host), ["external: 7, 0"]);
    started(&host);
    pass(&host, "external", Direction::In, 1);
    assert_eq!(seen(&host), ["external: 8, 0"]);
    act(&host, &Action::Kill).unwrap();
    host.counters
        .begin(&counting, &[left("hv101.0"), left("hv999.0")])
        .unwrap();
    act(&host, &Action::Destroy { force: false }).unwrap();
    assert_eq!(audit(true), ["counter hv999.0"]);
    assert_eq!(audit(false), Vec::<String>::new());
}

#[test]
fn the_audit_and_whoever_looks_after_the_rules_see_that_nothing_is_counted() {
    let host = host().make();
    with_ve(&host, &[]);
    assert_eq!(host.mend_broken().unwrap(), Vec::<String>::new(), "nobody runs");
    started(&host);
    let audit = |fix| {
        let found = engine(&host).audit(fix).unwrap();
        let kinds = found.into_iter().map(|o| o.kind);
        kinds.filter(|kind| kind != "loop device").collect::<Vec<_>>()
    };
    fakes(&host).counters.touch();
    pass(&host, "external", Direction::In, 3);
    assert_eq!(seen(&host), ["external: 0, 0"]);
    assert_eq!(audit(true), ["traffic rules"]);
    pass(&host, "external", Direction::In, 4);
    assert_eq!(
        (seen(&host), audit(false)),
        (vec!["external: 4, 0".to_owned()], Vec::new())
    );
    fakes(&host).counters.touch();
    assert_eq!(host.mend_broken().unwrap(), ["hostel_traffic"]);
    pass(&host, "external", Direction::In, 5);
    assert_eq!(seen(&host), ["external: 9, 0"]);
    fakes(&host).firewall.flush();
    fakes(&host).counters.flush();
    assert_eq!(host.mend_broken().unwrap(), ["hostel", "hostel_traffic"]);
    assert!(host.mend_broken().unwrap().is_empty() && audit(false).is_empty());
}

#[test]
fn a_file_that_makes_no_sense_is_put_aside_and_told_of() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    let dir = host.dirs.ve(id(101));
    std::fs::write(dir.join("traffic.json"), "{").unwrap();
    assert!(
        engine(&host)
            .traffic(&web1())
            .unwrap_err()
            .to_string()
            .contains("makes no sense")
    );
    pass(&host, "external", Direction::In, 3);
    act(&host, &STOP).unwrap();
    assert_eq!(seen(&host), ["external: 3, 0"]);
    let found = engine(&host).audit(false).unwrap();
    assert!(found[0].object.ends_with("traffic.json.broken"), "{found:?}");
}
